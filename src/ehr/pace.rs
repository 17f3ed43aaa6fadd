//! How fast one EHR may be asked (standards.md E.4): so many requests a second, evenly, by everyone who talks to it, so many at once, so many
//! in an hour and a day; and nothing at all for a while after it said that it is too much, or failed again and again. Requests for tokens
//! count too. A redirect that a read follows does not.
//!
//! What all share is a [`Ledger`], kept by a [`Keeper`]: in this process, or by all nodes together, which is handed in. A [`Pace`] is one
//! process's side of it: who waits here, and the turns that were given to this process.

mod driver;
mod keeper;
mod ledger;
mod line;
mod seats;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::{Clock, Timestamp};
use serde::{Deserialize, Serialize};

pub use driver::{Outcome, Pace, Permit};
pub use keeper::{Answered, Keeper, KeeperFailed, Own};
pub use ledger::{Ask, Breaker, Class, Given, Ledger, Now, Reply, SPAN, Why, distance};
pub use seats::Seat;

use super::limits::Limits;

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

/// How it stands with turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pacing {
    /// How long whoever asks now would wait.
    pub wait: Duration,
    /// From turn to turn.
    pub distance: Duration,
}

/// Nothing is asked for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}; it goes on in {} s", .left.as_secs().max(1))]
pub struct Paused {
    /// For how long.
    pub left: Duration,
    /// Why.
    pub why: Why,
}

/// How long an EHR is left alone that throttles and does not say for how long: until its next minute begins, since that is when the
/// counts of those that behave so begin anew, and up to five seconds more.
#[must_use]
pub fn until_next_minute(theirs: Timestamp, random: u64) -> Duration {
    const MINUTE: i64 = 60_000_000;
    let left = MINUTE - theirs.micros().rem_euclid(MINUTE);
    Duration::from_micros(left.unsigned_abs()) + Duration::from_micros(random % 5_000_000)
}

impl Paused {
    /// When it goes on.
    #[must_use]
    pub fn until(&self, now: Timestamp) -> Timestamp {
        now.plus(chrono::TimeDelta::from_std(self.left).unwrap_or(chrono::TimeDelta::MAX))
    }
}

/// The paces of this process, by what is shared: two connections to one EHR have one.
#[derive(Clone, Default)]
pub struct Paces {
    /// Who keeps the ledgers; each pace its own where absent.
    keeper: Option<(Arc<dyn Keeper>, String)>,
    known: Arc<Mutex<HashMap<String, Arc<Pace>>>>,
}

impl Paces {
    /// Paces that share what a keeper keeps, under the name of this node, which no other has.
    #[must_use]
    pub fn kept_by(keeper: Arc<dyn Keeper>, node: String) -> Self {
        Self { keeper: Some((keeper, node)), known: Arc::default() }
    }

    /// The pace of an EHR with these limits. The clock decides when a hold ends where nobody else keeps the ledger.
    #[must_use]
    pub fn of(&self, limits: Limits, clock: &Arc<dyn Clock>) -> Arc<Pace> {
        let mut all = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || {
            let own = || -> (Arc<dyn Keeper>, String) { (Arc::new(Own::new(Arc::clone(clock))), "this process".to_owned()) };
            let (keeper, node) = self.keeper.clone().unwrap_or_else(own);
            Arc::new(Pace::new(keeper, node, limits.clone()))
        };
        let pace = Arc::clone(all.entry(limits.name.clone()).or_insert_with(new));
        pace.set(limits);
        pace
    }
}

#[cfg(test)]
#[path = "pace/tests.rs"]
mod tests;
