//! Observation to facts.

use super::elements::{Times, code, concepts, decimal, object, patient_of, string};
use super::raw::{Raw, document};
use super::{Head, Projected, Reject};
use crate::model::supporting::{ObservationFacts, Value};
use crate::model::{Facts, ResourceType};

const MEMBERS: [&str; 15] = [
    "resourceType",
    "id",
    "meta",
    "status",
    "category",
    "code",
    "subject",
    "effectiveDateTime",
    "effectiveInstant",
    "effectivePeriod",
    "interpretation",
    "valueQuantity",
    "valueInteger",
    "valueCodeableConcept",
    "valueBoolean",
];

pub(super) fn project(text: &str) -> Result<Projected, Reject> {
    let [resource_type, id, meta, status, category, what, subject, at, instant, at_period, interpretation, value @ ..] =
        document(text, MEMBERS)?;
    let head = Head::read(ResourceType::Observation, resource_type, id, meta)?;
    let times = Times::default();
    let at_period = times.period("effectivePeriod", at_period);
    let facts = ObservationFacts {
        status: code(status, "status")?,
        categories: concepts(category),
        codes: concepts(what),
        patient: patient_of(subject, "subject")?,
        at: times.time("effectiveDateTime", at).or_else(|| times.time("effectiveInstant", instant)).or(at_period.end).or(at_period.start),
        value: value_of(value),
        interpretation: concepts(interpretation),
    };
    Ok(head.with(Facts::Observation(Box::new(facts)), times))
}

fn value_of([quantity, integer, concept, flag]: [Option<Raw<'_>>; 4]) -> Option<Value> {
    let [number, unit_code, unit, comparator] = object(quantity, ["value", "code", "unit", "comparator"]);
    if let Some(value) = decimal(number) {
        return Some(Value::Quantity { value, unit: string(unit_code).or_else(|| string(unit)), comparator: string(comparator) });
    }
    if let Some(value) = decimal(integer) {
        return Some(Value::Quantity { value, unit: None, comparator: None });
    }
    let codes = concepts(concept);
    if codes.is_empty() { flag.and_then(Raw::boolean).map(Value::Flag) } else { Some(Value::Codes(codes)) }
}
