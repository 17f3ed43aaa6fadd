//! Registered EHRs. A profile is opaque here: `ehr::profile` reads it.

use diesel::prelude::*;
use domain::Timestamp;
use domain::model::EhrId;

use super::connection::{Conn, on_backend};
use super::error::StoreError;
use super::schema::{attempt, ehr, patient, resource, sync_state, writeback};

/// A registered EHR.
#[derive(Clone, Debug, Queryable)]
pub struct EhrRow {
    /// The operator's name for it.
    pub id: String,
    /// The connector profile, JSON.
    pub profile: String,
    /// Grows with each change.
    pub revision: i64,
    /// When it was added.
    pub added_at: i64,
}

/// Registers an EHR or changes its profile.
///
/// # Errors
/// The engine's refusal.
pub fn put(conn: &mut Conn, id: &EhrId, profile: &str, now: Timestamp) -> Result<(), StoreError> {
    let row = (ehr::id.eq(id.as_str()), ehr::profile.eq(profile), ehr::revision.eq(1_i64), ehr::added_at.eq(now.micros()));
    on_backend!(conn, c => diesel::insert_into(ehr::table)
        .values(row)
        .on_conflict(ehr::id)
        .do_update()
        .set((ehr::profile.eq(profile), ehr::revision.eq(ehr::revision + 1)))
        .execute(c))?;
    // What failed may have failed for what was put right just now.
    super::turns::retry(conn, id.as_str(), now)?;
    Ok(())
}

/// One EHR.
///
/// # Errors
/// The engine's refusal.
pub fn get(conn: &mut Conn, id: &str) -> Result<Option<EhrRow>, StoreError> {
    Ok(on_backend!(conn, c => ehr::table.find(id).first(c).optional())?)
}

/// All EHRs, by name.
///
/// # Errors
/// The engine's refusal.
pub fn list(conn: &mut Conn) -> Result<Vec<EhrRow>, StoreError> {
    Ok(on_backend!(conn, c => ehr::table.order(ehr::id).load(c))?)
}

/// What stands in the way of removing an EHR: how many resources, attempts and unsettled write-backs belong to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holdings {
    /// Stored resources.
    pub resources: i64,
    /// Attempts to its patients.
    pub attempts: i64,
    /// Write-backs that are not settled.
    pub unsettled: i64,
}

/// Counts what belongs to an EHR.
///
/// # Errors
/// The engine's refusal.
pub fn holdings(conn: &mut Conn, id: &str) -> Result<Holdings, StoreError> {
    let resources = on_backend!(conn, c => resource::table.filter(resource::ehr.eq(id)).count().get_result(c))?;
    let attempts = on_backend!(conn, c => attempt::table.inner_join(patient::table).filter(patient::ehr.eq(id)).count().get_result(c))?;
    let unsettled = on_backend!(conn, c => writeback::table
        .filter(writeback::ehr.eq(id))
        .filter(writeback::state.eq_any(["owed", "writing", "unknown"]))
        .count()
        .get_result(c))?;
    Ok(Holdings { resources, attempts, unsettled })
}

/// Removes a connection. What was synced and sent stays: it is the record of what was done. `false` where there is no such EHR.
///
/// # Errors
/// The engine's refusal.
pub fn remove(conn: &mut Conn, id: &str) -> Result<bool, StoreError> {
    on_backend!(conn, c => diesel::delete(sync_state::table.filter(sync_state::ehr.eq(id))).execute(c))?;
    // What was seen of this server says nothing of another one under its name.
    super::proofs::forget(conn, id)?;
    super::roster::forget(conn, id)?;
    super::coverage::forget(conn, id)?;
    super::schedules::forget(conn, id)?;
    super::turns::forget(conn, id)?;
    super::pauses::forget(conn, id)?;
    super::drops::forget(conn, id)?;
    // What opens a door is not kept for a door that is gone.
    super::tokens::forget_all(conn, id)?;
    super::grants::forget_all(conn, id)?;
    super::ehr_keys::forget(conn, id)?;
    super::expiries::forget(conn, id)?;
    super::statements::forget(conn, id)?;
    super::exports::forget_ehr(conn, id)?;
    super::subscriptions::forget(conn, id)?;
    super::refresh::forget(conn, id)?;
    Ok(on_backend!(conn, c => diesel::delete(ehr::table.find(id)).execute(c))? == 1)
}
