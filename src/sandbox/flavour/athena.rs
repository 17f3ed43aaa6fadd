//! athenahealth, by its CapabilityStatement: no Communication, and documents are written by its own API only.

use super::{BY_OWN_ROW, Exporting, Manner, READ, SAYS_NOTHING, Searching, Served, Unknown};

pub(super) static MANNER: Manner = Manner {
    software: Some(("athenahealth FHIR Server", None)),
    stated: SAYS_NOTHING,
    own: &[
        Served::new("Appointment", READ, Searching::only(&["_id"], &[&["_id"]], Unknown::Silent)),
        Served::new("CarePlan", READ, PLANS),
        Served::new("DocumentReference", READ, NOTES),
        Served::new("Patient", READ, PEOPLE),
        Served::new("Provenance", READ, Searching::only(&["target"], &[&["target"]], Unknown::Silent)),
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
    Exporting { comma_only: true, named: ("export", "https://fhir.example.org/OperationDefinition/ah-"), ..super::EXPORTING };

const PLANS: Searching = Searching::only(&["_id", "patient", "category", "_lastUpdated"], &[&["_id"], &["patient"]], Unknown::Silent);

const PEOPLE: Searching = Searching::only(&["_id", "identifier", "_lastUpdated"], &[&["_id"], &["identifier"]], Unknown::Silent);

const NOTES: Searching = Searching::only(
    &["_id", "patient", "category", "type", "date", "encounter", "author", "_lastUpdated"],
    &[&["_id"], &["patient"]],
    Unknown::Silent,
);
