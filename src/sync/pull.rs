//! One type of one EHR: which strategy, from where on, page after page, and how it ended.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use domain::model::{EhrId, ResourceType};
use domain::{Clock, Timestamp};

use super::lease::Holder;
use super::page::{self, Context, Told};
use super::window::{self, Left, Seen};
use crate::ehr::profile::Strategy;
use crate::ehr::{Capability, Client, EhrError, Page, Pages, Search};
use crate::store::leases::{self, Fence};
use crate::store::sync_state::{self, Counts, End};
use crate::store::{Store, StoreError};

/// An EHR to sync from.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// Its client.
    pub client: &'a Client,
    /// What it says it can do, read at the beginning of this run.
    pub capability: &'a Capability,
    /// The operator's choices, by type.
    pub strategies: &'a BTreeMap<ResourceType, Strategy>,
}

impl Source<'_> {
    /// The strategy for a type: the operator's, else a cursor where `_lastUpdated` is advertised, else everything.
    pub(super) fn strategy(&self, kind: ResourceType) -> Strategy {
        let automatic = if self.capability.searches_by(kind.as_str(), "_lastUpdated") { Strategy::Cursor } else { Strategy::Full };
        self.strategies.get(&kind).copied().unwrap_or(automatic)
    }
}

/// What a run of one type works with.
pub(super) struct Pull<'a> {
    pub store: &'a Store,
    pub clock: &'a dyn Clock,
    pub holder: Holder<'a>,
    pub ehr: &'a EhrId,
    pub source: Source<'a>,
    pub kind: ResourceType,
    pub fence: Fence,
    pub stop: &'a AtomicBool,
    pub progress: &'a (dyn Fn(ResourceType, Counts) + Sync),
}

/// How far a run came.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub counts: Counts,
    pub partial: bool,
    /// What the operator should know of how the EHR answers.
    pub notes: Vec<String>,
}

/// Why a run ended early.
#[derive(Debug)]
pub(super) enum Halt {
    Stopped,
    Ehr(EhrError),
    Store(StoreError),
}

impl From<StoreError> for Halt {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<EhrError> for Halt {
    fn from(error: EhrError) -> Self {
        Self::Ehr(error)
    }
}

/// Where a run begins.
struct Start {
    context: Context,
    mark: Option<Timestamp>,
    left: Option<Left>,
    at: Timestamp,
}

/// How a search is put. Servers advertise parameters that they refuse; then less is asked, and more is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ask {
    /// By `_lastUpdated`, the latest first.
    Sorted,
    /// By `_lastUpdated`, in the server's order.
    Filtered,
    /// Everything.
    All,
}

impl Ask {
    /// What to try where this is refused.
    const fn less(self) -> Self {
        match self {
            Self::Sorted => Self::Filtered,
            Self::Filtered | Self::All => Self::All,
        }
    }
}

/// One search of a run.
#[derive(Clone, Copy, Debug)]
struct Window {
    ask: Ask,
    from: Option<Timestamp>,
    left: Option<Left>,
}

impl Window {
    fn search(&self, kind: ResourceType) -> Search {
        let mut search = Search::of(kind.as_str());
        if self.ask == Ask::Sorted {
            search = search.with("_sort", "-_lastUpdated");
        }
        if self.ask != Ask::All {
            let (from, end) = (self.from.map(|at| format!("ge{at}")), self.left.map(|left| format!("le{}", left.end())));
            for bound in from.iter().chain(&end) {
                search = search.with("_lastUpdated", bound);
            }
        }
        search
    }
}

/// How often a search is begun anew in one run because the EHR forgot its pages.
const RESTARTS: u32 = 3;

pub(super) const fn name(strategy: Strategy) -> &'static str {
    match strategy {
        Strategy::Cursor => "cursor",
        Strategy::Full => "full",
        Strategy::Off => "off",
    }
}

impl Pull<'_> {
    /// Runs the type to its end. The run's row says how it ended, also where this returns a [`Halt`]; only a lost lease leaves it to the
    /// one who took over.
    pub(super) async fn run(&self, strategy: Strategy, tally: &mut Tally) -> Result<(), Halt> {
        let start = self.begin(strategy).await?;
        let ended = self.pages(strategy, &start, tally).await;
        let how = match &ended {
            Ok(high_water) => End::Done { high_water: *high_water, as_of: (!tally.partial).then_some(start.at) },
            Err(Halt::Stopped) => End::Interrupted,
            Err(Halt::Ehr(error)) => End::Failed(chain(error)),
            Err(Halt::Store(StoreError::LeaseLost(_))) => return ended.map(|_| ()),
            Err(Halt::Store(error)) => End::Failed(chain(error)),
        };
        let (context, now) = (start.context, self.clock.now());
        let noted = self.store.write("end a sync run", move |conn| {
            leases::extend(conn, &context.fence, now, context.term)?;
            sync_state::end(conn, &context.ehr, context.kind, context.run, &how, now)
        });
        let noted = noted.await;
        // Where both went wrong, the first is the cause.
        ended?;
        Ok(noted?)
    }

    async fn begin(&self, strategy: Strategy) -> Result<Start, StoreError> {
        let (ehr, kind, fence, term, now) = (self.ehr.clone(), self.kind, self.fence.clone(), self.holder.term, self.clock.now());
        // Another server, strategy or filter: the mark and the resume point say nothing about it.
        let fingerprint = format!("{} {}", name(strategy), self.source.client.base());
        let begun = self.store.write("begin a sync run", move |conn| {
            leases::extend(conn, &fence, now, term)?;
            if sync_state::get(conn, &ehr, kind)?.is_some_and(|state| state.fingerprint != fingerprint) {
                sync_state::reset(conn, &ehr, kind, &fingerprint)?;
            }
            let run = sync_state::begin(conn, &ehr, kind, name(strategy), &fingerprint, now)?;
            let state = sync_state::get(conn, &ehr, kind)?;
            let context = Context { ehr: ehr.clone(), kind, fence: fence.clone(), term, run };
            Ok((context, state))
        });
        let (context, state) = begun.await?;
        let (mark, left) =
            state.map_or((None, None), |s| (s.high_water.map(Timestamp::from_micros), s.resume.and_then(|text| text.parse().ok())));
        Ok(Start { context, mark, left, at: now })
    }

    /// Reads all pages; returns the new mark, where there is one.
    async fn pages(&self, strategy: Strategy, start: &Start, tally: &mut Tally) -> Result<Option<Timestamp>, Halt> {
        let ask = if strategy == Strategy::Cursor { Ask::Sorted } else { Ask::All };
        let (mut mark, mut restarts) = (start.mark, 0);
        let mut window = Window { ask, from: window::begin(mark), left: start.left.filter(|_| ask == Ask::Sorted) };
        loop {
            let (mut seen, pages_before) = (None::<Seen>, tally.counts.pages);
            match self.pass(window, start, &mut seen, tally).await {
                Err(Halt::Ehr(EhrError::PageExpired)) if restarts < RESTARTS => {
                    // The window goes on, not the run: what was committed in order need not be read again.
                    restarts += 1;
                    window.left = seen.and_then(|s| s.left()).or(window.left);
                    tracing::debug!(ehr = %self.ehr, kind = %self.kind, restarts, "the pages of a search expired; it is begun anew");
                    continue;
                }
                Err(Halt::Ehr(EhrError::Refused { status: 400 | 422 | 501, .. }))
                    if tally.counts.pages == pages_before && window.ask != Ask::All =>
                {
                    window.ask = window.ask.less();
                    window.left = window.left.filter(|_| window.ask != Ask::All);
                    continue;
                }
                Ok(Some(left)) => {
                    window.left = Some(left);
                    continue;
                }
                Ok(None) => {}
                Err(halt) => return Err(halt),
            }
            if window.ask != ask {
                tally.note(format!("the EHR refuses to search {} by _lastUpdated as it advertises; more is read than needed", self.kind));
            }
            mark = mark.max(seen.and_then(|s| s.mark()));
            if window.left.take().is_none() {
                // A run that misses something must not move the mark past it; one without a cursor has none.
                return Ok(mark.filter(|_| strategy == Strategy::Cursor && !tally.partial));
            }
            // What an earlier run had left is stored; now what came since that run began.
            window.from = window::begin(mark);
        }
    }

    /// Reads a search from its first page to its last; or to where the rest is better searched for anew.
    async fn pass(&self, window: Window, start: &Start, seen: &mut Option<Seen>, tally: &mut Tally) -> Result<Option<Left>, Halt> {
        let mut pages = self.source.client.search(window.search(self.kind));
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return Err(Halt::Stopped);
            }
            let asked_at = self.clock.now();
            let Some(page) = self.fetch(&mut pages, &start.context).await? else { return Ok(None) };
            let server_now = page.server_date.unwrap_or(asked_at);
            let seen = seen.get_or_insert_with(|| Seen::at(server_now, window.left));
            self.look(&page, seen, tally);
            for updated in page::updates(&page.entries) {
                seen.note(updated, server_now);
            }
            let told = Told {
                number: tally.counts.pages + 1,
                // Nothing can be said of what is still to come where the order is not ours, or where something was missing before.
                left: seen.left().filter(|_| window.ask == Ask::Sorted && !tally.partial),
                server_started: seen.started(),
                partial: page.incomplete,
                now: self.clock.now(),
            };
            let (store, context, more) = (self.store.clone(), start.context.clone(), page.more);
            let committed = tokio::task::spawn_blocking(move || page::commit(&store, &context, &page.entries, told)).await;
            tally.counts += committed.unwrap_or_else(|panicked| std::panic::resume_unwind(panicked.into_panic()))?;
            (self.progress)(self.kind, tally.counts);
            if let Some(left) = seen.further().filter(|_| more && window.ask == Ask::Sorted) {
                return Ok(Some(left));
            }
        }
    }

    /// Fetches a page, and keeps the lease alive meanwhile: a slow EHR must not cost it.
    async fn fetch(&self, pages: &mut Pages<'_>, context: &Context) -> Result<Option<Page>, Halt> {
        let term = self.holder.term.0.to_std().unwrap_or(Duration::from_secs(30));
        let mut sign_of_life = tokio::time::interval((term / 3).max(Duration::from_millis(100)));
        // The first tick is at once; the last commit has just extended the lease.
        sign_of_life.tick().await;
        let mut next = std::pin::pin!(pages.next());
        loop {
            tokio::select! {
                page = &mut next => return Ok(page?),
                _ = sign_of_life.tick() => {
                    if self.stop.load(Ordering::Relaxed) {
                        return Err(Halt::Stopped);
                    }
                    let (fence, now, term) = (context.fence.clone(), self.clock.now(), context.term);
                    self.store.write("extend a sync lease", move |conn| leases::extend(conn, &fence, now, term)).await?;
                }
            }
        }
    }

    /// What a page tells of how the EHR answers.
    fn look(&self, page: &Page, seen: &mut Seen, tally: &mut Tally) {
        if !page.dropped.is_empty() {
            tally.note(format!("the EHR ignores search parameters of {}: {}", self.kind, page.dropped.join(", ")));
        }
        if page.dropped.iter().any(|name| name == "_sort") {
            seen.not_in_order();
        }
        if page.unasked > 0 {
            tally.note(format!("the EHR sent resources that were not asked for with {}; they were left out", self.kind));
        }
        if page.incomplete {
            tally.partial = true;
            let said: Vec<String> = page.outcomes.iter().map(ToString::to_string).collect();
            tally.note(format!("the EHR says that its answer for {} is not complete ({})", self.kind, said.join("; ")));
        }
    }
}

impl Tally {
    /// Notes something once.
    fn note(&mut self, note: String) {
        if !self.notes.contains(&note) {
            tracing::warn!("{note}");
            self.notes.push(note);
        }
    }
}

/// An error with its causes, in one sentence for the operator. No error of these modules holds patient data.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text.push_str(": ");
        text.push_str(&next.to_string());
        cause = next.source();
    }
    text
}
