//! Attributes that the shipped segments do not use, and what reasons say.

use super::people::{NOW, With, activity, anyone, ask, at, compile, person, plan, site, utc, why};
use crate::model::facts::{Coding, ContactPoint, Period};
use crate::model::{CarePlanFacts, FhirTime, PatientFacts, PersonFacts, Phi, ResourceType};
use crate::rules::{Reads, Truth};

#[track_caller]
fn all(person: &PersonFacts, cases: &[(&str, Truth)]) {
    for (rule, truth) in cases {
        assert_eq!(ask(rule, person, &utc(), NOW).truth, *truth, "{rule}");
    }
}

use Truth::{False, True, Unknown};

#[test]
fn counts_over_a_period_and_over_the_record() {
    let busy = anyone()
        .visit("noshow", "2026-11-22T15:00:00Z", "")
        .visit("noshow", "2025-11-23T15:00:00Z", "")
        .visit("noshow", "2025-11-23T15:00:00.000001Z", "")
        .visit("fulfilled", "2020-01-01T15:00:00Z", "")
        .visit("cancelled", "2026-12-24T15:00:00Z", "")
        .visit("booked", "2026-12-24T15:00:00Z", "")
        .visit("waitlist", "", "");
    all(
        &busy,
        &[
            ("appointments.no_show = 3", True),
            ("appointments.no_show in last 12 months = 2", True),
            ("exists appointments.no_show in last 12h", False),
            ("appointments.no_show in last 24h = 1", False),
            ("appointments.no_show in last 24h = 0 and appointments.no_show in last 25h = 1", True),
            ("appointments.cancelled = 1", True),
            ("appointments.cancelled in last 12 months = 0", True),
            ("appointments.booked in last 12 months in (1, 2)", True),
            ("visits.completed = 1 and visits.completed in last 5 years = 0", True),
            ("appointments.upcoming = 1", True),
            ("first_visit.start = 2020-01 and last_visit.start <= 2020-01-01 and last_visit.start >= 2020-01-01", True),
            ("first_visit.start < 2020-01-01 or first_visit.start > 2020-01-01 or first_visit.start != 2020-01-01", False),
        ],
    );
    let undated = busy.visit("noshow", "", "");
    all(
        &undated,
        &[
            ("appointments.no_show = 4", True),
            ("appointments.no_show in last 12 months >= 2", True),
            ("appointments.no_show in last 12 months >= 3", Unknown),
            ("appointments.no_show in last 12 months >= 4", False),
            ("exists appointments.no_show in last 12h", Unknown),
        ],
    );
}

#[test]
fn the_last_appointment_is_the_last_whatever_became_of_it() {
    let visited =
        anyone().visit("fulfilled", "2026-11-01T15:00:00Z", "").visit("booked", "2026-11-24T15:00:00Z", "").accepted("needs-action");
    for (status, confirmed) in [("noshow", Unknown), ("cancelled", Unknown), ("booked", Unknown), ("fulfilled", True), ("arrived", True)] {
        let who = visited.clone().visit(status, "2026-11-20T15:00:00Z", "");
        let is = format!("last_appointment.status = \"{status}\" and last_appointment.start = 2026-11-20");
        all(&who, &[(is.as_str(), True), ("last_appointment.confirmed", confirmed), ("last_appointment.virtual", Unknown)]);
    }
    let declined = visited.clone().visit("noshow", "2026-11-20T15:00:00Z", "").accepted("declined");
    all(&declined, &[("last_appointment.confirmed", False), ("last_visit.virtual", Unknown), ("exists last_appointment.service", False)]);
    // What was asked for without a time, or entered in error, is none; what was missed at a time that is not told may be the last.
    let others = visited.clone().visit("waitlist", "2026-11-22T15:00:00Z", "").visit("entered-in-error", "2026-11-22T15:00:00Z", "");
    all(&others, &[("last_appointment.status = \"fulfilled\"", True)]);
    all(&visited.visit("noshow", "", ""), &[("exists last_appointment.start", Unknown), ("last_appointment.status = \"noshow\"", Unknown)]);
    all(
        &anyone(),
        &[("exists last_appointment.start", False), ("last_visit.days_ago >= 0", False), ("not last_appointment.virtual", True)],
    );
    all(&anyone().without(ResourceType::Appointment), &[("exists last_appointment.start", Unknown), ("last_visit.days_ago < 9", Unknown)]);
}

#[test]
fn days_since_a_visit_are_midnights_at_the_site() {
    // Half past eleven at night in New York, where the clocks were put back on the first of the month.
    let who = anyone().visit("fulfilled", "2026-11-01T03:30:00Z", "");
    let ask = |rule: &str, now: &str| ask(rule, &who, &site(), now);
    for (now, days) in [("2026-11-01T03:59:59Z", 0), ("2026-11-01T04:00:00Z", 1), ("2026-11-02T04:59:59Z", 1), ("2026-11-02T05:00:00Z", 2)]
    {
        for (rule, truth) in [
            (format!("last_visit.days_ago = {days}"), True),
            (format!("last_visit.days_ago != {days}"), False),
            (format!("last_visit.days_ago > {days}"), False),
            (format!("last_visit.days_ago >= {days} and last_visit.days_ago <= {days}"), True),
            (format!("last_visit.days_ago < {}", days + 1), True),
            (format!("last_visit.days_ago in (77, {days})"), True),
            ("last_visit.days_ago >= 9223372036854775807".to_owned(), False),
        ] {
            assert_eq!(ask(&rule, now).truth, truth, "{rule} at {now}");
        }
    }
    // It is looked at when the number is reached, and not every night before.
    assert_eq!(ask("last_visit.days_ago >= 30", "2026-11-02T12:00:00Z").valid_until, Some(at("2026-11-30T05:00:00Z")));
    assert_eq!(ask("last_visit.days_ago >= 30", "2026-12-02T12:00:00Z").valid_until, None);
    let said = why("last_visit.days_ago >= 5", &anyone().visit("fulfilled", "2026-11-18T15:00:00Z", ""));
    assert!(said[0].sentence.expose().contains("last_visit.days_ago is 5 days"), "{said:?}");
}

#[test]
fn what_is_absent_is_false_and_what_is_unknown_stays_unknown() {
    all(
        &anyone(),
        &[
            ("next_appointment.status = \"booked\"", False),
            ("next_appointment.status != \"booked\"", False),
            ("not next_appointment.status = \"booked\"", True),
            ("exists next_appointment.start", False),
            ("last_visit.end older than 1 year", False),
            ("gender = \"male\" or gender != \"male\"", Unknown),
            ("exists gender", Unknown),
            ("gender = \"male\" or active", True),
            ("gender = \"male\" and deceased", False),
            ("exists contact.last_sent", False),
        ],
    );
}

#[test]
fn the_next_visit_is_the_one_that_the_attributes_speak_of() {
    let who = anyone()
        .visit("booked", "2026-12-24T15:00:00Z", "")
        .visit("pending", "2026-12-01T15:00:00Z", "")
        .visit("booked", "", "")
        .visit("cancelled", "2026-11-24T15:00:00Z", "");
    for (now, next) in [
        (NOW, Some("a2")),
        ("2026-12-01T14:59:59.999999Z", Some("a2")),
        ("2026-12-01T15:00:00Z", Some("a1")),
        ("2027-01-01T00:00:00Z", None),
    ] {
        assert_eq!(crate::rules::next_visit(&who, at(now)).map(|a| a.origin.id.as_str()), next);
        let rules = compile(&[("x", "exists next_appointment.start")]);
        let explained = rules.explain(0, &who, &utc(), at(now)).unwrap();
        assert_eq!(explained.reasons[0].sources.first().and_then(|s| s.id.as_deref()), next);
    }
}

#[test]
fn sets_of_codes() {
    let mut booked = anyone().visit("booked", "2026-12-24T15:00:00Z", "");
    let facts = &mut booked.appointments[0].facts;
    facts.services = vec![Coding { system: Some("http://a".into()), code: "57".into() }, Coding { system: None, code: "x".into() }];
    facts.locations = vec!["Location/12".into()];
    all(
        &booked,
        &[
            ("next_appointment.service = \"57\"", True),
            ("next_appointment.service = \"http://a|57\"", True),
            ("next_appointment.service = \"http://b|57\"", False),
            ("next_appointment.service != \"http://b|57\"", True),
            ("next_appointment.service = \"|x\" and not next_appointment.service = \"|57\"", True),
            ("next_appointment.service in (\"1\", \"x\")", True),
            ("next_appointment.location = \"Location/12\"", True),
            ("exists next_appointment.type", False),
        ],
    );
}

#[test]
fn care_plans_that_leave_it_open() {
    let code = |c: &str| vec![Coding { system: None, code: c.into() }];
    let certain = CarePlanFacts { categories: code("diet"), ..plan("2026-01-01", "2026-12-31") };
    let open = CarePlanFacts { categories: code("sport"), status: "unknown".into(), ..plan("2026-01-01", "2026-12-31") };
    all(
        &anyone().plan(certain.clone()).plan(open.clone()),
        &[
            ("care_plan.active", True),
            ("care_plan.category = \"diet\"", True),
            ("care_plan.category = \"sport\"", Unknown),
            ("care_plan.end within 60d", Unknown),
            ("exists care_plan.category", True),
        ],
    );
    all(&anyone().plan(open), &[("care_plan.active", Unknown), ("exists care_plan.category", Unknown)]);
    // The end of 2026-12-31 is the first instant after it.
    all(
        &anyone().plan(certain),
        &[("care_plan.end = 2027-01-01", True), ("care_plan.category = \"sport\"", False), ("care_plan.start = 2026-01", True)],
    );
}

#[test]
fn the_next_activity_due() {
    let with = |activities| anyone().plan(CarePlanFacts { activities, ..plan("2026-01-01", "") });
    let late = activity("scheduled", "2026-12-01", "2026-12-10");
    all(
        &with(vec![late.clone(), activity("in-progress", "2026-11-01", "2026-11-30"), activity("completed", "2026-11-01", "2026-11-24")]),
        &[("care_plan.next_due = 2026-12-01", True), ("care_plan.activities_due = 1", True), ("care_plan.activities_overdue = 0", True)],
    );
    all(&with(vec![late.clone(), activity("in-progress", "", "")]), &[("exists care_plan.next_due", Unknown)]);
    all(&with(vec![activity("on-hold", "", "2026-12-10"), late]), &[("care_plan.next_due = 2026-12-11", True)]);
    all(&with(vec![activity("completed", "", "2026-12-10")]), &[("exists care_plan.next_due", False)]);
}

#[test]
fn contact_points_that_begin_and_end() {
    let point = |system: &str, usage: &str, period: Period| ContactPoint {
        system: system.into(),
        value: Phi::new("a@b 1".into()),
        usage: Some(usage.into()),
        rank: None,
        period,
    };
    let day = |d| FhirTime::parse(d);
    let ended = Period { start: None, end: day("2026-11-22") };
    let ends = Period { start: None, end: day("2026-11-23") };
    let begins = Period { start: day("2026-11-25"), end: None };
    let who = person(PatientFacts {
        telecom: vec![point("phone", "mobile", ended), point("phone", "home", ends), point("email", "home", begins)],
        ..PatientFacts::default()
    });
    all(&who, &[("has_mobile", False), ("has_phone", True), ("has_email", False)]);
    assert_eq!(ask("has_phone", &who, &utc(), NOW).valid_until, Some(at("2026-11-24T00:00:00Z")));
    assert_eq!(ask("has_email", &who, &utc(), NOW).valid_until, Some(at("2026-11-25T00:00:00Z")));
}

#[test]
fn journey_stages_of_people() {
    let stage = |person: PersonFacts, wanted: &str, truth: Truth| {
        assert_eq!(ask(&format!("journey.stage = \"{wanted}\""), &person, &utc(), NOW).truth, truth, "{wanted}");
    };
    let seen = || anyone().visit("fulfilled", "2026-11-20T15:00:00Z", "");
    stage(anyone(), "awareness", True);
    stage(anyone().visit("waitlist", "", ""), "scheduling", True);
    stage(anyone().visit("booked", "2026-12-24T15:00:00Z", ""), "intake", True);
    stage(anyone().visit("booked", "2026-11-24T15:00:00Z", ""), "visit-preparation", True);
    stage(seen(), "follow-up", True);
    stage(seen().plan(plan("2026-01-01", "")), "treatment", True);
    stage(anyone().visit("fulfilled", "2026-01-20T15:00:00Z", ""), "retention", True);
    // Without care plans only the stages that hang on one are not known.
    stage(seen().without(ResourceType::CarePlan), "follow-up", Unknown);
    stage(seen().visit("booked", "2026-11-24T15:00:00Z", "").without(ResourceType::CarePlan), "visit-preparation", True);
    stage(anyone().without(ResourceType::Appointment), "awareness", Unknown);
}

#[test]
fn several_records_of_one_person() {
    let mut two = person(PatientFacts { active: Some(false), gender: Some("unknown".into()), ..PatientFacts::default() });
    all(&two, &[("active", False), ("exists gender", Unknown)]);
    let second =
        person(PatientFacts { deceased: true, security: vec!["R".into()], gender: Some("female".into()), ..PatientFacts::default() });
    two.patients.extend(second.patients);
    all(&two, &[("active", True), ("deceased", True), ("confidential", True), ("gender = \"female\"", True)]);
}

#[test]
fn reasons_say_what_was_found_and_where() {
    let who = anyone().visit("booked", "2026-11-25T15:00:00Z", "").accepted("needs-action");
    let sentences = |rule: &str| why(rule, &who).iter().map(|r| r.sentence.expose().clone()).collect::<Vec<_>>();
    assert_eq!(
        sentences("next_appointment.start within 72h and not next_appointment.confirmed and appointments.no_show in last 30d = 0"),
        [
            "`next_appointment.start within 72h` holds: next_appointment.start is 2026-11-25T10:00:00-05:00 [main Appointment/a1 version 1, start]",
            "`next_appointment.confirmed` does not hold: next_appointment.confirmed is no [main Appointment/a1 version 1, participant.status]",
            "`appointments.no_show in last 30d = 0` holds: appointments.no_show in the last 30d is 0 visits",
        ]
    );
    assert_eq!(sentences("exists last_visit.end"), ["`exists last_visit.end` does not hold: there is no finished visit"]);
    let unsynced = who.clone().without(ResourceType::CarePlan);
    assert_eq!(
        why("care_plan.active", &unsynced)[0].sentence.expose(),
        "`care_plan.active` cannot be told: care_plan.active is not known: CarePlan is not synced at every EHR of this person"
    );
    assert!(!format!("{:?}", why("next_appointment.start within 72h", &who)).contains("2026-11-25"), "values do not reach Debug");
}

#[test]
fn a_reference_is_explained_by_what_decides_the_other() {
    let rules = compile(&[("child", "age < 18"), ("adult", "not segment(child) or deceased")]);
    let explained = rules.explain(1, &anyone(), &site(), at(NOW)).unwrap();
    assert_eq!(explained.answer.truth, Unknown);
    assert_eq!(explained.reasons.len(), 2);
    assert!(explained.reasons[0].decides && explained.reasons[0].because[0].sentence.expose().contains("Patient.birthDate"));
    assert_eq!(rules.reads(1).unwrap().attributes, ["age", "deceased"]);
    assert_eq!(compile(&[("x", "exists contact.last_sent")]).reads(0).unwrap().mask(), Reads::LEDGER_BIT);
}

#[test]
fn versions_follow_the_meaning_and_not_the_writing() {
    let version = |set: &[(&str, &str)]| compile(set).segments().last().unwrap().version().to_owned();
    assert_eq!(version(&[("x", "age >= 65 and active")]), version(&[("x", "(age   >= 65)\n and active")]));
    // Stored answers name their version: it must be the same in every build.
    assert_eq!(version(&[("x", "age >= 65")]), "33ac7569c5915f23");
    assert_ne!(version(&[("x", "age >= 65")]), version(&[("x", "age >= 66")]));
    assert_ne!(version(&[("y", "age >= 65"), ("x", "segment(y)")]), version(&[("y", "age >= 66"), ("x", "segment(y)")]));
}
