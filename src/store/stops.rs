//! Stops: who stopped all outreach, one program or one channel, why, and who let it go on. Those that are over stay as a record.

use diesel::prelude::*;
use domain::Timestamp;

use super::attempts;
use super::connection::{Conn, on_backend};
use super::error::StoreError;
use super::schema::outreach_stop;

/// What is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everything.
    All,
    /// A program, by its id.
    Program,
    /// A channel, by its name.
    Channel,
}

impl Scope {
    /// As stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Program => "program",
            Self::Channel => "channel",
        }
    }

    /// The scope of that name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::All, Self::Program, Self::Channel].into_iter().find(|s| s.as_str() == text)
    }
}

/// A stop.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, serde::Serialize)]
pub struct Stop {
    /// Its number.
    pub id: i64,
    /// `all`, `program` or `channel`.
    pub scope: String,
    /// The program's id or the channel's name; empty for all.
    pub name: String,
    /// Why.
    pub why: String,
    /// Since when.
    pub stopped_at: i64,
    /// Who did it.
    pub stopped_by: String,
    /// When it ended.
    pub ended_at: Option<i64>,
    /// Who ended it.
    pub ended_by: Option<String>,
}

impl Stop {
    /// Whether it stops a message of this program on this channel.
    #[must_use]
    pub fn holds(&self, program: &str, channel: &str) -> bool {
        match Scope::parse(&self.scope) {
            Some(Scope::All) => true,
            Some(Scope::Program) => self.name == program,
            Some(Scope::Channel) => self.name == channel,
            // What cannot be read stops: the other way round a message would leave that somebody stopped.
            None => true,
        }
    }
}

/// Begins a stop; `false` where it is in force already.
///
/// # Errors
/// The engine's refusal.
pub fn begin(conn: &mut Conn, (scope, name): (Scope, &str), why: &str, by: &str, now: Timestamp) -> Result<bool, StoreError> {
    let row = (
        outreach_stop::scope.eq(scope.as_str()),
        outreach_stop::name.eq(name),
        outreach_stop::why.eq(why),
        outreach_stop::stopped_at.eq(now.micros()),
        outreach_stop::stopped_by.eq(by),
    );
    Ok(on_backend!(conn, c => diesel::insert_into(outreach_stop::table).values(row).on_conflict_do_nothing().execute(c))? == 1)
}

/// Ends a stop, and asks for what was held meanwhile to be judged anew, which the outreach stage does; `false` where none was in force.
///
/// # Errors
/// The engine's refusal.
pub fn end(conn: &mut Conn, (scope, name): (Scope, &str), by: &str, now: Timestamp) -> Result<bool, StoreError> {
    let row = outreach_stop::table
        .filter(outreach_stop::scope.eq(scope.as_str()))
        .filter(outreach_stop::name.eq(name))
        .filter(outreach_stop::ended_at.is_null());
    let over = (outreach_stop::ended_at.eq(now.micros()), outreach_stop::ended_by.eq(by));
    let ended = on_backend!(conn, c => diesel::update(row).set(over).execute(c))? == 1;
    if ended {
        attempts::ask_to_wake(conn)?;
    }
    Ok(ended)
}

/// The stops in force.
///
/// # Errors
/// The engine's refusal.
pub fn in_force(conn: &mut Conn) -> Result<Vec<Stop>, StoreError> {
    Ok(on_backend!(conn, c => outreach_stop::table.filter(outreach_stop::ended_at.is_null()).order(outreach_stop::id).load(c))?)
}

/// Whether a message of this program on this channel is stopped, until the end of this transaction: whoever lets it go on meanwhile waits for that,
/// and then wakes what this transaction held.
///
/// # Errors
/// The engine's refusal.
pub fn hold_fast(conn: &mut Conn, program: &str, channel: &str) -> Result<bool, StoreError> {
    let holding: Vec<i64> = in_force(conn)?.into_iter().filter(|s| s.holds(program, channel)).map(|s| s.id).collect();
    let rows = outreach_stop::table.filter(outreach_stop::id.eq_any(holding)).filter(outreach_stop::ended_at.is_null());
    // A change of nothing, which locks the row.
    Ok(on_backend!(conn, c => diesel::update(rows).set(outreach_stop::scope.eq(outreach_stop::scope)).execute(c))? > 0)
}

/// All stops, those that are over too, the latest first.
///
/// # Errors
/// The engine's refusal.
pub fn latest(conn: &mut Conn, limit: i64) -> Result<Vec<Stop>, StoreError> {
    Ok(on_backend!(conn, c => outreach_stop::table.order(outreach_stop::id.desc()).limit(limit).load(c))?)
}
