//! What a person granted this gateway at an EHR: a refresh token, sealed, that may change with each use.
//!
//! A refresh is told before it is begun and its outcome is written before it is used, so that after a crash it is known whether the
//! stored token may have been spent. A revision guards each step; two nodes cannot both take one.

use diesel::prelude::*;
use domain::Timestamp;

use super::connection::{Conn, on_backend};
use super::error::StoreError;
use super::schema::user_grant;

/// A stored grant.
#[derive(Clone, Debug, PartialEq, Eq, Queryable)]
pub struct GrantRow {
    /// The EHR.
    pub ehr: String,
    /// The credential of the EHR that it belongs to; empty for its own.
    pub client: String,
    /// The refresh token, sealed.
    pub sealed: Vec<u8>,
    /// Grows with each change.
    pub revision: i64,
    /// `held`, `refreshing`, `lost`.
    pub state: String,
    /// What was granted last, as the EHR writes it.
    pub scope: String,
    /// When the person granted it.
    pub granted_at: i64,
    /// When it was last refreshed.
    pub refreshed_at: i64,
    /// When the refresh token ends, where that is known.
    pub expires_at: Option<i64>,
    /// Why it was lost.
    pub told: Option<String>,
}

/// A refresh token that is to be stored.
#[derive(Clone, Debug)]
pub struct Fresh {
    /// The refresh token, sealed.
    pub sealed: Vec<u8>,
    /// What was granted.
    pub scope: String,
    /// When the refresh token ends, where that is known.
    pub expires_at: Option<Timestamp>,
}

/// One grant.
///
/// # Errors
/// The engine's refusal.
pub fn get(conn: &mut Conn, ehr: &str, client: &str) -> Result<Option<GrantRow>, StoreError> {
    Ok(on_backend!(conn, c => user_grant::table.find((ehr, client)).first(c).optional())?)
}

/// All grants to EHRs, by EHR. Those of launches live as long as a session, and are not among them (`smart`).
///
/// # Errors
/// The engine's refusal.
pub fn list(conn: &mut Conn) -> Result<Vec<GrantRow>, StoreError> {
    Ok(
        on_backend!(conn, c => user_grant::table.filter(user_grant::ehr.not_like("launch/%")).order((user_grant::ehr, user_grant::client)).load(c))?,
    )
}

/// Stores what a person just granted; an older grant is replaced.
///
/// # Errors
/// The engine's refusal.
pub fn put(conn: &mut Conn, ehr: &str, client: &str, fresh: &Fresh, now: Timestamp) -> Result<(), StoreError> {
    let revision = get(conn, ehr, client)?.map_or(1, |old| old.revision + 1);
    let changing = (
        user_grant::sealed.eq(&fresh.sealed),
        user_grant::revision.eq(revision),
        user_grant::state.eq("held"),
        user_grant::scope.eq(&fresh.scope),
        user_grant::granted_at.eq(now.micros()),
        user_grant::refreshed_at.eq(now.micros()),
        user_grant::expires_at.eq(fresh.expires_at.map(Timestamp::micros)),
        user_grant::told.eq(None::<String>),
    );
    let values = (user_grant::ehr.eq(ehr), user_grant::client.eq(client), changing.clone());
    on_backend!(conn, c => diesel::insert_into(user_grant::table)
        .values(values)
        .on_conflict((user_grant::ehr, user_grant::client))
        .do_update()
        .set(changing.clone())
        .execute(c))?;
    Ok(())
}

/// Says that a refresh begins. `false` where another process changed the grant meanwhile.
///
/// # Errors
/// The engine's refusal.
pub fn begin(conn: &mut Conn, ehr: &str, client: &str, revision: i64) -> Result<bool, StoreError> {
    let hit = on_backend!(conn, c => diesel::update(user_grant::table.find((ehr, client)).filter(user_grant::revision.eq(revision)))
        .set((user_grant::state.eq("refreshing"), user_grant::revision.eq(revision + 1)))
        .execute(c))?;
    Ok(hit == 1)
}

/// Stores the outcome of a refresh. `false` where another process changed the grant meanwhile: what it stored stays.
///
/// # Errors
/// The engine's refusal.
pub fn refreshed(conn: &mut Conn, ehr: &str, client: &str, revision: i64, fresh: &Fresh, now: Timestamp) -> Result<bool, StoreError> {
    let hit = on_backend!(conn, c => diesel::update(user_grant::table.find((ehr, client)).filter(user_grant::revision.eq(revision)))
        .set((
            user_grant::sealed.eq(&fresh.sealed),
            user_grant::revision.eq(revision + 1),
            user_grant::state.eq("held"),
            user_grant::scope.eq(&fresh.scope),
            user_grant::refreshed_at.eq(now.micros()),
            user_grant::expires_at.eq(fresh.expires_at.map(Timestamp::micros)),
            user_grant::told.eq(None::<String>),
        ))
        .execute(c))?;
    Ok(hit == 1)
}

/// Says how a refresh ended that brought nothing: `lost` where the EHR no longer takes the token, else it is held as before.
///
/// # Errors
/// The engine's refusal.
pub fn unrefreshed(conn: &mut Conn, ehr: &str, client: &str, revision: i64, lost: Option<&str>) -> Result<(), StoreError> {
    let state = if lost.is_some() { "lost" } else { "held" };
    on_backend!(conn, c => diesel::update(user_grant::table.find((ehr, client)).filter(user_grant::revision.eq(revision)))
        .set((user_grant::state.eq(state), user_grant::revision.eq(revision + 1), user_grant::told.eq(lost)))
        .execute(c))?;
    Ok(())
}

/// Throws the grants of an EHR away.
///
/// # Errors
/// The engine's refusal.
pub fn forget_all(conn: &mut Conn, ehr: &str) -> Result<(), StoreError> {
    on_backend!(conn, c => diesel::delete(user_grant::table.filter(user_grant::ehr.eq(ehr))).execute(c))?;
    Ok(())
}

/// The names of grants of launches that were kept before an instant. A grant that is refreshed keeps the instant at which it was granted.
///
/// # Errors
/// The engine's refusal.
pub fn of_launches(conn: &mut Conn, before: Timestamp) -> Result<Vec<String>, StoreError> {
    Ok(on_backend!(conn, c => user_grant::table
        .filter(user_grant::ehr.like("launch/%"))
        .filter(user_grant::granted_at.lt(before.micros()))
        .select(user_grant::ehr)
        .distinct()
        .order(user_grant::ehr)
        .load(c))?)
}
