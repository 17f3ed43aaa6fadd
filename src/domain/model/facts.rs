//! What the gateway keeps of a resource for rules, outreach and pages. The resource itself is kept losslessly beside it; facts can be
//! made anew from it at any time. Serialised as JSON in the store; members that say nothing are left out.

use serde::{Deserialize, Serialize};

use super::ids::ResourceType;
use super::phi::Phi;
use super::supporting::{
    CareTeamFacts, ConditionFacts, ConsentFacts, CoverageFacts, DirectoryFacts, EncounterFacts, GoalFacts, ImmunizationFacts,
    MedicationRequestFacts, ObservationFacts, ProcedureFacts, QuestionnaireResponseFacts, RiskAssessmentFacts,
};
use super::time::{FhirTime, Timestamp};

/// One code of a code system (R4 Coding). Display texts are not kept: they may differ per server and may hold free text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Coding {
    /// The code system's URI, where given.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "s")]
    pub system: Option<String>,
    /// The code.
    #[serde(rename = "c")]
    pub code: String,
}

/// A period of R4: either end may be open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Period {
    /// When it begins; open where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<FhirTime>,
    /// When it ends, the end included (a day means that whole day); open where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<FhirTime>,
}

/// A name as it is shown to a person.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PersonName {
    /// Given names in order, joined by a space.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given: Option<Phi<String>>,
    /// Family name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family: Option<Phi<String>>,
}

/// One way to reach a patient (R4 ContactPoint).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContactPoint {
    /// `phone`, `sms`, `email`, ... as sent.
    pub system: String,
    /// The number or address.
    pub value: Phi<String>,
    /// `home`, `work`, `mobile`, `temp`, `old`.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "use")]
    pub usage: Option<String>,
    /// 1 is the most preferred.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rank: Option<u32>,
    /// When it was or is in use.
    #[serde(default, skip_serializing_if = "is_default")]
    pub period: Period,
}

/// Where a patient lives, as far as outreach needs it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// `home`, `work`, `temp`, `old`, `billing`.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "use")]
    pub usage: Option<String>,
    /// State or province, as sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<Phi<String>>,
    /// Postal code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub postal_code: Option<Phi<String>>,
    /// Country, as sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
    /// The IANA zone of the standard `timezone` extension, where it was sent and is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// When it was or is in use.
    #[serde(default, skip_serializing_if = "is_default")]
    pub period: Period,
}

/// A language of a patient (R4 Patient.communication).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpokenLanguage {
    /// The BCP 47 tag, in lower case (`es-mx`).
    pub tag: String,
    /// Whether the patient prefers it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub preferred: bool,
}

/// A link to another record of the same person (R4 Patient.link).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PatientLink {
    /// `replaced-by`, `replaces`, `refer`, `seealso`.
    pub kind: String,
    /// The reference as sent (`Patient/12`).
    pub other: String,
}

/// Facts of a Patient.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PatientFacts {
    /// `active`; absent where not sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active: Option<bool>,
    /// Deceased: any `deceased[x]` that is not `false` (R4 marks it a modifier).
    #[serde(default, skip_serializing_if = "is_default")]
    pub deceased: bool,
    /// When deceased, where told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deceased_at: Option<FhirTime>,
    /// `birthDate`; absent where not sent or not a date that exists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub birth_date: Option<FhirTime>,
    /// `male`, `female`, `other`, `unknown`, as sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gender: Option<String>,
    /// The name to address the patient by: official or usual, not old, not a maiden name.
    #[serde(default, skip_serializing_if = "is_default")]
    pub name: PersonName,
    /// Languages, the preferred first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub languages: Vec<SpokenLanguage>,
    /// Contact points in the order sent, those marked `old` left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub telecom: Vec<ContactPoint>,
    /// Addresses in the order sent, those marked `old` left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<Address>,
    /// Links to other records.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<PatientLink>,
    /// References to the general practitioner, as sent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub general_practitioner: Vec<String>,
    /// Confidentiality and other security labels (`meta.security` codes).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub security: Vec<String>,
    /// An interpreter is needed (US Core `us-core-interpreter-needed`), where told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interpreter_needed: Option<bool>,
}

/// Facts of an Appointment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppointmentFacts {
    /// R4 status code, as sent.
    pub status: String,
    /// Start; absent for proposed and waiting-list appointments, and where the server sent none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Timestamp>,
    /// End.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Timestamp>,
    /// For a visit that was finished ahead of its booked end: `meta.lastUpdated`, by which it had ended. The booked times stay as sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_by: Option<Timestamp>,
    /// When it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<FhirTime>,
    /// The patients that take part: logical ids at the same EHR.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub patients: Vec<String>,
    /// `participant.status` of the first patient: `accepted` means that the patient confirmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patient_status: Option<String>,
    /// References of the practitioners and roles, as sent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub practitioners: Vec<String>,
    /// References of the locations, as sent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub locations: Vec<String>,
    /// `serviceType` and `serviceCategory` codes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<Coding>,
    /// `appointmentType` codes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<Coding>,
    /// `cancelationReason` codes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cancel_reasons: Vec<Coding>,
    /// R5's `virtualService` came as an extension: a visit by video or telephone.
    #[serde(default, skip_serializing_if = "is_default")]
    pub is_virtual: bool,
}

/// One activity of a care plan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activity {
    /// `detail.status`; absent where the activity is a reference only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// `detail.code`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub codes: Vec<Coding>,
    /// `detail.scheduledPeriod`, or the bounds of `detail.scheduledTiming`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub scheduled: Period,
    /// `activity.reference`, as sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
}

/// Facts of a CarePlan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CarePlanFacts {
    /// R4 request status, as sent.
    pub status: String,
    /// R4 intent, as sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intent: Option<String>,
    /// The patient: logical id at the same EHR; absent where the subject is a Group or is not told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patient: Option<String>,
    /// Categories.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub categories: Vec<Coding>,
    /// The period that the plan covers.
    #[serde(default, skip_serializing_if = "is_default")]
    pub period: Period,
    /// When it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<FhirTime>,
    /// References of the conditions addressed, as sent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
    /// Activities, in the order sent. US Core plans often have none (`standards.md` E.1).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub activities: Vec<Activity>,
}

/// Facts of one resource of a synced type. Stored without a tag: the row says which type it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Facts {
    /// Of a Patient.
    Patient(Box<PatientFacts>),
    /// Of an Appointment.
    Appointment(Box<AppointmentFacts>),
    /// Of a CarePlan.
    CarePlan(Box<CarePlanFacts>),
    /// Of an Encounter.
    Encounter(Box<EncounterFacts>),
    /// Of a Condition.
    Condition(Box<ConditionFacts>),
    /// Of a Coverage.
    Coverage(Box<CoverageFacts>),
    /// Of a Consent.
    Consent(Box<ConsentFacts>),
    /// Of a Goal.
    Goal(Box<GoalFacts>),
    /// Of a CareTeam.
    CareTeam(Box<CareTeamFacts>),
    /// Of a RiskAssessment.
    RiskAssessment(Box<RiskAssessmentFacts>),
    /// Of an Observation.
    Observation(Box<ObservationFacts>),
    /// Of a Procedure.
    Procedure(Box<ProcedureFacts>),
    /// Of an Immunization.
    Immunization(Box<ImmunizationFacts>),
    /// Of a MedicationRequest.
    MedicationRequest(Box<MedicationRequestFacts>),
    /// Of a QuestionnaireResponse.
    QuestionnaireResponse(Box<QuestionnaireResponseFacts>),
    /// Of a Practitioner.
    Practitioner(Box<DirectoryFacts>),
    /// Of a PractitionerRole.
    PractitionerRole(Box<DirectoryFacts>),
    /// Of a Location.
    Location(Box<DirectoryFacts>),
    /// Of an Organization.
    Organization(Box<DirectoryFacts>),
}

/// Stored facts that cannot be read: made by a newer version, or damaged.
#[derive(Debug, thiserror::Error)]
#[error("stored facts of a {0} cannot be read; run `fhir-engage migrate` with the version that wrote them, or import again")]
pub struct UnreadableFacts(pub ResourceType);

/// Says the same of each variant.
macro_rules! each {
    ($facts:expr, $f:ident => $does:expr) => {
        match $facts {
            Facts::Patient($f) => $does,
            Facts::Appointment($f) => $does,
            Facts::CarePlan($f) => $does,
            Facts::Encounter($f) => $does,
            Facts::Condition($f) => $does,
            Facts::Coverage($f) => $does,
            Facts::Consent($f) => $does,
            Facts::Goal($f) => $does,
            Facts::CareTeam($f) => $does,
            Facts::RiskAssessment($f) => $does,
            Facts::Observation($f) => $does,
            Facts::Procedure($f) => $does,
            Facts::Immunization($f) => $does,
            Facts::MedicationRequest($f) => $does,
            Facts::QuestionnaireResponse($f) => $does,
            Facts::Practitioner($f) | Facts::PractitionerRole($f) | Facts::Location($f) | Facts::Organization($f) => $does,
        }
    };
}

impl Facts {
    /// The type that these are facts of.
    #[must_use]
    pub const fn resource_type(&self) -> ResourceType {
        match self {
            Self::Patient(_) => ResourceType::Patient,
            Self::Appointment(_) => ResourceType::Appointment,
            Self::CarePlan(_) => ResourceType::CarePlan,
            Self::Encounter(_) => ResourceType::Encounter,
            Self::Condition(_) => ResourceType::Condition,
            Self::Coverage(_) => ResourceType::Coverage,
            Self::Consent(_) => ResourceType::Consent,
            Self::Goal(_) => ResourceType::Goal,
            Self::CareTeam(_) => ResourceType::CareTeam,
            Self::RiskAssessment(_) => ResourceType::RiskAssessment,
            Self::Observation(_) => ResourceType::Observation,
            Self::Procedure(_) => ResourceType::Procedure,
            Self::Immunization(_) => ResourceType::Immunization,
            Self::MedicationRequest(_) => ResourceType::MedicationRequest,
            Self::QuestionnaireResponse(_) => ResourceType::QuestionnaireResponse,
            Self::Practitioner(_) => ResourceType::Practitioner,
            Self::PractitionerRole(_) => ResourceType::PractitionerRole,
            Self::Location(_) => ResourceType::Location,
            Self::Organization(_) => ResourceType::Organization,
        }
    }

    /// The logical ids of the patients concerned, the resource's own `id` for a Patient.
    #[must_use]
    pub fn patients<'a>(&'a self, id: &'a str) -> Vec<&'a str> {
        let one = |patient: &'a Option<String>| patient.as_deref().into_iter().collect();
        match self {
            Self::Patient(_) => vec![id],
            Self::Appointment(a) => a.patients.iter().map(String::as_str).collect(),
            Self::CarePlan(f) => one(&f.patient),
            Self::Encounter(f) => one(&f.patient),
            Self::Condition(f) => one(&f.patient),
            Self::Coverage(f) => one(&f.patient),
            Self::Consent(f) => one(&f.patient),
            Self::Goal(f) => one(&f.patient),
            Self::CareTeam(f) => one(&f.patient),
            Self::RiskAssessment(f) => one(&f.patient),
            Self::Observation(f) => one(&f.patient),
            Self::Procedure(f) => one(&f.patient),
            Self::Immunization(f) => one(&f.patient),
            Self::MedicationRequest(f) => one(&f.patient),
            Self::QuestionnaireResponse(f) => one(&f.patient),
            Self::Practitioner(_) | Self::PractitionerRole(_) | Self::Location(_) | Self::Organization(_) => Vec::new(),
        }
    }

    /// The bytes to store.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        // Serialising these structs cannot fail: string keys only, no maps, no fallible Serialize.
        each!(self, f => serde_json::to_vec(f)).unwrap_or_default()
    }

    /// Reads stored bytes.
    ///
    /// # Errors
    /// [`UnreadableFacts`], without the bytes.
    pub fn from_bytes(kind: ResourceType, bytes: &[u8]) -> Result<Self, UnreadableFacts> {
        fn read<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> serde_json::Result<Box<T>> {
            serde_json::from_slice(bytes).map(Box::new)
        }
        match kind {
            ResourceType::Patient => read(bytes).map(Self::Patient),
            ResourceType::Appointment => read(bytes).map(Self::Appointment),
            ResourceType::CarePlan => read(bytes).map(Self::CarePlan),
            ResourceType::Encounter => read(bytes).map(Self::Encounter),
            ResourceType::Condition => read(bytes).map(Self::Condition),
            ResourceType::Coverage => read(bytes).map(Self::Coverage),
            ResourceType::Consent => read(bytes).map(Self::Consent),
            ResourceType::Goal => read(bytes).map(Self::Goal),
            ResourceType::CareTeam => read(bytes).map(Self::CareTeam),
            ResourceType::RiskAssessment => read(bytes).map(Self::RiskAssessment),
            ResourceType::Observation => read(bytes).map(Self::Observation),
            ResourceType::Procedure => read(bytes).map(Self::Procedure),
            ResourceType::Immunization => read(bytes).map(Self::Immunization),
            ResourceType::MedicationRequest => read(bytes).map(Self::MedicationRequest),
            ResourceType::QuestionnaireResponse => read(bytes).map(Self::QuestionnaireResponse),
            ResourceType::Practitioner => read(bytes).map(Self::Practitioner),
            ResourceType::PractitionerRole => read(bytes).map(Self::PractitionerRole),
            ResourceType::Location => read(bytes).map(Self::Location),
            ResourceType::Organization => read(bytes).map(Self::Organization),
        }
        .map_err(|_| UnreadableFacts(kind))
    }
}

pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
