//! What can be searched of a resource: identifiers, references, status, dates, categories. Owns which element feeds which search parameter
//! (R4, "Search Parameters" of each resource page). It reads a resource that is already parsed and never fails: an element of the wrong
//! shape is simply not found by search.

use serde_json::Value;

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
    /// What `date` searches: a visit's start, a plan's period.
    pub(crate) date: Option<Range>,
    /// `Communication.sent`.
    pub(crate) sent: Option<Range>,
}

/// Every reference parameter that some served type has.
pub(crate) const REFERENCE_PARAMETERS: &[&str] =
    &["patient", "subject", "actor", "practitioner", "location", "recipient", "sender", "author", "encounter"];

impl Keys {
    pub(crate) fn of(resource: &Value) -> Self {
        Self {
            identifiers: identifiers(resource),
            references: references(resource),
            status: resource.get("status").and_then(Value::as_str).map(Box::from),
            categories: categories(resource),
            date: date(resource),
            sent: resource.get("sent").and_then(moment),
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

fn categories(resource: &Value) -> Vec<Token> {
    each(resource, "category")
        .flat_map(|concept| each(concept, "coding"))
        .filter_map(|coding| Some((text(coding, "system"), text(coding, "code")?)))
        .collect()
}

fn references(resource: &Value) -> Vec<(&'static str, Box<str>)> {
    let mut found = Vec::new();
    for name in ["subject", "patient", "recipient", "sender", "author", "encounter"] {
        for target in each(resource, name).filter_map(|value| text(value, "reference")) {
            if name == "subject" && target.starts_with("Patient/") {
                found.push(("patient", target.clone()));
            }
            found.push((name, target));
        }
    }
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
