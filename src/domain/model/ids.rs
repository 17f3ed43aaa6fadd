//! Identifiers. An id of an EHR is unique only within that EHR (`standards.md` E.6), so a key is always (EHR, type, id).

use serde::{Deserialize, Serialize};

/// The operator's short name for one EHR connection: lower-case letters, digits and `-`, 1 to 32 of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EhrId(String);

/// Why a text is not an [`EhrId`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an EHR id has 1 to 32 characters: lower-case letters, digits and '-', beginning with a letter")]
pub struct NotAnEhrId;

impl EhrId {
    /// Checks and wraps a name.
    ///
    /// # Errors
    /// [`NotAnEhrId`] where the text is empty, too long, or has other characters.
    pub fn parse(text: &str) -> Result<Self, NotAnEhrId> {
        let ok = (1..=32).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if ok { Ok(Self(text.to_owned())) } else { Err(NotAnEhrId) }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for EhrId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// A FHIR logical id (R4 datatype `id`: 1 to 64 of `A-Z a-z 0-9 - .`). Servers in the field use longer ones and `_`; both are taken
/// up to 255 characters, as long as the id can stand in a URL path as it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FhirId(String);

impl FhirId {
    /// Checks and wraps an id; `None` where it could not stand in a URL path as it is.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let ok = (1..=255).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~'))
            && text != "."
            && text != "..";
        ok.then(|| Self(text.to_owned()))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for FhirId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// The resource types that this gateway syncs. What else an EHR or a file offers is counted as ignored, by type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ResourceType {
    /// R4 Patient.
    Patient,
    /// R4 Appointment.
    Appointment,
    /// R4 CarePlan.
    CarePlan,
}

impl ResourceType {
    /// All synced types, patients first: the others refer to them.
    pub const ALL: [Self; 3] = [Self::Patient, Self::Appointment, Self::CarePlan];

    /// The name as FHIR writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Patient => "Patient",
            Self::Appointment => "Appointment",
            Self::CarePlan => "CarePlan",
        }
    }

    /// The type of that name, if it is one that is synced.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|t| t.as_str() == name)
    }
}

impl std::fmt::Display for ResourceType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
