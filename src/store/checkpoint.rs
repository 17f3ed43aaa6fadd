//! Moves SQLite's log into the database file beside the writer, and lets the log begin anew before it grows long.
//!
//! A log begins anew when all of it was moved and nobody reads from it any more. Under a steady import that moment never comes by itself,
//! and to stop the writer until it came would hold a page's write up for as long as the move takes. So bulk batches alone are held back
//! for the rest of the move, and the writer stops only when nothing is left of it. A log that begins anew keeps its file's length: to
//! write over it is half the work for the fsync of an interactive commit, which else has the file system's journal to wait for.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use diesel::prelude::*;
use diesel::sql_types::BigInt;

use super::connection::{Conn, Location, Purpose};
use super::error::StoreError;
use super::lanes::{Lane, Lanes, lock};

/// A log below this is left alone.
const LEAVE: u64 = 16 << 20;
/// Frames (a page of 4 KiB and its header each) above which a log is made to begin anew: about 64 MB.
const LONG: i64 = 16_000;
/// How much longer a log must be for the next try, where a reader was in the way.
const LONGER: i64 = 4_000;
/// Above this the writer stops for a checkpoint all the same, so that the log cannot outgrow the disk: a reader may hold it for long.
const STOP: u64 = 256 << 20;
/// How often the log is looked at.
const EVERY: Duration = Duration::from_millis(250);
/// While pages are served: an interactive commit's fsync waits for what a checkpoint has on its way to the disk, so let that be little.
const EVERY_SHARED: Duration = Duration::from_millis(50);
/// How long the writer may be stopped for readers that have not moved on, in milliseconds.
const READERS_MAY_TAKE: u32 = 10;
/// Moves of what was written during the move before, while bulk batches are held back.
const ROUNDS: usize = 4;
/// Interactive commits that are worth a look; one bulk batch is.
const WORTH_A_LOOK: usize = 64;

/// The background thread, and what it shares with the writer.
pub(super) struct Checkpointer {
    wal: PathBuf,
    shared: Arc<Shared>,
    commits: AtomicUsize,
    thread: Option<std::thread::JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    written: AtomicUsize,
    stop: AtomicBool,
    sleep: Mutex<()>,
    wake: Condvar,
}

/// How far a checkpoint came, in frames of the log.
#[derive(QueryableByName)]
struct Moved {
    #[diesel(sql_type = BigInt)]
    busy: i64,
    #[diesel(sql_type = BigInt)]
    log: i64,
    #[diesel(sql_type = BigInt)]
    checkpointed: i64,
}

impl Checkpointer {
    pub(super) fn start(path: PathBuf, lanes: Arc<Lanes>) -> Self {
        let mut wal = path.clone().into_os_string();
        wal.push("-wal");
        let wal = PathBuf::from(wal);
        let shared = Arc::new(Shared::default());
        let (watched, told) = (wal.clone(), Arc::clone(&shared));
        let thread = std::thread::Builder::new().name("checkpoint".to_owned()).spawn(move || {
            let mut mover = Mover { path, lanes, conn: None, long: LONG };
            while !told.stop.load(Ordering::SeqCst) {
                if told.written.load(Ordering::Relaxed) >= WORTH_A_LOOK && size(&watched) > LEAVE {
                    told.written.store(0, Ordering::Relaxed);
                    if let Err(error) = mover.shorten() {
                        tracing::debug!(error = %error, "a checkpoint did not finish; the next one goes on");
                    }
                }
                let guard = lock(&told.sleep);
                drop(told.wake.wait_timeout(guard, if mover.lanes.are_shared() { EVERY_SHARED } else { EVERY }));
            }
        });
        Self { wal, shared, commits: AtomicUsize::new(0), thread: thread.ok() }
    }

    /// To be called with the writer at hand.
    pub(super) fn after_commit(&self, lane: Lane, conn: &mut Conn) {
        self.shared.written.fetch_add(if lane == Lane::Bulk { WORTH_A_LOOK } else { 1 }, Ordering::Relaxed);
        // Looking at the file's size at every commit would cost a system call for nothing.
        if self.commits.fetch_add(1, Ordering::Relaxed) % 16 == 15 && size(&self.wal) > STOP {
            drop(conn.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)"));
        }
    }
}

/// What the background thread works with.
struct Mover {
    path: PathBuf,
    lanes: Arc<Lanes>,
    conn: Option<Conn>,
    /// Frames above which the log is made to begin anew.
    long: i64,
}

impl Mover {
    /// Moves what is in the log; makes it begin anew where it is long.
    fn shorten(&mut self) -> Result<(), StoreError> {
        let log = self.checkpoint("PASSIVE")?.log;
        if log < self.long {
            return Ok(());
        }
        let lanes = Arc::clone(&self.lanes);
        let _held_back = lanes.hold_bulk_back();
        for _ in 0..ROUNDS {
            let moved = self.checkpoint("PASSIVE")?;
            if moved.checkpointed >= moved.log {
                break;
            }
        }
        let _turn = lanes.enter(Lane::Interactive);
        let restarted = self.checkpoint("RESTART")?.busy == 0;
        self.long = if restarted { LONG } else { log + LONGER };
        Ok(())
    }

    fn checkpoint(&mut self, mode: &str) -> Result<Moved, StoreError> {
        if self.conn.is_none() {
            let mut conn = Conn::open(&Location::Sqlite(self.path.clone()), Purpose::Read)?;
            conn.execute_batch(&format!("PRAGMA busy_timeout = {READERS_MAY_TAKE}"))?;
            self.conn = Some(conn);
        }
        match self.conn.as_mut() {
            Some(Conn::Sqlite(c)) => Ok(diesel::sql_query(format!("PRAGMA wal_checkpoint({mode})")).get_result(c)?),
            _ => Err(StoreError::Busy),
        }
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.shared.wake.notify_all();
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn size(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |m| m.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A database with a log of some hundred frames, and what moves it.
    fn world(name: &str) -> (Conn, Mover) {
        let path = std::env::temp_dir().join(format!("fhir-engage-checkpoint-{name}-{}.db", std::process::id()));
        drop(std::fs::remove_file(&path));
        let mut writer = Conn::open(&Location::Sqlite(path.clone()), Purpose::Write).unwrap();
        writer.execute_batch("CREATE TABLE t (x BLOB)").unwrap();
        grow(&mut writer);
        (writer, Mover { path, lanes: Arc::default(), conn: None, long: 100 })
    }

    fn grow(writer: &mut Conn) {
        writer.execute_batch("INSERT INTO t SELECT zeroblob(1000000)").unwrap();
    }

    fn close(writer: Conn, mover: Mover) {
        let path = mover.path.clone();
        drop((writer, mover));
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_long_log_begins_anew_in_a_file_of_the_same_length() {
        let (mut writer, mut mover) = world("anew");
        let mut wal = mover.path.clone().into_os_string();
        wal.push("-wal");
        let before = size(Path::new(&wal));
        assert!(before > 1_000_000);
        mover.shorten().unwrap();
        assert_eq!(mover.long, LONG);
        writer.execute_batch("CREATE TABLE u (x)").unwrap();
        assert!(mover.checkpoint("PASSIVE").unwrap().log < 10, "only what was written since");
        assert_eq!(size(Path::new(&wal)), before);
        close(writer, mover);
    }

    #[test]
    fn a_reader_puts_it_off_and_holds_nobody_up_for_long() {
        let (mut writer, mut mover) = world("reader");
        let mut reader = Conn::open(&Location::Sqlite(mover.path.clone()), Purpose::Read).unwrap();
        reader.execute_batch("BEGIN; SELECT count(*) FROM t").unwrap();
        grow(&mut writer);
        mover.shorten().unwrap();
        assert!(mover.long > LONGER, "{}", mover.long);
        assert_ne!(mover.long, LONG);
        // Neither lane was left closed, and the writer writes.
        drop(mover.lanes.enter(Lane::Bulk));
        grow(&mut writer);
        reader.execute_batch("COMMIT").unwrap();
        mover.long = 100;
        mover.shorten().unwrap();
        assert_eq!(mover.long, LONG);
        drop(reader);
        close(writer, mover);
    }
}
