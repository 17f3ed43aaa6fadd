//! What each attribute reads of the resources, by element, and how far from now it looks: so that it can be told before the first sync which
//! rules an EHR cannot answer that leaves an element out or shows a few weeks only.

use super::super::duration::Duration;
use super::super::syntax::{Predicate, Test};

/// What an attribute reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The attribute's name.
    pub attribute: &'static str,
    /// The elements that decide it, as `Type.element`: without one of them it is never known, or there is never such a thing.
    pub elements: &'static [&'static str],
    /// Where it looks from now.
    pub looks: Looks,
}

/// Where something looks from now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Looks {
    /// At what a record says now.
    Now,
    /// At visits that were.
    Back,
    /// At visits to come.
    Ahead,
    /// At both.
    Both,
}

/// How far a test looks from now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Horizon {
    /// Into the past; `None`: not at all.
    pub back: Option<Reach>,
    /// Into the future; `None`: not at all.
    pub ahead: Option<Reach>,
}

/// How far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// So far.
    For(Duration),
    /// Over the whole record.
    Whole,
}

const fn row(attribute: &'static str, looks: Looks, elements: &'static [&'static str]) -> Reading {
    Reading { attribute, elements, looks }
}

const CARE_PLAN_IN_FORCE: &[&str] = &["CarePlan.status", "CarePlan.intent"];
const ACTIVITIES: &[&str] = &["CarePlan.status", "CarePlan.intent", "CarePlan.activity"];

const ROWS: &[Reading] = &[
    row("age", Looks::Now, &["Patient.birthDate"]),
    row("gender", Looks::Now, &["Patient.gender"]),
    row("language", Looks::Now, &["Patient.communication"]),
    // What these three are without the element is said by R4: in use, alive, not restricted.
    row("active", Looks::Now, &[]),
    row("deceased", Looks::Now, &[]),
    row("confidential", Looks::Now, &[]),
    row("interpreter_needed", Looks::Now, &["Patient.extension"]),
    row("has_phone", Looks::Now, &["Patient.telecom"]),
    row("has_mobile", Looks::Now, &["Patient.telecom"]),
    row("has_email", Looks::Now, &["Patient.telecom"]),
    row("has_postal_address", Looks::Now, &["Patient.address"]),
    row("address.state", Looks::Now, &["Patient.address"]),
    row("address.postal_code", Looks::Now, &["Patient.address"]),
    row("address.country", Looks::Now, &["Patient.address"]),
    row("address.time_zone", Looks::Now, &["Patient.address"]),
    row("general_practitioner", Looks::Now, &["Patient.generalPractitioner"]),
    row("next_appointment.start", Looks::Ahead, &["Appointment.start"]),
    row("next_appointment.status", Looks::Ahead, &["Appointment.start"]),
    row("next_appointment.confirmed", Looks::Ahead, &["Appointment.start", "Appointment.participant.status"]),
    row("next_appointment.service", Looks::Ahead, &["Appointment.start", "Appointment.serviceType"]),
    row("next_appointment.type", Looks::Ahead, &["Appointment.start", "Appointment.appointmentType"]),
    row("next_appointment.location", Looks::Ahead, &["Appointment.start", "Appointment.participant"]),
    row("next_appointment.virtual", Looks::Ahead, &["Appointment.start"]),
    row("last_visit.start", Looks::Back, &["Appointment.start"]),
    row("last_visit.end", Looks::Back, &["Appointment.start"]),
    row("last_visit.service", Looks::Back, &["Appointment.start", "Appointment.serviceType"]),
    row("last_visit.type", Looks::Back, &["Appointment.start", "Appointment.appointmentType"]),
    row("last_visit.location", Looks::Back, &["Appointment.start", "Appointment.participant"]),
    row("last_visit.days_ago", Looks::Back, &["Appointment.start"]),
    row("last_visit.virtual", Looks::Back, &["Appointment.start"]),
    row("last_appointment.start", Looks::Back, &["Appointment.start"]),
    row("last_appointment.status", Looks::Back, &["Appointment.start"]),
    row("last_appointment.confirmed", Looks::Back, &["Appointment.start", "Appointment.participant.status"]),
    row("last_appointment.service", Looks::Back, &["Appointment.start", "Appointment.serviceType"]),
    row("last_appointment.type", Looks::Back, &["Appointment.start", "Appointment.appointmentType"]),
    row("last_appointment.location", Looks::Back, &["Appointment.start", "Appointment.participant"]),
    row("last_appointment.virtual", Looks::Back, &["Appointment.start"]),
    row("first_visit.start", Looks::Back, &["Appointment.start"]),
    row("last_missed.start", Looks::Back, &["Appointment.start"]),
    row("last_missed.visited_since", Looks::Back, &["Appointment.start"]),
    row("last_missed.reason", Looks::Back, &["Appointment.cancelationReason"]),
    row("last_cancelled.start", Looks::Both, &["Appointment.start"]),
    row("last_cancelled.reason", Looks::Back, &["Appointment.cancelationReason"]),
    row("last_cancelled.by", Looks::Back, &["Appointment.cancelationReason"]),
    row("appointments.upcoming", Looks::Ahead, &["Appointment.start"]),
    row("visits.completed", Looks::Back, &[]),
    row("appointments.no_show", Looks::Back, &[]),
    row("appointments.cancelled", Looks::Back, &[]),
    row("appointments.booked", Looks::Back, &["Appointment.start"]),
    row("appointments.unsettled", Looks::Back, &["Appointment.start"]),
    row("care_plan.active", Looks::Now, CARE_PLAN_IN_FORCE),
    row("care_plan.category", Looks::Now, &["CarePlan.status", "CarePlan.intent", "CarePlan.category"]),
    row("care_plan.start", Looks::Now, &["CarePlan.status", "CarePlan.intent", "CarePlan.period"]),
    row("care_plan.end", Looks::Now, &["CarePlan.status", "CarePlan.intent", "CarePlan.period"]),
    row("care_plan.long_term", Looks::Now, &["CarePlan.status", "CarePlan.intent", "CarePlan.period"]),
    row("care_plan.addresses", Looks::Now, &["CarePlan.status", "CarePlan.intent", "CarePlan.addresses"]),
    row("care_plan.activities_done", Looks::Now, ACTIVITIES),
    row("care_plan.activities_due", Looks::Now, ACTIVITIES),
    row("care_plan.activities_overdue", Looks::Now, ACTIVITIES),
    row("care_plan.next_due", Looks::Now, ACTIVITIES),
    row("care_plan.conditions", Looks::Now, &["CarePlan.status", "CarePlan.intent", "CarePlan.addresses", "Condition.code"]),
    row("condition.present", Looks::Now, &["Condition.clinicalStatus"]),
    row("condition.codes", Looks::Now, &["Condition.clinicalStatus", "Condition.code"]),
    row("condition.onset", Looks::Now, &["Condition.clinicalStatus"]),
    row("conditions.begun", Looks::Now, &[]),
    row("encounter.current_class", Looks::Now, &["Encounter.status", "Encounter.class"]),
    row("last_encounter.end", Looks::Now, &["Encounter.status", "Encounter.period"]),
    row("last_encounter.class", Looks::Now, &["Encounter.status", "Encounter.period", "Encounter.class"]),
    row("encounters.finished", Looks::Now, &["Encounter.status"]),
    row("last_discharge.end", Looks::Now, &["Encounter.status", "Encounter.period", "Encounter.class"]),
    row(
        "last_discharge.disposition",
        Looks::Now,
        &["Encounter.status", "Encounter.period", "Encounter.class", "Encounter.hospitalization"],
    ),
    row("procedure.last", Looks::Now, &["Procedure.status", "Procedure.performed"]),
    row("procedures.done", Looks::Now, &["Procedure.status"]),
    row("immunization.last", Looks::Now, &["Immunization.status", "Immunization.occurrence"]),
    row("immunizations.given", Looks::Now, &["Immunization.status"]),
    row("observation.last", Looks::Now, &["Observation.status", "Observation.effective"]),
    row("observation.interpretation", Looks::Now, &["Observation.status", "Observation.effective", "Observation.interpretation"]),
    row("observations.made", Looks::Now, &["Observation.status"]),
    row("medication.active", Looks::Now, &["MedicationRequest.status"]),
    row("medication.codes", Looks::Now, &["MedicationRequest.status", "MedicationRequest.medication"]),
    row("questionnaire.last", Looks::Now, &["QuestionnaireResponse.status", "QuestionnaireResponse.authored"]),
    row("questionnaires.completed", Looks::Now, &["QuestionnaireResponse.status"]),
    row(
        "portal.last_activity",
        Looks::Now,
        &["QuestionnaireResponse.status", "QuestionnaireResponse.authored", "QuestionnaireResponse.source"],
    ),
    row("coverage.active", Looks::Now, &["Coverage.status"]),
    row("coverage.payer_type", Looks::Now, &["Coverage.status", "Coverage.type"]),
    row("coverage.payers", Looks::Now, &["Coverage.status", "Coverage.payor"]),
    row("consent.permits", Looks::Now, &["Consent.status", "Consent.provision"]),
    row("consent.denies", Looks::Now, &["Consent.status", "Consent.provision"]),
    row("risk.level", Looks::Now, &["RiskAssessment.status", "RiskAssessment.occurrence", "RiskAssessment.prediction"]),
    row("risk.assessed", Looks::Now, &["RiskAssessment.status", "RiskAssessment.occurrence"]),
    row("care_team.members", Looks::Now, &["CareTeam.status", "CareTeam.participant"]),
    row("care_team.roles", Looks::Now, &["CareTeam.status", "CareTeam.participant"]),
    row("goal.active", Looks::Now, &["Goal.lifecycleStatus"]),
    row("goal.next_due", Looks::Now, &["Goal.lifecycleStatus", "Goal.target"]),
    row("goal.overdue", Looks::Now, &["Goal.lifecycleStatus", "Goal.target"]),
    row("goal.achievement", Looks::Now, &["Goal.lifecycleStatus", "Goal.achievementStatus"]),
    row("contact.last_sent", Looks::Now, &[]),
    row("contact.last_answer", Looks::Now, &[]),
    row("contact.sent", Looks::Now, &[]),
    row("contact.answered", Looks::Now, &[]),
    row("contact.failed", Looks::Now, &[]),
    row("contact.response_rate", Looks::Now, &[]),
    row("contact.channels", Looks::Now, &[]),
    row("contact.barriers", Looks::Now, &[]),
    row("contact.opted_out", Looks::Now, &[]),
    row("contact.opted_out_channels", Looks::Now, &[]),
    row("journey.stage", Looks::Both, &["Appointment.start"]),
];

/// What an attribute reads; `None` where nobody wrote it down.
#[must_use]
pub fn reading(attribute: &str) -> Option<&'static Reading> {
    ROWS.iter().find(|r| r.attribute == attribute)
}

impl Test {
    /// How far it looks from now.
    #[must_use]
    pub fn horizon(&self) -> Horizon {
        let looks = reading(&self.attribute.text).map_or(Looks::Now, |r| r.looks);
        let back = match (self.period, &self.predicate) {
            (Some(period), _) => Reach::For(period),
            (None, Predicate::WithinLast(length)) => Reach::For(*length),
            // The latest visit is older only where every later one is known not to be.
            _ => Reach::Whole,
        };
        let ahead = match &self.predicate {
            Predicate::Within(length) => Reach::For(*length),
            // The next visit is told as soon as there is one in sight; that there is none takes all the time to come.
            Predicate::Holds | Predicate::Compare(..) | Predicate::OneOf(_) if looks == Looks::Ahead && !self.counts() => {
                return Horizon { back: None, ahead: None };
            }
            _ => Reach::Whole,
        };
        match looks {
            Looks::Now => Horizon { back: None, ahead: None },
            Looks::Back => Horizon { back: Some(back), ahead: None },
            Looks::Ahead => Horizon { back: None, ahead: Some(ahead) },
            Looks::Both => Horizon { back: Some(back), ahead: Some(ahead) },
        }
    }

    fn counts(&self) -> bool {
        self.attribute.text == "appointments.upcoming"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::catalogue::attributes;
    use crate::rules::syntax::Expr;

    #[test]
    fn what_each_attribute_reads_is_written_down_once_and_belongs_to_a_type_that_it_needs() {
        for attribute in attributes() {
            let found: Vec<&Reading> = ROWS.iter().filter(|r| r.attribute == attribute.name).collect();
            assert_eq!(found.len(), 1, "{}: write down in elements.rs what it reads", attribute.name);
            for element in found[0].elements {
                let (kind, _) = element.split_once('.').unwrap();
                assert!(attribute.reads().any(|t| t.as_str() == kind), "{} reads {element} and not {kind}", attribute.name);
            }
        }
        for row in ROWS {
            assert!(attributes().any(|a| a.name == row.attribute), "there is no attribute {}", row.attribute);
        }
    }

    #[test]
    fn a_test_looks_as_far_as_its_answer_takes() {
        let horizon = |rule: &str| match crate::rules::parse(rule).unwrap() {
            Expr::Test(test) => test.horizon(),
            other => panic!("{other:?}"),
        };
        let days = |n| Reach::For(Duration::parse(&format!("{n}d")).unwrap());
        for (rule, back, ahead) in [
            ("age >= 65", None, None),
            ("last_visit.end within last 7d", Some(days(7)), None),
            ("last_visit.end older than 12 months", Some(Reach::Whole), None),
            ("visits.completed in last 30d >= 1", Some(days(30)), None),
            ("visits.completed = 0", Some(Reach::Whole), None),
            ("next_appointment.start within 3d", None, Some(days(3))),
            ("next_appointment.confirmed", None, None),
            ("exists next_appointment.start", None, Some(Reach::Whole)),
            ("appointments.upcoming >= 2", None, Some(Reach::Whole)),
            ("journey.stage = \"follow-up\"", Some(Reach::Whole), Some(Reach::Whole)),
        ] {
            assert_eq!(horizon(rule), Horizon { back, ahead }, "{rule}");
        }
    }
}
