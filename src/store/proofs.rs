//! What a probe of an EHR proved: a statement that was tried out on a named test patient, and whether it held.

use diesel::prelude::*;
use domain::Timestamp;

use super::connection::{Conn, on_backend};
use super::error::StoreError;
use super::schema::proof;

/// A proof.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = proof)]
pub struct Proof {
    /// The EHR.
    pub ehr: String,
    /// What was tried, such as `conditional-create Communication`.
    pub subject: String,
    /// Whether it held.
    pub holds: bool,
    /// When it was tried.
    pub seen_at: i64,
}

/// Keeps the outcome of a probe; the latest counts.
///
/// # Errors
/// The engine's refusal.
pub fn keep(conn: &mut Conn, ehr: &str, subject: &str, holds: bool, now: Timestamp) -> Result<(), StoreError> {
    let before = proof::table.find((ehr, subject));
    on_backend!(conn, c => diesel::delete(before).execute(c))?;
    let row = (proof::ehr.eq(ehr), proof::subject.eq(subject), proof::holds.eq(holds), proof::seen_at.eq(now.micros()));
    on_backend!(conn, c => diesel::insert_into(proof::table).values(row).execute(c))?;
    Ok(())
}

/// What stands before the way by which something was ever sent: that stays true whatever is set up later.
pub const USED: &str = "used ";

/// Forgets what was proved of an EHR: its address or its statement changed. By what it was written to is kept.
///
/// # Errors
/// The engine's refusal.
pub fn forget(conn: &mut Conn, ehr: &str) -> Result<(), StoreError> {
    let proved = proof::table.filter(proof::ehr.eq(ehr)).filter(proof::subject.not_like(format!("{USED}%")));
    on_backend!(conn, c => diesel::delete(proved).execute(c))?;
    Ok(())
}

/// What was proved of an EHR.
///
/// # Errors
/// The engine's refusal.
pub fn of(conn: &mut Conn, ehr: &str) -> Result<Vec<Proof>, StoreError> {
    Ok(on_backend!(conn, c => proof::table.filter(proof::ehr.eq(ehr)).order(proof::subject).select(Proof::as_select()).load(c))?)
}
