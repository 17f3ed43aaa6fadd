//! The job at the EHR: asked for, asked after, given up, deleted. What is known of it is committed before the next request.

use std::sync::atomic::Ordering;
use std::time::Duration;

use chrono::TimeDelta;
use domain::Timestamp;
use domain::model::ResourceType;
use url::Url;

use super::{Round, Stage, days_ago, ended, export_lease};
use crate::ehr::bulk::poll::{MOST_FAILURES, MOST_UNEXPLAINED, wait};
use crate::ehr::bulk::{KickedOff, Polled};
use crate::ehr::plan::covers;
use crate::ehr::{EhrError, TypePlan};
use crate::store::exports::{self, Accepted, Job, Wanted};
use crate::store::leases::{self, Fence};
use crate::store::{coverage, sync_state};
use crate::sync::page::Context;
use crate::sync::pull::{Halt, Pull, Start, Tally, chain};
use crate::sync::task::{Ended, is_refusal};
use crate::sync::window;

/// A job that is not ready after so long is given up: some EHRs take weeks (standards.md C.6).
const LONGEST: TimeDelta = TimeDelta::days(30);
/// So long an export of which nothing is known may run at the EHR.
const LONGEST_UNKNOWN: TimeDelta = TimeDelta::days(7);
/// How often the EHR is told to delete a job before it is left to itself.
const MOST_DELETES: i64 = 10;
/// So many failures in a row end a run; the job stays, and the next run asks again.
const MOST_IN_A_RUN: u32 = 8;
/// How often in a run an export is asked for anew because the EHR forgot one.
const MOST_ANEW: u32 = 1;
/// So many of a Group's members may be read one by one beside an export of what changed; else all is exported anew.
pub(super) const FEW: i64 = 200;
/// So long is waited for the EHR without a word.
const SILENT: Duration = Duration::from_secs(10);
/// How often we look whether we are to stop.
const GLANCE: Duration = Duration::from_millis(250);

impl Round<'_> {
    /// Takes up the export that is in hand, or asks for one. What goes wrong is kept as how the types ended.
    pub(in crate::sync) async fn start(&mut self) {
        if let Err(halt) = self.take_up().await {
            self.give_in(&[], halt);
        }
    }

    /// A failure ends the types of the job, and those that would have come next.
    fn give_in(&mut self, types: &[ResourceType], halt: Halt) {
        let mut all = types.to_vec();
        all.append(&mut self.to_ask);
        let how = match halt {
            Halt::Ehr(error) if is_refusal(&error) => Ended::Refused(chain(&error)),
            halt => ended(halt),
        };
        self.end_all(&all, &how);
        self.stage = Stage::Idle;
    }

    async fn take_up(&mut self) -> Result<(), Halt> {
        let ehr = self.task.ehr.clone();
        let jobs = self.task.store.read(move |conn| exports::of_ehr(conn, &ehr)).await?;
        if self.to_ask.is_empty() && jobs.is_empty() {
            return Ok(());
        }
        let (name, holder, now) = (export_lease(self.task.ehr), self.task.holder, self.task.clock.now());
        let owner = holder.owner.to_owned();
        let taken = self
            .task
            .store
            .write("take an export's lease", move |conn| leases::acquire(conn, &name, &owner, now, holder.term, holder.is_dead));
        self.fence = taken.await?;
        if self.fence.is_none() {
            let types = std::mem::take(&mut self.to_ask);
            self.end_all(&types, &Ended::Held);
            return Ok(());
        }
        let mut open = None;
        let latest_lost = jobs.iter().rfind(|job| job.is_unknown()).map(|job| job.id);
        for job in jobs {
            if job.is_unknown() {
                // Whoever asked for it held the lease that is ours now. One is enough to tell of.
                self.lost(&job, latest_lost == Some(job.id)).await?;
                continue;
            }
            let old = now.since(Timestamp::from_micros(job.started_at)) > LONGEST;
            if job.state == "over" || job.request != self.request() || old || open.is_some() {
                self.finish(&job).await?;
            } else {
                open = Some(job);
            }
        }
        match open {
            // Whoever asks for other types of a search only does not wait for it.
            Some(_) if self.to_ask.is_empty() => {}
            Some(job) => {
                let types = job.types();
                self.to_ask.retain(|kind| !types.contains(kind));
                self.stage = Stage::Waiting(Box::new(job));
            }
            None if self.to_ask.is_empty() => {}
            None => self.ask_next().await?,
        }
        Ok(())
    }

    /// Asks for an export of what is left to ask for.
    async fn ask_next(&mut self) -> Result<(), Halt> {
        let mut types = self.granted().await?;
        if types.is_empty() {
            return Ok(());
        }
        if self.is_of_group() {
            self.read_group(&types).await?;
        }
        while !types.is_empty() {
            match self.kick_off(&types).await {
                // Fewer types at a time may go: one by one, so that what is refused for one of them is no other's.
                Ok(false) if types.len() > 1 => self.to_ask.extend(types.split_off(1)),
                Ok(false) => {
                    self.fall_back(&types, "the EHR refuses the export: it is too large (HTTP status 413)");
                    types = std::mem::take(&mut self.to_ask);
                }
                // Nothing came of these: the others are asked for by themselves.
                Ok(true) if matches!(self.stage, Stage::Idle) => types = std::mem::take(&mut self.to_ask),
                Ok(true) => return Ok(()),
                Err(halt) => {
                    self.to_ask.extend(types);
                    return Err(halt);
                }
            }
        }
        Ok(())
    }

    /// What is left to ask for and the export's token covers. An EHR may leave out of an export what its scopes do not cover, without a word:
    /// that must not be taken as empty.
    async fn granted(&mut self) -> Result<Vec<ResourceType>, Halt> {
        let granted = self.while_alive(self.task.source.client.export_grant()).await?.map_err(EhrError::Token)?;
        let all = std::mem::take(&mut self.to_ask);
        let Some(granted) = granted else { return Ok(all) };
        let (types, left): (Vec<ResourceType>, Vec<ResourceType>) = all.into_iter().partition(|kind| covers(&granted, *kind));
        for kind in left {
            self.fall_back(&[kind], &format!("the EHR grants no scope by which {kind} may be exported (system/{kind})"));
        }
        Ok(types)
    }

    /// Asks for an export of these types; `false` where that is too much at once, or refused where fewer may go: some servers refuse the
    /// whole for one type that they do not have, and some read lists that are written otherwise. To write the list otherwise is no way out: a
    /// server may take the first or the last of repeated values for the whole, and what it leaves out then would count as empty.
    async fn kick_off(&mut self, types: &[ResourceType]) -> Result<bool, Halt> {
        let Some(export) = self.export else { return Ok(true) };
        let (client, started) = (self.task.source.client, self.task.clock.now());
        // Servers compare instants as text, cut them to the second, or give a change an earlier instant than that of its commit: what was
        // promised to be in the last export is asked for again for a while (Bulk Data Access, transactionTime).
        let since = self.since(types).await?.map(|mark| mark.plus(-window::OVERLAP));
        let (ehr, wanted) = (self.task.ehr.clone(), Wanted { types: types.to_vec(), request: self.request(), since, started });
        // Before it is asked for: whoever is killed between the EHR's answer and the next commit leaves a trace of it.
        let id = self.write("keep that an export is asked for", move |conn, _| exports::intend(conn, &ehr, &wanted)).await?;
        let told = match self.while_alive(client.kick_off(&export.of(types, since))).await? {
            Err(error) if may_have_begun(&error) => {
                let ehr = self.task.ehr.clone();
                if let Some(job) = self.task.store.read(move |conn| exports::of_ehr(conn, &ehr)).await?.iter().find(|job| job.id == id) {
                    self.lost(job, true).await?;
                }
                return Err(error.into());
            }
            told => told,
        };
        if !matches!(&told, Ok(KickedOff::Accepted { status_url, .. }) if client.may_ask(status_url)) {
            self.write("forget an export that was not begun", move |conn, _| exports::forget(conn, id)).await?;
        }
        match told? {
            KickedOff::Accepted { status_url, .. } if !client.may_ask(&status_url) => {
                let elsewhere = status_url.origin().ascii_serialization();
                self.fall_back(
                    types,
                    &format!("the EHR says to ask for its export at {elsewhere}, which is not registered for this connection"),
                );
            }
            KickedOff::Accepted { status_url, retry_after, server_date } => {
                let first = wait(client.policy(), &Polled::Working { progress: None, retry_after }, 0);
                let answer = Accepted {
                    status_url: status_url.into(),
                    server_started: server_date,
                    poll_at: Some(started.plus(TimeDelta::from_std(first).unwrap_or_default())),
                };
                let job = self.write("keep an export", move |conn, _| exports::accepted(conn, id, &answer)).await?;
                self.stage = Stage::Waiting(Box::new(job));
            }
            KickedOff::Refused { status: 400 | 422, .. } if types.len() > 1 => return Ok(false),
            KickedOff::Refused { status, outcome } => {
                self.fall_back(types, &format!("the EHR refuses the export (HTTP status {status}, {outcome})"));
            }
            KickedOff::Nowhere => self.fall_back(types, "the EHR accepts the export and does not say where to ask for it"),
            KickedOff::TooMuch => return Ok(false),
            KickedOff::Busy { retry_after, .. } => {
                let wait = wait(client.policy(), &Polled::Throttled { retry_after }, 2);
                self.stage = Stage::Later(types.to_vec(), wait);
            }
        }
        Ok(true)
    }

    /// An export of which nothing is known: it is told, here and by `sync status`, until it is too old to run or a later one was read.
    async fn lost(&mut self, job: &Job, is_latest: bool) -> Result<(), Halt> {
        if !is_latest || self.task.clock.now().since(Timestamp::from_micros(job.started_at)) > LONGEST_UNKNOWN {
            let id = job.id;
            return Ok(self.write("forget an export", move |conn, _| exports::forget(conn, id)).await?);
        }
        let says = job.what_is_unknown();
        self.notes.push(says.clone());
        self.unknown = Some(says);
        Ok(())
    }

    /// From where on these types are exported; `None` is all there is.
    async fn since(&self, types: &[ResourceType]) -> Result<Option<Timestamp>, Halt> {
        let Some(export) = self.export.filter(|_| !self.task.accept_vanished) else { return Ok(None) };
        let (now, fingerprint) = (self.task.clock.now(), self.fingerprint());
        let mut since: Option<Timestamp> = None;
        for kind in types.iter().copied() {
            if !self.is_planned(kind) {
                return Ok(None);
            }
            let ehr = self.task.ehr.clone();
            let read = move |conn: &mut _| Ok((sync_state::get(conn, &ehr, kind)?, coverage::listed_holes(conn, &ehr, kind, FEW + 1)?));
            let (state, holes) = self.task.store.read(read).await?;
            let Some(state) = state.filter(|s| s.fingerprint == fingerprint) else { return Ok(None) };
            let Some(mark) = state.high_water.map(Timestamp::from_micros) else { return Ok(None) };
            let days = i64::from(export.reconcile_days);
            if days > 0 && export.is_complete_for(kind) && days_ago(&state, now) >= days {
                return Ok(None);
            }
            // Of who came new to a Group nothing older than that is promised.
            let few = i64::try_from(holes.len()).unwrap_or(i64::MAX) <= FEW;
            if self.is_of_group() && !holes.is_empty() && !(few && self.by_patient(kind).is_some()) {
                return Ok(None);
            }
            since = Some(since.map_or(mark, |other| other.min(mark)));
        }
        Ok(since)
    }

    /// How a type is read of single patients, where that is a way at all.
    pub(super) fn by_patient(&self, kind: ResourceType) -> Option<&TypePlan> {
        self.task.source.plan.of_type(kind)?.fallback.as_deref().filter(|other| other.is_by_patient())
    }

    /// Brings the list of a Group's members up to date, before an export is asked for: who is on it then is in the export.
    async fn read_group(&mut self, types: &[ResourceType]) -> Result<(), Halt> {
        let Some(fence) = self.fence.clone() else { return Ok(()) };
        let mut tally = Tally::default();
        for (first, kind) in types.iter().copied().filter(|kind| self.is_planned(*kind)).enumerate() {
            let pull = self.pull(kind, fence.clone());
            let start = self.begin_of(kind, fence.clone(), 0);
            match first {
                0 => pull.open_roster(&start, &mut tally).await?,
                _ => pull.note(&start, "note who is on no roster", move |conn, ehr, now| coverage::unlisted(conn, ehr, kind, now)).await?,
            }
        }
        self.notes.append(&mut tally.notes);
        Ok(())
    }

    /// Waits until an export can be read; `false` where there is none, or it takes longer than this run waits.
    pub(in crate::sync) async fn wait(&mut self) -> bool {
        let mut asked = 0;
        loop {
            let step = match &self.stage {
                Stage::Ready(..) => return true,
                Stage::Idle if self.to_ask.is_empty() => return false,
                Stage::Idle => self.ask_next().await,
                Stage::Later(types, wait) => {
                    let (types, wait) = (types.clone(), *wait);
                    self.ask_again(types, wait).await
                }
                Stage::Waiting(job) => {
                    let job = job.clone();
                    asked += 1;
                    self.ask_after(&job, asked).await
                }
            };
            if let Err(halt) = step {
                let types = match &self.stage {
                    Stage::Later(types, _) => types.clone(),
                    Stage::Waiting(job) | Stage::Ready(job, _) => job.types(),
                    Stage::Idle => Vec::new(),
                };
                self.give_in(&types, halt);
            }
        }
    }

    async fn ask_again(&mut self, types: Vec<ResourceType>, wait: Duration) -> Result<(), Halt> {
        if wait > self.patience {
            let maybe = self.unknown.as_ref().map_or_else(String::new, |says| format!("; {says}"));
            let why = format!("the EHR has another export in hand, or too many; the next run asks again{maybe}");
            self.end_all(&types, &Ended::Failed(why));
            self.stage = Stage::Idle;
            return Ok(());
        }
        if wait > SILENT {
            let seconds = wait.as_secs();
            tracing::warn!(ehr = %self.task.ehr, seconds, "the EHR has another export in hand, or too many; it is asked again after that");
        }
        self.sleep(wait).await?;
        self.stage = Stage::Idle;
        self.to_ask.splice(0..0, types);
        self.ask_next().await
    }

    /// One more look whether the job is ready.
    async fn ask_after(&mut self, job: &Job, asked: u32) -> Result<(), Halt> {
        let now = self.task.clock.now();
        let due = job.poll_at.map_or(TimeDelta::zero(), |at| Timestamp::from_micros(at).since(now));
        let delay = due.max(TimeDelta::zero()).to_std().unwrap_or_default();
        if delay > self.patience {
            return self.leave_waiting(job).await;
        }
        self.sleep(delay).await?;
        let Ok(url) = Url::parse(&job.status_url) else { return self.forgotten(job).await };
        let polled = self.while_alive(self.task.source.client.poll(&url)).await??;
        let pause = wait(self.task.source.client.policy(), &polled, asked);
        match polled {
            Polled::Ready { manifest, .. } => {
                let manifest = self.while_alive(self.task.source.client.manifest(&manifest, &url)).await?;
                match manifest {
                    Ok(Ok(manifest)) => {
                        self.stage = Stage::Ready(Box::new(job.clone()), manifest);
                        Ok(())
                    }
                    // A page of a proxy, or of maintenance: days of work are not thrown away for one.
                    Ok(Err(why)) => {
                        let again = wait(self.task.source.client.policy(), &Polled::Working { progress: None, retry_after: None }, asked);
                        self.failing(job, asked, &why.to_string(), false, again).await
                    }
                    Err(error) if error.is_transient() => self.failing(job, asked, &chain(&error), true, pause).await,
                    Err(error) => Err(error.into()),
                }
            }
            Polled::Working { progress, .. } => self.not_yet(job, pause, progress, 0).await,
            Polled::Throttled { .. } => self.not_yet(job, pause, job.progress.clone(), job.failures).await,
            Polled::Failing { why, transient, .. } => self.failing(job, asked, &why, transient, pause).await,
            Polled::Gone => self.forgotten(job).await,
            Polled::Refused { status, outcome } => {
                let why = format!("the EHR accepts the export and then refuses it (HTTP status {status}, {outcome})");
                self.fall_back(&job.types(), &why);
                self.stage = Stage::Idle;
                Ok(self.finish(job).await?)
            }
        }
    }

    async fn not_yet(&mut self, job: &Job, pause: Duration, progress: Option<String>, failures: i64) -> Result<(), Halt> {
        let (id, pause) = (job.id, TimeDelta::from_std(pause).unwrap_or(LONGEST));
        let words = progress.clone();
        let poll_at = self
            .write("keep when to ask for an export", move |conn, now| {
                let at = now.plus(pause);
                exports::polled(conn, id, at, words.as_deref(), failures).map(|()| at)
            })
            .await?;
        // What the EHR says of its progress is free text: it is shown to the operator and never logged.
        tracing::debug!(ehr = %self.task.ehr, "the EHR prepares an export");
        let job = Job { poll_at: Some(poll_at.micros()), progress, failures, ..job.clone() };
        self.stage = Stage::Waiting(Box::new(job));
        Ok(())
    }

    async fn failing(&mut self, job: &Job, asked: u32, why: &str, transient: bool, pause: Duration) -> Result<(), Halt> {
        let failures = job.failures + 1;
        if failures > if transient { MOST_FAILURES } else { MOST_UNEXPLAINED } {
            return self.give_up(job, &format!("asking for the export failed {failures} times in a row: {why}")).await;
        }
        self.not_yet(job, pause, job.progress.clone(), failures).await?;
        if asked >= MOST_IN_A_RUN && transient {
            let why = format!("the EHR does not tell whether the export is ready ({why}); the next run asks again");
            self.end_all(&job.types(), &Ended::Failed(why));
            self.stage = Stage::Idle;
        }
        Ok(())
    }

    /// The run has waited enough. The job stays, and a later run asks for it.
    async fn leave_waiting(&mut self, job: &Job) -> Result<(), Halt> {
        let said = job.progress.as_ref().map_or_else(String::new, |text| format!(" (`{text}`)"));
        let why = format!("the EHR prepares the export{said}; a later run reads it");
        self.end_all(&job.types(), &Ended::Waiting(why.clone()));
        let rest = std::mem::take(&mut self.to_ask);
        self.end_all(&rest, &Ended::Waiting(why));
        self.stage = Stage::Idle;
        Ok(())
    }

    /// The EHR has no such job any more: one is asked for anew, from where the last complete one ended.
    pub(super) async fn forgotten(&mut self, job: &Job) -> Result<(), Halt> {
        let id = job.id;
        self.write("forget an export", move |conn, _| exports::forget(conn, id)).await?;
        self.stage = Stage::Idle;
        if self.anew >= MOST_ANEW {
            let why = "the EHR forgets its exports before they are read; the next run asks anew".to_owned();
            self.end_all(&job.types(), &Ended::Failed(why));
            return Ok(());
        }
        self.anew += 1;
        self.to_ask.splice(0..0, job.types());
        Ok(())
    }

    /// The job comes to nothing.
    async fn give_up(&mut self, job: &Job, why: &str) -> Result<(), Halt> {
        self.end_all(&job.types(), &Ended::Failed(format!("the export was given up: {why}; the next run asks anew")));
        self.stage = Stage::Idle;
        Ok(self.finish(job).await?)
    }

    /// A job is over: the EHR is told to delete it. Until it was, the job stays known, and later runs tell it again.
    pub(super) async fn finish(&self, job: &Job) -> Result<(), crate::store::StoreError> {
        let (id, tried) = (job.id, if job.state == "over" { job.failures } else { 0 });
        if job.state != "over" {
            self.write("end an export", move |conn, _| exports::over(conn, id)).await?;
        }
        let url = Url::parse(&job.status_url).ok().filter(|url| self.task.source.client.may_ask(url));
        let deleted = match &url {
            Some(url) => self.task.source.client.delete_export(url).await,
            // It was at another address of this EHR: nobody there can be asked.
            None => Ok(false),
        };
        match deleted {
            Err(error) if tried + 1 < MOST_DELETES => {
                tracing::warn!(ehr = %self.task.ehr, error = %chain(&error), "the EHR was not told that an export may be deleted; a later run tells it");
                self.write("keep an export", move |conn, now| exports::polled(conn, id, now, None, tried + 1)).await
            }
            _ => self.write("forget an export", move |conn, _| exports::forget(conn, id)).await,
        }
    }

    /// What reads or looks up something for one type.
    pub(super) fn pull(&self, kind: ResourceType, fence: Fence) -> Pull<'_> {
        let task = self.task;
        Pull {
            store: task.store,
            clock: task.clock,
            holder: task.holder,
            ehr: task.ehr,
            source: task.source,
            kind,
            fence,
            stop: task.stop,
            progress: task.progress,
            accept_vanished: task.accept_vanished,
            remark: None,
        }
    }

    pub(super) fn begin_of(&self, kind: ResourceType, fence: Fence, run: i64) -> Start {
        let context = Context { ehr: self.task.ehr.clone(), kind, fence, term: self.task.holder.term, run };
        Start::bare(context, self.task.clock.now())
    }

    /// Waits; the lease stays alive meanwhile, and a stop is seen.
    async fn sleep(&mut self, how_long: Duration) -> Result<(), Halt> {
        self.patience = self.patience.saturating_sub(how_long);
        self.while_alive(tokio::time::sleep(how_long)).await
    }

    /// Waits for an answer and keeps the lease alive meanwhile.
    async fn while_alive<T>(&self, answer: impl Future<Output = T>) -> Result<T, Halt> {
        let term = self.task.holder.term.0.to_std().unwrap_or(Duration::from_secs(30));
        let mut sign_of_life = tokio::time::interval((term / 3).max(GLANCE));
        let mut glance = tokio::time::interval(GLANCE);
        sign_of_life.tick().await;
        let mut answer = std::pin::pin!(answer);
        loop {
            tokio::select! {
                told = &mut answer => return Ok(told),
                _ = glance.tick() => {
                    if self.task.stop.load(Ordering::Relaxed) {
                        return Err(Halt::Stopped);
                    }
                }
                _ = sign_of_life.tick() => self.write("extend an export's lease", |_, _| Ok(())).await?,
            }
        }
    }
}

/// Whether an export may have begun although asking for it failed: the answer was lost on its way, or a proxy's stands in its place.
fn may_have_begun(error: &EhrError) -> bool {
    match error {
        EhrError::Unreachable(failure) => !failure.never_sent(),
        EhrError::Refused { status, .. } => matches!(status, 502 | 504),
        _ => false,
    }
}
