//! Pauses: who stopped the reading of an EHR or of one type of it, why, and who let it go on. Those that are over stay as a record.

use diesel::prelude::*;
use domain::Timestamp;
use domain::model::EhrId;

use super::connection::{Conn, on_backend};
use super::error::StoreError;
use super::schedules::ALL_TYPES;
use super::schema::sync_pause;

/// A pause.
#[derive(Clone, Debug, PartialEq, Eq, Queryable)]
pub struct Pause {
    /// Its number.
    pub id: i64,
    /// The EHR.
    pub ehr: String,
    /// The type, or [`ALL_TYPES`].
    pub rtype: String,
    /// Why.
    pub why: String,
    /// Since when.
    pub paused_at: i64,
    /// Who did it.
    pub paused_by: String,
    /// When it ended.
    pub resumed_at: Option<i64>,
    /// Who ended it.
    pub resumed_by: Option<String>,
}

impl Pause {
    /// Whether it holds a type up.
    #[must_use]
    pub fn holds(&self, ehr: &str, rtype: &str) -> bool {
        self.resumed_at.is_none() && self.ehr == ehr && (self.rtype == ALL_TYPES || self.rtype == rtype)
    }
}

/// Begins a pause; `false` where one is in force already.
///
/// # Errors
/// The engine's refusal.
pub fn begin(conn: &mut Conn, ehr: &EhrId, rtype: &str, why: &str, by: &str, now: Timestamp) -> Result<bool, StoreError> {
    let row = (
        sync_pause::ehr.eq(ehr.as_str()),
        sync_pause::rtype.eq(rtype),
        sync_pause::why.eq(why),
        sync_pause::paused_at.eq(now.micros()),
        sync_pause::paused_by.eq(by),
    );
    Ok(on_backend!(conn, c => diesel::insert_into(sync_pause::table).values(row).on_conflict_do_nothing().execute(c))? == 1)
}

/// Ends a pause; `false` where none was in force.
///
/// # Errors
/// The engine's refusal.
pub fn end(conn: &mut Conn, ehr: &EhrId, rtype: &str, by: &str, now: Timestamp) -> Result<bool, StoreError> {
    let row = sync_pause::table
        .filter(sync_pause::ehr.eq(ehr.as_str()))
        .filter(sync_pause::rtype.eq(rtype))
        .filter(sync_pause::resumed_at.is_null());
    let over = (sync_pause::resumed_at.eq(now.micros()), sync_pause::resumed_by.eq(by));
    Ok(on_backend!(conn, c => diesel::update(row).set(over).execute(c))? == 1)
}

/// The pauses in force.
///
/// # Errors
/// The engine's refusal.
pub fn in_force(conn: &mut Conn) -> Result<Vec<Pause>, StoreError> {
    Ok(on_backend!(conn, c => sync_pause::table.filter(sync_pause::resumed_at.is_null()).order(sync_pause::id).load(c))?)
}

/// All pauses of an EHR, those that are over too, the latest first.
///
/// # Errors
/// The engine's refusal.
pub fn of(conn: &mut Conn, ehr: &EhrId, limit: i64) -> Result<Vec<Pause>, StoreError> {
    Ok(
        on_backend!(conn, c => sync_pause::table.filter(sync_pause::ehr.eq(ehr.as_str())).order(sync_pause::id.desc()).limit(limit).load(c))?,
    )
}

/// Forgets the pauses of an EHR: another one may come under its name.
///
/// # Errors
/// The engine's refusal.
pub fn forget(conn: &mut Conn, ehr: &str) -> Result<(), StoreError> {
    on_backend!(conn, c => diesel::delete(sync_pause::table.filter(sync_pause::ehr.eq(ehr))).execute(c))?;
    Ok(())
}
