//! What people do with write-backs: look at causes, replay what was refused, settle what no machine can tell.

use std::collections::BTreeMap;

use diesel::prelude::*;
use domain::Timestamp;

use super::Writeback;
use crate::store::connection::{Conn, on_backend};
use crate::store::error::StoreError;
use crate::store::schema::{writeback, writeback_item};

/// Refusals, or write-backs that wait for a person, of one cause at one EHR.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Cause {
    /// The EHR.
    pub ehr: String,
    /// `refused` or `unknown`.
    pub state: String,
    /// The first word of the reason, such as `http-422`.
    pub cause: String,
    /// A whole reason, as an example.
    pub example: String,
    /// How many.
    pub count: i64,
    /// Since when the oldest is owed, microseconds.
    pub oldest: i64,
}

/// One write-back.
///
/// # Errors
/// The engine's refusal.
pub fn get(conn: &mut Conn, id: &str) -> Result<Option<Writeback>, StoreError> {
    Ok(on_backend!(conn, c => writeback::table.find(id).select(Writeback::as_select()).first(c).optional())?)
}

/// What an attempt owes and owed, in the order of its lane.
///
/// # Errors
/// The engine's refusal.
pub fn of_attempt(conn: &mut Conn, attempt: &str) -> Result<Vec<Writeback>, StoreError> {
    Ok(on_backend!(conn, c => writeback::table
        .filter(writeback::attempt.eq(attempt))
        .order(writeback::number)
        .select(Writeback::as_select())
        .load(c))?)
}

/// What these attempts owe and owed, in the order of their lanes; a note that tells of several stands with each of them.
///
/// # Errors
/// The engine's refusal.
pub fn of_attempts(conn: &mut Conn, attempts: &[&str]) -> Result<Vec<(String, Writeback)>, StoreError> {
    let mut found: Vec<(String, Writeback)> = Vec::new();
    for chunk in attempts.chunks(500) {
        let own = writeback::table.filter(writeback::attempt.eq_any(chunk)).filter(writeback::kind.ne("note"));
        found.extend(on_backend!(conn, c => own
            .select((writeback::attempt, Writeback::as_select()))
            .order((writeback::patient, writeback::number))
            .load::<(String, Writeback)>(c))?);
        found.extend(on_backend!(conn, c => writeback_item::table
            .inner_join(writeback::table.on(writeback::id.eq(writeback_item::writeback)))
            .filter(writeback_item::attempt.eq_any(chunk))
            .select((writeback_item::attempt, Writeback::as_select()))
            .load::<(String, Writeback)>(c))?);
    }
    Ok(found)
}

/// Refused and parked write-backs by EHR, state and cause, the most frequent first.
///
/// # Errors
/// The engine's refusal.
pub fn causes(conn: &mut Conn, ehr: Option<&str>) -> Result<Vec<Cause>, StoreError> {
    use diesel::dsl::{count_star, min};
    type Row = (String, String, Option<String>, i64, Option<i64>);
    let rows: Vec<Row> = on_backend!(conn, c => {
        let parked = writeback::state.eq("unknown").and(writeback::next_at.eq(super::PARKED));
        let mut q = writeback::table
            // Said twice, so that the engine finds the few by their state and does not walk through all that was written.
            .filter(writeback::state.eq_any(["refused", "unknown"]))
            .filter(writeback::state.eq("refused").or(parked))
            .group_by((writeback::ehr, writeback::state, writeback::failure))
            .select((writeback::ehr, writeback::state, writeback::failure, count_star(), min(writeback::owed_at)))
            .into_boxed();
        if let Some(ehr) = ehr {
            q = q.filter(writeback::ehr.eq(ehr));
        }
        q.load(c)
    })?;
    let mut all = BTreeMap::<(String, String, String), Cause>::new();
    for (ehr, state, failure, count, oldest) in rows {
        let example = failure.unwrap_or_default();
        let cause = first_word(&example).to_owned();
        let entry = all.entry((ehr.clone(), state.clone(), cause.clone())).or_insert(Cause {
            ehr,
            state,
            cause,
            example,
            count: 0,
            oldest: i64::MAX,
        });
        entry.count += count;
        entry.oldest = entry.oldest.min(oldest.unwrap_or(i64::MAX));
    }
    let mut all: Vec<Cause> = all.into_values().collect();
    all.sort_by_key(|c| std::cmp::Reverse(c.count));
    Ok(all)
}

/// The cause in a reason: its first word.
#[must_use]
pub fn first_word(reason: &str) -> &str {
    reason.split([':', ' ', ',']).next().unwrap_or(reason)
}

/// Which refused write-backs are to be written again.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Of this EHR only.
    pub ehr: Option<String>,
    /// Of this cause only.
    pub cause: Option<String>,
    /// These only; empty: all.
    pub ids: Vec<String>,
}

/// Reopens refused and parked write-backs, in the order in which they were owed; returns them as they were. What was parked or found twice may
/// be in the EHR and is searched for first; whatever else is refused is certainly not there.
///
/// # Errors
/// The engine's refusal.
pub fn reopen(conn: &mut Conn, wanted: &Wanted, dry: bool) -> Result<Vec<Writeback>, StoreError> {
    let rows: Vec<Writeback> = on_backend!(conn, c => {
        let parked = writeback::state.eq("unknown").and(writeback::next_at.eq(super::PARKED));
        let mut q = writeback::table.filter(writeback::state.eq("refused").or(parked)).select(Writeback::as_select()).into_boxed();
        if let Some(ehr) = &wanted.ehr {
            q = q.filter(writeback::ehr.eq(ehr));
        }
        if !wanted.ids.is_empty() {
            q = q.filter(writeback::id.eq_any(&wanted.ids));
        }
        q.order((writeback::owed_at, writeback::number, writeback::id)).load(c)
    })?;
    let fits = |w: &Writeback| wanted.cause.as_deref().is_none_or(|c| w.failure.as_deref().map(first_word) == Some(c));
    let rows: Vec<Writeback> = rows.into_iter().filter(fits).collect();
    for row in rows.iter().filter(|_| !dry) {
        let doubtful = row.is_parked() || row.failure.as_deref().map(first_word) == Some("found-twice");
        // Due since it was owed: so they go in their order, and before what came after them.
        on_backend!(conn, c => diesel::update(writeback::table.find(&row.id).filter(writeback::state.eq(&row.state)))
            .set((
                writeback::state.eq(if doubtful { "unknown" } else { "owed" }),
                writeback::tries.eq(i64::from(doubtful)),
                writeback::next_at.eq(row.owed_at),
                writeback::settled_at.eq(None::<i64>),
            ))
            .execute(c))?;
    }
    Ok(rows)
}

/// What a person found out about a write-back that no machine can settle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// It is in the EHR, under this id where they know it.
    InTheEhr(Option<String>),
    /// It is not there: it is written again.
    NotThere,
}

/// Settles a parked write-back by a person's word; `false` where it does not wait for a person.
///
/// # Errors
/// The engine's refusal.
pub fn resolve(conn: &mut Conn, id: &str, how: &Resolution, now: Timestamp) -> Result<bool, StoreError> {
    let row = writeback::table.find(id).filter(writeback::state.eq("unknown")).filter(writeback::next_at.eq(super::PARKED));
    let hit = match how {
        Resolution::InTheEhr(remote) => on_backend!(conn, c => diesel::update(row)
            .set((
                writeback::state.eq("written"),
                writeback::remote_id.eq(remote.as_deref()),
                writeback::failure.eq(None::<String>),
                writeback::settled_at.eq(now.micros()),
            ))
            .execute(c))?,
        Resolution::NotThere => on_backend!(conn, c => diesel::update(row)
            .set((writeback::state.eq("owed"), writeback::next_at.eq(writeback::owed_at), writeback::tries.eq(0_i64)))
            .execute(c))?,
    };
    Ok(hit == 1)
}
