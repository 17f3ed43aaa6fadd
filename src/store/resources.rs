//! Synced resources: the body as received, the facts of it, and who must be looked at again because of it.
//!
//! [`commit`] is the hot path of every sync and import. It writes a page's resources and their facts, makes stubs for patients that
//! were not seen yet, and marks the persons whose *facts* changed; a body that differs only in its metadata wakes nobody.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::TimeDelta;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary, Nullable, Text};
use domain::Timestamp;
use domain::model::{EhrId, ResourceType};

use super::bulk::{self, Column, Insert};
use super::codec::{Codec, Packed};
use super::connection::{Conn, on_backend};
use super::derivations::{self, Body};
use super::error::StoreError;
use super::labels;
use super::own;
use super::pending;
use super::people;
use super::schema::resource;
use super::text::storable;
use super::ties::{self, Ties};

/// What is stored of a resource, as far as a comparison needs it.
#[derive(Clone, Debug, QueryableByName)]
pub struct Known {
    /// Row number.
    #[diesel(sql_type = BigInt)]
    pub pk: i64,
    /// Logical id.
    #[diesel(sql_type = Text)]
    pub fhir_id: String,
    /// Hash of the body.
    #[diesel(sql_type = Binary)]
    pub body_hash: Vec<u8>,
    /// Hash of the facts.
    #[diesel(sql_type = Binary)]
    pub facts_hash: Vec<u8>,
    /// Row numbers of the patients concerned, joined by commas.
    #[diesel(sql_type = Text)]
    pub patients: String,
    /// `meta.lastUpdated`, where sent.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub last_updated: Option<i64>,
    /// Revision of the projection that made the facts.
    #[diesel(sql_type = BigInt)]
    pub projector: i64,
    /// When this version was received.
    #[diesel(sql_type = BigInt)]
    pub received_at: i64,
    /// When it was found gone, where it was.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub gone_at: Option<i64>,
}

impl Known {
    /// Whether a body with that hash is stored, and its facts are made by that revision of the derivation or a newer one.
    #[must_use]
    pub fn is_as(&self, body_hash: &[u8], revision: i64) -> bool {
        self.body_hash == body_hash && self.projector >= revision && self.gone_at.is_none()
    }
}

/// A resource to store.
#[derive(Clone, Debug)]
pub struct Incoming {
    /// Logical id.
    pub fhir_id: String,
    /// `meta.versionId`.
    pub version: Option<String>,
    /// `meta.lastUpdated`, microseconds.
    pub last_updated: Option<i64>,
    /// The body, compressed.
    pub body: Packed,
    /// Hash of the body as received.
    pub body_hash: [u8; 16],
    /// Serialised facts.
    pub facts: Vec<u8>,
    /// Hash of the facts.
    pub facts_hash: [u8; 16],
    /// Logical ids of the patients concerned, at the same EHR.
    pub patients: Vec<String>,
    /// Of a Patient, what it says of other records.
    pub ties: Ties,
    /// Revision of the derivation that made the facts ([`domain::fhir::revision`]).
    pub revision: i64,
}

/// Which of two versions wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precedence {
    /// What the EHR answered to a request that was sent at this instant is the truth, also where its clock was set back. What another reading
    /// has stored since then stays, unless it is older by `meta.lastUpdated`: nobody knows which of the two answers came first, so what is
    /// not plainly newer is [`Written::undecided`].
    Asked(Timestamp),
    /// Files may come in any order: an older version does not replace a newer one.
    Newest,
    /// The same of the files of an export that was asked for at this instant. What was stored since then was read while the EHR prepared it: where
    /// `meta.lastUpdated` does not tell the two apart, it stays and is [`Written::undecided`].
    Exported(Timestamp),
}

/// How far the clocks of two nodes may be apart. Where `meta.lastUpdated` already speaks for what is stored, it is believed for so much longer.
const CLOCKS_APART: TimeDelta = TimeDelta::seconds(20);

/// What a commit did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Row numbers of what is new or changed.
    pub stored: Vec<i64>,
    /// Row numbers of what was stored already.
    pub unchanged: Vec<i64>,
    /// How many were older than what is stored.
    pub older: usize,
    /// The ids of what stays although it may be the older: another reading stored it while this one was on its way. To be read once more.
    pub undecided: Vec<String>,
    /// When the versions that were replaced had been received: tells a run which of them it had stored itself.
    pub replaced: Vec<i64>,
}

#[derive(QueryableByName)]
struct Key {
    #[diesel(sql_type = BigInt)]
    pk: i64,
    #[diesel(sql_type = Text)]
    fhir_id: String,
}

/// What is stored of these ids.
///
/// # Errors
/// The engine's refusal.
pub fn known(conn: &mut Conn, ehr: &EhrId, rtype: ResourceType, ids: &[&str]) -> Result<HashMap<String, Known>, StoreError> {
    let rows: Vec<Known> = bulk::select_texts(
        conn,
        "SELECT pk, fhir_id, body_hash, facts_hash, patients, last_updated, projector, received_at, gone_at FROM resource",
        &[("ehr", ehr.as_str()), ("rtype", rtype.as_str())],
        "fhir_id",
        ids,
    )?;
    Ok(rows.into_iter().map(|k| (k.fhir_id.clone(), k)).collect())
}

/// Stores a page. No id may occur twice in it.
///
/// # Errors
/// The engine's refusal; nothing is written then.
pub fn commit(
    conn: &mut Conn,
    ehr: &EhrId,
    rtype: ResourceType,
    page: &[Incoming],
    precedence: Precedence,
    now: Timestamp,
) -> Result<Written, StoreError> {
    let ids: Vec<&str> = page.iter().map(|r| r.fhir_id.as_str()).collect();
    // Between looking what is stored and writing over it nobody else may: single reads are stored beside the run of a type.
    conn.alone(&format!("{ehr}/{rtype}"))?;
    let known = known(conn, ehr, rtype, &ids)?;
    let mut written = Written::default();
    let mut rows: Vec<&Incoming> = Vec::with_capacity(page.len());
    for row in page {
        match known.get(&row.fhir_id) {
            Some(k) if k.is_as(&row.body_hash, row.revision) => written.unchanged.push(k.pk),
            Some(k) => match precedence {
                Precedence::Newest | Precedence::Exported(_) if older(row, k) => written.older += 1,
                Precedence::Exported(at) if !newer(row, k) && since(k, at) => written.undecided.push(row.fhir_id.clone()),
                Precedence::Asked(at) if overlaps(row, k, at) => written.undecided.push(row.fhir_id.clone()),
                Precedence::Newest | Precedence::Asked(_) | Precedence::Exported(_) => {
                    written.replaced.push(k.received_at);
                    rows.push(row);
                }
            },
            None => rows.push(row),
        }
    }
    if rows.is_empty() {
        return Ok(written);
    }
    // In key order, else two nodes that store overlapping pages could wait for each other.
    rows.sort_by(|a, b| a.fhir_id.cmp(&b.fhir_id));

    let wanted: BTreeSet<&str> = rows.iter().flat_map(|r| r.patients.iter().map(String::as_str)).collect();
    let patients = people::ensure(conn, ehr, &wanted.into_iter().collect::<Vec<_>>(), now)?;
    if rtype == ResourceType::Patient {
        people::mark_live(conn, &patients)?;
    }
    let subjects = subjects_of(&rows, &patients);
    let pks = put(conn, ehr, rtype, &rows, &subjects, vec![now.micros(); rows.len()], ON_STORED)?;
    written.stored = rows.iter().filter_map(|r| pks.get(r.fhir_id.as_str()).copied()).collect();
    store_facts(conn, rtype, &rows, &subjects, &pks, &known, Read::FromBody)?;
    let revision = rows.iter().map(|r| r.revision).min().unwrap_or(0);
    derivations::stored(conn, rtype, revision, &written.stored, now)?;
    // With a record that comes back comes all that is known by it.
    let back = rtype == ResourceType::Patient && known.values().any(|k| k.gone_at.is_some());
    wake(conn, &rows, &subjects, &known, &patients, if back { -1 } else { reads_bit(rtype) }, now)?;
    keep_names(conn, ehr, rtype, &rows, &patients, rows.iter().any(|r| known.contains_key(&r.fhir_id)), now)?;
    Ok(written)
}

/// What is kept of a Patient beside its facts.
fn keep_names(
    conn: &mut Conn,
    ehr: &EhrId,
    rtype: ResourceType,
    rows: &[&Incoming],
    patients: &HashMap<String, people::PatientKey>,
    known_before: bool,
    now: Timestamp,
) -> Result<(), StoreError> {
    if rtype == ResourceType::Patient {
        let facts: Vec<(i64, &[u8])> = rows.iter().filter_map(|r| Some((patients.get(&r.fhir_id)?.pk, r.facts.as_slice()))).collect();
        labels::keep(conn, &facts)?;
        let said: Vec<(i64, &Ties)> = rows.iter().filter_map(|r| Some((patients.get(&r.fhir_id)?.pk, &r.ties))).collect();
        ties::keep(conn, ehr, &said, known_before, now)?;
    }
    Ok(())
}

/// Keeps the facts that a newer revision of the derivation makes of stored bodies, and wakes whom they concern where they are others now. The
/// bodies stay as they are.
///
/// # Errors
/// The engine's refusal; nothing is written then.
pub fn rederive(conn: &mut Conn, ehr: &EhrId, rtype: ResourceType, read: &[(&Body, Incoming)], now: Timestamp) -> Result<(), StoreError> {
    let ids: Vec<&str> = read.iter().map(|(body, _)| body.fhir_id.as_str()).collect();
    let known = known(conn, ehr, rtype, &ids)?;
    let mut rows: Vec<&Incoming> = read.iter().map(|(_, row)| row).collect();
    // In key order, as in a commit.
    rows.sort_by(|a, b| a.fhir_id.cmp(&b.fhir_id));
    let wanted: BTreeSet<&str> = rows.iter().flat_map(|r| r.patients.iter().map(String::as_str)).collect();
    let patients = people::ensure(conn, ehr, &wanted.into_iter().collect::<Vec<_>>(), now)?;
    let subjects = subjects_of(&rows, &patients);
    let pks: HashMap<String, i64> = read.iter().map(|(body, _)| (body.fhir_id.clone(), body.pk)).collect();
    let received: HashMap<&str, i64> = read.iter().map(|(body, _)| (body.fhir_id.as_str(), body.received_at)).collect();
    let received: Vec<i64> = rows.iter().map(|r| received.get(r.fhir_id.as_str()).copied().unwrap_or(now.micros())).collect();
    put(conn, ehr, rtype, &rows, &subjects, received, ON_REDERIVED)?;
    store_facts(conn, rtype, &rows, &subjects, &pks, &known, Read::Anew)?;
    wake(conn, &rows, &subjects, &known, &patients, reads_bit(rtype), now)?;
    keep_names(conn, ehr, rtype, &rows, &patients, true, now)
}

fn subjects_of(rows: &[&Incoming], patients: &HashMap<String, people::PatientKey>) -> Vec<Vec<i64>> {
    let of = |row: &&Incoming| -> BTreeSet<i64> { row.patients.iter().filter_map(|id| patients.get(id.as_str()).map(|p| p.pk)).collect() };
    rows.iter().map(|row| of(row).into_iter().collect()).collect()
}

fn older(row: &Incoming, known: &Known) -> bool {
    matches!((row.last_updated, known.last_updated), (Some(new), Some(old)) if new < old)
}

fn newer(row: &Incoming, known: &Known) -> bool {
    matches!((row.last_updated, known.last_updated), (Some(new), Some(old)) if new > old)
}

/// Whether what is there was stored, or found gone, since an instant.
fn since(known: &Known, at: Timestamp) -> bool {
    known.gone_at.map_or(known.received_at, |gone| gone.max(known.received_at)) > at.micros()
}

/// Whether another reading has stored what is there while this one was on its way, and this one is not plainly the newer.
fn overlaps(row: &Incoming, known: &Known, asked: Timestamp) -> bool {
    match (row.last_updated, known.last_updated) {
        (Some(new), Some(old)) if new > old && known.gone_at.is_none() => false,
        (Some(new), Some(old)) if new < old => since(known, asked.plus(-CLOCKS_APART)),
        _ => since(known, asked),
    }
}

/// The bit of a type in a `reads` mask.
#[must_use]
pub const fn reads_bit(rtype: ResourceType) -> i64 {
    rtype.bit() as i64
}

fn join(pks: &[i64]) -> String {
    pks.iter().map(i64::to_string).collect::<Vec<_>>().join(",")
}

/// The row numbers of a joined list.
pub(super) fn split(text: &str) -> impl Iterator<Item = i64> + '_ {
    text.split(',').filter_map(|n| n.parse().ok())
}

/// Of a resource that is there already, all is what is stored now.
const ON_STORED: &str = "ON CONFLICT (ehr, rtype, fhir_id) DO UPDATE SET version = excluded.version, last_updated = excluded.last_updated, body = excluded.body,
                   dictionary = excluded.dictionary, body_hash = excluded.body_hash, facts_hash = excluded.facts_hash, projector = excluded.projector,
                   patients = excluded.patients, received_at = excluded.received_at, gone_at = NULL, gone_why = NULL";
/// Only what is derived is new.
const ON_REDERIVED: &str =
    "ON CONFLICT (ehr, rtype, fhir_id) DO UPDATE SET facts_hash = excluded.facts_hash, projector = excluded.projector,
                   patients = excluded.patients";

fn put(
    conn: &mut Conn,
    ehr: &EhrId,
    rtype: ResourceType,
    rows: &[&Incoming],
    subjects: &[Vec<i64>],
    received: Vec<i64>,
    conflict: &'static str,
) -> Result<HashMap<String, i64>, StoreError> {
    let joined: Vec<String> = subjects.iter().map(|s| join(s)).collect();
    let versions: Vec<Option<Cow<'_, str>>> = rows.iter().map(|r| r.version.as_deref().map(storable)).collect();
    let n = rows.len();
    let insert = Insert {
        into: "resource (ehr, rtype, fhir_id, version, last_updated, body, dictionary, body_hash, facts_hash, projector, patients, received_at)",
        columns: vec![
            Column::Text(vec![ehr.as_str(); n]),
            Column::Text(vec![rtype.as_str(); n]),
            Column::Text(rows.iter().map(|r| r.fhir_id.as_str()).collect()),
            Column::TextOrNull(versions.iter().map(Option::as_deref).collect()),
            Column::IntOrNull(rows.iter().map(|r| r.last_updated).collect()),
            Column::Bytes(rows.iter().map(|r| r.body.bytes.as_slice()).collect()),
            Column::IntOrNull(rows.iter().map(|r| r.body.dictionary).collect()),
            Column::Bytes(rows.iter().map(|r| &r.body_hash[..]).collect()),
            Column::Bytes(rows.iter().map(|r| &r.facts_hash[..]).collect()),
            Column::Int(rows.iter().map(|r| r.revision).collect()),
            Column::Text(joined.iter().map(String::as_str).collect()),
            Column::Int(received),
        ],
        conflict,
    };
    let keys: Vec<Key> = insert.returning(conn, "pk, fhir_id")?;
    Ok(keys.into_iter().map(|k| (k.fhir_id, k.pk)).collect())
}

/// What facts were made of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Read {
    /// A body that is new or changed.
    FromBody,
    /// A body that was stored before: what own attributes read of it still holds.
    Anew,
}

fn store_facts(
    conn: &mut Conn,
    rtype: ResourceType,
    rows: &[&Incoming],
    subjects: &[Vec<i64>],
    pks: &HashMap<String, i64>,
    known: &HashMap<String, Known>,
    read: Read,
) -> Result<(), StoreError> {
    let mut facts: BTreeMap<(i64, i64), &Incoming> = BTreeMap::new();
    let mut dropped: Vec<(i64, i64)> = Vec::new();
    for (row, now_about) in rows.iter().zip(subjects) {
        let Some(&pk) = pks.get(&row.fhir_id) else { continue };
        for &patient in now_about {
            facts.insert((patient, pk), row);
        }
        if let Some(before) = known.get(&row.fhir_id) {
            dropped.extend(split(&before.patients).filter(|p| !now_about.contains(p)).map(|p| (p, pk)));
        }
    }
    bulk::delete_pairs(conn, "fact", ("patient", "resource"), &dropped)?;
    let n = facts.len();
    let versions: Vec<Option<Cow<'_, str>>> = facts.values().map(|r| r.version.as_deref().map(storable)).collect();
    Insert {
        into: "fact (patient, resource, rtype, fhir_id, version, facts)",
        columns: vec![
            Column::Int(facts.keys().map(|k| k.0).collect()),
            Column::Int(facts.keys().map(|k| k.1).collect()),
            Column::Text(vec![rtype.as_str(); n]),
            Column::Text(facts.values().map(|r| r.fhir_id.as_str()).collect()),
            Column::TextOrNull(versions.iter().map(Option::as_deref).collect()),
            Column::Bytes(facts.values().map(|r| r.facts.as_slice()).collect()),
        ],
        conflict: match read {
            // What was read of the version before says nothing of this one.
            Read::FromBody => {
                "ON CONFLICT (patient, resource) DO UPDATE SET version = excluded.version, facts = excluded.facts, own = NULL"
            }
            Read::Anew => "ON CONFLICT (patient, resource) DO UPDATE SET facts = excluded.facts",
        },
    }
    .execute(conn)?;
    // One that is about somebody else now has a row of facts that own attributes were not read for.
    let moved = |row: &Incoming, about: &[i64]| known.get(&row.fhir_id).is_none_or(|k| k.patients != join(about));
    let unread = rows.iter().zip(subjects).filter(|(row, about)| read == Read::FromBody || moved(row, about));
    own::stored(conn, rtype, &unread.filter_map(|(r, _)| pks.get(&r.fhir_id).copied()).collect::<Vec<_>>())
}

fn wake(
    conn: &mut Conn,
    rows: &[&Incoming],
    subjects: &[Vec<i64>],
    known: &HashMap<String, Known>,
    patients: &HashMap<String, people::PatientKey>,
    reads: i64,
    now: Timestamp,
) -> Result<(), StoreError> {
    let mut changed: BTreeSet<i64> = BTreeSet::new();
    for (row, now_about) in rows.iter().zip(subjects) {
        match known.get(&row.fhir_id) {
            Some(before) if before.facts_hash == row.facts_hash && before.patients == join(now_about) && before.gone_at.is_none() => {}
            before => {
                changed.extend(now_about);
                changed.extend(before.into_iter().flat_map(|k| split(&k.patients)));
            }
        }
    }
    let persons_here: HashMap<i64, i64> = patients.values().map(|p| (p.pk, p.person)).collect();
    let (here, elsewhere): (Vec<i64>, Vec<i64>) = changed.into_iter().partition(|pk| persons_here.contains_key(pk));
    let mut persons: BTreeSet<i64> = here.iter().filter_map(|pk| persons_here.get(pk).copied()).collect();
    persons.extend(people::persons_of(conn, &elsewhere)?);
    pending::mark(conn, &persons, reads, now)
}

/// A stored body.
#[derive(Clone, Debug, Queryable)]
pub struct Stored {
    /// Logical id.
    pub fhir_id: String,
    /// `meta.versionId`.
    pub version: Option<String>,
    body: Vec<u8>,
    dictionary: Option<i64>,
}

impl Stored {
    /// The body, byte for byte as it was received.
    ///
    /// # Errors
    /// Where it cannot be decompressed.
    pub fn body(&self, codec: &Codec) -> Result<Vec<u8>, StoreError> {
        codec.unpack(&self.body, self.dictionary)
    }
}

/// One stored resource.
///
/// # Errors
/// The engine's refusal.
pub fn get(conn: &mut Conn, ehr: &EhrId, rtype: ResourceType, id: &str) -> Result<Option<Stored>, StoreError> {
    Ok(on_backend!(conn, c => resource::table
        .filter(resource::ehr.eq(ehr.as_str()))
        .filter(resource::rtype.eq(rtype.as_str()))
        .filter(resource::fhir_id.eq(id))
        .select((resource::fhir_id, resource::version, resource::body, resource::dictionary))
        .first(c)
        .optional())?)
}

/// Stored resources in the order of their ids, after `after`: for reading back a whole type in chunks.
///
/// # Errors
/// The engine's refusal.
pub fn after(conn: &mut Conn, ehr: &EhrId, rtype: ResourceType, after: &str, limit: i64) -> Result<Vec<Stored>, StoreError> {
    Ok(on_backend!(conn, c => resource::table
        .filter(resource::ehr.eq(ehr.as_str()))
        .filter(resource::rtype.eq(rtype.as_str()))
        .filter(resource::fhir_id.gt(after))
        .select((resource::fhir_id, resource::version, resource::body, resource::dictionary))
        .order(resource::fhir_id)
        .limit(limit)
        .load(c))?)
}

/// How many resources of each type are stored and not gone.
///
/// # Errors
/// The engine's refusal.
pub fn counts(conn: &mut Conn) -> Result<Vec<(String, String, i64)>, StoreError> {
    use diesel::dsl::count_star;
    type Counts = Vec<(String, String, i64)>;
    // All of them, less those that are gone: both from an index alone.
    let mut all: Counts = on_backend!(conn, c => resource::table
        .group_by((resource::ehr, resource::rtype))
        .select((resource::ehr, resource::rtype, count_star()))
        .order((resource::ehr, resource::rtype))
        .load(c))?;
    let gone: Counts = on_backend!(conn, c => resource::table
        .filter(resource::gone_at.is_not_null())
        .group_by((resource::ehr, resource::rtype))
        .select((resource::ehr, resource::rtype, count_star()))
        .load(c))?;
    for (ehr, rtype, n) in &mut all {
        *n -= gone.iter().find(|(e, r, _)| e == ehr && r == rtype).map_or(0, |(_, _, gone)| *gone);
    }
    all.retain(|(_, _, n)| *n > 0);
    Ok(all)
}
