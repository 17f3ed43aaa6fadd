//! What each attempt becomes. Every composed resource is read back by the strict parser; with `FHIR_ENGAGE_COMPOSED=FILE` the samples are
//! also written there as NDJSON, for `tests/validate/run FILE`.

use std::io::Write as _;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::attempt;
use crate::store::attempts::Attempt;
use crate::writeback::compose::{ComposeError, Composed, Site, Subject, Telling, compose};
use crate::writeback::contract::{Contract, Element, MediumCodes, Override, PayloadShape, Status};

fn site() -> Site {
    Site::named("Main Street Clinic")
}

fn composed(a: &Attempt, contract: &Contract) -> Result<Composed, ComposeError> {
    let subject = Subject {
        ehr: "main",
        attempt: a,
        patient: "p-1001",
        message: Some("Hello Ada,\nreply C to confirm."),
        key: &a.id,
        telling: Telling::Original,
    };
    compose(&subject, &site(), contract)
}

fn value(a: &Attempt, contract: &Contract) -> Value {
    let composed = composed(a, contract).unwrap();
    typed::parse_strict(composed.deed.bytes().unwrap()).unwrap();
    serde_json::from_slice(composed.deed.bytes().unwrap()).unwrap()
}

/// One of each kind that programs and channels can bring about.
fn samples() -> Vec<(&'static str, Attempt, Contract)> {
    let full = Contract::full_r4;
    let with = |payload, codes| {
        let mut contract = full();
        (contract.shape.payload, contract.shape.medium_codes) = (payload, codes);
        contract
    };
    let a = |id: &str, outcome: &str| attempt(id, outcome);
    vec![
        ("delivered", a("s01", "delivered"), full()),
        ("answered", a("s02", "answered"), full()),
        ("delivery unknown", a("s03", "unknown"), full()),
        ("lost while sending", Attempt { settle_by: None, provider_ref: None, ..a("s04", "unknown") }, full()),
        ("bounced", Attempt { failure: Some("channel: 550 5.1.1".to_owned()), ..a("s05", "failed") }, full()),
        (
            "wrong number",
            Attempt { channel: Some("sms".to_owned()), failure: Some("channel: invalid-phone-number".to_owned()), ..a("s06", "failed") },
            full(),
        ),
        ("our failure", Attempt { failure: None, ..a("s07", "failed") }, full()),
        (
            "recorded",
            Attempt {
                channel: Some("recorded".to_owned()),
                about: Some("CarePlan/c-3001".to_owned()),
                action: "check-in".to_owned(),
                template: "plan-check-in".to_owned(),
                program: "plan-check-in".to_owned(),
                settle_by: None,
                provider_ref: None,
                ..a("s08", "delivered")
            },
            full(),
        ),
        ("about nothing", Attempt { about: None, action: "schedule".to_owned(), ..a("s09", "delivered") }, full()),
        ("full text", a("s10", "delivered"), with(PayloadShape::Text, MediumCodes::Current)),
        ("template only", Attempt { action: "refill".to_owned(), ..a("s11", "delivered") }, with(PayloadShape::Template, MediumCodes::R4)),
        ("sms for R4", Attempt { channel: Some("sms".to_owned()), ..a("s12", "delivered") }, with(PayloadShape::Summary, MediumCodes::R4)),
        ("sms", Attempt { channel: Some("sms".to_owned()), action: "complete-form".to_owned(), ..a("s13", "delivered") }, full()),
        (
            "call",
            Attempt {
                channel: Some("call".to_owned()),
                failure: Some("no-answer".to_owned()),
                action: "call".to_owned(),
                ..a("s14", "failed")
            },
            full(),
        ),
        ("an action of tomorrow", Attempt { action: "dance".to_owned(), channel: None, language: None, ..a("s15", "delivered") }, full()),
    ]
}

#[test]
fn samples_are_valid_r4_and_fulfil_the_profile() {
    let mut lines = Vec::new();
    for (name, a, contract) in samples() {
        let c = value(&a, &contract);
        for element in ["identifier", "category", "medium", "recipient", "sender", "subject"] {
            assert!(c.get(element).is_some(), "{name}: {element}");
        }
        let status = c["status"].as_str().unwrap();
        assert!(!matches!(status, "stopped" | "not-done") || c.get("statusReason").is_some(), "{name}: eng-1");
        assert!(status != "completed" || c.get("sent").is_some(), "{name}: eng-2");
        assert!(c.get("received").is_none(), "{name}: nobody knows when it was received");
        assert_eq!(c["identifier"], json!([{"system": "urn:fhir-engage:attempt", "value": a.id}]), "{name}");
        assert_eq!(c["subject"], json!({"reference": "Patient/p-1001"}), "{name}");
        assert_eq!(c["recipient"], json!([{"reference": "Patient/p-1001"}]), "{name}");
        let text = c.to_string();
        assert!(!text.contains("mail.example"), "{name}: a provider's reference is not for the chart");
        assert_eq!(text.contains("Hello Ada"), contract.shape.payload == PayloadShape::Text, "{name}: minimum necessary");
        lines.push(text);
    }
    if let Some(file) = std::env::var_os("FHIR_ENGAGE_COMPOSED") {
        let mut file = std::fs::File::create(file).unwrap();
        lines.iter().for_each(|line| writeln!(file, "{line}").unwrap());
    }
}

#[test]
fn each_end_has_its_status_and_reason() {
    let code = |c: &Value, i: usize| c["statusReason"]["coding"][i]["code"].as_str().map(str::to_owned);
    for (name, status, reasons) in [
        ("delivered", "completed", [None, None]),
        ("answered", "completed", [None, None]),
        ("delivery unknown", "completed", [Some("delivery-unknown"), None]),
        ("lost while sending", "unknown", [Some("unknown"), None]),
        ("bounced", "stopped", [Some("recipient-unavailable"), Some("invalid-address")]),
        ("wrong number", "stopped", [Some("invalid-phone-number"), Some("invalid-address")]),
        ("our failure", "stopped", [Some("system-error"), None]),
        ("recorded", "completed", [None, None]),
        ("call", "stopped", [Some("recipient-unavailable"), Some("no-answer")]),
    ] {
        let (_, a, contract) = samples().into_iter().find(|(n, ..)| *n == name).unwrap();
        let c = value(&a, &contract);
        assert_eq!(c["status"], status, "{name}");
        assert_eq!([code(&c, 0), code(&c, 1)], reasons.map(|r| r.map(str::to_owned)), "{name}");
    }
}

#[test]
fn the_whole_of_a_recorded_one() {
    let (_, a, contract) = samples().into_iter().find(|(n, ..)| *n == "recorded").unwrap();
    let participation = "http://terminology.hl7.org/CodeSystem/v3-ParticipationMode";
    let channel = "http://fhir-engage.example/fhir/CodeSystem/engagement-channel";
    assert_eq!(
        value(&a, &contract),
        json!({
            "resourceType": "Communication",
            "meta": {"profile": ["http://fhir-engage.example/fhir/StructureDefinition/engagement-communication"]},
            "identifier": [{"system": "urn:fhir-engage:attempt", "value": "s08"}],
            "basedOn": [{"reference": "CarePlan/c-3001"}],
            "status": "completed",
            "category": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/communication-category", "code": "notification", "display": "Notification"}]}],
            "medium": [{
                "coding": [{"system": channel, "code": "recorded", "display": "Recorded only"}, {"system": participation, "code": "WRITTEN", "display": "written"}],
                "text": "Recorded only; nothing was sent",
            }],
            "subject": {"reference": "Patient/p-1001"},
            "topic": {
                "coding": [{"system": "http://terminology.hl7.org/CodeSystem/communication-topic", "code": "progress-update", "display": "Progress Update"}],
                "text": "How the care plan is going",
            },
            "about": [{"reference": "CarePlan/c-3001"}],
            "sent": "2026-11-23T09:00:01.123Z",
            "recipient": [{"reference": "Patient/p-1001"}],
            "sender": {"type": "Device", "display": "Main Street Clinic (fhir-engage)"},
            "payload": [{"contentString": "The patient was asked how things are going (language en). Template plan-check-in, program plan-check-in, step first."}],
            "note": [{"text": "Recorded, not sent: the step went through the recorded channel, and no message left this installation."}],
        })
    );
}

#[test]
fn what_a_contract_does_not_take_is_left_out_and_told() {
    let a = attempt("s1", "unknown");
    for element in Element::ALL {
        let word = Override { leave_out: [element].into(), ..Override::default() };
        let composed = composed(&a, &Contract::full_r4().with(&word)).unwrap();
        let c: Value = serde_json::from_slice(composed.deed.bytes().unwrap()).unwrap();
        let told: Vec<&str> = composed.losses.iter().map(|l| l.element.as_str()).collect();
        // This attempt is about an appointment, answers nothing, and has nothing to note. The profile goes with what it asks for.
        use Element::{BasedOn, Identifier, InResponseTo, Medium, Note, PartOf, ReasonCode, Received, Sent};
        let wanted = match element {
            BasedOn | Note | PartOf | InResponseTo | Received | ReasonCode => vec![],
            Identifier | Medium | Sent => vec![element.as_str(), "meta.profile"],
            _ => vec![element.as_str()],
        };
        assert_eq!(told, wanted);
        assert_eq!(c.get("meta").is_none(), told.contains(&"meta.profile"), "{element:?}");
        assert!(c.pointer(&format!("/{}", element.as_str().replace('.', "/"))).is_none(), "{}", element.as_str());
    }
    assert_eq!(composed(&a, &Contract::full_r4()).unwrap().losses, []);
    let text = Contract::full_r4().with(&Override { payload: Some(PayloadShape::Text), ..Override::default() });
    let silent = Subject { ehr: "main", attempt: &a, patient: "p-1001", message: Some(" \u{7} "), key: "s1", telling: Telling::Original };
    assert_eq!(compose(&silent, &site(), &text).unwrap().losses[0].element, "payload");
}

#[test]
fn what_cannot_be_said_truly_is_refused() {
    let full = Contract::full_r4();
    let planned = Attempt { outcome: None, ..attempt("s1", "delivered") };
    assert_eq!(composed(&planned, &full).unwrap_err(), ComposeError::NotFinished);
    let never = Attempt { sent_at: None, ..attempt("s1", "delivered") };
    assert_eq!(composed(&never, &full).unwrap_err(), ComposeError::NeverSent);
    let mut narrow = full;
    narrow.shape.statuses = [Status::Completed].into();
    assert_eq!(composed(&attempt("s1", "failed"), &narrow).unwrap_err(), ComposeError::Status("stopped"));
    let broken = Attempt { about: Some("not a reference".to_owned()), ..attempt("s1", "delivered") };
    let error = composed(&broken, &Contract::full_r4()).unwrap_err().to_string();
    assert!(error.starts_with("not-r4: Communication.about[0]") && !error.contains("not a reference\""), "{error}");
}

#[test]
fn another_namespace_does_not_claim_the_profile_that_fixes_ours() {
    let a = attempt("s1", "delivered");
    let site = Site { identifier_system: "urn:oid:1.2.3".to_owned(), ..site() };
    let composed = compose(
        &Subject { ehr: "main", attempt: &a, patient: "p", message: None, key: "s1", telling: Telling::Original },
        &site,
        &Contract::full_r4(),
    )
    .unwrap();
    let c: Value = serde_json::from_slice(composed.deed.bytes().unwrap()).unwrap();
    assert_eq!((c.get("meta"), &c["identifier"][0]["system"]), (None, &json!("urn:oid:1.2.3")));
}

proptest! {
    /// Whatever stands in the ledger, the bytes are valid R4 or there is a reason: a chart never gets half a resource.
    #[test]
    fn any_attempt_composes_to_valid_r4_or_a_reason(
        outcome in "delivered|answered|unknown|failed|[a-z]{0,6}",
        action in "confirm|refill|[a-z-]{0,12}",
        channel in proptest::option::of("email|sms|recorded|.{0,8}"),
        failure in proptest::option::of(".{0,40}"),
        about in proptest::option::of("(Appointment|CarePlan)/[A-Za-z0-9.-]{1,64}|.{0,12}"),
        language in proptest::option::of(".{0,6}"),
        site_name in ".{0,20}",
        message in ".{0,60}",
        sent_at in proptest::option::of(0_i64..4_102_444_800_000_000),
        shape in 0..3_u8,
    ) {
        let a = Attempt { outcome: Some(outcome), action, channel, failure, about, language, sent_at, ..attempt("s1", "") };
        let payload = [PayloadShape::Text, PayloadShape::Summary, PayloadShape::Template][usize::from(shape)];
        let contract = Contract::full_r4().with(&Override { payload: Some(payload), ..Override::default() });
        let subject = Subject { ehr: "main", attempt: &a, patient: "p-1", message: Some(&message), key: "s1", telling: Telling::Original };
        if let Ok(done) = compose(&subject, &Site::named(&site_name), &contract) {
            prop_assert!(typed::parse_strict(done.deed.bytes().unwrap()).is_ok());
        }
    }
}
