//! The one thread that writes: gathers rows of a type, and commits a chunk of them with what was put aside and the run's counts.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use domain::Timestamp;
use domain::clock::Clock;
use domain::model::{EhrId, ResourceType};

use super::prepare::{Bad, Item, Prepared, Row};
use super::report::{Clocks, LISTED, Report, Stage};
use super::turns::{IdHash, InFlight, id_hash};
use crate::store::leases::{self, Fence, Term};
use crate::store::quarantine::{self, Aside};
use crate::store::resources::{self, Incoming, Precedence, Written};
use crate::store::sync_state::{self, Counts, End};
use crate::store::{Conn, Lane, Store, StoreError};

/// The strategy's name in runs and states.
pub(super) const STRATEGY: &str = "file";
/// A chunk is committed at this size too: bodies may be large.
const CHUNK_BYTES: usize = 32 << 20;
/// And at so many things put aside: they are written one by one.
const CHUNK_ASIDES: usize = 500;

/// What an import writes with.
pub(super) struct Desk<'a> {
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

pub(super) struct Committer<'a> {
    desk: Desk<'a>,
    waiting: Vec<Waiting>,
    /// Put aside without a type that can be told.
    loose: Vec<Aside>,
    loose_bytes: usize,
    extended: Instant,
    partial: bool,
    /// What the input showed, where that is asked for.
    pub shown: Option<Shown>,
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
    counts: Counts,
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

    fn commit(&self, chunk: &Chunk<'_>) -> Result<(i64, Counts), StoreError> {
        let (ehr, kind, began) = (self.ehr, chunk.kind, self.began(chunk.kind));
        let codec = self.store.codec();
        self.write("import", Lane::Bulk, |conn| {
            let now = self.clock.now().max(began);
            let run = match chunk.run {
                Some(run) => run,
                None => sync_state::begin(conn, ehr, kind, STRATEGY, STRATEGY, began)?,
            };
            let written = resources::commit(conn, ehr, kind, chunk.rows, Precedence::Newest, now)?;
            for aside in chunk.outdated {
                quarantine::put(conn, codec, ehr, aside, now)?;
            }
            let good: Vec<&str> = chunk.rows.iter().map(|r| r.fhir_id.as_str()).chain(chunk.unchanged.iter().map(String::as_str)).collect();
            quarantine::release(conn, ehr, kind, &good, now)?;
            for aside in chunk.asides {
                quarantine::put(conn, codec, ehr, aside, now)?;
            }
            let written = told(&written, began);
            let mut counts = chunk.counts;
            counts += written;
            sync_state::advance(conn, ehr, kind, run, counts, None)?;
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
        found: count(written.stored.len() + written.unchanged.len() + written.older),
        stored: count(written.stored.len()) - count(again),
        unchanged: count(written.unchanged.len()),
        superseded: count(written.older + again),
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
    pub(super) fn new(desk: Desk<'a>) -> Self {
        let waiting = ResourceType::ALL.map(Waiting::new).into();
        Self {
            desk,
            waiting,
            loose: Vec::new(),
            loose_bytes: 0,
            extended: Instant::now(),
            partial: false,
            shown: None,
            report: Report::default(),
        }
    }

    /// Takes a batch in; commits what is full.
    pub(super) fn take(&mut self, batch: Prepared) -> Result<(), StoreError> {
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
    pub(super) fn stay_alive(&mut self) -> Result<(), StoreError> {
        if self.extended.elapsed() >= self.idle() {
            self.desk.write("extend the leases of an import", Lane::Bulk, |_| Ok(()))?;
            self.extended = Instant::now();
        }
        Ok(())
    }

    /// How long the leases may be left alone.
    pub(super) fn idle(&self) -> Duration {
        self.desk.term.0.to_std().unwrap_or_default() / 3
    }

    /// Commits what waits of a type, in as many transactions as the writer's other users need it to be.
    fn flush(&mut self, at: usize) -> Result<(), StoreError> {
        let Some(waiting) = self.waiting.get_mut(at).filter(|w| !w.is_empty()) else { return Ok(()) };
        let kind = waiting.kind;
        let taken = std::mem::replace(waiting, Waiting { run: waiting.run, ..Waiting::new(kind) });
        let (ids, rows): (Vec<IdHash>, Vec<Incoming>) = taken.rows.into_iter().map(|row| (row.id, row.incoming)).unzip();
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
                counts: if first { taken.counts } else { Counts::default() },
            })?;
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
    pub(super) fn finish(&mut self, interrupted: bool) -> Result<(), StoreError> {
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
    pub(super) fn fail(&mut self, why: &str) {
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
