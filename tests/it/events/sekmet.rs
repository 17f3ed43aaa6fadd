//! Events of an EHR that others wrote: SEKMET asks for a token, shakes hands, and tells of what its own workflows do. Its statement lists `$status`
//! and no `$events`, and its topics.

use std::time::{Duration, Instant};

use domain::model::{EhrId, ResourceType};
use fhir_engage::store::{Store, resources, subscriptions};
use serde_json::Value;

use crate::support::{Installation, Running, Sekmet, gateway, on_both};

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn stored(store: &Store, kind: ResourceType, id: &str) -> Option<Value> {
    let ward = EhrId::parse("ward").unwrap();
    let row = store.read_blocking(|conn| resources::get(conn, &ward, kind, id)).unwrap()?;
    serde_json::from_slice(&row.body(store.codec()).unwrap()).ok()
}

on_both! {
    fn what_its_workflows_do_is_told_and_read(db) {
        let port = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (own, public) = (port(), port());
        let configuration = format!(
            "[worker]\nsync_every = \"2h\"\ntick = \"1s\"\n[web]\nbind = \"127.0.0.1:{own}\"\n[web.public]\nlisten = \"127.0.0.1:{public}\"\n"
        );
        let installation = Installation::new(&db, &configuration);
        let Some(ehr) = Sekmet::start(&installation.run(&["keys", "jwks", "--alg", "ES384"]).ok().json()) else { return };
        ehr.seed(3);
        ehr.open_schedule(3);
        let address = format!("http://127.0.0.1:{public}");
        installation
            .run(&[
                "ehr", "add", "ward", "--url", &ehr.base_url(), "--client-id", "gateway", "--key-alg", "ES384", "--event-address", &address,
                "--events", "Patient=http://sekmet.dev/fhir/SubscriptionTopic/patient-change",
                "--events", "Appointment", "--event-payload", "--event-heartbeat", "30",
            ])
            .ok();
        installation.run(&["sync", "run"]).ok();
        let plan = installation.json(&["sync", "plan", "ward"]);
        let of = |kind: &str| plan["plan"]["types"].as_array().unwrap().iter().find(|t| t["type"] == kind).unwrap()["events"]["manner"].clone();
        assert_eq!((of("Patient"), of("Appointment")), ("topic".into(), "rest-hook".into()), "{plan}");
        let folder = installation.folder().to_str().unwrap().to_owned();
        let serving = Running::start(&mut gateway(&["serve", "--data", &folder, "--database", &db.argument()]));
        let store = db.store();
        let rows = || store.read_blocking(subscriptions::list).unwrap();
        until("the subscriptions do not work", || rows().iter().filter(|r| r.state == "active").count() == 2);

        let patient = ehr.create(&serde_json::json!({ "resourceType": "Patient", "active": true, "name": [{ "family": "Probe" }] }));
        until("a new patient is not read", || stored(&store, ResourceType::Patient, &patient).is_some());
        let appointment = ehr.book(&patient);
        until("a new appointment is not read", || stored(&store, ResourceType::Appointment, &appointment).is_some());
        ehr.cancel(&appointment);
        let cancelled = || stored(&store, ResourceType::Appointment, &appointment).is_some_and(|a| a["status"] == "cancelled");
        until("that it was cancelled is not read", cancelled);

        let listed = installation.json(&["ehr", "subscriptions", "list"]);
        assert!(listed.as_array().unwrap().iter().all(|s| s["state"] == "active" && s["events"].as_i64() > Some(0)), "{listed}");
        serving.stop();
        let ended = installation.json(&["ehr", "subscriptions", "end", "ward"]);
        assert_eq!(ended["ended"], 2, "{ended}");
        assert!(ehr.search("Subscription", "_count=10").is_empty());
    }
}
