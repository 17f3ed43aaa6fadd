//! Definitions of segments, value sets and own attributes, every version of them, and roll-outs: how a set of new versions comes into force.
//!
//! A version has a number of its own, which memberships and events name. A roll-out stages its versions: their memberships are written
//! beside those of the versions in force, which still answer. Then one update of this table puts them in force, and what entries and exits
//! that makes is written into the persons' histories afterwards (`settling`). The texts are opaque here.

use std::collections::HashMap;

use diesel::prelude::*;
use domain::Timestamp;

use super::connection::{Conn, on_backend};
use super::error::StoreError;
use super::pending;
use super::schema::{definition, rollout};

/// What a definition defines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A segment.
    Segment,
    /// A value set.
    ValueSet,
    /// An operator's own attribute.
    Attribute,
}

impl Kind {
    /// As stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Segment => "segment",
            Self::ValueSet => "value-set",
            Self::Attribute => "attribute",
        }
    }

    /// All kinds, in the order in which they can name each other.
    pub const ALL: [Self; 3] = [Self::Attribute, Self::ValueSet, Self::Segment];

    /// As people read it.
    #[must_use]
    pub const fn in_words(self) -> &'static str {
        match self {
            Self::Segment => "segment",
            Self::ValueSet => "value set",
            Self::Attribute => "attribute",
        }
    }
}

/// A version of a definition.
#[derive(Clone, Debug, PartialEq, Eq, Queryable)]
pub struct Version {
    /// Its number.
    pub number: i64,
    /// `segment`, `value-set` or `attribute`.
    pub kind: String,
    /// The id of what it defines.
    pub id: String,
    /// Counts the versions of the id.
    pub version: i64,
    /// The roll-out that brought it.
    pub rollout: i64,
    /// The definition's text.
    pub source: String,
    /// Hash of what decides about membership.
    pub hash: String,
    /// The revision of the attribute catalogue that it was evaluated with.
    pub catalogue: i64,
    /// `staged`, `current`, `past`, or `dropped` before it was ever in force.
    pub state: String,
    /// When it was staged.
    pub staged_at: i64,
    /// From when it was in force.
    pub current_from: Option<i64>,
    /// Until when.
    pub current_until: Option<i64>,
    /// The roll-out that ends it, while one does.
    pub ended_by: Option<i64>,
    /// Of a segment, what it reads, as bits; absent where an older program stored it.
    pub reads: Option<i64>,
}

/// A definition to put in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct New<'a> {
    /// What it defines.
    pub kind: Kind,
    /// The id.
    pub id: &'a str,
    /// The definition's text.
    pub source: &'a str,
    /// Hash of what decides about membership.
    pub hash: &'a str,
    /// Of a segment, what it reads, as bits of [`domain::rules::Reads::mask`].
    pub reads: Option<i64>,
}

/// Why there is a roll-out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The first definitions of an installation.
    First,
    /// Somebody applied definitions.
    Apply,
    /// Somebody went back to what was in force after that roll-out.
    Rollback(i64),
    /// A newer program derives attributes in another way.
    Catalogue,
}

impl Cause {
    const fn as_str(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Apply => "apply",
            Self::Rollback(_) => "rollback",
            Self::Catalogue => "catalogue",
        }
    }
}

/// A roll-out.
#[derive(Clone, Debug, PartialEq, Eq, Queryable)]
pub struct Rollout {
    /// Its number.
    pub number: i64,
    /// `first`, `apply`, `rollback` or `catalogue`.
    pub kind: String,
    /// For a rollback: the roll-out whose definitions came back.
    pub back_to: Option<i64>,
    /// `staging`, `settling`, `dropping`, `done` or `dropped`.
    pub state: String,
    /// The last person that was evaluated.
    pub after_person: i64,
    /// Persons evaluated so far.
    pub persons: i64,
    /// Entries that it made.
    pub entries: i64,
    /// Exits that it made.
    pub exits: i64,
    /// When it was begun.
    pub begun_at: i64,
    /// When its definitions were put in force.
    pub flipped_at: Option<i64>,
    /// When all of it was written.
    pub ended_at: Option<i64>,
}

/// All versions that are current or staged, by number.
///
/// # Errors
/// The engine's refusal.
pub fn in_use(conn: &mut Conn) -> Result<Vec<Version>, StoreError> {
    Ok(on_backend!(conn, c => definition::table
        .filter(definition::state.eq_any(["current", "staged"]))
        .order(definition::number)
        .load(c))?)
}

/// All versions of one segment or value set, the first one first.
///
/// # Errors
/// The engine's refusal.
pub fn versions(conn: &mut Conn, kind: Kind, id: &str) -> Result<Vec<Version>, StoreError> {
    Ok(on_backend!(conn, c => definition::table
        .filter(definition::kind.eq(kind.as_str()))
        .filter(definition::id.eq(id))
        .order(definition::version)
        .load(c))?)
}

/// The versions that a roll-out brought or ended, by number.
///
/// # Errors
/// The engine's refusal.
pub fn of_rollout(conn: &mut Conn, number: i64) -> Result<Vec<Version>, StoreError> {
    Ok(on_backend!(conn, c => definition::table
        .filter(definition::rollout.eq(number).or(definition::ended_by.eq(number)))
        .order(definition::number)
        .load(c))?)
}

/// The versions that were in force after a roll-out and before the next one, by the order of roll-outs: clocks may be put back.
///
/// # Errors
/// The engine's refusal.
pub fn in_force_after(conn: &mut Conn, rollout: i64) -> Result<Vec<Version>, StoreError> {
    Ok(on_backend!(conn, c => definition::table
        .filter(definition::rollout.le(rollout))
        .filter(definition::state.eq_any(["current", "past"]))
        .filter(definition::ended_by.gt(rollout).or(definition::ended_by.is_null().and(definition::state.eq("current"))))
        .order(definition::number)
        .load(c))?)
}

/// The versions that were in force at an instant.
///
/// # Errors
/// The engine's refusal.
pub fn in_force_at(conn: &mut Conn, instant: i64) -> Result<Vec<Version>, StoreError> {
    Ok(on_backend!(conn, c => definition::table
        .filter(definition::current_from.le(instant))
        .filter(definition::current_until.is_null().or(definition::current_until.gt(instant)))
        .order(definition::number)
        .load(c))?)
}

/// Whether no definition was ever put in force.
///
/// # Errors
/// The engine's refusal.
pub fn is_empty(conn: &mut Conn) -> Result<bool, StoreError> {
    let any: Option<i64> = on_backend!(conn, c => definition::table.select(definition::number).first(c).optional())?;
    Ok(any.is_none())
}

/// Roll-outs, the latest first.
///
/// # Errors
/// The engine's refusal.
pub fn rollouts(conn: &mut Conn) -> Result<Vec<Rollout>, StoreError> {
    Ok(on_backend!(conn, c => rollout::table.order(rollout::number.desc()).load(c))?)
}

/// The roll-out that is going on, if one is.
///
/// # Errors
/// The engine's refusal.
pub fn going_on(conn: &mut Conn) -> Result<Option<Rollout>, StoreError> {
    Ok(on_backend!(conn, c => rollout::table
        .filter(rollout::state.eq_any(["staging", "settling", "dropping"]))
        .order(rollout::number)
        .first(c)
        .optional())?)
}

/// Puts the first definitions of an installation in force at once, and marks everyone. Does nothing where there are some.
///
/// # Errors
/// The engine's refusal.
pub fn first(conn: &mut Conn, new: &[New<'_>], catalogue: i64, now: Timestamp) -> Result<(), StoreError> {
    conn.write_alone("definition")?;
    if !is_empty(conn)? {
        return Ok(());
    }
    stage(conn, Cause::First, new, &[], catalogue, now)?;
    flip(conn, 1, now)?;
    end(conn, 1, "done", now)?;
    pending::mark_everyone(conn, now)
}

/// What [`begin`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begun {
    /// The roll-out has this number.
    Rollout(i64),
    /// Another one is going on, and is past the point where it can be replaced.
    Busy,
}

/// Begins a roll-out: `new` are staged, and end the versions in force of the same ids; `gone` are numbers of versions in force that end
/// without a successor. One that is still staging is dropped for it.
///
/// # Errors
/// The engine's refusal.
pub fn begin(conn: &mut Conn, cause: Cause, new: &[New<'_>], gone: &[i64], catalogue: i64, now: Timestamp) -> Result<Begun, StoreError> {
    conn.write_alone("definition")?;
    if in_state(conn, "settling")?.is_some() {
        return Ok(Begun::Busy);
    }
    if let Some(other) = in_state(conn, "staging")? {
        drop_staged(conn, other)?;
    }
    stage(conn, cause, new, gone, catalogue, now).map(Begun::Rollout)
}

fn stage(conn: &mut Conn, cause: Cause, new: &[New<'_>], gone: &[i64], catalogue: i64, now: Timestamp) -> Result<i64, StoreError> {
    use diesel::dsl::max;
    let last: Option<i64> = on_backend!(conn, c => rollout::table.select(max(rollout::number)).first(c))?;
    let number = last.unwrap_or(0) + 1;
    let row = (
        rollout::number.eq(number),
        rollout::kind.eq(cause.as_str()),
        rollout::back_to.eq(if let Cause::Rollback(to) = cause { Some(to) } else { None }),
        rollout::state.eq("staging"),
        rollout::after_person.eq(i64::MIN),
        rollout::persons.eq(0_i64),
        rollout::entries.eq(0_i64),
        rollout::exits.eq(0_i64),
        rollout::begun_at.eq(now.micros()),
    );
    on_backend!(conn, c => diesel::insert_into(rollout::table).values(row).execute(c))?;
    let last: Option<i64> = on_backend!(conn, c => definition::table.select(max(definition::number)).first(c))?;
    for (definition, place) in new.iter().zip(last.unwrap_or(0) + 1..) {
        let of_id = definition::table.filter(definition::kind.eq(definition.kind.as_str())).filter(definition::id.eq(definition.id));
        let version: Option<i64> = on_backend!(conn, c => of_id.select(max(definition::version)).first(c))?;
        let current = of_id.filter(definition::state.eq("current"));
        on_backend!(conn, c => diesel::update(current).set(definition::ended_by.eq(number)).execute(c))?;
        let row = (
            definition::number.eq(place),
            definition::kind.eq(definition.kind.as_str()),
            definition::id.eq(definition.id),
            definition::version.eq(version.unwrap_or(0) + 1),
            definition::rollout.eq(number),
            definition::source.eq(definition.source),
            definition::hash.eq(definition.hash),
            definition::catalogue.eq(catalogue),
            definition::state.eq("staged"),
            definition::staged_at.eq(now.micros()),
            definition::reads.eq(definition.reads),
        );
        on_backend!(conn, c => diesel::insert_into(definition::table).values(row).execute(c))?;
    }
    let gone = definition::table.filter(definition::number.eq_any(gone.to_vec())).filter(definition::state.eq("current"));
    on_backend!(conn, c => diesel::update(gone).set(definition::ended_by.eq(number)).execute(c))?;
    Ok(number)
}

/// Gives a staging roll-out up: its versions never come into force. What it wrote is taken away by the stage, chunk by chunk.
fn drop_staged(conn: &mut Conn, number: i64) -> Result<(), StoreError> {
    let staged = definition::table.filter(definition::rollout.eq(number)).filter(definition::state.eq("staged"));
    on_backend!(conn, c => diesel::update(staged).set(definition::state.eq("dropped")).execute(c))?;
    let ended = definition::table.filter(definition::ended_by.eq(number));
    on_backend!(conn, c => diesel::update(ended).set(definition::ended_by.eq(None::<i64>)).execute(c))?;
    on_backend!(conn, c => diesel::update(rollout::table.find(number)).set(rollout::state.eq("dropping")).execute(c))?;
    Ok(())
}

/// Gives up the roll-out that is still staging. `None` where there is none.
///
/// # Errors
/// The engine's refusal.
pub fn give_up(conn: &mut Conn) -> Result<Option<i64>, StoreError> {
    conn.write_alone("definition")?;
    let staging = in_state(conn, "staging")?;
    if let Some(number) = staging {
        drop_staged(conn, number)?;
    }
    Ok(staging)
}

/// Counts what was done of a staging roll-out, up to the person `after`. Tells whether it is still the one that is staging: another may
/// have taken its place.
///
/// # Errors
/// The engine's refusal.
pub fn advance(conn: &mut Conn, number: i64, after: i64, persons: i64) -> Result<bool, StoreError> {
    let row = rollout::table.filter(rollout::number.eq(number)).filter(rollout::state.eq("staging"));
    let hit = on_backend!(conn, c => diesel::update(row)
        .set((rollout::after_person.eq(after), rollout::persons.eq(rollout::persons + persons)))
        .execute(c))?;
    Ok(hit == 1)
}

/// Puts the staged versions in force and ends the ones that they replace: the one moment at which answers change over. Tells whether it
/// was still staging.
///
/// # Errors
/// The engine's refusal.
pub fn flip(conn: &mut Conn, number: i64, now: Timestamp) -> Result<bool, StoreError> {
    conn.write_alone("definition")?;
    let row = rollout::table.filter(rollout::number.eq(number)).filter(rollout::state.eq("staging"));
    let hit = on_backend!(conn, c => diesel::update(row)
        .set((rollout::state.eq("settling"), rollout::flipped_at.eq(now.micros())))
        .execute(c))?;
    if hit == 0 {
        return Ok(false);
    }
    let ended = definition::table.filter(definition::ended_by.eq(number)).filter(definition::state.eq("current"));
    on_backend!(conn, c => diesel::update(ended)
        .set((definition::state.eq("past"), definition::current_until.eq(now.micros())))
        .execute(c))?;
    let staged = definition::table.filter(definition::rollout.eq(number)).filter(definition::state.eq("staged"));
    on_backend!(conn, c => diesel::update(staged)
        .set((definition::state.eq("current"), definition::current_from.eq(now.micros())))
        .execute(c))?;
    Ok(true)
}

/// Adds to what a roll-out changed.
pub(super) fn count(conn: &mut Conn, number: i64, entries: i64, exits: i64) -> Result<(), StoreError> {
    on_backend!(conn, c => diesel::update(rollout::table.find(number))
        .set((rollout::entries.eq(rollout::entries + entries), rollout::exits.eq(rollout::exits + exits)))
        .execute(c))?;
    Ok(())
}

/// Ends a roll-out as `done` or `dropped`.
///
/// # Errors
/// The engine's refusal.
pub fn end(conn: &mut Conn, number: i64, state: &str, now: Timestamp) -> Result<(), StoreError> {
    on_backend!(conn, c => diesel::update(rollout::table.find(number))
        .set((rollout::state.eq(state), rollout::ended_at.eq(now.micros())))
        .execute(c))?;
    Ok(())
}

/// The roll-out that stages versions now, if one does.
///
/// # Errors
/// The engine's refusal.
pub fn staging(conn: &mut Conn) -> Result<Option<i64>, StoreError> {
    in_state(conn, "staging")
}

fn in_state(conn: &mut Conn, state: &str) -> Result<Option<i64>, StoreError> {
    Ok(on_backend!(conn, c => rollout::table.filter(rollout::state.eq(state)).select(rollout::number).first(c).optional())?)
}

/// Notes what a segment reads, where an older program stored it.
///
/// # Errors
/// The engine's refusal.
pub fn reads(conn: &mut Conn, number: i64, reads: i64) -> Result<(), StoreError> {
    on_backend!(conn, c => diesel::update(definition::table.find(number)).set(definition::reads.eq(reads)).execute(c))?;
    Ok(())
}

/// Lets this transaction alone change definitions until it ends.
///
/// # Errors
/// The engine's refusal.
pub fn alone(conn: &mut Conn) -> Result<(), StoreError> {
    conn.write_alone("definition")
}

/// Puts other words into a version; what decides is the same.
///
/// # Errors
/// The engine's refusal.
pub fn reword(conn: &mut Conn, number: i64, source: &str) -> Result<(), StoreError> {
    on_backend!(conn, c => diesel::update(definition::table.find(number)).set(definition::source.eq(source)).execute(c))?;
    Ok(())
}

/// What each segment in force reads, as bits, by id.
///
/// # Errors
/// The engine's refusal.
pub fn read_by(conn: &mut Conn) -> Result<HashMap<String, i64>, StoreError> {
    let rows: Vec<(String, Option<i64>)> = on_backend!(conn, c => definition::table
        .filter(definition::kind.eq(Kind::Segment.as_str()))
        .filter(definition::state.eq("current"))
        .select((definition::id, definition::reads))
        .load(c))?;
    Ok(rows.into_iter().filter_map(|(id, reads)| Some((id, reads?))).collect())
}

/// The numbers of all versions of segments, by id.
///
/// # Errors
/// The engine's refusal.
pub fn numbers(conn: &mut Conn) -> Result<HashMap<String, Vec<i64>>, StoreError> {
    let rows: Vec<(String, i64)> = on_backend!(conn, c => definition::table
        .filter(definition::kind.eq(Kind::Segment.as_str()))
        .select((definition::id, definition::number))
        .order(definition::number)
        .load(c))?;
    let mut all: HashMap<String, Vec<i64>> = HashMap::new();
    for (id, number) in rows {
        all.entry(id).or_default().push(number);
    }
    Ok(all)
}
