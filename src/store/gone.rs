//! Resources that are gone at the EHR. The body stays as the record of what was known; the facts go, since a rule must not read them.
//! A resource that is seen again comes back (`resources::commit`).

use std::collections::BTreeSet;

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};
use domain::Timestamp;
use domain::model::{EhrId, ResourceType};

use super::bulk;
use super::connection::{Conn, on_backend};
use super::error::StoreError;
use super::resources::{reads_bit, split};
use super::schema::patient;
use super::{pending, people, ties};

/// What is kept as the reason of a Patient whose id is answered with another one.
const REPLACED: &str = "the EHR answers a read of it with another record";

/// A read of one Patient is answered with another: the first is replaced by the second, until it is read as itself again.
///
/// # Errors
/// The engine's refusal.
pub fn replaced(conn: &mut Conn, ehr: &EhrId, from: &str, to: &str, now: Timestamp) -> Result<(), StoreError> {
    if from == to {
        return Ok(());
    }
    ties::redirected(conn, ehr, from, to, now)?;
    mark(conn, ehr, ResourceType::Patient, &[from], REPLACED, now)?;
    Ok(())
}

/// Marks resources as gone and wakes whom they were about; returns how many were not marked before.
///
/// # Errors
/// The engine's refusal.
pub fn mark(conn: &mut Conn, ehr: &EhrId, rtype: ResourceType, ids: &[&str], why: &str, now: Timestamp) -> Result<i64, StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        pk: i64,
        #[diesel(sql_type = Text)]
        patients: String,
    }
    let fixed = [("gone_at IS NULL AND ehr", ehr.as_str()), ("rtype", rtype.as_str())];
    let rows: Vec<Row> = bulk::select_texts(conn, "SELECT pk, patients FROM resource", &fixed, "fhir_id", ids)?;
    let mut pks: Vec<i64> = rows.iter().map(|r| r.pk).collect();
    pks.sort_unstable();
    let why = why.replace('\'', "''");
    let statement = format!("UPDATE resource SET gone_at = {}, gone_why = '{why}'", now.micros());
    bulk::execute_numbers(conn, &statement, "pk", &pks)?;
    let about: Vec<(i64, i64)> = rows.iter().flat_map(|r| split(&r.patients).map(|p| (p, r.pk))).collect();
    bulk::delete_pairs(conn, "fact", ("patient", "resource"), &about)?;
    let named = [("ehr", ehr.as_str()), ("rtype", rtype.as_str())];
    bulk::execute_texts(conn, "DELETE FROM missing", &named, "fhir_id", ids)?;
    match rtype {
        ResourceType::Appointment => {
            bulk::execute_texts(conn, "DELETE FROM visit", &named[..1], "fhir_id", ids)?;
        }
        ResourceType::Patient => {
            // One that was merged stays so: what ties it to its survivor holds though its id is not served any more.
            let records = patient::table
                .filter(patient::ehr.eq(ehr.as_str()))
                .filter(patient::fhir_id.eq_any(ids.iter().copied()))
                .filter(patient::state.ne("merged"));
            on_backend!(conn, c => diesel::update(records).set(patient::state.eq("gone")).execute(c))?;
        }
        _ => {}
    }
    let concerned: Vec<i64> = about.iter().map(|(patient, _)| *patient).collect::<BTreeSet<_>>().into_iter().collect();
    let persons: BTreeSet<i64> = people::persons_of(conn, &concerned)?.into_iter().collect();
    // With a record that is gone goes all that is known by it.
    let reads = if rtype == ResourceType::Patient { -1 } else { reads_bit(rtype) };
    pending::mark(conn, &persons, reads, now)?;
    if rtype == ResourceType::Patient {
        // Whoever is not in a segment may still have something planned.
        pending::mark_outreach(conn, &persons, now)?;
    }
    Ok(i64::try_from(pks.len()).unwrap_or(i64::MAX))
}
