//! A patient as people look for one: the name to address the patient by and the birth date, made from the facts with each version that is
//! stored.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary, Text};
use domain::model::{PatientFacts, Phi};

use super::bulk::{self, Column, Insert};
use super::connection::{Conn, on_backend};
use super::error::StoreError;
use super::installation::{self, Setting};

/// What is kept of one record.
struct Label {
    family: String,
    given: String,
    born: String,
    shown: String,
}

impl Label {
    /// `None` where the facts cannot be read: whoever judges by them tells that.
    fn of(facts: &[u8]) -> Option<Self> {
        let facts: PatientFacts = serde_json::from_slice(facts).ok()?;
        let text = |part: &Option<Phi<String>>| part.as_ref().map(|p| p.expose().trim().replace('\0', "")).unwrap_or_default();
        let (given, family) = (text(&facts.name.given), text(&facts.name.family));
        Some(Self {
            shown: format!("{given} {family}").trim().to_owned(),
            born: facts.birth_date.map(|d| d.to_string()).unwrap_or_default(),
            family: fold(&family),
            given: fold(&given),
        })
    }
}

/// A name without case, marks and doubled blanks, so that `GARCÍA  Lopez` is found by `garcia lopez`.
#[must_use]
pub fn fold(name: &str) -> String {
    let plain = |c: char| match c {
        'à'..='å' | 'ā' | 'ă' | 'ą' => 'a',
        'ç' | 'ć' | 'č' => 'c',
        'ď' | 'đ' => 'd',
        'è'..='ë' | 'ē' | 'ė' | 'ę' | 'ě' => 'e',
        'ğ' => 'g',
        'ì'..='ï' | 'ī' | 'ı' => 'i',
        'ł' => 'l',
        'ñ' | 'ń' | 'ň' => 'n',
        'ò'..='ö' | 'ø' | 'ō' | 'ő' => 'o',
        'ř' => 'r',
        'ś' | 'š' | 'ş' => 's',
        'ť' | 'ţ' => 't',
        'ù'..='ü' | 'ū' | 'ů' | 'ű' => 'u',
        'ý' | 'ÿ' => 'y',
        'ź' | 'ż' | 'ž' => 'z',
        '\u{2019}' => '\'',
        '-' => ' ',
        other => other,
    };
    // A mark may stand behind its letter as a character of its own.
    let marks = '\u{300}'..='\u{36f}';
    let folded: String = name.to_lowercase().chars().filter(|c| !marks.contains(c) && *c != '\0').map(plain).collect();
    folded.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Keeps the labels of records by their facts as stored; each record once.
pub(super) fn keep(conn: &mut Conn, facts: &[(i64, &[u8])]) -> Result<(), StoreError> {
    let mut labels: Vec<(i64, Label)> = facts.iter().filter_map(|(record, facts)| Some((*record, Label::of(facts)?))).collect();
    labels.sort_by_key(|l| l.0);
    labels.dedup_by_key(|l| l.0);
    Insert {
        into: "patient_label (record, family, given, born, shown)",
        columns: vec![
            Column::Int(labels.iter().map(|l| l.0).collect()),
            Column::Text(labels.iter().map(|l| l.1.family.as_str()).collect()),
            Column::Text(labels.iter().map(|l| l.1.given.as_str()).collect()),
            Column::Text(labels.iter().map(|l| l.1.born.as_str()).collect()),
            Column::Text(labels.iter().map(|l| l.1.shown.as_str()).collect()),
        ],
        // Most changes of a patient change no name: what is as it was is not written, nor looked for in the index of names.
        conflict: "ON CONFLICT (record) DO UPDATE SET family = excluded.family, given = excluded.given, born = excluded.born, shown = excluded.shown
                   WHERE (patient_label.family, patient_label.given, patient_label.born, patient_label.shown)
                         <> (excluded.family, excluded.given, excluded.born, excluded.shown)",
    }
    .execute(conn)?;
    Ok(())
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = BigInt)]
    patient: i64,
    #[diesel(sql_type = Binary)]
    facts: Vec<u8>,
}

/// Whether there are records without a label that were read before there were any.
///
/// # Errors
/// The engine's refusal.
pub fn is_behind(conn: &mut Conn) -> Result<bool, StoreError> {
    Ok(installation::get(conn, Setting::LabelledUpTo)?.is_some())
}

/// Makes the labels of some of the records that were read before there were any. `true` as long as there are more.
///
/// # Errors
/// The engine's refusal.
pub fn catch_up(conn: &mut Conn, limit: i64) -> Result<bool, StoreError> {
    let Some(after) = installation::get(conn, Setting::LabelledUpTo)? else { return Ok(false) };
    let after = after.parse::<i64>().map_err(|_| StoreError::Damaged("up to where patients have labels"))?;
    let text = format!(
        "SELECT f.patient, f.facts FROM patient p JOIN resource r ON r.ehr = p.ehr AND r.rtype = 'Patient' AND r.fhir_id = p.fhir_id
         JOIN fact f ON f.patient = p.pk AND f.resource = r.pk WHERE p.pk > {after} ORDER BY p.pk LIMIT {limit}"
    );
    let rows: Vec<Row> = on_backend!(conn, c => diesel::sql_query(text).load(c))?;
    keep(conn, &rows.iter().map(|r| (r.patient, r.facts.as_slice())).collect::<Vec<_>>())?;
    match rows.last() {
        Some(last) => installation::set(conn, Setting::LabelledUpTo, &last.patient.to_string())?,
        None => installation::unset(conn, Setting::LabelledUpTo)?,
    }
    Ok(!rows.is_empty())
}

/// What a patient is looked for by. Never logged.
#[derive(Clone, Debug, Default)]
pub struct Sought {
    /// How the family name begins.
    pub family: Phi<String>,
    /// How the given names begin.
    pub given: Phi<String>,
    /// The birth date, `1980-02-03`.
    pub born: Phi<String>,
}

/// A record that was found.
#[derive(Clone, Debug, PartialEq, Eq, QueryableByName)]
pub struct Found {
    /// The EHR.
    #[diesel(sql_type = Text)]
    pub ehr: String,
    /// The patient's id there.
    #[diesel(sql_type = Text)]
    pub fhir_id: String,
    /// `stub`, `live`, `merged`, `gone`.
    #[diesel(sql_type = Text)]
    pub state: String,
    /// The name.
    #[diesel(sql_type = Text)]
    pub shown: String,
    /// The birth date.
    #[diesel(sql_type = Text)]
    pub born: String,
}

/// Records with such a name and birth date, by name. Nothing is found by a given name alone: too many have it.
///
/// # Errors
/// The engine's refusal.
pub fn find(conn: &mut Conn, sought: &Sought, limit: i64) -> Result<Vec<Found>, StoreError> {
    let (family, given, born) = (fold(sought.family.expose()), fold(sought.given.expose()), sought.born.expose().trim().replace('\0', ""));
    if family.is_empty() && born.is_empty() {
        return Ok(Vec::new());
    }
    // The first text that does not begin so any more: no character comes behind this one.
    let beyond = |prefix: &str| format!("{prefix}\u{10ffff}");
    let mut conditions = Vec::new();
    let mut values: Vec<String> = Vec::new();
    for (column, prefix) in [("l.family", &family), ("l.given", &given)] {
        if !prefix.is_empty() {
            conditions.push(format!("{column} >= ? AND {column} < ?"));
            values.extend([prefix.clone(), beyond(prefix)]);
        }
    }
    if !born.is_empty() {
        conditions.push("l.born = ?".to_owned());
        values.push(born);
    }
    let text = format!(
        "SELECT p.ehr, p.fhir_id, p.state, l.shown, l.born FROM patient_label l JOIN patient p ON p.pk = l.record
         WHERE {} AND p.state <> 'gone' ORDER BY l.family, l.given, l.record LIMIT {limit}",
        conditions.join(" AND ")
    );
    bulk::select_bound(conn, &text, &values.iter().map(|v| bulk::Bound::Text(v)).collect::<Vec<_>>())
}

/// How a record's patient is called; empty where no name is known.
///
/// # Errors
/// The engine's refusal.
pub fn shown(conn: &mut Conn, records: &[i64]) -> Result<std::collections::BTreeMap<i64, Phi<String>>, StoreError> {
    #[derive(QueryableByName)]
    struct Shown {
        #[diesel(sql_type = BigInt)]
        record: i64,
        #[diesel(sql_type = Text)]
        shown: String,
    }
    let rows: Vec<Shown> = bulk::select_numbers(conn, "SELECT record, shown FROM patient_label", "record", records, "")?;
    Ok(rows.into_iter().map(|r| (r.record, Phi::new(r.shown))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_without_case_marks_and_dashes() {
        for (name, folded) in [
            ("GARCÍA  Lopez", "garcia lopez"),
            ("Jose\u{301}", "jose"),
            ("Smith-Jones", "smith jones"),
            ("O\u{2019}Neill", "o'neill"),
            ("Łukasz Żółć", "lukasz zolc"),
            ("  ", ""),
            ("李", "李"),
        ] {
            assert_eq!(fold(name), folded, "{name}");
        }
    }
}
