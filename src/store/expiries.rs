//! When something ends that was seen at an EHR: its server's certificate, for one. What is known from files and settings is not here.

use diesel::prelude::*;
use domain::Timestamp;

use super::connection::{Conn, on_backend};
use super::error::StoreError;
use super::schema::seen_expiry;

/// Something that ends.
#[derive(Clone, Debug, PartialEq, Eq, Queryable)]
pub struct SeenExpiry {
    /// At which EHR.
    pub ehr: String,
    /// What kind of thing.
    pub what: String,
    /// Which of them: an origin, for a certificate.
    pub name: String,
    /// When it ends.
    pub expires_at: i64,
    /// When that was last seen to have changed.
    pub seen_at: i64,
}

/// Notes what was seen. Nothing is written where it is known already.
///
/// # Errors
/// The engine's refusal.
pub fn note(conn: &mut Conn, ehr: &str, what: &str, name: &str, expires_at: Timestamp, now: Timestamp) -> Result<(), StoreError> {
    let known: Option<i64> =
        on_backend!(conn, c => seen_expiry::table.find((ehr, what, name)).select(seen_expiry::expires_at).first(c).optional())?;
    if known == Some(expires_at.micros()) {
        return Ok(());
    }
    let changing = (seen_expiry::expires_at.eq(expires_at.micros()), seen_expiry::seen_at.eq(now.micros()));
    let values = (seen_expiry::ehr.eq(ehr), seen_expiry::what.eq(what), seen_expiry::name.eq(name), changing);
    on_backend!(conn, c => diesel::insert_into(seen_expiry::table)
        .values(values)
        .on_conflict((seen_expiry::ehr, seen_expiry::what, seen_expiry::name))
        .do_update()
        .set(changing)
        .execute(c))?;
    Ok(())
}

/// All that was seen, by EHR.
///
/// # Errors
/// The engine's refusal.
pub fn list(conn: &mut Conn) -> Result<Vec<SeenExpiry>, StoreError> {
    Ok(on_backend!(conn, c => seen_expiry::table.order((seen_expiry::ehr, seen_expiry::what, seen_expiry::name)).load(c))?)
}

/// Forgets what was seen at an EHR.
///
/// # Errors
/// The engine's refusal.
pub fn forget(conn: &mut Conn, ehr: &str) -> Result<(), StoreError> {
    on_backend!(conn, c => diesel::delete(seen_expiry::table.filter(seen_expiry::ehr.eq(ehr))).execute(c))?;
    Ok(())
}
