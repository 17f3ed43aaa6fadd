//! The loop: one for each task, with permits for how many run at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use domain::{Clock, Timestamp};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::backoff;
use super::status::{Health, Phase};
use super::stop::Stop;
use super::task::{Task, TaskReport};

/// The first tick is at most this long after the start.
const FIRST_TICK: Duration = Duration::from_secs(10);

/// Runs tasks until it is told to stop.
#[derive(Clone)]
pub struct Worker {
    clock: Arc<dyn Clock>,
    permits: Arc<Semaphore>,
    health: Health,
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Worker({} permits free)", self.permits.available_permits())
    }
}

impl Worker {
    /// A worker that runs at most `at_once` tasks at the same time (at least one).
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, at_once: usize) -> Self {
        Self { clock, permits: Arc::new(Semaphore::new(at_once.max(1))), health: Health::new() }
    }

    /// What the tasks are doing.
    #[must_use]
    pub fn health(&self) -> Health {
        self.health.clone()
    }

    /// Runs the tasks. Ends when `stop` is requested and each task has come to a safe point.
    ///
    /// `random` spreads first ticks and retries; the same seed gives the same spread.
    pub async fn run(&self, tasks: Vec<Task>, mut random: StdRng, stop: Stop) {
        let mut loops = JoinSet::new();
        for task in tasks {
            let own = StdRng::from_rng(&mut random);
            loops.spawn(self.clone().rounds(task, own, stop.clone()));
        }
        while loops.join_next().await.is_some() {}
    }

    async fn rounds(self, task: Task, mut random: StdRng, stop: Stop) {
        let name = task.name.as_str();
        let mut wait = task.period.min(FIRST_TICK).mul_f64(random.random());
        let mut may_be_nudged = true;
        loop {
            self.health.enter(name, Phase::Sleeping { until: self.after(wait) });
            tokio::select! {
                biased;
                () = stop.requested() => break,
                () = task.nudge.taken(), if may_be_nudged => {}
                () = tokio::time::sleep(wait) => {}
            }
            self.health.enter(name, Phase::Waiting);
            let permit = tokio::select! {
                biased;
                () = stop.requested() => break,
                permit = Arc::clone(&self.permits).acquire_owned() => permit,
            };
            let began = Instant::now();
            self.health.enter(name, Phase::Running { since: self.clock.now() });
            let report = guarded(&task, stop.clone()).await;
            drop(permit);
            let next = report.next;
            tell(name, &report);
            let failures = self.health.ended(name, report, began.elapsed(), self.clock.now());
            may_be_nudged = failures == 0 || next.is_some();
            wait = if failures > 0 && next.is_none() {
                backoff::delay(failures, task.period, random.random())
            } else {
                self.until(next).map_or(task.period, |t| t.min(task.period))
            };
        }
        self.health.enter(name, Phase::Stopped);
    }

    fn after(&self, wait: Duration) -> Timestamp {
        self.clock.now().plus(TimeDelta::from_std(wait).unwrap_or(TimeDelta::MAX))
    }

    /// How long until an instant that a report named; none is negative.
    fn until(&self, next: Option<Timestamp>) -> Option<Duration> {
        next.map(|next| next.since(self.clock.now()).to_std().unwrap_or(Duration::ZERO))
    }
}

/// Runs a task so that a panic ends this run and nothing else.
async fn guarded(task: &Task, stop: Stop) -> TaskReport {
    match tokio::spawn((task.run)(stop)).await {
        Ok(report) => report,
        Err(_) => TaskReport::failed("a defect stopped the run; the log has its location"),
    }
}

fn tell(name: &str, report: &TaskReport) {
    match &report.failed {
        Some(why) => tracing::warn!(task = name, did = %report.summary, why = %why, "a task failed and will run again"),
        None if report.worked => tracing::info!(task = name, did = %report.summary, "a task ran"),
        None => tracing::debug!(task = name, "a task had nothing to do"),
    }
}

#[cfg(test)]
mod tests;
