//! Consent to facts.

use super::elements::{Times, code, coding, concepts, patient_of};
use super::raw::{document, elements};
use super::{Head, Projected, Reject};
use crate::model::supporting::ConsentFacts;
use crate::model::{Facts, ResourceType};

const MEMBERS: [&str; 9] = ["resourceType", "id", "meta", "status", "scope", "category", "patient", "dateTime", "provision"];

pub(super) fn project(text: &str) -> Result<Projected, Reject> {
    let [resource_type, id, meta, status, scope, category, patient, given, provision] = document(text, MEMBERS)?;
    let head = Head::read(ResourceType::Consent, resource_type, id, meta)?;
    let times = Times::default();
    let [kind, when, action, purpose, what, exceptions] =
        provision.map_or(Ok([None; 6]), |p| p.must_members("provision", ["type", "period", "action", "purpose", "code", "provision"]))?;
    let mut about = concepts(action);
    about.extend(elements(purpose).filter_map(coding));
    about.extend(concepts(what));
    let facts = ConsentFacts {
        status: code(status, "status")?,
        scopes: concepts(scope),
        categories: concepts(category),
        patient: patient_of(patient, "patient")?,
        given: times.time("dateTime", given),
        provision: code(kind, "provision.type")?,
        period: times.period("provision.period", when),
        about,
        has_exceptions: exceptions.is_some(),
    };
    Ok(head.with(Facts::Consent(Box::new(facts)), times))
}
