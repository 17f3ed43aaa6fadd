//! Coverage to facts.

use super::elements::{Times, code, concepts, patient_of, references, whole};
use super::raw::document;
use super::{Head, Projected, Reject};
use crate::model::supporting::CoverageFacts;
use crate::model::{Facts, ResourceType};

const MEMBERS: [&str; 9] = ["resourceType", "id", "meta", "status", "type", "beneficiary", "period", "payor", "order"];

pub(super) fn project(text: &str) -> Result<Projected, Reject> {
    let [resource_type, id, meta, status, kind, beneficiary, when, payor, order] = document(text, MEMBERS)?;
    let head = Head::read(ResourceType::Coverage, resource_type, id, meta)?;
    let times = Times::default();
    let facts = CoverageFacts {
        status: code(status, "status")?,
        kinds: concepts(kind),
        patient: patient_of(beneficiary, "beneficiary")?,
        period: times.period("period", when),
        payors: references(payor),
        order: whole(order),
    };
    Ok(head.with(Facts::Coverage(Box::new(facts)), times))
}
