//! Persons for people: their records, what ties them, and what waits for staff.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};
use domain::Timestamp;
use serde::Serialize;

use crate::store::bulk;
use crate::store::connection::{Conn, on_backend};
use crate::store::error::StoreError;
use crate::store::people::{self, Record};
use crate::store::words;

/// To the second.
fn instant(micros: i64) -> String {
    Timestamp::from_micros(micros - micros.rem_euclid(1_000_000)).to_string()
}

/// A record of a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ShownRecord {
    /// `main/123`.
    pub record: String,
    /// `stub`, `live`, `merged`, `gone`.
    pub state: String,
    /// The record that survived it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub survivor: Option<String>,
}

/// What an EHR says of two records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tie {
    /// The one that says it.
    pub one: String,
    /// `replaced-by`, `replaces`, `refer`, `seealso`, `redirect`.
    pub tie: String,
    /// The other.
    pub other: String,
    /// Since when it was seen.
    pub since: String,
}

/// An identifier that records share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SharedIdentifier {
    /// Its system. The value is shown nowhere.
    pub system: String,
    /// Who has it.
    pub records: Vec<String>,
}

/// A word of staff.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SaidWord {
    /// One record.
    pub one: String,
    /// The other.
    pub other: String,
    /// `same`, `apart`, `withdrawn`.
    pub word: String,
    /// Who.
    pub by: String,
    /// Why.
    pub why: String,
    /// When.
    pub at: String,
}

/// What a machine cannot settle of a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reviewed {
    /// The record.
    pub record: String,
    /// Why, a code.
    pub reason: String,
    /// Since when.
    pub since: String,
}

/// A person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Shown {
    /// The records.
    pub records: Vec<ShownRecord>,
    /// What EHRs say of them.
    pub ties: Vec<Tie>,
    /// Which of them share an identifier of a common system.
    pub shared: Vec<SharedIdentifier>,
    /// What staff said of them.
    pub words: Vec<SaidWord>,
    /// What waits for staff.
    pub review: Vec<Reviewed>,
}

/// Persons who have more than one record, by the first one's number.
///
/// # Errors
/// The engine's refusal.
pub fn with_several(conn: &mut Conn, limit: i64) -> Result<Vec<Vec<Record>>, StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        person: i64,
    }
    let text = format!("SELECT person FROM patient GROUP BY person HAVING COUNT(*) > 1 ORDER BY person LIMIT {limit}");
    let rows: Vec<Row> = on_backend!(conn, c => diesel::sql_query(text).load(c))?;
    rows.into_iter().map(|row| people::records(conn, row.person)).collect()
}

#[derive(QueryableByName)]
struct Named {
    #[diesel(sql_type = Text)]
    one: String,
    #[diesel(sql_type = Text)]
    what: String,
    #[diesel(sql_type = Text)]
    other: String,
    #[diesel(sql_type = BigInt)]
    since: i64,
}

/// A person with all that ties the records.
///
/// # Errors
/// The engine's refusal.
pub fn show(conn: &mut Conn, person: i64) -> Result<Shown, StoreError> {
    let records = people::records(conn, person)?;
    let pks: Vec<i64> = records.iter().map(|r| r.pk).collect();
    let select = "SELECT DISTINCT a.ehr || '/' || a.fhir_id AS one, l.kind AS what, b.ehr || '/' || b.fhir_id AS other, l.since AS since
                  FROM patient_link l JOIN patient a ON a.pk = l.from_record JOIN patient b ON b.pk = l.to_record";
    let mut ties: Vec<Named> = bulk::select_numbers(conn, select, "l.from_record", &pks, "ORDER BY 1, 2, 3")?;
    ties.extend(bulk::select_numbers::<Named>(conn, select, "l.to_record", &pks, "ORDER BY 1, 2, 3 LIMIT 100")?);
    ties.sort_by(|a, b| (&a.one, &a.what, &a.other).cmp(&(&b.one, &b.what, &b.other)));
    ties.dedup_by(|a, b| (&a.one, &a.what, &a.other) == (&b.one, &b.what, &b.other));
    let shared: Vec<Named> = bulk::select_numbers(
        conn,
        "SELECT p.ehr || '/' || p.fhir_id AS one, i.token AS what, i.system AS other, 0 AS since
         FROM patient_identifier i JOIN patient p ON p.pk = i.record",
        "i.record",
        &pks,
        "ORDER BY i.token, p.pk",
    )?;
    let said = words::of(conn, &pks)?;
    let others: Vec<i64> = said.iter().flat_map(|s| [s.one, s.other]).collect();
    let names = people::named(conn, &others)?;
    let name = |pk: i64| names.get(&pk).cloned().unwrap_or_default();
    let review = reviewed(conn, &pks)?;
    let survivors = people::named(conn, &records.iter().filter_map(|r| r.root).collect::<Vec<_>>())?;
    Ok(Shown {
        records: records
            .iter()
            .map(|r| ShownRecord {
                record: r.name(),
                state: r.state.clone(),
                survivor: r.root.and_then(|root| survivors.get(&root).cloned()),
            })
            .collect(),
        ties: ties.into_iter().map(|t| Tie { one: t.one, tie: t.what, other: t.other, since: instant(t.since) }).collect(),
        shared: by_token(shared),
        words: said
            .into_iter()
            .map(|s| SaidWord { one: name(s.one), other: name(s.other), word: s.word, by: s.said_by, why: s.why, at: instant(s.said_at) })
            .collect(),
        review,
    })
}

fn by_token(rows: Vec<Named>) -> Vec<SharedIdentifier> {
    let mut all: Vec<(String, SharedIdentifier)> = Vec::new();
    for row in rows {
        match all.last_mut().filter(|(token, _)| *token == row.what) {
            Some((_, shared)) => shared.records.push(row.one),
            None => all.push((row.what, SharedIdentifier { system: row.other, records: vec![row.one] })),
        }
    }
    all.into_iter().map(|(_, shared)| shared).filter(|s| s.records.len() > 1).collect()
}

#[derive(QueryableByName)]
struct ReviewRow {
    #[diesel(sql_type = Text)]
    record: String,
    #[diesel(sql_type = Text)]
    reason: String,
    #[diesel(sql_type = BigInt)]
    since: i64,
}

const REVIEW: &str = "SELECT p.ehr || '/' || p.fhir_id AS record, r.reason, r.since FROM person_review r JOIN patient p ON p.pk = r.record";

impl From<ReviewRow> for Reviewed {
    fn from(row: ReviewRow) -> Self {
        Self { record: row.record, reason: row.reason, since: instant(row.since) }
    }
}

fn reviewed(conn: &mut Conn, records: &[i64]) -> Result<Vec<Reviewed>, StoreError> {
    let rows: Vec<ReviewRow> = bulk::select_numbers(conn, REVIEW, "r.record", records, "ORDER BY r.record, r.reason")?;
    Ok(rows.into_iter().map(Reviewed::from).collect())
}

/// All that a machine cannot settle, the oldest first.
///
/// # Errors
/// The engine's refusal.
pub fn review(conn: &mut Conn, limit: i64) -> Result<Vec<Reviewed>, StoreError> {
    let text = format!("{REVIEW} ORDER BY r.since, r.record, r.reason LIMIT {limit}");
    let rows: Vec<ReviewRow> = on_backend!(conn, c => diesel::sql_query(text).load(c))?;
    Ok(rows.into_iter().map(Reviewed::from).collect())
}
