//! The faults that strike writes beyond those of `faults`: late, racing, broken off, refused before anything was read, kept in part.

use super::*;
use crate::{Fault, FaultKind};

fn planted(kind: FaultKind) -> Sandbox {
    let sandbox = open();
    sandbox.plant(Fault::new(kind));
    sandbox
}

fn create(sandbox: &Sandbox, key: &str) -> Option<Response> {
    let condition = format!("identifier=urn:attempts|{key}");
    post(sandbox, "/fhir/Communication", &[("If-None-Exist", &condition)], &communication(key))
}

#[test]
fn a_create_may_be_done_long_after_its_client_gave_up() {
    let sandbox = planted(FaultKind::AppliedLate { millis: 60_000 });
    assert!(create(&sandbox, "a").is_none());
    let found = || get(&sandbox, "/fhir/Communication?identifier=urn:attempts%7Ca").json()["total"].as_u64();
    assert_eq!((found(), sandbox.count("Communication")), (Some(0), 0));
    sandbox.advance(60 * SECOND - 1);
    assert_eq!((found(), sandbox.count("Communication")), (Some(0), 0));
    sandbox.advance(1);
    assert_eq!(found(), Some(1));
    sandbox.advance(60 * SECOND);
    assert_eq!((found(), sandbox.carrying("Communication", "a")), (Some(1), 1), "and once only");
    let kept = sandbox.resources("Communication").remove(0);
    assert_eq!(kept["meta"]["lastUpdated"], "2026-11-23T15:01:00.000Z", "the time is the one at which it was done");
    assert_eq!(sandbox.unused_faults(), []);
}

#[test]
fn a_late_create_is_seen_from_inside_too_and_doubles_what_was_sent_again() {
    let sandbox = planted(FaultKind::AppliedLate { millis: 60_000 });
    assert!(post(&sandbox, "/fhir/Communication", &[], &communication("a")).is_none());
    assert_eq!(post(&sandbox, "/fhir/Communication", &[], &communication("a")).unwrap().status, 201);
    sandbox.advance(60 * SECOND);
    assert_eq!(sandbox.carrying("Communication", "a"), 2);
}

#[test]
fn a_late_conditional_create_is_judged_when_it_is_done() {
    let sandbox = planted(FaultKind::AppliedLate { millis: 60_000 });
    assert!(create(&sandbox, "a").is_none());
    assert_eq!(create(&sandbox, "a").unwrap().status, 201);
    sandbox.advance(60 * SECOND);
    assert_eq!(sandbox.carrying("Communication", "a"), 1);
}

#[test]
fn a_condition_that_is_no_lock_lets_parallel_creates_double() {
    let sandbox = open();
    sandbox.plant(Fault::new(FaultKind::ConditionalRace { millis: 500 }).times(u32::MAX));
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..2).map(|_| scope.spawn(|| create(&sandbox, "a").unwrap().status)).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!((statuses, sandbox.carrying("Communication", "a")), (vec![201, 201], 2));
    assert_eq!(create(&sandbox, "b").unwrap().status, 201);
    sandbox.advance(SECOND);
    assert_eq!(create(&sandbox, "b").unwrap().status, 200, "what is older is found");
    assert_eq!(sandbox.unused_faults(), []);
}

#[test]
fn an_element_may_be_lost_in_what_is_kept() {
    let sandbox = planted(FaultKind::DropsElement { name: "sent".to_owned() });
    let answer = create(&sandbox, "a").unwrap();
    assert_eq!((answer.status, answer.json().get("sent")), (201, None));
    let kept = sandbox.resources("Communication").remove(0);
    assert_eq!((kept.get("sent"), &kept["payload"]), (None, &communication("a")["payload"]));
    assert_eq!(create(&sandbox, "b").unwrap().json()["sent"], communication("b")["sent"]);
    assert_eq!(sandbox.unused_faults(), []);
}

#[test]
fn a_token_may_end_just_before_a_write() {
    let key = Key::ec();
    let sandbox = begin(Config { clients: vec![client(&key, &["system/*.cruds"])], ..config().0 });
    let fresh = |jti: &str| format!("Bearer {}", token(&sandbox, &key, jti, "system/*.cruds").json()["access_token"].as_str().unwrap());
    let first = fresh("1");
    sandbox.plant(Fault::new(FaultKind::TokenExpiredAtCreate));
    let read = |authorization: &str| send(&sandbox, "GET", "/fhir/Communication", &[("Authorization", authorization)], "").unwrap().status;
    let write = |authorization: &str| {
        post(&sandbox, "/fhir/Communication", &[("Authorization", authorization)], &communication("a")).unwrap().status
    };
    assert_eq!(read(&first), 200, "a read does not end it");
    assert_eq!(write(&first), 401);
    assert_eq!((read(&first), sandbox.count("Communication")), (401, 0));
    assert_eq!(write(&fresh("2")), 201);
    assert_eq!(sandbox.unused_faults(), []);
}

#[test]
fn a_connection_closed_at_accept_does_nothing_and_is_not_logged() {
    let sandbox = open();
    sandbox.plant(Fault::new(FaultKind::ClosedAtAccept).times(50));
    // The request may be in the system's hands before the connection is closed.
    assert!((0..50).all(|_| create(&sandbox, "a").is_none()));
    assert_eq!((sandbox.count("Communication"), sandbox.request_log()), (0, vec![]));
    assert_eq!(create(&sandbox, "a").unwrap().status, 201);
    assert_eq!(sandbox.unused_faults(), []);
}

#[test]
fn an_answer_may_break_off_after_what_was_asked_is_done() {
    let sandbox = planted(FaultKind::ResetMidBody);
    let mut stream = TcpStream::connect(sandbox.address()).unwrap();
    let body = communication("a").to_string();
    let head =
        format!("POST /fhir/Communication HTTP/1.1\r\nHost: x\r\nContent-Type: application/fhir+json\r\nContent-Length: {}", body.len());
    stream.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).unwrap();
    let (mut bytes, mut block) = (Vec::new(), [0; 4096]);
    let end = loop {
        match stream.read(&mut block) {
            Ok(0) => break None,
            Ok(read) => bytes.extend_from_slice(&block[..read]),
            Err(error) => break Some(error.kind()),
        }
    };
    let text = String::from_utf8(bytes).unwrap();
    let (head, half) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 201"), "{head}");
    let length: usize = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok()).unwrap();
    assert_eq!((half.len(), end), (length / 2, Some(std::io::ErrorKind::ConnectionReset)));
    assert_eq!(sandbox.count("Communication"), 1);
    assert_eq!(create(&sandbox, "a").unwrap().status, 200);
    assert_eq!(sandbox.unused_faults(), []);
}
