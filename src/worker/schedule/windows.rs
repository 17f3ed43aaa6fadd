//! Closed and open hours of a week, by the wall clock of a zone.

use chrono::offset::LocalResult;
use chrono::{Datelike as _, Days, NaiveDate, NaiveDateTime, TimeDelta, TimeZone as _, Timelike as _, Weekday};
use chrono_tz::Tz;
use domain::Timestamp;

use super::BadSchedule;

const DAY: u32 = 24 * 60;

/// A span of some days of the week. One whose end is not after its beginning goes over midnight and belongs to the day on which it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    days: [bool; 7],
    /// Minutes of the day.
    from: u32,
    until: u32,
    text: String,
}

/// Blackouts and off-peak hours.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Windows {
    closed: Vec<Window>,
    open: Vec<Window>,
}

impl Window {
    /// Reads `07:00-19:00`, `mon-fri 07:00-19:00` or `sat,sun 00:00-24:00`.
    ///
    /// # Errors
    /// [`BadSchedule::Window`].
    pub fn parse(text: &str) -> Result<Self, BadSchedule> {
        Self::read(text).ok_or_else(|| BadSchedule::Window(text.to_owned()))
    }

    fn read(text: &str) -> Option<Self> {
        let text = text.trim();
        let (days, hours) = text.rsplit_once(' ').map_or((None, text), |(days, hours)| (Some(days.trim()), hours));
        let (from, until) = hours.split_once('-')?;
        let (from, until) = (minute(from)?, minute(until)?);
        let days = days.map_or(Some([true; 7]), days_of)?;
        (from < DAY && until > 0).then(|| Self { days, from, until, text: text.to_ascii_lowercase() })
    }

    const fn is_over_midnight(&self) -> bool {
        self.until <= self.from
    }

    fn is_of(&self, day: Weekday) -> bool {
        self.days.get(day.num_days_from_monday() as usize).copied().unwrap_or(false)
    }

    fn holds(&self, local: NaiveDateTime) -> bool {
        let (day, minute) = (local.weekday(), local.hour() * 60 + local.minute());
        if self.is_over_midnight() {
            (self.is_of(day) && minute >= self.from) || (self.is_of(day.pred()) && minute < self.until)
        } else {
            self.is_of(day) && (self.from..self.until).contains(&minute)
        }
    }

    /// Its beginning and its end on the day on which it begins.
    fn edges(&self, date: NaiveDate) -> Option<[NaiveDateTime; 2]> {
        let midnight = date.and_hms_opt(0, 0, 0)?;
        let end = if self.is_over_midnight() { self.until + DAY } else { self.until };
        Some([self.from, end].map(|minutes| midnight + TimeDelta::minutes(i64::from(minutes))))
    }
}

impl Windows {
    /// Reads both lists.
    ///
    /// # Errors
    /// Where one cannot be read, or nothing of the week is left.
    pub fn of(closed: &[String], open: &[String]) -> Result<Self, BadSchedule> {
        let read = |all: &[String]| all.iter().map(|t| Window::parse(t)).collect::<Result<Vec<_>, _>>();
        let windows = Self { closed: read(closed)?, open: read(open)? };
        // Asked in a zone that never changes its clocks: whatever is left is left in each week.
        let from = Timestamp::from_micros(0);
        if windows.is_open(from, Tz::UTC) || windows.next(from, Tz::UTC, true).is_some() {
            Ok(windows)
        } else {
            Err(BadSchedule::NeverOpen)
        }
    }

    /// Whether an instant is open.
    #[must_use]
    pub fn is_open(&self, at: Timestamp, zone: Tz) -> bool {
        let local = at.to_utc().with_timezone(&zone).naive_local();
        !self.closed.iter().any(|w| w.holds(local)) && (self.open.is_empty() || self.open.iter().any(|w| w.holds(local)))
    }

    /// The first open instant from `at` on.
    #[must_use]
    pub fn opens(&self, at: Timestamp, zone: Tz) -> Timestamp {
        if self.is_open(at, zone) { at } else { self.next(at, zone, true).unwrap_or(at) }
    }

    /// The first closed instant after `at`; `None` where that is not within a week.
    #[must_use]
    pub fn closes(&self, at: Timestamp, zone: Tz) -> Option<Timestamp> {
        self.next(at, zone, false)
    }

    /// The first edge of a window after `at` at which it is open, or is not.
    fn next(&self, at: Timestamp, zone: Tz, open: bool) -> Option<Timestamp> {
        let today = at.to_utc().with_timezone(&zone).date_naive();
        let first = today.checked_sub_days(Days::new(2))?;
        let mut edges: Vec<Timestamp> = Vec::new();
        for date in first.iter_days().take(11) {
            for window in self.closed.iter().chain(&self.open).filter(|w| w.is_of(date.weekday())) {
                for edge in window.edges(date).into_iter().flatten() {
                    edges.extend(instants(edge, zone));
                }
            }
        }
        edges.sort_unstable();
        edges.into_iter().find(|edge| *edge > at && self.is_open(*edge, zone) == open)
    }

    /// In words; empty where there are none.
    pub(super) fn words(&self) -> String {
        let list = |all: &[Window]| all.iter().map(|w| w.text.as_str()).collect::<Vec<_>>().join(" and ");
        let mut parts = Vec::new();
        if !self.open.is_empty() {
            parts.push(format!("only during {}", list(&self.open)));
        }
        if !self.closed.is_empty() {
            parts.push(format!("not during {}", list(&self.closed)));
        }
        parts.join(", ")
    }
}

/// The instants at which clocks show a time: two where they were set back over it, the end of the gap where they were set forward over it.
fn instants(local: NaiveDateTime, zone: Tz) -> Vec<Timestamp> {
    let utc = |t: chrono::DateTime<Tz>| Timestamp::from(t.to_utc());
    match zone.from_local_datetime(&local) {
        LocalResult::Single(t) => vec![utc(t)],
        LocalResult::Ambiguous(a, b) => vec![utc(a), utc(b)],
        LocalResult::None => (1..=DAY)
            .find_map(|minutes| zone.from_local_datetime(&(local + TimeDelta::minutes(i64::from(minutes)))).earliest())
            .map(utc)
            .into_iter()
            .collect(),
    }
}

fn minute(text: &str) -> Option<u32> {
    let (hour, minute) = text.trim().split_once(':')?;
    let two = |t: &str| t.len() == 2 && t.bytes().all(|b| b.is_ascii_digit());
    let (hour, minute): (u32, u32) = (two(hour).then(|| hour.parse().ok())??, two(minute).then(|| minute.parse().ok())??);
    (minute < 60).then_some(hour * 60 + minute).filter(|m| *m <= DAY)
}

fn days_of(text: &str) -> Option<[bool; 7]> {
    let mut days = [false; 7];
    for part in text.split(',').map(str::trim) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (Weekday, Weekday) = (first.parse().ok()?, last.parse().ok()?);
        let mut day = first;
        loop {
            *days.get_mut(day.num_days_from_monday() as usize)? = true;
            if day == last {
                break;
            }
            day = day.succ();
        }
    }
    Some(days)
}
