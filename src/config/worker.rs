//! The loop that runs the stages.

use chrono::TimeDelta;

use super::reader::Section;

/// The worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Worker {
    /// How long a lease lasts without a sign of life: how long another node waits before it takes over a dead one's work.
    pub lease: TimeDelta,
    /// How often each EHR is synced.
    pub sync_every: TimeDelta,
    /// How often the other stages look for work that is due, where nothing nudges them.
    pub tick: TimeDelta,
}

impl Worker {
    pub(super) fn read(s: &mut Section<'_, '_>) -> Self {
        let (second, hour) = (TimeDelta::seconds(1), TimeDelta::hours(1));
        Self {
            lease: s.span("lease", second * 6, hour).unwrap_or(TimeDelta::seconds(60)),
            sync_every: s.span("sync_every", second * 10, hour * 24 * 7).unwrap_or(TimeDelta::minutes(15)),
            tick: s.span("tick", second, hour).unwrap_or(TimeDelta::seconds(10)),
        }
    }
}
