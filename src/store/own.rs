//! What the operators' own attributes read of stored resources: how far each was read, and which resources are to be read anew.
//!
//! A resource that is stored loses what was read of it and waits in `pending_own`; whoever has such a resource is judged when it was read. A new
//! attribute is read out of all stored bodies in the order of their numbers, so that whoever takes over goes on where another stopped.

use std::collections::BTreeSet;

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary, Nullable, Text};
use domain::Timestamp;
use domain::model::ResourceType;

use super::bulk::{self, Column, Insert};
use super::codec::Codec;
use super::connection::{Conn, on_backend};
use super::error::StoreError;
use super::pending;
use super::people;
use super::resources::{reads_bit, split};
use super::schema::{own_attribute, pending_own, resource};

/// How far the stored bodies were read for an attribute.
#[derive(Clone, Debug, PartialEq, Eq, Queryable)]
pub struct Reading {
    /// Hash of what decides about its value.
    pub hash: String,
    /// The type that it reads.
    pub rtype: String,
    /// The number of the last resource that was read.
    pub after: i64,
    /// Resources read so far.
    pub done: i64,
    /// Resources of the type when it was begun.
    pub total: i64,
    /// When it was begun.
    pub begun_at: i64,
    /// When all had been read; absent where it goes on.
    pub ended_at: Option<i64>,
}

/// A stored body to read.
#[derive(Clone, Debug, QueryableByName)]
pub struct Body {
    /// Row number.
    #[diesel(sql_type = BigInt)]
    pub pk: i64,
    #[diesel(sql_type = Text)]
    rtype: String,
    #[diesel(sql_type = Binary)]
    body: Vec<u8>,
    #[diesel(sql_type = Nullable<BigInt>)]
    dictionary: Option<i64>,
    #[diesel(sql_type = Text)]
    patients: String,
}

impl Body {
    /// Its type.
    ///
    /// # Errors
    /// Where it is none that this program knows.
    pub fn kind(&self) -> Result<ResourceType, StoreError> {
        ResourceType::parse(&self.rtype).ok_or(StoreError::Damaged("a resource of an unknown type"))
    }

    /// The body, byte for byte as it was received.
    ///
    /// # Errors
    /// Where it cannot be decompressed.
    pub fn bytes(&self, codec: &Codec) -> Result<Vec<u8>, StoreError> {
        codec.unpack(&self.body, self.dictionary)
    }
}

/// All attributes that are or were read, by hash.
///
/// # Errors
/// The engine's refusal.
pub fn readings(conn: &mut Conn) -> Result<Vec<Reading>, StoreError> {
    Ok(on_backend!(conn, c => own_attribute::table.order(own_attribute::hash).load(c))?)
}

/// Those of these attributes, by hash, of which not all stored bodies were read yet.
///
/// # Errors
/// The engine's refusal.
pub fn unread<'a>(conn: &mut Conn, hashes: impl Iterator<Item = &'a str>) -> Result<usize, StoreError> {
    let wanted: BTreeSet<&str> = hashes.collect();
    if wanted.is_empty() {
        return Ok(0);
    }
    let read = readings(conn)?;
    Ok(wanted.into_iter().filter(|hash| !read.iter().any(|r| r.hash == *hash && r.ended_at.is_some())).count())
}

/// Begins to read these attributes, each a hash with its type, and forgets all others. Writers of resources wait for the moment that this
/// takes: each has either stored before it, and is read, or sees it, and leaves word of what it stored.
///
/// # Errors
/// The engine's refusal.
pub fn begin(conn: &mut Conn, wanted: &[(&str, ResourceType)], now: Timestamp) -> Result<(), StoreError> {
    let known = readings(conn)?;
    let over: Vec<&str> = known.iter().map(|r| r.hash.as_str()).filter(|hash| !wanted.iter().any(|(w, _)| w == hash)).collect();
    let new: Vec<&(&str, ResourceType)> = wanted.iter().filter(|(hash, _)| !known.iter().any(|r| r.hash == *hash)).collect();
    if over.is_empty() && new.is_empty() {
        return Ok(());
    }
    conn.write_alone("resource")?;
    on_backend!(conn, c => diesel::delete(own_attribute::table.filter(own_attribute::hash.eq_any(over))).execute(c))?;
    for (hash, kind) in new {
        let of_kind = resource::table.filter(resource::rtype.eq(kind.as_str())).filter(resource::gone_at.is_null());
        let total: i64 = on_backend!(conn, c => of_kind.count().get_result(c))?;
        let row = (
            own_attribute::hash.eq(*hash),
            own_attribute::rtype.eq(kind.as_str()),
            own_attribute::after_resource.eq(i64::MIN),
            own_attribute::done.eq(0_i64),
            own_attribute::total.eq(total),
            own_attribute::begun_at.eq(now.micros()),
        );
        on_backend!(conn, c => diesel::insert_into(own_attribute::table).values(row).execute(c))?;
    }
    if wanted.is_empty() {
        on_backend!(conn, c => diesel::delete(pending_own::table).execute(c))?;
    }
    Ok(())
}

/// Leaves word that these resources are to be read, where some attribute reads their type.
pub(super) fn stored(conn: &mut Conn, rtype: ResourceType, resources: &[i64]) -> Result<(), StoreError> {
    if resources.is_empty() {
        return Ok(());
    }
    let of_type = own_attribute::table.filter(own_attribute::rtype.eq(rtype.as_str()));
    let any: Option<String> = on_backend!(conn, c => of_type.select(own_attribute::hash).first(c).optional())?;
    if any.is_none() {
        return Ok(());
    }
    let mut sorted = resources.to_vec();
    sorted.sort_unstable();
    Insert { into: "pending_own (resource)", columns: vec![Column::Int(sorted)], conflict: "ON CONFLICT (resource) DO NOTHING" }
        .execute(conn)?;
    Ok(())
}

/// The numbers of resources that wait to be read.
///
/// # Errors
/// The engine's refusal.
pub fn waiting(conn: &mut Conn, limit: i64) -> Result<Vec<i64>, StoreError> {
    Ok(on_backend!(conn, c => pending_own::table.select(pending_own::resource).order(pending_own::resource).limit(limit).load(c))?)
}

/// The numbers of the resources of a type after `after`.
///
/// # Errors
/// The engine's refusal.
pub fn numbers_after(conn: &mut Conn, rtype: &str, after: i64, limit: i64) -> Result<Vec<i64>, StoreError> {
    Ok(on_backend!(conn, c => resource::table
        .filter(resource::pk.gt(after))
        .filter(resource::rtype.eq(rtype))
        .filter(resource::gone_at.is_null())
        .select(resource::pk)
        .order(resource::pk)
        .limit(limit)
        .load(c))?)
}

/// The bodies of these resources, which nobody else changes until this transaction ends.
///
/// # Errors
/// The engine's refusal.
pub fn bodies(conn: &mut Conn, resources: &[i64]) -> Result<Vec<Body>, StoreError> {
    // In the order in which a sync writes, else the two could wait for each other.
    let lock = match conn {
        Conn::Sqlite(_) => "AND gone_at IS NULL",
        #[cfg(feature = "postgres")]
        Conn::Postgres(_) => "AND gone_at IS NULL ORDER BY ehr, rtype, fhir_id FOR UPDATE",
    };
    bulk::select_numbers(conn, "SELECT pk, rtype, body, dictionary, patients FROM resource", "pk", resources, lock)
}

/// Keeps what was read of resources.
///
/// # Errors
/// The engine's refusal.
pub fn keep(conn: &mut Conn, read: &[(&Body, Vec<u8>)]) -> Result<(), StoreError> {
    let rows: Vec<(i64, i64, &[u8])> =
        read.iter().flat_map(|(body, own)| split(&body.patients).map(move |patient| (patient, body.pk, own.as_slice()))).collect();
    match conn {
        Conn::Sqlite(c) => {
            for (patient, resource, own) in rows {
                diesel::sql_query("UPDATE fact SET own = ? WHERE patient = ? AND resource = ?")
                    .bind::<Binary, _>(own)
                    .bind::<BigInt, _>(patient)
                    .bind::<BigInt, _>(resource)
                    .execute(c)?;
            }
        }
        #[cfg(feature = "postgres")]
        Conn::Postgres(c) => {
            use diesel::sql_types::Array;
            let (patients, resources): (Vec<i64>, Vec<i64>) = rows.iter().map(|(p, r, _)| (*p, *r)).unzip();
            diesel::sql_query(
                "UPDATE fact SET own = v.own FROM unnest($1, $2, $3) AS v(patient, resource, own)
                 WHERE fact.patient = v.patient AND fact.resource = v.resource",
            )
            .bind::<Array<BigInt>, _>(patients)
            .bind::<Array<BigInt>, _>(resources)
            .bind::<Array<Binary>, _>(rows.iter().map(|(_, _, own)| *own).collect::<Vec<_>>())
            .execute(c)?;
        }
    }
    Ok(())
}

/// Takes resources that were read off the list, and wakes whom they are about.
///
/// # Errors
/// The engine's refusal.
pub fn taken(conn: &mut Conn, resources: &[i64], read: &[(&Body, Vec<u8>)], now: Timestamp) -> Result<(), StoreError> {
    bulk::execute_numbers(conn, "DELETE FROM pending_own", "resource", resources)?;
    for kind in ResourceType::ALL {
        let of_kind = read.iter().filter(|(body, _)| body.rtype == kind.as_str());
        let patients: Vec<i64> = of_kind.flat_map(|(body, _)| split(&body.patients)).collect::<BTreeSet<_>>().into_iter().collect();
        if !patients.is_empty() {
            let persons: BTreeSet<i64> = people::persons_of(conn, &patients)?.into_iter().collect();
            pending::mark(conn, &persons, reads_bit(kind), now)?;
        }
    }
    Ok(())
}

/// Moves the resume point of the attributes of a type that are still being read and had come as far as `from`; with no last one they are
/// read to the end.
///
/// # Errors
/// The engine's refusal.
pub fn advance(conn: &mut Conn, rtype: &str, from: i64, (last, done): (Option<i64>, i64), now: Timestamp) -> Result<(), StoreError> {
    let open = own_attribute::table
        .filter(own_attribute::rtype.eq(rtype))
        .filter(own_attribute::ended_at.is_null())
        .filter(own_attribute::after_resource.eq(from));
    match last {
        Some(last) => on_backend!(conn, c => diesel::update(open)
            .set((own_attribute::after_resource.eq(last), own_attribute::done.eq(own_attribute::done + done)))
            .execute(c))?,
        None => on_backend!(conn, c => diesel::update(open).set(own_attribute::ended_at.eq(now.micros())).execute(c))?,
    };
    Ok(())
}

/// A stored body of a person.
#[derive(Clone, Debug, QueryableByName)]
pub struct OfPerson {
    /// The person.
    #[diesel(sql_type = BigInt)]
    pub person: i64,
    /// The EHR.
    #[diesel(sql_type = Text)]
    pub ehr: String,
    /// Its logical id there.
    #[diesel(sql_type = Text)]
    pub fhir_id: String,
    #[diesel(sql_type = Binary)]
    body: Vec<u8>,
    #[diesel(sql_type = Nullable<BigInt>)]
    dictionary: Option<i64>,
}

impl OfPerson {
    /// The body, byte for byte as it was received.
    ///
    /// # Errors
    /// Where it cannot be decompressed.
    pub fn bytes(&self, codec: &Codec) -> Result<Vec<u8>, StoreError> {
        codec.unpack(&self.body, self.dictionary)
    }
}

/// The bodies of one type of these persons, for an attribute that is only tried.
///
/// # Errors
/// The engine's refusal.
pub fn of_persons(conn: &mut Conn, kind: ResourceType, persons: &[i64]) -> Result<Vec<OfPerson>, StoreError> {
    let select = format!(
        "SELECT p.person, r.ehr, r.fhir_id, r.body, r.dictionary FROM patient p JOIN fact f ON f.patient = p.pk AND f.rtype = '{kind}'
         JOIN resource r ON r.pk = f.resource"
    );
    bulk::select_numbers(conn, &select, "p.person", persons, "AND p.state <> 'gone'")
}
