//! Communication where it is not R4's: Oracle's staff message and MEDITECH's portal thread.

use super::flavours::{message, speaking};
use super::*;
use crate::{Fault, FaultKind, Flavour};

fn tell(sandbox: &Sandbox, body: &Value) -> Response {
    post(sandbox, "/fhir/Communication", &[], body).unwrap()
}

fn id_of(answer: &Response) -> String {
    answer.header("location").unwrap().rsplit('/').next().unwrap().to_owned()
}

#[test]
fn oracle_answers_a_message_with_location_and_version_alone() {
    let sandbox = speaking(Flavour::Oracle);
    let answer = post(&sandbox, "/fhir/Communication", &[("Prefer", "return=representation")], &message("a")).unwrap();
    assert_eq!((answer.status, answer.body.len(), answer.header("etag")), (201, 0, Some("W/\"1\"")));
    let location = answer.header("location").unwrap();
    assert_eq!(location, format!("{}/Communication/{}", sandbox.base_url(), id_of(&answer)), "without a version");
}

#[test]
fn oracle_keeps_only_the_elements_of_its_list_and_says_nothing() {
    let sandbox = speaking(Flavour::Oracle);
    let mut body = message("a");
    for (element, value) in [
        ("identifier", json!([{ "system": "urn:attempts", "value": "the-key" }])),
        ("medium", json!([{ "text": "phone" }])),
        ("sent", json!("2020-01-01T00:00:00Z")),
        ("about", json!([{ "reference": "Appointment/apt-000001-1" }])),
        ("basedOn", json!([{ "reference": "CarePlan/1" }])),
        ("statusReason", json!({ "text": "x" })),
        ("note", json!([{ "text": "x" }])),
        ("meta", json!({ "profile": ["http://example.org/p"] })),
    ] {
        body[element] = value;
    }
    let answer = tell(&sandbox, &body);
    assert_eq!(answer.status, 201);
    let kept = get(&sandbox, &format!("/fhir/Communication/{}", id_of(&answer))).json();
    for element in ["identifier", "medium", "about", "basedOn", "statusReason", "note"] {
        assert_eq!(kept.get(element), None, "{element}");
    }
    assert_eq!(kept["meta"].get("profile"), None);
    for element in ["status", "category", "priority", "subject", "topic", "recipient", "sender"] {
        assert_eq!(kept[element], body[element], "{element}");
    }
    assert_eq!((&kept["sent"], &kept["received"]), (&json!("2026-11-23T15:00:00.000Z"), &json!("2026-11-23T15:00:00.000Z")));
    assert_eq!(sandbox.carrying("Communication", "the-key"), 0);
    sandbox.plant(Fault::new(FaultKind::RefusesUnsupported));
    assert_eq!(tell(&sandbox, &message("b")).status, 201, "nothing of it is unsupported");
    let refused = tell(&sandbox, &body);
    assert_eq!(refused.status, 422);
    assert!(refused.json()["issue"][0]["diagnostics"].as_str().unwrap().contains("identifier"));
    assert_eq!((sandbox.count("Communication"), sandbox.unused_faults()), (2, vec![]));
}

#[test]
fn oracle_serves_a_messages_text_as_a_binary() {
    let sandbox = speaking(Flavour::Oracle);
    let kept = get(&sandbox, &format!("/fhir/Communication/{}", id_of(&tell(&sandbox, &message("key-17"))))).json();
    assert_eq!(kept["payload"][0].get("contentAttachment"), None);
    let binary = get(&sandbox, &format!("/fhir/{}", kept["payload"][0]["contentReference"]["reference"].as_str().unwrap())).json();
    assert_eq!((&binary["resourceType"], &binary["contentType"]), (&json!("Binary"), &json!("text/plain; charset=utf-8")));
    assert_eq!(STANDARD.decode(binary["data"].as_str().unwrap()).unwrap(), b"told about key-17");
    assert_eq!(sandbox.carrying("Communication", "told about key-17"), 1);
    assert_eq!(sandbox.carrying("Communication", "Outreach key-17"), 1);
    assert_eq!(sandbox.carrying("Communication", "key-18"), 0);
}

#[test]
fn oracle_refuses_what_is_no_staff_message() {
    let sandbox = speaking(Flavour::Oracle);
    let coded = |system: &str, code: &str| json!([{ "coding": [{ "system": system, "code": code }] }]);
    let categories = "http://terminology.hl7.org/CodeSystem/communication-category";
    let attachment = |kind: &str, data: &str| json!([{ "contentAttachment": { "contentType": kind, "data": STANDARD.encode(data) } }]);
    let page = "<!DOCTYPE html><html><body><p>x</p></body></html>";
    let cases = [
        (201, "category", coded(categories, "reminder")),
        (201, "category", coded("http://snomed.info/sct", "312853008")),
        (201, "priority", json!("urgent")),
        (201, "recipient", json!([{ "reference": "Practitioner/prac-01" }, { "reference": "Group/g" }])),
        (201, "payload", attachment("application/xhtml+xml", page)),
        (422, "status", json!("not-done")),
        (422, "status", json!("stopped")),
        (422, "sender", json!({ "reference": "Organization/org-1" })),
        (422, "recipient", json!([{ "reference": "Patient/pat-000001" }])),
        (422, "recipient", json!([{ "reference": "Group/g" }, { "reference": "Patient/pat-000001" }])),
        (422, "category", coded(categories, "alert")),
        (422, "category", coded("http://snomed.info/sct", "1")),
        (422, "priority", json!("asap")),
        (422, "topic", json!({ "coding": [{ "code": "appointment-reminder" }], "text": "x" })),
        (422, "subject", json!({ "reference": "Group/g" })),
        (422, "payload", json!([{ "contentString": "x" }])),
        (422, "payload", attachment("text/html", page)),
        (422, "payload", attachment("text/plain; charset=iso-8859-1", "x")),
        (422, "payload", attachment("application/xhtml+xml", "no page")),
        (422, "payload", json!([{ "contentAttachment": { "contentType": "text/plain", "data": "*" } }])),
        (422, "payload", json!([message("a")["payload"][0], message("b")["payload"][0]])),
    ];
    for (status, element, value) in cases {
        let mut body = message("a");
        body[element] = value.clone();
        let before = sandbox.count("Communication");
        assert_eq!(tell(&sandbox, &body).status, status, "{element} {value}");
        assert_eq!(sandbox.count("Communication") - before, usize::from(status == 201), "{element} {value}");
    }
    for element in ["status", "category", "recipient", "sender", "payload"] {
        let mut body = message("a");
        body.as_object_mut().unwrap().remove(element);
        assert_eq!(tell(&sandbox, &body).status, 500, "{element}");
    }
    let mut body = message("a");
    body["encounter"] = json!({ "reference": "Encounter/1" });
    assert_eq!(tell(&sandbox, &body).status, 201);
    body.as_object_mut().unwrap().remove("subject");
    assert_eq!(tell(&sandbox, &body).status, 422, "an encounter needs its subject");
}

#[test]
fn oracle_finds_a_message_by_category_recipient_and_time() {
    let sandbox = speaking(Flavour::Oracle);
    let id = id_of(&tell(&sandbox, &message("a")));
    let search = |query: &str| get(&sandbox, &format!("/fhir/Communication?{}", query.replace('|', "%7C")));
    let total = |query: &str| search(query).json()["total"].as_u64();
    let notified = "category=http://terminology.hl7.org/CodeSystem/communication-category|notification&recipient:Group=pool-1";
    let open = "received=ge2026-11-23T14:59:00Z";
    assert_eq!(total(&format!("{notified}&{open}")), Some(1));
    assert_eq!(total(&format!("{notified}&{open}&received=le2026-11-23T15:01:00Z")), Some(1));
    assert_eq!(total(&format!("{notified}&received=ge2026-11-23T15:01:00Z")), Some(0));
    assert_eq!(total(&format!("{notified}&{open}&-email-status=http://hl7.org/fhir/task-status|in-progress")), Some(1));
    assert_eq!(total(&format!("{notified}&{open}&-email-status=completed")), Some(0));
    assert_eq!(total(&format!("{}&{open}", notified.replace("notification", "reminder"))), Some(0));
    assert_eq!(total(&format!("_id={id}")), Some(1));
    for refused in [
        "patient=pat-000001",
        "identifier=a",
        "subject=Patient/pat-000001",
        "category=notification&recipient=Group/pool-1",
        "received=ge2026-11-23T14:59:00Z&recipient=Group/pool-1",
        &format!("{notified}&{open}&patient=pat-000001"),
        &format!("{notified}&received=ge2026-11-23"),
        &format!("{notified}&received=2026-11-23T15:00:00Z"),
        &format!("{notified}&received=le2026-11-23T15:00:00Z"),
    ] {
        assert_eq!(search(refused).status, 400, "{refused}");
    }
    sandbox.plant(Fault::new(FaultKind::RequiresParameter { name: "-email-status".to_owned() }).times(u32::MAX));
    assert_eq!(search(&format!("_id={id}")).status, 200);
    assert_eq!(search(&format!("{notified}&{open}")).status, 400);
    assert_eq!(search(&format!("{notified}&{open}&-email-status=in-progress")).status, 200);
    assert_eq!(sandbox.unused_faults(), []);
}

#[test]
fn oracle_takes_provenance_and_finds_it_by_target() {
    let sandbox = speaking(Flavour::Oracle);
    let mut body = json!({
        "resourceType": "Provenance",
        "target": [{ "reference": "Communication/c1" }],
        "recorded": "2026-11-23T15:00:00Z",
        "agent": [{ "who": { "reference": "Organization/org-1" } }],
    });
    assert_eq!(post(&sandbox, "/fhir/Provenance", &[], &body).unwrap().status, 201);
    assert_eq!(get(&sandbox, "/fhir/Provenance?target=Communication/c1").json()["total"], 1);
    assert_eq!(get(&sandbox, "/fhir/Provenance?target=Communication/c2").json()["total"], 0);
    body.as_object_mut().unwrap().remove("agent");
    assert_eq!(post(&sandbox, "/fhir/Provenance", &[], &body).unwrap().status, 500);
}

fn portal(recipient: &str) -> Value {
    let mut body = communication("a");
    body["recipient"] = json!([{ "reference": recipient }]);
    body
}

#[test]
fn meditech_takes_only_recipients_of_its_list_and_drops_the_identifier() {
    let sandbox = speaking(Flavour::Meditech);
    let choices = get(&sandbox, "/fhir/Communication/$get-recipient-choices").json();
    let targets: Vec<&str> =
        choices["parameter"].as_array().unwrap().iter().map(|one| one["valueReference"]["reference"].as_str().unwrap()).collect();
    assert_eq!(targets, ["Practitioner/prac-01", "Practitioner/prac-02", "Organization/org-1"]);
    for target in targets {
        assert_eq!(tell(&sandbox, &portal(target)).status, 201, "{target}");
    }
    for target in ["Patient/pat-000001", "Practitioner/prac-03", "Group/g"] {
        assert_eq!(tell(&sandbox, &portal(target)).status, 422, "{target}");
    }
    assert_eq!(tell(&sandbox, &communication("a")).status, 422, "without a recipient");
    let kept = sandbox.resources("Communication");
    assert!(kept.len() == 3 && kept.iter().all(|message| message.get("identifier").is_none() && message["payload"].is_array()));
    let total = |query: &str| get(&sandbox, &format!("/fhir/Communication?{query}")).json()["total"].as_u64();
    assert_eq!(total("patient=pat-000001&recipient=Practitioner/prac-02"), Some(1));
    assert_eq!(total("recipient=Practitioner/prac-01&sent=ge2026-11-23"), Some(1));
    assert_eq!(total("sender=Patient/pat-000001"), Some(0));
    assert_eq!(total("patient=pat-000001&status=stopped"), Some(3), "status is passed over");
    assert_eq!(get(&sandbox, "/fhir/Communication/$nonsense").status, 404);
}

#[test]
fn meditech_puts_a_reply_into_the_thread_of_what_it_replies_to() {
    let sandbox = speaking(Flavour::Meditech);
    let said = |body: &Value| {
        let answer = tell(&sandbox, body);
        (answer.status, answer.json())
    };
    let mut first = portal("Practitioner/prac-01");
    first["partOf"] = json!([{ "reference": "Communication/elsewhere" }]);
    let (status, root) = said(&first);
    assert_eq!((status, root.get("partOf")), (201, None), "a message that replies to none begins a thread");
    let root = format!("Communication/{}", root["id"].as_str().unwrap());
    let mut parent = root.clone();
    for _ in 0..2 {
        let mut body = portal("Practitioner/prac-01");
        body["inResponseTo"] = json!([{ "reference": parent }]);
        let (status, reply) = said(&body);
        assert_eq!((status, &reply["partOf"]), (201, &json!([{ "reference": root }])));
        parent = format!("Communication/{}", reply["id"].as_str().unwrap());
    }
    assert_eq!(get(&sandbox, &format!("/fhir/Communication?part-of={root}")).json()["total"], 2);
    assert_eq!(get(&sandbox, &format!("/fhir/Communication?in-response-to={root}")).json()["total"], 1);
    let mut lost = portal("Practitioner/prac-01");
    lost["inResponseTo"] = json!([{ "reference": "Communication/never" }]);
    assert_eq!(tell(&sandbox, &lost).status, 422);
}
