//! A task, what wakes it, and what it reports.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use domain::Timestamp;
use serde::Serialize;
use tokio::sync::Notify;

use super::stop::Stop;

/// What one run of a task did, for operators. Holds no patient data.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TaskReport {
    /// There was something to do, and some of it was done.
    pub worked: bool,
    /// What was done, in a sentence with counts.
    pub summary: String,
    /// Why not everything went well. What failed is tried again by the next run.
    pub failed: Option<String>,
    /// When there is something to do next, where the task knows; the next run is at that instant if the period ends later.
    pub next: Option<Timestamp>,
}

impl TaskReport {
    /// There was nothing to do.
    #[must_use]
    pub fn idle(next: Option<Timestamp>) -> Self {
        Self { summary: "nothing to do".to_owned(), next, ..Self::default() }
    }

    /// Something was done.
    #[must_use]
    pub fn worked(summary: impl Into<String>, next: Option<Timestamp>) -> Self {
        Self { worked: true, summary: summary.into(), failed: None, next }
    }

    /// It failed.
    #[must_use]
    pub fn failed(why: impl Into<String>) -> Self {
        Self { summary: "failed".to_owned(), failed: Some(why.into()), ..Self::default() }
    }
}

/// Wakes a task. Nudges that come while it runs are one nudge, which makes it run once more.
#[derive(Clone, Debug, Default)]
pub struct Nudge(Arc<Notify>);

impl Nudge {
    /// A nudge for one task.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Wakes the task, now or when its present run ends.
    pub fn give(&self) {
        self.0.notify_one();
    }

    pub(super) async fn taken(&self) {
        self.0.notified().await;
    }
}

pub(super) type Run = Arc<dyn Fn(Stop) -> Pin<Box<dyn Future<Output = TaskReport> + Send>> + Send + Sync>;

/// Periodic work.
pub struct Task {
    pub(super) name: String,
    pub(super) period: Duration,
    pub(super) nudge: Nudge,
    pub(super) run: Run,
}

impl std::fmt::Debug for Task {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Task({}, every {:?})", self.name, self.period)
    }
}

impl Task {
    /// A task that runs every `period` and when `nudge` is given. `run` is called once for each run and looks at the [`Stop`] it gets
    /// between two pieces of work; it must not be needed for its own retry.
    pub fn new<F, R>(name: impl Into<String>, period: Duration, nudge: Nudge, run: F) -> Self
    where
        F: Fn(Stop) -> R + Send + Sync + 'static,
        R: Future<Output = TaskReport> + Send + 'static,
    {
        Self { name: name.into(), period, nudge, run: Arc::new(move |stop| Box::pin(run(stop))) }
    }

    /// Its name: in logs, metrics and on the status page.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs it once, outside the loop: for a command line that runs a stage by hand.
    pub async fn run_once(&self, stop: Stop) -> TaskReport {
        (self.run)(stop).await
    }
}
