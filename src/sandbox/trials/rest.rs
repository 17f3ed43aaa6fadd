//! Reads and writes over HTTP: versions, conditional create, parallel writers, deletion.

use super::*;

#[test]
fn a_create_gets_the_servers_id_version_and_time() {
    let sandbox = open();
    let mut body = communication("a");
    body["id"] = json!("mine");
    body["meta"] = json!({ "versionId": "9", "tag": [{ "code": "kept" }] });
    let answer = post(&sandbox, "/fhir/Communication", &[], &body).unwrap();
    assert_eq!(answer.status, 201);
    let created = answer.json();
    let id = created["id"].as_str().unwrap();
    assert_ne!(id, "mine");
    assert_eq!(answer.header("location"), Some(format!("{}/Communication/{id}/_history/1", sandbox.base_url()).as_str()));
    assert_eq!(answer.header("etag"), Some("W/\"1\""));
    assert_eq!(answer.header("last-modified"), Some("Mon, 23 Nov 2026 15:00:00 GMT"));
    assert_eq!(created["meta"], json!({ "versionId": "1", "lastUpdated": "2026-11-23T15:00:00.000Z", "tag": [{ "code": "kept" }] }));
    assert_eq!(get(&sandbox, &format!("/fhir/Communication/{id}")).json(), created);
    let minimal = post(&sandbox, "/fhir/Communication", &[("Prefer", "return=minimal")], &communication("b")).unwrap();
    assert_eq!((minimal.status, minimal.body.len()), (201, 0));
    assert!(minimal.header("location").is_some());
}

#[test]
fn numbers_keep_their_digits() {
    let sandbox = open();
    let text = r#"{"resourceType":"Observation","valueQuantity":{"value":1.50}}"#;
    let answer = send(&sandbox, "POST", "/fhir/Observation", &[("Content-Type", "application/fhir+json")], text).unwrap();
    assert!(String::from_utf8(answer.body).unwrap().contains("1.50"));
}

#[test]
fn what_is_not_valid_is_refused_and_not_stored() {
    let sandbox = open();
    let cases = [
        (400, json!({ "resourceType": "Patient" })),
        (400, json!([])),
        (422, json!({ "resourceType": "Communication", "status": "bogus" })),
        (422, json!({ "resourceType": "Communication", "status": "completed", "payload": [{}] })),
        (422, json!({ "resourceType": "Communication", "status": "completed", "note": [] })),
        (422, json!({ "resourceType": "Communication", "status": "completed", "sent": null })),
    ];
    for (status, body) in cases {
        let answer = post(&sandbox, "/fhir/Communication", &[], &body).unwrap();
        assert_eq!((answer.status, &answer.json()["resourceType"]), (status, &json!("OperationOutcome")), "{body}");
    }
    let booked = json!({ "resourceType": "Appointment", "status": "booked", "participant": [{ "status": "accepted" }] });
    assert_eq!(post(&sandbox, "/fhir/Appointment", &[], &booked).unwrap().status, 422);
    assert_eq!(send(&sandbox, "POST", "/fhir/Communication", &[("Content-Type", "text/plain")], "{}").unwrap().status, 415);
    assert_eq!(send(&sandbox, "GET", "/fhir/Patient", &[("Accept", "application/fhir+xml")], "").unwrap().status, 406);
    assert_eq!(get(&sandbox, "/fhir/Bogus").status, 404);
    assert_eq!(send(&sandbox, "PATCH", "/fhir/Patient/1", &[], "").unwrap().status, 405);
    assert!(sandbox.counts().values().all(|count| *count == 0));
}

#[test]
fn a_conditional_create_finds_what_is_there() {
    let sandbox = open();
    let condition = [("If-None-Exist", "identifier=urn:attempts|a")];
    let first = post(&sandbox, "/fhir/Communication", &condition, &communication("a")).unwrap();
    let second = post(&sandbox, "/fhir/Communication", &condition, &communication("a")).unwrap();
    assert_eq!((first.status, second.status), (201, 200));
    assert_eq!(first.json(), second.json());
    post(&sandbox, "/fhir/Communication", &[], &communication("a")).unwrap();
    assert_eq!(post(&sandbox, "/fhir/Communication", &condition, &communication("a")).unwrap().status, 412);
    assert_eq!(sandbox.count("Communication"), 2);
    for bad in ["", "_count=1", "colour=red", "identifier=urn:attempts|a&colour=red"] {
        assert_eq!(post(&sandbox, "/fhir/Communication", &[("If-None-Exist", bad)], &communication("a")).unwrap().status, 400, "{bad}");
    }
    let encoded = [("If-None-Exist", "identifier=urn%3Aattempts%7Cb")];
    assert_eq!(post(&sandbox, "/fhir/Communication", &encoded, &communication("b")).unwrap().status, 201);
    assert_eq!(post(&sandbox, "/fhir/Communication", &encoded, &communication("b")).unwrap().status, 200);
}

#[test]
fn parallel_conditional_creates_make_one_resource() {
    let sandbox = open();
    for round in 0..10 {
        let key = format!("round-{round}");
        let condition = format!("identifier=urn:attempts|{key}");
        let statuses: Vec<u16> = std::thread::scope(|scope| {
            let one = || post(&sandbox, "/fhir/Communication", &[("If-None-Exist", &condition)], &communication(&key)).unwrap().status;
            let running: Vec<_> = (0..8).map(|_| scope.spawn(one)).collect();
            running.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 1, "{statuses:?}");
        assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 7);
    }
    assert_eq!(sandbox.count("Communication"), 10);
}

#[test]
fn an_update_makes_a_version_and_guards_against_lost_ones() {
    let sandbox = open();
    sandbox.load(population(1).resources()).unwrap();
    let path = "/fhir/Patient/pat-000001";
    let read = get(&sandbox, path);
    assert_eq!(read.header("etag"), Some("W/\"1\""));
    let mut patient = read.json();
    patient["active"] = json!(false);
    let put = |version: &str, path: &str, body: &Value| {
        let headers = [("Content-Type", "application/fhir+json"), ("If-Match", version)];
        send(&sandbox, "PUT", path, &headers, &body.to_string()).unwrap()
    };
    let written = put("W/\"1\"", path, &patient);
    assert_eq!((written.status, written.header("etag"), &written.json()["active"]), (200, Some("W/\"2\""), &json!(false)));
    assert_eq!(put("W/\"1\"", path, &patient).status, 412);
    assert_eq!(put("W/\"abc\"", path, &patient).status, 412);
    assert_eq!(get(&sandbox, &format!("{path}/_history/1")).json(), read.json());
    assert_eq!(get(&sandbox, &format!("{path}/_history/2")).json(), written.json());
    assert_eq!(get(&sandbox, &format!("{path}/_history/3")).status, 404);
    patient["id"] = json!("chosen");
    assert_eq!(put("W/\"1\"", "/fhir/Patient/chosen", &patient).status, 405, "ids are the server's");
    assert_eq!(put("W/\"2\"", path, &patient).status, 400, "the id is another");
}

#[test]
fn what_was_deleted_is_gone_and_not_merely_unknown() {
    let sandbox = open();
    sandbox.load(population(1).resources()).unwrap();
    let path = "/fhir/Patient/pat-000001";
    assert_eq!(send(&sandbox, "DELETE", path, &[], "").unwrap().status, 204);
    assert_eq!(send(&sandbox, "DELETE", path, &[], "").unwrap().status, 204);
    assert_eq!(get(&sandbox, path).status, 410);
    assert_eq!(get(&sandbox, &format!("{path}/_history/1")).status, 200);
    assert_eq!(get(&sandbox, &format!("{path}/_history/2")).status, 410);
    assert_eq!(get(&sandbox, "/fhir/Patient/never").status, 404);
    assert_eq!(get(&sandbox, "/fhir/Patient").json()["total"], 0);
    assert_eq!(sandbox.count("Patient"), 0);
}

#[test]
fn the_log_says_what_was_asked() {
    let (config, _) = config();
    let sandbox = begin(Config { open: true, admin: true, ..config });
    get(&sandbox, "/fhir/Patient?_count=1");
    post(&sandbox, "/fhir/Communication", &[], &communication("a")).unwrap();
    let lines: Vec<String> = sandbox.request_log().iter().map(|r| format!("{} {} {}", r.method, r.path, r.status)).collect();
    assert_eq!(lines, ["GET /fhir/Patient?_count=1 200", "POST /fhir/Communication 201"]);
    assert_eq!(
        get(&sandbox, "/sandbox/requests").json()[0],
        json!({ "at_micros": NOW, "method": "GET", "path": "/fhir/Patient?_count=1", "status": 200 })
    );
    assert_eq!(get(&sandbox, "/sandbox/counts").json(), json!({ "Communication": 1 }));
    assert_eq!(post(&sandbox, "/sandbox/faults", &[], &json!({ "fault": "RefuseType", "path": "/fhir/Patient" })).unwrap().status, 204);
    assert_eq!(get(&sandbox, "/sandbox/faults").json()[0]["fault"], "RefuseType");
    assert_eq!(get(&sandbox, "/fhir/Patient").status, 403);
    assert_eq!(sandbox.unused_faults(), []);
    assert_eq!(post(&sandbox, "/sandbox/faults", &[], &json!({ "fault": "Nonsense" })).unwrap().status, 400);
    assert_eq!(
        post(&sandbox, "/sandbox/clock", &[], &json!({ "advance_seconds": 3600 })).unwrap().json()["now"],
        "2026-11-23T16:00:00.000Z"
    );
    assert_eq!(get(&sandbox, "/fhir/metadata").header("date"), Some("Mon, 23 Nov 2026 16:00:00 GMT"));
}

#[test]
fn long_bodies_are_compressed_for_those_who_ask() {
    let sandbox = open();
    sandbox.load(population(10).resources()).unwrap();
    let plain = get(&sandbox, "/fhir/Patient");
    let packed = send(&sandbox, "GET", "/fhir/Patient", &[("Accept-Encoding", "br, gzip")], "").unwrap();
    assert_eq!(packed.header("content-encoding"), Some("gzip"));
    let mut text = Vec::new();
    flate2::read::GzDecoder::new(packed.body.as_slice()).read_to_end(&mut text).unwrap();
    assert_eq!(text, plain.body);
    assert!(packed.body.len() * 2 < plain.body.len());
}

#[test]
fn it_starts_and_stops_inside_any_runtime() {
    let started = |sandbox: &Sandbox| assert_eq!(get(sandbox, "/fhir/metadata").status, 200);
    let many = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let address = many.block_on(async {
        let sandbox = start(config().0).await.unwrap();
        started(&sandbox);
        let address = sandbox.address();
        sandbox.stop().await;
        address
    });
    actix_web::rt::System::new().block_on(async {
        let sandbox = start(Config { bind: address, ..config().0 }).await.unwrap();
        started(&sandbox);
        drop(sandbox);
        assert!(TcpStream::connect(address).is_err(), "the port is given back");
    });
}
