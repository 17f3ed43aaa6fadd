//! The one thread that writes: gathers rows of a type, and commits a chunk of them with what was put aside and the run's counts.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use domain::Timestamp;
use domain::clock::Clock;
use domain::model::{EhrId, ResourceType};

use super::prepare::{Bad, Item, Prepared, Row};
use super::report::{Clocks, LISTED, Report, Stage};
use super::turns::{IdHash, InFlight, id_hash};
use crate::store::exports::{self, HASH, Place};
use crate::store::leases::{self, Fence, Term};
use crate::store::quarantine::{self, Aside};
use crate::store::resources::{self, Incoming, Precedence, Written};
use crate::store::sync_state::{self, Counts, End};
use crate::store::{Conn, Lane, Store, StoreError, refresh};
use crate::sync::page::OVERLAP;

/// The strategy's name in runs and states.
pub(in crate::sync) const STRATEGY: &str = "file";
/// A chunk is committed at this size too: bodies may be large.
const CHUNK_BYTES: usize = 32 << 20;
/// And at so many things put aside: they are written one by one.
const CHUNK_ASIDES: usize = 500;

/// What an import writes with.
pub(in crate::sync) struct Desk<'a> {
    pub store: &'a Store,
    pub ehr: &'a EhrId,
    pub clock: &'a dyn Clock,
    pub term: Term,
    /// Proof of the lease of each type.
    pub fences: Vec<Fence>,
    /// Of each type, an instant later than all that earlier runs stored, whatever the machine's clock did in between.
    pub began: HashMap<ResourceType, Timestamp>,
    pub in_flight: &'a InFlight,
    pub clocks: &'a Clocks,
    /// The export whose files these are.
    pub export: Option<Export>,
}

/// An export whose files are read: how far they were stored is kept with what is stored.
#[derive(Clone, Debug)]
pub(in crate::sync) struct Export {
    /// Its number in the store.
    pub job: i64,
    /// The types' resume point while it is read.
    pub resume: String,
    /// When it was asked for, by our clock.
    pub asked: Timestamp,
}

/// How far an export is stored once all is that waits now.
#[derive(Default)]
struct Reached {
    place: Option<Place>,
    seen: Vec<(ResourceType, Vec<u8>)>,
}

/// What waits to be committed of one type.
struct Waiting {
    kind: ResourceType,
    run: Option<i64>,
    rows: Vec<Row>,
    by_id: HashMap<String, usize>,
    unchanged: Vec<String>,
    /// Put aside, and not followed by a good version that waits here: written after good versions release what is in quarantine.
    asides: Vec<Aside>,
    /// Put aside, and followed by a good version: written before, so that it is released at once.
    outdated: Vec<Aside>,
    bytes: usize,
    /// What no commit has told yet; `rows` come on top.
    counts: Counts,
}

pub(in crate::sync) struct Committer<'a> {
    desk: Desk<'a>,
    waiting: Vec<Waiting>,
    /// Put aside without a type that can be told.
    loose: Vec<Aside>,
    loose_bytes: usize,
    extended: Instant,
    partial: bool,
    /// What the input showed, where that is asked for.
    pub shown: Option<Shown>,
    reached: Reached,
    /// The counts of each type.
    pub by_type: HashMap<ResourceType, Counts>,
    pub report: Report,
}

/// What an input showed of what is stored, so that what it did not show can be told.
#[derive(Debug, Default)]
pub(in crate::sync) struct Shown {
    /// Its resources, stored or put aside.
    pub ids: HashSet<IdHash>,
    /// Something could not be read of which it cannot be said what it was.
    pub uncertain: bool,
    /// It ended before its time.
    pub cut_off: bool,
}

/// What one transaction takes in.
struct Chunk<'c> {
    kind: ResourceType,
    run: Option<i64>,
    rows: &'c [Incoming],
    unchanged: &'c [String],
    outdated: &'c [Aside],
    asides: &'c [Aside],
    unread: &'c [Box<Aside>],
    counts: Counts,
    /// All that waited is stored with this.
    reached: Option<&'c Reached>,
}

impl Desk<'_> {
    fn extend(&self, conn: &mut Conn) -> Result<(), StoreError> {
        let now = self.clock.now();
        self.fences.iter().try_for_each(|fence| leases::extend(conn, fence, now, self.term))
    }

    fn began(&self, kind: ResourceType) -> Timestamp {
        self.began.get(&kind).copied().unwrap_or_else(|| self.clock.now())
    }

    fn write<T>(&self, name: &'static str, lane: Lane, mut f: impl FnMut(&mut Conn) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let started = Instant::now();
        let done = self.store.write_blocking(lane, name, |conn| {
            self.extend(conn)?;
            f(conn)
        });
        self.clocks.add(Stage::Store, started.elapsed());
        done
    }

    /// Notes how far an export is stored.
    fn keep(&self, conn: &mut Conn, reached: Option<&Reached>) -> Result<(), StoreError> {
        let Some((export, reached)) = self.export.as_ref().zip(reached) else { return Ok(()) };
        let Some(place) = reached.place else { return Ok(()) };
        for (kind, ids) in &reached.seen {
            exports::see(conn, export.job, *kind, place, ids)?;
        }
        exports::advance(conn, export.job, place)
    }

    fn commit(&self, chunk: &Chunk<'_>) -> Result<(i64, Counts), StoreError> {
        let (ehr, kind, began) = (self.ehr, chunk.kind, self.began(chunk.kind));
        let codec = self.store.codec();
        self.write("import", Lane::Bulk, |conn| {
            let now = self.clock.now().max(began);
            let run = match chunk.run {
                Some(run) => run,
                None => sync_state::begin(conn, ehr, kind, STRATEGY, STRATEGY, began)?,
            };
            let precedence = self.export.as_ref().map_or(Precedence::Newest, |export| Precedence::Exported(export.asked));
            let written = resources::commit(conn, ehr, kind, chunk.rows, precedence, now)?;
            written.undecided.iter().try_for_each(|id| refresh::ask(conn, ehr, kind, id, OVERLAP, now))?;
            for aside in chunk.outdated {
                quarantine::put(conn, codec, ehr, aside, now)?;
            }
            let [changed, unchanged]: [Vec<&str>; 2] =
                [chunk.rows.iter().map(|r| r.fhir_id.as_str()).collect(), chunk.unchanged.iter().map(String::as_str).collect()];
            quarantine::release(conn, ehr, kind, &changed, &unchanged, now)?;
            quarantine::put_unread(conn, codec, ehr, kind, chunk.unread.iter().map(|aside| &**aside), now)?;
            for aside in chunk.asides {
                quarantine::put(conn, codec, ehr, aside, now)?;
            }
            let written = told(&written, began);
            let mut counts = chunk.counts;
            counts += written;
            sync_state::advance(conn, ehr, kind, run, counts, self.export.as_ref().map(|e| e.resume.as_str()))?;
            self.keep(conn, chunk.reached)?;
            Ok((run, written))
        })
    }
}

/// A commit's counts. A line that replaces one of the same run makes the earlier one superseded: it is no longer what is stored.
fn told(written: &Written, began: Timestamp) -> Counts {
    let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    let again = written.replaced.iter().filter(|at| **at >= began.micros()).count();
    Counts {
        pages: 1,
        found: count(written.stored.len() + written.unchanged.len() + written.older + written.undecided.len()),
        stored: count(written.stored.len()) - count(again),
        unchanged: count(written.unchanged.len()),
        superseded: count(written.older + written.undecided.len() + again),
        quarantined: 0,
    }
}

impl Shown {
    fn note(&mut self, item: &Item) {
        match item {
            Item::Row(row) => {
                self.ids.insert(row.id);
            }
            Item::Unchanged(kind, id) => {
                self.ids.insert(id_hash(*kind, id));
            }
            Item::Bad(bad) => {
                self.cut_off |= bad.cut_off;
                match (bad.kind, &bad.aside.fhir_id) {
                    (Some(kind), Some(id)) => {
                        self.ids.insert(id_hash(kind, id));
                    }
                    _ => self.uncertain = true,
                }
            }
        }
    }

    /// Whether a resource was shown.
    pub(in crate::sync) fn holds(&self, kind: ResourceType, id: &str) -> bool {
        self.ids.contains(&id_hash(kind, id))
    }
}

impl Waiting {
    fn new(kind: ResourceType) -> Self {
        Self {
            kind,
            run: None,
            rows: Vec::new(),
            by_id: HashMap::new(),
            unchanged: Vec::new(),
            asides: Vec::new(),
            outdated: Vec::new(),
            bytes: 0,
            counts: Counts::default(),
        }
    }

    /// A good version came of what was put aside before.
    fn outdate(&mut self, id: &str) {
        if !self.asides.is_empty() {
            self.outdated.extend(self.asides.extract_if(.., |aside| aside.fhir_id.as_deref() == Some(id)));
        }
    }

    /// Adds a row; returns the id of the one that it supersedes, or its own where a newer one waits already.
    fn add(&mut self, row: Row) -> Option<IdHash> {
        self.outdate(&row.incoming.fhir_id);
        self.bytes += row.incoming.body.bytes.len() + row.incoming.facts.len();
        let waits = self.by_id.get(&row.incoming.fhir_id).and_then(|at| self.rows.get_mut(*at));
        let Some(other) = waits else {
            self.by_id.insert(row.incoming.fhir_id.clone(), self.rows.len());
            self.rows.push(row);
            return None;
        };
        let older = matches!((row.incoming.last_updated, other.incoming.last_updated), (Some(new), Some(old)) if new < old);
        let loser = if older { row } else { std::mem::replace(other, row) };
        self.counts.found += 1;
        self.counts.superseded += 1;
        Some(loser.id)
    }

    fn is_full(&self, rows: usize) -> bool {
        self.rows.len() >= rows
            || self.bytes >= CHUNK_BYTES
            || self.asides.len() + self.outdated.len() >= CHUNK_ASIDES
            || self.unchanged.len() >= 4 * rows
    }

    fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.counts == Counts::default()
    }
}

impl<'a> Committer<'a> {
    pub(in crate::sync) fn new(desk: Desk<'a>) -> Self {
        let waiting = ResourceType::ALL.map(Waiting::new).into();
        Self {
            desk,
            waiting,
            loose: Vec::new(),
            loose_bytes: 0,
            extended: Instant::now(),
            partial: false,
            reached: Reached::default(),
            by_type: HashMap::new(),
            shown: None,
            report: Report::default(),
        }
    }

    /// The runs that were begun already.
    pub(in crate::sync) fn with_runs(mut self, runs: &HashMap<ResourceType, i64>) -> Self {
        for waiting in &mut self.waiting {
            waiting.run = runs.get(&waiting.kind).copied();
        }
        self
    }

    /// Takes a batch in; commits what is full.
    pub(in crate::sync) fn take(&mut self, batch: Prepared) -> Result<(), StoreError> {
        self.report.lines += batch.lines;
        self.report.bytes += batch.bytes;
        for (name, n) in batch.ignored {
            *self.report.ignored.entry(name).or_insert(0) += n;
        }
        for (_, item) in batch.items {
            if let Some(shown) = &mut self.shown {
                shown.note(&item);
            }
            match item {
                Item::Row(row) => {
                    let Some(waiting) = self.waiting.iter_mut().find(|w| w.kind == row.kind) else { continue };
                    if let Some(loser) = waiting.add(row) {
                        self.report.superseded += 1;
                        self.desk.in_flight.remove(&[loser]);
                    }
                }
                Item::Unchanged(kind, id) => {
                    let Some(waiting) = self.waiting.iter_mut().find(|w| w.kind == kind) else { continue };
                    waiting.outdate(&id);
                    waiting.unchanged.push(id);
                    waiting.counts.found += 1;
                    waiting.counts.unchanged += 1;
                    self.report.unchanged += 1;
                }
                Item::Bad(bad) => self.put_aside(bad),
            }
        }
        self.desk.in_flight.remove(&batch.settled);
        let rows = self.desk.store.bulk_rows();
        if self.desk.export.is_some() {
            self.reach(batch.place, &batch.seen);
            let full = self.waiting.iter().any(|w| w.is_full(rows)) || self.loose.len() >= CHUNK_ASIDES || self.loose_bytes >= CHUNK_BYTES;
            return if full { self.flush_all() } else { self.stay_alive() };
        }
        for at in 0..self.waiting.len() {
            if self.waiting.get(at).is_some_and(|w| w.is_full(rows)) {
                self.flush(at)?;
            }
        }
        if self.loose.len() >= CHUNK_ASIDES || self.loose_bytes >= CHUNK_BYTES {
            self.flush_loose()?;
        }
        self.stay_alive()
    }

    fn reach(&mut self, place: Place, seen: &[(ResourceType, [u8; HASH])]) {
        self.reached.place = Some(place);
        for (kind, id) in seen {
            match self.reached.seen.iter_mut().find(|(k, _)| k == kind) {
                Some((_, ids)) => ids.extend_from_slice(id),
                None => self.reached.seen.push((*kind, id.to_vec())),
            }
        }
    }

    /// Commits all that waits, and with the last of it how far the export is stored now.
    pub(in crate::sync) fn flush_all(&mut self) -> Result<(), StoreError> {
        if !self.loose.is_empty() {
            self.flush_loose()?;
        }
        let reached = std::mem::take(&mut self.reached);
        let last = self.waiting.iter().rposition(|w| !w.is_empty());
        for at in 0..self.waiting.len() {
            self.flush_with(at, (last == Some(at)).then_some(&reached))?;
        }
        if last.is_none() && reached.place.is_some() {
            self.desk.write("keep the place of an export", Lane::Bulk, |conn| self.desk.keep(conn, Some(&reached)))?;
        }
        Ok(())
    }

    fn put_aside(&mut self, bad: Bad) {
        self.report.quarantined += 1;
        if self.report.problems.len() < LISTED {
            self.report.problems.push(format!("{}: {}", bad.aside.origin, bad.aside.reason));
        }
        self.partial |= bad.cut_off;
        match bad.kind.and_then(|kind| self.waiting.iter_mut().find(|w| w.kind == kind)) {
            Some(waiting) => {
                waiting.counts.found += 1;
                waiting.counts.quarantined += 1;
                waiting.bytes += bad.aside.body.len();
                waiting.asides.push(bad.aside);
            }
            None => {
                self.loose_bytes += bad.aside.body.len();
                self.loose.push(bad.aside);
            }
        }
    }

    /// Extends the leases when nothing was committed for a while.
    pub(in crate::sync) fn stay_alive(&mut self) -> Result<(), StoreError> {
        if self.extended.elapsed() >= self.idle() {
            self.desk.write("extend the leases of an import", Lane::Bulk, |_| Ok(()))?;
            self.extended = Instant::now();
        }
        Ok(())
    }

    /// How long the leases may be left alone.
    pub(in crate::sync) fn idle(&self) -> Duration {
        self.desk.term.0.to_std().unwrap_or_default() / 3
    }

    /// Commits what waits of a type, in as many transactions as the writer's other users need it to be.
    fn flush(&mut self, at: usize) -> Result<(), StoreError> {
        self.flush_with(at, None)
    }

    fn flush_with(&mut self, at: usize, reached: Option<&Reached>) -> Result<(), StoreError> {
        let Some(waiting) = self.waiting.get_mut(at).filter(|w| !w.is_empty()) else { return Ok(()) };
        let kind = waiting.kind;
        let taken = std::mem::replace(waiting, Waiting { run: waiting.run, ..Waiting::new(kind) });
        let (mut ids, mut rows, mut unread) = (Vec::new(), Vec::new(), Vec::new());
        for row in taken.rows {
            ids.push(row.id);
            rows.push(row.incoming);
            unread.extend(row.unread);
        }
        let (mut run, mut first, mut done) = (taken.run, true, 0);
        while first || done < rows.len() {
            let until = (done + self.desk.store.bulk_rows().max(1)).min(rows.len());
            let last = until == rows.len();
            let (number, written) = self.desk.commit(&Chunk {
                kind,
                run,
                rows: rows.get(done..until).unwrap_or_default(),
                unchanged: if last { &taken.unchanged } else { &[] },
                outdated: if first { &taken.outdated } else { &[] },
                asides: if last { &taken.asides } else { &[] },
                unread: if last { &unread } else { &[] },
                counts: if first { taken.counts } else { Counts::default() },
                reached: reached.filter(|_| last),
            })?;
            let counts = self.by_type.entry(kind).or_default();
            *counts += written;
            if first {
                *counts += taken.counts;
            }
            run = Some(number);
            // What an earlier line of this run stored and this one replaced was counted as stored then, so `stored` may go down.
            self.report.stored = self.report.stored.saturating_add_signed(written.stored);
            self.report.unchanged = self.report.unchanged.saturating_add_signed(written.unchanged);
            self.report.superseded = self.report.superseded.saturating_add_signed(written.superseded);
            (first, done) = (false, until);
        }
        self.desk.in_flight.remove(&ids);
        if let Some(waiting) = self.waiting.get_mut(at) {
            waiting.run = run;
        }
        self.extended = Instant::now();
        Ok(())
    }

    fn flush_loose(&mut self) -> Result<(), StoreError> {
        let asides = std::mem::take(&mut self.loose);
        self.loose_bytes = 0;
        self.desk.write("put aside", Lane::Bulk, |conn| {
            let now = self.desk.clock.now();
            asides.iter().try_for_each(|aside| quarantine::put(conn, self.desk.store.codec(), self.desk.ehr, aside, now))
        })
    }

    /// Commits all that waits and ends the runs.
    pub(in crate::sync) fn finish(&mut self, interrupted: bool) -> Result<(), StoreError> {
        for at in 0..self.waiting.len() {
            self.flush(at)?;
        }
        if !self.loose.is_empty() {
            self.flush_loose()?;
        }
        let partial = self.partial;
        self.end(
            |now| if interrupted { End::Interrupted } else { End::Done { high_water: None, as_of: (!partial).then_some(now) } },
            partial,
        )
    }

    /// Ends the runs as failed, as far as the leases still allow it.
    pub(in crate::sync) fn fail(&mut self, why: &str) {
        if let Err(error) = self.end(|_| End::Failed(why.to_owned()), true) {
            tracing::warn!(error = %error, "the end of a failed import could not be noted");
        }
    }

    fn end(&self, how: impl Fn(Timestamp) -> End, partial: bool) -> Result<(), StoreError> {
        // Interactive, so that it is durable when it returns, and with it all that was committed before.
        self.desk.write("end an import", Lane::Interactive, |conn| {
            let runs: Vec<_> = self.waiting.iter().filter_map(|waiting| Some((waiting.kind, waiting.run?))).collect();
            let now = runs.iter().map(|(kind, _)| self.desk.began(*kind)).fold(self.desk.clock.now(), Ord::max);
            for (_, run) in &runs {
                sync_state::observe(conn, *run, None, partial)?;
            }
            sync_state::end_together(conn, self.desk.ehr, &runs, &how(now), now)
        })
    }
}
