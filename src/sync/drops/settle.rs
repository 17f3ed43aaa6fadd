//! What a full file no longer shows (ARCHITECTURE.md, invariant 6): a complete file is a read. What one file first did not show is missing,
//! and gone where another one, taken at least an hour later, does not show it either; where much disappears at once, a person is asked.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use domain::Timestamp;
use domain::model::facts::Facts;
use domain::model::{EhrId, ResourceType};

use super::declare::Drop;
use crate::store::{Conn, Store, StoreError, coverage, drops, gone, references};
use crate::sync::import::Shown;
use crate::sync::pass::Pass;
use crate::sync::vanish::APART;

/// Ids looked at together.
const CHUNK: i64 = 5_000;
/// What is kept as the reason.
const SHOWN_TWICE_NOT: &str = "two full files apart in time did not show it";

/// What a full file left out, of one type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct LeftOut {
    pub kind: Option<ResourceType>,
    /// What should have been in it.
    pub expected: i64,
    /// What it did not show.
    pub missed: Vec<String>,
    /// Of what an earlier one did not show: what this one shows again.
    pub back: Vec<String>,
}

/// Compares what a file showed with what is stored.
pub(super) fn left_out(
    store: &Store,
    ehr: &EhrId,
    drop: &Drop,
    kind: ResourceType,
    shown: &Shown,
    now: Timestamp,
) -> Result<LeftOut, StoreError> {
    let mut found = LeftOut { kind: Some(kind), ..LeftOut::default() };
    let days = drop.covers.map(|c| (now.plus(-TimeDelta::days(c.days_back.into())), now.plus(TimeDelta::days(c.days_ahead.into()))));
    let mut after = String::new();
    loop {
        let ids = store.read_blocking(|conn| drops::stored_after(conn, ehr, kind, &after, CHUNK))?;
        let Some(last) = ids.last() else { break };
        after.clone_from(last);
        let ours: Vec<&str> = ids.iter().map(String::as_str).filter(|id| id.starts_with(drop.id_prefix())).collect();
        let not_shown: Vec<&str> = ours.iter().filter(|id| !shown.holds(kind, id)).copied().collect();
        let outside = match days {
            Some(days) => outside(store, ehr, kind, &ours, days)?,
            None => BTreeSet::new(),
        };
        found.expected += i64::try_from(ours.len() - outside.len()).unwrap_or(0);
        found.missed.extend(not_shown.into_iter().filter(|id| !outside.contains(*id)).map(str::to_owned));
    }
    let mut after = String::new();
    loop {
        let rows = store.read_blocking(|conn| coverage::missing_after(conn, ehr, kind, &after, CHUNK))?;
        let Some(last) = rows.last() else { break };
        after.clone_from(&last.fhir_id);
        found.back.extend(rows.into_iter().map(|row| row.fhir_id).filter(|id| shown.holds(kind, id)));
    }
    Ok(found)
}

/// Of these appointments those that begin outside of the days, or have no start.
fn outside(
    store: &Store,
    ehr: &EhrId,
    kind: ResourceType,
    ids: &[&str],
    (from, until): (Timestamp, Timestamp),
) -> Result<BTreeSet<String>, StoreError> {
    let facts = store.read_blocking(|conn| references::facts_of(conn, ehr, kind, ids))?;
    let within: BTreeSet<String> = facts
        .into_iter()
        .filter(|(_, bytes)| match Facts::from_bytes(kind, bytes) {
            Ok(Facts::Appointment(a)) => a.start.is_some_and(|at| at >= from && at < until),
            _ => false,
        })
        .map(|(id, _)| id)
        .collect();
    Ok(ids.iter().filter(|id| !within.contains(**id)).map(|id| (*id).to_owned()).collect())
}

impl LeftOut {
    /// Whether so much has disappeared that a person is asked first.
    pub(super) fn is_too_much(&self, conn: &mut Conn, ehr: &EhrId, percent: u8, now: Timestamp) -> Result<bool, StoreError> {
        let Some(kind) = self.kind else { return Ok(false) };
        let missed = coverage::untold(conn, ehr, kind, &texts(&self.missed))?;
        Ok(Pass { expected: self.expected, missed, ..Pass::at(now) }.is_mass_disappearance(percent))
    }

    /// Notes it; what an earlier file did not show either is gone. Returns how many that are.
    pub(super) fn note(&self, conn: &mut Conn, ehr: &EhrId, now: Timestamp) -> Result<i64, StoreError> {
        let Some(kind) = self.kind else { return Ok(0) };
        coverage::found(conn, ehr, kind, &texts(&self.back))?;
        let mut twice: Vec<String> = Vec::new();
        let mut after = String::new();
        let missed: BTreeSet<&str> = self.missed.iter().map(String::as_str).collect();
        loop {
            let rows = coverage::missing_after(conn, ehr, kind, &after, CHUNK)?;
            let Some(last) = rows.last() else { break };
            after.clone_from(&last.fhir_id);
            let long_ago = |at: i64| now.since(Timestamp::from_micros(at)) >= APART;
            twice.extend(
                rows.into_iter().filter(|r| missed.contains(r.fhir_id.as_str()) && r.read_at.is_some_and(long_ago)).map(|r| r.fhir_id),
            );
        }
        coverage::miss(conn, ehr, kind, &texts(&self.missed), true, now)?;
        gone::mark(conn, ehr, kind, &texts(&twice), SHOWN_TWICE_NOT, now)
    }
}

fn texts(ids: &[String]) -> Vec<&str> {
    ids.iter().map(String::as_str).collect()
}
