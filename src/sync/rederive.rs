//! Makes facts of stored bodies anew where this program derives them by a newer revision than the one that stored them. Bodies are kept as received,
//! so nothing has to be asked of an EHR again. What rules answer meanwhile they answer by the facts of before.

use std::collections::BTreeMap;

use domain::fhir;
use domain::model::{EhrId, ResourceType};
use domain::{Timestamp, fhir::Reject};

use super::incoming::{self, NotReady};
use crate::store::derivations::{self, Body};
use crate::store::quarantine::{self, Aside};
use crate::store::resources::{self, Incoming};
use crate::store::{Conn, Store, StoreError};

/// What this program derives each type with.
fn revisions() -> Vec<(ResourceType, i64)> {
    ResourceType::ALL.into_iter().map(|kind| (kind, fhir::revision(kind))).collect()
}

/// Whether a newer program is at it: its facts are not ours to make.
fn is_older(conn: &mut Conn) -> Result<bool, StoreError> {
    let newer = |reading: &derivations::Reading| ResourceType::parse(&reading.rtype).is_none_or(|k| reading.revision > fhir::revision(k));
    Ok(derivations::readings(conn)?.iter().any(newer))
}

/// Whether nothing is left for this program.
pub(super) fn is_settled(conn: &mut Conn) -> Result<bool, StoreError> {
    let behind = |reading: &derivations::Reading| ResourceType::parse(&reading.rtype).is_some_and(|k| reading.revision < fhir::revision(k));
    let is_behind = derivations::is_behind(conn)? || derivations::readings(conn)?.iter().any(behind);
    Ok(!is_behind || is_older(conn)?)
}

/// One chunk: what an older program stored comes first, then a part of what has to be read for a newer revision. `None` where nothing is left.
pub(super) fn chunk(conn: &mut Conn, store: &Store, size: i64, now: Timestamp) -> Result<Option<u64>, StoreError> {
    if is_older(conn)? {
        return Ok(None);
    }
    derivations::begin(conn, &revisions(), now)?;
    let waiting = derivations::waiting(conn, size)?;
    if !waiting.is_empty() {
        let read = read(conn, store, &waiting, now)?;
        derivations::taken(conn, &waiting)?;
        return Ok(Some(read));
    }
    let Some(open) = derivations::readings(conn)?.into_iter().find(|r| r.ended_at.is_none()) else { return Ok(None) };
    let numbers = crate::store::own::numbers_after(conn, &open.rtype, open.after, size)?;
    let done = read(conn, store, &numbers, now)?;
    derivations::advance(conn, &open.rtype, (numbers.last().copied(), i64::try_from(numbers.len()).unwrap_or(0)), now)?;
    Ok(Some(done))
}

/// Makes the facts of these resources anew, where they are of an older revision.
fn read(conn: &mut Conn, store: &Store, numbers: &[i64], now: Timestamp) -> Result<u64, StoreError> {
    let bodies = derivations::bodies(conn, numbers)?;
    let mut read: BTreeMap<(&str, ResourceType), Vec<(&Body, Incoming)>> = BTreeMap::new();
    for body in &bodies {
        let kind = body.kind()?;
        if body.projector >= fhir::revision(kind) {
            continue;
        }
        let bytes = body.bytes(store.codec())?;
        match incoming::again(kind, &bytes, body) {
            Ok(row) => read.entry((&body.ehr, kind)).or_default().push((body, row)),
            // It keeps its facts: by these it was taken, and a person has to look at it.
            Err(NotReady::Rejected(reject)) => quarantine::put(conn, store.codec(), &ehr(body)?, &aside(kind, body, &reject, bytes), now)?,
            Err(NotReady::Store(error)) => return Err(error),
        }
    }
    for ((_, kind), rows) in &read {
        if let Some((body, _)) = rows.first() {
            resources::rederive(conn, &ehr(body)?, *kind, rows, now)?;
        }
    }
    Ok(bodies.len() as u64)
}

fn ehr(body: &Body) -> Result<EhrId, StoreError> {
    EhrId::parse(&body.ehr).map_err(|_| StoreError::Damaged("an EHR's name"))
}

fn aside(kind: ResourceType, body: &Body, reject: &Reject, bytes: Vec<u8>) -> Aside {
    Aside {
        rtype: Some(kind.as_str().to_owned()),
        fhir_id: Some(body.fhir_id.clone()),
        origin: format!("stored {kind}, read anew"),
        code: reject.code.as_str(),
        reason: reject.to_string(),
        body: bytes,
    }
}
