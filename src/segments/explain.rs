//! Why one person is or is not in a segment: rendered from the facts as they are now.

use domain::Timestamp;
use domain::model::Phi;
use domain::rules::{Reason, Site, Truth};
use serde::Serialize;

use super::definitions::Definitions;
use crate::store::freshness::{Freshness, Stale};
use crate::store::{Conn, StoreError, memberships, people};

/// One segment's answer for one person, with reasons.
#[derive(Clone, Debug, Serialize)]
pub struct Explained {
    /// The segment's id.
    pub segment: String,
    /// Its name for people.
    pub title: String,
    /// `in`, `out` or `held`, as evaluated now.
    pub now: &'static str,
    /// Whether the rule's answer is not known: then `now` is what the definition has unknown count as.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unknown: bool,
    /// What is stored, where that differs: the stage has not come to it yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stored: Option<&'static str>,
    /// Since when it is so, where it is in or held.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Until when the answer cannot change with time alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<String>,
    /// What the answer hangs on and is known too long ago: it may be otherwise by now.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stale: Vec<Stale>,
    /// The rule.
    pub rule: String,
    /// Its tests; those that decide are marked.
    pub reasons: Vec<Reason>,
}

/// A patient's explanations.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    /// The patient record asked for, `EHR/ID`.
    pub patient: Phi<String>,
    /// All records of the person.
    pub records: Vec<Phi<String>>,
    /// Known up to this instant; absent where a type was never synced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub known_up_to: Option<String>,
    /// Each segment asked for.
    pub segments: Vec<Explained>,
}

/// Explains a patient's segments, or one of them. `None` where there is no such patient.
///
/// # Errors
/// The engine's refusal.
pub fn explain(
    conn: &mut Conn,
    definitions: &Definitions,
    site: &Site,
    (ehr, id): (&str, &str),
    only: Option<&str>,
    (fresh, now): (&Freshness, Timestamp),
) -> Result<Option<Explanation>, StoreError> {
    let Some(record) = people::record(conn, ehr, id)? else { return Ok(None) };
    let person = record.person;
    let Some(known) = people::facts(conn, &[person])?.remove(&person) else { return Ok(None) };
    let stored = memberships::assignments(conn, &[person])?.remove(&person).unwrap_or_default();
    let all = people::records(conn, person)?;
    let mut segments = Vec::new();
    for (place, segment) in definitions.rules().segments().iter().enumerate() {
        let definition = segment.definition();
        if only.is_some_and(|id| id != definition.id) {
            continue;
        }
        let Some(explained) = definitions.rules().explain(place, &known.facts, site, now) else { continue };
        let membership = definitions.row(place).and_then(|row| stored.memberships.get(&row.number));
        let kept = membership.map_or("out", |m| m.state.as_str());
        let answer = explained.answer.membership.as_str();
        segments.push(Explained {
            segment: definition.id.clone(),
            title: definition.title.clone(),
            now: answer,
            unknown: explained.answer.truth == Truth::Unknown,
            stored: (kept != answer).then_some(kept),
            since: membership.map(|m| m.since.to_string()),
            valid_until: explained.answer.valid_until.map(|t| t.to_string()),
            stale: fresh.stale_at(i64::from(segment.reads().mask()), all.iter().map(|r| r.ehr.as_str())),
            rule: definition.rule_text.clone(),
            reasons: explained.reasons,
        });
    }
    let records = all.into_iter().map(|r| Phi::new(format!("{}/{}", r.ehr, r.fhir_id))).collect();
    Ok(Some(Explanation { patient: Phi::new(format!("{ehr}/{id}")), records, known_up_to: known.as_of.map(|t| t.to_string()), segments }))
}
