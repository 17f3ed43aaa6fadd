//! A pass over patients or weeks: how far it came, as text that a later run goes on from; and the weeks. Pure.
//!
//! What a pass has read is known since its beginning, however often it was cut off: a run that goes on with it makes nothing younger.

use std::str::FromStr;

use chrono::TimeDelta;
use domain::Timestamp;

/// How far a pass came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pass {
    /// When it began, by our clock.
    pub started: Timestamp,
    /// Units that were read.
    pub done: i64,
    /// Units that could not be read.
    pub failed: i64,
    /// Stored resources that the units read so far had to show.
    pub expected: i64,
    /// Those of them that were not shown, and that no read has told of yet.
    pub missed: i64,
    /// The last unit; absent at the beginning.
    pub key: Option<String>,
}

impl Pass {
    /// One that begins.
    #[must_use]
    pub const fn at(started: Timestamp) -> Self {
        Self { started, done: 0, failed: 0, expected: 0, missed: 0, key: None }
    }

    /// Whether more has disappeared than is believed without asking: more than `percent` of what should be there, and more than a handful.
    #[must_use]
    pub const fn is_mass_disappearance(&self, percent: u8) -> bool {
        self.missed > A_HANDFUL && self.missed.saturating_mul(100) > self.expected.saturating_mul(percent as i64)
    }
}

/// So many may always disappear: a small clinic closes a day.
pub const A_HANDFUL: i64 = 20;

impl std::fmt::Display for Pass {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { started, done, failed, expected, missed, key } = self;
        write!(f, "pass {} {done} {failed} {expected} {missed} {}", started.micros(), key.as_deref().unwrap_or_default())
    }
}

/// A resume point that this version did not write: the pass begins anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stored resume point is not one of a pass")]
pub struct NotAPass;

impl FromStr for Pass {
    type Err = NotAPass;

    fn from_str(text: &str) -> Result<Self, NotAPass> {
        let mut parts = text.strip_prefix("pass ").ok_or(NotAPass)?.splitn(6, ' ');
        let mut number = || parts.next().and_then(|part| part.parse::<i64>().ok()).ok_or(NotAPass);
        let (started, done, failed, expected, missed) = (number()?, number()?, number()?, number()?, number()?);
        let key = parts.next().filter(|key| !key.is_empty()).map(str::to_owned);
        Ok(Self { started: Timestamp::from_micros(started), done, failed, expected, missed, key })
    }
}

const DAY: i64 = 86_400_000_000;
const WEEK: i64 = 7 * DAY;

/// The days to read, as the first instant and the first after the last day (UTC).
#[must_use]
pub fn span(now: Timestamp, back_days: u16, ahead_days: u16) -> (Timestamp, Timestamp) {
    let today = Timestamp::from_micros(now.micros().div_euclid(DAY) * DAY);
    (today.plus(-TimeDelta::days(back_days.into())), today.plus(TimeDelta::days(i64::from(ahead_days) + 1)))
}

/// The same in parts of at most a week. They end where they end whatever the day, so that a pass that was cut off goes on with the same.
#[must_use]
pub fn weeks((from, until): (Timestamp, Timestamp)) -> Vec<(Timestamp, Timestamp)> {
    let first = from.micros().div_euclid(WEEK);
    let parts = (first..).map(|n| (n.saturating_mul(WEEK), n.saturating_add(1).saturating_mul(WEEK)));
    let within = parts.take_while(|(start, _)| *start < until.micros());
    within.map(|(start, end)| (from.max(Timestamp::from_micros(start)), until.min(Timestamp::from_micros(end)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    #[test]
    fn a_pass_is_read_as_it_is_written() {
        let new = Pass::at(at("2026-11-23T15:00:00Z"));
        for pass in [new.clone(), Pass { done: 3, failed: 1, expected: 9, missed: 2, key: Some("pat-1 x".to_owned()), ..new }] {
            assert_eq!(pass.to_string().parse(), Ok(pass));
        }
        for text in ["", "1800000000000000", "1800000000000000 1800000000000000", "pass 1 2", "pass x 0 0 0 0 k"] {
            assert_eq!(text.parse::<Pass>(), Err(NotAPass), "{text}");
        }
    }

    #[test]
    fn a_handful_and_a_small_share_may_disappear() {
        let pass = |missed, expected| Pass { missed, expected, ..Pass::at(Timestamp::from_micros(0)) };
        for (missed, expected, mass) in [(20, 20, false), (21, 105, false), (21, 104, true), (21, 21, true), (1000, 10_000, false)] {
            assert_eq!(pass(missed, expected).is_mass_disappearance(20), mass, "{missed} of {expected}");
        }
    }

    #[test]
    fn the_parts_of_a_span_are_the_span_and_end_at_the_same_instants_tomorrow() {
        let now = at("2026-11-25T20:15:00Z");
        let whole = span(now, 7, 90);
        assert_eq!(whole, (at("2026-11-18T00:00:00Z"), at("2027-02-24T00:00:00Z")));
        let parts = weeks(whole);
        assert_eq!((parts[0].0, parts[parts.len() - 1].1), whole);
        assert!(parts.windows(2).all(|two| two[0].1 == two[1].0));
        assert!(parts.iter().all(|(from, until)| from < until && until.since(*from) <= TimeDelta::days(7)));
        let tomorrow = weeks(span(now.plus(TimeDelta::days(1)), 7, 90));
        let ends = |parts: &[(Timestamp, Timestamp)]| parts.iter().map(|p| p.1).collect::<Vec<_>>();
        assert!(ends(&tomorrow)[..10].iter().all(|end| ends(&parts).contains(end)));
        assert_eq!(weeks(span(now.plus(TimeDelta::days(2)), 0, 1)).len(), 1);
    }
}
