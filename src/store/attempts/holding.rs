//! Attempts that wait for another moment, and those that wait until outreach goes on: these have no moment, and are woken.

use diesel::prelude::*;
use domain::Timestamp;

use super::{Verdict, WAITING, keep_verdict};
use crate::store::connection::{Conn, on_backend};
use crate::store::error::StoreError;
use crate::store::schema::attempt;

/// Keeps a verdict that holds an attempt back until an instant, or with `is_stopped` until outreach goes on, if that is before. `false` where the
/// attempt is no longer waiting.
///
/// # Errors
/// The engine's refusal.
pub fn hold(
    conn: &mut Conn,
    id: &str,
    (until, is_stopped): (Timestamp, bool),
    v: &Verdict<'_>,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let rows = attempt::table.find(id).filter(attempt::state.eq_any(WAITING));
    let held = (attempt::state.eq("held"), attempt::due_at.eq(until.micros()), attempt::failure.eq(is_stopped.then_some(STOPPED)));
    let hit = on_backend!(conn, c => diesel::update(rows).set(held).execute(c))?;
    if hit == 1 {
        keep_verdict(conn, id, v, now)?;
    }
    Ok(hit == 1)
}

/// What `failure` says of an attempt that is held because outreach is stopped.
pub(super) const STOPPED: &str = "stopped";

/// Makes all that is held because outreach was stopped due now: what is still stopped by another word is held again. Returns how many.
pub(in crate::store) fn wake_stopped(conn: &mut Conn, now: Timestamp) -> Result<usize, StoreError> {
    let rows = attempt::table.filter(attempt::state.eq("held")).filter(attempt::failure.eq(STOPPED));
    let due = (attempt::due_at.eq(now.micros()), attempt::failure.eq(None::<String>));
    Ok(on_backend!(conn, c => diesel::update(rows).set(due).execute(c))?)
}
