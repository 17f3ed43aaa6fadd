//! Subscriptions from their beginning to their end: asked for where that is allowed, renewed, put right, and ended.

use chrono::TimeDelta;
use domain::model::ResourceType::{Appointment, Patient};
use sandbox::{Fault, FaultKind};
use serde_json::json;

use super::setup::{Listening, fetched, topic};
use crate::schedule::setup::north;
use crate::support::on_both;

fn told_by_topic() -> serde_json::Value {
    json!({ "types": { "Appointment": [topic(Appointment)] } })
}

fn own(kind: &str, subject: &str) -> (String, String) {
    (kind.to_owned(), subject.to_owned())
}

on_both! {
    async fn nobody_is_asked_who_does_not_list_it_or_whom_nobody_allowed(db) {
        let l = Listening::start(db, json!({})).await;
        l.round().await;
        assert_eq!(l.asked("POST", "/fhir/Subscription"), 0, "without the operator's word");
        let mut statement = fetched(&l.world.ehr.base_url());
        statement["rest"][0]["resource"].as_array_mut().unwrap().retain(|r| r["type"] != "Subscription");
        l.world.ehr.pretend(Some(&statement.to_string()));
        l.register(told_by_topic()).await;
        for _ in 0..3 {
            l.round().await;
        }
        assert_eq!((l.asked("", "/fhir/Subscription"), l.asked("POST", "/fhir/Subscription"), l.rows().len()), (0, 0, 0), "not listed");
        let plan = l.app.sync_plan(&north()).await.unwrap();
        let of = plan.of_type(Appointment).unwrap();
        assert!(of.events.is_none() && of.warnings.iter().any(|w| w.contains("does not list creating a Subscription")), "{of:?}");
        let metadata = l.asked("GET", "/fhir/metadata");
        l.round().await;
        assert_eq!(l.asked("GET", "/fhir/metadata"), metadata, "it is not connected with each round");
        // The operator insists.
        let mut insisting = told_by_topic();
        insisting["unlisted"] = json!(true);
        l.register(insisting).await;
        l.world.forward(TimeDelta::minutes(3));
        l.begin().await;
    }

    async fn one_is_renewed_before_it_ends_and_ended_when_nobody_wants_it(db) {
        let l = Listening::start(db, told_by_topic()).await;
        l.begin().await;
        let (first, asked) = (l.row(), l.asked("POST", "/fhir/Subscription"));
        l.world.forward(TimeDelta::days(3));
        l.beat().await;
        l.round().await;
        assert_eq!(l.row().ends_at, first.ends_at, "not yet");
        l.world.forward(TimeDelta::days(3));
        l.round().await;
        l.told().await;
        let renewed = l.row();
        assert!(renewed.ends_at > first.ends_at && renewed.remote_id == first.remote_id, "{renewed:?}");
        assert_eq!(l.asked("POST", "/fhir/Subscription"), asked);
        l.world.forward(TimeDelta::days(2));
        l.beat().await;
        let id = l.ids(Appointment)[0].clone();
        l.edit(Appointment, &id, "fr").await;
        l.round().await;
        assert_eq!(l.stored(Appointment, &id).unwrap()["language"], "fr", "past the first end");

        l.register(json!({})).await;
        l.round().await;
        assert_eq!((l.rows().len(), l.world.ehr.count("Subscription")), (0, 0));
        // And when it is removed by hand.
        l.register(told_by_topic()).await;
        l.begin().await;
        let kept = l.app.unsubscribe(&north()).await.unwrap();
        assert_eq!((kept.ended, l.world.ehr.count("Subscription")), (1, 0));
    }

    async fn another_word_of_the_operators_is_another_subscription(db) {
        let l = Listening::start(db, told_by_topic()).await;
        l.begin().await;
        let first = l.row();
        l.register(json!({ "types": { "Appointment": [topic(Appointment)], "Patient": [] }, "heartbeat_secs": 60 })).await;
        l.round().await;
        l.told().await;
        l.world.forward(TimeDelta::seconds(6));
        l.round().await;
        let rows = l.rows();
        assert_eq!((rows.len(), l.world.ehr.count("Subscription")), (2, 2), "{rows:?}");
        assert!(rows.iter().all(|r| r.state == "active" && r.id != first.id), "{rows:?}");
        let patient = l.ids(Patient)[0].clone();
        l.edit(Patient, &patient, "fr").await;
        l.round().await;
        assert!(l.is_wanted(Patient));
    }

    async fn one_that_the_ehr_put_into_error_is_put_right_and_what_it_missed_is_read(db) {
        let l = Listening::start(db, told_by_topic()).await;
        l.begin().await;
        let ids = l.ids(Appointment);
        l.world.ehr.plant(Fault::new(FaultKind::SubscriptionErrs).on("NOTIFY", "/fhir/Appointment"));
        l.edit(Appointment, &ids[0], "fr").await;
        l.world.forward(TimeDelta::minutes(16));
        let done = l.round().await;
        assert!(done.failures.iter().any(|why| why.contains("into error")), "{done:?}");
        l.told().await;
        l.world.forward(TimeDelta::seconds(31));
        l.round().await;
        l.round().await;
        assert_eq!(l.row().state, "active");
        assert!(l.is_wanted(Appointment), "what was not told is read");
        l.edit(Appointment, &ids[1], "fr").await;
        l.round().await;
        assert_eq!(l.stored(Appointment, &ids[1]).unwrap()["language"], "fr");
        assert_eq!(l.conditions(), [], "one failure that passed is nobody's business");
    }

    async fn one_that_never_begins_or_is_gone_is_told_and_asked_for_anew(db) {
        let l = Listening::start(db, told_by_topic()).await;
        l.world.ehr.plant(Fault::new(FaultKind::NeverHandshakes).on("NOTIFY", "/fhir/Subscription"));
        l.round().await;
        l.told().await;
        for _ in 0..3 {
            l.world.forward(TimeDelta::minutes(3));
            l.round().await;
        }
        let row = l.row();
        assert!(row.failure.as_ref().is_some_and(|why| why.contains("has not begun to tell")), "{row:?}");
        assert_eq!(l.conditions(), [own("failing", "north/Appointment events")]);
        // Somebody at the EHR deletes it: it is asked for anew, and then all is well.
        l.world.ehr.delete("Subscription", row.remote_id.as_deref().unwrap()).unwrap();
        for _ in 0..4 {
            l.world.forward(TimeDelta::minutes(31));
            l.round().await;
            l.told().await;
        }
        l.beat().await;
        l.world.forward(TimeDelta::minutes(16));
        l.beat().await;
        l.round().await;
        let row = l.row();
        assert_eq!((row.state.as_str(), row.failures, l.conditions()), ("active", 0, vec![]), "{row:?}");
        assert_eq!(l.world.ehr.count("Subscription"), 1);
    }

    async fn a_silence_is_told_and_made_up_for(db) {
        let l = Listening::start(db, told_by_topic()).await;
        l.begin().await;
        l.world.forward(TimeDelta::minutes(10));
        l.beat().await;
        l.round().await;
        assert_eq!((l.conditions(), l.is_wanted(Appointment)), (vec![], false));
        l.world.forward(TimeDelta::minutes(14));
        l.world.ehr.plant(Fault::new(FaultKind::HeartbeatLost).on("NOTIFY", "/fhir/Subscription"));
        l.beat().await;
        l.round().await;
        l.round().await;
        assert_eq!(l.conditions(), [own("late", "north/Appointment events")]);
        assert!(l.is_wanted(Appointment));
        l.beat().await;
        l.world.forward(TimeDelta::minutes(13));
        l.beat().await;
        l.round().await;
        assert_eq!(l.conditions(), []);
    }

    async fn an_answer_that_is_lost_leaves_one_subscription(db) {
        let l = Listening::start(db, told_by_topic()).await;
        l.world.ehr.plant(Fault::new(FaultKind::CreateAppliedAnswerLost).on("POST", "/fhir/Subscription"));
        l.round().await;
        l.told().await;
        // The handshake came by the address of the row, and told the id.
        assert!(l.row().remote_id.is_some());
        l.world.forward(TimeDelta::seconds(61));
        l.round().await;
        assert_eq!((l.row().state.as_str(), l.world.ehr.count("Subscription")), ("active", 1));
    }
}
