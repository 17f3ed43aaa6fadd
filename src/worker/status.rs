//! What each task did last, kept in memory for pages and probes, and counted for Prometheus.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::TimeDelta;
use domain::Timestamp;
use serde::Serialize;

use super::task::TaskReport;

/// What a task is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "phase", rename_all = "kebab-case")]
pub enum Phase {
    /// Waits for this instant or a nudge.
    Sleeping {
        /// When it wakes at the latest.
        until: Timestamp,
    },
    /// Waits for others to end: only so many run at once.
    Waiting,
    /// Runs since this instant.
    Running {
        /// Its beginning.
        since: Timestamp,
    },
    /// Ended, since the program stops.
    Stopped,
}

/// A task as an operator sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// The task.
    pub name: String,
    /// What it is doing.
    #[serde(flatten)]
    pub phase: Phase,
    /// Runs since the start of the program.
    pub runs: u64,
    /// Failures since it last went well.
    pub failures_in_a_row: u32,
    /// When its last run ended.
    pub last_ended: Option<Timestamp>,
    /// What its last run did.
    pub last_report: Option<TaskReport>,
}

/// The statuses of all tasks; cloned freely.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<Mutex<BTreeMap<String, Status>>>);

impl Health {
    /// No tasks yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// All tasks by name.
    #[must_use]
    pub fn statuses(&self) -> Vec<Status> {
        self.map(|all| all.values().cloned().collect())
    }

    /// Tasks that should have woken more than `grace` ago and did not: their loop hangs, or the machine does. A long run is no sign of that.
    #[must_use]
    pub fn overdue(&self, now: Timestamp, grace: TimeDelta) -> Vec<String> {
        self.map(|all| {
            let late = |s: &&Status| matches!(s.phase, Phase::Sleeping { until } if until.plus(grace) < now);
            all.values().filter(late).map(|s| s.name.clone()).collect()
        })
    }

    fn map<T>(&self, f: impl FnOnce(&mut BTreeMap<String, Status>) -> T) -> T {
        // Plain values: a panic elsewhere cannot leave them half changed.
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn enter(&self, name: &str, phase: Phase) {
        self.map(|all| {
            let new = || Status { name: name.to_owned(), phase, runs: 0, failures_in_a_row: 0, last_ended: None, last_report: None };
            all.entry(name.to_owned()).or_insert_with(new).phase = phase;
        });
    }

    /// Keeps a report and counts it; returns the failures in a row.
    pub(super) fn ended(&self, name: &str, report: TaskReport, took: Duration, now: Timestamp) -> u32 {
        let outcome = match (&report.failed, report.worked) {
            (Some(_), _) => "failed",
            (None, true) => "worked",
            (None, false) => "idle",
        };
        let failures = self.map(|all| {
            let Some(status) = all.get_mut(name) else { return 0 };
            status.runs += 1;
            status.failures_in_a_row = if report.failed.is_some() { status.failures_in_a_row.saturating_add(1) } else { 0 };
            status.last_ended = Some(now);
            status.last_report = Some(report);
            status.failures_in_a_row
        });
        let task = || name.to_owned();
        metrics::counter!("fhir_engage_task_runs_total", "task" => task(), "outcome" => outcome).increment(1);
        metrics::histogram!("fhir_engage_task_run_seconds", "task" => task()).record(took.as_secs_f64());
        metrics::gauge!("fhir_engage_task_failures_in_a_row", "task" => task()).set(f64::from(failures));
        metrics::gauge!("fhir_engage_task_last_run_timestamp_seconds", "task" => task()).set(seconds(now));
        failures
    }
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus knows only floats; a microsecond of a date fits well enough")]
fn seconds(t: Timestamp) -> f64 {
    t.micros() as f64 / 1e6
}
