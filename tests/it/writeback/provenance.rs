//! Provenance of what was written, against the sandbox on both engines: one of each, whatever happens on the way, counted in the EHR.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use chrono::TimeDelta;
use fhir_engage::store::writebacks::{self, Wanted, Writeback};
use fhir_engage::writeback::contract::{Carrier, Override, Writes};
use sandbox::{Fault, FaultKind, Flavour};
use serde_json::{Value, json};

use super::setup::World;
use crate::support::{Backend, Database, on_both};

const ATTEMPTS: [&str; 3] = ["att-a1", "att-a2", "att-b1"];

/// An EHR that creates Provenance, three attempts that owe, and the site's word on Provenance.
async fn world(db: Database, flavour: Flavour, carrier: Carrier, on: bool) -> World {
    let mut world = World::at(db, flavour).await;
    let party = |id: &str| (flavour == Flavour::Oracle).then(|| id.to_owned());
    let word = Override {
        chain: Some(vec![carrier]),
        writes: Some(Writes::default()),
        sender: party("Practitioner/prac-01"),
        recipient: party("Group/g-1"),
        provenance: Some(on),
        ..Override::default()
    };
    world.contract = world.contract.clone().with(&word);
    world.has_seen_the_key();
    world.contract.provenance.iter_mut().for_each(|p| p.terms.key_kept = Some(true));
    for (patient, attempt) in ["p1", "p1", "p2"].into_iter().zip(ATTEMPTS) {
        world.owe(patient, attempt);
    }
    world
}

fn faults() -> Vec<(&'static str, FaultKind)> {
    vec![
        ("connection reset", FaultKind::ResetMidBody),
        ("request lost", FaultKind::CreateLost),
        ("answer lost", FaultKind::CreateAppliedAnswerLost),
        ("500 applied", FaultKind::Create500Applied),
        ("500 not applied", FaultKind::Create500NotApplied),
        ("429", FaultKind::TooManyRequests { retry_after: None }),
        ("409", FaultKind::CreateConflict409),
        ("201 empty body", FaultKind::CreateEmptyBody),
        ("token expired", FaultKind::TokenExpiredAtCreate),
        ("applied late", FaultKind::AppliedLate { millis: 65_000 }),
    ]
}

fn provenances(world: &World) -> Vec<Writeback> {
    world.rows().into_iter().filter(|r| r.kind == "provenance").collect()
}

/// Each original is there once, and so is its Provenance, which says so.
#[track_caller]
fn each_once(world: &World, what: &str) {
    let rows = world.rows();
    assert_eq!(rows.len(), 6, "{what}: {rows:#?}");
    assert!(rows.iter().all(|r| r.state == "written"), "{what}: {rows:#?}");
    let there = world.sandbox.resources("Provenance");
    assert_eq!(there.len(), 3, "{what}: {there:#?}");
    for attempt in ATTEMPTS {
        let find = |kind: &str| rows.iter().find(|r| r.attempt == attempt && r.kind == kind).unwrap();
        let (original, provenance) = (find("original"), find("provenance"));
        assert!(provenance.number > original.number && provenance.revision == original.number, "{what}: {rows:#?}");
        assert_eq!(world.sandbox.carrying("Provenance", &format!("{attempt}-0-provenance")), 1, "{what}");
        let resource = world.sandbox.resource("Provenance", provenance.remote_id.as_deref().unwrap()).unwrap();
        let kind = original.carrier.as_deref().and_then(Carrier::parse).and_then(Carrier::resource_type).unwrap();
        let (id, version) = (original.remote_id.as_deref().unwrap(), original.remote_version.as_deref().unwrap());
        assert_eq!(resource["target"], json!([{ "reference": format!("{kind}/{id}/_history/{version}") }]), "{what}");
    }
}

/// What is asked of the EHR once all is settled: nothing.
async fn stays_so(world: &World, what: &str) {
    // Whatever was still on its way arrives.
    world.clock.advance(TimeDelta::minutes(10));
    let asked = world.sandbox.request_log().len();
    world.settle().await;
    assert_eq!(world.sandbox.request_log().len(), asked, "{what}: a second cycle asks for nothing");
    each_once(world, what);
}

async fn is_born_with_what_it_is_of(backend: Backend) {
    for (flavour, carrier) in [
        (Flavour::FullR4, Carrier::Communication),
        (Flavour::FullR4, Carrier::DocumentReference),
        (Flavour::Oracle, Carrier::Communication),
        (Flavour::Oracle, Carrier::DocumentReference),
    ] {
        let db = Database::fresh(backend).unwrap();
        let world = world(db, flavour, carrier, true).await;
        let report = world.run().await;
        assert_eq!((report.written, report.refused), (6, 0), "{flavour:?}: one run writes both");
        each_once(&world, &format!("{flavour:?} {carrier:?}"));
        stays_so(&world, &format!("{flavour:?} {carrier:?}")).await;
        for row in provenances(&world) {
            assert_eq!((row.loss.as_str(), row.differences.as_deref()), ("[]", Some("[]")), "{flavour:?}: {row:#?}");
        }
    }
}

async fn is_there_once_whatever_happens(backend: Backend) {
    for flavour in [Flavour::FullR4, Flavour::Oracle] {
        for (fault, kind) in faults() {
            let db = Database::fresh(backend).unwrap();
            let world = world(db, flavour, Carrier::Communication, true).await;
            world.sandbox.plant(Fault::new(kind.clone()).on("POST", "/fhir/Provenance"));
            let cell = format!("{flavour:?} x {fault}");
            world.settle().await;
            stays_so(&world, &cell).await;
            // An answer without a body breaks off nowhere.
            let bodiless = flavour == Flavour::Oracle && kind == FaultKind::ResetMidBody;
            assert_eq!(world.sandbox.unused_faults().len(), usize::from(bodiless), "{cell}: a planted fault was not met");
        }
    }
}

/// The worker dies with its Provenance on the way: the next one searches by what it is of.
async fn of_a_dead_worker_is_there_once(backend: Backend) {
    for flavour in [Flavour::FullR4, Flavour::Oracle] {
        let db = Database::fresh(backend).unwrap();
        let world = world(db, flavour, Carrier::Communication, true).await;
        world.sandbox.plant(Fault::new(FaultKind::PageTimeout { millis: 60_000 }).on("POST", "/fhir/Provenance"));
        let (fence, stop) = (world.lease(), AtomicBool::new(false));
        let sent = async {
            while world.sandbox.resources("Provenance").is_empty() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::select! {
            report = world.run_under(&fence, &stop) => panic!("it did not wait for the answer: {report:?}"),
            () = sent => {}
        }
        let left: Vec<Writeback> = provenances(&world).into_iter().filter(|r| r.state == "writing").collect();
        assert!(!left.is_empty(), "{:#?}", world.rows());
        world.settle().await;
        stays_so(&world, &format!("{flavour:?}")).await;
    }
}

async fn that_was_refused_is_replayed_once(backend: Backend) {
    for flavour in [Flavour::FullR4, Flavour::Oracle] {
        let db = Database::fresh(backend).unwrap();
        let world = world(db, flavour, Carrier::Communication, true).await;
        world.sandbox.plant(Fault::new(FaultKind::RefuseType).on("POST", "/fhir/Provenance").times(3));
        world.settle().await;
        let rows = world.rows();
        let refused = |r: &Writeback| r.state == "refused" && r.kind == "provenance";
        assert_eq!(rows.iter().filter(|r| refused(r)).count(), 3, "the originals are not held up: {rows:#?}");
        assert_eq!(rows.iter().filter(|r| r.state == "written").count(), 3);
        for _ in 0..2 {
            let wanted = Wanted { cause: Some("http-403".to_owned()), ..Wanted::default() };
            world.store.write("replay", move |conn| writebacks::reopen(conn, &wanted, false)).await.unwrap();
            world.settle().await;
            each_once(&world, "replayed");
        }
    }
}

/// Switched off meanwhile: what is owed stays in the ledger, and nobody is asked.
async fn that_is_not_wanted_any_more_stays_in_the_ledger(backend: Backend) {
    let db = Database::fresh(backend).unwrap();
    let mut world = world(db, Flavour::FullR4, Carrier::Communication, true).await;
    world.sandbox.plant(Fault::new(FaultKind::TooManyRequests { retry_after: None }).on("POST", "/fhir/Provenance"));
    world.run().await;
    assert!(provenances(&world).iter().any(|r| r.state == "owed"));
    world.contract.provenance.as_mut().unwrap().enabled = false;
    world.settle().await;
    let there = world.sandbox.resources("Provenance").len();
    let kept = provenances(&world).into_iter().filter(|r| r.state == "kept").count();
    assert!(kept > 0 && kept + there == provenances(&world).len(), "{:#?}", world.rows());
}

/// One that nobody asked for, or that the EHR does not create, is not owed at all, and costs no request.
async fn is_an_extra(backend: Backend) {
    for (flavour, on) in [(Flavour::FullR4, false), (Flavour::Epic, true), (Flavour::Meditech, true)] {
        let db = Database::fresh(backend).unwrap();
        let mut world = world(db, flavour, Carrier::Communication, on).await;
        if flavour == Flavour::Meditech {
            world.contract = world.contract.clone().with(&Override {
                sender: Some("Practitioner/prac-02".to_owned()),
                recipient: Some("Practitioner/prac-01".to_owned()),
                ..Override::default()
            });
        }
        world.settle().await;
        assert_eq!(world.states(), ["written"; 3], "{flavour:?}: {:#?}", world.rows());
        let asked = world.sandbox.request_log().into_iter().filter(|r| r.path.contains("Provenance")).count();
        assert_eq!(asked, 0, "{flavour:?}");
    }
}

/// An EHR that keeps no entity keeps no key of ours: what may have arrived is a person's, and is not sent again.
async fn whose_key_is_dropped_is_not_doubled(backend: Backend) {
    for flavour in [Flavour::FullR4, Flavour::Oracle] {
        let mut world = world(Database::fresh(backend).unwrap(), flavour, Carrier::Communication, true).await;
        world.contract.provenance.iter_mut().for_each(|p| p.terms.key_kept = None);
        world
            .sandbox
            .plant(Fault::new(FaultKind::DropsElement { name: "entity".to_owned() }).on("POST", "/fhir/Provenance").times(u32::MAX));
        world.sandbox.plant(Fault::new(FaultKind::CreateAppliedAnswerLost).on("POST", "/fhir/Provenance"));
        world.settle().await;
        let parked: Vec<Writeback> = world.rows().into_iter().filter(Writeback::is_parked).collect();
        assert_eq!((parked.len(), world.sandbox.resources("Provenance").len()), (1, 3), "{flavour:?}: {:#?}", world.rows());
        assert!(parked[0].failure.as_deref().unwrap().starts_with("key-not-"), "{parked:#?}");
    }
}

on_both! {
    async fn a_provenance_whose_key_is_dropped_is_not_doubled(db) {
        whose_key_is_dropped_is_not_doubled(db.backend()).await;
    }

    async fn a_provenance_is_born_with_what_it_is_of(db) {
        is_born_with_what_it_is_of(db.backend()).await;
    }

    async fn a_provenance_is_there_once_whatever_happens(db) {
        is_there_once_whatever_happens(db.backend()).await;
    }

    async fn a_provenance_of_a_dead_worker_is_there_once(db) {
        of_a_dead_worker_is_there_once(db.backend()).await;
    }

    async fn a_provenance_that_was_refused_is_replayed_once(db) {
        that_was_refused_is_replayed_once(db.backend()).await;
    }

    async fn a_provenance_that_is_not_wanted_any_more_stays_in_the_ledger(db) {
        that_is_not_wanted_any_more_stays_in_the_ledger(db.backend()).await;
    }

    async fn a_provenance_is_an_extra(db) {
        is_an_extra(db.backend()).await;
    }
}

/// What stands in the chart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_says_who_wrote_what_from_which_entry_of_ours() {
    let world = world(Database::fresh(Backend::Sqlite).unwrap(), Flavour::FullR4, Carrier::Communication, true).await;
    world.settle().await;
    let mut there: Vec<Value> = world.sandbox.resources("Provenance");
    there.retain(|p| p.to_string().contains("att-b1-0-provenance"));
    let [provenance] = there.as_slice() else { panic!("{there:#?}") };
    let agent = &provenance["agent"][0];
    assert_eq!(agent["who"], json!({ "type": "Device", "display": "Main Street Clinic (fhir-engage)" }));
    assert_eq!(agent["onBehalfOf"], json!({ "type": "Organization", "display": "Main Street Clinic" }));
    assert_eq!(provenance["activity"]["coding"][0]["code"], "CREATE");
    assert_eq!(provenance["recorded"], "2026-11-23T15:00:00.000Z");
    let key = json!({ "system": "urn:fhir-engage:attempt", "value": "att-b1-0-provenance" });
    assert_eq!(provenance["entity"], json!([{ "role": "source", "what": { "identifier": key } }]));
    assert_eq!(world.asked("POST"), 3);
}
