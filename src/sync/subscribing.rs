//! Subscriptions looked after: asked for where the plan has them, looked at with each round, renewed before they end, ended where nobody wants
//! them any more. What the EHR says of itself decides what it is asked.
//!
//! A row stands before the request leaves and goes when the EHR has ended it, so that a crash forgets none there. What may have been missed
//! (numbers that did not come, a silence, a subscription that was in error) is asked for by its number where the EHR gives that, and has
//! the type read anew where it does not.

use chrono::TimeDelta;
use domain::model::{EhrId, FhirId, ResourceType};
use domain::{Clock, Timestamp};

use super::events::{Numbers, spacing};
use super::pull::chain;
use crate::ehr::capability::Capability;
use crate::ehr::subscription::proof::Proof;
use crate::ehr::subscription::{Asked, EventPlan, Manner};
use crate::ehr::{ChangeOutcome, Client, CreateOutcome, EhrError, Plan};
use crate::store::subscriptions::{self, New, Row};
use crate::store::{Conn, Store, StoreError, refresh};

/// Between two looks where all is well.
const LOOK: TimeDelta = TimeDelta::minutes(15);
/// Between two looks at one that is not active yet.
const SOON: TimeDelta = TimeDelta::seconds(5);
/// One that is not active after so long never will be.
const PATIENCE: TimeDelta = TimeDelta::minutes(2);
/// A request of which nobody knows whether it was taken is waited for so long: what comes by it tells its id.
const UNCLEAR: TimeDelta = TimeDelta::seconds(60);
/// The first wait after a failure, doubled with each.
const RETRY: TimeDelta = TimeDelta::seconds(30);
const LONGEST_RETRY: TimeDelta = TimeDelta::minutes(30);
/// Ending one is tried so often.
const END_TRIES: i64 = 6;

const REMEDY: &str =
    "look at the subscription with `fhir-engage ehr subscriptions list`; the EHR must reach this gateway's public listener";

/// What it works with.
#[derive(Clone, Copy)]
pub struct Upkeep<'a> {
    /// The store.
    pub store: &'a Store,
    /// Our clock.
    pub clock: &'a dyn Clock,
    /// The EHR.
    pub ehr: &'a EhrId,
    /// Its client, under a token for subscriptions.
    pub client: &'a Client,
    /// What it states.
    pub capability: &'a Capability,
    /// How its types are read.
    pub plan: &'a Plan,
    /// Where notifications go, without the token at its end; `None` where that is not known.
    pub address: Option<&'a str>,
    /// Makes a token and a secret, with how they are sealed.
    pub proof: &'a (dyn Fn() -> Result<(Proof, Vec<u8>), String> + Sync),
    /// Opens what was sealed.
    pub open: &'a (dyn Fn(&[u8]) -> Option<Proof> + Sync),
    /// Renew all now, however long they last.
    pub renew: bool,
}

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Kept {
    /// Asked for.
    pub asked: usize,
    /// Renewed.
    pub renewed: usize,
    /// Ended.
    pub ended: usize,
    /// What did not go well, in words.
    pub failures: Vec<String>,
}

/// What is wanted: a type, a topic (empty for a search), and how.
type Wanted<'a> = (ResourceType, String, &'a EventPlan);

impl Upkeep<'_> {
    /// Looks after all subscriptions of the EHR that are due.
    ///
    /// # Errors
    /// The store's refusal; what the EHR refuses is told.
    pub async fn run(&self) -> Result<Kept, StoreError> {
        let mut kept = Kept::default();
        let wanted: Vec<Wanted<'_>> = match self.address {
            Some(_) => {
                let of = self.plan.types.iter().filter_map(|t| Some((t.kind, t.events.as_ref()?)));
                of.flat_map(|(kind, plan)| plan.each().into_iter().map(move |topic| (kind, topic, plan))).collect()
            }
            None => Vec::new(),
        };
        for row in self.rows().await? {
            let fits = wanted.iter().find(|w| self.is_of(&row, w));
            match fits {
                _ if row.state == "ending" => {}
                None => self.end(&row).await?,
                Some(_) if row.look_at > self.clock.now().micros() && !self.renew => {}
                Some(wanted) => self.look(&row, wanted, &mut kept).await?,
            }
        }
        let rows = self.rows().await?;
        for of in wanted.iter().filter(|w| !rows.iter().any(|row| row.state != "ending" && self.is_of(row, w))) {
            self.ask(of, &mut kept).await?;
        }
        // Last, so that another one is there first.
        for row in rows.iter().filter(|row| row.state == "ending" && row.look_at <= self.clock.now().micros()) {
            self.stop(row, &mut kept).await?;
        }
        Ok(kept)
    }

    /// Ends all that there are.
    ///
    /// # Errors
    /// The store's refusal.
    pub async fn end_all(&self) -> Result<Kept, StoreError> {
        let mut kept = Kept::default();
        for row in self.rows().await? {
            self.end(&row).await?;
            self.stop(&row, &mut kept).await?;
        }
        Ok(kept)
    }

    async fn rows(&self) -> Result<Vec<Row>, StoreError> {
        let ehr = self.ehr.clone();
        self.store.read(move |conn| subscriptions::of_ehr(conn, &ehr)).await
    }

    fn is_of(&self, row: &Row, (kind, topic, plan): &Wanted<'_>) -> bool {
        row.rtype == kind.as_str() && row.topic == *topic && row.request == plan.request(*kind, topic, self.address.unwrap_or_default())
    }

    async fn note(
        &self,
        name: &'static str,
        f: impl FnMut(&mut Conn) -> Result<(), StoreError> + Send + 'static,
    ) -> Result<(), StoreError> {
        self.store.write(name, f).await
    }

    async fn end(&self, row: &Row) -> Result<(), StoreError> {
        let (id, now) = (row.id, self.clock.now());
        self.note("end a subscription", move |conn| subscriptions::end(conn, id, now)).await
    }

    async fn failed(&self, row: &Row, why: String, kept: &mut Kept) -> Result<(), StoreError> {
        kept.failures.push(format!("{}: {why}", row.subject()));
        let now = self.clock.now();
        let wait = RETRY * (1 << row.failures.clamp(0, 8) as i32);
        let (row, retry) = (row.clone(), now.plus(wait.min(LONGEST_RETRY)));
        let spacing = self.spacing(&row);
        self.note("note a subscription's failure", move |conn| {
            subscriptions::failed(conn, &row, &why, REMEDY, retry, now)?;
            // What it would have told is not known.
            subscriptions::reread(conn, &row, spacing.max(TimeDelta::minutes(15)), now)
        })
        .await
    }

    fn spacing(&self, row: &Row) -> TimeDelta {
        let kind = ResourceType::parse(&row.rtype);
        spacing(kind.and_then(|kind| self.plan.of_type(kind)).map_or(crate::ehr::profile::Strategy::Off, |t| t.strategy))
    }

    fn ends_at(&self, plan: &EventPlan) -> Timestamp {
        let at = self.clock.now().plus(TimeDelta::days(i64::from(plan.lasts_days)));
        Timestamp::from_micros(at.micros() - at.micros().rem_euclid(1_000_000))
    }

    /// Asks the EHR for one. The row comes first: the EHR may call before it answers.
    async fn ask(&self, (kind, topic, plan): &Wanted<'_>, kept: &mut Kept) -> Result<(), StoreError> {
        let Some(address) = self.address else { return Ok(()) };
        let (proof, sealed) = match (self.proof)() {
            Ok(made) => made,
            Err(why) => {
                kept.failures.push(why);
                return Ok(());
            }
        };
        let ends_at = self.ends_at(plan);
        let new = New {
            kind: *kind,
            topic: topic.clone(),
            manner: plan.manner.as_str(),
            request: plan.request(*kind, topic, address),
            token_hash: Proof::hash(proof.token()),
            sealed,
            ends_at: Some(ends_at),
            heartbeat_secs: plan.heartbeat_secs.map(i64::from),
        };
        let (ehr, now) = (self.ehr.clone(), self.clock.now());
        let begun = self.store.write("begin a subscription", move |conn| {
            let id = subscriptions::begin(conn, &ehr, &new, now)?;
            id.map_or(Ok(None), |id| subscriptions::get(conn, id))
        });
        match begun.await? {
            Some(row) => self.send(&row, &(*kind, topic.clone(), plan), &proof, ends_at, kept).await,
            None => Ok(()),
        }
    }

    /// Sends one for which there is a row.
    async fn send(
        &self,
        row: &Row,
        (kind, topic, plan): &Wanted<'_>,
        proof: &Proof,
        ends_at: Timestamp,
        kept: &mut Kept,
    ) -> Result<(), StoreError> {
        let endpoint = format!("{}/{}", self.address.unwrap_or_default(), proof.token());
        let signed = plan.manner == Manner::Signed;
        let secret = (!signed).then(|| proof.secret());
        let body = Asked { plan, kind: *kind, topic, endpoint: &endpoint, secret, ends_at, id: None };
        kept.asked += 1;
        match self.client.subscribe(body.resource(), signed.then(|| proof.secret())).await {
            Ok(CreateOutcome::Created(written) | CreateOutcome::Existing(written)) => {
                let (id, soon) = (row.id, self.clock.now().plus(SOON));
                let remote = written.id.filter(|id| FhirId::parse(id).is_some());
                self.note("keep a subscription", move |conn| subscriptions::told(conn, id, remote.as_deref(), "asked", soon)).await
            }
            Ok(CreateOutcome::Unclear { why }) => {
                let (id, then) = (row.id, self.clock.now().plus(UNCLEAR));
                kept.failures.push(format!("{}: {why}", row.subject()));
                self.note("keep a subscription", move |conn| subscriptions::look_again(conn, id, then)).await
            }
            Ok(CreateOutcome::Refused { status, outcome, .. }) => {
                self.failed(row, format!("the EHR refuses the subscription (HTTP status {status}; {outcome})"), kept).await
            }
            Err(error) => self.unanswered(row, &error, kept).await,
        }
    }

    /// The EHR has ended it: after a wait it is asked for anew, by the same row.
    async fn lost(&self, row: &Row, why: &str, kept: &mut Kept) -> Result<(), StoreError> {
        self.failed(row, why.to_owned(), kept).await?;
        let id = row.id;
        self.note("forget a subscription's id", move |conn| subscriptions::unknown(conn, id)).await
    }

    /// Where the EHR may not be asked now that is no failure of the subscription.
    async fn unanswered(&self, row: &Row, error: &EhrError, kept: &mut Kept) -> Result<(), StoreError> {
        let Some(paused) = error.pause() else { return self.failed(row, chain(error), kept).await };
        let (id, until) = (row.id, paused.until(self.clock.now()));
        self.note("put a subscription off", move |conn| subscriptions::look_again(conn, id, until)).await
    }

    async fn look(&self, row: &Row, of: &Wanted<'_>, kept: &mut Kept) -> Result<(), StoreError> {
        let now = self.clock.now();
        let age = now.since(Timestamp::from_micros(row.asked_at));
        let Some(remote_id) = row.remote_id.as_deref().and_then(FhirId::parse) else {
            // Refused, lost, or nobody knows: what was asked must have shown itself before it is sent once more.
            if age < UNCLEAR && row.state == "asked" {
                return Ok(());
            }
            let Some(proof) = (self.open)(&row.sealed) else { return self.end(row).await };
            let (id, ends_at) = (row.id, self.ends_at(of.2));
            self.note("ask once more", move |conn| subscriptions::asked_again(conn, id, ends_at, now)).await?;
            return self.send(row, of, &proof, ends_at, kept).await;
        };
        if !self.capability.allows("Subscription", "read") && self.capability.types.contains_key("Subscription") {
            // It cannot be looked at; what comes tells that it works.
            return self.active(row, of, &remote_id, kept).await;
        }
        match self.client.subscription(&remote_id).await {
            Ok(None) => self.lost(row, "the EHR does not have the subscription any more", kept).await,
            Ok(Some(remote)) => match remote.status.as_str() {
                "off" => self.lost(row, "the EHR has switched the subscription off", kept).await,
                "error" => self.mend(row, of, &remote_id, kept).await,
                "requested" if age > PATIENCE => {
                    self.failed(row, "the EHR has not begun to tell: it may not reach this gateway".to_owned(), kept).await
                }
                "requested" => {
                    let (id, soon) = (row.id, now.plus(SOON));
                    self.note("wait for a subscription", move |conn| subscriptions::look_again(conn, id, soon)).await
                }
                _ => self.active(row, of, &remote_id, kept).await,
            },
            Err(error) => self.unanswered(row, &error, kept).await,
        }
    }

    /// One that the EHR has put into error is asked for again, and what it did not tell is read.
    async fn mend(&self, row: &Row, of: &Wanted<'_>, remote: &FhirId, kept: &mut Kept) -> Result<(), StoreError> {
        const WHY: &str = "the EHR has put the subscription into error: what it sent did not arrive";
        if self.updates(of) {
            self.failed(row, WHY.to_owned(), kept).await?;
            return self.ask_again(row, of, remote, kept).await;
        }
        if self.capability.allows("Subscription", "delete")
            && let Err(error) = self.client.unsubscribe(remote).await
        {
            return self.unanswered(row, &error, kept).await;
        }
        self.lost(row, WHY, kept).await
    }

    fn updates(&self, of: &Wanted<'_>) -> bool {
        self.capability.allows("Subscription", "update") && of.2.manner != Manner::Signed
    }

    /// Renews one, or sets one that failed to work: it is sent again with its status `requested`. Where the EHR takes no update, another one
    /// takes its place.
    async fn ask_again(&self, row: &Row, (kind, topic, plan): &Wanted<'_>, remote: &FhirId, kept: &mut Kept) -> Result<(), StoreError> {
        let updates = self.updates(&(*kind, topic.clone(), plan));
        let (Some(proof), Some(address), true) = ((self.open)(&row.sealed), self.address, updates) else { return self.end(row).await };
        let ends_at = self.ends_at(plan);
        let endpoint = format!("{address}/{}", proof.token());
        let secret = Some(proof.secret());
        let body = Asked { plan, kind: *kind, topic, endpoint: &endpoint, secret, ends_at, id: Some(remote.as_str()) };
        match self.client.update("Subscription", remote, None, body.resource()).await {
            Ok(ChangeOutcome::Changed(_)) => {
                kept.renewed += 1;
                let (id, soon) = (row.id, self.clock.now().plus(SOON));
                self.note("renew a subscription", move |conn| {
                    subscriptions::renewed(conn, id, Some(ends_at))?;
                    subscriptions::look_again(conn, id, soon)
                })
                .await
            }
            Ok(ChangeOutcome::Unclear { .. }) => Ok(()),
            Ok(ChangeOutcome::Refused { .. }) => self.end(row).await,
            Err(error) => self.unanswered(row, &error, kept).await,
        }
    }

    async fn active(&self, row: &Row, of: &Wanted<'_>, remote: &FhirId, kept: &mut Kept) -> Result<(), StoreError> {
        let now = self.clock.now();
        let lasts = TimeDelta::days(i64::from(of.2.lasts_days));
        let left = row.ends_at.map(|at| Timestamp::from_micros(at).since(now));
        if self.renew || left.is_some_and(|left| left < lasts / 4) {
            return self.ask_again(row, of, remote, kept).await;
        }
        if self.numbers(row, remote).await? {
            let (row, spacing) = (row.clone(), self.spacing(row));
            self.note("read a type anew", move |conn| subscriptions::reread(conn, &row, spacing, now)).await?;
        }
        let heard = Timestamp::from_micros(row.heard_at.unwrap_or(0).max(row.asked_at));
        let patience = row.heartbeat_secs.map(|secs| TimeDelta::seconds(secs * 5 / 2));
        let late = patience.filter(|patience| now.since(heard) > *patience);
        let next = patience.map_or(now.plus(LOOK), |patience| heard.plus(patience).max(now.plus(SOON)).min(now.plus(LOOK)));
        let (row, spacing) = (row.clone(), self.spacing(row));
        let Some(patience) = late else {
            return self
                .note("keep a subscription", move |conn| {
                    subscriptions::told(conn, row.id, None, "active", next)?;
                    subscriptions::well(conn, &row)
                })
                .await;
        };
        let says = format!(
            "{} has given no sign of life for events of {} in {} minutes, and says that the subscription is active; the type is read by its \
             other way meanwhile",
            self.ehr,
            row.rtype,
            patience.num_minutes().max(1)
        );
        self.note("note a silence", move |conn| {
            subscriptions::silent(conn, &row, &says, REMEDY, now)?;
            subscriptions::reread(conn, &row, spacing.max(patience), now)?;
            subscriptions::look_again(conn, row.id, now.plus(patience.min(LOOK)))
        })
        .await
    }

    /// Asks for what the numbers say is missing; whether the type has to be read anew in its place.
    async fn numbers(&self, row: &Row, remote: &FhirId) -> Result<bool, StoreError> {
        if row.manner != Manner::Topic.as_str() {
            return Ok(false);
        }
        let offers = |name: &str| self.capability.subscriptions.operations.contains(name);
        let mut numbers = Numbers::of(row);
        let mut reread = numbers.in_doubt;
        if offers("status") {
            // It is the EHR's word on how many there were: fewer than what came means that they count anew.
            match self.client.subscription_status(remote).await {
                Ok(Some(told)) => {
                    reread = told.count.is_some_and(|count| count < numbers.last);
                    numbers.in_doubt = false;
                    match told.count {
                        Some(count) if reread => numbers = Numbers { last: count, ..Numbers::default() },
                        Some(count) => numbers.counted(count),
                        None => {}
                    }
                }
                Ok(None) => {}
                // Asked again with the next look.
                Err(_) => return Ok(false),
            }
        }
        let mut found = Vec::new();
        if let Some(span) = numbers.missing {
            let told = if offers("events") { self.client.subscription_events(remote, span).await } else { Ok(None) };
            match told {
                Ok(Some(told)) => {
                    let mut came: Vec<i64> = told.events.iter().filter_map(|e| e.number).filter(|n| span.0 <= *n && *n <= span.1).collect();
                    came.sort_unstable();
                    came.dedup();
                    found = told.events.iter().filter_map(|e| e.focus.clone()).collect();
                    // All of them, and each says which it is.
                    let whole = i64::try_from(came.len()).is_ok_and(|n| n == span.1 - span.0 + 1);
                    reread |= !whole || told.events.iter().any(|e| e.focus.is_none());
                }
                Ok(None) => reread = true,
                Err(_) => return Ok(false),
            }
            numbers.missing = None;
        }
        let (id, ehr, kind, now) = (row.id, self.ehr.clone(), ResourceType::parse(&row.rtype), self.clock.now());
        // Where the numbers grew meanwhile, they are looked at once more.
        let before = (row.last_number, row.missing_from, row.missing_to);
        let kept = self.store.write("keep numbers of events", move |conn| {
            let same = subscriptions::get(conn, id)?.is_some_and(|r| (r.last_number, r.missing_from, r.missing_to) == before);
            if same {
                subscriptions::numbered(conn, id, numbers.last, numbers.missing)?;
            }
            let Some(kind) = kind else { return Ok(()) };
            for (_, id) in found.iter().filter(|(of, id)| kind.as_str() == of && FhirId::parse(id).is_some()) {
                refresh::ask(conn, &ehr, kind, id, "event", now)?;
            }
            Ok(())
        });
        kept.await?;
        Ok(reread)
    }

    /// Tells the EHR to end one, and forgets it.
    async fn stop(&self, row: &Row, kept: &mut Kept) -> Result<(), StoreError> {
        let told = match row.remote_id.as_deref().and_then(FhirId::parse) {
            Some(id) if self.capability.allows("Subscription", "delete") || !self.capability.types.contains_key("Subscription") => {
                self.client.unsubscribe(&id).await
            }
            // Its address answers 404 from now on, so the EHR gives it up, or it ends at its time.
            _ => Ok(()),
        };
        match told {
            Err(error) if row.failures < END_TRIES => self.unanswered(row, &error, kept).await,
            other => {
                if let Err(error) = other {
                    kept.failures.push(format!("{}: it could not be ended: {}; the EHR may go on to tell", row.subject(), chain(&error)));
                }
                kept.ended += 1;
                let row = row.clone();
                self.note("forget a subscription", move |conn| subscriptions::over(conn, &row)).await
            }
        }
    }
}
