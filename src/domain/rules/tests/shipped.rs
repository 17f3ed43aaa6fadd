//! Each shipped segment with persons who are in, out and unknown.

use super::people::{NOW, With, activity, anyone, at, person, plan, site};
use crate::model::facts::{Address, Coding, SpokenLanguage};
use crate::model::person::{Fate, Message};
use crate::model::{CarePlanFacts, FhirTime, PatientFacts, PersonFacts, Phi, ResourceType};
use crate::rules::{Membership, OwnAttributes, RuleSet, STAGES, Truth, ValueSets, shipped};

pub(super) fn rules() -> RuleSet {
    let sets = ValueSets::of(shipped::value_sets().expect("shipped value sets are read")).expect("and differ");
    RuleSet::compile_with(&shipped::definitions().expect("shipped files are read"), &sets, &OwnAttributes::default()).expect("and compile")
}

#[track_caller]
pub(super) fn check(segment: &str, cases: &[(Truth, Membership, PersonFacts)]) {
    for truth in Truth::ALL {
        assert!(cases.iter().any(|c| c.0 == truth), "{segment} has no case that is {truth}");
    }
    check_by(&rules(), segment, cases);
}

#[track_caller]
pub(super) fn check_by(rules: &RuleSet, segment: &str, cases: &[(Truth, Membership, PersonFacts)]) {
    let place = rules.place(segment).unwrap();
    for (number, (truth, membership, person)) in cases.iter().enumerate() {
        let answer = rules.evaluate(person, &site(), at(NOW)).remove(place);
        let reasons = rules.reasons(&answer, person, &site(), at(NOW));
        assert_eq!((answer.truth, answer.membership), (*truth, *membership), "{segment}, case {number}: {reasons:?}");
        assert!(!reasons.is_empty(), "{segment}, case {number}");
        assert!(answer.valid_until.is_none_or(|until| until > at(NOW)), "{segment}, case {number}");
    }
}

pub(super) const IN: (Truth, Membership) = (Truth::True, Membership::In);
pub(super) const OUT: (Truth, Membership) = (Truth::False, Membership::Out);
pub(super) const UNKNOWN: (Truth, Membership) = (Truth::Unknown, Membership::Out);

pub(super) fn case((truth, membership): (Truth, Membership), person: PersonFacts) -> (Truth, Membership, PersonFacts) {
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
        let files = [include_str!("shipped.rs"), include_str!("shipped_supporting.rs")];
        assert!(files.iter().any(|file| file.contains(&cases)), "{} has no cases here", definition.id);
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

pub(super) fn born(date: &str) -> PersonFacts {
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
