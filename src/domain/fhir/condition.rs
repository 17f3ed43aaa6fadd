//! Condition to facts.

use super::elements::{Times, concepts, first_code, patient_of};
use super::raw::document;
use super::{Head, Projected, Reject};
use crate::model::supporting::ConditionFacts;
use crate::model::{Facts, ResourceType};

const MEMBERS: [&str; 16] = [
    "resourceType",
    "id",
    "meta",
    "clinicalStatus",
    "verificationStatus",
    "category",
    "code",
    "subject",
    "onsetDateTime",
    "onsetPeriod",
    "abatementDateTime",
    "abatementPeriod",
    "abatementAge",
    "abatementRange",
    "abatementString",
    "recordedDate",
];

pub(super) fn project(text: &str) -> Result<Projected, Reject> {
    let [resource_type, id, meta, clinical, verification, category, what, subject, onset, onset_period, rest @ ..] =
        document(text, MEMBERS)?;
    let [abatement, abatement_period, abatement_age, abatement_range, abatement_string, recorded] = rest;
    let head = Head::read(ResourceType::Condition, resource_type, id, meta)?;
    let times = Times::default();
    let facts = ConditionFacts {
        clinical_status: first_code(clinical),
        verification: first_code(verification),
        categories: concepts(category),
        codes: concepts(what),
        patient: patient_of(subject, "subject")?,
        onset: times.time("onsetDateTime", onset).or_else(|| times.period("onsetPeriod", onset_period).start),
        abatement: times.time("abatementDateTime", abatement).or_else(|| times.period("abatementPeriod", abatement_period).end),
        abated: abatement_age.or(abatement_range).or(abatement_string).is_some(),
        recorded: times.time("recordedDate", recorded),
    };
    Ok(head.with(Facts::Condition(Box::new(facts)), times))
}
