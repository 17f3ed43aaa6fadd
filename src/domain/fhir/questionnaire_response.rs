//! QuestionnaireResponse to facts.

use super::elements::{Times, code, coding, patient_of, references, string};
use super::raw::{Raw, document, elements};
use super::reference::reference_type;
use super::{Head, Projected, Reject};
use crate::model::supporting::{Answer, QuestionnaireResponseFacts};
use crate::model::{Facts, ResourceType};

const MEMBERS: [&str; 9] = ["resourceType", "id", "meta", "status", "questionnaire", "subject", "authored", "source", "item"];

pub(super) fn project(text: &str) -> Result<Projected, Reject> {
    let [resource_type, id, meta, status, questionnaire, subject, authored, source, item] = document(text, MEMBERS)?;
    let head = Head::read(ResourceType::QuestionnaireResponse, resource_type, id, meta)?;
    let times = Times::default();
    let facts = QuestionnaireResponseFacts {
        status: code(status, "status")?,
        questionnaire: string(questionnaire),
        patient: patient_of(subject, "subject")?,
        authored: times.time("authored", authored),
        by_patient: references(source).first().and_then(|r| reference_type(r).map(|kind| kind == "Patient")),
        answers: answers(item),
    };
    Ok(head.with(Facts::QuestionnaireResponse(Box::new(facts)), times))
}

/// In the order of the form: items may stand within items, and within answers.
fn answers(items: Option<Raw<'_>>) -> Vec<Answer> {
    let mut found = Vec::new();
    let mut waiting: Vec<Raw<'_>> = in_turn(items);
    while let Some(item) = waiting.pop() {
        let Some([question, answer, within]) = item.members(["linkId", "answer", "item"]) else { continue };
        let question = string(question);
        let mut inner = in_turn(within);
        for answer in elements(answer) {
            let Some([code, flag, below]) = answer.members(["valueCoding", "valueBoolean", "item"]) else { continue };
            let (code, flag) = (code.and_then(coding), flag.and_then(Raw::boolean));
            if let Some(question) = question.clone().filter(|_| code.is_some() || flag.is_some()) {
                found.push(Answer { question, code, flag });
            }
            inner.extend(in_turn(below));
        }
        waiting.extend(inner);
    }
    found
}

/// The last first: a stack hands them out in their order.
fn in_turn(items: Option<Raw<'_>>) -> Vec<Raw<'_>> {
    let mut all: Vec<Raw<'_>> = elements(items).collect();
    all.reverse();
    all
}
