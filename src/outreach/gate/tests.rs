use domain::model::facts::{Address, ContactPoint, PatientLink, Period};
use domain::model::person::Origin;
use domain::model::{EhrId, FhirTime, Phi, ResourceType};
use proptest::prelude::*;

use super::*;

const SITE: Tz = chrono_tz::America::New_York;
/// Ten in the morning in New York.
const NOON: &str = "2026-11-23T10:00:00-05:00";

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

fn point(system: &str, value: &str, usage: Option<&str>, rank: Option<u32>) -> ContactPoint {
    ContactPoint {
        system: system.to_owned(),
        value: Phi::new(value.to_owned()),
        usage: usage.map(str::to_owned),
        rank,
        period: Period::default(),
    }
}

fn address(state: &str) -> Address {
    Address { state: Some(Phi::new(state.to_owned())), ..Address::default() }
}

fn record(facts: PatientFacts) -> Sourced<PatientFacts> {
    let origin =
        Origin { ehr: EhrId::parse("e").unwrap(), resource_type: ResourceType::Patient, id: "1".to_owned(), version: Some("3".to_owned()) };
    Sourced { origin, facts }
}

/// A person about whom nothing speaks against writing, and what was decided about messages.
#[derive(Clone, Debug)]
struct Case {
    person: PersonFacts,
    channel: ChannelKind,
    class: MessageClass,
    phi: PhiClass,
    expires_at: Timestamp,
    preferences: Vec<Preference>,
    past: Vec<PastSend>,
    others: Vec<OtherSend>,
    withheld: Vec<Withheld>,
    facts_as_of: Option<Timestamp>,
    switch: Switch,
    site: SitePolicy,
}

impl Case {
    fn good() -> Self {
        let facts = PatientFacts {
            birth_date: FhirTime::parse("1970-05-01"),
            telecom: vec![point("email", "ada@example.org", Some("home"), None), point("phone", "212-555-0100", Some("mobile"), None)],
            addresses: vec![address("NY")],
            ..PatientFacts::default()
        };
        Self {
            person: PersonFacts { patients: vec![record(facts)], ..PersonFacts::default() },
            channel: ChannelKind::Email,
            class: MessageClass::Care,
            phi: PhiClass::Limited,
            expires_at: at("2027-01-01T00:00:00Z"),
            preferences: Vec::new(),
            past: Vec::new(),
            others: Vec::new(),
            withheld: Vec::new(),
            facts_as_of: Some(at(NOON)),
            switch: Switch { live: true, killed: false },
            site: SitePolicy::new(SITE),
        }
    }

    fn with(change: impl Fn(&mut Self)) -> Self {
        let mut case = Self::good();
        change(&mut case);
        case
    }

    fn facts(&mut self) -> &mut PatientFacts {
        &mut self.person.patients[0].facts
    }

    fn judge(&self, now: Timestamp) -> Verdict {
        let message = Message {
            program: "visit-confirm",
            class: self.class,
            template: "t",
            phi: self.phi,
            occasion: "a/1",
            expires_at: self.expires_at,
        };
        let input = GateInput {
            person: &self.person,
            message,
            channel: self.channel,
            preferences: &self.preferences,
            past: &self.past,
            others: &self.others,
            withheld: &self.withheld,
            facts_as_of: self.facts_as_of,
            switch: self.switch,
            site: &self.site,
        };
        judge(&input, now)
    }
}

fn out(scope: Scope, text: &str) -> Preference {
    Preference { scope, out: true, at: at(text), by: 1 }
}

fn welcome(scope: Scope, text: &str) -> Preference {
    Preference { out: false, ..out(scope, text) }
}

fn sent(text: &str) -> PastSend {
    PastSend { at: at(text), template: "other".to_owned(), occasion: "b".to_owned(), point: PointKey::email("ada@example.org").unwrap() }
}

#[test]
fn nothing_speaks_against_it() {
    let verdict = Case::good().judge(at(NOON));
    assert_eq!(verdict.outcome, Outcome::Allow, "{:?}", verdict.reasons);
    assert!(verdict.reasons.is_empty());
    assert_eq!(verdict.point.unwrap().key, PointKey::email("ada@example.org").unwrap());
}

#[test]
fn each_rule_refuses_with_its_reason() {
    use ReasonCode as C;
    let cases: Vec<(Case, C, bool)> = vec![
        (Case::with(|c| c.facts().deceased = true), C::Deceased, false),
        (Case::with(|c| c.person.patients.push(record(PatientFacts { deceased: true, ..PatientFacts::default() }))), C::Deceased, false),
        (Case::with(|c| c.facts().active = Some(false)), C::Inactive, false),
        (
            Case::with(|c| c.facts().links.push(PatientLink { kind: "replaced-by".to_owned(), other: "Patient/2".to_owned() })),
            C::Merged,
            false,
        ),
        (Case::with(|c| c.person.patients.clear()), C::NoPatientRecord, false),
        (Case::with(|c| c.facts().birth_date = FhirTime::parse("2008-11-24")), C::Minor, false),
        (Case::with(|c| c.facts().birth_date = FhirTime::parse("2008")), C::Minor, false),
        (Case::with(|c| c.facts().security.push("V".to_owned())), C::Sensitive, false),
        (Case::with(|c| c.preferences.push(out(Scope::default(), "2026-01-01T00:00:00Z"))), C::OptedOut, false),
        (Case::with(|c| c.class = MessageClass::Marketing), C::NoAuthorisation, false),
        (Case::with(|c| c.expires_at = at(NOON)), C::Expired, false),
        (Case::with(|c| c.phi = PhiClass::Phi), C::PhiOnOpenChannel, true),
        (Case::with(|c| c.switch.live = false), C::NotLive, true),
        (Case::with(|c| c.facts().telecom.clear()), C::NoContactPoint, true),
        (Case::with(|c| c.facts().telecom[0].value = Phi::new("ada at example".to_owned())), C::PointMalformed, true),
        (
            Case::with(|c| {
                c.past.push(PastSend { template: "t".to_owned(), occasion: "a/1".to_owned(), ..sent("2026-11-22T09:00:00-05:00") })
            }),
            C::Duplicate,
            false,
        ),
        (
            Case::with(|c| {
                c.past.push(sent("2026-11-23T09:00:00-05:00"));
                c.expires_at = at("2026-11-24T09:00:00-05:00");
            }),
            C::ExpiresWhileHeld,
            false,
        ),
    ];
    for (case, code, next_rung) in cases {
        let verdict = case.judge(at(NOON));
        assert_eq!(verdict.outcome, Outcome::Refuse, "{code:?}");
        assert!(verdict.has(code), "{code:?}: {:?}", verdict.reasons);
        assert_eq!(verdict.next_rung_may_do(), next_rung, "{code:?}: {:?}", verdict.reasons);
        let told = format!("{:?}", verdict.reasons);
        assert!(!told.contains("ada") && !told.contains("555"), "a reason must hold no value of the patient: {told}");
    }
}

#[test]
fn what_is_stopped_waits_as_long_as_it_is_worth_sending() {
    let ends = at("2026-11-25T09:00:00-05:00");
    let stopped = |change: &dyn Fn(&mut Case)| {
        Case::with(|c| {
            (c.switch.killed, c.expires_at) = (true, ends);
            change(c);
        })
    };
    let case = stopped(&|_| ());
    let verdict = case.judge(at(NOON));
    let last = ends.plus(-TimeDelta::microseconds(1));
    assert_eq!((verdict.outcome, verdict.has(ReasonCode::Killed)), (Outcome::HoldUntil(last), true), "{:?}", verdict.reasons);
    // When it is looked at for the last time and is stopped still, it says that this is why.
    let verdict = case.judge(last);
    assert_eq!(verdict.outcome, Outcome::Refuse);
    assert!(verdict.has(ReasonCode::Killed) && verdict.has(ReasonCode::ExpiresWhileHeld) && !verdict.next_rung_may_do());
    // A stop is no reason to send by another channel, and hides no other reason.
    assert_eq!(stopped(&|c| c.switch.live = false).judge(at(NOON)).outcome, Outcome::Refuse);
    assert!(stopped(&|c| c.facts().deceased = true).judge(at(NOON)).has(ReasonCode::Deceased));
    // By hand there may be no end: it is looked at again.
    assert_eq!(stopped(&|c| c.expires_at = Timestamp::MAX).judge(at(NOON)).outcome, Outcome::HoldUntil(at(NOON).plus(TimeDelta::days(30))));
}

#[test]
fn all_reasons_are_told_with_their_fields() {
    let case = Case::with(|c| {
        c.facts().deceased = true;
        c.facts().active = Some(false);
        c.preferences.push(out(Scope::default(), "2026-01-01T00:00:00Z"));
        c.past.push(sent("2026-11-23T01:00:00-05:00"));
        c.switch.live = false;
    });
    let verdict = case.judge(at("2026-11-23T06:00:00-05:00"));
    let codes: Vec<ReasonCode> = verdict.reasons.iter().map(|r| r.code).collect();
    use ReasonCode as C;
    assert_eq!(codes, [C::Deceased, C::Inactive, C::OptedOut, C::NotLive, C::DailyCap, C::QuietHours]);
    let source = verdict.reasons[0].source.clone().unwrap();
    assert_eq!((source.origin.reference().as_str(), source.field.as_str()), ("Patient/1", "Patient.deceased[x]"));
}

#[test]
fn choices_are_read_with_the_most_restrictive_in_force() {
    let channel = |c| Scope { channel: Some(c), ..Scope::default() };
    let program = |p: &str| Scope { program: Some(p.to_owned()), ..Scope::default() };
    let mail = |a: &str| Scope { point: PointKey::email(a), ..Scope::default() };
    let any = Scope::default;
    let (early, late) = ("2026-01-01T00:00:00Z", "2026-06-01T00:00:00Z");
    for (preferences, allowed) in [
        (vec![out(any(), early)], false),
        (vec![out(any(), early), welcome(any(), late)], true),
        (vec![welcome(any(), early), out(any(), late)], false),
        (vec![welcome(any(), early), out(any(), early)], false),
        (vec![out(any(), early), welcome(channel(ChannelKind::Email), late)], false),
        (vec![out(channel(ChannelKind::Email), early), welcome(any(), late)], false),
        (vec![out(channel(ChannelKind::Email), early)], false),
        (vec![out(channel(ChannelKind::Recorded), early)], true),
        (vec![out(program("visit-confirm"), early)], false),
        (vec![out(program("other"), early)], true),
        (vec![out(mail("ADA@example.org"), early)], false),
        (vec![out(mail("bob@example.org"), early)], true),
        (vec![out(mail("ada@example.org"), early), welcome(mail("ada@example.org"), late)], true),
    ] {
        let case = Case::with(|c| c.preferences.clone_from(&preferences));
        assert_eq!(case.judge(at(NOON)).outcome == Outcome::Allow, allowed, "{preferences:?}");
    }
    let marketing = Case::with(|c| {
        c.class = MessageClass::Marketing;
        c.preferences.push(welcome(any(), early));
    });
    assert_eq!(marketing.judge(at(NOON)).outcome, Outcome::Allow);
}

#[test]
fn contact_points_are_chosen_by_rank_and_use() {
    let ended = |mut p: ContactPoint, end: &str| {
        p.period.end = FhirTime::parse(end);
        p
    };
    let (a, b) = ("a@example.org", "b@example.org");
    for (telecom, channel, wanted) in [
        (vec![point("email", a, None, None), point("email", b, None, Some(1))], ChannelKind::Email, Some(1)),
        (vec![point("email", a, Some("work"), None), point("email", b, Some("home"), None)], ChannelKind::Email, Some(1)),
        (vec![point("email", a, Some("old"), Some(1)), point("email", b, None, None)], ChannelKind::Email, Some(1)),
        (vec![ended(point("email", a, None, Some(1)), "2026-11-22"), point("email", b, None, None)], ChannelKind::Email, Some(1)),
        (vec![ended(point("email", a, None, Some(1)), "2026-11-23"), point("email", b, None, None)], ChannelKind::Email, Some(0)),
        (vec![point("email", "not an address", None, Some(1)), point("email", b, None, None)], ChannelKind::Email, Some(1)),
        (vec![point("phone", "212-555-0100", Some("mobile"), Some(1))], ChannelKind::Email, None),
        (
            vec![point("phone", "212-555-0100", Some("home"), None), point("phone", "212-555-0101", Some("mobile"), None)],
            ChannelKind::Recorded,
            Some(1),
        ),
        (vec![point("fax", "212-555-0100", None, None), point("url", "https://a.example", None, None)], ChannelKind::Recorded, None),
    ] {
        let case = Case::with(|c| {
            c.facts().telecom.clone_from(&telecom);
            c.channel = channel;
        });
        let verdict = case.judge(at(NOON));
        assert_eq!(verdict.point.as_ref().map(|p| p.index), wanted, "{:?}", verdict.reasons);
        assert_eq!(verdict.has(ReasonCode::NoContactPoint), wanted.is_none());
    }
    let bounced = Case::with(|c| {
        c.facts().telecom.push(point("email", b, None, None));
        c.withheld.push(Withheld { point: PointKey::email("ada@example.org").unwrap(), why: ReasonCode::Bounced });
    });
    let verdict = bounced.judge(at(NOON));
    assert_eq!((verdict.outcome, verdict.point.as_ref().map(|p| p.index)), (Outcome::Allow, Some(2)));
    assert!(verdict.has(ReasonCode::Bounced));
}

#[test]
fn addresses_and_numbers_have_one_form() {
    for (text, ok) in [
        ("Ada@Example.org", true),
        ("mailto:ada@example.org", true),
        ("a+b@sub.example.org", true),
        ("ada@localhost", false),
        ("ada@example", false),
        ("ada@@example.org", false),
        ("ada@-example.org", false),
        (".ada@example.org", false),
        ("ada@example.org\r\nBcc: x@example.org", false),
        ("ada@192.0.2.1", false),
        ("", false),
    ] {
        assert_eq!(PointKey::email(text).is_some(), ok, "{text:?}");
    }
    for (text, wanted) in [
        ("(212) 555-0100", Some("+12125550100")),
        ("212.555.0100 x12", Some("+12125550100")),
        ("1-212-555-0100", Some("+12125550100")),
        ("+1 212 555 0100", Some("+12125550100")),
        ("tel:+442079460000", Some("+442079460000")),
        ("+1 112 555 0100", None),
        ("555-0100", None),
        ("012-555-0100", None),
        ("call me", None),
        ("", None),
    ] {
        assert_eq!(PointKey::phone(text).map(|p| p.value().expose().clone()).as_deref(), wanted, "{text:?}");
    }
}

#[test]
fn quiet_hours_are_the_patients() {
    let places: Vec<(&str, Vec<Address>)> = vec![
        ("NY", vec![address("NY")]),
        ("California", vec![address("california")]),
        ("FL", vec![address("US-FL")]),
        ("TX", vec![address("TX")]),
        ("none", Vec::new()),
        ("zip 9", vec![Address { postal_code: Some(Phi::new("94110".to_owned())), ..Address::default() }]),
        ("extension", vec![Address { zone: Some("Asia/Tokyo".to_owned()), country: Some("JP".to_owned()), ..Address::default() }]),
        ("moved", vec![Address { usage: Some("old".to_owned()), ..address("CA") }, address("NY")]),
        ("two homes", vec![address("NY"), address("CA")]),
    ];
    for (place, now, until) in [
        ("NY", "2026-11-23T07:59:59-05:00", Some("2026-11-23T08:00:00-05:00")),
        ("NY", "2026-11-23T08:00:00-05:00", None),
        ("NY", "2026-11-23T20:59:59-05:00", None),
        ("NY", "2026-11-23T21:00:00-05:00", Some("2026-11-24T08:00:00-05:00")),
        // Clocks go forward in the night of the hold, and back.
        ("NY", "2026-03-07T22:00:00-05:00", Some("2026-03-08T08:00:00-04:00")),
        ("NY", "2026-10-31T22:00:00-04:00", Some("2026-11-01T08:00:00-05:00")),
        ("California", "2026-11-23T10:00:00-05:00", Some("2026-11-23T08:00:00-08:00")),
        ("California", "2026-11-23T23:30:00-05:00", None),
        // Florida has two zones and closes at 20:00: both must allow, and the site's.
        ("FL", "2026-11-23T08:30:00-05:00", Some("2026-11-23T08:00:00-06:00")),
        ("FL", "2026-11-23T20:00:00-05:00", Some("2026-11-24T08:00:00-06:00")),
        // Texas opens at 9:00 and on Sundays at noon, in Central and in Mountain time.
        ("TX", "2026-11-23T10:30:00-05:00", Some("2026-11-23T09:00:00-07:00")),
        ("TX", "2026-11-22T10:30:00-05:00", Some("2026-11-22T12:00:00-07:00")),
        ("none", "2026-11-23T07:00:00-05:00", Some("2026-11-23T08:00:00-05:00")),
        // A ZIP that begins with 9 is Alaska, California, Hawaii, Oregon or Washington.
        ("zip 9", "2026-11-23T10:00:00-05:00", Some("2026-11-23T08:00:00-10:00")),
        ("extension", "2026-11-23T10:00:00-05:00", Some("2026-11-24T08:00:00+09:00")),
        ("moved", "2026-11-23T08:30:00-05:00", None),
        ("two homes", "2026-11-23T08:30:00-05:00", Some("2026-11-23T08:00:00-08:00")),
    ] {
        let case = Case::with(|c| {
            c.facts().addresses.clone_from(&places.iter().find(|(name, _)| *name == place).unwrap().1);
            c.facts_as_of = Some(at(now));
        });
        let verdict = case.judge(at(now));
        let wanted = until.map_or(Outcome::Allow, |u| Outcome::HoldUntil(at(u)));
        assert_eq!(verdict.outcome, wanted, "{place} {now}: {:?}", verdict.reasons);
        assert_eq!(verdict.has(ReasonCode::QuietHours), until.is_some());
    }
}

#[test]
fn caps_roll() {
    for (past, now, until) in [
        (vec!["2026-11-22T23:00:00-05:00"], "2026-11-23T10:00:00-05:00", Some("2026-11-24T08:00:00-05:00")),
        (vec!["2026-11-22T10:00:00-05:00"], "2026-11-23T10:00:00-05:00", None),
        (vec!["2026-11-22T10:00:01-05:00"], "2026-11-23T10:00:00-05:00", Some("2026-11-23T10:00:01-05:00")),
        (
            vec!["2026-11-17T10:00:00-05:00", "2026-11-19T12:00:00-05:00", "2026-11-21T12:00:00-05:00"],
            "2026-11-23T10:00:00-05:00",
            Some("2026-11-24T10:00:00-05:00"),
        ),
        (vec!["2026-11-16T09:00:00-05:00", "2026-11-19T12:00:00-05:00", "2026-11-21T12:00:00-05:00"], "2026-11-23T10:00:00-05:00", None),
    ] {
        let case = Case::with(|c| c.past = past.iter().map(|p| sent(p)).collect());
        let wanted = until.map_or(Outcome::Allow, |u| Outcome::HoldUntil(at(u)));
        assert_eq!(case.judge(at(now)).outcome, wanted, "{past:?}");
    }
}

#[test]
fn old_facts_hold_and_unknown_age_is_told() {
    for (as_of, stale) in [(None, true), (Some("2026-11-22T07:00:00-05:00"), true), (Some("2026-11-22T09:00:00-05:00"), false)] {
        let case = Case::with(|c| c.facts_as_of = as_of.map(at));
        let verdict = case.judge(at(NOON));
        assert_eq!(verdict.has(ReasonCode::StaleFacts), stale);
        assert_eq!(verdict.outcome == Outcome::Allow, !stale, "{as_of:?}");
    }
    let ageless = Case::with(|c| c.facts().birth_date = None).judge(at(NOON));
    assert!(ageless.outcome == Outcome::Allow && ageless.has(ReasonCode::AgeUnknown));
    let adult_today = Case::with(|c| c.facts().birth_date = FhirTime::parse("2008-11-23")).judge(at(NOON));
    assert_eq!(adult_today.outcome, Outcome::Allow);
}

#[test]
fn codes_are_told_apart() {
    let mut texts: Vec<&str> = ReasonCode::ALL.iter().map(|c| c.as_str()).collect();
    texts.sort_unstable();
    texts.dedup();
    assert_eq!(texts.len(), ReasonCode::ALL.len());
}

fn any_case() -> impl Strategy<Value = (Case, Timestamp)> {
    let states = prop::collection::vec(
        prop::sample::select(vec!["NY", "CA", "FL", "TX", "AK", "HI", "AZ", "IN", "PR", "GU", "nowhere", "CT"]),
        0..3,
    );
    let past = prop::collection::vec(0_i64..9 * 86_400, 0..6);
    let now = 1_767_225_600_i64..1_830_297_600;
    let flags = (any::<bool>(), prop::option::of(any::<bool>()), prop::option::of(0_i64..200_000), any::<bool>());
    (states, past, now, flags, 1_u32..3, 1_u32..5, 0_i64..20 * 86_400).prop_map(
        |(states, past, now, (deceased, active, stale, opted), day, week, worth)| {
            let now = Timestamp::from_micros(now * 1_000_000);
            let back = |s: i64| now.plus(TimeDelta::seconds(-s));
            let case = Case::with(|c| {
                c.facts().addresses = states.iter().map(|s| address(s)).collect();
                c.facts().deceased = deceased && opted;
                c.facts().active = active;
                c.past = past.iter().map(|s| PastSend { at: back(*s), ..sent(NOON) }).collect();
                c.facts_as_of = stale.map(back);
                c.expires_at = now.plus(TimeDelta::seconds(worth));
                (c.site.per_day, c.site.per_week) = (day, week);
                if opted && !deceased {
                    c.preferences.push(Preference { scope: Scope::default(), out: true, at: back(60), by: 1 });
                }
            });
            (case, now)
        },
    )
}

#[test]
fn what_one_record_refused_the_welcome_of_another_does_not_take_back() {
    let early = "2026-11-01T00:00:00Z";
    for (by, outcome) in [(1, Outcome::Allow), (2, Outcome::Refuse)] {
        let case = Case::with(|c| {
            c.preferences = vec![out(Scope::default(), early), Preference { by, ..welcome(Scope::default(), "2026-11-02T00:00:00Z") }];
        });
        assert_eq!(case.judge(at(NOON)).outcome, outcome, "said by {by}");
    }
}

#[test]
fn one_phone_gets_what_one_person_would() {
    let other = |text: &str, to: &str| OtherSend { at: at(text), point: PointKey::email(to).unwrap() };
    let earlier = "2026-11-23T09:00:00-05:00";
    let free = Outcome::HoldUntil(at("2026-11-24T09:00:00-05:00"));
    for (others, outcome) in [
        (vec![other(earlier, "Ada@example.org")], free),
        (vec![other(earlier, "eve@example.org")], Outcome::Allow),
        (vec![other("2026-11-22T09:00:00-05:00", "ada@example.org")], Outcome::Allow),
        (
            ["2026-11-18", "2026-11-19", "2026-11-20"].map(|day| other(&format!("{day}T12:00:00-05:00"), "ada@example.org")).to_vec(),
            Outcome::HoldUntil(at("2026-11-25T12:00:00-05:00")),
        ),
    ] {
        let verdict = Case::with(|c| c.others.clone_from(&others)).judge(at(NOON));
        assert_eq!(verdict.outcome, outcome, "{others:?}: {:?}", verdict.reasons);
        assert_eq!(verdict.has(ReasonCode::PointCap), outcome != Outcome::Allow);
    }
}

proptest! {
    #[test]
    fn whoever_must_not_be_written_to_never_is((case, now) in any_case()) {
        let facts = &case.person.patients[0].facts;
        if facts.deceased || facts.active == Some(false) || !case.preferences.is_empty() {
            prop_assert_eq!(case.judge(now).outcome, Outcome::Refuse);
        }
    }

    #[test]
    fn a_hold_ends_and_ends_in_allowed_hours_everywhere((case, now) in any_case()) {
        let timely = [ReasonCode::DailyCap, ReasonCode::WeeklyCap, ReasonCode::QuietHours];
        let verdict = case.judge(now);
        if let Outcome::HoldUntil(until) = verdict.outcome {
            prop_assert!(until > now);
            let then = case.judge(until);
            for code in timely {
                prop_assert!(!then.has(code), "{:?} again at {}: {:?}", code, until, then.reasons);
            }
            let place = Place::of(&case.person.patients[0].facts, case.site.zone, case.site.hours, now);
            for candidate in &place.candidates {
                let local = until.to_utc().with_timezone(&candidate.zone).time();
                prop_assert!(candidate.hours.from <= local && local < candidate.hours.until, "{} in {}", local, candidate.zone);
            }
        } else if verdict.outcome == Outcome::Allow {
            prop_assert!(timely.iter().all(|code| !verdict.has(*code)));
        }
    }
}
