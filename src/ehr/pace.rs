//! How fast one EHR may be asked (standards.md E.4): so many requests a second, evenly, by everyone in this process who talks to it, and
//! nothing at all for a while after it said that it is too much. Requests for tokens count too. A redirect that a read follows does not.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use url::Url;

/// Requests per second, to a thousandth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Rate {
    thousandths: u32,
}

/// Not a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("requests_per_second must be from 0.001 to 100000")]
pub struct NotARate;

impl TryFrom<f64> for Rate {
    type Error = NotARate;

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked")]
    fn try_from(per_second: f64) -> Result<Self, NotARate> {
        let fits = (0.001..=100_000.0).contains(&per_second);
        if fits { Ok(Self { thousandths: (per_second * 1000.0).round() as u32 }) } else { Err(NotARate) }
    }
}

impl From<Rate> for f64 {
    fn from(rate: Rate) -> Self {
        Self::from(rate.thousandths) / 1000.0
    }
}

/// Turns at even distances. Pure: an instant is a time since whatever zero the caller keeps.
///
/// The distance is a hundredth longer than the rate asks for: requests take unequal times to arrive, and two turns that lie just more
/// than a second apart must not arrive within one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turns {
    distance: Duration,
    next: Duration,
}

impl Turns {
    /// Turns at a rate, the first one at once.
    #[must_use]
    pub fn at(rate: Rate) -> Self {
        Self { distance: Duration::from_secs(1010) / rate.thousandths.max(1), next: Duration::ZERO }
    }

    /// Takes the next turn, and tells when it is. A turn that nobody took in time is lost: there is never a burst.
    pub fn take(&mut self, now: Duration) -> Duration {
        let turn = self.next.max(now);
        self.next = turn + self.distance;
        turn
    }

    /// How long whoever asks now would wait.
    #[must_use]
    pub fn wait(&self, now: Duration) -> Duration {
        self.next.saturating_sub(now)
    }
}

/// How it stands with turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pacing {
    /// How long whoever asks now would wait.
    pub wait: Duration,
    /// From turn to turn.
    pub distance: Duration,
}

/// How long an EHR is left alone that throttles and does not say for how long: until its next minute begins, since that is when the
/// counts of those that behave so begin anew, and up to five seconds more.
#[must_use]
pub fn until_next_minute(theirs: Timestamp, random: u64) -> Duration {
    const MINUTE: i64 = 60_000_000;
    let left = MINUTE - theirs.micros().rem_euclid(MINUTE);
    Duration::from_micros(left.unsigned_abs()) + Duration::from_micros(random % 5_000_000)
}

/// The pace of one EHR, shared by all who talk to it.
pub struct Pace {
    zero: Instant,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    turns: Option<(Rate, Turns)>,
    held_until: Option<Timestamp>,
}

impl Default for Pace {
    /// As fast as it goes.
    fn default() -> Self {
        Self { zero: Instant::now(), state: Mutex::default() }
    }
}

impl Pace {
    /// Sets the rate; `None` is none.
    pub fn set(&self, rate: Option<Rate>) {
        let mut state = self.state();
        if state.turns.map(|(known, _)| known) != rate {
            state.turns = rate.map(|r| (r, Turns::at(r)));
        }
    }

    /// Waits for the next turn. Whoever goes away while waiting has used it up.
    pub async fn turn(&self) {
        let now = self.zero.elapsed();
        let turn = self.state().turns.as_mut().map(|(_, turns)| turns.take(now));
        if let Some(turn) = turn.filter(|t| *t > now) {
            tokio::time::sleep_until(self.zero + turn).await;
        }
    }

    /// How it stands with turns; `None` where there is no rate.
    #[must_use]
    pub fn pacing(&self) -> Option<Pacing> {
        let now = self.zero.elapsed();
        self.state().turns.as_ref().map(|(_, turns)| Pacing { wait: turns.wait(now), distance: turns.distance })
    }

    /// Nothing is to be asked before an instant.
    pub fn hold(&self, until: Timestamp) {
        let mut state = self.state();
        state.held_until = state.held_until.max(Some(until));
    }

    /// For how long nothing is to be asked; `None` where it may be.
    #[must_use]
    pub fn held(&self, now: Timestamp) -> Option<Duration> {
        let until = self.state().held_until?;
        until.since(now).to_std().ok().filter(|left| !left.is_zero())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The paces of this process, by FHIR base: two connections to one EHR share one.
#[derive(Clone, Default)]
pub struct Paces(Arc<Mutex<HashMap<String, Arc<Pace>>>>);

impl Paces {
    /// The pace of the EHR at a base, set to a rate.
    #[must_use]
    pub fn of(&self, base: &Url, rate: Option<Rate>) -> Arc<Pace> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let pace = Arc::clone(all.entry(base.as_str().trim_end_matches('/').to_owned()).or_default());
        pace.set(rate);
        pace
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rate(per_second: f64) -> Rate {
        Rate::try_from(per_second).unwrap()
    }

    #[test]
    fn rates_are_read_as_numbers() {
        for (text, told) in [("10", Some(10.0)), ("4.167", Some(4.167)), ("0.001", Some(0.001)), ("0", None), ("-1", None), ("1e9", None)] {
            let read = serde_json::from_str::<Rate>(text);
            assert_eq!(read.ok().map(f64::from), told, "{text}");
        }
    }

    proptest! {
        /// However requests come, no second holds more of them than allowed; and where there is always one waiting, nearly as many.
        #[test]
        fn no_second_holds_more_than_allowed(per_second in 1_u32..500, gaps in proptest::collection::vec(0_u64..3_000, 1..600)) {
            let mut turns = Turns::at(rate(f64::from(per_second)));
            let mut now = Duration::ZERO;
            let mut taken = Vec::new();
            for gap in &gaps {
                now += Duration::from_micros(*gap);
                taken.push(turns.take(now));
            }
            for (at, first) in taken.iter().enumerate() {
                let within = taken[at..].iter().filter(|t| **t < *first + Duration::from_secs(1)).count();
                prop_assert!(within <= per_second as usize, "{within} within a second");
            }
        }
    }

    #[test]
    fn with_one_always_waiting_it_reaches_its_rate() {
        let mut turns = Turns::at(rate(100.0));
        let last = (0..1_000).map(|_| turns.take(Duration::ZERO)).last().unwrap();
        let reached = 999.0 / last.as_secs_f64();
        assert!((95.0..=100.0).contains(&reached), "{reached}");
        assert_eq!(turns.wait(last), Turns::at(rate(100.0)).distance);
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
        let paces = Paces::default();
        let base = |text: &str| Url::parse(text).unwrap();
        let (one, same) = (paces.of(&base("https://e.org/r4"), Some(rate(100.0))), paces.of(&base("https://e.org/r4/"), Some(rate(100.0))));
        let other = paces.of(&base("https://e.org/other"), None);
        let begun = Instant::now();
        for n in 0..20 {
            if n % 2 == 0 {
                one.turn().await
            } else {
                same.turn().await
            }
            other.turn().await;
        }
        let took = begun.elapsed();
        assert!(took >= Duration::from_micros(19 * 10_100), "{took:?}");
        assert_eq!((other.pacing(), one.pacing().is_some()), (None, true));
        assert_eq!(paces.of(&base("https://e.org/r4"), None).pacing(), None, "the latest profile counts");
    }

    #[test]
    fn a_hold_ends_by_the_clock_and_a_shorter_one_does_not_end_it_sooner() {
        let pace = Pace::default();
        let at = |seconds: i64| Timestamp::from_micros(seconds * 1_000_000);
        assert_eq!(pace.held(at(0)), None);
        pace.hold(at(60));
        pace.hold(at(10));
        assert_eq!((pace.held(at(0)), pace.held(at(60)), pace.held(at(61))), (Some(Duration::from_secs(60)), None, None));
    }
}
