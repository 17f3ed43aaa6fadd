//! Signing keys, sealed. `credentials` seals and opens them.

use diesel::prelude::*;
use domain::Timestamp;

use super::connection::{Conn, on_backend};
use super::error::StoreError;
use super::schema::signing_key;

/// A stored key.
#[derive(Clone, Debug, Queryable)]
pub struct SigningKey {
    /// Key id, as in the JWKS.
    pub kid: String,
    /// `RS384`, `ES384`, `RS256` or `ES256`.
    pub alg: String,
    /// `next`, `current`, `retiring`, `retired`.
    pub state: String,
    /// The private key, sealed with the master key.
    pub sealed: Vec<u8>,
    /// The public key as a JWK.
    pub public_jwk: String,
    /// When it was made.
    pub created_at: i64,
}

/// Adds a key.
///
/// # Errors
/// The engine's refusal.
pub fn add(conn: &mut Conn, kid: &str, alg: &str, state: &str, sealed: &[u8], public_jwk: &str, now: Timestamp) -> Result<(), StoreError> {
    let row = (
        signing_key::kid.eq(kid),
        signing_key::alg.eq(alg),
        signing_key::state.eq(state),
        signing_key::sealed.eq(sealed),
        signing_key::public_jwk.eq(public_jwk),
        signing_key::created_at.eq(now.micros()),
    );
    on_backend!(conn, c => diesel::insert_into(signing_key::table).values(row).execute(c))?;
    Ok(())
}

/// Adds a current key of an algorithm where there is none, also where another process is just adding one. `false`: there was one.
///
/// # Errors
/// The engine's refusal.
pub fn add_first(conn: &mut Conn, kid: &str, alg: &str, sealed: &[u8], public_jwk: &str, now: Timestamp) -> Result<bool, StoreError> {
    conn.write_alone("signing_key")?;
    if list(conn)?.iter().any(|k| k.alg == alg && k.state == "current") {
        return Ok(false);
    }
    add(conn, kid, alg, "current", sealed, public_jwk, now)?;
    Ok(true)
}

/// All keys that are not retired, the oldest first.
///
/// # Errors
/// The engine's refusal.
pub fn list(conn: &mut Conn) -> Result<Vec<SigningKey>, StoreError> {
    Ok(on_backend!(conn, c => signing_key::table
        .filter(signing_key::state.ne("retired"))
        .order((signing_key::created_at, signing_key::kid))
        .load(c))?)
}

/// Sets a key's state.
///
/// # Errors
/// The engine's refusal.
pub fn set_state(conn: &mut Conn, kid: &str, state: &str) -> Result<(), StoreError> {
    on_backend!(conn, c => diesel::update(signing_key::table.find(kid).filter(signing_key::state.ne(state)))
        .set(signing_key::state.eq(state))
        .execute(c))?;
    Ok(())
}
