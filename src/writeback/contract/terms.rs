//! How a resource of one type is written and found again: where our key can live, what can be searched, what the answer to a create shows.

use serde::{Deserialize, Serialize};

/// Where our key can live in a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyPlace {
    /// `identifier`.
    Identifier,
    /// In a text that staff can read, as `[fhir-engage KEY]`: where identifiers are not kept.
    Text,
    /// `entity.what.identifier` of a Provenance, which has no identifier of its own.
    Entity,
}

impl KeyPlace {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Identifier, Self::Text, Self::Entity];

    /// As written in contracts and in proofs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Identifier => "identifier",
            Self::Text => "text",
            Self::Entity => "entity",
        }
    }
}

/// A search that finds what was written by us: what is asked, and our key looked for in what comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Finder {
    /// `identifier=system|value`.
    Identifier,
    /// `patient=...&identifier=system|value`: for servers that filter by identifier only within a patient.
    PatientIdentifier,
    /// `patient=...&sent=...`.
    PatientSent,
    /// `patient=...&date=...`.
    PatientDate,
    /// `patient=...`.
    Patient,
    /// `category=...&recipient=...&received=...`: an inbox that knows no patient.
    InboxReceived,
    /// `target=...`: what is said of one resource.
    Target,
}

impl Finder {
    /// The search parameters that a server must know for it.
    #[must_use]
    pub const fn params(self) -> &'static [&'static str] {
        match self {
            Self::Identifier => &["identifier"],
            Self::PatientIdentifier => &["patient", "identifier"],
            Self::PatientSent => &["patient", "sent"],
            Self::PatientDate => &["patient", "date"],
            Self::Patient => &["patient"],
            Self::InboxReceived => &["category", "recipient", "received"],
            Self::Target => &["target"],
        }
    }

    /// Whether it asks for our identifier, so that whatever else comes back shows that the filter was not applied.
    #[must_use]
    pub const fn asks_for_our_key(self) -> bool {
        matches!(self, Self::Identifier | Self::PatientIdentifier)
    }
}

/// Where what the EHR kept is compared with what was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReadBack {
    /// Not at all.
    Never,
    /// The answer to the create, where it shows the resource; else it is read.
    FromAnswer,
    /// It is read after each create: for servers whose answer repeats what was sent.
    Always,
}

/// How a resource type is written and found again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    /// Where our key lives.
    pub key: KeyPlace,
    /// Whether `If-None-Exist` can be relied on to create nothing where our identifier is.
    pub conditional_create: bool,
    /// Whether it can be updated (PUT) once written.
    pub update: bool,
    /// Searches that find it again, best first. Empty: what is unclear stays with a person.
    pub finders: Vec<Finder>,
    /// Where what was kept is compared with what was sent.
    pub read_back: ReadBack,
    /// Whether this EHR was seen to keep our key where it is put. Not seen yet: that a search does not find it proves nothing, since the key
    /// may have been dropped in silence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_kept: Option<bool>,
}

impl Terms {
    /// Of a type that is not written.
    #[must_use]
    pub const fn none() -> Self {
        Self {
            key: KeyPlace::Text,
            conditional_create: false,
            update: false,
            finders: Vec::new(),
            read_back: ReadBack::Never,
            key_kept: None,
        }
    }

    /// Of a Provenance: by R4 it is searched by its target, and only its entities have room for our key.
    #[must_use]
    pub fn of_provenance() -> Self {
        Self { key: KeyPlace::Entity, finders: vec![Finder::Target], read_back: ReadBack::FromAnswer, ..Self::none() }
    }

    /// The search to settle an unclear outcome by. One that asks for our identifier is of no use where it is not kept.
    #[must_use]
    pub fn finder(&self) -> Option<Finder> {
        self.finders.iter().copied().find(|f| !f.asks_for_our_key() || self.key == KeyPlace::Identifier)
    }

    /// Whether a create can be made conditional on our identifier.
    #[must_use]
    pub fn creates_conditionally(&self) -> bool {
        self.conditional_create && self.key == KeyPlace::Identifier
    }
}

/// Whether and how a Provenance is written of each resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProvenanceOf {
    /// It is.
    pub enabled: bool,
    /// How it is written and found again.
    #[serde(default = "Terms::of_provenance")]
    pub terms: Terms,
}

impl ProvenanceOf {
    /// Not written unless the site switches it on.
    #[must_use]
    pub fn off() -> Self {
        Self { enabled: false, terms: Terms::of_provenance() }
    }
}
