//! What comes to be owed: the only place where rows of `writeback` are made. Everything here runs in the transaction that ends the
//! attempt, records the answer or learns of the bounce.

use diesel::prelude::*;
use domain::Timestamp;

use super::{Writeback, first_word};
use crate::store::attempts::Attempt;
use crate::store::connection::{Conn, on_backend};
use crate::store::error::StoreError;
use crate::store::schema::{answer, attempt, patient, writeback, writeback_item};

/// What a finished attempt owes to the chart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Debt {
    /// Nothing: it stays in the ledger.
    Nothing,
    /// A write-back of its own.
    Original,
    /// A line in the patient's note, which is written at this instant.
    Line(Timestamp),
}

/// What a new row is.
struct Kind<'a> {
    name: &'a str,
    /// What comes after the attempt's id.
    suffix: String,
    revision: i64,
    due: Timestamp,
}

/// Writes down what a finished attempt owes.
pub(in crate::store) fn owe(conn: &mut Conn, a: &Attempt, debt: Debt, now: Timestamp) -> Result<(), StoreError> {
    match debt {
        Debt::Nothing => Ok(()),
        Debt::Original => add(conn, a, &Kind { name: "original", suffix: "0".to_owned(), revision: 0, due: now }, now).map(|_| ()),
        Debt::Line(due) => add_line(conn, a, due, now),
    }
}

/// Writes down that an answer is owed; `number` is the answer's within the attempt.
pub(in crate::store) fn owe_answer(conn: &mut Conn, a: &Attempt, number: i64, now: Timestamp) -> Result<(), StoreError> {
    add(conn, a, &Kind { name: "answer", suffix: format!("answer-{number}"), revision: number, due: now }, now).map(|_| ())
}

/// Writes down that a status of the Appointment that the attempt is about is to change, as the answer of that number asks for.
///
/// # Errors
/// The engine's refusal.
pub fn owe_status_change(conn: &mut Conn, a: &Attempt, number: i64, now: Timestamp) -> Result<(), StoreError> {
    add(conn, a, &Kind { name: "status-change", suffix: format!("status-{number}"), revision: number, due: now }, now).map(|_| ())
}

/// Writes down that a Provenance is owed of the resource as which a write-back was written: at the end of its patient's lane, once. Its
/// revision is the write-back's place in that lane. Nothing is owed of one that is no resource, or whose id the EHR did not tell. Returns
/// whether one is owed now that was not.
///
/// # Errors
/// The engine's refusal.
pub fn owe_provenance(conn: &mut Conn, id: &str, now: Timestamp) -> Result<bool, StoreError> {
    let Some(of) = super::get(conn, id)? else { return Ok(false) };
    let made = of.state == "written" && matches!(of.carrier.as_deref(), Some("communication" | "document-reference"));
    let Some(a) = crate::store::attempts::get(conn, &of.attempt)?.filter(|_| made && of.remote_id.is_some()) else { return Ok(false) };
    // `a1-0` is of the attempt `a1`.
    let own = of.id.strip_prefix(of.attempt.as_str()).unwrap_or_default().trim_start_matches('-');
    add(conn, &a, &Kind { name: "provenance", suffix: format!("{own}-provenance"), revision: of.number, due: now }, now)
}

/// What Provenances are of, by Provenance.
///
/// # Errors
/// The engine's refusal.
pub fn targets(conn: &mut Conn, provenances: &[&Writeback]) -> Result<std::collections::HashMap<String, Writeback>, StoreError> {
    if provenances.is_empty() {
        return Ok(std::collections::HashMap::new());
    }
    let attempts: Vec<&str> = provenances.iter().map(|p| p.attempt.as_str()).collect();
    let rows: Vec<Writeback> = on_backend!(conn, c => writeback::table
        .filter(writeback::attempt.eq_any(&attempts))
        .filter(writeback::kind.ne("provenance"))
        .select(Writeback::as_select())
        .load(c))?;
    let of = |p: &&Writeback| rows.iter().find(|r| r.attempt == p.attempt && r.number == p.revision).map(|r| (p.id.clone(), r.clone()));
    Ok(provenances.iter().filter_map(of).collect())
}

/// A change of an Appointment's status that the EHR refused leaves the patient's word to staff: the answer needs somebody, and is owed by
/// itself where it was not. Other kinds of rows are left as they are.
pub(super) fn owe_unheard(conn: &mut Conn, id: &str, now: Timestamp) -> Result<(), StoreError> {
    let row = writeback::table.find(id).filter(writeback::kind.eq("status-change"));
    let row: Option<Writeback> = on_backend!(conn, c => row.select(Writeback::as_select()).first(c).optional())?;
    let Some(row) = row else { return Ok(()) };
    let said = answer::table.find((&row.attempt, row.revision));
    on_backend!(conn, c => diesel::update(said).set(answer::needs_action.eq(true)).execute(c))?;
    let a: Attempt = on_backend!(conn, c => attempt::table.find(&row.attempt).select(Attempt::as_select()).first(c))?;
    owe_answer(conn, &a, row.revision, now)
}

/// Writes down that what the chart says of an attempt is not true any more. Nothing is owed where the chart says nothing: what is owed, or was
/// refused, is composed from the attempt as it is by then. Returns whether a correction is owed.
pub(in crate::store) fn owe_correction(conn: &mut Conn, a: &Attempt, now: Timestamp) -> Result<bool, StoreError> {
    lane(conn, a)?;
    let told: Vec<(String, Option<String>)> = on_backend!(conn, c => writeback::table
        .left_join(writeback_item::table.on(writeback_item::writeback.eq(writeback::id)))
        .filter(writeback::attempt.eq(&a.id).and(writeback::kind.eq("original")).or(writeback_item::attempt.eq(&a.id)))
        .select((writeback::state, writeback::failure))
        .load(c))?;
    let says_nothing = |state: &str, failure: Option<&str>| match state {
        "owed" | "kept" => true,
        "refused" => failure.map(first_word) != Some("found-twice"),
        _ => false,
    };
    if told.iter().all(|(state, failure)| says_nothing(state, failure.as_deref())) {
        return Ok(false);
    }
    let mine = writeback::table.filter(writeback::attempt.eq(&a.id)).filter(writeback::kind.eq("correction"));
    let before: i64 = on_backend!(conn, c => mine.count().get_result(c))?;
    let revision = before + 1;
    add(conn, a, &Kind { name: "correction", suffix: format!("correction-{revision}"), revision, due: now }, now)
}

/// Locks the patient's lane, and tells the EHR and the last place in it.
fn lane(conn: &mut Conn, a: &Attempt) -> Result<(String, i64), StoreError> {
    use diesel::dsl::max;
    let record = patient::table.find(a.patient).select(patient::ehr);
    let ehr: String = match conn {
        Conn::Sqlite(c) => record.first(c)?,
        // Two that are owed by one patient at once must not take the same place in the lane.
        #[cfg(feature = "postgres")]
        Conn::Postgres(c) => record.for_update().first(c)?,
    };
    let last: Option<i64> =
        on_backend!(conn, c => writeback::table.filter(writeback::patient.eq(a.patient)).select(max(writeback::number)).first(c))?;
    Ok((ehr, last.unwrap_or(0)))
}

/// Adds a row at the end of the lane; `false` where it is there already.
fn add(conn: &mut Conn, a: &Attempt, kind: &Kind<'_>, now: Timestamp) -> Result<bool, StoreError> {
    let (ehr, last) = lane(conn, a)?;
    let row = (
        (
            writeback::id.eq(format!("{}-{}", a.id, kind.suffix)),
            writeback::attempt.eq(&a.id),
            writeback::kind.eq(kind.name),
            writeback::revision.eq(kind.revision),
        ),
        (writeback::ehr.eq(ehr), writeback::patient.eq(a.patient), writeback::number.eq(last + 1), writeback::state.eq("owed")),
        (writeback::token.eq(0_i64), writeback::tries.eq(0_i64), writeback::next_at.eq(kind.due.micros()), writeback::loss.eq("[]")),
        writeback::owed_at.eq(now.micros()),
    );
    let made = on_backend!(conn, c => diesel::insert_into(writeback::table).values(row).on_conflict_do_nothing().execute(c))?;
    Ok(made == 1)
}

/// Adds a line to the note that is being collected, or begins one. A note that was claimed takes no more lines.
fn add_line(conn: &mut Conn, a: &Attempt, due: Timestamp, now: Timestamp) -> Result<(), StoreError> {
    lane(conn, a)?;
    let open = writeback::table
        .filter(writeback::patient.eq(a.patient))
        .filter(writeback::kind.eq("note"))
        .filter(writeback::state.eq("owed"))
        .filter(writeback::tries.eq(0))
        .filter(writeback::next_at.gt(now.micros()))
        .select(writeback::id)
        .order(writeback::number);
    let open: Option<String> = match conn {
        Conn::Sqlite(c) => open.first(c).optional()?,
        // A claim skips what is locked, so a note cannot be written without the line that is being added.
        #[cfg(feature = "postgres")]
        Conn::Postgres(c) => open.for_update().first(c).optional()?,
    };
    let note = match open {
        Some(id) => id,
        None => {
            // An attempt may begin a second note: what is answered after the first was written.
            let mine = writeback::table.filter(writeback::attempt.eq(&a.id)).filter(writeback::kind.eq("note"));
            let revision: i64 = on_backend!(conn, c => mine.count().get_result(c))?;
            let suffix = if revision == 0 { "note".to_owned() } else { format!("note-{revision}") };
            let id = format!("{}-{suffix}", a.id);
            add(conn, a, &Kind { name: "note", suffix, revision, due }, now)?;
            id
        }
    };
    let item = (writeback_item::writeback.eq(note), writeback_item::attempt.eq(&a.id));
    on_backend!(conn, c => diesel::insert_into(writeback_item::table).values(item).on_conflict_do_nothing().execute(c))?;
    Ok(())
}

/// The attempts that notes tell of, by note, each note's in the order in which they were sent.
///
/// # Errors
/// The engine's refusal.
pub fn items(conn: &mut Conn, notes: &[&str]) -> Result<std::collections::HashMap<String, Vec<Attempt>>, StoreError> {
    let mut by_note = std::collections::HashMap::<String, Vec<Attempt>>::new();
    if notes.is_empty() {
        return Ok(by_note);
    }
    let rows: Vec<(String, Attempt)> = on_backend!(conn, c => writeback_item::table
        .inner_join(attempt::table)
        .filter(writeback_item::writeback.eq_any(notes))
        .order((attempt::sent_at, attempt::id))
        .select((writeback_item::writeback, Attempt::as_select()))
        .load(c))?;
    for (note, a) in rows {
        by_note.entry(note).or_default().push(a);
    }
    Ok(by_note)
}

/// What told of attempts first, by attempt: their originals that are written, or the notes that they have a line in.
///
/// # Errors
/// The engine's refusal.
pub fn originals(conn: &mut Conn, attempts: &[&str]) -> Result<Vec<(String, Writeback)>, StoreError> {
    if attempts.is_empty() {
        return Ok(Vec::new());
    }
    let written = || writeback::table.filter(writeback::state.eq_any(["written", "exported"]));
    let mut found: Vec<(String, Writeback)> = on_backend!(conn, c => written()
        .filter(writeback::kind.eq("original"))
        .filter(writeback::attempt.eq_any(attempts))
        .select((writeback::attempt, Writeback::as_select()))
        .load(c))?;
    found.extend(on_backend!(conn, c => written()
        .inner_join(writeback_item::table.on(writeback_item::writeback.eq(writeback::id)))
        .filter(writeback_item::attempt.eq_any(attempts))
        .select((writeback_item::attempt, Writeback::as_select()))
        .load::<(String, Writeback)>(c))?);
    Ok(found)
}

/// When attempts got the end that they have, by attempt.
///
/// # Errors
/// The engine's refusal.
pub fn ends(conn: &mut Conn, attempts: &[&str]) -> Result<std::collections::HashMap<String, i64>, StoreError> {
    if attempts.is_empty() {
        return Ok(std::collections::HashMap::new());
    }
    let rows: Vec<(String, Option<i64>)> = on_backend!(conn, c => attempt::table
        .filter(attempt::id.eq_any(attempts))
        .select((attempt::id, attempt::finished_at))
        .load(c))?;
    Ok(rows.into_iter().filter_map(|(id, at)| Some((id, at?))).collect())
}

/// In how many notes an attempt has a line.
pub(in crate::store) fn items_of(conn: &mut Conn, attempt: &str) -> Result<i64, StoreError> {
    Ok(on_backend!(conn, c => writeback_item::table.filter(writeback_item::attempt.eq(attempt)).count().get_result(c))?)
}
