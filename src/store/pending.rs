//! Who must be looked at again: persons whose facts changed (for segments), and persons whose memberships or facts changed (for
//! outreach).
//!
//! A row is consumed by deleting it `WHERE generation = <the one read>`, so that a change that came in between is not lost. Never by
//! `id > cursor`: numbers are given out of the order of commits.

use std::collections::{BTreeMap, BTreeSet};

use diesel::prelude::*;
use domain::Timestamp;
use domain::model::EhrId;

use super::bulk::{self, Column, Insert};
use super::connection::{Conn, on_backend};
use super::error::StoreError;
use super::reading::{self, leave_out};
use super::schema::{assignment, membership, pending_outreach, pending_person};

/// A person to look at, with the generation that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    /// The person.
    pub person: i64,
    /// To be handed back to [`done`]; zero where the person is due by time only.
    pub generation: i64,
    /// What changed, as bits; all of them where everything must be looked at.
    pub reads: i64,
}

/// Marks persons for the segment stage. `reads` is the mask of the types that changed.
pub(super) fn mark(conn: &mut Conn, persons: &BTreeSet<i64>, reads: i64, now: Timestamp) -> Result<(), StoreError> {
    let n = persons.len();
    Insert {
        into: "pending_person (person, generation, reads, since)",
        columns: vec![
            Column::Int(persons.iter().copied().collect()),
            Column::Int(vec![1; n]),
            Column::Int(vec![reads; n]),
            Column::Int(vec![now.micros(); n]),
        ],
        conflict: "ON CONFLICT (person) DO UPDATE SET generation = pending_person.generation + 1, reads = pending_person.reads | excluded.reads",
    }
    .execute(conn)?;
    Ok(())
}

/// The bit of the contact ledger in a `reads` mask; those of types begin at the other end.
pub const CONTACT: i64 = 1 << 31;

/// Marks a person for the segment stage because the contact ledger changed: rules may read when somebody was last contacted.
pub(super) fn mark_contact(conn: &mut Conn, person: i64, now: Timestamp) -> Result<(), StoreError> {
    mark(conn, &std::iter::once(person).collect(), CONTACT, now)
}

/// Marks everyone for the segment stage: a definition changed. One statement, since a million rows in chunks would hold the writer longer.
///
/// # Errors
/// The engine's refusal.
pub fn mark_everyone(conn: &mut Conn, now: Timestamp) -> Result<(), StoreError> {
    mark_selected(conn, "SELECT pk FROM person ORDER BY pk", now)
}

/// Up to so many persons whose time has come are sorted by number here.
const FEW: i64 = 2_000;
/// Numbers in one statement.
const AT_ONCE: usize = 500;

/// Marks everyone with a record at one EHR for the segment stage: a type of it is known for the first time.
///
/// # Errors
/// The engine's refusal.
pub fn mark_ehr(conn: &mut Conn, ehr: &EhrId, now: Timestamp) -> Result<(), StoreError> {
    // An EHR's name has letters, digits and '-' only, so it can stand in the text as it is.
    mark_selected(conn, &format!("SELECT DISTINCT person FROM patient WHERE ehr = '{ehr}' ORDER BY person"), now)
}

fn mark_selected(conn: &mut Conn, persons: &str, now: Timestamp) -> Result<(), StoreError> {
    let text = format!(
        "INSERT INTO pending_person (person, generation, reads, since) SELECT p.*, 1, -1, {} FROM ({persons}) p WHERE true
         ON CONFLICT (person) DO UPDATE SET generation = pending_person.generation + 1, reads = -1",
        now.micros()
    );
    on_backend!(conn, c => diesel::sql_query(text).execute(c))?;
    Ok(())
}

/// Persons for the segment stage with numbers above `after`: those that were marked, and those whose answer may change with time alone
/// by `now`. A pass takes them chunk by chunk in the order of their numbers; what is marked behind it waits for the next pass. Persons of an
/// EHR that is known by half ([`reading`]) are left out and keep their marks.
///
/// # Errors
/// The engine's refusal.
pub fn take(conn: &mut Conn, now: Timestamp, after: i64, limit: i64) -> Result<Vec<Pending>, StoreError> {
    let half = reading::half_read(conn, now)?;
    let marked: Vec<(i64, i64, i64)> = on_backend!(conn, c => {
        let q = pending_person::table
            .filter(pending_person::person.gt(after))
            .select((pending_person::person, pending_person::generation, pending_person::reads))
            .order(pending_person::person)
            .limit(limit)
            .into_boxed();
        leave_out!(q, pending_person::person, half).load(c)?
    });
    let mut all: BTreeMap<i64, (i64, i64)> = marked.into_iter().map(|(person, generation, reads)| (person, (generation, reads))).collect();
    // The marked ones of a full chunk end before the table does: a due person beyond them belongs to a later chunk.
    let full = i64::try_from(all.len()).is_ok_and(|n| n >= limit);
    let end = all.last_key_value().map(|(last, _)| *last).filter(|_| full).unwrap_or(i64::MAX);
    let due = due(conn, now, (after, end), limit, &half)?;
    for person in due {
        // Whose time has come is looked at as a whole, whatever changed beside it.
        all.entry(person).or_insert((0, -1)).1 = -1;
    }
    let taken = all.into_iter().take(usize::try_from(limit).unwrap_or(0));
    Ok(taken.map(|(person, (generation, reads))| Pending { person, generation, reads }).collect())
}

/// Persons whose time has come, with numbers above `after` and up to `end`, in the order of their numbers.
fn due(conn: &mut Conn, now: Timestamp, (after, end): (i64, i64), limit: i64, half: &BTreeSet<String>) -> Result<Vec<i64>, StoreError> {
    // Few are due as a rule. They are found by their time: along the numbers, the engine would walk through everyone to find that few.
    let few: Vec<i64> = on_backend!(conn, c => assignment::table
        .filter(assignment::wake_at.le(now.micros()))
        .order(assignment::wake_at)
        .select(assignment::person)
        .limit(FEW + 1)
        .load(c))?;
    let is_few = i64::try_from(few.len()).is_ok_and(|n| n <= FEW);
    let mut theirs: Vec<i64> = few.into_iter().filter(|person| *person > after && *person <= end).collect();
    theirs.sort_unstable();
    if is_few && half.is_empty() {
        theirs.truncate(usize::try_from(limit).unwrap_or(0));
        return Ok(theirs);
    }
    let rows =
        assignment::table.filter(assignment::wake_at.le(now.micros())).select(assignment::person).order(assignment::person).limit(limit);
    let mut found = Vec::new();
    if is_few {
        for some in theirs.chunks(AT_ONCE) {
            found.extend(on_backend!(conn, c => {
                let q = rows.filter(assignment::person.eq_any(some.to_vec())).into_boxed();
                leave_out!(q, assignment::person, half).load::<i64>(c)
            })?);
        }
        found.truncate(usize::try_from(limit).unwrap_or(0));
        return Ok(found);
    }
    Ok(on_backend!(conn, c => {
        let q = rows.filter(assignment::person.gt(after)).filter(assignment::person.le(end)).into_boxed();
        leave_out!(q, assignment::person, half).load(c)?
    }))
}

/// Deletes the marks that were read; one that grew since stays.
///
/// # Errors
/// The engine's refusal.
pub fn done(conn: &mut Conn, taken: &[Pending]) -> Result<(), StoreError> {
    let pairs: Vec<(i64, i64)> = taken.iter().filter(|p| p.generation > 0).map(|p| (p.person, p.generation)).collect();
    bulk::delete_pairs(conn, "pending_person", ("person", "generation"), &pairs)?;
    Ok(())
}

/// Marks persons for the outreach stage.
///
/// # Errors
/// The engine's refusal.
pub fn mark_outreach(conn: &mut Conn, persons: &BTreeSet<i64>, now: Timestamp) -> Result<(), StoreError> {
    let n = persons.len();
    Insert {
        into: "pending_outreach (person, generation, since)",
        columns: vec![Column::Int(persons.iter().copied().collect()), Column::Int(vec![1; n]), Column::Int(vec![now.micros(); n])],
        conflict: "ON CONFLICT (person) DO UPDATE SET generation = pending_outreach.generation + 1",
    }
    .execute(conn)?;
    Ok(())
}

/// Marks every member of any segment for the outreach stage: a program changed.
///
/// # Errors
/// The engine's refusal.
pub fn mark_members(conn: &mut Conn, now: Timestamp) -> Result<(), StoreError> {
    let mut last = i64::MIN;
    loop {
        let chunk: Vec<i64> = on_backend!(conn, c => membership::table
            .filter(membership::person.gt(last))
            .select(membership::person)
            .distinct()
            .order(membership::person)
            .limit(10_000)
            .load(c))?;
        let Some(end) = chunk.last() else { return Ok(()) };
        last = *end;
        mark_outreach(conn, &chunk.into_iter().collect(), now)?;
    }
}

/// Persons for the outreach stage, by number. Persons of an EHR that is known by half ([`reading`]) are left out and keep their marks.
///
/// # Errors
/// The engine's refusal.
pub fn take_outreach(conn: &mut Conn, now: Timestamp, limit: i64) -> Result<Vec<Pending>, StoreError> {
    let half = reading::half_read(conn, now)?;
    let rows: Vec<(i64, i64)> = on_backend!(conn, c => {
        let q = pending_outreach::table
            .select((pending_outreach::person, pending_outreach::generation))
            .order(pending_outreach::person)
            .limit(limit)
            .into_boxed();
        leave_out!(q, pending_outreach::person, half).load(c)?
    });
    Ok(rows.into_iter().map(|(person, generation)| Pending { person, generation, reads: -1 }).collect())
}

/// Deletes the marks of the outreach stage that were read.
///
/// # Errors
/// The engine's refusal.
pub fn done_outreach(conn: &mut Conn, taken: &[Pending]) -> Result<(), StoreError> {
    let pairs: Vec<(i64, i64)> = taken.iter().map(|p| (p.person, p.generation)).collect();
    bulk::delete_pairs(conn, "pending_outreach", ("person", "generation"), &pairs)?;
    Ok(())
}

/// How many persons wait for the segment stage and for the outreach stage.
///
/// # Errors
/// The engine's refusal.
pub fn counts(conn: &mut Conn) -> Result<(i64, i64), StoreError> {
    let segments = on_backend!(conn, c => pending_person::table.count().get_result(c))?;
    let outreach = on_backend!(conn, c => pending_outreach::table.count().get_result(c))?;
    Ok((segments, outreach))
}
