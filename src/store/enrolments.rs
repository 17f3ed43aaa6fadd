//! Enrolments: one person's way through one program, for one anchor (this appointment, this entry into the segment).

use diesel::prelude::*;
use domain::Timestamp;

use super::connection::{Conn, on_backend};
use super::error::StoreError;
use super::people;
use super::schema::{attempt, enrolment};

/// An enrolment.
#[derive(Clone, Debug, PartialEq, Eq, Queryable)]
pub struct Enrolment {
    /// Number.
    pub id: i64,
    /// The program's id.
    pub program: String,
    /// The home of the record that it began with.
    pub person: i64,
    /// What it is about: `Appointment/12` or `segment`.
    pub anchor: String,
    /// The how-manieth entry.
    pub entry: i64,
    /// `active` or `ended`.
    pub state: String,
    /// When it began.
    pub entered_at: i64,
    /// When it ended.
    pub ended_at: Option<i64>,
    /// Why it ended, a code.
    pub ended_why: Option<String>,
    /// Since when it goes on although its person was joined or parted: [`super::joining`].
    pub carried_at: Option<i64>,
}

/// Why an enrolment rests whose person is in the same program by another record. It goes on when the records are parted.
pub const MERGED: &str = "merged";

/// Enrols a person under the home of a record, or finds the enrolment that is there; an ended one stays ended.
///
/// # Errors
/// The engine's refusal.
pub fn enrol(conn: &mut Conn, program: &str, person: i64, anchor: &str, entry: i64, now: Timestamp) -> Result<Enrolment, StoreError> {
    let row = (
        enrolment::program.eq(program),
        enrolment::person.eq(person),
        enrolment::anchor.eq(anchor),
        enrolment::entry.eq(entry),
        enrolment::state.eq("active"),
        enrolment::entered_at.eq(now.micros()),
    );
    on_backend!(conn, c => diesel::insert_into(enrolment::table).values(row).on_conflict_do_nothing().execute(c))?;
    Ok(on_backend!(conn, c => enrolment::table
        .filter(enrolment::program.eq(program))
        .filter(enrolment::person.eq(person))
        .filter(enrolment::anchor.eq(anchor))
        .filter(enrolment::entry.eq(entry))
        .first(c))?)
}

/// A person's enrolments, the first one first: those that began with any of the records, and those that an attempt of theirs belongs to.
///
/// # Errors
/// The engine's refusal.
pub fn of(conn: &mut Conn, person: i64) -> Result<Vec<Enrolment>, StoreError> {
    let homes = people::homes(conn, person)?;
    let by_attempt = attempt::table.filter(attempt::person.eq(person)).select(attempt::enrolment);
    let theirs = enrolment::table.filter(enrolment::person.eq_any(homes).or(enrolment::id.eq_any(by_attempt)));
    Ok(on_backend!(conn, c => theirs.order(enrolment::id).load(c))?)
}

/// Ends an enrolment.
///
/// # Errors
/// The engine's refusal.
pub fn end(conn: &mut Conn, id: i64, why: &str, now: Timestamp) -> Result<(), StoreError> {
    let goes_on = enrolment::state.eq("active").or(enrolment::ended_why.eq(MERGED));
    on_backend!(conn, c => diesel::update(enrolment::table.find(id).filter(goes_on))
        .set((enrolment::state.eq("ended"), enrolment::ended_at.eq(now.micros()), enrolment::ended_why.eq(why)))
        .execute(c))?;
    Ok(())
}

/// Opens an ended enrolment again: its person came back to the same anchor and entry, such as by a correction in the EHR.
///
/// # Errors
/// The engine's refusal.
pub fn reopen(conn: &mut Conn, id: i64) -> Result<(), StoreError> {
    on_backend!(conn, c => diesel::update(enrolment::table.find(id))
        .set((enrolment::state.eq("active"), enrolment::ended_at.eq(None::<i64>), enrolment::ended_why.eq(None::<String>)))
        .execute(c))?;
    Ok(())
}
