//! Immunization to facts.

use super::elements::{code, concepts, patient_of, time};
use super::raw::document;
use super::{Head, Projected, Reject};
use crate::model::supporting::ImmunizationFacts;
use crate::model::{Facts, ResourceType};

const MEMBERS: [&str; 7] = ["resourceType", "id", "meta", "status", "vaccineCode", "patient", "occurrenceDateTime"];

pub(super) fn project(text: &str) -> Result<Projected, Reject> {
    let [resource_type, id, meta, status, vaccine, patient, at] = document(text, MEMBERS)?;
    let head = Head::read(ResourceType::Immunization, resource_type, id, meta)?;
    let facts = ImmunizationFacts {
        status: code(status, "status")?,
        codes: concepts(vaccine),
        patient: patient_of(patient, "patient")?,
        at: time(at),
    };
    Ok(head.with(Facts::Immunization(Box::new(facts))))
}
