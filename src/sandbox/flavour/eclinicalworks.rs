//! eClinicalWorks, by its CapabilityStatement: no Communication, no Appointment. Writing a document needs a contract, so a create is
//! forbidden and not merely unknown.

use super::{BY_OWN_ROW, Exporting, Manner, READ, SAYS_NOTHING, Searching, Served, Unknown};

pub(super) static MANNER: Manner = Manner {
    software: Some(("eCW FHIR Facade", Some("1.6"))),
    stated: SAYS_NOTHING,
    own: &[
        Served::new("CarePlan", READ, PLANS),
        Served::new("DocumentReference", READ, NOTES),
        Served::new("Patient", READ, Searching::only(&["_id", "identifier"], &[&["_id"], &["identifier"]], Unknown::Refused)),
        Served::new("Provenance", READ, Searching::only(&["_id"], &[&["_id"]], Unknown::Refused)),
    ],
    rest: READ,
    withheld: BY_OWN_ROW,
    versioned: true,
    versioned_location: false,
    conditional_create: false,
    echoes: true,
    stale: 412,
    unoffered: 403,
    export: Some(&EXPORTS),
};

static EXPORTS: Exporting = Exporting { comma_only: true, status_in_query: true, retry_after: "7200", ..super::EXPORTING };

const PLANS: Searching = Searching::only(&["_id", "category", "encounter", "patient"], &[&["_id"], &["patient"]], Unknown::Refused);

const NOTES: Searching =
    Searching::only(&["_id", "patient", "category", "date", "encounter", "type"], &[&["_id"], &["patient"]], Unknown::Refused);
