//! The API's answers on a filled database.

use serde_json::json;

use super::fixture::{Server, fill};
use crate::support::on_both;

on_both! {
    async fn lists_are_by_id_and_state_and_can_be_narrowed(db) {
        fill(&db.store());
        let server = Server::start(&db.store());
        let attempts = server.get_with_bearer("/api/v1/attempts").await.json();
        let mut states: Vec<(&str, &str)> = attempts["items"].as_array().unwrap().iter().map(|a| (a["id"].as_str().unwrap(), a["state"].as_str().unwrap())).collect();
        states.sort_unstable();
        assert_eq!(states, [("a1", "finished"), ("a2", "finished"), ("a3", "planned"), ("a4", "refused")]);
        let refused = server.get_with_bearer("/api/v1/attempts?state=refused").await.json();
        assert_eq!(refused["items"].as_array().unwrap().len(), 1);
        assert_eq!(refused["items"][0]["id"], "a4");
        assert_eq!(refused["items"][0]["due_at"], "2027-01-15T08:00:00Z");
        assert_eq!(server.get_with_bearer("/api/v1/attempts?limit=2").await.json()["items"].as_array().unwrap().len(), 2);

        let written = server.get_with_bearer("/api/v1/writebacks?state=written").await.json();
        assert_eq!(written["items"].as_array().unwrap().len(), 1);
        assert_eq!(written["items"][0]["remote_id"], "77");
        assert_eq!(server.get_with_bearer("/api/v1/writebacks?state=owed").await.json()["items"].as_array().unwrap().len(), 1);

        let runs = server.get_with_bearer("/api/v1/runs").await.json();
        let types: Vec<&str> = runs["items"].as_array().unwrap().iter().map(|r| r["type"].as_str().unwrap()).collect();
        assert_eq!(types, ["CarePlan", "Appointment", "Patient"], "newest first");
        assert_eq!(runs["items"][1]["failure"], "the EHR answered 503");
        assert_eq!(server.get_with_bearer("/api/v1/runs?ehr=south").await.json(), json!({ "items": [] }));

        let segments = server.get_with_bearer("/api/v1/segments").await.json();
        let sizes: Vec<(&str, i64, i64)> = segments["items"].as_array().unwrap().iter().map(|s| (s["id"].as_str().unwrap(), s["members"].as_i64().unwrap(), s["held"].as_i64().unwrap())).collect();
        assert_eq!(sizes, [("new-patient", 2, 0), ("visit-72h-not-confirmed", 1, 1)]);

        let overview = server.get_with_bearer("/api/v1/overview").await.json();
        assert_eq!(overview["synced"], json!({ "Patient": 2, "Appointment": 0, "CarePlan": 0 }));
        assert_eq!(overview["attempts"]["sent"], 2);
        assert_eq!(overview["write_backs"], json!({ "owed": 1, "written": 1 }));
        assert_eq!(overview["as_of"], "2027-01-15T09:00:00Z");
        assert_eq!(overview["syncs"].as_array().unwrap().len(), 3);
    }
}
