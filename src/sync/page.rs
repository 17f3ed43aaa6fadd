//! One page of a search to the store: what is new or changed is projected and committed with the page's counts and the resume point.

use std::collections::HashMap;

use domain::Timestamp;
use domain::fhir::{self, Reject};
use domain::model::{EhrId, FhirId, ResourceType};

use super::incoming::{self, NotReady};
use crate::ehr::Entry;
use crate::store::codec::content_hash;
use crate::store::leases::{self, Fence, Term};
use crate::store::quarantine::{self, Aside};
use crate::store::resources::{self, Incoming, Precedence};
use crate::store::sync_state::{self, Counts};
use crate::store::{Conn, Lane, Store, StoreError, refresh};

/// Who asks for a read more: two readings that overlapped.
pub(in crate::sync) const OVERLAP: &str = "overlap";

/// What a page belongs to.
#[derive(Clone, Debug)]
pub(super) struct Context {
    pub ehr: EhrId,
    pub kind: ResourceType,
    pub fence: Fence,
    pub term: Term,
    pub run: i64,
}

/// What is to be told with a page, or with the pages that one step of a run has read.
#[derive(Clone, Debug)]
pub(super) struct Told {
    /// Number of the page, from 1; of several the first.
    pub number: i64,
    /// How many pages these are.
    pub pages: i64,
    /// What a later run would have left to do.
    pub resume: Option<String>,
    /// The server's clock at the run's start.
    pub server_started: Timestamp,
    /// The server says that something is missing.
    pub partial: bool,
    /// When it was asked for, by our clock: before that instant, not after.
    pub asked: Timestamp,
    pub now: Timestamp,
}

/// `meta.lastUpdated` of each entry whose JSON can be read, in the order of the page.
pub(super) fn updates(entries: &[Entry]) -> Vec<Option<Timestamp>> {
    entries.iter().filter_map(|entry| fhir::peek(&entry.bytes).ok()).map(|found| found.last_updated).collect()
}

/// A page, taken apart.
#[derive(Default)]
struct Sorted {
    rows: Vec<Incoming>,
    unchanged: Vec<String>,
    bad: Vec<Aside>,
    /// Stored but for a date or time.
    unread: Vec<Aside>,
    superseded: usize,
}

/// What else belongs into the transaction of a page. It may run again, as the transaction may.
pub(super) type Also<'a> = &'a mut dyn FnMut(&mut Conn) -> Result<(), StoreError>;

/// Commits a page. Blocks.
pub(super) fn commit(store: &Store, context: &Context, entries: &[Entry], told: &Told, also: Also<'_>) -> Result<Counts, StoreError> {
    let Context { ehr, kind, fence, term, run } = context;
    let sorted = sort(store, (ehr, *kind), entries, told.number)?;
    store.write_blocking(Lane::Bulk, "sync a page", |conn| {
        leases::extend(conn, fence, told.now, *term)?;
        let counts = Counts { pages: told.pages, ..put(conn, store, (ehr, *kind), &sorted, (told.asked, told.now))? };
        sync_state::observe(conn, *run, Some(told.server_started), told.partial)?;
        sync_state::advance(conn, ehr, *kind, *run, counts, told.resume.as_deref())?;
        also(conn)?;
        Ok(counts)
    })
}

/// Commits resources that were read one by one, beside any run and under no lease: what a run stores meanwhile, and what this stores, each
/// gives way to the newer. `asked` is before the first of them was asked for. Blocks.
pub(super) fn commit_singly(
    store: &Store,
    (ehr, kind): (&EhrId, ResourceType),
    entries: &[Entry],
    (asked, now): (Timestamp, Timestamp),
    also: Also<'_>,
) -> Result<Counts, StoreError> {
    let sorted = sort(store, (ehr, kind), entries, 0)?;
    store.write_blocking(Lane::Interactive, "store what was read singly", |conn| {
        let counts = put(conn, store, (ehr, kind), &sorted, (asked, now))?;
        also(conn)?;
        Ok(counts)
    })
}

/// Writes what was sorted. Of what may be older than what another reading stored meanwhile one read more is asked for.
fn put(
    conn: &mut Conn,
    store: &Store,
    (ehr, kind): (&EhrId, ResourceType),
    sorted: &Sorted,
    (asked, now): (Timestamp, Timestamp),
) -> Result<Counts, StoreError> {
    let written = resources::commit(conn, ehr, kind, &sorted.rows, Precedence::Asked(asked), now)?;
    written.undecided.iter().try_for_each(|id| refresh::ask(conn, ehr, kind, id, OVERLAP, now))?;
    let [changed, unchanged]: [Vec<&str>; 2] =
        [sorted.rows.iter().map(|r| r.fhir_id.as_str()).collect(), sorted.unchanged.iter().map(String::as_str).collect()];
    quarantine::release(conn, ehr, kind, &changed, &unchanged, now)?;
    quarantine::put_unread(conn, store.codec(), ehr, kind, &sorted.unread, now)?;
    for aside in &sorted.bad {
        quarantine::put(conn, store.codec(), ehr, aside, now)?;
    }
    let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    Ok(Counts {
        pages: 0,
        found: count(sorted.rows.len() + sorted.unchanged.len() + sorted.bad.len() + sorted.superseded),
        stored: count(written.stored.len()),
        unchanged: count(written.unchanged.len() + sorted.unchanged.len()),
        superseded: count(written.older + written.undecided.len() + sorted.superseded),
        quarantined: count(sorted.bad.len()),
    })
}

/// Sorts out what changed. Whoever else stores the same meanwhile is met in the transaction, where it is compared once more.
fn sort(store: &Store, (ehr, kind): (&EhrId, ResourceType), entries: &[Entry], page: i64) -> Result<Sorted, StoreError> {
    let ids: Vec<&str> = entries.iter().filter_map(|entry| entry.id.as_deref()).filter(|id| FhirId::parse(id).is_some()).collect();
    let known = store.read_blocking(|conn| resources::known(conn, ehr, kind, &ids))?;
    let mut sorted = Sorted::default();
    let mut places: HashMap<String, usize> = HashMap::new();
    for entry in entries {
        let hash = content_hash(&entry.bytes);
        let stored = entry.id.as_deref().and_then(|id| known.get(id));
        // A second version in the same page must be compared with the first one too, so it takes the long way.
        let again = entry.id.as_deref().is_some_and(|id| places.contains_key(id));
        if let Some(stored) = stored.filter(|k| !again && k.is_as(&hash, fhir::revision(kind))) {
            sorted.unchanged.push(stored.fhir_id.clone());
            continue;
        }
        match incoming::incoming(store.codec(), kind, &entry.bytes, hash) {
            Ok((row, unread)) => {
                sorted.unread.extend(unread.map(|reason| aside(kind, entry, (quarantine::UNREAD, reason), page)));
                sorted.add(row, &mut places);
            }
            Err(NotReady::Rejected(reject)) => sorted.bad.push(aside(kind, entry, rejected(&reject), page)),
            Err(NotReady::Store(error)) => return Err(error),
        }
    }
    Ok(sorted)
}

impl Sorted {
    /// Of two versions in one page the newer stays, else the later.
    fn add(&mut self, row: Incoming, places: &mut HashMap<String, usize>) {
        let Some(other) = places.get(&row.fhir_id).and_then(|at| self.rows.get_mut(*at)) else {
            places.insert(row.fhir_id.clone(), self.rows.len());
            self.rows.push(row);
            return;
        };
        self.superseded += 1;
        if !matches!((row.last_updated, other.last_updated), (Some(new), Some(old)) if new < old) {
            *other = row;
        }
    }
}

fn rejected(reject: &Reject) -> (&'static str, String) {
    (reject.code.as_str(), reject.to_string())
}

fn aside(kind: ResourceType, entry: &Entry, (code, reason): (&'static str, String), page: i64) -> Aside {
    Aside {
        rtype: Some(kind.as_str().to_owned()),
        fhir_id: entry.id.as_deref().and_then(FhirId::parse).map(|id| id.as_str().to_owned()),
        origin: if page == 0 { format!("read {kind}") } else { format!("search {kind}, page {page}") },
        code,
        reason,
        body: entry.bytes.clone(),
    }
}
