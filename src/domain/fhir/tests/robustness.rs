//! Whatever the bytes are, the answer is facts or a reason that quotes nothing; never a panic.

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::fhir::{RejectCode, outcome, peek, project, split_bundle};
use crate::model::ResourceType;

/// A value that must never show up in a message.
const SECRET: &str = "Zaphod-555-0199";

/// How many there are.
const SAMPLES: usize = 12;

fn samples() -> [(ResourceType, Value); SAMPLES] {
    let code = json!({"coding": [{"system": "s", "code": "c", "display": SECRET}], "text": SECRET});
    let me = json!({"reference": "Patient/1", "type": "Patient", "display": SECRET});
    [
        (
            ResourceType::Patient,
            json!({
                "resourceType": "Patient", "id": "p1", "meta": {"versionId": "1", "lastUpdated": "2026-11-22T14:30:01.667Z", "security": [{"code": "R"}]},
                "extension": [{"url": "http://hl7.org/fhir/us/core/StructureDefinition/us-core-interpreter-needed", "valueCoding": {"code": "373066001"}}],
                "active": true, "name": [{"use": "official", "family": SECRET, "given": ["A", "B"], "period": {"start": "2000"}}],
                "telecom": [{"system": "phone", "value": SECRET, "use": "home", "rank": 1, "period": {"end": "2030"}}],
                "gender": "male", "birthDate": "1982-04-04", "deceasedBoolean": false, "deceasedDateTime": "2020", "_deceasedDateTime": {"id": "x"},
                "address": [{"state": "MA", "postalCode": SECRET, "extension": [{"url": "http://hl7.org/fhir/StructureDefinition/timezone", "valueCode": "Europe/Berlin"}]}],
                "communication": [{"language": {"coding": [{"system": "urn:ietf:bcp:47", "code": "en-US"}]}, "preferred": true}],
                "link": [{"type": "refer", "other": {"reference": "Patient/2"}}], "generalPractitioner": [{"reference": "Practitioner/1"}]
            }),
        ),
        (
            ResourceType::Appointment,
            json!({
                "resourceType": "Appointment", "id": "a1", "status": "booked", "start": "2026-11-23T09:30:00Z", "end": "2026-11-23T10:00:00Z",
                "created": "2026-11-22", "serviceType": [{"coding": [{"system": "s", "code": "124"}]}], "serviceCategory": [{"coding": [{"code": "gp"}]}],
                "appointmentType": {"coding": [{"code": "FOLLOWUP"}]}, "cancelationReason": {"coding": [{"code": "pat"}]},
                "participant": [{"actor": {"reference": "Patient/1", "display": SECRET}, "status": "accepted"}, {"actor": {"reference": "Location/1"}}]
            }),
        ),
        (
            ResourceType::CarePlan,
            json!({
                "resourceType": "CarePlan", "id": "c1", "status": "active", "intent": "plan", "subject": {"reference": "Patient/1", "type": "Patient"},
                "category": [{"coding": [{"code": "assess-plan"}]}], "period": {"start": "2026", "end": "2027-01"}, "created": "2026-01-01",
                "addresses": [{"reference": "Condition/1"}],
                "activity": [{"reference": {"reference": "Task/1"}}, {"detail": {"status": "scheduled", "code": {"coding": [{"code": "1"}]}, "doNotPerform": false,
                    "scheduledPeriod": {}, "scheduledTiming": {"event": ["2026"], "repeat": {"boundsPeriod": {"start": "2026"}}}}}]
            }),
        ),
        (
            ResourceType::Encounter,
            json!({"resourceType": "Encounter", "id": "e1", "status": "finished", "class": {"code": "AMB"}, "type": [code], "subject": me, "period": {"start": "2026"},
                   "hospitalization": {"dischargeDisposition": code}, "appointment": [{"reference": "Appointment/1"}]}),
        ),
        (
            ResourceType::Condition,
            json!({"resourceType": "Condition", "id": "c1", "clinicalStatus": code, "code": code, "subject": me, "onsetPeriod": {"start": "2026"}, "abatementString": SECRET}),
        ),
        (
            ResourceType::Consent,
            json!({"resourceType": "Consent", "id": "c1", "status": "active", "scope": code, "patient": me, "provision": {"type": "deny", "action": [code],
                   "purpose": [{"code": "x"}], "provision": [{}]}}),
        ),
        (
            ResourceType::Goal,
            json!({"resourceType": "Goal", "id": "g1", "lifecycleStatus": "active", "description": code, "subject": me, "target": [{"dueDate": "2026"}]}),
        ),
        (
            ResourceType::CareTeam,
            json!({"resourceType": "CareTeam", "id": "t1", "status": "active", "subject": me, "participant": [{"role": [code], "member": {"reference": "Practitioner/1"}}]}),
        ),
        (
            ResourceType::Observation,
            json!({"resourceType": "Observation", "id": "o1", "status": "final", "code": code, "subject": me, "effectiveDateTime": "2026",
                   "valueQuantity": {"value": 7.1, "unit": SECRET}, "valueCodeableConcept": code, "valueBoolean": true}),
        ),
        (
            ResourceType::MedicationRequest,
            json!({"resourceType": "MedicationRequest", "id": "m1", "status": "active", "intent": "order", "medicationReference": {"reference": "#m"}, "subject": me,
                   "doNotPerform": false, "dispenseRequest": {"validityPeriod": {}, "numberOfRepeatsAllowed": 3}}),
        ),
        (
            ResourceType::QuestionnaireResponse,
            json!({"resourceType": "QuestionnaireResponse", "id": "q1", "status": "completed", "subject": me,
                   "item": [{"linkId": "1", "answer": [{"valueCoding": {"code": "x"}, "item": [{"linkId": "2", "answer": [{"valueBoolean": true, "valueString": SECRET}]}]}]}]}),
        ),
        (
            ResourceType::PractitionerRole,
            json!({"resourceType": "PractitionerRole", "id": "r1", "active": true, "practitioner": {"reference": "Practitioner/1"}, "code": [code],
                   "location": [{"reference": "Location/1"}]}),
        ),
    ]
}

/// All that could go wrong with one input, for every reader.
fn survives(bytes: &[u8]) {
    for kind in ResourceType::ALL {
        if let Err(reject) = project(kind, bytes) {
            assert!(!format!("{reject} {reject:?}").contains(SECRET), "{reject}");
            assert_eq!(
                reject.field.is_some(),
                matches!(reject.code.as_str(), "bad-field" | "bad-id" | "no-id" | "no-resource-type" | "wrong-type")
            );
        }
    }
    let _ = peek(bytes).map_err(|reject| assert!(!reject.to_string().contains(SECRET)));
    let _ = split_bundle(bytes).map(|answer| assert!(!format!("{answer:?}").contains(SECRET)));
    let _ = outcome(bytes);
}

fn pointers(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Object(members) => members.iter().for_each(|(name, v)| pointers(v, &format!("{at}/{name}"), found)),
        Value::Array(elements) => elements.iter().enumerate().for_each(|(i, v)| pointers(v, &format!("{at}/{i}"), found)),
        _ => {}
    }
}

/// Every place of every sample takes every odd value. What may reject is listed; everything else must still give facts.
#[test]
fn odd_values_in_every_place() {
    const DECIDES: [&str; 17] = [
        "/patient",
        "/lifecycleStatus",
        "/provision",
        "/doNotPerform",
        "/resourceType",
        "/id",
        "/birthDate",
        "/deceased",
        "/active",
        "/status",
        "/start",
        "/participant",
        "/subject",
        "/link",
        "/entry",
        "/type",
        "/total",
    ];
    let odd = [
        json!(null),
        json!([]),
        json!({}),
        json!(""),
        json!(SECRET),
        json!(5),
        json!(1.5e300),
        json!(true),
        json!([null]),
        json!([[{}]]),
        json!({"x": [SECRET]}),
    ];
    let mut tried = 0;
    for (kind, sample) in samples() {
        let mut places = Vec::new();
        pointers(&sample, "", &mut places);
        for place in places.iter().filter(|p| !p.is_empty()) {
            for value in &odd {
                let mut changed = sample.clone();
                *changed.pointer_mut(place).unwrap() = value.clone();
                let bytes = serde_json::to_vec(&changed).unwrap();
                survives(&bytes);
                tried += 1;
                let decides = DECIDES.iter().any(|field| place.starts_with(field));
                let result = project(kind, &bytes);
                assert!(decides || result.is_ok(), "{place} as {value}: {}", result.unwrap_err());
                let absent = value.is_null() || *value == json!([]);
                let needed = ["/resourceType", "/id", "/status"].contains(&place.as_str());
                if let Err(reject) = project(kind, &bytes) {
                    assert!(needed || !absent, "{place} as {value} stands for absent: {reject}");
                    assert_ne!(reject.code, RejectCode::NotJson, "{place} as {value}");
                }
            }
        }
    }
    assert!(tried > 3000, "{tried}");
}

fn any_json() -> impl Strategy<Value = Value> {
    let names = prop::sample::select(vec![
        "resourceType",
        "id",
        "meta",
        "entry",
        "resource",
        "link",
        "other",
        "name",
        "given",
        "coding",
        "code",
        "participant",
        "actor",
        "reference",
        "status",
        "period",
        "start",
        "extension",
        "url",
        "activity",
        "detail",
        "issue",
        "item",
        "answer",
        "linkId",
        "subject",
        "provision",
        "valueQuantity",
        "$serde_json::private::Number",
        "$serde_json::private::RawValue",
        "",
    ]);
    let texts = prop::sample::select(vec![
        "Patient",
        "Appointment",
        "CarePlan",
        "Consent",
        "QuestionnaireResponse",
        "Observation",
        "Bundle",
        "OperationOutcome",
        "2026-02-30",
        "Patient/1",
        "official",
        "\u{0}",
        "\"\\",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        texts.prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 48, 6, move |inner| {
        let members = prop::collection::vec((names.clone().prop_map(str::to_owned), inner.clone()), 0..6);
        prop_oneof![prop::collection::vec(inner, 0..5).prop_map(Value::from), members.prop_map(|m| Value::Object(m.into_iter().collect()))]
    })
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        survives(&bytes);
    }

    #[test]
    fn any_json_is_survived(value in any_json()) {
        survives(&serde_json::to_vec(&value).unwrap());
    }

    #[test]
    fn any_json_in_any_member_is_survived(sample in 0_usize..SAMPLES, place in any::<prop::sample::Index>(), value in any_json()) {
        let (_, mut changed) = samples()[sample].clone();
        let mut places = Vec::new();
        pointers(&changed, "", &mut places);
        *changed.pointer_mut(place.get::<String>(&places)).unwrap() = value;
        survives(&serde_json::to_vec(&changed).unwrap());
    }

    #[test]
    fn torn_and_spliced_bytes_are_survived(
        sample in 0_usize..SAMPLES, from in any::<prop::sample::Index>(), length in 0_usize..12, splice in prop::collection::vec(any::<u8>(), 0..12),
    ) {
        let mut bytes = serde_json::to_vec(&samples()[sample].1).unwrap();
        let start = from.index(bytes.len());
        let end = (start + length).min(bytes.len());
        bytes.splice(start..end, splice);
        survives(&bytes);
        survives(bytes.get(..start).unwrap_or_default());
    }

    #[test]
    fn white_space_changes_nothing(sample in 0_usize..SAMPLES) {
        let (kind, value) = samples()[sample].clone();
        let pretty = serde_json::to_vec_pretty(&value).unwrap();
        prop_assert_eq!(project(kind, &pretty), project(kind, &serde_json::to_vec(&value).unwrap()));
    }
}
