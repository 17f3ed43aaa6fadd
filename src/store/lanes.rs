//! Who writes next to SQLite, which has one writer at a time: an interactive write goes before any bulk batch that waits.

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Which queue a write waits in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Someone waits for it; durable when it returns.
    Interactive,
    /// A batch of an import or of a re-evaluation.
    Bulk,
}

/// How long after an interactive write others are expected.
const SHARED_FOR_MILLIS: i64 = 2_000;

pub(super) struct Lanes {
    turn: Mutex<Turn>,
    changed: Condvar,
    interactive_waiting: AtomicUsize,
    started: Instant,
    last_interactive: AtomicI64,
}

#[derive(Default)]
struct Turn {
    writing: Option<Lane>,
    bulk_held_back: bool,
}

/// The writer's turn, until dropped.
pub(super) struct LaneGuard<'a>(&'a Lanes);

/// No bulk batch is written until this is dropped.
pub(super) struct HeldBack<'a>(&'a Lanes);

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // The guarded values are lists, counters and flags: a panic elsewhere cannot leave them half changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Default for Lanes {
    fn default() -> Self {
        Self {
            turn: Mutex::default(),
            changed: Condvar::new(),
            interactive_waiting: AtomicUsize::new(0),
            started: Instant::now(),
            last_interactive: AtomicI64::new(-SHARED_FOR_MILLIS),
        }
    }
}

impl Lanes {
    fn millis(&self) -> i64 {
        i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX)
    }

    /// Notes that someone writes and waits for it.
    pub(super) fn note_interactive(&self) {
        self.last_interactive.store(self.millis(), Ordering::Relaxed);
    }

    /// Whether someone wrote and waited for it lately.
    pub(super) fn are_shared(&self) -> bool {
        self.millis().saturating_sub(self.last_interactive.load(Ordering::Relaxed)) < SHARED_FOR_MILLIS
    }

    /// Waits for the writer's turn.
    pub(super) fn enter(&self, lane: Lane) -> LaneGuard<'_> {
        if lane == Lane::Interactive {
            self.interactive_waiting.fetch_add(1, Ordering::SeqCst);
        }
        let mut turn = lock(&self.turn);
        while turn.writing.is_some() || (lane == Lane::Bulk && (turn.bulk_held_back || self.interactive_waiting.load(Ordering::SeqCst) > 0))
        {
            turn = self.changed.wait(turn).unwrap_or_else(PoisonError::into_inner);
        }
        turn.writing = Some(lane);
        if lane == Lane::Interactive {
            self.interactive_waiting.fetch_sub(1, Ordering::SeqCst);
        }
        LaneGuard(self)
    }

    /// Holds bulk batches back, and waits for the one that is being written. Interactive writes go on.
    pub(super) fn hold_bulk_back(&self) -> HeldBack<'_> {
        let mut turn = lock(&self.turn);
        turn.bulk_held_back = true;
        while turn.writing == Some(Lane::Bulk) {
            turn = self.changed.wait(turn).unwrap_or_else(PoisonError::into_inner);
        }
        HeldBack(self)
    }
}

impl Drop for LaneGuard<'_> {
    fn drop(&mut self) {
        lock(&self.0.turn).writing = None;
        self.0.changed.notify_all();
    }
}

impl Drop for HeldBack<'_> {
    fn drop(&mut self) {
        lock(&self.0.turn).bulk_held_back = false;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn bulk_batches_that_are_held_back_let_interactive_writes_pass() {
        let lanes = Lanes::default();
        let (tell, order) = mpsc::channel();
        std::thread::scope(|scope| {
            let held_back = lanes.hold_bulk_back();
            let (lanes, bulk) = (&lanes, tell.clone());
            scope.spawn(move || {
                let _turn = lanes.enter(Lane::Bulk);
                bulk.send(Lane::Bulk).unwrap();
            });
            for _ in 0..3 {
                let _turn = lanes.enter(Lane::Interactive);
                tell.send(Lane::Interactive).unwrap();
            }
            drop(held_back);
        });
        drop(tell);
        use Lane::{Bulk, Interactive};
        assert_eq!(order.into_iter().collect::<Vec<_>>(), [Interactive, Interactive, Interactive, Bulk]);
    }

    #[test]
    fn holding_back_waits_for_the_batch_that_is_being_written() {
        let lanes = Lanes::default();
        let (tell, order) = mpsc::channel();
        std::thread::scope(|scope| {
            let turn = lanes.enter(Lane::Bulk);
            let (lanes, told) = (&lanes, tell.clone());
            let (begun, has_begun) = mpsc::channel();
            scope.spawn(move || {
                begun.send(()).unwrap();
                let _held_back = lanes.hold_bulk_back();
                told.send("held back").unwrap();
            });
            has_begun.recv().unwrap();
            while !lock(&lanes.turn).bulk_held_back {
                std::thread::yield_now();
            }
            tell.send("written").unwrap();
            drop(turn);
        });
        drop(tell);
        assert_eq!(order.into_iter().collect::<Vec<_>>(), ["written", "held back"]);
    }
}
