//! What is lost, doubled, late or out of order on the way: made up for by its number, or by the type's other way.

use chrono::TimeDelta;
use domain::model::ResourceType::Appointment;
use sandbox::{Fault, FaultKind};
use serde_json::json;

use super::setup::{Listening, topic};
use crate::support::on_both;

fn on_appointments(kind: FaultKind) -> Fault {
    Fault::new(kind).on("NOTIFY", "/fhir/Appointment")
}

async fn listening(db: crate::support::Database) -> Listening {
    let l = Listening::start(db, json!({ "types": { "Appointment": [topic(Appointment)] } })).await;
    l.begin().await;
    l
}

on_both! {
    async fn an_event_that_is_lost_is_asked_for_by_its_number(db) {
        let l = listening(db).await;
        let ids = l.ids(Appointment);
        l.world.ehr.plant(on_appointments(FaultKind::EventLost).times(2));
        for id in &ids[..2] {
            l.edit(Appointment, id, "fr").await;
        }
        l.edit(Appointment, &ids[2], "fr").await;
        l.round().await;
        let row = l.row();
        assert_eq!((row.last_number, row.missing_from, row.missing_to), (Some(3), Some(1), Some(2)));
        assert_ne!(l.stored(Appointment, &ids[0]).unwrap()["language"], "fr");
        l.world.forward(TimeDelta::seconds(11));
        l.round().await;
        l.round().await;
        assert_eq!(l.asked("GET", &format!("/fhir/Subscription/{}/$events", l.row().remote_id.unwrap())), 1);
        l.assert_same(Appointment);
        assert_eq!((l.row().missing_from, l.is_wanted(Appointment)), (None, false));
    }

    async fn where_the_ehr_gives_no_events_the_type_is_read_by_its_other_way(db) {
        let l = listening(db).await;
        l.world.ehr.pretend(Some(&without_operations(&l)));
        // The connection that is kept is of before.
        l.world.forward(TimeDelta::minutes(11));
        let ids = l.ids(Appointment);
        l.world.ehr.plant(on_appointments(FaultKind::EventLost));
        l.edit(Appointment, &ids[0], "fr").await;
        l.edit(Appointment, &ids[1], "fr").await;
        l.world.forward(TimeDelta::seconds(11));
        l.round().await;
        l.round().await;
        assert!(l.is_wanted(Appointment) && l.asked("GET", "/fhir/Subscription/") > 0);
        assert_eq!(l.world.ehr.request_log().iter().filter(|r| r.path.contains("$events")).count(), 0, "not listed, not asked");
        l.sync().await;
        l.assert_same(Appointment);
    }

    async fn doubled_and_disordered_events_cost_one_read_each_and_close_their_gap(db) {
        let l = listening(db).await;
        let ids = l.ids(Appointment);
        let reads = l.reads(Appointment);
        l.world.ehr.plant(on_appointments(FaultKind::EventsOutOfOrder));
        l.world.ehr.plant(on_appointments(FaultKind::EventDoubled));
        l.edit(Appointment, &ids[0], "fr").await;
        l.edit(Appointment, &ids[1], "fr").await;
        let row = l.row();
        assert_eq!((row.last_number, row.missing_from), (Some(2), None), "the first came after the second");
        assert!(row.in_doubt, "a number that was there before may be a repeat, or a beginning");
        l.round().await;
        assert_eq!(l.reads(Appointment), reads + 2);
        l.assert_same(Appointment);
        // The EHR's count says that it was a repeat.
        l.world.forward(TimeDelta::seconds(11));
        l.round().await;
        l.round().await;
        assert_eq!((l.row().in_doubt, l.is_wanted(Appointment)), (false, false));
    }

    async fn numbers_that_begin_anew_have_the_type_read_anew(db) {
        let l = listening(db).await;
        let ids = l.ids(Appointment);
        for id in &ids[..3] {
            l.edit(Appointment, id, "fr").await;
        }
        l.world.ehr.plant(on_appointments(FaultKind::EventNumbersRestart));
        l.edit(Appointment, &ids[3], "fr").await;
        assert!(l.row().in_doubt);
        l.world.forward(TimeDelta::seconds(11));
        l.round().await;
        l.round().await;
        let row = l.row();
        assert_eq!((row.last_number, row.in_doubt), (Some(1), false));
        assert!(l.is_wanted(Appointment), "what was told between is not known");
        // And it goes on from there.
        l.edit(Appointment, &ids[4], "fr").await;
        assert_eq!((l.row().last_number, l.row().missing_from), (Some(2), None));
    }

    async fn a_heartbeat_tells_of_the_last_event_that_was_lost(db) {
        let l = listening(db).await;
        let id = l.ids(Appointment)[0].clone();
        l.world.ehr.plant(on_appointments(FaultKind::EventLost));
        l.edit(Appointment, &id, "fr").await;
        assert_eq!(l.row().last_number, Some(0));
        l.beat().await;
        assert_eq!((l.row().last_number, l.row().missing_from), (Some(1), Some(1)));
        l.world.forward(TimeDelta::seconds(11));
        l.round().await;
        l.round().await;
        l.assert_same(Appointment);
    }

    async fn an_event_that_comes_late_does_no_harm(db) {
        let l = listening(db).await;
        let id = l.ids(Appointment)[0].clone();
        l.world.ehr.plant(on_appointments(FaultKind::EventLate));
        l.edit(Appointment, &id, "fr").await;
        l.edit(Appointment, &id, "de").await;
        l.world.forward(TimeDelta::seconds(11));
        l.round().await;
        l.round().await;
        tokio::task::block_in_place(|| l.world.ehr.release_events());
        l.round().await;
        l.assert_same(Appointment);
    }
}

/// The sandbox's statement, which lists neither `$status` nor `$events`.
fn without_operations(l: &Listening) -> String {
    let base = l.world.ehr.base_url();
    let mut statement: serde_json::Value = crate::events::setup::fetched(&base);
    for resource in statement["rest"][0]["resource"].as_array_mut().unwrap() {
        if resource["type"] == "Subscription" {
            resource.as_object_mut().unwrap().remove("operation");
        }
    }
    statement.to_string()
}
