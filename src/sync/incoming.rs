//! A resource's bytes to what the store keeps of it.

use domain::fhir::{self, Reject};
use domain::identity::identifier::Identifier;
use domain::model::facts::PatientLink;
use domain::model::{Facts, ResourceType};

use crate::store::StoreError;
use crate::store::codec::{Codec, Packed, content_hash};
use crate::store::derivations::Body;
use crate::store::resources::Incoming;
use crate::store::ties::{Link, Ties};

/// Why a resource could not be made ready.
pub(super) enum NotReady {
    /// It is not taken.
    Rejected(Reject),
    /// The store cannot go on.
    Store(StoreError),
}

/// What is told of a resource that is stored without a date or time of its own, since that cannot be read.
pub(super) fn unread(projected: &fhir::Projected) -> Option<String> {
    let fields = projected.unread.join(", ");
    (!fields.is_empty()).then(|| format!("{fields}: no date or time that can be read; the rest is stored"))
}

/// Projects and compresses a resource. `body_hash` is [`content_hash`] of `bytes`. With what is told of it although it is stored.
pub(super) fn incoming(
    codec: &Codec,
    kind: ResourceType,
    bytes: &[u8],
    body_hash: [u8; 16],
) -> Result<(Incoming, Option<String>), NotReady> {
    let (projected, facts) = facts(kind, bytes).map_err(NotReady::Rejected)?;
    let unread = unread(&projected);
    Ok((pack(codec, kind, bytes, body_hash, projected, facts).map_err(NotReady::Store)?, unread))
}

/// Projects a stored body again; it is not compressed anew.
pub(super) fn again(kind: ResourceType, bytes: &[u8], stored: &Body) -> Result<Incoming, NotReady> {
    let (projected, facts) = facts(kind, bytes).map_err(NotReady::Rejected)?;
    let body_hash = stored.hash().map_err(NotReady::Store)?;
    Ok(made(kind, stored.packed(), body_hash, projected, facts))
}

/// A resource's facts, and as the bytes to store.
pub(super) fn facts(kind: ResourceType, bytes: &[u8]) -> Result<(fhir::Projected, Vec<u8>), Reject> {
    let projected = fhir::project(kind, bytes)?;
    let facts = projected.facts.to_bytes();
    Ok((projected, facts))
}

/// The second half of [`incoming`], apart so that an import can tell what each costs.
pub(super) fn pack(
    codec: &Codec,
    kind: ResourceType,
    bytes: &[u8],
    body_hash: [u8; 16],
    projected: fhir::Projected,
    facts: Vec<u8>,
) -> Result<Incoming, StoreError> {
    Ok(made(kind, codec.pack(Some(kind), bytes)?, body_hash, projected, facts))
}

fn made(kind: ResourceType, body: Packed, body_hash: [u8; 16], projected: fhir::Projected, facts: Vec<u8>) -> Incoming {
    let facts_of = projected.facts;
    let patients = facts_of.patients(projected.id.as_str()).into_iter().map(str::to_owned).collect();
    Incoming {
        body,
        fhir_id: projected.id.as_str().to_owned(),
        version: projected.version,
        last_updated: projected.last_updated.map(domain::Timestamp::micros),
        body_hash,
        facts_hash: content_hash(&facts),
        ties: ties(&facts_of, projected.identifiers),
        revision: fhir::revision(kind),
        facts,
        patients,
    }
}

/// What a Patient says of other records.
fn ties(facts: &Facts, identifiers: Vec<Identifier>) -> Ties {
    let Facts::Patient(patient) = facts else { return Ties::default() };
    Ties { links: patient.links.iter().filter_map(link).collect(), identifiers }
}

/// A link to another Patient; one to a RelatedPerson, or of a type that R4 does not know, ties no records.
fn link(sent: &PatientLink) -> Option<Link> {
    let kind = ["replaced-by", "replaces", "refer", "seealso"].into_iter().find(|kind| *kind == sent.kind)?;
    let id = fhir::patient_id(&sent.other)?.to_owned();
    let server = sent.other.contains("://").then(|| sent.other.rsplit_once("/Patient/")).flatten().map(|(base, _)| base.to_owned());
    Some(Link { kind, server, id })
}
