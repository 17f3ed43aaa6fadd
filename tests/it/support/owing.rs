//! Attempts that owe something to a chart, put into the store as outreach would.

use domain::Timestamp;
use domain::model::{EhrId, ResourceType};
use fhir_engage::store::attempts::{self, Departure, End, Outcome, Plan, Verdict};
use fhir_engage::store::codec::content_hash;
use fhir_engage::store::resources::{self, Incoming, Precedence};
use fhir_engage::store::{Conn, Lane, Store, StoreError, enrolments, people};

/// What was said to everyone; nowhere but in a chart may it be found.
pub const WORDS: &str = "reply C to confirm";

/// A patient as the EHR has it.
pub fn patient(id: &str) -> String {
    format!(r#"{{"resourceType":"Patient","id":"{id}"}}"#)
}

/// Patients that were synced.
pub fn admit(store: &Store, ehr: &str, patients: &[String], now: Timestamp) {
    let id = EhrId::parse(ehr).unwrap();
    let incoming = |name: &String| {
        let body = patient(name);
        Incoming {
            fhir_id: name.clone(),
            version: None,
            last_updated: None,
            body: store.codec().pack(Some(ResourceType::Patient), body.as_bytes()).unwrap(),
            body_hash: content_hash(body.as_bytes()),
            facts: b"{}".to_vec(),
            facts_hash: content_hash(b"{}"),
            patients: vec![name.clone()],
            ties: Default::default(),
            revision: domain::fhir::revision(ResourceType::Patient),
        }
    };
    let page: Vec<Incoming> = patients.iter().map(incoming).collect();
    let commit = |conn: &mut _| resources::commit(conn, &id, ResourceType::Patient, &page, Precedence::Asked(now), now);
    store.write_blocking(Lane::Interactive, "test", commit).unwrap();
}

/// Attempts (patient, id) that ended as delivered, so that each owes an original; in their order, in one commit.
pub fn owe(store: &Store, ehr: &str, all: &[(String, String)], now: Timestamp) {
    owe_saying(store, ehr, all, &said(store), now);
}

/// What was said, as outreach keeps it.
fn said(store: &Store) -> Vec<u8> {
    let words = format!(r#"{{"to":"ada@example.org","subject":"Your visit","body":"Hello Ada,\n{WORDS}."}}"#);
    store.codec().pack(None, words.as_bytes()).unwrap().bytes
}

/// The same, with these bytes kept as what was said.
pub fn owe_saying(store: &Store, ehr: &str, all: &[(String, String)], message: &[u8], now: Timestamp) {
    let write = |conn: &mut Conn| all.iter().try_for_each(|(patient, attempt)| owe_one(conn, (ehr, patient, attempt), message, now));
    store.write_blocking(Lane::Interactive, "test", write).unwrap();
}

fn owe_one(conn: &mut Conn, (ehr, patient, attempt): (&str, &str, &str), message: &[u8], now: Timestamp) -> Result<(), StoreError> {
    let record = people::record(conn, ehr, patient)?.unwrap();
    let enrolment = enrolments::enrol(conn, "visit-confirm", record.person, attempt, 1, now)?;
    let plan = Plan {
        id: attempt,
        enrolment: enrolment.id,
        program: "visit-confirm",
        program_version: 1,
        step: "first",
        rung: 0,
        anchor_revision: "r1",
        about: None,
        person: record.person,
        patient: record.pk,
        due_at: now,
        expires_at: None,
        template: "visit-confirm",
        action: "confirm",
    };
    assert!(attempts::plan(conn, &plan)?);
    let a = attempts::get(conn, attempt)?.unwrap();
    let contact_revision = people::contact_revision(conn, record.person)?;
    let departure = Departure {
        channel: "email",
        contact_hash: None,
        language: "en",
        message,
        token: 1,
        contact_revision,
        patient: record.pk,
        to_point: (0, now),
    };
    let verdict = Verdict { outcome: "allow", hold_until: None, facts_as_of: None, reasons: b"[]" };
    assert!(attempts::depart(conn, &a, &departure, &verdict, now)?);
    assert!(attempts::finish(conn, &a, &End::owing(Outcome::Delivered), now)?);
    Ok(())
}
