//! What a write-back is made from: the attempt, and what is to be told of it.

use chrono::NaiveDate;
use chrono_tz::Tz;
use domain::Timestamp;

use crate::store::answers::Answer;
use crate::store::attempts::Attempt;
use crate::writeback::contract::Carrier;

/// Where something that we wrote is in the EHR.
#[derive(Clone, PartialEq, Eq)]
pub struct Told {
    /// What carried it.
    pub carrier: Carrier,
    /// Its logical id; the file's name for an export.
    pub id: String,
    /// Its version, where it is known.
    pub version: Option<String>,
    /// It tells of other attempts too: a day's note. What is true of those must stay.
    pub note: bool,
}

impl Told {
    /// `Communication/12`, where it is a resource.
    #[must_use]
    pub fn reference(&self) -> Option<String> {
        self.carrier.resource_type().map(|kind| format!("{kind}/{}", self.id))
    }

    /// `Communication/12/_history/1`, where it is a resource whose version is known; else without the version.
    #[must_use]
    pub fn version_reference(&self) -> Option<String> {
        let version = self.version.as_ref().map(|v| format!("/_history/{v}")).unwrap_or_default();
        self.reference().map(|reference| format!("{reference}{version}"))
    }
}

/// What is to be told of an attempt.
#[derive(Clone, Copy)]
pub enum Telling<'a> {
    /// How it went.
    Original,
    /// What the patient answered.
    Answer {
        /// The answer.
        answer: &'a Answer,
        /// Its words, where they are kept.
        text: Option<&'a str>,
        /// Where the original is, where it was written.
        original: Option<&'a Told>,
    },
    /// That what was told is not true any more: a late bounce. The attempt is as it is now.
    Correction {
        /// Where the original is, where it was written.
        original: Option<&'a Told>,
    },
    /// One note of a day's attempts.
    Note {
        /// The day, where the patient lives.
        day: NaiveDate,
        /// The time zone there.
        zone: Tz,
        /// The attempts.
        attempts: &'a [Attempt],
    },
    /// That the status of the Appointment is to change, as the patient asked for.
    StatusChange {
        /// The answer that asks for it.
        answer: &'a Answer,
    },
    /// Who made what was written.
    Provenance {
        /// What was written.
        of: &'a Told,
        /// When it was known to be written.
        recorded: Timestamp,
    },
}

impl Telling<'_> {
    /// The kind of write-back, as the store writes it.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Original => "original",
            Self::Answer { .. } => "answer",
            Self::Correction { .. } => "correction",
            Self::Note { .. } => "note",
            Self::StatusChange { .. } => "status-change",
            Self::Provenance { .. } => "provenance",
        }
    }
}

/// What a write-back is made from. It has no `Debug`: it holds a patient's words.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    /// The EHR's name.
    pub ehr: &'a str,
    /// The attempt; of a note, the first one.
    pub attempt: &'a Attempt,
    /// The patient's logical id in the EHR.
    pub patient: &'a str,
    /// The words that were sent; needed only where the contract wants them.
    pub message: Option<&'a str>,
    /// The write-back's key, unique within the site's namespace: by it it is found again.
    pub key: &'a str,
    /// What is to be told.
    pub telling: Telling<'a>,
}
