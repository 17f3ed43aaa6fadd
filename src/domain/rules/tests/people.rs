//! People and definitions for tests.

use chrono_tz::Tz;

use crate::Timestamp;
use crate::model::facts::{Activity, Coding, Period};
use crate::model::person::Origin;
use crate::model::supporting::{ConditionFacts, EncounterFacts, ImmunizationFacts, ProcedureFacts};
use crate::model::{AppointmentFacts, CarePlanFacts, EhrId, Facts, FhirTime, PatientFacts, PersonFacts, ResourceType};
use crate::rules::{Answer, Definition, Reason, RuleSet, Site};

/// Ten in the morning in New York.
pub const NOW: &str = "2026-11-23T15:00:00Z";

pub fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap_or_else(|| panic!("{text}"))
}

pub fn site() -> Site {
    Site::new(chrono_tz::America::New_York, "en-US")
}

pub fn utc() -> Site {
    Site::new(Tz::UTC, "en")
}

/// A person with one patient record, everything synced.
pub fn person(patient: PatientFacts) -> PersonFacts {
    let mut person = PersonFacts { synced: ResourceType::ALL.to_vec(), ..PersonFacts::default() };
    person.add(origin(ResourceType::Patient, "p1"), Facts::Patient(Box::new(patient)));
    person
}

pub fn anyone() -> PersonFacts {
    person(PatientFacts::default())
}

pub fn origin(resource_type: ResourceType, id: &str) -> Origin {
    Origin { ehr: EhrId::parse("main").unwrap(), resource_type, id: id.into(), version: Some("1".into()) }
}

pub trait With: Sized {
    /// With one more appointment: status, start and end.
    fn visit(self, status: &str, start: &str, end: &str) -> Self;
    /// With the latest appointment's patient status.
    fn accepted(self, status: &str) -> Self;
    fn plan(self, plan: CarePlanFacts) -> Self;
    /// With one more resource of any type.
    fn has(self, facts: Facts) -> Self;
    fn without(self, resource_type: ResourceType) -> Self;
}

impl With for PersonFacts {
    fn visit(mut self, status: &str, start: &str, end: &str) -> Self {
        let facts = AppointmentFacts {
            status: status.into(),
            start: Timestamp::parse(start),
            end: Timestamp::parse(end),
            ..AppointmentFacts::default()
        };
        let id = format!("a{}", self.appointments.len() + 1);
        self.add(origin(ResourceType::Appointment, &id), Facts::Appointment(Box::new(facts)));
        self
    }

    fn accepted(mut self, status: &str) -> Self {
        self.appointments.last_mut().unwrap().facts.patient_status = Some(status.into());
        self
    }

    fn plan(mut self, plan: CarePlanFacts) -> Self {
        let id = format!("c{}", self.care_plans.len() + 1);
        self.add(origin(ResourceType::CarePlan, &id), Facts::CarePlan(Box::new(plan)));
        self
    }

    fn has(mut self, facts: Facts) -> Self {
        let kind = facts.resource_type();
        let id = format!("r{}", self.count(kind) + 1);
        self.add(origin(kind, &id), facts);
        self
    }

    fn without(mut self, resource_type: ResourceType) -> Self {
        self.synced.retain(|t| *t != resource_type);
        self
    }
}

pub fn period(start: &str, end: &str) -> Period {
    Period { start: FhirTime::parse(start), end: FhirTime::parse(end) }
}

pub fn plan(start: &str, end: &str) -> CarePlanFacts {
    CarePlanFacts { status: "active".into(), intent: Some("plan".into()), period: period(start, end), ..CarePlanFacts::default() }
}

pub fn activity(status: &str, start: &str, end: &str) -> Activity {
    Activity { status: Some(status.into()), scheduled: period(start, end), ..Activity::default() }
}

/// A code of ICD-10-CM, SNOMED CT (`sct|1`), v3-ActCode (`act|IMP`), or of the system that stands before the bar.
pub fn coding(text: &str) -> Coding {
    let (system, code) = text.split_once('|').unwrap_or(("http://hl7.org/fhir/sid/icd-10-cm", text));
    let system = match system {
        "sct" => "http://snomed.info/sct",
        "act" => "http://terminology.hl7.org/CodeSystem/v3-ActCode",
        "cvx" => "http://hl7.org/fhir/sid/cvx",
        other => other,
    };
    Coding { system: Some(system.to_owned()).filter(|s| !s.is_empty()), code: code.to_owned() }
}

pub fn condition(code: &str, onset: &str) -> ConditionFacts {
    let codes = if code.is_empty() { Vec::new() } else { vec![coding(code)] };
    ConditionFacts { clinical_status: Some("active".into()), codes, onset: FhirTime::parse(onset), ..ConditionFacts::default() }
}

pub fn encounter(status: &str, class: &str, start: &str, end: &str) -> EncounterFacts {
    EncounterFacts { status: Some(status.into()), class: Some(coding(class)), period: period(start, end), ..EncounterFacts::default() }
}

pub fn immunization(code: &str, at: &str) -> Facts {
    let facts = ImmunizationFacts {
        status: Some("completed".into()),
        codes: vec![coding(code)],
        at: FhirTime::parse(at),
        ..ImmunizationFacts::default()
    };
    Facts::Immunization(Box::new(facts))
}

pub fn procedure(code: &str, at: &str) -> Facts {
    let facts = ProcedureFacts {
        status: Some("completed".into()),
        codes: vec![coding(code)],
        performed: period(at, ""),
        ..ProcedureFacts::default()
    };
    Facts::Procedure(Box::new(facts))
}

pub fn definition(id: &str, rule: &str) -> Definition {
    Definition::parse(&file(id, rule)).unwrap_or_else(|mistakes| panic!("{rule}: {mistakes:?}"))
}

pub fn file(id: &str, rule: &str) -> String {
    format!("id = '{id}'\ntitle = 't'\nstage = 'intake'\ndescription = 'd'\nrule = '''{rule}'''\n")
}

pub fn compile(rules: &[(&str, &str)]) -> RuleSet {
    let definitions: Vec<_> = rules.iter().map(|(id, rule)| definition(id, rule)).collect();
    RuleSet::compile(&definitions).unwrap_or_else(|mistakes| panic!("{mistakes:?}"))
}

/// The answer for one rule.
pub fn ask(rule: &str, person: &PersonFacts, site: &Site, now: &str) -> Answer {
    compile(&[("x", rule)]).evaluate(person, site, at(now)).remove(0)
}

/// The reasons for one rule.
pub fn why(rule: &str, person: &PersonFacts) -> Vec<Reason> {
    let rules = compile(&[("x", rule)]);
    let answer = rules.evaluate(person, &site(), at(NOW)).remove(0);
    rules.reasons(&answer, person, &site(), at(NOW))
}
