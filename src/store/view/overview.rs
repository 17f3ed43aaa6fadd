//! The state of the whole gateway in counts: for the overview page, `/metrics`, `sync status` and the demo's table.

use std::collections::BTreeMap;

use diesel::prelude::*;
use domain::Timestamp;
use serde::Serialize;

use super::super::connection::{Conn, on_backend};
use super::super::error::StoreError;
use super::super::schema::segment_count;
use super::super::{
    alerts, attempts, coverage, exports, memberships, pending, people, quarantine, resources, sync_state, turns, writebacks,
};

/// Where one (EHR, type) stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TypeStatus {
    /// The EHR.
    pub ehr: String,
    /// The type.
    #[serde(rename = "type")]
    pub rtype: String,
    /// `cursor`, `full`, `window`, `roster`, `file`.
    pub strategy: String,
    /// The latest run's state.
    pub state: String,
    /// When it began, microseconds.
    pub started_at: i64,
    /// When it ended.
    pub ended_at: Option<i64>,
    /// Pages read.
    pub pages: i64,
    /// Resources read.
    pub found: i64,
    /// New or changed.
    pub stored: i64,
    /// As already stored.
    pub unchanged: i64,
    /// Older than another of the same id.
    pub superseded: i64,
    /// Put aside.
    pub quarantined: i64,
    /// The server said that something is missing.
    pub partial: bool,
    /// Why it failed.
    pub failure: Option<String>,
    /// What the run has to say beside its counts.
    pub note: Option<String>,
    /// When a complete answer was last compared with what is stored.
    pub reconciled_at: Option<i64>,
    /// An export that the EHR prepares, or that is being read: in words.
    pub export: Option<String>,
    /// How many are stored in all.
    pub total: i64,
    /// Known up to this instant.
    pub known_up_to: Option<i64>,
    /// Whether it is read patient by patient.
    pub by_patient: bool,
    /// Of a run from patient to patient, or from week to week: how many are done.
    pub units_done: Option<i64>,
    /// And of how many.
    pub units_of: Option<i64>,
    /// Resources that the run found gone.
    pub gone: Option<i64>,
    /// The run ended because the EHR may not be asked before this instant.
    pub paused_until: Option<i64>,
    /// Patients of whom the type is not known, or less far.
    pub holes: i64,
    /// Failures since it last went well, those on the way to the EHR too.
    pub failures: i64,
    /// When the first of them was.
    pub failing_since: Option<i64>,
    /// When it is tried again.
    pub retry_at: Option<i64>,
    /// How many resources the EHR said that the run finds.
    pub expected: Option<i64>,
    /// How many the last run of this strategy that went well found.
    pub found_before: Option<i64>,
    /// Of the units that are done, those that an earlier run of the same pass did.
    pub units_before: i64,
}

/// Attempts by what people ask about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct AttemptCounts {
    /// Left the building: sent, delivered, answered, or with unknown delivery.
    pub sent: i64,
    /// Wait for an instant that the gate named.
    pub held: i64,
    /// Refused by the gate.
    pub refused: i64,
    /// Failed for good.
    pub failed: i64,
    /// Planned for later.
    pub planned: i64,
    /// In the middle of a send.
    pub sending: i64,
    /// May or may not have left: a person has to say which.
    pub unclear: i64,
    /// Given up because their reason went away.
    pub void: i64,
}

/// The whole gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Overview {
    /// Each (EHR, type) that was ever synced.
    pub types: Vec<TypeStatus>,
    /// Stored resources by type, over all EHRs.
    pub synced: BTreeMap<String, i64>,
    /// Persons known.
    pub persons: i64,
    /// Waiting in quarantine.
    pub quarantined: i64,
    /// Members by segment.
    pub segments: BTreeMap<String, i64>,
    /// Persons held because the answer is not known, by segment.
    pub held_in_segments: BTreeMap<String, i64>,
    /// Persons of whom it is not known, whatever that counts as, by segment; those held are among them.
    pub unknown_in_segments: BTreeMap<String, i64>,
    /// Attempts.
    pub attempts: AttemptCounts,
    /// Write-backs by state.
    pub write_backs: BTreeMap<String, i64>,
    /// Persons that wait for the segment stage and for the outreach stage.
    pub pending: (i64, i64),
    /// Open alerts by kind.
    pub alerts: BTreeMap<String, i64>,
}

/// Reads it.
///
/// # Errors
/// The engine's refusal.
pub fn read(conn: &mut Conn) -> Result<Overview, StoreError> {
    let totals = resources::counts(conn)?;
    let types = types(conn, &totals)?;
    let mut synced: BTreeMap<String, i64> = domain::model::ResourceType::CORE.iter().map(|t| (t.as_str().to_owned(), 0)).collect();
    for (_, rtype, n) in totals {
        *synced.entry(rtype).or_default() += n;
    }
    let sizes = memberships::sizes(conn)?;
    let mut unknown = unknowns(conn)?;
    for (id, _, held) in &sizes {
        let n = unknown.entry(id.clone()).or_default();
        *n = (*n).max(*held);
    }
    Ok(Overview {
        unknown_in_segments: unknown,
        types,
        synced,
        persons: people::count(conn)?,
        quarantined: quarantine::count(conn)?,
        segments: sizes.iter().map(|s| (s.0.clone(), s.1)).collect(),
        held_in_segments: sizes.into_iter().map(|s| (s.0, s.2)).collect(),
        attempts: attempt_counts(conn)?,
        write_backs: writebacks::counts(conn)?.into_iter().collect(),
        pending: pending::counts(conn)?,
        alerts: open_alerts(conn)?,
    })
}

/// Each (EHR, type) as [`read`] tells it, without how many are stored: that would count whole tables.
///
/// # Errors
/// The engine's refusal.
pub fn latest(conn: &mut Conn) -> Result<Vec<TypeStatus>, StoreError> {
    types(conn, &[])
}

/// Each (EHR, type) by its latest run; one that was never reached has none, and is told by its turn alone.
fn types(conn: &mut Conn, totals: &[(String, String, i64)]) -> Result<Vec<TypeStatus>, StoreError> {
    let (states, holes, turns) = (sync_state::list(conn)?, coverage::counts(conn)?, turns::list(conn)?);
    let exports = exports::list(conn)?;
    let before = sync_state::before_latest(conn)?;
    let mut types = Vec::new();
    for r in sync_state::latest_runs(conn)? {
        let is_this = |ehr: &str, rtype: &str| r.ehr == ehr && r.rtype == rtype;
        let turn = turns.iter().find(|t| is_this(&t.ehr, &t.rtype));
        // What failed on the way to the EHR made no run.
        let failed = turn.filter(|t| t.failures > 0 && r.state != "running");
        let previous = before.iter().find(|b| is_this(&b.ehr, &b.rtype));
        types.push(TypeStatus {
            total: totals.iter().find(|t| is_this(&t.0, &t.1)).map_or(0, |t| t.2),
            by_patient: states.iter().any(|s| is_this(&s.ehr, &s.rtype) && s.by_patient == Some(true)),
            units_done: r.units_done,
            units_of: r.units_of,
            reconciled_at: states.iter().find(|s| is_this(&s.ehr, &s.rtype)).and_then(|s| s.reconciled_at),
            export: export_of(&exports, &r.ehr, &r.rtype),
            note: r.note,
            gone: r.gone,
            paused_until: r.paused_until,
            holes: holes.iter().find(|h| is_this(&h.0, &h.1)).map_or(0, |h| h.2),
            known_up_to: states.iter().find(|s| is_this(&s.ehr, &s.rtype)).and_then(|s| s.as_of),
            failures: turn.map_or(0, |t| t.failures),
            failing_since: turn.and_then(|t| t.failing_since),
            retry_at: turn.and_then(|t| t.retry_at),
            expected: turn.and_then(|t| t.expected).filter(|_| r.state == "running"),
            found_before: previous.filter(|b| b.state == "done" && b.strategy == r.strategy).map(|b| b.found),
            units_before: previous.filter(|b| b.state != "done" && b.units_of == r.units_of).and_then(|b| b.units_done).unwrap_or(0),
            state: if failed.is_some() { "failed".to_owned() } else { r.state },
            failure: failed.and_then(|t| t.failure.clone()).or(r.failure),
            ehr: r.ehr,
            rtype: r.rtype,
            strategy: r.strategy,
            started_at: r.started_at,
            ended_at: r.ended_at,
            pages: r.pages,
            found: r.found,
            stored: r.stored,
            unchanged: r.unchanged,
            superseded: r.superseded,
            quarantined: r.quarantined,
            partial: r.partial,
        });
    }
    for turn in turns.into_iter().filter(|t| t.failures > 0) {
        if !types.iter().any(|t: &TypeStatus| t.ehr == turn.ehr && t.rtype == turn.rtype) {
            types.push(TypeStatus {
                state: "failed".to_owned(),
                started_at: turn.failing_since.unwrap_or_default(),
                ended_at: turn.failed_at,
                failure: turn.failure,
                failures: turn.failures,
                failing_since: turn.failing_since,
                retry_at: turn.retry_at,
                ehr: turn.ehr,
                rtype: turn.rtype,
                ..TypeStatus::default()
            });
        }
    }
    types.sort_by(|a, b| (&a.ehr, &a.rtype).cmp(&(&b.ehr, &b.rtype)));
    Ok(types)
}

/// Of how many persons it is not known whether they are in each segment in force, whatever that counts as there.
fn unknowns(conn: &mut Conn) -> Result<BTreeMap<String, i64>, StoreError> {
    let counts: BTreeMap<i64, i64> =
        on_backend!(conn, c => segment_count::table.select((segment_count::segment, segment_count::unknown)).load(c))?
            .into_iter()
            .collect();
    Ok(memberships::segments(conn)?.into_iter().filter_map(|s| Some((s.id, *counts.get(&s.number)?))).collect())
}

fn open_alerts(conn: &mut Conn) -> Result<BTreeMap<String, i64>, StoreError> {
    let mut kinds = BTreeMap::new();
    for alert in alerts::open(conn)? {
        *kinds.entry(alert.kind).or_default() += 1;
    }
    Ok(kinds)
}

/// An export that is in hand at an EHR.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InHand {
    /// The EHR.
    pub ehr: String,
    /// The names of its types.
    pub types: Vec<String>,
    /// When it was asked for, microseconds.
    pub asked_at: i64,
    /// Whether the EHR still prepares it.
    pub waits: bool,
    /// How far it is, in words.
    pub says: String,
}

/// The exports in hand, by EHR, those that no run of a type has begun to read included.
///
/// # Errors
/// The engine's refusal.
pub fn in_hand(conn: &mut Conn) -> Result<Vec<InHand>, StoreError> {
    let one = |job: &exports::Job| InHand {
        ehr: job.ehr.clone(),
        types: job.types.split(' ').map(str::to_owned).collect(),
        asked_at: job.started_at,
        waits: job.state == "waiting" && !job.is_unknown(),
        says: in_words(job),
    };
    Ok(exports::list(conn)?.iter().map(one).collect())
}

/// The exports of a type, in words.
fn export_of(exports: &[exports::Job], ehr: &str, rtype: &str) -> Option<String> {
    let of_it = exports.iter().filter(|j| j.ehr == ehr && j.types.split(' ').any(|t| t == rtype));
    let words: Vec<String> = of_it.map(in_words).collect();
    (!words.is_empty()).then(|| words.join("; "))
}

fn in_words(job: &exports::Job) -> String {
    let said = job.progress.as_ref().map_or_else(String::new, |text| format!(" (`{text}`)"));
    let at = |micros: i64| Timestamp::from_micros(micros - micros.rem_euclid(1_000_000));
    match job.state.as_str() {
        _ if job.is_unknown() => job.what_is_unknown(),
        "waiting" => {
            let again = job.poll_at.map_or_else(String::new, |again| format!("; it is asked for again at {}", at(again)));
            format!("the EHR prepares an export since {}{said}{again}", at(job.started_at))
        }
        "reading" => format!("an export is read, or is to be read on: {} files are done", job.file),
        _ => "an export is over, and the EHR is still to be told to delete it".to_owned(),
    }
}

fn attempt_counts(conn: &mut Conn) -> Result<AttemptCounts, StoreError> {
    let mut counts = AttemptCounts::default();
    for (state, outcome, n) in attempts::counts(conn)? {
        let slot = match (state.as_str(), outcome.as_deref()) {
            ("finished", Some("failed")) => &mut counts.failed,
            ("sent" | "finished", _) => &mut counts.sent,
            ("held", _) => &mut counts.held,
            ("refused", _) => &mut counts.refused,
            ("sending", _) => &mut counts.sending,
            ("void", _) => &mut counts.void,
            _ => &mut counts.planned,
        };
        *slot += n;
    }
    counts.unclear = attempts::left_to_person(conn)?;
    counts.sending -= counts.unclear;
    Ok(counts)
}
