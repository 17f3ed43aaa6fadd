//! One patient, read again because somebody looks: the Patient, the appointments and the care plans, each by the way that the EHR takes. What
//! comes is committed together with the answer to the request, beside whatever run goes on: the newer version of a resource stays.
//!
//! Nothing is taken as gone here, but for the Patient's own word: that takes two reads of a run.

use std::collections::BTreeMap;

use domain::model::{EhrId, ResourceType};
use domain::{Clock, Timestamp};

use super::crawl::{self, Answer, why};
use super::incoming::{self, NotReady};
use super::page::OVERLAP;
use super::pass;
use super::pull::Source;
use crate::ehr::profile::Strategy;
use crate::ehr::reads::{Axis, Param, SearchSet};
use crate::ehr::{Capability, EhrError, Entry, Search};
use crate::store::codec::content_hash;
use crate::store::patient_reads::{self, Request};
use crate::store::quarantine::{self, Aside};
use crate::store::resources::{self, Incoming, Precedence};
use crate::store::{Store, StoreError, coverage, gone, refresh};

/// What is read of one patient.
const TYPES: [ResourceType; 3] = ResourceType::CORE;

/// What the reading of one type brought.
struct Part {
    kind: ResourceType,
    rows: Vec<Incoming>,
    bad: Vec<Aside>,
    /// Stored but for a date or time.
    unread: Vec<Aside>,
    /// All of it was read.
    whole: bool,
}

/// Reads the patient of a request that was taken, and answers it. Returns whether the EHR could be asked.
///
/// # Errors
/// The engine's refusal. The request is then taken over later.
pub async fn refresh(
    store: &Store,
    clock: &dyn Clock,
    ehr: &EhrId,
    (source, capability): (Source<'_>, &Capability),
    request: &Request,
) -> Result<bool, StoreError> {
    let asked = clock.now();
    if !capability.allows(ResourceType::Patient.as_str(), "read") {
        let why = "the server's statement does not list reading a Patient".to_owned();
        tell(store, request, "failed", Some(why), asked).await?;
        return Ok(false);
    }
    let read = match read(store, ehr, (source, capability), &request.patient, asked).await {
        Ok(read) => read,
        Err(Trouble::Ehr(error)) => {
            tell(store, request, "failed", Some(why(&error)), clock.now()).await?;
            return Ok(false);
        }
        Err(Trouble::Store(error)) => return Err(error),
    };
    let Read { gone, moved, parts } = read;
    let now = clock.now();
    let (ehr, codec, request) = (ehr.clone(), store.clone(), request.clone());
    let kept = store.write("read a patient again", move |conn| {
        if !patient_reads::is_held(conn, &request)? {
            return Ok(());
        }
        for part in &parts {
            let written = resources::commit(conn, &ehr, part.kind, &part.rows, Precedence::Asked(asked), now)?;
            written.undecided.iter().try_for_each(|id| refresh::ask(conn, &ehr, part.kind, id, OVERLAP, now))?;
            let good: Vec<&str> = part.rows.iter().map(|r| r.fhir_id.as_str()).collect();
            quarantine::release(conn, &ehr, part.kind, &good, &[], now)?;
            quarantine::put_unread(conn, codec.codec(), &ehr, part.kind, &part.unread, now)?;
            for aside in &part.bad {
                quarantine::put(conn, codec.codec(), &ehr, aside, now)?;
            }
            if part.whole {
                coverage::fill(conn, &ehr, part.kind, &[&request.patient], now)?;
            }
        }
        if let Some(to) = &moved {
            gone::replaced(conn, &ehr, &request.patient, to, now)?;
        }
        patient_reads::answer(conn, &request, if gone { "gone" } else { "read" }, None, now)
    });
    kept.await?;
    Ok(true)
}

/// Answers a request that could not be read.
///
/// # Errors
/// The engine's refusal.
pub async fn tell(store: &Store, request: &Request, outcome: &'static str, told: Option<String>, now: Timestamp) -> Result<(), StoreError> {
    let request = request.clone();
    store.write("answer a request for a patient", move |conn| patient_reads::answer(conn, &request, outcome, told.as_deref(), now)).await
}

enum Trouble {
    Ehr(EhrError),
    Store(StoreError),
}

impl From<EhrError> for Trouble {
    fn from(error: EhrError) -> Self {
        Self::Ehr(error)
    }
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

struct Read {
    gone: bool,
    moved: Option<String>,
    parts: Vec<Part>,
}

async fn read(
    store: &Store,
    ehr: &EhrId,
    (source, capability): (Source<'_>, &Capability),
    patient: &str,
    now: Timestamp,
) -> Result<Read, Trouble> {
    let person = crawl::read(source.client, patient).await?;
    let (gone, moved) = (person.gone, person.moved.clone());
    let mut parts = vec![sort(store, ResourceType::Patient, person)?];
    if gone {
        return Ok(Read { gone, moved, parts: Vec::new() });
    }
    let id = moved.as_deref().unwrap_or(patient);
    for kind in TYPES.into_iter().filter(|k| *k != ResourceType::Patient) {
        let Some((set, days)) = way(source, capability, kind, now) else { continue };
        // One type that cannot be read leaves the others; the Patient itself was read.
        match crawl::search(source.client, Search::by(kind.as_str(), &set, id, days)).await {
            Ok(answer) => parts.push(sort(store, kind, answer)?),
            Err(error) if error.is_transient() => return Err(error.into()),
            Err(error) => tracing::debug!(%ehr, %kind, error = %error, "a type of one patient could not be read again"),
        }
    }
    Ok(Read { gone, moved, parts })
}

type Way = (SearchSet, Option<(Timestamp, Timestamp)>);

/// How a type is searched for one patient: as its runs do where these go by patient, else by `patient` where the EHR's statement lists that.
fn way(source: Source<'_>, capability: &Capability, kind: ResourceType, now: Timestamp) -> Option<Way> {
    let plan = source.plan.of_type(kind).filter(|plan| plan.strategy != Strategy::Off)?;
    let days = pass::span(now, source.plan.window.back_days, source.plan.window.ahead_days);
    if plan.search.axis() == Axis::Patient {
        return Some((plan.search.clone(), plan.search.has_date().then_some(days)));
    }
    if !capability.searches_by(kind.as_str(), "patient") {
        return None;
    }
    let mut set = SearchSet(vec![Param::Patient("patient".to_owned())]);
    set.0.extend(plan.search.0.iter().filter(|p| matches!(p, Param::Fixed(..) | Param::Date)).cloned());
    let days = set.has_date().then_some(days);
    Some((set, days))
}

/// Sorts out what an answer holds. Of two versions of one resource the later in the answer stays.
fn sort(store: &Store, kind: ResourceType, answer: Answer) -> Result<Part, StoreError> {
    let whole = answer.short.is_none() && !answer.gone;
    let mut rows: BTreeMap<String, Incoming> = BTreeMap::new();
    let (mut bad, mut unread) = (Vec::new(), Vec::new());
    for entry in &answer.entries {
        match incoming::incoming(store.codec(), kind, &entry.bytes, content_hash(&entry.bytes)) {
            Ok((row, told)) => {
                unread.extend(told.map(|reason| aside(kind, entry, quarantine::UNREAD, reason)));
                rows.insert(row.fhir_id.clone(), row);
            }
            Err(NotReady::Rejected(reject)) => bad.push(aside(kind, entry, reject.code.as_str(), reject.to_string())),
            Err(NotReady::Store(error)) => return Err(error),
        }
    }
    Ok(Part { kind, rows: rows.into_values().collect(), bad, unread, whole })
}

fn aside(kind: ResourceType, entry: &Entry, code: &'static str, reason: String) -> Aside {
    Aside {
        rtype: Some(kind.as_str().to_owned()),
        fhir_id: entry.id.as_deref().and_then(domain::model::FhirId::parse).map(|id| id.as_str().to_owned()),
        origin: format!("read again, {kind}"),
        code,
        reason,
        body: entry.bytes.clone(),
    }
}
