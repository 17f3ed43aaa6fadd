//! A sync of one EHR: its types one after the other, each under its own lease, each with its own end.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use domain::model::{EhrId, ResourceType};
use domain::{Clock, Timestamp};

use super::bulk::Round;
use super::lease::{self, Holder, reading_lease};
use super::pull::{Halt, Pull, Tally, chain};
use crate::ehr::EhrError;
use crate::ehr::pace::{Paused, Why};
use crate::ehr::profile::Strategy;
use crate::store::Store;
use crate::store::sync_state::Counts;
use crate::worker::lease::{Lease, Leases};

pub use super::pull::Source;

/// How a type's run ended.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case", tag = "state", content = "why")]
pub enum Ended {
    /// All pages were read.
    Done,
    /// The EHR does not give this type to this client. The other types go on.
    Refused(String),
    /// It failed; the resume point stays for the next run.
    Failed(String),
    /// It was stopped; the resume point stays for the next run.
    Interrupted,
    /// The EHR may not be asked for a while, by its word or by ours; the resume point stays, and a run after that goes on.
    Paused(String),
    /// Another worker syncs or imports it.
    Held,
    /// The operator switched it off.
    Off,
    /// This EHR gives no way to it. No failure: files may.
    NoWay(String),
    /// The EHR prepares an export: a later run reads it. No failure.
    Waiting(String),
}

/// What came of one type.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct TypeReport {
    /// The type.
    #[serde(rename = "type")]
    pub kind: ResourceType,
    /// `cursor`, `full`, `window`, `roster`, `reference`, `bulk` or `off`.
    pub strategy: &'static str,
    /// How it ended.
    #[serde(flatten)]
    pub ended: Ended,
    /// Pages read.
    pub pages: i64,
    /// Resources read.
    pub found: i64,
    /// New or changed.
    pub stored: i64,
    /// As already stored.
    pub unchanged: i64,
    /// Older than another version of the same resource.
    pub superseded: i64,
    /// Put aside.
    pub quarantined: i64,
    /// The EHR said that its answer was not complete.
    pub partial: bool,
    /// Of a run from patient to patient, or from week to week: how many are done, and of how many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub units: Option<(i64, i64)>,
    /// Patients of whom the type could not be read.
    pub holes: i64,
    /// Resources that were found gone.
    pub gone: i64,
    /// What the operator should know of how the EHR answers.
    pub notes: Vec<String>,
    /// Where it is paused: until when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paused_until: Option<Timestamp>,
    /// Because the EHR failed again and again: it goes on by itself, and whoever looks after failures is told.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_failing: bool,
}

impl TypeReport {
    pub(super) fn bare(kind: ResourceType, strategy: Strategy, ended: Ended) -> Self {
        Self::of(kind, strategy, ended, Tally::default())
    }

    pub(super) fn of(kind: ResourceType, strategy: Strategy, ended: Ended, tally: Tally) -> Self {
        let Counts { pages, found, stored, unchanged, superseded, quarantined } = tally.counts;
        Self {
            kind,
            strategy: strategy.as_str(),
            ended,
            pages,
            found,
            stored,
            unchanged,
            superseded,
            quarantined,
            partial: tally.partial,
            units: tally.units,
            holes: tally.holes,
            gone: tally.gone,
            notes: tally.notes,
            paused_until: tally.paused.map(|(_, until)| until),
            is_failing: tally.paused.is_some_and(|(why, _)| why == Why::Failing),
        }
    }

    /// A type that was not begun because the EHR may not be asked before an instant.
    #[must_use]
    pub fn paused(kind: ResourceType, paused: Paused, now: Timestamp) -> Self {
        let tally = Tally { paused: Some((paused.why, paused.until(now))), ..Tally::default() };
        Self::of(kind, Strategy::Off, Ended::Paused(paused.to_string()), tally)
    }

    /// Why not everything was read, in words.
    #[must_use]
    pub fn failure(&self) -> Option<&str> {
        match &self.ended {
            Ended::Done | Ended::Off | Ended::NoWay(_) | Ended::Paused(_) | Ended::Waiting(_) => None,
            Ended::Refused(why) | Ended::Failed(why) => Some(why),
            Ended::Interrupted => Some("stopped; the next run goes on"),
            Ended::Held => Some("another process is at it"),
        }
    }

    /// How it ended, in words.
    #[must_use]
    pub fn result(&self) -> String {
        match (&self.ended, self.failure()) {
            (_, Some(why)) => why.to_owned(),
            (Ended::Off, _) => "switched off".to_owned(),
            (Ended::NoWay(why) | Ended::Waiting(why), _) => why.clone(),
            (Ended::Paused(why), _) => format!("paused: {why}"),
            _ => {
                let lacks = self.lacks();
                if lacks.is_empty() { "done".to_owned() } else { format!("done, but {}", lacks.join("; ")) }
            }
        }
    }

    /// What a run that came to its end lacks, in words.
    fn lacks(&self) -> Vec<String> {
        let many = |n: i64, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
        let mut all = Vec::new();
        if self.partial {
            all.push("what the EHR gave is not complete (`sync status` says why)".to_owned());
        }
        if self.holes > 0 {
            all.push(format!("it could not be read of {} (`sync holes`)", many(self.holes, "patient")));
        }
        if self.quarantined > 0 {
            all.push(format!("{} put aside (`sync quarantine list`)", many(self.quarantined, "resource")));
        }
        all
    }

    /// Whether another worker is at it: no failure, since the work goes on there.
    #[must_use]
    pub const fn is_held(&self) -> bool {
        matches!(self.ended, Ended::Held)
    }

    /// Whether the operator has to do something, or a later run has to make up for this one.
    #[must_use]
    pub fn is_problem(&self) -> bool {
        // Without patients there is nothing that the rest could be of.
        let no_patients = self.kind == ResourceType::Patient && matches!(self.ended, Ended::NoWay(_));
        self.failure().is_some() || no_patients || self.quarantined > 0 || self.partial || self.holes > 0
    }
}

/// What a sync works with.
#[derive(Clone, Copy)]
pub struct Task<'a> {
    /// The store.
    pub store: &'a Store,
    /// Our clock.
    pub clock: &'a dyn Clock,
    /// Who takes the leases.
    pub holder: Holder<'a>,
    /// The EHR.
    pub ehr: &'a EhrId,
    /// How it is reached.
    pub source: Source<'a>,
    /// Ends the run between two pages.
    pub stop: &'a AtomicBool,
    /// Is told the counts of a type after each page.
    pub progress: &'a (dyn Fn(ResourceType, Counts) + Sync),
    /// Whether the operator has said that what disappeared may be gone, however much it is.
    pub accept_vanished: bool,
    /// How long the run waits for exports that the EHR prepares; one that takes longer is read by a later run.
    pub export_wait: Duration,
    /// Where it is noted that the EHR is being read; nowhere where whoever calls has done so.
    pub reading: Option<&'a Leases>,
}

/// Syncs the types of an EHR, one report for each; a type that is read by a cursor has a second one where a full export was compared with it.
/// Nothing that goes wrong with one type keeps the others from being synced, except a credential that the EHR does not take.
///
/// An export is asked for first, so that the EHR prepares it while the other types are read.
pub async fn run(task: &Task<'_>, types: &[ResourceType]) -> Vec<TypeReport> {
    let types = order(task, types);
    let mut round = match Round::of(task, &types).await {
        Ok(round) => round,
        Err(error) => return types.into_iter().map(|kind| failed(task, kind, chain(&error))).collect(),
    };
    let searched: Vec<ResourceType> = types.iter().copied().filter(|kind| task.source.strategy(*kind) != Strategy::Bulk).collect();
    if !task.stop.load(Ordering::Relaxed) {
        round.start().await;
    }
    let mut dead = None;
    let mut reports = Vec::with_capacity(types.len());
    if !searched.is_empty() {
        let reading = reading(task).await;
        reports.extend(search(task, &searched, &BTreeMap::new(), &mut dead).await);
        give_back(reading).await;
    }
    while round.wait().await {
        let reading = reading(task).await;
        reports.extend(round.read().await);
        give_back(reading).await;
    }
    let fallen = round.fallen();
    if !fallen.is_empty() {
        let kinds: Vec<ResourceType> = fallen.keys().copied().collect();
        let plan = task.source.plan.without_export(&kinds);
        let other = Task { source: Source { plan: &plan, ..task.source }, ..*task };
        let reading = reading(task).await;
        reports.extend(search(&other, &order(&other, &kinds), &fallen, &mut dead).await);
        give_back(reading).await;
    }
    reports.extend(round.close().await);
    reports.sort_by_key(|r| types.iter().position(|kind| *kind == r.kind));
    reports
}

fn failed(task: &Task<'_>, kind: ResourceType, why: String) -> TypeReport {
    TypeReport::bare(kind, task.source.strategy(kind), Ended::Failed(why))
}

/// Notes that the EHR is being read. Where another process reads it too, that one says so.
async fn reading(task: &Task<'_>) -> Option<Lease> {
    let leases = task.reading?;
    leases.take(&reading_lease(task.ehr)).await.unwrap_or_else(|error| {
        tracing::warn!(ehr = %task.ehr, error = %error, "it could not be noted that the EHR is being read");
        None
    })
}

async fn give_back(lease: Option<Lease>) {
    if let Some(lease) = lease
        && let Err(error) = lease.release().await
    {
        tracing::warn!(error = %error, "the EHR still counts as being read, until a lease runs out");
    }
}

/// Reads types one after the other, none by an export. `remarks` says of some why they are read so.
async fn search(
    task: &Task<'_>,
    types: &[ResourceType],
    remarks: &BTreeMap<ResourceType, String>,
    dead: &mut Option<String>,
) -> Vec<TypeReport> {
    let mut reports = Vec::with_capacity(types.len());
    for kind in types.iter().copied() {
        let strategy = task.source.strategy(kind);
        let mut tally = Tally::default();
        let remark = remarks.get(&kind).map(|why| format!("{why}; it is read by search instead ({})", strategy.as_str()));
        remark.iter().for_each(|remark| tally.note(remark.clone()));
        let ended = match &*dead {
            _ if strategy == Strategy::Off => not_read(task, kind),
            _ if task.stop.load(Ordering::Relaxed) => Ended::Interrupted,
            Some(why) => Ended::Failed(why.clone()),
            None => match one(task, kind, strategy, remark, &mut tally).await {
                Ok(true) => Ended::Done,
                Ok(false) => Ended::Held,
                Err(Halt::Stopped) => Ended::Interrupted,
                Err(Halt::Store(error)) => Ended::Failed(chain(&error)),
                Err(Halt::Person(why)) => Ended::Failed(why),
                Err(Halt::Ehr(error)) if error.pause().is_some() => Ended::Paused(chain(&error)),
                Err(Halt::Ehr(error)) => {
                    let why = chain(&error);
                    if error.is_credential() {
                        *dead = Some(why.clone());
                    }
                    if is_refusal(&error) { Ended::Refused(why) } else { Ended::Failed(why) }
                }
            },
        };
        if let Ended::Refused(why) | Ended::Failed(why) = &ended {
            tracing::warn!(ehr = %task.ehr, %kind, why, "a type was not synced");
        }
        reports.push(TypeReport::of(kind, strategy, ended, tally));
    }
    reports
}

/// The order of the types: patients first, unless they come from the appointments.
fn order(task: &Task<'_>, types: &[ResourceType]) -> Vec<ResourceType> {
    // What this EHR is not asked for is no business of a run.
    let mut all: Vec<ResourceType> = types.iter().filter(|kind| task.source.plan.of_type(**kind).is_some()).copied().collect();
    if task.source.plan.begins_with_appointments() {
        all.sort_by_key(|kind| *kind != ResourceType::Appointment);
    }
    all
}

/// Why a type is not read at all.
fn not_read(task: &Task<'_>, kind: ResourceType) -> Ended {
    match task.source.plan.of_type(kind) {
        Some(plan) => match &plan.lacks {
            Some(lacks) => Ended::Refused(lacks.clone()),
            None if plan.is_switched_off => Ended::Off,
            None => Ended::NoWay(plan.why.clone()),
        },
        None => Ended::Off,
    }
}

/// One type under its lease; `false` where another one holds it.
async fn one(task: &Task<'_>, kind: ResourceType, strategy: Strategy, remark: Option<String>, tally: &mut Tally) -> Result<bool, Halt> {
    let Some(fence) = lease::take(task.store, task.clock, task.holder, task.ehr, kind).await? else { return Ok(false) };
    let pull = Pull {
        store: task.store,
        clock: task.clock,
        holder: task.holder,
        ehr: task.ehr,
        source: task.source,
        kind,
        fence: fence.clone(),
        stop: task.stop,
        progress: task.progress,
        accept_vanished: task.accept_vanished,
        remark,
    };
    let done = pull.run(strategy, tally).await;
    lease::give_back_one(task.store, fence).await;
    done.map(|()| true)
}

/// Whether the EHR keeps the type from this client, rather than failing.
pub(super) fn is_refusal(error: &EhrError) -> bool {
    match error {
        EhrError::NotGranted(_) => true,
        EhrError::Token(token) => token.is_scope(),
        EhrError::Refused { status, .. } => matches!(status, 400 | 403 | 404 | 405 | 410 | 422 | 501),
        _ => false,
    }
}
