//! Each kind of credential, and what becomes of scopes that an EHR does not give.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::TimeDelta;
use fhir_engage::ehr::auth::{Algorithm, Dialect, Need, Ops, SecretMethod, TokenError};
use fhir_engage::ehr::check::{Verdict, check};
use fhir_engage::ehr::profile::{Auth, BackendServices, ClientSecret, PurposeScopes, TypeCredential};
use fhir_engage::ehr::{Connection, Credential, EhrError, Search, Secret, Wallet};
use sandbox::{App, Fault, FaultKind, ScopeManner};

use super::support::{CLIENT, PATIENTS, World, static_token};

const SECRET: &str = "s3cret with space & sign";

fn secret(client_id: &str, method: Option<SecretMethod>) -> Auth {
    Auth::ClientSecret(ClientSecret { client_id: client_id.to_owned(), secret: "env:S".to_owned(), method, ..ClientSecret::default() })
}

fn wallet(credentials: &[(&str, Credential)]) -> Credential {
    Credential::Wallet(Arc::new(Wallet {
        credentials: credentials.iter().map(|(name, c)| ((*name).to_owned(), c.clone())).collect(),
        keeper: None,
        client_key: None,
        proxy_password: None,
    }))
}

async fn patients(world: &World) -> Result<usize, EhrError> {
    Ok(world.client().await.search_all(Search::of("Patient")).await?.len())
}

#[tokio::test]
async fn a_secret_is_shown_in_the_header_or_in_the_form() {
    for (basic, post, set, gets_in) in [
        (true, true, None, true),
        (true, false, Some(SecretMethod::Basic), true),
        (false, true, Some(SecretMethod::Post), true),
        (true, false, Some(SecretMethod::Post), false),
        (false, true, Some(SecretMethod::Basic), false),
    ] {
        let mut world = World::start().await;
        world.ehr.register_app(App { basic, post, ..App::with_secret("app", SECRET, "system/*.rs") });
        world.profile.auth = secret("app", set);
        world.parts.credential = Credential::Secret(Secret::new(SECRET));
        let found = patients(&world).await;
        assert_eq!(found.is_ok(), gets_in, "{basic} {post} {set:?}: {found:?}");
        if let Err(error) = found {
            assert!(error.is_credential() && !format!("{error:?}").contains("s3cret"), "{error:?}");
        }
    }
    let mut world = World::start().await;
    world.ehr.register_app(App::with_secret("app", SECRET, "system/*.rs"));
    world.profile.auth = secret("app", None);
    world.parts.credential = Credential::Secret(Secret::new("another"));
    let report = check(&world.profile, &world.parts).await;
    assert!(report.problems().any(|s| s.name == "token" && s.remedy.is_some()), "{report:#?}");
}

#[tokio::test]
async fn types_with_a_credential_of_their_own_live_and_die_apart() {
    let mut world = World::with(Algorithm::Es384, "system/Patient.rs system/CarePlan.rs system/Communication.crs").await;
    world.ehr.register_app(App::with_secret("desk", SECRET, "system/Appointment.rs"));
    let of_types = |types: &[&str]| TypeCredential {
        types: types.iter().map(|t| (*t).to_owned()).collect(),
        auth: secret("desk", None),
        expires: None,
    };
    world.profile.credentials = BTreeMap::from([("desk".to_owned(), of_types(&["Appointment"]))]);
    let key = world.parts.credential.clone();
    world.parts.credential = wallet(&[("", key.clone()), ("desk", Credential::Secret(Secret::new(SECRET)))]);
    let client = world.client().await;
    assert!(!client.search_all(Search::of("Appointment")).await.unwrap().is_empty());
    assert_eq!(client.search_all(Search::of("Patient")).await.unwrap().len(), PATIENTS as usize);
    assert!(client.missing().await.unwrap().is_empty(), "what either grants is granted");
    let report = check(&world.profile, &world.parts).await;
    assert!(report.is_ok() && report.steps.iter().any(|s| s.name == "credential desk" && s.verdict == Verdict::Ok), "{report:#?}");

    world.parts.credential = wallet(&[("", key), ("desk", Credential::Secret(Secret::new("old")))]);
    let client = world.client().await;
    let error = client.search(Search::of("Appointment")).next().await.unwrap_err();
    assert!(matches!(&error, EhrError::TokenApart(kind, _) if kind == "Appointment"), "{error}");
    assert!(!error.is_credential(), "the death of one credential must not stop the types of another");
    assert_eq!(client.search_all(Search::of("Patient")).await.unwrap().len(), PATIENTS as usize);
    let report = check(&world.profile, &world.parts).await;
    assert!(report.problems().any(|s| s.name == "credential desk"), "{report:#?}");
}

#[tokio::test]
async fn a_secret_without_its_credential_and_a_static_token_are_told_apart() {
    let mut world = World::start().await;
    world.profile.auth = secret("app", None);
    assert!(Connection::open(&world.profile, &world.parts).await.is_err(), "a key is no secret");
    world.profile.auth = Auth::Bearer { token: "env:T".to_owned() };
    world.parts.credential = static_token("stale");
    let error = patients(&world).await.unwrap_err();
    assert!(error.is_credential() && !format!("{error:?}").contains("stale"));
}

#[tokio::test]
async fn scopes_that_are_refused_as_a_whole_are_asked_for_in_parts() {
    let world = World::with(Algorithm::Es384, "system/Patient.rs system/CarePlan.read system/Communication.c").await;
    world.ehr.set_scope_manner(ScopeManner::AllOrNothing);
    let client = world.client().await;
    assert_eq!(client.search_all(Search::of("Patient")).await.unwrap().len(), PATIENTS as usize);
    let error = client.search(Search::of("Appointment")).next().await.unwrap_err();
    assert!(matches!(error, EhrError::NotGranted(_)), "{error}");
    // A client that may create and not read: the one scope is refused, its half is not.
    let write = Need::new("Communication", Ops::CRS);
    let access = client.tokens().access(std::slice::from_ref(&write)).await.unwrap();
    assert_eq!(access.missing, [Need::new("Communication", Ops::RS)]);

    // After a day the whole is asked for again: the operator may have added what was missing.
    let before = world.tokens_asked();
    world.clock.advance(TimeDelta::hours(23));
    client.tokens().access(std::slice::from_ref(&write)).await.unwrap();
    assert_eq!(world.tokens_asked(), before + 1);
    world.ehr.set_scope_manner(ScopeManner::Narrows);
    world.clock.advance(TimeDelta::hours(2));
    client.tokens().access(std::slice::from_ref(&write)).await.unwrap();
    assert_eq!(world.tokens_asked(), before + 2, "one request for the whole");
}

#[tokio::test]
async fn a_server_that_ignores_what_is_asked_for_is_judged_by_what_it_grants() {
    let world = World::with(Algorithm::Es384, "system/Patient.read system/*.s system/Communication.cruds").await;
    world.ehr.set_scope_manner(ScopeManner::Ignores);
    let missing: Vec<String> = world.client().await.missing().await.unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(missing, ["system/Appointment.r", "system/CarePlan.r"]);
}

#[tokio::test]
async fn scopes_follow_the_dialect_the_purpose_and_the_operators_word() {
    let asked = |world: &World| world.ehr.scopes_asked();
    let mut world = World::start().await;
    let auth = |dialect| {
        Auth::BackendServices(BackendServices { client_id: CLIENT.to_owned(), dialect: Some(dialect), ..BackendServices::default() })
    };
    world.profile.auth = auth(Dialect::V1);
    let write = [Need::new("Communication", Ops::CRS)];
    world.client().await.tokens().access(&write).await.unwrap();
    assert_eq!(asked(&world), "system/Communication.read system/Communication.write");
    world.profile.auth = auth(Dialect::V2);
    world.client().await.tokens().access(&write).await.unwrap();
    assert_eq!(asked(&world), "system/Communication.crs");
    world.profile.scopes = PurposeScopes { read: Some(vec!["system/*.rs".to_owned()]), ..PurposeScopes::default() };
    let client = world.client().await;
    client.tokens().access(&write).await.unwrap();
    assert_eq!(asked(&world), "system/Communication.crs", "what is set for reading is not asked for in writing");
    client.tokens().access(&[Need::read("Patient")]).await.unwrap();
    assert_eq!(asked(&world), "system/*.rs");
}

#[tokio::test]
async fn the_audience_of_assertions_is_as_the_operator_says() {
    let mut world = World::start().await;
    world.profile.audience.assertion = Some("https://another.example.org".to_owned());
    let error = patients(&world).await.unwrap_err();
    assert!(matches!(error, EhrError::Token(TokenError::Refused { .. })), "the sandbox wants its token URL");
    world.profile.audience.assertion = Some(world.ehr.token_url());
    assert_eq!(patients(&world).await.unwrap(), PATIENTS as usize);
}

#[tokio::test]
async fn a_client_id_of_800_characters_works() {
    let id = "x".repeat(800);
    let mut world = World::start().await;
    world.ehr.register_app(App::with_secret(&id, SECRET, "system/*.rs"));
    world.profile.auth = secret(&id, Some(SecretMethod::Post));
    world.parts.credential = Credential::Secret(Secret::new(SECRET));
    assert_eq!(patients(&world).await.unwrap(), PATIENTS as usize);
}

#[tokio::test]
async fn every_shape_of_a_refusal_ends_the_run_and_names_no_secret() {
    for (status, error) in [(400, Some("invalid_grant")), (400, Some("invalid_request")), (401, Some("invalid_client")), (500, None)] {
        let mut world = World::start().await;
        world.ehr.register_app(App::with_secret("app", SECRET, "system/*.rs"));
        world.profile.auth = secret("app", None);
        world.parts.credential = Credential::Secret(Secret::new(SECRET));
        let fault = Fault::new(FaultKind::TokenRefused { status, error: error.map(str::to_owned) });
        world.ehr.plant(if status == 500 { fault.times(4) } else { fault });
        let failed = patients(&world).await.unwrap_err();
        assert_eq!(failed.is_transient(), status == 500, "{failed}");
        assert!(!format!("{failed:?}").contains("s3cret"));
    }
}
