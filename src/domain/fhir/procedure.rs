//! Procedure to facts.

use super::elements::{Times, code, concepts, patient_of};
use super::raw::document;
use super::{Head, Projected, Reject};
use crate::model::facts::Period;
use crate::model::supporting::ProcedureFacts;
use crate::model::{Facts, ResourceType};

const MEMBERS: [&str; 9] = ["resourceType", "id", "meta", "status", "category", "code", "subject", "performedDateTime", "performedPeriod"];

pub(super) fn project(text: &str) -> Result<Projected, Reject> {
    let [resource_type, id, meta, status, category, what, subject, at, at_period] = document(text, MEMBERS)?;
    let head = Head::read(ResourceType::Procedure, resource_type, id, meta)?;
    let times = Times::default();
    let at = times.time("performedDateTime", at);
    let facts = ProcedureFacts {
        status: code(status, "status")?,
        categories: concepts(category),
        codes: concepts(what),
        patient: patient_of(subject, "subject")?,
        performed: if at.is_some() { Period { start: at, end: at } } else { times.period("performedPeriod", at_period) },
    };
    Ok(head.with(Facts::Procedure(Box::new(facts)), times))
}
