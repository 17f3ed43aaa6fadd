//! What is kept of the supporting types: those that an EHR's operator may ask for beside patients, appointments and care plans. Each holds
//! what an attribute of a rule needs and no more. What was not sent, or cannot be read, is absent: unknown stays unknown.

use serde::{Deserialize, Serialize};

use super::facts::{Coding, Period, PersonName, is_default};
use super::time::FhirTime;

/// Facts of an Encounter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EncounterFacts {
    /// Status code, as sent; absent where not sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// Class code (`AMB`, `IMP`, `EMER`, ... of v3-ActCode), with its system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<Coding>,
    /// Type codes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<Coding>,
    /// The patient: logical id at the same EHR; absent where it is of somebody or something else, or not told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patient: Option<String>,
    /// From when to when.
    #[serde(default, skip_serializing_if = "is_default")]
    pub period: Period,
    /// `hospitalization.dischargeDisposition` codes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub discharge: Vec<Coding>,
    /// References of the appointments that it came of, as sent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub appointments: Vec<String>,
}

/// Facts of a Condition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConditionFacts {
    /// `clinicalStatus` code (`active`, `resolved`, ...); absent where not sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clinical_status: Option<String>,
    /// `verificationStatus` code (`confirmed`, `refuted`, `entered-in-error`, ...).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verification: Option<String>,
    /// Category codes (`problem-list-item`, `encounter-diagnosis`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub categories: Vec<Coding>,
    /// Codes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub codes: Vec<Coding>,
    /// The patient: logical id at the same EHR; absent where it is of somebody or something else, or not told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patient: Option<String>,
    /// Onset: `onsetDateTime`, or the start of `onsetPeriod`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub onset: Option<FhirTime>,
    /// Abatement: `abatementDateTime`, or the end of `abatementPeriod`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abatement: Option<FhirTime>,
    /// Whether an abatement is told that is no date: an age, a text.
    #[serde(default, skip_serializing_if = "is_default")]
    pub abated: bool,
    /// When it was recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recorded: Option<FhirTime>,
}

/// Facts of a Coverage.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoverageFacts {
    /// Status code, as sent; absent where not sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// Type codes: who pays (public, commercial, self-pay; often a code of the Source of Payment Typology).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<Coding>,
    /// The patient: logical id at the same EHR; absent where it is of somebody or something else, or not told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patient: Option<String>,
    /// From when to when.
    #[serde(default, skip_serializing_if = "is_default")]
    pub period: Period,
    /// References of the payors, as sent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub payors: Vec<String>,
    /// `order`: 1 is billed first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<u32>,
}

/// Facts of a Consent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsentFacts {
    /// Status code, as sent; absent where not sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// Scope codes (`patient-privacy`, `treatment`, ...).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<Coding>,
    /// Category codes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub categories: Vec<Coding>,
    /// The patient: logical id at the same EHR; absent where it is of somebody or something else, or not told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patient: Option<String>,
    /// When it was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given: Option<FhirTime>,
    /// `provision.type`: `permit` or `deny`; absent where not told, or where there is no rule beside the scope.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provision: Option<String>,
    /// `provision.period`: when the rule holds.
    #[serde(default, skip_serializing_if = "is_default")]
    pub period: Period,
    /// `provision.action`, `.purpose` and `.code`: what the rule is about.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub about: Vec<Coding>,
    /// Whether the rule has exceptions (`provision.provision`), which are not kept: it then does not say all.
    #[serde(default, skip_serializing_if = "is_default")]
    pub has_exceptions: bool,
}

/// Facts of a Goal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GoalFacts {
    /// `lifecycleStatus`, as sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// `achievementStatus` codes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub achievement: Vec<Coding>,
    /// Category codes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub categories: Vec<Coding>,
    /// Description codes; its text is not kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub codes: Vec<Coding>,
    /// The patient: logical id at the same EHR; absent where it is of somebody or something else, or not told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patient: Option<String>,
    /// `startDate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<FhirTime>,
    /// `target[].dueDate`, in the order sent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub due: Vec<FhirTime>,
    /// References of the conditions addressed, as sent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
}

/// Facts of a CareTeam.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CareTeamFacts {
    /// Status code, as sent; absent where not sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// Category codes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub categories: Vec<Coding>,
    /// The patient: logical id at the same EHR; absent where it is of somebody or something else, or not told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patient: Option<String>,
    /// From when to when.
    #[serde(default, skip_serializing_if = "is_default")]
    pub period: Period,
    /// Its members, in the order sent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<CareTeamMember>,
}

/// Somebody of a care team.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CareTeamMember {
    /// The reference, as sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<String>,
    /// Role codes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<Coding>,
    /// From when to when.
    #[serde(default, skip_serializing_if = "is_default")]
    pub period: Period,
}

/// Facts of a RiskAssessment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RiskAssessmentFacts {
    /// Status code, as sent; absent where not sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// What was assessed: `code`, `method`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub codes: Vec<Coding>,
    /// The patient: logical id at the same EHR; absent where it is of somebody or something else, or not told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patient: Option<String>,
    /// When it was assessed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<FhirTime>,
    /// What it predicts, in the order sent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub predictions: Vec<Prediction>,
}

/// One prediction of a risk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prediction {
    /// What may come.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outcome: Vec<Coding>,
    /// `qualitativeRisk` codes (`low`, `moderate`, `high`, ... of the risk-probability system).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub level: Vec<Coding>,
    /// `probabilityDecimal`, as written; `probabilityRange.high` where only that is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probability: Option<String>,
}

/// Facts of an Observation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservationFacts {
    /// Status code, as sent; absent where not sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// Category codes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub categories: Vec<Coding>,
    /// What was observed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub codes: Vec<Coding>,
    /// The patient: logical id at the same EHR; absent where it is of somebody or something else, or not told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patient: Option<String>,
    /// When it was true: `effectiveDateTime`, `effectiveInstant`, or the end of `effectivePeriod`, else its start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<FhirTime>,
    /// The value, where it is one that a rule can compare.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
    /// Interpretation codes (`H`, `L`, `POS`, ...).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interpretation: Vec<Coding>,
}

/// The value of an observation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Value {
    /// A number with its unit.
    Quantity {
        /// As written: a decimal keeps its precision.
        value: String,
        /// The unit's code, else its name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        unit: Option<String>,
        /// `<`, `<=`, `>=`, `>`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        comparator: Option<String>,
    },
    /// Codes.
    Codes(Vec<Coding>),
    /// Yes or no.
    Flag(bool),
}

/// Facts of a Procedure.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcedureFacts {
    /// Status code, as sent; absent where not sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// Category codes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub categories: Vec<Coding>,
    /// Codes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub codes: Vec<Coding>,
    /// The patient: logical id at the same EHR; absent where it is of somebody or something else, or not told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patient: Option<String>,
    /// When it was done: `performedDateTime`, or `performedPeriod`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub performed: Period,
}

/// Facts of an Immunization.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImmunizationFacts {
    /// Status code, as sent; absent where not sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// Vaccine codes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub codes: Vec<Coding>,
    /// The patient: logical id at the same EHR; absent where it is of somebody or something else, or not told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patient: Option<String>,
    /// When it was given (`occurrenceDateTime`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<FhirTime>,
}

/// Facts of a MedicationRequest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MedicationRequestFacts {
    /// Status code, as sent; absent where not sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// Intent, as sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intent: Option<String>,
    /// Medication codes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub codes: Vec<Coding>,
    /// Reference of the medication, where it is none of its own codes, as sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub medication: Option<String>,
    /// Whether it asks that the medication is *not* taken.
    #[serde(default, skip_serializing_if = "is_default")]
    pub do_not_perform: bool,
    /// The patient: logical id at the same EHR; absent where it is of somebody or something else, or not told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patient: Option<String>,
    /// When it was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authored: Option<FhirTime>,
    /// `dispenseRequest.validityPeriod`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub valid: Period,
    /// `dispenseRequest.numberOfRepeatsAllowed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeats: Option<u32>,
}

/// Facts of a QuestionnaireResponse.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuestionnaireResponseFacts {
    /// Status code, as sent; absent where not sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// The questionnaire: its canonical URL, as sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub questionnaire: Option<String>,
    /// The patient: logical id at the same EHR; absent where it is of somebody or something else, or not told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patient: Option<String>,
    /// When it was answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authored: Option<FhirTime>,
    /// Whether `source`, who answered, is a Patient; absent where not told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by_patient: Option<bool>,
    /// Answers that are codes or true and false, with the question each is to. Texts and numbers are not kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub answers: Vec<Answer>,
}

/// An answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// `linkId` of the question.
    pub question: String,
    /// The code that was chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<Coding>,
    /// Yes or no.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flag: Option<bool>,
}

/// Who or where: facts of a Practitioner, PractitionerRole, Location or Organization, for messages that name them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectoryFacts {
    /// `active`, or of a Location whether `status` is `active`; absent where not told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active: Option<bool>,
    /// The name of a Practitioner.
    #[serde(default, skip_serializing_if = "is_default")]
    pub person: PersonName,
    /// The name of a Location or Organization, or what a role is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Of a role: the reference of the practitioner, as sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub practitioner: Option<String>,
    /// Of a role or Location: the reference of the organization, as sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organization: Option<String>,
    /// Of a role: the references of its locations, as sent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub locations: Vec<String>,
    /// Of a role: specialty codes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub specialties: Vec<Coding>,
}
