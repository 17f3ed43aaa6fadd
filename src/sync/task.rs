//! A sync of one EHR: its types one after the other, each under its own lease, each with its own end.

use std::sync::atomic::{AtomicBool, Ordering};

use domain::model::{EhrId, ResourceType};
use domain::{Clock, Timestamp};

use super::lease::{self, Holder};
use super::pull::{Halt, Pull, Tally, chain};
use crate::ehr::EhrError;
use crate::ehr::pace::{Paused, Why};
use crate::ehr::profile::Strategy;
use crate::store::Store;
use crate::store::sync_state::Counts;

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
}

/// What came of one type.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct TypeReport {
    /// The type.
    #[serde(rename = "type")]
    pub kind: ResourceType,
    /// `cursor`, `full`, `window`, `roster`, `reference` or `off`.
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
    fn new(kind: ResourceType, strategy: Strategy, ended: Ended, tally: Tally) -> Self {
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
        Self::new(kind, Strategy::Off, Ended::Paused(paused.to_string()), tally)
    }

    /// Why not everything was read, in words.
    #[must_use]
    pub fn failure(&self) -> Option<&str> {
        match &self.ended {
            Ended::Done | Ended::Off | Ended::NoWay(_) | Ended::Paused(_) => None,
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
            (Ended::NoWay(why), _) => why.clone(),
            (Ended::Paused(why), _) => format!("paused: {why}"),
            _ if self.holes > 0 => format!("done; it could not be read of {} patients", self.holes),
            _ => "done".to_owned(),
        }
    }

    /// Whether another worker is at it: no failure, since the work goes on there.
    #[must_use]
    pub const fn is_held(&self) -> bool {
        matches!(self.ended, Ended::Held)
    }

    /// Whether the operator has to do something, or a later run has to make up for this one.
    #[must_use]
    pub const fn is_problem(&self) -> bool {
        matches!(self.ended, Ended::Refused(_) | Ended::Failed(_)) || self.quarantined > 0 || self.partial || self.holes > 0
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
}

/// Syncs the types of an EHR, one report for each. Nothing that goes wrong with one type keeps the others from being synced, except a
/// credential that the EHR does not take.
pub async fn run(task: &Task<'_>, types: &[ResourceType]) -> Vec<TypeReport> {
    let mut reports = Vec::with_capacity(types.len());
    let mut dead: Option<String> = None;
    for kind in order(task, types) {
        let strategy = task.source.strategy(kind);
        let mut tally = Tally::default();
        let ended = match &dead {
            _ if strategy == Strategy::Off => not_read(task, kind),
            _ if task.stop.load(Ordering::Relaxed) => Ended::Interrupted,
            Some(why) => Ended::Failed(why.clone()),
            None => match one(task, kind, strategy, &mut tally).await {
                Ok(true) => Ended::Done,
                Ok(false) => Ended::Held,
                Err(Halt::Stopped) => Ended::Interrupted,
                Err(Halt::Store(error)) => Ended::Failed(chain(&error)),
                Err(Halt::Person(why)) => Ended::Failed(why),
                Err(Halt::Ehr(error)) if error.pause().is_some() => Ended::Paused(chain(&error)),
                Err(Halt::Ehr(error)) => {
                    let why = chain(&error);
                    if error.is_credential() {
                        dead = Some(why.clone());
                    }
                    if is_refusal(&error) { Ended::Refused(why) } else { Ended::Failed(why) }
                }
            },
        };
        if let Ended::Refused(why) | Ended::Failed(why) = &ended {
            tracing::warn!(ehr = %task.ehr, %kind, why, "a type was not synced");
        }
        reports.push(TypeReport::new(kind, strategy, ended, tally));
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
async fn one(task: &Task<'_>, kind: ResourceType, strategy: Strategy, tally: &mut Tally) -> Result<bool, Halt> {
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
    };
    let done = pull.run(strategy, tally).await;
    lease::give_back_one(task.store, fence).await;
    done.map(|()| true)
}

/// Whether the EHR keeps the type from this client, rather than failing.
fn is_refusal(error: &EhrError) -> bool {
    match error {
        EhrError::NotGranted(_) => true,
        EhrError::Token(token) => token.is_scope(),
        EhrError::Refused { status, .. } => matches!(status, 400 | 403 | 404 | 405 | 410 | 422 | 501),
        _ => false,
    }
}
