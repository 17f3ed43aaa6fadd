//! DocumentReference as the flavours take it: a clinical note with its text inside.

use super::flavours::{note, speaking};
use super::*;
use crate::Flavour;
use Flavour::{Epic, Oracle, Veradigm};

#[test]
fn a_note_is_taken_with_its_identifier_and_found_by_patient() {
    for flavour in [Epic, Oracle, Veradigm] {
        let sandbox = speaking(flavour);
        let answer = post(&sandbox, "/fhir/DocumentReference", &[], &note("a")).unwrap();
        assert_eq!(answer.status, 201, "{flavour:?}");
        assert_eq!(answer.body.is_empty(), flavour == Oracle, "{flavour:?}");
        assert_eq!(answer.header("etag").is_some(), flavour != Veradigm, "{flavour:?}");
        let id = answer.header("location").unwrap().rsplit('/').next().unwrap().to_owned();
        let kept = get(&sandbox, &format!("/fhir/DocumentReference/{id}")).json();
        for element in ["identifier", "status", "type", "category", "subject", "content"] {
            assert_eq!(kept[element], note("a")[element], "{flavour:?} {element}");
        }
        let total = |query: &str| get(&sandbox, &format!("/fhir/DocumentReference?patient=pat-000001&{query}")).json()["total"].as_u64();
        for (query, found) in [
            ("", 1),
            ("date=ge2026-11-23", 1),
            ("date=lt2026-11-23", 0),
            ("category=clinical-note", 1),
            ("category=other", 0),
            ("type=http://loinc.org%7C34109-9", 1),
            ("type=11506-3", 0),
        ] {
            assert_eq!(total(query), Some(found), "{flavour:?} {query}");
        }
        let by_key = get(&sandbox, "/fhir/DocumentReference?patient=pat-000001&identifier=urn:attempts%7Cb");
        assert_eq!(by_key.status == 200, flavour == Epic, "only one offers the identifier: {flavour:?}");
        assert_eq!(get(&sandbox, "/fhir/DocumentReference?date=ge2026-11-23").status, 400, "{flavour:?}");
        assert_eq!(sandbox.carrying("DocumentReference", "ref a"), 1, "{flavour:?}");
    }
}

#[test]
fn a_note_that_lacks_something_or_breaks_a_rule_is_refused() {
    for (flavour, missing) in [(Epic, 422), (Oracle, 500), (Veradigm, 422)] {
        let sandbox = speaking(flavour);
        for element in ["status", "type", "category", "subject", "content"] {
            let mut body = note("a");
            body.as_object_mut().unwrap().remove(element);
            let answer = post(&sandbox, "/fhir/DocumentReference", &[], &body).unwrap();
            assert_eq!(answer.status, missing, "{flavour:?} {element}");
            assert!(String::from_utf8(answer.body).unwrap().contains(element), "{flavour:?} {element}");
        }
        let broken = [
            ("status", json!("final")),
            ("type", json!({ "text": "note" })),
            ("category", json!([{ "text": "note" }])),
            ("subject", json!({ "reference": "Group/1" })),
            ("content", json!([{ "attachment": { "contentType": "text/plain" } }])),
            ("content", json!([{ "attachment": { "data": "QQ==" } }])),
            ("content", json!([{ "attachment": { "contentType": "text/plain", "data": "not base64!" } }])),
        ];
        for (element, value) in broken {
            let mut body = note("a");
            body[element] = value;
            assert_eq!(post(&sandbox, "/fhir/DocumentReference", &[], &body).unwrap().status, 422, "{flavour:?} {element}");
        }
        assert_eq!(sandbox.count("DocumentReference"), 0);
    }
}

#[test]
fn a_note_is_updated_under_the_same_rules() {
    for (flavour, stale) in [(Epic, 412), (Oracle, 409)] {
        let sandbox = speaking(flavour);
        post(&sandbox, "/fhir/DocumentReference", &[], &note("a")).unwrap();
        let mut body = sandbox.resources("DocumentReference").remove(0);
        let path = format!("/fhir/DocumentReference/{}", body["id"].as_str().unwrap());
        let put = |body: &Value, version: &str| {
            send(&sandbox, "PUT", &path, &[("Content-Type", "application/fhir+json"), ("If-Match", version)], &body.to_string()).unwrap()
        };
        body["status"] = json!("entered-in-error");
        let updated = put(&body, "W/\"1\"");
        assert_eq!((updated.status, updated.header("etag")), (200, Some("W/\"2\"")), "{flavour:?}");
        assert_eq!(put(&body, "W/\"1\"").status, stale, "{flavour:?}");
        body.as_object_mut().unwrap().remove("content");
        assert_ne!(put(&body, "W/\"2\"").status, 200, "{flavour:?}");
        assert_eq!(sandbox.resources("DocumentReference")[0]["status"], "entered-in-error");
    }
}
