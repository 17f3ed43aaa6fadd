//! The turns of a process: what is due is claimed, read, and its outcome kept, so that the next look knows what is due then.
//!
//! A claim is a lease of its own, `turn/EHR/TYPE`, beside the one under which resources are written: it covers the way to the EHR too, so
//! that of two nodes only one asks for a token. Whether something is due is asked once more after it was claimed, since another node may
//! have done it in between. A node that dies loses its claims with the lease's term; what it had not ended is still due, so another one
//! goes on with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::TimeDelta;
use domain::Timestamp;
use domain::model::{EhrId, ResourceType};
use serde::Serialize;

use super::{App, StageError};
use crate::store::schedules::{self, ALL_TYPES};
use crate::store::{StoreError, leases, pauses, reading, turns};
use crate::sync::lease_name;
use crate::sync::task::{Ended, TypeReport};
use crate::worker::backoff;
use crate::worker::lease::Lease;

/// How often a run is looked after: whether the program stops, its hours close, or someone pauses it.
const LOOK: Duration = Duration::from_millis(200);
/// How often the database is asked whether someone paused it.
const ASK: u32 = 5;
/// The cap of the wait between two tries, and by how much more is waited after so many failures: an EHR that is down for the night
/// is not asked a hundred times.
const RETRY_CAP: Duration = Duration::from_secs(15 * 60);
const MANY_FAILURES: u32 = 8;

/// Types of an EHR that are due and are this process's to read.
#[derive(Debug)]
pub struct Turn {
    /// The EHR.
    pub ehr: EhrId,
    /// The types, all of which close at the same time.
    pub kinds: Vec<ResourceType>,
    /// When they must stop.
    closes: Option<Timestamp>,
    claims: Vec<Lease>,
}

/// What came of a turn.
#[derive(Debug, Default, Serialize)]
pub struct TurnReport {
    /// Resources found.
    pub found: i64,
    /// Resources stored.
    pub stored: i64,
    /// What did not go well, in words.
    pub failures: Vec<String>,
}

impl App {
    /// Claims what is due, `most` EHRs at a time.
    ///
    /// # Errors
    /// The engine's refusal.
    pub async fn due_turns(&self, most: usize) -> Result<Vec<Turn>, StoreError> {
        let agenda = self.agenda().await?;
        let (now, term, owner) = (agenda.now, leases::Term(self.config.worker.lease), self.owner.clone());
        if most == 0 || !agenda.entries.iter().any(|e| e.is_due(now)) {
            return Ok(Vec::new());
        }
        // Whoever reads or imports by hand holds this one; it would be found out only after a token was asked for.
        let held = self.store.read(move |conn| leases::held(conn, reading::PREFIX, now, term, |other| owner.is_dead(other))).await?;
        let mut turns: Vec<Turn> = Vec::new();
        for entry in agenda.entries.iter().filter(|e| e.is_due(now) && !held.contains(&lease_name(&e.ehr, e.kind))) {
            let closes = entry.schedule.as_ref().ok().and_then(|s| s.closes(now));
            let there = turns.iter().position(|t| t.ehr == entry.ehr && t.closes == closes);
            if there.is_none() && turns.len() >= most {
                continue;
            }
            let Some(claim) = self.leases().take(&format!("turn/{}/{}", entry.ehr, entry.kind)).await? else { continue };
            match there.and_then(|n| turns.get_mut(n)) {
                Some(turn) => {
                    turn.kinds.push(entry.kind);
                    turn.claims.push(claim);
                }
                None => turns.push(Turn { ehr: entry.ehr.clone(), kinds: vec![entry.kind], closes, claims: vec![claim] }),
            }
        }
        if turns.is_empty() {
            return Ok(turns);
        }
        let again = self.agenda().await?;
        for turn in &mut turns {
            let due = |kind: &ResourceType| again.entries.iter().any(|e| e.ehr == turn.ehr && e.kind == *kind && e.is_due(again.now));
            turn.kinds.retain(due);
        }
        turns.retain(|t| !t.kinds.is_empty());
        Ok(turns)
    }

    /// Reads what was claimed. Stops at a safe point where the program stops, the hours close, or someone pauses it; what is left is
    /// still due then.
    pub async fn take_turn(&self, turn: Turn, stopping: impl Fn() -> bool + Send) -> TurnReport {
        let flag = Arc::new(AtomicBool::new(false));
        let done = tokio::select! {
            done = self.sync(&turn.ehr, &turn.kinds, &flag, &|_| ()) => done,
            never = self.look_after(&turn, &flag, stopping) => match never {},
        };
        let mut report = TurnReport::default();
        match done {
            Ok(types) => {
                report.found = types.iter().map(|r| r.found).sum();
                report.stored = types.iter().map(|r| r.stored).sum();
                // What another process is at, and what was stopped on purpose, is no failure.
                let bad = types.iter().filter(|r| matches!(r.ended, Ended::Failed(_) | Ended::Refused(_)));
                report.failures.extend(bad.filter_map(|r| Some(format!("{} {}: {}", turn.ehr, r.kind, r.failure()?))));
            }
            Err(StageError::Busy(_)) => {}
            Err(error) => report.failures.push(format!("{}: {error}", turn.ehr)),
        }
        for claim in turn.claims {
            if let Err(error) = claim.release().await {
                tracing::warn!(ehr = %turn.ehr, error = %error, "a claim could not be given back; it runs out by itself");
            }
        }
        report
    }

    async fn look_after(&self, turn: &Turn, flag: &AtomicBool, stopping: impl Fn() -> bool + Send) -> std::convert::Infallible {
        let mut looks = 0_u32;
        loop {
            tokio::time::sleep(LOOK).await;
            looks = looks.wrapping_add(1);
            let closed = turn.closes.is_some_and(|at| at <= self.clock.now());
            let paused = looks.is_multiple_of(ASK)
                && self.store.read(pauses::in_force).await.is_ok_and(|all| {
                    let holds = |kind: &ResourceType| all.iter().any(|p| p.holds(turn.ehr.as_str(), kind.as_str()));
                    turn.kinds.iter().any(holds)
                });
            if stopping() || closed || paused {
                flag.store(true, Ordering::Relaxed);
            }
        }
    }

    /// Keeps how a sync of some types went, for their next turns.
    pub(super) async fn keep_outcome(
        &self,
        ehr: &EhrId,
        types: &[ResourceType],
        began: Timestamp,
        outcome: &Result<Vec<TypeReport>, StageError>,
    ) -> Result<(), StoreError> {
        let ended: Vec<(ResourceType, Ended, Option<(Timestamp, bool)>)> = match outcome {
            Ok(reports) => reports.iter().map(|r| (r.kind, r.ended.clone(), r.paused_until.map(|until| (until, r.is_failing)))).collect(),
            Err(error) => {
                let why = error.to_string();
                types.iter().map(|kind| (*kind, Ended::Failed(why.clone()), None)).collect()
            }
        };
        let set = self.store.read(schedules::list).await?;
        let now = self.clock.now();
        let mut kept = Vec::new();
        for (kind, ended, paused) in ended {
            let find = |rtype: &str| set.iter().find(|s| s.ehr == ehr.as_str() && s.rtype == rtype);
            let schedule = self.schedule(find(kind.as_str()).or_else(|| find(ALL_TYPES)));
            // What an EHR refuses it refuses tomorrow too: it has to wait for its next time.
            let next = schedule.map_or(now.plus(self.usual_interval()), |s| s.next(now, &format!("{ehr}/{kind}")));
            kept.push((kind, ended, paused, next, self.jitter()));
        }
        let ehr = ehr.clone();
        self.store
            .write("keep how a sync ended", move |conn| {
                for (kind, ended, paused, next, jitter) in &kept {
                    let retry = |failures: u32| {
                        let wait = backoff::delay(failures, RETRY_CAP, *jitter) * if failures > MANY_FAILURES { 4 } else { 1 };
                        now.plus(TimeDelta::from_std(wait).unwrap_or(TimeDelta::minutes(15)))
                    };
                    match ended {
                        Ended::Done | Ended::Off | Ended::NoWay(_) => turns::served(conn, &ehr, *kind, began, now)?,
                        Ended::Failed(why) => turns::failed(conn, &ehr, *kind, why, began, now, retry)?,
                        Ended::Refused(why) => turns::failed(conn, &ehr, *kind, why, began, now, |_| *next)?,
                        // One that fails for long is somebody's business, however it goes on by itself.
                        Ended::Paused(why) => match paused {
                            Some((until, true)) => turns::failed(conn, &ehr, *kind, why, began, now, |n| retry(n).max(*until))?,
                            Some((until, false)) => turns::wait_until(conn, &ehr, *kind, *until)?,
                            None => {}
                        },
                        Ended::Interrupted | Ended::Held => {}
                    }
                }
                Ok(())
            })
            .await
    }

    /// Between 0 and 1.
    pub(super) fn jitter(&self) -> f64 {
        let mut bytes = [0; 4];
        self.random.fill(&mut bytes);
        f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX)
    }
}
