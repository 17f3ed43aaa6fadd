//! What `sync status` says of events and of completeness.

use std::sync::Arc;

use domain::model::ResourceType::{Appointment, Patient};
use domain::{Clock as _, Timestamp};
use fhir_engage::app::SystemClock;
use fhir_engage::store::subscriptions::{self, Heard, New};
use fhir_engage::store::{Store, coverage, refresh};
use sandbox::Population;
use serde_json::{Value, json};

use crate::kill::Installation;
use crate::schedule::setup::north;
use crate::support::on_both;

fn clock() -> SystemClock {
    SystemClock::showing(Timestamp::parse("2026-11-23T18:05:00Z").unwrap())
}

/// What has come by a subscription: seven events, of which two numbers did not come, and one read that is owed.
async fn hear(store: &Store, now: Timestamp) {
    let new = New {
        kind: Appointment,
        topic: "https://ehr.example.org/topic".to_owned(),
        manner: "topic",
        request: "test".to_owned(),
        token_hash: "hash".to_owned(),
        sealed: vec![1],
        ends_at: Some(now.plus(chrono::TimeDelta::days(1))),
        heartbeat_secs: Some(300),
    };
    let kept = store.write("test", move |conn| {
        let id = subscriptions::begin(conn, &north(), &new, now)?.unwrap();
        subscriptions::told(conn, id, Some("s1"), "active", now)?;
        let heard = Heard { events: 7, last_number: Some(9), missing: Some((4, 5)), in_doubt: false, look_at: None };
        subscriptions::heard(conn, id, heard, now)?;
        refresh::ask(conn, &north(), Appointment, "apt-000001-0", "event", now)?;
        coverage::miss(conn, &north(), Patient, &["pat-000001"], false, now)
    });
    kept.await.unwrap();
}

on_both! {
    async fn status_tells_what_is_told_what_is_owed_and_how_complete_each_type_is(db) {
        let time = clock();
        let ehr = sandbox::Config { open: true, ..sandbox::Config::new(Arc::new(move || time.now().micros())) };
        let ehr = sandbox::start(ehr).await.unwrap();
        let people = Population { patients: 5, seed: 7, as_of_micros: clock().now().micros(), zone: chrono_tz::America::New_York };
        ehr.load(people.resources()).unwrap();
        let gateway = Installation::new(db);
        gateway.set_clock(clock());
        gateway.run(&["ehr", "add", "north", "--url", &ehr.base_url()]);
        gateway.run(&["sync", "run"]);
        let status = || -> Value { gateway.start(&["sync", "status", "--json"]).wait().json() };
        let of = |status: &Value, kind: &str| status.as_array().unwrap().iter().find(|row| row["type"] == kind).unwrap().clone();
        let before = of(&status(), "Appointment");
        assert_eq!((&before["events"], &before["completeness"]["complete"]), (&Value::Null, &json!(true)), "{before}");
        hear(&gateway.db.store(), clock().now()).await;
        let told = status();
        let events = of(&told, "Appointment")["events"].clone();
        let one = &events["subscriptions"][0];
        assert_eq!((&events["reads_owed"], &one["state"], &one["events"], &one["missing"]), (&json!(1), &json!("active"), &json!(7), &json!([4, 5])));
        assert!(one["last_event_at"].as_str().unwrap().starts_with("2026-11-23T18:05") && one["last_heard_at"].is_string(), "{one}");
        assert_eq!(of(&told, "Patient")["completeness"]["awaiting_second_read"], 1);
        let text = gateway.run(&["sync", "status"]);
        for says in ["NOT READ YET", "https://ehr.example.org/topic", "numbers 4 to 5", "COMPLETE", "north Patient: 1 resource no longer shown"] {
            assert!(text.contains(says), "{says}: {text}");
        }
        assert!(!text.contains("apt-000001"), "no id of a resource is told");
    }
}
