//! How fast each EHR is asked by all nodes together: up to when turns are given away, what was used, who may have how many requests on
//! their way. What the numbers mean is decided by whoever takes a row, changes it and puts it back in one transaction.

use diesel::prelude::*;
use domain::Timestamp;

use super::connection::{Conn, on_backend};
use super::error::StoreError;
use super::schema::{pace, pace_seat, pace_use};

/// What is known of one pace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Queryable, Insertable, AsChangeset, Selectable)]
#[diesel(table_name = pace, treat_none_as_null = true)]
pub struct PaceRow {
    /// Whose.
    pub name: String,
    /// Up to here turns are given away, microseconds.
    pub next_at: i64,
    /// The EHR asked not to be asked before this instant.
    pub held_until: Option<i64>,
    /// When it last said that it is too much.
    pub throttled_at: Option<i64>,
    /// How much of what is allowed is used, in thousandths, at `share_since`.
    pub share: i64,
    /// Since then it climbs.
    pub share_since: i64,
    /// The rate that was learned where none is known, in thousandths of a request a second.
    pub learned: Option<i64>,
    /// Since when; it grows from then on.
    pub learned_since: Option<i64>,
    /// The minute in which turns were last given, counted since 1970.
    pub minute: i64,
    /// Turns given in it.
    pub in_minute: i64,
    /// And in the minute before.
    pub in_minute_before: i64,
    /// Failures of the EHR in a row.
    pub failures: i64,
    /// How often in a row the breaker opened.
    pub opened: i64,
    /// Until when it is open.
    pub open_until: Option<i64>,
    /// The node that tries whether the EHR is back.
    pub probe_by: Option<String>,
    /// Until when that one is waited for.
    pub probe_until: Option<i64>,
}

/// What a node may have on its way.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Insertable)]
#[diesel(table_name = pace_seat)]
pub struct SeatRow {
    /// Whose pace.
    pub name: String,
    /// The node.
    pub node: String,
    /// Requests that it may have on their way.
    pub seats: i64,
    /// How many it would have.
    pub wanted: i64,
    /// Since when it has them, or waits.
    pub since: i64,
    /// Without a sign of life until then it has none.
    pub expires_at: i64,
}

/// A pace with all that belongs to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// The pace; one that was never used has all zeros but its name.
    pub pace: PaceRow,
    /// Turns given by the span's beginning, within the time asked for.
    pub uses: Vec<(i64, i64)>,
    /// The nodes.
    pub seats: Vec<SeatRow>,
}

/// Takes a pace for this transaction: nobody else can take it before the transaction ends. One that is not there yet is made.
///
/// # Errors
/// The engine's refusal.
pub fn take(conn: &mut Conn, name: &str, uses_since: i64) -> Result<Taken, StoreError> {
    if let Some(found) = locked(conn, name)? {
        return with_parts(conn, found, uses_since);
    }
    let new = PaceRow { name: name.to_owned(), share: 1000, ..PaceRow::default() };
    on_backend!(conn, c => diesel::insert_into(pace::table).values(&new).on_conflict_do_nothing().execute(c))?;
    let found = locked(conn, name)?.unwrap_or(new);
    with_parts(conn, found, uses_since)
}

/// As [`take`], to look at only; `None` where it was never used.
///
/// # Errors
/// The engine's refusal.
pub fn look(conn: &mut Conn, name: &str, uses_since: i64) -> Result<Option<Taken>, StoreError> {
    let found = on_backend!(conn, c => pace::table.find(name).select(PaceRow::as_select()).first(c).optional())?;
    found.map(|found| with_parts(conn, found, uses_since)).transpose()
}

fn locked(conn: &mut Conn, name: &str) -> Result<Option<PaceRow>, StoreError> {
    match conn {
        // One writer at a time anyway.
        Conn::Sqlite(c) => Ok(pace::table.find(name).select(PaceRow::as_select()).first(c).optional()?),
        #[cfg(feature = "postgres")]
        Conn::Postgres(c) => Ok(pace::table.find(name).select(PaceRow::as_select()).for_update().first(c).optional()?),
    }
}

fn with_parts(conn: &mut Conn, found: PaceRow, uses_since: i64) -> Result<Taken, StoreError> {
    let uses = on_backend!(conn, c => pace_use::table
        .filter(pace_use::name.eq(&found.name))
        .filter(pace_use::span.ge(uses_since))
        .select((pace_use::span, pace_use::used))
        .order(pace_use::span)
        .load(c))?;
    let seats = on_backend!(conn, c => pace_seat::table.filter(pace_seat::name.eq(&found.name)).order((pace_seat::since, pace_seat::node)).load(c))?;
    Ok(Taken { pace: found, uses, seats })
}

/// What changed of a pace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The pace as it is now.
    pub pace: PaceRow,
    /// So many turns more, or fewer, in the span that begins so.
    pub used: Option<(i64, i64)>,
    /// The seats of the node that asked; the row goes where it neither has nor wants any.
    pub seat: Option<SeatRow>,
    /// Spans before this are forgotten.
    pub forget_before: i64,
}

/// Puts a pace back, within the transaction that took it.
///
/// # Errors
/// The engine's refusal.
pub fn put(conn: &mut Conn, before: &Taken, change: &Change) -> Result<(), StoreError> {
    let name = change.pace.name.as_str();
    if before.pace != change.pace {
        on_backend!(conn, c => diesel::update(pace::table.find(name)).set(&change.pace).execute(c))?;
    }
    if let Some((span, more)) = change.used.filter(|(_, more)| *more != 0) {
        let there = before.uses.iter().find(|(known, _)| *known == span).map_or(0, |(_, used)| *used);
        let used = there.saturating_add(more).max(0);
        let row = (pace_use::name.eq(name), pace_use::span.eq(span), pace_use::used.eq(used));
        on_backend!(conn, c => diesel::insert_into(pace_use::table)
            .values(row)
            .on_conflict((pace_use::name, pace_use::span))
            .do_update()
            .set(pace_use::used.eq(used))
            .execute(c))?;
        if before.uses.iter().all(|(known, _)| *known != span) {
            // Once in a span is enough.
            let old = pace_use::table.filter(pace_use::name.eq(name)).filter(pace_use::span.lt(change.forget_before));
            on_backend!(conn, c => diesel::delete(old).execute(c))?;
        }
    }
    if let Some(seat) = &change.seat {
        let own = before.seats.iter().find(|s| s.node == seat.node);
        let row = pace_seat::table.find((name, seat.node.as_str()));
        match own {
            _ if seat.seats == 0 && seat.wanted == 0 => {
                if own.is_some() {
                    on_backend!(conn, c => diesel::delete(row).execute(c))?;
                }
            }
            Some(own) if own == seat => {}
            Some(_) => {
                let to = (
                    pace_seat::seats.eq(seat.seats),
                    pace_seat::wanted.eq(seat.wanted),
                    pace_seat::since.eq(seat.since),
                    pace_seat::expires_at.eq(seat.expires_at),
                );
                on_backend!(conn, c => diesel::update(row).set(to).execute(c))?;
            }
            None => {
                on_backend!(conn, c => diesel::insert_into(pace_seat::table).values(seat).execute(c))?;
            }
        }
        // Nodes that are long gone.
        for gone in before.seats.iter().filter(|s| s.node != seat.node && s.expires_at < seat.expires_at - GONE_MICROS) {
            on_backend!(conn, c => diesel::delete(pace_seat::table.find((name, gone.node.as_str()))).execute(c))?;
        }
    }
    Ok(())
}

/// How much older than another's a sign of life must be for its row to be taken away.
const GONE_MICROS: i64 = 60_000_000;

/// What the server's clock shows within this transaction; `None` where the database is a file of this machine.
///
/// # Errors
/// The engine's refusal.
pub fn server_now(conn: &mut Conn) -> Result<Option<Timestamp>, StoreError> {
    super::server_clock::now(conn)
}

/// Lets this transaction end without waiting for the disk: what a power cut takes of it is a quarter of a second's turns, and the server
/// takes longer than that to come back.
///
/// # Errors
/// The engine's refusal.
pub fn need_not_last(conn: &mut Conn) -> Result<(), StoreError> {
    match conn {
        // The lane decides it.
        Conn::Sqlite(_) => Ok(()),
        #[cfg(feature = "postgres")]
        Conn::Postgres(_) => conn.execute_batch("SET LOCAL synchronous_commit = off"),
    }
}
