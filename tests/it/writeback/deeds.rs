//! What changes something that is in the EHR already, the site's own route, and the probe: against the sandbox, counted there.

use std::time::Duration;

use domain::clock::ManualClock;
use domain::{Clock as _, Timestamp};
use fhir_engage::ehr::{Client, Secret};
use fhir_engage::store::writebacks::Settlement;
use fhir_engage::writeback::contract::{Carrier, Contract, Route};
use fhir_engage::writeback::push::{Letter, Pushed, push};
use fhir_engage::writeback::{Deed, Probed, RouteWay, Site, Ways, needs, probe};
use sandbox::{Fault, FaultKind, Flavour};
use serde_json::{Value, json};

use super::setup::World;
use crate::support::{Backend, Database};

/// A gateway's client of the sandbox, without rows.
struct Bench {
    world: World,
    client: Client,
    contract: Contract,
}

impl Bench {
    async fn new() -> Self {
        Self::of(World::new(Database::fresh(Backend::Sqlite).unwrap()).await)
    }

    async fn at(flavour: Flavour) -> Self {
        Self::of(World::at(Database::fresh(Backend::Sqlite).unwrap(), flavour).await)
    }

    fn of(world: World) -> Self {
        let mut contract = world.contract.clone();
        if !contract.chain.contains(&Carrier::DocumentReference) {
            contract.chain.push(Carrier::DocumentReference);
        }
        contract.status_change.iter_mut().for_each(|change| change.enabled = true);
        let client = world.connection.client.clone().writing(needs(&contract));
        world.sandbox.load([json!({ "resourceType": "Patient", "id": "p1" }).to_string()]).unwrap();
        Self { world, client, contract }
    }

    async fn push(&self, letter: &Letter) -> Pushed {
        self.push_by(&Ways::default(), letter).await
    }

    async fn push_by(&self, ways: &Ways, letter: &Letter) -> Pushed {
        push(&self.client, &self.contract, ways, letter, self.world.clock.as_ref()).await
    }

    fn letter(&self, carrier: Carrier, deed: Deed) -> Letter {
        let now = self.world.clock.now();
        Letter {
            id: "a1-correction-1".to_owned(),
            carrier,
            tried: None,
            put_as: None,
            system: "urn:fhir-engage:attempt".to_owned(),
            value: "a1-correction-1".to_owned(),
            patient: "p1".to_owned(),
            sent: None,
            since: now,
            deed,
            loss: "[]".to_owned(),
            unclear: false,
            tries: 1,
            unanswered: 0,
        }
    }

    fn appointment(&self, status: &str) {
        if self.world.sandbox.edit("Appointment", "v1", |visit| visit["status"] = status.into()).is_ok() {
            return;
        }
        let visit = json!({ "resourceType": "Appointment", "id": "v1", "status": status, "start": "2026-12-01T15:00:00Z", "end": "2026-12-01T15:30:00Z",
            "participant": [{ "actor": { "reference": "Patient/p1" }, "status": "accepted" }] });
        self.world.sandbox.load([visit.to_string()]).unwrap();
    }

    fn status(&self, kind: &str, id: &str) -> String {
        self.world.sandbox.resource(kind, id).unwrap()["status"].as_str().unwrap().to_owned()
    }
}

fn is_written(pushed: &Pushed) -> bool {
    matches!(pushed.settlement, Settlement::Written { .. })
}

#[tokio::test]
async fn a_correction_marks_the_original_once_whatever_the_answer_meets() {
    let bench = Bench::new().await;
    for (at, fault) in [
        None,
        Some(FaultKind::PreconditionFailed412),
        Some(FaultKind::ResetMidBody),
        Some(FaultKind::TokenExpiredAtCreate),
        Some(FaultKind::ServerError { status: 503 }),
    ]
    .into_iter()
    .enumerate()
    {
        let id = format!("c{at}");
        let original = json!({ "resourceType": "Communication", "id": id, "status": "completed", "subject": { "reference": "Patient/p1" },
                "identifier": [{ "system": "urn:fhir-engage:attempt", "value": "a1" }] });
        bench.world.sandbox.load([original.to_string()]).unwrap();
        if let Some(fault) = fault.clone() {
            bench.world.sandbox.plant(Fault::new(fault).on("PUT", "/fhir/Communication"));
        }
        let deed = Deed::EnteredInError { id: id.clone(), why: "The message came back.".to_owned() };
        let mut letter = bench.letter(Carrier::Communication, deed);
        let mut pushed = bench.push(&letter).await;
        if matches!(pushed.settlement, Settlement::Unknown { .. }) {
            letter.unclear = true;
            pushed = bench.push(&letter).await;
        }
        assert!(is_written(&pushed), "{fault:?}: {pushed:?}");
        let marked = bench.world.sandbox.resource("Communication", &id).unwrap();
        assert_eq!(
            (&marked["status"], &marked["note"]),
            (&json!("entered-in-error"), &json!([{ "text": "The message came back." }])),
            "{fault:?}"
        );
        assert_eq!(marked["meta"]["versionId"], "2", "{fault:?}: changed once");
        assert_eq!(bench.world.sandbox.unused_faults(), []);
    }
}

#[tokio::test]
async fn a_note_is_marked_at_every_ehr_that_lets_notes_be_changed() {
    for flavour in [Flavour::FullR4, Flavour::Epic, Flavour::Oracle, Flavour::Veradigm] {
        let bench = Bench::at(flavour).await;
        let coded = |code: &str| json!({ "coding": [{ "system": "urn:x", "code": code }] });
        let note = json!({ "resourceType": "DocumentReference", "id": "n1", "status": "current", "type": coded("t"), "category": [coded("c")],
            "description": "[fhir-engage a1]", "subject": { "reference": "Patient/p1" }, "content": [{ "attachment": { "contentType": "text/plain", "data": "aGVsbG8=" } }] });
        bench.world.sandbox.load([note.to_string()]).unwrap();
        let deed = Deed::EnteredInError { id: "n1".to_owned(), why: "The message came back.".to_owned() };
        bench.world.sandbox.plant(Fault::new(FaultKind::PreconditionFailed412).on("PUT", "/fhir/DocumentReference"));
        let pushed = bench.push(&bench.letter(Carrier::DocumentReference, deed)).await;
        assert!(is_written(&pushed), "{flavour:?}: {pushed:?}");
        let marked = bench.world.sandbox.resource("DocumentReference", "n1").unwrap();
        assert_eq!(
            (&marked["status"], &marked["description"]),
            (&json!("entered-in-error"), &json!("[fhir-engage a1] The message came back.")),
            "{flavour:?}"
        );
        assert_eq!(bench.world.sandbox.unused_faults(), [], "{flavour:?}");
    }
}

#[tokio::test]
async fn a_visit_is_cancelled_where_the_vendor_takes_that_and_a_refusal_is_told() {
    let bench = Bench::at(Flavour::Oracle).await;
    bench.appointment("proposed");
    let change = |to: &str| {
        let from = ["proposed".to_owned(), "booked".to_owned()].into();
        bench.letter(Carrier::Appointment, Deed::Status { appointment: "v1".to_owned(), to: to.to_owned(), start: None, from })
    };
    // To be booked it needs a slot there, which only the EHR's own people can give it.
    let pushed = bench.push(&change("booked")).await;
    let Settlement::Refused { why } = &pushed.settlement else { panic!("{pushed:?}") };
    assert!(why.starts_with("http-422"), "{why}");
    let pushed = bench.push(&change("cancelled")).await;
    assert!(is_written(&pushed), "{pushed:?}");
    assert_eq!(bench.status("Appointment", "v1"), "cancelled");
}

#[tokio::test]
async fn a_visits_status_is_changed_where_it_still_can_be() {
    let bench = Bench::new().await;
    let change = |unclear| {
        let deed = Deed::Status {
            start: None,
            appointment: "v1".to_owned(),
            to: "booked".to_owned(),
            from: ["proposed".to_owned(), "pending".to_owned()].into(),
        };
        Letter { unclear, ..bench.letter(Carrier::Appointment, deed) }
    };
    bench.appointment("proposed");
    assert!(is_written(&bench.push(&change(false)).await));
    assert_eq!(bench.status("Appointment", "v1"), "booked");
    let asked = bench.world.sandbox.request_log().len();
    assert!(is_written(&bench.push(&change(false)).await), "it has it already");
    assert_eq!(bench.world.sandbox.request_log().len(), asked + 1, "a read and no change");
    // Applied, and the answer broke off: settled by reading.
    bench.appointment("pending");
    bench.world.sandbox.plant(Fault::new(FaultKind::ResetMidBody).on("PATCH", "/fhir/Appointment"));
    assert!(matches!(bench.push(&change(false)).await.settlement, Settlement::Unknown { .. }));
    assert!(is_written(&bench.push(&change(true)).await));
    assert_eq!(bench.world.sandbox.unused_faults(), []);
    for status in ["arrived", "cancelled", "noshow"] {
        bench.appointment(status);
        let pushed = bench.push(&change(false)).await;
        let Settlement::Refused { why } = &pushed.settlement else { panic!("{pushed:?}") };
        assert!(why.starts_with("status-moved"), "{why}");
        assert_eq!(bench.status("Appointment", "v1"), status, "left as it is");
    }
}

#[tokio::test]
async fn the_probe_tells_a_condition_that_holds_from_one_that_is_ignored() {
    let bench = Bench::new().await;
    let site = Site::named("Main Street Clinic");
    let clock = ManualClock::at(Timestamp::parse("2026-11-23T15:00:00Z").unwrap());
    let run = async |key: &'static str, contract: &Contract| probe(&bench.client, contract, &site, "p1", key, &clock).await;
    let there = |key: &str| {
        let ours = |c: &Value| c["identifier"][0]["value"] == key;
        bench.world.sandbox.resources("Communication").into_iter().filter(ours).collect::<Vec<_>>()
    };

    let held = run("probe-1", &bench.contract).await;
    assert_eq!((held.conditional_create, held.why.as_deref(), held.marked.len(), held.left.len()), (Some(true), None, 1, 0), "{held:?}");
    assert_eq!((there("probe-1").len(), &there("probe-1")[0]["status"]), (1, &json!("entered-in-error")));

    bench.world.sandbox.plant(Fault::new(FaultKind::ConditionalIgnored).on("POST", "/fhir/Communication").times(2));
    let ignored = run("probe-2", &bench.contract).await;
    assert_eq!((ignored.conditional_create, ignored.marked.len(), ignored.left.len()), (Some(false), 2, 0), "{ignored:?}");
    assert!(there("probe-2").iter().all(|c| c["status"] == "entered-in-error"));

    let mut fixed = bench.contract.clone();
    fixed.communication.update = false;
    let left = run("probe-3", &fixed).await;
    assert_eq!((left.conditional_create, left.marked.len(), left.left.len()), (Some(true), 0, 1), "a person is told of it: {left:?}");
    assert!(there("probe-3")[0].to_string().contains("Test of fhir-engage"));

    for (key, fault) in [
        ("probe-4", Fault::new(FaultKind::IgnoresFilter { echo: true }).on("GET", "/fhir/Communication")),
        ("probe-5", Fault::new(FaultKind::Create500Applied).on("POST", "/fhir/Communication")),
        ("probe-6", Fault::new(FaultKind::RefuseType).on("POST", "/fhir/Communication")),
    ] {
        bench.world.sandbox.plant(fault);
        let unclear = run(key, &bench.contract).await;
        // The filter that is ignored shows what was made and all else: once is once.
        assert!(unclear.conditional_create.is_none() && unclear.why.is_some() || key == "probe-4", "{key}: {unclear:?}");
    }
    fixed.communication.conditional_create = false;
    let Probed { conditional_create, why, .. } = run("probe-7", &fixed).await;
    assert_eq!(
        (conditional_create, why.is_some(), there("probe-7").len()),
        (None, true, 0),
        "nothing is created where nothing can be told"
    );
}

/// Another R4 server stands for the site's own interface: what came there is counted there.
#[tokio::test]
async fn a_route_is_told_once_whatever_the_answer_meets() {
    let bench = Bench::new().await;
    let clock = bench.world.clock.clone();
    let site = sandbox::start(sandbox::Config { open: true, ..sandbox::Config::new(std::sync::Arc::new(move || clock.now().micros())) })
        .await
        .unwrap();
    site.load([json!({ "resourceType": "Patient", "id": "p1" }).to_string()]).unwrap();
    let route = Route {
        url: format!("{}/Communication", site.base_url()),
        content_type: "application/fhir+json".to_owned(),
        body: String::new(),
        bearer: None,
        success: [201].into(),
        id_at: Some("/id".to_owned()),
        found_at: Some("/entry/0/resource".to_owned()),
        find: Some(format!("{}/Communication?identifier=urn:s%7C{{key}}&_summary=false", site.base_url())),
    };
    let way =
        |route: &Route| Ways { route: Some(RouteWay::open(route, Some(Secret::new("t")), Duration::from_secs(5)).unwrap()), export: None };
    let retry = FaultKind::TooManyRequests { retry_after: None };
    for (at, (fault, blind)) in [
        (None, "written"),
        (Some(FaultKind::CreateAppliedAnswerLost), "parked"),
        (Some(FaultKind::CreateLost), "parked"),
        (Some(FaultKind::Create500Applied), "parked"),
        (Some(FaultKind::Create500NotApplied), "parked"),
        (Some(FaultKind::ResetMidBody), "parked"),
        (Some(FaultKind::CreateConflict409), "written"),
        (Some(retry), "written"),
        (Some(FaultKind::CreateEmptyBody), "written"),
    ]
    .into_iter()
    .enumerate()
    {
        for (find, wanted) in [(true, "written"), (false, blind)] {
            let key = format!("r{at}-{find}");
            let body = json!({ "resourceType": "Communication", "status": "completed", "subject": { "reference": "Patient/p1" },
                "identifier": [{ "system": "urn:s", "value": key }] });
            let declared = Route { find: route.find.clone().filter(|_| find), ..route.clone() };
            let mut letter =
                Letter { value: key.clone(), ..bench.letter(Carrier::Route, Deed::Create { bytes: body.to_string().into_bytes() }) };
            if let Some(fault) = fault.clone() {
                site.plant(Fault::new(fault).on("POST", "/fhir/Communication"));
            }
            let mut ended = "unsettled";
            for _ in 0..4 {
                ended = match bench.push_by(&way(&declared), &letter).await.settlement {
                    Settlement::Written { .. } => "written",
                    Settlement::Parked { .. } => "parked",
                    Settlement::Again { .. } => continue,
                    Settlement::Unknown { .. } => {
                        (letter.unclear, letter.tried) = (true, Some(Carrier::Route));
                        continue;
                    }
                    other => panic!("{fault:?}: {other:?}"),
                };
                break;
            }
            let there = site.resources("Communication").iter().filter(|c| c["identifier"][0]["value"] == key.as_str()).count();
            assert_eq!(ended, wanted, "{fault:?}, find: {find}");
            assert!(there == 1 || (ended == "parked" && there == 0), "{fault:?}, find: {find}: {there} times");
            assert_eq!(site.unused_faults(), [], "{fault:?}");
        }
    }
    // One that is owed by all we know, and is there: a database that was restored from a backup knows less.
    for (find, times) in [(true, 1), (false, 2)] {
        let key = format!("restored-{find}");
        let body = json!({ "resourceType": "Communication", "status": "completed", "subject": { "reference": "Patient/p1" },
            "identifier": [{ "system": "urn:s", "value": key }] });
        let declared = Route { find: route.find.clone().filter(|_| find), ..route.clone() };
        let letter = Letter { value: key.clone(), ..bench.letter(Carrier::Route, Deed::Create { bytes: body.to_string().into_bytes() }) };
        for _ in 0..2 {
            assert!(is_written(&bench.push_by(&way(&declared), &letter).await));
        }
        assert_eq!(site.resources("Communication").iter().filter(|c| c["identifier"][0]["value"] == key.as_str()).count(), times);
    }
    let elsewhere = Route { find: Some("http://127.0.0.1:9/x/{key}".to_owned()), ..route };
    assert!(RouteWay::open(&elsewhere, None, Duration::from_secs(5)).is_err(), "nothing but the declared origin is asked");
}
