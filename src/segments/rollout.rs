//! How staged versions come into force: everyone is evaluated in chunks while the versions in force still answer; then one commit changes
//! over, and what that changed is entered into the persons' histories, again in chunks. Each chunk commits with the roll-out's resume
//! point, so whoever takes the lease next goes on where the last one stopped.

use std::sync::atomic::{AtomicBool, Ordering};

use chrono::TimeDelta;
use domain::Timestamp;

use super::assignment::{Subject, carry_over, stage as stage_person};
use super::definitions::{Definitions, Next};
use super::task::{Report, Stage};
use crate::store::definitions::{self as versions, Rollout};
use crate::store::leases;
use crate::store::memberships::{self, Evaluated};
use crate::store::{Lane, StoreError, derivations, own, people, steps};

/// Persons of one chunk.
const CHUNK: i64 = 1_000;
/// Rows of one chunk of settling: a tenth of a second of the writer.
const SETTLE: i64 = 2_000;
/// After so long in a roll-out the stage looks whether a change waits: it must be seen within a second.
const TURN: TimeDelta = TimeDelta::milliseconds(500);

/// Finishes what a roll-out has left to write after its versions came into force, or takes away what one left that was given up. Before
/// anyone is evaluated: histories are in order.
pub(super) fn finish(stage: &Stage<'_>, stop: &AtomicBool, progress: &(dyn Fn(u64) + Sync)) -> Result<(), StoreError> {
    while !stop.load(Ordering::Relaxed) {
        let Some(rollout) = stage.store.read_blocking(versions::going_on)? else { return Ok(()) };
        if rollout.state == "staging" {
            return Ok(());
        }
        write(stage, |conn, now| finish_part(conn, &rollout, now))?;
        progress(0);
    }
    Ok(())
}

fn finish_part(conn: &mut crate::store::Conn, rollout: &Rollout, now: Timestamp) -> Result<(), StoreError> {
    let settling = rollout.state == "settling";
    let more = if settling { steps::settle(conn, rollout, SETTLE, now)? } else { steps::discard(conn, rollout.number, SETTLE)? };
    if more { Ok(()) } else { versions::end(conn, rollout.number, if settling { "done" } else { "dropped" }, now) }
}

fn write<T>(stage: &Stage<'_>, f: impl Fn(&mut crate::store::Conn, Timestamp) -> Result<T, StoreError>) -> Result<T, StoreError> {
    let now = stage.clock.now();
    stage.store.write_blocking(Lane::Bulk, "roll out segments", |conn| {
        leases::extend(conn, stage.fence, now, stage.term)?;
        f(conn, now)
    })
}

struct Chunk {
    evaluated: Vec<Evaluated>,
    left: std::collections::BTreeSet<i64>,
    last: Option<i64>,
    now: Timestamp,
}

/// One turn of a roll-out that stages: some chunks, or the changing over where none is left. Tells whether there is more to do.
pub(super) fn turn(
    stage: &Stage<'_>,
    definitions: &Definitions,
    stop: &AtomicBool,
    total: &mut Report,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<bool, StoreError> {
    let Some(next) = &definitions.next else { return Ok(false) };
    let Some(rollout) = stage.store.read_blocking(versions::going_on)?.filter(|r| r.number == next.rollout && r.state == "staging") else {
        return Ok(true);
    };
    // Nobody can be asked about an attribute before it was read of everyone, one that is new in this program neither.
    let keys: Vec<&str> = next.set.library.own().iter().map(domain::rules::OwnAttribute::key).collect();
    if stage.store.read_blocking(|conn| Ok(own::unread(conn, keys.into_iter())? > 0 || derivations::is_behind(conn)?))? {
        return Ok(false);
    }
    let ends = stage.clock.now().plus(TURN);
    let (send, receive) = std::sync::mpsc::sync_channel::<Result<Chunk, StoreError>>(2);
    let mut complete = false;
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut after = rollout.after_person;
            while !stop.load(Ordering::Relaxed) && stage.clock.now() <= ends {
                let chunk = evaluate(stage, definitions, next, after);
                let last = chunk.as_ref().ok().and_then(|c| c.last);
                if send.send(chunk).is_err() {
                    return;
                }
                match last {
                    Some(last) => after = last,
                    None => return,
                }
            }
        });
        for chunk in receive {
            let chunk = chunk?;
            let Some(last) = chunk.last else {
                complete = true;
                break;
            };
            let goes_on = write(stage, |conn, _| steps::stage(conn, next.rollout, (&chunk.evaluated, last), &chunk.left, chunk.now))?;
            if !goes_on {
                // Somebody began another one: what was evaluated is of no use any more.
                return Ok(());
            }
            let n = u64::try_from(chunk.evaluated.len()).unwrap_or(0);
            total.rolled_out += n;
            total.pairs += n * u64::try_from(next.changed.len()).unwrap_or(0);
            progress(total.persons + total.rolled_out);
        }
        Ok::<(), StoreError>(())
    })?;
    if complete && !stop.load(Ordering::Relaxed) {
        write(stage, |conn, now| versions::flip(conn, next.rollout, now))?;
    }
    Ok(!stop.load(Ordering::Relaxed))
}

fn evaluate(stage: &Stage<'_>, definitions: &Definitions, next: &Next, after: i64) -> Result<Chunk, StoreError> {
    let now = stage.clock.now();
    // One snapshot, as for those who are evaluated because something changed.
    stage.store.snapshot_blocking(|conn| {
        let (persons, mut left) = steps::take(conn, now, after, CHUNK)?;
        let judged: Vec<i64> = persons.iter().copied().filter(|p| !left.contains(p)).collect();
        let mut facts = people::facts(conn, &judged)?;
        // Something of these was stored since own attributes were read.
        let unread = |known: &people::Known| known.has_record && next.set.library.own().is_unread(&known.facts);
        left.extend(facts.iter().filter(|(_, known)| unread(known)).map(|(person, _)| *person));
        facts.retain(|person, _| !left.contains(person));
        let stored = memberships::assignments(conn, &persons)?;
        let numbers: Vec<i64> =
            next.changed.iter().filter_map(|at| next.set.rows.get(*at)).flat_map(|row| definitions.numbers(&row.id)).copied().collect();
        let before = memberships::entries_of(conn, &persons, &numbers)?;
        let entries = |person: i64, numbers: &[i64]| Ok::<i64, StoreError>(numbers.iter().filter_map(|n| before.get(&(person, *n))).sum());
        let mut evaluated = Vec::with_capacity(persons.len());
        for person in &persons {
            let of = stored.get(person);
            match facts.get(person) {
                // Of one whose records belong to another person now the mark is set that withdraws them.
                Some(known) if known.has_record => {
                    let subject = Subject { person: *person, facts: &known.facts, stored: of, reads: -1 };
                    evaluated.push(stage_person(definitions, next, stage.site, &subject, now, &entries)?);
                }
                _ => evaluated.extend(of.map(|of| carry_over(definitions, next, *person, of))),
            }
        }
        Ok(Chunk { evaluated, left, last: persons.last().copied(), now })
    })
}
