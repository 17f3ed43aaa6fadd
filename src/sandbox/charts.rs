//! The EHR's charts: the resources in memory and the journal behind them, changed together or not at all. Owns who gets which id and
//! version, and that a conditional create is one step. Knows nothing of HTTP.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use serde_json::{Map, Value};

use crate::instant::{cut_to_millis, format_instant, parse_range};
use crate::journal::{Change, Head, Journal, JournalError};
use crate::json::Writer;
use crate::records::{Records, known_type};
use crate::search::Search;

/// Why a resource could not be taken in.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Not JSON, or not an object with a known `resourceType` and an `id`.
    #[error("resource {index} of the load is not a FHIR resource of a served type with an id")]
    NotAResource {
        /// Which one of those given, counted from 0.
        index: usize,
    },
    /// The journal could not be written.
    #[error("the sandbox's journal cannot be written")]
    Journal(#[source] std::io::Error),
}

/// One stored version, as an answer needs it.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) id: String,
    pub(crate) version: u64,
    pub(crate) updated: i64,
    pub(crate) body: Arc<str>,
}

/// What came of a conditional create.
#[derive(Debug)]
pub(crate) enum Created {
    New(Stored),
    Existing(Stored),
    Ambiguous,
}

/// What came of an update or delete.
#[derive(Debug)]
pub(crate) enum Updated {
    Done(Stored),
    Unknown,
    VersionMismatch,
}

/// Is told the type and the id of what changed.
type Listener = Box<dyn Fn(&str, &str) + Send + Sync>;

pub(crate) struct Charts {
    records: RwLock<Records>,
    backing: Mutex<Backing>,
    /// False: resources are served without `meta.versionId`. Versions are counted all the same.
    versioned: bool,
    /// Is told of each change: type and id.
    listener: OnceLock<Listener>,
}

/// Where changes are written before they count.
enum Backing {
    Memory,
    File(Journal),
    Closed,
}

/// Ids that the server gives out begin with this.
const OWN_ID: &str = "srv-";
const LOAD_BATCH: usize = 500;

impl Charts {
    /// Opens the folder's charts, or empty ones in memory.
    pub(crate) fn open(dir: Option<&Path>, versioned: bool) -> Result<Self, JournalError> {
        let mut records = Records::default();
        let journal = dir.map(|dir| Journal::open(dir, |change| records.apply(change))).transpose()?;
        let backing = Mutex::new(journal.map_or(Backing::Memory, Backing::File));
        Ok(Self { records: RwLock::new(records), backing, versioned, listener: OnceLock::new() })
    }

    /// Has somebody told of each change from now on. Who is told must not look before the lock is free again: a message is enough.
    pub(crate) fn listen(&self, listener: impl Fn(&str, &str) + Send + Sync + 'static) {
        let _already = self.listener.set(Box::new(listener));
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Records> {
        self.records.read().unwrap_or_else(PoisonError::into_inner)
    }

    // The one lock under which ids, versions and update times are given out, so they never run backwards against each other.
    fn write(&self) -> RwLockWriteGuard<'_, Records> {
        self.records.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn backing(&self) -> MutexGuard<'_, Backing> {
        self.backing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the folder back at once; every later change is refused. A worker thread may hold the charts a little longer than the server
    /// runs, and must neither write then nor keep the next sandbox from the folder.
    pub(crate) fn close(&self) {
        *self.backing() = Backing::Closed;
    }

    fn commit(&self, records: &mut Records, changes: Vec<Change>) -> std::io::Result<()> {
        match &mut *self.backing() {
            Backing::Memory => {}
            Backing::File(journal) => journal.append(&changes)?,
            Backing::Closed => return Err(std::io::ErrorKind::NotConnected.into()),
        }
        for change in changes {
            if let Some(listener) = self.listener.get() {
                listener(&change.head.resource_type, &change.head.id);
            }
            records.apply(change);
        }
        Ok(())
    }

    /// Takes resources in as they are, ids and `meta` included, and returns how many were new. What is there in the same or a later version,
    /// or was deleted, stays.
    pub(crate) fn load(&self, resources: impl IntoIterator<Item = String>, now: i64) -> Result<usize, LoadError> {
        let (mut batch, mut count) = (Vec::with_capacity(LOAD_BATCH), 0);
        for (index, body) in resources.into_iter().enumerate() {
            batch.push(self.loaded(body, now).ok_or(LoadError::NotAResource { index })?);
            if batch.len() == LOAD_BATCH {
                count += self.take_in(std::mem::take(&mut batch))?;
            }
        }
        Ok(count + self.take_in(batch)?)
    }

    fn take_in(&self, mut batch: Vec<Change>) -> Result<usize, LoadError> {
        let mut records = self.write();
        batch.retain(|Change { head, .. }| {
            let known = records.get(&head.resource_type, &head.id);
            known.is_none_or(|known| known.body.is_some() && known.version < head.version)
        });
        let count = batch.len();
        self.commit(&mut records, batch).map_err(LoadError::Journal)?;
        Ok(count)
    }

    /// Creates, unless the condition finds something. Parallel calls with the same condition create one resource.
    pub(crate) fn create(
        &self,
        resource_type: &'static str,
        body: Map<String, Value>,
        unless: Option<&Search>,
        now: i64,
    ) -> std::io::Result<Created> {
        let mut records = self.write();
        if let Some(condition) = unless {
            let page = records.page(condition, None);
            match page.entries.as_slice() {
                [] => {}
                [(_, entry)] if !page.more => {
                    let body = entry.body.clone().unwrap_or_else(|| Arc::from("{}"));
                    return Ok(Created::Existing(Stored { id: entry.id.clone(), version: entry.version, updated: entry.updated, body }));
                }
                _ => return Ok(Created::Ambiguous),
            }
        }
        let first = records.places(resource_type) + 1;
        // A loaded resource may carry an id of this form from another sandbox.
        let id = (first..).map(|n| format!("{OWN_ID}{n:07}")).find(|id| records.get(resource_type, id).is_none()).unwrap_or_default();
        let stored = self.stamp(resource_type, id, 1, body, now);
        self.commit(&mut records, vec![change_of(resource_type, &stored)])?;
        Ok(Created::New(stored))
    }

    /// Writes a new version. `if_match` is a version; an id that was never given out is not created.
    pub(crate) fn update(
        &self,
        resource_type: &'static str,
        id: &str,
        body: Map<String, Value>,
        if_match: Option<u64>,
        now: i64,
    ) -> std::io::Result<Updated> {
        let mut records = self.write();
        let Some(version) = records.get(resource_type, id).map(|entry| entry.version) else {
            return Ok(Updated::Unknown);
        };
        if if_match.is_some_and(|wanted| wanted != version) {
            return Ok(Updated::VersionMismatch);
        }
        let stored = self.stamp(resource_type, id.to_owned(), version + 1, body, now);
        self.commit(&mut records, vec![change_of(resource_type, &stored)])?;
        Ok(Updated::Done(stored))
    }

    /// Deletes; a second delete changes nothing. False: there never was such an id.
    pub(crate) fn delete(&self, resource_type: &'static str, id: &str, now: i64) -> std::io::Result<bool> {
        let mut records = self.write();
        let Some(entry) = records.get(resource_type, id) else {
            return Ok(false);
        };
        if entry.body.is_none() {
            return Ok(true);
        }
        let head =
            Head { resource_type: resource_type.to_owned(), id: id.to_owned(), version: entry.version + 1, updated: cut_to_millis(now) };
        self.commit(&mut records, vec![Change { head, body: None }])?;
        Ok(true)
    }

    pub(crate) fn counts(&self) -> BTreeMap<String, usize> {
        self.read().counts()
    }

    fn loaded(&self, body: String, now: i64) -> Option<Change> {
        let parsed: Value = serde_json::from_str(&body).ok()?;
        let resource_type = known_type(parsed.get("resourceType")?.as_str()?)?;
        let id = parsed.get("id")?.as_str()?.to_owned();
        let meta = parsed.get("meta");
        let stamp = |name| meta.and_then(|meta| meta.get(name)).and_then(Value::as_str);
        let stamps = stamp("versionId").and_then(|v| v.parse().ok()).zip(stamp("lastUpdated").and_then(parse_range));
        // A journal line must be one line. Population and captured resources are, so this costs nothing.
        let as_it_is = self.versioned && !body.contains('\n');
        let (version, updated) = match stamps {
            Some((version, updated)) if as_it_is => {
                let head = Head { resource_type: resource_type.to_owned(), id, version, updated: updated.from };
                return Some(Change { head, body: Some(Arc::from(body)) });
            }
            Some((version, updated)) => (version, updated.from),
            None => (1, now),
        };
        let Value::Object(members) = parsed else { return None };
        Some(change_of(resource_type, &self.stamp(resource_type, id, version, members, updated)))
    }

    /// The resource as it is served: what was sent, with the server's id, version and time.
    fn stamp(&self, resource_type: &'static str, id: String, version: u64, mut members: Map<String, Value>, now: i64) -> Stored {
        let updated = cut_to_millis(now);
        let mut meta = match members.remove("meta") {
            Some(Value::Object(meta)) => meta,
            _ => Map::new(),
        };
        if self.versioned {
            meta.insert("versionId".to_owned(), Value::String(version.to_string()));
        } else {
            meta.remove("versionId");
        }
        meta.insert("lastUpdated".to_owned(), Value::String(format_instant(updated)));
        let mut writer = Writer::resource(resource_type, 1024);
        writer.text("id", &id);
        writer.raw("meta", &Value::Object(meta).to_string());
        for (name, value) in members.iter().filter(|(name, _)| !matches!(name.as_str(), "resourceType" | "id")) {
            writer.raw(name, &value.to_string());
        }
        Stored { id, version, updated, body: Arc::from(writer.finish()) }
    }
}

fn change_of(resource_type: &str, stored: &Stored) -> Change {
    let head = Head { resource_type: resource_type.to_owned(), id: stored.id.clone(), version: stored.version, updated: stored.updated };
    Change { head, body: Some(stored.body.clone()) }
}
