//! Schedules where clocks change, windows over midnight, what is missed, what is held.

use chrono::TimeDelta;
use domain::Timestamp;

use super::*;

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

fn schedule(cron: &str, zone: &str, not: &[&str], only: &[&str]) -> Schedule {
    let texts = |all: &[&str]| all.iter().map(|t| (*t).to_owned()).collect();
    let written = Written {
        cron: (!cron.is_empty()).then(|| cron.to_owned()),
        time_zone: zone.to_owned(),
        not_during: texts(not),
        only_during: texts(only),
        ..Written::default()
    };
    Schedule::of(&written, TimeDelta::minutes(15)).unwrap()
}

fn times(s: &Schedule, from: &str, n: usize) -> Vec<String> {
    let mut found = Vec::new();
    let mut after = at(from);
    for _ in 0..n {
        after = s.next(after, "");
        found.push(after.to_string());
    }
    found
}

#[test]
fn a_night_with_a_gap_and_one_that_is_longer_run_once_each() {
    // New York, 2027: forward on 14 March at 2:00 (EST to EDT), back on 7 November at 2:00.
    let s = schedule("30 2 * * *", "America/New_York", &[], &[]);
    let spring = ["2027-03-13T07:30:00Z", "2027-03-14T07:00:00Z", "2027-03-15T06:30:00Z"];
    assert_eq!(times(&s, "2027-03-13T00:00:00Z", 3), spring, "2:30 is not shown on the 14th: right after the gap, at 3:00");
    let s = schedule("30 1 * * *", "America/New_York", &[], &[]);
    let autumn = ["2027-11-06T05:30:00Z", "2027-11-07T05:30:00Z", "2027-11-08T06:30:00Z"];
    assert_eq!(times(&s, "2027-11-06T00:00:00Z", 3), autumn, "1:30 is shown twice on the 7th and comes once");
    // What follows the wall clock by a star goes on through both.
    let s = schedule("0 * * * *", "America/New_York", &[], &[]);
    assert_eq!(times(&s, "2027-03-14T06:30:00Z", 2), ["2027-03-14T07:00:00Z", "2027-03-14T08:00:00Z"]);
    assert_eq!(times(&s, "2027-11-07T04:30:00Z", 3), ["2027-11-07T05:00:00Z", "2027-11-07T06:00:00Z", "2027-11-07T07:00:00Z"]);
    // Half an hour of difference, and the other half of the year.
    let s = schedule("15 2 * * *", "Australia/Lord_Howe", &[], &[]);
    assert_eq!(times(&s, "2027-10-01T16:00:00Z", 2), ["2027-10-02T15:30:00Z", "2027-10-03T15:15:00Z"]);
}

#[test]
fn a_blackout_over_midnight_belongs_to_the_day_on_which_it_begins() {
    let s = schedule("0 * * * *", "Europe/Berlin", &["fri 22:00-06:00"], &[]);
    // Friday, 15 January 2027, is one hour ahead of UTC.
    for (instant, open) in [
        ("2027-01-15T20:59:59Z", true),
        ("2027-01-15T21:00:00Z", false),
        ("2027-01-16T04:59:59Z", false),
        ("2027-01-16T05:00:00Z", true),
        ("2027-01-14T22:00:00Z", true),
        ("2027-01-16T22:00:00Z", true),
    ] {
        assert_eq!(s.is_open(at(instant)), open, "{instant}");
    }
    assert_eq!(s.opens(at("2027-01-15T23:00:00Z")), at("2027-01-16T05:00:00Z"));
    assert_eq!(s.closes(at("2027-01-15T12:00:00Z")), Some(at("2027-01-15T21:00:00Z")));
    assert_eq!(s.closes(at("2027-01-16T12:00:00Z")), Some(at("2027-01-22T21:00:00Z")));
}

#[test]
fn off_peak_hours_follow_the_clock_when_it_is_set() {
    let s = schedule("", "America/New_York", &[], &["19:00-07:00"]);
    // Closed from 7:00 to 19:00 by the wall clock on both days.
    assert_eq!(s.opens(at("2027-03-13T15:00:00Z")), at("2027-03-14T00:00:00Z"));
    assert_eq!(s.opens(at("2027-03-14T15:00:00Z")), at("2027-03-14T23:00:00Z"));
    // An edge in the gap is the gap's end.
    let s = schedule("", "America/New_York", &["02:15-05:00"], &[]);
    assert_eq!(s.closes(at("2027-03-14T05:00:00Z")), Some(at("2027-03-14T07:00:00Z")));
    assert_eq!(s.opens(at("2027-03-14T07:10:00Z")), at("2027-03-14T09:00:00Z"));
    // Between its two 1:30, a night with a longer hour opens once more.
    let s = schedule("", "America/New_York", &["00:30-01:30"], &[]);
    assert!(s.is_open(at("2027-11-07T05:45:00Z")) && !s.is_open(at("2027-11-07T06:15:00Z")) && s.is_open(at("2027-11-07T06:30:00Z")));
}

#[test]
fn a_week_that_was_missed_is_made_up_for_once() {
    let s = schedule("0 2 * * *", "UTC", &[], &[]);
    let done = |served: &str| Done { since: at("2027-01-01T00:00:00Z"), served: Some(at(served)), ..Done::default() };
    let now = at("2027-01-12T09:00:00Z");
    let due = s.due(&done("2027-01-05T02:20:00Z"), "", now);
    assert_eq!((due.at, due.why), (at("2027-01-06T02:00:00Z"), Why::Missed { was_due: at("2027-01-06T02:00:00Z") }));
    let due = s.due(&done("2027-01-12T09:10:00Z"), "", at("2027-01-12T09:10:01Z"));
    assert_eq!((due.at, due.why), (at("2027-01-13T02:00:00Z"), Why::Scheduled), "once done, its next time is the next one to come");
    // One that was set today has missed nothing.
    let fresh = Done { since: now, served: Some(at("2027-01-05T02:20:00Z")), ..Done::default() };
    assert_eq!(s.due(&fresh, "", now).at, at("2027-01-13T02:00:00Z"));
    assert_eq!(s.due(&Done { since: now, ..Done::default() }, "", now).at, at("2027-01-13T02:00:00Z"));
}

#[test]
fn what_is_due_in_closed_hours_waits_for_their_end_also_when_wanted() {
    let s = schedule("0 12 * * *", "UTC", &["08:00-18:00"], &[]);
    let done = Done { since: at("2027-01-01T00:00:00Z"), served: Some(at("2027-01-11T18:00:00Z")), ..Done::default() };
    let due = s.due(&done, "", at("2027-01-12T09:00:00Z"));
    assert_eq!((due.at, due.held_since), (at("2027-01-12T18:00:00Z"), Some(at("2027-01-12T12:00:00Z"))));
    let wanted = Done { wanted: Some((at("2027-01-12T09:30:00Z"), "ada".to_owned())), ..done.clone() };
    let due = s.due(&wanted, "", at("2027-01-12T09:31:00Z"));
    assert_eq!((due.at, due.why), (at("2027-01-12T18:00:00Z"), Why::Wanted { by: "ada".to_owned() }));
    // What was due before they began and is late runs at their end, and not at their next end.
    let due = s.due(&done, "", at("2027-01-12T20:00:00Z"));
    assert!(due.at <= at("2027-01-12T20:00:00Z"), "{due:?}");
    let failed = Done { retry: Some((2, at("2027-01-12T07:59:00Z"))), ..done };
    assert_eq!(s.due(&failed, "", at("2027-01-12T08:00:30Z")).at, at("2027-01-12T18:00:00Z"));
}

#[test]
fn an_interval_counts_from_the_end_of_the_last_and_the_first_is_at_once() {
    let s = Schedule::every(TimeDelta::minutes(15), Tz::UTC);
    let since = at("2027-01-01T00:00:00Z");
    let due = s.due(&Done { since, ..Done::default() }, "", at("2027-01-12T09:00:00Z"));
    assert_eq!((due.at, due.why), (since, Why::First));
    let done = Done { since, served: Some(at("2027-01-12T09:00:00Z")), ..Done::default() };
    assert_eq!(s.due(&done, "", at("2027-01-12T09:01:00Z")).at, at("2027-01-12T09:15:00Z"));
}

#[test]
fn a_jitter_is_the_same_on_all_nodes_and_differs_by_what_is_read() {
    let written = Written { cron: Some("0 2 * * *".to_owned()), time_zone: "UTC".to_owned(), jitter_seconds: 600, ..Written::default() };
    let s = Schedule::of(&written, TimeDelta::minutes(15)).unwrap();
    let (from, base) = (at("2027-01-12T00:00:00Z"), at("2027-01-12T02:00:00Z"));
    let of = |salt: &str| s.next(from, salt).since(base).num_seconds();
    let spread: std::collections::BTreeSet<i64> = (0..50).map(|n| of(&format!("north-{n}/Patient"))).collect();
    assert!(spread.len() > 25 && spread.iter().all(|n| (0..600).contains(n)), "{spread:?}");
    assert_eq!(of("north/Patient"), of("north/Patient"));
    // The one that was late by its jitter is not followed by itself.
    let late = s.next(from, "north/Patient");
    assert_eq!(s.next(late, "north/Patient").to_utc().date_naive().to_string(), "2027-01-13");
}

#[test]
fn what_cannot_be_is_refused_with_what_to_write() {
    let of = |w: Written| Schedule::of(&w, TimeDelta::minutes(15)).unwrap_err().to_string();
    let base = || Written { time_zone: "UTC".to_owned(), ..Written::default() };
    let cron = |text: &str| of(Written { cron: Some(text.to_owned()), ..base() });
    for text in ["", "2", "60 2 * * *", "* * * * * *", "0 2 * * mon-", "tomorrow at two o'clock sharp"] {
        assert!(cron(text).contains("five fields"), "{text}: {}", cron(text));
    }
    assert!(cron("0 2 30 2 *").contains("never comes"));
    assert!(of(Written { time_zone: "New York".to_owned(), ..base() }).contains("IANA"));
    for text in ["7-19", "07:00", "25:00-26:00", "07:60-08:00", "moon 07:00-08:00", "24:00-01:00", "07:00-00:00x", "mon- 07:00-08:00"] {
        assert!(of(Written { not_during: vec![text.to_owned()], ..base() }).contains("span of the week"), "{text}");
    }
    assert!(of(Written { not_during: vec!["00:00-24:00".to_owned()], ..base() }).contains("no time"));
    assert!(
        of(Written { only_during: vec!["mon 08:00-09:00".to_owned()], not_during: vec!["mon 07:00-10:00".to_owned()], ..base() })
            .contains("no time")
    );
    assert!(of(Written { every_seconds: Some(1), ..base() }).contains("a minute"));
    assert!(Schedule::stored("{\"cron\":5}", TimeDelta::minutes(15)).is_err());
}
