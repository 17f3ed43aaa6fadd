//! The machine's clock: the only place that reads it. A demo runs with an offset, so that its present is the instant its data was made for.

use chrono::TimeDelta;
use domain::{Clock, Timestamp};

/// The machine's clock, moved by a fixed span.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    offset: TimeDelta,
}

impl SystemClock {
    /// The machine's clock, moved by `offset`; zero for all but a demo.
    #[must_use]
    pub const fn with_offset(offset: TimeDelta) -> Self {
        Self { offset }
    }

    /// The machine's clock, moved so that it shows `instant` now.
    #[must_use]
    pub fn showing(instant: Timestamp) -> Self {
        Self { offset: instant.since(machine()) }
    }

    /// By how much it is moved.
    #[must_use]
    pub const fn offset(&self) -> TimeDelta {
        self.offset
    }
}

#[expect(clippy::disallowed_methods, reason = "everybody else takes a Clock")]
fn machine() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        machine().plus(self.offset)
    }
}
