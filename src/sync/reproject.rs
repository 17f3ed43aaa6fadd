//! Reads stored bodies anew: the operators' own attributes out of resources that were stored since, and out of all there are where an attribute is
//! new; and the facts, where this program derives them by a newer revision ([`rederive`](super::rederive)). Bodies are kept as received, so nothing has to be asked of an EHR again. A chunk and how far it came are one commit; what was cut off goes on
//! there.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use domain::model::ResourceType;
use domain::rules::{OwnAttribute, OwnAttributes};
use domain::{Clock, Timestamp};

use super::rederive;
use crate::store::definitions::{self, Kind};
use crate::store::leases::{self, Fence, Term};
use crate::store::{Conn, Lane, Store, StoreError, own};

/// Bodies of one commit: a tenth of a second.
const CHUNK: i64 = 500;

/// Reads what is left to read; returns how many resources that were. Blocks. `progress` is told how many so far.
///
/// # Errors
/// [`StoreError::LeaseLost`], or the engine's refusal. What was committed stays.
pub fn run(
    store: &Store,
    clock: &dyn Clock,
    (fence, term): (&Fence, Term),
    stop: &AtomicBool,
    progress: &dyn Fn(u64),
) -> Result<u64, StoreError> {
    let mut done = 0;
    while !stop.load(Ordering::Relaxed) {
        let attributes = store.read_blocking(in_use)?;
        if is_settled(store, &attributes)? {
            break;
        }
        done += store.write_blocking(Lane::Bulk, "read stored bodies anew", |conn| {
            let now = clock.now();
            leases::extend(conn, fence, now, term)?;
            let wanted: Vec<(&str, ResourceType)> = attributes.iter().map(|a| (a.key(), a.resource_type())).collect();
            own::begin(conn, &wanted, now)?;
            chunk(conn, store, &attributes, now)
        })?;
        progress(done);
    }
    Ok(done)
}

/// The attributes in force, and those that are being rolled out.
fn in_use(conn: &mut Conn) -> Result<Vec<OwnAttribute>, StoreError> {
    const DAMAGED: StoreError = StoreError::Damaged("an attribute, or it was stored by a newer version of this program");
    let all = definitions::in_use(conn)?;
    let of_kind = all.iter().filter(|v| v.kind == Kind::Attribute.as_str());
    of_kind.map(|v| OwnAttribute::parse(&v.source).map_err(|_| DAMAGED)).collect()
}

fn is_settled(store: &Store, attributes: &[OwnAttribute]) -> Result<bool, StoreError> {
    let keys: BTreeSet<&str> = attributes.iter().map(OwnAttribute::key).collect();
    store.read_blocking(|conn| {
        let readings = own::readings(conn)?;
        let known = readings.iter().all(|r| r.ended_at.is_some() && keys.contains(r.hash.as_str())) && readings.len() == keys.len();
        Ok(known && own::waiting(conn, 1)?.is_empty() && rederive::is_settled(conn)?)
    })
}

/// What was stored since comes first, since whoever has it is not judged meanwhile; then facts of an older revision, and a part of what a new
/// attribute has still to read.
fn chunk(conn: &mut Conn, store: &Store, attributes: &[OwnAttribute], now: Timestamp) -> Result<u64, StoreError> {
    let waiting = own::waiting(conn, CHUNK)?;
    if !waiting.is_empty() {
        let bodies = own::bodies(conn, &waiting)?;
        let read = read(store, attributes, &bodies)?;
        own::keep(conn, &read)?;
        own::taken(conn, &waiting, &read, now)?;
        return Ok(read.len() as u64);
    }
    if let Some(done) = rederive::chunk(conn, store, CHUNK, now)? {
        return Ok(done);
    }
    let open =
        own::readings(conn)?.into_iter().filter(|r| r.ended_at.is_none()).min_by(|a, b| (&a.rtype, a.after).cmp(&(&b.rtype, b.after)));
    let Some(open) = open else { return Ok(0) };
    let numbers = own::numbers_after(conn, &open.rtype, open.after, CHUNK)?;
    let bodies = own::bodies(conn, &numbers)?;
    let read = read(store, attributes, &bodies)?;
    own::keep(conn, &read)?;
    let done = i64::try_from(read.len()).unwrap_or(0);
    own::advance(conn, &open.rtype, open.after, (numbers.last().copied(), done), now)?;
    Ok(read.len() as u64)
}

/// What all attributes in use read of each body: it takes the place of what was read before.
fn read<'a>(store: &Store, attributes: &[OwnAttribute], bodies: &'a [own::Body]) -> Result<Vec<(&'a own::Body, Vec<u8>)>, StoreError> {
    // Of the same id there may be one in force and one that is rolled out; their keys differ, and only the keys matter here.
    let sets: Vec<OwnAttributes> = attributes.iter().filter_map(|a| OwnAttributes::of([a.clone()]).ok()).collect();
    let mut all = Vec::with_capacity(bodies.len());
    for body in bodies {
        let (kind, bytes) = (body.kind()?, body.bytes(store.codec())?);
        let mut found = domain::model::own::OwnFacts::default();
        sets.iter().for_each(|set| found.0.extend(set.read(kind, &bytes).0));
        all.push((body, found.to_bytes()));
    }
    Ok(all)
}
