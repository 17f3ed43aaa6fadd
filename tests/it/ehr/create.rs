//! Writing, and the answers that leave open whether it was done.

use domain::model::FhirId;
use fhir_engage::ehr::auth::{Need, Ops};
use fhir_engage::ehr::{ChangeOutcome, CreateOutcome, EhrError, Refusal, Search};
use sandbox::{Fault, FaultKind};
use serde_json::json;

use super::support::World;

const SYSTEM: &str = "https://gateway.example.org/attempt";

fn communication(world: &World, value: &str) -> Vec<u8> {
    let patient = world.ehr.resources("Patient")[0]["id"].as_str().unwrap().to_owned();
    let body = json!({
        "resourceType": "Communication",
        "identifier": [{ "system": SYSTEM, "value": value }],
        "status": "completed",
        "subject": { "reference": format!("Patient/{patient}") },
    });
    body.to_string().into_bytes()
}

async fn write(world: &World, client: &fhir_engage::ehr::Client, value: &str) -> CreateOutcome {
    let query = format!("identifier={SYSTEM}|{value}");
    client.create("Communication", communication(world, value), Some(&query)).await.unwrap()
}

#[tokio::test]
async fn written_once_and_then_found_to_be_there() {
    let world = World::start().await;
    let client = world.client().await;
    let CreateOutcome::Created(first) = write(&world, &client, "1").await else { panic!("not created") };
    let CreateOutcome::Existing(second) = write(&world, &client, "1").await else { panic!("not recognised") };
    assert_eq!(first.id, second.id);
    let stored = world.ehr.resources("Communication");
    assert_eq!((stored.len(), stored[0]["id"].as_str()), (1, first.id.as_deref()));
    assert_eq!(stored[0]["meta"]["versionId"].as_str(), first.version.as_deref());
}

#[tokio::test]
async fn an_unclear_answer_is_not_sent_again_and_settled_by_search() {
    let world = World::start().await;
    let client = world.client().await;
    for (at, (fault, applied)) in [
        (FaultKind::CreateAppliedAnswerLost, true),
        (FaultKind::Create500Applied, true),
        (FaultKind::CreateLost, false),
        (FaultKind::Create500NotApplied, false),
    ]
    .into_iter()
    .enumerate()
    {
        let value = format!("unclear-{at}");
        world.ehr.plant(Fault::new(fault.clone()));
        let before = world.asked("POST", "/fhir/Communication");
        let outcome = write(&world, &client, &value).await;
        assert!(matches!(outcome, CreateOutcome::Unclear { .. }), "{fault:?}: {outcome:?}");
        assert_eq!(world.asked("POST", "/fhir/Communication"), before + 1, "{fault:?}: sent more than once");
        let found = client.search_all(Search::of("Communication").with("identifier", &format!("{SYSTEM}|{value}"))).await.unwrap();
        assert_eq!(found.len(), usize::from(applied), "{fault:?}");
    }
}

#[tokio::test]
async fn the_id_is_found_in_every_form_of_answer() {
    let world = World::start().await;
    let client = world.client().await;
    for (value, fault) in
        [("a", FaultKind::CreateEmptyBody), ("b", FaultKind::LocationOtherHost { origin: "http://ehr.internal".to_owned() })]
    {
        world.ehr.plant(Fault::new(fault));
        let CreateOutcome::Created(written) = write(&world, &client, value).await else { panic!("not created") };
        let id = written.id.unwrap();
        assert_eq!(world.ehr.resource("Communication", &id).unwrap()["identifier"][0]["value"], value);
    }
}

#[tokio::test]
async fn a_refusal_is_told_by_its_kind_and_nothing_was_stored() {
    let world = World::start().await;
    let client = world.client().await;
    for (fault, wanted) in [
        (FaultKind::CreateConflict409, Refusal::Conflict),
        (FaultKind::PreconditionFailed412, Refusal::SeveralMatch),
        (FaultKind::RefuseType, Refusal::Denied),
    ] {
        world.ehr.plant(Fault::new(fault).on("POST", "/fhir/Communication"));
        let outcome = write(&world, &client, "r").await;
        assert!(matches!(outcome, CreateOutcome::Refused { class, .. } if class == wanted), "{outcome:?}");
    }
    // Throttled is refused before it is looked at: it may be sent again, and is.
    let busy = FaultKind::TooManyRequests { retry_after: Some("0".to_owned()) };
    world.ehr.plant(Fault::new(busy.clone()).on("POST", "/fhir/Communication").times(2));
    assert!(matches!(write(&world, &client, "t").await, CreateOutcome::Created(_)));
    world.ehr.plant(Fault::new(busy).on("POST", "/fhir/Communication").times(4));
    assert!(matches!(write(&world, &client, "u").await, CreateOutcome::Refused { class: Refusal::Busy, .. }));
    assert_eq!(world.ehr.count("Communication"), 1);
}

#[tokio::test]
async fn a_token_that_ended_is_replaced_before_a_write() {
    let world = World::start().await;
    let client = world.client().await;
    assert!(matches!(write(&world, &client, "1").await, CreateOutcome::Created(_)));
    world.ehr.revoke_tokens();
    assert!(matches!(write(&world, &client, "2").await, CreateOutcome::Created(_)));
    assert_eq!(world.ehr.count("Communication"), 2);
}

#[tokio::test]
async fn what_the_ehr_kept_is_told_where_the_answer_shows_it() {
    let world = World::start().await;
    let client = world.client().await;
    let CreateOutcome::Created(first) = write(&world, &client, "1").await else { panic!("not created") };
    let kept: serde_json::Value = serde_json::from_slice(&first.body.unwrap()).unwrap();
    assert_eq!((kept["identifier"][0]["value"].as_str(), kept["id"].as_str()), (Some("1"), first.id.as_deref()));
    world.ehr.plant(Fault::new(FaultKind::CreateEmptyBody));
    let CreateOutcome::Created(second) = write(&world, &client, "2").await else { panic!("not created") };
    assert_eq!(second.body, None);
}

#[tokio::test]
async fn an_update_is_made_to_the_version_that_was_read_and_to_no_other() {
    let world = World::start().await;
    let client = world.client().await.writing(vec![Need::new("Communication", Ops::CRS.or(Ops::U))]);
    let CreateOutcome::Created(first) = write(&world, &client, "1").await else { panic!("not created") };
    let id = FhirId::parse(first.id.as_deref().unwrap()).unwrap();
    let mut changed: serde_json::Value = serde_json::from_slice(&first.body.unwrap()).unwrap();
    changed["status"] = "entered-in-error".into();
    let body = changed.to_string().into_bytes();
    let update = |version: Option<&'static str>| client.update("Communication", &id, version, body.clone());
    let ChangeOutcome::Changed(second) = update(Some("1")).await.unwrap() else { panic!("not changed") };
    assert_eq!(second.version.as_deref(), Some("2"));
    assert_eq!(world.ehr.resource("Communication", id.as_str()).unwrap()["status"], "entered-in-error");
    let late = update(Some("1")).await.unwrap();
    assert!(matches!(late, ChangeOutcome::Refused { class: Refusal::Conflict, .. }), "{late:?}");
    assert!(matches!(update(Some("a\"b")).await, Err(EhrError::BadRequest)), "a lock that cannot be written is not left out");
    world.ehr.plant(Fault::new(FaultKind::PreconditionFailed412).on("PUT", "/fhir/Communication"));
    let refused = update(Some("2")).await.unwrap();
    assert!(matches!(refused, ChangeOutcome::Refused { status: 412, class: Refusal::Conflict, .. }), "{refused:?}");
}
