//! What waits for a person, the oldest first: what a machine could not settle, calls to make, answers to read. Without names: a page asks for
//! those of the rows that it shows, where the viewer may see them.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary, Nullable, Text};
use domain::Timestamp;

use crate::store::connection::{Conn, on_backend};
use crate::store::error::StoreError;
use crate::store::view::persons::{self, Reviewed};
use crate::store::writebacks::Cause;
use crate::store::{attempts, writebacks};

/// At most so many of each kind are read.
pub const MOST: i64 = 200;

/// An answer that staff must act on.
#[derive(Clone, Debug, QueryableByName)]
pub struct Waiting {
    /// The attempt that was answered.
    #[diesel(sql_type = Text)]
    pub attempt: String,
    /// The answer's number.
    #[diesel(sql_type = BigInt)]
    pub number: i64,
    /// What it means.
    #[diesel(sql_type = Text)]
    pub meaning: String,
    /// What stands in the way of care, a code.
    #[diesel(sql_type = Nullable<Text>)]
    pub barrier: Option<String>,
    /// The words, compressed.
    #[diesel(sql_type = Nullable<Binary>)]
    pub message: Option<Vec<u8>>,
    /// When it came.
    #[diesel(sql_type = BigInt)]
    pub received_at: i64,
    /// The record.
    #[diesel(sql_type = BigInt)]
    pub patient: i64,
    /// Its EHR.
    #[diesel(sql_type = Text)]
    pub ehr: String,
    /// Its id there.
    #[diesel(sql_type = Text)]
    pub fhir_id: String,
}

/// A patient whom no message reached, while what it was about still lies ahead.
#[derive(Clone, Debug, QueryableByName)]
pub struct ToCall {
    /// The attempt.
    #[diesel(sql_type = Text)]
    pub attempt: String,
    /// The program.
    #[diesel(sql_type = Text)]
    pub program: String,
    /// The enrolment: one call is made for all of its steps.
    #[diesel(sql_type = BigInt)]
    pub enrolment: i64,
    /// What the message asks for.
    #[diesel(sql_type = Text)]
    pub action: String,
    /// Why none reached them, as codes.
    #[diesel(sql_type = Nullable<Text>)]
    pub failure: Option<String>,
    /// Since when that is known.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub since: Option<i64>,
    /// Until when a call is of use.
    #[diesel(sql_type = BigInt)]
    pub until: i64,
    /// The record.
    #[diesel(sql_type = BigInt)]
    pub patient: i64,
    /// Its EHR.
    #[diesel(sql_type = Text)]
    pub ehr: String,
    /// Its id there.
    #[diesel(sql_type = Text)]
    pub fhir_id: String,
}

/// What was put aside of one EHR for one reason.
#[derive(Clone, Debug, PartialEq, Eq, QueryableByName)]
pub struct Aside {
    /// The EHR.
    #[diesel(sql_type = Text)]
    pub ehr: String,
    /// The reason's code.
    #[diesel(sql_type = Text)]
    pub code: String,
    /// How many.
    #[diesel(sql_type = BigInt)]
    pub n: i64,
}

/// A message that may have gone out.
#[derive(Clone, Debug, QueryableByName)]
pub struct InDoubt {
    /// The attempt.
    #[diesel(sql_type = Text)]
    pub id: String,
    /// The program.
    #[diesel(sql_type = Text)]
    pub program: String,
    /// The channel.
    #[diesel(sql_type = Nullable<Text>)]
    pub channel: Option<String>,
    /// Why it is in doubt.
    #[diesel(sql_type = Text)]
    pub failure: String,
    /// When it was due.
    #[diesel(sql_type = BigInt)]
    pub due_at: i64,
}

/// All that waits.
#[derive(Clone, Debug, Default)]
pub struct Queue {
    /// Messages that may have gone out.
    pub sends: Vec<InDoubt>,
    /// Write-backs that no machine can settle: their ids, EHRs, reasons, and since when they are owed.
    pub parked: Vec<writebacks::Writeback>,
    /// Write-backs that were refused, by cause.
    pub causes: Vec<Cause>,
    /// What was put aside.
    pub aside: Vec<Aside>,
    /// Records whose person is in doubt.
    pub review: Vec<Reviewed>,
    /// Answers.
    pub answers: Vec<Waiting>,
    /// Calls.
    pub calls: Vec<ToCall>,
}

/// Reads all that waits.
///
/// # Errors
/// The engine's refusal.
pub fn read(conn: &mut Conn, now: Timestamp) -> Result<Queue, StoreError> {
    let sends = format!(
        "SELECT id, program, channel, failure, due_at FROM attempt WHERE state = 'sending' AND failure IS NOT NULL ORDER BY due_at, id LIMIT {MOST}"
    );
    let aside = "SELECT ehr, code, COUNT(*) AS n FROM quarantine WHERE released_at IS NULL GROUP BY ehr, code ORDER BY ehr, code";
    Ok(Queue {
        sends: on_backend!(conn, c => diesel::sql_query(sends).load(c))?,
        parked: writebacks::list(conn, None, Some("parked"), MOST)?,
        causes: writebacks::causes(conn, None)?.into_iter().filter(|c| c.state == "refused").collect(),
        aside: on_backend!(conn, c => diesel::sql_query(aside).load(c))?,
        review: persons::review(conn, MOST)?,
        answers: answers(conn, MOST)?,
        calls: calls(conn, now, MOST)?,
    })
}

/// Answers that staff must act on.
fn answers(conn: &mut Conn, limit: i64) -> Result<Vec<Waiting>, StoreError> {
    let text = format!(
        "SELECT w.attempt, w.number, w.meaning, w.barrier, w.message, w.received_at, a.patient, p.ehr, p.fhir_id
         FROM answer w JOIN attempt a ON a.id = w.attempt JOIN patient p ON p.pk = a.patient
         WHERE w.needs_action AND w.settled_at IS NULL ORDER BY w.received_at, w.attempt, w.number LIMIT {limit}"
    );
    Ok(on_backend!(conn, c => diesel::sql_query(text).load(c))?)
}

/// Refusals of a channel that a person put there, or that the installation has: a call would not be what is missing.
const NOT_FOR_A_CALL: [&str; 4] = ["not-live", "killed", "channel-not-configured", "phi-on-open-channel"];

/// Patients whom the last channel of a step did not reach. The state is asked so that its index does not tempt the engine: all that ever ended is
/// in it, while `attempt_to_call` begins with what lies ahead.
fn calls(conn: &mut Conn, now: Timestamp, limit: i64) -> Result<Vec<ToCall>, StoreError> {
    let codes: String = NOT_FOR_A_CALL.iter().map(|code| format!(" AND a.failure NOT LIKE '%{code}%'")).collect();
    let text = format!(
        "SELECT a.id AS attempt, a.program, a.enrolment, a.action, a.failure, a.finished_at AS since, a.expires_at AS until, a.patient, p.ehr, p.fhir_id
         FROM attempt a JOIN patient p ON p.pk = a.patient
         WHERE a.called_at IS NULL AND a.failure LIKE 'channel: %' AND a.expires_at > {} AND (a.state || '') IN ('refused', 'finished'){codes}
         AND NOT EXISTS (SELECT 1 FROM attempt later WHERE later.enrolment = a.enrolment AND later.step = a.step AND later.rung > a.rung
             AND later.anchor_revision = a.anchor_revision)
         ORDER BY a.expires_at, a.id LIMIT {limit}",
        now.micros()
    );
    let mut found: Vec<ToCall> = on_backend!(conn, c => diesel::sql_query(text).load(c))?;
    let mut seen = std::collections::BTreeSet::new();
    found.retain(|c| seen.insert(c.enrolment));
    Ok(found)
}

/// How much waits of each kind, for the headline: sends in doubt, parked and refused write-backs, quarantine, persons, answers, calls. What is
/// more than [`MOST`] of a kind is told as that.
#[must_use]
pub fn sizes(queue: &Queue) -> [i64; 7] {
    let n = |len: usize| i64::try_from(len).unwrap_or(0);
    [
        n(queue.sends.len()),
        n(queue.parked.len()),
        queue.causes.iter().map(|c| c.count).sum(),
        queue.aside.iter().map(|a| a.n).sum(),
        n(queue.review.len()),
        n(queue.answers.len()),
        n(queue.calls.len()),
    ]
}

/// Notes that what an answer asked for was done; `false` where that was noted before, or it asked for nothing.
///
/// # Errors
/// The engine's refusal.
pub fn answer_done(conn: &mut Conn, attempt: &str, number: i64, by: &str, now: Timestamp) -> Result<bool, StoreError> {
    use crate::store::schema::answer;
    let row = answer::table.find((attempt, number)).filter(answer::needs_action.eq(true)).filter(answer::settled_at.is_null());
    let done = (answer::settled_at.eq(now.micros()), answer::settled_by.eq(by));
    Ok(on_backend!(conn, c => diesel::update(row).set(done).execute(c))? == 1)
}

/// Notes that a patient was called about what an attempt and its enrolment's others ask for; `false` where that was noted before, or there is no
/// such attempt.
///
/// # Errors
/// The engine's refusal.
pub fn called(conn: &mut Conn, attempt: &str, by: &str, now: Timestamp) -> Result<bool, StoreError> {
    use crate::store::schema::attempt;
    let Some(a) = attempts::get(conn, attempt)?.filter(|a| matches!(a.state.as_str(), "refused" | "finished")) else { return Ok(false) };
    let row = attempt::table
        .filter(attempt::enrolment.eq(a.enrolment))
        .filter(attempt::state.eq_any(["refused", "finished"]))
        .filter(attempt::failure.like("channel: %"))
        .filter(attempt::called_at.is_null());
    let done = (attempt::called_at.eq(now.micros()), attempt::called_by.eq(by));
    Ok(on_backend!(conn, c => diesel::update(row).set(done).execute(c))? > 0)
}
