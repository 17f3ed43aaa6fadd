//! With which revision of its derivation the resources of a type were made into facts, and how far the stored bodies were read anew by a newer one.
//!
//! Which revision a program derives with, its own resources say ([`Incoming::revision`]). A newer program begins to read all stored bodies of the
//! type anew, in the order of their numbers, so that whoever takes over goes on where another stopped. What an older program stores
//! from then on waits in `pending_facts`.
//!
//! [`Incoming::revision`]: super::resources::Incoming::revision

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary, Nullable, Text};
use domain::Timestamp;
use domain::model::ResourceType;

use super::bulk::{self, Column, Insert};
use super::codec::{Codec, Packed};
use super::connection::{Conn, on_backend};
use super::error::StoreError;
use super::schema::{derivation, pending_facts, resource};

/// How far the stored resources of a type were read anew.
#[derive(Clone, Debug, PartialEq, Eq, Queryable)]
pub struct Reading {
    /// The type.
    pub rtype: String,
    /// The revision that its facts are made with.
    pub revision: i64,
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

/// A stored resource to read anew.
#[derive(Clone, Debug, QueryableByName)]
pub struct Body {
    /// Row number.
    #[diesel(sql_type = BigInt)]
    pub pk: i64,
    /// Its EHR.
    #[diesel(sql_type = Text)]
    pub ehr: String,
    #[diesel(sql_type = Text)]
    rtype: String,
    /// Logical id.
    #[diesel(sql_type = Text)]
    pub fhir_id: String,
    #[diesel(sql_type = Binary)]
    body: Vec<u8>,
    #[diesel(sql_type = Nullable<BigInt>)]
    dictionary: Option<i64>,
    #[diesel(sql_type = Binary)]
    pub(super) body_hash: Vec<u8>,
    /// Revision of the derivation that made its facts.
    #[diesel(sql_type = BigInt)]
    pub projector: i64,
    #[diesel(sql_type = BigInt)]
    pub(super) received_at: i64,
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

    /// The body as it is stored.
    #[must_use]
    pub fn packed(&self) -> Packed {
        Packed { bytes: self.body.clone(), dictionary: self.dictionary }
    }

    /// The hash of the body, as stored.
    ///
    /// # Errors
    /// Where it is none.
    pub fn hash(&self) -> Result<[u8; 16], StoreError> {
        self.body_hash.as_slice().try_into().map_err(|_| StoreError::Damaged("the hash of a body"))
    }
}

/// All types of which something was ever stored.
///
/// # Errors
/// The engine's refusal.
pub fn readings(conn: &mut Conn) -> Result<Vec<Reading>, StoreError> {
    Ok(on_backend!(conn, c => derivation::table.order(derivation::rtype).load(c))?)
}

/// Whether some stored resources have still to be read anew.
///
/// # Errors
/// The engine's refusal.
pub fn is_behind(conn: &mut Conn) -> Result<bool, StoreError> {
    let open: Option<String> =
        on_backend!(conn, c => derivation::table.filter(derivation::ended_at.is_null()).select(derivation::rtype).first(c).optional())?;
    Ok(open.is_some() || !waiting(conn, 1)?.is_empty())
}

/// Notes that resources were stored with that revision: the first ones of a type begin its row, and those of an older program than the one
/// that reads them anew are to be read by that one.
pub(super) fn stored(conn: &mut Conn, rtype: ResourceType, revision: i64, resources: &[i64], now: Timestamp) -> Result<(), StoreError> {
    if resources.is_empty() {
        return Ok(());
    }
    let current = match revision_of(conn, rtype)? {
        Some(current) => current,
        None => {
            let row = (
                derivation::rtype.eq(rtype.as_str()),
                derivation::revision.eq(revision),
                (derivation::after_resource.eq(i64::MIN), derivation::done.eq(0_i64), derivation::total.eq(0_i64)),
                (derivation::begun_at.eq(now.micros()), derivation::ended_at.eq(now.micros())),
            );
            on_backend!(conn, c => diesel::insert_into(derivation::table).values(row).on_conflict_do_nothing().execute(c))?;
            // Another node may have been quicker.
            revision_of(conn, rtype)?.unwrap_or(revision)
        }
    };
    if current > revision {
        let mut sorted = resources.to_vec();
        sorted.sort_unstable();
        Insert { into: "pending_facts (resource)", columns: vec![Column::Int(sorted)], conflict: "ON CONFLICT (resource) DO NOTHING" }
            .execute(conn)?;
    }
    Ok(())
}

fn revision_of(conn: &mut Conn, rtype: ResourceType) -> Result<Option<i64>, StoreError> {
    Ok(on_backend!(conn, c => derivation::table.find(rtype.as_str()).select(derivation::revision).first(c).optional())?)
}

/// Begins to read those types anew that a newer revision is there for. Writers of resources wait for the moment that this takes, as in
/// [`own::begin`](super::own::begin).
///
/// # Errors
/// The engine's refusal.
pub fn begin(conn: &mut Conn, revisions: &[(ResourceType, i64)], now: Timestamp) -> Result<(), StoreError> {
    let known = readings(conn)?;
    let is_behind = |kind: &ResourceType, revision: i64| known.iter().any(|k| k.rtype == kind.as_str() && k.revision < revision);
    let behind: Vec<&(ResourceType, i64)> = revisions.iter().filter(|(kind, revision)| is_behind(kind, *revision)).collect();
    if behind.is_empty() {
        return Ok(());
    }
    conn.write_alone("resource")?;
    for (kind, revision) in behind {
        let of_kind = resource::table.filter(resource::rtype.eq(kind.as_str())).filter(resource::gone_at.is_null());
        let total: i64 = on_backend!(conn, c => of_kind.count().get_result(c))?;
        let row = derivation::table.find(kind.as_str()).filter(derivation::revision.lt(*revision));
        on_backend!(conn, c => diesel::update(row)
            .set((
                derivation::revision.eq(*revision),
                (derivation::after_resource.eq(i64::MIN), derivation::done.eq(0_i64), derivation::total.eq(total)),
                (derivation::begun_at.eq(now.micros()), derivation::ended_at.eq(None::<i64>)),
            ))
            .execute(c))?;
    }
    Ok(())
}

/// The numbers of resources that an older program stored.
///
/// # Errors
/// The engine's refusal.
pub fn waiting(conn: &mut Conn, limit: i64) -> Result<Vec<i64>, StoreError> {
    Ok(on_backend!(conn, c => pending_facts::table.select(pending_facts::resource).order(pending_facts::resource).limit(limit).load(c))?)
}

/// Takes resources that were read anew off the list.
///
/// # Errors
/// The engine's refusal.
pub fn taken(conn: &mut Conn, resources: &[i64]) -> Result<(), StoreError> {
    bulk::execute_numbers(conn, "DELETE FROM pending_facts", "resource", resources)?;
    Ok(())
}

/// These resources, which nobody else changes until this transaction ends.
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
    let select = "SELECT pk, ehr, rtype, fhir_id, body, dictionary, body_hash, projector, received_at FROM resource";
    bulk::select_numbers(conn, select, "pk", resources, lock)
}

/// Moves the resume point of a type; with no last one it is read to the end.
///
/// # Errors
/// The engine's refusal.
pub fn advance(conn: &mut Conn, rtype: &str, (last, done): (Option<i64>, i64), now: Timestamp) -> Result<(), StoreError> {
    let row = derivation::table.find(rtype);
    match last {
        Some(last) => on_backend!(conn, c => diesel::update(row)
            .set((derivation::after_resource.eq(last), derivation::done.eq(derivation::done + done)))
            .execute(c))?,
        None => on_backend!(conn, c => diesel::update(row).set(derivation::ended_at.eq(now.micros())).execute(c))?,
    };
    Ok(())
}
