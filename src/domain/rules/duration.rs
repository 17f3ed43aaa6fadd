//! Lengths of time as a rule writes them: `72h`, `30d`, `12 months`.
//!
//! Minutes and hours are exact. Days, weeks, months and years are calendar units in the site's zone: they keep the local time of day, and
//! a day that the month does not have becomes its last day. A length is always added to or taken from a date in the record, never
//! from `now`, so that each test has fixed thresholds.

use chrono::{Days, Months, NaiveDate, TimeDelta};
use chrono_tz::Tz;

use crate::model::time::{Timestamp, civil};

/// A unit of length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unit {
    /// 60 seconds.
    Minutes,
    /// 3600 seconds.
    Hours,
    /// Calendar days.
    Days,
    /// Seven calendar days.
    Weeks,
    /// Calendar months.
    Months,
    /// Twelve calendar months.
    Years,
}

impl Unit {
    /// The unit that a word names.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "min" | "minute" | "minutes" => Self::Minutes,
            "h" | "hour" | "hours" => Self::Hours,
            "d" | "day" | "days" => Self::Days,
            "w" | "week" | "weeks" => Self::Weeks,
            "month" | "months" => Self::Months,
            "year" | "years" => Self::Years,
            _ => return None,
        })
    }

    const fn longest_minutes(self) -> u64 {
        match self {
            Self::Minutes => 1,
            Self::Hours => 60,
            Self::Days => 24 * 60,
            Self::Weeks => 7 * 24 * 60,
            Self::Months => 31 * 24 * 60,
            Self::Years => 366 * 24 * 60,
        }
    }
}

/// A length of time: at least one unit, at most [`Duration::LONGEST_YEARS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Duration {
    amount: u32,
    unit: Unit,
}

/// Instants between the years 1 and 9998: inside, every calendar step below stays within chrono's range.
const CALENDAR: std::ops::RangeInclusive<i64> = -62_135_596_800_000_000..=253_370_764_800_000_000;

impl Duration {
    /// No rule about a patient looks further.
    pub const LONGEST_YEARS: u64 = 150;

    /// A length; `None` where it is zero or longer than [`Self::LONGEST_YEARS`].
    #[must_use]
    pub fn new(amount: u32, unit: Unit) -> Option<Self> {
        let minutes = u64::from(amount) * unit.longest_minutes();
        (1..=Self::LONGEST_YEARS * Unit::Years.longest_minutes()).contains(&minutes).then_some(Self { amount, unit })
    }

    /// Reads `72h`, `12 months`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let split = text.find(|c: char| !c.is_ascii_digit())?;
        let (amount, unit) = text.split_at_checked(split)?;
        Self::new(amount.parse().ok()?, Unit::parse(unit.trim_start_matches(' '))?)
    }

    /// The instant this much after `t`.
    #[must_use]
    pub fn after(self, t: Timestamp, zone: Tz) -> Timestamp {
        self.shift(t, zone, true)
    }

    /// The instant this much before `t`.
    #[must_use]
    pub fn before(self, t: Timestamp, zone: Tz) -> Timestamp {
        self.shift(t, zone, false)
    }

    fn shift(self, t: Timestamp, zone: Tz, later: bool) -> Timestamp {
        let calendar = !matches!(self.unit, Unit::Minutes | Unit::Hours);
        if calendar && CALENDAR.contains(&t.micros()) {
            let local = t.to_utc().with_timezone(&zone).naive_local();
            if let Some(date) = self.shift_date(local.date(), later) {
                return civil(date, local.time(), zone);
            }
        }
        let exact = TimeDelta::minutes(i64::from(self.amount) * i64::try_from(self.unit.longest_minutes()).unwrap_or(i64::MAX));
        t.plus(if later { exact } else { -exact })
    }

    fn shift_date(self, date: NaiveDate, later: bool) -> Option<NaiveDate> {
        let days = |n: u32| {
            if later { date.checked_add_days(Days::new(n.into())) } else { date.checked_sub_days(Days::new(n.into())) }
        };
        let months = |n: u32| {
            if later { date.checked_add_months(Months::new(n)) } else { date.checked_sub_months(Months::new(n)) }
        };
        match self.unit {
            Unit::Minutes | Unit::Hours => None,
            Unit::Days => days(self.amount),
            Unit::Weeks => days(self.amount * 7),
            Unit::Months => months(self.amount),
            Unit::Years => months(self.amount * 12),
        }
    }
}

impl std::fmt::Display for Duration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let plural = if self.amount == 1 { "" } else { "s" };
        match self.unit {
            Unit::Minutes => write!(f, "{}min", self.amount),
            Unit::Hours => write!(f, "{}h", self.amount),
            Unit::Days => write!(f, "{}d", self.amount),
            Unit::Weeks => write!(f, "{}w", self.amount),
            Unit::Months => write!(f, "{} month{plural}", self.amount),
            Unit::Years => write!(f, "{} year{plural}", self.amount),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calendar_units_keep_the_local_time_and_exact_ones_do_not() {
        let zone = chrono_tz::America::New_York;
        for (text, from, to) in [
            ("1d", "2026-03-07T17:00:00Z", "2026-03-08T16:00:00Z"),
            ("24h", "2026-03-07T17:00:00Z", "2026-03-08T17:00:00Z"),
            ("1 month", "2026-01-31T15:00:00Z", "2026-02-28T15:00:00Z"),
            ("1 year", "2028-02-29T15:00:00Z", "2029-02-28T15:00:00Z"),
            ("2w", "2026-10-25T14:00:00Z", "2026-11-08T15:00:00Z"),
            // 02:30 does not exist on the day the clock goes forward: the first instant that does.
            ("1d", "2026-03-07T07:30:00Z", "2026-03-08T07:00:00Z"),
        ] {
            let moved = Duration::parse(text).unwrap().after(Timestamp::parse(from).unwrap(), zone);
            assert_eq!(moved.to_string(), to, "{from} + {text}");
        }
        let back = Duration::parse("12 months").unwrap().before(Timestamp::parse("2028-02-29T15:00:00Z").unwrap(), zone);
        assert_eq!(back.to_string(), "2027-02-28T15:00:00Z");
    }

    #[test]
    fn far_instants_saturate() {
        let long = Duration::parse("150 years").unwrap();
        for micros in [i64::MIN, i64::MAX, *CALENDAR.start(), *CALENDAR.end()] {
            let t = Timestamp::from_micros(micros);
            assert!(long.after(t, chrono_tz::Pacific::Apia) >= t && long.before(t, chrono_tz::Pacific::Apia) <= t);
        }
    }

    #[test]
    fn a_length_is_at_least_one_unit_and_bounded() {
        for bad in ["0d", "151 years", "79999999999h", "d", "3", "3 fortnights", "-3d", "3.5h", ""] {
            assert_eq!(Duration::parse(bad), None, "{bad}");
        }
        assert_eq!(Duration::parse("30 days").unwrap().to_string(), "30d");
    }
}
