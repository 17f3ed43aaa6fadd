//! Who is read one by one at an EHR that gives its data one patient at a time: the entries of the lists that the site gives, and the patients
//! that they name. An entry is a logical id, or an identifier whose patient was looked up.

use std::collections::BTreeSet;

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable, Text};
use domain::Timestamp;
use domain::model::{EhrId, ResourceType};

use super::bulk::{self, Column, Insert};
use super::connection::{Conn, on_backend};
use super::coverage;
use super::error::StoreError;
use super::schema::{roster, sync_state};

/// An entry of a list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Queryable, Selectable)]
#[diesel(table_name = roster)]
pub struct Entry {
    /// The list's own words: a logical id, or `system|value`.
    pub entry: String,
    /// The patient's logical id, where it is known.
    pub patient: Option<String>,
}

/// All entries of an EHR, by their words.
///
/// # Errors
/// The engine's refusal.
pub fn entries(conn: &mut Conn, ehr: &EhrId) -> Result<Vec<Entry>, StoreError> {
    Ok(on_backend!(conn, c => roster::table
        .filter(roster::ehr.eq(ehr.as_str()))
        .select(Entry::as_select())
        .order(roster::entry)
        .load(c))?)
}

/// The entries of an EHR whose patient is not known.
///
/// # Errors
/// The engine's refusal.
pub fn unresolved(conn: &mut Conn, ehr: &EhrId) -> Result<Vec<String>, StoreError> {
    Ok(on_backend!(conn, c => roster::table
        .filter(roster::ehr.eq(ehr.as_str()))
        .filter(roster::patient.is_null())
        .select(roster::entry)
        .order(roster::entry)
        .load(c))?)
}

/// Adds entries. Of those whose patient is known, the types that are read patient by patient are not known yet.
///
/// # Errors
/// The engine's refusal.
pub fn add(conn: &mut Conn, ehr: &EhrId, new: &[Entry], types: &[ResourceType], now: Timestamp) -> Result<(), StoreError> {
    let n = new.len();
    Insert {
        into: "roster (ehr, entry, patient, listed_at)",
        columns: vec![
            Column::Text(vec![ehr.as_str(); n]),
            Column::Text(new.iter().map(|e| e.entry.as_str()).collect()),
            Column::TextOrNull(new.iter().map(|e| e.patient.as_deref()).collect()),
            Column::Int(vec![now.micros(); n]),
        ],
        // Another type's run on another node may be at it too.
        conflict: "ON CONFLICT (ehr, entry) DO NOTHING",
    }
    .execute(conn)?;
    let named: Vec<&str> = new.iter().filter_map(|e| e.patient.as_deref()).collect();
    expect(conn, ehr, &named, types, now)
}

/// Notes whom an entry names.
///
/// # Errors
/// The engine's refusal.
pub fn resolve(conn: &mut Conn, ehr: &EhrId, entry: &str, patient: &str, types: &[ResourceType], now: Timestamp) -> Result<(), StoreError> {
    let row = roster::table.find((ehr.as_str(), entry));
    on_backend!(conn, c => diesel::update(row).set(roster::patient.eq(patient)).execute(c))?;
    coverage::fill(conn, ehr, ResourceType::Patient, &[entry], now)?;
    expect(conn, ehr, &[patient], types, now)
}

/// Of a type that has been read, or is being read, who comes new was not read yet. Where nothing is known there is nothing to except from.
fn expect(conn: &mut Conn, ehr: &EhrId, patients: &[&str], types: &[ResourceType], now: Timestamp) -> Result<(), StoreError> {
    let holes: Vec<(&str, &str)> = patients.iter().map(|p| (*p, coverage::NOT_READ)).collect();
    for &kind in types {
        let row = sync_state::table.find((ehr.as_str(), kind.as_str())).select((sync_state::as_of, sync_state::resume));
        let state: Option<(Option<i64>, Option<String>)> = on_backend!(conn, c => row.first(c).optional())?;
        if state.is_some_and(|(as_of, resume)| as_of.is_some() || resume.is_some()) {
            coverage::open(conn, ehr, kind, &holes, now)?;
            // Never read before: it is known up to no instant.
            let fixed = [("why", coverage::NOT_READ), ("ehr", ehr.as_str()), ("rtype", kind.as_str())];
            bulk::execute_texts(conn, "UPDATE coverage_hole SET known_up_to = NULL", &fixed, "patient", patients)?;
        }
    }
    Ok(())
}

/// Takes entries off. What is known of their patients grows old from now on: [`coverage::unlisted`]. With `ask` they are read once more: who
/// leaves a list may have been merged into another.
///
/// # Errors
/// The engine's refusal.
pub fn strike(conn: &mut Conn, ehr: &EhrId, entries: &[&str], ask: bool, now: Timestamp) -> Result<(), StoreError> {
    if ask {
        #[derive(QueryableByName)]
        struct Id {
            #[diesel(sql_type = Text)]
            id: String,
        }
        let select = "SELECT r.patient AS id FROM roster r JOIN patient p ON p.ehr = r.ehr AND p.fhir_id = r.patient AND p.state = 'live'";
        let left: Vec<Id> = bulk::select_texts(conn, select, &[("r.ehr", ehr.as_str())], "r.entry", entries)?;
        let left: Vec<&str> = left.iter().map(|r| r.id.as_str()).collect::<BTreeSet<_>>().into_iter().collect();
        coverage::miss(conn, ehr, ResourceType::Patient, &left, false, now)?;
    }

    bulk::execute_texts(conn, "DELETE FROM roster", &[("ehr", ehr.as_str())], "entry", entries)?;
    Ok(())
}

/// The patients on the list in the order of their ids, after one; each once.
///
/// # Errors
/// The engine's refusal.
pub fn patients_after(conn: &mut Conn, ehr: &EhrId, after: &str, limit: i64) -> Result<Vec<String>, StoreError> {
    let found: Vec<Option<String>> = on_backend!(conn, c => roster::table
        .filter(roster::ehr.eq(ehr.as_str()))
        .filter(roster::patient.gt(after))
        .select(roster::patient)
        .distinct()
        .order(roster::patient)
        .limit(limit)
        .load(c))?;
    Ok(found.into_iter().flatten().collect())
}

/// How many patients are on the list.
///
/// # Errors
/// The engine's refusal.
pub fn count(conn: &mut Conn, ehr: &EhrId) -> Result<i64, StoreError> {
    #[derive(QueryableByName)]
    struct Count {
        #[diesel(sql_type = Nullable<BigInt>)]
        n: Option<i64>,
    }
    // An EHR's name has letters, digits and '-' only, so it can stand in the text as it is.
    let text = format!("SELECT COUNT(DISTINCT patient) AS n FROM roster WHERE ehr = '{ehr}'");
    let found: Count = on_backend!(conn, c => diesel::sql_query(text).get_result(c))?;
    Ok(found.n.unwrap_or(0))
}

/// The patients of an EHR who have an appointment.
///
/// # Errors
/// The engine's refusal.
pub fn with_appointments(conn: &mut Conn, ehr: &EhrId) -> Result<Vec<String>, StoreError> {
    #[derive(QueryableByName)]
    struct Id {
        #[diesel(sql_type = Text)]
        id: String,
    }
    let text = format!(
        "SELECT p.fhir_id AS id FROM patient p WHERE p.ehr = '{ehr}'
         AND EXISTS (SELECT 1 FROM fact f WHERE f.patient = p.pk AND f.rtype = 'Appointment') ORDER BY p.fhir_id"
    );
    let found: Vec<Id> = on_backend!(conn, c => diesel::sql_query(text).load(c))?;
    Ok(found.into_iter().map(|r| r.id).collect())
}

/// The patients into whom some of the list were merged.
///
/// # Errors
/// The engine's refusal.
pub fn survivors(conn: &mut Conn, ehr: &EhrId) -> Result<Vec<String>, StoreError> {
    #[derive(QueryableByName)]
    struct Id {
        #[diesel(sql_type = Text)]
        id: String,
    }
    let text = format!(
        "SELECT DISTINCT s.fhir_id AS id FROM patient p JOIN patient s ON s.pk = p.root AND s.ehr = p.ehr
         WHERE p.ehr = '{ehr}' AND p.state = 'merged' AND EXISTS (SELECT 1 FROM roster r WHERE r.ehr = p.ehr AND r.patient = p.fhir_id)"
    );
    let found: Vec<Id> = on_backend!(conn, c => diesel::sql_query(text).load(c))?;
    Ok(found.into_iter().map(|r| r.id).collect())
}

/// Forgets an EHR.
pub(super) fn forget(conn: &mut Conn, ehr: &str) -> Result<(), StoreError> {
    on_backend!(conn, c => diesel::delete(roster::table.filter(roster::ehr.eq(ehr))).execute(c))?;
    Ok(())
}
