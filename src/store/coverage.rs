//! Of whom a type is not known although the type is: the exceptions to `sync_state.as_of`, per patient. And what a complete search no longer
//! showed, until it is settled whether it is gone.
//!
//! A hole makes a rule that reads the type answer unknown for this patient, or as old as the patient's last good reading. So whoever makes
//! or fills one wakes the person.

use std::collections::BTreeSet;

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable, Text};
use domain::Timestamp;
use domain::model::{EhrId, ResourceType};

use super::bulk::{self, Column, Insert};
use super::connection::{Conn, on_backend};
use super::error::StoreError;
use super::pending;
use super::resources::reads_bit;
use super::schema::{coverage_hole, missing, sync_state, visit};

/// Why a patient who was not read yet is not known.
pub const NOT_READ: &str = "not read yet";
/// Why a patient who is on no list is not known.
pub const NOT_LISTED: &str = "not on the roster";

/// A type that is not known of a patient.
#[derive(Clone, Debug, PartialEq, Eq, Queryable)]
pub struct Hole {
    /// The EHR.
    pub ehr: String,
    /// The patient's logical id there; or the line of the list that names nobody.
    pub patient: String,
    /// The type.
    pub rtype: String,
    /// In words, without patient data.
    pub why: String,
    /// Since when.
    pub since: i64,
    /// Up to when the type was known of this patient before; absent where it never was.
    pub known_up_to: Option<i64>,
}

/// A hole, of a person.
#[derive(QueryableByName)]
pub(super) struct PersonHole {
    #[diesel(sql_type = BigInt)]
    pub person: i64,
    #[diesel(sql_type = BigInt)]
    pub record: i64,
    #[diesel(sql_type = Text)]
    pub rtype: String,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub known_up_to: Option<i64>,
}

#[derive(QueryableByName)]
struct Id {
    #[diesel(sql_type = Text)]
    id: String,
}

fn ids(rows: Vec<Id>) -> Vec<String> {
    rows.into_iter().map(|r| r.id).collect()
}

/// The holes of these persons.
pub(super) fn holes_of(conn: &mut Conn, persons: &[i64]) -> Result<Vec<PersonHole>, StoreError> {
    bulk::select_numbers(
        conn,
        "SELECT p.person, p.pk AS record, h.rtype, h.known_up_to FROM patient p JOIN coverage_hole h ON h.ehr = p.ehr AND h.patient = p.fhir_id",
        "p.person",
        persons,
        // Nothing is read of an id that was merged or deleted, and nothing is missed by that: its survivor is read.
        "AND p.state NOT IN ('merged', 'gone')",
    )
}

/// The hole of a patient in a type: up to when it was known before, where it was. `None` where there is none.
///
/// # Errors
/// The engine's refusal.
pub fn hole(conn: &mut Conn, ehr: &EhrId, rtype: ResourceType, patient: &str) -> Result<Option<Option<i64>>, StoreError> {
    let row = coverage_hole::table.find((ehr.as_str(), patient, rtype.as_str())).select(coverage_hole::known_up_to);
    Ok(on_backend!(conn, c => row.first(c).optional())?)
}

/// Holes, by EHR, type and patient.
///
/// # Errors
/// The engine's refusal.
pub fn holes(conn: &mut Conn, ehr: &EhrId, limit: i64) -> Result<Vec<Hole>, StoreError> {
    Ok(on_backend!(conn, c => coverage_hole::table
        .filter(coverage_hole::ehr.eq(ehr.as_str()))
        .order((coverage_hole::rtype, coverage_hole::patient))
        .limit(limit)
        .load(c))?)
}

/// How many holes each (EHR, type) has.
///
/// # Errors
/// The engine's refusal.
pub fn counts(conn: &mut Conn) -> Result<Vec<(String, String, i64)>, StoreError> {
    use diesel::dsl::count_star;
    Ok(on_backend!(conn, c => coverage_hole::table
        .group_by((coverage_hole::ehr, coverage_hole::rtype))
        .select((coverage_hole::ehr, coverage_hole::rtype, count_star()))
        .order((coverage_hole::ehr, coverage_hole::rtype))
        .load(c))?)
}

/// How many holes of each (EHR, type) there are since an instant.
///
/// # Errors
/// The engine's refusal.
pub fn opened_since(conn: &mut Conn, since: Timestamp) -> Result<Vec<(String, String, i64)>, StoreError> {
    use diesel::dsl::count_star;
    Ok(on_backend!(conn, c => coverage_hole::table
        .filter(coverage_hole::since.ge(since.micros()))
        .group_by((coverage_hole::ehr, coverage_hole::rtype))
        .select((coverage_hole::ehr, coverage_hole::rtype, count_star()))
        .order((coverage_hole::ehr, coverage_hole::rtype))
        .load(c))?)
}

/// Notes of these patients that a type is not known, each with why. A hole that is there keeps its age; how far it was known stays said.
///
/// # Errors
/// The engine's refusal.
pub fn open(conn: &mut Conn, ehr: &EhrId, rtype: ResourceType, patients: &[(&str, &str)], now: Timestamp) -> Result<(), StoreError> {
    if patients.is_empty() {
        return Ok(());
    }
    let as_of: Option<Option<i64>> =
        on_backend!(conn, c => sync_state::table.find((ehr.as_str(), rtype.as_str())).select(sync_state::as_of).first(c).optional())?;
    let mut rows: Vec<(&str, &str)> = patients.to_vec();
    rows.sort_unstable();
    rows.dedup_by_key(|row| row.0);
    let n = rows.len();
    let names: Vec<&str> = rows.iter().map(|r| r.0).collect();
    let there: BTreeSet<String> = there(conn, ehr, rtype, &names)?.into_iter().collect();
    Insert {
        into: "coverage_hole (ehr, patient, rtype, why, since, known_up_to)",
        columns: vec![
            Column::Text(vec![ehr.as_str(); n]),
            Column::Text(names.clone()),
            Column::Text(vec![rtype.as_str(); n]),
            Column::Text(rows.iter().map(|r| r.1).collect()),
            Column::Int(vec![now.micros(); n]),
            Column::IntOrNull(vec![as_of.flatten(); n]),
        ],
        conflict: "ON CONFLICT (ehr, patient, rtype) DO UPDATE SET why = excluded.why",
    }
    .execute(conn)?;
    let new: Vec<&str> = names.into_iter().filter(|name| !there.contains(*name)).collect();
    wake(conn, ehr, rtype, &new, now)
}

/// The patients on the list of whom a type is not known, in order; at most so many.
///
/// # Errors
/// The engine's refusal.
pub fn listed_holes(conn: &mut Conn, ehr: &EhrId, rtype: ResourceType, limit: i64) -> Result<Vec<String>, StoreError> {
    // An EHR's name and a type's have letters, digits and '-' only, so they can stand in the text as they are.
    let text = format!(
        "SELECT h.patient AS id FROM coverage_hole h WHERE h.ehr = '{ehr}' AND h.rtype = '{rtype}'
         AND EXISTS (SELECT 1 FROM roster r WHERE r.ehr = h.ehr AND r.patient = h.patient) ORDER BY h.patient LIMIT {limit}"
    );
    let found: Vec<Id> = on_backend!(conn, c => diesel::sql_query(text).load(c))?;
    Ok(ids(found))
}

/// Takes the holes of these patients away: the type is known of them.
///
/// # Errors
/// The engine's refusal.
pub fn fill(conn: &mut Conn, ehr: &EhrId, rtype: ResourceType, patients: &[&str], now: Timestamp) -> Result<(), StoreError> {
    let there = there(conn, ehr, rtype, patients)?;
    let there: Vec<&str> = there.iter().map(String::as_str).collect();
    bulk::execute_texts(conn, "DELETE FROM coverage_hole", &[("ehr", ehr.as_str()), ("rtype", rtype.as_str())], "patient", &there)?;
    wake(conn, ehr, rtype, &there, now)
}

/// Takes all holes of a type away: it is known of everyone.
///
/// # Errors
/// The engine's refusal.
pub fn fill_all(conn: &mut Conn, ehr: &EhrId, rtype: ResourceType, now: Timestamp) -> Result<(), StoreError> {
    let all = coverage_hole::table.filter(coverage_hole::ehr.eq(ehr.as_str())).filter(coverage_hole::rtype.eq(rtype.as_str()));
    if on_backend!(conn, c => diesel::delete(all).execute(c))? > 0 {
        pending::mark_ehr(conn, ehr, now)?;
    }
    Ok(())
}

fn there(conn: &mut Conn, ehr: &EhrId, rtype: ResourceType, patients: &[&str]) -> Result<Vec<String>, StoreError> {
    let fixed = [("ehr", ehr.as_str()), ("rtype", rtype.as_str())];
    Ok(ids(bulk::select_texts(conn, "SELECT patient AS id FROM coverage_hole", &fixed, "patient", patients)?))
}

fn wake(conn: &mut Conn, ehr: &EhrId, rtype: ResourceType, patients: &[&str], now: Timestamp) -> Result<(), StoreError> {
    #[derive(QueryableByName)]
    struct Person {
        #[diesel(sql_type = BigInt)]
        person: i64,
    }
    let rows: Vec<Person> = bulk::select_texts(conn, "SELECT person FROM patient", &[("ehr", ehr.as_str())], "fhir_id", patients)?;
    let persons: BTreeSet<i64> = rows.into_iter().map(|r| r.person).collect();
    if persons.is_empty() { Ok(()) } else { pending::mark(conn, &persons, reads_bit(rtype), now) }
}

/// Notes of patients who were just heard of that the types which are read patient by patient are not known of them, unless they are listed:
/// of those it is noted when they are listed, and when they are read.
pub(super) fn strangers(conn: &mut Conn, ehr: &EhrId, patients: &[&str], now: Timestamp) -> Result<(), StoreError> {
    let types: Vec<String> = on_backend!(conn, c => sync_state::table
        .filter(sync_state::ehr.eq(ehr.as_str()))
        .filter(sync_state::by_patient.eq(true))
        .select(sync_state::rtype)
        .load(c))?;
    if types.is_empty() {
        return Ok(());
    }
    let listed: Vec<Id> = bulk::select_texts(conn, "SELECT patient AS id FROM roster", &[("ehr", ehr.as_str())], "patient", patients)?;
    let listed: BTreeSet<String> = ids(listed).into_iter().collect();
    let patients: Vec<&str> = patients.iter().filter(|p| !listed.contains(**p)).copied().collect();
    let holes: Vec<(&str, &str)> = patients.iter().map(|p| (*p, NOT_LISTED)).collect();
    for kind in types.iter().filter_map(|t| ResourceType::parse(t)) {
        open(conn, ehr, kind, &holes, now)?;
        // They were never read, however far the others are.
        let fixed = [("ehr", ehr.as_str()), ("rtype", kind.as_str())];
        bulk::execute_texts(conn, "UPDATE coverage_hole SET known_up_to = NULL", &fixed, "patient", &patients)?;
    }
    Ok(())
}

/// Notes of all patients of an EHR who are on no list that a type is not read of them any more.
///
/// # Errors
/// The engine's refusal.
pub fn unlisted(conn: &mut Conn, ehr: &EhrId, rtype: ResourceType, now: Timestamp) -> Result<(), StoreError> {
    // An EHR's name and a type's have letters, digits and '-' only, so they can stand in the text as they are.
    let text = format!(
        "SELECT p.fhir_id AS id FROM patient p WHERE p.ehr = '{ehr}' AND p.state <> 'merged'
         AND NOT EXISTS (SELECT 1 FROM roster r WHERE r.ehr = p.ehr AND r.patient = p.fhir_id)
         AND NOT EXISTS (SELECT 1 FROM coverage_hole h WHERE h.ehr = p.ehr AND h.patient = p.fhir_id AND h.rtype = '{rtype}')"
    );
    let found: Vec<Id> = on_backend!(conn, c => diesel::sql_query(text).load(c))?;
    let found = ids(found);
    open(conn, ehr, rtype, &found.iter().map(|id| (id.as_str(), NOT_LISTED)).collect::<Vec<_>>(), now)
}

/// What a complete search did not show although it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = missing)]
pub struct Missing {
    /// Logical id.
    pub fhir_id: String,
    /// Since when.
    pub missed_at: i64,
    /// When a read first said that it is gone.
    pub read_at: Option<i64>,
}

/// How many are missing of each (EHR, type).
///
/// # Errors
/// The engine's refusal.
pub fn missing_counts(conn: &mut Conn) -> Result<Vec<(String, String, i64)>, StoreError> {
    use diesel::dsl::count_star;
    Ok(on_backend!(conn, c => missing::table
        .group_by((missing::ehr, missing::rtype))
        .select((missing::ehr, missing::rtype, count_star()))
        .order((missing::ehr, missing::rtype))
        .load(c))?)
}

/// How many of these no read has told of yet.
///
/// # Errors
/// The engine's refusal.
pub fn untold(conn: &mut Conn, ehr: &EhrId, rtype: ResourceType, missed: &[&str]) -> Result<i64, StoreError> {
    let fixed = [("read_at IS NOT NULL AND ehr", ehr.as_str()), ("rtype", rtype.as_str())];
    let told: Vec<Id> = bulk::select_texts(conn, "SELECT fhir_id AS id FROM missing", &fixed, "fhir_id", missed)?;
    Ok(i64::try_from(missed.len().saturating_sub(told.len())).unwrap_or(i64::MAX))
}

/// Notes what was not shown; `read` says that a read has told so.
///
/// # Errors
/// The engine's refusal.
pub fn miss(conn: &mut Conn, ehr: &EhrId, rtype: ResourceType, missed: &[&str], read: bool, now: Timestamp) -> Result<(), StoreError> {
    let (mut rows, n) = (missed.to_vec(), missed.len());
    rows.sort_unstable();
    Insert {
        into: "missing (ehr, rtype, fhir_id, missed_at, read_at)",
        columns: vec![
            Column::Text(vec![ehr.as_str(); n]),
            Column::Text(vec![rtype.as_str(); n]),
            Column::Text(rows),
            Column::Int(vec![now.micros(); n]),
            Column::IntOrNull(vec![read.then(|| now.micros()); n]),
        ],
        conflict: "ON CONFLICT (ehr, rtype, fhir_id) DO UPDATE SET read_at = COALESCE(missing.read_at, excluded.read_at)",
    }
    .execute(conn)?;
    Ok(())
}

/// These were shown: they are not missing.
///
/// # Errors
/// The engine's refusal.
pub fn found(conn: &mut Conn, ehr: &EhrId, rtype: ResourceType, shown: &[&str]) -> Result<(), StoreError> {
    bulk::execute_texts(conn, "DELETE FROM missing", &[("ehr", ehr.as_str()), ("rtype", rtype.as_str())], "fhir_id", shown)?;
    Ok(())
}

/// A read said of these for the first time that they are gone.
///
/// # Errors
/// The engine's refusal.
pub fn told_gone(conn: &mut Conn, ehr: &EhrId, rtype: ResourceType, read: &[&str], now: Timestamp) -> Result<(), StoreError> {
    let statement = format!("UPDATE missing SET read_at = COALESCE(read_at, {})", now.micros());
    bulk::execute_texts(conn, &statement, &[("ehr", ehr.as_str()), ("rtype", rtype.as_str())], "fhir_id", read)?;
    Ok(())
}

/// What is missing of a type, in the order of ids, after one.
///
/// # Errors
/// The engine's refusal.
pub fn missing_after(conn: &mut Conn, ehr: &EhrId, rtype: ResourceType, after: &str, limit: i64) -> Result<Vec<Missing>, StoreError> {
    Ok(on_backend!(conn, c => missing::table
        .filter(missing::ehr.eq(ehr.as_str()))
        .filter(missing::rtype.eq(rtype.as_str()))
        .filter(missing::fhir_id.gt(after))
        .select(Missing::as_select())
        .order(missing::fhir_id)
        .limit(limit)
        .load(c))?)
}

/// When a read first said of these that they are gone, by id, of those that it said so of.
///
/// # Errors
/// The engine's refusal.
pub fn first_told(conn: &mut Conn, ehr: &EhrId, rtype: ResourceType, ids: &[&str]) -> Result<Vec<(String, i64)>, StoreError> {
    Ok(on_backend!(conn, c => missing::table
        .filter(missing::ehr.eq(ehr.as_str()))
        .filter(missing::rtype.eq(rtype.as_str()))
        .filter(missing::fhir_id.eq_any(ids.iter().copied()))
        .filter(missing::read_at.is_not_null())
        .select((missing::fhir_id, missing::read_at.assume_not_null()))
        .load(c))?)
}

/// Forgets what was first missed at that instant or later: too much of it was, to be believed.
///
/// # Errors
/// The engine's refusal.
pub fn forget_missed_since(conn: &mut Conn, ehr: &EhrId, rtype: ResourceType, since: Timestamp) -> Result<(), StoreError> {
    let late = missing::table
        .filter(missing::ehr.eq(ehr.as_str()))
        .filter(missing::rtype.eq(rtype.as_str()))
        .filter(missing::missed_at.ge(since.micros()));
    on_backend!(conn, c => diesel::delete(late).execute(c))?;
    Ok(())
}

/// Notes when appointments begin; one without a start is on no day. No id may occur twice.
///
/// # Errors
/// The engine's refusal.
pub fn put_visits(conn: &mut Conn, ehr: &EhrId, visits: &[(&str, Option<i64>)]) -> Result<(), StoreError> {
    let dayless: Vec<&str> = visits.iter().filter(|v| v.1.is_none()).map(|v| v.0).collect();
    bulk::execute_texts(conn, "DELETE FROM visit", &[("ehr", ehr.as_str())], "fhir_id", &dayless)?;
    let mut rows: Vec<(&str, i64)> = visits.iter().filter_map(|(id, at)| Some((*id, (*at)?))).collect();
    rows.sort_unstable();
    Insert {
        into: "visit (ehr, fhir_id, starts_at)",
        columns: vec![
            Column::Text(vec![ehr.as_str(); rows.len()]),
            Column::Text(rows.iter().map(|r| r.0).collect()),
            Column::Int(rows.iter().map(|r| r.1).collect()),
        ],
        conflict: "ON CONFLICT (ehr, fhir_id) DO UPDATE SET starts_at = excluded.starts_at WHERE visit.starts_at <> excluded.starts_at",
    }
    .execute(conn)?;
    Ok(())
}

/// The appointments that begin in a span of time, by what is stored.
///
/// # Errors
/// The engine's refusal.
pub fn visits_within(conn: &mut Conn, ehr: &EhrId, from: Timestamp, until: Timestamp) -> Result<Vec<String>, StoreError> {
    Ok(on_backend!(conn, c => visit::table
        .filter(visit::ehr.eq(ehr.as_str()))
        .filter(visit::starts_at.ge(from.micros()))
        .filter(visit::starts_at.lt(until.micros()))
        .select(visit::fhir_id)
        .order(visit::starts_at)
        .load(c))?)
}

/// What is stored of a type about one patient; of appointments with a span of time those that begin in it.
///
/// # Errors
/// The engine's refusal.
pub fn stored_of(
    conn: &mut Conn,
    ehr: &EhrId,
    rtype: ResourceType,
    patient: &str,
    days: Option<(Timestamp, Timestamp)>,
) -> Result<Vec<String>, StoreError> {
    let within = days.map_or_else(String::new, |(from, until)| {
        format!(
            "AND EXISTS (SELECT 1 FROM visit v WHERE v.ehr = p.ehr AND v.fhir_id = f.fhir_id AND v.starts_at >= {} AND v.starts_at < {})",
            from.micros(),
            until.micros()
        )
    });
    let select = format!("SELECT f.fhir_id AS id FROM patient p JOIN fact f ON f.patient = p.pk AND f.rtype = '{rtype}' {within}");
    Ok(ids(bulk::select_texts(conn, &select, &[("p.ehr", ehr.as_str())], "p.fhir_id", &[patient])?))
}

/// Forgets an EHR.
pub(super) fn forget(conn: &mut Conn, ehr: &str) -> Result<(), StoreError> {
    on_backend!(conn, c => {
        diesel::delete(coverage_hole::table.filter(coverage_hole::ehr.eq(ehr))).execute(c)?;
        diesel::delete(missing::table.filter(missing::ehr.eq(ehr))).execute(c)?;
        diesel::delete(visit::table.filter(visit::ehr.eq(ehr))).execute(c)
    })?;
    Ok(())
}
