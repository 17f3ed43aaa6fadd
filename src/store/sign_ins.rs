//! Ways in that are under way: sign-ins and launches that wait for the browser to come back, and links that may be used once. Each is
//! taken out by the first that comes with it, so nothing can be played twice.

use diesel::prelude::*;
use domain::Timestamp;

use super::connection::{Conn, on_backend};
use super::error::StoreError;
use super::schema::{sign_in, sign_in_link};

/// A sign-in that waits.
#[derive(Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = sign_in)]
pub struct SignInRow {
    /// The hash of the `state` that was sent.
    pub state: String,
    /// The hash of what the browser was given to prove that it is the same one.
    pub browser: String,
    /// `oidc` or `launch`.
    pub way: String,
    /// The EHR, for a launch.
    pub ehr: Option<String>,
    /// The rest, sealed: secrets of PKCE and OIDC.
    pub sealed: Vec<u8>,
    /// When it began.
    pub begun_at: i64,
    /// When it ends.
    pub expires_at: i64,
}

/// Keeps one, and throws away those that have ended.
///
/// # Errors
/// The engine's refusal.
pub fn put(conn: &mut Conn, row: &SignInRow) -> Result<(), StoreError> {
    on_backend!(conn, c => diesel::delete(sign_in::table.filter(sign_in::expires_at.le(row.begun_at))).execute(c))?;
    on_backend!(conn, c => diesel::insert_into(sign_in::table).values(row).execute(c))?;
    Ok(())
}

/// Takes one out, by its state and the browser that it was begun in. Where the browser is another, it stays: whoever got hold of a state
/// must not be able to end somebody's sign-in.
///
/// # Errors
/// The engine's refusal.
pub fn take(conn: &mut Conn, state: &str, browser: &str, now: Timestamp) -> Result<Option<SignInRow>, StoreError> {
    let ours = sign_in::browser.eq(browser).and(sign_in::expires_at.gt(now.micros()));
    let row = on_backend!(conn, c => sign_in::table.find(state).filter(ours).select(SignInRow::as_select()).first(c).optional())?;
    let Some(row) = row else { return Ok(None) };
    let hit = on_backend!(conn, c => diesel::delete(sign_in::table.find(state)).execute(c))?;
    Ok((hit == 1).then_some(row))
}

/// How many wait.
///
/// # Errors
/// The engine's refusal.
pub fn waiting(conn: &mut Conn, now: Timestamp) -> Result<i64, StoreError> {
    Ok(on_backend!(conn, c => sign_in::table.filter(sign_in::expires_at.gt(now.micros())).count().get_result(c))?)
}

/// Keeps a link, and throws away those that have ended.
///
/// # Errors
/// The engine's refusal.
pub fn put_link(conn: &mut Conn, token: &str, roles: &str, made_at: Timestamp, expires_at: Timestamp) -> Result<(), StoreError> {
    let old = sign_in_link::expires_at.le(made_at.micros());
    on_backend!(conn, c => diesel::delete(sign_in_link::table.filter(old)).execute(c))?;
    let row = (
        sign_in_link::token.eq(token),
        sign_in_link::roles.eq(roles),
        sign_in_link::made_at.eq(made_at.micros()),
        sign_in_link::expires_at.eq(expires_at.micros()),
    );
    on_backend!(conn, c => diesel::insert_into(sign_in_link::table).values(row).execute(c))?;
    Ok(())
}

/// The roles that a link gives, while it may be used.
///
/// # Errors
/// The engine's refusal.
pub fn link(conn: &mut Conn, token: &str, now: Timestamp) -> Result<Option<String>, StoreError> {
    let valid = sign_in_link::expires_at.gt(now.micros());
    Ok(on_backend!(conn, c => sign_in_link::table.find(token).filter(valid).select(sign_in_link::roles).first(c).optional())?)
}

/// Takes a link out, and tells the roles that it gives.
///
/// # Errors
/// The engine's refusal.
pub fn take_link(conn: &mut Conn, token: &str, now: Timestamp) -> Result<Option<String>, StoreError> {
    let Some(roles) = link(conn, token, now)? else { return Ok(None) };
    let hit = on_backend!(conn, c => diesel::delete(sign_in_link::table.find(token)).execute(c))?;
    Ok((hit == 1).then_some(roles))
}

/// Throws away sign-ins and links that have ended.
///
/// # Errors
/// The engine's refusal.
pub fn sweep(conn: &mut Conn, now: Timestamp) -> Result<(), StoreError> {
    on_backend!(conn, c => diesel::delete(sign_in::table.filter(sign_in::expires_at.le(now.micros()))).execute(c))?;
    on_backend!(conn, c => diesel::delete(sign_in_link::table.filter(sign_in_link::expires_at.le(now.micros()))).execute(c))?;
    Ok(())
}
