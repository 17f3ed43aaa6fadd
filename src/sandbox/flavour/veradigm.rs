//! Veradigm, by its CapabilityStatement of 4.22: no Communication, no Appointment; documents are created and updated, and nothing has a
//! version.

use super::note::NOTE;
use super::{BY_OWN_ROW, CREATE_UPDATE, Exporting, Manner, READ, SAYS_NOTHING, Searching, Served, Stated, Unknown};

pub(super) static MANNER: Manner = Manner {
    software: Some(("Veradigm FHIR", Some("4.22.0.1"))),
    stated: Stated { versioning: Some("no-version"), ..SAYS_NOTHING },
    own: &[
        Served::new("CarePlan", READ, PLANS),
        Served::new("DocumentReference", CREATE_UPDATE, NOTES).written_by(&NOTE),
        Served::new("Patient", READ, Searching::only(&["_id"], &[&["_id"]], Unknown::Refused)),
        Served::new("Provenance", READ, Searching::only(&["_id"], &[&["_id"]], Unknown::Refused)),
    ],
    rest: READ,
    withheld: BY_OWN_ROW,
    versioned: false,
    versioned_location: false,
    conditional_create: false,
    echoes: true,
    stale: 412,
    unoffered: 405,
    export: Some(&EXPORTS),
};

static EXPORTS: Exporting = Exporting { comma_only: true, ..super::EXPORTING };

const PLANS: Searching = Searching::only(
    &["_id", "patient", "status", "category", "date"],
    &[&["_id"], &["patient", "status"], &["patient", "category"], &["patient", "date"], &["status", "category"], &["category", "date"]],
    Unknown::Refused,
);

const NOTES: Searching =
    Searching::only(&["_id", "patient", "status", "category", "type", "date"], &[&["_id"], &["patient"]], Unknown::Refused);
