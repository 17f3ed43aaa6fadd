//! A server that offers everything that the sandbox knows.

use super::{APPOINTMENTS, Code, Exporting, Manner, Patching, Searching, Served, Stated};

const EVERYTHING: &[Code] = &[Code::Read, Code::VersionRead, Code::Update, Code::Delete, Code::Create, Code::Search];
const PATCHED_TOO: &[Code] = &[Code::Read, Code::VersionRead, Code::Update, Code::Patch, Code::Delete, Code::Create, Code::Search];

pub(super) static MANNER: Manner = Manner {
    software: Some(("fhir-engage sandbox", Some(env!("CARGO_PKG_VERSION")))),
    stated: Stated {
        versioning: Some("versioned"),
        read_history: Some(true),
        update_create: Some(false),
        conditional_create: Some(true),
        conditional_update: Some(false),
    },
    own: &[
        Served::new("Appointment", PATCHED_TOO, APPOINTMENTS).patched_by(&STATUS),
        Served::new("Provenance", EVERYTHING, ORIGINS),
        Served::new("Subscription", EVERYTHING, STATES),
    ],
    rest: EVERYTHING,
    withheld: &[],
    versioned: true,
    versioned_location: true,
    conditional_create: true,
    echoes: true,
    stale: 412,
    unoffered: 405,
    export: Some(&EXPORTS),
};

static EXPORTS: Exporting = Exporting {
    levels: &[super::ExportLevel::System, super::ExportLevel::Patient, super::ExportLevel::Group],
    post: true,
    ..super::EXPORTING
};

const STATES: Searching = Searching::full(&["status"]);

const ORIGINS: Searching = Searching::full(&["target"]);

static STATUS: Patching = Patching { paths: &["/status"], transitions: None, booking_needs_slot: false };
