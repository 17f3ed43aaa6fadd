//! EHR to store: bytes come in, facts go out, and nothing is lost in between.
//!
//! [`import`] takes files. A chunk's bodies, their facts, what was put aside of it and the run's counts commit together, under the
//! lease of the (EHR, type); so a crash leaves a state that the next run goes on from. What cannot be read is quarantined with its bytes
//! and sinks nothing else.
//!
//! Knows nothing of segments, programs or channels: it leaves marks for the next stage in the same transaction as its rows.

pub mod import;
mod incoming;
mod resource_types;

use domain::model::{EhrId, ResourceType};

use crate::store::leases::Term;

/// The lease under which resources of one type of one EHR are written.
#[must_use]
pub fn lease_name(ehr: &EhrId, kind: ResourceType) -> String {
    format!("sync/{ehr}/{kind}")
}

/// Who takes the leases.
#[derive(Clone, Copy)]
pub struct Holder<'a> {
    /// This process, as other processes know it.
    pub owner: &'a str,
    /// How long a lease lasts without a sign of life.
    pub term: Term,
    /// Whether another owner is certainly gone, so that its leases need not run out first.
    pub is_dead: &'a (dyn Fn(&str) -> bool + Sync),
}
