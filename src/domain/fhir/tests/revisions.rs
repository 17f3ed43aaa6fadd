//! What each type's facts are today, recorded with their revision: facts that change without a new revision would stay as they are in every store.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{resource, revision};
use crate::fhir::project;
use crate::model::ResourceType;

/// A resource of each type in which every member stands that facts are made of.
fn whole() -> [(ResourceType, Value); 19] {
    let code = json!({"coding": [{"system": "s", "code": "c", "display": "not kept"}, {"code": "d"}], "text": "not kept"});
    let name = json!([{"use": "old", "family": "Before"}, {"use": "official", "family": "Now", "given": ["A", "B"], "prefix": ["Dr."], "suffix": ["MD"], "text": "A Now"}]);
    let me = json!({"reference": "Patient/7"});
    let period = json!({"start": "2026-01-01T08:00:00Z", "end": "2026-12"});
    [
        (
            ResourceType::Patient,
            json!({
            "meta": {"versionId": "1", "security": [{"code": "R"}]}, "active": true, "deceasedDateTime": "2026-02", "birthDate": "1950-01", "gender": "female", "name": name,
            "extension": [{"url": "http://hl7.org/fhir/us/core/StructureDefinition/us-core-interpreter-needed", "valueCoding": {"code": "373066001"}},
                {"url": "http://hl7.org/fhir/StructureDefinition/patient-interpreterRequired", "valueBoolean": true}],
            "communication": [{"language": {"coding": [{"system": "urn:ietf:bcp:47", "code": "ES-mx"}]}, "preferred": true}, {"language": {"coding": [{"code": "en"}]}}],
            "telecom": [{"system": "phone", "value": "+1 555", "use": "mobile", "rank": 1, "period": period}, {"system": "email", "value": "a@b.c", "use": "old"}],
            "address": [{"use": "home", "type": "postal", "line": ["1 Street"], "city": "C", "state": "NY", "postalCode": "10001", "country": "US", "period": period,
                "extension": [{"url": "http://hl7.org/fhir/StructureDefinition/timezone", "valueCode": "America/New_York"}]}],
            "identifier": [{"system": "urn:mrn", "value": "9"}], "link": [{"type": "seealso", "other": {"reference": "Patient/8"}}],
            "generalPractitioner": [{"reference": "Practitioner/1"}]}),
        ),
        (
            ResourceType::Appointment,
            json!({
            "status": "booked", "start": "2026-11-23T10:00:00Z", "end": "2026-11-23T10:30:00Z", "created": "2026-10", "minutesDuration": 30, "description": "x",
            "participant": [{"actor": me, "status": "accepted"}, {"actor": {"reference": "Practitioner/1"}, "status": "accepted"}, {"actor": {"reference": "Location/1"}, "status": "accepted"}],
            "serviceType": [code], "serviceCategory": [code], "appointmentType": code, "cancelationReason": code, "specialty": [code], "reasonCode": [code],
            "extension": [{"url": "http://hl7.org/fhir/5.0/StructureDefinition/extension-Appointment.virtualService", "extension": []}]}),
        ),
        (
            ResourceType::CarePlan,
            json!({
            "status": "active", "intent": "plan", "subject": me, "category": [code], "period": period, "created": "2026-01-02", "addresses": [{"reference": "Condition/1"}],
            "goal": [{"reference": "Goal/1"}], "title": "x",
            "activity": [{"reference": {"reference": "Appointment/1"}, "outcomeCodeableConcept": [code]},
                {"detail": {"kind": "ServiceRequest", "status": "scheduled", "code": code, "doNotPerform": false, "scheduledPeriod": period}},
                {"detail": {"status": "scheduled", "scheduledTiming": {"event": ["2026-03-01"], "repeat": {"boundsPeriod": period}}}},
                {"detail": {"status": "scheduled", "scheduledString": "soon", "doNotPerform": true}}]}),
        ),
        (
            ResourceType::Encounter,
            json!({
            "status": "finished", "class": {"system": "v3", "code": "IMP"}, "type": [code], "subject": me, "period": period, "serviceType": code,
            "hospitalization": {"dischargeDisposition": code}, "appointment": [{"reference": "Appointment/1"}]}),
        ),
        (
            ResourceType::Condition,
            json!({
            "clinicalStatus": {"coding": [{"code": "active"}]}, "verificationStatus": {"coding": [{"code": "confirmed"}]}, "category": [code], "code": code, "subject": me,
            "onsetDateTime": "2026-10", "abatementDateTime": "2026-11", "recordedDate": "2026-10-02", "severity": code}),
        ),
        (
            ResourceType::Coverage,
            json!({
            "status": "active", "type": code, "beneficiary": me, "payor": [{"reference": "Organization/2"}], "period": period, "order": 1}),
        ),
        (
            ResourceType::Consent,
            json!({
            "status": "active", "scope": code, "category": [code], "patient": me, "dateTime": "2026-01-02",
            "provision": {"type": "deny", "period": period, "action": [code], "purpose": [{"code": "HMARKT"}], "code": [code], "provision": [{"type": "permit"}]}}),
        ),
        (
            ResourceType::Goal,
            json!({
            "lifecycleStatus": "active", "achievementStatus": code, "category": [code], "description": code, "subject": me, "startDate": "2026-01-01",
            "target": [{"dueDate": "2026-12-31"}], "addresses": [{"reference": "Condition/1"}]}),
        ),
        (
            ResourceType::CareTeam,
            json!({
            "status": "active", "category": [code], "subject": me, "period": period,
            "participant": [{"role": [code], "member": {"reference": "Practitioner/1"}, "period": period}]}),
        ),
        (
            ResourceType::RiskAssessment,
            json!({
            "status": "final", "code": code, "method": code, "subject": me, "occurrenceDateTime": "2026-11-01",
            "prediction": [{"outcome": code, "qualitativeRisk": code, "probabilityDecimal": 0.5}]}),
        ),
        (
            ResourceType::Observation,
            json!({
            "status": "final", "category": [code], "code": code, "subject": me, "effectiveDateTime": "2026-01-01", "interpretation": [code],
            "valueQuantity": {"value": 7.1, "code": "%", "unit": "percent", "comparator": "<"}}),
        ),
        (
            ResourceType::Procedure,
            json!({
            "status": "completed", "category": code, "code": code, "subject": me, "performedPeriod": period}),
        ),
        (
            ResourceType::Immunization,
            json!({
            "status": "completed", "vaccineCode": code, "patient": me, "occurrenceDateTime": "2025-10-01"}),
        ),
        (
            ResourceType::MedicationRequest,
            json!({
            "status": "active", "intent": "order", "medicationCodeableConcept": code, "doNotPerform": true, "subject": me, "authoredOn": "2026-01-01",
            "dispenseRequest": {"validityPeriod": period, "numberOfRepeatsAllowed": 3}}),
        ),
        (
            ResourceType::QuestionnaireResponse,
            json!({
            "status": "completed", "questionnaire": "http://q|1", "subject": me, "source": {"reference": "RelatedPerson/1"}, "authored": "2026-01-01T00:00:00Z",
            "item": [{"linkId": "1", "answer": [{"valueCoding": {"code": "LA33-6"}}, {"valueBoolean": true}]}]}),
        ),
        (
            ResourceType::PractitionerRole,
            json!({
            "active": true, "practitioner": {"reference": "Practitioner/1"}, "organization": {"reference": "Organization/1"}, "location": [{"reference": "Location/1"}],
            "code": [{"text": "Cardiologist"}], "specialty": [code]}),
        ),
        (ResourceType::Practitioner, json!({"active": true, "name": name})),
        (
            ResourceType::Location,
            json!({"status": "active", "name": "Main Street", "managingOrganization": {"reference": "Organization/1"}}),
        ),
        (ResourceType::Organization, json!({"active": true, "name": "Main"})),
    ]
}

#[test]
fn facts_change_with_their_revision_only() {
    let mut told = String::new();
    for (kind, members) in whole() {
        let projected = project(kind, &resource(kind, &members)).unwrap();
        let facts = String::from_utf8(projected.facts.to_bytes()).unwrap();
        let ties: Vec<&str> = projected.identifiers.iter().map(|i| i.system.as_str()).collect();
        writeln!(told, "{kind} {} {facts} {ties:?}", revision(kind)).unwrap();
    }
    let recorded = include_str!("revisions.txt");
    for (now, before) in told.lines().zip(recorded.lines()) {
        let of = |line: &str| line.split(' ').take(2).map(str::to_owned).collect::<Vec<_>>();
        assert!(
            now == before || of(now) != of(before),
            "the facts are others; raise fhir::revision of the type and put this line in revisions.txt:\n{now}\nbefore:\n{before}"
        );
    }
    assert_eq!(told, recorded, "put this in revisions.txt");
}
