//! The examples of `fhir-profiles/examples` are what this crate emits, and its codes are those of the CodeSystems there.
//! `UPDATE_EXAMPLES=1 cargo test -p typed` writes them anew.

use std::path::PathBuf;

use serde_json::Value;

use crate::codes::{self, ATTEMPT_SYSTEM, PROFILE_COMMUNICATION, PROFILE_DOCUMENT, PROFILE_SEGMENT, SEGMENT_ID_SYSTEM, SEGMENT_SYSTEM};
use crate::*;

fn profiles() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fhir-profiles")
}

fn attempt(value: &str) -> Identifier {
    Identifier { system: ATTEMPT_SYSTEM.into(), value: value.into() }
}

fn base(status: CommunicationStatus, attempt_id: &str) -> Communication {
    Communication {
        profile: vec![PROFILE_COMMUNICATION.into()],
        identifier: vec![attempt(attempt_id)],
        subject: Some("Patient/p-1001".into()),
        recipient: vec![Reference::to("Patient/p-1001")],
        sender: Some(Reference::named("Device", "fhir-engage")),
        ..Communication::new(status)
    }
}

fn email_reminder() -> Communication {
    Communication {
        category: vec![codes::category::REMINDER.into()],
        priority: Some(Priority::Routine),
        medium: vec![Concept::from(codes::medium::EMAIL).and(codes::channel::EMAIL)],
        topic: Some(codes::topic::APPOINTMENT_REMINDER.into()),
        about: vec!["Appointment/a-2001".into()],
        sent: Some("2026-11-20T10:00:00-05:00".into()),
        received: Some("2026-11-20T10:00:04-05:00".into()),
        payload: vec![Payload::Text(
            "Reminder of the visit on 23 November at 09:30, with a link to confirm it. Template visit-72h, version 3.".into(),
        )],
        ..base(CommunicationStatus::Completed, "01JCZ8Q4T7M2E9V5B3K6N1R8WX")
    }
}

fn recorded() -> Communication {
    Communication {
        category: vec![codes::category::NOTIFICATION.into()],
        medium: vec![Concept { coding: vec![codes::channel::RECORDED.into()], text: Some("Recorded only; nothing was sent".into()) }],
        topic: Some(codes::topic::PROGRESS_UPDATE.into()),
        based_on: vec!["CarePlan/c-3001".into()],
        about: vec!["CarePlan/c-3001".into()],
        sent: Some("2026-11-20T15:00:00Z".into()),
        payload: vec![Payload::Text("Template care-plan-check-in, version 1".into())],
        note: vec!["Program care-plan-check-in; segment active-care-plan.".into()],
        ..base(CommunicationStatus::Completed, "01JCZ8Q4T7M2E9V5B3K6N1R8WY")
    }
}

fn stopped() -> Communication {
    Communication {
        status_reason: Some(Concept::from(codes::status_reason::INVALID_PHONE_NUMBER).and(codes::outcome::INVALID_ADDRESS)),
        category: vec![codes::category::REMINDER.into()],
        medium: vec![Concept { text: Some("SMS".into()), ..Concept::from(codes::medium::SMS).and(codes::channel::SMS) }],
        topic: Some(codes::topic::APPOINTMENT_REMINDER.into()),
        about: vec!["Appointment/a-2001".into()],
        sent: Some("2026-11-20T15:00:00Z".into()),
        ..base(CommunicationStatus::Stopped, "01JCZ8Q4T7M2E9V5B3K6N1R8WZ")
    }
}

fn unreachable() -> Communication {
    Communication {
        status_reason: Some(Concept::from(codes::status_reason::RECIPIENT_UNAVAILABLE).and(codes::outcome::UNREACHABLE)),
        category: vec![codes::category::REMINDER.into()],
        medium: vec![Concept::from(codes::medium::PHONE).and(codes::channel::CALL)],
        about: vec!["Appointment/a-2001".into()],
        sent: Some("2026-11-21T10:00:00-05:00".into()),
        ..base(CommunicationStatus::Stopped, "01JCZ8Q4T7M2E9V5B3K6N1R900")
    }
}

fn opted_out() -> Communication {
    Communication {
        status_reason: Some(codes::status_reason::PATIENT_OBJECTION.into()),
        category: vec![codes::category::REMINDER.into()],
        medium: vec![Concept::from(codes::medium::EMAIL).and(codes::channel::EMAIL)],
        about: vec!["Appointment/a-2001".into()],
        ..base(CommunicationStatus::NotDone, "01JCZ8Q4T7M2E9V5B3K6N1R903")
    }
}

fn answer() -> Communication {
    Communication {
        in_response_to: vec!["Communication/k-4001".into()],
        category: vec![codes::category::NOTIFICATION.into()],
        medium: vec![Concept::from(codes::medium::WRITTEN).and(codes::channel::SMS)],
        topic: Some(Concept::text("Answer: asks for another time")),
        about: vec!["Appointment/a-2001".into()],
        sent: Some("2026-11-20T10:12:30-05:00".into()),
        received: Some("2026-11-20T10:12:31-05:00".into()),
        recipient: vec![Reference::named("Device", "fhir-engage")],
        sender: Some(Reference::to("Patient/p-1001")),
        reason_code: vec![codes::barrier::TRANSPORT.into()],
        payload: vec![Payload::Text("I have no ride on Monday".into())],
        ..base(CommunicationStatus::Completed, "01JCZ8Q4T7M2E9V5B3K6N1R901")
    }
}

/// An item in an inbox of staff, which keeps a topic's text and an attachment, and no identifier.
fn staff_note() -> Communication {
    Communication {
        recipient: vec![Reference::to("Group/front-desk")],
        sender: Some(Reference::to("Practitioner/gateway")),
        subject: Some("Patient/p-1001".into()),
        category: vec![codes::category::NOTIFICATION.into()],
        topic: Some(Concept::text("Answer: the patient wants the visit cancelled [fhir-engage 01JCZ8Q4T7M2E9V5B3K6N1R902-answer-1]")),
        payload: vec![Payload::Attachment {
            content_type: "text/plain; charset=utf-8".into(),
            data: "The patient, who was asked to confirm a visit, wants the visit cancelled. Somebody has to act on it.".into(),
            title: None,
        }],
        ..Communication::new(CommunicationStatus::Completed)
    }
}

/// A message of the patient in a thread of the patient portal, which keeps no identifier.
fn portal_thread() -> Communication {
    Communication {
        in_response_to: vec!["Communication/k-4001".into()],
        recipient: vec![Reference::to("Practitioner/of-the-choices")],
        sender: Some(Reference::to("Patient/p-1001")),
        subject: Some("Patient/p-1001".into()),
        category: vec![codes::category::NOTIFICATION.into()],
        topic: Some(Concept::text("Answer: the patient answered in their own words [fhir-engage 01JCZ8Q4T7M2E9V5B3K6N1R904-answer-1]")),
        sent: Some("2026-11-20T15:12:30.000Z".into()),
        payload: vec![Payload::Text("Can I come an hour later?".into())],
        ..Communication::new(CommunicationStatus::Completed)
    }
}

/// A late bounce, told where nothing can be updated.
fn correction() -> Communication {
    Communication {
        part_of: vec!["Communication/k-4001".into()],
        status_reason: Some(Concept::from(codes::status_reason::RECIPIENT_UNAVAILABLE).and(codes::outcome::INVALID_ADDRESS)),
        category: vec![codes::category::REMINDER.into()],
        medium: vec![Concept::from(codes::medium::EMAIL).and(codes::channel::EMAIL)],
        topic: Some(Concept::text("Correction: Confirm the visit")),
        about: vec!["Appointment/a-2001".into()],
        sent: Some("2026-11-20T10:00:00-05:00".into()),
        payload: vec![Payload::Text(
            "An earlier entry on this message is not true any more. It was not delivered: Invalid address.".into(),
        )],
        ..base(CommunicationStatus::Stopped, "01JCZ8Q4T7M2E9V5B3K6N1R8WX-correction-1")
    }
}

fn document(key: &str, description: &str, text: &str) -> DocumentReference {
    DocumentReference {
        profile: vec![PROFILE_DOCUMENT.into()],
        identifier: vec![attempt(key)],
        doc_status: DocStatus::Final,
        kind: Concept { text: Some("Patient outreach".into()), ..codes::document::ADMINISTRATIVE_NOTE.into() },
        category: vec![codes::document::CLINICAL_NOTE.into()],
        subject: "Patient/p-1001".into(),
        date: Some("2026-11-20T22:00:00Z".into()),
        author: vec![Reference::named("Device", "Main Street Clinic (fhir-engage)")],
        relates_to: vec![],
        description: Some(description.into()),
        text: text.into(),
        title: Some(description.into()),
        period: None,
        related: vec!["Appointment/a-2001".into()],
    }
}

fn daily_note() -> DocumentReference {
    let text = "09:30 E-mail: the patient was asked to confirm a visit. It was delivered.\n14:05 Text message: the patient was asked to fill in a form. The patient answered.";
    DocumentReference {
        period: Some(("2026-11-20T14:30:00Z".into(), "2026-11-20T19:05:00Z".into())),
        related: vec![],
        ..document("01JCZ8Q4T7M2E9V5B3K6N1R8WX-note", "Patient outreach on 2026-11-20", text)
    }
}

fn document_correction() -> DocumentReference {
    DocumentReference {
        relates_to: vec![(Relation::Appends, "DocumentReference/d-1".into())],
        ..document(
            "01JCZ8Q4T7M2E9V5B3K6N1R8WX-correction-1",
            "Correction: Confirm the visit",
            "An earlier entry on this message is not true any more. It was not delivered: Invalid address.",
        )
    }
}

fn origin() -> Provenance {
    Provenance {
        target: vec!["Communication/k-4001/_history/1".into()],
        recorded: "2026-11-20T15:00:05Z".into(),
        activity: codes::activity::CREATE.into(),
        agent: vec![Agent {
            kind: codes::agent::ASSEMBLER.into(),
            who: Reference::named("Device", "fhir-engage"),
            on_behalf_of: Some(Reference::named("Organization", "Main Street Clinic")),
        }],
        source: vec![Reference {
            identifier: Some(Identifier { system: codes::ATTEMPT_SYSTEM.into(), value: "01JCZ8Q4T7M2E9V5B3K6N1R8WX-0-provenance".into() }),
            ..Reference::default()
        }],
    }
}

fn segment() -> Group {
    Group {
        id: Some("visit-unconfirmed".into()),
        profile: vec![PROFILE_SEGMENT.into()],
        identifier: vec![Identifier { system: SEGMENT_ID_SYSTEM.into(), value: "visit-unconfirmed".into() }],
        active: true,
        code: Concept {
            coding: vec![Coding { system: Some(SEGMENT_SYSTEM.into()), code: "visit-unconfirmed".into(), display: None }],
            text: Some("Visit within 72 hours, not confirmed".into()),
        },
        name: "Visit within 72 hours, not confirmed".into(),
        quantity: 1,
        managing_entity: Some("Organization/o-1".into()),
        rule: Some("not deceased and next_appointment.start within 72h and not next_appointment.confirmed".into()),
        member: vec![
            Member { patient: "Patient/p-1001".into(), since: Some("2026-11-20T14:30:00Z".into()), until: None, inactive: false },
            Member {
                patient: "Patient/p-1002".into(),
                since: Some("2026-11-18T14:30:00Z".into()),
                until: Some("2026-11-19T08:00:00Z".into()),
                inactive: true,
            },
        ],
    }
}

/// A segment of which only the definition is known yet: nobody was evaluated.
fn segment_of_nobody() -> Group {
    let coding = Coding { system: Some(SEGMENT_SYSTEM.into()), code: "needs-interpreter".into(), display: None };
    Group {
        id: Some("needs-interpreter".into()),
        identifier: vec![Identifier { system: SEGMENT_ID_SYSTEM.into(), value: "needs-interpreter".into() }],
        code: Concept { coding: vec![coding], text: Some("Needs an interpreter".into()) },
        name: "Needs an interpreter".into(),
        quantity: 0,
        managing_entity: None,
        rule: Some("not deceased and (interpreter_needed or language != site.language)".into()),
        member: Vec::new(),
        ..segment()
    }
}

fn outcome() -> Vec<Issue> {
    vec![Issue {
        severity: Severity::Error,
        code: IssueCode::NotSupported,
        text: Some("The search parameter is not supported. Use code, name or _id.".into()),
        expression: vec!["http.characteristic".into()],
    }]
}

fn all() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("communication-email-reminder", communication(&email_reminder()).unwrap()),
        ("communication-recorded", communication(&recorded()).unwrap()),
        ("communication-stopped", communication(&stopped()).unwrap()),
        ("communication-unreachable", communication(&unreachable()).unwrap()),
        ("communication-opted-out", communication(&opted_out()).unwrap()),
        ("communication-answer", communication(&answer()).unwrap()),
        ("communication-staff-message", communication(&staff_note()).unwrap()),
        ("communication-portal-thread", communication(&portal_thread()).unwrap()),
        ("communication-correction", communication(&correction()).unwrap()),
        ("document-daily-note", document_reference(&daily_note()).unwrap()),
        ("document-correction", document_reference(&document_correction()).unwrap()),
        ("provenance-communication", provenance(&origin()).unwrap()),
        ("group-segment", group(&segment()).unwrap()),
        ("group-definition", group(&segment_of_nobody()).unwrap()),
        ("operation-outcome", operation_outcome(&outcome()).unwrap()),
    ]
}

#[test]
fn the_examples_are_what_is_emitted() {
    let folder = profiles().join("examples");
    let update = std::env::var_os("UPDATE_EXAMPLES").is_some();
    let mut names = Vec::new();
    for (name, bytes) in all() {
        assert_eq!(parse_strict(&bytes), Ok(()), "{name}");
        let emitted: Value = serde_json::from_slice(&bytes).unwrap();
        let file = folder.join(format!("{name}.json"));
        if update {
            std::fs::write(&file, format!("{}\n", serde_json::to_string_pretty(&emitted).unwrap())).unwrap();
        }
        let kept: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        assert_eq!(emitted, kept, "{name}");
        names.push(format!("{name}.json"));
    }
    for entry in std::fs::read_dir(&folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(names.contains(&name), "{name} is made by nothing");
    }
}

#[test]
fn our_codes_are_those_of_the_code_systems() {
    for (file, terms) in [
        ("engagement-channel", codes::channel::ALL),
        ("engagement-outcome", codes::outcome::ALL),
        ("engagement-barrier", codes::barrier::ALL),
    ] {
        let path = profiles().join(format!("CodeSystem-{file}.json"));
        let system: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let listed: Vec<_> =
            system["concept"].as_array().unwrap().iter().map(|c| (c["code"].as_str().unwrap(), c["display"].as_str().unwrap())).collect();
        let ours: Vec<_> = terms.iter().map(|t| (t.code, t.display.unwrap())).collect();
        assert_eq!(listed, ours, "{file}");
        assert!(terms.iter().all(|t| t.system == system["url"].as_str().unwrap()), "{file}");
        assert_eq!(system["url"], format!("{}/CodeSystem/{file}", codes::CANONICAL_BASE));
    }
    for (file, url) in [
        ("engagement-communication", PROFILE_COMMUNICATION),
        ("engagement-document", PROFILE_DOCUMENT),
        ("engagement-segment", PROFILE_SEGMENT),
    ] {
        let path = profiles().join(format!("StructureDefinition-{file}.json"));
        let profile: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        assert_eq!(profile["url"], url);
    }
}

#[test]
fn golden_bytes() {
    let least = Communication::new(CommunicationStatus::Unknown);
    assert_eq!(communication(&least).unwrap(), br#"{"resourceType":"Communication","status":"unknown"}"#);
    let full = Communication {
        identifier: vec![attempt("1")],
        part_of: vec!["Communication/0".into()],
        subject: Some("Patient/1".into()),
        payload: vec![
            Payload::Text("Grüezi \"x\"\n".into()),
            Payload::Attachment { content_type: "text/plain".into(), data: vec![0, 255, 7], title: None },
            Payload::Reference("DocumentReference/1".into()),
        ],
        ..Communication::new(CommunicationStatus::EnteredInError)
    };
    assert_eq!(
        String::from_utf8(communication(&full).unwrap()).unwrap(),
        concat!(
            r#"{"resourceType":"Communication","identifier":[{"system":"urn:fhir-engage:attempt","value":"1"}],"#,
            r#""partOf":[{"reference":"Communication/0"}],"status":"entered-in-error","subject":{"reference":"Patient/1"},"#,
            r#""payload":[{"contentString":"Grüezi \"x\"\n"},{"contentAttachment":{"contentType":"text/plain","data":"AP8H"}},"#,
            r#"{"contentReference":{"reference":"DocumentReference/1"}}]}"#
        )
    );
}

/// One change that makes a Communication invalid, the element that is named, and what is said of it.
type Spoilt = (fn(&mut Communication), &'static str, Problem);

#[test]
fn what_cannot_be_valid_is_refused() {
    let cases: &[Spoilt] = &[
        (|c| c.identifier[0].system = "attempt".into(), "Communication.identifier[0].system", Problem::Uri),
        (|c| c.identifier[0].value = " ".into(), "Communication.identifier[0].value", Problem::Empty),
        (|c| c.profile = vec!["engagement".into()], "Communication.meta.profile[0]", Problem::Uri),
        (|c| c.status_reason = Some(Concept::default()), "Communication.statusReason", Problem::NoConcept),
        (|c| c.category[0].coding[0].code = " a".into(), "Communication.category[0].coding[0].code", Problem::Code),
        (|c| c.medium[0].coding[1].system = Some("sms".into()), "Communication.medium[0].coding[1].system", Problem::Uri),
        (|c| c.subject = Some("Practitioner/1".into()), "Communication.subject.reference", Problem::ReferenceType),
        (|c| c.subject = Some("1".into()), "Communication.subject.reference", Problem::Reference),
        (|c| c.topic = Some(Concept::text("")), "Communication.topic.text", Problem::Empty),
        (|c| c.about.push("Appointment".into()), "Communication.about[1].reference", Problem::Reference),
        (|c| c.based_on = vec!["careplan/1".into()], "Communication.basedOn[0].reference", Problem::Reference),
        (|c| c.in_response_to = vec!["Patient/1".into()], "Communication.inResponseTo[0].reference", Problem::ReferenceType),
        (|c| c.encounter = Some("Appointment/1".into()), "Communication.encounter.reference", Problem::ReferenceType),
        (|c| c.sent = Some("2026-11-20T10:00:00".into()), "Communication.sent", Problem::DateTime),
        (|c| c.received = Some("yesterday".into()), "Communication.received", Problem::DateTime),
        (|c| c.recipient.push(Reference::default()), "Communication.recipient[1]", Problem::NoReference),
        (|c| c.recipient = vec![Reference::to("Location/1")], "Communication.recipient[0].reference", Problem::ReferenceType),
        (|c| c.sender = Some(Reference::to("CareTeam/1")), "Communication.sender.reference", Problem::ReferenceType),
        (|c| c.sender = Some(Reference::named("Group", "x")), "Communication.sender.type", Problem::ReferenceType),
        (|c| c.payload = vec![Payload::Text(String::new())], "Communication.payload[0].contentString", Problem::Empty),
        (|c| c.payload = vec![Payload::Text("\u{0}".into())], "Communication.payload[0].contentString", Problem::ControlCharacter),
        (
            |c| c.payload = vec![Payload::Attachment { content_type: "text".into(), data: vec![1], title: None }],
            "Communication.payload[0].contentAttachment.contentType",
            Problem::MediaType,
        ),
        (
            |c| c.payload = vec![Payload::Attachment { content_type: "text/plain".into(), data: vec![], title: None }],
            "Communication.payload[0].contentAttachment.data",
            Problem::Empty,
        ),
        (|c| c.note = vec!["".into()], "Communication.note[0].text", Problem::Empty),
    ];
    for (spoil, element, problem) in cases {
        let mut spoilt = email_reminder();
        spoil(&mut spoilt);
        let invalid = communication(&spoilt).unwrap_err();
        assert_eq!((invalid.element(), invalid.problem()), (*element, *problem));
    }
}

#[test]
fn groups_and_outcomes_that_cannot_be_valid_are_refused() {
    let refused = |spoil: fn(&mut Group)| {
        let mut spoilt = segment();
        spoil(&mut spoilt);
        let invalid = group(&spoilt).unwrap_err();
        (invalid.element().to_owned(), invalid.problem())
    };
    assert_eq!(refused(|g| g.quantity = 0), ("Group.quantity".into(), Problem::Quantity));
    assert_eq!(refused(|g| g.id = Some("a_b".into())), ("Group.id".into(), Problem::Id));
    assert_eq!(refused(|g| g.name = String::new()), ("Group.name".into(), Problem::Empty));
    assert_eq!(refused(|g| g.member[0].patient = "Group/1".into()), ("Group.member[0].entity.reference".into(), Problem::ReferenceType));
    assert_eq!(
        refused(|g| g.member[1].until = Some("2026-11-18T09:00:00-05:00".into())),
        ("Group.member[1].period".into(), Problem::Period)
    );
    assert_eq!(operation_outcome(&[]).unwrap_err().problem(), Problem::NoEntry);
    let silent = Issue { text: Some(" ".into()), ..outcome().remove(0) };
    assert_eq!(operation_outcome(&[silent]).unwrap_err().element(), "OperationOutcome.issue[0].details.text");
}

/// One change that makes a document invalid, the element that is named, and what is said of it.
type SpoiltDocument = (fn(&mut DocumentReference), &'static str, Problem);

#[test]
fn documents_and_origins_that_cannot_be_valid_are_refused() {
    let cases: &[SpoiltDocument] = &[
        (|d| d.text = " \n".into(), "DocumentReference.content[0].attachment.data", Problem::Empty),
        (|d| d.date = Some("2026-11-20".into()), "DocumentReference.date", Problem::Instant),
        (|d| d.subject = "Group/1".into(), "DocumentReference.subject.reference", Problem::ReferenceType),
        (|d| d.author = vec![Reference::to("Group/1")], "DocumentReference.author[0].reference", Problem::ReferenceType),
        (|d| d.kind = Concept::default(), "DocumentReference.type", Problem::NoConcept),
        (|d| d.description = Some(String::new()), "DocumentReference.description", Problem::Empty),
        (|d| d.period = Some(("2026".into(), "then".into())), "DocumentReference.context.period.end", Problem::DateTime),
        (
            |d| d.relates_to = vec![(Relation::Replaces, "Communication/1".into())],
            "DocumentReference.relatesTo[0].target.reference",
            Problem::ReferenceType,
        ),
        (|d| d.related = vec!["here".into()], "DocumentReference.context.related[0].reference", Problem::Reference),
    ];
    for (spoil, element, problem) in cases {
        let mut spoilt = daily_note();
        spoil(&mut spoilt);
        let invalid = document_reference(&spoilt).unwrap_err();
        assert_eq!((invalid.element(), invalid.problem()), (*element, *problem));
        assert!(!format!("{spoilt:?}").contains("p-1001"));
    }
    let nobody = provenance(&Provenance { agent: vec![], ..origin() }).unwrap_err();
    assert_eq!((nobody.element(), nobody.problem()), ("Provenance.agent", Problem::NoEntry));
    let nothing = provenance(&Provenance { target: vec![], ..origin() }).unwrap_err();
    assert_eq!((nothing.element(), nothing.problem()), ("Provenance.target", Problem::NoEntry));
    let never = provenance(&Provenance { recorded: "2026".into(), ..origin() }).unwrap_err();
    assert_eq!((never.element(), never.problem()), ("Provenance.recorded", Problem::Instant));
}

#[test]
fn debug_and_errors_show_no_patient() {
    let mut spoilt = answer();
    spoilt.sender = Some(Reference::to("Patient/Ada Lovelace"));
    let shown = format!("{spoilt:?} {:?} {:?} {}", spoilt.recipient, segment().member, communication(&spoilt).unwrap_err());
    for secret in ["p-1001", "p-1002", "ride", "Lovelace", "01JC"] {
        assert!(!shown.contains(secret), "{secret}");
    }
}
