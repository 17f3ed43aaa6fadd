//! What is told beside originals, and by whichever carrier: answers, corrections, notes, status changes, routes, files.

use base64::Engine as _;
use chrono::NaiveDate;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::attempt;
use crate::store::answers::Answer;
use crate::store::attempts::Attempt;
use crate::writeback::compose::{ComposeError, Composed, Site, Subject, Telling, Told, compose};
use crate::writeback::contract::{
    Carrier, Category, Content, Contract, Element, KeyPlace, Limits, Override, Party, PayloadShape, Route, Status,
};
use crate::writeback::deed::Deed;
use crate::writeback::key::carries;

const SYSTEM: &str = "urn:fhir-engage:attempt";

fn answer(meaning: &str, needs_action: bool) -> Answer {
    Answer {
        attempt: "a1".to_owned(),
        number: 1,
        channel: "email".to_owned(),
        external_id: Some("<7@mail.example>".to_owned()),
        meaning: meaning.to_owned(),
        barrier: None,
        needs_action,
        message: None,
        received_at: 1_795_428_000_000_000,
        recorded_by: "email".to_owned(),
    }
}

fn told(carrier: Carrier, note: bool) -> Told {
    Told { carrier, id: "k-1".to_owned(), version: Some("1".to_owned()), note }
}

fn bounced() -> Attempt {
    Attempt { failure: Some("550 5.1.1".to_owned()), ..attempt("a1", "failed") }
}

fn tell(a: &Attempt, key: &str, telling: Telling<'_>, contract: &Contract) -> Result<Composed, ComposeError> {
    compose(
        &Subject { ehr: "main", attempt: a, patient: "p-1001", message: None, key, telling },
        &Site::named("Main Street Clinic"),
        contract,
    )
}

fn resource(composed: &Composed, key: &str) -> Value {
    let bytes = composed.deed.bytes().unwrap();
    typed::parse_strict(bytes).unwrap();
    let value: Value = serde_json::from_slice(bytes).unwrap();
    assert!(carries(&value, SYSTEM, key), "the key is not found again: {value}");
    value
}

fn elements(composed: &Composed) -> Vec<&str> {
    composed.losses.iter().map(|l| l.element.as_str()).collect()
}

fn by(chain: &[Carrier]) -> Contract {
    Contract { chain: chain.to_vec(), ..Contract::full_r4() }
}

fn text_of(document: &Value) -> String {
    let data = document["content"][0]["attachment"]["data"].as_str().unwrap();
    String::from_utf8(base64::engine::general_purpose::STANDARD.decode(data).unwrap()).unwrap()
}

/// An inbox of staff: completed only, nothing but a topic's text and an attachment.
fn inbox() -> Contract {
    let mut contract = by(&[Carrier::Communication, Carrier::DocumentReference, Carrier::Export]);
    contract.shape.statuses = [Status::Completed].into();
    contract.shape.elements = [Element::Topic].into();
    contract.shape.categories = [Category::Notification].into();
    contract.shape.recipient = Party::Configured(Some("Group/g-1".to_owned()));
    contract.shape.sender = Party::Configured(Some("Practitioner/s-1".to_owned()));
    contract.shape.patient_may_send = false;
    contract.shape.payload = PayloadShape::Text;
    contract.shape.content = Content::Attachment;
    contract.communication.key = KeyPlace::Text;
    contract.communication.update = false;
    contract
}

fn route() -> Route {
    serde_json::from_value(json!({
        "url": "https://ehr.example/documents/{patient}", "content_type": "application/json", "success": [200],
        "body": r#"{"id": {{ key|json }}, "patient": {{ patient|json }}, "kind": "{{ kind }}", "title": {{ title|json }}, "text": {{ summary|json }}}"#,
    }))
    .unwrap()
}

#[test]
fn an_answer_is_a_communication_of_the_patient() {
    let (a, original) = (attempt("a1", "answered"), told(Carrier::Communication, false));
    let (yes, free) = (answer("confirm", false), answer("free-text", true));
    let ride = Answer { barrier: Some("transport".to_owned()), ..answer("free-text", true) };
    let telling = |answer| Telling::Answer { answer, text: Some("C"), original: Some(&original) };
    let composed = tell(&a, "a1-answer-1", telling(&yes), &Contract::full_r4()).unwrap();
    let c = resource(&composed, "a1-answer-1");
    assert_eq!(c["inResponseTo"], json!([{"reference": "Communication/k-1"}]));
    assert_eq!((&c["sender"]["reference"], &c["recipient"][0]["type"]), (&json!("Patient/p-1001"), &json!("Device")));
    assert_eq!((&c["status"], &c["sent"], &c["received"]), (&json!("completed"), &json!("2026-11-23T10:00:00.000Z"), &c["sent"]));
    assert_eq!(c["topic"], json!({"text": "Answer: the patient confirms the visit"}));
    assert_eq!(c["about"], json!([{"reference": "Appointment/a-2001"}]));
    let said =
        "The patient, who was asked to confirm a visit, confirms the visit. Template visit-confirm, program visit-confirm, step first.";
    assert_eq!(c["payload"], json!([{"contentString": said}]), "minimum necessary");
    assert_eq!((c.get("reasonCode"), elements(&composed)), (None, vec![]));
    assert!(!carries(&c, SYSTEM, "a1"), "an answer is not its original");
    assert_eq!(composed.at.unwrap().micros(), yes.received_at);

    let barrier = tell(&a, "a1-answer-1", telling(&ride), &Contract::full_r4()).unwrap();
    assert_eq!(resource(&barrier, "a1-answer-1")["reasonCode"][0]["coding"][0]["code"], "transport");
    let both = Answer { barrier: Some("cost".to_owned()), ..answer("cancel-visit", true) };
    let both = resource(&tell(&a, "a1-answer-1", telling(&both), &Contract::full_r4()).unwrap(), "a1-answer-1");
    assert_eq!(both["topic"]["text"], "Answer: the patient wants the visit cancelled, and named a barrier: Cost");
    assert_eq!(both["reasonCode"][0]["coding"][0]["code"], "cost");
    let words = Contract::full_r4().with(&Override { payload: Some(PayloadShape::Text), ..Override::default() });
    let free = tell(&a, "k", telling(&free), &words).unwrap();
    assert_eq!(resource(&free, "k")["payload"], json!([{"contentString": "C"}]));
}

#[test]
fn a_provenance_is_of_the_version_that_was_written_and_carries_its_own_key() {
    let a = attempt("a1", "delivered");
    let recorded = domain::Timestamp::from_micros(1_795_424_500_000_000);
    let on = Contract::full_r4().with(&Override { provenance: Some(true), ..Override::default() });
    let of = |of: &Told, contract: &Contract| tell(&a, "a1-0-provenance", Telling::Provenance { of, recorded }, contract);
    let unversioned = Told { version: None, ..told(Carrier::DocumentReference, false) };
    for (of_what, target) in [(told(Carrier::Communication, false), "Communication/k-1/_history/1"), (unversioned, "DocumentReference/k-1")]
    {
        let composed = of(&of_what, &on).unwrap();
        let provenance = resource(&composed, "a1-0-provenance");
        assert!(!carries(&provenance, SYSTEM, "a1") && !provenance.to_string().contains("p-1001"));
        assert_eq!((composed.carrier, &provenance["target"]), (Carrier::Provenance, &json!([{ "reference": target }])));
        assert_eq!((&provenance["recorded"], elements(&composed)), (&json!("2026-11-23T09:01:40.000Z"), vec![]));
        assert_eq!(composed, of(&of_what, &on).unwrap(), "a second try sends the same");
    }
    for (of_what, contract) in [
        (told(Carrier::Communication, false), &Contract::full_r4()),
        (told(Carrier::Communication, false), &Contract { provenance: None, ..on.clone() }),
        (told(Carrier::Export, false), &on),
    ] {
        let composed = of(&of_what, contract).unwrap();
        assert!(matches!(composed.deed, Deed::Keep { .. }) && composed.losses.is_empty(), "an extra: nothing is lost without it");
    }
}

#[test]
fn an_answer_to_what_is_no_communication_there_says_so() {
    let (a, came) = (attempt("a1", "answered"), answer("help", true));
    for original in [None, Some(told(Carrier::Export, false)), Some(told(Carrier::DocumentReference, false))] {
        let telling = Telling::Answer { answer: &came, text: None, original: original.as_ref() };
        let composed = tell(&a, "a1-answer-1", telling, &Contract::full_r4()).unwrap();
        assert!(resource(&composed, "a1-answer-1").get("inResponseTo").is_none());
        assert_eq!(elements(&composed), ["inResponseTo"]);
    }
}

#[test]
fn an_inbox_gets_an_item_that_says_who_answered() {
    let came = answer("cancel-visit", true);
    let telling = Telling::Answer { answer: &came, text: Some("cancel my visit [fhir-engage a9]"), original: None };
    let composed = tell(&attempt("a1", "answered"), "a1-answer-1", telling, &inbox()).unwrap();
    let c = resource(&composed, "a1-answer-1");
    assert_eq!(c["topic"], json!({"text": "Answer: the patient wants the visit cancelled [fhir-engage a1-answer-1]"}));
    assert_eq!((&c["sender"]["reference"], &c["recipient"][0]["reference"]), (&json!("Practitioner/s-1"), &json!("Group/g-1")));
    let data = c["payload"][0]["contentAttachment"]["data"].as_str().unwrap();
    let text = String::from_utf8(base64::engine::general_purpose::STANDARD.decode(data).unwrap()).unwrap();
    assert!(
        text.contains("Somebody has to act on it.") && text.contains("The patient's words: cancel my visit (fhir-engage a9]"),
        "{text}"
    );
    assert!(!carries(&c, SYSTEM, "a9"), "a patient's words stand for no other write-back");
    let lost = ["sender", "inResponseTo", "identifier", "medium", "about", "received", "sent", "meta.profile"];
    assert_eq!(composed.losses.iter().map(|l| l.element.as_str()).collect::<Vec<_>>(), lost);
    let mut unset = inbox();
    unset.shape.recipient = Party::Configured(None);
    let error = tell(&attempt("a1", "answered"), "k", telling, &unset).unwrap_err();
    assert_eq!(error, ComposeError::NotConfigured("recipient"));
    assert!(error.to_string().starts_with("not-configured: recipient"));
}

#[test]
fn what_an_inbox_cannot_say_goes_as_a_document() {
    let composed = tell(&bounced(), "a1", Telling::Original, &inbox()).unwrap();
    assert_eq!(composed.carrier, Carrier::DocumentReference);
    assert_eq!(elements(&composed), ["Communication.status", "payload", "status"]);
    let d = resource(&composed, "a1");
    assert_eq!((&d["status"], &d["docStatus"]), (&json!("current"), &json!("final")));
    assert_eq!(d["type"]["coding"], json!([{"system": "http://loinc.org", "code": "51851-4", "display": "Administrative note"}]));
    assert_eq!(d["category"][0]["coding"][0]["code"], "clinical-note");
    assert_eq!(d["context"]["related"], json!([{"reference": "Appointment/a-2001"}]));
    let text = text_of(&d);
    assert!(text.starts_with("E-mail, 2026-11-23 09:00 UTC. It was not delivered: Recipient Unavailable, Invalid address."), "{text}");
    let mut refused = inbox();
    refused.chain = vec![Carrier::Communication];
    assert_eq!(tell(&bounced(), "a1", Telling::Original, &refused).unwrap_err(), ComposeError::Status("stopped"));
    refused.chain = vec![Carrier::Communication, Carrier::Ledger];
    let kept = tell(&bounced(), "a1", Telling::Original, &refused).unwrap();
    let why = "The chart cannot hold it: this EHR takes no Communication with status stopped.".to_owned();
    assert_eq!((kept.carrier, kept.deed), (Carrier::Ledger, Deed::Keep { why }));
    // Where only the patient may send, nothing is put into the patient's mouth.
    let mut thread = by(&[Carrier::Communication]);
    thread.shape.sender = Party::Patient;
    let error = tell(&attempt("a1", "delivered"), "a1", Telling::Original, &thread).unwrap_err();
    assert_eq!(error.to_string(), "not-taken: this EHR takes only Communications that the patient sent");
}

#[test]
fn a_late_bounce_is_entered_in_error_where_it_can_be() {
    let original = told(Carrier::Communication, false);
    let telling = Telling::Correction { original: Some(&original) };
    let composed = tell(&bounced(), "a1-correction-1", telling, &Contract::full_r4()).unwrap();
    let Deed::EnteredInError { id, why } = &composed.deed else { panic!("{composed:?}") };
    assert_eq!((composed.carrier, id.as_str()), (Carrier::Communication, "k-1"));
    assert!(why.starts_with("An earlier entry on this message is not true any more. It was not delivered: Recipient Unavailable"), "{why}");
    let document = told(Carrier::DocumentReference, false);
    let composed = tell(&bounced(), "c", Telling::Correction { original: Some(&document) }, &Contract::full_r4()).unwrap();
    assert_eq!(composed.carrier, Carrier::DocumentReference);
    assert!(matches!(composed.deed, Deed::EnteredInError { .. }));
}

#[test]
fn a_late_bounce_is_a_new_entry_where_nothing_is_updated() {
    let mut plain = Contract::full_r4();
    (plain.communication.update, plain.document_reference.update) = (false, false);
    let original = told(Carrier::Communication, false);
    let composed = tell(&bounced(), "a1-correction-1", Telling::Correction { original: Some(&original) }, &plain).unwrap();
    let c = resource(&composed, "a1-correction-1");
    assert_eq!((&c["status"], &c["partOf"]), (&json!("stopped"), &json!([{"reference": "Communication/k-1"}])));
    assert_eq!(c["topic"]["text"], "Correction: Confirm the visit");
    assert!(c["payload"][0]["contentString"].as_str().unwrap().starts_with("An earlier entry on this message is not true any more."));
    // Its original is nowhere to be pointed at.
    let composed = tell(&bounced(), "c", Telling::Correction { original: None }, &plain).unwrap();
    assert_eq!(elements(&composed), ["partOf"]);

    plain.chain = vec![Carrier::DocumentReference];
    for (first, related, relation) in [
        (told(Carrier::DocumentReference, false), json!([{"reference": "Appointment/a-2001"}]), Some("replaces")),
        (told(Carrier::Communication, false), json!([{"reference": "Communication/k-1"}, {"reference": "Appointment/a-2001"}]), None),
    ] {
        let d = resource(&tell(&bounced(), "c", Telling::Correction { original: Some(&first) }, &plain).unwrap(), "c");
        assert_eq!((d["relatesTo"][0]["code"].as_str(), &d["context"]["related"]), (relation, &related));
    }
}

/// One line of a day's note does not stand in the place of the whole note, nor is the note an error for it.
#[test]
fn a_day_s_note_is_corrected_by_one_that_is_added() {
    let note = told(Carrier::DocumentReference, true);
    let both = by(&[Carrier::DocumentReference]);
    let d = resource(&tell(&bounced(), "c", Telling::Correction { original: Some(&note) }, &both).unwrap(), "c");
    assert_eq!(d["relatesTo"], json!([{"code": "appends", "target": {"reference": "DocumentReference/k-1"}}]));
}

fn day() -> (NaiveDate, Vec<Attempt>) {
    let hour = 3_600_000_000;
    let at = |id: &str, outcome: &str, hours: i64| {
        let a = attempt(id, outcome);
        Attempt { sent_at: a.sent_at.map(|t| t + hours * hour), ..a }
    };
    let sms = Attempt { channel: Some("sms".to_owned()), action: "complete-form".to_owned(), ..at("n2", "answered", 5) };
    let failed = Attempt { failure: Some("5.1.1".to_owned()), ..at("n3", "failed", 9) };
    (NaiveDate::from_ymd_opt(2026, 11, 23).unwrap(), vec![failed, sms, at("n1", "delivered", 0)])
}

#[test]
fn a_day_s_note_has_a_line_an_attempt_in_local_time() {
    let (day, attempts) = day();
    let telling = Telling::Note { day, zone: chrono_tz::America::New_York, attempts: &attempts };
    let contract = by(&[Carrier::Communication, Carrier::DocumentReference]);
    let composed = tell(&attempts[0], "n1-note", telling, &contract).unwrap();
    let d = resource(&composed, "n1-note");
    assert_eq!(
        text_of(&d).lines().collect::<Vec<_>>(),
        [
            "04:00 E-mail: the patient was asked to confirm a visit. It was delivered.",
            "09:00 Text message: the patient was asked to fill in a form. The patient answered.",
            "13:00 E-mail: the patient was asked to confirm a visit. It was not delivered: Recipient Unavailable, Invalid address.",
            "Times are those of America/New_York.",
        ]
    );
    assert_eq!(d["description"], "Patient outreach on 2026-11-23");
    assert_eq!(d["context"]["period"], json!({"start": "2026-11-23T09:00:01.123Z", "end": "2026-11-23T18:00:01.123Z"}));
    assert_eq!((&d["date"], elements(&composed)), (&json!("2026-11-23T18:00:01.123Z"), vec!["Communication"]));
    let error = tell(&attempts[0], "n1-note", telling, &Contract::full_r4()).unwrap_err();
    assert_eq!(error.to_string(), "not-taken: a day's note is a document");
}

#[test]
fn a_status_changes_only_where_it_is_switched_on_and_never_to_arrival() {
    let mut on = Contract::full_r4();
    on.status_change.as_mut().unwrap().enabled = true;
    // What a contract should not hold is not used either.
    on.status_change.as_mut().unwrap().cancel_from.extend(["arrived".to_owned(), "fulfilled".to_owned()]);
    let a = attempt("a1", "answered");
    for (meaning, to, from) in
        [("confirm", "booked", &["pending", "proposed"][..]), ("cancel-visit", "cancelled", &["booked", "pending", "proposed", "waitlist"])]
    {
        let composed = tell(&a, "a1-status-1", Telling::StatusChange { answer: &answer(meaning, false) }, &on).unwrap();
        let from = from.iter().map(|s| (*s).to_owned()).collect();
        assert_eq!(composed.deed, Deed::Status { appointment: "a-2001".to_owned(), to: to.to_owned(), start: None, from });
        assert_eq!(composed.carrier, Carrier::Appointment);
    }
    let plan = Attempt { about: Some("CarePlan/c".to_owned()), ..a.clone() };
    let none = Contract { status_change: None, ..Contract::full_r4() };
    for (a, meaning, contract, says) in [
        (&a, "confirm", &Contract::full_r4(), "not switched on"),
        (&a, "confirm", &none, "does not take"),
        (&a, "help", &on, "neither confirms nor cancels"),
        (&plan, "confirm", &on, "not about an Appointment"),
    ] {
        let error = tell(a, "s", Telling::StatusChange { answer: &answer(meaning, false) }, contract).unwrap_err().to_string();
        assert!(error.starts_with("status-change-not-taken: ") && error.contains(says), "{error}");
    }
}

#[test]
fn a_route_gets_the_sites_own_form() {
    let mut contract = by(&[Carrier::Route, Carrier::Export]);
    let composed = tell(&bounced(), "a1", Telling::Original, &contract).unwrap();
    assert_eq!((composed.carrier, elements(&composed)[0]), (Carrier::Export, "route"), "no route is declared");
    contract.route = Some(route());
    let composed = tell(&bounced(), "a1", Telling::Original, &contract).unwrap();
    let body: Value = serde_json::from_slice(composed.deed.bytes().unwrap()).unwrap();
    assert_eq!((composed.carrier, &body["id"], &body["patient"]), (Carrier::Route, &json!("a1"), &json!("p-1001")));
    assert!(body["text"].as_str().unwrap().contains("It was not delivered"), "{body}");
    contract.route =
        Some(Route { body: "{{ patient }} {{ summary }} {{ nobody }}".to_owned(), content_type: "text/plain".to_owned(), ..route() });
    let error = tell(&bounced(), "a1", Telling::Original, &contract).unwrap_err().to_string();
    assert_eq!(error, "route-template: it names a value that there is not");
}

#[test]
fn a_file_says_everything_by_itself() {
    let mut contract = inbox();
    contract.chain = vec![Carrier::Communication, Carrier::Export];
    let composed = tell(&bounced(), "a1", Telling::Original, &contract).unwrap();
    let file: Value = serde_json::from_slice(composed.deed.bytes().unwrap()).unwrap();
    assert_eq!(
        (&file["format"], &file["ehr"], &file["patient"], &file["kind"]),
        (&json!("fhir-engage-write-back-1"), &json!("main"), &json!("Patient/p-1001"), &json!("original"))
    );
    assert_eq!(file["key"], json!({"system": SYSTEM, "value": "a1"}));
    assert_eq!(file["not_carried"][0]["element"], "Communication.status");
    typed::parse_strict(file["resource"].to_string().as_bytes()).unwrap();
    assert_eq!(
        (&file["resource"]["status"], &file["resource"]["recipient"][0]["reference"]),
        (&json!("stopped"), &json!("Patient/p-1001"))
    );
    let (day, attempts) = day();
    let note = Telling::Note { day, zone: chrono_tz::UTC, attempts: &attempts };
    let file: Value = serde_json::from_slice(tell(&attempts[0], "n", note, &contract).unwrap().deed.bytes().unwrap()).unwrap();
    assert_eq!(file["resource"]["resourceType"], "DocumentReference");
}

#[test]
fn texts_are_cut_to_what_an_ehr_holds_and_the_key_is_not() {
    let mut contract = inbox();
    contract.shape.limits = Limits { payload: 80, topic: 40, note: 10 };
    let came = answer("free-text", true);
    let long = "I cannot come ".repeat(20);
    let telling = Telling::Answer { answer: &came, text: Some(&long), original: None };
    let composed = tell(&attempt("a1", "answered"), "a1-answer-1", telling, &contract).unwrap();
    let c = resource(&composed, "a1-answer-1");
    assert!(c["topic"]["text"].as_str().unwrap().chars().count() <= 40);
    assert!(elements(&composed).contains(&"payload") && composed.losses.iter().any(|l| l.why == "cut to 80 characters"));
    contract.shape.limits.payload = 20;
    assert_eq!(tell(&attempt("a1", "answered"), "a1-answer-1", telling, &contract).unwrap_err(), ComposeError::NoRoom);
}

#[test]
fn nothing_composed_shows_a_patient_in_its_debug() {
    let composed =
        tell(&bounced(), "a1", Telling::Correction { original: Some(&told(Carrier::Communication, false)) }, &Contract::full_r4());
    assert!(!format!("{composed:?}").contains("k-1"));
}

fn contracts() -> Vec<Contract> {
    let mut all: Vec<Contract> = [
        &[Carrier::Communication][..],
        &[Carrier::DocumentReference],
        &[Carrier::Route, Carrier::Ledger],
        &[Carrier::Export],
        &[Carrier::Communication, Carrier::DocumentReference, Carrier::Export],
    ]
    .into_iter()
    .map(by)
    .collect();
    all.iter_mut().for_each(|c| c.route = Some(route()));
    let mut marked = by(&[Carrier::Communication, Carrier::DocumentReference]);
    (marked.communication.key, marked.document_reference.key, marked.note.identifier) = (KeyPlace::Text, KeyPlace::Text, false);
    (marked.communication.update, marked.document_reference.update) = (false, false);
    let mut bare = marked.clone();
    bare.shape.elements.clear();
    bare.shape.limits = Limits { payload: 90, topic: 30, note: 1 };
    bare.note.limit = 80;
    all.extend([inbox(), marked, bare]);
    all
}

proptest! {
    /// Whatever stands in the ledger and whatever a contract says: valid R4 that carries our key, or a reason.
    #[test]
    fn whatever_is_told_is_valid_and_found_again_or_refused(
        outcome in "delivered|answered|unknown|failed|[a-z]{0,6}",
        action in "confirm|refill|[a-z-]{0,12}",
        channel in proptest::option::of("email|sms|recorded|.{0,8}"),
        failure in proptest::option::of(".{0,40}|5\\.1\\.1"),
        about in proptest::option::of("(Appointment|CarePlan)/[A-Za-z0-9.-]{1,64}"),
        template in "[a-z-]{1,9}|.{0,9}",
        sent_at in proptest::option::of(0_i64..4_102_444_800_000_000),
        meaning in "confirm|cancel-visit|free-text|cost|.{0,9}",
        words in proptest::option::of(".{0,200}|.{0,20}\\[fhir-engage other\\]"),
        site in ".{0,20}",
        key in "[A-Za-z0-9]{1,20}(-answer-1)?",
        earlier in proptest::option::of((0..3_usize, any::<bool>())),
        kind in 0..5_u8,
        which in 0..8_usize,
        shape in 0..3_u8,
    ) {
        let a = Attempt { outcome: Some(outcome), action, channel, failure, about, template, sent_at, ..attempt("s1", "") };
        let came = answer(&meaning, true);
        let original = earlier.map(|(i, note)| told([Carrier::Communication, Carrier::DocumentReference, Carrier::Export][i], note));
        let attempts = [a.clone(), attempt("s0", "delivered")];
        let telling = match kind {
            0 => Telling::Original,
            1 => Telling::Answer { answer: &came, text: words.as_deref(), original: original.as_ref() },
            2 => Telling::Correction { original: original.as_ref() },
            3 => Telling::Note { day: NaiveDate::default(), zone: chrono_tz::Europe::Zurich, attempts: &attempts },
            _ => Telling::StatusChange { answer: &came },
        };
        let mut contract = contracts().remove(which);
        contract.shape.payload = [PayloadShape::Text, PayloadShape::Summary, PayloadShape::Template][usize::from(shape)];
        let subject = Subject { ehr: "main", attempt: &a, patient: "p-1", message: words.as_deref(), key: &key, telling };
        let Ok(done) = compose(&subject, &Site::named(&site), &contract) else { return Ok(()) };
        let Deed::Create { bytes } = &done.deed else { return Ok(()) };
        let value: Value = serde_json::from_slice(bytes).unwrap();
        let created = match done.carrier {
            Carrier::Route => { prop_assert_eq!(&value["id"], &json!(key)); return Ok(()) }
            Carrier::Export => value["resource"].clone(),
            _ => value,
        };
        prop_assert!(typed::parse_strict(created.to_string().as_bytes()).is_ok());
        prop_assert!(carries(&created, SYSTEM, &key));
        prop_assert!(!carries(&created, SYSTEM, "other"), "a text of others stands for no write-back");
    }
}
