//! A write-back contract: what one EHR takes, as data. A vendor's preset, narrowed by what the server states of itself and by what a probe
//! proved, with the operator's word on top. Knows what can be written and found again; how it is written is `push`'s, what is written is
//! `compose`'s.

mod narrow;
mod of_ehr;
mod shape;
mod terms;

use std::collections::BTreeSet;

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

pub use narrow::{Override, Proven, Stated, StatedType};
pub use of_ehr::ContractError;
pub use shape::{
    Category, CommunicationShape, Content, Element, Limits, MediumCodes, NoteShape, Party, PayloadShape, Route, Status, StatusChange,
};
pub use terms::{Finder, KeyPlace, ProvenanceOf, ReadBack, Terms};

/// What carries something into the chart, or stands in for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Carrier {
    /// A Communication.
    Communication,
    /// A DocumentReference: a clinical note.
    DocumentReference,
    /// A request to an address that the site declared.
    Route,
    /// A file that the site takes away.
    Export,
    /// Nothing: it stays in the ledger, by the contract's word.
    Ledger,
    /// A change of an Appointment's status. Not of a chain: it carries only that.
    #[serde(skip_deserializing)]
    Appointment,
    /// A Provenance of what was written. Not of a chain: it carries only that.
    #[serde(skip_deserializing)]
    Provenance,
}

impl Carrier {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Communication, Self::DocumentReference, Self::Route, Self::Export, Self::Ledger, Self::Appointment, Self::Provenance];

    /// As written in contracts and in the store.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Communication => "communication",
            Self::DocumentReference => "document-reference",
            Self::Route => "route",
            Self::Export => "export",
            Self::Ledger => "ledger",
            Self::Appointment => "appointment",
            Self::Provenance => "provenance",
        }
    }

    /// The carrier of that name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|c| c.as_str() == text)
    }

    /// The FHIR resource type that it writes, where it writes one.
    #[must_use]
    pub const fn resource_type(self) -> Option<&'static str> {
        match self {
            Self::Communication => Some("Communication"),
            Self::DocumentReference => Some("DocumentReference"),
            Self::Appointment => Some("Appointment"),
            Self::Provenance => Some("Provenance"),
            Self::Route | Self::Export | Self::Ledger => None,
        }
    }
}

/// What of a person's outreach belongs into this EHR's charts. What was held, refused or kept back for comparison never does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Writes {
    /// What was sent, once its outcome is known or its time for receipts has passed.
    pub sent: bool,
    /// The patient's answers.
    pub answered: bool,
    /// That nobody could be reached, after the last rung.
    pub unreachable: bool,
    /// Of the answers only those that staff must act on: where a Communication is an item in somebody's inbox.
    pub only_answers_that_need_action: bool,
    /// One note a patient and day for what is not written by itself.
    pub daily_note: bool,
}

impl Default for Writes {
    fn default() -> Self {
        Self { sent: true, answered: true, unreachable: true, only_answers_that_need_action: false, daily_note: false }
    }
}

/// What one EHR takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contract {
    /// The preset it came from.
    #[serde(default)]
    pub preset: String,
    /// Carriers in order of preference. Each write-back goes by the first one that can carry it truthfully.
    pub chain: Vec<Carrier>,
    /// The chain before the operator's word: what may have been written by before there was one.
    #[serde(skip)]
    pub preset_chain: Vec<Carrier>,
    /// By what something was ever sent to this EHR, whatever the chain says by now; as [`Contract::way`] says it.
    #[serde(skip)]
    pub used: BTreeSet<String>,
    /// What is written at all.
    #[serde(default)]
    pub writes: Writes,
    /// How Communications are written and found again.
    #[serde(default = "Terms::none")]
    pub communication: Terms,
    /// What a Communication may hold.
    #[serde(default = "CommunicationShape::full")]
    pub shape: CommunicationShape,
    /// How DocumentReferences are written and found again.
    #[serde(default = "Terms::none")]
    pub document_reference: Terms,
    /// What a DocumentReference holds.
    #[serde(default)]
    pub note: NoteShape,
    /// The site's own route, where it declared one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<Route>,
    /// Which changes of an Appointment's status are taken. Off unless the site switches it on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_change: Option<StatusChange>,
    /// Whether and how a Provenance is written of each resource; absent where the server creates none. Off unless the site switches it on: it is
    /// one request more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provenance: Option<ProvenanceOf>,
    /// Seconds after which the server has certainly finished a request whose answer was lost. Only then is it searched for. Longer than
    /// the time-out of a request, since a server goes on working when its client has gone.
    pub settle_delay_secs: u32,
}

impl Contract {
    /// A full R4 server: every element, every terminal status, our identifier searchable (standards.md E.2, last row).
    #[must_use]
    pub fn full_r4() -> Self {
        Self {
            preset: "full-r4".to_owned(),
            chain: vec![Carrier::Communication],
            preset_chain: Vec::new(),
            used: BTreeSet::new(),
            writes: Writes::default(),
            communication: Terms {
                key: KeyPlace::Identifier,
                conditional_create: true,
                update: true,
                finders: vec![Finder::Identifier, Finder::PatientSent, Finder::Patient],
                read_back: ReadBack::FromAnswer,
                key_kept: None,
            },
            shape: CommunicationShape::full(),
            document_reference: Terms {
                key: KeyPlace::Identifier,
                conditional_create: true,
                update: true,
                finders: vec![Finder::Identifier, Finder::PatientDate, Finder::Patient],
                read_back: ReadBack::FromAnswer,
                key_kept: None,
            },
            note: NoteShape::default(),
            route: None,
            status_change: Some(StatusChange::full()),
            provenance: Some(ProvenanceOf::off()),
            settle_delay_secs: 120,
        }
    }

    /// How a carrier is written and found again; `None` for one that creates no resource.
    #[must_use]
    pub const fn terms(&self, carrier: Carrier) -> Option<&Terms> {
        match carrier {
            Carrier::Communication => Some(&self.communication),
            Carrier::DocumentReference => Some(&self.document_reference),
            Carrier::Provenance => match &self.provenance {
                Some(provenance) => Some(&provenance.terms),
                None => None,
            },
            Carrier::Route | Carrier::Export | Carrier::Ledger | Carrier::Appointment => None,
        }
    }

    /// Whether a Provenance is written of what a carrier wrote.
    #[must_use]
    pub fn wants_provenance_of(&self, carrier: Carrier) -> bool {
        matches!(carrier, Carrier::Communication | Carrier::DocumentReference) && self.provenance.as_ref().is_some_and(|p| p.enabled)
    }

    /// Whether an element of a Communication is taken.
    #[must_use]
    pub fn takes(&self, element: Element) -> bool {
        self.shape.elements.contains(&element)
    }

    /// By what a carrier sends now, told apart from what it would be after a change of where that is; `None` for one that sends nothing.
    #[must_use]
    pub fn way(&self, carrier: Carrier) -> Option<String> {
        match carrier {
            Carrier::Communication | Carrier::DocumentReference => Some(carrier.as_str().to_owned()),
            Carrier::Route => self.route.as_ref().map(Route::mark),
            Carrier::Export | Carrier::Ledger | Carrier::Appointment | Carrier::Provenance => None,
        }
    }

    /// How long to wait before an unclear outcome is searched for.
    #[must_use]
    pub fn settle_delay(&self) -> TimeDelta {
        TimeDelta::seconds(i64::from(self.settle_delay_secs))
    }
}
