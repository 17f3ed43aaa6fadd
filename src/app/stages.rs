//! Each stage, run once under its lease: what `sync run`, `outreach run` and the worker's tasks call. A stage that another process is
//! running now is no error: it is told as busy.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use chrono::TimeDelta;
use domain::model::{EhrId, ResourceType};
use domain::{Clock as _, Timestamp};
use serde::Serialize;

use super::charts;
use super::{App, ConnectionError, SystemClock};
use crate::ehr::auth::TokenError;
use crate::ehr::pace::Paused;
use crate::ehr::plan::Reach;
use crate::ehr::{Client, Plan};
use crate::outreach::task as outreach;
use crate::segments::task as segments;
use crate::store::leases::{Fence, Term};
use crate::store::{Lane, Store, StoreError, labels, reading, server_clock, writebacks};
use crate::sync::task::{self as sync, Source, TypeReport};
use crate::sync::{Holder, identify, reproject};
use crate::worker::Owner;
use crate::worker::lease::{Lease, Leases};
use crate::writeback::{self};

/// How far a node's clock may be from the database server's: two nodes are then apart by twice that at most, which is well below the time
/// for which a row in somebody's hand is left alone.
const CLOCKS_APART: TimeDelta = TimeDelta::seconds(10);

/// By how many seconds this machine's clock is off the database server's, and which way, where that is more than nodes may differ.
///
/// # Errors
/// The engine's refusal.
pub(super) async fn clock_apart(store: &Store) -> Result<Option<(i64, &'static str)>, StoreError> {
    let machine = SystemClock::with_offset(TimeDelta::zero());
    let look = move |conn: &mut _| Ok((machine.now(), server_clock::now(conn)?, machine.now()));
    let (before, Some(server), after) = store.read(look).await? else { return Ok(None) };
    // The server's clock was read at some instant between the two.
    let (behind, ahead) = (server.since(after), before.since(server));
    Ok(match () {
        () if behind > CLOCKS_APART => Some((behind.num_seconds(), "behind")),
        () if ahead > CLOCKS_APART => Some((ahead.num_seconds(), "ahead of")),
        () => None,
    })
}
/// Labels of patients that are made in one transaction, after an upgrade.
const LABELS: i64 = 1_000;
/// How long a round waits for an export: the other EHRs and stages come after it, and a later round reads it.
const EXPORT_WAIT: Duration = Duration::from_secs(120);

/// Why a stage could not be run.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// The store, or the lease was lost.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The EHR could not be connected.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// The drop folders of an EHR.
    #[error(transparent)]
    Drops(crate::sync::drops::DropError),
    /// The write-back settings of an EHR.
    #[error("{0}: {1}")]
    WriteBack(String, String),
    /// The machine's clock and the database server's disagree.
    #[error(
        "this machine's clock is {0} seconds {1} the database server's; nothing is written back until they agree: switch on time synchronisation at both"
    )]
    Clock(i64, &'static str),
    /// Another process is at it.
    #[error("{0} is being worked on by another process; it goes on there")]
    Busy(String),
    /// What an EHR states of itself was never read.
    #[error("{0} was never asked what it can do; leave --offline out, or run `fhir-engage ehr check {0}` first")]
    NeverAsked(String),
}

/// What is going on, for a progress bar.
#[derive(Clone, Copy, Debug)]
pub enum StageProgress {
    /// Resources of a type read so far.
    Synced(ResourceType, u64),
    /// Persons evaluated so far.
    Evaluated(u64),
    /// Attempts looked at so far.
    Judged(u64),
}

impl StageError {
    /// For how long the EHR may not be asked, where that is why: no failure, and it goes on by itself then.
    #[must_use]
    pub fn pause(&self) -> Option<Paused> {
        match self {
            Self::Connection(ConnectionError::Connect(error)) => error.pause(),
            _ => None,
        }
    }
}

/// Who is told.
pub type Progress<'a> = &'a (dyn Fn(StageProgress) + Send + Sync);

/// What one round through all stages did.
#[derive(Clone, Debug, Default, Serialize)]
pub struct CycleReport {
    /// Each (EHR, type).
    pub sync: Vec<TypeReport>,
    /// Each drop folder.
    pub drops: Vec<(EhrId, crate::sync::drops::DropReport)>,
    /// Segments.
    pub segments: segments::Report,
    /// Outreach.
    pub outreach: outreach::Report,
    /// Each EHR's write-backs.
    pub write_back: Vec<(EhrId, writeback::Report)>,
    /// Stages that another process is running now, or that are paused, in words. That is no failure: what they leave undone, a later round does.
    pub busy: Vec<String>,
    /// Stages that did not get through, in words.
    pub failures: Vec<String>,
}

impl CycleReport {
    fn missed(&mut self, stage: &str, error: &StageError) {
        let told = format!("{stage}: {error}");
        if matches!(error, StageError::Busy(_)) || error.pause().is_some() { self.busy.push(told) } else { self.failures.push(told) }
    }

    fn synced(&mut self, ehr: &EhrId, types: Vec<TypeReport>) {
        for (kind, why, held) in types.iter().filter_map(|t| Some((t.kind, t.failure()?, t.is_held()))) {
            let told = format!("sync {ehr} {kind}: {why}");
            if held { self.busy.push(told) } else { self.failures.push(told) }
        }
        self.busy.extend(types.iter().filter(|t| t.paused_until.is_some()).map(|t| format!("sync {ehr} {}: {}", t.kind, t.result())));
        self.sync.extend(types);
    }
}

impl App {
    /// The leases of this process.
    #[must_use]
    pub fn leases(&self) -> Leases {
        Leases::new(self.store.clone(), self.owner.clone(), Arc::clone(&self.clock), self.config.worker.lease)
    }

    pub(super) async fn lease(&self, name: &str) -> Result<Lease, StageError> {
        self.leases().take(name).await?.ok_or_else(|| StageError::Busy(name.to_owned()))
    }

    /// Syncs types of one EHR.
    ///
    /// # Errors
    /// Where the EHR cannot be connected at all; a type that fails is told in its report.
    pub async fn sync(
        &self,
        ehr: &EhrId,
        types: &[ResourceType],
        stop: &AtomicBool,
        progress: Progress<'_>,
    ) -> Result<Vec<TypeReport>, StageError> {
        self.sync_with(ehr, types, false, EXPORT_WAIT, stop, progress).await
    }

    /// As [`App::sync`]; with `accept_vanished` what disappeared may be gone, however much it is. Exports that take longer than `export_wait`
    /// are read by a later run.
    ///
    /// # Errors
    /// As [`App::sync`].
    pub async fn sync_with(
        &self,
        ehr: &EhrId,
        types: &[ResourceType],
        accept_vanished: bool,
        export_wait: Duration,
        stop: &AtomicBool,
        progress: Progress<'_>,
    ) -> Result<Vec<TypeReport>, StageError> {
        let began = self.clock.now();
        let outcome = self.read_types(ehr, types, (accept_vanished, export_wait), stop, progress).await;
        // It was read, whether this can be kept or not; where it cannot, it is read once more.
        if let Err(error) = self.keep_outcome(ehr, types, began, &outcome).await {
            tracing::warn!(%ehr, error = %error, "how the sync ended could not be kept");
        }
        outcome
    }

    async fn read_types(
        &self,
        ehr: &EhrId,
        types: &[ResourceType],
        (accept_vanished, export_wait): (bool, Duration),
        stop: &AtomicBool,
        progress: Progress<'_>,
    ) -> Result<Vec<TypeReport>, StageError> {
        let profile = self.profile(ehr).await?;
        let connection = match self.connect(ehr).await {
            Ok(connection) => connection,
            Err(error) => {
                let error = StageError::from(error);
                let Some(paused) = error.pause() else { return Err(error) };
                return Ok(types.iter().map(|kind| TypeReport::paused(*kind, paused, self.clock.now())).collect());
            }
        };
        let plan = Plan::of(&profile, &connection.capability);
        let client = connection.client.clone().crawling();
        let leases = self.leases();
        let task = sync::Task {
            store: &self.store,
            clock: self.clock.as_ref(),
            holder: Holder {
                owner: self.owner.as_str(),
                term: Term(self.config.worker.lease),
                is_dead: |other| Owner::this_process().is_dead(other),
            },
            ehr,
            source: Source { client: &client, plan: &plan },
            stop,
            progress: &|kind, counts| progress(StageProgress::Synced(kind, u64::try_from(counts.found).unwrap_or(0))),
            accept_vanished,
            export_wait,
            reading: Some(&leases),
        };
        Ok(sync::run(&task, types).await)
    }

    /// The types that a sync reads where nobody names them: the configured ones, and what supporting types an EHR is asked for.
    #[must_use]
    pub fn types_to_sync(&self) -> Vec<ResourceType> {
        ResourceType::ALL.into_iter().filter(|kind| !kind.is_core() || self.config.sync.types.contains(kind)).collect()
    }

    /// How each type of an EHR would be read now, by what it says of itself and by what it grants.
    ///
    /// # Errors
    /// Where the EHR cannot be connected.
    pub async fn sync_plan(&self, ehr: &EhrId) -> Result<Plan, StageError> {
        let profile = self.profile(ehr).await?;
        let connection = self.connect(ehr).await?;
        let mut plan = Plan::of(&profile, &connection.capability);
        let client = &connection.client;
        let granted = async {
            let searches = client.tokens().access(&Client::reads_of(&profile)).await?.granted;
            let exports = if plan.export.is_some() { client.export_grant().await? } else { None };
            Ok::<_, TokenError>(Reach { searches, exports })
        };
        match granted.await {
            Ok(reach) => plan.heed(&reach),
            Err(error) => plan.no_grant = Some(super::told(&error)),
        }
        Ok(plan)
    }

    /// Evaluates everyone who waits.
    ///
    /// # Errors
    /// The store's refusal, or another process is at it.
    pub async fn assign(
        self: &Arc<Self>,
        stop: &Arc<AtomicBool>,
        progress: Arc<dyn Fn(u64) + Send + Sync>,
    ) -> Result<segments::Report, StageError> {
        let lease = self.lease(segments::LEASE).await?;
        let (app, stop, fence, term): (_, _, Fence, Term) = (Arc::clone(self), Arc::clone(stop), lease.fence().clone(), lease.term());
        let done = tokio::task::spawn_blocking(move || {
            // What an earlier version had read is found by name, too.
            while !stop.load(std::sync::atomic::Ordering::Relaxed) && app.store.read_blocking(labels::is_behind)? {
                app.store.write_blocking(Lane::Bulk, "label patients", |conn| labels::catch_up(conn, LABELS))?;
            }
            // Whose a record is comes before what is true of the person.
            identify::run(&app.store, app.clock.as_ref(), (&fence, term), &stop, &|_| {})?;
            reproject::run(&app.store, app.clock.as_ref(), (&fence, term), &stop, &|_| {})?;
            let stage = segments::Stage { store: &app.store, site: &app.site, clock: app.clock.as_ref(), fence: &fence, term };
            segments::run(&stage, &stop, &|n| progress(n))
        })
        .await
        .unwrap_or_else(|join| match join.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Ok(segments::Report::default()),
        });
        lease.release().await?;
        Ok(done?)
    }

    /// Plans and sends what is due.
    ///
    /// # Errors
    /// The store's refusal, or another process is at it.
    pub async fn reach_out(&self, stop: &AtomicBool, progress: &(dyn Fn(u64) + Send + Sync)) -> Result<outreach::Report, StageError> {
        let lease = self.lease(outreach::LEASE).await?;
        let owing = self.owing().await?;
        let stage = outreach::Stage {
            store: &self.store,
            clock: self.clock.as_ref(),
            programs: &self.programs,
            site: &self.voice,
            channels: &self.channels,
            fresh_id: &|| self.random.id(),
            fence: lease.fence(),
            term: lease.term(),
            receipts_within: &|channel| {
                let outreach = &self.config.outreach;
                outreach.receipts.get(channel.as_str()).copied().unwrap_or(outreach.settle_after)
            },
            owing: &owing,
        };
        let done = outreach::run(&stage, stop, progress).await;
        lease.release().await?;
        Ok(done?)
    }

    /// Writes back what is owed to one EHR.
    ///
    /// # Errors
    /// Where the EHR cannot be connected, the store's refusal, or another process is at it.
    pub async fn write_back(&self, ehr: &EhrId, stop: &AtomicBool) -> Result<writeback::Report, StageError> {
        let profile = self.profile(ehr).await?;
        if profile.files_only {
            let contract = charts::intended_contract(&profile).map_err(|e| StageError::WriteBack(ehr.to_string(), e.to_string()))?;
            return self.write_back_to(ehr, &writeback::chart::NoChart, contract, stop).await;
        }
        // A request must end before its row may be taken over by another worker.
        let connection = self.connect_within(ehr, Some(self.config.write_back.http_timeout)).await?;
        let contract = self.contract(ehr, &profile, &connection).await?;
        let client = connection.client.clone().writing(writeback::needs(&contract));
        self.write_back_to(ehr, &client, contract, stop).await
    }

    /// How long a row in another node's hand is left alone, and how long an EHR may still be working on a lost request, nodes tell by their
    /// clocks: so these must agree, by way of the database server's.
    async fn clock_agrees(&self) -> Result<(), StageError> {
        match clock_apart(&self.store).await? {
            Some((seconds, which)) => Err(StageError::Clock(seconds, which)),
            None => Ok(()),
        }
    }

    async fn write_back_to<C: writeback::chart::Chart>(
        &self,
        ehr: &EhrId,
        chart: &C,
        contract: writeback::Contract,
        stop: &AtomicBool,
    ) -> Result<writeback::Report, StageError> {
        self.clock_agrees().await?;
        let ways = self.ways(ehr, &contract)?;
        let contract = Arc::new(contract);
        let lease = self.lease(&writeback::task::lease(ehr.as_str())).await?;
        let site = Arc::new(self.chart_site());
        let options = writeback::Options { hold: self.config.write_back.http_timeout, ..writeback::Options::default() };
        let stage = writeback::Stage {
            store: &self.store,
            clock: self.clock.as_ref(),
            ehr: ehr.as_str(),
            chart,
            contract: &contract,
            ways: &ways,
            site: &site,
            fence: lease.fence(),
            term: lease.term(),
            options,
        };
        let done = writeback::run(&stage, stop).await;
        lease.release().await?;
        Ok(done?)
    }

    /// The EHRs whose patients segments and outreach leave out now, because they are known by half.
    ///
    /// # Errors
    /// The engine's refusal.
    pub async fn half_read(&self) -> Result<BTreeSet<String>, StoreError> {
        let now = self.clock.now();
        self.store.read(move |conn| reading::half_read(conn, now)).await
    }

    /// One round through all stages and all EHRs that have a connection. A stage that fails is told and does not stop the others.
    pub async fn cycle(self: &Arc<Self>, stop: &Arc<AtomicBool>, progress: Arc<dyn Fn(StageProgress) + Send + Sync>) -> CycleReport {
        let mut report = CycleReport::default();
        let agenda = match self.agenda().await {
            Ok(agenda) => agenda,
            Err(error) => {
                report.failures.push(error.to_string());
                return report;
            }
        };
        report.failures.extend(agenda.unreadable.iter().map(|(_, why)| why.clone()));
        let mut open: Vec<(EhrId, Vec<ResourceType>)> = Vec::new();
        for entry in &agenda.entries {
            match (entry.closed(agenda.now), open.last_mut().filter(|(ehr, _)| *ehr == entry.ehr)) {
                (Some(why), _) => report.busy.push(format!("sync {} {}: {why}", entry.ehr, entry.kind)),
                (None, Some((_, types))) => types.push(entry.kind),
                (None, None) => open.push((entry.ehr.clone(), vec![entry.kind])),
            }
        }
        for (ehr, types) in &open {
            match self.sync(ehr, types, stop, progress.as_ref()).await {
                Ok(types) => report.synced(ehr, types),
                Err(error) => report.missed(&format!("sync {ehr}"), &error),
            }
        }
        for (ehr, profile) in self.ehrs().await.unwrap_or_default().known {
            match self.take_drops(&ehr, &profile, false, stop, Arc::new(|_| ())).await {
                Ok(drops) => report.drops.extend(drops.into_iter().map(|drop| (ehr.clone(), drop))),
                Err(error) => report.missed(&format!("drops {ehr}"), &error),
            }
        }
        self.go_on(&mut report, stop, progress).await;
        report
    }

    /// The stages that come after the sync: segments, outreach, write-back.
    pub async fn after_sync(self: &Arc<Self>, stop: &Arc<AtomicBool>, progress: Arc<dyn Fn(StageProgress) + Send + Sync>) -> CycleReport {
        let mut report = CycleReport::default();
        self.go_on(&mut report, stop, progress).await;
        report
    }

    async fn go_on(self: &Arc<Self>, report: &mut CycleReport, stop: &Arc<AtomicBool>, progress: Arc<dyn Fn(StageProgress) + Send + Sync>) {
        let told = Arc::clone(&progress);
        match self.assign(stop, Arc::new(move |n| told(StageProgress::Evaluated(n)))).await {
            Ok(done) => report.segments = done,
            Err(error) => report.missed("segments", &error),
        }
        match self.reach_out(stop, &|n| progress(StageProgress::Judged(n))).await {
            Ok(done) => report.outreach = done,
            Err(error) => report.missed("outreach", &error),
        }
        let ehrs = match self.ehrs().await {
            Ok(ehrs) => ehrs,
            Err(error) => {
                report.failures.push(error.to_string());
                return;
            }
        };
        for (ehr, _) in ehrs.known {
            match self.write_back(&ehr, stop).await {
                Ok(done) => {
                    let told = if done.is_paused { &mut report.busy } else { &mut report.failures };
                    told.extend(done.stopped.iter().map(|why| format!("write-back {ehr}: {why}")));
                    report.write_back.push((ehr, done));
                }
                Err(error) => report.missed(&format!("write-back {ehr}"), &error),
            }
        }
    }

    /// The next instant at which a write-back is due, over all EHRs; `None` where nothing is open.
    ///
    /// # Errors
    /// The engine's refusal, or a profile that cannot be read.
    pub async fn next_write_back(&self) -> Result<Option<Timestamp>, StageError> {
        let mut next = None;
        for (ehr, _) in self.ehrs().await?.known {
            let (name, now) = (ehr.as_str().to_owned(), self.clock.now());
            let due = self.store.read(move |conn| writebacks::next_due(conn, &name, now)).await?;
            next = [next, due].into_iter().flatten().min();
        }
        Ok(next)
    }
}
