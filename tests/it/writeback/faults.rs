//! The fault matrix: what can go wrong with a create or a search, with a server that creates conditionally and one that does not.

use chrono::TimeDelta;
use domain::Clock as _;
use fhir_engage::store::{proofs, writebacks};
use fhir_engage::writeback::contract::{Contract, Finder};
use sandbox::{Fault, FaultKind};

use super::setup::World;
use crate::support::{Backend, Database, on_both};

const PATH: &str = "/fhir/Communication";

/// Three messages to two patients, two of them alike.
async fn world(db: Database, conditional: bool) -> World {
    let mut world = World::new(db).await;
    world.contract.communication.conditional_create = conditional;
    for (patient, attempt) in [("p1", "a1"), ("p1", "a2"), ("p2", "b1")] {
        world.owe(patient, attempt);
    }
    world
}

async fn cell(db: Database, conditional: bool, faults: Vec<Fault>) {
    let mut world = world(db, conditional).await;
    world.contract.settle_delay_secs = 90;
    let from = faults.clone();
    faults.into_iter().for_each(|f| world.sandbox.plant(f));
    world.settle().await;
    eprintln!("{from:?}, conditional: {conditional}");
    world.all_written_once();
    let asked = world.sandbox.request_log().len();
    world.settle().await;
    assert_eq!(world.sandbox.request_log().len(), asked, "a second cycle asks for nothing: {from:?}");
}

fn post(kind: FaultKind) -> Vec<Fault> {
    vec![Fault::new(kind).on("POST", PATH)]
}

/// What a create can meet, once and for some of them again when it is tried anew.
fn creates() -> Vec<Vec<Fault>> {
    let twice = |kind: FaultKind| vec![Fault::new(kind).on("POST", PATH).times(2)];
    let retry = |text: Option<&str>| FaultKind::TooManyRequests { retry_after: text.map(str::to_owned) };
    vec![
        post(FaultKind::CreateAppliedAnswerLost),
        twice(FaultKind::CreateAppliedAnswerLost),
        post(FaultKind::CreateLost),
        twice(FaultKind::CreateLost),
        post(FaultKind::Create500Applied),
        post(FaultKind::Create500NotApplied),
        twice(FaultKind::Create500NotApplied),
        post(FaultKind::CreateConflict409),
        twice(FaultKind::CreateConflict409),
        post(FaultKind::PreconditionFailed412),
        post(retry(Some("1"))),
        post(retry(Some("7200"))),
        post(retry(None)),
        post(FaultKind::ServerError { status: 503 }),
        post(FaultKind::ServerError { status: 502 }),
        post(FaultKind::CreateEmptyBody),
        post(FaultKind::LocationOtherHost { origin: "http://ehr.internal:8080".to_owned() }),
        // Lost, and then the search that settles it fails too.
        vec![
            Fault::new(FaultKind::CreateAppliedAnswerLost).on("POST", PATH),
            Fault::new(FaultKind::ServerError { status: 500 }).on("GET", PATH).after(1),
        ],
    ]
}

on_both! {
    async fn everything_is_written_once_whatever_a_create_meets(db) {
        let backend = db.backend();
        drop(db);
        // The whole matrix on SQLite. On PostgreSQL a part of it: what differs there is the claim and the commit, not the faults.
        let every = if backend == Backend::Postgres { 4 } else { 1 };
        for conditional in [true, false] {
            for faults in creates().into_iter().step_by(every) {
                // Conditional creates need no search before the first one.
                let faults = faults.into_iter().map(|f| if f.method == "GET" && conditional { Fault { skip: 0, ..f } } else { f }).collect();
                cell(Database::fresh(backend).unwrap(), conditional, faults).await;
            }
        }
    }

    async fn a_condition_that_is_ignored_doubles_nothing(db) {
        let world = world(db, true).await;
        world.sandbox.plant(Fault::new(FaultKind::CreateAppliedAnswerLost).on("POST", PATH));
        world.sandbox.plant(Fault::new(FaultKind::ConditionalIgnored).on("POST", PATH).times(u32::MAX));
        world.settle().await;
        world.all_written_once();
    }

    async fn where_the_search_cannot_tell_it_is_left_to_a_person(db) {
        let backend = db.backend();
        drop(db);
        for echo in [true, false] {
            let mut world = world(Database::fresh(backend).unwrap(), true).await;
            world.owe("p3", "c1");
            world.settle().await;
            world.owe("p4", "d1");
            world.owe("p4", "d2");
            world.sandbox.plant(Fault::new(FaultKind::CreateLost).on("POST", PATH));
            world.sandbox.plant(Fault::new(FaultKind::IgnoresFilter { echo }).on("GET", PATH).times(u32::MAX));
            let report = world.settle().await;
            let row = world.row("d1");
            assert!(row.is_parked() && row.failure.as_deref().unwrap().starts_with("search-not-trusted"), "{row:?}");
            assert_eq!(world.row("d2").state, "written", "what waits for a person holds nobody up");
            assert_eq!((world.in_ehr().iter().filter(|a| *a == "d1").count(), report.parked <= 1), (0, true));
        }
    }

    async fn without_a_search_an_unclear_one_is_left_to_a_person(db) {
        let mut world = world(db, true).await;
        world.contract.communication.finders = vec![];
        world.sandbox.plant(Fault::new(FaultKind::CreateAppliedAnswerLost).on("POST", PATH));
        world.settle().await;
        let parked = world.rows().into_iter().filter(|r| r.is_parked()).count();
        assert_eq!((parked, world.sandbox.count("Communication")), (1, 3), "it did arrive, and is not sent again");
        assert_eq!(world.asked("GET"), 0);
    }

    async fn it_can_be_found_by_patient_and_time_too(db) {
        let mut world = world(db, false).await;
        world.contract.communication.finders = vec![Finder::PatientSent];
        world.sandbox.plant(Fault::new(FaultKind::CreateAppliedAnswerLost).on("POST", PATH));
        world.sandbox.plant(Fault::new(FaultKind::CreateLost).on("POST", PATH));
        world.settle().await;
        world.all_written_once();
    }

    async fn an_ehr_that_drops_our_key_doubles_nothing_and_says_so(db) {
        let mut world = world(db, false).await;
        (world.contract.communication.key_kept, world.contract.document_reference.key_kept) = (None, None);
        world.sandbox.plant(Fault::new(FaultKind::DropsElement { name: "identifier".to_owned() }).times(u32::MAX));
        world.sandbox.plant(Fault::new(FaultKind::CreateAppliedAnswerLost).on("POST", PATH));
        let report = world.run().await;
        assert_eq!(report.unknown, 1, "{report:?}");
        let proofs = world.store.read_blocking(|conn| proofs::of(conn, "north")).unwrap();
        let proofs: Vec<_> = proofs.iter().map(|p| (p.subject.as_str(), p.holds)).collect();
        assert_eq!(proofs, [("key-kept identifier Communication", false), ("used communication", true)]);
        world.contract.communication.key_kept = Some(false);
        world.settle().await;
        let parked: Vec<_> = world.rows().into_iter().filter(|r| r.is_parked()).collect();
        assert_eq!((parked.len(), world.sandbox.count("Communication")), (1, 3), "it did arrive, and is not sent again");
        assert!(parked[0].failure.as_deref().unwrap().starts_with("key-not-seen"), "{parked:?}");
    }

    async fn the_first_write_back_shows_that_the_key_is_kept(db) {
        let mut world = world(db, false).await;
        world.contract.communication.key_kept = None;
        world.run().await;
        let proofs = world.store.read_blocking(|conn| proofs::of(conn, "north")).unwrap();
        let proofs: Vec<_> = proofs.iter().map(|p| (p.subject.as_str(), p.holds)).collect();
        assert_eq!(proofs, [("key-kept identifier Communication", true), ("used communication", true)]);
        world.all_written_once();
    }

    async fn one_that_is_there_twice_is_told_loudly(db) {
        let world = world(db, true).await;
        let twin = |id: &str| format!(r#"{{"resourceType":"Communication","id":"{id}","status":"completed","identifier":[{{"system":"urn:fhir-engage:attempt","value":"a1"}}]}}"#);
        world.sandbox.load([twin("t1"), twin("t2")]).unwrap();
        let report = world.settle().await;
        assert_eq!(world.row("a1").state, "refused");
        assert!(world.row("a1").failure.unwrap().starts_with("found-twice"), "{report:?}");
        assert_eq!(world.row("a2").state, "written");
    }

    async fn a_server_that_takes_none_leaves_visible_rows(db) {
        let mut world = world(db, true).await;
        world.contract = Contract { chain: vec![], ..Contract::full_r4() };
        let report = world.settle().await;
        assert_eq!((report.refused, world.states()), (3, vec!["refused".to_owned(); 3]));
        assert!(world.row("a1").failure.unwrap().contains("takes no Communication"));
        assert_eq!(world.asked("POST") + world.asked("GET"), 0);
    }

    async fn a_refusal_names_its_cause_and_holds_nobody_up(db) {
        let world = world(db, true).await;
        world.sandbox.plant(Fault::new(FaultKind::RefuseType).on("POST", PATH));
        world.settle().await;
        let refused: Vec<_> = world.rows().into_iter().filter(|r| r.state == "refused").collect();
        assert_eq!((refused.len(), world.sandbox.count("Communication")), (1, 2));
        assert!(refused[0].failure.as_deref().unwrap().starts_with("http-403"), "{refused:?}");
    }

    async fn a_token_that_ended_is_renewed_and_one_that_is_refused_touches_no_row(db) {
        let mut world = world(db, true).await;
        world.run().await;
        world.all_written_once();
        world.sandbox.revoke_tokens();
        world.owe("p1", "a3");
        world.run().await;
        world.all_written_once();
        world.sandbox.revoke_tokens();
        world.owe("p1", "a4");
        world.owe("p2", "b2");
        world.sandbox.plant(Fault::new(FaultKind::TokenRefused { status: 401, error: Some("invalid_client".to_owned()) }).times(u32::MAX));
        let report = world.run().await;
        assert!(report.stopped.is_some() && report.again + report.unknown + report.refused == 0, "{report:?}");
        for attempt in ["a4", "b2"] {
            let row = world.row(attempt);
            assert_eq!((row.state.as_str(), row.tries), ("owed", 0), "{row:?}");
        }
        world.sandbox.clear_faults();
        world.run().await;
        world.all_written_once();
    }

    async fn an_ehr_that_does_not_answer_is_not_stormed(db) {
        let mut world = World::new(db).await;
        world.options.breaker = 5;
        world.options.concurrency = 2;
        for n in 0..40 {
            world.owe(&format!("p{n}"), &format!("a{n:02}"));
        }
        world.sandbox.plant(Fault::new(FaultKind::CreateLost).on("POST", PATH).times(u32::MAX));
        let report = world.run().await;
        assert!(report.stopped.is_some() && report.resume_at.is_some(), "{report:?}");
        assert!((5..=6).contains(&world.asked("POST")), "{}", world.asked("POST"));
        assert_eq!(world.rows().iter().filter(|r| r.state == "owed" && r.tries == 0).count(), 40 - world.asked("POST"));
        world.sandbox.clear_faults();
        world.settle().await;
        world.all_written_once();
    }

    async fn nothing_is_asked_before_a_throttling_ehr_says_so(db) {
        let world = world(db, true).await;
        world.sandbox.plant(Fault::new(FaultKind::TooManyRequests { retry_after: Some("600".to_owned()) }).on("POST", PATH));
        let report = world.run().await;
        let resume = report.resume_at.unwrap();
        assert!(resume.since(world.clock.now()) >= TimeDelta::seconds(600), "{report:?}");
        let next = world.store.read_blocking(|conn| writebacks::next_due(conn, "north", world.clock.now())).unwrap();
        assert!(next.is_some());
        world.settle().await;
        world.all_written_once();
    }
}
