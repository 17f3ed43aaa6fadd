//! Time as a parameter. Nobody below `app` may read the machine's clock (`.clippy.toml` forbids it).

use crate::model::time::Timestamp;

/// Tells the time. The program's clock reads the machine; the demo's runs with an offset; a test's stands still until it is moved.
pub trait Clock: Send + Sync {
    /// The present instant.
    fn now(&self) -> Timestamp;
}

/// A clock that moves only when told: for tests and for the simulator.
#[derive(Debug)]
pub struct ManualClock(std::sync::atomic::AtomicI64);

impl ManualClock {
    /// A clock that stands at `start`.
    #[must_use]
    pub const fn at(start: Timestamp) -> Self {
        Self(std::sync::atomic::AtomicI64::new(start.micros()))
    }

    /// Moves the clock to `instant`, which may be earlier than now: real clocks are also set back.
    pub fn set(&self, instant: Timestamp) {
        self.0.store(instant.micros(), std::sync::atomic::Ordering::SeqCst);
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: chrono::TimeDelta) {
        self.0.fetch_add(by.num_microseconds().unwrap_or(0), std::sync::atomic::Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(std::sync::atomic::Ordering::SeqCst))
    }
}
