use serde_json::{Value, json};

use super::{MAX_DEPTH, MAX_RESOURCE_BYTES, Projected, Reject, RejectCode, outcome, peek, project, revision};
use crate::model::{AppointmentFacts, CarePlanFacts, Facts, FhirTime, PatientFacts, ResourceType, Timestamp};

mod bundles;
mod real_data;
mod revisions;
mod robustness;
mod supporting;

fn bytes(value: &Value) -> Vec<u8> {
    serde_json::to_vec(value).unwrap()
}

/// A resource of `kind` with these members over a minimal valid one.
fn resource(kind: ResourceType, members: &Value) -> Vec<u8> {
    let mut whole = match kind {
        ResourceType::Patient => json!({"resourceType": "Patient", "id": "p1"}),
        ResourceType::Appointment => json!({"resourceType": "Appointment", "id": "a1", "status": "booked"}),
        ResourceType::CarePlan => json!({"resourceType": "CarePlan", "id": "c1", "status": "active"}),
        other => json!({"resourceType": other.as_str(), "id": "s1"}),
    };
    whole.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    bytes(&whole)
}

fn patient(members: &Value) -> PatientFacts {
    match project(ResourceType::Patient, &resource(ResourceType::Patient, members)).unwrap().facts {
        Facts::Patient(facts) => *facts,
        _ => panic!("not a Patient"),
    }
}

fn appointment(members: &Value) -> AppointmentFacts {
    match project(ResourceType::Appointment, &resource(ResourceType::Appointment, members)).unwrap().facts {
        Facts::Appointment(facts) => *facts,
        _ => panic!("not an Appointment"),
    }
}

fn care_plan(members: &Value) -> CarePlanFacts {
    match project(ResourceType::CarePlan, &resource(ResourceType::CarePlan, members)).unwrap().facts {
        Facts::CarePlan(facts) => *facts,
        _ => panic!("not a CarePlan"),
    }
}

fn rejected(kind: ResourceType, members: &Value) -> Reject {
    project(kind, &resource(kind, members)).expect_err("the resource should be rejected")
}

#[test]
fn a_head_is_read() {
    let text = br#" {"meta":{"versionId":"3","lastUpdated":"2026-11-22T14:30:07.973Z","security":[{"code":"R"},{"display":"x"}]},
        "resourceType":"Patient","id":"92632408-6b72"} "#;
    let Projected { id, version, last_updated, security, facts, identifiers, unread } = project(ResourceType::Patient, text).unwrap();
    assert_eq!(id.as_str(), "92632408-6b72");
    assert_eq!(version.as_deref(), Some("3"));
    assert_eq!(last_updated, Timestamp::parse("2026-11-22T14:30:07.973Z"));
    assert_eq!(security, ["R"]);
    assert!(matches!(facts, Facts::Patient(f) if f.security == ["R"]) && identifiers.is_empty() && unread.is_empty());
    let peeked = peek(text).unwrap();
    assert_eq!(
        (peeked.resource_type.as_ref(), peeked.id.as_deref(), peeked.version.as_deref()),
        ("Patient", Some("92632408-6b72"), Some("3"))
    );
}

#[test]
fn a_visit_that_is_over_had_ended_when_its_record_was_written() {
    let ended_by = |status: &str, end: &str, written: Option<&str>| {
        let meta = written.map_or(json!({}), |w| json!({ "lastUpdated": w }));
        appointment(&json!({ "status": status, "start": "2026-11-24T09:00:00Z", "end": end, "meta": meta })).ended_by
    };
    let noon = "2026-11-23T12:00:00Z";
    assert_eq!(ended_by("fulfilled", "2026-11-24T09:30:00Z", Some(noon)), Timestamp::parse(noon));
    assert_eq!(ended_by("booked", "2026-11-24T09:30:00Z", Some(noon)), None, "it is still to come");
    assert_eq!(ended_by("fulfilled", "2026-11-24T09:30:00Z", Some("2026-11-25T12:00:00Z")), None, "the booked end is the better one");
    assert_eq!(ended_by("fulfilled", "2026-11-24T09:30:00Z", None), None);
}

#[test]
fn a_peek_takes_any_type_and_asks_for_no_id() {
    let peeked = peek(br#"{"id":7,"resourceType":"Obser\u0076ation","meta":{"versionId":4,"lastUpdated":"soon"}}"#).unwrap();
    assert_eq!(peeked.resource_type, "Observation");
    assert_eq!((peeked.id, peeked.version.as_deref(), peeked.last_updated), (None, Some("4"), None));
}

#[test]
fn what_is_no_resource_says_why() {
    let deep = format!(r#"{{"resourceType":"Patient","id":"1","x":{}{}}}"#, "[".repeat(10_000), "]".repeat(10_000));
    let huge = vec![b' '; MAX_RESOURCE_BYTES + 1];
    let cases: [(&[u8], RejectCode, &str); 22] = [
        (b"", RejectCode::Truncated, "nothing came: it is empty"),
        (br#"{"resourceType":"Patient","id":"1"#, RejectCode::Truncated, "cut off"),
        (br#"{"resourceType":"Patient","id":"1","name":[{"#, RejectCode::Truncated, "cut off"),
        (b"nonsense", RejectCode::NotJson, "line 1, column 2"),
        (b" <html>Sign in</html>", RejectCode::NotJson, "not JSON but a page in HTML or XML"),
        (br#"{"resourceType":"Patient","id":"1"} {}"#, RejectCode::NotJson, "column 37"),
        (br#"{"resourceType":"Patient","id":"1",}"#, RejectCode::NotJson, "not JSON"),
        (b"{\"resourceType\":\"Patient\",\"id\":\"J\xfcrgen\"}", RejectCode::NotJson, "not UTF-8 from byte 34 on"),
        (b"[]", RejectCode::NotAnObject, "a JSON object was expected"),
        (b"null", RejectCode::NotAnObject, "a JSON object was expected"),
        (b"5", RejectCode::NotAnObject, "a JSON object was expected"),
        (br#""Patient""#, RejectCode::NotAnObject, "a JSON object was expected"),
        (b"{}", RejectCode::NoResourceType, "resourceType is missing"),
        (br#"{"resourceType":null,"id":"1"}"#, RejectCode::NoResourceType, "resourceType is missing"),
        (br#"{"resourceType":"Person","id":"1"}"#, RejectCode::WrongType, "resourceType is another than Patient"),
        (br#"{"resourceType":5,"id":"1"}"#, RejectCode::BadField, "resourceType is a number, a text in quotes was expected"),
        (br#"{"resourceType":"Patient"}"#, RejectCode::NoId, "id is missing"),
        (br#"{"resourceType":"Patient","id":null}"#, RejectCode::NoId, "id is missing"),
        (br#"{"resourceType":"Patient","id":12}"#, RejectCode::BadField, "id is a number, a text in quotes was expected"),
        (br#"{"resourceType":"Patient","id":"a/b"}"#, RejectCode::BadId, "id is empty, longer than 255"),
        (deep.as_bytes(), RejectCode::TooDeep, "nested deeper than 127"),
        (&huge, RejectCode::TooLarge, "larger than 16 MB"),
    ];
    for (bytes, code, words) in cases {
        let shown = String::from_utf8_lossy(bytes.get(..40).unwrap_or(bytes)).into_owned();
        let reject = project(ResourceType::Patient, bytes).expect_err(&shown);
        assert_eq!(reject.code, code, "{shown}: {reject}");
        assert!(reject.to_string().contains(words), "{shown}: {reject}");
    }
}

#[test]
fn brackets_in_texts_do_not_nest() {
    let text = format!("{}\\\"{}", "[{".repeat(500), "]".repeat(3));
    let json = format!(r#"{{"resourceType":"Patient","id":"1","text":"{text}"}}"#);
    assert!(project(ResourceType::Patient, json.as_bytes()).is_ok());
    let nest = |depth: usize| format!(r#"{{"resourceType":"Patient","id":"1","x":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
    assert!(project(ResourceType::Patient, nest(MAX_DEPTH - 1).as_bytes()).is_ok());
    assert!(serde_json::from_str::<Value>(&nest(MAX_DEPTH - 1)).is_ok(), "whoever reads the kept body later can");
    assert_eq!(project(ResourceType::Patient, nest(MAX_DEPTH).as_bytes()).unwrap_err().code, RejectCode::TooDeep);
}

#[test]
fn fields_that_decide_over_people_must_have_their_type() {
    use ResourceType::{Appointment, CarePlan, Patient};
    let cases = [
        (Patient, json!({"birthDate": 19500101}), "birthDate is a number, a date in quotes was expected"),
        (Patient, json!({"birthDate": {"year": 1950}}), "birthDate is an object, a date in quotes was expected"),
        (Patient, json!({"birthDate": ["1950-01-01"]}), "birthDate is a list, a date in quotes was expected"),
        (Patient, json!({"active": "true"}), "active is a text, true or false without quotes was expected"),
        (Patient, json!({"deceasedBoolean": 1}), "deceasedBoolean is a number, true or false without quotes was expected"),
        (Patient, json!({"deceasedDateTime": true}), "deceasedDateTime is true or false, a date or time in quotes was expected"),
        (Patient, json!({"link": ["Patient/2"]}), "link[0] is a text, an object was expected"),
        (Patient, json!({"link": [null, {"type": 1}]}), "link[1].type is a number, a code in quotes was expected"),
        (Patient, json!({"link": {"type": "replaced-by", "other": "Patient/2"}}), "link[0].other is a text, an object was expected"),
        (
            Patient,
            json!({"link": [{"type": "replaced-by", "other": {"reference": 2}}]}),
            "link[0].other.reference is a number, a reference in quotes was expected",
        ),
        (Appointment, json!({"status": 1}), "status is a number, a code in quotes was expected"),
        (Appointment, json!({"status": null}), "status is missing"),
        (Appointment, json!({"start": 1764579600}), "start is a number, an instant in quotes was expected"),
        (Appointment, json!({"participant": "Patient/1"}), "participant[0] is a text, an object was expected"),
        (Appointment, json!({"participant": [{}, {"actor": "Patient/1"}]}), "participant[1].actor is a text, an object was expected"),
        (
            Appointment,
            json!({"participant": [{"actor": {"reference": 5}}]}),
            "participant[0].actor.reference is a number, a reference in quotes was expected",
        ),
        (Appointment, json!({"participant": [{"status": false}]}), "participant[0].status is true or false, a code in quotes was expected"),
        (CarePlan, json!({"status": []}), "status is missing"),
        (CarePlan, json!({"subject": "Patient/1"}), "subject is a text, an object was expected"),
        (CarePlan, json!({"subject": {"reference": 1}}), "subject.reference is a number, a reference in quotes was expected"),
    ];
    for (kind, members, words) in cases {
        let reject = rejected(kind, &members);
        assert_eq!((reject.code, reject.to_string().as_str()), (RejectCode::BadField, words), "{members}");
        assert!(words.starts_with(reject.field.as_deref().unwrap()), "{members}");
    }
}

#[test]
fn dates_that_do_not_exist_are_left_out() {
    for text in ["2026-02-30", "unknown", "", "01/02/1950", "1950-1-1", "19500101", "9999999999"] {
        assert_eq!(patient(&json!({"birthDate": text})).birth_date, None, "{text}");
    }
    for text in ["1950", "1950-02", "1950-02-03"] {
        assert_eq!(patient(&json!({"birthDate": text})).birth_date, FhirTime::parse(text), "{text}");
    }
    let facts = appointment(&json!({"start": "2026-11-23", "end": "2026-11-23T10:00:00", "created": "2026-11-22"}));
    assert_eq!((facts.start, facts.end, facts.created), (None, None, FhirTime::parse("2026-11-22")), "an instant has a time and an offset");
}

#[test]
fn anything_but_false_is_deceased() {
    let cases = [
        (json!({}), false),
        (json!({"deceasedBoolean": false}), false),
        (json!({"deceasedBoolean": null, "deceasedDateTime": null}), false),
        (json!({"deceasedBoolean": true}), true),
        (json!({"deceasedDateTime": "2022-07-22"}), true),
        (json!({"deceasedDateTime": "last spring"}), true),
        (json!({"deceasedDateTime": ""}), true),
        (json!({"deceasedBoolean": false, "deceasedDateTime": "2022"}), true),
        (
            json!({"_deceasedDateTime": {"extension": [{"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "unknown"}]}}),
            true,
        ),
        (json!({"deceasedString": "yes"}), false),
    ];
    for (members, expected) in cases {
        assert_eq!(patient(&members).deceased, expected, "{members}");
    }
    assert_eq!(patient(&json!({"deceasedDateTime": "2022-07"})).deceased_at, FhirTime::parse("2022-07"));
}

#[test]
fn the_name_to_address_a_patient_by() {
    let cases = [
        (
            json!([{"use": "usual", "given": ["Jim"]}, {"use": "official", "family": "Chalmers", "given": ["Peter", "James"]}]),
            Some("Peter James"),
            Some("Chalmers"),
        ),
        (json!([{"use": "nickname", "given": ["Jimmy"]}, {"use": "usual", "given": ["Jim"]}]), Some("Jim"), None),
        (json!([{"use": "maiden", "family": "Windsor"}, {"family": "Chalmers"}]), None, Some("Chalmers")),
        (json!([{"use": "old", "family": "Windsor"}]), None, None),
        (json!([{"use": "official", "family": "Before", "period": {"end": "2020"}}, {"family": "After"}]), None, Some("After")),
        (json!([{"use": "official", "text": "张无忌"}]), Some("张无忌"), None),
        (json!([{"use": "official"}, {"use": "usual", "family": "Real"}]), None, Some("Real")),
        (
            json!([{"given": [null, "Ada", 5, ""], "_given": [{"id": "x"}], "family": "L\u{00f6}we \"quoted\""}]),
            Some("Ada "),
            Some("L\u{00f6}we \"quoted\""),
        ),
        (json!({"given": "Alex", "family": ["Miller"]}), Some("Alex"), None),
        (json!([null, {}, [], "x", {"family": "  "}]), None, None),
    ];
    for (name, given, family) in cases {
        let facts = patient(&json!({"name": name})).name;
        let shown = |part: Option<crate::model::Phi<String>>| part.map(crate::model::Phi::into_inner);
        let given = given.map(str::trim);
        assert_eq!((shown(facts.given).as_deref().map(str::trim), shown(facts.family).as_deref()), (given, family), "{name}");
    }
}

#[test]
fn a_patient_full_of_oddities_keeps_what_can_be_read() {
    let facts = patient(&json!({
        "fhir_comments": ["x"], "active": null, "gender": 5, "maritalStatus": [], "implicitRules": {},
        "extension": [
            {"valueString": "no url"}, null, "text",
            {"url": "http://hl7.org/fhir/us/core/StructureDefinition/us-core-interpreter-needed", "valueCoding": {"code": "373066001"}}
        ],
        "telecom": [
            {"system": "phone", "value": "555-0100", "use": "home", "rank": "2", "period": {"start": "2020", "end": "not a date"}},
            {"system": "phone", "value": "555-0101", "use": "old"},
            {"system": "email", "value": "a@example.org", "rank": 0},
            {"system": "phone", "value": 5550102}, {"value": "555-0103"}, {"use": "home"}, null, [], 7
        ],
        "address": [
            {"use": "old", "state": "OK"},
            {"state": "MA", "postalCode": 1545, "country": "US", "extension": [
                {"url": "http://hl7.org/fhir/StructureDefinition/timezone", "valueCode": "America/New_York"}]},
            {"extension": [{"url": "http://hl7.org/fhir/StructureDefinition/timezone", "valueCode": "Moon/Base"}], "city": "x"}
        ],
        "communication": [
            {"language": {"coding": [{"system": "urn:ietf:bcp:47", "code": "en-US"}]}},
            {"language": {"coding": [{"code": "x"}, {"system": "urn:ietf:bcp:47", "code": "es_MX"}]}, "preferred": true},
            {"language": {"text": "Klingon"}}, {"preferred": "true"}
        ],
        "link": [{"type": "replaced-by", "other": {"reference": "Patient/9"}}, {"type": "refer", "other": {"identifier": {}}}, {}],
        "generalPractitioner": [{"reference": "Practitioner/1"}, {"display": "x"}, "Practitioner/2"]
    }));
    assert_eq!((facts.active, facts.gender, facts.interpreter_needed), (None, None, Some(true)));
    let telecom: Vec<_> = facts.telecom.iter().map(|t| (t.value.expose().as_str(), t.rank)).collect();
    assert_eq!(telecom, [("555-0100", Some(2)), ("a@example.org", None)]);
    assert_eq!((facts.telecom[0].period.start, facts.telecom[0].period.end), (FhirTime::parse("2020"), None));
    assert_eq!(facts.addresses.len(), 1);
    assert_eq!((facts.addresses[0].zone.as_deref(), facts.addresses[0].postal_code.as_ref()), (Some("America/New_York"), None));
    let languages: Vec<_> = facts.languages.iter().map(|l| (l.tag.as_str(), l.preferred)).collect();
    assert_eq!(languages, [("es-mx", true), ("en-us", false)]);
    assert_eq!(facts.links.iter().map(|l| (l.kind.as_str(), l.other.as_str())).collect::<Vec<_>>(), [("replaced-by", "Patient/9")]);
    assert_eq!(facts.general_practitioner, ["Practitioner/1"]);
}

#[test]
fn interpreter_extensions() {
    let coded = |code: &str| json!({"extension": [{"url": "http://hl7.org/fhir/us/core/StructureDefinition/us-core-interpreter-needed", "valueCoding": {"code": code}}]});
    assert_eq!(patient(&coded("373067005")).interpreter_needed, Some(false));
    assert_eq!(patient(&coded("261665006")).interpreter_needed, None);
    let boolean =
        json!({"extension": [{"url": "http://hl7.org/fhir/StructureDefinition/patient-interpreterRequired", "valueBoolean": true}]});
    assert_eq!(patient(&boolean).interpreter_needed, Some(true));
}

#[test]
fn an_appointment_is_read() {
    let facts = appointment(&json!({
        "status": "cancelled", "start": "2026-11-23T09:30:00Z", "end": "2026-11-23T11:00:00+01:00",
        "serviceType": {"coding": {"code": "124"}}, "serviceCategory": [{"coding": [{"system": "s", "code": "gp"}]}, {"text": "x"}],
        "appointmentType": {"coding": [{"code": "FOLLOWUP"}, {"display": "no code"}]},
        "cancelationReason": {"coding": [{"code": "pat"}]},
        "participant": [
            null,
            {"actor": {"reference": "Practitioner/1"}, "status": "accepted"},
            {"actor": {"reference": "http://h/fhir/PractitionerRole/2/_history/1"}},
            {"actor": {"reference": "Location/3"}, "status": "accepted"},
            {"type": [{"text": "attender"}], "status": "needs-action"},
            {"actor": {"reference": "http://h/fhir/Patient/12/_history/2"}, "status": "declined"},
            {"actor": {"reference": "Patient/13"}, "status": "accepted"},
            {"actor": {"reference": "Patient/12"}, "status": "accepted"},
            {"actor": {"reference": "#p1", "type": "Patient"}},
            {"actor": {"reference": "urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0"}}
        ]
    }));
    assert_eq!(facts.status, "cancelled");
    assert_eq!((facts.start, facts.end), (Timestamp::parse("2026-11-23T09:30:00Z"), Timestamp::parse("2026-11-23T10:00:00Z")));
    assert_eq!(facts.patients, ["12", "13"]);
    assert_eq!(facts.patient_status.as_deref(), Some("declined"));
    assert_eq!(facts.practitioners, ["Practitioner/1", "http://h/fhir/PractitionerRole/2/_history/1"]);
    assert_eq!(facts.locations, ["Location/3"]);
    assert_eq!(facts.services.iter().map(|c| c.code.as_str()).collect::<Vec<_>>(), ["124", "gp"]);
    assert_eq!(facts.kinds.len(), 1);
    assert_eq!(facts.cancel_reasons[0].code, "pat");
}

#[test]
fn a_participant_by_urn() {
    let urn = "urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0";
    let cases = [
        (json!([{"actor": {"reference": urn}, "status": "tentative"}]), 1),
        (json!([{"actor": {"reference": urn, "type": "Patient"}, "status": "tentative"}]), 1),
        (json!([{"actor": {"reference": urn, "type": "Practitioner"}}]), 0),
        (json!({"actor": {"reference": "Patient/1"}, "status": "tentative"}), 1),
        (json!([]), 0),
    ];
    for (participants, patients) in cases {
        let facts = appointment(&json!({"participant": participants}));
        assert_eq!(facts.patients.len(), patients, "{participants}");
        assert_eq!(facts.patient_status.as_deref(), (patients > 0).then_some("tentative"), "{participants}");
    }
}

#[test]
fn a_care_plan_is_read() {
    let facts = care_plan(&json!({
        "intent": "plan", "subject": {"reference": "Patient/example"}, "category": [{"text": "x"}, {"coding": [{"code": "assess-plan"}]}],
        "period": {"start": "2026-01", "end": "2026-12-31"}, "created": "2016-01-01", "addresses": [{"reference": "#p1"}],
        "activity": [
            {"reference": {"reference": "ServiceRequest/1"}},
            {"detail": {"status": "scheduled", "code": {"coding": [{"code": "3141-9"}]}, "scheduledPeriod": {"end": "2026-12"}}},
            {"detail": {"status": "scheduled", "scheduledTiming": {"repeat": {"boundsPeriod": {"start": "2026-11-01"}}}}},
            {"detail": {"status": "scheduled", "scheduledTiming": {"event": ["2026-12-01", "2026-11-05T10:00:00Z", "soon"]}}},
            {"detail": {"status": 5, "scheduledTiming": {"repeat": {"frequency": 1}}}},
            {"detail": {"status": "in-progress", "doNotPerform": true}},
            null, "x", []
        ]
    }));
    assert_eq!((facts.status.as_str(), facts.intent.as_deref(), facts.patient.as_deref()), ("active", Some("plan"), Some("example")));
    assert_eq!((facts.period.start, facts.period.end), (FhirTime::parse("2026-01"), FhirTime::parse("2026-12-31")));
    assert_eq!(facts.addresses, ["#p1"]);
    let scheduled: Vec<_> = facts.activities.iter().map(|a| (a.scheduled.start, a.scheduled.end)).collect();
    assert_eq!(
        scheduled,
        [
            (None, None),
            (None, FhirTime::parse("2026-12")),
            (FhirTime::parse("2026-11-01"), None),
            (FhirTime::parse("2026-11-05T10:00:00Z"), FhirTime::parse("2026-12-01")),
            (None, None),
        ]
    );
    assert_eq!(facts.activities[0].reference.as_deref(), Some("ServiceRequest/1"));
    assert_eq!(facts.activities[4].status, None);
}

#[test]
fn the_subject_of_a_care_plan() {
    let uuid = "0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0";
    let cases = [
        (json!({"reference": format!("urn:uuid:{uuid}")}), Some(uuid)),
        (json!({"reference": format!("urn:uuid:{uuid}"), "type": "Group"}), None),
        (json!({"reference": "Group/1"}), None),
        (json!({"reference": "#p"}), None),
        (json!({"display": "somebody"}), None),
        (json!(null), None),
        (json!([]), None),
    ];
    for (subject, expected) in cases {
        assert_eq!(care_plan(&json!({"subject": subject})).patient.as_deref(), expected, "{subject}");
    }
}

#[test]
fn the_last_of_duplicate_members_counts() {
    let text = br#"{"resourceType":"Patient","id":"1","active":"x","id":"2","active":true,"gender":"male","gender":null}"#;
    let projected = project(ResourceType::Patient, text).unwrap();
    assert_eq!(projected.id.as_str(), "2");
    assert!(matches!(projected.facts, Facts::Patient(f) if f.active == Some(true) && f.gender.is_none()));
}

#[test]
fn escapes_are_read_and_what_is_no_character_is_left_out() {
    let text = br#"{"resourceType":"Pati\u0065nt","\u0069d":"1","gender":"\ud800","name":[{"family":"O\u0027Neil","given":["a\u0000b"]}]}"#;
    let Facts::Patient(facts) = project(ResourceType::Patient, text).unwrap().facts else { panic!("not a Patient") };
    assert_eq!(facts.name.family.unwrap().expose(), "O'Neil");
    assert_eq!((facts.gender, facts.name.given), (None, None));
}

#[test]
fn outcomes_tell_codes_only() {
    let said = outcome(&bytes(&json!({"resourceType": "OperationOutcome", "issue": [
        {"severity": "fatal", "code": "processing", "diagnostics": "Ada Lovelace", "details": {"text": "Ada", "coding": [
            {"system": "urn:oid:1.2.840.114350.1.13.0.1.7.2.657369", "code": "4119", "display": "Ada"}, {"code": "Ada Lovelace, born 1815"}]}},
        {"severity": "warning", "code": "not-found"}, null, {"severity": 5}
    ]})))
    .unwrap();
    assert_eq!(said.to_string(), "fatal: processing (4119); warning: not-found; unknown: unknown");
    assert!(said.is_error() && said.has("4119") && said.has("not-found") && !said.has("4101"));
    assert!(!format!("{said:?}").contains("Ada"));
    for other in [&b"{}"[..], b"[]", b"", br#"{"resourceType":"Patient"}"#, br#"{"resourceType":["OperationOutcome"]}"#] {
        assert_eq!(outcome(other), None);
    }
    assert_eq!(outcome(br#"{"resourceType":"OperationOutcome"}"#).unwrap().to_string(), "no issues told");
}

#[test]
fn a_time_that_cannot_be_read_is_named_and_costs_nothing_else() {
    let bad = json!({"start": "2026-13-45", "end": "soon"});
    let cases = [
        (
            ResourceType::Patient,
            json!({"birthDate": "31.12.1980", "deceasedDateTime": "2026-02-30", "gender": "female",
            "telecom": [{"system": "phone", "value": "1", "period": bad}], "address": [{"state": "NY", "period": {"end": "?"}}]}),
            "deceasedDateTime, birthDate, telecom.period.start, telecom.period.end, address.period.end",
        ),
        (ResourceType::Appointment, json!({"start": "tomorrow", "end": "2026-11-28T10:00:00", "created": "2026-11"}), "start, end"),
        (
            ResourceType::CarePlan,
            json!({"period": bad, "created": 20261128, "activity": [{"detail": {"scheduledPeriod": "x"}},
            {"detail": {"scheduledTiming": {"event": ["2026-1-1"]}}}, {"detail": {"scheduledTiming": {"repeat": {"boundsPeriod": bad}}}}]}),
            "period.start, period.end, created, activity.detail.scheduledPeriod, activity.detail.scheduledTiming.event, \
             activity.detail.scheduledTiming.repeat.boundsPeriod.start, activity.detail.scheduledTiming.repeat.boundsPeriod.end",
        ),
        (ResourceType::Encounter, json!({"period": bad}), "period.start, period.end"),
        (
            ResourceType::Condition,
            json!({"onsetDateTime": "x", "abatementPeriod": bad, "recordedDate": ""}),
            "onsetDateTime, abatementPeriod.start, abatementPeriod.end, recordedDate",
        ),
        (ResourceType::Coverage, json!({"period": bad}), "period.start, period.end"),
        (
            ResourceType::Consent,
            json!({"dateTime": "x", "provision": {"period": bad}}),
            "dateTime, provision.period.start, provision.period.end",
        ),
        (ResourceType::Goal, json!({"startDate": "x", "target": [{"dueDate": "y"}, {"dueDate": "z"}]}), "startDate, target.dueDate"),
        (
            ResourceType::CareTeam,
            json!({"period": bad, "participant": [{"period": bad}]}),
            "period.start, period.end, participant.period.start, participant.period.end",
        ),
        (ResourceType::RiskAssessment, json!({"occurrenceDateTime": "x"}), "occurrenceDateTime"),
        (
            ResourceType::Observation,
            json!({"effectivePeriod": bad, "effectiveInstant": "x"}),
            "effectivePeriod.start, effectivePeriod.end, effectiveInstant",
        ),
        (ResourceType::Procedure, json!({"performedPeriod": bad}), "performedPeriod.start, performedPeriod.end"),
        (ResourceType::Immunization, json!({"occurrenceDateTime": "x"}), "occurrenceDateTime"),
        (
            ResourceType::MedicationRequest,
            json!({"authoredOn": "x", "dispenseRequest": {"validityPeriod": bad}}),
            "authoredOn, dispenseRequest.validityPeriod.start, dispenseRequest.validityPeriod.end",
        ),
        (ResourceType::QuestionnaireResponse, json!({"authored": "x"}), "authored"),
    ];
    for (kind, members, named) in cases {
        let projected = project(kind, &resource(kind, &members)).unwrap();
        assert_eq!(projected.unread.join(", "), named, "{kind}");
        assert_eq!(
            project(kind, &resource(kind, &json!({}))).unwrap().unread,
            Vec::<String>::new(),
            "{kind}: what is not sent is not unread"
        );
    }
    let facts = patient(&json!({"birthDate": "1980", "gender": "female", "telecom": [{"system": "phone", "value": "1", "period": bad}]}));
    assert_eq!((facts.birth_date, facts.gender.as_deref(), facts.telecom.len()), (Some(FhirTime::Year(1980)), Some("female"), 1));
}
