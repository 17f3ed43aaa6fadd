//! Short ways to say what a test of the store puts in.

use domain::Timestamp;
use domain::model::{EhrId, ResourceType};
use fhir_engage::store::codec::content_hash;
use fhir_engage::store::resources::{Incoming, Precedence, Written};
use fhir_engage::store::{Lane, Store, resources};

/// An instant: seconds after a fixed one.
pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(1_800_000_000_000_000 + seconds * 1_000_000)
}

/// The EHR of most tests.
pub fn ehr() -> EhrId {
    EhrId::parse("north").unwrap()
}

/// A resource with that body and those facts, about those patients.
pub fn incoming(store: &Store, kind: ResourceType, id: &str, body: &str, facts: &str, patients: &[&str]) -> Incoming {
    Incoming {
        fhir_id: id.to_owned(),
        version: None,
        last_updated: None,
        body: store.codec().pack(Some(kind), body.as_bytes()).unwrap(),
        body_hash: content_hash(body.as_bytes()),
        facts: facts.as_bytes().to_vec(),
        facts_hash: content_hash(facts.as_bytes()),
        patients: patients.iter().map(|p| (*p).to_owned()).collect(),
    }
}

/// Stores a page as the EHR's present answer.
pub fn commit(store: &Store, kind: ResourceType, page: Vec<Incoming>) -> Written {
    commit_as(store, kind, page, Precedence::Latest)
}

/// Stores a page.
pub fn commit_as(store: &Store, kind: ResourceType, page: Vec<Incoming>, precedence: Precedence) -> Written {
    store.write_blocking(Lane::Bulk, "test", |conn| resources::commit(conn, &ehr(), kind, &page, precedence, at(0))).unwrap()
}
