//! A gateway that is killed between taking a notification in and reading what it named, again and again: nothing is lost, nothing doubled.
//! It runs as a process, against a sandbox in this one, on the machine's clock.

use std::time::{Duration, Instant};

use domain::Clock as _;
use domain::model::{EhrId, ResourceType};
use fhir_engage::app::SystemClock;
use fhir_engage::store::{Store, ehrs, refresh, resources, subscriptions};
use sandbox::{Fault, FaultKind, Population};
use serde_json::json;

use super::setup::topic;
use crate::support::{Installation, Running, on_both};

const PATIENCE: Duration = Duration::from_secs(60);

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn waiting(store: &Store, ehr: &EhrId) -> i64 {
    store.read_blocking(|conn| refresh::waiting(conn, ehr, ResourceType::Patient)).unwrap()
}

on_both! {
    async fn what_was_told_before_a_kill_is_read_after_it(db) {
        let (port, public) = (free_port(), free_port());
        let configuration = format!(
            "[worker]\nsync_every = \"1h\"\ntick = \"1s\"\nlease = \"6s\"\n[web]\nbind = \"127.0.0.1:{port}\"\n[web.public]\nlisten = \"127.0.0.1:{public}\"\n"
        );
        let gateway = Installation::new(&db, &configuration);
        let clock = std::sync::Arc::new(SystemClock::with_offset(chrono::TimeDelta::zero()));
        let time = clock.clone();
        let config = sandbox::Config { open: true, ..sandbox::Config::new(std::sync::Arc::new(move || time.now().micros())) };
        let ehr = sandbox::start(config).await.unwrap();
        ehr.load(Population { patients: 8, seed: 7, as_of_micros: clock.now().micros(), zone: chrono_tz::America::New_York }.resources()).unwrap();
        let north = EhrId::parse("north").unwrap();
        let profile = json!({ "base_url": ehr.base_url(), "auth": { "kind": "none" }, "events": {
            "types": { "Patient": [topic(ResourceType::Patient)] }, "address": format!("http://127.0.0.1:{public}") } });
        let store = db.store();
        let (text, id, now) = (profile.to_string(), north.clone(), clock.now());
        store.write("test", move |conn| ehrs::put(conn, &id, &text, now)).await.unwrap();
        gateway.run(&["sync", "run"]).ok();
        let folder = gateway.folder().to_str().unwrap().to_owned();
        let serve = || Running::start(&mut crate::support::gateway(&["serve", "--data", &folder, "--database", &db.argument()]));
        let mut running = serve();
        let active = || store.read_blocking(subscriptions::list).unwrap().iter().any(|r| r.state == "active");
        tokio::task::block_in_place(|| until("the subscription does not work", active));

        let ids: Vec<String> = ehr.resources("Patient").iter().map(|p| p["id"].as_str().unwrap().to_owned()).collect();
        for (round, id) in ids.iter().enumerate() {
            // The EHR takes its time with the read, so that the kill comes between the two.
            ehr.plant(Fault::new(FaultKind::PageTimeout { millis: 3_000 }).on("GET", "/fhir/Patient/"));
            ehr.edit("Patient", id, |p| p["language"] = json!(format!("x-{round}"))).unwrap();
            tokio::task::block_in_place(|| {
                ehr.told();
                assert_eq!(waiting(&store, &north), 1, "it was taken in, and not read yet");
                until("it is not read", || ehr.unused_faults().is_empty());
                running.kill();
                assert_eq!(waiting(&store, &north), 1);
                running = serve();
                until("it was lost", || waiting(&store, &north) == 0);
            });
            let stored = store.read_blocking(|conn| resources::get(conn, &north, ResourceType::Patient, id)).unwrap().unwrap();
            let body: serde_json::Value = serde_json::from_slice(&stored.body(store.codec()).unwrap()).unwrap();
            assert_eq!(body["language"], format!("x-{round}"));
        }
        let count = store.read_blocking(resources::counts).unwrap();
        assert_eq!(count.iter().find(|c| c.1 == "Patient").unwrap().2, 8, "none twice");
        assert_eq!((ehr.count("Subscription"), store.read_blocking(subscriptions::list).unwrap().len()), (1, 1), "and asked for once");
        drop(running);
    }
}
