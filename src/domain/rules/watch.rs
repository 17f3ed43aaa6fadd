//! The present instant, asked in one way only: "has this instant been reached?".
//!
//! A derivation or a test never sees `now`. It sees a [`Watch`], which answers for a threshold that does not itself depend on `now`, and
//! remembers the earliest threshold that was not reached yet. Up to that instant every question would be answered the same, so the
//! result cannot change before it: valid-until is sound because nothing can be computed from `now` in any other way.

use chrono::{Datelike, Days, NaiveDate};
use chrono_tz::Tz;

use crate::model::time::{Timestamp, day_start};

const LONGEST_YEAR_MICROS: i64 = 366 * 86_400 * 1_000_000;

/// Answers whether instants have been reached, and keeps the earliest that was not.
#[derive(Clone, Copy, Debug)]
pub struct Watch {
    now: Timestamp,
    until: Option<Timestamp>,
}

impl Watch {
    /// A watch that stands at `now` and was not asked yet.
    #[must_use]
    pub const fn at(now: Timestamp) -> Self {
        Self { now, until: None }
    }

    /// A watch at the same instant that was not asked yet.
    #[must_use]
    pub const fn fresh(&self) -> Self {
        Self::at(self.now)
    }

    /// Whether `instant` is now or earlier. [`Timestamp::MAX`] stands for "never".
    pub fn reached(&mut self, instant: Timestamp) -> bool {
        if self.now >= instant {
            return true;
        }
        if instant < Timestamp::MAX {
            self.until = Some(self.until.map_or(instant, |u| u.min(instant)));
        }
        false
    }

    /// Takes over what another watch at the same instant was asked.
    pub fn join(&mut self, until: Option<Timestamp>) {
        self.until = earlier(self.until, until);
    }

    /// The earliest instant that was asked for and not reached: nothing that was answered changes before it. `None`: it never changes.
    #[must_use]
    pub const fn until(&self) -> Option<Timestamp> {
        self.until
    }

    /// The midnights that have passed in `zone` since the civil day `day`; none where the day is yet to come.
    pub fn days_since(&mut self, day: NaiveDate, zone: Tz) -> i64 {
        const DAY_MICROS: i64 = 86_400 * 1_000_000;
        // Too few at first: a zone may change its offset by a day, and clocks by hours. The loop counts up as that for years does.
        let elapsed = self.now.micros().saturating_sub(day_start(day, zone).micros());
        let mut days = (elapsed / DAY_MICROS - 3).max(0);
        let after = |days: i64| day.checked_add_days(Days::new(u64::try_from(days).ok()?));
        while after(days + 1).is_some_and(|day| self.reached(day_start(day, zone))) {
            days += 1;
        }
        days
    }

    /// The completed years from the civil day `birth` to now in `zone`; `None` where the day is yet to come. Who was born on a 29th of
    /// February completes a year on the 1st of March where there is no 29th, as in CQL's `CalculateAgeInYears`.
    pub fn years_since(&mut self, birth: NaiveDate, zone: Tz) -> Option<i64> {
        let born = day_start(birth, zone);
        if !self.reached(born) {
            return None;
        }
        // Too few at first: no year is longer than this. The loop then counts up through `reached`, the only judge of the present.
        let mut years = (self.now.micros().saturating_sub(born.micros()) / LONGEST_YEAR_MICROS - 1).max(0);
        while birthday(birth, years + 1).is_some_and(|day| self.reached(day_start(day, zone))) {
            years += 1;
        }
        Some(years)
    }
}

/// The earlier of two ends of validity, where `None` is "never".
#[must_use]
pub fn earlier(a: Option<Timestamp>, b: Option<Timestamp>) -> Option<Timestamp> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

fn birthday(birth: NaiveDate, years: i64) -> Option<NaiveDate> {
    let year = birth.year().checked_add(i32::try_from(years).ok()?)?;
    birth.with_year(year).or_else(|| NaiveDate::from_ymd_opt(year, 3, 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    #[test]
    fn a_leap_day_birthday_is_the_first_of_march_in_common_years() {
        for (now, years, next) in [
            ("2026-02-28T23:59:59Z", 25, "2026-03-01"),
            ("2026-03-01T00:00:00Z", 26, "2027-03-01"),
            ("2028-02-28T23:59:59Z", 27, "2028-02-29"),
            ("2028-02-29T00:00:00Z", 28, "2029-03-01"),
        ] {
            let mut watch = Watch::at(Timestamp::parse(now).unwrap());
            assert_eq!(watch.years_since(day("2000-02-29"), Tz::UTC), Some(years), "{now}");
            assert_eq!(watch.until(), Some(day_start(day(next), Tz::UTC)), "{now}");
        }
    }

    #[test]
    fn birthdays_are_those_of_the_zone() {
        let zone = chrono_tz::America::New_York;
        let mut watch = Watch::at(Timestamp::parse("2026-05-10T03:59:59Z").unwrap());
        assert_eq!(watch.years_since(day("2000-05-10"), zone), Some(25));
        assert_eq!(watch.until(), Timestamp::parse("2026-05-10T04:00:00Z"));
        assert_eq!(Watch::at(Timestamp::parse("1999-01-01T00:00:00Z").unwrap()).years_since(day("2000-05-10"), zone), None);
    }

    #[test]
    fn the_earliest_open_threshold_is_kept_and_never_is_not_noted() {
        let t = Timestamp::from_micros;
        let mut watch = Watch::at(t(100));
        assert!(watch.reached(t(100)) && watch.reached(t(1)));
        assert_eq!(watch.until(), None);
        assert!(!watch.reached(t(300)) && !watch.reached(t(200)) && !watch.reached(Timestamp::MAX));
        assert_eq!(watch.until(), Some(t(200)));
    }
}
