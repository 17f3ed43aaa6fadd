//! Typed building of the FHIR R4 (4.0.1) resources that this gateway emits: Communication, DocumentReference, Provenance,
//! Group, OperationOutcome.
//!
//! A caller fills a plain struct and gets JSON bytes, or an [`Invalid`] that names the element and what to do. What cannot be valid
//! R4 is refused here, so that it fails in this gateway and not at a hospital's server.
//!
//! This is the only crate that knows the R4 model library. Its public functions are not generic and its types are its own: the model's
//! generated code is compiled once, here, and can be replaced without a change elsewhere. It knows nothing of EHRs, of vendors or of
//! the store, and it never reads an EHR's bytes: the library loops or panics on some of them. [`parse_strict`] is a check of
//! what we emit, for tests.

mod check;
pub mod codes;
mod communication;
mod datatypes;
mod document_reference;
mod group;
mod invalid;
mod outcome;
mod provenance;
mod strict;

#[cfg(test)]
mod examples;

pub use check::printable;
pub use communication::{Communication, CommunicationStatus, Payload, Priority, communication};
pub use datatypes::{Coding, Concept, Identifier, Reference};
pub use document_reference::{DocStatus, DocumentReference, Relation, document_reference};
pub use group::{Group, Member, group};
pub use invalid::{Invalid, Problem};
pub use outcome::{Issue, IssueCode, Severity, operation_outcome};
pub use provenance::{Agent, Provenance, provenance};
pub use strict::parse_strict;

use fhirbolt::model::r4::Resource;

/// Renders a resource as compact JSON, elements in the order of the specification.
fn render(resource: &Resource) -> Result<Vec<u8>, Invalid> {
    // The library's message is dropped: it may quote values.
    fhirbolt::json::to_vec(resource, None).map_err(|_| Invalid::new("", Problem::NotR4))
}
