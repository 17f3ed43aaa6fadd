//! Oracle Health Millennium, by its CapabilityStatement and its pages on Communication, Appointment and DocumentReference. A Communication
//! is a message among staff. Of the vendor's patch operations only those on the status of an appointment are here.
//!
//! Its pages say of elements that it does not know that they "are ignored, or can cause errors": here they are ignored, and the fault
//! `RefusesUnsupported` is the other half. They also say that a search by category, recipient and received needs `-email-status`; here it
//! may be left out, and the fault `RequiresParameter` is the strict half. A new message's e-mail status is `in-progress`: the pages do not
//! say.

use serde_json::{Map, Value, json};

use super::note::{attached, broken, refers_to};
use super::{
    BY_OWN_ROW, CREATE_UPDATE, Code, Exporting, Kept, Manner, Patching, READ, SAYS_NOTHING, Searching, Served, Unknown, WRITING, Writing,
};
use crate::instant::parse_range;

pub(super) static MANNER: Manner = Manner {
    software: None,
    stated: SAYS_NOTHING,
    own: &[
        Served::new("Appointment", &[Code::Read, Code::Search, Code::Patch], VISITS).patched_by(&STATUS),
        Served::new("Binary", &[Code::Read], Searching::only(&[], &[], Unknown::Refused)),
        Served::new("CarePlan", READ, PLANS),
        Served::new("Communication", &[Code::Read, Code::Search, Code::Create], MESSAGES).written_by(&MESSAGE),
        Served::new("DocumentReference", CREATE_UPDATE, NOTES).written_by(&NOTE),
        Served::new("Patient", READ, PEOPLE),
        Served::new("Provenance", &[Code::Read, Code::Search, Code::Create], PROVENANCES).written_by(&PROVENANCE),
    ],
    rest: READ,
    withheld: BY_OWN_ROW,
    versioned: true,
    versioned_location: false,
    conditional_create: false,
    echoes: false,
    stale: 409,
    unoffered: 405,
    export: Some(&EXPORTS),
};

static EXPORTS: Exporting = Exporting {
    comma_only: true,
    withheld: &["Appointment", "Communication"],
    one_at_a_time: true,
    retry_after: "3600",
    named: ("export", "https://fhir-ehr.example.org/r4/OperationDefinition/"),
    ..super::EXPORTING
};

const VISITS: Searching = Searching {
    check: visited,
    ..Searching::only(
        &["_id", "date", "patient", "practitioner", "location", "status"],
        &[&["_id"], &["patient", "date"], &["practitioner", "date"], &["location", "date"]],
        Unknown::Refused,
    )
};

const PLANS: Searching = Searching {
    check: assessed,
    ..Searching::only(&["_id", "date", "patient", "category"], &[&["_id"], &["patient", "category"]], Unknown::Refused)
};

const PEOPLE: Searching = Searching::only(&["_id", "identifier"], &[&["_id"], &["identifier"]], Unknown::Refused);

const MESSAGES: Searching = Searching {
    check: received,
    ..Searching::only(
        &["_id", "category", "received", "recipient", "-email-status"],
        &[&["_id"], &["category", "recipient", "received"]],
        Unknown::Refused,
    )
};

const NOTES: Searching = Searching::only(
    &["_id", "patient", "encounter", "type", "category", "date", "_lastUpdated"],
    &[&["_id"], &["patient"]],
    Unknown::Refused,
);

const PROVENANCES: Searching = Searching::only(&["_id", "target"], &[&["_id"], &["target"]], Unknown::Refused);

static NOTE: Writing = Writing { required: &["status", "type", "category", "subject", "content"], missing: 500, check: broken, ..WRITING };

static PROVENANCE: Writing = Writing { required: &["target", "recorded", "agent"], missing: 500, ..WRITING };

static MESSAGE: Writing = Writing {
    required: &["status", "category", "recipient", "sender", "payload"],
    missing: 500,
    check: message,
    kept: Kept::Only(&["status", "category", "priority", "subject", "topic", "encounter", "recipient", "sender", "payload"]),
    adds: arrival,
    payload_as_binary: true,
    threaded: false,
};

static STATUS: Patching = Patching {
    paths: &["/status", "/slot"],
    transitions: Some(&[
        ("proposed", &["booked", "cancelled"]),
        ("booked", &["arrived", "checked-in", "cancelled"]),
        ("arrived", &["checked-in", "cancelled"]),
        ("checked-in", &["fulfilled", "cancelled"]),
    ]),
    booking_needs_slot: true,
};

// Once with `ge`, or with `ge` and `le`, and with a time each.
fn received(pairs: &[(String, String)]) -> Option<&'static str> {
    let given: Vec<&str> = pairs.iter().filter(|(name, _)| name == "received").map(|(_, value)| value.as_str()).collect();
    let timed = |value: &&str| value.get(2..).is_some_and(|time| time.contains('T') && parse_range(time).is_some());
    let prefixes: Vec<Option<&str>> = given.iter().map(|value| value.get(..2)).collect();
    match prefixes.as_slice() {
        [] | [Some("ge")] | [Some("ge"), Some("le")] | [Some("le"), Some("ge")] if given.iter().all(timed) => None,
        _ => Some("received is given once with ge, or twice with ge and le, and with a time"),
    }
}

// `ge` and `lt`, each once and with a time.
fn visited(pairs: &[(String, String)]) -> Option<&'static str> {
    let given: Vec<&str> = pairs.iter().filter(|(name, _)| name == "date").map(|(_, value)| value.as_str()).collect();
    let timed = given.iter().all(|value| value.get(2..).is_some_and(|time| time.contains('T') && parse_range(time).is_some()));
    let prefixes: Vec<Option<&str>> = given.iter().map(|value| value.get(..2)).collect();
    match prefixes.as_slice() {
        [] => None,
        [Some("ge"), Some("lt")] | [Some("lt"), Some("ge")] if timed => None,
        _ => Some("date is given twice, with ge and with lt, and with a time"),
    }
}

fn assessed(pairs: &[(String, String)]) -> Option<&'static str> {
    let other = |value: &str| value.rsplit('|').next() != Some("assess-plan");
    pairs.iter().any(|(name, value)| name == "category" && other(value)).then_some("category must be assess-plan")
}

fn message(members: &Map<String, Value>) -> Option<&'static str> {
    let text = |name: &str| members.get(name).and_then(Value::as_str);
    let list = |name: &str| members.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let staff = |one: &Value| refers_to(Some(one), "Practitioner/") || refers_to(Some(one), "Group/");
    if text("status") != Some("completed") {
        return Some("Communication.status must be completed");
    }
    if !refers_to(members.get("sender"), "Practitioner/") {
        return Some("Communication.sender must be a Practitioner");
    }
    if list("recipient").is_empty() || !list("recipient").iter().all(staff) {
        return Some("Communication.recipient must be Practitioners or Groups");
    }
    if !matches!(list("category"), [one] if category(one)) {
        return Some("Communication.category must be one of notification, reminder or SNOMED CT 312853008");
    }
    if members.contains_key("priority") && !matches!(text("priority"), Some("routine" | "urgent")) {
        return Some("Communication.priority must be routine or urgent");
    }
    if members.get("topic").is_some_and(|topic| topic.get("coding").is_some() || !topic.get("text").is_some_and(Value::is_string)) {
        return Some("Communication.topic is text only");
    }
    if members.contains_key("subject") && !refers_to(members.get("subject"), "Patient/") {
        return Some("Communication.subject must be a Patient");
    }
    if members.contains_key("encounter") && !members.contains_key("subject") {
        return Some("Communication.subject is required with encounter");
    }
    if !matches!(list("payload"), [one] if content(one)) {
        return Some("Communication.payload must be one contentAttachment with base64 data of text/plain or application/xhtml+xml");
    }
    None
}

fn category(concept: &Value) -> bool {
    let codings = concept.get("coding").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let [coding] = codings else { return false };
    let text = |name| coding.get(name).and_then(Value::as_str).unwrap_or_default();
    matches!(
        (text("system"), text("code")),
        ("http://terminology.hl7.org/CodeSystem/communication-category", "notification" | "reminder")
            | ("http://snomed.info/sct", "312853008")
    )
}

fn content(payload: &Value) -> bool {
    let Some((media_type, bytes)) = payload.get("contentAttachment").and_then(attached) else { return false };
    let mut parts = media_type.split(';').map(|part| part.trim().to_ascii_lowercase());
    let kind = parts.next().unwrap_or_default();
    let encoded = parts.all(|parameter| matches!(parameter.as_str(), "charset=utf-8" | "charset=us-ascii"));
    let Ok(text) = std::str::from_utf8(&bytes) else { return false };
    match kind.as_str() {
        "text/plain" => encoded,
        "application/xhtml+xml" => encoded && text.contains("<html") && text.contains("<body"),
        _ => false,
    }
}

fn arrival(members: &mut Map<String, Value>, now: &str) {
    for name in ["sent", "received"] {
        members.insert(name.to_owned(), now.into());
    }
    let status = json!({ "coding": [{ "system": "http://hl7.org/fhir/task-status", "code": "in-progress" }] });
    members.insert("extension".to_owned(), json!([{ "url": EMAIL_STATUS, "valueCodeableConcept": status }]));
}

/// The extension that `-email-status` searches.
pub(crate) const EMAIL_STATUS: &str = "https://fhir-ehr.cerner.com/r4/StructureDefinition/email-status";
