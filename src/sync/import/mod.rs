//! Files to store: NDJSON of one EHR, gzipped or not, types mixed or not.
//!
//! One thread reads and cuts into lines, several parse, compare, project and compress, one commits. Channels between them are short, so
//! memory is the same whatever a file's size. Order is kept from line to commit: of two lines with one id the later wins, unless both
//! carry `meta.lastUpdated`, then the newer.
//!
//! All types' leases are held from the beginning, so that an import and a sync of the same EHR never mix. A type of which no line came
//! stays as it was.

mod commit;
mod prepare;
mod report;
mod source;
#[cfg(test)]
mod tests;
mod turns;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use domain::clock::Clock;
use domain::model::{EhrId, ResourceType};

use super::lease::{self, Holder, Refused};
use crate::ehr::profile::{Profile, ProfileError};
use crate::store::leases::Fence;
use crate::store::{Store, StoreError, ehrs, sync_state};
use commit::{Committer, Desk};
use prepare::{Bench, Prepared};
use report::{Clocks, Stage};
use source::Batch;
use turns::{InFlight, Turns};

pub(super) use commit::Shown;
pub use report::{Progress, Report, Stages};
pub(super) use source::{Input, unpacked};

/// Batches that may wait between two threads.
const WAITING: usize = 2;
/// More threads than this cannot be fed by one reader.
const MOST_WORKERS: usize = 8;
/// By how much the threads that parse are nicer than the one that writes.
#[cfg(target_os = "linux")]
const STEP_BACK: i32 = 10;

/// Why nothing, or not everything, was imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// No path was named.
    #[error("name at least one file or folder, or - for standard input")]
    NoPaths,
    /// Standard input twice.
    #[error("- (standard input) can be named once only")]
    StdinTwice,
    /// A path that cannot be read.
    #[error("cannot read {}: check that it exists and that this user may read it", path.display())]
    Unreadable {
        /// The path as it was named, or as it was found in a folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A folder without anything to import.
    #[error("the folder {} holds no file that ends in .ndjson, .ndjson.gz, .jsonl or .jsonl.gz", .0.display())]
    EmptyFolder(PathBuf),
    /// The EHR is not registered.
    #[error("there is no EHR `{0}`: register it with `fhir-engage ehr add {0} --files`")]
    UnknownEhr(EhrId),
    /// The EHR's profile cannot be read, so that it cannot be told which types are taken.
    #[error("the connector profile of `{0}` cannot be used: {1}; change it with `fhir-engage ehr add {0}`")]
    Profile(EhrId, ProfileError),
    /// Someone else works on the same data.
    #[error("{kind} of `{ehr}` is being synced or imported by another process; try again when it is done")]
    Held {
        /// The EHR.
        ehr: EhrId,
        /// The type.
        kind: ResourceType,
    },
    /// The store cannot go on. What was committed stays; the import can be repeated.
    #[error("the import stopped; what was stored stays, and the same command goes on from there")]
    Store(#[from] StoreError),
}

/// What to import.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The EHR that the files are of.
    pub ehr: &'a EhrId,
    /// Files, folders, or `-`.
    pub paths: &'a [PathBuf],
}

/// Imports files. Blocks until done, or until `stop` is set: then what is in hand is committed and the report says so.
///
/// # Errors
/// [`ImportError`]; bad content is none, it is quarantined and counted.
pub fn run(
    store: &Store,
    clock: &dyn Clock,
    holder: Holder<'_>,
    request: Request<'_>,
    stop: &AtomicBool,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Report, ImportError> {
    let inputs = source::inputs(request.paths)?;
    run_inputs(store, clock, holder, request.ehr, &inputs, false, stop, progress).map(|(report, _)| report)
}

/// As [`run`], of inputs that are known; with `watch` it is told what they showed.
#[expect(clippy::too_many_arguments, reason = "the whole of one import, as `run` hands it on")]
pub(super) fn run_inputs(
    store: &Store,
    clock: &dyn Clock,
    holder: Holder<'_>,
    ehr: &EhrId,
    inputs: &[Input],
    watch: bool,
    stop: &AtomicBool,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<(Report, Shown), ImportError> {
    let Some(registered) = store.read_blocking(|conn| ehrs::get(conn, ehr.as_str()))? else {
        return Err(ImportError::UnknownEhr(ehr.clone()));
    };
    let profile = Profile::from_json(&registered.profile).map_err(|e| ImportError::Profile(ehr.clone(), e))?;
    let types: Vec<ResourceType> = profile.all_types().collect();
    let fences = lease::take_all(store, clock, holder, ehr, &types).map_err(|refused| match refused {
        Refused::Held(kind) => ImportError::Held { ehr: ehr.clone(), kind },
        Refused::Store(error) => error.into(),
    })?;
    let done = import(store, clock, holder, ehr, &types, &fences, inputs, watch, stop, progress);
    lease::give_back(store, &fences);
    done
}

#[expect(clippy::too_many_arguments, reason = "the whole of one import, handed on once from `run`")]
fn import(
    store: &Store,
    clock: &dyn Clock,
    holder: Holder<'_>,
    ehr: &EhrId,
    types: &[ResourceType],
    fences: &[Fence],
    inputs: &[Input],
    watch: bool,
    stop: &AtomicBool,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<(Report, Shown), ImportError> {
    let started = Instant::now();
    let (in_flight, clocks, announce, hand_on) = (InFlight::default(), Clocks::default(), Turns::new(), Turns::new());
    let began = began(store, clock, ehr, types)?;
    let desk = Desk { store, ehr, clock, term: holder.term, fences: fences.to_vec(), began, in_flight: &in_flight, clocks: &clocks };
    let bench = Bench { store, ehr, types, in_flight: &in_flight, announce: &announce, clocks: &clocks };
    let mut committer = Committer::new(desk);
    committer.shown = watch.then(Shown::default);
    let files = AtomicU64::new(0);
    let done = std::thread::scope(|scope| {
        let (to_workers, from_reader) = sync_channel(WAITING);
        let (to_committer, from_workers) = sync_channel(WAITING);
        let reader = scope.spawn(|| read(inputs, to_workers, stop, &clocks, &files));
        // Shared by the workers alone: when the last one ends, the reader can send no more and ends too.
        let from_reader = Arc::new(Mutex::new(from_reader));
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from).min(MOST_WORKERS) {
            let (from_reader, to_committer) = (Arc::clone(&from_reader), to_committer.clone());
            let (bench, hand_on) = (&bench, &hand_on);
            scope.spawn(move || work(bench, hand_on, &from_reader, &to_committer));
        }
        drop((from_reader, to_committer));
        let gathered = gather(&mut committer, &from_workers, started, progress);
        drop(from_workers);
        if gathered.is_err() {
            announce.give_up();
            hand_on.give_up();
        }
        let read = reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        gathered.map_err(ImportError::from).and(read)
    });
    let interrupted = stop.load(Ordering::Relaxed);
    let done = done.and_then(|()| Ok(committer.finish(interrupted)?));
    if let Err(error) = done {
        committer.fail(&error.to_string());
        return Err(error);
    }
    let mut report = std::mem::take(&mut committer.report);
    report.files = files.into_inner();
    report.seconds = started.elapsed().as_secs_f64();
    report.stages = clocks.read();
    report.interrupted = interrupted;
    Ok((report, committer.shown.take().unwrap_or_default()))
}

/// Of each type, an instant that is not before now and later than the end of its last run.
fn began(
    store: &Store,
    clock: &dyn Clock,
    ehr: &EhrId,
    types: &[ResourceType],
) -> Result<HashMap<ResourceType, domain::Timestamp>, StoreError> {
    store.read_blocking(|conn| {
        let mut all = HashMap::new();
        for &kind in types {
            let last = sync_state::get(conn, ehr, kind)?.and_then(|state| state.run);
            let last = last.map(|run| sync_state::run(conn, run)).transpose()?.flatten();
            let ended = last.and_then(|run| run.ended_at).map_or(0, |at| at.saturating_add(1));
            all.insert(kind, clock.now().max(domain::Timestamp::from_micros(ended)));
        }
        Ok(all)
    })
}

fn read(
    inputs: &[Input],
    to_workers: SyncSender<(u64, Batch)>,
    stop: &AtomicBool,
    clocks: &Clocks,
    files: &AtomicU64,
) -> Result<(), ImportError> {
    let mut number = 0;
    for input in inputs {
        if stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        let mut lines = input.open()?;
        files.fetch_add(1, Ordering::Relaxed);
        loop {
            let started = Instant::now();
            let batch = lines.batch();
            clocks.add(Stage::Read, started.elapsed());
            let Some(batch) = batch else { break };
            // A worker that is gone has told the committer why.
            if stop.load(Ordering::Relaxed) || to_workers.send((number, batch)).is_err() {
                return Ok(());
            }
            number += 1;
        }
    }
    Ok(())
}

/// Lets the others go when this thread panics: they wait for its turn.
struct GiveUpOnPanic<'a>(&'a Turns, &'a Turns);

impl Drop for GiveUpOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.give_up();
            self.1.give_up();
        }
    }
}

/// Lets the thread that writes and those that serve pages go first: a writer that loses its core in the middle of a transaction holds
/// everyone up. Costs nothing where there are cores enough. A thread's own setting on Linux; elsewhere it would be the whole process's.
#[cfg(target_os = "linux")]
fn step_back() {
    if let Err(error) = rustix::process::nice(STEP_BACK) {
        tracing::debug!(error = %error, "the system lets no thread of an import step back");
    }
}

#[cfg(not(target_os = "linux"))]
const fn step_back() {}

fn work(
    bench: &Bench<'_>,
    hand_on: &Turns,
    from_reader: &Mutex<Receiver<(u64, Batch)>>,
    to_committer: &SyncSender<Result<Prepared, StoreError>>,
) {
    let _guard = GiveUpOnPanic(bench.announce, hand_on);
    step_back();
    loop {
        let next = from_reader.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((number, batch)) = next else { return };
        let Some(prepared) = bench.prepare(number, &batch) else { return };
        drop(batch);
        match hand_on.take(number, || to_committer.send(prepared)) {
            Some(Ok(())) => {}
            _ => return,
        }
    }
}

fn gather(
    committer: &mut Committer<'_>,
    from_workers: &Receiver<Result<Prepared, StoreError>>,
    started: Instant,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<(), StoreError> {
    loop {
        match from_workers.recv_timeout(committer.idle().max(std::time::Duration::from_millis(100))) {
            Ok(batch) => committer.take(batch?)?,
            Err(RecvTimeoutError::Timeout) => committer.stay_alive()?,
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
        progress(Progress { lines: committer.report.lines, bytes: committer.report.bytes, elapsed: started.elapsed() });
    }
}
