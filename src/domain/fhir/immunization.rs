//! Immunization to facts.

use super::elements::{Times, code, concepts, patient_of};
use super::raw::document;
use super::{Head, Projected, Reject};
use crate::model::supporting::ImmunizationFacts;
use crate::model::{Facts, ResourceType};

const MEMBERS: [&str; 7] = ["resourceType", "id", "meta", "status", "vaccineCode", "patient", "occurrenceDateTime"];

pub(super) fn project(text: &str) -> Result<Projected, Reject> {
    let [resource_type, id, meta, status, vaccine, patient, at] = document(text, MEMBERS)?;
    let head = Head::read(ResourceType::Immunization, resource_type, id, meta)?;
    let times = Times::default();
    let facts = ImmunizationFacts {
        status: code(status, "status")?,
        codes: concepts(vaccine),
        patient: patient_of(patient, "patient")?,
        at: times.time("occurrenceDateTime", at),
    };
    Ok(head.with(Facts::Immunization(Box::new(facts)), times))
}
