//! Encounter to facts.

use super::elements::{Times, code, coding, concepts, object, patient_of, references};
use super::raw::{document, elements};
use super::{Head, Projected, Reject};
use crate::model::supporting::EncounterFacts;
use crate::model::{Facts, ResourceType};

const MEMBERS: [&str; 10] =
    ["resourceType", "id", "meta", "status", "class", "type", "subject", "period", "hospitalization", "appointment"];

pub(super) fn project(text: &str) -> Result<Projected, Reject> {
    let [resource_type, id, meta, status, class, kind, subject, when, hospitalization, appointment] = document(text, MEMBERS)?;
    let head = Head::read(ResourceType::Encounter, resource_type, id, meta)?;
    let times = Times::default();
    let facts = EncounterFacts {
        status: code(status, "status")?,
        // One Coding in R4. Some servers send a list, as in R5.
        class: elements(class).find_map(coding),
        kinds: concepts(kind),
        patient: patient_of(subject, "subject")?,
        period: times.period("period", when),
        discharge: concepts(object(hospitalization, ["dischargeDisposition"])[0]),
        appointments: references(appointment),
    };
    Ok(head.with(Facts::Encounter(Box::new(facts)), times))
}
