//! When EHRs are read, as the site says. What a schedule says is opaque here: `worker::schedule` reads it. It stands in the database and not
//! in a file, so that all nodes go by one.

use diesel::prelude::*;
use domain::Timestamp;
use domain::model::EhrId;

use super::connection::{Conn, on_backend};
use super::error::StoreError;
use super::schema::schedule;

/// Stands in place of a type for all types of an EHR.
pub const ALL_TYPES: &str = "*";

/// A schedule.
#[derive(Clone, Debug, PartialEq, Eq, Queryable)]
pub struct ScheduleRow {
    /// The EHR.
    pub ehr: String,
    /// The type, or [`ALL_TYPES`].
    pub rtype: String,
    /// What it says, JSON.
    pub timing: String,
    /// When it was set.
    pub set_at: i64,
    /// By whom.
    pub set_by: String,
}

/// Sets the schedule of a type, or of all types of an EHR.
///
/// # Errors
/// The engine's refusal.
pub fn put(conn: &mut Conn, ehr: &EhrId, rtype: &str, timing: &str, by: &str, now: Timestamp) -> Result<(), StoreError> {
    let key = (schedule::ehr.eq(ehr.as_str()), schedule::rtype.eq(rtype));
    let says = (schedule::timing.eq(timing), schedule::set_at.eq(now.micros()), schedule::set_by.eq(by));
    on_backend!(conn, c => diesel::insert_into(schedule::table)
        .values((key, says))
        .on_conflict((schedule::ehr, schedule::rtype))
        .do_update()
        .set(says)
        .execute(c))?;
    Ok(())
}

/// Takes a schedule back; `false` where there was none.
///
/// # Errors
/// The engine's refusal.
pub fn remove(conn: &mut Conn, ehr: &EhrId, rtype: &str) -> Result<bool, StoreError> {
    Ok(on_backend!(conn, c => diesel::delete(schedule::table.find((ehr.as_str(), rtype))).execute(c))? == 1)
}

/// All schedules.
///
/// # Errors
/// The engine's refusal.
pub fn list(conn: &mut Conn) -> Result<Vec<ScheduleRow>, StoreError> {
    Ok(on_backend!(conn, c => schedule::table.order((schedule::ehr, schedule::rtype)).load(c))?)
}

/// Forgets the schedules of an EHR.
///
/// # Errors
/// The engine's refusal.
pub fn forget(conn: &mut Conn, ehr: &str) -> Result<(), StoreError> {
    on_backend!(conn, c => diesel::delete(schedule::table.filter(schedule::ehr.eq(ehr))).execute(c))?;
    Ok(())
}
