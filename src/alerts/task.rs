//! One look: what is wrong is opened, what is over is closed, what is owed is told, and the dead-man's signal is given.

use chrono::TimeDelta;
use domain::{Clock, Timestamp};
use serde::Serialize;

use super::heartbeat::Heartbeat;
use super::judge::{Finding, Limits, judge};
use super::look::{self, Known};
use super::post::{NOT_CONFIGURED, Post};
use crate::store::leases::{self, Fence, Term};
use crate::store::{Conn, Store, StoreError, alerts};
use crate::worker::backoff;

/// What looks.
#[derive(Debug)]
pub struct Desk {
    /// From when on something is wrong.
    pub limits: Limits,
    /// Who is told.
    pub post: Post,
    /// The dead-man's signal.
    pub heartbeat: Option<Heartbeat>,
}

/// What one look did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Alerts opened.
    pub opened: u64,
    /// Alerts closed.
    pub closed: u64,
    /// Open now.
    pub open: u64,
    /// Targets that were told.
    pub told: u64,
    /// What could not be told, in words.
    pub failures: Vec<String>,
}

/// What a target said to a trial.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Sent {
    /// The target.
    pub target: String,
    /// Whether it took the message.
    pub taken: bool,
    /// What its server said.
    pub said: String,
}

/// What is not taken for so long is given up.
const PATIENCE: TimeDelta = TimeDelta::days(3);
/// The cap of the wait between two tries.
const RETRY_CAP: std::time::Duration = std::time::Duration::from_secs(15 * 60);
/// Deliveries that were given up within this time silence the dead-man's signal: alerts do not arrive.
const SILENT_FOR: TimeDelta = TimeDelta::hours(24);
/// Deliveries of one look.
const AT_ONCE: i64 = 100;

/// What a look stands on.
pub struct Look<'a> {
    /// The store.
    pub store: &'a Store,
    /// The time.
    pub clock: &'a dyn Clock,
    /// The lease, under which everything is written.
    pub fence: &'a Fence,
    /// Its term.
    pub term: Term,
    /// What no row tells.
    pub known: Known,
    /// Between 0 and 1: spreads tries.
    pub jitter: f64,
    /// Whether this process's own loops run as they should.
    pub is_well: bool,
}

impl std::fmt::Debug for Look<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Look({:?})", self.fence)
    }
}

impl Desk {
    /// Looks once.
    ///
    /// # Errors
    /// The store's refusal, or the lease was lost.
    pub async fn look(&self, look: &Look<'_>) -> Result<Report, StoreError> {
        let now = look.clock.now();
        let known = look.known.clone();
        let facts = look.store.snapshot(move |conn| look::read(conn, &known, now)).await?;
        let found = judge(&facts, &self.limits, now);
        let targets: Vec<String> = self.post.targets().iter().map(super::Target::name).collect();
        let (fence, term, settle) = (look.fence.clone(), look.term, self.limits.settle);
        let mut report = look
            .store
            .write("open and close alerts", move |conn| {
                leases::extend(conn, &fence, now, term)?;
                settle_with(conn, &found, &targets, settle, now)
            })
            .await?;
        self.deliver(look, &mut report).await?;
        self.signal(look, &mut report).await?;
        Ok(report)
    }

    /// Tells what is owed, to each target in the order in which it came: an end must not overtake its beginning.
    async fn deliver(&self, look: &Look<'_>, report: &mut Report) -> Result<(), StoreError> {
        let owed = look.store.read(|conn| alerts::owed(conn, AT_ONCE)).await?;
        let mut waits = std::collections::BTreeSet::new();
        for (delivery, alert) in owed {
            let now = look.clock.now();
            if waits.contains(&delivery.target) {
                continue;
            }
            if delivery.next_at > now.micros() {
                waits.insert(delivery.target);
                continue;
            }
            let told = self.post.tell(&delivery, &alert, now).await;
            let (fence, term, id, now) = (look.fence.clone(), look.term, delivery.id, look.clock.now());
            let tries = u32::try_from(delivery.tries).unwrap_or(u32::MAX).saturating_add(1);
            let wait = TimeDelta::from_std(backoff::delay(tries, RETRY_CAP, look.jitter)).unwrap_or(PATIENCE);
            let given_up =
                matches!(&told, Err(why) if why == NOT_CONFIGURED) || now.since(Timestamp::from_micros(delivery.owed_at)) >= PATIENCE;
            match &told {
                Ok(_) => report.told += 1,
                Err(why) => {
                    report.failures.push(format!("alert {} could not be told to {}: {why}", alert.id, delivery.target));
                    if !given_up {
                        waits.insert(delivery.target.clone());
                    }
                }
            }
            look.store
                .write("note that an alert was told", move |conn| {
                    leases::extend(conn, &fence, now, term)?;
                    match &told {
                        Ok(said) => alerts::told(conn, id, said, now),
                        Err(said) if given_up => alerts::give_up(conn, id, said, now),
                        Err(said) => alerts::put_off(conn, id, said, now.plus(wait)),
                    }
                })
                .await?;
        }
        Ok(())
    }

    async fn signal(&self, look: &Look<'_>, report: &mut Report) -> Result<(), StoreError> {
        let Some(heartbeat) = self.heartbeat.as_ref().filter(|_| look.is_well) else { return Ok(()) };
        let now = look.clock.now();
        let lost = look.store.read(move |conn| alerts::given_up_since(conn, now.plus(-SILENT_FOR))).await?;
        if lost == 0 {
            report.failures.extend(heartbeat.give(now).await);
        }
        Ok(())
    }

    /// Tells all targets that this is a trial.
    pub async fn trial(&self, now: Timestamp) -> Vec<Sent> {
        let alert = alerts::Alert {
            // Its ids are never given to an alert.
            id: 0,
            kind: "test".to_owned(),
            subject: "a trial".to_owned(),
            says: "this is a trial: nothing is wrong".to_owned(),
            remedy: "nothing has to be done".to_owned(),
            opened_at: now.micros(),
            absent_since: None,
            closed_at: None,
            acknowledged_at: None,
            acknowledged_by: None,
            acknowledged_why: None,
        };
        let mut sent = Vec::new();
        for target in self.post.targets() {
            let delivery = alerts::Delivery {
                id: now.micros(),
                alert: 0,
                event: "opened".to_owned(),
                target: target.name(),
                state: "owed".to_owned(),
                tries: 0,
                owed_at: now.micros(),
                next_at: now.micros(),
                settled_at: None,
                said: None,
            };
            let told = self.post.tell(&delivery, &alert, now).await;
            sent.push(Sent { target: target.name(), taken: told.is_ok(), said: told.unwrap_or_else(|why| why) });
        }
        sent
    }
}

/// Opens what is found and not open, closes what is open and was not found for a while.
fn settle_with(conn: &mut Conn, found: &[Finding], targets: &[String], settle: TimeDelta, now: Timestamp) -> Result<Report, StoreError> {
    let mut report = Report::default();
    let open = alerts::open(conn)?;
    for f in found {
        match open.iter().find(|a| a.kind == f.kind && a.subject == f.subject) {
            Some(a) if a.says == f.says && a.remedy == f.remedy && a.absent_since.is_none() => {}
            Some(a) => alerts::found_again(conn, a.id, &f.says, &f.remedy)?,
            None => {
                let made = alerts::begin(conn, (&f.kind, &f.subject), (&f.says, &f.remedy), targets, now)?;
                report.opened += u64::from(made.is_some());
            }
        }
    }
    for a in open.iter().filter(|a| !found.iter().any(|f| a.kind == f.kind && a.subject == f.subject)) {
        match a.absent_since {
            Some(since) if now.since(Timestamp::from_micros(since)) >= settle => {
                report.closed += u64::from(alerts::end(conn, a.id, targets, now)?);
            }
            Some(_) => {}
            None => alerts::absent(conn, a.id, now)?,
        }
    }
    report.open = u64::try_from(alerts::open(conn)?.len()).unwrap_or(u64::MAX);
    Ok(report)
}
