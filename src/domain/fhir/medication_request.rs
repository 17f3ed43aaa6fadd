//! MedicationRequest to facts.

use super::elements::{Times, code, concepts, flag, object, patient_of, string, whole};
use super::raw::document;
use super::{Head, Projected, Reject};
use crate::model::supporting::MedicationRequestFacts;
use crate::model::{Facts, ResourceType};

const MEMBERS: [&str; 11] = [
    "resourceType",
    "id",
    "meta",
    "status",
    "intent",
    "medicationCodeableConcept",
    "medicationReference",
    "doNotPerform",
    "subject",
    "authoredOn",
    "dispenseRequest",
];

pub(super) fn project(text: &str) -> Result<Projected, Reject> {
    let [resource_type, id, meta, status, intent, medication, reference, do_not_perform, subject, authored, dispense] =
        document(text, MEMBERS)?;
    let head = Head::read(ResourceType::MedicationRequest, resource_type, id, meta)?;
    let times = Times::default();
    let [valid, repeats] = object(dispense, ["validityPeriod", "numberOfRepeatsAllowed"]);
    let facts = MedicationRequestFacts {
        status: code(status, "status")?,
        intent: string(intent),
        codes: concepts(medication),
        medication: string(object(reference, ["reference"])[0]),
        do_not_perform: flag(do_not_perform, "doNotPerform")?.unwrap_or(false),
        patient: patient_of(subject, "subject")?,
        authored: times.time("authoredOn", authored),
        valid: times.period("dispenseRequest.validityPeriod", valid),
        repeats: whole(repeats),
    };
    Ok(head.with(Facts::MedicationRequest(Box::new(facts)), times))
}
