//! Getting in, staying in, and what the EHR grants.

use std::sync::Arc;

use chrono::TimeDelta;
use fhir_engage::ehr::auth::{Algorithm, Need, TokenError};
use fhir_engage::ehr::{Connection, EhrError, Search};
use sandbox::{Fault, FaultKind};

use super::support::{PATIENTS, Stuck, World};

fn refuse_token(status: u16, error: Option<&str>) -> Fault {
    Fault::new(FaultKind::TokenRefused { status, error: error.map(str::to_owned) })
}

#[tokio::test]
async fn both_algorithms_are_let_in() {
    for algorithm in [Algorithm::Rs384, Algorithm::Es384] {
        let world = World::with(algorithm, "system/*.rs").await;
        let found = world.client().await.search_all(Search::of("Patient")).await.unwrap();
        assert_eq!(found.len(), PATIENTS as usize, "{algorithm:?}");
    }
}

#[tokio::test]
async fn many_tasks_share_one_token_and_renew_it_before_it_ends() {
    let world = World::start().await;
    let client = world.client().await;
    let ask = || async { client.search(Search::of("Patient").with("_count", "1")).next().await.unwrap().unwrap() };
    let all = futures_util::future::join_all((0..8).map(|_| ask())).await;
    assert_eq!((all.len(), world.tokens_asked()), (8, 1));

    // The sandbox's tokens live 300 s; ours is renewed 30 s before.
    world.clock.advance(TimeDelta::seconds(269));
    ask().await;
    assert_eq!(world.tokens_asked(), 1);
    world.clock.advance(TimeDelta::seconds(1));
    ask().await;
    assert_eq!(world.tokens_asked(), 2);
    assert!(world.ehr.request_log().iter().all(|r| r.status == 200), "no request was refused on the way");
}

#[tokio::test]
async fn a_token_that_ends_in_mid_search_is_replaced_once() {
    let world = World::start().await;
    world.ehr.plant(Fault::new(FaultKind::TokenExpiredMidSearch));
    let found = world.client().await.search_all(Search::of("Patient")).await.unwrap();
    assert_eq!((found.len(), world.tokens_asked()), (PATIENTS as usize, 2));
}

#[tokio::test]
async fn an_assertion_is_never_used_twice() {
    let mut world = World::start().await;
    world.parts.entropy = Arc::new(Stuck);
    let client = world.client().await;
    client.search(Search::of("Patient")).next().await.unwrap();
    world.ehr.revoke_tokens();
    let error = client.search(Search::of("Patient")).next().await.unwrap_err();
    assert!(error.is_credential(), "with the same jti the sandbox must refuse: {error}");
    assert!(matches!(error, EhrError::Token(TokenError::Refused { .. })));
}

#[tokio::test]
async fn what_is_not_granted_is_named_and_not_asked_for() {
    let world = World::with(Algorithm::Es384, "system/Patient.rs system/CarePlan.read").await;
    let client = world.client().await;
    assert!(client.search(Search::of("CarePlan")).next().await.unwrap().is_some());
    let error = client.search(Search::of("Appointment")).next().await.unwrap_err();
    assert!(matches!(&error, EhrError::NotGranted(kind) if kind == "Appointment"), "{error}");
    assert!(!error.is_credential(), "one refused type must not stop the others");
    assert_eq!(world.asked("GET", "/fhir/Appointment"), 0);
    let missing: Vec<String> = client.missing().await.unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(missing, ["system/Appointment.rs", "system/Communication.crs"]);
}

#[tokio::test]
async fn a_server_that_refuses_scopes_as_a_whole_is_asked_for_fewer() {
    let world = World::start().await;
    // All three, then Patient by itself are refused; Appointment and CarePlan are taken.
    world.ehr.plant(refuse_token(400, Some("invalid_scope")).times(2));
    let client = world.client().await;
    let access = client.tokens().access(&[Need::read("Patient"), Need::read("Appointment"), Need::read("CarePlan")]).await.unwrap();
    assert_eq!(access.missing, [Need::read("Patient")]);
    assert_eq!(world.tokens_asked(), 5);
    world.clock.advance(TimeDelta::seconds(300));
    assert!(client.search(Search::of("CarePlan")).next().await.unwrap().is_some());
    assert_eq!(world.tokens_asked(), 6, "the renewal asks for what was taken");
}

#[tokio::test]
async fn a_failing_token_endpoint_is_tried_again_and_a_refusing_one_is_not() {
    let world = World::start().await;
    world.ehr.plant(refuse_token(500, None));
    let client = world.client().await;
    assert!(client.search(Search::of("Patient")).next().await.is_ok());
    assert_eq!(world.tokens_asked(), 2);

    for (status, error) in [(400, "invalid_grant"), (401, "invalid_client"), (400, "invalid_request")] {
        world.ehr.revoke_tokens();
        world.ehr.plant(refuse_token(status, Some(error)));
        let before = world.tokens_asked();
        let failed = client.search(Search::of("Patient")).next().await.unwrap_err();
        assert!(failed.is_credential(), "{error}");
        assert_eq!(world.tokens_asked(), before + 1, "{error}");
    }
}

#[tokio::test]
async fn the_statement_and_discovery_are_read() {
    let world = World::start().await;
    let connection = Connection::open(&world.profile, &world.parts).await.unwrap();
    assert_eq!(connection.discovery.token_endpoint.as_deref(), Some(world.ehr.token_url().as_str()));
    assert!(connection.capability.searches_by("Patient", "_lastUpdated"));
    assert!(connection.capability.allows("Communication", "create") && connection.capability.conditional_create("Communication"));
    assert_eq!(world.tokens_asked(), 0, "no token is asked for before it is needed");
}
