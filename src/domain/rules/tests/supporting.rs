//! Attributes of the supporting types: what counts, what may count, and what is not known.

use super::people::{NOW, With, anyone, ask, at, coding, condition, encounter, period, plan, procedure, utc, why};
use crate::model::facts::Coding;
use crate::model::supporting::{
    CareTeamFacts, CareTeamMember, ConditionFacts, ConsentFacts, CoverageFacts, GoalFacts, MedicationRequestFacts, ObservationFacts,
    QuestionnaireResponseFacts,
};
use crate::model::{CarePlanFacts, Facts, FhirTime, PersonFacts};
use crate::rules::Truth::{self, False, True, Unknown};

#[track_caller]
fn all(person: &PersonFacts, cases: &[(&str, Truth)]) {
    for (rule, truth) in cases {
        let answer = ask(rule, person, &utc(), NOW);
        let reasons: Vec<_> = why(rule, person).into_iter().map(|r| r.sentence.expose().clone()).collect();
        assert_eq!(answer.truth, *truth, "{rule}: {reasons:?}");
        assert!(answer.valid_until.is_none_or(|until| until > at(NOW)), "{rule}");
    }
}

fn ill(all: Vec<ConditionFacts>) -> PersonFacts {
    all.into_iter().fold(anyone(), |person, f| person.has(Facts::Condition(Box::new(f))))
}

fn codes(list: &[&str]) -> Vec<Coding> {
    list.iter().map(|c| coding(c)).collect()
}

#[test]
fn conditions_by_kind_and_onset() {
    let past = ConditionFacts { clinical_status: Some("resolved".into()), ..condition("J06.9", "2026-11-20") };
    let person = ill(vec![condition("E11.9", "2020-05"), condition("I10", "2026-11-01"), past]);
    all(
        &person,
        &[
            ("condition.present", True),
            ("condition.present of \"E11.9\"", True),
            ("condition.present of \"http://hl7.org/fhir/sid/icd-10-cm|J06.9\"", False),
            // In another system it may be anything.
            ("condition.present of \"http://snomed.info/sct|44054006\"", Unknown),
            ("condition.codes = \"I10\" and not condition.codes = \"J06.9\"", True),
            ("condition.onset = 2026-11-01", True),
            ("condition.onset of \"E11.9\" = 2020-05", True),
            ("condition.onset of \"E11.9\" > 2020-05-10", Unknown),
            ("condition.onset of \"E11.9\" older than 5 years", True),
            ("condition.onset of \"J06.9\" within last 1 month", False),
            ("exists condition.onset of \"J06.9\"", False),
            ("conditions.begun = 3", True),
            ("conditions.begun in last 1 month = 2", True),
            ("exists conditions.begun of (\"J06.9\", \"Z00\") in last 1 month", True),
            ("conditions.begun of \"E11.9\" in last 1 year = 0", True),
        ],
    );
    let undated = ill(vec![condition("E11.9", ""), condition("I10", "2026-11-01")]);
    all(
        &undated,
        &[
            ("condition.onset within last 1 month", Unknown),
            ("condition.onset of \"I10\" within last 1 month", True),
            ("conditions.begun in last 1 month >= 1", True),
            ("conditions.begun in last 1 month >= 2", Unknown),
            ("conditions.begun = 2", True),
        ],
    );
}

#[test]
fn one_that_may_be_later_leaves_open_which_is_the_latest() {
    let provisional = |onset: &str| ConditionFacts { verification: Some("provisional".into()), ..condition("I10", onset) };
    all(
        &ill(vec![condition("E11.9", "2026-11-10"), provisional("2026-11-20")]),
        &[
            ("condition.onset >= 2026-11-10", True),
            ("condition.onset >= 2026-11-11", Unknown),
            ("condition.onset > 2026-11-20", False),
            ("condition.onset within last 1 month", True),
        ],
    );
    all(&ill(vec![condition("E11.9", "2026-11-10"), provisional("2026-11-01")]), &[("condition.onset = 2026-11-10", True)]);
    all(&ill(vec![provisional("2026-11-01")]), &[("exists condition.onset", Unknown), ("condition.present", Unknown)]);
    // What is dated ahead has not been: until then the one before it is the latest.
    let ahead = ill(vec![condition("E11.9", "2026-11-10"), condition("E11.9", "2026-12-10")]);
    all(&ahead, &[("condition.onset = 2026-11-10", True)]);
    assert_eq!(ask("exists condition.onset", &ahead, &utc(), NOW).valid_until, Some(at("2026-12-10T00:00:00Z")));
}

#[test]
fn encounters_and_discharges() {
    let stay = |end: &str, disposition: &str| {
        let mut facts = encounter("finished", "act|IMP", "2026-11-01", end);
        facts.discharge = codes(&[disposition]);
        Facts::Encounter(Box::new(facts))
    };
    let person = anyone()
        .has(stay("2026-11-05T12:00:00Z", "http://d|home"))
        .has(stay("2026-10-05T12:00:00Z", "http://d|snf"))
        .has(Facts::Encounter(Box::new(encounter("finished", "act|EMER", "2026-11-20", "2026-11-20T20:00:00Z"))))
        .has(Facts::Encounter(Box::new(encounter("in-progress", "act|AMB", "2026-11-23", ""))));
    all(
        &person,
        &[
            ("encounter.current_class = \"AMB\" and encounter.current_class != \"IMP\"", True),
            ("last_encounter.end = 2026-11-20", True),
            ("last_encounter.end of \"act|IMP\" = 2026-11-05", Unknown),
            ("last_encounter.end of \"IMP\" = 2026-11-05", True),
            ("last_encounter.class = \"EMER\"", True),
            ("last_discharge.end within last 30d", True),
            ("last_discharge.disposition = \"home\" and not last_discharge.disposition = \"snf\"", True),
            ("encounters.finished of \"EMER\" in last 12 months = 1 and encounters.finished = 3", True),
        ],
    );
    // Dated to the month only, it may be the last one as well.
    let rough = person.clone().has(stay("2026-11", "http://d|snf"));
    all(&rough, &[("last_discharge.disposition = \"home\"", Unknown), ("last_discharge.end >= 2026-11-05", True)]);
    let alike = person.clone().has(stay("2026-11", "http://d|home"));
    all(&alike, &[("last_discharge.disposition = \"home\"", True), ("last_discharge.end = 2026-11-05", Unknown)]);
    let open = person.has(Facts::Encounter(Box::new(encounter("finished", "act|IMP", "2026-11-21", ""))));
    all(&open, &[("last_discharge.end within last 30d", Unknown), ("exists last_discharge.disposition", Unknown)]);
}

#[test]
fn what_was_done_when() {
    let observation = |at: &str, interpretation: &str| {
        Facts::Observation(Box::new(ObservationFacts {
            status: Some("final".into()),
            codes: codes(&["http://loinc.org|4548-4"]),
            at: FhirTime::parse(at),
            interpretation: codes(&[interpretation]),
            ..ObservationFacts::default()
        }))
    };
    let order = |status: &str, code: &str, forbids: bool| {
        Facts::MedicationRequest(Box::new(MedicationRequestFacts {
            status: Some(status.into()),
            intent: Some("order".into()),
            codes: codes(&[code]),
            do_not_perform: forbids,
            ..MedicationRequestFacts::default()
        }))
    };
    let answered = |by_patient: Option<bool>, at: &str| {
        Facts::QuestionnaireResponse(Box::new(QuestionnaireResponseFacts {
            status: Some("completed".into()),
            questionnaire: Some("http://q/intake|2.0".into()),
            authored: FhirTime::parse(at),
            by_patient,
            ..QuestionnaireResponseFacts::default()
        }))
    };
    let person = anyone()
        .has(procedure("sct|73761001", "2020-03-04"))
        .has(observation("2026-01-01", "i|H"))
        .has(observation("2026-06-01", "i|N"))
        .has(order("active", "http://rx|1", false))
        .has(order("stopped", "http://rx|2", false))
        .has(order("active", "http://rx|3", true))
        .has(answered(Some(true), "2026-11-01"))
        .has(answered(Some(false), "2026-11-20"));
    all(
        &person,
        &[
            ("procedure.last of \"73761001\" older than 5 years", True),
            ("procedures.done of \"73761001\" in last 10 years = 1", True),
            ("exists procedure.last of \"http://snomed.info/sct|1\"", False),
            ("observation.last of \"http://loinc.org|4548-4\" = 2026-06-01", True),
            ("observation.interpretation of \"4548-4\" = \"N\"", True),
            ("observations.made of \"4548-4\" in last 12 months = 2", True),
            ("medication.active of \"http://rx|1\"", True),
            ("medication.active of \"http://rx|2\" or medication.active of \"http://rx|3\"", False),
            ("medication.codes = \"1\" and not medication.codes in (\"2\", \"3\")", True),
            ("questionnaire.last of \"http://q/intake\" = 2026-11-20", True),
            ("questionnaires.completed of \"http://q/other\" = 0", True),
            ("portal.last_activity = 2026-11-01", True),
        ],
    );
    // Who answered is not told: it may have been the person.
    all(&anyone().has(answered(None, "2026-11-01")), &[("portal.last_activity within last 12 months", Unknown)]);
}

#[test]
fn who_pays_consents_and_cares() {
    let coverage = |status: Option<&str>, kind: &str| {
        Facts::Coverage(Box::new(CoverageFacts {
            status: status.map(Into::into),
            kinds: codes(&[kind]),
            payors: vec![format!("Organization/{kind}")],
            ..CoverageFacts::default()
        }))
    };
    let consent = |rule: Option<&str>, scope: &str, exceptions: bool| {
        Facts::Consent(Box::new(ConsentFacts {
            status: Some("active".into()),
            scopes: codes(&[scope]),
            provision: rule.map(Into::into),
            has_exceptions: exceptions,
            ..ConsentFacts::default()
        }))
    };
    let member = |reference: &str, role: &str, end: &str| CareTeamMember {
        member: Some(reference.into()),
        roles: codes(&[role]),
        period: period("", end),
    };
    let team = |status: Option<&str>, members: Vec<CareTeamMember>| {
        Facts::CareTeam(Box::new(CareTeamFacts { status: status.map(Into::into), members, ..CareTeamFacts::default() }))
    };
    let person = anyone()
        .has(coverage(Some("active"), "act|PUBLICPOL"))
        .has(coverage(Some("cancelled"), "act|EHCPOL"))
        .has(consent(Some("permit"), "s|research", false))
        .has(consent(Some("deny"), "s|marketing", false))
        .has(consent(Some("permit"), "s|sharing", true))
        .has(team(Some("active"), vec![member("Practitioner/1", "r|a", ""), member("Practitioner/2", "r|b", "2026-11-22")]));
    all(
        &person,
        &[
            ("coverage.active", True),
            ("coverage.payer_type = \"PUBLICPOL\" and not coverage.payer_type = \"EHCPOL\"", True),
            ("coverage.payers = \"Organization/act|PUBLICPOL\"", False),
            ("exists coverage.payers", True),
            ("consent.permits of \"s|research\"", True),
            ("consent.denies of \"s|research\"", False),
            ("consent.denies of \"s|marketing\"", True),
            ("consent.permits of \"s|sharing\"", Unknown),
            ("care_team.members = \"Practitioner/1\"", True),
            ("care_team.members = \"Practitioner/2\"", False),
            ("care_team.roles = \"r|a\" and not care_team.roles = \"r|b\"", True),
        ],
    );
    let open = person.has(team(None, vec![member("Practitioner/3", "r|c", "")]));
    all(&open, &[("care_team.members = \"Practitioner/1\"", True), ("care_team.members = \"Practitioner/3\"", Unknown)]);
    all(&anyone().has(coverage(None, "act|PUBLICPOL")), &[("coverage.active", Unknown), ("exists coverage.payer_type", Unknown)]);
}

#[test]
fn goals_and_their_due_dates() {
    let goal = |status: Option<&str>, achieved: &str, due: &[&str]| {
        Facts::Goal(Box::new(GoalFacts {
            status: status.map(Into::into),
            achievement: codes(&[achieved]),
            due: due.iter().filter_map(|d| FhirTime::parse(d)).collect(),
            ..GoalFacts::default()
        }))
    };
    let person = anyone()
        .has(goal(Some("active"), "g|in-progress", &["2026-11-22", "2026-12-10"]))
        .has(goal(Some("accepted"), "g|achieved", &["2026-11-01"]))
        .has(goal(Some("active"), "g|worsening", &["2026-11-23"]))
        .has(goal(Some("cancelled"), "g|x", &["2026-11-01"]));
    all(
        &person,
        &[
            ("goal.active", True),
            ("goal.overdue = 1", True),
            // The end of a day is the first instant after it.
            ("goal.next_due = 2026-11-24", True),
            ("goal.next_due within 2d", True),
            ("goal.achievement = \"worsening\" and not goal.achievement = \"x\"", True),
        ],
    );
    assert_eq!(ask("goal.overdue = 1", &person, &utc(), NOW).valid_until, Some(at("2026-11-24T00:00:00Z")));
    let open = person.has(goal(None, "g|x", &[]));
    all(&open, &[("goal.overdue >= 1", True), ("goal.overdue = 1", Unknown), ("exists goal.next_due", Unknown)]);
}

#[test]
fn care_plans_name_the_codes_of_their_conditions() {
    let addressing =
        |references: &[&str]| CarePlanFacts { addresses: references.iter().map(|r| (*r).to_owned()).collect(), ..plan("2026-01-01", "") };
    let person = ill(vec![condition("E11.9", "2020"), condition("I10", "2020")]);
    all(
        &person.clone().plan(addressing(&["Condition/r1"])),
        &[("care_plan.conditions = \"E11.9\"", True), ("care_plan.conditions = \"I10\"", False)],
    );
    all(
        &person.clone().plan(addressing(&["https://ehr/r4/Condition/r2", "Condition/gone"])),
        &[("care_plan.conditions = \"I10\"", True), ("care_plan.conditions = \"E11.9\"", Unknown)],
    );
    all(&person.plan(addressing(&[])), &[("exists care_plan.conditions", False)]);
}

#[test]
fn who_cancelled_and_which_visit_is_virtual() {
    let system = "http://terminology.hl7.org/CodeSystem/appointment-cancellation-reason";
    let cancelled = |code: &str| {
        let mut person = anyone().visit("cancelled", "2026-11-20T15:00:00Z", "");
        person.appointments[0].facts.cancel_reasons = codes(&[code]);
        person
    };
    for (code, by) in
        [("pat-lt", "patient"), ("prov-pers", "provider"), ("maint", "provider"), ("oth-room", "provider"), ("oth-weath", "other")]
    {
        all(&cancelled(&format!("{system}|{code}")), &[(&format!("last_cancelled.by = \"{by}\""), True)]);
    }
    all(&cancelled("http://local|9"), &[("last_cancelled.by = \"patient\"", Unknown)]);
    all(&anyone(), &[("exists last_cancelled.by", False)]);
    all(
        &cancelled(&format!("{system}|pat-lt")),
        &[
            (&format!("appointments.cancelled of \"{system}|pat-lt\" in last 30d = 1"), True),
            (&format!("appointments.cancelled of \"{system}|pat-fb\" = 0"), True),
        ],
    );
    let booked = || anyone().visit("booked", "2026-12-24T15:00:00Z", "");
    all(&booked(), &[("next_appointment.virtual", Unknown)]);
    let mut coded = booked();
    coded.appointments[0].facts.kinds = codes(&["act|VR"]);
    all(&coded, &[("next_appointment.virtual", True)]);
    let mut marked = booked();
    marked.appointments[0].facts.is_virtual = true;
    all(&marked, &[("next_appointment.virtual", True)]);
    all(&anyone(), &[("next_appointment.virtual", False)]);
}
