//! What an import did, and where its time went.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Problems that are listed; the quarantine holds them all.
pub(super) const LISTED: usize = 20;

/// What an import did. `lines` is the sum of `stored`, `unchanged`, `superseded`, `ignored` and `quarantined`.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct Report {
    /// Files read, standard input among them.
    pub files: u64,
    /// Lines read; blank ones do not count.
    pub lines: u64,
    /// New or changed.
    pub stored: u64,
    /// As already stored.
    pub unchanged: u64,
    /// The same id came again later, or a newer version is stored.
    pub superseded: u64,
    /// R4 types that are not synced, with how many of each.
    pub ignored: BTreeMap<String, u64>,
    /// Put aside with bytes and reason.
    pub quarantined: u64,
    /// Bytes read, after unpacking.
    pub bytes: u64,
    /// How long it took.
    pub seconds: f64,
    /// Where the time went, in seconds of the threads that worked on it; together more than `seconds` where they ran side by side.
    pub stages: Stages,
    /// The first problems, as `file:line: what is wrong`.
    pub problems: Vec<String>,
    /// It was stopped before its end; what was stored stays, and another import goes on from there.
    pub interrupted: bool,
}

/// Time per stage, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct Stages {
    /// Reading, unpacking, cutting into lines.
    pub read: f64,
    /// Parsing and projecting.
    pub parse: f64,
    /// Comparing with what is stored.
    pub compare: f64,
    /// Compressing bodies.
    pub compress: f64,
    /// Transactions.
    pub store: f64,
}

/// How far an import is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// Lines taken so far.
    pub lines: u64,
    /// Bytes taken so far, after unpacking.
    pub bytes: u64,
    /// Since the beginning.
    pub elapsed: Duration,
}

impl Progress {
    /// Lines per second since the beginning.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.lines as f64 / self.elapsed.as_secs_f64().max(0.001)
    }
}

/// What a thread spends time on.
#[derive(Clone, Copy)]
pub(in crate::sync) enum Stage {
    Read,
    Parse,
    Compare,
    Compress,
    Store,
}

/// Adds up time over threads.
#[derive(Default)]
pub(in crate::sync) struct Clocks([AtomicU64; 5]);

impl Clocks {
    pub(in crate::sync) fn add(&self, stage: Stage, spent: Duration) {
        if let Some(clock) = self.0.get(stage as usize) {
            clock.fetch_add(u64::try_from(spent.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
    }

    pub(in crate::sync) fn read(&self) -> Stages {
        let [read, parse, compare, compress, store] = &self.0;
        let seconds = |nanos: &AtomicU64| Duration::from_nanos(nanos.load(Ordering::Relaxed)).as_secs_f64();
        Stages { read: seconds(read), parse: seconds(parse), compare: seconds(compare), compress: seconds(compress), store: seconds(store) }
    }
}
