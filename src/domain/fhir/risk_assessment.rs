//! RiskAssessment to facts.

use super::elements::{Times, code, concepts, decimal, object, patient_of};
use super::raw::{Raw, document, elements};
use super::{Head, Projected, Reject};
use crate::model::supporting::{Prediction, RiskAssessmentFacts};
use crate::model::{Facts, ResourceType};

const MEMBERS: [&str; 10] =
    ["resourceType", "id", "meta", "status", "code", "method", "subject", "occurrenceDateTime", "occurrencePeriod", "prediction"];

pub(super) fn project(text: &str) -> Result<Projected, Reject> {
    let [resource_type, id, meta, status, what, method, subject, at, at_period, prediction] = document(text, MEMBERS)?;
    let head = Head::read(ResourceType::RiskAssessment, resource_type, id, meta)?;
    let times = Times::default();
    let mut codes = concepts(what);
    codes.extend(concepts(method));
    let at_period = times.period("occurrencePeriod", at_period);
    let facts = RiskAssessmentFacts {
        status: code(status, "status")?,
        codes,
        patient: patient_of(subject, "subject")?,
        at: times.time("occurrenceDateTime", at).or(at_period.end).or(at_period.start),
        predictions: elements(prediction).filter_map(predicted).collect(),
    };
    Ok(head.with(Facts::RiskAssessment(Box::new(facts)), times))
}

fn predicted(raw: Raw<'_>) -> Option<Prediction> {
    let [outcome, level, probability, range] = raw.members(["outcome", "qualitativeRisk", "probabilityDecimal", "probabilityRange"])?;
    let highest = || decimal(object(object(range, ["high"])[0], ["value"])[0]);
    Some(Prediction { outcome: concepts(outcome), level: concepts(level), probability: decimal(probability).or_else(highest) })
}
