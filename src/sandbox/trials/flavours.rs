//! Each flavour as it states itself and as it is: which interactions there are, which searches are taken, what has a version.

use super::*;
use crate::{Fault, FaultKind, Flavour};
use Flavour::{Athena, Eclinicalworks, Epic, FullR4, Meditech, Nextgen, Oracle, Veradigm};

pub(super) fn speaking(flavour: Flavour) -> Sandbox {
    let sandbox = begin(Config { open: true, flavour, ..config().0 });
    sandbox.load(population(3).resources()).unwrap();
    sandbox
}

const NOTES: &str = "http://hl7.org/fhir/us/core/CodeSystem/us-core-documentreference-category";

pub(super) fn note(key: &str) -> Value {
    json!({
        "resourceType": "DocumentReference",
        "identifier": [{ "system": "urn:attempts", "value": key }],
        "status": "current",
        "type": { "coding": [{ "system": "http://loinc.org", "code": "34109-9" }] },
        "category": [{ "coding": [{ "system": NOTES, "code": "clinical-note" }] }],
        "subject": { "reference": "Patient/pat-000001" },
        "date": "2026-11-23T15:00:00Z",
        "content": [{ "attachment": { "contentType": "text/plain", "data": STANDARD.encode(format!("reminded, ref {key}")) } }],
    })
}

/// A message that Oracle takes.
pub(super) fn message(key: &str) -> Value {
    json!({
        "resourceType": "Communication",
        "status": "completed",
        "category": [{ "coding": [{ "system": "http://terminology.hl7.org/CodeSystem/communication-category", "code": "notification" }] }],
        "priority": "routine",
        "subject": { "reference": "Patient/pat-000001" },
        "topic": { "text": format!("Outreach {key}") },
        "recipient": [{ "reference": "Group/pool-1" }],
        "sender": { "reference": "Practitioner/prac-01" },
        "payload": [{ "contentAttachment": {
            "contentType": "text/plain; charset=utf-8", "data": STANDARD.encode(format!("told about {key}")),
        } }],
    })
}

fn statement(sandbox: &Sandbox) -> Value {
    get(sandbox, "/fhir/metadata").json()
}

fn row<'a>(statement: &'a Value, name: &str) -> Option<&'a Value> {
    statement["rest"][0]["resource"].as_array().unwrap().iter().find(|row| row["type"] == name)
}

fn codes(row: &Value) -> Vec<&str> {
    row["interaction"].as_array().unwrap().iter().map(|one| one["code"].as_str().unwrap()).collect()
}

/// Whether an interaction is offered, found out by using it.
fn answers(sandbox: &Sandbox, name: &str, code: &str) -> bool {
    let headers = [("Content-Type", "application/fhir+json")];
    let answer = match code {
        "create" => send(sandbox, "POST", &format!("/fhir/{name}"), &headers, "{"),
        "update" => send(sandbox, "PUT", &format!("/fhir/{name}/x"), &headers, "{"),
        "patch" => send(sandbox, "PATCH", &format!("/fhir/{name}/x"), &headers, "{"),
        "delete" => send(sandbox, "DELETE", &format!("/fhir/{name}/x"), &[], ""),
        "vread" => send(sandbox, "GET", &format!("/fhir/{name}/x/_history/1"), &[], ""),
        "read" => send(sandbox, "GET", &format!("/fhir/{name}/x"), &[], ""),
        _ => send(sandbox, "GET", &format!("/fhir/{name}?_id=x&patient=x&target=x"), &[], ""),
    };
    let outcome = answer.unwrap().json();
    let text = outcome["issue"][0]["diagnostics"].as_str().unwrap_or_default();
    !(text.contains("not supported here") || text.contains("not open") || text.contains("interaction") || text.contains("not served"))
}

#[test]
fn a_flavour_does_what_it_states_and_nothing_else() {
    for flavour in Flavour::ALL {
        let sandbox = speaking(flavour);
        let statement = statement(&sandbox);
        for name in ["Communication", "DocumentReference", "Appointment", "Provenance", "Patient", "Binary"] {
            let stated = row(&statement, name).map(codes).unwrap_or_default();
            for code in ["read", "vread", "search-type", "create", "update", "patch", "delete"] {
                assert_eq!(answers(&sandbox, name, code), stated.contains(&code), "{flavour:?} {name} {code}");
            }
        }
        assert_eq!(statement.get("patchFormat").is_some(), [FullR4, Oracle].contains(&flavour), "{flavour:?}");
    }
}

#[test]
fn what_each_vendor_offers_for_a_write_back() {
    let every =
        |name: &'static str| Flavour::ALL.map(|flavour| row(&statement(&speaking(flavour)), name).map(codes).unwrap_or_default().join(" "));
    let full = "read vread update delete create search-type";
    let all = |rest: [&str; 7]| std::array::from_fn::<String, 8, _>(|n| if n == 0 { full.to_owned() } else { rest[n - 1].to_owned() });
    assert_eq!(
        every("Communication"),
        all(["create read search-type", "read search-type create", "create read search-type", "", "", "", ""])
    );
    let written = "create read search-type update";
    assert_eq!(
        every("DocumentReference"),
        all([written, written, "read search-type", "read search-type", "read search-type", written, "read search-type"])
    );
    let patched = "read vread update patch delete create search-type";
    let expected = [patched, "read search-type", "read search-type patch", "read search-type", "read search-type", "", "", ""];
    assert_eq!(every("Appointment"), expected);
    let expected =
        [full, "read", "read search-type create", "read", "read search-type", "read search-type", "read search-type", "read search-type"];
    assert_eq!(every("Provenance"), expected);
}

#[test]
fn r4s_own_flavour_states_what_it_always_did() {
    let sandbox = speaking(FullR4);
    let statement = statement(&sandbox);
    assert_eq!(statement["software"], json!({ "name": "fhir-engage sandbox", "version": env!("CARGO_PKG_VERSION") }));
    let communication = row(&statement, "Communication").unwrap();
    let names =
        ["_id", "_lastUpdated", "identifier", "patient", "subject", "recipient", "sender", "encounter", "sent", "status", "category"];
    let found: Vec<&str> = communication["searchParam"].as_array().unwrap().iter().map(|p| p["name"].as_str().unwrap()).collect();
    assert_eq!(found, names);
    let flags =
        ["versioning", "readHistory", "updateCreate", "conditionalCreate", "conditionalUpdate"].map(|name| communication[name].clone());
    assert_eq!(flags, [json!("versioned"), json!(true), json!(false), json!(true), json!(false)]);
    let types = statement["rest"][0]["resource"].as_array().unwrap();
    assert_eq!((types.len(), types.iter().any(|row| row["type"] == "Binary")), (30, false));
}

#[test]
fn a_create_that_is_not_offered_is_refused_as_the_vendor_would() {
    let cases =
        [(Athena, 404, 404), (Eclinicalworks, 404, 403), (Veradigm, 404, 201), (Nextgen, 404, 405), (Meditech, 422, 404), (Epic, 201, 201)];
    for (flavour, communicated, noted) in cases {
        let sandbox = speaking(flavour);
        let told = post(&sandbox, "/fhir/Communication", &[], &communication("a")).unwrap();
        let written = post(&sandbox, "/fhir/DocumentReference", &[], &note("a")).unwrap();
        assert_eq!((told.status, written.status), (communicated, noted), "{flavour:?}");
        let kept = |name: &str| sandbox.count(name);
        assert_eq!((kept("Communication") > 0, kept("DocumentReference") > 0), (communicated == 201, noted == 201), "{flavour:?}");
    }
}

#[test]
fn an_unknown_parameter_is_warned_of_or_passed_over_or_refused_and_never_in_the_self_link() {
    let query = "/fhir/DocumentReference?patient=pat-000001&shoe-size=44";
    for (flavour, status, warned) in [
        (Epic, 200, true),
        (Oracle, 400, false),
        (Meditech, 200, false),
        (Athena, 200, false),
        (Nextgen, 200, true),
        (Veradigm, 400, false),
    ] {
        let sandbox = speaking(flavour);
        let answer = get(&sandbox, query);
        assert_eq!(answer.status, status, "{flavour:?}");
        if status == 200 {
            let bundle = answer.json();
            assert_eq!(bundle["link"][0]["url"], format!("{}/DocumentReference?patient=pat-000001&_count=50", sandbox.base_url()));
            assert_eq!(bundle.to_string().contains("ignored: shoe-size"), warned, "{flavour:?}");
        }
    }
}

#[test]
fn epic_finds_communications_by_patient_and_narrows_by_the_rest() {
    let sandbox = speaking(Epic);
    post(&sandbox, "/fhir/Communication", &[], &communication("a")).unwrap();
    post(&sandbox, "/fhir/Communication", &[], &communication("b")).unwrap();
    let total = |query: &str| get(&sandbox, &format!("/fhir/Communication?{query}")).json()["total"].as_u64();
    assert_eq!(total("patient=pat-000001"), Some(2));
    assert_eq!(total("subject=Patient/pat-000001&identifier=urn:attempts%7Ca"), Some(1));
    assert_eq!(total("patient=pat-000001&sent=2026-11-23&status=completed"), Some(2));
    for alone in ["identifier=urn:attempts%7Ca", "status=completed", "sent=2026-11-23", ""] {
        assert_eq!(get(&sandbox, &format!("/fhir/Communication?{alone}")).status, 400, "{alone}");
    }
    let nothing = get(&sandbox, "/fhir/Communication?patient=pat-000002").json();
    assert_eq!((nothing["total"].as_u64(), &nothing["entry"][0]["search"]["mode"]), (Some(0), &json!("outcome")));
    assert_eq!(total("_id=srv-0000001&patient=pat-000002"), Some(1), "beside _id the rest is ignored");
}

#[test]
fn epic_ignores_the_condition_and_knows_no_update_of_a_communication() {
    let sandbox = speaking(Epic);
    let condition = [("If-None-Exist", "identifier=urn:attempts|a")];
    for _ in 0..2 {
        let answer = post(&sandbox, "/fhir/Communication", &condition, &communication("a")).unwrap();
        assert_eq!(answer.status, 201);
    }
    assert_eq!(sandbox.carrying("Communication", "a"), 2);
    let mut resource = sandbox.resources("Communication").remove(0);
    resource["status"] = json!("entered-in-error");
    let headers = [("Content-Type", "application/fhir+json")];
    let path = format!("/fhir/Communication/{}", resource["id"].as_str().unwrap());
    assert_eq!(send(&sandbox, "PUT", &path, &headers, &resource.to_string()).unwrap().status, 405);
    assert_eq!(resource["identifier"][0]["value"], "a", "the identifier is kept");
}

#[test]
fn where_nothing_has_a_version_none_is_shown() {
    for (flavour, versioned) in [(Veradigm, false), (Nextgen, false), (Oracle, true), (Epic, true)] {
        let sandbox = speaking(flavour);
        let read = get(&sandbox, "/fhir/Patient/pat-000001");
        let meta = read.json()["meta"].clone();
        assert_eq!((read.header("etag").is_some(), meta.get("versionId").is_some()), (versioned, versioned), "{flavour:?}");
        assert!(meta["lastUpdated"].is_string(), "{flavour:?}");
        let stated = row(&statement(&sandbox), "Patient").unwrap()["versioning"].clone();
        assert_eq!(stated == "no-version", !versioned, "{flavour:?}");
    }
}

#[test]
fn patients_visits_and_plans_are_found_by_what_the_vendor_wants_and_by_nothing_less() {
    let days = "date=ge2026-11-01T00:00:00Z&date=lt2027-02-01T00:00:00Z";
    // (flavour, search, whether it is taken)
    let cases = [
        (Epic, "Patient", false),
        (Epic, "Patient?_id=pat-000001", true),
        (Epic, "Appointment?date=ge2026-11-01", false),
        (Epic, "Appointment?location=loc-1&date=ge2026-11-01", false),
        (Epic, "Appointment?patient=pat-000001&date=ge2026-11-01", true),
        (Epic, "CarePlan?patient=pat-000001", false),
        (Epic, "CarePlan?patient=pat-000001&category=assess-plan", true),
        (Oracle, "Patient", false),
        (Oracle, "Appointment?patient=pat-000001", false),
        (Oracle, "Appointment?patient=pat-000001&date=ge2026-11-01T00:00:00Z", false),
        (Oracle, "Appointment?patient=pat-000001&date=ge2026-11-01&date=lt2027-01-01", false),
        (Oracle, "CarePlan?patient=pat-000001", false),
        (Oracle, "CarePlan?patient=pat-000001&category=longitudinal", false),
        (Oracle, "CarePlan?patient=pat-000001&category=assess-plan", true),
        (Meditech, "Appointment?date=ge2026-11-01", false),
        (Meditech, "Appointment?patient=pat-000001", true),
        (Athena, "Appointment?patient=pat-000001", false),
        (Athena, "Patient?_lastUpdated=ge2026-11-01", false),
        (Athena, "CarePlan?patient=pat-000001", true),
        (Eclinicalworks, "Patient", false),
        (Eclinicalworks, "CarePlan?patient=pat-000001", true),
        (Veradigm, "CarePlan?patient=pat-000001", false),
        (Veradigm, "CarePlan?patient=pat-000001&category=assess-plan", true),
        (Nextgen, "Patient", false),
        (Nextgen, "Patient?_lastUpdated=ge2026-11-01", true),
        (FullR4, "Patient", true),
        (FullR4, "Appointment", true),
    ];
    for (flavour, search, taken) in cases {
        let sandbox = speaking(flavour);
        let answer = get(&sandbox, &format!("/fhir/{search}"));
        assert_eq!(answer.status, if taken { 200 } else { 400 }, "{flavour:?} {search}");
        let needs = answer.json()["issue"][0]["diagnostics"].as_str().unwrap_or_default().to_owned();
        assert_eq!(needs.is_empty(), taken, "{flavour:?} {search}");
    }
    assert_eq!(get(&speaking(Oracle), &format!("/fhir/Appointment?patient=pat-000001&{days}")).status, 200);
}

#[test]
fn a_page_is_as_long_as_the_vendors_own_parameter_says() {
    let sandbox = speaking(Nextgen);
    let entries = |query: &str| get(&sandbox, &format!("/fhir/Patient?_lastUpdated=ge2000-01-01&{query}")).json()["entry"].clone();
    let matches = |query: &str| entries(query).as_array().unwrap().iter().filter(|e| e["search"]["mode"] == "match").count();
    assert_eq!((matches("_maxresults=2"), matches("_count=2")), (2, 3));
    let first = get(&sandbox, "/fhir/Patient?_lastUpdated=ge2000-01-01&_maxresults=2").json();
    let next = first["link"][1]["url"].as_str().unwrap().strip_prefix(&sandbox.base_url()).unwrap().to_owned();
    assert_eq!(get(&sandbox, &format!("/fhir{next}")).json()["entry"].as_array().unwrap().len(), 1);
}

#[test]
fn one_patients_data_can_be_sealed() {
    let sandbox = speaking(FullR4);
    let kind = FaultKind::OfPatient { patient: "pat-000002".to_owned(), status: 403, code: Some("4130".to_owned()) };
    sandbox.plant(Fault::new(kind).times(u32::MAX));
    for (path, status) in [
        ("Patient/pat-000002", 403),
        ("CarePlan?patient=pat-000002", 403),
        ("Appointment?patient=Patient/pat-000002", 403),
        ("Patient/pat-000001", 200),
        ("CarePlan?patient=pat-000001", 200),
    ] {
        let answer = get(&sandbox, &format!("/fhir/{path}"));
        assert_eq!(answer.status, status, "{path}");
        assert_eq!(answer.json()["issue"][0]["details"]["coding"][0]["code"] == "4130", status == 403, "{path}");
    }
}
