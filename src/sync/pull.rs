//! One type of one EHR: which strategy, from where on, page after page, and how it ended.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use domain::model::{EhrId, ResourceType};
use domain::{Clock, Timestamp};

use super::lease::Holder;
use super::page::{self, Context, Told};
use super::window::{self, Seen};
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
    from: Option<Timestamp>,
    at: Timestamp,
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
            Ok(high_water) => End::Done { high_water: *high_water, as_of: start.at },
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
        let (mark, resume) = state.map_or((None, None), |s| (s.high_water, s.resume.and_then(|text| text.parse().ok())));
        let mark = mark.map(Timestamp::from_micros);
        let from = if strategy == Strategy::Cursor { window::begin(mark, resume.map(Timestamp::from_micros)) } else { None };
        Ok(Start { context, mark, from, at: now })
    }

    /// Reads all pages; returns the new mark, where there is one.
    async fn pages(&self, strategy: Strategy, start: &Start, tally: &mut Tally) -> Result<Option<Timestamp>, Halt> {
        let (mut from, mut restarts, mut repeated, mut first_started) = (start.from, 0, false, None::<Seen>);
        loop {
            let mut seen = None;
            let pages_before = tally.counts.pages;
            let ended = self.pass(strategy, start, from, &mut seen, tally).await;
            let seen = seen.filter(|_| strategy == Strategy::Cursor);
            let bound = first_started.or(seen);
            first_started = bound;
            match ended {
                Err(Halt::Ehr(EhrError::PageExpired)) if restarts < RESTARTS => {
                    restarts += 1;
                    // The window goes on, not the run: what was committed in order need not be read again.
                    from = seen.and_then(|s| s.resume()).max(from);
                    tracing::debug!(ehr = %self.ehr, kind = %self.kind, restarts, "the pages of a search expired; it is begun anew");
                    continue;
                }
                Err(halt) => return Err(halt),
                Ok(()) => {}
            }
            let (Some(seen), Some(bound)) = (seen, bound) else { return Ok(None) };
            // What changes while pages are counted off shifts the rest; a second look finds what fell between two pages.
            if seen.moved() && tally.counts.pages - pages_before > 1 && !repeated {
                repeated = true;
                continue;
            }
            // A run that misses something must not move the mark past it.
            return Ok(if tally.partial { None } else { seen.no_later_than(&bound).mark(start.mark, from) });
        }
    }

    /// Reads a search from its first page to its last.
    async fn pass(
        &self,
        strategy: Strategy,
        start: &Start,
        from: Option<Timestamp>,
        seen: &mut Option<Seen>,
        tally: &mut Tally,
    ) -> Result<(), Halt> {
        let mut search = Search::of(self.kind.as_str());
        if strategy == Strategy::Cursor {
            search = search.with("_sort", "_lastUpdated");
            if let Some(from) = from {
                search = search.with("_lastUpdated", &format!("ge{from}"));
            }
        }
        let mut pages = self.source.client.search(search);
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return Err(Halt::Stopped);
            }
            let asked_at = self.clock.now();
            let Some(page) = self.fetch(&mut pages, &start.context).await? else { return Ok(()) };
            let server_now = page.server_date.unwrap_or(asked_at);
            let seen = seen.get_or_insert_with(|| Seen::at(server_now));
            self.note(&page, seen, tally);
            for updated in page::updates(&page.entries) {
                seen.note(updated, server_now);
            }
            let told = Told {
                number: tally.counts.pages + 1,
                resume: seen.resume().filter(|_| strategy == Strategy::Cursor),
                server_started: seen.started(),
                partial: page.incomplete,
                now: self.clock.now(),
            };
            let (store, context) = (self.store.clone(), start.context.clone());
            let committed = tokio::task::spawn_blocking(move || page::commit(&store, &context, &page.entries, told)).await;
            tally.counts += committed.unwrap_or_else(|panicked| std::panic::resume_unwind(panicked.into_panic()))?;
            (self.progress)(self.kind, tally.counts);
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

    fn note(&self, page: &Page, seen: &mut Seen, tally: &mut Tally) {
        tally.partial |= page.incomplete;
        let mut notes = Vec::new();
        if !page.dropped.is_empty() {
            notes.push(format!("the EHR ignores search parameters of {}: {}", self.kind, page.dropped.join(", ")));
        }
        if page.dropped.iter().any(|name| name == "_sort") {
            seen.not_in_order();
        }
        if page.unasked > 0 {
            notes.push(format!("the EHR sent resources that were not asked for with {}; they were left out", self.kind));
        }
        if page.incomplete {
            let said: Vec<String> = page.outcomes.iter().map(ToString::to_string).collect();
            notes.push(format!("the EHR says that its answer for {} is not complete ({})", self.kind, said.join("; ")));
        }
        for note in notes {
            if !tally.notes.contains(&note) {
                tracing::warn!(ehr = %self.ehr, kind = %self.kind, "{note}");
                tally.notes.push(note);
            }
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
