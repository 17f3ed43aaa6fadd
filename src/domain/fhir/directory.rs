//! Practitioner, PractitionerRole, Location and Organization to facts: who and where, for messages that name them.

use super::elements::{Times, concepts, object, references, string};
use super::patient::best_name;
use super::raw::{Raw, document, elements};
use super::{Head, Projected, Reject};
use crate::model::facts::PersonName;
use crate::model::supporting::DirectoryFacts;
use crate::model::{Facts, ResourceType};

const HEAD: [&str; 3] = ["resourceType", "id", "meta"];

pub(super) fn practitioner(text: &str) -> Result<Projected, Reject> {
    let [head, [active, name, _]] = both(text, ["active", "name", "status"])?;
    let facts = DirectoryFacts { active: active.and_then(Raw::boolean), person: best_name(name), ..DirectoryFacts::default() };
    Ok(read(ResourceType::Practitioner, head)?.with(Facts::Practitioner(Box::new(facts)), Times::default()))
}

pub(super) fn practitioner_role(text: &str) -> Result<Projected, Reject> {
    let [head, [active, practitioner, organization]] = both(text, ["active", "practitioner", "organization"])?;
    let [location, specialty, code] = document(text, ["location", "specialty", "code"])?;
    let facts = DirectoryFacts {
        active: active.and_then(Raw::boolean),
        name: elements(code).find_map(|concept| string(object(Some(concept), ["text"])[0])),
        practitioner: reference(practitioner),
        organization: reference(organization),
        locations: references(location),
        specialties: concepts(specialty),
        ..DirectoryFacts::default()
    };
    Ok(read(ResourceType::PractitionerRole, head)?.with(Facts::PractitionerRole(Box::new(facts)), Times::default()))
}

pub(super) fn location(text: &str) -> Result<Projected, Reject> {
    let [head, [status, name, organization]] = both(text, ["status", "name", "managingOrganization"])?;
    let facts = DirectoryFacts {
        active: status.and_then(Raw::text).map(|status| status == "active"),
        name: string(name),
        organization: reference(organization),
        ..DirectoryFacts::default()
    };
    Ok(read(ResourceType::Location, head)?.with(Facts::Location(Box::new(facts)), Times::default()))
}

pub(super) fn organization(text: &str) -> Result<Projected, Reject> {
    let [head, [active, name, _]] = both(text, ["active", "name", "status"])?;
    let facts = DirectoryFacts { active: active.and_then(Raw::boolean), name: string(name), ..DirectoryFacts::default() };
    Ok(read(ResourceType::Organization, head)?.with(Facts::Organization(Box::new(facts)), Times::default()))
}

/// How a person or place is called, as it stands in a message; `None` where it has no name of its own.
#[must_use]
pub fn called(facts: &DirectoryFacts) -> Option<String> {
    let PersonName { given, family } = &facts.person;
    let parts: Vec<&str> = [given, family].into_iter().flatten().map(|part| part.expose().trim()).filter(|part| !part.is_empty()).collect();
    let name = if parts.is_empty() { facts.name.as_deref().unwrap_or_default().trim().to_owned() } else { parts.join(" ") };
    (!name.is_empty()).then_some(name)
}

type Three<'a> = [Option<Raw<'a>>; 3];

fn both<'a>(text: &'a str, names: [&str; 3]) -> Result<[Three<'a>; 2], Reject> {
    Ok([document(text, HEAD)?, document(text, names)?])
}

fn read<'a>(kind: ResourceType, [resource_type, id, meta]: Three<'a>) -> Result<Head<'a>, Reject> {
    Head::read(kind, resource_type, id, meta)
}

fn reference(raw: Option<Raw<'_>>) -> Option<String> {
    string(object(raw, ["reference"])[0])
}
