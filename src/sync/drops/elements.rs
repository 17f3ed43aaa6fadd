//! The elements that a column may become, with what kind of value each takes (R4 4.0.1: Patient, Appointment, CarePlan).

use domain::model::ResourceType;

/// What an element holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A text, code or URI.
    Text,
    /// `Type/id`.
    Reference,
    /// A date.
    Date,
    /// A date, or a date with time.
    DateTime,
    /// A date with time.
    Instant,
    /// `true` or `false`.
    Flag,
    /// A whole number.
    Whole,
}

use Kind::{Date, DateTime, Flag, Instant, Reference, Text, Whole};

const PATIENT: &[(&str, Kind)] = &[
    ("active", Flag),
    ("birthDate", Date),
    ("gender", Text),
    ("deceasedBoolean", Flag),
    ("deceasedDateTime", DateTime),
    ("identifier[].system", Text),
    ("identifier[].value", Text),
    ("identifier[].use", Text),
    ("name[].use", Text),
    ("name[].text", Text),
    ("name[].family", Text),
    ("name[].given[]", Text),
    ("telecom[].system", Text),
    ("telecom[].value", Text),
    ("telecom[].use", Text),
    ("telecom[].rank", Whole),
    ("address[].use", Text),
    ("address[].line[]", Text),
    ("address[].city", Text),
    ("address[].state", Text),
    ("address[].postalCode", Text),
    ("address[].country", Text),
    ("communication[].language.coding[].system", Text),
    ("communication[].language.coding[].code", Text),
    ("communication[].language.text", Text),
    ("communication[].preferred", Flag),
    ("generalPractitioner[].reference", Reference),
    ("generalPractitioner[].display", Text),
    ("managingOrganization.reference", Reference),
];

const APPOINTMENT: &[(&str, Kind)] = &[
    ("status", Text),
    ("start", Instant),
    ("end", Instant),
    ("created", DateTime),
    ("minutesDuration", Whole),
    ("description", Text),
    ("comment", Text),
    ("patientInstruction", Text),
    ("identifier[].system", Text),
    ("identifier[].value", Text),
    ("serviceType[].coding[].system", Text),
    ("serviceType[].coding[].code", Text),
    ("serviceType[].coding[].display", Text),
    ("serviceType[].text", Text),
    ("serviceCategory[].coding[].system", Text),
    ("serviceCategory[].coding[].code", Text),
    ("serviceCategory[].text", Text),
    ("specialty[].coding[].system", Text),
    ("specialty[].coding[].code", Text),
    ("specialty[].text", Text),
    ("appointmentType.coding[].system", Text),
    ("appointmentType.coding[].code", Text),
    ("appointmentType.text", Text),
    ("cancelationReason.coding[].system", Text),
    ("cancelationReason.coding[].code", Text),
    ("cancelationReason.text", Text),
    ("reasonCode[].coding[].system", Text),
    ("reasonCode[].coding[].code", Text),
    ("reasonCode[].text", Text),
    ("participant[].actor.reference", Reference),
    ("participant[].actor.display", Text),
    ("participant[].status", Text),
    ("participant[].required", Text),
    ("participant[].type[].coding[].system", Text),
    ("participant[].type[].coding[].code", Text),
];

const CARE_PLAN: &[(&str, Kind)] = &[
    ("status", Text),
    ("intent", Text),
    ("title", Text),
    ("description", Text),
    ("identifier[].system", Text),
    ("identifier[].value", Text),
    ("category[].coding[].system", Text),
    ("category[].coding[].code", Text),
    ("category[].text", Text),
    ("subject.reference", Reference),
    ("period.start", DateTime),
    ("period.end", DateTime),
    ("created", DateTime),
    ("author.reference", Reference),
    ("addresses[].reference", Reference),
    ("activity[].reference.reference", Reference),
    ("activity[].detail.kind", Text),
    ("activity[].detail.status", Text),
    ("activity[].detail.code.coding[].system", Text),
    ("activity[].detail.code.coding[].code", Text),
    ("activity[].detail.code.text", Text),
    ("activity[].detail.doNotPerform", Flag),
    ("activity[].detail.scheduledPeriod.start", DateTime),
    ("activity[].detail.scheduledPeriod.end", DateTime),
    ("activity[].detail.description", Text),
];

/// A step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A member.
    Member(String),
    /// An element of a list.
    At(usize),
}

/// A place in a resource, and what it takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Element {
    pub steps: Vec<Step>,
    pub kind: Kind,
}

/// More of a kind than this is in no row.
const MOST: usize = 20;

/// The elements of a type; none where rows cannot become one.
fn of(resource: ResourceType) -> &'static [(&'static str, Kind)] {
    match resource {
        ResourceType::Patient => PATIENT,
        ResourceType::Appointment => APPOINTMENT,
        ResourceType::CarePlan => CARE_PLAN,
        _ => &[],
    }
}

/// The element that a path names.
pub(super) fn element(resource: ResourceType, path: &str) -> Result<Element, String> {
    let path = match (path, resource) {
        ("patient", ResourceType::Appointment) => "participant[0].actor.reference",
        ("patient", ResourceType::CarePlan) => "subject.reference",
        (other, _) => other,
    };
    let (mut steps, mut pattern) = (Vec::new(), String::new());
    for segment in path.split('.') {
        let (name, index) = match segment.strip_suffix(']').and_then(|s| s.split_once('[')) {
            Some((name, number)) => (name, Some(number.parse::<usize>().map_err(|_| format!("`{path}`: write a number between [ and ]"))?)),
            None => (segment, None),
        };
        if !pattern.is_empty() {
            pattern.push('.');
        }
        pattern.push_str(name);
        steps.push(Step::Member(name.to_owned()));
        if let Some(at) = index {
            if at >= MOST {
                return Err(format!("`{path}`: lists have at most {MOST} elements, counted from 0"));
            }
            pattern.push_str("[]");
            steps.push(Step::At(at));
        }
    }
    let known = of(resource);
    if let Some((_, kind)) = known.iter().find(|(p, _)| *p == pattern) {
        return Ok(Element { steps, kind: *kind });
    }
    let nearest = known.iter().max_by(|a, b| strsim::jaro_winkler(a.0, &pattern).total_cmp(&strsim::jaro_winkler(b.0, &pattern)));
    let meant = nearest.map(|(p, _)| format!("; did you mean `{}`?", p.replace("[]", "[0]"))).unwrap_or_default();
    Err(format!("`{path}` is no element that a column of a {resource} can become{meant}"))
}
