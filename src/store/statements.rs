//! What each EHR last stated of itself, and which statement somebody took note of. Both are opaque here: `ehr` reads them, `connect` tells
//! what differs. Whoever raises alerts asks [`list`]: a row with problems, or with a failure, is one that drifted.

use diesel::prelude::*;
use domain::Timestamp;

use super::connection::{Conn, on_backend};
use super::error::StoreError;
use super::schema::ehr_statement;

/// What is kept of one EHR.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = ehr_statement)]
pub struct StatementRow {
    /// The EHR.
    pub ehr: String,
    /// What it last stated.
    pub stated: String,
    /// When that was last read, microseconds.
    pub seen_at: i64,
    /// The statement that differences are told from: the first one seen, or the one that was last taken note of.
    pub accepted: String,
    /// Since when that is so.
    pub accepted_at: i64,
    /// Who took note; absent for the first one.
    pub accepted_by: Option<String>,
    /// Since when what it states differs; absent where it does not.
    pub drifted_at: Option<i64>,
    /// How many of the differences stop something from working as it did.
    pub problems: i64,
    /// How many do not.
    pub notes: i64,
    /// Why it could not be read the last time that it was tried; absent where it could.
    pub failure: Option<String>,
    /// Since when it cannot be read.
    pub failed_at: Option<i64>,
}

impl StatementRow {
    /// Whether somebody should look at it.
    #[must_use]
    pub const fn is_problem(&self) -> bool {
        self.problems > 0 || self.failure.is_some()
    }
}

/// What is kept of an EHR.
///
/// # Errors
/// The engine's refusal.
pub fn get(conn: &mut Conn, ehr: &str) -> Result<Option<StatementRow>, StoreError> {
    Ok(on_backend!(conn, c => ehr_statement::table.find(ehr).first(c).optional())?)
}

/// What is kept of all EHRs, by name.
///
/// # Errors
/// The engine's refusal.
pub fn list(conn: &mut Conn) -> Result<Vec<StatementRow>, StoreError> {
    Ok(on_backend!(conn, c => ehr_statement::table.order(ehr_statement::ehr).load(c))?)
}

/// Keeps what an EHR stated just now, with how much of it differs from what was taken note of. The first statement is taken note of by
/// itself. `true` where it differs otherwise than before.
///
/// # Errors
/// The engine's refusal.
pub fn keep(conn: &mut Conn, ehr: &str, stated: &str, (problems, notes): (i64, i64), now: Timestamp) -> Result<bool, StoreError> {
    let now = now.micros();
    let Some(before) = get(conn, ehr)? else {
        let row = (
            ehr_statement::ehr.eq(ehr),
            ehr_statement::stated.eq(stated),
            ehr_statement::seen_at.eq(now),
            ehr_statement::accepted.eq(stated),
            ehr_statement::accepted_at.eq(now),
            ehr_statement::problems.eq(0),
            ehr_statement::notes.eq(0),
        );
        // Two nodes may both be the first.
        on_backend!(conn, c => diesel::insert_into(ehr_statement::table).values(row).on_conflict_do_nothing().execute(c))?;
        return Ok(false);
    };
    let differs = before.accepted != stated;
    let (problems, notes) = if differs { (problems, notes) } else { (0, 0) };
    let drifted_at = differs.then(|| before.drifted_at.unwrap_or(now));
    let row = (
        ehr_statement::stated.eq(stated),
        ehr_statement::seen_at.eq(now.max(before.seen_at)),
        ehr_statement::drifted_at.eq(drifted_at),
        ehr_statement::problems.eq(problems),
        ehr_statement::notes.eq(notes),
        ehr_statement::failure.eq(None::<String>),
        ehr_statement::failed_at.eq(None::<i64>),
    );
    on_backend!(conn, c => diesel::update(ehr_statement::table.find(ehr)).set(row).execute(c))?;
    Ok(before.stated != stated)
}

/// Keeps that an EHR's statement cannot be read, and why. Nothing where it was never read.
///
/// # Errors
/// The engine's refusal.
pub fn fail(conn: &mut Conn, ehr: &str, why: &str, now: Timestamp) -> Result<bool, StoreError> {
    let Some(before) = get(conn, ehr)? else { return Ok(false) };
    let row = (ehr_statement::failure.eq(why), ehr_statement::failed_at.eq(before.failed_at.unwrap_or_else(|| now.micros())));
    on_backend!(conn, c => diesel::update(ehr_statement::table.find(ehr)).set(row).execute(c))?;
    Ok(before.failure.as_deref() != Some(why))
}

/// Takes note of a statement: differences are told from it on. Nothing where the EHR states another one by now, so that nobody takes note
/// of what was not shown.
///
/// # Errors
/// The engine's refusal.
pub fn accept(conn: &mut Conn, ehr: &str, shown: &str, by: &str, now: Timestamp) -> Result<bool, StoreError> {
    let row = (
        ehr_statement::accepted.eq(shown),
        ehr_statement::accepted_at.eq(now.micros()),
        ehr_statement::accepted_by.eq(by),
        ehr_statement::drifted_at.eq(None::<i64>),
        ehr_statement::problems.eq(0),
        ehr_statement::notes.eq(0),
    );
    let same = ehr_statement::table.filter(ehr_statement::ehr.eq(ehr)).filter(ehr_statement::stated.eq(shown));
    Ok(on_backend!(conn, c => diesel::update(same).set(row).execute(c))? == 1)
}

/// Forgets an EHR's statements: it is another server now, or none.
///
/// # Errors
/// The engine's refusal.
pub fn forget(conn: &mut Conn, ehr: &str) -> Result<(), StoreError> {
    on_backend!(conn, c => diesel::delete(ehr_statement::table.find(ehr)).execute(c))?;
    Ok(())
}
