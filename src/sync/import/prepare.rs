//! A batch of lines to rows that are ready for the store. Runs on several threads; holds no transaction.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use domain::fhir::{self, MAX_RESOURCE_BYTES, Reject};
use domain::model::{EhrId, FhirId, ResourceType};

use super::report::{Clocks, Stage};
use super::source::{Batch, Fault, Line};
use super::turns::{IdHash, InFlight, Turns, id_hash};
use crate::store::codec::content_hash;
use crate::store::exports::{HASH, Place};
use crate::store::quarantine::{self, Aside};
use crate::store::resources::{self, Incoming, Known};
use crate::store::{Store, StoreError};
use crate::sync::{incoming, resource_types};

/// A resource on its way to the store.
pub(in crate::sync) struct Row {
    pub kind: ResourceType,
    pub id: IdHash,
    pub incoming: Incoming,
    /// What is told of it although it is stored.
    pub unread: Option<Box<Aside>>,
}

/// What cannot be taken.
pub(in crate::sync) struct Bad {
    pub kind: Option<ResourceType>,
    pub aside: Aside,
    /// The input ends here before its time.
    pub cut_off: bool,
}

/// What became of a line.
pub(in crate::sync) enum Item {
    /// To be stored.
    Row(Row),
    /// As already stored.
    Unchanged(ResourceType, String),
    /// To be put aside.
    Bad(Bad),
}

/// A batch, ready for the store. Each of its lines is an item or ignored.
#[derive(Default)]
pub(in crate::sync) struct Prepared {
    /// Items in the order of their lines, with their numbers.
    pub items: Vec<(u64, Item)>,
    /// Types that are not synced.
    pub ignored: BTreeMap<String, u64>,
    /// Ids that were announced and are not among the rows.
    pub settled: Vec<IdHash>,
    /// How many lines there were.
    pub lines: u64,
    /// How many bytes.
    pub bytes: u64,
    /// How far the input was read with it.
    pub place: Place,
    /// Hashes of the ids that it shows, where somebody wants to know.
    pub seen: Vec<(ResourceType, [u8; HASH])>,
}

impl Prepared {
    fn bad(&mut self, line: u64, bad: Bad) {
        self.items.push((line, Item::Bad(bad)));
    }
}

/// What all threads share.
pub(in crate::sync) struct Bench<'a> {
    pub store: &'a Store,
    pub ehr: &'a EhrId,
    /// The types that are taken; others are ignored.
    pub types: &'a [ResourceType],
    pub in_flight: &'a InFlight,
    pub announce: &'a Turns,
    pub clocks: &'a Clocks,
    /// Whether it is told which ids came.
    pub sees: bool,
}

/// A line that may have to be stored.
struct Candidate<'b> {
    line: u64,
    kind: ResourceType,
    id: String,
    id_hash: IdHash,
    bytes: &'b [u8],
    body_hash: [u8; 16],
}

impl Bench<'_> {
    /// Makes a batch ready. `None` where the import was given up.
    pub(in crate::sync) fn prepare(&self, number: u64, batch: &Batch) -> Option<Result<Prepared, StoreError>> {
        let began = Instant::now();
        let mut out = Prepared { lines: batch.lines.len() as u64, bytes: batch.bytes, place: batch.place, ..Prepared::default() };
        let candidates = sort_out(batch, self.types, &mut out);
        if self.sees {
            out.seen = candidates.iter().map(|c| (c.kind, seen_hash(&c.id))).collect();
        }
        let parsed = began.elapsed();
        let ids: Vec<IdHash> = candidates.iter().map(|c| c.id_hash).collect();
        // In the order of the input, and before the look-up: an id that is announced by an earlier batch and not stored yet is then seen
        // here, and one that is not announced any more is seen by the look-up.
        let on_their_way = self.announce.take(number, || self.in_flight.add(&ids))?;
        let comparing = Instant::now();
        let known = match self.known(&candidates) {
            Ok(known) => known,
            Err(error) => return Some(Err(error)),
        };
        self.clocks.add(Stage::Compare, comparing.elapsed());
        let projecting = Instant::now();
        let mut projected = Vec::with_capacity(candidates.len());
        for (candidate, on_its_way) in candidates.into_iter().zip(on_their_way) {
            let same = known.get(&(candidate.kind, candidate.id.clone())).is_some_and(|k| is_same(k, &candidate));
            if same && !on_its_way {
                out.settled.push(candidate.id_hash);
                out.items.push((candidate.line, Item::Unchanged(candidate.kind, candidate.id)));
                continue;
            }
            match incoming::facts(candidate.kind, candidate.bytes) {
                Ok((resource, facts)) => projected.push((candidate, resource, facts)),
                Err(reject) => {
                    out.settled.push(candidate.id_hash);
                    out.bad(
                        candidate.line,
                        rejected(batch, candidate.line, Some(candidate.kind), Some(candidate.id), candidate.bytes, &reject),
                    );
                }
            }
        }
        self.clocks.add(Stage::Parse, parsed + projecting.elapsed());
        Some(self.pack(batch, projected, out))
    }

    fn pack(
        &self,
        batch: &Batch,
        projected: Vec<(Candidate<'_>, fhir::Projected, Vec<u8>)>,
        mut out: Prepared,
    ) -> Result<Prepared, StoreError> {
        let began = Instant::now();
        for (candidate, resource, facts) in projected {
            let Candidate { line, kind, id, id_hash, bytes, body_hash } = candidate;
            let unread = incoming::unread(&resource)
                .map(|reason| Box::new(bad(batch, line, Some(kind), Some(id), quarantine::UNREAD, reason, bytes).aside));
            let incoming = incoming::pack(self.store.codec(), kind, bytes, body_hash, resource, facts)?;
            out.items.push((line, Item::Row(Row { kind, id: id_hash, incoming, unread })));
        }
        out.items.sort_unstable_by_key(|(line, _)| *line);
        self.clocks.add(Stage::Compress, began.elapsed());
        Ok(out)
    }

    fn known(&self, candidates: &[Candidate<'_>]) -> Result<HashMap<(ResourceType, String), Known>, StoreError> {
        if candidates.is_empty() {
            return Ok(HashMap::new());
        }
        self.store.read_blocking(|conn| {
            let mut all = HashMap::with_capacity(candidates.len());
            for &kind in self.types {
                let ids: Vec<&str> = candidates.iter().filter(|c| c.kind == kind).map(|c| c.id.as_str()).collect();
                all.extend(resources::known(conn, self.ehr, kind, &ids)?.into_iter().map(|(id, known)| ((kind, id), known)));
            }
            Ok(all)
        })
    }
}

/// What stands for an id in what an export has shown.
pub(in crate::sync) fn seen_hash(id: &str) -> [u8; HASH] {
    let [a, b, c, d, e, f, g, h, ..] = content_hash(id.as_bytes());
    [a, b, c, d, e, f, g, h]
}

fn is_same(known: &Known, candidate: &Candidate<'_>) -> bool {
    known.is_as(&candidate.body_hash, fhir::revision(candidate.kind))
}

/// Which lines may have to be stored; the others are counted in `out`.
fn sort_out<'b>(batch: &'b Batch, types: &[ResourceType], out: &mut Prepared) -> Vec<Candidate<'b>> {
    let mut candidates = Vec::with_capacity(batch.lines.len());
    for line in &batch.lines {
        let bytes = batch.data.get(line.at.clone()).unwrap_or_default();
        if let Some(fault) = &line.fault {
            out.bad(line.number, unreadable(batch, line, fault, bytes));
            continue;
        }
        let found = match fhir::peek(bytes) {
            Ok(found) => found,
            Err(reject) => {
                out.bad(line.number, rejected(batch, line.number, batch.kind, None, bytes, &reject));
                continue;
            }
        };
        let Some(kind) = ResourceType::parse(&found.resource_type).filter(|kind| types.contains(kind)) else {
            if resource_types::is_r4(&found.resource_type) {
                *out.ignored.entry(found.resource_type.into_owned()).or_insert(0) += 1;
            } else {
                let reason = "resourceType is no resource type of R4".to_owned();
                out.bad(line.number, bad(batch, line.number, None, None, "unknown-type", reason, bytes));
            }
            continue;
        };
        match found.id.as_deref().and_then(FhirId::parse) {
            Some(id) => candidates.push(Candidate {
                line: line.number,
                kind,
                id_hash: id_hash(kind, id.as_str()),
                id: id.as_str().to_owned(),
                bytes,
                body_hash: content_hash(bytes),
            }),
            None => {
                // The projection knows the words for what is wrong with the id.
                if let Err(reject) = fhir::project(kind, bytes) {
                    out.bad(line.number, rejected(batch, line.number, Some(kind), None, bytes, &reject));
                }
            }
        }
    }
    candidates
}

fn unreadable(batch: &Batch, line: &Line, fault: &Fault, bytes: &[u8]) -> Bad {
    if let Fault::Row { reason, id, cut_off } = fault {
        let kept = bytes.get(..bytes.len().min(MAX_RESOURCE_BYTES)).unwrap_or_default();
        let row = bad(batch, line.number, batch.kind, id.clone(), "bad-row", reason.clone(), kept);
        return Bad { cut_off: *cut_off, ..row };
    }
    let last = line.number - 1;
    let (code, reason) = match fault {
        Fault::TooLong(length) => {
            let most = MAX_RESOURCE_BYTES >> 20;
            ("too-large", format!("the line has {} MB, {most} MB is the most; its first {most} MB are kept", length >> 20))
        }
        Fault::CutOff => ("truncated", format!("the file is cut off after line {last}: its compressed data end too soon; fetch it again")),
        Fault::Damaged | Fault::Row { .. } => {
            ("damaged", format!("the file is damaged after line {last}: it cannot be read on; fetch it again"))
        }
    };
    let mut bad = bad(batch, line.number, batch.kind, None, code, reason, bytes);
    bad.cut_off = !matches!(fault, Fault::TooLong(_));
    bad
}

fn rejected(batch: &Batch, line: u64, kind: Option<ResourceType>, id: Option<String>, bytes: &[u8], reject: &Reject) -> Bad {
    bad(batch, line, kind, id, reject.code.as_str(), reject.to_string(), bytes)
}

fn bad(batch: &Batch, line: u64, kind: Option<ResourceType>, id: Option<String>, code: &'static str, reason: String, bytes: &[u8]) -> Bad {
    let aside = Aside {
        rtype: kind.map(|k| k.as_str().to_owned()),
        fhir_id: id,
        origin: format!("{}:{line}", batch.label),
        code,
        reason,
        body: bytes.to_vec(),
    };
    Bad { kind, aside, cut_off: false }
}
