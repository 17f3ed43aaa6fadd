//! What was: who was in a segment at an instant of the past, and a person's entries and exits in order.

use domain::Timestamp;
use domain::model::Phi;
use serde::Serialize;

use super::definitions::Definitions;
use crate::store::{Conn, StoreError, definitions as versions, memberships, people};

/// Who was in a segment at an instant.
#[derive(Clone, Debug, Serialize)]
pub struct Past {
    /// The segment's id.
    pub id: String,
    /// The instant.
    pub at: String,
    /// The version that was in force then; absent where none was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<i64>,
    /// How many were in.
    pub members: i64,
    /// The first of them, each with all records of the person.
    #[serde(rename = "in")]
    pub listed: Vec<Vec<Phi<String>>>,
}

/// Who was in a segment at `at`, by the instants from which entries and exits hold. At most `limit` are listed; all are counted. `None`
/// where there never was such a segment.
///
/// # Errors
/// The engine's refusal.
pub fn members_at(conn: &mut Conn, definitions: &Definitions, id: &str, at: Timestamp, limit: i64) -> Result<Option<Past>, StoreError> {
    let numbers = definitions.numbers(id);
    if numbers.is_empty() {
        return Ok(None);
    }
    let in_force = versions::in_force_at(conn, at.micros())?;
    let version = in_force.iter().find(|v| v.kind == versions::Kind::Segment.as_str() && v.id == id).map(|v| v.version);
    let (members, persons) = memberships::members_at(conn, numbers, at, limit)?;
    let listed = persons
        .into_iter()
        .map(|person| {
            let records = people::records(conn, person)?;
            Ok(records.into_iter().map(|r| Phi::new(format!("{}/{}", r.ehr, r.fhir_id))).collect())
        })
        .collect::<Result<_, StoreError>>()?;
    Ok(Some(Past { id: id.to_owned(), at: at.to_string(), version, members, listed }))
}

/// An entry or exit.
#[derive(Clone, Debug, Serialize)]
pub struct Event {
    /// Number within the person's events.
    pub number: i64,
    /// The segment.
    pub segment: String,
    /// The version of its definition that decided.
    pub version: i64,
    /// `in`, `held` or `out` before.
    pub before: String,
    /// `in`, `held` or `out` from then on.
    pub after: String,
    /// From when it holds.
    pub effective_at: String,
    /// When it was found.
    pub recorded_at: String,
    /// The tests that decided, as they were then, with values and sources.
    pub reasons: Phi<serde_json::Value>,
}

/// A person's entries and exits in order, by one of the person's records. `None` where there is no such patient.
///
/// # Errors
/// The engine's refusal.
pub fn of_patient(conn: &mut Conn, (ehr, id): (&str, &str), only: Option<&str>) -> Result<Option<Vec<Event>>, StoreError> {
    let Some(record) = people::record(conn, ehr, id)? else { return Ok(None) };
    let names: std::collections::HashMap<i64, String> =
        versions::numbers(conn)?.into_iter().flat_map(|(id, numbers)| numbers.into_iter().map(move |n| (n, id.clone()))).collect();
    let events = memberships::events(conn, record.person)?.into_iter().filter_map(|e| {
        let segment = names.get(&e.segment).cloned().filter(|s| only.is_none_or(|only| only == s))?;
        let or_out = |state: Option<String>| state.unwrap_or_else(|| "out".to_owned());
        Some(Event {
            number: e.number,
            segment,
            version: e.version,
            before: or_out(e.before),
            after: or_out(e.after),
            effective_at: Timestamp::from_micros(e.effective_at).to_string(),
            recorded_at: Timestamp::from_micros(e.recorded_at).to_string(),
            reasons: Phi::new(serde_json::from_slice(&e.reasons).unwrap_or_default()),
        })
    });
    Ok(Some(events.collect()))
}
