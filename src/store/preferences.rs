//! What a person said about being contacted: an append-only ledger. The most restrictive entry in force wins; that is the gate's work.

use diesel::prelude::*;
use domain::Timestamp;

use super::connection::{Conn, on_backend};
use super::error::StoreError;
use super::pending;
use super::people;
use super::schema::{person, preference};

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq, Queryable)]
pub struct Preference {
    /// Number; a later entry on the same scope and value replaces an earlier one.
    pub id: i64,
    /// The person as whom it was said: the home of a record. Whoever is joined with others keeps their own.
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

/// Adds an entry: it is said by all whose records are this person's now, and stays said by each when they are parted.
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
    for home in people::homes(conn, person)? {
        let row = (
            preference::person.eq(home),
            preference::scope.eq(scope),
            preference::value.eq(value),
            preference::allowed.eq(allowed),
            preference::source.eq(source),
            preference::recorded_at.eq(now.micros()),
        );
        on_backend!(conn, c => diesel::insert_into(preference::table).values(row).execute(c))?;
    }
    // A send that was judged before this entry must be judged again: its departure names the revision that the gate read.
    on_backend!(conn, c => diesel::update(person::table.find(person)).set(person::contact_revision.eq(person::contact_revision + 1)).execute(c))?;
    // Rules may ask what somebody opted out of.
    pending::mark_contact(conn, person, now)
}

/// A person's entries, the first one first: those of all records, and of a record that names one of them as its survivor but could not be
/// joined.
///
/// # Errors
/// The engine's refusal.
pub fn of(conn: &mut Conn, person: i64) -> Result<Vec<Preference>, StoreError> {
    let mut homes = people::homes(conn, person)?;
    homes.extend(unjoined(conn, person)?);
    Ok(on_backend!(conn, c => preference::table.filter(preference::person.eq_any(homes)).order(preference::id).load(c))?)
}

/// The homes of records that the EHR says one of this person's has replaced, but that belong to another person.
fn unjoined(conn: &mut Conn, person: i64) -> Result<Vec<i64>, StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = diesel::sql_types::BigInt)]
        home: i64,
    }
    let text = format!(
        "SELECT COALESCE(f.home, f.person) AS home FROM patient t JOIN patient_link l ON l.to_record = t.pk
             JOIN patient f ON f.pk = l.from_record
         WHERE t.person = {person} AND f.person <> {person} AND l.kind IN ('replaced-by', 'redirect')
         UNION SELECT COALESCE(f.home, f.person) AS home FROM patient t JOIN patient_link l ON l.from_record = t.pk
             JOIN patient f ON f.pk = l.to_record
         WHERE t.person = {person} AND f.person <> {person} AND l.kind = 'replaces' LIMIT 1000"
    );
    let rows: Vec<Row> = on_backend!(conn, c => diesel::sql_query(text).load(c))?;
    Ok(rows.into_iter().map(|row| row.home).collect())
}

/// What was said of contact points by whoever has them, by the hashes that [`point_name`] makes.
///
/// # Errors
/// The engine's refusal.
pub fn of_points(conn: &mut Conn, points: &[String]) -> Result<Vec<Preference>, StoreError> {
    let mut found = Vec::new();
    for chunk in points.chunks(500) {
        let rows = preference::table.filter(preference::scope.eq("contact_point")).filter(preference::value.eq_any(chunk));
        found.extend(on_backend!(conn, c => rows.order(preference::id).load::<Preference>(c))?);
    }
    Ok(found)
}

/// How a contact point is named in the ledger, by its hash.
#[must_use]
pub fn point_name(hash: &[u8]) -> String {
    hex(hash)
}

/// Bytes as text.
pub(super) fn hex(hash: &[u8]) -> String {
    use std::fmt::Write as _;
    hash.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
