//! Connections kept open, the queue for SQLite's one writer, and the checkpointer that keeps its log short.
//!
//! SQLite has one writer at a time. Two lanes queue for it: an interactive write (a page, an attempt's state) goes before any bulk
//! batch that waits. Interactive commits are fsynced: an attempt that says `sending` must still say so after a power cut. Bulk commits
//! are not, since an import that loses its last batches is repeated without harm; the next interactive commit makes them durable too.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::connection::{Conn, Location, Purpose};
use super::error::StoreError;

/// Which queue a write waits in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Someone waits for it; durable when it returns.
    Interactive,
    /// A batch of an import or of a re-evaluation.
    Bulk,
}

const READERS: usize = 4;
const WRITERS_POSTGRES: usize = 4;
/// Above this the log is checkpointed in the background without holding the writer.
const WAL_PASSIVE: u64 = 16 << 20;
/// Above this the writer stops for a checkpoint, so that the log cannot outgrow the disk during a long import.
const WAL_STOP: u64 = 256 << 20;
const BULK_ROWS: usize = 5_000;
const BULK_ROWS_SHARED: usize = 250;
/// How long after an interactive write bulk batches stay small.
const SHARED_FOR_MILLIS: i64 = 2_000;

pub(super) struct Pool {
    location: Location,
    readers: Slots,
    writers: Slots,
    lanes: Lanes,
    started: Instant,
    last_interactive: AtomicI64,
    checkpointer: Option<Checkpointer>,
}

struct Slots {
    idle: Mutex<Vec<Conn>>,
    free: Mutex<usize>,
    freed: Condvar,
}

#[derive(Default)]
struct Lanes {
    held: Mutex<bool>,
    released: Condvar,
    interactive_waiting: AtomicUsize,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // The guarded values are a list and counters: a panic elsewhere cannot leave them half changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A connection taken out; comes back only when the work did not panic in the middle of a transaction.
struct Taken<'a> {
    slots: &'a Slots,
    conn: Option<Conn>,
}

impl Slots {
    fn new(size: usize, first: Option<Conn>) -> Self {
        Self { idle: Mutex::new(first.into_iter().collect()), free: Mutex::new(size), freed: Condvar::new() }
    }

    fn take(&self, open: impl FnOnce() -> Result<Conn, StoreError>) -> Result<Taken<'_>, StoreError> {
        let mut free = lock(&self.free);
        while *free == 0 {
            free = self.freed.wait(free).unwrap_or_else(PoisonError::into_inner);
        }
        *free -= 1;
        drop(free);
        let mut taken = Taken { slots: self, conn: None };
        let idle = lock(&self.idle).pop();
        taken.conn = Some(match idle {
            Some(conn) => conn,
            None => open()?,
        });
        Ok(taken)
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if let Some(conn) = self.conn.take().filter(|_| !std::thread::panicking()) {
            lock(&self.slots.idle).push(conn);
        }
        *lock(&self.slots.free) += 1;
        self.slots.freed.notify_one();
    }
}

struct LaneGuard<'a>(&'a Lanes);

impl Lanes {
    fn enter(&self, lane: Lane) -> LaneGuard<'_> {
        if lane == Lane::Interactive {
            self.interactive_waiting.fetch_add(1, Ordering::SeqCst);
        }
        let mut held = lock(&self.held);
        while *held || (lane == Lane::Bulk && self.interactive_waiting.load(Ordering::SeqCst) > 0) {
            held = self.released.wait(held).unwrap_or_else(PoisonError::into_inner);
        }
        *held = true;
        if lane == Lane::Interactive {
            self.interactive_waiting.fetch_sub(1, Ordering::SeqCst);
        }
        LaneGuard(self)
    }
}

impl Drop for LaneGuard<'_> {
    fn drop(&mut self) {
        *lock(&self.0.held) = false;
        self.0.released.notify_all();
    }
}

impl Pool {
    pub(super) fn new(location: Location, first: Conn) -> Self {
        let writers = if matches!(location, Location::Sqlite(_)) { 1 } else { WRITERS_POSTGRES };
        let checkpointer = match &location {
            Location::Sqlite(path) => Some(Checkpointer::start(path.clone())),
            Location::Postgres(_) => None,
        };
        Self {
            location,
            readers: Slots::new(READERS, None),
            writers: Slots::new(writers, Some(first)),
            lanes: Lanes::default(),
            started: Instant::now(),
            last_interactive: AtomicI64::new(-SHARED_FOR_MILLIS),
            checkpointer,
        }
    }

    fn millis(&self) -> i64 {
        i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX)
    }

    pub(super) fn bulk_rows(&self) -> usize {
        let shared = self.millis().saturating_sub(self.last_interactive.load(Ordering::Relaxed)) < SHARED_FOR_MILLIS;
        if shared { BULK_ROWS_SHARED } else { BULK_ROWS }
    }

    pub(super) fn read<T>(&self, f: impl FnOnce(&mut Conn) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let mut taken = self.readers.take(|| Conn::open(&self.location, Purpose::Read))?;
        let Some(conn) = taken.conn.as_mut() else { return Err(StoreError::Busy) };
        let done = f(conn);
        if matches!(done, Err(StoreError::Unusable(_))) {
            taken.conn = None;
        }
        done
    }

    pub(super) fn transaction<T>(&self, lane: Lane, f: &mut impl FnMut(&mut Conn) -> Result<T, StoreError>) -> Result<T, StoreError> {
        if lane == Lane::Interactive {
            self.last_interactive.store(self.millis(), Ordering::Relaxed);
        }
        // Within this process one at a time; other processes on the same file are held off by the busy timeout.
        let guard = matches!(self.location, Location::Sqlite(_)).then(|| self.lanes.enter(lane));
        let mut taken = self.writers.take(|| Conn::open(&self.location, Purpose::Write))?;
        let Some(conn) = taken.conn.as_mut() else { return Err(StoreError::Busy) };
        let done = Self::run(conn, lane, f);
        if matches!(done, Err(StoreError::Unusable(_))) {
            // A broken connection is not put back; the next one is opened anew.
            taken.conn = None;
        } else if let (Some(checkpointer), Some(conn)) = (&self.checkpointer, taken.conn.as_mut()) {
            checkpointer.after_commit(conn);
        }
        drop(taken);
        drop(guard);
        done
    }

    fn run<T>(conn: &mut Conn, lane: Lane, f: &mut impl FnMut(&mut Conn) -> Result<T, StoreError>) -> Result<T, StoreError> {
        if matches!(conn, Conn::Sqlite(_)) {
            conn.execute_batch(if lane == Lane::Bulk { "PRAGMA synchronous = NORMAL" } else { "PRAGMA synchronous = FULL" })?;
        }
        let begin = conn.begin();
        conn.execute_batch(begin)?;
        match f(conn) {
            Ok(value) => match conn.execute_batch("COMMIT") {
                Ok(()) => Ok(value),
                Err(error) => {
                    drop(conn.execute_batch("ROLLBACK"));
                    Err(error)
                }
            },
            Err(error) => match conn.execute_batch("ROLLBACK") {
                Ok(()) => Err(error),
                Err(StoreError::Unusable(why)) => Err(StoreError::Unusable(why)),
                // SQLite rolls back by itself after some errors, and then refuses ROLLBACK: the first error is the one to tell.
                Err(_) => Err(error),
            },
        }
    }
}

/// Moves SQLite's log into the database file beside the writer.
struct Checkpointer {
    wal: std::path::PathBuf,
    commits: AtomicUsize,
    stop: Arc<(AtomicBool, Mutex<()>, Condvar)>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Checkpointer {
    fn start(path: std::path::PathBuf) -> Self {
        let mut wal = path.clone().into_os_string();
        wal.push("-wal");
        let wal = std::path::PathBuf::from(wal);
        let stop = Arc::new((AtomicBool::new(false), Mutex::new(()), Condvar::new()));
        let (watched, told) = (wal.clone(), Arc::clone(&stop));
        let thread = std::thread::Builder::new().name("checkpoint".to_owned()).spawn(move || {
            let mut conn = None;
            while !told.0.load(Ordering::SeqCst) {
                if size(&watched) > WAL_PASSIVE {
                    if conn.is_none() {
                        conn = Conn::open(&Location::Sqlite(path.clone()), Purpose::Read).ok();
                    }
                    if let Some(Err(error)) = conn.as_mut().map(|c| c.execute_batch("PRAGMA wal_checkpoint(PASSIVE)")) {
                        tracing::debug!(error = %error, "a checkpoint did not finish; the next one goes on");
                    }
                }
                let guard = lock(&told.1);
                drop(told.2.wait_timeout(guard, Duration::from_millis(250)));
            }
        });
        Self { wal, commits: AtomicUsize::new(0), stop, thread: thread.ok() }
    }

    fn after_commit(&self, conn: &mut Conn) {
        // Looking at the file's size at every commit would cost a system call for nothing.
        if self.commits.fetch_add(1, Ordering::Relaxed) % 16 == 15 && size(&self.wal) > WAL_STOP {
            drop(conn.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)"));
        }
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.stop.0.store(true, Ordering::SeqCst);
        self.stop.2.notify_all();
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn size(path: &std::path::Path) -> u64 {
    std::fs::metadata(path).map_or(0, |m| m.len())
}
