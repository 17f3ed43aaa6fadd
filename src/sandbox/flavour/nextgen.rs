//! NextGen Enterprise, by its CapabilityStatement of 5.0.1: read only, no Communication, no Appointment, and nothing has a version.

use super::{BY_OWN_ROW, Manner, READ, SAYS_NOTHING, Searching, Served, Stated, Unknown};

pub(super) static MANNER: Manner = Manner {
    software: Some(("Nextgen FHIR Server", Some("5.0.1.693"))),
    stated: Stated { versioning: Some("no-version"), read_history: Some(false), ..SAYS_NOTHING },
    own: &[
        Served::new("CarePlan", READ, PLANS),
        Served::new("DocumentReference", READ, NOTES),
        Served::new("Patient", READ, PEOPLE),
        Served::new("Provenance", READ, Searching::only(&[], &[], Unknown::Warned)),
    ],
    rest: READ,
    withheld: BY_OWN_ROW,
    versioned: false,
    versioned_location: false,
    conditional_create: false,
    echoes: true,
    stale: 412,
    unoffered: 405,
    export: None,
};

const PLANS: Searching = Searching::only(
    &["_id", "patient", "category", "status", "_lastUpdated", "_maxresults"],
    &[&["_id"], &["patient"], &["_lastUpdated"]],
    Unknown::Warned,
);

const PEOPLE: Searching = Searching::only(
    &["_id", "identifier", "_lastUpdated", "_maxresults"],
    &[&["_id"], &["identifier"], &["_lastUpdated"]],
    Unknown::Warned,
);

const NOTES: Searching =
    Searching::only(&["_id", "patient", "type", "date", "category", "_lastUpdated"], &[&["_id"], &["patient"]], Unknown::Warned);
