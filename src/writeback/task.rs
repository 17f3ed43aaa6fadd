//! The write-back stage of one EHR: claims what is owed, brings it to the EHR a few at a time, and settles it, under the lease
//! `writeback/EHR`.
//!
//! One patient's rows go in their order: a claim gives only the first of each lane. While requests are on their way, the results so far and
//! the next claims share one commit, so that a fast EHR is not held up by the disk. Nothing here sleeps until an EHR has recovered:
//! the run ends and says when to come back.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::TimeDelta;
use domain::{Clock, Timestamp};
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::time::Instant;

use super::chart::Chart;
use super::compose::Site;
use super::contract::{Carrier, Contract};
use super::letters::Letters;
use super::push::{Letter, Pushed, Put, Signal, push, unclear};
use super::route::Ways;
use crate::store::leases::{self, Fence, Term};
use crate::store::writebacks::{self, Settlement, Way};
use crate::store::{Store, StoreError, proofs};

/// The name of the lease under which an EHR's write-backs are made.
#[must_use]
pub fn lease(ehr: &str) -> String {
    format!("writeback/{ehr}")
}

/// How a run goes about it.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Rows on their way at once. Those that have been on it for long do not count, up to as many again: an EHR that is slow with a few
    /// charts must not keep all others waiting. Where the EHR's rate is known the rate decides instead.
    pub concurrency: usize,
    /// The most rows on their way at once where the rate decides.
    pub most: usize,
    /// Rows per claim, and results per commit.
    pub batch: usize,
    /// How long a row may wait to be started after its claim, and how long it may be worked on once started: no shorter than a request's
    /// time-out. A row left by a worker that died is taken over no sooner than twice this and the contract's settle delay after its claim.
    pub hold: TimeDelta,
    /// Patients in a row whose rows got no clear answer, after which the run ends: an EHR that does not answer is not to be stormed, and
    /// one patient's trouble is no reason to stop for others.
    pub breaker: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { concurrency: 16, most: 256, batch: 64, hold: TimeDelta::seconds(60), breaker: 5 }
    }
}

/// How far ahead of its turn a row may be started, so that there is always one to take the next.
const AHEAD: Duration = Duration::from_millis(100);
/// How long a row may be on its way before it counts as slow.
const SLOW: TimeDelta = TimeDelta::seconds(3);
/// The longest time without a look at what may be started.
const LOOK: Duration = Duration::from_secs(1);

/// What a run did.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Report {
    /// In the EHR now.
    pub written: u64,
    /// Certainly not in the EHR; tried again later.
    pub again: u64,
    /// Perhaps in the EHR; searched for later.
    pub unknown: u64,
    /// Perhaps in the EHR, and nothing can tell: for a person.
    pub parked: u64,
    /// Not taken by the EHR: for a person.
    pub refused: u64,
    /// Put into files for the site.
    pub exported: u64,
    /// Left in the ledger by the contract's word.
    pub kept: u64,
    /// The EHR asks not to be asked before this instant.
    pub resume_at: Option<Timestamp>,
    /// It ended because the EHR may not be asked for a while: that is no failure.
    pub is_paused: bool,
    /// Why the run ended before everything due was tried, in words.
    pub stopped: Option<String>,
}

/// What the stage works with.
pub struct Stage<'a, C> {
    /// The store.
    pub store: &'a Store,
    /// Time.
    pub clock: &'a dyn Clock,
    /// The EHR's name.
    pub ehr: &'a str,
    /// The EHR.
    pub chart: &'a C,
    /// What it takes.
    pub contract: &'a Arc<Contract>,
    /// The carriers beside FHIR.
    pub ways: &'a Ways,
    /// Who writes.
    pub site: &'a Arc<Site>,
    /// Proof of the lease.
    pub fence: &'a Fence,
    /// How long the lease lasts without a sign of life.
    pub term: Term,
    /// How to go about it.
    pub options: Options,
}

/// Writes back until nothing is due, or until `stop`, or until the EHR cannot be written to.
///
/// # Errors
/// [`StoreError::LeaseLost`], or the engine's refusal. Requests that were on their way are dropped then, and searched for by the next
/// holder of the lease.
pub async fn run<C: Chart>(stage: &Stage<'_, C>, stop: &AtomicBool) -> Result<Report, StoreError> {
    let mut run = Run::new(stage, stop);
    let mut on_their_way = FuturesUnordered::new();
    let renew = stage.term.0.to_std().unwrap_or(Duration::from_secs(30)) / 3;
    let mut committed = Instant::now();
    let noted = tokio::sync::Mutex::new(stage.contract.used.clone());
    loop {
        run.unpolled = 0;
        while let Some(letter) = run.next() {
            on_their_way.push(work(stage, letter));
        }
        // A slow EHR must not cost the lease.
        if !run.wants_commit() && (on_their_way.is_empty() || committed.elapsed() < renew) {
            if on_their_way.is_empty() {
                break;
            }
            if let Ok(tried) = tokio::time::timeout(run.nap().min(renew), on_their_way.next()).await {
                tried.into_iter().for_each(|t| run.take(t));
            }
            continue;
        }
        let (ended, wanted) = run.hand_over();
        let commit = commit(stage, ended, wanted, &noted);
        tokio::pin!(commit);
        let claimed = loop {
            tokio::select! {
                claimed = &mut commit => break claimed?,
                Some(tried) = on_their_way.next() => {
                    run.unpolled = 0;
                    run.take(tried);
                    while let Some(letter) = run.next() {
                        on_their_way.push(work(stage, letter));
                    }
                }
            }
        };
        committed = Instant::now();
        run.receive(claimed, wanted);
    }
    run.tell();
    Ok(run.report)
}

/// By what is written back, as far as that is kept.
type Noted = tokio::sync::Mutex<BTreeSet<String>>;

/// A row that was claimed, composed where it can be.
struct Ready {
    letter: Letter,
    /// Not to be started after this.
    start_by: Timestamp,
}

/// A row with its end.
pub(super) struct Ended {
    pub id: String,
    pub how: Settlement,
    /// What carries it and how it was put, where the row does not say so already.
    pub way: Option<(Carrier, Option<String>)>,
    /// What was seen of our key, by carrier.
    pub seen: Option<(Carrier, bool)>,
    /// It created a resource of which the contract wants a Provenance.
    pub wants_provenance: bool,
}

/// What a run knows between two awaits.
struct Run<'a, C> {
    stage: &'a Stage<'a, C>,
    stop: &'a AtomicBool,
    queue: VecDeque<Ready>,
    ended: Vec<Ended>,
    report: Report,
    /// Rows on their way, and since when.
    started: HashMap<String, Timestamp>,
    /// How many of them have not come to ask for their turn yet.
    unpolled: u32,
    /// Patients in a row whose rows got no clear answer.
    trouble: HashSet<String>,
    /// What was told of our key, by carrier.
    told: HashSet<(Carrier, bool)>,
    /// The last claim gave less than was asked for, and nothing was settled since.
    exhausted: bool,
}

impl<'a, C: Chart> Run<'a, C> {
    fn new(stage: &'a Stage<'a, C>, stop: &'a AtomicBool) -> Self {
        Self {
            stage,
            stop,
            queue: VecDeque::new(),
            ended: Vec::new(),
            report: Report::default(),
            started: HashMap::new(),
            unpolled: 0,
            trouble: HashSet::new(),
            told: HashSet::new(),
            exhausted: false,
        }
    }

    fn is_ending(&self) -> bool {
        self.report.stopped.is_some() || self.stop.load(Ordering::Relaxed)
    }

    /// Whether one more may be on its way.
    fn may_start(&self, now: Timestamp) -> bool {
        let (options, all) = (&self.stage.options, self.started.len());
        match self.stage.chart.pacing() {
            Some(pacing) => all == 0 || (all < options.most && pacing.wait + pacing.distance * self.unpolled < AHEAD),
            None => {
                let quick = self.started.values().filter(|since| now.since(**since) < SLOW).count();
                quick < options.concurrency && all < options.concurrency * 2
            }
        }
    }

    /// How long until more may be started for another reason than that one came back.
    fn nap(&self) -> Duration {
        let turn = self.stage.chart.pacing().filter(|_| !self.queue.is_empty() && self.started.len() < self.stage.options.most);
        turn.map_or(LOOK, |pacing| pacing.wait.saturating_sub(AHEAD).clamp(Duration::from_millis(2), LOOK))
    }

    /// The next row to start, where one may. Where the run is ending, or a row waited too long behind slow ones, it goes back as it was.
    fn next(&mut self) -> Option<Ready> {
        let now = self.stage.clock.now();
        while self.is_ending() || self.may_start(now) {
            let ready = self.queue.pop_front()?;
            if !self.is_ending() && now <= ready.start_by {
                self.unpolled += 1;
                self.started.insert(ready.letter.id.clone(), now);
                return Some(ready);
            }
            let how = Settlement::PutBack { at: now, unclear: ready.letter.unclear };
            self.ended.push(Ended { id: ready.letter.id, how, way: None, seen: None, wants_provenance: false });
        }
        None
    }

    /// How many rows to claim at once: no more than can be started in half of the time for which they may wait.
    fn batch(&self) -> usize {
        let most = self.stage.options.batch;
        let Some(pacing) = self.stage.chart.pacing().filter(|p| !p.distance.is_zero()) else { return most };
        let half = self.stage.options.hold.to_std().unwrap_or_default() / 2;
        usize::try_from(half.as_nanos() / pacing.distance.as_nanos()).unwrap_or(most).clamp(1, most.max(1))
    }

    fn is_short(&self) -> bool {
        self.queue.len() < self.stage.options.concurrency.min(self.batch())
    }

    fn wants_commit(&self) -> bool {
        let full = self.ended.len() >= self.stage.options.batch;
        let settle = !self.ended.is_empty() && (full || self.is_short() || self.is_ending());
        settle || (self.is_short() && !self.exhausted && !self.is_ending())
    }

    /// What a commit is to settle, and how many rows it is to claim.
    fn hand_over(&mut self) -> (Vec<Ended>, usize) {
        let wanted = if self.is_short() && !self.is_ending() { self.batch() } else { 0 };
        (std::mem::take(&mut self.ended), wanted)
    }

    fn receive(&mut self, claimed: Vec<Result<Ready, Box<Ended>>>, wanted: usize) {
        if wanted > 0 {
            self.exhausted = claimed.len() < wanted;
        }
        for row in claimed {
            match row {
                Ok(ready) => self.queue.push_back(ready),
                Err(ended) => self.end(*ended),
            }
        }
    }

    /// What a try shows of our key, where the contract does not know it and this run has not told it yet.
    fn news(&mut self, pushed: &Pushed) -> Option<bool> {
        let kept = pushed.key_kept?;
        let known = self.stage.contract.terms(pushed.carrier)?.key_kept;
        (known != Some(kept) && self.told.insert((pushed.carrier, kept))).then_some(kept)
    }

    fn take(&mut self, Tried { id, patient, creates, pushed }: Tried) {
        self.started.remove(&id);
        let (seen, way) = (self.news(&pushed).map(|kept| (pushed.carrier, kept)), pushed.way());
        let why = match &pushed.settlement {
            Settlement::Again { why, .. } | Settlement::Unknown { why, .. } => why.clone(),
            _ => String::new(),
        };
        let wants_provenance = creates && self.stage.contract.wants_provenance_of(pushed.carrier);
        self.end(Ended { id, how: pushed.settlement, way, seen, wants_provenance });
        match pushed.signal {
            Signal::Fine => self.trouble.clear(),
            Signal::Trouble => {
                self.trouble.insert(patient);
                if self.trouble.len() >= self.stage.options.breaker {
                    let resume_at = self.stage.clock.now().plus(self.stage.contract.settle_delay());
                    let many = self.trouble.len();
                    self.stop_for(
                        format!("write-backs of {many} patients in a row came to no clear end, the last one by {why}"),
                        Some(resume_at),
                    );
                }
            }
            Signal::Pause(at) => {
                self.report.is_paused |= self.report.stopped.is_none();
                self.stop_for("the EHR may not be asked for a while".to_owned(), Some(at));
            }
            Signal::Halt(why) => self.stop_for(why, None),
        }
    }

    fn stop_for(&mut self, why: String, resume_at: Option<Timestamp>) {
        self.report.resume_at = self.report.resume_at.max(resume_at);
        self.report.stopped.get_or_insert(why);
    }

    fn end(&mut self, ended: Ended) {
        let count = match &ended.how {
            Settlement::Written { .. } => Some(&mut self.report.written),
            Settlement::Again { .. } => Some(&mut self.report.again),
            Settlement::Unknown { .. } => Some(&mut self.report.unknown),
            Settlement::Parked { .. } => Some(&mut self.report.parked),
            Settlement::Refused { .. } => Some(&mut self.report.refused),
            Settlement::Exported { .. } => Some(&mut self.report.exported),
            Settlement::Kept { .. } => Some(&mut self.report.kept),
            Settlement::PutBack { .. } => None,
        };
        count.into_iter().for_each(|n| *n += 1);
        self.ended.push(ended);
    }

    fn tell(&self) {
        let r = &self.report;
        let (ehr, stopped) = (self.stage.ehr, r.stopped.as_deref());
        let (written, again, unknown, parked, refused) = (r.written, r.again, r.unknown, r.parked, r.refused);
        if stopped.is_some() || written + again + unknown + parked + refused > 0 {
            tracing::info!(ehr, written, again, unknown, parked, refused, stopped, "wrote back");
        }
    }
}

/// A row that came back.
struct Tried {
    id: String,
    patient: String,
    /// Whether it creates something; else it changes what is there.
    creates: bool,
    pushed: Pushed,
}

/// Brings one row to the EHR, in the time that it may be worked on.
async fn work<C: Chart>(stage: &Stage<'_, C>, ready: Ready) -> Tried {
    let limit = stage.options.hold.to_std().unwrap_or_default();
    let letter = ready.letter;
    let pushed = match tokio::time::timeout(limit, push(stage.chart, stage.contract, stage.ways, &letter, stage.clock)).await {
        Ok(pushed) => pushed,
        Err(_) => {
            let why = "no-answer: the EHR took longer than a write-back may take";
            let settlement = unclear(&letter, stage.contract, stage.clock.now(), why);
            // Sent or not, and then so or as it was before: nobody knows.
            Pushed { settlement, signal: Signal::Trouble, carrier: letter.carrier, put: Put::As(None), key_kept: None }
        }
    };
    Tried { creates: letter.deed.bytes().is_some(), id: letter.id, patient: letter.patient, pushed }
}

/// Settles and claims in one commit, then composes what was claimed. A row that cannot be composed comes back with its refusal.
async fn commit<C: Chart>(
    stage: &Stage<'_, C>,
    ended: Vec<Ended>,
    wanted: usize,
    noted: &Noted,
) -> Result<Vec<Result<Ready, Box<Ended>>>, StoreError> {
    let (ehr, fence, term, now) = (stage.ehr.to_owned(), stage.fence.clone(), stage.term, stage.clock.now());
    let start_by = now.plus(stage.options.hold);
    let taken_over = start_by.plus(stage.options.hold).plus(stage.contract.settle_delay());
    let limit = i64::try_from(wanted).unwrap_or(i64::MAX);
    let contract = Arc::clone(stage.contract);
    let claimed = stage
        .store
        .write("write-backs", move |conn| {
            leases::extend(conn, &fence, now, term)?;
            for Ended { id, how, way, seen, wants_provenance } in &ended {
                let way = way.as_ref().map(|(carrier, put_as)| Way { carrier: carrier.as_str(), put_as: put_as.as_deref() });
                if !writebacks::settle(conn, id, &fence, how, way, now)? {
                    tracing::warn!(write_back = %id, "another worker has this write-back by now; what it settles counts");
                } else if *wants_provenance {
                    writebacks::owe_provenance(conn, id, now)?;
                }
                if let Some((carrier, kept)) = seen
                    && let Some(subject) = proof_of_key(&contract, *carrier)
                {
                    proofs::keep(conn, &ehr, &subject, *kept, now)?;
                }
            }
            if limit == 0 { Ok(Vec::new()) } else { writebacks::claim(conn, &ehr, &fence, now, taken_over, limit) }
        })
        .await?;
    if claimed.is_empty() {
        return Ok(Vec::new());
    }
    let maker = Letters { store: stage.store.clone(), contract: Arc::clone(stage.contract), site: Arc::clone(stage.site) };
    let letters = stage.store.read(move |conn| maker.of(conn, claimed)).await?;
    note_ways(stage, &letters, noted).await?;
    Ok(letters.into_iter().map(|l| l.map(|letter| Ready { letter, start_by })).collect())
}

/// Keeps by what is written to this EHR, before the first row goes that way: a worker that dies does not say by what it tried, and the
/// contract may be another one when its rows are looked for.
async fn note_ways<C: Chart>(stage: &Stage<'_, C>, letters: &[Result<Letter, Box<Ended>>], noted: &Noted) -> Result<(), StoreError> {
    let mut noted = noted.lock().await;
    let ways = letters.iter().flatten().filter(|l| l.deed.bytes().is_some()).filter_map(|l| stage.contract.way(l.carrier));
    let fresh: BTreeSet<String> = ways.filter(|way| !noted.contains(way)).collect();
    if fresh.is_empty() {
        return Ok(());
    }
    noted.extend(fresh.iter().cloned());
    let (ehr, fence, term, now) = (stage.ehr.to_owned(), stage.fence.clone(), stage.term, stage.clock.now());
    stage
        .store
        .write("note by what is written back", move |conn| {
            leases::extend(conn, &fence, now, term)?;
            let known = proofs::of(conn, &ehr)?;
            for subject in fresh.iter().map(|way| format!("{}{way}", proofs::USED)) {
                if !known.iter().any(|p| p.subject == subject) {
                    proofs::keep(conn, &ehr, &subject, true, now)?;
                }
            }
            Ok(())
        })
        .await
}

/// The subject under which it is kept whether an EHR keeps our key in a type, at the place where the contract puts it.
fn proof_of_key(contract: &Contract, carrier: Carrier) -> Option<String> {
    let (resource_type, terms) = (carrier.resource_type()?, contract.terms(carrier)?);
    Some(format!("{KEY_KEPT}{} {resource_type}", terms.key.as_str()))
}

/// What stands before the key's place and the resource type in a proof's subject.
pub const KEY_KEPT: &str = "key-kept ";
