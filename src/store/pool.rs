//! Connections kept open, and the transactions on them.
//!
//! SQLite has one writer at a time, and two lanes queue for it (`lanes`). Interactive commits are fsynced: an attempt that says `sending` must still say so after a power cut. Bulk commits
//! are not, since an import that loses its last batches is repeated without harm; the next interactive commit makes them durable too.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

use super::checkpoint::Checkpointer;
use super::connection::{Conn, Location, Purpose};
use super::error::StoreError;
use super::lanes::{Lane, Lanes, lock};

const READERS: usize = 4;
const WRITERS_POSTGRES: usize = 4;
const BULK_ROWS: usize = 5_000;
const BULK_ROWS_SHARED: usize = 250;
pub(super) struct Pool {
    location: Location,
    readers: Slots,
    writers: Slots,
    lanes: Arc<Lanes>,
    checkpointer: Option<Checkpointer>,
}

struct Slots {
    idle: Mutex<Vec<Conn>>,
    free: Mutex<usize>,
    freed: Condvar,
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

impl Pool {
    pub(super) fn new(location: Location, first: Conn) -> Self {
        let writers = if matches!(location, Location::Sqlite(_)) { 1 } else { WRITERS_POSTGRES };
        let lanes = Arc::new(Lanes::default());
        let checkpointer = match &location {
            Location::Sqlite(path) => Some(Checkpointer::start(path.clone(), Arc::clone(&lanes))),
            Location::Postgres(_) => None,
        };
        Self { location, readers: Slots::new(READERS, None), writers: Slots::new(writers, Some(first)), lanes, checkpointer }
    }

    pub(super) fn bulk_rows(&self) -> usize {
        if self.lanes.are_shared() { BULK_ROWS_SHARED } else { BULK_ROWS }
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
            self.lanes.note_interactive();
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
            checkpointer.after_commit(lane, conn);
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
