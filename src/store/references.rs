//! Who and where it is that stored facts name: the facts that hold such references, in chunks.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary, Text};
use domain::model::{EhrId, ResourceType};

use super::connection::{Conn, on_backend};
use super::error::StoreError;

/// Facts of one resource, as stored.
#[derive(Clone, Debug, QueryableByName)]
pub struct Naming {
    /// The patient record that they are of.
    #[diesel(sql_type = BigInt)]
    pub patient: i64,
    /// The resource's row number.
    #[diesel(sql_type = BigInt)]
    pub resource: i64,
    /// The bytes.
    #[diesel(sql_type = Binary)]
    pub facts: Vec<u8>,
}

/// Facts of a type at an EHR, in the order of (patient, resource), after those.
///
/// # Errors
/// The engine's refusal.
pub fn facts_after(conn: &mut Conn, ehr: &EhrId, rtype: ResourceType, after: (i64, i64), limit: i64) -> Result<Vec<Naming>, StoreError> {
    // An EHR's name and a type's have letters, digits and '-' only, so they can stand in the text as they are.
    let (patient, resource) = after;
    let text = format!(
        "SELECT f.patient, f.resource, f.facts FROM fact f JOIN patient p ON p.pk = f.patient
         WHERE f.rtype = '{rtype}' AND p.ehr = '{ehr}' AND (f.patient > {patient} OR (f.patient = {patient} AND f.resource > {resource}))
         ORDER BY f.patient, f.resource LIMIT {limit}"
    );
    Ok(on_backend!(conn, c => diesel::sql_query(text).load(c))?)
}

/// Facts of these resources of a type, by their logical ids; those that are of no patient have none.
///
/// # Errors
/// The engine's refusal.
pub fn facts_of(conn: &mut Conn, ehr: &EhrId, rtype: ResourceType, ids: &[&str]) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        id: String,
        #[diesel(sql_type = Binary)]
        facts: Vec<u8>,
    }
    // Facts are clustered by patient, and the first patient of a resource stands first in its list.
    let first = match conn {
        Conn::Sqlite(_) => "CAST(r.patients AS INTEGER)",
        #[cfg(feature = "postgres")]
        Conn::Postgres(_) => "CAST(NULLIF(split_part(r.patients, ',', 1), '') AS BIGINT)",
    };
    let select = format!("SELECT r.fhir_id AS id, f.facts FROM resource r JOIN fact f ON f.patient = {first} AND f.resource = r.pk");
    let fixed = [("r.ehr", ehr.as_str()), ("r.rtype", rtype.as_str())];
    let rows: Vec<Row> = super::bulk::select_texts(conn, &select, &fixed, "r.fhir_id", ids)?;
    Ok(rows.into_iter().map(|row| (row.id, row.facts)).collect())
}

/// The logical ids of a type that are stored and not gone, among these.
///
/// # Errors
/// The engine's refusal.
pub fn stored(conn: &mut Conn, ehr: &EhrId, rtype: ResourceType, ids: &[&str]) -> Result<Vec<String>, StoreError> {
    #[derive(QueryableByName)]
    struct Id {
        #[diesel(sql_type = Text)]
        id: String,
    }
    let fixed = [("gone_at IS NULL AND ehr", ehr.as_str()), ("rtype", rtype.as_str())];
    let rows: Vec<Id> = super::bulk::select_texts(conn, "SELECT fhir_id AS id FROM resource", &fixed, "fhir_id", ids)?;
    Ok(rows.into_iter().map(|row| row.id).collect())
}
