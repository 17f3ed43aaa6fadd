//! A person's facts together: what a rule, the policy gate and a page look at.

use super::facts::{AppointmentFacts, CarePlanFacts, Facts, PatientFacts};
use super::ids::{EhrId, ResourceType};
use super::own::OwnFacts;
use super::supporting::{
    CareTeamFacts, ConditionFacts, ConsentFacts, CoverageFacts, EncounterFacts, GoalFacts, ImmunizationFacts, MedicationRequestFacts,
    ObservationFacts, ProcedureFacts, QuestionnaireResponseFacts, RiskAssessmentFacts,
};
use super::time::Timestamp;

/// Where a fact came from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    /// The EHR.
    pub ehr: EhrId,
    /// The resource's type.
    pub resource_type: ResourceType,
    /// Its logical id there.
    pub id: String,
    /// `meta.versionId`, where sent.
    pub version: Option<String>,
}

impl Origin {
    /// `Appointment/12`.
    #[must_use]
    pub fn reference(&self) -> String {
        format!("{}/{}", self.resource_type, self.id)
    }
}

/// Facts with their origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sourced<F> {
    /// Where from.
    pub origin: Origin,
    /// What.
    pub facts: F,
}

/// All that is known of one person, over all of the person's patient records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PersonFacts {
    /// The patient records; the one that outreach goes by is the first.
    pub patients: Vec<Sourced<PatientFacts>>,
    /// Appointments, in no order.
    pub appointments: Vec<Sourced<AppointmentFacts>>,
    /// Care plans, in no order.
    pub care_plans: Vec<Sourced<CarePlanFacts>>,
    /// What the supporting types tell, as far as this installation asks for them.
    pub supporting: SupportingFacts,
    /// What the operators' own attributes read of each resource of a type that they read.
    pub own: Vec<Sourced<OwnFacts>>,
    /// What the contact ledger tells.
    pub contact: ContactFacts,
    /// The types that are synced at *every* EHR of this person. What is not in here is not known, rather than absent.
    pub synced: Vec<ResourceType>,
}

/// What the supporting types tell of a person, in no order. Empty says nothing by itself: [`PersonFacts::knows`] says whether it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SupportingFacts {
    /// Encounter.
    pub encounters: Vec<Sourced<EncounterFacts>>,
    /// Condition.
    pub conditions: Vec<Sourced<ConditionFacts>>,
    /// Coverage.
    pub coverages: Vec<Sourced<CoverageFacts>>,
    /// Consent.
    pub consents: Vec<Sourced<ConsentFacts>>,
    /// Goal.
    pub goals: Vec<Sourced<GoalFacts>>,
    /// CareTeam.
    pub care_teams: Vec<Sourced<CareTeamFacts>>,
    /// RiskAssessment.
    pub risk_assessments: Vec<Sourced<RiskAssessmentFacts>>,
    /// Observation.
    pub observations: Vec<Sourced<ObservationFacts>>,
    /// Procedure.
    pub procedures: Vec<Sourced<ProcedureFacts>>,
    /// Immunization.
    pub immunizations: Vec<Sourced<ImmunizationFacts>>,
    /// MedicationRequest.
    pub medication_requests: Vec<Sourced<MedicationRequestFacts>>,
    /// QuestionnaireResponse.
    pub questionnaire_responses: Vec<Sourced<QuestionnaireResponseFacts>>,
}

/// What the contact ledger tells of a person.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContactFacts {
    /// When this gateway last sent something, if ever.
    pub last_sent: Option<Timestamp>,
    /// When the person last answered, if ever.
    pub last_answer: Option<Timestamp>,
    /// What was sent, the first message first.
    pub messages: Vec<Message>,
    /// Barriers that the person named, a code each with when.
    pub barriers: Vec<(String, Timestamp)>,
    /// The person does not want to be written to at all.
    pub opted_out: bool,
    /// Channels by which the person does not want to be written to.
    pub opted_out_channels: Vec<String>,
}

/// One message that left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// When.
    pub sent_at: Timestamp,
    /// By which channel.
    pub channel: String,
    /// What is known of its end.
    pub fate: Fate,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The person answered it.
    Answered,
    /// It arrived, by the channel's word.
    Delivered,
    /// It did not arrive.
    Failed,
    /// Not known, or not yet.
    Open,
}

impl PersonFacts {
    /// Adds the facts of one resource.
    pub fn add(&mut self, origin: Origin, facts: Facts) {
        match facts {
            Facts::Patient(f) => self.patients.push(Sourced { origin, facts: *f }),
            Facts::Appointment(f) => self.appointments.push(Sourced { origin, facts: *f }),
            Facts::CarePlan(f) => self.care_plans.push(Sourced { origin, facts: *f }),
            Facts::Encounter(f) => self.supporting.encounters.push(Sourced { origin, facts: *f }),
            Facts::Condition(f) => self.supporting.conditions.push(Sourced { origin, facts: *f }),
            Facts::Coverage(f) => self.supporting.coverages.push(Sourced { origin, facts: *f }),
            Facts::Consent(f) => self.supporting.consents.push(Sourced { origin, facts: *f }),
            Facts::Goal(f) => self.supporting.goals.push(Sourced { origin, facts: *f }),
            Facts::CareTeam(f) => self.supporting.care_teams.push(Sourced { origin, facts: *f }),
            Facts::RiskAssessment(f) => self.supporting.risk_assessments.push(Sourced { origin, facts: *f }),
            Facts::Observation(f) => self.supporting.observations.push(Sourced { origin, facts: *f }),
            Facts::Procedure(f) => self.supporting.procedures.push(Sourced { origin, facts: *f }),
            Facts::Immunization(f) => self.supporting.immunizations.push(Sourced { origin, facts: *f }),
            Facts::MedicationRequest(f) => self.supporting.medication_requests.push(Sourced { origin, facts: *f }),
            Facts::QuestionnaireResponse(f) => self.supporting.questionnaire_responses.push(Sourced { origin, facts: *f }),
            // They are of no person.
            Facts::Practitioner(_) | Facts::PractitionerRole(_) | Facts::Location(_) | Facts::Organization(_) => {}
        }
    }

    /// How many resources of a type there are; none of a type that is of no person.
    #[must_use]
    pub fn count(&self, resource_type: ResourceType) -> usize {
        let s = &self.supporting;
        match resource_type {
            ResourceType::Patient => self.patients.len(),
            ResourceType::Appointment => self.appointments.len(),
            ResourceType::CarePlan => self.care_plans.len(),
            ResourceType::Encounter => s.encounters.len(),
            ResourceType::Condition => s.conditions.len(),
            ResourceType::Coverage => s.coverages.len(),
            ResourceType::Consent => s.consents.len(),
            ResourceType::Goal => s.goals.len(),
            ResourceType::CareTeam => s.care_teams.len(),
            ResourceType::RiskAssessment => s.risk_assessments.len(),
            ResourceType::Observation => s.observations.len(),
            ResourceType::Procedure => s.procedures.len(),
            ResourceType::Immunization => s.immunizations.len(),
            ResourceType::MedicationRequest => s.medication_requests.len(),
            ResourceType::QuestionnaireResponse => s.questionnaire_responses.len(),
            ResourceType::Practitioner | ResourceType::PractitionerRole | ResourceType::Location | ResourceType::Organization => 0,
        }
    }

    /// Whether a type is synced wherever this person has a record.
    #[must_use]
    pub fn knows(&self, resource_type: ResourceType) -> bool {
        self.synced.contains(&resource_type)
    }
}
