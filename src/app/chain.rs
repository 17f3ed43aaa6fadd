//! The audit chain, verified by itself once a night.

use std::sync::atomic::{AtomicBool, Ordering};

use chrono::TimeDelta;
use domain::Timestamp;

use super::App;
use super::stages::StageError;
use crate::store::chain::{self, Standing, Stride};
use crate::worker::schedule::{Schedule, Written};

/// When, in the site's time zone: few are at work, and it is before the day's first calls.
const NIGHTLY: &str = "30 2 * * *";

/// A look at whether the chain is to be verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Night {
    /// What the walk told; `None` where it is not time yet, or the walk was stopped and goes on with the next look.
    pub told: Option<Standing>,
    /// When it is verified next.
    pub next: Timestamp,
}

impl App {
    /// Walks along the audit chain where that was not done since the last night, or never.
    ///
    /// # Errors
    /// The store's refusal, or another node is at it.
    pub async fn verify_chain(&self, stop: &AtomicBool) -> Result<Night, StageError> {
        let due = |kept: Option<&Standing>| kept.map(|s| self.nightly().next(Timestamp::from_micros(s.at), "audit"));
        let kept = self.store.read(chain::kept).await?;
        if let Some(next) = due(kept.as_ref()).filter(|at| *at > self.clock.now()) {
            return Ok(Night { told: None, next });
        }
        let lease = self.lease("audit").await?;
        let is_stopped = || stop.load(Ordering::Relaxed);
        let held = (lease.fence(), lease.term());
        let walked = chain::go_on(&self.store, self.clock.as_ref(), held, Stride::default(), &is_stopped).await;
        lease.release().await?;
        let told = walked?;
        let next = due(told.as_ref()).unwrap_or_else(|| self.clock.now());
        Ok(Night { told, next })
    }

    fn nightly(&self) -> Schedule {
        let zone = self.config.site.time_zone;
        let written = Written { cron: Some(NIGHTLY.to_owned()), time_zone: zone.name().to_owned(), ..Written::default() };
        let daily = TimeDelta::hours(24);
        Schedule::of(&written, daily).unwrap_or_else(|_| Schedule::every(daily, zone))
    }
}
