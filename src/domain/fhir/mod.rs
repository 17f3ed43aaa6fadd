//! A resource's bytes to facts, and a search answer's bytes to resources.
//!
//! Lenient about all that an EHR may send and strict about what decides over people: what cannot be read is left out of the facts,
//! unless it is a field that says who is meant, whether and when; then the resource is a [`Reject`]. A date or time that was sent and cannot be
//! read is left out and named ([`Projected::unread`]). The bytes themselves stay with the caller, who keeps them as received. Knows nothing of where bytes come from or where facts go.
//!
//! Whole values are never built: an object is read into the raw text of the members that are asked for (`raw.rs`), and only those are
//! looked into. No message quotes a value: paths are made of field names and positions.
//!
//! # Field to fact
//!
//! `!` marks a field whose wrong JSON type rejects the resource; elsewhere such an element is left out. `null` and `[]` mean "absent"
//! everywhere, one object stands for a list of one, and the last of duplicate members counts.
//!
//! | field | fact |
//! |---|---|
//! | `resourceType` ! | must be the type asked for |
//! | `id` ! | [`Projected::id`] |
//! | `meta.versionId`, `meta.lastUpdated` | [`Projected::version`] (a number is taken too), [`Projected::last_updated`] |
//! | `meta.security[].code` | [`Projected::security`], `PatientFacts::security` |
//! | **Patient** `active` ! | `active` |
//! | `deceasedBoolean` !, `deceasedDateTime` !, `_deceasedDateTime` | `deceased`: any of them that is not `false`; `deceased_at`: a date that can be read |
//! | `birthDate` ! | `birth_date`; absent where the text is no date that exists |
//! | `gender` | `gender` |
//! | `name[]` | `name`: official, else usual, else the first; never old or maiden; one that has ended only for want of others; `text` where there are no parts |
//! | `communication[].language.coding[]`, `.preferred` | `languages`: BCP 47 coding first, lower case; the preferred first |
//! | `telecom[]` | `telecom`: those with system and value, not `old`; `rank` also as text |
//! | `address[]` with the `timezone` extension | `addresses`, not `old`; a zone that is not known is left out |
//! | `identifier[].system`, `.value`, `.use` | [`Projected::identifiers`]: those with system and value, not `old` or `temp` |
//! | `link[].type` !, `link[].other.reference` ! | `links`, both needed |
//! | `generalPractitioner[].reference` | `general_practitioner` |
//! | extension `us-core-interpreter-needed`, `patient-interpreterRequired` | `interpreter_needed` |
//! | **Appointment** `status` ! (needed) | `status` |
//! | `start` !, `end`, `created` | `start`, `end` (instants), `created` |
//! | `participant[].actor` ! | `patients` (ids), `practitioners`, `locations` (references as sent) |
//! | `participant[].status` ! of the first patient | `patient_status` |
//! | `serviceType`, `serviceCategory`; `appointmentType`; `cancelationReason` | `services`; `kinds`; `cancel_reasons` |
//! | extension of R5's `virtualService` | `is_virtual` |
//! | **CarePlan** `status` ! (needed), `intent` | `status`, `intent` |
//! | `subject.reference` ! | `patient`; absent for a Group |
//! | `category[]`, `period`, `created`, `addresses[].reference` | `categories`, `period`, `created`, `addresses` |
//! | `activity[]` | `activities`; one marked `detail.doNotPerform` is left out: it forbids, so it can never be due |
//! | `activity[].detail.scheduledPeriod`, `.scheduledTiming.repeat.boundsPeriod`, `.scheduledTiming.event[]` | `Activity::scheduled`, the first of them that is told |
//!
//! Of the supporting types a `status` (`lifecycleStatus` of a Goal) that is missing is unknown; of another JSON type it rejects. The patient
//! is `subject`, or what stands in brackets; a reference to another type is no patient.
//!
//! | supporting type | facts |
//! |---|---|
//! | **Encounter** | `status` !, `subject` !, `class` (Coding), `type`, `period`, `hospitalization.dischargeDisposition`, `appointment[]` |
//! | **Condition** | `subject` !, `clinicalStatus`, `verificationStatus`, `category`, `code`; `onsetDateTime` else `onsetPeriod.start`; `abatementDateTime` else `abatementPeriod.end`, and that any other abatement is told; `recordedDate` |
//! | **Coverage** [`beneficiary` !] | `status` !, `type`, `period`, `payor[]`, `order` |
//! | **Consent** [`patient` !] | `status` !, `scope`, `category`, `dateTime`, `provision.type` !, `.period`, `.action`, `.purpose`, `.code`, and whether there are exceptions |
//! | **Goal** | `lifecycleStatus` !, `subject` !, `achievementStatus`, `category`, `description` (codes), `startDate`, `target[].dueDate`, `addresses[]` |
//! | **CareTeam** | `status` !, `subject` !, `category`, `period`, `participant[].member`, `.role`, `.period` |
//! | **RiskAssessment** | `status` !, `subject` !, `code`, `method`, `occurrence[x]`, `prediction[].outcome`, `.qualitativeRisk`, `.probabilityDecimal` else `.probabilityRange.high` |
//! | **Observation** | `status` !, `subject` !, `category`, `code`, `effective[x]`, `interpretation`, `valueQuantity`, `valueInteger`, `valueCodeableConcept`, `valueBoolean`; no text, no components |
//! | **Procedure** | `status` !, `subject` !, `category`, `code`, `performedDateTime`, `performedPeriod` |
//! | **Immunization** [`patient` !] | `status` !, `vaccineCode`, `occurrenceDateTime` |
//! | **MedicationRequest** | `status` !, `subject` !, `intent`, `medication[x]`, `doNotPerform` !, `authoredOn`, `dispenseRequest.validityPeriod`, `.numberOfRepeatsAllowed` |
//! | **QuestionnaireResponse** | `status` !, `subject` !, `questionnaire`, `authored`, `source`, `item[].answer[].valueCoding`, `.valueBoolean` at any depth |
//! | **Practitioner** | `active`, `name[]` as of a Patient |
//! | **PractitionerRole** | `active`, `practitioner`, `organization`, `location[]`, `specialty`, `code.text` |
//! | **Location**, **Organization** | `status` or `active`, `name`, `managingOrganization` |

mod actors;
mod appointment;
mod bundle;
mod care_plan;
mod care_team;
mod condition;
mod consent;
mod coverage;
mod directory;
mod elements;
mod encounter;
mod goal;
mod immunization;
mod medication_request;
mod observation;
mod outcome;
mod own;
mod path;
mod patient;
mod procedure;
mod questionnaire_response;
mod raw;
mod reference;
mod reject;
mod risk_assessment;
mod shown;

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use crate::identity::identifier::Identifier;
use crate::model::{Facts, FhirId, ResourceType, Timestamp};

pub use actors::{Actor, actors};
pub use bundle::{Bundle, Entry, EntryResponse, Link, SearchAnswer, SearchMode, split_bundle};
pub use directory::called;
pub use outcome::{Issue, Outcome, outcome};
pub use own::{OwnType, own};
pub use path::{NotAPath, Path};
pub use reference::{patient_id, reference_id, reference_type};
pub use reject::{Reject, RejectCode};
pub use shown::{caption, record_number};

use elements::{Meta, Times, meta};
use raw::{Raw, document, document_text};

/// Revision of the facts of a type: raised with each change of what is derived of its bodies, so that stored ones are read anew. What that means
/// today is recorded in `tests/revisions.txt`, and a test compares.
#[must_use]
pub const fn revision(kind: ResourceType) -> i64 {
    match kind {
        // 2: virtual visits; who answered.
        ResourceType::Appointment | ResourceType::QuestionnaireResponse => 2,
        _ => 1,
    }
}

/// The largest resource that is looked into, in bytes. FHIR sets none; real patients, appointments and care plans stay below 1 MB.
pub const MAX_RESOURCE_BYTES: usize = 16 * 1024 * 1024;

/// The deepest nesting that is taken. serde_json's own limit for typed readers is 128, so whoever reads a kept body later can.
pub const MAX_DEPTH: usize = 127;

/// What a first look at a resource tells.
#[derive(Clone, PartialEq, Eq)]
pub struct Peek<'a> {
    /// `resourceType`, as sent.
    pub resource_type: Cow<'a, str>,
    /// `id`, where it is a text; not checked.
    pub id: Option<Cow<'a, str>>,
    /// `meta.versionId`, where sent.
    pub version: Option<Cow<'a, str>>,
    /// `meta.lastUpdated`, where it is an instant.
    pub last_updated: Option<Timestamp>,
}

// What was sent in these places is not checked and may be anything, a patient's data too.
impl std::fmt::Debug for Peek<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Peek").field("last_updated", &self.last_updated).finish_non_exhaustive()
    }
}

/// A resource with its facts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Projected {
    /// The logical id.
    pub id: FhirId,
    /// `meta.versionId`, where sent.
    pub version: Option<String>,
    /// `meta.lastUpdated`, where it is an instant.
    pub last_updated: Option<Timestamp>,
    /// `meta.security` codes.
    pub security: Vec<String>,
    /// What rules and outreach look at.
    pub facts: Facts,
    /// Of a Patient, what may tell that another record is the same person's. No part of the facts: no rule reads it.
    pub identifiers: Vec<Identifier>,
    /// Elements with a date or time that cannot be read, by their paths: the facts lack them, and the rest of them holds.
    pub unread: Vec<String>,
}

/// Looks at any resource: which type it is, its id and version. Only the JSON's own form is checked.
///
/// # Errors
/// [`Reject`] where the bytes are no JSON object (trailing bytes included), too large or too deep, or have no `resourceType`.
pub fn peek(bytes: &[u8]) -> Result<Peek<'_>, Reject> {
    let text = checked_text(bytes)?;
    let [resource_type, id, meta_member] = document(text, ["resourceType", "id", "meta"])?;
    let Meta { version, last_updated, .. } = meta(meta_member);
    Ok(Peek {
        resource_type: resource_type.and_then(Raw::text).ok_or(Reject::new(RejectCode::NoResourceType))?,
        id: id.and_then(Raw::text),
        version,
        last_updated,
    })
}

/// Reads the facts of a resource of a synced type.
///
/// # Errors
/// [`Reject`] as [`peek`]'s, and where the type is another, the id is missing or bad, or a field that decides over people cannot be read.
pub fn project(kind: ResourceType, bytes: &[u8]) -> Result<Projected, Reject> {
    let text = checked_text(bytes)?;
    match kind {
        ResourceType::Patient => patient::project(text),
        ResourceType::Appointment => appointment::project(text),
        ResourceType::CarePlan => care_plan::project(text),
        ResourceType::Encounter => encounter::project(text),
        ResourceType::Condition => condition::project(text),
        ResourceType::Coverage => coverage::project(text),
        ResourceType::Consent => consent::project(text),
        ResourceType::Goal => goal::project(text),
        ResourceType::CareTeam => care_team::project(text),
        ResourceType::RiskAssessment => risk_assessment::project(text),
        ResourceType::Observation => observation::project(text),
        ResourceType::Procedure => procedure::project(text),
        ResourceType::Immunization => immunization::project(text),
        ResourceType::MedicationRequest => medication_request::project(text),
        ResourceType::QuestionnaireResponse => questionnaire_response::project(text),
        ResourceType::Practitioner => directory::practitioner(text),
        ResourceType::PractitionerRole => directory::practitioner_role(text),
        ResourceType::Location => directory::location(text),
        ResourceType::Organization => directory::organization(text),
    }
}

fn checked_text(bytes: &[u8]) -> Result<&str, Reject> {
    if bytes.len() > MAX_RESOURCE_BYTES {
        return Err(Reject::new(RejectCode::TooLarge));
    }
    let text = document_text(bytes)?;
    if raw::deeper_than(text, MAX_DEPTH) { Err(Reject::new(RejectCode::TooDeep)) } else { Ok(text) }
}

/// The members that every resource has.
struct Head<'a> {
    id: FhirId,
    meta: Meta<'a>,
}

impl<'a> Head<'a> {
    fn read(kind: ResourceType, resource_type: Option<Raw<'a>>, id: Option<Raw<'a>>, meta_member: Option<Raw<'a>>) -> Result<Self, Reject> {
        let name = resource_type.ok_or(Reject::new(RejectCode::NoResourceType))?.must_text("resourceType", "a text")?;
        if name != kind.as_str() {
            return Err(Reject::wrong_type(kind.as_str()));
        }
        let id = id.ok_or(Reject::new(RejectCode::NoId))?.must_text("id", "a text")?;
        let id = FhirId::parse(&id).ok_or(Reject::new(RejectCode::BadId))?;
        Ok(Self { id, meta: meta(meta_member) })
    }

    fn with(self, facts: Facts, times: Times) -> Projected {
        Projected {
            unread: times.unread(),
            id: self.id,
            version: self.meta.version.map(Cow::into_owned),
            last_updated: self.meta.last_updated,
            security: self.meta.security,
            facts,
            identifiers: Vec::new(),
        }
    }
}
