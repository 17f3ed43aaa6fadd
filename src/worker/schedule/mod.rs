//! When something that recurs is due: by a cron expression in a time zone or by an interval, outside of closed hours, spread by a jitter, and
//! once only for however many times were missed. Pure: every question takes the instant that it is about.
//!
//! Cron expressions are those of POSIX with the usual extensions (lists, ranges, steps, names, `@daily`), by the crate `croner`, which
//! follows Vixie cron where clocks are set: a fixed time that a spring night leaves out comes right after the gap, one that an autumn
//! night shows twice comes once, and a pattern with `*` follows the wall clock.

mod windows;

use std::str::FromStr as _;

use chrono::TimeDelta;
use chrono_tz::Tz;
use croner::Cron;
use domain::Timestamp;
use serde::{Deserialize, Serialize};

pub use windows::{Window, Windows};

/// A schedule that cannot be: what is wrong with it, and what to write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSchedule {
    /// Not a cron expression.
    #[error("{0:?} is not a cron expression: it has five fields (minute, hour, day of month, month, day of week), such as \"30 2 * * *\"")]
    Cron(String),
    /// One that never comes.
    #[error("{0:?} never comes: there is no such day")]
    NeverComes(String),
    /// Not a time zone.
    #[error("{0:?} is not a time zone: write an IANA name such as \"America/New_York\"")]
    Zone(String),
    /// Not a window.
    #[error(
        "{0:?} is not a span of the week: write it as \"07:00-19:00\" or \"mon-fri 07:00-19:00\"; one over midnight belongs to the day on which it begins"
    )]
    Window(String),
    /// Nothing is left of the week.
    #[error("the windows leave no time of the week open")]
    NeverOpen,
    /// A length out of bounds.
    #[error("{0} is out of bounds: {1}")]
    Span(&'static str, &'static str),
    /// Written by another version, or damaged.
    #[error("the stored schedule cannot be read; set it anew with `fhir-engage sync schedule set`")]
    Unreadable,
}

/// What recurs.
#[derive(Clone, Debug)]
pub enum Recurs {
    /// So long after the end of the last time.
    Every(TimeDelta),
    /// As a cron expression says.
    Cron(Box<Cron>, String),
}

/// A schedule.
#[derive(Clone, Debug)]
pub struct Schedule {
    recurs: Recurs,
    zone: Tz,
    jitter: TimeDelta,
    windows: Windows,
}

/// A schedule as it is written down.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Written {
    /// A cron expression; or `every_seconds`; or neither, for the installation's usual interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cron: Option<String>,
    /// An interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every_seconds: Option<i64>,
    /// IANA name of the zone of the expression and of the windows.
    pub time_zone: String,
    /// Up to so much later, at a moment that all nodes agree on.
    #[serde(default)]
    pub jitter_seconds: i64,
    /// Blackouts: nothing begins in these spans, and what runs stops at its next safe point.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_during: Vec<String>,
    /// Off-peak hours: only in these spans.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub only_during: Vec<String>,
}

/// What was done of a schedule so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Since when the schedule holds: nothing was missed before.
    pub since: Timestamp,
    /// What was due until then is done.
    pub served: Option<Timestamp>,
    /// Failures since then, and when it is tried again.
    pub retry: Option<(u32, Timestamp)>,
    /// Someone wants it now: since when, and who.
    pub wanted: Option<(Timestamp, String)>,
}

/// Why something is due then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "why")]
pub enum Why {
    /// It never was done.
    First,
    /// Its time comes.
    Scheduled,
    /// Its time was missed; it is made up for once.
    Missed {
        /// When it should have been.
        was_due: Timestamp,
    },
    /// It failed so often in a row.
    Retry {
        /// So often.
        failures: u32,
    },
    /// Someone wants it now.
    Wanted {
        /// Who.
        by: String,
    },
}

/// When something is due.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Due {
    /// Not before.
    pub at: Timestamp,
    /// Why.
    #[serde(flatten)]
    pub why: Why,
    /// It would have been due then, but that was in closed hours.
    pub held_since: Option<Timestamp>,
}

/// Between its time and its being taken notice of nothing was missed.
const GRACE: TimeDelta = TimeDelta::minutes(10);

impl Schedule {
    /// An interval without anything else: what holds where nobody set anything.
    #[must_use]
    pub fn every(interval: TimeDelta, zone: Tz) -> Self {
        Self { recurs: Recurs::Every(interval), zone, jitter: TimeDelta::zero(), windows: Windows::default() }
    }

    /// Reads a schedule; `usual` is the interval where it names neither a cron expression nor one.
    ///
    /// # Errors
    /// [`BadSchedule`], with what to write.
    pub fn of(written: &Written, usual: TimeDelta) -> Result<Self, BadSchedule> {
        let zone: Tz = written.time_zone.parse().map_err(|_| BadSchedule::Zone(written.time_zone.clone()))?;
        let recurs = match (&written.cron, written.every_seconds) {
            (Some(text), _) => cron(text, zone)?,
            (None, Some(seconds)) if (60..=31 * 86_400).contains(&seconds) => Recurs::Every(TimeDelta::seconds(seconds)),
            (None, Some(_)) => return Err(BadSchedule::Span("the interval", "from a minute to 31 days")),
            (None, None) => Recurs::Every(usual),
        };
        if !(0..=86_400).contains(&written.jitter_seconds) {
            return Err(BadSchedule::Span("the jitter", "at most a day"));
        }
        let windows = Windows::of(&written.not_during, &written.only_during)?;
        Ok(Self { recurs, zone, jitter: TimeDelta::seconds(written.jitter_seconds), windows })
    }

    /// Reads what is stored.
    ///
    /// # Errors
    /// [`BadSchedule`].
    pub fn stored(json: &str, usual: TimeDelta) -> Result<Self, BadSchedule> {
        let written: Written = serde_json::from_str(json).map_err(|_| BadSchedule::Unreadable)?;
        Self::of(&written, usual)
    }

    /// Whether it counts from the last time, and not by the clock.
    #[must_use]
    pub const fn is_interval(&self) -> bool {
        matches!(self.recurs, Recurs::Every(_))
    }

    /// Whether it may run at an instant.
    #[must_use]
    pub fn is_open(&self, at: Timestamp) -> bool {
        self.windows.is_open(at, self.zone)
    }

    /// The first instant from `at` on at which it may run.
    #[must_use]
    pub fn opens(&self, at: Timestamp) -> Timestamp {
        self.windows.opens(at, self.zone)
    }

    /// The first instant after `at` at which it must stop; `None` where that is not within a week.
    #[must_use]
    pub fn closes(&self, at: Timestamp) -> Option<Timestamp> {
        self.windows.closes(at, self.zone)
    }

    /// Its first time after an instant, without regard to closed hours. `salt` names what it is the schedule of.
    #[must_use]
    pub fn next(&self, after: Timestamp, salt: &str) -> Timestamp {
        let time = match &self.recurs {
            Recurs::Every(interval) => after.plus(*interval),
            Recurs::Cron(cron, _) => {
                let local = after.to_utc().with_timezone(&self.zone);
                cron.find_next_occurrence(&local, false).map_or(Timestamp::MAX, |t| Timestamp::from(t.to_utc()))
            }
        };
        time.plus(self.spread(time, salt))
    }

    /// The part of the jitter that one time of one schedule gets: the same on all nodes, and in each listing.
    fn spread(&self, time: Timestamp, salt: &str) -> TimeDelta {
        let Ok(most) = u64::try_from(self.jitter.num_seconds()) else { return TimeDelta::zero() };
        if most == 0 {
            return TimeDelta::zero();
        }
        let mut first = [0; 8];
        let hash = blake3::hash(format!("{salt} {}", time.micros()).as_bytes());
        first.iter_mut().zip(hash.as_bytes()).for_each(|(to, from)| *to = *from);
        TimeDelta::seconds(i64::try_from(u64::from_le_bytes(first) % most).unwrap_or(0))
    }

    /// When it is due next, seen from `now`. What is due and was not done stays due, once, however many times went by.
    #[must_use]
    pub fn due(&self, done: &Done, salt: &str, now: Timestamp) -> Due {
        let (wished, why) = match (&done.retry, done.served, &self.recurs) {
            (Some((failures, at)), _, _) => (*at, Why::Retry { failures: *failures }),
            (None, None, Recurs::Every(_)) => (done.since, Why::First),
            (None, served, _) => {
                // A schedule that was set later has missed nothing before. An interval counts from the last time whoever set it.
                let from = match self.recurs {
                    Recurs::Every(_) => served.unwrap_or(done.since),
                    Recurs::Cron(..) => served.map_or(done.since, |s| s.max(done.since)),
                };
                let at = self.next(from, salt);
                let missed = now.since(self.opens(at)) > GRACE;
                (at, if missed { Why::Missed { was_due: at } } else { Why::Scheduled })
            }
        };
        let (wished, why) = match &done.wanted {
            Some((at, by)) if *at <= wished || wished > now => (*at, Why::Wanted { by: by.clone() }),
            _ => (wished, why),
        };
        // What waits already may run as soon as it is open; what is still to come, when it will be open then.
        let at = if wished <= now && self.is_open(now) { wished } else { self.opens(wished.max(now)) };
        let held = at > wished;
        Due { at, why, held_since: held.then_some(wished) }
    }

    /// The expression or the interval, with all that narrows it, in words.
    #[must_use]
    pub fn words(&self) -> String {
        let mut text = match &self.recurs {
            Recurs::Every(interval) => format!("every {}", span(*interval)),
            Recurs::Cron(_, text) => format!("{text} {}", self.zone.name()),
        };
        if self.jitter > TimeDelta::zero() {
            text.push_str(&format!(", up to {} later", span(self.jitter)));
        }
        let narrowed = self.windows.words();
        if !narrowed.is_empty() {
            text.push_str(&format!(", {narrowed}"));
            if matches!(self.recurs, Recurs::Every(_)) {
                text.push_str(&format!(" {}", self.zone.name()));
            }
        }
        text
    }
}

fn cron(text: &str, zone: Tz) -> Result<Recurs, BadSchedule> {
    let fields = text.split_whitespace().count();
    let named = text.trim().starts_with('@');
    if !named && fields != 5 {
        return Err(BadSchedule::Cron(text.to_owned()));
    }
    let cron = Cron::from_str(text).map_err(|_| BadSchedule::Cron(text.to_owned()))?;
    // From any instant: what comes at all comes within the four years from one leap day to the next, or the eight around 2100.
    let from = Timestamp::from_micros(1_767_225_600_000_000).to_utc().with_timezone(&zone);
    if cron.find_next_occurrence(&from, false).is_err() {
        return Err(BadSchedule::NeverComes(text.to_owned()));
    }
    Ok(Recurs::Cron(Box::new(cron), text.trim().to_owned()))
}

/// A span in its largest whole unit.
fn span(span: TimeDelta) -> String {
    let seconds = span.num_seconds();
    let units = [("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)];
    let (unit, size) = units.into_iter().find(|u| seconds >= u.1 && seconds % u.1 == 0).unwrap_or(("s", 1));
    format!("{} {unit}", seconds / size)
}

#[cfg(test)]
mod tests;
