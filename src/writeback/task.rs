//! The write-back stage of one EHR: claims what is owed, brings it to the EHR a few at a time, and settles it, under the lease
//! `writeback/EHR`.
//!
//! One patient's rows go in their order: a claim gives only the first of each lane. While requests are on their way, the results so far and
//! the next claims share one commit, so that a fast EHR is not held up by the disk. Nothing here sleeps until an EHR has recovered:
//! the run ends and says when to come back.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::TimeDelta;
use domain::{Clock, Timestamp};
use futures_util::stream::{FuturesUnordered, StreamExt};

use super::chart::Chart;
use super::compose::Site;
use super::contract::{Carrier, Contract};
use super::letters::Letters;
use super::push::{Letter, Pushed, Signal, push};
use super::settle::after_settling;
use crate::store::leases::{self, Fence, Term};
use crate::store::writebacks::{self, Settlement};
use crate::store::{Store, StoreError};

/// The name of the lease under which an EHR's write-backs are made.
#[must_use]
pub fn lease(ehr: &str) -> String {
    format!("writeback/{ehr}")
}

/// How a run goes about it.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Requests on their way at once.
    pub concurrency: usize,
    /// Rows per claim, and results per commit.
    pub batch: usize,
    /// How long a row may wait to be started after its claim, and how long it may be worked on once started: no shorter than a request's
    /// time-out. A row left by a worker that died is taken over no sooner than twice this and the contract's settle delay after its claim.
    pub hold: TimeDelta,
    /// Answers in a row that leave open what happened, after which the run ends: an EHR that does not answer is not to be stormed.
    pub breaker: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self { concurrency: 8, batch: 64, hold: TimeDelta::seconds(60), breaker: 5 }
    }
}

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
    loop {
        while on_their_way.len() < stage.options.concurrency
            && let Some(letter) = run.next()
        {
            on_their_way.push(work(stage, letter));
        }
        if !run.wants_commit() {
            if on_their_way.is_empty() {
                break;
            }
            // A slow EHR must not cost the lease.
            if let Ok(tried) = tokio::time::timeout(renew, on_their_way.next()).await {
                tried.into_iter().for_each(|t| run.take(t));
                continue;
            }
        }
        let (ended, wanted) = run.hand_over();
        let commit = commit(stage, ended, wanted);
        tokio::pin!(commit);
        let claimed = loop {
            tokio::select! {
                claimed = &mut commit => break claimed?,
                Some(tried) = on_their_way.next() => {
                    run.take(tried);
                    run.next().into_iter().for_each(|letter| on_their_way.push(work(stage, letter)));
                }
            }
        };
        run.receive(claimed, wanted);
    }
    run.tell();
    Ok(run.report)
}

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
    /// What carries it, where that was decided.
    pub carrier: Option<Carrier>,
}

/// What a run knows between two awaits.
struct Run<'a, C> {
    stage: &'a Stage<'a, C>,
    stop: &'a AtomicBool,
    queue: VecDeque<Ready>,
    ended: Vec<Ended>,
    report: Report,
    /// Answers in a row that told nothing.
    trouble: u32,
    /// The last claim gave less than was asked for, and nothing was settled since.
    exhausted: bool,
}

impl<'a, C> Run<'a, C> {
    const fn new(stage: &'a Stage<'a, C>, stop: &'a AtomicBool) -> Self {
        let report =
            Report { written: 0, again: 0, unknown: 0, parked: 0, refused: 0, exported: 0, kept: 0, resume_at: None, stopped: None };
        Self { stage, stop, queue: VecDeque::new(), ended: Vec::new(), report, trouble: 0, exhausted: false }
    }

    fn is_ending(&self) -> bool {
        self.report.stopped.is_some() || self.stop.load(Ordering::Relaxed)
    }

    /// The next row to start. Where the run is ending, or a row waited too long behind slow ones, it goes back as it was.
    fn next(&mut self) -> Option<Ready> {
        let now = self.stage.clock.now();
        while let Some(ready) = self.queue.pop_front() {
            if !self.is_ending() && now <= ready.start_by {
                return Some(ready);
            }
            let how = Settlement::PutBack { at: now, unclear: ready.letter.unclear };
            self.ended.push(Ended { id: ready.letter.id, how, carrier: None });
        }
        None
    }

    fn is_short(&self) -> bool {
        self.queue.len() < self.stage.options.concurrency
    }

    fn wants_commit(&self) -> bool {
        let full = self.ended.len() >= self.stage.options.batch;
        let settle = !self.ended.is_empty() && (full || self.is_short() || self.is_ending());
        settle || (self.is_short() && !self.exhausted && !self.is_ending())
    }

    /// What a commit is to settle, and how many rows it is to claim.
    fn hand_over(&mut self) -> (Vec<Ended>, usize) {
        let wanted = if self.is_short() && !self.is_ending() { self.stage.options.batch } else { 0 };
        (std::mem::take(&mut self.ended), wanted)
    }

    fn receive(&mut self, claimed: Vec<Result<Ready, Ended>>, wanted: usize) {
        if wanted > 0 {
            self.exhausted = claimed.len() < wanted;
        }
        for row in claimed {
            match row {
                Ok(ready) => self.queue.push_back(ready),
                Err(ended) => self.end(ended),
            }
        }
    }

    fn take(&mut self, (id, carrier, pushed): (String, Carrier, Pushed)) {
        self.end(Ended { id, how: pushed.settlement, carrier: Some(carrier) });
        match pushed.signal {
            Signal::Fine => self.trouble = 0,
            Signal::Trouble => {
                self.trouble += 1;
                if self.trouble >= self.stage.options.breaker {
                    let resume_at = self.stage.clock.now().plus(self.stage.contract.settle_delay());
                    self.stop_for(format!("the EHR left {} tries in a row without a clear answer", self.trouble), Some(resume_at));
                }
            }
            Signal::Pause(at) => self.stop_for("the EHR asks to come back later".to_owned(), Some(at)),
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

/// Brings one row to the EHR, in the time that it may be worked on.
async fn work<C: Chart>(stage: &Stage<'_, C>, ready: Ready) -> (String, Carrier, Pushed) {
    let limit = stage.options.hold.to_std().unwrap_or_default();
    let pushed = match tokio::time::timeout(limit, push(stage.chart, stage.contract, &ready.letter, stage.clock)).await {
        Ok(pushed) => pushed,
        Err(_) => {
            let at = after_settling(stage.clock.now(), &ready.letter.id, stage.contract.settle_delay());
            let why = "no-answer: the EHR took longer than a write-back may take".to_owned();
            Pushed { settlement: Settlement::Unknown { at, why }, signal: Signal::Trouble }
        }
    };
    (ready.letter.id, ready.letter.carrier, pushed)
}

/// Settles and claims in one commit, then composes what was claimed. A row that cannot be composed comes back with its refusal.
async fn commit<C: Chart>(stage: &Stage<'_, C>, ended: Vec<Ended>, wanted: usize) -> Result<Vec<Result<Ready, Ended>>, StoreError> {
    let (ehr, fence, term, now) = (stage.ehr.to_owned(), stage.fence.clone(), stage.term, stage.clock.now());
    let start_by = now.plus(stage.options.hold);
    let taken_over = start_by.plus(stage.options.hold).plus(stage.contract.settle_delay());
    let limit = i64::try_from(wanted).unwrap_or(i64::MAX);
    let claimed = stage
        .store
        .write("write-backs", move |conn| {
            leases::extend(conn, &fence, now, term)?;
            for Ended { id, how, carrier } in &ended {
                if !writebacks::settle(conn, id, &fence, how, carrier.map(Carrier::as_str), now)? {
                    tracing::warn!(write_back = %id, "another worker has this write-back by now; what it settles counts");
                }
            }
            if limit == 0 { Ok(Vec::new()) } else { writebacks::claim(conn, &ehr, &fence, now, taken_over, limit) }
        })
        .await?;
    if claimed.is_empty() {
        return Ok(Vec::new());
    }
    let maker = Letters { store: stage.store.clone(), contract: Arc::clone(stage.contract), site: Arc::clone(stage.site) };
    stage
        .store
        .read(move |conn| {
            let letters = maker.of(conn, claimed)?;
            Ok(letters.into_iter().map(|l| l.map(|letter| Ready { letter, start_by })).collect())
        })
        .await
}
