//! fhir-engage

pub mod net;
pub mod outreach;
