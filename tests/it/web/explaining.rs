//! Explanations over the API of a gateway that serves: for whoever shows the bearer, asked for in a body.

use fhir_engage::store::audit;
use serde_json::{Value, json};

use crate::store::fixtures::read;
use crate::support::{Installation, Serving, on_both};

const BEARER: &str = "0123456789abcdef-a-bearer-of-a-site";

on_both! {
    fn an_explanation_is_asked_for_in_a_body(db) {
        let site = Installation::new(&db, "[web]\nbind = \"127.0.0.1:0\"\nbearer = \"file:bearer\"\n");
        std::fs::write(site.folder().join("bearer"), format!("{BEARER}\n")).unwrap();
        let file = site.folder().join("Patient.ndjson");
        let lines = [json!({ "resourceType": "Patient", "id": "p1", "birthDate": "1950-01-01" }), json!({ "resourceType": "Patient", "id": "p2", "birthDate": "1900" })];
        std::fs::write(&file, lines.map(|l| l.to_string() + "\n").concat()).unwrap();
        site.run(&["ehr", "add", "north", "--files"]).ok();
        site.run(&["import", "--ehr", "north", file.to_str().unwrap()]).ok();
        site.run(&["segments", "run"]).ok();

        let serving = Serving::start(&mut site.command(&["serve", "--no-work"]));
        let bearer = format!("Bearer {BEARER}");
        let ask_as = |bearer: &str, body: &str| serving.send("POST", "/api/v1/explanations", &[("Authorization", bearer), ("Content-Type", "application/json")], body);
        let ask = |body: &Value| ask_as(&bearer, &body.to_string());
        let json = |body: &str| serde_json::from_str::<Value>(body).unwrap_or_else(|_| panic!("not JSON: {body}"));

        let (status, head, body) = ask(&json!({ "patient": "north/p1", "segment": "lapsed" }));
        assert!(status == 200 && head.contains("content-type: application/json") && head.contains("cache-control: no-store"), "{head}\n{body}");
        let found = json(&body);
        assert_eq!((&found["patient"], &found["segments"][0]["segment"], found["segments"].as_array().unwrap().len()), (&json!("north/p1"), &json!("lapsed"), 1));
        let reasons = found["segments"][0]["reasons"].as_array().unwrap();
        assert!(reasons.iter().any(|r| r["decides"] == true && r["truth"] == "unknown"), "no Appointment is synced: {found}");
        assert!(reasons.iter().all(|r| r["sentence"].is_string() && r["test"].is_string()), "{found}");
        let seen = read(&db.store(), |c| audit::list(c, &audit::Wanted::default(), 10)).remove(0);
        assert_eq!((seen.what.as_str(), seen.ehr.as_deref(), seen.about.as_deref()), ("explain-patient", Some("north"), Some("lapsed")));

        // Each leaf with value, resource, version and field; and the same as the command says.
        let senior = json(&ask(&json!({ "patient": "north/Patient/p1", "segment": "age-65-and-over" })).2);
        let leaf = senior["segments"][0]["reasons"].as_array().unwrap().iter().find(|r| r["decides"] == true && r["test"].as_str().unwrap().contains("age")).unwrap();
        assert_eq!((&leaf["sources"][0]["resource_type"], &leaf["sources"][0]["id"], &leaf["sources"][0]["field"]), (&json!("Patient"), &json!("p1"), &json!("birthDate")));
        let known = |explained: &Value| (explained["segments"].clone(), explained["records"].clone(), explained["known_up_to"].clone());
        assert_eq!(known(&json(&ask(&json!({ "patient": "north/p1" })).2)), known(&site.json(&["segments", "explain", "--patient", "north/p1"])));

        for (body, status) in [
            (r#"{"patient":"north/nobody"}"#, 404),
            (r#"{"patient":"elsewhere/p1"}"#, 404),
            (r#"{"patient":"north/p1","segment":"no-such"}"#, 404),
            (r#"{"patient":"north"}"#, 400),
            (r#"{"patient":"north/p1","sgment":"lapsed"}"#, 400),
            ("[]", 400),
            ("", 400),
        ] {
            let answer = ask_as(&bearer, body);
            assert_eq!(answer.0, status, "{body}: {}", answer.2);
            assert!(!answer.2.contains("p1") && !answer.2.contains("nobody"), "{}", answer.2);
        }
        for wrong in ["Bearer other", "Bearer ", "", &bearer[..bearer.len() - 1]] {
            assert_eq!(ask_as(wrong, r#"{"patient":"north/p1"}"#).0, 401, "{wrong}");
        }
        assert_eq!(serving.send("GET", "/api/v1/explanations", &[("Authorization", &bearer)], "").0, 405);
        let said = serving.end();
        assert!(!said.contains("p1") && !said.contains(BEARER), "{said}");
    }
}
