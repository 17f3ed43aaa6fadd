//! Attempts that wait for another moment, and those that wait until outreach goes on: these have no moment, and are woken.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable, Text};
use domain::Timestamp;

use super::{Verdict, WAITING, keep_verdict};
use crate::store::bulk::{self, Bound};
use crate::store::connection::{Conn, on_backend};
use crate::store::error::StoreError;
use crate::store::installation::{self, Setting};
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

#[derive(QueryableByName)]
struct Held {
    #[diesel(sql_type = Text)]
    id: String,
    #[diesel(sql_type = BigInt)]
    due_at: i64,
    #[diesel(sql_type = Nullable<Text>)]
    failure: Option<String>,
}

/// How far waking came: the place, in the order of what is held, of the last attempt that was looked at.
type Reached = Option<(i64, String)>;

/// Asks for all that is held because outreach was stopped to be woken. One update of it all would hold the writer up for as long as there are
/// attempts, so [`wake_some`] does it in batches; the wish stays until it is done, whoever is killed meanwhile. Asked for again, it begins anew.
pub(in crate::store) fn ask_to_wake(conn: &mut Conn) -> Result<(), StoreError> {
    installation::set(conn, Setting::Waking, &written(None)?)
}

fn written(reached: Reached) -> Result<String, StoreError> {
    serde_json::to_string(&reached).map_err(|_| StoreError::Damaged("how far waking came"))
}

/// Looks at the next `most` attempts that are held, where waking was asked for, and makes those due now that a stop held: what is still stopped by
/// another word is held again. `false` where there is nothing more to wake.
///
/// # Errors
/// The engine's refusal.
pub fn wake_some(conn: &mut Conn, most: i64, now: Timestamp) -> Result<bool, StoreError> {
    // Held, lest somebody asks for it anew while this one says how far it came.
    let Some(text) = installation::hold(conn, Setting::Waking)? else { return Ok(false) };
    // A place that cannot be read is none: to look at one twice does no harm.
    let reached: Reached = serde_json::from_str(&text).unwrap_or_default();
    let (due, id) = reached.as_ref().map_or((i64::MIN, ""), |(due, id)| (*due, id.as_str()));
    let text =
        format!("SELECT id, due_at, failure FROM attempt WHERE state = 'held' AND (due_at, id) > (?, ?) ORDER BY due_at, id LIMIT {most}");
    let found: Vec<Held> = bulk::select_bound(conn, &text, &[Bound::Int(due), Bound::Text(id)])?;
    let is_full = i64::try_from(found.len()).is_ok_and(|n| n >= most);
    match found.last().filter(|_| is_full) {
        Some(last) => installation::set(conn, Setting::Waking, &written(Some((last.due_at, last.id.clone())))?)?,
        None => installation::unset(conn, Setting::Waking)?,
    }
    let stopped: Vec<String> = found.into_iter().filter(|held| held.failure.as_deref() == Some(STOPPED)).map(|held| held.id).collect();
    let rows = attempt::table.filter(attempt::id.eq_any(stopped)).filter(attempt::state.eq("held")).filter(attempt::failure.eq(STOPPED));
    let due = (attempt::due_at.eq(now.micros()), attempt::failure.eq(None::<String>));
    on_backend!(conn, c => diesel::update(rows).set(due).execute(c))?;
    Ok(is_full)
}
