//! How many persons came into and went out of each version of a segment on each day of UTC: written with the events themselves, so that the
//! history of a segment is a few rows however many members it has.

use std::collections::BTreeMap;

use diesel::prelude::*;

use super::bulk::{Column, Insert};
use super::connection::{Conn, on_backend};
use super::error::StoreError;
use super::schema::{membership_day, segment_count};
use domain::Timestamp;

/// Microseconds of a day.
pub const DAY: i64 = 86_400_000_000;

/// A day of one version of a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Queryable)]
pub struct Day {
    /// The version's number.
    pub segment: i64,
    /// Days since 1970.
    pub day: i64,
    /// Who became a member.
    pub entered: i64,
    /// Who ceased to be one.
    pub exited: i64,
    /// Of whom it was not known any more.
    pub held: i64,
    /// Of whom it became known.
    pub released: i64,
    /// For how many persons the answer was not known at its end, whatever that counts as; absent where that did not change.
    pub unknown: Option<i64>,
}

/// One event: the version, when it took effect, and the states before and after.
pub(super) type Event<'a> = (i64, i64, Option<&'a str>, Option<&'a str>);

/// Adds events to their days.
pub(super) fn add<'a>(conn: &mut Conn, events: impl Iterator<Item = Event<'a>>) -> Result<(), StoreError> {
    // In the order of the key, else two nodes could wait for each other.
    let mut days: BTreeMap<(i64, i64), [i64; 4]> = BTreeMap::new();
    for (segment, at, before, after) in events {
        let day = days.entry((segment, at.div_euclid(DAY))).or_default();
        for (slot, is) in day.iter_mut().zip([
            after == Some("in") && before != Some("in"),
            before == Some("in") && after != Some("in"),
            after == Some("held") && before != Some("held"),
            before == Some("held") && after != Some("held"),
        ]) {
            *slot += i64::from(is);
        }
    }
    let of = |n: usize| Column::Int(days.values().map(|d| d.get(n).copied().unwrap_or(0)).collect());
    Insert {
        into: "membership_day (segment, day, entered, exited, held, released)",
        columns: vec![
            Column::Int(days.keys().map(|k| k.0).collect()),
            Column::Int(days.keys().map(|k| k.1).collect()),
            of(0),
            of(1),
            of(2),
            of(3),
        ],
        conflict: "ON CONFLICT (segment, day) DO UPDATE SET entered = membership_day.entered + excluded.entered,
                   exited = membership_day.exited + excluded.exited, held = membership_day.held + excluded.held,
                   released = membership_day.released + excluded.released",
    }
    .execute(conn)?;
    Ok(())
}

/// Keeps for how many persons the answer of each of these versions is not known now, as what the day ends with.
pub(super) fn end_with(conn: &mut Conn, segments: &[i64], now: Timestamp) -> Result<(), StoreError> {
    let counted: Vec<(i64, i64)> = on_backend!(conn, c => segment_count::table
        .filter(segment_count::segment.eq_any(segments.to_vec()))
        .order(segment_count::segment)
        .select((segment_count::segment, segment_count::unknown))
        .load(c))?;
    let nothing = || Column::Int(vec![0; counted.len()]);
    Insert {
        into: "membership_day (segment, day, entered, exited, held, released, unknown)",
        columns: vec![
            Column::Int(counted.iter().map(|(segment, _)| *segment).collect()),
            Column::Int(vec![now.micros().div_euclid(DAY); counted.len()]),
            nothing(),
            nothing(),
            nothing(),
            nothing(),
            Column::Int(counted.iter().map(|(_, unknown)| *unknown).collect()),
        ],
        conflict: "ON CONFLICT (segment, day) DO UPDATE SET unknown = excluded.unknown",
    }
    .execute(conn)?;
    Ok(())
}

/// For how many persons the answers of these versions were not known: (version, day, persons) for each day on which that changed, in order.
///
/// # Errors
/// The engine's refusal.
pub fn unknown(conn: &mut Conn, segments: &[i64]) -> Result<Vec<(i64, i64, i64)>, StoreError> {
    let rows: Vec<Day> = on_backend!(conn, c => membership_day::table
        .filter(membership_day::segment.eq_any(segments.to_vec()))
        .filter(membership_day::unknown.is_not_null())
        .order((membership_day::day, membership_day::segment))
        .load(c))?;
    Ok(rows.into_iter().filter_map(|d| Some((d.segment, d.day, d.unknown?))).collect())
}

/// The days of these versions from one on, in order.
///
/// # Errors
/// The engine's refusal.
pub fn since(conn: &mut Conn, segments: &[i64], day: i64) -> Result<Vec<Day>, StoreError> {
    Ok(on_backend!(conn, c => membership_day::table
        .filter(membership_day::segment.eq_any(segments.to_vec()))
        .filter(membership_day::day.ge(day))
        .order((membership_day::day, membership_day::segment))
        .load(c))?)
}
