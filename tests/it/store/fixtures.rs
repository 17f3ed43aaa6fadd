//! Short ways to say what a test of the store puts in.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use domain::Timestamp;
use domain::model::{EhrId, ResourceType};
use fhir_engage::store::attempts::{Attempt, Departure, Plan, Verdict};
use fhir_engage::store::codec::content_hash;
use fhir_engage::store::leases::{Fence, Term};
use fhir_engage::store::memberships::Evaluated;
use fhir_engage::store::resources::{Incoming, Precedence, Written};
use fhir_engage::store::{Conn, Lane, Store, StoreError, attempts, enrolments, leases, pending, people, resources};

/// How long a lease of a test lasts.
pub const TERM: Term = Term(TimeDelta::seconds(60));

/// An instant: seconds after a fixed one.
pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(1_800_000_000_000_000 + seconds * 1_000_000)
}

/// The EHR of most tests.
pub fn ehr() -> EhrId {
    EhrId::parse("north").unwrap()
}

/// A transaction that must go through.
#[track_caller]
pub fn write<T>(store: &Store, f: impl FnMut(&mut Conn) -> Result<T, StoreError>) -> T {
    store.write_blocking(Lane::Interactive, "test", f).unwrap()
}

/// A read that must go through.
#[track_caller]
pub fn read<T>(store: &Store, f: impl FnOnce(&mut Conn) -> Result<T, StoreError>) -> T {
    store.read_blocking(f).unwrap()
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
        ties: Default::default(),
        revision: domain::fhir::revision(kind),
    }
}

/// A resource as a program of before stored it: what is derived since is not in its facts.
pub fn by_an_older_program(store: &Store, kind: ResourceType, body: &str, lacks: &str) -> Incoming {
    let projected = domain::fhir::project(kind, body.as_bytes()).unwrap();
    let facts = String::from_utf8(projected.facts.to_bytes()).unwrap().replace(lacks, "");
    let patients = projected.facts.patients(projected.id.as_str());
    Incoming { revision: domain::fhir::revision(kind) - 1, ..incoming(store, kind, projected.id.as_str(), body, &facts, &patients) }
}

/// Stores a page as the EHR's present answer.
#[track_caller]
pub fn commit(store: &Store, kind: ResourceType, page: Vec<Incoming>) -> Written {
    commit_as(store, kind, &page, Precedence::Asked(at(10_000_000)))
}

/// Stores a page.
#[track_caller]
pub fn commit_as(store: &Store, kind: ResourceType, page: &[Incoming], precedence: Precedence) -> Written {
    write(store, |conn| resources::commit(conn, &ehr(), kind, page, precedence, at(0)))
}

/// A patient record with its person, from a Patient resource of that id.
pub fn patient(store: &Store, id: &str) -> people::Record {
    let page = vec![incoming(store, ResourceType::Patient, id, id, "{}", &[id])];
    commit(store, ResourceType::Patient, page);
    read(store, |conn| people::record(conn, "north", id)).unwrap()
}

/// An evaluation that changed nothing.
pub fn evaluated(person: i64, wake: Option<i64>, outreach: bool) -> Evaluated {
    Evaluated {
        person,
        changes: Vec::new(),
        refreshed: Vec::new(),
        events: 0,
        wake_at: wake.map(at),
        outreach,
        unknown: Default::default(),
        staged: None,
    }
}

/// The patients, by logical id, whose persons wait for the segment stage. They wait no longer afterwards.
pub fn woken(store: &Store) -> BTreeSet<String> {
    let taken = read(store, |conn| pending::take(conn, at(0), 0, 10_000));
    write(store, |conn| pending::done(conn, &taken));
    taken.iter().flat_map(|p| read(store, |conn| people::records(conn, p.person))).map(|r| r.fhir_id).collect()
}

/// Takes the lease of that name as a new worker, who finds the earlier one dead.
pub fn fence(store: &Store, name: &str) -> Fence {
    write(store, |conn| leases::acquire(conn, name, "worker", at(0), TERM, |_| true)).unwrap()
}

/// A planned attempt at a patient, due at once, with an enrolment of its own.
pub fn planned(store: &Store, patient: &people::Record, id: &str) -> Attempt {
    write(store, |conn| {
        let enrolment = enrolments::enrol(conn, "reminders", patient.person, &format!("Appointment/{id}"), 1, at(0))?;
        assert!(attempts::plan(conn, &plan(&enrolment, patient, id))?);
        attempts::get(conn, id).map(Option::unwrap)
    })
}

/// The plan of such an attempt.
pub fn plan<'a>(enrolment: &enrolments::Enrolment, patient: &people::Record, id: &'a str) -> Plan<'a> {
    Plan {
        id,
        enrolment: enrolment.id,
        program: "reminders",
        program_version: 1,
        step: "ask",
        rung: 0,
        anchor_revision: "r1",
        about: None,
        person: patient.person,
        patient: patient.pk,
        due_at: at(0),
        expires_at: None,
        template: "reminder",
        action: "confirm",
    }
}

/// A verdict.
pub fn verdict(outcome: &str) -> Verdict<'_> {
    Verdict { outcome, hold_until: None, facts_as_of: Some(at(0)), reasons: b"[]" }
}

/// Sends an attempt off under that lease token; whether it got the permit of that contact revision.
pub fn depart(store: &Store, attempt: &Attempt, token: i64, contact_revision: i64) -> bool {
    let departure = Departure {
        channel: "recorded",
        contact_hash: None,
        language: "en",
        message: b"text",
        token,
        contact_revision,
        patient: attempt.patient,
        to_point: (0, at(0)),
    };
    write(store, |conn| attempts::depart(conn, attempt, &departure, &verdict("allow"), at(1)))
}

/// An attempt that ended as delivered, so that a write-back is owed.
pub fn finished(store: &Store, patient: &people::Record, id: &str) -> Attempt {
    let attempt = planned(store, patient, id);
    let revision = read(store, |conn| people::contact_revision(conn, patient.person));
    assert!(depart(store, &attempt, 1, revision));
    assert!(write(store, |conn| attempts::finish(conn, &attempt, &attempts::End::owing(attempts::Outcome::Delivered), at(2))));
    read(store, |conn| attempts::get(conn, id)).unwrap()
}
