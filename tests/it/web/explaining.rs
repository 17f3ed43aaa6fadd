//! Explanations over the API: for whoever shows the bearer, asked for in a body.

use std::sync::Arc;

use domain::rules::Site;
use fhir_engage::segments::Definitions;
use fhir_engage::segments::explain::explain;
use fhir_engage::segments::{Library, definitions};
use fhir_engage::store::Store;
use fhir_engage::store::freshness::Freshness;
use fhir_engage::web::{Explain, Explained};
use serde_json::json;

use super::fixture::{BEARER, Server};
use crate::store::fixtures::{at, patient, write};
use crate::support::on_both;

/// As the application explains.
fn explainer(store: &Store) -> Explain {
    let store = store.clone();
    Arc::new(move |asked| {
        let store = store.clone();
        Box::pin(async move {
            let look = move |conn: &mut _| {
                let definitions = Definitions::load(conn)?;
                let only = asked.segment.as_deref();
                if only.is_some_and(|id| definitions.by_id(id).is_none()) {
                    return Ok(Explained::NoSegment);
                }
                let (fresh, site) = (Freshness::default(), Site::new(chrono_tz::Tz::UTC, "en"));
                let found = explain(conn, &definitions, &site, (&asked.ehr, asked.patient.expose()), only, (&fresh, at(3600)))?;
                Ok(found.map_or(Explained::NoPatient, |found| Explained::Told(serde_json::to_string(&found).unwrap().into())))
            };
            store.snapshot(look).await
        })
    })
}

on_both! {
    async fn an_explanation_is_asked_for_in_a_body(db) {
        let store = db.store();
        let library: Library = definitions::shipped().unwrap();
        write(&store, |c| Definitions::open(c, &library, at(0)));
        patient(&store, "p1");
        let server = Server::start_explaining(&store, explainer(&store));
        let bearer = format!("Bearer {BEARER}");
        let ask = async |body: &str| server.post_as_bearer("/api/v1/explanations", &bearer, body).await;
        let told = ask(&json!({ "patient": "north/p1", "segment": "lapsed" }).to_string()).await;
        assert_eq!((told.status, told.headers["content-type"].as_str()), (200, "application/json"), "{}", told.body);
        let found = told.json();
        assert_eq!((&found["patient"], &found["segments"][0]["segment"]), (&json!("north/p1"), &json!("lapsed")));
        assert_eq!(found["segments"].as_array().unwrap().len(), 1);
        let reasons = found["segments"][0]["reasons"].as_array().unwrap();
        assert!(reasons.iter().any(|r| r["decides"] == true && r["truth"] == "unknown"), "nothing is synced: {found}");
        assert!(reasons.iter().all(|r| r["sentence"].is_string() && r["test"].is_string()), "{found}");
        let all = ask(r#"{"patient":"north/Patient/p1"}"#).await.json();
        assert_eq!(all["segments"].as_array().unwrap().len(), library.rules().segments().len());

        for (body, status) in [
            (r#"{"patient":"north/nobody"}"#, 404),
            (r#"{"patient":"elsewhere/p1"}"#, 404),
            (r#"{"patient":"north/p1","segment":"no-such"}"#, 404),
            (r#"{"patient":"north"}"#, 400),
            (r#"{"patient":"north/p1","sgment":"lapsed"}"#, 400),
            ("[]", 400),
            ("", 400),
        ] {
            let answer = ask(body).await;
            assert_eq!(answer.status, status, "{body}: {}", answer.body);
            assert!(!answer.body.contains("p1") && !answer.body.contains("nobody"), "{}", answer.body);
        }
        assert_eq!(server.post_as_bearer("/api/v1/explanations", "Bearer other", "{}").await.status, 401);
        assert_eq!(server.get_with_bearer("/api/v1/explanations").await.status, 405);
    }
}
