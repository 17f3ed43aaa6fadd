//! The segment stage: takes the persons that were marked or are due by time, evaluates them, and writes differences under a lease.
//!
//! Work grows with what changed, never with the population; only versions that are rolled out are asked of everyone (`rollout`). One thread reads and evaluates the next chunk while the writer commits the
//! one before.

use std::sync::atomic::{AtomicBool, Ordering};

use domain::rules::Site;
use domain::{Clock, Timestamp};

use super::assignment::{Subject, compare, withdrawn};
use super::definitions::Definitions;
use super::rollout;
use crate::store::leases::{self, Fence, Term};
use crate::store::memberships::{self, Evaluated};
use crate::store::pending::{self, Pending};
use crate::store::{Lane, Store, StoreError, people};

/// The lease under which memberships are written.
pub const LEASE: &str = "segments";

/// Persons of one chunk; some thousand rows of facts, a few megabytes.
const CHUNK: i64 = 1_000;

/// What a pass did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Report {
    /// Persons evaluated.
    pub persons: u64,
    /// Segments evaluated, over all persons: only those that read what changed.
    pub pairs: u64,
    /// Persons of whom versions were asked that are being rolled out.
    pub rolled_out: u64,
    /// Memberships that changed.
    pub changes: u64,
    /// Persons evaluated because their time had come, whose answers had not changed after all: valid-until may be early, never late.
    pub early: u64,
}

impl Report {
    fn add(&mut self, other: Self) {
        self.persons += other.persons;
        self.pairs += other.pairs;
        self.changes += other.changes;
        self.early += other.early;
    }

    /// Into the metrics of this process.
    fn count(self) {
        metrics::counter!("fhir_engage_segment_persons_evaluated_total").increment(self.persons);
        metrics::counter!("fhir_engage_segment_answers_total").increment(self.pairs);
        metrics::counter!("fhir_engage_segment_changes_total").increment(self.changes);
        metrics::counter!("fhir_engage_segment_early_wake_ups_total").increment(self.early);
    }
}

/// What the stage works with.
pub struct Stage<'a> {
    /// The store.
    pub store: &'a Store,
    /// The site's zone and language.
    pub site: &'a Site,
    /// Time.
    pub clock: &'a dyn Clock,
    /// Proof of the lease.
    pub fence: &'a Fence,
    /// How long the lease lasts without a sign of life.
    pub term: Term,
}

struct Chunk {
    /// The last person that was looked at; absent at the end.
    last: Option<i64>,
    taken: Vec<Pending>,
    evaluated: Vec<Evaluated>,
    pairs: u64,
    now: Timestamp,
}

/// Evaluates until nobody waits, or until `stop`. Blocks; `progress` is told how many persons were done.
///
/// # Errors
/// [`StoreError::LeaseLost`], or the engine's refusal. What was committed stays.
pub fn run(stage: &Stage<'_>, stop: &AtomicBool, progress: &(dyn Fn(u64) + Sync)) -> Result<Report, StoreError> {
    let mut total = Report::default();
    loop {
        rollout::finish(stage, stop, progress)?;
        let definitions = stage.store.read_blocking(Definitions::load)?;
        let pass = one_pass(stage, &definitions, stop, &mut total, progress)?;
        let more = rollout::turn(stage, &definitions, stop, &mut total, progress)?;
        if (pass == 0 && !more) || stop.load(Ordering::Relaxed) {
            return Ok(total);
        }
    }
}

fn one_pass(
    stage: &Stage<'_>,
    definitions: &Definitions,
    stop: &AtomicBool,
    total: &mut Report,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<u64, StoreError> {
    let (send, receive) = std::sync::mpsc::sync_channel::<Result<Chunk, StoreError>>(2);
    let mut persons = 0;
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut after = i64::MIN;
            while !stop.load(Ordering::Relaxed) {
                let chunk = evaluate_chunk(stage, definitions, after);
                match &chunk {
                    Ok(c) => match c.last {
                        Some(last) => after = last,
                        None => return,
                    },
                    Err(_) => {
                        drop(send.send(chunk));
                        return;
                    }
                }
                if send.send(chunk).is_err() {
                    return;
                }
            }
        });
        for chunk in receive {
            let chunk = chunk?;
            stage.store.write_blocking(Lane::Bulk, "assign segments", |conn| {
                leases::extend(conn, stage.fence, stage.clock.now(), stage.term)?;
                memberships::apply(conn, &chunk.evaluated, chunk.now)?;
                pending::done(conn, &chunk.taken)
            })?;
            let mut did = Report { persons: u64::try_from(chunk.taken.len()).unwrap_or(0), pairs: chunk.pairs, ..Report::default() };
            for (taken, found) in chunk.taken.iter().zip(&chunk.evaluated) {
                did.changes += u64::try_from(found.changes.len()).unwrap_or(0);
                did.early += u64::from(taken.generation == 0 && found.changes.is_empty());
            }
            did.count();
            persons += did.persons;
            total.add(did);
            progress(total.persons + total.rolled_out);
        }
        Ok(persons)
    })
}

fn evaluate_chunk(stage: &Stage<'_>, definitions: &Definitions, after: i64) -> Result<Chunk, StoreError> {
    let now = stage.clock.now();
    // One snapshot: who is left out because an EHR is being read, and the facts of those who are not.
    stage.store.snapshot_blocking(|conn| {
        let taken = pending::take(conn, now, after, CHUNK)?;
        let persons: Vec<i64> = taken.iter().map(|p| p.person).collect();
        let facts = people::facts(conn, &persons)?;
        let stored = memberships::assignments(conn, &persons)?;
        let conn = std::cell::RefCell::new(conn);
        let entries = |person: i64, numbers: &[i64]| memberships::entries_before(&mut conn.borrow_mut(), person, numbers);
        let last = taken.last().map(|p| p.person);
        let mut chunk = Chunk { last, evaluated: Vec::with_capacity(taken.len()), pairs: 0, now, taken: Vec::new() };
        for pending in taken {
            let Some(known) = facts.get(&pending.person) else { continue };
            let stored = stored.get(&pending.person);
            if !known.has_record {
                chunk.evaluated.push(withdrawn(definitions, pending.person, stored, now));
                chunk.taken.push(pending);
                continue;
            }
            // Something of this person was stored since own attributes were read. Whoever reads it leaves a mark.
            if definitions.library().own().is_unread(&known.facts) {
                continue;
            }
            // Which of several records counts first hangs on the person's visits too: what was read may be told by another one now.
            let reads = if known.facts.patients.len() > 1 { -1 } else { pending.reads };
            let subject = Subject { person: pending.person, facts: &known.facts, stored, reads };
            let (evaluated, pairs) = compare(definitions, stage.site, &subject, now, &entries)?;
            chunk.evaluated.push(evaluated);
            chunk.pairs += pairs;
            chunk.taken.push(pending);
        }
        Ok(chunk)
    })
}
