//! What staged versions of segments say of persons: memberships beside those in force, and the entries and exits that take effect when the
//! versions are put in force.

use std::collections::BTreeSet;

use diesel::prelude::*;
use domain::Timestamp;

use super::bulk::{self, Column, Insert};
use super::connection::{Conn, on_backend};
use super::days;
use super::definitions::{self, Rollout};
use super::error::StoreError;
use super::memberships::{Evaluated, SINCE_FLIP, Staged, State, count_unknown};
use super::pending;
use super::reading::{self, leave_out};
use super::schema::{assignment, definition, membership, membership_step, segment_count};

/// Persons who were evaluated and have numbers above `after`, for a roll-out; and those of them that are not to be judged now, since an EHR
/// of theirs is known by half.
///
/// # Errors
/// The engine's refusal.
pub fn take(conn: &mut Conn, now: Timestamp, after: i64, limit: i64) -> Result<(Vec<i64>, BTreeSet<i64>), StoreError> {
    let half = reading::half_read(conn, now)?;
    let all: Vec<i64> = on_backend!(conn, c => assignment::table
        .filter(assignment::person.gt(after))
        .select(assignment::person)
        .order(assignment::person)
        .limit(limit)
        .load(c))?;
    let Some(last) = all.last().copied().filter(|_| !half.is_empty()) else { return Ok((all, BTreeSet::new())) };
    let whole: Vec<i64> = on_backend!(conn, c => {
        let q = assignment::table
            .filter(assignment::person.gt(after))
            .filter(assignment::person.le(last))
            .select(assignment::person)
            .into_boxed();
        leave_out!(q, assignment::person, half).load(c)?
    });
    let whole: BTreeSet<i64> = whole.into_iter().collect();
    let left = all.iter().copied().filter(|p| !whole.contains(p)).collect();
    Ok((all, left))
}

/// How many persons a roll-out goes through.
///
/// # Errors
/// The engine's refusal.
pub fn persons(conn: &mut Conn) -> Result<i64, StoreError> {
    Ok(on_backend!(conn, c => assignment::table.count().get_result(c))?)
}

/// Writes a chunk of a roll-out and moves its resume point; `left` are persons who must be evaluated again later. `false`, and nothing is
/// to be committed, where the roll-out is not staging any more.
///
/// # Errors
/// The engine's refusal.
pub fn stage(
    conn: &mut Conn,
    rollout: i64,
    (evaluated, last): (&[Evaluated], i64),
    left: &BTreeSet<i64>,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let persons = i64::try_from(evaluated.len()).unwrap_or(0);
    if !definitions::advance(conn, rollout, last, persons)? {
        return Ok(false);
    }
    write(conn, evaluated)?;
    let woken: Vec<&Evaluated> = evaluated.iter().filter(|e| e.wake_at.is_some()).collect();
    Insert {
        into: "assignment (person, evaluated_at, wake_at, events)",
        columns: vec![
            Column::Int(woken.iter().map(|e| e.person).collect()),
            Column::Int(vec![now.micros(); woken.len()]),
            Column::IntOrNull(woken.iter().map(|e| e.wake_at.map(Timestamp::micros)).collect()),
            Column::Int(woken.iter().map(|e| e.events).collect()),
        ],
        conflict: "ON CONFLICT (person) DO UPDATE SET wake_at = excluded.wake_at",
    }
    .execute(conn)?;
    let changed: Vec<(&Evaluated, Vec<u8>)> =
        evaluated.iter().filter(|e| e.unknown.0 != e.unknown.1).map(|e| (e, e.unknown.1.to_bytes())).collect();
    Insert {
        into: "assignment (person, evaluated_at, events, unknown)",
        columns: vec![
            Column::Int(changed.iter().map(|(e, _)| e.person).collect()),
            Column::Int(vec![now.micros(); changed.len()]),
            Column::Int(changed.iter().map(|(e, _)| e.events).collect()),
            Column::Bytes(changed.iter().map(|(_, unknown)| unknown.as_slice()).collect()),
        ],
        conflict: "ON CONFLICT (person) DO UPDATE SET unknown = excluded.unknown",
    }
    .execute(conn)?;
    count_unknown(conn, evaluated, now)?;
    pending::mark(conn, left, -1, now)?;
    Ok(true)
}

/// Writes what staged versions say, in place of what they said before.
pub(super) fn write(conn: &mut Conn, evaluated: &[Evaluated]) -> Result<(), StoreError> {
    let Some(rollout) = evaluated.iter().find_map(|e| e.staged.as_ref()).map(|s| s.rollout) else { return Ok(()) };
    let persons: Vec<i64> = evaluated.iter().filter(|e| e.staged.is_some()).map(|e| e.person).collect();
    bulk::execute_numbers(conn, "DELETE FROM membership_step", &format!("rollout = {rollout} AND person"), &persons)?;
    let all: Vec<(i64, &Staged)> =
        evaluated.iter().flat_map(|e| e.staged.iter().flat_map(|s| &s.versions).map(|v| (e.person, v))).collect();
    let left: Vec<(i64, i64)> = all.iter().filter(|(_, v)| v.written && v.after.is_none()).map(|(p, v)| (*p, v.segment)).collect();
    bulk::delete_pairs(conn, "membership", ("person", "segment"), &left)?;
    let kept: Vec<(i64, &Staged, State)> = all.iter().filter_map(|(p, v)| v.after.map(|state| (*p, *v, state))).collect();
    Insert {
        into: "membership (person, segment, version, state, since, entry, reasons)",
        columns: vec![
            Column::Int(kept.iter().map(|k| k.0).collect()),
            Column::Int(kept.iter().map(|k| k.1.segment).collect()),
            Column::Int(kept.iter().map(|k| k.1.version).collect()),
            Column::Text(kept.iter().map(|k| k.2.as_str()).collect()),
            Column::Int(kept.iter().map(|k| k.1.since).collect()),
            Column::Int(kept.iter().map(|k| k.1.entry).collect()),
            Column::Bytes(kept.iter().map(|k| k.1.reasons.as_slice()).collect()),
        ],
        conflict:
            "ON CONFLICT (person, segment) DO UPDATE SET version = excluded.version, reasons = excluded.reasons, entry = excluded.entry,
                   since = excluded.since, state = excluded.state",
    }
    .execute(conn)?;
    let steps: Vec<(i64, &Staged)> = all.into_iter().filter(|(_, v)| v.before != v.after).collect();
    Insert {
        into: "membership_step (rollout, person, segment, version, before, after, reasons)",
        columns: vec![
            Column::Int(vec![rollout; steps.len()]),
            Column::Int(steps.iter().map(|s| s.0).collect()),
            Column::Int(steps.iter().map(|s| s.1.segment).collect()),
            Column::Int(steps.iter().map(|s| s.1.version).collect()),
            Column::TextOrNull(steps.iter().map(|s| s.1.before.map(State::as_str)).collect()),
            Column::TextOrNull(steps.iter().map(|s| s.1.after.map(State::as_str)).collect()),
            Column::Bytes(steps.iter().map(|s| s.1.event_reasons.as_slice()).collect()),
        ],
        conflict: "",
    }
    .execute(conn)?;
    Ok(())
}

#[derive(Queryable)]
struct Step {
    person: i64,
    segment: i64,
    version: i64,
    before: Option<String>,
    after: Option<String>,
    reasons: Vec<u8>,
}

/// Writes a part of what a roll-out changed into the persons' histories, after its versions were put in force, and takes away what the
/// ended versions left. `true` as long as there is more.
///
/// # Errors
/// The engine's refusal.
pub fn settle(conn: &mut Conn, rollout: &Rollout, limit: i64, now: Timestamp) -> Result<bool, StoreError> {
    let steps: Vec<Step> = on_backend!(conn, c => membership_step::table
        .filter(membership_step::rollout.eq(rollout.number))
        .order((membership_step::person, membership_step::segment))
        .select((
            membership_step::person,
            membership_step::segment,
            membership_step::version,
            membership_step::before,
            membership_step::after,
            membership_step::reasons,
        ))
        .limit(limit)
        .load(c))?;
    if steps.is_empty() {
        return purge(conn, limit);
    }
    let persons: BTreeSet<i64> = steps.iter().map(|s| s.person).collect();
    let list: Vec<i64> = persons.iter().copied().collect();
    let since = rollout.flipped_at.unwrap_or(now.micros());
    enter_into_history(conn, &steps, &list, since, now)?;
    let theirs = format!("SELECT number FROM definition WHERE rollout = {} AND state = 'current'", rollout.number);
    bulk::execute_numbers(
        conn,
        &format!("UPDATE membership SET since = {since}"),
        &format!("since = {SINCE_FLIP} AND segment IN ({theirs}) AND person"),
        &list,
    )?;
    let pairs: Vec<(i64, i64)> = steps.iter().map(|s| (s.person, s.segment)).collect();
    bulk::delete_pairs(conn, "membership_step", ("person", "segment"), &pairs)?;
    pending::mark_outreach(conn, &persons, now)?;
    let entered = steps.iter().filter(|s| s.after.as_deref() == Some("in")).count();
    let left = steps.iter().filter(|s| s.before.as_deref() == Some("in") && s.after.as_deref() != Some("in")).count();
    definitions::count(conn, rollout.number, i64::try_from(entered).unwrap_or(0), i64::try_from(left).unwrap_or(0))?;
    Ok(true)
}

#[derive(QueryableByName)]
struct Events {
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    person: i64,
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    events: i64,
}

fn enter_into_history(conn: &mut Conn, steps: &[Step], persons: &[i64], effective_at: i64, now: Timestamp) -> Result<(), StoreError> {
    let counts: Vec<Events> = bulk::select_numbers(conn, "SELECT person, events FROM assignment", "person", persons, "")?;
    let mut counts: std::collections::BTreeMap<i64, i64> = counts.into_iter().map(|e| (e.person, e.events)).collect();
    let numbers: Vec<i64> = steps
        .iter()
        .map(|s| {
            let count = counts.entry(s.person).or_insert(0);
            *count += 1;
            *count
        })
        .collect();
    Insert {
        into: "membership_event (person, number, segment, version, before, after, effective_at, recorded_at, reasons)",
        columns: vec![
            Column::Int(steps.iter().map(|s| s.person).collect()),
            Column::Int(numbers),
            Column::Int(steps.iter().map(|s| s.segment).collect()),
            Column::Int(steps.iter().map(|s| s.version).collect()),
            Column::TextOrNull(steps.iter().map(|s| s.before.as_deref()).collect()),
            Column::TextOrNull(steps.iter().map(|s| s.after.as_deref()).collect()),
            Column::Int(vec![effective_at; steps.len()]),
            Column::Int(vec![now.micros(); steps.len()]),
            Column::Bytes(steps.iter().map(|s| s.reasons.as_slice()).collect()),
        ],
        conflict: "",
    }
    .execute(conn)?;
    days::add(conn, steps.iter().map(|s| (s.segment, effective_at, s.before.as_deref(), s.after.as_deref())))?;
    let (persons, events): (Vec<i64>, Vec<i64>) = counts.into_iter().unzip();
    Insert {
        into: "assignment (person, evaluated_at, wake_at, events)",
        columns: vec![
            Column::Int(persons.clone()),
            Column::Int(vec![now.micros(); persons.len()]),
            Column::IntOrNull(vec![None; persons.len()]),
            Column::Int(events),
        ],
        // Only the count: the rest is as it was evaluated.
        conflict: "ON CONFLICT (person) DO UPDATE SET events = excluded.events",
    }
    .execute(conn)?;
    Ok(())
}

/// Takes away a part of what a roll-out that was given up had staged. `true` as long as there is more.
///
/// # Errors
/// The engine's refusal.
pub fn discard(conn: &mut Conn, rollout: i64, limit: i64) -> Result<bool, StoreError> {
    let pairs: Vec<(i64, i64)> = on_backend!(conn, c => membership_step::table
        .filter(membership_step::rollout.eq(rollout))
        .order((membership_step::person, membership_step::segment))
        .select((membership_step::person, membership_step::segment))
        .limit(limit)
        .load(c))?;
    if pairs.is_empty() {
        return purge(conn, limit);
    }
    bulk::delete_pairs(conn, "membership_step", ("person", "segment"), &pairs)?;
    Ok(true)
}

/// Deletes a part of the memberships of versions that are in force no more or never were. `true` as long as there may be more.
fn purge(conn: &mut Conn, limit: i64) -> Result<bool, StoreError> {
    let over: Vec<i64> = on_backend!(conn, c => definition::table
        .filter(definition::state.eq_any(["past", "dropped"]))
        .select(definition::number)
        .order(definition::number.desc())
        .load(c))?;
    for number in over {
        let persons: Vec<i64> = on_backend!(conn, c => membership::table
            .filter(membership::segment.eq(number))
            .select(membership::person)
            .limit(limit)
            .load(c))?;
        on_backend!(conn, c => diesel::delete(segment_count::table.find(number)).execute(c))?;
        if !persons.is_empty() {
            bulk::execute_numbers(conn, "DELETE FROM membership", &format!("segment = {number} AND person"), &persons)?;
            return Ok(true);
        }
    }
    Ok(false)
}
