//! What those who ask for turns see.

use std::sync::atomic::{AtomicI64, Ordering};

use proptest::prelude::*;
use tokio::time::Instant;

use super::*;
use crate::ehr::limits::{Frequency, Told};

fn rate(per_second: f64) -> Rate {
    Rate::try_from(per_second).unwrap()
}

fn limits(name: &str, per_second: Option<f64>) -> Limits {
    let frequency = per_second.map(|n| Told { limit: Frequency::of(rate(n)), source: "test".to_owned(), is_published: false });
    Limits { frequency, ..Limits::open(name) }
}

struct Hand(AtomicI64);

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::Relaxed))
    }
}

fn paces() -> (Paces, Arc<Hand>, Arc<dyn Clock>) {
    let hand = Arc::new(Hand(AtomicI64::new(1_800_000_000_000_000)));
    (Paces::default(), Arc::clone(&hand), hand)
}

const PATIENT: Duration = Duration::from_secs(60);

#[test]
fn rates_are_read_as_numbers() {
    for (text, told) in [("10", Some(10.0)), ("4.167", Some(4.167)), ("0.001", Some(0.001)), ("0", None), ("-1", None), ("1e9", None)] {
        let read = serde_json::from_str::<Rate>(text);
        assert_eq!(read.ok().map(f64::from), told, "{text}");
    }
}

proptest! {
    /// A span, with what is late at its beginning and early at its end, holds no more turns than the rate allows.
    #[test]
    fn the_distance_leaves_room_for_unequal_ways(per_second in 1_u32..5000) {
        let (apart, grace) = distance(f64::from(per_second), 1);
        let within = (1.0 + 2.0 * grace.as_secs_f64() - 1e-6) / apart.as_secs_f64();
        prop_assert!(within.ceil() <= f64::from(per_second) + 0.5, "{within}");
    }
}

#[test]
fn the_next_minute_is_the_ehrs() {
    let at = |text: &str, random| until_next_minute(Timestamp::parse(text).unwrap(), random);
    assert_eq!(at("2026-11-23T10:00:00Z", 0), Duration::from_secs(60));
    assert_eq!(at("2026-11-23T10:00:59.5Z", 0), Duration::from_millis(500));
    for random in [1, u64::MAX, 1 << 40] {
        let wait = at("2026-11-23T10:00:30Z", random);
        assert!(wait > Duration::from_secs(30) && wait < Duration::from_secs(35), "{wait:?}");
    }
}

#[tokio::test]
async fn everyone_who_talks_to_an_ehr_shares_its_pace() {
    let (paces, _, clock) = paces();
    let (one, same) = (paces.of(limits("e", Some(100.0)), &clock), paces.of(limits("e", Some(100.0)), &clock));
    let other = paces.of(limits("other", None), &clock);
    let begun = Instant::now();
    for n in 0..20 {
        let pace = if n % 2 == 0 { &one } else { &same };
        pace.turn(Class::Read, PATIENT).await.unwrap().ended(Outcome::Answered).await;
        other.turn(Class::Read, PATIENT).await.unwrap().ended(Outcome::Answered).await;
    }
    let took = begun.elapsed();
    assert!(took >= Duration::from_micros(19 * 10_400), "{took:?}");
    assert_eq!((other.pacing(), one.pacing().is_some()), (None, true));
    assert_eq!(paces.of(limits("e", None), &clock).pacing(), None, "the latest profile counts");
}

#[tokio::test]
async fn with_many_waiting_the_rate_is_reached() {
    let (paces, _, clock) = paces();
    let pace =
        paces.of(Limits { at_once: Told { limit: 64, source: String::new(), is_published: false }, ..limits("e", Some(200.0)) }, &clock);
    let begun = Instant::now();
    let one = |pace: Arc<Pace>| async move {
        let permit = pace.turn(Class::Crawl, PATIENT).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        permit.ended(Outcome::Answered).await;
    };
    let all: Vec<_> = (0..400).map(|_| tokio::spawn(one(Arc::clone(&pace)))).collect();
    for each in all {
        each.await.unwrap();
    }
    let reached = 400.0 / begun.elapsed().as_secs_f64();
    assert!((100.0..=206.0).contains(&reached), "{reached}");
}

#[tokio::test]
async fn a_hold_ends_by_the_clock_and_a_shorter_one_does_not_end_it_sooner() {
    let (paces, hand, clock) = paces();
    let pace = paces.of(limits("e", None), &clock);
    // Two are on their way when the first is answered.
    let (first, second) = (pace.turn(Class::Read, PATIENT).await.unwrap(), pace.turn(Class::Read, PATIENT).await.unwrap());
    first.ended(Outcome::Throttled(Duration::from_secs(60))).await;
    second.ended(Outcome::Throttled(Duration::from_secs(10))).await;
    let refused = pace.turn(Class::Write, Duration::ZERO).await.err().unwrap();
    assert_eq!(refused.why, Why::Asked);
    assert!(refused.left > Duration::from_secs(59) && refused.left <= Duration::from_secs(60), "{refused:?}");
    assert!(pace.ready(Duration::ZERO).await.is_err());
    hand.0.fetch_add(61_000_000, Ordering::Relaxed);
    pace.ready(Duration::ZERO).await.unwrap();
    pace.turn(Class::Write, Duration::ZERO).await.unwrap();
}

#[tokio::test]
async fn failures_of_one_resource_stop_nothing_and_failures_of_the_ehr_stop_all() {
    let (paces, hand, clock) = paces();
    let pace = paces.of(limits("e", None), &clock);
    let fail = |how| {
        let pace = Arc::clone(&pace);
        async move { pace.turn(Class::Read, Duration::ZERO).await.unwrap().ended(how).await }
    };
    for _ in 0..20 {
        fail(Outcome::Failed(7)).await;
    }
    fail(Outcome::Answered).await;
    for n in 0..5 {
        fail(Outcome::Failed(n)).await;
    }
    let refused = pace.turn(Class::Read, Duration::ZERO).await.err().unwrap();
    assert_eq!(refused.why, Why::Failing);
    hand.0.fetch_add(6_000_000, Ordering::Relaxed);
    fail(Outcome::Answered).await;
    for n in 0..5 {
        fail(Outcome::Failed(100 + n)).await;
    }
    assert!(pace.turn(Class::Read, Duration::ZERO).await.is_err());
}

#[tokio::test]
async fn no_more_are_on_their_way_than_allowed_and_a_write_back_comes_first() {
    let (paces, _, clock) = paces();
    let pace = paces.of(Limits { at_once: Told { limit: 2, source: String::new(), is_published: false }, ..limits("e", None) }, &clock);
    let (first, second) = (pace.turn(Class::Crawl, PATIENT).await.unwrap(), pace.turn(Class::Crawl, PATIENT).await.unwrap());
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    for (name, class) in [("crawl", Class::Crawl), ("write", Class::Write)] {
        let (pace, tell) = (Arc::clone(&pace), tell.clone());
        tokio::spawn(async move {
            let permit = pace.turn(class, PATIENT).await.unwrap();
            tell.send(name).unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
            drop(permit);
        });
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(told.try_recv().is_err(), "a third is on its way");
    drop(first);
    assert_eq!((told.recv().await, told.recv().await), (Some("write"), Some("crawl")));
    drop(second);
}
