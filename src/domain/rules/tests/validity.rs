//! Valid-until against brute force: the answer never changes before it, and evaluating anew at it is enough.

use chrono_tz::Tz;
use proptest::prelude::*;

use super::people::{With as _, activity, anyone, at, coding, condition, encounter, immunization, origin, procedure};
use crate::Timestamp;
use crate::model::facts::{Activity, Address, ContactPoint, Period};
use crate::model::person::{Fate, Message};
use crate::model::supporting::{ConditionFacts, CoverageFacts, EncounterFacts, GoalFacts};
use crate::model::{AppointmentFacts, CarePlanFacts, Facts, FhirTime, PatientFacts, PersonFacts, Phi, ResourceType};
use crate::rules::{RuleSet, Site, Truth};

use super::people::compile;

const DAY: i64 = 86_400_000_000;
/// The middle of the years that are looked at: they hold a leap day, and both changes of the clock of each zone.
const MIDDLE: &str = "2027-11-01T05:30:00Z";

const ZONES: [Tz; 9] = [
    Tz::UTC,
    Tz::America__New_York,
    Tz::Europe__Berlin,
    Tz::Asia__Kolkata,
    Tz::Pacific__Apia,
    Tz::Australia__Lord_Howe,
    Tz::America__St_Johns,
    Tz::Africa__Cairo,
    Tz::America__Santiago,
];

fn instant() -> impl Strategy<Value = Timestamp> {
    let middle = at(MIDDLE).micros();
    prop_oneof![
        3 => (-500..500_i64, 0..24_i64).prop_map(move |(d, h)| Timestamp::from_micros(middle + d * DAY + h * 3_600_000_000)),
        1 => (-400 * DAY..400 * DAY).prop_map(move |t| Timestamp::from_micros(middle + t)),
        1 => prop::sample::select(vec![
            "2028-02-29T12:00:00Z", "2027-03-14T06:59:59.999999Z", "2027-03-14T07:30:00Z", "2027-11-07T05:30:00Z", "2027-11-07T06:30:00Z",
            "2027-10-31T00:30:00Z", "2027-10-31T01:30:00Z", "2028-01-31T23:30:00Z", "2027-04-30T22:00:00Z",
        ]).prop_map(at),
    ]
}

fn date() -> impl Strategy<Value = FhirTime> {
    prop_oneof![
        1 => instant().prop_map(FhirTime::Instant),
        3 => instant().prop_map(|t| FhirTime::Day(t.to_utc().date_naive())),
        1 => (2026..2029, 1..=12_u32).prop_map(|(y, m)| FhirTime::Month(y, m)),
        1 => (2026..2029).prop_map(FhirTime::Year),
    ]
}

fn birth() -> impl Strategy<Value = FhirTime> {
    prop_oneof![
        (1890..2030).prop_map(FhirTime::Year),
        (1890..2030, 1..=12_u32).prop_map(|(y, m)| FhirTime::Month(y, m)),
        (0..40_000_i64).prop_map(|d| FhirTime::Day((at("1920-01-01T00:00:00Z").to_utc() + chrono::TimeDelta::days(d)).date_naive())),
        (480..508).prop_map(|y| FhirTime::parse(&format!("{}-02-29", y * 4)).map_or(FhirTime::Year(y * 4), |t| t)),
        date(),
    ]
}

fn period() -> impl Strategy<Value = Period> {
    (prop::option::of(date()), prop::option::of(date())).prop_map(|(start, end)| Period { start, end })
}

fn patient() -> impl Strategy<Value = PatientFacts> {
    let point = (prop::sample::select(vec!["phone", "email"]), period()).prop_map(|(system, period)| ContactPoint {
        system: system.into(),
        value: Phi::new("a@b".into()),
        usage: Some("mobile".into()),
        rank: None,
        period,
    });
    let address = (prop::sample::select(vec!["home", "temp", "work"]), prop::sample::select(vec!["NY", "NJ"]), period()).prop_map(
        |(usage, state, period)| Address {
            usage: Some(usage.into()),
            state: Some(Phi::new(state.into())),
            postal_code: (state == "NY").then(|| Phi::new("10001".into())),
            period,
            ..Address::default()
        },
    );
    let addresses = prop::collection::vec(address, 0..3);
    (prop::option::of(birth()), prop::collection::vec(point, 0..3), addresses, prop::option::of(any::<bool>())).prop_map(
        |(birth_date, telecom, addresses, needed)| PatientFacts {
            birth_date,
            telecom,
            addresses,
            interpreter_needed: needed,
            ..PatientFacts::default()
        },
    )
}

fn appointment() -> impl Strategy<Value = AppointmentFacts> {
    let status = prop::sample::select(vec![
        "proposed",
        "pending",
        "booked",
        "booked",
        "arrived",
        "fulfilled",
        "fulfilled",
        "cancelled",
        "noshow",
        "entered-in-error",
        "checked-in",
        "waitlist",
    ]);
    let time = || prop::option::weighted(0.95, instant());
    let accepted = prop::option::of(prop::sample::select(vec!["accepted", "needs-action"]));
    (status, time(), prop::option::of(1..200_i64), accepted).prop_map(|(status, start, minutes, accepted)| AppointmentFacts {
        status: status.into(),
        start,
        end: start.zip(minutes).map(|(s, m)| Timestamp::from_micros(s.micros() + m * 60_000_000)),
        patient_status: accepted.map(Into::into),
        ..AppointmentFacts::default()
    })
}

fn care_plan() -> impl Strategy<Value = CarePlanFacts> {
    let status = prop::sample::select(vec!["active", "active", "active", "unknown", "completed"]);
    let intent = prop::option::weighted(0.9, prop::sample::select(vec!["plan", "order", "proposal"]));
    let state = prop::sample::select(vec!["not-started", "scheduled", "in-progress", "completed", "unknown"]);
    let act = (state, period()).prop_map(|(s, scheduled)| Activity { scheduled, ..activity(s, "", "") });
    (status, intent, period(), prop::collection::vec(act, 0..3), prop::option::of(date())).prop_map(
        |(status, intent, period, activities, created)| CarePlanFacts {
            status: status.into(),
            intent: intent.map(Into::into),
            period,
            activities,
            created,
            ..CarePlanFacts::default()
        },
    )
}

fn supporting() -> impl Strategy<Value = Facts> {
    let code = || prop::sample::select(vec!["E11.9", "I10", "sct|44054006", ""]);
    let status =
        || prop::option::weighted(0.9, prop::sample::select(vec!["active", "active", "resolved", "accepted", "finished", "in-progress"]));
    let word = |s: Option<&str>| s.map(str::to_owned);
    prop_oneof![
        (code(), status(), prop::option::of(date()), prop::option::of(date()), prop::option::of(date())).prop_map(
            move |(code, status, onset, abatement, recorded)| {
                let clinical_status = word(status);
                Facts::Condition(Box::new(ConditionFacts { clinical_status, onset, abatement, recorded, ..condition(code, "") }))
            }
        ),
        (status(), prop::sample::select(vec!["act|IMP", "act|AMB", "local|x"]), period()).prop_map(move |(status, class, period)| {
            Facts::Encounter(Box::new(EncounterFacts { status: word(status), period, ..encounter("", class, "", "") }))
        }),
        (status(), period()).prop_map(move |(status, period)| {
            let kinds = vec![coding("act|PUBLICPOL")];
            Facts::Coverage(Box::new(CoverageFacts { status: word(status), kinds, period, ..CoverageFacts::default() }))
        }),
        (status(), prop::collection::vec(date(), 0..3))
            .prop_map(move |(status, due)| { Facts::Goal(Box::new(GoalFacts { status: word(status), due, ..GoalFacts::default() })) }),
        date().prop_map(|at| immunization("cvx|140", &at.to_string())),
        date().prop_map(|at| procedure("sct|73761001", &at.to_string())),
    ]
}

fn person() -> impl Strategy<Value = PersonFacts> {
    (
        patient(),
        prop::collection::vec(appointment(), 0..6),
        prop::collection::vec(care_plan(), 0..3),
        (prop::option::of(instant()), prop::collection::vec(instant(), 0..3)),
        prop::sample::subsequence(ResourceType::ALL[..15].to_vec(), 12..=15),
        prop::collection::vec(supporting(), 0..6),
    )
        .prop_map(|(patient, appointments, plans, (sent, messages), synced, supporting)| {
            let mut person = anyone();
            person.patients[0].facts = patient;
            for (i, facts) in appointments.into_iter().enumerate() {
                person.add(origin(ResourceType::Appointment, &format!("a{i}")), Facts::Appointment(Box::new(facts)));
            }
            for (i, facts) in plans.into_iter().enumerate() {
                person.add(origin(ResourceType::CarePlan, &format!("c{i}")), Facts::CarePlan(Box::new(facts)));
            }
            person.contact.last_sent = sent;
            for (n, sent_at) in messages.into_iter().enumerate() {
                let fate = [Fate::Answered, Fate::Delivered, Fate::Failed, Fate::Open][n % 4];
                person.contact.messages.push(Message { sent_at, channel: "email".into(), fate });
                person.contact.barriers.push(("cost".into(), sent_at));
            }
            person = supporting.into_iter().fold(person, |person, facts| person.has(facts));
            person.synced = synced;
            person
        })
}

fn length() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["30min", "72h", "1d", "7d", "30d", "2w", "1 month", "3 months", "12 months", "1 year"])
}

/// A test of any attribute that time can change, and of some that it cannot.
fn test() -> impl Strategy<Value = String> {
    let times = vec![
        "next_appointment.start",
        "last_visit.start",
        "last_visit.end",
        "first_visit.start",
        "last_missed.start",
        "care_plan.start",
        "care_plan.end",
        "care_plan.next_due",
        "contact.last_sent",
        "last_cancelled.start",
        "last_appointment.start",
        "condition.onset",
        "condition.onset of \"E11.9\"",
        "last_encounter.end",
        "last_discharge.end",
        "immunization.last",
        "procedure.last of \"73761001\"",
        "goal.next_due",
    ];
    let counts = vec![
        "conditions.begun",
        "conditions.begun of (\"E11.9\", \"I10\")",
        "encounters.finished of \"IMP\"",
        "immunizations.given",
        "visits.completed",
        "appointments.no_show",
        "appointments.cancelled",
        "appointments.booked",
        "appointments.unsettled",
        "contact.sent",
        "contact.answered",
    ];
    let plain = vec![
        "next_appointment.confirmed",
        "exists next_appointment.start",
        "next_appointment.status = \"pending\"",
        "last_missed.visited_since",
        "last_appointment.status = \"noshow\"",
        "last_appointment.confirmed",
        "last_visit.days_ago >= 30",
        "last_visit.days_ago = 1",
        "last_visit.days_ago != 0",
        "last_visit.days_ago in (3, 40)",
        "last_visit.days_ago < 2",
        "exists last_visit.end",
        "appointments.upcoming >= 1",
        "appointments.upcoming = 2",
        "care_plan.active",
        "care_plan.long_term",
        "care_plan.activities_due >= 1",
        "care_plan.activities_overdue = 1",
        "has_phone",
        "has_email",
        "has_postal_address",
        "address.state = \"NY\"",
        "contact.response_rate >= 50",
        "contact.barriers = \"cost\"",
        "exists contact.channels",
        "care_plan.activities_done >= 1",
        "condition.present of \"I10\"",
        "condition.codes = \"E11.9\"",
        "encounter.current_class = \"IMP\"",
        "last_discharge.disposition = \"home\"",
        "coverage.active",
        "coverage.payer_type = \"PUBLICPOL\"",
        "goal.overdue >= 1",
        "goal.active",
        "interpreter_needed",
        "deceased",
        "exists last_missed.start",
        "last_visit.end >= 2027-11",
        "next_appointment.start < 2027-11-08",
        "true",
    ];
    prop_oneof![
        4 => (prop::sample::select(times), prop::sample::select(vec!["within", "within last", "older than"]), length())
            .prop_map(|(a, how, d)| format!("{a} {how} {d}")),
        3 => (prop::sample::select(counts), length(), prop::sample::select(vec!["=", "!=", "<", "<=", ">", ">="]), 0..4)
            .prop_map(|(a, d, sign, n)| format!("{a} in last {d} {sign} {n}")),
        4 => prop::sample::select(plain).prop_map(str::to_owned),
        1 => (prop::sample::select(vec!["=", "<", ">="]), 0..110).prop_map(|(sign, n)| format!("age {sign} {n}")),
        3 => prop::sample::select(crate::rules::STAGES.to_vec()).prop_map(|s| format!("journey.stage = \"{s}\"")),
    ]
}

fn rule() -> impl Strategy<Value = String> {
    test().prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 2..4).prop_map(|p| format!("({})", p.join(" and "))),
            prop::collection::vec(inner.clone(), 2..4).prop_map(|p| format!("({})", p.join(" or "))),
            inner.prop_map(|p| format!("not {p}")),
        ]
    })
}

fn truth(rules: &RuleSet, person: &PersonFacts, site: &Site, now: Timestamp) -> (Truth, Option<Timestamp>) {
    let answer = rules.evaluate(person, site, now).pop().unwrap();
    (answer.truth, answer.valid_until)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, max_shrink_iters: 400, ..ProptestConfig::default() })]

    #[test]
    fn the_answer_never_changes_before_it_and_evaluating_at_it_is_enough(
        person in person(),
        rule in rule(),
        zone in prop::sample::select(ZONES.to_vec()),
        begin in instant(),
        mut asked in prop::collection::vec(instant(), 40),
    ) {
        let rules = compile(&[("y", &rule), ("x", &format!("segment(y) and {rule} or not segment(y) and false"))]);
        let site = Site::new(zone, "en");
        // Every wake-up from the beginning to the end of what is asked, and the instants around each.
        let end = Timestamp::from_micros(at(MIDDLE).micros() + 1000 * DAY);
        let mut chain = vec![(begin, truth(&rules, &person, &site, begin))];
        while let Some((now, (_, Some(next)))) = chain.last().copied() {
            prop_assert!(next > now, "{} {}", now, next);
            prop_assert!(chain.len() < 200, "too many wake-ups");
            if next > end {
                break;
            }
            asked.extend([-1, 1, 1_800_000_000, -1_800_000_000].map(|d| Timestamp::from_micros(next.micros() + d)));
            chain.push((next, truth(&rules, &person, &site, next)));
        }
        for now in asked.into_iter().filter(|t| *t >= begin && *t <= end) {
            let (since, (said, _)) = chain.iter().rev().find(|(t, _)| *t <= now).unwrap();
            prop_assert_eq!(truth(&rules, &person, &site, now).0, *said, "{} since {} in {}: {}", now, since, zone, rule);
        }
    }
}
