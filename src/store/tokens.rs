//! Access tokens that all nodes share, sealed. `credentials` seals and opens them.
//!
//! No lease guards a write here: a token that came late is still a token, and the latest one wins.

use diesel::prelude::*;
use domain::Timestamp;

use super::connection::{Conn, on_backend};
use super::error::StoreError;
use super::schema::access_token;

/// A stored token.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = access_token)]
pub struct TokenRow {
    /// The token and what it allows, sealed.
    pub sealed: Vec<u8>,
    /// Tells tokens apart without showing them.
    pub fingerprint: String,
    /// From when on it is not used any more, in microseconds.
    pub renew_at: i64,
}

/// The token of a slot, also one that has ended: it tells what was granted last.
///
/// # Errors
/// The engine's refusal.
pub fn get(conn: &mut Conn, ehr: &str, slot: &str) -> Result<Option<TokenRow>, StoreError> {
    Ok(on_backend!(conn, c => access_token::table.find((ehr, slot)).select(TokenRow::as_select()).first(c).optional())?)
}

/// Puts a token in its slot.
///
/// # Errors
/// The engine's refusal.
pub fn put(conn: &mut Conn, ehr: &str, slot: &str, row: &TokenRow) -> Result<(), StoreError> {
    let TokenRow { sealed, fingerprint, renew_at } = row;
    let values = (
        access_token::ehr.eq(ehr),
        access_token::slot.eq(slot),
        access_token::sealed.eq(sealed),
        access_token::fingerprint.eq(fingerprint),
        access_token::renew_at.eq(renew_at),
    );
    on_backend!(conn, c => diesel::insert_into(access_token::table)
        .values(values)
        .on_conflict((access_token::ehr, access_token::slot))
        .do_update()
        .set((access_token::sealed.eq(sealed), access_token::fingerprint.eq(fingerprint), access_token::renew_at.eq(renew_at)))
        .execute(c))?;
    Ok(())
}

/// Throws a token away, where it is still the one in its slot.
///
/// # Errors
/// The engine's refusal.
pub fn forget(conn: &mut Conn, ehr: &str, slot: &str, fingerprint: &str) -> Result<(), StoreError> {
    on_backend!(conn, c => diesel::delete(access_token::table.find((ehr, slot)).filter(access_token::fingerprint.eq(fingerprint))).execute(c))?;
    Ok(())
}

/// Throws all tokens of an EHR away.
///
/// # Errors
/// The engine's refusal.
pub fn forget_all(conn: &mut Conn, ehr: &str) -> Result<(), StoreError> {
    on_backend!(conn, c => diesel::delete(access_token::table.filter(access_token::ehr.eq(ehr))).execute(c))?;
    Ok(())
}

/// Throws away what ended before an instant: slots whose needs nobody has any more.
///
/// # Errors
/// The engine's refusal.
pub fn sweep(conn: &mut Conn, before: Timestamp) -> Result<(), StoreError> {
    on_backend!(conn, c => diesel::delete(access_token::table.filter(access_token::renew_at.lt(before.micros()))).execute(c))?;
    Ok(())
}

/// Whose tokens of launches are kept that ran out before an instant.
///
/// # Errors
/// The engine's refusal.
pub fn of_launches(conn: &mut Conn, before: Timestamp) -> Result<Vec<String>, StoreError> {
    Ok(on_backend!(conn, c => access_token::table
        .filter(access_token::ehr.like("launch/%"))
        .filter(access_token::renew_at.lt(before.micros()))
        .select(access_token::ehr)
        .distinct()
        .order(access_token::ehr)
        .load(c))?)
}
