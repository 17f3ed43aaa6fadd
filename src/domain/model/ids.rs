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

/// The resource types that this gateway can sync. What else an EHR or a file offers is counted as ignored, by type.
///
/// The order is kept: [`ResourceType::bit`] is made from it, and bits are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ResourceType {
    /// R4 Patient.
    Patient,
    /// R4 Appointment.
    Appointment,
    /// R4 CarePlan.
    CarePlan,
    /// R4 Encounter.
    Encounter,
    /// R4 Condition.
    Condition,
    /// R4 Coverage.
    Coverage,
    /// R4 Consent.
    Consent,
    /// R4 Goal.
    Goal,
    /// R4 CareTeam.
    CareTeam,
    /// R4 RiskAssessment.
    RiskAssessment,
    /// R4 Observation.
    Observation,
    /// R4 Procedure.
    Procedure,
    /// R4 Immunization.
    Immunization,
    /// R4 MedicationRequest.
    MedicationRequest,
    /// R4 QuestionnaireResponse.
    QuestionnaireResponse,
    /// R4 PractitionerRole.
    PractitionerRole,
    /// R4 Practitioner.
    Practitioner,
    /// R4 Location.
    Location,
    /// R4 Organization.
    Organization,
}

impl ResourceType {
    /// What every installation syncs, patients first: the others refer to them.
    pub const CORE: [Self; 3] = [Self::Patient, Self::Appointment, Self::CarePlan];

    /// What an EHR's operator may ask for beside them. Those of a patient come first, then who and where it is that appointments name; of
    /// these roles come first, since they name the others.
    pub const SUPPORTING: [Self; 16] = [
        Self::Encounter,
        Self::Condition,
        Self::Coverage,
        Self::Consent,
        Self::Goal,
        Self::CareTeam,
        Self::RiskAssessment,
        Self::Observation,
        Self::Procedure,
        Self::Immunization,
        Self::MedicationRequest,
        Self::QuestionnaireResponse,
        Self::PractitionerRole,
        Self::Practitioner,
        Self::Location,
        Self::Organization,
    ];

    /// All types that can be synced, in the order of their bits.
    pub const ALL: [Self; 19] = [
        Self::Patient,
        Self::Appointment,
        Self::CarePlan,
        Self::Encounter,
        Self::Condition,
        Self::Coverage,
        Self::Consent,
        Self::Goal,
        Self::CareTeam,
        Self::RiskAssessment,
        Self::Observation,
        Self::Procedure,
        Self::Immunization,
        Self::MedicationRequest,
        Self::QuestionnaireResponse,
        Self::PractitionerRole,
        Self::Practitioner,
        Self::Location,
        Self::Organization,
    ];

    /// The name as FHIR writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Patient => "Patient",
            Self::Appointment => "Appointment",
            Self::CarePlan => "CarePlan",
            Self::Encounter => "Encounter",
            Self::Condition => "Condition",
            Self::Coverage => "Coverage",
            Self::Consent => "Consent",
            Self::Goal => "Goal",
            Self::CareTeam => "CareTeam",
            Self::RiskAssessment => "RiskAssessment",
            Self::Observation => "Observation",
            Self::Procedure => "Procedure",
            Self::Immunization => "Immunization",
            Self::MedicationRequest => "MedicationRequest",
            Self::QuestionnaireResponse => "QuestionnaireResponse",
            Self::Practitioner => "Practitioner",
            Self::PractitionerRole => "PractitionerRole",
            Self::Location => "Location",
            Self::Organization => "Organization",
        }
    }

    /// The type of that name, if it is one that can be synced.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|t| t.as_str() == name)
    }

    /// Whether it is one of [`ResourceType::CORE`].
    #[must_use]
    pub const fn is_core(self) -> bool {
        matches!(self, Self::Patient | Self::Appointment | Self::CarePlan)
    }

    /// Whether its resources are of no patient: who and where it is that appointments name.
    #[must_use]
    pub const fn is_directory(self) -> bool {
        matches!(self, Self::Practitioner | Self::PractitionerRole | Self::Location | Self::Organization)
    }

    /// Its bit in a mask of types.
    #[must_use]
    pub const fn bit(self) -> u32 {
        1 << self as u32
    }
}

impl std::fmt::Display for ResourceType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::ResourceType;

    #[test]
    fn every_type_is_core_or_supporting_and_has_a_bit_of_its_own() {
        let all: Vec<ResourceType> = ResourceType::CORE.into_iter().chain(ResourceType::SUPPORTING).collect();
        assert_eq!(all, ResourceType::ALL);
        for (at, kind) in ResourceType::ALL.into_iter().enumerate() {
            assert_eq!((kind.bit(), ResourceType::parse(kind.as_str())), (1 << at, Some(kind)));
            assert_eq!(kind.is_core(), ResourceType::CORE.contains(&kind));
        }
        assert!(ResourceType::SUPPORTING.into_iter().skip_while(|k| !k.is_directory()).all(ResourceType::is_directory));
    }
}
