//! Who keeps a ledger.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::{Clock, Timestamp};
use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::ledger::{Ask, Given, Ledger, Now, Reply};
use crate::ehr::limits::Limits;

/// The ledger could not be asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the limits cannot be asked: {0}")]
pub struct KeeperFailed(pub String);

/// A reply, and when it was given.
#[derive(Clone, Copy, Debug)]
pub struct Answered {
    /// The reply.
    pub reply: Reply,
    /// The instant on the line of turns that was seen.
    pub now: Timestamp,
    /// On this process's own clock: between these two.
    pub seen: (Instant, Instant),
    /// How much is left of a pause.
    pub left: Duration,
}

/// Keeps the ledgers of paces, and lets one node at a time ask.
pub trait Keeper: Send + Sync {
    /// Asks.
    fn ask<'a>(&'a self, limits: &'a Limits, ask: Ask) -> BoxFuture<'a, Result<Answered, KeeperFailed>>;

    /// For how long a pause that was told is believed without asking again.
    fn believed(&self) -> Duration;
}

/// A ledger of this process alone.
pub struct Own {
    zero: Instant,
    clock: Arc<dyn Clock>,
    ledger: Mutex<Ledger>,
}

impl Own {
    /// An empty one; holds end by this clock, turns lie on the machine's own.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { zero: Instant::now(), clock, ledger: Mutex::default() }
    }
}

impl Keeper for Own {
    fn ask<'a>(&'a self, limits: &'a Limits, ask: Ask) -> BoxFuture<'a, Result<Answered, KeeperFailed>> {
        let seen = Instant::now();
        let since = i64::try_from((seen - self.zero).as_micros()).unwrap_or(i64::MAX);
        // An empty ledger says that turns are given away up to zero.
        let now = Now { wall: self.clock.now(), line: Timestamp::from_micros(since.saturating_add(1)) };
        let reply = self.ledger.lock().unwrap_or_else(PoisonError::into_inner).ask(limits, &ask, now);
        let left = left(&reply, now.wall);
        Box::pin(std::future::ready(Ok(Answered { reply, now: now.line, seen: (seen, seen), left })))
    }

    fn believed(&self) -> Duration {
        Duration::ZERO
    }
}

/// How much of a pause is left.
fn left(reply: &Reply, now: Timestamp) -> Duration {
    match reply.given {
        Given::Paused(until, _) => until.since(now).to_std().unwrap_or_default(),
        Given::Turns { .. } | Given::Later(_) => Duration::ZERO,
    }
}

impl Answered {
    /// A reply that was given at an instant, seen between two of this process's clock.
    #[must_use]
    pub fn at(reply: Reply, now: Now, seen: (Instant, Instant)) -> Self {
        Self { reply, now: now.line, seen, left: left(&reply, now.wall) }
    }
}
