//! What can be searched of a resource: identifiers, references, status, dates, categories. Owns which element feeds which search parameter
//! (R4, "Search Parameters" of each resource page). It reads a resource that is already parsed and never fails: an element of the wrong
//! shape is simply not found by search.

use serde_json::Value;

use crate::flavour::EMAIL_STATUS;
use crate::instant::{Range, parse_range};

/// A system and a code or value; the system may be absent.
pub(crate) type Token = (Option<Box<str>>, Box<str>);

/// The searchable side of one resource.
#[derive(Clone, Debug, Default)]
pub(crate) struct Keys {
    pub(crate) identifiers: Vec<Token>,
    /// Search parameter and target (`Patient/17`), one per parameter that finds it.
    pub(crate) references: Vec<(&'static str, Box<str>)>,
    pub(crate) status: Option<Box<str>>,
    pub(crate) categories: Vec<Token>,
    /// Tokens of parameters that only some flavours offer, with their parameter.
    pub(crate) tokens: Vec<(&'static str, Token)>,
    /// What `date` searches: a visit's start, a plan's period.
    pub(crate) date: Option<Range>,
    /// `Communication.sent`.
    pub(crate) sent: Option<Range>,
    /// `Communication.received`.
    pub(crate) received: Option<Range>,
}

/// Every reference parameter that some served type has.
pub(crate) const REFERENCE_PARAMETERS: &[&str] = &[
    "patient",
    "subject",
    "actor",
    "practitioner",
    "location",
    "recipient",
    "sender",
    "author",
    "encounter",
    "target",
    "in-response-to",
    "part-of",
];

/// Elements whose references one parameter finds.
const REFERENCE_ELEMENTS: &[(&str, &str)] = &[
    ("subject", "subject"),
    ("patient", "patient"),
    ("recipient", "recipient"),
    ("sender", "sender"),
    ("author", "author"),
    ("encounter", "encounter"),
    ("target", "target"),
    ("inResponseTo", "in-response-to"),
    ("partOf", "part-of"),
];

impl Keys {
    pub(crate) fn of(resource: &Value) -> Self {
        Self {
            identifiers: identifiers(resource),
            references: references(resource),
            status: resource.get("status").and_then(Value::as_str).map(Box::from),
            categories: concepts(resource, "category"),
            tokens: tokens(resource),
            date: date(resource),
            sent: resource.get("sent").and_then(moment),
            received: resource.get("received").and_then(moment),
        }
    }
}

fn each<'a>(resource: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    let found = resource.get(name);
    let one = found.filter(|value| !value.is_array());
    found.and_then(Value::as_array).into_iter().flatten().chain(one)
}

fn text(value: &Value, name: &str) -> Option<Box<str>> {
    value.get(name).and_then(Value::as_str).map(Box::from)
}

fn identifiers(resource: &Value) -> Vec<Token> {
    each(resource, "identifier").filter_map(|identifier| Some((text(identifier, "system"), text(identifier, "value")?))).collect()
}

fn concepts(resource: &Value, name: &str) -> Vec<Token> {
    each(resource, name)
        .flat_map(|concept| each(concept, "coding"))
        .filter_map(|coding| Some((text(coding, "system"), text(coding, "code")?)))
        .collect()
}

fn tokens(resource: &Value) -> Vec<(&'static str, Token)> {
    match resource.get("resourceType").and_then(Value::as_str) {
        Some("DocumentReference") => concepts(resource, "type").into_iter().map(|token| ("type", token)).collect(),
        Some("Communication") => each(resource, "extension")
            .filter(|extension| extension.get("url").and_then(Value::as_str) == Some(EMAIL_STATUS))
            .flat_map(|extension| concepts(extension, "valueCodeableConcept"))
            .map(|token| ("-email-status", token))
            .collect(),
        _ => Vec::new(),
    }
}

fn references(resource: &Value) -> Vec<(&'static str, Box<str>)> {
    let mut found = Vec::new();
    for (element, parameter) in REFERENCE_ELEMENTS {
        for target in each(resource, element).filter_map(|value| text(value, "reference")).map(unversioned) {
            if *parameter == "subject" && target.starts_with("Patient/") {
                found.push(("patient", target.clone()));
            }
            found.push((*parameter, target));
        }
    }
    // A document's visit stands in its context.
    let context = resource.get("context").into_iter().flat_map(|context| each(context, "encounter"));
    found.extend(context.filter_map(|encounter| Some(("encounter", text(encounter, "reference")?))));
    for actor in each(resource, "participant").filter_map(|participant| text(participant.get("actor")?, "reference")) {
        for (kind, parameter) in [("Patient/", "patient"), ("Practitioner/", "practitioner"), ("Location/", "location")] {
            if actor.starts_with(kind) {
                found.push((parameter, actor.clone()));
            }
        }
        found.push(("actor", actor));
    }
    found
}

// What refers to one version of a resource is found by the resource (R4 search, 3.1.1.5.5).
fn unversioned(reference: Box<str>) -> Box<str> {
    match reference.split_once("/_history/") {
        Some((resource, _)) => resource.into(),
        None => reference,
    }
}

fn moment(value: &Value) -> Option<Range> {
    parse_range(value.as_str()?)
}

// A visit is found by its start alone; a period that lacks an end goes on for ever (R4 search, "date").
fn date(resource: &Value) -> Option<Range> {
    if let Some(start) = resource.get("start") {
        return moment(start);
    }
    if let Some(date) = resource.get("date") {
        return moment(date);
    }
    let period = resource.get("period")?;
    let from = period.get("start").and_then(moment).map_or(i64::MIN, |range| range.from);
    let until = period.get("end").and_then(moment).map_or(i64::MAX, |range| range.until);
    Some(Range { from, until })
}
