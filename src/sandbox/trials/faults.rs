//! Every planted fault as a client meets it. Each test ends with no fault left over.

use std::time::{Duration, Instant};

use super::*;
use crate::{Fault, FaultKind};

fn planted(kind: FaultKind) -> Sandbox {
    let sandbox = open();
    sandbox.load(population(10).resources()).unwrap();
    sandbox.plant(Fault::new(kind));
    sandbox
}

fn create(sandbox: &Sandbox) -> Option<Response> {
    let condition = [("If-None-Exist", "identifier=urn:attempts|a")];
    post(sandbox, "/fhir/Communication", &condition, &communication("a"))
}

fn next(bundle: &Value) -> String {
    let links = bundle["link"].as_array().unwrap();
    links.iter().find(|l| l["relation"] == "next").unwrap()["url"].as_str().unwrap().to_owned()
}

fn ids(bundle: &Value) -> Vec<&str> {
    bundle["entry"].as_array().unwrap().iter().filter_map(|e| e["resource"]["id"].as_str()).collect()
}

#[test]
fn a_create_may_be_applied_or_not_behind_any_answer() {
    type Case = (FaultKind, Option<u16>, usize);
    let cases: [Case; 7] = [
        (FaultKind::CreateAppliedAnswerLost, None, 1),
        (FaultKind::CreateLost, None, 0),
        (FaultKind::Create500Applied, Some(500), 1),
        (FaultKind::Create500NotApplied, Some(500), 0),
        (FaultKind::CreateConflict409, Some(409), 0),
        (FaultKind::PreconditionFailed412, Some(412), 0),
        (FaultKind::CreateEmptyBody, Some(201), 1),
    ];
    for (kind, status, stored) in cases {
        let sandbox = planted(kind.clone());
        let answer = create(&sandbox);
        assert_eq!(answer.as_ref().map(|answer| answer.status), status, "{kind:?}");
        assert_eq!(sandbox.count("Communication"), stored, "{kind:?}");
        assert_eq!(sandbox.unused_faults(), []);
        assert_eq!(sandbox.request_log().last().unwrap().status, status.unwrap_or(0));
        if kind == FaultKind::CreateEmptyBody {
            let answer = answer.unwrap();
            assert!(answer.body.is_empty() && answer.header("location").is_some() && answer.header("etag").is_some());
        }
        assert_eq!(create(&sandbox).unwrap().status, if stored == 1 { 200 } else { 201 }, "{kind:?}");
        assert_eq!(sandbox.count("Communication"), 1, "{kind:?}");
    }
}

#[test]
fn a_create_may_mislead() {
    let sandbox = planted(FaultKind::LocationOtherHost { origin: "http://ehr.internal".to_owned() });
    let location = create(&sandbox).unwrap();
    assert!(location.header("location").unwrap().starts_with("http://ehr.internal/fhir/Communication/"));
    sandbox.plant(Fault::new(FaultKind::ConditionalIgnored));
    assert_eq!(create(&sandbox).unwrap().status, 201);
    assert_eq!(sandbox.count("Communication"), 2);
    assert_eq!(sandbox.unused_faults(), []);
}

#[test]
fn the_network_may_be_in_the_way() {
    let sandbox = planted(FaultKind::TooManyRequests { retry_after: Some("1795446000000".to_owned()) });
    let answer = get(&sandbox, "/fhir/Patient");
    assert_eq!((answer.status, answer.header("retry-after")), (429, Some("1795446000000")));
    sandbox.plant(Fault::new(FaultKind::TooManyRequests { retry_after: None }));
    assert_eq!(get(&sandbox, "/fhir/Patient").header("retry-after"), None);
    sandbox.plant(Fault::new(FaultKind::ServerError { status: 503 }).times(2));
    assert_eq!([(); 3].map(|()| get(&sandbox, "/fhir/Patient").status), [503, 503, 200]);
    sandbox.plant(Fault::new(FaultKind::PageTimeout { millis: 300 }));
    let begun = Instant::now();
    assert_eq!(get(&sandbox, "/fhir/Patient").status, 200);
    assert!(begun.elapsed() >= Duration::from_millis(300));
    sandbox.plant(Fault::new(FaultKind::NotJson));
    assert_eq!(get(&sandbox, "/fhir/Patient").header("content-type"), Some("text/html; charset=utf-8"));
    sandbox.plant(Fault::new(FaultKind::HugeBody { bytes: 3_000_001 }));
    assert_eq!(get(&sandbox, "/fhir/Patient").body.len(), 3_000_001);
    sandbox.plant(Fault::new(FaultKind::ClockSkew { seconds: -600 }));
    assert_eq!(get(&sandbox, "/fhir/Patient").header("date"), Some("Mon, 23 Nov 2026 14:50:00 GMT"));
    assert_eq!(sandbox.unused_faults(), []);
}

#[test]
fn a_held_answer_holds_nobody_else() {
    let sandbox = planted(FaultKind::PageTimeout { millis: 2000 });
    std::thread::scope(|scope| {
        let held = scope.spawn(|| get(&sandbox, "/fhir/Patient").status);
        while !sandbox.unused_faults().is_empty() {
            std::thread::yield_now();
        }
        let begun = Instant::now();
        (0..8).for_each(|_| assert_eq!(get(&sandbox, "/fhir/Patient").status, 200));
        assert!(begun.elapsed() < Duration::from_millis(1500));
        assert_eq!(held.join().unwrap(), 200);
    });
}

#[test]
fn paging_may_go_wrong() {
    let sandbox = planted(FaultKind::NextLinkOnOtherHost { origin: "http://127.0.0.1:9".to_owned() });
    let path = |url: &str| url.strip_prefix(&sandbox.base_url()).map(|rest| format!("/fhir{rest}")).unwrap();
    let first = get(&sandbox, "/fhir/Patient?_count=3").json();
    assert!(next(&first).starts_with("http://127.0.0.1:9/fhir/Patient?_cursor="));
    let first = get(&sandbox, "/fhir/Patient?_count=3").json();
    sandbox.plant(Fault::new(FaultKind::RepeatedNextLink));
    assert_eq!(next(&get(&sandbox, &path(&next(&first))).json()), next(&first));
    sandbox.plant(Fault::new(FaultKind::DuplicateAcrossPages));
    let second = get(&sandbox, &path(&next(&first))).json();
    assert_eq!((ids(&second).first(), ids(&second).len()), (ids(&first).last(), 4));
    sandbox.plant(Fault::new(FaultKind::OutcomeInBundle { severity: "warning".to_owned() }));
    let bundle = get(&sandbox, "/fhir/Patient?_count=3").json();
    assert_eq!(bundle["entry"].as_array().unwrap().last().unwrap()["resource"]["resourceType"], "OperationOutcome");
    assert_eq!(sandbox.unused_faults(), []);
}

#[test]
fn a_search_may_answer_more_than_was_asked() {
    for echo in [false, true] {
        let sandbox = planted(FaultKind::IgnoresFilter { echo });
        let bundle = get(&sandbox, "/fhir/Appointment?patient=pat-000001").json();
        assert_eq!(bundle["total"], 30);
        assert_eq!(bundle["link"][0]["url"].as_str().unwrap().contains("patient="), echo);
        assert_eq!(sandbox.unused_faults(), []);
    }
    let sandbox = open();
    sandbox.load(population(10).resources()).unwrap();
    sandbox.plant(Fault::new(FaultKind::NoLastUpdated).times(u32::MAX));
    assert!(!String::from_utf8(get(&sandbox, "/fhir/metadata").body).unwrap().contains("_lastUpdated"));
    let bundle = get(&sandbox, "/fhir/Patient?_lastUpdated=ge2100-01-01").json();
    assert_eq!(bundle["total"], 10);
    assert!(!bundle["link"][0]["url"].as_str().unwrap().contains("_lastUpdated"));
    assert_eq!(sandbox.unused_faults(), []);
}

#[test]
fn types_resources_and_tokens_may_be_refused() {
    let key = Key::ec();
    let (config, _) = config();
    let sandbox = begin(Config { clients: vec![client(&key, &["system/*.rs"])], ..config });
    sandbox.load(population(10).resources()).unwrap();
    sandbox.plant(Fault::new(FaultKind::TokenRefused { status: 500, error: None }));
    let refused = token(&sandbox, &key, "1", "system/*.rs");
    assert_eq!((refused.status, refused.header("content-type")), (500, Some("text/plain; charset=utf-8")));
    sandbox.plant(Fault::new(FaultKind::TokenRefused { status: 400, error: Some("invalid_grant".to_owned()) }));
    assert_eq!(token(&sandbox, &key, "2", "system/*.rs").json()["error"], "invalid_grant");
    let text = token(&sandbox, &key, "3", "system/*.rs").json()["access_token"].as_str().unwrap().to_owned();
    let authorization = format!("Bearer {text}");
    let read = |path: &str| send(&sandbox, "GET", path, &[("Authorization", &authorization)], "").unwrap();
    sandbox.plant(Fault::new(FaultKind::RefuseType).on("GET", "/fhir/CarePlan"));
    sandbox.plant(Fault::new(FaultKind::Gone));
    assert_eq!(read("/fhir/CarePlan").status, 403);
    assert_eq!(read("/fhir/Patient/pat-000001").status, 410);
    assert_eq!(read("/fhir/Patient/pat-000001").status, 200);
    sandbox.plant(Fault::new(FaultKind::TokenExpiredMidSearch));
    let first = read("/fhir/Patient?_count=3");
    assert_eq!(first.status, 200);
    let second = next(&first.json()).strip_prefix(&sandbox.base_url()).map(|rest| format!("/fhir{rest}")).unwrap();
    assert_eq!(read(&second).status, 401);
    assert_eq!(read("/fhir/Patient").status, 401, "the token is void");
    assert_eq!(token(&sandbox, &key, "4", "system/*.rs").status, 200);
    assert_eq!(sandbox.unused_faults(), []);
}
