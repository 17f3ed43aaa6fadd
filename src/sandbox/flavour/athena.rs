//! athenahealth, by its CapabilityStatement: no Communication, and documents are written by its own API only.

use super::{APPOINTMENTS, BY_OWN_ROW, Manner, READ, SAYS_NOTHING, Searching, Served, Unknown};

pub(super) static MANNER: Manner = Manner {
    software: Some(("athenahealth FHIR Server", None)),
    stated: SAYS_NOTHING,
    own: &[
        Served::new("Appointment", READ, APPOINTMENTS),
        Served::new("DocumentReference", READ, NOTES),
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
};

const NOTES: Searching = Searching::only(
    &["_id", "patient", "category", "type", "date", "encounter", "author", "_lastUpdated"],
    &[&["_id"], &["patient"]],
    Unknown::Silent,
);
