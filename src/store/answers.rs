//! What patients answered, an entry per answer and attempt; the words compressed.

use diesel::prelude::*;
use domain::Timestamp;

use super::attempts::Attempt;
use super::connection::{Conn, on_backend};
use super::error::StoreError;
use super::schema::{answer, attempt};
use super::{pending, writebacks};

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = answer)]
pub struct Answer {
    /// The attempt that was answered.
    pub attempt: String,
    /// Number within the attempt, from 1.
    pub number: i64,
    /// The channel it came by.
    pub channel: String,
    /// The channel's own id, so that a repeated delivery is told.
    pub external_id: Option<String>,
    /// What it means: `confirm`, `cancel-visit`, `stop`, `start`, `help`, `free-text`.
    pub meaning: String,
    /// What stands in the way of care by the patient's word, a code of `CodeSystem/engagement-barrier`.
    pub barrier: Option<String>,
    /// Whether staff must do something.
    pub needs_action: bool,
    /// The words, compressed.
    pub message: Option<Vec<u8>>,
    /// When it came.
    pub received_at: i64,
    /// Who entered it: a channel or a person's role.
    pub recorded_by: String,
}

/// An answer that came in.
#[derive(Clone, Debug)]
pub struct Incoming<'a> {
    /// The channel it came by.
    pub channel: &'a str,
    /// The channel's own id.
    pub external_id: Option<&'a str>,
    /// What it means.
    pub meaning: &'a str,
    /// What stands in the way of care, a code.
    pub barrier: Option<&'a str>,
    /// Whether staff must do something.
    pub needs_action: bool,
    /// The words, compressed.
    pub message: Option<&'a [u8]>,
    /// Who entered it.
    pub recorded_by: &'a str,
}

/// What an answer owes to the chart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owed {
    /// What the attempt owes where this answer ends it.
    pub attempt: writebacks::Debt,
    /// What the answer owes beside it: a write-back of its own, or a line in the day's note, which tells of the attempt with its answers.
    pub answer: writebacks::Debt,
    /// A change of the Appointment's status.
    pub status_change: bool,
}

/// Records an answer to an attempt that was sent, ends the attempt as answered where it is still open, and writes down what both owe, in
/// one transaction. `None` where the channel delivered this answer before, or the attempt never left the building.
///
/// # Errors
/// The engine's refusal.
pub fn record(conn: &mut Conn, a: &Attempt, came: &Incoming<'_>, owed: Owed, now: Timestamp) -> Result<Option<i64>, StoreError> {
    use diesel::dsl::max;
    let row = attempt::table.find(&a.id).select(attempt::state);
    let state: String = match conn {
        Conn::Sqlite(c) => row.first(c)?,
        // Two answers that come at once must not take the same number.
        #[cfg(feature = "postgres")]
        Conn::Postgres(c) => row.for_update().first(c)?,
    };
    if !matches!(state.as_str(), "sending" | "sent" | "finished") {
        return Ok(None);
    }
    let last: Option<i64> = on_backend!(conn, c => answer::table.filter(answer::attempt.eq(&a.id)).select(max(answer::number)).first(c))?;
    let number = last.unwrap_or(0) + 1;
    let values = (
        (answer::attempt.eq(&a.id), answer::number.eq(number), answer::channel.eq(came.channel), answer::external_id.eq(came.external_id)),
        (answer::meaning.eq(came.meaning), answer::barrier.eq(came.barrier)),
        (answer::needs_action.eq(came.needs_action), answer::message.eq(came.message)),
        (answer::received_at.eq(now.micros()), answer::recorded_by.eq(came.recorded_by)),
    );
    let made = on_backend!(conn, c => diesel::insert_into(answer::table).values(values).on_conflict_do_nothing().execute(c))?;
    if made == 0 {
        return Ok(None);
    }
    let ended = on_backend!(conn, c => diesel::update(attempt::table.find(&a.id))
        .set((
            attempt::state.eq("finished"),
            attempt::outcome.eq("answered"),
            attempt::failure.eq(None::<String>),
            attempt::finished_at.eq(now.micros()),
        ))
        .execute(c))?;
    if ended == 1 && state != "finished" {
        writebacks::owe(conn, a, owed.attempt, now)?;
    }
    match owed.answer {
        writebacks::Debt::Original => writebacks::owe_answer(conn, a, number, now)?,
        // Where the day's note is written already, the next one tells of it.
        writebacks::Debt::Line(_) => writebacks::owe(conn, a, owed.answer, now)?,
        writebacks::Debt::Nothing => {}
    }
    if owed.status_change {
        writebacks::owe_status_change(conn, a, number, now)?;
    }
    pending::mark_contact(conn, a.person, now)?;
    Ok(Some(number))
}

/// One answer.
///
/// # Errors
/// The engine's refusal.
pub fn get(conn: &mut Conn, attempt: &str, number: i64) -> Result<Option<Answer>, StoreError> {
    Ok(on_backend!(conn, c => answer::table.find((attempt, number)).select(Answer::as_select()).first(c).optional())?)
}

/// The answers to attempts.
///
/// # Errors
/// The engine's refusal.
pub fn to(conn: &mut Conn, attempts: &[&str]) -> Result<Vec<Answer>, StoreError> {
    if attempts.is_empty() {
        return Ok(Vec::new());
    }
    Ok(on_backend!(conn, c => answer::table
        .filter(answer::attempt.eq_any(attempts))
        .order((answer::attempt, answer::number))
        .select(Answer::as_select())
        .load(c))?)
}
