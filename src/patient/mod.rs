//! One patient, for staff: what is known, why, what was done and what comes next ([`look`]), and what somebody may do about it ([`acts`]).
//!
//! It puts together what the stages keep, in plain words, and knows nothing of pages, sessions or rights: who may see which part is the
//! caller's to say. An act names who does it; its row in the audit chain is in its own transaction. Nothing here asks an EHR.

pub mod acts;
mod journey;
pub mod look;
pub mod page;
mod words;

pub use acts::{Actor, Done, Signed};
pub use look::{Eyes, look};
pub use page::Page;
pub use words::told_times;

pub use crate::outreach::by_hand;
pub use crate::outreach::gate::Outcome;

use domain::model::Phi;

/// Whom it is about: a record at an EHR. It may not have been synced yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The EHR.
    pub ehr: String,
    /// The patient's logical id there.
    pub id: Phi<String>,
}
