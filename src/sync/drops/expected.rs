//! Whether a file that was expected by a time of day has not come. Pure.

use chrono::{Datelike as _, Days, TimeDelta, Weekday};
use domain::Timestamp;
use domain::model::time::civil;

use super::declare::{Day, Expected};

/// The instant by which a file was expected that has not come; `None` where all is well.
///
/// A file counts for a deadline where it was taken after the middle between this one and the one before: one that came late yesterday is not
/// today's. `since` is when the folder was first watched: nothing is late that was due before.
pub(super) fn late_since(expected: &Expected, now: Timestamp, since: Timestamp, last_taken: Option<Timestamp>) -> Option<Timestamp> {
    let today = now.to_utc().with_timezone(&expected.zone).date_naive();
    let mut passed = (0..=14)
        .filter_map(|back| today.checked_sub_days(Days::new(back)))
        .filter(|date| expected.days.is_empty() || expected.days.iter().any(|day| weekday(*day) == date.weekday()))
        .map(|date| civil(date, expected.by, expected.zone))
        .filter(|at| *at <= now);
    let due = passed.next()?;
    let before = passed.next().unwrap_or_else(|| due.plus(-TimeDelta::days(7)));
    let middle = due.plus(-(due.since(before) / 2));
    let came = last_taken.is_some_and(|at| at > middle);
    (due >= since && !came).then_some(due)
}

const fn weekday(day: Day) -> Weekday {
    match day {
        Day::Mon => Weekday::Mon,
        Day::Tue => Weekday::Tue,
        Day::Wed => Weekday::Wed,
        Day::Thu => Weekday::Thu,
        Day::Fri => Weekday::Fri,
        Day::Sat => Weekday::Sat,
        Day::Sun => Weekday::Sun,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    #[test]
    fn a_file_is_late_from_its_time_of_day_on_until_it_comes() {
        let daily =
            Expected { by: chrono::NaiveTime::from_hms_opt(6, 30, 0).unwrap(), zone: chrono_tz::America::New_York, days: Vec::new() };
        let weekdays = Expected { days: vec![Day::Mon, Day::Tue, Day::Wed, Day::Thu, Day::Fri], ..daily.clone() };
        let long_ago = at("2026-01-01T00:00:00Z");
        for (expected, now, last, late) in [
            // 06:30 in New York is 11:30Z in winter. 2026-11-25 is a Wednesday.
            (&daily, "2026-11-25T11:29:00Z", Some("2026-11-24T10:00:00Z"), None),
            (&daily, "2026-11-25T11:30:00Z", Some("2026-11-24T10:00:00Z"), Some("2026-11-25T11:30:00Z")),
            (&daily, "2026-11-25T11:30:00Z", Some("2026-11-25T10:00:00Z"), None),
            // Yesterday's, four hours late, is not today's.
            (&daily, "2026-11-25T12:00:00Z", Some("2026-11-24T15:30:00Z"), Some("2026-11-25T11:30:00Z")),
            (&daily, "2026-11-25T14:00:00Z", Some("2026-11-25T13:00:00Z"), None),
            (&daily, "2026-11-25T12:00:00Z", None, Some("2026-11-25T11:30:00Z")),
            // In summer 06:30 is 10:30Z; the clocks go back on 1 November 2026.
            (&daily, "2026-10-31T10:45:00Z", None, Some("2026-10-31T10:30:00Z")),
            (&daily, "2026-11-01T10:45:00Z", Some("2026-10-31T10:00:00Z"), None),
            (&daily, "2026-11-01T11:30:00Z", Some("2026-10-31T10:00:00Z"), Some("2026-11-01T11:30:00Z")),
            // No file on a Sunday is no fault; Monday's must come.
            (&weekdays, "2026-11-29T12:00:00Z", Some("2026-11-27T11:00:00Z"), None),
            (&weekdays, "2026-11-30T11:31:00Z", Some("2026-11-27T11:00:00Z"), Some("2026-11-30T11:30:00Z")),
            (&weekdays, "2026-11-30T11:31:00Z", Some("2026-11-30T11:00:00Z"), None),
        ] {
            assert_eq!(late_since(expected, at(now), long_ago, last.map(at)), late.map(at), "{now} {last:?}");
        }
        assert_eq!(late_since(&daily, at("2026-11-25T12:00:00Z"), at("2026-11-25T11:45:00Z"), None), None, "watched since a moment only");
    }
}
