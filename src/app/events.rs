//! Events, put together: what an EHR tells of by itself comes in by the web server, is kept, and is read by the task that looks after it. The
//! keys of open subscriptions are kept in memory for a moment, so that a flood of forged notifications costs no look into the database each.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use domain::Timestamp;
use domain::model::{EhrId, FhirId, ResourceType};
use serde::Serialize;
use tokio::sync::Mutex;

use super::stages::StageError;
use super::{App, ConnectionError};
use crate::ehr::connection::Connection;
use crate::ehr::profile::Strategy;
use crate::ehr::subscription::notification::Notification;
use crate::ehr::subscription::proof::Proof;
use crate::ehr::subscription::{Manner, remote};
use crate::ehr::{Plan, Profile, Secret};
use crate::store::subscriptions::{self, Row};
use crate::store::{StoreError, ehrs, refresh, sync_state};
use crate::sync::events;
use crate::sync::refresh::{self as reading, Refresh};
use crate::sync::subscribing::{Kept, Upkeep};
use crate::web::notifications::{Came, Received};
use crate::worker::Nudge;

/// How long what is known of the addresses is believed.
const DOORS_HOLD: Duration = Duration::from_secs(5);
/// How often they are looked up at most because an address is not known: whoever calls waits for that.
const DOORS_APART: Duration = Duration::from_millis(500);
/// What one subscription may send: at once, and a second.
const BURST: f64 = 200.0;
const PER_SECOND: f64 = 50.0;
/// How long a connection is kept: what the EHR states is read with each.
const CONNECTION_HOLDS: TimeDelta = TimeDelta::minutes(10);
/// An EHR that cannot be connected, or that has nothing to subscribe to, is asked again after so long.
const ASIDE: TimeDelta = TimeDelta::minutes(2);
const SEALED_FOR: &str = "subscription";

/// What one subscription's notifications are checked by.
struct Door {
    id: i64,
    ehr: String,
    kind: String,
    manner: Manner,
    proof: Proof,
    left: f64,
    counted: Instant,
}

#[derive(Default)]
struct Doors {
    by_hash: HashMap<String, Door>,
    read: Option<Instant>,
}

struct Known {
    profile: String,
    opened: Timestamp,
    connection: Connection,
}

/// What is kept in memory of events.
#[derive(Default)]
pub(super) struct Listening {
    doors: Mutex<Doors>,
    connections: Mutex<BTreeMap<EhrId, Known>>,
    aside: Mutex<BTreeMap<EhrId, Timestamp>>,
    /// Wakes whoever reads what was told of.
    pub(super) nudge: Nudge,
}

/// What one round of looking after events did.
#[derive(Clone, Debug, Default, Serialize)]
pub struct EventsReport {
    /// Subscriptions asked for, renewed and ended.
    pub subscriptions: usize,
    /// Resources read because of events.
    pub read: i64,
    /// Of those new or changed, or gone.
    pub changed: i64,
    /// Types that are to be read anew.
    pub reread: usize,
    /// What did not go well, in words.
    pub failures: Vec<String>,
    /// When there is something to do next.
    #[serde(skip)]
    pub next: Option<Timestamp>,
}

impl App {
    /// What wakes the task that looks after events.
    #[must_use]
    pub fn heard(&self) -> Nudge {
        self.listening.nudge.clone()
    }

    /// Takes in a notification. Nothing is read because of it before it was answered.
    ///
    /// # Errors
    /// The engine's refusal.
    pub async fn notified(&self, came: Came) -> Result<Received, StoreError> {
        let (id, ehr, kind) = match self.door(&came).await? {
            Ok(door) => door,
            Err(refused) => return Ok(refused),
        };
        let told = match &came.named {
            Some((kind, id)) => Ok(Notification::of_one(Some((kind.clone(), id.clone())))),
            None => Notification::read(&came.body),
        };
        let Ok(mut told) = told else { return Ok(Received::NotOne) };
        if told.events.iter().any(|event| event.identifier.is_some()) {
            self.resolve(&ehr, &kind, &mut told).await?;
        }
        let now = self.clock.now();
        let taken = self.store.write("take in a notification", move |conn| {
            let Some(row) = subscriptions::get(conn, id)? else { return Ok(false) };
            if row.state == "ending" {
                return Ok(true);
            }
            if let Some(remote) = told.subscription.as_deref().filter(|r| row.remote_id.is_none() && FhirId::parse(r).is_some()) {
                subscriptions::learn(conn, id, remote)?;
            }
            let (Ok(ehr), Some(kind)) = (EhrId::parse(&row.ehr), ResourceType::parse(&row.rtype)) else {
                return Err(StoreError::Damaged("a subscription"));
            };
            let by_cursor = sync_state::get(conn, &ehr, kind)?.is_some_and(|s| s.strategy == Strategy::Cursor.as_str());
            events::take(conn, &row, &told, if by_cursor { Strategy::Cursor } else { Strategy::Full }, now)?;
            Ok(true)
        });
        if !taken.await? {
            return Ok(Received::Unknown);
        }
        self.listening.nudge.give();
        Ok(Received::Taken)
    }

    /// Makes ids of the numbers that events name, where the profile says how.
    async fn resolve(&self, ehr: &str, kind: &str, told: &mut Notification) -> Result<(), StoreError> {
        let name = ehr.to_owned();
        let row = self.store.read(move |conn| ehrs::get(conn, &name)).await?;
        let profile = row.and_then(|row| Profile::from_json(&row.profile).ok());
        let pattern = profile.and_then(|profile| ResourceType::parse(kind).and_then(|kind| profile.events.ids.get(&kind).cloned()));
        if let Some(pattern) = pattern {
            told.resolve(kind, &pattern);
        }
        Ok(())
    }

    /// The subscription that a notification shows to be from, with its EHR and type; or why it is refused.
    async fn door(&self, came: &Came) -> Result<Result<(i64, String, String), Received>, StoreError> {
        let (hash, arrived) = (Proof::hash(&came.token), Instant::now());
        let mut doors = self.listening.doors.lock().await;
        if doors.read.is_none_or(|at| at.elapsed() > DOORS_HOLD) {
            self.read_doors(&mut doors).await?;
        }
        // One that is not known may be of a subscription that another process has just asked for: all who ask now wait for one look.
        while !doors.by_hash.contains_key(&hash) && doors.read.is_some_and(|at| at < arrived) {
            let wait = DOORS_APART.saturating_sub(doors.read.map(|at| at.elapsed()).unwrap_or_default());
            if wait.is_zero() {
                self.read_doors(&mut doors).await?;
            } else {
                drop(doors);
                tokio::time::sleep(wait).await;
                doors = self.listening.doors.lock().await;
            }
        }
        let Some(door) = doors.by_hash.get_mut(&hash) else { return Ok(Err(Received::Unknown)) };
        if !door.proof.holds(door.manner, came.authorization.as_deref(), came.signature.as_deref(), &came.body) {
            return Ok(Err(Received::NotShown));
        }
        let now = Instant::now();
        door.left = (door.left + now.duration_since(door.counted).as_secs_f64() * PER_SECOND).min(BURST);
        door.counted = now;
        if door.left < 1.0 {
            return Ok(Err(Received::TooMany));
        }
        door.left -= 1.0;
        Ok(Ok((door.id, door.ehr.clone(), door.kind.clone())))
    }

    async fn read_doors(&self, doors: &mut Doors) -> Result<(), StoreError> {
        let rows = self.store.read(subscriptions::list).await?;
        let mut fresh = HashMap::new();
        for row in rows {
            let (manner, proof) = (Manner::parse(&row.manner), self.proof_of(&row.sealed));
            let (Some(manner), Some(proof)) = (manner, proof) else {
                tracing::warn!(ehr = %row.ehr, "the secret of a subscription cannot be opened; what it tells is refused");
                continue;
            };
            let before = doors.by_hash.remove(&row.token_hash).filter(|d| d.id == row.id);
            let (left, counted) = before.map_or_else(|| (BURST, Instant::now()), |d| (d.left, d.counted));
            fresh.insert(row.token_hash, Door { id: row.id, ehr: row.ehr, kind: row.rtype, manner, proof, left, counted });
        }
        *doors = Doors { by_hash: fresh, read: Some(Instant::now()) };
        Ok(())
    }

    fn proof_of(&self, sealed: &[u8]) -> Option<Proof> {
        let plain = self.master_key().ok()?.open(SEALED_FOR, sealed).ok()?;
        Proof::from_secret(&Secret::new(String::from_utf8(plain).ok()?))
    }

    fn fresh_proof(&self) -> Result<(Proof, Vec<u8>), String> {
        let proof = Proof::new(self.random.as_ref());
        let key = self.master_key().map_err(|e| e.to_string())?;
        let sealed = key.seal(SEALED_FOR, proof.to_secret().expose().as_bytes()).map_err(|e| e.to_string())?;
        Ok((proof, sealed))
    }

    /// Looks after subscriptions and reads what was told of, at all EHRs; where another node is at one, that one does.
    pub async fn look_after_events(&self, stop: &AtomicBool) -> EventsReport {
        let mut report = EventsReport::default();
        if let Err(error) = self.round(stop, &mut report).await {
            report.failures.push(error.to_string());
        }
        report
    }

    async fn round(&self, stop: &AtomicBool, report: &mut EventsReport) -> Result<(), StageError> {
        let now = self.clock.now();
        report.reread = self.store.write("read types anew", move |conn| subscriptions::reread_due(conn, now)).await?;
        let (rows, asked) = self.store.read(move |conn| Ok((subscriptions::list(conn)?, refresh::due_ehrs(conn, now)?))).await?;
        for (ehr, profile) in self.ehrs().await?.known {
            let of: Vec<&Row> = rows.iter().filter(|row| row.ehr == ehr.as_str()).collect();
            let due = of.iter().any(|row| row.look_at <= now.micros());
            let lacking = profile.events.types.keys().any(|kind| !of.iter().any(|row| row.rtype == kind.as_str()));
            let unwanted = of.iter().any(|row| !profile.events.types.keys().any(|kind| kind.as_str() == row.rtype));
            let waits = self.listening.aside.lock().await.get(&ehr).is_some_and(|until| *until > now);
            // What was asked for may be another thing since; after a start nobody knows.
            let text = profile.to_json();
            let changed = !(of.is_empty() && profile.events.types.is_empty())
                && self.listening.connections.lock().await.get(&ehr).is_none_or(|known| known.profile != text);
            let (upkeep, read) = (due || unwanted || ((lacking || changed) && !waits), asked.iter().any(|id| id == ehr.as_str()));
            if profile.files_only || !(upkeep || read) {
                continue;
            }
            let Some(lease) = self.leases().take(&format!("events/{ehr}")).await? else { continue };
            let done = self.serve_events(&ehr, &profile, (upkeep, read), stop, report).await;
            lease.release().await?;
            if let Err(error) = done {
                self.listening.connections.lock().await.remove(&ehr);
                self.put_aside(&ehr).await;
                if error.pause().is_none() {
                    report.failures.push(format!("{ehr}: {error}"));
                }
            }
        }
        let next = self.store.read(|conn| Ok([subscriptions::next_due(conn)?, refresh::next_due(conn)?])).await?;
        report.next = next.into_iter().flatten().min().map(Timestamp::from_micros);
        Ok(())
    }

    async fn put_aside(&self, ehr: &EhrId) {
        self.listening.aside.lock().await.insert(ehr.clone(), self.clock.now().plus(ASIDE));
    }

    async fn serve_events(
        &self,
        ehr: &EhrId,
        profile: &Profile,
        (upkeep, read): (bool, bool),
        stop: &AtomicBool,
        report: &mut EventsReport,
    ) -> Result<(), StageError> {
        let connection = self.connection(ehr, profile).await?;
        if upkeep {
            let kept = self.keep_subscriptions(ehr, profile, &connection, false).await?;
            report.subscriptions += kept.asked + kept.renewed + kept.ended;
            report.failures.extend(kept.failures);
            let (id, wanted) = (ehr.clone(), profile.events.types.len());
            if self.store.read(move |conn| subscriptions::of_ehr(conn, &id)).await?.len() < wanted {
                // What the statement does not list, or no address is known for, is not asked for with each round.
                self.put_aside(ehr).await;
            }
        }
        if read {
            let done = self.read_told(ehr, profile, &connection, stop).await?;
            report.read += done.read;
            report.changed += done.stored + done.gone;
            report.failures.extend(done.failure.map(|why| format!("{ehr} {why}")));
        }
        Ok(())
    }

    /// A connection that is not older than what it was opened by.
    async fn connection(&self, ehr: &EhrId, profile: &Profile) -> Result<Connection, ConnectionError> {
        let (text, now) = (profile.to_json(), self.clock.now());
        if let Some(known) = self.listening.connections.lock().await.get(ehr)
            && known.profile == text
            && now.since(known.opened) < CONNECTION_HOLDS
        {
            return Ok(known.connection.clone());
        }
        let connection = self.connect(ehr).await?;
        let known = Known { profile: text, opened: now, connection: connection.clone() };
        self.listening.connections.lock().await.insert(ehr.clone(), known);
        Ok(connection)
    }

    async fn keep_subscriptions(&self, ehr: &EhrId, profile: &Profile, connection: &Connection, renew: bool) -> Result<Kept, StageError> {
        self.with_upkeep(ehr, profile, connection, renew, async |upkeep| upkeep.run().await).await
    }

    async fn with_upkeep<T>(
        &self,
        ehr: &EhrId,
        profile: &Profile,
        connection: &Connection,
        renew: bool,
        f: impl AsyncFnOnce(&Upkeep<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StageError> {
        let plan = Plan::of(profile, &connection.capability);
        let client = connection.client.clone().writing(remote::needs(&connection.capability));
        let address = self.event_address(profile);
        let upkeep = Upkeep {
            store: &self.store,
            clock: self.clock.as_ref(),
            ehr,
            client: &client,
            capability: &connection.capability,
            plan: &plan,
            address: address.as_deref(),
            proof: &|| self.fresh_proof(),
            open: &|sealed| self.proof_of(sealed),
            renew,
        };
        Ok(f(&upkeep).await?)
    }

    /// Where an EHR sends notifications to, without the token at its end.
    #[must_use]
    pub fn event_address(&self, profile: &Profile) -> Option<String> {
        let base = profile.events.address.as_ref().or(self.config.web.external_url.as_ref())?;
        Some(format!("{}/notifications", base.as_str().trim_end_matches('/')))
    }

    async fn read_told(
        &self,
        ehr: &EhrId,
        profile: &Profile,
        connection: &Connection,
        stop: &AtomicBool,
    ) -> Result<reading::Report, StageError> {
        let listed = |kind: &ResourceType| connection.capability.allows(kind.as_str(), "read");
        let readable: BTreeSet<ResourceType> = profile.all_types().filter(listed).collect();
        let agenda = self.agenda().await?;
        let of = agenda.entries.iter().filter(|e| e.ehr == *ehr && e.closed(agenda.now).is_some());
        let closed: BTreeSet<ResourceType> = of.map(|e| e.kind).collect();
        let task = Refresh {
            store: &self.store,
            clock: self.clock.as_ref(),
            ehr,
            client: &connection.client,
            readable: &readable,
            closed: &closed,
            stop,
        };
        Ok(reading::run(&task).await?)
    }

    /// Looks after the subscriptions of one EHR now; with `renew` all of them are renewed.
    ///
    /// # Errors
    /// Where the EHR cannot be connected, or another process is at it.
    pub async fn subscribe(&self, ehr: &EhrId, renew: bool) -> Result<Kept, StageError> {
        let profile = self.profile(ehr).await?;
        let connection = self.connect(ehr).await?;
        let lease = self.lease(&format!("events/{ehr}")).await?;
        let done = self.keep_subscriptions(ehr, &profile, &connection, renew).await;
        lease.release().await?;
        done
    }

    /// Ends the subscriptions of one EHR there.
    ///
    /// # Errors
    /// Where the EHR cannot be connected, or another process is at it.
    pub async fn unsubscribe(&self, ehr: &EhrId) -> Result<Kept, StageError> {
        let profile = self.profile(ehr).await?;
        let connection = self.connect(ehr).await?;
        let lease = self.lease(&format!("events/{ehr}")).await?;
        let done = self.with_upkeep(ehr, &profile, &connection, false, async |upkeep| upkeep.end_all().await).await;
        lease.release().await?;
        done
    }
}
