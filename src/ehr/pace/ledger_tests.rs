//! What a ledger gives, whoever asks when.

use super::*;
use crate::ehr::limits::{Frequency, Told};
use proptest::prelude::*;

fn told<T>(limit: T) -> Told<T> {
    Told { limit, source: "test".to_owned(), is_published: false }
}

fn limits(per_second: f64) -> Limits {
    let frequency = Some(told(Frequency { per_second, counted_over_secs: 1 }));
    Limits { frequency, at_once: told(1000), ..Limits::open("e") }
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_micros(1_800_000_000_000_000 + millis * 1000)
}

fn now(millis: i64) -> Now {
    Now { wall: at(millis), line: at(millis) }
}

fn want(node: &str, want: u32) -> Ask {
    Ask { node: node.to_owned(), want, seats: want, ..Ask::default() }
}

fn failed(node: &str, failed: u32) -> Ask {
    Ask { node: node.to_owned(), failed, ..Ask::default() }
}

proptest! {
    /// Whichever nodes ask when and for how many, no span holds more turns than allowed, with turns used up to half of the slack late; and
    /// where there is always one who waits, nearly as many.
    #[test]
    fn no_span_holds_more_than_allowed_whoever_asks(
        per_second in 1_u32..800,
        steps in proptest::collection::vec((0_usize..3, 1_u32..200, 0_i64..300, 0_u64..20), 1..200),
    ) {
        let (mut ledger, limits) = (Ledger::default(), limits(f64::from(per_second)));
        let mut clock = 0;
        let mut used = Vec::new();
        for (node, many, gap, late) in steps {
            clock += gap;
            let class = if node == 0 { Class::Write } else { Class::Crawl };
            let ask = Ask { class, ..want(&format!("n{node}"), many) };
            if let Given::Turns { count, first, distance } = ledger.ask(&limits, &ask, now(clock)).given {
                for nth in 0..count {
                    used.push(first.micros() + i64::try_from((distance * nth).as_micros()).unwrap() + i64::try_from(late * 1000).unwrap());
                }
            }
        }
        used.sort_unstable();
        for (n, first) in used.iter().enumerate() {
            let within = used[n..].iter().take_while(|t| **t < first + 1_000_000).count();
            prop_assert!(within <= per_second as usize, "{within} of {per_second}");
        }
    }

    /// In no hour are more turns given than its budget, whatever is asked.
    #[test]
    fn no_hour_holds_more_than_its_budget(steps in proptest::collection::vec((1_u32..60, 0_i64..900), 1..300)) {
        let limits = Limits { per_hour: Some(told(200)), ..Limits::open("e") };
        let (mut ledger, mut clock, mut given) = (Ledger::default(), 0, Vec::new());
        for (many, gap) in steps {
            clock += gap * 1000;
            let ask = Ask { class: Class::Write, ..want("n", many) };
            if let Given::Turns { count, .. } = ledger.ask(&limits, &ask, now(clock)).given {
                given.extend(std::iter::repeat_n(clock, count as usize));
            }
        }
        for (n, first) in given.iter().enumerate() {
            prop_assert!(given[n..].iter().take_while(|t| **t < first + 3_600_000).count() <= 200);
        }
    }
}

#[test]
fn with_one_always_waiting_it_reaches_its_rate() {
    let (mut ledger, limits) = (Ledger::default(), limits(100.0));
    let mut given = 0;
    for millis in (0..10_000).step_by(10) {
        if let Given::Turns { count, .. } = ledger.ask(&limits, &Ask { class: Class::Crawl, ..want("n", 50) }, now(millis)).given {
            given += count;
        }
    }
    // Those that were given for the time to come too.
    assert!((955..=1010).contains(&given), "{given}");
}

#[test]
fn a_minute_s_limit_may_be_used_in_nearly_full() {
    let (apart, grace) = distance(125.0 / 60.0, 60);
    assert!(60.0 / apart.as_secs_f64() > 122.0 && 60.0 / apart.as_secs_f64() < 125.0);
    assert!(grace >= Duration::from_millis(100));
}

#[test]
fn whoever_is_waited_for_comes_before_a_crawl_and_the_crawl_goes_on() {
    let (mut ledger, limits) = (Ledger::default(), limits(100.0));
    let ask = |ledger: &mut Ledger, class, millis| ledger.ask(&limits, &Ask { class, ..want("n", 100) }, now(millis)).given;
    assert!(matches!(ask(&mut ledger, Class::Crawl, 0), Given::Turns { .. }));
    assert!(matches!(ask(&mut ledger, Class::Crawl, 1), Given::Turns { .. }));
    let Given::Later(when) = ask(&mut ledger, Class::Crawl, 2) else { panic!("given too far ahead") };
    assert!(matches!(ask(&mut ledger, Class::Write, 2), Given::Turns { .. }), "a write-back is not kept waiting");
    assert!(when > at(2) && when < at(400));
    assert!(matches!(ask(&mut ledger, Class::Crawl, 500), Given::Turns { .. }));
}

#[test]
fn a_crawl_leaves_of_a_budget_what_is_the_others() {
    let limits = Limits { per_day: Some(told(100)), ..Limits::open("e") };
    let mut ledger = Ledger::default();
    let mut took = |class, millis| {
        let mut all = 0;
        loop {
            match ledger.ask(&limits, &Ask { class, ..want("n", 1000) }, now(millis)).given {
                Given::Turns { count, .. } => all += count,
                Given::Paused(until, why) => return (all, until, why),
                Given::Later(_) => panic!("no rate"),
            }
        }
    };
    let (crawl, until, why) = took(Class::Crawl, 0);
    assert_eq!((crawl, why), (80, Why::Day));
    assert!(until > at(23 * 3_600_000) && until <= at(25 * 3_600_000), "{until}");
    assert_eq!((took(Class::Read, 1).0, took(Class::Write, 2).0, took(Class::Write, 3).0), (10, 10, 0));
    assert_eq!(took(Class::Crawl, 25 * 3_600_000 + 300_000).0, 80, "the next day");
}

#[test]
fn what_one_node_learns_is_told_to_all_and_the_rate_climbs_slowly_after_it() {
    let (mut ledger, limits) = (Ledger::default(), limits(100.0));
    let throttled = Ask { throttled: Some(Duration::from_secs(10)), ..want("a", 0) };
    ledger.ask(&limits, &throttled, now(0));
    assert_eq!(ledger.ask(&limits, &want("b", 1), now(1)).given, Given::Paused(at(10_000), Why::Asked));
    // Those that were on their way are told the same; that is one refusal.
    ledger.ask(&limits, &Ask { throttled: Some(Duration::from_secs(1)), ..want("b", 0) }, now(500));
    assert_eq!((ledger.share_at(at(10_000)), ledger.held_until), (500, Some(at(10_000))));
    assert_eq!((ledger.share_at(at(25_000)), ledger.share_at(at(80_000))), (750, 1000));
    let (rate, _) = ledger.rate(&limits, at(10_000)).unwrap();
    assert!((rate - 50.0).abs() < 0.001, "{rate}");
    // A century is a mistake.
    ledger.ask(&limits, &Ask { throttled: Some(Duration::from_secs(3_000_000_000)), ..want("a", 0) }, now(90_000));
    assert_eq!(ledger.held_until, Some(at(90_000).plus(TimeDelta::hours(24))));
}

#[test]
fn without_a_limit_one_is_learned_from_what_was_too_much() {
    let (mut ledger, limits) = (Ledger::default(), Limits::open("e"));
    let time = |seconds: i64| Now { wall: at(seconds * 1000), line: at(0) };
    for second in 0..120 {
        assert!(matches!(ledger.ask(&limits, &want("a", 10), time(second)).given, Given::Turns { count: 10, .. }));
    }
    let throttled = Ask { throttled: Some(Duration::from_secs(1)), ..want("a", 0) };
    ledger.ask(&limits, &throttled, time(120));
    let rate = |ledger: &Ledger, second| ledger.rate(&limits, time(second).wall).map(|(rate, _)| rate);
    let first = rate(&ledger, 121).unwrap();
    assert!((4.5..5.5).contains(&first), "half of ten a second: {first}");
    let later = rate(&ledger, 181).unwrap();
    assert!((9.0..=11.0).contains(&later), "{later}");
    assert_eq!(rate(&ledger, 121 + 601), None, "then it is tried without");
}

#[test]
fn the_breaker_opens_lets_one_node_try_and_closes() {
    let (mut ledger, limits) = (Ledger::default(), Limits::open("e"));
    ledger.ask(&limits, &failed("a", 4), now(0));
    assert!(matches!(ledger.ask(&limits, &want("b", 1), now(1)).given, Given::Turns { .. }));
    ledger.ask(&limits, &failed("b", 1), now(2));
    assert_eq!(ledger.ask(&limits, &want("a", 1), now(3)).given, Given::Paused(at(5_002), Why::Failing));
    // Half-open: the first who asks tries, with one request; the others wait.
    let Given::Turns { count, .. } = ledger.ask(&limits, &want("a", 50), now(5_003)).given else { panic!("no try") };
    assert_eq!((count, ledger.breaker(at(5_003))), (1, Breaker::HalfOpen));
    assert!(matches!(ledger.ask(&limits, &want("b", 5), now(5_004)).given, Given::Paused(_, Why::Failing)));
    assert!(matches!(ledger.ask(&limits, &want("a", 5), now(5_005)).given, Given::Paused(_, Why::Failing)));
    ledger.ask(&limits, &failed("a", 1), now(5_010));
    assert_eq!(ledger.paused(at(5_011)), Some((at(15_010), Why::Failing)), "twice as long");
    // The node that tries dies: another one may, after a while.
    assert!(matches!(ledger.ask(&limits, &want("a", 1), now(15_011)).given, Given::Turns { count: 1, .. }));
    assert!(matches!(ledger.ask(&limits, &want("b", 1), now(105_012)).given, Given::Turns { count: 1, .. }));
    ledger.ask(&limits, &Ask { fine: true, ..want("b", 0) }, now(105_020));
    assert_eq!((ledger.breaker(at(105_021)), ledger.failures, ledger.opened), (Breaker::Closed, 0, 0));
    assert!(matches!(ledger.ask(&limits, &want("a", 5), now(105_022)).given, Given::Turns { count: 5, .. }));
}

#[test]
fn a_clock_that_was_set_back_holds_nobody_up_for_long() {
    let (mut ledger, limits) = (Ledger::default(), limits(10.0));
    ledger.ask(&limits, &want("a", 5), now(3_600_000));
    assert!(matches!(ledger.ask(&limits, &want("a", 5), now(0)).given, Given::Turns { .. }));
}
