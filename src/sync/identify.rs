//! Looks at the records that were read before the systems of common identifiers were declared, or changed: bodies are kept as received, so
//! nothing has to be read from an EHR again. A chunk and how far it came are one commit; what was cut off goes on there.

use std::sync::atomic::{AtomicBool, Ordering};

use domain::fhir;
use domain::identity::identifier::Identifier;
use domain::model::{EhrId, ResourceType};
use domain::{Clock, Timestamp};

use crate::store::leases::{self, Fence, Term};
use crate::store::{Conn, Lane, Store, StoreError, people, resources, ties};

/// Records of one commit.
const CHUNK: i64 = 500;

/// Looks at what is left to look at; returns how many records that were. Blocks. `progress` is told how many so far.
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
        if store.read_blocking(ties::to_identify)?.is_none() {
            break;
        }
        done += store.write_blocking(Lane::Bulk, "identify records anew", |conn| {
            let now = clock.now();
            leases::extend(conn, fence, now, term)?;
            ties::write_alone(conn)?;
            chunk(conn, store, now)
        })?;
        progress(done);
    }
    Ok(done)
}

fn chunk(conn: &mut Conn, store: &Store, now: Timestamp) -> Result<u64, StoreError> {
    let Some((name, after)) = ties::to_identify(conn)? else { return Ok(0) };
    let records = match EhrId::parse(&name) {
        Ok(ehr) => resources::after(conn, &ehr, ResourceType::Patient, &after, CHUNK)?,
        Err(_) => Vec::new(),
    };
    let Some(last) = records.last() else {
        let next = people::ehr_after(conn, &name)?;
        ties::identified_up_to(conn, next.as_deref().map(|ehr| (ehr, "")))?;
        return Ok(0);
    };
    let mut said: Vec<(String, Vec<Identifier>)> = Vec::with_capacity(records.len());
    for stored in &records {
        // One that cannot be read by this version ties nobody until it is read again.
        let projected = fhir::project(ResourceType::Patient, &stored.body(store.codec())?);
        said.push((stored.fhir_id.clone(), projected.map(|p| p.identifiers).unwrap_or_default()));
    }
    if let Ok(ehr) = EhrId::parse(&name) {
        ties::identify_anew(conn, &ehr, &said, now)?;
    }
    ties::identified_up_to(conn, Some((&name, &last.fhir_id)))?;
    Ok(said.len() as u64)
}
