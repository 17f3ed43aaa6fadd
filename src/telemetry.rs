//! What the program tells about itself: logs on stderr, metrics for Prometheus, and what a panic leaves behind.
//!
//! Logging, the rules:
//! - A message is a sentence that a person on call can read; what varies goes into fields (`ehr`, `type`, `run`, `attempt`, `task`).
//! - `error`: someone must act. `warn`: it went on, but not as meant. `info`: a stage did something. `debug`: for a developer.
//!
//! What never to log, at any level, nor put into a metric label, an error message, a URL or a panic:
//! - what identifies or describes a patient: names, birth dates, contact points, addresses, notes, reasons, answers, resource bodies;
//! - the logical id of a patient record or of a resource about one: own row numbers and attempt ids say which, to those who may look;
//! - a parser's own message (serde quotes the value), a request's or response's body, a URL's query or path parameters;
//! - secrets: tokens, keys, passwords, connection strings, `Authorization`; the address of whoever called.
//!
//! Other crates' logs are shown from `warn` on and no finer: HTTP and database crates print URLs and values below that. So the filter is
//! built here and refuses finer levels for them.

use std::sync::{Mutex, PoisonError};

use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};
use tracing::Level;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// The variable that goes before `log.level`: a level, or levels by module such as `info,fhir_engage::sync=debug`.
pub const LOG_VARIABLE: &str = "FHIR_ENGAGE_LOG";

/// The crates whose logs are ours to vouch for.
const OURS: [&str; 4] = ["fhir_engage", "domain", "typed", "sandbox"];

/// How logs are written.
#[derive(Clone, Debug)]
pub struct Logs {
    /// One JSON object a line; else text for people.
    pub json: bool,
    /// The least level of this program's own messages.
    pub level: Level,
    /// What [`LOG_VARIABLE`] says; goes before `level`.
    pub directives: Option<String>,
}

/// Why logging could not begin.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// The directives cannot be read.
    #[error("{LOG_VARIABLE} is not a level or a list such as \"info,fhir_engage::sync=debug\"")]
    Directives,
    /// They ask for details of a crate that may print patient data.
    #[error(
        "{LOG_VARIABLE} asks for details of {0}, which may hold patient data; only modules of fhir_engage, domain, typed and sandbox can be named"
    )]
    Foreign(String),
    /// Another subscriber is in force.
    #[error("logging was set up already")]
    Twice,
}

/// Sets up logs on stderr and the panic hook, for the whole process.
///
/// # Errors
/// Where the directives cannot be read, or logging was set up already.
pub fn start(logs: &Logs) -> Result<(), LogError> {
    let filter = filter(logs)?;
    let registry = tracing_subscriber::registry().with(filter);
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let set = if logs.json {
        registry.with(layer.json().flatten_event(true)).try_init()
    } else {
        let colours = std::io::IsTerminal::is_terminal(&std::io::stderr()) && std::env::var_os("NO_COLOR").is_none();
        registry.with(layer.with_ansi(colours)).try_init()
    };
    set.map_err(|_| LogError::Twice)?;
    std::panic::set_hook(Box::new(told));
    Ok(())
}

fn filter(logs: &Logs) -> Result<Targets, LogError> {
    let mut targets = Targets::new().with_default(LevelFilter::WARN).with_targets(OURS.map(|o| (o, logs.level)));
    let Some(text) = logs.directives.as_deref().map(str::trim).filter(|t| !t.is_empty()) else {
        return Ok(targets);
    };
    let asked: Targets = text.parse().map_err(|_| LogError::Directives)?;
    if let Some(level) = asked.default_level() {
        // `parse` reads a lone unknown word as the name of a module at every level.
        targets = targets.with_targets(OURS.map(|o| (o, level)));
    }
    for (name, level) in asked.iter() {
        let own = OURS.iter().any(|o| name == *o || name.strip_prefix(o).is_some_and(|rest| rest.starts_with("::")));
        if !own && level > LevelFilter::WARN {
            return Err(LogError::Foreign(name.to_owned()));
        }
        targets = targets.with_target(name, level);
    }
    Ok(targets)
}

/// A panic's message is formatted from values, so it is told only where it is a constant of the program.
fn told(info: &std::panic::PanicHookInfo<'_>) {
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    let thread = std::thread::current();
    let message = info.payload().downcast_ref::<&'static str>().copied().unwrap_or("[not shown: it may hold data]");
    tracing::error!(location = %place, thread = thread.name().unwrap_or("unnamed"), message_of_panic = message, "a defect stopped this piece of work; please report the location");
}

/// What a metric counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, from the start of the process.
    Counter,
    /// Goes up and down.
    Gauge,
    /// A distribution, in seconds.
    Histogram,
}

/// Every metric: name, kind, labels, meaning. A label holds only names that an operator or this program gave.
pub const METRICS: [(&str, Kind, &[&str], &str); 27] = [
    ("fhir_engage_http_requests_total", Kind::Counter, &["method", "route", "status"], "Requests answered, by route pattern"),
    ("fhir_engage_http_request_seconds", Kind::Histogram, &["route"], "Time to answer a request"),
    ("fhir_engage_notifications_total", Kind::Counter, &["outcome"], "Notifications that came from EHRs, by what became of them"),
    ("fhir_engage_task_runs_total", Kind::Counter, &["task", "outcome"], "Runs of a background task: worked, idle, failed"),
    ("fhir_engage_task_run_seconds", Kind::Histogram, &["task"], "Time of one run of a background task"),
    ("fhir_engage_task_failures_in_a_row", Kind::Gauge, &["task"], "Failures of a background task since it last went well"),
    ("fhir_engage_task_last_run_timestamp_seconds", Kind::Gauge, &["task"], "When a background task last ended a run"),
    ("fhir_engage_leases_lost_total", Kind::Counter, &[], "Leases that another worker took over while this one believed to hold them"),
    ("fhir_engage_resources", Kind::Gauge, &["type"], "Resources stored"),
    ("fhir_engage_persons", Kind::Gauge, &[], "Persons known"),
    ("fhir_engage_quarantined", Kind::Gauge, &[], "Resources put aside that wait for someone"),
    ("fhir_engage_sync_known_up_to_timestamp_seconds", Kind::Gauge, &["ehr", "type"], "Changes in the EHR are known up to this instant"),
    ("fhir_engage_sync_last_run_timestamp_seconds", Kind::Gauge, &["ehr", "type"], "When the latest run began"),
    ("fhir_engage_sync_failed", Kind::Gauge, &["ehr", "type"], "1 where the latest run failed"),
    ("fhir_engage_sync_running", Kind::Gauge, &["ehr", "type"], "1 while a run goes on"),
    (
        "fhir_engage_sync_failures_in_a_row",
        Kind::Gauge,
        &["ehr", "type"],
        "Failures since it last went well, those on the way to the EHR too",
    ),
    ("fhir_engage_sync_holes", Kind::Gauge, &["ehr", "type"], "Patients of whom the type is not known, or less far"),
    ("fhir_engage_alerts_open", Kind::Gauge, &["kind"], "Open alerts"),
    ("fhir_engage_segment_persons_evaluated_total", Kind::Counter, &[], "Persons evaluated: something changed, or their time had come"),
    ("fhir_engage_segment_answers_total", Kind::Counter, &[], "Segments evaluated, over all persons; only those that read what changed"),
    ("fhir_engage_segment_changes_total", Kind::Counter, &[], "Entries, exits and holds"),
    (
        "fhir_engage_segment_early_wake_ups_total",
        Kind::Counter,
        &[],
        "Persons evaluated since their time had come, and nothing had changed",
    ),
    ("fhir_engage_segment_members", Kind::Gauge, &["segment"], "Members of a segment"),
    ("fhir_engage_segment_held", Kind::Gauge, &["segment"], "Persons held out of a segment because the answer is not known"),
    ("fhir_engage_attempts", Kind::Gauge, &["state"], "Attempts to reach a person"),
    ("fhir_engage_write_backs", Kind::Gauge, &["state"], "Write-backs to EHRs"),
    ("fhir_engage_persons_waiting", Kind::Gauge, &["stage"], "Persons that a stage has still to look at"),
];

/// Upper bounds of the histograms' buckets, in seconds: from a page out of memory to a long sync.
const BUCKETS: [f64; 12] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.3, 1.0, 5.0, 30.0, 120.0, 900.0];

/// The process's own metrics, for the route that shows them.
#[derive(Clone)]
pub struct Metrics(PrometheusHandle);

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}

impl Metrics {
    /// Installs the process's recorder at the first call; later calls return the same.
    ///
    /// # Errors
    /// Where another recorder is installed.
    pub fn install() -> Result<Self, BuildError> {
        static INSTALLED: Mutex<Option<Metrics>> = Mutex::new(None);
        let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(metrics) = &*installed {
            return Ok(metrics.clone());
        }
        let handle = PrometheusBuilder::new().set_buckets(&BUCKETS)?.install_recorder()?;
        describe(|_| true);
        let metrics = Self(handle);
        *installed = Some(metrics.clone());
        Ok(metrics)
    }

    /// In Prometheus' text format 0.0.4: the process's own metrics, then the gauges that `more` sets. The latter live only for this
    /// call, so what no longer exists is no longer shown.
    #[must_use]
    pub fn render(&self, more: impl FnOnce()) -> String {
        self.0.run_upkeep();
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            describe(|kind| kind == Kind::Gauge);
            more();
        });
        let mut text = self.0.render();
        text.push_str(&handle.render());
        text
    }
}

fn describe(which: impl Fn(Kind) -> bool) {
    for (name, kind, _, help) in METRICS.into_iter().filter(|m| which(m.1)) {
        match kind {
            Kind::Counter => metrics::describe_counter!(name, help),
            Kind::Gauge => metrics::describe_gauge!(name, help),
            Kind::Histogram => metrics::describe_histogram!(name, metrics::Unit::Seconds, help),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logs(directives: &str) -> Logs {
        Logs { json: false, level: Level::INFO, directives: Some(directives.to_owned()) }
    }

    #[test]
    fn other_crates_never_log_below_warn() {
        let shown = |directives: &str, target: &str, level: Level| filter(&logs(directives)).unwrap().would_enable(target, &level);
        for directives in ["", "debug", "trace,fhir_engage::sync=error", "off,fhir_engage=debug"] {
            assert!(!shown(directives, "hyper_util::client", Level::INFO), "{directives}");
            assert!(shown(directives, "actix_server", Level::WARN), "{directives}");
        }
        assert!(shown("", "fhir_engage::sync", Level::INFO));
        assert!(!shown("", "fhir_engage::sync", Level::DEBUG));
        assert!(shown("debug", "domain::rules", Level::DEBUG));
        assert!(!shown("debug,fhir_engage::sync=warn", "fhir_engage::sync::pull", Level::INFO));
        assert!(!shown("hyper=off", "hyper", Level::ERROR));
    }

    #[test]
    fn directives_that_would_show_patient_data_or_mean_nothing_are_refused() {
        assert_eq!(filter(&logs("info,reqwest=debug")).unwrap_err(), LogError::Foreign("reqwest".to_owned()));
        assert_eq!(filter(&logs("fhir_engage_other=debug")).unwrap_err(), LogError::Foreign("fhir_engage_other".to_owned()));
        assert_eq!(filter(&logs("verbose")).unwrap_err(), LogError::Foreign("verbose".to_owned()));
        assert_eq!(filter(&logs("fhir_engage=loud")).unwrap_err(), LogError::Directives);
    }
}
