//! What all nodes share of one EHR's pace, and what a node is given of it. Pure: whoever keeps a ledger takes it, lets a node ask, and puts
//! it back, alone.
//!
//! Turns lie at even distances on one line of time, the keeper's. A node is given a row of them, a fifth of a second's at most, and the
//! line moves on. What a node does not use in time is lost, so a node that dies takes nothing with it but that row, and no two nodes ever
//! hold the same turn.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::TimeDelta;
use domain::Timestamp;
use serde::Serialize;

use super::seats::{self, Seat};
use crate::ehr::limits::Limits;

/// The longest row of turns that is given at once, of a rate that has more than one in this time.
const SLICE: Duration = Duration::from_millis(200);
/// How far ahead turns are given, by class: whoever is waited for comes before a crawl.
const AHEAD_CRAWL: TimeDelta = TimeDelta::milliseconds(250);
const AHEAD_OTHERS: TimeDelta = TimeDelta::milliseconds(750);
/// The longest time for which an EHR is left alone, whatever it asks for: one that asks for a century has a mistake in its clock.
const LONGEST_HOLD: TimeDelta = TimeDelta::hours(24);
/// How long it takes from nothing to the whole rate, after the EHR said that it is too much.
const CLIMB: TimeDelta = TimeDelta::seconds(60);
/// The least share of a rate, in thousandths.
const LEAST_SHARE: i64 = 60;
/// Refusals that come within this time are one.
const ONE_EPISODE: TimeDelta = TimeDelta::seconds(2);
/// A learned rate doubles in each minute, and is no more after so many.
const LEARNED_MINUTES: i32 = 10;
/// The least that is learned, in thousandths of a request a second: who objects to less objects to something else.
const LEAST_LEARNED: i64 = 2_000;
const MINUTE: i64 = 60_000_000;
/// Failures of the EHR in a row that open the breaker.
const OPENS_AFTER: u32 = 5;
const FIRST_BREAK: TimeDelta = TimeDelta::seconds(5);
const LONGEST_BREAK: TimeDelta = TimeDelta::minutes(5);
/// How long the node is waited for that tries whether the EHR is back.
const PROBE: TimeDelta = TimeDelta::seconds(90);
/// How soon the others look again while one tries.
const LOOK_AGAIN: TimeDelta = TimeDelta::seconds(1);
/// A span of uses.
pub const SPAN: i64 = 300_000_000;
const HOUR: i64 = 12;
const DAY: i64 = 288;

/// Whom a request is for. Later ones come first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// A sync, which can wait. It leaves a fifth of the budgets of hour and day to the others.
    Crawl,
    /// A single read, a check, a token. It leaves a tenth to write-backs.
    #[default]
    Read,
    /// A write-back.
    Write,
}

impl Class {
    /// Each class.
    pub const ALL: [Self; 3] = [Self::Crawl, Self::Read, Self::Write];

    /// Up to how much of the budgets of hour and day it may go, in percent of them.
    #[must_use]
    pub const fn percent(self) -> u32 {
        match self {
            Self::Crawl => 80,
            Self::Read => 90,
            Self::Write => 100,
        }
    }

    const fn ahead(self) -> TimeDelta {
        match self {
            Self::Crawl => AHEAD_CRAWL,
            Self::Read | Self::Write => AHEAD_OTHERS,
        }
    }
}

/// Why nothing is asked for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// The EHR said that it is too much, and until when to wait.
    Asked,
    /// It failed so often in a row that it is left alone.
    Failing,
    /// What may be asked in an hour is used up.
    Hour,
    /// What may be asked in a day is used up.
    Day,
    /// The keeper of the limits cannot be asked.
    NoLedger,
}

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Asked => "the EHR asked to be left alone",
            Self::Failing => "the EHR failed again and again and is left alone for a while",
            Self::Hour => "what may be asked of the EHR in an hour is used up",
            Self::Day => "what may be asked of the EHR in a day is used up",
            Self::NoLedger => "it cannot be told how much the EHR may still be asked",
        })
    }
}

/// What a node asks for and reports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ask {
    /// The node, as the others know it.
    pub node: String,
    /// For whom.
    pub class: Class,
    /// Turns wanted; none where it only reports.
    pub want: u32,
    /// Turns given before that were not used.
    pub unused: u32,
    /// Requests of it on their way.
    pub in_flight: u32,
    /// Requests that it would have on their way.
    pub seats: u32,
    /// The EHR answered since the last report.
    pub fine: bool,
    /// Failures of the EHR since that.
    pub failed: u32,
    /// The EHR asked to be left alone for so long.
    pub throttled: Option<Duration>,
}

/// What a node is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Given {
    /// So many turns, the first at that instant.
    Turns {
        /// How many; none where none were wanted.
        count: u32,
        /// The first one.
        first: Timestamp,
        /// From turn to turn; zero where nothing is held back.
        distance: Duration,
    },
    /// Turns are given away as far ahead as they are: ask again then.
    Later(Timestamp),
    /// Nothing is asked before this instant.
    Paused(Timestamp, Why),
}

/// A node's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The turns.
    pub given: Given,
    /// How many requests it may have on their way.
    pub seats: u32,
    /// Failures are counted: the first success is worth telling at once.
    pub counting: bool,
    /// The breaker is open: what is sent now tries whether the EHR is back.
    pub trying: bool,
}

/// The time by the keeper.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// By which holds and budgets end.
    pub wall: Timestamp,
    /// On the line on which turns lie.
    pub line: Timestamp,
}

/// What all nodes share of one pace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ledger {
    /// Up to here turns are given away.
    pub next: Timestamp,
    /// The EHR asked not to be asked before.
    pub held_until: Option<Timestamp>,
    /// When it last said that it is too much.
    pub throttled_at: Option<Timestamp>,
    /// Thousandths of the rate, at `share_since`; it climbs from then on.
    pub share: i64,
    /// See `share`.
    pub share_since: Timestamp,
    /// Thousandths of a request a second, and since when: where no rate is known and the EHR said that it is too much.
    pub learned: Option<(i64, Timestamp)>,
    /// Failures in a row.
    pub failures: u32,
    /// How often in a row the breaker opened.
    pub opened: u32,
    /// Until when it is open.
    pub open_until: Option<Timestamp>,
    /// Who tries whether the EHR is back, and how long that one is waited for.
    pub probe: Option<(String, Timestamp)>,
    /// The minute in which turns were last given, by its number; how many in it, and in the one before.
    pub minutes: (i64, i64, i64),
    /// Turns given, by the number of the span of five minutes.
    pub uses: BTreeMap<i64, i64>,
    /// What each node may have on its way.
    pub seats: Vec<Seat>,
}

impl Default for Ledger {
    fn default() -> Self {
        let never = Timestamp::from_micros(0);
        Self {
            next: never,
            held_until: None,
            throttled_at: None,
            share: 1000,
            share_since: never,
            learned: None,
            minutes: (0, 0, 0),
            failures: 0,
            opened: 0,
            open_until: None,
            probe: None,
            uses: BTreeMap::new(),
            seats: Vec::new(),
        }
    }
}

/// The state of the breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Breaker {
    /// Requests go out.
    Closed,
    /// None do.
    Open,
    /// One node tries.
    HalfOpen,
}

/// How far apart turns of a rate are, counted over a span of time in which there are never more of them than it allows; and how late one
/// may be used.
///
/// The distance is longer than the rate asks for: requests take unequal times to arrive, nodes see the keeper's clock a little apart, and
/// turns that lie just more than a span apart must not arrive within one. Half of that is for being late here, the rest for the way.
#[must_use]
pub fn distance(per_second: f64, counted_over_secs: u32) -> (Duration, Duration) {
    let span = Duration::from_secs(u64::from(counted_over_secs.max(1)));
    let unequal = (span / 25).min(Duration::from_secs(1));
    let apart = (1.0 / per_second.max(0.0001)) * (1.0 + unequal.as_secs_f64() / span.as_secs_f64());
    // Whole microseconds, as instants are told.
    (
        Duration::from_nanos(Duration::from_secs_f64(apart).as_nanos().div_ceil(1000).saturating_mul(1000).try_into().unwrap_or(u64::MAX)),
        unequal / 2,
    )
}

impl Ledger {
    /// What a node is given.
    pub fn ask(&mut self, limits: &Limits, ask: &Ask, now: Now) -> Reply {
        self.hear(limits, ask, now.wall);
        let seats = seats::allot(&mut self.seats, ask, limits.at_once.limit, now.wall);
        let given = self.give(limits, ask, now);
        Reply { given, seats, counting: self.failures > 0, trying: self.open_until.is_some() }
    }

    fn give(&mut self, limits: &Limits, ask: &Ask, now: Now) -> Given {
        if let Some((until, why)) = self.paused(now.wall) {
            return Given::Paused(until, why);
        }
        let nothing = Given::Turns { count: 0, first: now.line, distance: Duration::ZERO };
        if ask.want == 0 {
            return nothing;
        }
        let mut most = ask.want;
        if self.open_until.is_some() {
            if let Some((node, until)) = &self.probe
                && *node != ask.node
                && *until > now.wall
            {
                return Given::Paused(now.wall.plus(LOOK_AGAIN).min(*until), Why::Failing);
            }
            if self.probe.is_none() || self.probe.as_ref().is_some_and(|(_, until)| *until <= now.wall) {
                self.probe = Some((ask.node.clone(), now.wall.plus(PROBE)));
                most = 1;
            } else {
                // Its try is on its way.
                return Given::Paused(now.wall.plus(LOOK_AGAIN), Why::Failing);
            }
        }
        match self.left(limits, ask.class, now.wall) {
            Ok(left) => most = most.min(left),
            Err((until, why)) => return Given::Paused(until, why),
        }
        let Some((per_second, over)) = self.rate(limits, now.wall) else {
            self.used(now.wall, i64::from(most));
            return Given::Turns { count: most, first: now.line, distance: Duration::ZERO };
        };
        let (apart, _) = distance(per_second, over);
        let apart_delta = TimeDelta::from_std(apart).unwrap_or(TimeDelta::MAX);
        // Nobody is ever given turns further ahead than this: a clock was set back.
        if self.next > now.line.plus(AHEAD_OTHERS * 2).plus(apart_delta * 2) {
            self.next = now.line.plus(apart_delta);
        }
        let first = self.next.max(now.line);
        if first > now.line.plus(ask.class.ahead()) {
            return Given::Later(first.plus(-ask.class.ahead()));
        }
        let row = u32::try_from(SLICE.as_nanos() / apart.as_nanos().max(1)).unwrap_or(u32::MAX).max(1);
        let count = most.min(row);
        self.next = first.plus(apart_delta * i32::try_from(count).unwrap_or(i32::MAX));
        self.used(now.wall, i64::from(count));
        Given::Turns { count, first, distance: apart }
    }

    /// Takes in what a node reports.
    fn hear(&mut self, limits: &Limits, ask: &Ask, now: Timestamp) {
        self.used(now, -i64::from(ask.unused));
        if ask.fine {
            (self.failures, self.opened, self.open_until, self.probe) = (0, 0, None, None);
        }
        if ask.failed > 0 {
            self.failures = self.failures.saturating_add(ask.failed);
            let tried = self.probe.as_ref().is_some_and(|(node, _)| *node == ask.node);
            if tried || (self.open_until.is_none() && self.failures >= OPENS_AFTER) {
                let doubled = FIRST_BREAK * 2_i32.saturating_pow(self.opened.min(10));
                self.open_until = Some(now.plus(doubled.min(LONGEST_BREAK)));
                self.opened = self.opened.saturating_add(1);
                self.probe = None;
            }
        }
        if let Some(wait) = ask.throttled {
            let until = now.plus(TimeDelta::from_std(wait).unwrap_or(LONGEST_HOLD).min(LONGEST_HOLD));
            let again = self.throttled_at.is_some_and(|at| now.since(at) < ONE_EPISODE) || self.held_until.is_some_and(|held| held > now);
            if !again {
                self.slow_down(limits, now);
            }
            self.held_until = self.held_until.max(Some(until));
            self.share_since = self.share_since.max(until);
            self.learned = self.learned.map(|(rate, since)| (rate, since.max(until)));
            self.throttled_at = Some(now);
        }
    }

    /// Half of what was done till now.
    fn slow_down(&mut self, limits: &Limits, now: Timestamp) {
        self.share = (self.share_at(now) / 2).max(LEAST_SHARE);
        self.share_since = now;
        if limits.frequency.is_none() {
            // What it objected to is what it was asked in the last minute.
            let minute = now.micros().div_euclid(MINUTE);
            let (latest, n, before) = self.minutes;
            let (n, before) = if latest == minute {
                (n, before)
            } else if latest == minute - 1 {
                (0, n)
            } else {
                (0, 0)
            };
            let left = MINUTE - now.micros().rem_euclid(MINUTE);
            let in_last = n + before * left / MINUTE;
            self.learned = Some(((in_last * 1000 / 60 / 2).max(LEAST_LEARNED), now));
        }
    }

    /// How much of the rate is used now, in thousandths.
    #[must_use]
    pub fn share_at(&self, now: Timestamp) -> i64 {
        let climbed = now.since(self.share_since).max(TimeDelta::zero()).num_milliseconds().saturating_mul(1000) / CLIMB.num_milliseconds();
        self.share.saturating_add(climbed).clamp(LEAST_SHARE, 1000)
    }

    /// The rate that holds now, a second, and over how many seconds it is counted.
    #[must_use]
    pub fn rate(&self, limits: &Limits, now: Timestamp) -> Option<(f64, u32)> {
        #[expect(clippy::cast_precision_loss, reason = "between 0 and 1000")]
        let share = self.share_at(now) as f64 / 1000.0;
        match (&limits.frequency, self.learned) {
            (Some(told), _) => Some((told.limit.per_second * share, told.limit.counted_over_secs)),
            (None, Some((learned, since))) => {
                #[expect(clippy::cast_precision_loss, reason = "thousandths of a rate, and milliseconds")]
                let (learned, minutes) = (learned as f64 / 1000.0, now.since(since).num_milliseconds().max(0) as f64 / 60_000.0);
                (minutes < f64::from(LEARNED_MINUTES)).then(|| (learned * minutes.exp2(), 1))
            }
            (None, None) => None,
        }
    }

    /// Until when nothing is asked, whoever asks, and why.
    #[must_use]
    pub fn paused(&self, now: Timestamp) -> Option<(Timestamp, Why)> {
        let held = self.held_until.filter(|until| *until > now).map(|until| (until, Why::Asked));
        let open = self.open_until.filter(|until| *until > now).map(|until| (until, Why::Failing));
        held.max_by_until(open)
    }

    /// Until when a class asks nothing, and why: for all, or because its share of a budget is used up.
    #[must_use]
    pub fn pause_of(&self, limits: &Limits, class: Class, now: Timestamp) -> Option<(Timestamp, Why)> {
        self.paused(now).or_else(|| self.left(limits, class, now).err())
    }

    /// The state of the breaker.
    #[must_use]
    pub fn breaker(&self, now: Timestamp) -> Breaker {
        match self.open_until {
            None => Breaker::Closed,
            Some(until) if until > now => Breaker::Open,
            Some(_) => Breaker::HalfOpen,
        }
    }

    /// Turns given within the last hour and the last day, at most: whole spans are counted.
    #[must_use]
    pub fn used_within(&self, now: Timestamp) -> (i64, i64) {
        let span = now.micros().div_euclid(SPAN);
        let within = |spans: i64| self.uses.range(span - spans..=span).map(|(_, n)| n).sum();
        (within(HOUR), within(DAY))
    }

    /// How many more a class may ask now; or from when on it may, and what is used up.
    fn left(&self, limits: &Limits, class: Class, now: Timestamp) -> Result<u32, (Timestamp, Why)> {
        let mut left = u32::MAX;
        for (told, spans, why) in [(&limits.per_hour, HOUR, Why::Hour), (&limits.per_day, DAY, Why::Day)] {
            let Some(told) = told else { continue };
            let most = (u64::from(told.limit) * u64::from(class.percent()) / 100).max(1);
            let most = i64::try_from(most).unwrap_or(i64::MAX);
            let span = now.micros().div_euclid(SPAN);
            let mut used: i64 = self.uses.range(span - spans..=span).map(|(_, n)| n).sum();
            if used < most {
                // One node must not hold what another could use.
                let some = ((most - used) / 20).max(1);
                left = left.min(u32::try_from(some).unwrap_or(u32::MAX));
                continue;
            }
            // Whole spans leave the window: the first with which enough is gone.
            for (old, n) in self.uses.range(span - spans..=span) {
                used -= n;
                if used < most {
                    return Err((Timestamp::from_micros((old + spans + 1) * SPAN), why));
                }
            }
            return Err((Timestamp::from_micros((span + spans + 1) * SPAN), why));
        }
        Ok(left)
    }

    fn used(&mut self, now: Timestamp, more: i64) {
        if more != 0 {
            let span = now.micros().div_euclid(SPAN);
            let used = self.uses.entry(span).or_default();
            *used = used.saturating_add(more).max(0);
            let minute = now.micros().div_euclid(MINUTE);
            let (latest, n, before) = self.minutes;
            self.minutes = match minute - latest {
                0 => (minute, n.saturating_add(more).max(0), before),
                1 => (minute, more.max(0), n),
                _ => (minute, more.max(0), 0),
            };
            self.uses.retain(|known, _| *known >= span - DAY);
        }
    }
}

trait Longer {
    fn max_by_until(self, other: Self) -> Self;
}

impl Longer for Option<(Timestamp, Why)> {
    fn max_by_until(self, other: Self) -> Self {
        match (self, other) {
            (Some(one), Some(other)) => Some(if other.0 > one.0 { other } else { one }),
            (one, other) => one.or(other),
        }
    }
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
