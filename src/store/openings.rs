//! Patients that sessions have open. A handle is worth something only to the session that it was made in.

use diesel::prelude::*;
use domain::Timestamp;

use super::connection::{Conn, on_backend};
use super::error::StoreError;
use super::schema::opening;

/// An opening.
#[derive(Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = opening)]
pub struct OpeningRow {
    /// What stands in URLs.
    pub handle: String,
    /// Whose it is.
    pub session: String,
    /// The EHR.
    pub ehr: String,
    /// The patient's id there. It may not have been synced yet.
    pub patient: String,
    /// What the user was when it was made.
    pub roles: String,
    /// `launch`: the EHR says whom it is about. `found`: somebody looked for the patient here.
    pub way: String,
    /// The encounter's id, where the launch named one.
    pub encounter: Option<String>,
    /// Whether the page has to say who the patient is.
    pub banner: bool,
    /// What the launch was for, in the EHR's words.
    pub intent: Option<String>,
    /// The EHR's tenant.
    pub tenant: Option<String>,
    /// `fhirContext` of the launch, JSON.
    pub context: Option<String>,
    /// Whether there is a grant of the EHR with it.
    pub granted: bool,
    /// What the EHR said when it was asked with the user's own token: `unasked`, `allowed`, `denied`.
    pub verdict: String,
    /// When it was asked.
    pub asked_at: Option<i64>,
    /// When it was made.
    pub opened_at: i64,
    /// When it ends.
    pub expires_at: i64,
}

/// Keeps an opening.
///
/// # Errors
/// The engine's refusal.
pub fn put(conn: &mut Conn, row: &OpeningRow) -> Result<(), StoreError> {
    on_backend!(conn, c => diesel::insert_into(opening::table).values(row).execute(c))?;
    Ok(())
}

/// The opening of this session; `None` where it is another's or has ended.
///
/// # Errors
/// The engine's refusal.
pub fn get(conn: &mut Conn, handle: &str, session: &str, now: Timestamp) -> Result<Option<OpeningRow>, StoreError> {
    let of = opening::session.eq(session).and(opening::expires_at.gt(now.micros()));
    Ok(on_backend!(conn, c => opening::table.find(handle).filter(of).select(OpeningRow::as_select()).first(c).optional())?)
}

/// Keeps what the EHR said to the user's own token.
///
/// # Errors
/// The engine's refusal.
pub fn judged(conn: &mut Conn, handle: &str, verdict: &str, now: Timestamp) -> Result<(), StoreError> {
    on_backend!(conn, c => diesel::update(opening::table.find(handle))
        .set((opening::verdict.eq(verdict), opening::asked_at.eq(now.micros())))
        .execute(c))?;
    Ok(())
}

/// How many have ended and are still there.
///
/// # Errors
/// The engine's refusal.
pub fn run_out(conn: &mut Conn, now: Timestamp) -> Result<i64, StoreError> {
    Ok(on_backend!(conn, c => opening::table.filter(opening::expires_at.le(now.micros())).count().get_result(c))?)
}

/// Throws away those that have ended; returns those that had a grant, as (EHR, handle).
///
/// # Errors
/// The engine's refusal.
pub fn end_run_out(conn: &mut Conn, now: Timestamp) -> Result<Vec<(String, String)>, StoreError> {
    let over = opening::expires_at.le(now.micros());
    let granted = on_backend!(conn, c => opening::table
        .filter(over)
        .filter(opening::granted.eq(true))
        .select((opening::ehr, opening::handle))
        .load(c))?;
    on_backend!(conn, c => diesel::delete(opening::table.filter(over)).execute(c))?;
    Ok(granted)
}

/// Of these handles, those that are open.
///
/// # Errors
/// The engine's refusal.
pub fn open_of(conn: &mut Conn, handles: &[String]) -> Result<Vec<String>, StoreError> {
    Ok(on_backend!(conn, c => opening::table.filter(opening::handle.eq_any(handles.to_vec())).select(opening::handle).load(c))?)
}
