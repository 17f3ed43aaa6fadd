//! The outreach stage: plans for the persons that segments marked, settles what was left open, and sends what is due, under a lease.

use std::sync::atomic::{AtomicBool, Ordering};

use domain::Clock;

use super::channel::{Channel, ChannelKind};
use super::enrol::{self, InForce};
use super::judging::Judge;
use super::owing::Owing;
use super::program::{Library, Program};
use super::send::{self, Sender, Sent, SiteVoice};
use crate::store::leases::{self, Fence, Term};
use crate::store::programs;
use crate::store::{Conn, Store, StoreError, attempts, memberships, pending};

/// The lease under which outreach plans and sends.
pub const LEASE: &str = "outreach";

/// Persons planned in one transaction.
const PLAN: i64 = 200;
/// Attempts judged in one transaction.
const SEND: i64 = 100;
/// Held attempts looked at in one transaction, when outreach goes on.
const WAKE: i64 = 500;

/// What a run did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Report {
    /// Persons planned for.
    pub persons: u64,
    /// Attempts planned.
    pub planned: u64,
    /// Planned attempts given up because their reason went away.
    pub voided: u64,
    /// Attempts that left, or were recorded.
    pub sent: u64,
    /// Attempts held until an instant.
    pub held: u64,
    /// Attempts refused by the gate.
    pub refused: u64,
    /// Attempts that failed for good.
    pub failed: u64,
    /// Attempts that may or may not have left: a person has to settle them.
    pub unclear: u64,
    /// Sends of a crashed worker that were looked at.
    pub settled: u64,
}

/// Programs and templates in force, with the versions that the store gave them.
#[derive(Debug)]
pub struct Programs {
    library: Library,
    versions: Vec<programs::ProgramRow>,
}

impl Programs {
    /// Puts a library in force. `channels`, where not empty, replaces the channels of every step by the site's.
    ///
    /// # Errors
    /// The engine's refusal.
    pub fn put_in_force(
        conn: &mut Conn,
        mut library: Library,
        channels: &[ChannelKind],
        now: domain::Timestamp,
    ) -> Result<Self, StoreError> {
        library.programs = library.programs.into_iter().map(|p| send::with_channels(p, channels)).collect();
        library.by_hand = send::with_channels(library.by_hand, channels);
        // A program's version is its text's: the site's channels may differ between two commands of one installation.
        let texts: Vec<(&str, &str, &str)> =
            library.programs.iter().map(|p| (p.id.as_str(), p.title.as_str(), p.version.as_str())).collect();
        let (versions, changed) = programs::define(conn, &texts, now)?;
        if changed {
            // Who is in a segment already is planned for as well.
            pending::mark_members(conn, now)?;
        }
        Ok(Self { library, versions })
    }

    /// The library.
    #[must_use]
    pub const fn library(&self) -> &Library {
        &self.library
    }

    fn in_force<'a>(&'a self, segments: &[memberships::Segment]) -> Vec<InForce<'a>> {
        let of = |p: &'a Program| {
            let version = self.versions.iter().find(|v| v.id == p.id)?.version;
            let segment = segments.iter().find(|s| s.id == p.segment)?.number;
            Some(InForce { program: p, version, segment })
        };
        self.library.programs.iter().filter_map(of).collect()
    }
}

/// What the stage works with.
pub struct Stage<'a> {
    /// The store.
    pub store: &'a Store,
    /// Time.
    pub clock: &'a dyn Clock,
    /// Programs and templates.
    pub programs: &'a Programs,
    /// The site.
    pub site: &'a SiteVoice,
    /// The channels of this installation; `recorded` is always there.
    pub channels: &'a [Channel],
    /// Makes a public id, 128 random bits.
    pub fresh_id: &'a (dyn Fn() -> String + Send + Sync),
    /// Proof of the lease.
    pub fence: &'a Fence,
    /// How long the lease lasts without a sign of life.
    pub term: Term,
    /// How long receipts may take on a channel that gives some.
    pub receipts_within: &'a (dyn Fn(ChannelKind) -> chrono::TimeDelta + Send + Sync),
    /// What the charts want of what was sent.
    pub owing: &'a Owing,
}

/// Plans and sends until nothing is due, or until `stop`. `progress` is told how many attempts were looked at.
///
/// # Errors
/// [`StoreError::LeaseLost`], or the engine's refusal. What was committed stays.
pub async fn run(stage: &Stage<'_>, stop: &AtomicBool, progress: &(dyn Fn(u64) + Send + Sync)) -> Result<Report, StoreError> {
    let mut report = Report::default();
    report.settled += send::settle_left(stage.store, stage.clock, stage.fence, stage.term).await?;
    let sender = Sender {
        store: stage.store,
        clock: stage.clock,
        judge: Judge { store: stage.store, library: stage.programs.library(), site: stage.site, channels: stage.channels },
        fence: stage.fence,
        term: stage.term,
        receipts_within: stage.receipts_within,
        owing: stage.owing,
        stop,
    };
    report.settled += sender.settle_silent().await?;
    // What a stop held is due before anything is planned or sent. One that is cut off here goes on with the next run.
    while !stop.load(Ordering::Relaxed) && wake_chunk(stage)? {}
    let mut looked_at = 0;
    while !stop.load(Ordering::Relaxed) {
        let planned = plan_chunk(stage, &mut report).await?;
        if planned > 0 {
            // Everyone who waits is planned for before anything is sent: a cancelled visit stops what was planned for it.
            continue;
        }
        let sent = sender.batch(SEND).await?;
        add(&mut report, sent);
        looked_at += sent.looked_at();
        progress(looked_at);
        if sent.looked_at() == 0 {
            break;
        }
    }
    Ok(report)
}

fn add(report: &mut Report, sent: Sent) {
    report.sent += sent.sent;
    report.held += sent.held;
    report.refused += sent.refused;
    report.failed += sent.failed;
    report.unclear += sent.unclear;
    report.voided += sent.overtaken;
}

fn wake_chunk(stage: &Stage<'_>) -> Result<bool, StoreError> {
    let now = stage.clock.now();
    in_place(|| {
        stage.store.write_blocking(crate::store::Lane::Bulk, "wake what a stop held", |conn| {
            leases::extend(conn, stage.fence, now, stage.term)?;
            attempts::wake_some(conn, WAKE, now)
        })
    })
}

async fn plan_chunk(stage: &Stage<'_>, report: &mut Report) -> Result<usize, StoreError> {
    let now = stage.clock.now();
    // Which versions of segments are in force belongs to the same snapshot: one may be replaced between two chunks.
    let read = move |conn: &mut Conn| {
        let taken = pending::take_outreach(conn, now, PLAN)?;
        Ok((enrol::load(conn, &taken)?, memberships::segments(conn)?))
    };
    let (people, segments) = stage.store.snapshot(read).await?;
    if people.is_empty() {
        return Ok(0);
    }
    let in_force = stage.programs.in_force(&segments);
    let todos: Vec<_> = people.iter().map(|p| enrol::work_out(p, &in_force, stage.site.policy.zone, now)).collect();
    let (planned, voided) = in_place(|| {
        stage.store.write_blocking(crate::store::Lane::Bulk, "plan outreach", |conn| {
            leases::extend(conn, stage.fence, now, stage.term)?;
            let (mut planned, mut voided) = (0, 0);
            for (person, todo) in people.iter().zip(&todos) {
                let (p, v) = enrol::write(conn, person, todo, &|| (stage.fresh_id)(), now)?;
                planned += p;
                voided += v;
            }
            let taken: Vec<_> = people.iter().map(|p| p.taken).collect();
            pending::done_outreach(conn, &taken)?;
            Ok((planned, voided))
        })
    })?;
    report.planned += planned;
    report.voided += voided;
    report.persons += u64::try_from(people.len()).unwrap_or(0);
    Ok(people.len())
}

/// Runs blocking work that borrows, without holding up the other tasks of a runtime that has more than one thread.
fn in_place<T>(work: impl FnOnce() -> T) -> T {
    match tokio::runtime::Handle::try_current().map(|h| h.runtime_flavor()) {
        Ok(tokio::runtime::RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}
