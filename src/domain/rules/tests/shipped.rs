//! Each shipped segment with persons who are in, out and unknown.

use super::people::{NOW, With, activity, anyone, at, coding, condition, encounter, immunization, person, plan, procedure, site};
use crate::model::facts::{Address, Coding, SpokenLanguage};
use crate::model::person::{Fate, Message};
use crate::model::supporting::{ConditionFacts, CoverageFacts, EncounterFacts, Prediction, RiskAssessmentFacts};
use crate::model::{CarePlanFacts, Facts, FhirTime, PatientFacts, PersonFacts, Phi, ResourceType};
use crate::rules::{Membership, OwnAttributes, RuleSet, STAGES, Truth, ValueSet, ValueSets, shipped};

fn rules() -> RuleSet {
    let sets = ValueSets::of(shipped::value_sets().expect("shipped value sets are read")).expect("and differ");
    RuleSet::compile_with(&shipped::definitions().expect("shipped files are read"), &sets, &OwnAttributes::default()).expect("and compile")
}

#[track_caller]
fn check(segment: &str, cases: &[(Truth, Membership, PersonFacts)]) {
    for truth in Truth::ALL {
        assert!(cases.iter().any(|c| c.0 == truth), "{segment} has no case that is {truth}");
    }
    check_by(&rules(), segment, cases);
}

#[track_caller]
fn check_by(rules: &RuleSet, segment: &str, cases: &[(Truth, Membership, PersonFacts)]) {
    let place = rules.place(segment).unwrap();
    for (number, (truth, membership, person)) in cases.iter().enumerate() {
        let answer = rules.evaluate(person, &site(), at(NOW)).remove(place);
        let reasons = rules.reasons(&answer, person, &site(), at(NOW));
        assert_eq!((answer.truth, answer.membership), (*truth, *membership), "{segment}, case {number}: {reasons:?}");
        assert!(!reasons.is_empty(), "{segment}, case {number}");
        assert!(answer.valid_until.is_none_or(|until| until > at(NOW)), "{segment}, case {number}");
    }
}

const IN: (Truth, Membership) = (Truth::True, Membership::In);
const OUT: (Truth, Membership) = (Truth::False, Membership::Out);
const UNKNOWN: (Truth, Membership) = (Truth::Unknown, Membership::Out);

fn case((truth, membership): (Truth, Membership), person: PersonFacts) -> (Truth, Membership, PersonFacts) {
    (truth, membership, person)
}

fn dead() -> PersonFacts {
    person(PatientFacts { deceased: true, ..PatientFacts::default() })
}

fn speaks(tags: &[(&str, bool)]) -> PersonFacts {
    let languages = tags.iter().map(|(tag, preferred)| SpokenLanguage { tag: (*tag).into(), preferred: *preferred }).collect();
    person(PatientFacts { languages, ..PatientFacts::default() })
}

#[test]
fn each_has_a_stage_and_cases_for_in_out_and_unknown() {
    let definitions = shipped::definitions().unwrap();
    assert!(definitions.len() >= 20);
    for definition in &definitions {
        assert!(STAGES.contains(&definition.stage.as_str()));
        let cases = format!("\n        \"{}\",\n", definition.id);
        assert!(include_str!("shipped.rs").contains(&cases), "{} has no cases here", definition.id);
    }
    for definition in &definitions {
        let text = definition.canonical_text();
        let again = crate::rules::Definition::parse(&text).unwrap();
        assert_eq!(
            (again.canonical_text(), again.rule, again.description),
            (text, definition.rule.clone(), definition.description.clone())
        );
    }
    let order: Vec<_> = definitions.iter().map(|d| STAGES.iter().position(|s| *s == d.stage)).collect();
    assert!(order.iter().max() > order.iter().min());
}

#[test]
fn new_patient() {
    check(
        "new-patient",
        &[
            case(IN, anyone().visit("booked", "2026-12-01T15:00:00Z", "2026-12-01T15:30:00Z")),
            case(IN, anyone().visit("noshow", "2026-11-01T15:00:00Z", "").visit("pending", "2026-12-01T15:00:00Z", "")),
            case(OUT, anyone()),
            case(OUT, dead().visit("booked", "2026-12-01T15:00:00Z", "")),
            case(OUT, anyone().visit("proposed", "", "")),
            case(OUT, anyone().visit("fulfilled", "2026-01-01T15:00:00Z", "").visit("booked", "2026-12-01T15:00:00Z", "")),
            // A booked visit that began is no longer to come, and an entered-in-error one never was.
            case(OUT, anyone().visit("booked", "2026-11-23T15:00:00Z", "").visit("entered-in-error", "2026-12-01T15:00:00Z", "")),
            case(UNKNOWN, anyone().without(ResourceType::Appointment)),
        ],
    );
}

#[test]
fn other_language() {
    check(
        "other-language",
        &[
            case(IN, speaks(&[("es-mx", true)])),
            case(IN, speaks(&[("es", true), ("en", false)])),
            case(IN, speaks(&[("fr", false)])),
            case(OUT, speaks(&[("en-gb", true)])),
            case(OUT, speaks(&[("en", false), ("en-us", false)])),
            case(UNKNOWN, anyone()),
            case(UNKNOWN, speaks(&[("en", false), ("es", false)])),
            case(UNKNOWN, speaks(&[("und", true)])),
            case(UNKNOWN, speaks(&[("es", true)]).without(ResourceType::Patient)),
        ],
    );
}

#[test]
fn missed_visit() {
    let missed = || anyone().visit("noshow", "2026-11-20T15:00:00Z", "2026-11-20T15:30:00Z");
    check(
        "missed-visit",
        &[
            case(IN, missed()),
            case(IN, missed().visit("fulfilled", "2026-11-01T15:00:00Z", "")),
            case(IN, missed().visit("cancelled", "2026-12-01T15:00:00Z", "").visit("waitlist", "", "")),
            case(OUT, missed().visit("booked", "2026-12-01T15:00:00Z", "")),
            case(OUT, missed().visit("fulfilled", "2026-11-21T15:00:00Z", "")),
            case(OUT, anyone().visit("noshow", "2025-11-22T15:00:00Z", "")),
            case(OUT, anyone().visit("booked", "2026-11-20T15:00:00Z", "")),
            case(UNKNOWN, anyone().visit("noshow", "", "")),
            case(UNKNOWN, anyone().without(ResourceType::Appointment)),
        ],
    );
}

#[test]
fn visit_unconfirmed() {
    let held = (Truth::Unknown, Membership::Held);
    let soon = |status: &str| anyone().visit(status, "2026-11-25T15:00:00Z", "2026-11-25T15:30:00Z");
    check(
        "visit-unconfirmed",
        &[
            case(IN, soon("booked").accepted("needs-action")),
            case(IN, soon("pending").accepted("tentative")),
            case(IN, anyone().visit("booked", "2026-11-26T15:00:00Z", "").accepted("needs-action")),
            case(OUT, soon("booked").accepted("accepted")),
            case(OUT, soon("checked-in")),
            case(OUT, soon("cancelled").accepted("needs-action")),
            case(OUT, anyone().visit("booked", "2026-11-26T15:00:00.000001Z", "").accepted("needs-action")),
            case(held, soon("booked")),
            case(held, soon("booked").accepted("needs-action").without(ResourceType::Appointment)),
        ],
    );
}

#[test]
fn chronic_care_plan() {
    let status = |status: &str| CarePlanFacts { status: status.into(), ..plan("2026-01-01", "") };
    let intent = |intent: Option<&str>| CarePlanFacts { intent: intent.map(Into::into), ..plan("2026-01-01", "") };
    check(
        "chronic-care-plan",
        &[
            case(IN, anyone().plan(plan("2026-01-01", ""))),
            case(IN, anyone().plan(plan("2026-10-01", "2026-12-29"))),
            case(IN, anyone().plan(plan("2026-11-23", "2026-11-30")).plan(plan("2020", ""))),
            case(OUT, anyone().plan(plan("2026-10-01", "2026-12-28"))),
            case(OUT, anyone().plan(plan("2026-11-24", ""))),
            case(OUT, anyone().plan(plan("2026-01-01", "2026-11-22"))),
            case(OUT, anyone().plan(status("completed")).plan(status("revoked")).plan(status("entered-in-error"))),
            case(OUT, anyone().plan(intent(Some("proposal")))),
            case(OUT, anyone()),
            case(UNKNOWN, anyone().plan(plan("", ""))),
            case(UNKNOWN, anyone().plan(status("unknown"))),
            case(UNKNOWN, anyone().plan(intent(None))),
            case(UNKNOWN, anyone().without(ResourceType::CarePlan)),
        ],
    );
}

#[test]
fn care_plan_activity_due() {
    let with = |activities: Vec<_>| anyone().plan(CarePlanFacts { activities, ..plan("2026-01-01", "") });
    check(
        "care-plan-activity-due",
        &[
            case(IN, with(vec![activity("scheduled", "2026-11-23", "2026-11-30")])),
            case(IN, with(vec![activity("in-progress", "2026-11-01", "2026-11-22")])),
            case(IN, with(vec![activity("not-started", "2026-11", ""), activity("in-progress", "", "")])),
            case(OUT, with(vec![activity("completed", "2026-11-01", "2026-11-22"), activity("scheduled", "2026-11-24", "")])),
            case(OUT, anyone()),
            case(OUT, anyone().plan(CarePlanFacts { status: "completed".into(), ..plan("2026-01-01", "") })),
            case(UNKNOWN, with(vec![activity("in-progress", "", "")])),
            case(UNKNOWN, with(vec![activity("scheduled", "", "2026-11-30")])),
            case(UNKNOWN, with(vec![])),
            case(UNKNOWN, with(vec![activity("scheduled", "2026-11-23", "")]).without(ResourceType::CarePlan)),
        ],
    );
}

#[test]
fn visit_follow_up() {
    check(
        "visit-follow-up",
        &[
            case(IN, anyone().visit("fulfilled", "2026-11-23T14:00:00Z", "2026-11-23T14:30:00Z")),
            case(IN, anyone().visit("fulfilled", "2026-11-16T15:00:00.000001Z", "")),
            case(OUT, anyone().visit("fulfilled", "2026-11-16T14:30:00Z", "2026-11-16T15:00:00Z")),
            // However long ago it ended, a visit that is still booked was not finished.
            case(OUT, anyone().visit("booked", "2026-11-20T15:00:00Z", "2026-11-20T15:30:00Z")),
            case(OUT, anyone()),
            case(UNKNOWN, anyone().visit("fulfilled", "", "")),
            case(UNKNOWN, anyone().without(ResourceType::Appointment)),
        ],
    );
}

#[test]
fn lapsed() {
    let long_ago = || anyone().visit("fulfilled", "2025-11-01T15:00:00Z", "2025-11-01T15:30:00Z");
    check(
        "lapsed",
        &[
            case(IN, long_ago()),
            case(IN, anyone().visit("fulfilled", "2025-11-23T14:30:00Z", "2025-11-23T15:00:00Z")),
            case(IN, long_ago().visit("cancelled", "2026-12-01T15:00:00Z", "").visit("booked", "2026-10-01T15:00:00Z", "")),
            case(OUT, anyone().visit("fulfilled", "2025-11-23T14:30:00Z", "2025-11-23T15:00:00.000001Z")),
            case(OUT, long_ago().visit("booked", "2027-03-01T15:00:00Z", "")),
            case(OUT, long_ago().visit("arrived", "2026-11-23T14:45:00Z", "")),
            case(OUT, anyone()),
            case(UNKNOWN, long_ago().visit("fulfilled", "", "")),
            case(UNKNOWN, long_ago().without(ResourceType::Appointment)),
        ],
    );
}

fn reasoned(mut person: PersonFacts, code: &str) -> PersonFacts {
    let system = "http://terminology.hl7.org/CodeSystem/appointment-cancellation-reason".to_owned();
    person.appointments.last_mut().unwrap().facts.cancel_reasons = vec![Coding { system: Some(system), code: code.into() }];
    person
}

fn sent(mut person: PersonFacts, fates: &[(&str, Fate)]) -> PersonFacts {
    let message = |(day, fate): &(&str, Fate)| Message { sent_at: at(&format!("{day}T15:00:00Z")), channel: "email".into(), fate: *fate };
    person.contact.messages = fates.iter().map(message).collect();
    person
}

fn named(code: &str, day: &str) -> PersonFacts {
    let mut person = anyone();
    person.contact.barriers = vec![(code.into(), at(&format!("{day}T15:00:00Z")))];
    person
}

fn born(date: &str) -> PersonFacts {
    person(PatientFacts { birth_date: FhirTime::parse(date), ..PatientFacts::default() })
}

#[test]
fn needs_interpreter() {
    let told = |needed| person(PatientFacts { interpreter_needed: needed, ..PatientFacts::default() });
    check(
        "needs-interpreter",
        &[
            case(IN, told(Some(true))),
            case(IN, named("language", "2026-01-10")),
            case(OUT, told(Some(false))),
            case(UNKNOWN, told(None)),
            // What was said more than 12 months ago says nothing any more.
            case(UNKNOWN, named("language", "2025-11-20")),
        ],
    );
}

#[test]
fn needs_transport() {
    let missed = |day: &str| anyone().visit("noshow", &format!("{day}T15:00:00Z"), "");
    check(
        "needs-transport",
        &[
            case(IN, reasoned(missed("2026-11-01"), "pat-lt")),
            case(IN, reasoned(anyone().visit("cancelled", "2026-12-20T15:00:00Z", ""), "pat-lt")),
            case(IN, named("transport", "2026-11-01")),
            case(IN, named("transport", "2026-11-01").without(ResourceType::Appointment)),
            case(OUT, anyone()),
            case(OUT, reasoned(missed("2026-11-01"), "pat-fb")),
            case(OUT, reasoned(missed("2025-11-01"), "pat-lt")),
            case(OUT, named("cost", "2026-11-01")),
            case(UNKNOWN, anyone().without(ResourceType::Appointment)),
        ],
    );
}

#[test]
fn often_missed() {
    let missed = |person: PersonFacts, day: &str| person.visit("noshow", &format!("{day}T15:00:00Z"), "");
    check(
        "often-missed",
        &[
            case(IN, missed(missed(anyone(), "2026-03-01"), "2026-11-01")),
            case(OUT, missed(missed(anyone(), "2025-11-01"), "2026-11-01")),
            case(UNKNOWN, missed(anyone(), "2026-11-01").visit("noshow", "", "")),
            case(UNKNOWN, anyone().without(ResourceType::Appointment)),
        ],
    );
}

#[test]
fn cancelled_by_provider() {
    let cancelled = |day: &str, code: &str| reasoned(anyone().visit("cancelled", &format!("{day}T15:00:00Z"), ""), code);
    check(
        "cancelled-by-provider",
        &[
            case(IN, cancelled("2026-11-01", "prov-pers")),
            case(IN, cancelled("2026-12-24", "prov")),
            case(OUT, cancelled("2026-11-01", "pat")),
            case(OUT, cancelled("2026-08-01", "prov-pers")),
            case(OUT, cancelled("2026-11-01", "prov-pers").visit("booked", "2026-12-01T15:00:00Z", "")),
            case(UNKNOWN, anyone().visit("cancelled", "", "")),
        ],
    );
}

#[test]
fn to_schedule() {
    check(
        "to-schedule",
        &[
            case(IN, anyone().visit("proposed", "", "")),
            case(OUT, anyone()),
            case(OUT, anyone().visit("proposed", "", "").visit("booked", "2027-03-01T15:00:00Z", "")),
            case(UNKNOWN, anyone().without(ResourceType::Appointment)),
        ],
    );
}

#[test]
fn visit_soon() {
    check(
        "visit-soon",
        &[
            case(IN, anyone().visit("booked", "2026-11-30T15:00:00Z", "")),
            case(OUT, anyone().visit("booked", "2026-11-30T15:00:00.000001Z", "")),
            case(UNKNOWN, anyone().without(ResourceType::Appointment)),
        ],
    );
}

#[test]
fn first_month() {
    check(
        "first-month",
        &[
            case(IN, anyone().visit("fulfilled", "2026-11-01T15:00:00Z", "")),
            case(OUT, anyone().visit("fulfilled", "2026-11-01T15:00:00Z", "").visit("fulfilled", "2026-10-01T15:00:00Z", "")),
            case(UNKNOWN, anyone().visit("fulfilled", "", "")),
        ],
    );
}

#[test]
fn care_plan_ending() {
    check(
        "care-plan-ending",
        &[
            case(IN, anyone().plan(plan("2026-01-01", "2026-12-10"))),
            case(OUT, anyone().plan(plan("2026-01-01", "2027-03-01"))),
            case(OUT, anyone().plan(plan("2026-01-01", "2026-12-10")).plan(plan("2026-01-01", ""))),
            case(UNKNOWN, anyone().without(ResourceType::CarePlan)),
        ],
    );
}

#[test]
fn age_65_and_over() {
    check(
        "age-65-and-over",
        &[
            case(IN, born("1961-11-23")),
            case(OUT, born("1961-11-24")),
            case(IN, born("1960")),
            case(UNKNOWN, born("1961")),
            case(UNKNOWN, born("1890-01-01")),
            case(UNKNOWN, anyone()),
        ],
    );
}

#[test]
fn minor() {
    check(
        "minor",
        &[
            case(IN, born("2008-11-24")),
            case(OUT, born("2008-11-23")),
            case((Truth::Unknown, Membership::Held), born("2008-11")),
            case((Truth::Unknown, Membership::Held), born("2027-01-01")),
        ],
    );
}

#[test]
fn no_contact() {
    let address = |usage: &str, code: Option<&str>| Address {
        usage: Some(usage.into()),
        postal_code: code.map(|c| Phi::new(c.into())),
        ..Address::default()
    };
    let lives = |address: Address| person(PatientFacts { addresses: vec![address], ..PatientFacts::default() });
    check(
        "no-contact",
        &[
            case(IN, anyone()),
            case(IN, lives(address("home", None))),
            case(IN, lives(address("billing", Some("10001")))),
            case(OUT, lives(address("home", Some("10001")))),
            case(UNKNOWN, anyone().without(ResourceType::Patient)),
        ],
    );
}

#[test]
fn does_not_answer() {
    let three = [("2026-10-01", Fate::Delivered), ("2026-11-01", Fate::Open), ("2026-11-20", Fate::Failed)];
    let mut out = sent(anyone(), &three);
    out.contact.opted_out = true;
    check(
        "does-not-answer",
        &[
            case(IN, sent(anyone(), &three)),
            case(OUT, sent(anyone(), &[three[0], three[1], ("2026-11-20", Fate::Answered)])),
            case(OUT, sent(anyone(), &[three[0], three[1], ("2026-08-20", Fate::Open)])),
            case(OUT, out),
            case(UNKNOWN, sent(anyone().without(ResourceType::Patient), &three)),
        ],
    );
}

#[test]
fn answers_messages() {
    let half = [("2026-10-01", Fate::Answered), ("2026-11-01", Fate::Delivered), ("2026-11-02", Fate::Failed)];
    check(
        "answers-messages",
        &[
            case(IN, sent(anyone(), &half)),
            case(OUT, sent(anyone(), &[half[0], half[1], ("2026-11-02", Fate::Open)])),
            case(OUT, sent(anyone(), &[("2025-10-01", Fate::Answered)])),
            case(OUT, anyone()),
            case(UNKNOWN, sent(anyone().without(ResourceType::Patient), &half)),
        ],
    );
}

#[test]
fn opted_out() {
    let mut out = anyone();
    out.contact.opted_out = true;
    check(
        "opted-out",
        // The ledger is known, and the record is not.
        &[case(IN, out.clone()), case(OUT, anyone()), case(UNKNOWN, out.without(ResourceType::Patient))],
    );
}

fn ill(facts: ConditionFacts) -> PersonFacts {
    anyone().has(Facts::Condition(Box::new(facts)))
}

#[test]
fn new_chronic_diagnosis() {
    let refuted = ConditionFacts { verification: Some("refuted".into()), ..condition("E11.9", "2026-11-01") };
    let provisional = ConditionFacts { verification: Some("provisional".into()), ..condition("E11.9", "2026-11-01") };
    let recorded = ConditionFacts { recorded: FhirTime::parse("2026-11-20T10:00:00Z"), ..condition("I10", "") };
    check(
        "new-chronic-diagnosis",
        &[
            case(IN, ill(condition("E11.9", "2026-11-01"))),
            case(IN, ill(recorded)),
            // Both are told, and one suffices.
            case(IN, ill(condition("J45.40", "2026-11-10")).has(Facts::Condition(Box::new(condition("", ""))))),
            case(OUT, ill(condition("E11.9", "2026-10-01"))),
            case(OUT, ill(condition("J06.9", "2026-11-10"))),
            case(OUT, ill(refuted)),
            case(OUT, anyone()),
            case(UNKNOWN, ill(provisional)),
            case(UNKNOWN, ill(condition("E11.9", ""))),
            case(UNKNOWN, ill(condition("E11.9", "2026-10"))),
            // Diabetes as SNOMED CT has it, whose codes the shipped set has not.
            case(UNKNOWN, ill(condition("sct|44054006", "2026-11-01"))),
            case(UNKNOWN, anyone().without(ResourceType::Condition)),
        ],
    );
}

#[test]
fn diabetes() {
    let status = |status: Option<&str>| ConditionFacts { clinical_status: status.map(Into::into), ..condition("E10.65", "2020") };
    check(
        "diabetes",
        &[
            case(IN, ill(condition("E11.3513", "2001"))),
            case(IN, ill(status(Some("relapse")))),
            case(OUT, ill(status(Some("resolved")))),
            case(OUT, ill(ConditionFacts { abated: true, ..status(None) })),
            case(OUT, ill(ConditionFacts { abatement: FhirTime::parse("2026-11-22"), ..status(None) })),
            case(OUT, ill(condition("I10", "2001"))),
            case(UNKNOWN, ill(ConditionFacts { abatement: FhirTime::parse("2026-11-23"), ..status(None) })),
            case(UNKNOWN, ill(status(None))),
            case(UNKNOWN, ill(condition("", "2020"))),
            case(UNKNOWN, anyone().without(ResourceType::Condition)),
        ],
    );
}

#[test]
fn high_risk() {
    let risk = |status: Option<&str>, level: &str, at: &str| {
        let level = vec![coding(&format!("http://terminology.hl7.org/CodeSystem/risk-probability|{level}"))];
        Facts::RiskAssessment(Box::new(RiskAssessmentFacts {
            status: status.map(Into::into),
            at: FhirTime::parse(at),
            predictions: vec![Prediction { level, ..Prediction::default() }],
            ..RiskAssessmentFacts::default()
        }))
    };
    let one = |at: &str, level: &str| anyone().has(risk(Some("final"), level, at));
    check(
        "high-risk",
        &[
            case(IN, one("2026-11-01", "high")),
            case(IN, one("2020-11-01", "low").has(risk(Some("amended"), "certain", "2026-01-01"))),
            case(OUT, one("2026-11-01", "low").has(risk(Some("final"), "high", "2020-01-01"))),
            case(OUT, one("2026-11-01", "moderate").has(risk(Some("preliminary"), "high", "2026-11-02"))),
            case(OUT, anyone()),
            case(UNKNOWN, one("2026-11-01", "high").has(risk(None, "low", "2026-11-02"))),
            case(UNKNOWN, one("", "high")),
            case(UNKNOWN, anyone().without(ResourceType::RiskAssessment)),
        ],
    );
}

fn seen(encounters: Vec<EncounterFacts>) -> PersonFacts {
    encounters.into_iter().fold(anyone(), |person, e| person.has(Facts::Encounter(Box::new(e))))
}

#[test]
fn in_hospital() {
    let unsaid = EncounterFacts { status: None, ..encounter("", "act|IMP", "2026-11-20", "") };
    check(
        "in-hospital",
        &[
            case(IN, seen(vec![encounter("in-progress", "act|IMP", "2026-11-20", "")])),
            case(IN, seen(vec![encounter("onleave", "act|ACUTE", "2026-11-20", ""), unsaid.clone()])),
            case(OUT, seen(vec![encounter("in-progress", "act|AMB", "2026-11-23", "")])),
            case(
                OUT,
                seen(vec![encounter("finished", "act|IMP", "2026-11-20", "2026-11-22"), encounter("planned", "act|IMP", "2026-12-20", "")]),
            ),
            case(UNKNOWN, seen(vec![unsaid])),
            case(UNKNOWN, anyone().without(ResourceType::Encounter)),
        ],
    );
}

#[test]
fn post_discharge() {
    let stay = |end: &str| encounter("finished", "act|IMP", "2026-10-01", end);
    check(
        "post-discharge",
        &[
            case(IN, seen(vec![stay("2026-11-10T10:00:00Z")])),
            case(IN, seen(vec![stay("2026-11-10"), encounter("finished", "act|AMB", "2026-11-20", "2026-11-20")])),
            case(OUT, seen(vec![stay("2026-10-10")])),
            case(OUT, seen(vec![stay("2026-11-10"), encounter("in-progress", "act|IMP", "2026-11-20", "")])),
            case(OUT, seen(vec![encounter("finished", "act|EMER", "2026-11-20", "2026-11-20")])),
            case(OUT, anyone()),
            case(UNKNOWN, seen(vec![stay("")])),
            case(UNKNOWN, seen(vec![encounter("finished", "http://local|ward", "2026-11-20", "2026-11-21")])),
            case(UNKNOWN, anyone().without(ResourceType::Encounter)),
        ],
    );
}

#[test]
fn public_payer() {
    let covered = |status: Option<&str>, kind: &str, end: &str| {
        anyone().has(Facts::Coverage(Box::new(CoverageFacts {
            status: status.map(Into::into),
            kinds: vec![coding(kind)],
            period: super::people::period("2026-01-01", end),
            ..CoverageFacts::default()
        })))
    };
    check(
        "public-payer",
        &[
            case(IN, covered(Some("active"), "act|PUBLICPOL", "")),
            case(IN, covered(Some("active"), "act|SUBSIDMC", "2026-12-31")),
            case(OUT, covered(Some("active"), "act|EHCPOL", "")),
            case(OUT, covered(Some("cancelled"), "act|PUBLICPOL", "")),
            case(OUT, covered(Some("active"), "act|PUBLICPOL", "2026-11-22")),
            case(OUT, anyone()),
            case(UNKNOWN, covered(None, "act|PUBLICPOL", "")),
            case(UNKNOWN, anyone().without(ResourceType::Coverage)),
        ],
    );
}

#[test]
fn influenza_vaccine_due() {
    check(
        "influenza-vaccine-due",
        &[
            case(IN, anyone()),
            case(IN, anyone().has(immunization("cvx|140", "2025-10-01"))),
            case(IN, anyone().has(immunization("cvx|208", "2026-10-01"))),
            case(OUT, anyone().has(immunization("cvx|185", "2026-10-01"))),
            case(UNKNOWN, anyone().has(immunization("cvx|140", "2025"))),
            case(UNKNOWN, anyone().has(immunization("cvx|140", ""))),
            case(UNKNOWN, anyone().has(immunization("http://local|flu", "2026-10-01"))),
            case(UNKNOWN, anyone().without(ResourceType::Immunization)),
        ],
    );
}

/// Its codes may not be shipped: nobody is in it before the site adds them, and then it decides.
#[test]
fn colorectal_screening_due() {
    let cpt = |code: &str| format!("http://www.ama-assn.org/go/cpt|{code}");
    let had = |at: &str| born("1966-11-23").has(procedure(&cpt("45378"), at));
    let codes = "[codes]\n'http://www.ama-assn.org/go/cpt' = ['45378', '45380']\n";
    let of_site = |set: ValueSet| if set.id == "colonoscopy" { ValueSet::parse(&(set.canonical_text() + codes)).unwrap() } else { set };
    let sets = ValueSets::of(shipped::value_sets().unwrap().into_iter().map(of_site)).unwrap();
    let with_codes = RuleSet::compile_with(&shipped::definitions().unwrap(), &sets, &OwnAttributes::default()).unwrap();
    check_by(
        &with_codes,
        "colorectal-screening-due",
        &[
            case(IN, born("1966-11-23")),
            case(IN, had("2016-11-01")),
            case(IN, born("1966-11-23").has(procedure(&cpt("99213"), "2026-11-01"))),
            case(OUT, had("2020-01-01")),
            case(OUT, born("1990-01-01")),
            case(UNKNOWN, had("2016")),
            case(UNKNOWN, born("1966-11-23").without(ResourceType::Procedure)),
        ],
    );
    check_by(
        &rules(),
        "colorectal-screening-due",
        &[case(UNKNOWN, born("1966-11-23")), case(UNKNOWN, had("2020-01-01")), case(UNKNOWN, had("2016")), case(OUT, born("1990-01-01"))],
    );
    let set = rules();
    let told = set.explain(set.place("colorectal-screening-due").unwrap(), &had("2020-01-01"), &site(), at(NOW)).unwrap();
    assert!(told.reasons[3].sentence.expose().contains("value-sets/colonoscopy.toml"), "{}", told.reasons[3].sentence.expose());
}

/// Which real codes each shipped value set holds, and which of the same system it does not.
#[test]
fn value_sets_hold_what_they_say_and_no_more() {
    let sets = ValueSets::of(shipped::value_sets().unwrap()).unwrap();
    for (set, holds, lacks) in [
        ("diabetes", "E10.10 E10.9 E11.00 E11.22 E11.3511 E11.37X1 E11.65 E11.9 E11.A", "E08.9 E09.9 E13.9 O24.410 R73.03 E11.99 E10.A0"),
        (
            "chronic-conditions",
            "I10 I13.2 I25.10 I25.112 I25.810 I50.22 J42 J44.1 J44.81 J45.909 N18.30 N18.6 E11.9",
            "I20.0 J06.9 J45.10 N17.9 R03.0 Z00.00 I95.9",
        ),
        (
            "influenza-vaccine",
            "cvx|15 cvx|88 cvx|140 cvx|158 cvx|185 cvx|197 cvx|205 cvx|320 cvx|333",
            "cvx|08 cvx|20 cvx|125 cvx|127 cvx|160 cvx|208 cvx|213 cvx|321 cvx|323",
        ),
        ("public-payer", "act|PUBLICPOL act|SUBSIDMC act|ENDRENAL", "act|EHCPOL act|AUTOPOL act|WCBPOL act|pay"),
        ("stay", "act|IMP act|SS act|OBSENC act|ACUTE act|NONAC", "act|AMB act|EMER act|HH act|VR act|FLD act|PRENC"),
    ] {
        let of = |text: &str| {
            let coding = coding(text);
            sets.get(set).unwrap().contains(coding.system.as_deref(), &coding.code)
        };
        for code in holds.split(' ') {
            assert_eq!(of(code), Some(true), "{set} {code}");
        }
        for code in lacks.split(' ') {
            assert_eq!(of(code), Some(false), "{set} {code}");
        }
    }
    let high = sets.get("high-risk").unwrap();
    let level = |code| high.contains(Some("http://terminology.hl7.org/CodeSystem/risk-probability"), code);
    assert_eq!(["negligible", "low", "moderate", "high", "certain"].map(level), [false, false, false, true, true].map(Some));
    assert_eq!(
        sets.get("colonoscopy").unwrap().contains(Some("http://www.ama-assn.org/go/cpt"), "45378"),
        None,
        "its codes may not be shipped"
    );
}

/// Each code of a shipped value set is one of its code system, as the published list has them: `icd-10-cm.txt` are all codes that can be billed of
/// the categories that are asked for, in the release of April 2026; `cvx.txt` are CDC's vaccines against influenza, and some others.
#[test]
fn value_sets_hold_codes_that_are_published() {
    const REASONS: &str = "maint meds-inc oth-cms oth-err oth-fin oth-int oth-iv oth-mu oth-oerr oth-room oth-swie oth-weath other pat pat-cpp \
        pat-crs pat-dec pat-fb pat-lt pat-mt pat-mv pat-preg pat-swl pat-ucp prov prov-dch prov-edu prov-hosp prov-labs prov-mri prov-onc prov-pers";
    const ACT: &str = "AMB EMER FLD HH IMP ACUTE NONAC OBSENC PRENC SS VR EHCPOL HSAPOL AUTOPOL COL UNINSMOT PUBLICPOL DENTPRG DISEASEPRG CANPRG ENDRENAL \
        HIVAIDS MANDPOL MENTPRG SAFNET SUBPRG SUBSIDIZ SUBSIDMC SUBSUPP WCBPOL";
    const RISK: &str = "negligible low moderate high certain";
    let listed = |file: &'static str| file.lines().filter_map(|line| line.split_once(' '));
    let icd: Vec<&str> = listed(include_str!("icd-10-cm.txt")).map(|(code, _)| code).collect();
    let seasonal: Vec<&str> =
        listed(include_str!("cvx.txt")).filter(|(_, what)| what.starts_with("seasonal ")).map(|(code, _)| code).collect();
    let mut seen = 0;
    for set in shipped::value_sets().unwrap() {
        assert!(!set.licence.is_empty() && !set.source.is_empty() && !set.version.is_empty(), "{}", set.id);
        assert!(!set.is_empty() || set.licence.contains("may not be shipped"), "{}", set.id);
        let text = set.canonical_text();
        for (system, codes) in text.lines().filter(|l| l.starts_with("\"http")).filter_map(|l| l.split_once(" = ")) {
            for code in codes.split(", ").map(|code| code.trim_matches(['[', ']', '"'])) {
                let published = |list: &str| list.split_whitespace().any(|p| p == code);
                let is_one = match system.trim_matches('"') {
                    "http://terminology.hl7.org/CodeSystem/appointment-cancellation-reason" => published(REASONS),
                    "http://terminology.hl7.org/CodeSystem/v3-ActCode" => published(ACT),
                    "http://terminology.hl7.org/CodeSystem/risk-probability" => published(RISK),
                    "http://hl7.org/fhir/sid/cvx" => seasonal.contains(&code),
                    "http://hl7.org/fhir/sid/icd-10-cm" => icd.contains(&code),
                    other => panic!("{}: {other}", set.id),
                };
                assert!(is_one, "{}: {code}", set.id);
                seen += 1;
            }
        }
    }
    assert!(seen > 300, "{seen}");
    // And they are complete, as their descriptions say.
    let sets = ValueSets::of(shipped::value_sets().unwrap()).unwrap();
    let has = |set: &str, system: &str, code: &str| sets.get(set).unwrap().contains(Some(system), code) == Some(true);
    for code in icd {
        let (presymptomatic, diabetes) = (code.starts_with("E10.A"), code.starts_with("E10") || code.starts_with("E11"));
        assert_eq!(has("chronic-conditions", "http://hl7.org/fhir/sid/icd-10-cm", code), !presymptomatic, "{code}");
        assert_eq!(has("diabetes", "http://hl7.org/fhir/sid/icd-10-cm", code), diabetes && !presymptomatic, "{code}");
    }
    for (code, what) in listed(include_str!("cvx.txt")) {
        assert_eq!(has("influenza-vaccine", "http://hl7.org/fhir/sid/cvx", code), what.starts_with("seasonal "), "{code}");
    }
}

#[test]
fn what_each_reads() {
    let rules = rules();
    let reads = |id: &str| rules.reads(rules.place(id).unwrap()).unwrap();
    assert_eq!(reads("other-language").types, [ResourceType::Patient]);
    assert_eq!(reads("lapsed").types, [ResourceType::Patient, ResourceType::Appointment]);
    assert_eq!(reads("chronic-care-plan").attributes, ["care_plan.long_term", "deceased"]);
    assert_eq!(reads("chronic-care-plan").mask(), 0b101);
    assert!(!reads("lapsed").contact_ledger);
}
