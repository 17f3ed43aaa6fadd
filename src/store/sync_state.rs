//! Where each (EHR, type) stands: its resume point, its high-water mark, known up to when; and the runs so far.

use diesel::prelude::*;
use domain::Timestamp;
use domain::model::{EhrId, ResourceType};

use super::connection::{Conn, on_backend};
use super::error::StoreError;
use super::pending;
use super::schema::{sync_run, sync_state};

/// Where an (EHR, type) stands.
#[derive(Clone, Debug, PartialEq, Eq, Queryable)]
pub struct SyncState {
    /// The EHR.
    pub ehr: String,
    /// The type.
    pub rtype: String,
    /// The strategy of the last run: `cursor`, `full`, `window`, `roster`, `bulk` or `file`.
    pub strategy: String,
    /// What the resume point belongs to: a change of strategy, filter or base URL makes it void.
    pub fingerprint: String,
    /// All changes up to this instant of the server's clock are stored.
    pub high_water: Option<i64>,
    /// The resume point of a run that was cut off: opaque here, never a `next` link.
    pub resume: Option<String>,
    /// The run that the resume point belongs to.
    pub run: Option<i64>,
    /// Known up to this instant of our clock; absent where no run ever finished.
    pub as_of: Option<i64>,
    /// Whether it is read patient by patient, so that it is known of those who are listed only (`coverage`); absent where nobody said.
    pub by_patient: Option<bool>,
    /// When a complete answer was last compared with what is stored, by our clock.
    pub reconciled_at: Option<i64>,
}

/// What a run did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Pages or chunks read.
    pub pages: i64,
    /// Resources read.
    pub found: i64,
    /// New or changed.
    pub stored: i64,
    /// As already stored.
    pub unchanged: i64,
    /// Followed by a later version of the same resource in the same run, or older than what is stored.
    pub superseded: i64,
    /// Put aside.
    pub quarantined: i64,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.pages += other.pages;
        self.found += other.found;
        self.stored += other.stored;
        self.unchanged += other.unchanged;
        self.superseded += other.superseded;
        self.quarantined += other.quarantined;
    }
}

/// A run.
#[derive(Clone, Debug, PartialEq, Eq, Queryable)]
pub struct SyncRun {
    /// Number of the run.
    pub id: i64,
    /// The EHR.
    pub ehr: String,
    /// The type.
    pub rtype: String,
    /// `cursor`, `full`, `window`, `roster`, `bulk` or `file`.
    pub strategy: String,
    /// `running`, `done`, `failed`, `interrupted`.
    pub state: String,
    /// When it began, by our clock.
    pub started_at: i64,
    /// When it began, by the server's clock.
    pub server_started_at: Option<i64>,
    /// When it ended.
    pub ended_at: Option<i64>,
    /// The server said that its answer was not complete: nothing may be taken as absent.
    pub partial: bool,
    /// Why it failed, in words for the operator.
    pub failure: Option<String>,
    /// Pages read.
    pub pages: i64,
    /// Resources read.
    pub found: i64,
    /// New or changed.
    pub stored: i64,
    /// As already stored.
    pub unchanged: i64,
    /// Older than another one of the same resource.
    pub superseded: i64,
    /// Put aside.
    pub quarantined: i64,
    /// Of a run that goes from patient to patient, or from week to week: how many are done.
    pub units_done: Option<i64>,
    /// And of how many.
    pub units_of: Option<i64>,
    /// Found gone.
    pub gone: Option<i64>,
    /// Of a run that ended because the EHR may not be asked for a while: until when.
    pub paused_until: Option<i64>,
    /// What it has to say beside that, in words for the operator: that it fell back to another way, for instance.
    pub note: Option<String>,
}

/// The state of one (EHR, type).
///
/// # Errors
/// The engine's refusal.
pub fn get(conn: &mut Conn, ehr: &EhrId, rtype: ResourceType) -> Result<Option<SyncState>, StoreError> {
    Ok(on_backend!(conn, c => sync_state::table.find((ehr.as_str(), rtype.as_str())).first(c).optional())?)
}

/// All states.
///
/// # Errors
/// The engine's refusal.
pub fn list(conn: &mut Conn) -> Result<Vec<SyncState>, StoreError> {
    Ok(on_backend!(conn, c => sync_state::table.order((sync_state::ehr, sync_state::rtype)).load(c))?)
}

/// Begins a run: closes one that was cut off, makes a row, and the state if there is none yet.
///
/// # Errors
/// The engine's refusal.
pub fn begin(
    conn: &mut Conn,
    ehr: &EhrId,
    rtype: ResourceType,
    strategy: &str,
    fingerprint: &str,
    now: Timestamp,
) -> Result<i64, StoreError> {
    let (e, t) = (ehr.as_str(), rtype.as_str());
    let unfinished = sync_run::table.filter(sync_run::ehr.eq(e)).filter(sync_run::rtype.eq(t)).filter(sync_run::state.eq("running"));
    on_backend!(conn, c => diesel::update(unfinished)
        .set((sync_run::state.eq("interrupted"), sync_run::ended_at.eq(now.micros())))
        .execute(c))?;
    let zero = 0_i64;
    let row = (
        sync_run::ehr.eq(e),
        sync_run::rtype.eq(t),
        sync_run::strategy.eq(strategy),
        sync_run::state.eq("running"),
        sync_run::started_at.eq(now.micros()),
        sync_run::partial.eq(false),
        (sync_run::pages.eq(zero), sync_run::found.eq(zero), sync_run::stored.eq(zero)),
        (sync_run::unchanged.eq(zero), sync_run::superseded.eq(zero), sync_run::quarantined.eq(zero)),
    );
    let id: i64 = on_backend!(conn, c => diesel::insert_into(sync_run::table).values(row).returning(sync_run::id).get_result(c))?;
    let state =
        (sync_state::ehr.eq(e), sync_state::rtype.eq(t), sync_state::strategy.eq(strategy), sync_state::fingerprint.eq(fingerprint));
    on_backend!(conn, c => diesel::insert_into(sync_state::table)
        .values(state)
        .on_conflict((sync_state::ehr, sync_state::rtype))
        .do_update()
        .set((sync_state::strategy.eq(strategy), sync_state::run.eq(id)))
        .execute(c))?;
    Ok(id)
}

/// Forgets the resume point and high-water mark: the strategy, the filter or the server is another one now.
///
/// # Errors
/// The engine's refusal.
pub fn reset(conn: &mut Conn, ehr: &EhrId, rtype: ResourceType, fingerprint: &str) -> Result<(), StoreError> {
    on_backend!(conn, c => diesel::update(sync_state::table.find((ehr.as_str(), rtype.as_str())))
        .set((
            sync_state::fingerprint.eq(fingerprint),
            sync_state::high_water.eq(None::<i64>),
            sync_state::resume.eq(None::<String>),
        ))
        .execute(c))?;
    Ok(())
}

/// Adds to a run's counts and moves the resume point. In the same transaction as the rows that it speaks of.
///
/// # Errors
/// The engine's refusal.
pub fn advance(conn: &mut Conn, ehr: &EhrId, rtype: ResourceType, run: i64, more: Counts, resume: Option<&str>) -> Result<(), StoreError> {
    on_backend!(conn, c => diesel::update(sync_run::table.find(run))
        .set((
            sync_run::pages.eq(sync_run::pages + more.pages),
            sync_run::found.eq(sync_run::found + more.found),
            sync_run::stored.eq(sync_run::stored + more.stored),
            sync_run::unchanged.eq(sync_run::unchanged + more.unchanged),
            sync_run::superseded.eq(sync_run::superseded + more.superseded),
            sync_run::quarantined.eq(sync_run::quarantined + more.quarantined),
        ))
        .execute(c))?;
    on_backend!(conn, c => diesel::update(sync_state::table.find((ehr.as_str(), rtype.as_str())))
        .set((sync_state::resume.eq(resume), sync_state::run.eq(run)))
        .execute(c))?;
    Ok(())
}

/// Notes whether a type is read patient by patient.
///
/// # Errors
/// The engine's refusal.
pub fn set_by_patient(conn: &mut Conn, ehr: &EhrId, rtype: ResourceType, by_patient: bool) -> Result<(), StoreError> {
    on_backend!(conn, c => diesel::update(sync_state::table.find((ehr.as_str(), rtype.as_str())))
        .set(sync_state::by_patient.eq(by_patient))
        .execute(c))?;
    Ok(())
}

/// Notes that a complete answer was compared with what is stored.
///
/// # Errors
/// The engine's refusal.
pub fn reconciled(conn: &mut Conn, ehr: &EhrId, rtype: ResourceType, at: Timestamp) -> Result<(), StoreError> {
    on_backend!(conn, c => diesel::update(sync_state::table.find((ehr.as_str(), rtype.as_str())))
        .set(sync_state::reconciled_at.eq(at.micros()))
        .execute(c))?;
    Ok(())
}

/// Notes what a run has to say beside its counts.
///
/// # Errors
/// The engine's refusal.
pub fn remark(conn: &mut Conn, run: i64, note: &str) -> Result<(), StoreError> {
    on_backend!(conn, c => diesel::update(sync_run::table.find(run)).set(sync_run::note.eq(note)).execute(c))?;
    Ok(())
}

/// Notes how many units of a run are done, of how many, and how many more resources were found gone.
///
/// # Errors
/// The engine's refusal.
pub fn progress(conn: &mut Conn, run: i64, done: i64, of: i64, gone: i64) -> Result<(), StoreError> {
    on_backend!(conn, c => diesel::update(sync_run::table.find(run))
        .set((sync_run::units_done.eq(done), sync_run::units_of.eq(of)))
        .execute(c))?;
    more_gone(conn, run, gone)
}

/// Notes how many more resources a run found gone.
///
/// # Errors
/// The engine's refusal.
pub fn more_gone(conn: &mut Conn, run: i64, gone: i64) -> Result<(), StoreError> {
    let before: Option<Option<i64>> = on_backend!(conn, c => sync_run::table.find(run).select(sync_run::gone).first(c).optional())?;
    found_gone(conn, run, before.flatten().unwrap_or(0) + gone)
}

/// Notes how many resources a run found gone.
///
/// # Errors
/// The engine's refusal.
pub fn found_gone(conn: &mut Conn, run: i64, gone: i64) -> Result<(), StoreError> {
    on_backend!(conn, c => diesel::update(sync_run::table.find(run)).set(sync_run::gone.eq(gone)).execute(c))?;
    Ok(())
}

/// Notes the server's clock at the beginning of a run, and whether it said that something is missing.
///
/// # Errors
/// The engine's refusal.
pub fn observe(conn: &mut Conn, run: i64, server_started: Option<Timestamp>, partial: bool) -> Result<(), StoreError> {
    if let Some(at) = server_started {
        let first = sync_run::table.find(run).filter(sync_run::server_started_at.is_null());
        on_backend!(conn, c => diesel::update(first).set(sync_run::server_started_at.eq(at.micros())).execute(c))?;
    }
    if partial {
        on_backend!(conn, c => diesel::update(sync_run::table.find(run)).set(sync_run::partial.eq(true)).execute(c))?;
    }
    Ok(())
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Everything was read. The new high-water mark, where the strategy has one.
    Done {
        /// New mark; the old one stays where `None`.
        high_water: Option<Timestamp>,
        /// Known up to this instant of our clock; `None` where the EHR said that something is missing: the type is then known no better
        /// than before.
        as_of: Option<Timestamp>,
    },
    /// It failed; the resume point stays for the next run.
    Failed(String),
    /// It was stopped; the resume point stays.
    Interrupted,
    /// The EHR may not be asked before this instant; the resume point stays.
    Paused(Timestamp),
}

/// Ends a run.
///
/// # Errors
/// The engine's refusal.
pub fn end(conn: &mut Conn, ehr: &EhrId, rtype: ResourceType, run: i64, how: &End, now: Timestamp) -> Result<(), StoreError> {
    end_together(conn, ehr, &[(rtype, run)], how, now)
}

/// Ends runs of several types of an EHR in the same way; who must be looked at anew is marked once for all of them.
///
/// # Errors
/// The engine's refusal.
pub fn end_together(conn: &mut Conn, ehr: &EhrId, runs: &[(ResourceType, i64)], how: &End, now: Timestamp) -> Result<(), StoreError> {
    let mut first_known = false;
    for &(rtype, run) in runs {
        let (state, failure) = match how {
            End::Done { high_water, as_of } => {
                first_known |= known_up_to(conn, ehr, rtype, *high_water, *as_of)?;
                ("done", None)
            }
            End::Failed(why) => ("failed", Some(why.as_str())),
            End::Interrupted | End::Paused(_) => ("interrupted", None),
        };
        let paused = if let End::Paused(until) = how { Some(until.micros()) } else { None };
        on_backend!(conn, c => diesel::update(sync_run::table.find(run))
            .set((
                sync_run::state.eq(state),
                sync_run::failure.eq(failure),
                sync_run::ended_at.eq(now.micros()),
                sync_run::paused_until.eq(paused),
            ))
            .execute(c))?;
    }
    if first_known {
        // From now on "none" is known, which was "not known" before: for everyone of this EHR, also for those with nothing of the type.
        pending::mark_ehr(conn, ehr, now)?;
    }
    Ok(())
}

/// Moves the marks of a type that was read to its end; whether it is known for the first time.
fn known_up_to(
    conn: &mut Conn,
    ehr: &EhrId,
    rtype: ResourceType,
    high_water: Option<Timestamp>,
    as_of: Option<Timestamp>,
) -> Result<bool, StoreError> {
    let row = || sync_state::table.find((ehr.as_str(), rtype.as_str()));
    if let Some(mark) = high_water {
        on_backend!(conn, c => diesel::update(row()).set(sync_state::high_water.eq(mark.micros())).execute(c))?;
    }
    let before: Option<Option<i64>> = on_backend!(conn, c => row().select(sync_state::as_of).first(c).optional())?;
    if let Some(at) = as_of {
        on_backend!(conn, c => diesel::update(row()).set(sync_state::as_of.eq(at.micros())).execute(c))?;
    }
    on_backend!(conn, c => diesel::update(row()).set(sync_state::resume.eq(None::<String>)).execute(c))?;
    Ok(before.flatten().is_none() && as_of.is_some())
}

/// The run with that number.
///
/// # Errors
/// The engine's refusal.
pub fn run(conn: &mut Conn, id: i64) -> Result<Option<SyncRun>, StoreError> {
    Ok(on_backend!(conn, c => sync_run::table.find(id).first(c).optional())?)
}

/// The latest run of each (EHR, type), by name.
///
/// # Errors
/// The engine's refusal.
pub fn latest_runs(conn: &mut Conn) -> Result<Vec<SyncRun>, StoreError> {
    use diesel::dsl::max;
    let ids: Vec<Option<i64>> =
        on_backend!(conn, c => sync_run::table.group_by((sync_run::ehr, sync_run::rtype)).select(max(sync_run::id)).load(c))?;
    let ids: Vec<i64> = ids.into_iter().flatten().collect();
    Ok(on_backend!(conn, c => sync_run::table.filter(sync_run::id.eq_any(&ids)).order((sync_run::ehr, sync_run::rtype)).load(c))?)
}

/// Of each (EHR, type) the run before the latest, by name: what the latest is measured by.
///
/// # Errors
/// The engine's refusal.
pub fn before_latest(conn: &mut Conn) -> Result<Vec<SyncRun>, StoreError> {
    use diesel::dsl::max;
    let mut found = Vec::new();
    for latest in latest_runs(conn)? {
        let of = sync_run::table
            .filter(sync_run::ehr.eq(latest.ehr.as_str()))
            .filter(sync_run::rtype.eq(latest.rtype.as_str()))
            .filter(sync_run::id.lt(latest.id));
        let id: Option<i64> = on_backend!(conn, c => of.select(max(sync_run::id)).first(c))?;
        if let Some(id) = id {
            found.extend(run(conn, id)?);
        }
    }
    Ok(found)
}
