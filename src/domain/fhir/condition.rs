//! Condition to facts.

use super::elements::{concepts, first_code, patient_of, period, time};
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
    let facts = ConditionFacts {
        clinical_status: first_code(clinical),
        verification: first_code(verification),
        categories: concepts(category),
        codes: concepts(what),
        patient: patient_of(subject, "subject")?,
        onset: time(onset).or_else(|| period(onset_period).start),
        abatement: time(abatement).or_else(|| period(abatement_period).end),
        abated: abatement_age.or(abatement_range).or(abatement_string).is_some(),
        recorded: time(recorded),
    };
    Ok(head.with(Facts::Condition(Box::new(facts))))
}
