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
pub use words::{asked, told_times};

pub use crate::outreach::by_hand;
pub use crate::outreach::gate::{Outcome, ReasonCode};

use domain::model::Phi;

/// Whom it is about: a record at an EHR. It may not have been synced yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The EHR.
    pub ehr: String,
    /// The patient's logical id there.
    pub id: Phi<String>,
    /// How much of the person's other records belongs to it.
    pub reach: Reach,
}

/// How much is shown of a person beside the record that was opened. An EHR that was asked whether its user may see a patient has spoken of that
/// record, and of no other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// The record alone, with those that the EHR merged into it.
    #[default]
    Record,
    /// Also what this gateway sent to the person, plans and heard by other records.
    Outreach,
    /// All records of the person.
    Person,
}

impl Reach {
    /// The name of each, as the configuration has it.
    pub const NAMES: [(&'static str, Self); 3] = [("hidden", Self::Record), ("outreach", Self::Outreach), ("shown", Self::Person)];

    /// The one of that name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::NAMES.into_iter().find(|(name, _)| *name == text).map(|(_, reach)| reach)
    }
}
