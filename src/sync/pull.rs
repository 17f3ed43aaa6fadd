//! One type of one EHR: which strategy, from where on, page after page, and how it ended.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use domain::model::{EhrId, ResourceType};
use domain::{Clock, Timestamp};

use super::lease::Holder;
use super::page::{self, Context, Told};
use super::pass::Pass;
use super::whole::{Shown, Whose};
use super::window::{self, Left, Seen};
use crate::ehr::pace::Why;
use crate::ehr::profile::Strategy;
use crate::ehr::{Client, EhrError, Entry, Page, Pages, Plan, Search, TypePlan};
use crate::store::leases::{self, Fence};
use crate::store::sync_state::{self, Counts, End};
use crate::store::{Conn, Store, StoreError, coverage, turns};

/// An EHR to sync from.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// Its client.
    pub client: &'a Client,
    /// How each type is read, by what it says of itself at the beginning of this run.
    pub plan: &'a Plan,
}

impl Source<'_> {
    /// The strategy for a type.
    pub(super) fn strategy(&self, kind: ResourceType) -> Strategy {
        self.plan.of_type(kind).map_or(Strategy::Off, |t| t.strategy)
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
    /// Whether the operator has said that what disappeared may be gone, however much it is.
    pub accept_vanished: bool,
    /// What the run has to say of why it is read so.
    pub remark: Option<String>,
}

/// How far a run came.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub counts: Counts,
    pub partial: bool,
    /// Somewhere an answer was not complete, so nothing may be taken as gone.
    pub uncertain: bool,
    /// Patients of whom the type could not be read.
    pub holes: i64,
    /// Marked as gone.
    pub gone: i64,
    /// All there is was shown, and what is stored compared with it.
    pub compared: bool,
    /// Patients or weeks: how many are done, and of how many.
    pub units: Option<(i64, i64)>,
    /// What the operator should know of how the EHR answers.
    pub notes: Vec<String>,
    /// The EHR may not be asked before this instant, and why.
    pub paused: Option<(Why, Timestamp)>,
}

/// Why a run ended early.
#[derive(Debug)]
pub(super) enum Halt {
    Stopped,
    Ehr(EhrError),
    Store(StoreError),
    /// Something that a person has to look at, in words.
    Person(String),
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
pub(super) struct Start {
    pub context: Context,
    pub mark: Option<Timestamp>,
    left: Option<Left>,
    /// What was done of a pass over patients or weeks that was cut off.
    pub pass: Option<Pass>,
    pub at: Timestamp,
}

impl Start {
    /// A run that has neither mark nor resume point.
    pub(super) const fn bare(context: Context, at: Timestamp) -> Self {
        Self { context, mark: None, left: None, pass: None, at }
    }
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

impl Pull<'_> {
    /// Runs the type to its end. The run's row says how it ended, also where this returns a [`Halt`]; only a lost lease leaves it to the
    /// one who took over.
    pub(super) async fn run(&self, strategy: Strategy, tally: &mut Tally) -> Result<(), Halt> {
        let start = self.begin(strategy).await?;
        let ended = self.read(strategy, &start, tally).await;
        let how = match &ended {
            Ok((high_water, since)) => End::Done { high_water: *high_water, as_of: (!tally.partial).then_some(*since) },
            Err(Halt::Stopped) => End::Interrupted,
            Err(Halt::Ehr(error)) => match error.pause() {
                Some(paused) => {
                    let until = paused.until(self.clock.now());
                    tally.paused = Some((paused.why, until));
                    End::Paused(until)
                }
                None => End::Failed(chain(error)),
            },
            Err(Halt::Store(StoreError::LeaseLost(_))) => return ended.map(|_| ()),
            Err(Halt::Store(error)) => End::Failed(chain(error)),
            Err(Halt::Person(why)) => End::Failed(why.clone()),
        };
        let by_patient = self.is_by_patient();
        // The first reading of all there is found everything: nothing can have vanished before it.
        let all_read = start.mark.is_none() && start.left.is_none() && strategy == Strategy::Cursor;
        let compared = all_read || tally.compared;
        let (context, now, notes) = (start.context, self.clock.now(), tally.notes.join("; "));
        let noted = self.store.write("end a sync run", move |conn| {
            leases::extend(conn, &context.fence, now, context.term)?;
            if !notes.is_empty() {
                sync_state::remark(conn, context.run, &notes)?;
            }
            if matches!(how, End::Done { as_of: Some(_), .. }) && !by_patient {
                coverage::fill_all(conn, &context.ehr, context.kind, now)?;
                if compared {
                    sync_state::reconciled(conn, &context.ehr, context.kind, now)?;
                }
            }
            sync_state::end(conn, &context.ehr, context.kind, context.run, &how, now)
        });
        let noted = noted.await;
        // Where both went wrong, the first is the cause.
        ended?;
        Ok(noted?)
    }

    /// Reads the type; returns the new mark, where there is one, and since when what was read is known.
    async fn read(&self, strategy: Strategy, start: &Start, tally: &mut Tally) -> Result<(Option<Timestamp>, Timestamp), Halt> {
        let Some(plan) = self.source.plan.of_type(self.kind) else { return Ok((None, start.at)) };
        match strategy {
            Strategy::Roster => self.crawl(plan, start, tally).await.map(|since| (None, since)),
            Strategy::Window if plan.is_by_patient() => self.crawl(plan, start, tally).await.map(|since| (None, since)),
            Strategy::Window => self.rescan(plan, start, tally).await.map(|since| (None, since)),
            // An export serves several types together: what it is for is not asked of one alone.
            Strategy::Bulk | Strategy::Off => Ok((None, start.at)),
            Strategy::Reference => self.read_named(start, tally).await.map(|mark| (mark, start.at)),
            Strategy::Cursor | Strategy::Full => self.pages(strategy, start, tally).await.map(|mark| (mark, start.at)),
        }
    }

    fn is_by_patient(&self) -> bool {
        self.source.plan.of_type(self.kind).is_some_and(TypePlan::is_by_patient)
    }

    async fn begin(&self, strategy: Strategy) -> Result<Start, StoreError> {
        let (ehr, kind, fence, term, now) = (self.ehr.clone(), self.kind, self.fence.clone(), self.holder.term, self.clock.now());
        // Another server, strategy or filter: the mark and the resume point say nothing about it.
        let mut fingerprint = format!("{} {}", strategy.as_str(), self.source.client.base());
        if let Some(plan) = self.source.plan.of_type(kind).filter(|plan| !plan.search.0.is_empty()) {
            fingerprint.push_str(&format!(" {}", plan.search.pattern()));
        }
        let (by_patient, remark) = (self.is_by_patient(), self.remark.clone());
        let begun = self.store.write("begin a sync run", move |conn| {
            leases::extend(conn, &fence, now, term)?;
            if sync_state::get(conn, &ehr, kind)?.is_some_and(|state| state.fingerprint != fingerprint) {
                sync_state::reset(conn, &ehr, kind, &fingerprint)?;
            }
            let run = sync_state::begin(conn, &ehr, kind, strategy.as_str(), &fingerprint, now)?;
            sync_state::set_by_patient(conn, &ehr, kind, by_patient)?;
            if let Some(remark) = &remark {
                sync_state::remark(conn, run, remark)?;
            }
            let state = sync_state::get(conn, &ehr, kind)?;
            let context = Context { ehr: ehr.clone(), kind, fence: fence.clone(), term, run };
            Ok((context, state))
        });
        let (context, state) = begun.await?;
        let mark = state.as_ref().and_then(|s| s.high_water).map(Timestamp::from_micros);
        let resume = state.and_then(|s| s.resume);
        let (left, pass) = (resume.as_deref().and_then(|r| r.parse().ok()), resume.as_deref().and_then(|r| r.parse().ok()));
        Ok(Start { context, mark, left, pass, at: now })
    }

    /// Reads all pages; returns the new mark, where there is one.
    async fn pages(&self, strategy: Strategy, start: &Start, tally: &mut Tally) -> Result<Option<Timestamp>, Halt> {
        let ask = if strategy == Strategy::Cursor { Ask::Sorted } else { Ask::All };
        let (mut mark, mut restarts) = (start.mark, 0);
        let mut window = Window { ask, from: window::begin(mark), left: start.left.filter(|_| ask == Ask::Sorted) };
        // Whether what is read was begun before: what came since then is read after it.
        let mut begun_before = window.left.is_some();
        let mut shown = Shown::default();
        loop {
            let (mut seen, pages_before) = (None::<Seen>, tally.counts.pages);
            match self.pass(window, start, (&mut seen, &mut shown), tally).await {
                Err(Halt::Ehr(EhrError::PageExpired)) if restarts < RESTARTS => {
                    // The window goes on, not the run: what was committed in order need not be read again.
                    restarts += 1;
                    window.left = seen.and_then(|s| s.left()).or(window.left);
                    begun_before |= window.left.is_some();
                    tracing::debug!(ehr = %self.ehr, kind = %self.kind, restarts, "the pages of a search expired; it is begun anew");
                    continue;
                }
                Err(Halt::Ehr(EhrError::Refused { status: 400 | 422 | 501, .. }))
                    if tally.counts.pages == pages_before && window.ask != Ask::All =>
                {
                    window.ask = window.ask.less();
                    window.left = window.left.filter(|_| window.ask != Ask::All);
                    begun_before &= window.left.is_some();
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
            if window.ask == Ask::All && tally.partial {
                tally.note(format!("an answer was not complete, so no {} was taken as gone", self.kind));
            } else if window.ask == Ask::All {
                // All of it was read: what is not in it is missing.
                self.compare_whole(start, (Whose::All, start.at), &shown, tally).await?;
                tally.compared = true;
            }
            window.left = None;
            if !std::mem::take(&mut begun_before) {
                // A run that misses something must not move the mark past it; one without a cursor has none.
                return Ok(mark.filter(|_| strategy == Strategy::Cursor && !tally.partial));
            }
            // What an earlier run had left is stored; now what came since that run began.
            window.from = window::begin(mark);
        }
    }

    /// Reads a search from its first page to its last; or to where the rest is better searched for anew.
    async fn pass(
        &self,
        window: Window,
        start: &Start,
        (seen, shown): (&mut Option<Seen>, &mut Shown),
        tally: &mut Tally,
    ) -> Result<Option<Left>, Halt> {
        let mut pages = self.source.client.search(window.search(self.kind));
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return Err(Halt::Stopped);
            }
            let asked_at = self.clock.now();
            let Some(mut page) = self.fetch(&mut pages, &start.context).await? else { return Ok(None) };
            let server_now = page.server_date.unwrap_or(asked_at);
            // For people who watch; nothing goes by it.
            let total = page.total.filter(|_| seen.is_none()).and_then(|t| i64::try_from(t).ok());
            let seen = seen.get_or_insert_with(|| Seen::at(server_now, window.left));
            if page.dropped.iter().any(|name| name == "_sort") {
                seen.not_in_order();
            }
            if window.ask == Ask::All {
                shown.extend(page.entries.iter().filter_map(|e| e.id.as_deref()));
            }
            for updated in page::updates(&page.entries) {
                seen.note(updated, server_now);
            }
            // Where the server gave no link to the rest, the rest is searched for from where it ended.
            let rest = seen.left().filter(|left| window.ask == Ask::Sorted && window.left.is_none_or(|before| left.until < before.until));
            let goes_on = rest.filter(|_| page.cut_off.take_if(|_| rest.is_some()).is_some());
            self.look(&page, tally);
            let told = Told {
                number: tally.counts.pages + 1,
                pages: 1,
                // Nothing can be said of what is still to come where the order is not ours, or where something was missing before.
                resume: seen.left().filter(|_| window.ask == Ask::Sorted && !tally.partial).map(|left| left.to_string()),
                server_started: seen.started(),
                partial: page.short().is_some(),
                asked: asked_at,
                now: self.clock.now(),
            };
            let more = page.more;
            let (ehr, kind) = (self.ehr.clone(), self.kind);
            let also = move |conn: &mut Conn| total.map_or(Ok(()), |_| turns::expect(conn, &ehr, kind, total));
            self.commit(start, page.entries, told, also, tally).await?;
            if let Some(left) = seen.further().filter(|_| more && window.ask == Ask::Sorted).or(goes_on) {
                return Ok(Some(left));
            }
        }
    }

    /// Commits pages with what else belongs to them, and counts them.
    pub(super) async fn commit(
        &self,
        start: &Start,
        entries: Vec<Entry>,
        told: Told,
        mut also: impl FnMut(&mut Conn) -> Result<(), StoreError> + Send + 'static,
        tally: &mut Tally,
    ) -> Result<(), Halt> {
        let (store, context) = (self.store.clone(), start.context.clone());
        let committed = tokio::task::spawn_blocking(move || page::commit(&store, &context, &entries, &told, &mut also)).await;
        tally.counts += committed.unwrap_or_else(|panicked| std::panic::resume_unwind(panicked.into_panic()))?;
        (self.progress)(self.kind, tally.counts);
        Ok(())
    }

    /// Fetches a page.
    pub(super) async fn fetch(&self, pages: &mut Pages<'_>, context: &Context) -> Result<Option<Page>, Halt> {
        Ok(self.while_alive(context, pages.next()).await??)
    }

    /// Waits for an answer and keeps the lease alive meanwhile: a slow EHR must not cost it.
    pub(super) async fn while_alive<T>(&self, context: &Context, answer: impl Future<Output = T>) -> Result<T, Halt> {
        let term = self.holder.term.0.to_std().unwrap_or(Duration::from_secs(30));
        let mut sign_of_life = tokio::time::interval((term / 3).max(Duration::from_millis(100)));
        // The first tick is at once; the last commit has just extended the lease.
        sign_of_life.tick().await;
        let mut answer = std::pin::pin!(answer);
        loop {
            tokio::select! {
                told = &mut answer => return Ok(told),
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
    pub(super) fn look(&self, page: &Page, tally: &mut Tally) {
        if !page.dropped.is_empty() {
            tally.note(format!("the EHR ignores search parameters of {}: {}", self.kind, page.dropped.join(", ")));
        }
        if page.unasked > 0 {
            tally.note(format!("the EHR sent resources that were not asked for with {}; they were left out", self.kind));
        }
        if let Some(why) = page.short() {
            tally.partial = true;
            tally.note(format!("{}: {why}", self.kind));
        }
    }
}

impl Tally {
    /// Notes something once.
    pub(super) fn note(&mut self, note: String) {
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
