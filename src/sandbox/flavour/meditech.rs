//! MEDITECH, by its CapabilityStatement. A Communication is a message of a portal's thread: its recipients are chosen from a list that the
//! server gives, a reply names what it replies to, and the server says to which thread it belongs. It has no place for an identifier.

use serde_json::{Map, Value, json};

use super::{
    BY_OWN_ROW, CREATE, Code, Exporting, Kept, Manner, Operation, READ, SAYS_NOTHING, Searching, Served, Unknown, WRITING, Writing,
};

pub(super) static MANNER: Manner = Manner {
    software: Some(("Interoperability Services: US Core STU6 FHIR R4", Some("2.0.0"))),
    stated: SAYS_NOTHING,
    own: &[
        Served::new("Appointment", READ, VISITS),
        Served::new("CarePlan", READ, PLANS),
        Served::new("Communication", CREATE, MESSAGES).written_by(&MESSAGE).with(&[CHOICES]),
        Served::new("DocumentReference", READ, NOTES),
        Served::new("Patient", READ, Searching::only(&["_id", "identifier"], &[&["_id"], &["identifier"]], Unknown::Silent)),
        Served::new("Provenance", &[Code::Read], Searching::only(&[], &[], Unknown::Silent)),
    ],
    rest: READ,
    withheld: BY_OWN_ROW,
    versioned: true,
    versioned_location: false,
    conditional_create: false,
    echoes: true,
    stale: 412,
    unoffered: 404,
    export: Some(&EXPORTS),
};

static EXPORTS: Exporting =
    Exporting { levels: &[super::ExportLevel::Group, super::ExportLevel::Patient], comma_only: true, ..super::EXPORTING };

const MESSAGES: Searching =
    Searching::only(&["_id", "in-response-to", "part-of", "patient", "recipient", "sender", "sent", "subject"], &[], Unknown::Silent);

const VISITS: Searching = Searching::only(
    &["_id", "date", "location", "patient", "practitioner", "status"],
    &[&["_id"], &["patient"], &["location"], &["practitioner"]],
    Unknown::Silent,
);

const PLANS: Searching = Searching::only(&["_id", "patient", "category", "status"], &[&["_id"], &["patient"]], Unknown::Silent);

const NOTES: Searching =
    Searching::only(&["_id", "patient", "type", "status", "encounter", "category", "date"], &[&["_id"], &["patient"]], Unknown::Silent);

/// To whom messages may go, whoever the patient is.
const RECIPIENTS: [&str; 3] = ["Practitioner/prac-01", "Practitioner/prac-02", "Organization/org-1"];

// The page that defines what it answers was not at hand: Parameters with a reference each is the sandbox's own form.
const CHOICES: Operation = Operation {
    name: "get-recipient-choices",
    definition: "https://hackmd.io/@argonaut/H1dQ95xG3",
    answer: || {
        let choice = |target: &str| json!({ "name": "recipient", "valueReference": { "reference": target } });
        json!({ "resourceType": "Parameters", "parameter": RECIPIENTS.map(choice) })
    },
};

static MESSAGE: Writing = Writing {
    required: &["status", "recipient", "payload"],
    check: message,
    kept: Kept::Without(&["identifier"]),
    adds: sent,
    threaded: true,
    ..WRITING
};

fn message(members: &Map<String, Value>) -> Option<&'static str> {
    let recipients = members.get("recipient").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let chosen = |one: &Value| one.get("reference").and_then(Value::as_str).is_some_and(|target| RECIPIENTS.contains(&target));
    if recipients.is_empty() || !recipients.iter().all(chosen) {
        return Some("Communication.recipient must be among those of $get-recipient-choices");
    }
    None
}

fn sent(members: &mut Map<String, Value>, now: &str) {
    members.entry("sent").or_insert_with(|| now.into());
}
