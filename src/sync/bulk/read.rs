//! An export that is ready: its files to the store, then what it says of each type. The files are read on threads that block; this side of
//! them keeps their clock, stops them, and tells how far they are.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::clock::ManualClock;
use domain::model::{EhrId, ResourceType};
use domain::{Clock as _, Timestamp};
use tokio::sync::mpsc;
use url::Url;

use super::feed::{Fetcher, FileEnd, ReadEnd, Reader, type_of};
use super::{Round, Stage, ended};
use crate::ehr::bulk::side::{self, Trouble};
use crate::ehr::bulk::{File, Manifest, Role, manifest};
use crate::ehr::profile::Strategy;
use crate::store::exports::{self, Job, Place};
use crate::store::leases::{self, Fence, Term};
use crate::store::sync_state::{self, Counts, End};
use crate::store::{Conn, Lane, Store, StoreError, coverage, gone};
use crate::sync::import::commit::{Committer, Desk, Export};
use crate::sync::import::prepare::Bench;
use crate::sync::import::source::Batch;
use crate::sync::import::turns::{InFlight, Turns};
use crate::sync::import::{Clocks, began, pump};
use crate::sync::lease;
use crate::sync::pull::{Halt, Tally, chain};
use crate::sync::task::{Ended, TypeReport};
use crate::sync::window;

/// How often both sides look at each other.
const GLANCE: Duration = Duration::from_millis(50);

/// What the reason of a deletion is kept as.
const TOLD: &str = "the EHR's export lists it as deleted";

/// What both sides of the reading see.
struct Bridge {
    clock: ManualClock,
    stop: AtomicBool,
    counts: Mutex<HashMap<ResourceType, Counts>>,
}

/// The side that blocks.
struct Intake {
    store: Store,
    ehr: EhrId,
    term: Term,
    fences: Vec<Fence>,
    kinds: Vec<ResourceType>,
    runs: HashMap<ResourceType, i64>,
    job: Job,
    files: Vec<File>,
    bridge: Arc<Bridge>,
    asks: mpsc::UnboundedSender<super::feed::Ask>,
    tries: u32,
}

/// What came of it.
struct Taken {
    counts: HashMap<ResourceType, Counts>,
    gone: HashMap<ResourceType, i64>,
    partial: BTreeSet<ResourceType>,
    /// With the types that each is of.
    notes: Vec<(Vec<ResourceType>, String)>,
    problems: Vec<String>,
    end: Result<(), ReadEnd>,
}

impl Round<'_> {
    /// Reads an export that is ready, and reports on its types.
    pub(in crate::sync) async fn read(&mut self) -> Vec<TypeReport> {
        let Stage::Ready(job, manifest) = std::mem::replace(&mut self.stage, Stage::Idle) else { return Vec::new() };
        let kinds: Vec<ResourceType> = job.types().into_iter().filter(|kind| self.task.source.strategy(*kind) != Strategy::Off).collect();
        let mut fences = Vec::new();
        let taken = loop {
            let Some(kind) = kinds.get(fences.len()).copied() else { break Ok(true) };
            match lease::take(self.task.store, self.task.clock, self.task.holder, self.task.ehr, kind).await {
                Ok(Some(fence)) => fences.push(fence),
                Ok(None) => break Ok(false),
                Err(error) => break Err(error),
            }
        };
        let reports = match taken {
            Ok(true) => match self.read_with(*job, manifest, &kinds, &fences).await {
                Ok(reports) => reports,
                Err(halt) => {
                    self.end_all(&kinds, &ended(halt));
                    Vec::new()
                }
            },
            Ok(false) => {
                self.end_all(&kinds, &Ended::Held);
                Vec::new()
            }
            Err(error) => {
                self.end_all(&kinds, &ended(error.into()));
                Vec::new()
            }
        };
        for fence in fences {
            lease::give_back_one(self.task.store, fence).await;
        }
        reports
    }

    async fn read_with(&mut self, job: Job, manifest: Manifest, kinds: &[ResourceType], fences: &[Fence]) -> Result<Vec<TypeReport>, Halt> {
        let files = manifest.wanted(kinds);
        let (id, list) = (job.id, manifest::list_of(&files));
        let job = self.write("begin to read an export", move |conn, _| exports::ready(conn, id, &list)).await?;
        let mut notes = Vec::new();
        let mark = self.mark(&job, &manifest, &mut notes);
        let runs = self.begin_runs(&job, kinds, fences).await?;
        let taken = self.take_in(&job, &manifest, files, kinds, fences, &runs).await?;
        let mut reports = Vec::new();
        let (mut forgotten, mut keep) = (false, false);
        let end = taken.end.as_ref().err().map(|end| match end {
            ReadEnd::Stopped => (End::Interrupted, Ended::Interrupted),
            ReadEnd::Gone => {
                forgotten = true;
                let why = "the EHR forgot the export while it was read".to_owned();
                (End::Failed(why.clone()), Ended::Failed(why))
            }
            ReadEnd::Later(why) => {
                let why = format!("{why}; what was stored stays, and the next run goes on");
                (End::Failed(why.clone()), Ended::Failed(why))
            }
            ReadEnd::Ehr(error) => (End::Failed(chain(error)), Ended::Failed(chain(error))),
        });
        for (kind, fence) in kinds.iter().copied().zip(fences) {
            let run = runs.get(&kind).copied().unwrap_or_default();
            let mut tally = Tally { counts: taken.counts.get(&kind).copied().unwrap_or_default(), ..Tally::default() };
            tally.gone = taken.gone.get(&kind).copied().unwrap_or_default();
            tally.partial = taken.partial.contains(&kind);
            notes.iter().for_each(|note| tally.note(note.clone()));
            taken.notes.iter().filter(|(kinds, _)| kinds.contains(&kind)).for_each(|(_, note)| tally.note(note.clone()));
            let how = match &end {
                Some((end, ended)) => {
                    self.end_run(kind, fence, run, end.clone(), false, &tally).await?;
                    ended.clone()
                }
                None => match self.conclude(&job, kind, fence, run, mark, &mut tally).await {
                    Ok(()) => Ended::Done,
                    Err(halt) => {
                        keep |= matches!(halt, Halt::Stopped | Halt::Store(_));
                        let ended = ended(halt);
                        let end = if ended == Ended::Interrupted { End::Interrupted } else { End::Failed(super::words(&ended)) };
                        self.end_run(kind, fence, run, end, false, &tally).await?;
                        ended
                    }
                },
            };
            // What is asked for anew is reported on then.
            if !forgotten {
                reports.push(TypeReport::of(kind, Strategy::Bulk, how, tally));
            }
        }
        for problem in &taken.problems {
            tracing::warn!(ehr = %self.task.ehr, "{problem}");
        }
        if forgotten {
            self.forgotten(&job).await?;
        } else if end.is_none() && !keep {
            self.finish(&job).await?;
            // One that was lost before evidently is in nobody's way.
            let ehr = self.task.ehr.clone();
            self.write("forget exports that were lost", move |conn, _| exports::forget_unknown(conn, &ehr)).await?;
        }
        Ok(reports)
    }

    /// How far the types are known by this export: never past the server's clock when it was asked for, whatever the manifest says.
    fn mark(&self, job: &Job, manifest: &Manifest, notes: &mut Vec<String>) -> Timestamp {
        let asked = job.server_started_at.map(Timestamp::from_micros);
        match (manifest.transaction_time, asked) {
            (Some(told), asked) => asked.map_or(told, |asked| told.min(asked)),
            (None, asked) => {
                notes.push(
                    "the EHR does not tell up to when its export goes; what changed shortly before it was asked for is read again"
                        .to_owned(),
                );
                asked.unwrap_or(Timestamp::from_micros(job.started_at)).plus(-window::OVERLAP)
            }
        }
    }

    /// Begins a run of each type, under its lease.
    async fn begin_runs(&self, job: &Job, kinds: &[ResourceType], fences: &[Fence]) -> Result<HashMap<ResourceType, i64>, Halt> {
        let (ehr, fences, fingerprint, resume) = (self.task.ehr.clone(), fences.to_vec(), self.fingerprint(), resume_of(job));
        let kinds: Vec<(ResourceType, bool)> = kinds.iter().map(|kind| (*kind, self.is_planned(*kind))).collect();
        let (of_group, term) = (self.is_of_group(), self.task.holder.term);
        let begun = self.write("begin sync runs", move |conn, now| {
            fences.iter().try_for_each(|fence| leases::extend(conn, fence, now, term))?;
            let mut runs = HashMap::new();
            for &(kind, planned) in &kinds {
                let state = sync_state::get(conn, &ehr, kind)?;
                // What is only compared keeps its own mark.
                let belongs = state.as_ref().filter(|_| !planned).map_or_else(|| fingerprint.clone(), |s| s.fingerprint.clone());
                if state.is_some_and(|s| s.fingerprint != belongs) {
                    sync_state::reset(conn, &ehr, kind, &belongs)?;
                }
                let run = sync_state::begin(conn, &ehr, kind, Strategy::Bulk.as_str(), &belongs, now)?;
                if planned {
                    sync_state::set_by_patient(conn, &ehr, kind, of_group)?;
                }
                sync_state::advance(conn, &ehr, kind, run, Counts::default(), Some(&resume))?;
                runs.insert(kind, run);
            }
            Ok(runs)
        });
        Ok(begun.await?)
    }

    /// Runs both sides to the end.
    async fn take_in(
        &self,
        job: &Job,
        manifest: &Manifest,
        files: Vec<File>,
        kinds: &[ResourceType],
        fences: &[Fence],
        runs: &HashMap<ResourceType, i64>,
    ) -> Result<Taken, Halt> {
        let task = self.task;
        let bridge = Arc::new(Bridge { clock: ManualClock::at(task.clock.now()), stop: AtomicBool::new(false), counts: Mutex::default() });
        let (asks, asked) = mpsc::unbounded_channel();
        let intake = Intake {
            store: task.store.clone(),
            ehr: task.ehr.clone(),
            term: task.holder.term,
            // That of the exports as well: whoever lost it must not move the place.
            fences: fences.iter().chain(&self.fence).cloned().collect(),
            kinds: kinds.to_vec(),
            runs: runs.clone(),
            job: job.clone(),
            files: files.clone(),
            bridge: Arc::clone(&bridge),
            asks,
            tries: task.source.client.policy().tries,
        };
        let fetcher = Fetcher {
            client: task.source.client,
            status_url: Url::parse(&job.status_url).map_err(|_| Halt::Person("the export's address cannot be read".to_owned()))?,
            requires_token: manifest.requires_token,
            types: kinds.to_vec(),
            policy: *task.source.client.policy(),
            files: Mutex::new(files),
        };
        let mut reading = tokio::task::spawn_blocking(move || intake.run());
        let mut fetching = std::pin::pin!(fetcher.serve(asked));
        let (mut fetched, mut glance) = (false, tokio::time::interval(GLANCE));
        let taken = loop {
            tokio::select! {
                taken = &mut reading => break taken,
                () = &mut fetching, if !fetched => fetched = true,
                _ = glance.tick() => self.glance(&bridge),
            }
        };
        self.glance(&bridge);
        Ok(taken.unwrap_or_else(|join| match join.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(StoreError::Unusable("the program is shutting down".to_owned())),
        })?)
    }

    fn glance(&self, bridge: &Bridge) {
        bridge.clock.set(self.task.clock.now());
        bridge.stop.fetch_or(self.task.stop.load(Ordering::Relaxed), Ordering::Relaxed);
        let counts = bridge.counts.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for (kind, counts) in counts {
            (self.task.progress)(kind, counts);
        }
    }

    /// A type of an export that was read to its end: what it no longer shows is settled, who came new is read, and the run ends.
    async fn conclude(
        &self,
        job: &Job,
        kind: ResourceType,
        fence: &Fence,
        run: i64,
        mark: Timestamp,
        tally: &mut Tally,
    ) -> Result<(), Halt> {
        let (full, planned) = (job.since.is_none(), self.is_planned(kind));
        let complete = full && self.export.is_some_and(|e| e.is_complete_for(kind));
        let started = Timestamp::from_micros(job.started_at);
        if complete && !tally.partial {
            self.compare(job, kind, fence, run, tally).await?;
        }
        if planned && self.is_of_group() && !tally.partial {
            self.members(job, kind, fence, run, full, tally).await?;
        }
        let ehr = self.task.ehr.clone();
        let before =
            self.task.store.read(move |conn| sync_state::get(conn, &ehr, kind)).await?.and_then(|s| s.as_of).map(Timestamp::from_micros);
        // What is read by another way too may be known further.
        let as_of = if planned { started } else { before.map_or(started, |before| before.max(started)) };
        let how = End::Done { high_water: (planned && !tally.partial).then_some(mark), as_of: (!tally.partial).then_some(as_of) };
        self.end_run(kind, fence, run, how, complete && !tally.partial, tally).await
    }

    async fn end_run(&self, kind: ResourceType, fence: &Fence, run: i64, how: End, reconciled: bool, tally: &Tally) -> Result<(), Halt> {
        let (ehr, fence, term, of_group) =
            (self.task.ehr.clone(), fence.clone(), self.task.holder.term, self.is_of_group() && self.is_planned(kind));
        let (partial, notes, gone) = (tally.partial, tally.notes.join("; "), tally.gone);
        let noted = self.task.store.write("end a sync run", {
            let now = self.task.clock.now();
            move |conn| {
                leases::extend(conn, &fence, now, term)?;
                sync_state::observe(conn, run, None, partial)?;
                if gone > 0 {
                    sync_state::found_gone(conn, run, gone)?;
                }
                if !notes.is_empty() {
                    sync_state::remark(conn, run, &notes)?;
                }
                if matches!(how, End::Done { as_of: Some(_), .. }) && !of_group {
                    coverage::fill_all(conn, &ehr, kind, now)?;
                }
                if reconciled {
                    sync_state::reconciled(conn, &ehr, kind, now)?;
                }
                sync_state::end(conn, &ehr, kind, run, &how, now)
            }
        });
        Ok(noted.await?)
    }
}

/// The types' resume point while an export is read: what is left is told by the export's own row.
fn resume_of(job: &Job) -> String {
    format!("export {}", job.id)
}

impl Intake {
    fn run(self) -> Result<Taken, StoreError> {
        let mut taken = Taken {
            counts: HashMap::new(),
            gone: HashMap::new(),
            partial: self.job.partial.split(' ').filter_map(ResourceType::parse).collect(),
            notes: Vec::new(),
            problems: Vec::new(),
            end: Ok(()),
        };
        taken.end = self.read(&mut taken)?;
        Ok(taken)
    }

    fn reader(&self) -> Reader<'_> {
        Reader { asks: self.asks.clone(), stop: &self.bridge.stop, tries: self.tries }
    }

    fn read(&self, taken: &mut Taken) -> Result<Result<(), ReadEnd>, StoreError> {
        let from = Place { file: self.job.file, line: self.job.line, counted: self.job.counted };
        let numbered = || self.files.iter().enumerate().filter(|(n, _)| i64::try_from(*n).is_ok_and(|n| n >= from.file));
        for (number, file) in numbered().filter(|(_, f)| f.role == Role::Deleted) {
            match self.deleted(number, file, from, taken)? {
                Ok(end) => self.fell_short(number, file, &end, taken)?,
                Err(end) => return Ok(Err(end)),
            }
        }
        let outputs: Vec<(usize, &File)> = numbered().filter(|(_, f)| f.role == Role::Output).collect();
        if let Err(end) = self.outputs(&outputs, from, taken)? {
            return Ok(Err(end));
        }
        let mut trouble = Trouble::default();
        for (number, file) in self.files.iter().enumerate().filter(|(_, f)| f.role == Role::Error) {
            let read = self.reader().file(number, file, Place::default(), &mut |batch| {
                lines(&batch).for_each(|line| trouble.add(line));
                true
            });
            match read {
                Ok(end) => self.fell_short(number, file, &FileEnd { short: end.short.filter(|_| end.counted == 0), ..end }, taken)?,
                Err(end) => return Ok(Err(end)),
            }
        }
        let remarks = trouble.remarks().map(|said| format!("the EHR remarks on its export ({said})"));
        taken.notes.extend(remarks.map(|note| (self.kinds.clone(), note)));
        if let Some(said) = trouble.errors() {
            taken.notes.push((self.kinds.clone(), format!("the EHR could not export everything ({said})")));
            self.partial(&self.kinds, taken)?;
        }
        Ok(Ok(()))
    }

    /// Resources to the store, on several threads.
    fn outputs(&self, files: &[(usize, &File)], from: Place, taken: &mut Taken) -> Result<Result<(), ReadEnd>, StoreError> {
        let (in_flight, clocks, announce) = (InFlight::default(), Clocks::default(), Turns::new());
        let export = Some(Export { job: self.job.id, resume: resume_of(&self.job), asked: Timestamp::from_micros(self.job.started_at) });
        let began = began(&self.store, &self.bridge.clock, &self.ehr, &self.kinds)?;
        let desk = Desk {
            store: &self.store,
            ehr: &self.ehr,
            clock: &self.bridge.clock,
            term: self.term,
            fences: self.fences.clone(),
            began,
            in_flight: &in_flight,
            clocks: &clocks,
            export,
        };
        let bench = Bench {
            store: &self.store,
            ehr: &self.ehr,
            in_flight: &in_flight,
            announce: &announce,
            clocks: &clocks,
            types: &self.kinds,
            // Only a full export can be compared with what is stored.
            sees: self.job.since.is_none(),
        };
        let mut committer = Committer::new(desk).with_runs(&self.runs);
        let short: Mutex<Vec<(usize, FileEnd)>> = Mutex::default();
        let told = |c: &Committer<'_>| c.by_type.clone_into(&mut self.bridge.counts.lock().unwrap_or_else(PoisonError::into_inner));
        let reader = self.reader();
        let kept = &short;
        let read = |send: &mut dyn FnMut(Batch) -> bool| -> Result<(), ReadEnd> {
            for (number, file) in files {
                let end = reader.file(*number, file, from, send)?;
                if end.short.is_some() {
                    // Kept before what comes after it is.
                    if self.keep_short(file).is_err() {
                        return Err(ReadEnd::Stopped);
                    }
                    kept.lock().unwrap_or_else(PoisonError::into_inner).push((*number, end));
                }
            }
            Ok(())
        };
        let end = pump(&bench, &mut committer, read, &told)?;
        // What came before it ended stays, however it ended.
        committer.flush_all()?;
        told(&committer);
        taken.counts.clone_from(&committer.by_type);
        taken.problems.append(&mut committer.report.problems);
        for (name, n) in &committer.report.ignored {
            tracing::debug!(ehr = %self.ehr, name, n, "an export holds what it was not asked for");
        }
        for (number, end) in short.into_inner().unwrap_or_else(PoisonError::into_inner) {
            if let Some(file) = self.files.get(number) {
                self.fell_short(number, file, &end, taken)?;
            }
        }
        Ok(end)
    }

    /// What a file names as deleted is marked as gone, batch by batch.
    fn deleted(&self, number: usize, file: &File, from: Place, taken: &mut Taken) -> Result<Result<FileEnd, ReadEnd>, StoreError> {
        let mut failed = None;
        let mut odd = 0;
        let read = self.reader().file(number, file, from, &mut |batch| {
            let mut named: HashMap<ResourceType, Vec<String>> = HashMap::new();
            for line in lines(&batch) {
                match side::deleted(line) {
                    Some(all) => {
                        all.into_iter().filter(|(k, _)| self.kinds.contains(k)).for_each(|(k, id)| named.entry(k).or_default().push(id))
                    }
                    None => odd += 1,
                }
            }
            let place = batch.place;
            let marked = self.write("take what an export names as deleted", |conn, now| {
                let mut counts = Vec::new();
                for (kind, ids) in &named {
                    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
                    counts.push((*kind, gone::mark(conn, &self.ehr, *kind, &ids, TOLD, now)?));
                }
                exports::advance(conn, self.job.id, place)?;
                Ok(counts)
            });
            match marked {
                Ok(counts) => {
                    counts.into_iter().for_each(|(kind, n)| *taken.gone.entry(kind).or_insert(0) += n);
                    true
                }
                Err(error) => {
                    failed = Some(error);
                    false
                }
            }
        });
        if odd > 0 {
            taken
                .notes
                .push((self.kinds.clone(), format!("{odd} lines of the export's deleted files are no Bundles and were passed over")));
        }
        failed.map_or(Ok(read), Err)
    }

    fn write<T>(&self, name: &'static str, mut f: impl FnMut(&mut Conn, Timestamp) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.store.write_blocking(Lane::Bulk, name, |conn| {
            let now = self.bridge.clock.now();
            self.fences.iter().try_for_each(|fence| leases::extend(conn, fence, now, self.term))?;
            f(conn, now)
        })
    }

    /// The types of a file: all, where it holds none of its own.
    fn types_of(&self, file: &File) -> Vec<ResourceType> {
        let named = file.rtype.as_deref().and_then(ResourceType::parse).filter(|_| file.role == Role::Output);
        named.map_or_else(|| self.kinds.clone(), |kind| vec![kind])
    }

    fn keep_short(&self, file: &File) -> Result<(), StoreError> {
        let types = self.types_of(file);
        self.write("keep what an export lacks", |conn, _| {
            let known = exports::of_ehr(conn, &self.ehr)?.into_iter().find(|job| job.id == self.job.id);
            let mut all: BTreeSet<ResourceType> = known.iter().flat_map(|j| j.partial.split(' ')).filter_map(ResourceType::parse).collect();
            all.extend(types.iter().copied());
            exports::falls_short(conn, self.job.id, &all.into_iter().collect::<Vec<_>>())
        })
    }

    fn fell_short(&self, number: usize, file: &File, end: &FileEnd, taken: &mut Taken) -> Result<(), StoreError> {
        let Some(why) = &end.short else { return Ok(()) };
        let kind = type_of(file);
        taken.notes.push((self.types_of(file), format!("file {} of the export ({kind}) is not complete: {why}", number + 1)));
        self.keep_short(file)?;
        taken.partial.extend(self.types_of(file));
        Ok(())
    }

    fn partial(&self, kinds: &[ResourceType], taken: &mut Taken) -> Result<(), StoreError> {
        taken.partial.extend(kinds);
        let all: Vec<ResourceType> = taken.partial.iter().copied().collect();
        self.write("keep what an export lacks", |conn, _| exports::falls_short(conn, self.job.id, &all))
    }
}

fn lines(batch: &Batch) -> impl Iterator<Item = &[u8]> {
    batch.lines.iter().filter(|l| l.fault.is_none()).filter_map(|l| batch.data.get(l.at.clone()))
}
