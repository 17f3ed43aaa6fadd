//! What ties patient records: the EHR's links, redirects, identifiers of systems that the site declared as common, and what staff said. Whoever
//! writes one has the persons concerned settled in the same transaction ([`joining`]).
//!
//! Ties of a record that is gone stay: the merge happened, and what its patient refused holds for the survivor.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};
use domain::Timestamp;
use domain::identity::Doubt;
use domain::identity::identifier::Identifier;
use domain::model::EhrId;

use super::bulk::{self, Column, Insert};
use super::codec::content_hash;
use super::connection::{Conn, on_backend};
use super::error::StoreError;
use super::installation::{self, Setting};
use super::joining::{self, MOST_SHARERS, Work};
use super::people;
use super::preferences;
use super::schema::{ehr, patient, patient_link, person_review};

/// What one record says of others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ties {
    /// Links to other records.
    pub links: Vec<Link>,
    /// Identifiers, of whatever system.
    pub identifiers: Vec<Identifier>,
}

/// A link as an EHR sends it (R4 Patient.link).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// `replaced-by`, `replaces`, `refer`, `seealso`.
    pub kind: &'static str,
    /// The base URL of the server that has the other record; absent where it is the same.
    pub server: Option<String>,
    /// The other record's logical id there.
    pub id: String,
}

/// A read of the first was answered with the second.
const REDIRECT: &str = "redirect";

type Edge = (i64, &'static str);

fn known_kind(kind: &str) -> Option<&'static str> {
    ["replaced-by", "replaces", "refer", "seealso", REDIRECT].into_iter().find(|k| *k == kind)
}

/// Keeps the ties of records that were just read, in place of what they said before, and settles whose they are.
///
/// # Errors
/// The engine's refusal.
pub(super) fn keep(conn: &mut Conn, ehr: &EhrId, said: &[(i64, &Ties)], known_before: bool, now: Timestamp) -> Result<Work, StoreError> {
    let common = common(conn)?;
    let any_link = said.iter().any(|(_, ties)| !ties.links.is_empty());
    let any_identifier = !common.is_empty() && (known_before || said.iter().any(|(_, ties)| !ties.identifiers.is_empty()));
    let records: Vec<i64> = said.iter().map(|(record, _)| *record).collect();
    if !any_link && !any_identifier && (!known_before || before(conn, &records)?.is_empty()) {
        return Ok(Work::default());
    }
    // Two nodes that join at once would each miss what the other one writes.
    conn.write_alone("patient_link")?;
    let mut touched = keep_links(conn, ehr, said, now)?;
    touched.extend(keep_identifiers(conn, said, &common)?);
    joining::settle(conn, &touched, now)
}

/// Makes this transaction the only one that writes ties, until its end. What it reads of a record from now on stays so.
///
/// # Errors
/// The engine's refusal.
pub fn write_alone(conn: &mut Conn) -> Result<(), StoreError> {
    conn.write_alone("patient_link")
}

/// Keeps the identifiers of records that were read earlier: the systems that count as common are others now. Begins with [`write_alone`],
/// before the records are read.
///
/// # Errors
/// The engine's refusal.
pub fn identify_anew(conn: &mut Conn, ehr: &EhrId, said: &[(String, Vec<Identifier>)], now: Timestamp) -> Result<(), StoreError> {
    let common = common(conn)?;
    let ids: Vec<&str> = said.iter().map(|(id, _)| id.as_str()).collect();
    let records = people::lookup(conn, ehr, &ids)?;
    let ties: Vec<(i64, Ties)> = said
        .iter()
        .filter_map(|(id, identifiers)| Some((records.get(id)?.pk, Ties { identifiers: identifiers.clone(), ..Ties::default() })))
        .collect();
    let said: Vec<(i64, &Ties)> = ties.iter().map(|(record, ties)| (*record, ties)).collect();
    let touched = keep_identifiers(conn, &said, &common)?;
    joining::settle(conn, &touched, now)?;
    Ok(())
}

/// Notes that an EHR answers a read of one record with another one, and settles whose they are. It holds until the first is read as itself.
///
/// # Errors
/// The engine's refusal.
pub fn redirected(conn: &mut Conn, ehr: &EhrId, from: &str, to: &str, now: Timestamp) -> Result<(), StoreError> {
    conn.write_alone("patient_link")?;
    let mut ids = vec![from, to];
    ids.sort_unstable();
    ids.dedup();
    let records = people::ensure(conn, ehr, &ids, now)?;
    if let (Some(from), Some(to)) = (records.get(from), records.get(to)) {
        put_links(conn, &[(from.pk, (to.pk, REDIRECT))], now)?;
        joining::settle(conn, &BTreeSet::from([from.pk, to.pk]), now)?;
    }
    Ok(())
}

#[derive(QueryableByName)]
struct LinkRow {
    #[diesel(sql_type = BigInt)]
    from_record: i64,
    #[diesel(sql_type = BigInt)]
    to_record: i64,
    #[diesel(sql_type = Text)]
    kind: String,
}

#[derive(QueryableByName)]
struct RecordOnly {
    #[diesel(sql_type = BigInt)]
    record: i64,
}

/// Which of these records said anything before.
fn before(conn: &mut Conn, records: &[i64]) -> Result<BTreeSet<i64>, StoreError> {
    let mut found: BTreeSet<i64> = BTreeSet::new();
    for (select, column) in [
        ("SELECT from_record AS record FROM patient_link", "from_record"),
        ("SELECT record FROM patient_identifier", "record"),
        ("SELECT record FROM person_review", "record"),
    ] {
        let rows: Vec<RecordOnly> = bulk::select_numbers(conn, select, column, records, "")?;
        found.extend(rows.into_iter().map(|r| r.record));
    }
    Ok(found)
}

fn put_links(conn: &mut Conn, links: &[(i64, Edge)], now: Timestamp) -> Result<(), StoreError> {
    let n = links.len();
    Insert {
        into: "patient_link (from_record, to_record, kind, since)",
        columns: vec![
            Column::Int(links.iter().map(|l| l.0).collect()),
            Column::Int(links.iter().map(|l| l.1.0).collect()),
            Column::Text(links.iter().map(|l| l.1.1).collect()),
            Column::Int(vec![now.micros(); n]),
        ],
        conflict: "ON CONFLICT (from_record, to_record, kind) DO NOTHING",
    }
    .execute(conn)?;
    Ok(())
}

/// Writes the links that are new and takes away those that are not said any more; returns the records at both ends of either.
fn keep_links(conn: &mut Conn, ehr: &EhrId, said: &[(i64, &Ties)], now: Timestamp) -> Result<BTreeSet<i64>, StoreError> {
    let records: Vec<i64> = said.iter().map(|(record, _)| *record).collect();
    let rows: Vec<LinkRow> =
        bulk::select_numbers(conn, "SELECT from_record, to_record, kind FROM patient_link", "from_record", &records, "")?;
    let mut old: BTreeSet<(i64, Edge)> = BTreeSet::new();
    for row in rows {
        let kind = known_kind(&row.kind).ok_or(StoreError::Damaged("the kind of a patient link"))?;
        old.insert((row.from_record, (row.to_record, kind)));
    }
    let servers = if said.iter().any(|(_, t)| t.links.iter().any(|l| l.server.is_some())) { servers(conn)? } else { BTreeMap::new() };
    // By EHR: to whom the links lead.
    let mut wanted: BTreeMap<EhrId, BTreeSet<&str>> = BTreeMap::new();
    let (mut resolved, mut elsewhere): (Vec<(i64, EhrId, &Link)>, BTreeSet<i64>) = (Vec::new(), BTreeSet::new());
    for (record, ties) in said {
        for link in &ties.links {
            let of = match &link.server {
                None => Some(ehr.clone()),
                Some(server) => servers.get(plain(server)).cloned(),
            };
            match of {
                Some(of) => {
                    wanted.entry(of.clone()).or_default().insert(&link.id);
                    resolved.push((*record, of, link));
                }
                // That data of the person is elsewhere too changes nothing here.
                None if link.kind == "replaced-by" => {
                    elsewhere.insert(*record);
                }
                None => {}
            }
        }
    }
    let mut ends: HashMap<(EhrId, String), i64> = HashMap::new();
    for (of, ids) in wanted {
        let found = people::ensure(conn, &of, &ids.into_iter().collect::<Vec<_>>(), now)?;
        ends.extend(found.into_iter().map(|(id, key)| ((of.clone(), id), key.pk)));
    }
    let new: BTreeSet<(i64, Edge)> =
        resolved.into_iter().filter_map(|(record, of, link)| Some((record, (*ends.get(&(of, link.id.clone()))?, link.kind)))).collect();
    let mut touched: BTreeSet<i64> = old.symmetric_difference(&new).flat_map(|(from, (to, _))| [*from, *to]).collect();
    for (from, (to, kind)) in old.difference(&new) {
        on_backend!(conn, c => diesel::delete(patient_link::table.find((from, to, kind))).execute(c))?;
    }
    put_links(conn, &new.difference(&old).copied().collect::<Vec<_>>(), now)?;
    touched.extend(keep_elsewhere(conn, &records, &elsewhere, now)?);
    // Whether it is in use, which a change of its other fields may say, decides in what is one-sided.
    let doubtful: Vec<RecordOnly> =
        bulk::select_numbers(conn, "SELECT record FROM person_review", "record", &records, "AND reason = 'one-sided'")?;
    touched.extend(doubtful.into_iter().map(|r| r.record));
    Ok(touched)
}

/// Notes which records are replaced by one of a server that is not connected; returns those of which that is new.
fn keep_elsewhere(conn: &mut Conn, records: &[i64], elsewhere: &BTreeSet<i64>, now: Timestamp) -> Result<BTreeSet<i64>, StoreError> {
    let reason = Doubt::Elsewhere.as_str();
    let noted: Vec<RecordOnly> =
        bulk::select_numbers(conn, "SELECT record FROM person_review", "record", records, &format!("AND reason = '{reason}'"))?;
    let noted: BTreeSet<i64> = noted.into_iter().map(|r| r.record).collect();
    for record in noted.difference(elsewhere) {
        on_backend!(conn, c => diesel::delete(person_review::table.find((record, reason))).execute(c))?;
    }
    for record in elsewhere.difference(&noted) {
        let row = (person_review::record.eq(record), person_review::reason.eq(reason), person_review::since.eq(now.micros()));
        on_backend!(conn, c => diesel::insert_into(person_review::table).values(row).on_conflict_do_nothing().execute(c))?;
    }
    Ok(noted.symmetric_difference(elsewhere).copied().collect())
}

fn plain(url: &str) -> &str {
    url.trim_end_matches('/')
}

/// The connected servers by their base URL.
fn servers(conn: &mut Conn) -> Result<BTreeMap<String, EhrId>, StoreError> {
    let rows: Vec<(String, String)> = on_backend!(conn, c => ehr::table.select((ehr::id, ehr::profile)).load(c))?;
    let base = |profile: &str| {
        let profile: serde_json::Value = serde_json::from_str(profile).ok()?;
        Some(plain(profile.get("base_url")?.as_str()?).to_owned())
    };
    Ok(rows.iter().filter_map(|(id, profile)| Some((base(profile)?, EhrId::parse(id).ok()?))).collect())
}

#[derive(QueryableByName)]
struct TokenRow {
    #[diesel(sql_type = BigInt)]
    record: i64,
    #[diesel(sql_type = Text)]
    token: String,
}

fn token(system: &str, value: &str) -> String {
    preferences::hex(&content_hash(format!("{system}|{value}").as_bytes()))
}

/// Writes the identifiers that are new and takes away those that are not there any more; returns the records concerned.
fn keep_identifiers(conn: &mut Conn, said: &[(i64, &Ties)], common: &[String]) -> Result<BTreeSet<i64>, StoreError> {
    let records: Vec<i64> = said.iter().map(|(record, _)| *record).collect();
    let rows: Vec<TokenRow> = bulk::select_numbers(conn, "SELECT record, token FROM patient_identifier", "record", &records, "")?;
    let old: BTreeSet<(i64, String)> = rows.into_iter().map(|r| (r.record, r.token)).collect();
    let mut new: BTreeMap<(i64, String), &str> = BTreeMap::new();
    for (record, ties) in said {
        for identifier in ties.identifiers.iter().filter(|i| common.contains(&i.system)) {
            if let Some(value) = identifier.normal() {
                new.insert((*record, token(&identifier.system, value.expose())), &identifier.system);
            }
        }
    }
    let added: Vec<(&(i64, String), &&str)> = new.iter().filter(|(key, _)| !old.contains(*key)).collect();
    let removed: Vec<&(i64, String)> = old.iter().filter(|key| !new.contains_key(*key)).collect();
    let mut touched: BTreeSet<i64> = added.iter().map(|(key, _)| key.0).chain(removed.iter().map(|key| key.0)).collect();
    // Who shares one that becomes too common by this must be looked at too, and who shares one that is not too common any more.
    let tokens: BTreeSet<&str> = added.iter().map(|(key, _)| key.1.as_str()).chain(removed.iter().map(|key| key.1.as_str())).collect();
    let tokens: Vec<&str> = tokens.into_iter().collect();
    touched.extend(joining::sharers(conn, &tokens)?.into_iter().map(|(_, record)| record));
    for (record, token) in &removed {
        let text = format!("DELETE FROM patient_identifier WHERE record = {record} AND token = '{token}'");
        on_backend!(conn, c => diesel::sql_query(text).execute(c))?;
    }
    Insert {
        into: "patient_identifier (record, token, system)",
        columns: vec![
            Column::Int(added.iter().map(|(key, _)| key.0).collect()),
            Column::Text(added.iter().map(|(key, _)| key.1.as_str()).collect()),
            Column::Text(added.iter().map(|(_, system)| **system).collect()),
        ],
        conflict: "ON CONFLICT (record, token) DO NOTHING",
    }
    .execute(conn)?;
    if !removed.is_empty() {
        touched.extend(joining::sharers(conn, &tokens)?.into_iter().map(|(_, record)| record));
    }
    Ok(touched)
}

/// The systems whose identifiers tie records.
///
/// # Errors
/// The engine's refusal, or a stored list that cannot be read.
pub fn common(conn: &mut Conn) -> Result<Vec<String>, StoreError> {
    match installation::get(conn, Setting::CommonIdentifiers)? {
        None => Ok(Vec::new()),
        Some(text) => serde_json::from_str(&text).map_err(|_| StoreError::Damaged("the list of common identifiers")),
    }
}

/// Declares the systems whose identifiers tie records. Where they are others than before, every record has to be looked at again:
/// [`to_identify`].
///
/// # Errors
/// The engine's refusal.
pub fn declare(conn: &mut Conn, systems: &[String]) -> Result<(), StoreError> {
    let mut systems = systems.to_vec();
    systems.sort_unstable();
    systems.dedup();
    if common(conn)? == systems {
        return Ok(());
    }
    let text = serde_json::to_string(&systems).map_err(|_| StoreError::Damaged("a list of common identifiers"))?;
    installation::set(conn, Setting::CommonIdentifiers, &text)?;
    identified_up_to(conn, Some(("", "")))
}

/// Up to which record those that were read earlier have been looked at for the systems declared now, as (EHR, logical id); `None` where all
/// have.
///
/// # Errors
/// The engine's refusal.
pub fn to_identify(conn: &mut Conn) -> Result<Option<(String, String)>, StoreError> {
    let text = installation::get(conn, Setting::IdentifiedUpTo)?.filter(|text| !text.is_empty());
    Ok(text.and_then(|text| text.split_once('/').map(|(ehr, id)| (ehr.to_owned(), id.to_owned()))))
}

/// Notes how far it came; `None`: all have been looked at.
///
/// # Errors
/// The engine's refusal.
pub fn identified_up_to(conn: &mut Conn, at: Option<(&str, &str)>) -> Result<(), StoreError> {
    installation::set(conn, Setting::IdentifiedUpTo, &at.map_or_else(String::new, |(ehr, id)| format!("{ehr}/{id}")))
}

/// An identifier that more records share than one person has: it ties nobody.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Shared {
    /// The system.
    pub system: String,
    /// How many records have it.
    pub records: i64,
    /// One of them, as EHR and logical id: where to look at the value.
    pub example: String,
}

/// Identifiers that are shared by too many, the most shared first.
///
/// # Errors
/// The engine's refusal.
pub fn shared_by_many(conn: &mut Conn, limit: i64) -> Result<Vec<Shared>, StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        system: String,
        #[diesel(sql_type = BigInt)]
        records: i64,
        #[diesel(sql_type = BigInt)]
        example: i64,
    }
    let text = format!(
        "SELECT MIN(system) AS system, COUNT(*) AS records, MIN(record) AS example FROM patient_identifier
         GROUP BY token HAVING COUNT(*) > {MOST_SHARERS} ORDER BY COUNT(*) DESC, token LIMIT {limit}"
    );
    let rows: Vec<Row> = on_backend!(conn, c => diesel::sql_query(text).load(c))?;
    rows.into_iter()
        .map(|row| {
            let (ehr, id): (String, String) =
                on_backend!(conn, c => patient::table.find(row.example).select((patient::ehr, patient::fhir_id)).first(c))?;
            Ok(Shared { system: row.system, records: row.records, example: format!("{ehr}/{id}") })
        })
        .collect()
}
