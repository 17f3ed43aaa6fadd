//! fhir-engage
