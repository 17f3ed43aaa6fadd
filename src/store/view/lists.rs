//! Lists for operators and their programs: what happened, by row, without patient data. Newest first.

use diesel::prelude::*;
use domain::rules::{Definition, Unknown};

use super::super::connection::{Conn, on_backend};
use super::super::error::StoreError;
use super::super::schema::{attempt, sync_run, writeback};
use super::super::sync_state::SyncRun;
use super::super::{definitions, memberships};

/// A segment and its size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentLine {
    /// Its id.
    pub id: String,
    /// The version of its definition.
    pub version: i64,
    /// When that came into force, microseconds.
    pub changed_at: i64,
    /// Members.
    pub members: i64,
    /// Persons held out because the answer is not known.
    pub held: i64,
    /// Of how many its rule holds.
    pub holds: i64,
    /// Of how many it does not hold.
    pub does_not_hold: i64,
    /// Of how many that is not known.
    pub unknown: i64,
    /// What unknown counts as.
    pub unknown_counts_as: Unknown,
    /// What it reads, as bits of [`domain::rules::Reads::mask`].
    pub reads: i64,
}

/// An attempt, by id and state. Whom it is about is not here.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = attempt)]
pub struct AttemptLine {
    /// Its public id.
    pub id: String,
    /// The program.
    pub program: String,
    /// The step.
    pub step: String,
    /// Its state.
    pub state: String,
    /// Its outcome, once finished.
    pub outcome: Option<String>,
    /// The channel that was chosen.
    pub channel: Option<String>,
    /// When it is due, microseconds.
    pub due_at: i64,
    /// When it left the building.
    pub sent_at: Option<i64>,
    /// When it ended.
    pub finished_at: Option<i64>,
}

/// A write-back, by id and state.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = writeback)]
pub struct WritebackLine {
    /// Its id.
    pub id: String,
    /// The attempt that it tells of.
    pub attempt: String,
    /// The EHR.
    pub ehr: String,
    /// `original` or `correction`.
    pub kind: String,
    /// Its state.
    pub state: String,
    /// How often it was tried.
    pub tries: i64,
    /// The id that the EHR gave it.
    pub remote_id: Option<String>,
    /// When it was owed, microseconds.
    pub owed_at: i64,
    /// When it was settled.
    pub settled_at: Option<i64>,
}

/// Sync runs.
///
/// # Errors
/// The engine's refusal.
pub fn runs(conn: &mut Conn, ehr: Option<&str>, limit: i64) -> Result<Vec<SyncRun>, StoreError> {
    Ok(on_backend!(conn, c => {
        let mut query = sync_run::table.order(sync_run::id.desc()).limit(limit).into_boxed();
        if let Some(ehr) = ehr {
            query = query.filter(sync_run::ehr.eq(ehr.to_owned()));
        }
        query.load(c)
    })?)
}

/// Segments in use, in the order in which they were defined.
///
/// # Errors
/// The engine's refusal.
pub fn segments(conn: &mut Conn) -> Result<Vec<SegmentLine>, StoreError> {
    let sizes = memberships::counted(conn)?;
    let reads = definitions::read_by(conn)?;
    let line = |s: memberships::Segment| {
        let size = sizes.iter().find(|size| size.id == s.id)?;
        // A text that this version cannot read says nothing of unknown; those who wrote it know.
        let unknown_counts_as = Definition::parse(&s.source).map(|d| d.unknown).unwrap_or_default();
        Some(SegmentLine {
            reads: reads.get(&s.id).copied().unwrap_or(0),
            version: s.version,
            changed_at: s.changed_at,
            members: size.members,
            held: size.held,
            holds: size.holds(unknown_counts_as),
            does_not_hold: size.does_not_hold(unknown_counts_as),
            unknown: size.unknown,
            unknown_counts_as,
            id: s.id,
        })
    };
    Ok(memberships::segments(conn)?.into_iter().filter_map(line).collect())
}

/// Attempts, the latest due first.
///
/// # Errors
/// The engine's refusal.
pub fn attempts(conn: &mut Conn, state: Option<&str>, limit: i64) -> Result<Vec<AttemptLine>, StoreError> {
    Ok(on_backend!(conn, c => {
        let mut query = attempt::table.select(AttemptLine::as_select()).order((attempt::due_at.desc(), attempt::id)).limit(limit).into_boxed();
        if let Some(state) = state {
            query = query.filter(attempt::state.eq(state.to_owned()));
        }
        query.load(c)
    })?)
}

/// Write-backs, the latest owed first.
///
/// # Errors
/// The engine's refusal.
pub fn write_backs(conn: &mut Conn, state: Option<&str>, limit: i64) -> Result<Vec<WritebackLine>, StoreError> {
    Ok(on_backend!(conn, c => {
        let mut query = writeback::table.select(WritebackLine::as_select()).order((writeback::owed_at.desc(), writeback::id)).limit(limit).into_boxed();
        if let Some(state) = state {
            query = query.filter(writeback::state.eq(state.to_owned()));
        }
        query.load(c)
    })?)
}
