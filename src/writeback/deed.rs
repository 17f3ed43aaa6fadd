//! What is to be done in the EHR for one write-back: decided by `compose`, done by `push`. Knows neither how it was decided nor how it is
//! sent.

use std::collections::BTreeSet;

/// What is to be done.
#[derive(Clone, PartialEq, Eq)]
pub enum Deed {
    /// A resource is created: R4 JSON. By the carriers that are no resource, this is the request's body or the file's content.
    Create {
        /// What is sent.
        bytes: Vec<u8>,
    },
    /// A resource of the carrier's type that we wrote is marked as entered in error: it is read, its status changed, the words put into a
    /// note, and it is put back under the version that was read.
    EnteredInError {
        /// Its logical id.
        id: String,
        /// Why, in words for the chart.
        why: String,
    },
    /// The status of an Appointment is changed (JSON Patch, RFC 6902).
    Status {
        /// The Appointment's logical id.
        appointment: String,
        /// The status that it gets.
        to: String,
        /// When the visit that the patient's word was about begins, microseconds: one that was moved meanwhile is not changed.
        start: Option<i64>,
        /// It must have one of these; where it has `to` already there is nothing to do, and from another one it is not changed.
        from: BTreeSet<String>,
    },
    /// Nothing: by the contract's word it stays in the ledger.
    Keep {
        /// Why, in words.
        why: String,
    },
}

impl Deed {
    /// What is sent, where something is created.
    #[must_use]
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Create { bytes } => Some(bytes),
            Self::EnteredInError { .. } | Self::Status { .. } | Self::Keep { .. } => None,
        }
    }
}

/// Shows the kind only: the rest names a patient's chart.
impl std::fmt::Debug for Deed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Create { bytes } => write!(f, "Create({} bytes)", bytes.len()),
            Self::EnteredInError { .. } => f.write_str("EnteredInError"),
            Self::Status { to, from, .. } => write!(f, "Status({from:?} -> {to})"),
            Self::Keep { why } => write!(f, "Keep({why})"),
        }
    }
}
