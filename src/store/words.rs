//! What staff said of two patient records: one person, or two. The latest word on a pair counts; none is ever taken away, so it can be seen who
//! said what and why.

use std::collections::{BTreeMap, BTreeSet};

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};
use domain::Timestamp;

use super::bulk;
use super::connection::{Conn, on_backend};
use super::error::StoreError;
use super::joining::{self, Work};
use super::schema::person_word;

/// A word on two records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// They are one person, whatever the EHRs say.
    Same,
    /// They are two, whatever ties them.
    Apart,
    /// What was said before holds no more: as the EHRs say.
    Withdrawn,
}

impl Word {
    /// As stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Apart => "apart",
            Self::Withdrawn => "withdrawn",
        }
    }
}

/// A word that was said.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = person_word)]
pub struct Said {
    /// The record of the lower number.
    pub one: i64,
    /// The other.
    pub other: i64,
    /// `same`, `apart`, `withdrawn`.
    pub word: String,
    /// Who.
    pub said_by: String,
    /// Why.
    pub why: String,
    /// When.
    pub said_at: i64,
}

/// Says it, and settles whose the records are; returns what that took.
///
/// # Errors
/// The engine's refusal.
pub fn say(conn: &mut Conn, records: (i64, i64), word: Word, by: &str, why: &str, now: Timestamp) -> Result<Work, StoreError> {
    conn.write_alone("patient_link")?;
    let (one, other) = (records.0.min(records.1), records.0.max(records.1));
    let row = (
        person_word::one.eq(one),
        person_word::other.eq(other),
        person_word::word.eq(word.as_str()),
        person_word::said_by.eq(by),
        person_word::why.eq(why),
        person_word::said_at.eq(now.micros()),
    );
    on_backend!(conn, c => diesel::insert_into(person_word::table).values(row).execute(c))?;
    joining::settle(conn, &BTreeSet::from([one, other]), now)
}

/// All that was said of these records, the first first.
///
/// # Errors
/// The engine's refusal.
pub fn of(conn: &mut Conn, records: &[i64]) -> Result<Vec<Said>, StoreError> {
    let about = person_word::one.eq_any(records.iter().copied()).or(person_word::other.eq_any(records.iter().copied()));
    Ok(on_backend!(conn, c => person_word::table.filter(about).select(Said::as_select()).order(person_word::id).load(c))?)
}

/// The latest word on each pair of which one is among these records.
pub(super) fn latest_of(conn: &mut Conn, records: &[i64]) -> Result<Vec<(i64, i64, String)>, StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        id: i64,
        #[diesel(sql_type = BigInt)]
        one: i64,
        #[diesel(sql_type = BigInt)]
        other: i64,
        #[diesel(sql_type = Text)]
        word: String,
    }
    let mut latest: BTreeMap<(i64, i64), (i64, String)> = BTreeMap::new();
    for column in ["one", "other"] {
        let rows: Vec<Row> = bulk::select_numbers(conn, "SELECT id, one, other, word FROM person_word", column, records, "")?;
        for row in rows {
            let place = latest.entry((row.one, row.other)).or_insert((0, String::new()));
            if row.id > place.0 {
                *place = (row.id, row.word);
            }
        }
    }
    Ok(latest.into_iter().map(|((one, other), (_, word))| (one, other, word)).collect())
}
