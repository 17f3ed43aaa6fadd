//! The way of one change: told, kept, read, stored. In each manner.

use domain::model::ResourceType::{Appointment, CarePlan, Patient};
use serde_json::json;

use super::setup::{Listening, topic};
use crate::support::on_both;

on_both! {
    async fn a_change_that_is_told_is_read_and_nothing_else(db) {
        let l = Listening::start(db, json!({ "types": { "Appointment": [topic(Appointment)], "Patient": [topic(Patient)] } })).await;
        l.begin().await;
        let (ids, reads) = (l.ids(Appointment), l.reads(Appointment));
        l.edit(Appointment, &ids[0], "fr").await;
        assert_eq!((l.waiting(Appointment), l.reads(Appointment)), (1, reads), "it is kept, and nothing is read before it was answered");
        let done = l.round().await;
        assert_eq!((done.read, done.changed, &done.failures[..]), (1, 1, &[][..]));
        assert_eq!((l.waiting(Appointment), l.reads(Appointment)), (0, reads + 1));
        assert_eq!(l.stored(Appointment, &ids[0]).unwrap()["language"], "fr");
        // Another type in the same way, and one that nobody asked for not.
        let (patients, plans) = (l.ids(Patient), l.ids(CarePlan));
        l.edit(Patient, &patients[0], "de").await;
        l.edit(CarePlan, &plans[0], "de").await;
        l.round().await;
        assert_eq!(l.stored(Patient, &patients[0]).unwrap()["language"], "de");
        assert_ne!(l.stored(CarePlan, &plans[0]).unwrap()["language"], "de");
        let row = l.rows().into_iter().find(|r| r.rtype == "Appointment").unwrap();
        assert_eq!((row.events, row.last_number, row.missing_from), (1, Some(1), None));
    }

    async fn a_resource_that_is_deleted_is_gone_by_two_reads_apart_in_time(db) {
        let l = Listening::start(db, json!({ "types": { "Appointment": [topic(Appointment)] } })).await;
        l.begin().await;
        let id = l.ids(Appointment)[0].clone();
        l.world.ehr.delete("Appointment", &id).unwrap();
        l.told().await;
        l.round().await;
        assert!(l.stored(Appointment, &id).is_some(), "absence is not deletion");
        l.world.forward(chrono::TimeDelta::minutes(59));
        l.round().await;
        assert!(l.stored(Appointment, &id).is_some());
        l.world.forward(chrono::TimeDelta::minutes(2));
        l.round().await;
        assert_eq!((l.stored(Appointment, &id), l.waiting(Appointment)), (None, 0));
    }

    async fn r4s_own_rest_hook_says_that_something_changed_and_with_a_payload_what(db) {
        let l = Listening::start(db, json!({ "types": { "Appointment": [] } })).await;
        l.begin().await;
        let id = l.ids(Appointment)[0].clone();
        l.edit(Appointment, &id, "fr").await;
        assert_eq!(l.waiting(Appointment), 0, "nobody knows which one");
        l.round().await;
        assert!(l.is_wanted(Appointment), "the type is read by its cursor");
        l.sync().await;
        assert_eq!(l.stored(Appointment, &id).unwrap()["language"], "fr");
        assert!(!l.is_wanted(Appointment));
        // Told at once again, it is not read more than once a minute.
        l.edit(Appointment, &id, "de").await;
        l.edit(Appointment, &id, "it").await;
        l.round().await;
        assert!(!l.is_wanted(Appointment));
        l.world.forward(chrono::TimeDelta::seconds(61));
        l.round().await;
        assert!(l.is_wanted(Appointment));

        l.register(json!({ "types": { "Appointment": [] }, "payload": true })).await;
        l.round().await;
        l.told().await;
        l.world.forward(chrono::TimeDelta::seconds(6));
        l.round().await;
        let row = l.row();
        assert_eq!((row.state.as_str(), l.world.ehr.count("Subscription")), ("active", 1), "the other one was ended");
        l.edit(Appointment, &id, "nl").await;
        assert_eq!(l.waiting(Appointment), 1, "{:?}, {:?}", l.row().events, l.world.ehr.resources("Subscription"));
        l.round().await;
        assert_eq!(l.stored(Appointment, &id).unwrap()["language"], "nl");
    }

    async fn a_vendors_signature_is_checked_and_its_numbers_are_not(db) {
        let l = Listening::start(db, json!({ "types": { "Patient": [] }, "unlisted": true })).await;
        let profile = json!({ "vendor": "athena", "base_url": l.world.ehr.base_url(), "auth": { "kind": "none" }, "roster": ["appointments"],
            "events": { "types": { "Patient": [] }, "address": format!("http://{}", l.server.address) } });
        l.world.register(&crate::schedule::setup::north(), &profile.to_string()).await;
        l.begin().await;
        assert_eq!(l.rows().len(), 4, "one for each topic of the vendor's");
        l.world.ehr.plant(sandbox::Fault::new(sandbox::FaultKind::EventForged).on("NOTIFY", "/fhir/Patient"));
        let id = l.ids(Patient)[0].clone();
        for language in ["fr", "de"] {
            l.edit(Patient, &id, language).await;
        }
        assert_eq!(l.waiting(Patient), 1, "four topics told it twice: it is one read");
        l.round().await;
        assert_eq!(l.stored(Patient, &id).unwrap()["language"], "de");
        assert!(l.rows().iter().all(|r| r.last_number.is_none() && r.missing_from.is_none() && r.events == 2));
    }
    async fn a_visit_that_is_named_by_a_number_of_the_vendors_is_read_by_the_id_that_the_site_says_it_has(db) {
        let l = Listening::start(db, json!({})).await;
        let profile = |ids: serde_json::Value| {
            json!({ "vendor": "athena", "base_url": l.world.ehr.base_url(), "auth": { "kind": "none" }, "roster": ["appointments"],
                "events": { "types": { "Appointment": [] }, "ids": ids, "unlisted": true, "address": format!("http://{}", l.server.address) } })
        };
        // Without it nothing could be read, so nothing is asked for.
        l.world.register(&crate::schedule::setup::north(), &profile(json!({})).to_string()).await;
        l.round().await;
        assert_eq!(l.rows().len(), 0);
        let plan = l.app.sync_plan(&crate::schedule::setup::north()).await.unwrap();
        let of = plan.of_type(Appointment).unwrap();
        assert!(of.events.is_none() && of.warnings.iter().any(|w| w.contains("--event-id Appointment=PATTERN")), "{of:?}");
        l.world.register(&crate::schedule::setup::north(), &profile(json!({ "Appointment": "{space}-{value}" })).to_string()).await;
        l.world.forward(chrono::TimeDelta::minutes(3));
        l.begin().await;
        assert!(l.rows().iter().all(|r| r.rtype == "Appointment" && r.manner == "signed"), "{:?}", l.rows());
        let id = l.ids(Appointment)[0].clone();
        l.edit(Appointment, &id, "fr").await;
        assert_eq!(l.waiting(Appointment), 1);
        let done = l.round().await;
        assert_eq!((done.read, done.changed), (1, 1), "{done:?}");
        assert_eq!(l.stored(Appointment, &id).unwrap()["language"], "fr");
    }
}
