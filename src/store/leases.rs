//! Leases: who may do a task's work now, over processes and nodes.
//!
//! A lease has a token that grows by one with each acquire. A task's commit begins with [`extend`], which must hit the row with that
//! token; so of two workers that both believe to hold a lease, only the later one can write. Clocks decide only how soon a dead
//! worker's lease is taken over, never who may write.

use diesel::prelude::*;
use domain::Timestamp;

use super::connection::{Conn, on_backend};
use super::error::StoreError;
use super::schema::lease;

/// Proof of a lease, to be shown at each commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence {
    /// The lease's name, such as `sync/epic/Patient`.
    pub name: String,
    /// The token of this acquire.
    pub token: i64,
}

/// How long a lease lasts without a sign of life.
#[derive(Clone, Copy, Debug)]
pub struct Term(pub chrono::TimeDelta);

/// Takes a lease if it is free, has run out, or belongs to a process that is known to be dead; `None` where another one holds it.
///
/// `owner` names this process; `is_dead` tells of another owner whether it is certainly gone (a process of this machine that no longer
/// runs), so that a restart need not wait for the term to end.
///
/// # Errors
/// The engine's refusal.
pub fn acquire(
    conn: &mut Conn,
    name: &str,
    owner: &str,
    now: Timestamp,
    term: Term,
    is_dead: impl Fn(&str) -> bool,
) -> Result<Option<Fence>, StoreError> {
    let held: Option<(String, i64, i64)> =
        on_backend!(conn, c => lease::table.find(name).select((lease::owner, lease::token, lease::expires_at)).first(c).optional())?;
    let expires = now.plus(term.0).micros();
    let Some((holder, token, until)) = held else {
        let row = (lease::name.eq(name), lease::owner.eq(owner), lease::token.eq(1_i64), lease::expires_at.eq(expires));
        let made = on_backend!(conn, c => diesel::insert_into(lease::table).values(row).on_conflict_do_nothing().execute(c))?;
        return Ok((made == 1).then(|| Fence { name: name.to_owned(), token: 1 }));
    };
    // A clock that was set back must not lock a lease for longer than its term.
    let too_far = until > now.plus(term.0 * 2).micros();
    if until > now.micros() && !too_far && !is_dead(&holder) {
        return Ok(None);
    }
    let taken = on_backend!(conn, c => diesel::update(lease::table.filter(lease::name.eq(name)).filter(lease::token.eq(token)))
        .set((lease::owner.eq(owner), lease::token.eq(token + 1), lease::expires_at.eq(expires)))
        .execute(c))?;
    Ok((taken == 1).then(|| Fence { name: name.to_owned(), token: token + 1 }))
}

/// The leases whose names begin so and that [`acquire`] would not give now: to be asked before a way that would be in vain.
///
/// # Errors
/// The engine's refusal.
pub fn held(
    conn: &mut Conn,
    prefix: &str,
    now: Timestamp,
    term: Term,
    is_dead: impl Fn(&str) -> bool,
) -> Result<std::collections::BTreeSet<String>, StoreError> {
    let rows: Vec<(String, String)> = on_backend!(conn, c => lease::table
        .filter(lease::name.like(format!("{prefix}%")))
        .filter(lease::expires_at.gt(now.micros()))
        .filter(lease::expires_at.le(now.plus(term.0 * 2).micros()))
        .select((lease::name, lease::owner))
        .load(c))?;
    Ok(rows.into_iter().filter(|(_, owner)| !is_dead(owner)).map(|(name, _)| name).collect())
}

/// Extends a lease and so proves that it is still held: the first statement of every commit under it. On PostgreSQL the row lock it
/// takes also holds off a rival's acquire until this transaction ends.
///
/// # Errors
/// [`StoreError::LeaseLost`] where the token is no longer the lease's.
pub fn extend(conn: &mut Conn, fence: &Fence, now: Timestamp, term: Term) -> Result<(), StoreError> {
    let hit = on_backend!(conn, c => diesel::update(lease::table.filter(lease::name.eq(&fence.name)).filter(lease::token.eq(fence.token)))
        .set(lease::expires_at.eq(now.plus(term.0).micros()))
        .execute(c))?;
    if hit == 1 { Ok(()) } else { Err(StoreError::LeaseLost(fence.name.clone())) }
}

/// Gives a lease back before its time. A lease that is already lost is no error.
///
/// # Errors
/// The engine's refusal.
pub fn release(conn: &mut Conn, fence: &Fence) -> Result<(), StoreError> {
    on_backend!(conn, c => diesel::update(lease::table.filter(lease::name.eq(&fence.name)).filter(lease::token.eq(fence.token)))
        .set(lease::expires_at.eq(0_i64))
        .execute(c))?;
    Ok(())
}
