//! What could not be taken in: kept with its bytes, its reason and where it came from, so that it can be looked at and replayed.

use diesel::prelude::*;
use diesel::sql_types::BigInt;
use domain::Timestamp;
use domain::model::{EhrId, ResourceType};

use super::bulk;
use super::codec::{Codec, content_hash};
use super::connection::{Conn, on_backend};
use super::error::StoreError;
use super::schema::quarantine;
use super::text::storable;

/// Something to put aside.
#[derive(Clone, Debug)]
pub struct Aside {
    /// Its type, where that could be told.
    pub rtype: Option<String>,
    /// Its logical id, where that could be told.
    pub fhir_id: Option<String>,
    /// Where it came from: `patients.ndjson:12`, `search Patient, page 3`. No URL, no query.
    pub origin: String,
    /// A stable code of the reason.
    pub code: &'static str,
    /// The reason in words, without any value of the resource.
    pub reason: String,
    /// The bytes as received.
    pub body: Vec<u8>,
}

/// A row of the quarantine, without its bytes.
#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = quarantine)]
pub struct QuarantineRow {
    /// Number.
    pub id: i64,
    /// The EHR.
    pub ehr: String,
    /// Its type, where that could be told.
    pub rtype: Option<String>,
    /// Its logical id, where that could be told.
    pub fhir_id: Option<String>,
    /// Where it came from, the last time.
    pub origin: String,
    /// A stable code of the reason.
    pub code: String,
    /// The reason in words.
    pub reason: String,
    /// When it was first seen.
    pub first_seen_at: i64,
    /// When it was last seen.
    pub last_seen_at: i64,
    /// How often.
    pub times_seen: i64,
    /// When a replay took it in.
    pub released_at: Option<i64>,
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = BigInt)]
    id: i64,
}

/// Puts something aside; the same bytes with the same reason are one row, seen again.
///
/// # Errors
/// The engine's refusal.
pub fn put(conn: &mut Conn, codec: &Codec, ehr: &EhrId, aside: &Aside, now: Timestamp) -> Result<(), StoreError> {
    let packed = codec.pack(None, &aside.body)?;
    let hash = content_hash(&aside.body);
    let (rtype, fhir_id) = (aside.rtype.as_deref().map(storable), aside.fhir_id.as_deref().map(storable));
    let (origin, reason) = (storable(&aside.origin), storable(&aside.reason));
    let row = (
        quarantine::ehr.eq(ehr.as_str()),
        quarantine::rtype.eq(rtype.as_deref()),
        quarantine::fhir_id.eq(fhir_id.as_deref()),
        quarantine::origin.eq(origin.as_ref()),
        quarantine::code.eq(aside.code),
        quarantine::reason.eq(reason.as_ref()),
        (quarantine::body.eq(&packed.bytes), quarantine::body_hash.eq(&hash[..])),
        (quarantine::first_seen_at.eq(now.micros()), quarantine::last_seen_at.eq(now.micros()), quarantine::times_seen.eq(1_i64)),
    );
    on_backend!(conn, c => diesel::insert_into(quarantine::table)
        .values(row)
        .on_conflict((quarantine::ehr, quarantine::body_hash, quarantine::code))
        .do_update()
        .set((
            quarantine::reason.eq(reason.as_ref()),
            quarantine::origin.eq(origin.as_ref()),
            quarantine::last_seen_at.eq(now.micros()),
            quarantine::times_seen.eq(quarantine::times_seen + 1),
            quarantine::released_at.eq(None::<i64>),
        ))
        .execute(c))?;
    Ok(())
}

/// The code of what is stored but for a date or time that cannot be read.
pub const UNREAD: &str = "unread-time";
/// So many of them are kept of a type of an EHR, as examples: one that writes all its dates so would be kept twice.
const MOST_UNREAD: i64 = 100;

/// Tells of resources that are stored without a date or time of theirs that cannot be read.
///
/// # Errors
/// The engine's refusal.
pub fn put_unread<'a>(
    conn: &mut Conn,
    codec: &Codec,
    ehr: &EhrId,
    rtype: ResourceType,
    asides: impl IntoIterator<Item = &'a Aside>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let mut asides = asides.into_iter().peekable();
    if asides.peek().is_none() {
        return Ok(());
    }
    let known: i64 = on_backend!(conn, c => quarantine::table
        .filter(quarantine::ehr.eq(ehr.as_str()))
        .filter(quarantine::rtype.eq(rtype.as_str()))
        .filter(quarantine::code.eq(UNREAD))
        .filter(quarantine::released_at.is_null())
        .count()
        .get_result(c))?;
    let room = usize::try_from(MOST_UNREAD - known).unwrap_or(0);
    asides.take(room).try_for_each(|aside| put(conn, codec, ehr, aside, now))
}

/// Marks the rows of resources as released: a good version of each came. Of one that came as it is stored, what is told of the stored one stays.
///
/// # Errors
/// The engine's refusal.
pub fn release(
    conn: &mut Conn,
    ehr: &EhrId,
    rtype: ResourceType,
    changed: &[&str],
    unchanged: &[&str],
    now: Timestamp,
) -> Result<usize, StoreError> {
    if changed.is_empty() && unchanged.is_empty() {
        return Ok(0);
    }
    // Mostly nothing waits, and then a look is cheaper than a search for each of the ids.
    let waiting = quarantine::table
        .filter(quarantine::ehr.eq(ehr.as_str()))
        .filter(quarantine::rtype.eq(rtype.as_str()))
        .filter(quarantine::released_at.is_null());
    if on_backend!(conn, c => waiting.select(quarantine::id).first::<i64>(c).optional())?.is_none() {
        return Ok(0);
    }
    let mut good: Vec<i64> = Vec::new();
    for (ids, spared) in [(changed, String::new()), (unchanged, format!("AND code <> '{UNREAD}'"))] {
        if ids.is_empty() {
            continue;
        }
        let rows: Vec<Row> = bulk::select_texts(
            conn,
            &format!("SELECT id FROM (SELECT id, ehr, rtype, fhir_id FROM quarantine WHERE released_at IS NULL {spared}) AS waiting"),
            &[("ehr", ehr.as_str()), ("rtype", rtype.as_str())],
            "fhir_id",
            ids,
        )?;
        good.extend(rows.into_iter().map(|row| row.id));
    }
    bulk::execute_numbers(conn, &format!("UPDATE quarantine SET released_at = {}", now.micros()), "id", &good)
}

/// What waits in quarantine, the latest first.
///
/// # Errors
/// The engine's refusal.
pub fn list(conn: &mut Conn, ehr: Option<&str>, limit: i64) -> Result<Vec<QuarantineRow>, StoreError> {
    on_backend!(conn, c => {
        let mut q = quarantine::table.filter(quarantine::released_at.is_null()).into_boxed();
        if let Some(ehr) = ehr {
            q = q.filter(quarantine::ehr.eq(ehr));
        }
        Ok(q.select(QuarantineRow::as_select()).order(quarantine::id.desc()).limit(limit).load(c)?)
    })
}

/// One row with its bytes.
///
/// # Errors
/// The engine's refusal, or bytes that cannot be read.
pub fn get(conn: &mut Conn, codec: &Codec, id: i64) -> Result<Option<(QuarantineRow, Vec<u8>)>, StoreError> {
    let found: Option<(QuarantineRow, Vec<u8>)> =
        on_backend!(conn, c => quarantine::table.find(id).select((QuarantineRow::as_select(), quarantine::body)).first(c).optional())?;
    found.map(|(row, bytes)| Ok((row, codec.unpack(&bytes, None)?))).transpose()
}

/// Marks one row as released.
///
/// # Errors
/// The engine's refusal.
pub fn released(conn: &mut Conn, id: i64, now: Timestamp) -> Result<(), StoreError> {
    on_backend!(conn, c => diesel::update(quarantine::table.find(id)).set(quarantine::released_at.eq(now.micros())).execute(c))?;
    Ok(())
}

/// How many wait.
///
/// # Errors
/// The engine's refusal.
pub fn count(conn: &mut Conn) -> Result<i64, StoreError> {
    Ok(on_backend!(conn, c => quarantine::table.filter(quarantine::released_at.is_null()).count().get_result(c))?)
}

/// How many were first seen since an instant and still wait, by EHR.
///
/// # Errors
/// The engine's refusal.
pub fn waiting_since(conn: &mut Conn, since: Timestamp) -> Result<Vec<(String, i64)>, StoreError> {
    use diesel::dsl::count_star;
    Ok(on_backend!(conn, c => quarantine::table
        .filter(quarantine::released_at.is_null())
        .filter(quarantine::first_seen_at.ge(since.micros()))
        .group_by(quarantine::ehr)
        .select((quarantine::ehr, count_star()))
        .order(quarantine::ehr)
        .load(c))?)
}
