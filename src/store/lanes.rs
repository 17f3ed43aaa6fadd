//! Who writes next to SQLite, which has one writer at a time: an interactive write goes before any bulk batch that waits. And how much of the
//! disk bulk batches may take while somebody waits for pages: an interactive commit's fsync has to wait for what bulk batches and the
//! checkpoints of them have on its way, so where interactive writes begin to take long, bulk batches rest between each other.

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

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
/// An interactive write that takes longer than this asks for more rest of the bulk batches.
const LONG: Duration = Duration::from_millis(15);
/// What a second in which no interactive write took long takes off the rest, in times the length of a batch. Each try at less makes the pages of
/// some tenth of a second wait, so tries have to be further apart than that by far.
const LESS_PER_SECOND: f64 = 2.0;
/// Bulk batches rest at most so many times as long as they write, so that an import goes on whatever happens.
const MOST_REST: f64 = 12.0;
/// And at most so long at a time.
const LONGEST_REST: Duration = Duration::from_millis(200);

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
    rest: Rest,
}

/// How long bulk batches stay away from the writer after each of them.
#[derive(Default)]
struct Rest {
    /// Times the length of the batch.
    times: f64,
    /// Not before this.
    until: Option<Instant>,
    /// Up to when it was made less.
    less_at: Option<Instant>,
    /// A batch was written since the last time that more rest was asked for: what was felt before was asked for already.
    is_tried: bool,
}

impl Rest {
    /// An interactive write took so long. Much more at once, and less little by little, as senders of a network do that share a line.
    fn felt(&mut self, took: Duration, now: Instant) {
        let since = self.less_at.replace(now).map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        if took <= LONG {
            self.times = (self.times - LESS_PER_SECOND * since.as_secs_f64()).max(0.0);
        } else if std::mem::take(&mut self.is_tried) {
            self.times = (self.times * 1.5 + 0.5).min(MOST_REST);
        }
    }

    /// A bulk batch took so long.
    fn after(&mut self, took: Duration, now: Instant) {
        self.is_tried = true;
        self.until = Some(now + took.mul_f64(self.times).min(LONGEST_REST));
    }

    /// What is left of it.
    fn left(&self, now: Instant) -> Option<Duration> {
        self.until?.checked_duration_since(now).filter(|left| !left.is_zero())
    }
}

/// The writer's turn, until dropped.
pub(super) struct LaneGuard<'a> {
    lanes: &'a Lanes,
    lane: Lane,
    /// When the turn was asked for, and when it came.
    asked: Instant,
    came: Instant,
}

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
        let asked = Instant::now();
        if lane == Lane::Interactive {
            self.interactive_waiting.fetch_add(1, Ordering::SeqCst);
        }
        let mut turn = lock(&self.turn);
        loop {
            if turn.writing.is_none() {
                if lane == Lane::Interactive {
                    break;
                }
                let gives_way = turn.bulk_held_back || self.interactive_waiting.load(Ordering::SeqCst) > 0;
                let rest = turn.rest.left(Instant::now()).filter(|_| self.are_shared());
                match rest {
                    Some(left) => {
                        turn = self.changed.wait_timeout(turn, left).unwrap_or_else(PoisonError::into_inner).0;
                        continue;
                    }
                    None if !gives_way => break,
                    None => {}
                }
            }
            turn = self.changed.wait(turn).unwrap_or_else(PoisonError::into_inner);
        }
        turn.writing = Some(lane);
        if lane == Lane::Interactive {
            self.interactive_waiting.fetch_sub(1, Ordering::SeqCst);
        }
        LaneGuard { lanes: self, lane, asked, came: Instant::now() }
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
        let mut turn = lock(&self.lanes.turn);
        turn.writing = None;
        let now = Instant::now();
        match self.lane {
            Lane::Interactive => turn.rest.felt(now - self.asked, now),
            Lane::Bulk => turn.rest.after(now - self.came, now),
        }
        drop(turn);
        self.lanes.changed.notify_all();
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
    fn bulk_batches_rest_as_long_as_interactive_writes_take_long() {
        let (batch, long, short) = (Duration::from_millis(10), LONG * 2, LONG / 2);
        let begun = Instant::now();
        let mut rest = Rest::default();
        rest.after(batch, begun);
        assert_eq!(rest.left(begun), None, "nobody waited long");
        rest.felt(long, begun);
        rest.after(batch, begun);
        assert_eq!(rest.left(begun), Some(batch / 2));
        assert_eq!(rest.left(begun + batch), None, "it is over");
        rest.felt(long, begun);
        let once = rest.times;
        rest.felt(long, begun);
        assert!((rest.times - once).abs() < f64::EPSILON, "what was felt of one batch is told once");
        for _ in 0..100 {
            rest.after(batch, begun);
            rest.felt(long, begun);
        }
        assert!((rest.times - MOST_REST).abs() < f64::EPSILON);
        rest.after(Duration::from_secs(10), begun);
        assert_eq!(rest.left(begun), Some(LONGEST_REST));
        // However many they are: what counts is the time in which none took long.
        for _ in 0..1_000 {
            rest.felt(short, begun);
        }
        assert!((rest.times - MOST_REST).abs() < f64::EPSILON);
        let later = begun + Duration::from_secs_f64(MOST_REST / LESS_PER_SECOND);
        rest.felt(short, later);
        rest.after(batch, later);
        assert_eq!(rest.left(later), None);
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
