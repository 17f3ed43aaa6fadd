//! Tries again what was put aside: after an upgrade that reads more, or once the sender has said that the bytes are right.

use std::collections::HashMap;

use domain::Clock;
use domain::fhir;
use domain::model::{EhrId, ResourceType};

use super::incoming::{self, NotReady};
use super::lease::{self, Holder, Refused};
use crate::store::codec::content_hash;
use crate::store::leases::{self, Fence};
use crate::store::quarantine::{self, QuarantineRow};
use crate::store::resources::{self, Incoming, Precedence};
use crate::store::{Lane, Store, StoreError};

/// Which rows to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// One, by its number.
    Row(i64),
    /// All that wait.
    All,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Replayed {
    /// Rows tried.
    pub tried: u64,
    /// Stored now.
    pub stored: u64,
    /// Released without storing: the same or a newer version is stored.
    pub superseded: u64,
    /// Rows that are still bad, by number, with what is wrong.
    pub still_bad: Vec<(i64, String)>,
}

/// Why nothing was tried, or not everything.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// No such row waits.
    #[error("no row {0} waits in the quarantine of `{1}`; `fhir-engage sync quarantine` lists them")]
    NoRow(i64, EhrId),
    /// Someone else works on the same data.
    #[error("{0} is being synced or imported by another process; try again when it is done")]
    Held(ResourceType),
    /// The store cannot go on. What was released stays so.
    #[error("the replay stopped; what was released before stays so")]
    Store(#[from] StoreError),
}

/// Rows of one commit.
const CHUNK: usize = 100;

/// Projects rows of the quarantine again; those that can be read now are stored and released. Blocks.
///
/// # Errors
/// [`ReplayError`]; a row that is still bad is none.
pub fn replay(store: &Store, clock: &dyn Clock, holder: Holder<'_>, ehr: &EhrId, which: Which) -> Result<Replayed, ReplayError> {
    let rows = waiting(store, ehr, which)?;
    let fences = lease::take_all(store, clock, holder, ehr, &ResourceType::ALL).map_err(|refused| match refused {
        Refused::Held(kind) => ReplayError::Held(kind),
        Refused::Store(error) => error.into(),
    })?;
    let mut report = Replayed::default();
    let done = rows.chunks(CHUNK).try_for_each(|chunk| replay_chunk(store, clock, holder, ehr, &fences, chunk, &mut report));
    lease::give_back(store, &fences);
    done?;
    Ok(report)
}

/// The rows to try, the oldest first: of two versions the later one is to stay.
fn waiting(store: &Store, ehr: &EhrId, which: Which) -> Result<Vec<QuarantineRow>, ReplayError> {
    let mut rows = store.read_blocking(|conn| quarantine::list(conn, Some(ehr.as_str()), i64::MAX))?;
    if let Which::Row(number) = which {
        rows.retain(|row| row.id == number);
        if rows.is_empty() {
            return Err(ReplayError::NoRow(number, ehr.clone()));
        }
    }
    rows.sort_by_key(|row| (row.last_seen_at, row.id));
    Ok(rows)
}

fn replay_chunk(
    store: &Store,
    clock: &dyn Clock,
    holder: Holder<'_>,
    ehr: &EhrId,
    fences: &[Fence],
    chunk: &[QuarantineRow],
    report: &mut Replayed,
) -> Result<(), StoreError> {
    let mut good: HashMap<(ResourceType, String), (Vec<i64>, Incoming)> = HashMap::new();
    for row in chunk {
        report.tried += 1;
        match ready(store, row.id)? {
            Ok((kind, incoming)) => {
                let (rows, latest) = good.entry((kind, incoming.fhir_id.clone())).or_insert_with(|| (Vec::new(), incoming.clone()));
                rows.push(row.id);
                *latest = incoming;
            }
            Err(reason) => report.still_bad.push((row.id, reason)),
        }
    }
    let (stored, released) = store.write_blocking(Lane::Bulk, "replay the quarantine", |conn| {
        let now = clock.now();
        fences.iter().try_for_each(|fence| leases::extend(conn, fence, now, holder.term))?;
        let (mut stored, mut released) = (0, 0);
        for kind in ResourceType::ALL {
            let of_kind = || good.iter().filter(|((k, _), _)| *k == kind);
            let page: Vec<Incoming> = of_kind().map(|(_, (_, incoming))| incoming.clone()).collect();
            stored += resources::commit(conn, ehr, kind, &page, Precedence::Newest, now)?.stored.len() as u64;
            for number in of_kind().flat_map(|(_, (rows, _))| rows) {
                quarantine::released(conn, *number, now)?;
                released += 1;
            }
        }
        Ok((stored, released))
    })?;
    report.stored += stored;
    report.superseded += released - stored;
    Ok(())
}

/// A row's resource, or what is still wrong with it.
fn ready(store: &Store, number: i64) -> Result<Result<(ResourceType, Incoming), String>, StoreError> {
    let found = store.read_blocking(|conn| quarantine::get(conn, store.codec(), number))?;
    let (row, bytes) = found.ok_or(StoreError::Damaged("a row of the quarantine is gone"))?;
    let kind = match fhir::peek(&bytes) {
        Ok(found) => ResourceType::parse(&found.resource_type),
        Err(reject) => return Ok(Err(reject.to_string())),
    };
    let Some(kind) = kind else { return Ok(Err("resourceType is none that is synced".to_owned())) };
    match incoming::incoming(store.codec(), kind, &bytes, content_hash(&bytes)) {
        Ok((_, Some(unread))) if row.code == quarantine::UNREAD => Ok(Err(unread)),
        Ok((incoming, _)) => Ok(Ok((kind, incoming))),
        Err(NotReady::Rejected(reject)) => Ok(Err(reject.to_string())),
        Err(NotReady::Store(error)) => Err(error),
    }
}
