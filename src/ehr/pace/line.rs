//! The keeper's line of time, as this process sees it: how an instant on it is found on our own clock, which may be seconds off.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::keeper::Answered;

/// What is kept of what was seen, and for how long: clocks drift.
const KEPT: usize = 16;
const HOLDS: Duration = Duration::from_secs(20);
/// What two sights may differ by, beside what each is unsure of, in microseconds; more is a clock that was moved.
const DRIFT: u64 = 20_000;

/// What was seen of the line.
#[derive(Default)]
pub(super) struct Line(VecDeque<Sight>);

/// The line showed this many microseconds at an instant of ours, give or take.
#[derive(Clone, Copy)]
struct Sight {
    line: i64,
    at: Instant,
    unsure: Duration,
}

impl Line {
    /// When an instant of the line is, by our clock: by the sight that is the least unsure.
    pub fn instant(&self, line: i64) -> Instant {
        let Some(best) = self.0.iter().min_by_key(|s| s.unsure) else { return Instant::now() };
        let ahead = line.saturating_sub(best.line);
        let distance = Duration::from_micros(ahead.unsigned_abs());
        if ahead >= 0 { best.at + distance } else { best.at.checked_sub(distance).unwrap_or(best.at) }
    }

    /// Takes in what was seen.
    pub fn see(&mut self, answered: &Answered) {
        let (before, after) = answered.seen;
        let unsure = (after - before) / 2;
        let new = Sight { line: answered.now.micros(), at: before + unsure, unsure };
        self.0.retain(|s| after.duration_since(s.at) < HOLDS);
        let micros = |d: Duration| u64::try_from(d.as_micros()).unwrap_or(u64::MAX);
        let moved = |s: &Sight| {
            let passed = i64::try_from(new.at.duration_since(s.at).as_micros()).unwrap_or(i64::MAX);
            new.line.saturating_sub(s.line).abs_diff(passed) > micros(s.unsure + unsure) + DRIFT
        };
        if self.0.iter().any(moved) {
            self.0.clear();
        }
        if self.0.len() >= KEPT {
            self.0.pop_front();
        }
        self.0.push_back(new);
    }
}
