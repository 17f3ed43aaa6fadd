//! What a person said about being contacted: an append-only ledger. The most restrictive entry in force wins; that is the gate's work.

use diesel::prelude::*;
use domain::Timestamp;

use super::connection::{Conn, on_backend};
use super::error::StoreError;
use super::pending;
use super::schema::{person, preference};

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq, Queryable)]
pub struct Preference {
    /// Number; a later entry on the same scope and value replaces an earlier one.
    pub id: i64,
    /// The person.
    pub person: i64,
    /// `all`, `channel`, `program`, `contact_point`.
    pub scope: String,
    /// The channel, the program's id, or the hash of the contact point; empty for `all`.
    pub value: String,
    /// Opted in, or out.
    pub allowed: bool,
    /// Who said so: `reply`, `staff`, `import`, `ehr`.
    pub source: String,
    /// When.
    pub recorded_at: i64,
}

/// Adds an entry.
///
/// # Errors
/// The engine's refusal.
pub fn record(
    conn: &mut Conn,
    person: i64,
    scope: &str,
    value: &str,
    allowed: bool,
    source: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let row = (
        preference::person.eq(person),
        preference::scope.eq(scope),
        preference::value.eq(value),
        preference::allowed.eq(allowed),
        preference::source.eq(source),
        preference::recorded_at.eq(now.micros()),
    );
    on_backend!(conn, c => diesel::insert_into(preference::table).values(row).execute(c))?;
    // A send that was judged before this entry must be judged again: its departure names the revision that the gate read.
    on_backend!(conn, c => diesel::update(person::table.find(person)).set(person::contact_revision.eq(person::contact_revision + 1)).execute(c))?;
    // Rules may ask what somebody opted out of.
    pending::mark_contact(conn, person, now)
}

/// A person's entries, the first one first.
///
/// # Errors
/// The engine's refusal.
pub fn of(conn: &mut Conn, person: i64) -> Result<Vec<Preference>, StoreError> {
    Ok(on_backend!(conn, c => preference::table.filter(preference::person.eq(person)).order(preference::id).load(c))?)
}
