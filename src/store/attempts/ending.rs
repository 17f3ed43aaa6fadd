//! How attempts end: what they owe to the chart is decided in the same transaction.

use diesel::prelude::*;
use domain::Timestamp;

use super::Attempt;
use crate::store::connection::{Conn, on_backend};
use crate::store::error::StoreError;
use crate::store::pending;
use crate::store::people;
use crate::store::schema::attempt;
use crate::store::writebacks::{self, Debt};

/// How a finished attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It reached the person, as far as the channel can tell.
    Delivered,
    /// The person answered.
    Answered,
    /// It failed for good.
    Failed,
    /// No receipt came in time.
    Unknown,
}

impl Outcome {
    /// As stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Answered => "answered",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }
}

/// An attempt's end.
#[derive(Clone, Copy, Debug)]
pub struct End<'a> {
    /// How.
    pub outcome: Outcome,
    /// The channel's own reference, where it told one now.
    pub provider_ref: Option<&'a str>,
    /// Why it failed, a code with words and without contact data.
    pub failure: Option<&'a str>,
    /// What it owes to the chart.
    pub debt: Debt,
}

impl End<'_> {
    /// An end that owes a write-back of its own.
    #[must_use]
    pub const fn owing(outcome: Outcome) -> Self {
        Self { outcome, provider_ref: None, failure: None, debt: Debt::Original }
    }
}

/// Ends an attempt and, in the same transaction, writes down what it owes to the chart. `false` where it had ended before, and then
/// nothing is owed anew.
///
/// # Errors
/// The engine's refusal.
pub fn finish(conn: &mut Conn, a: &Attempt, end: &End<'_>, now: Timestamp) -> Result<bool, StoreError> {
    let rows = attempt::table.find(&a.id).filter(attempt::state.eq_any(["sending", "sent"]));
    let hit = on_backend!(conn, c => diesel::update(rows)
        .set((
            attempt::state.eq("finished"),
            attempt::outcome.eq(end.outcome.as_str()),
            attempt::provider_ref.eq(end.provider_ref.or(a.provider_ref.as_deref())),
            attempt::failure.eq(end.failure),
            attempt::finished_at.eq(now.micros()),
        ))
        .execute(c))?;
    if hit != 1 {
        return Ok(false);
    }
    writebacks::owe(conn, a, end.debt, now)?;
    // Whose it is may have changed while it was on its way.
    let person = people::person_of(conn, a.patient)?;
    pending::mark_contact(conn, person, now)?;
    Ok(true)
}

/// Learns that what had been taken for delivered was not: a bounce that came late. What the chart says of it is corrected; where it says
/// nothing, the debt of a failure is owed. `false` where the attempt had not ended as delivered or unknown.
///
/// # Errors
/// The engine's refusal.
pub fn bounced(conn: &mut Conn, a: &Attempt, failure: &str, debt: Debt, now: Timestamp) -> Result<bool, StoreError> {
    let rows = attempt::table.find(&a.id).filter(attempt::state.eq("finished")).filter(attempt::outcome.eq_any(["delivered", "unknown"]));
    let hit = on_backend!(conn, c => diesel::update(rows)
        .set((attempt::outcome.eq(Outcome::Failed.as_str()), attempt::failure.eq(failure), attempt::finished_at.eq(now.micros())))
        .execute(c))?;
    if hit != 1 {
        return Ok(false);
    }
    let told = writebacks::owe_correction(conn, a, now)?;
    if !told && writebacks::of_attempt(conn, &a.id)?.is_empty() && writebacks::items_of(conn, &a.id)? == 0 {
        // Nothing was owed of it as sent; that nobody was reached may be.
        writebacks::owe(conn, a, debt, now)?;
    }
    let person = people::person_of(conn, a.patient)?;
    pending::mark_contact(conn, person, now)?;
    Ok(true)
}

/// Owes the original of the latest failed attempt of a step, where nothing of it is owed yet: the rungs behind it are closed, so the person
/// could not be reached. Returns whether there was one.
///
/// # Errors
/// The engine's refusal.
pub fn owe_unreachable(conn: &mut Conn, closed: &Attempt, debt: Debt, now: Timestamp) -> Result<bool, StoreError> {
    let failed: Option<Attempt> = on_backend!(conn, c => attempt::table
        .filter(attempt::enrolment.eq(closed.enrolment))
        .filter(attempt::step.eq(&closed.step))
        .filter(attempt::anchor_revision.eq(&closed.anchor_revision))
        .filter(attempt::outcome.eq(Outcome::Failed.as_str()))
        .order(attempt::rung.desc())
        .select(Attempt::as_select())
        .first(c)
        .optional())?;
    let Some(failed) = failed else { return Ok(false) };
    if !writebacks::of_attempt(conn, &failed.id)?.is_empty() {
        return Ok(false);
    }
    writebacks::owe(conn, &failed, debt, now)?;
    Ok(true)
}
