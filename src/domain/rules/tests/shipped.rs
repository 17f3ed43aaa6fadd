//! Each shipped segment with persons who are in, out and unknown.

use super::people::{NOW, With, activity, anyone, at, person, plan, site};
use crate::model::facts::SpokenLanguage;
use crate::model::{CarePlanFacts, PatientFacts, PersonFacts, ResourceType};
use crate::rules::{Membership, RuleSet, STAGES, Truth, shipped};

fn rules() -> RuleSet {
    RuleSet::compile(&shipped::definitions().expect("shipped files are read")).expect("and compile")
}

#[track_caller]
fn check(segment: &str, cases: &[(Truth, Membership, PersonFacts)]) {
    let rules = rules();
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
fn there_are_eight_each_with_a_stage_of_its_own_kind() {
    let definitions = shipped::definitions().unwrap();
    assert_eq!(definitions.len(), 8);
    for definition in &definitions {
        assert!(STAGES.contains(&definition.stage.as_str()));
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
