//! The supporting types, field by field: what a rule needs is there, what is not told stays unknown.

use serde_json::{Value, json};

use super::{rejected, resource};
use crate::fhir::{Actor, actors, called, project};
use crate::model::{Facts, FhirTime, ResourceType};

/// The facts as they are stored.
fn stored(kind: ResourceType, members: &Value) -> Value {
    serde_json::from_slice(&project(kind, &resource(kind, members)).unwrap().facts.to_bytes()).unwrap()
}

#[test]
fn what_each_type_tells() {
    let code =
        json!({"coding": [{"system": "s", "code": "c", "display": "not kept"}, {"code": "d"}, {"display": "no code"}], "text": "not kept"});
    let coded = json!([{"s": "s", "c": "c"}, {"c": "d"}]);
    let me = json!({"reference": "Patient/7"});
    for (kind, members, facts) in [
        (
            ResourceType::Encounter,
            json!({"status": "finished", "class": {"system": "v3", "code": "IMP"}, "type": [code], "subject": me, "period": {"start": "2026-11-01T10:00:00Z", "end": "2026-11-03"},
                   "hospitalization": {"dischargeDisposition": code}, "appointment": [{"reference": "Appointment/1"}]}),
            json!({"status": "finished", "class": {"s": "v3", "c": "IMP"}, "kinds": coded, "patient": "7", "period": {"start": "2026-11-01T10:00:00Z", "end": "2026-11-03"},
                   "discharge": coded, "appointments": ["Appointment/1"]}),
        ),
        (
            ResourceType::Condition,
            json!({"clinicalStatus": {"coding": [{"code": "active"}]}, "verificationStatus": {"coding": [{"code": "confirmed"}]}, "category": [code], "code": code,
                   "subject": me, "onsetPeriod": {"start": "2026-10"}, "abatementString": "last spring", "recordedDate": "2026"}),
            json!({"clinical_status": "active", "verification": "confirmed", "categories": coded, "codes": coded, "patient": "7", "onset": "2026-10", "abated": true, "recorded": "2026"}),
        ),
        (
            ResourceType::Coverage,
            json!({"status": "active", "type": code, "beneficiary": me, "payor": [{"reference": "Organization/2"}, {"display": "self"}], "period": {"end": "2027-01-31"}, "order": 1}),
            json!({"status": "active", "kinds": coded, "patient": "7", "period": {"end": "2027-01-31"}, "payors": ["Organization/2"], "order": 1}),
        ),
        (
            ResourceType::Consent,
            json!({"status": "active", "scope": code, "category": [code], "patient": me, "dateTime": "2026-01-02",
                   "provision": {"type": "deny", "period": {"start": "2026"}, "action": [code], "purpose": [{"code": "HMARKT"}], "provision": [{"type": "permit"}]}}),
            json!({"status": "active", "scopes": coded, "categories": coded, "patient": "7", "given": "2026-01-02", "provision": "deny", "period": {"start": "2026"},
                   "about": [{"s": "s", "c": "c"}, {"c": "d"}, {"c": "HMARKT"}], "has_exceptions": true}),
        ),
        (
            ResourceType::Goal,
            json!({"lifecycleStatus": "active", "achievementStatus": code, "description": code, "subject": me, "startDate": "2026-01-01",
                   "target": [{"dueDate": "2026-12-31"}, {"dueDuration": {"value": 3}}], "addresses": [{"reference": "Condition/1"}]}),
            json!({"status": "active", "achievement": coded, "codes": coded, "patient": "7", "start": "2026-01-01", "due": ["2026-12-31"], "addresses": ["Condition/1"]}),
        ),
        (
            ResourceType::CareTeam,
            json!({"status": "active", "subject": me, "participant": [{"role": [code], "member": {"reference": "Practitioner/1"}}]}),
            json!({"status": "active", "patient": "7", "members": [{"member": "Practitioner/1", "roles": coded}]}),
        ),
        (
            ResourceType::RiskAssessment,
            json!({"status": "final", "method": code, "subject": me, "occurrenceDateTime": "2026-11-01",
                   "prediction": [{"qualitativeRisk": code, "probabilityRange": {"high": {"value": 0.25}}}]}),
            json!({"status": "final", "codes": coded, "patient": "7", "at": "2026-11-01", "predictions": [{"level": coded, "probability": "0.25"}]}),
        ),
        (
            ResourceType::Observation,
            json!({"status": "final", "category": [code], "code": code, "subject": me, "effectivePeriod": {"start": "2026-01-01", "end": "2026-01-02"},
                   "valueQuantity": {"value": 7.1, "code": "%", "unit": "percent", "comparator": "<"}, "interpretation": [code]}),
            json!({"status": "final", "categories": coded, "codes": coded, "patient": "7", "at": "2026-01-02",
                   "value": {"quantity": {"value": "7.1", "unit": "%", "comparator": "<"}}, "interpretation": coded}),
        ),
        (
            ResourceType::Procedure,
            json!({"status": "completed", "code": code, "subject": me, "performedDateTime": "2025-06"}),
            json!({"status": "completed", "codes": coded, "patient": "7", "performed": {"start": "2025-06", "end": "2025-06"}}),
        ),
        (
            ResourceType::Immunization,
            json!({"status": "completed", "vaccineCode": code, "patient": me, "occurrenceDateTime": "2025-10-01"}),
            json!({"status": "completed", "codes": coded, "patient": "7", "at": "2025-10-01"}),
        ),
        (
            ResourceType::MedicationRequest,
            json!({"status": "active", "intent": "order", "medicationCodeableConcept": code, "doNotPerform": true, "subject": me, "authoredOn": "2026-01-01",
                   "dispenseRequest": {"validityPeriod": {"end": "2027-01-01"}, "numberOfRepeatsAllowed": 3}}),
            json!({"status": "active", "intent": "order", "codes": coded, "do_not_perform": true, "patient": "7", "authored": "2026-01-01", "valid": {"end": "2027-01-01"}, "repeats": 3}),
        ),
        (
            ResourceType::QuestionnaireResponse,
            json!({"status": "completed", "questionnaire": "http://q|1", "subject": me, "authored": "2026-01-01T00:00:00Z", "item": [
                {"linkId": "1", "item": [{"linkId": "1.1", "answer": [{"valueCoding": {"code": "LA33-6"}, "item": [{"linkId": "1.1.1", "answer": [{"valueBoolean": false}]}]}]}]},
                {"linkId": "2", "answer": [{"valueString": "not kept"}, {"valueBoolean": true}]}]}),
            json!({"status": "completed", "questionnaire": "http://q|1", "patient": "7", "authored": "2026-01-01T00:00:00Z",
                   "answers": [{"question": "1.1", "code": {"c": "LA33-6"}}, {"question": "1.1.1", "flag": false}, {"question": "2", "flag": true}]}),
        ),
        (
            ResourceType::PractitionerRole,
            json!({"active": true, "practitioner": {"reference": "Practitioner/1"}, "organization": {"reference": "Organization/1"}, "location": [{"reference": "Location/1"}],
                   "code": [{"text": "Cardiologist"}], "specialty": [code]}),
            json!({"active": true, "name": "Cardiologist", "practitioner": "Practitioner/1", "organization": "Organization/1", "locations": ["Location/1"], "specialties": coded}),
        ),
        (
            ResourceType::Location,
            json!({"status": "suspended", "name": "Main Street", "managingOrganization": {"reference": "Organization/1"}}),
            json!({"active": false, "name": "Main Street", "organization": "Organization/1"}),
        ),
        (ResourceType::Organization, json!({"active": true, "name": "Main"}), json!({"active": true, "name": "Main"})),
    ] {
        assert_eq!(stored(kind, &members), facts, "{kind}");
        let whole = project(kind, &resource(kind, &members)).unwrap().facts;
        assert_eq!(Facts::from_bytes(kind, &whole.to_bytes()).unwrap(), whole, "{kind}");
        let about = if kind.is_directory() { vec![] } else { vec!["7"] };
        assert_eq!((whole.resource_type(), whole.patients("s1")), (kind, about));
    }
}

/// Nothing told is nothing known: no status is made up, and no value.
#[test]
fn an_empty_resource_has_empty_facts() {
    for kind in ResourceType::SUPPORTING {
        assert_eq!(stored(kind, &json!({})), json!({}), "{kind}");
    }
}

#[test]
fn whose_it_is_and_whether_it_holds_must_be_readable() {
    for kind in ResourceType::SUPPORTING.into_iter().filter(|k| !k.is_directory()) {
        let patient = match kind {
            ResourceType::Coverage => "beneficiary",
            ResourceType::Consent | ResourceType::Immunization => "patient",
            _ => "subject",
        };
        let told = rejected(kind, &json!({patient: {"reference": 7}})).to_string();
        assert_eq!(told, format!("{patient}.reference is a number, a reference in quotes was expected"));
        rejected(kind, &json!({patient: "Patient/7"}));
        for other in
            [json!({"reference": "Group/7"}), json!({"display": "somebody"}), json!({"reference": "Device/7"}), json!({"reference": "#p"})]
        {
            assert_eq!(stored(kind, &json!({patient: other})), json!({}), "{kind}");
        }
        if kind != ResourceType::Condition {
            let status = if kind == ResourceType::Goal { "lifecycleStatus" } else { "status" };
            assert_eq!(
                rejected(kind, &json!({status: {"code": "x"}})).to_string(),
                format!("{status} is an object, a code in quotes was expected")
            );
        }
    }
    rejected(ResourceType::MedicationRequest, &json!({"doNotPerform": "true"}));
    rejected(ResourceType::Consent, &json!({"provision": {"type": 1}}));
}

#[test]
fn one_who_is_named_is_called_by_name() {
    let name = |kind: ResourceType, members: Value| match project(kind, &resource(kind, &members)).unwrap().facts {
        Facts::Practitioner(f) | Facts::Location(f) | Facts::Organization(f) | Facts::PractitionerRole(f) => called(&f),
        _ => panic!("{kind} names nobody"),
    };
    let names = json!({"name": [{"use": "old", "family": "Before"}, {"family": "Ng", "given": ["Ana", "B."], "prefix": ["Dr."]}]});
    assert_eq!(name(ResourceType::Practitioner, names).as_deref(), Some("Ana B. Ng"));
    assert_eq!(name(ResourceType::Practitioner, json!({"name": [{"text": "Dr. Ng"}]})).as_deref(), Some("Dr. Ng"));
    assert_eq!(name(ResourceType::Location, json!({"name": " "})), None);
    assert_eq!(name(ResourceType::Practitioner, json!({})), None);
}

#[test]
fn dates_that_do_not_exist_are_unknown() {
    let Facts::Condition(facts) =
        project(ResourceType::Condition, &resource(ResourceType::Condition, &json!({"onsetDateTime": "2026-02-30"}))).unwrap().facts
    else {
        panic!("not a Condition")
    };
    assert_eq!(facts.onset, None::<FhirTime>);
}

#[test]
fn those_who_take_part_are_told_with_their_names() {
    let body = json!({"resourceType": "Appointment", "participant": [
        {"actor": {"reference": "Practitioner/1", "display": "Dr. Ng"}}, {"actor": {"reference": "Location/1", "display": " "}}, {"actor": {"display": "no reference"}}, {}, 5]});
    let actor = |reference: &str, display: Option<&str>| Actor { reference: reference.to_owned(), display: display.map(str::to_owned) };
    assert_eq!(actors(body.to_string().as_bytes()).unwrap(), [actor("Practitioner/1", Some("Dr. Ng")), actor("Location/1", None)]);
    assert!(actors(b"[]").is_err());
}
