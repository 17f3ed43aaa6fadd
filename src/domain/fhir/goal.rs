//! Goal to facts.

use super::elements::{Times, code, concepts, object, patient_of, references};
use super::raw::{document, elements};
use super::{Head, Projected, Reject};
use crate::model::supporting::GoalFacts;
use crate::model::{Facts, ResourceType};

const MEMBERS: [&str; 11] = [
    "resourceType",
    "id",
    "meta",
    "lifecycleStatus",
    "achievementStatus",
    "category",
    "description",
    "subject",
    "startDate",
    "target",
    "addresses",
];

pub(super) fn project(text: &str) -> Result<Projected, Reject> {
    let [resource_type, id, meta, status, achievement, category, description, subject, start, target, addresses] = document(text, MEMBERS)?;
    let head = Head::read(ResourceType::Goal, resource_type, id, meta)?;
    let times = Times::default();
    let facts = GoalFacts {
        status: code(status, "lifecycleStatus")?,
        achievement: concepts(achievement),
        categories: concepts(category),
        codes: concepts(description),
        patient: patient_of(subject, "subject")?,
        start: times.time("startDate", start),
        due: elements(target).filter_map(|t| times.time("target.dueDate", object(Some(t), ["dueDate"])[0])).collect(),
        addresses: references(addresses),
    };
    Ok(head.with(Facts::Goal(Box::new(facts)), times))
}
