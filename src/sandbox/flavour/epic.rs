//! Epic, by its CapabilityStatement of May 2026. `identifier`, `status` and `sent` only narrow what the patient's search found. An
//! unknown parameter is warned of (its code 4122), and so is an empty result (4101).

use super::note::NOTE;
use super::{BY_OWN_ROW, CREATE, CREATE_UPDATE, Code, Exporting, Manner, READ, Searching, Served, Stated, Unknown};

pub(super) static MANNER: Manner = Manner {
    software: Some(("Epic", Some("May 2026"))),
    stated: Stated {
        versioning: None,
        read_history: Some(false),
        update_create: Some(false),
        conditional_create: Some(false),
        conditional_update: Some(false),
    },
    own: &[
        Served::new("Appointment", READ, VISITS),
        Served::new("CarePlan", READ, PLANS),
        Served::new("Communication", CREATE, COMMUNICATIONS),
        Served::new("DocumentReference", CREATE_UPDATE, NOTES).written_by(&NOTE),
        Served::new("Patient", READ, PEOPLE),
        Served::new("Provenance", &[Code::Read], Searching::only(&[], &[], Unknown::Warned)),
    ],
    rest: READ,
    withheld: BY_OWN_ROW,
    versioned: true,
    versioned_location: false,
    conditional_create: false,
    echoes: true,
    stale: 412,
    unoffered: 405,
    export: Some(&EXPORTS),
};

static EXPORTS: Exporting = Exporting { one_at_a_time: true, named: ("group-export", super::BULK), ..super::EXPORTING };

const COMMUNICATIONS: Searching = patients(&[
    "category",
    "encounter",
    "part-of",
    "patient",
    "subject",
    "_id",
    "identifier",
    "recipient",
    "sender",
    "sent",
    "received",
    "status",
]);

const NOTES: Searching =
    patients(&["author", "category", "date", "encounter", "patient", "status", "subject", "type", "_id", "identifier"]);

const VISITS: Searching = patients(&["patient", "subject", "date", "status", "practitioner", "location", "actor", "_id", "identifier"]);

const PLANS: Searching = Searching {
    required: &[&["category", "patient"], &["category", "subject"], &["_id"]],
    ..patients(&["category", "encounter", "patient", "subject", "status", "date", "_id", "identifier"])
};

const PEOPLE: Searching = Searching { required: &[&["identifier"], &["_id"]], ..patients(&["identifier", "_id"]) };

const fn patients(parameters: &'static [&'static str]) -> Searching {
    let searching = Searching::only(parameters, &[&["patient"], &["subject"], &["_id"]], Unknown::Warned);
    Searching { id_alone: true, when_empty: Some("4101: the search found nothing"), ..searching }
}
