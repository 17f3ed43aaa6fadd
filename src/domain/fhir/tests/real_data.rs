//! Over the public sample data, where it is present: `FHIR_ENGAGE_SHARED`, or `../shared` beside the workspace. Facts are compared with
//! what a plain walk over the JSON gives.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;

use serde_json::Value;

use crate::fhir::{called, outcome, peek, project};
use crate::model::{Facts, FhirTime, ResourceType};

fn data() -> Option<PathBuf> {
    let shared = std::env::var_os("FHIR_ENGAGE_SHARED")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared")), PathBuf::from);
    Some(shared.join("data")).filter(|folder| folder.is_dir())
}

/// Every NDJSON file: folder, resource type, lines.
fn files() -> Vec<(String, String, Vec<Vec<u8>>)> {
    let Some(data) = data() else {
        eprintln!("skipped: no sample data");
        return Vec::new();
    };
    let mut files = Vec::new();
    for folder in std::fs::read_dir(data).unwrap().map(|e| e.unwrap().path()).filter(|p| p.is_dir()) {
        for file in std::fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path()) {
            let name = file.file_name().unwrap().to_str().unwrap();
            let Some(kind) = name.strip_suffix(".ndjson.gz") else { continue };
            let lines = BufReader::new(flate2::read::MultiGzDecoder::new(std::fs::File::open(&file).unwrap()));
            let lines = lines.split(b'\n').map(Result::unwrap).filter(|line| !line.is_empty()).collect();
            files.push((folder.file_name().unwrap().to_str().unwrap().to_owned(), kind.to_owned(), lines));
        }
    }
    files
}

#[test]
fn every_resource_projects_and_the_counts_agree() {
    let (mut counts, mut statuses) = (BTreeMap::<String, usize>::new(), BTreeMap::<String, usize>::new());
    for (folder, name, lines) in files() {
        for line in &lines {
            let value: Value = serde_json::from_slice(line).unwrap();
            let peeked = peek(line).unwrap();
            assert_eq!(peeked.resource_type, name);
            assert_eq!(peeked.id.as_deref(), value["id"].as_str());
            assert_eq!(outcome(line).is_some(), name == "OperationOutcome");
            let Some(kind) = ResourceType::parse(&name) else { continue };
            let projected = project(kind, line).unwrap_or_else(|reject| panic!("{folder} {name}: {reject}"));
            *counts.entry(format!("{folder}/{name}")).or_default() += 1;
            if let Facts::Appointment(facts) = &projected.facts {
                *statuses.entry(format!("{folder}/{}", facts.status)).or_default() += 1;
            }
            assert_eq!(Some(projected.id.as_str()), value["id"].as_str());
            assert_eq!(projected.version.as_deref(), value["meta"]["versionId"].as_str());
            agrees(&projected.facts, &value);
            assert_eq!(Facts::from_bytes(kind, &projected.facts.to_bytes()).unwrap(), projected.facts, "facts survive storing");
        }
    }
    if counts.is_empty() {
        return;
    }
    for (what, expected) in [
        ("synthea-generated-sample/Patient", 615),
        ("synthea-generated-sample/CarePlan", 1769),
        ("hl7-r4-examples/Patient", 22),
        ("hl7-r4-examples/Appointment", 3),
        ("hl7-r4-examples/CarePlan", 11),
        ("sekmet-generated/Patient", 88),
        ("sekmet-generated/Appointment", 204),
        ("us-core-qi-core-examples/Patient", 4),
        ("us-core-qi-core-examples/CarePlan", 3),
    ] {
        assert_eq!(counts.get(what), Some(&expected), "{what}");
    }
    for (status, expected) in [("booked", 24), ("cancelled", 120), ("fulfilled", 60)] {
        assert_eq!(statuses.get(&format!("sekmet-generated/{status}")), Some(&expected), "{status}");
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn referring(references: &Value) -> usize {
    list(references).iter().filter(|r| r["reference"].is_string()).count()
}

fn last_segment(reference: &Value) -> Option<&str> {
    reference.as_str()?.rsplit('/').next()
}

fn agrees(facts: &Facts, value: &Value) {
    let id = &value["id"];
    match facts {
        Facts::Patient(facts) => {
            assert_eq!(facts.birth_date, value["birthDate"].as_str().and_then(FhirTime::parse), "{id}");
            assert_eq!(facts.gender.as_deref(), value["gender"].as_str(), "{id}");
            assert_eq!(facts.active, value["active"].as_bool(), "{id}");
            assert_eq!(facts.deceased, value["deceasedBoolean"] == true || value["deceasedDateTime"].is_string(), "{id}");
            let usable = list(&value["telecom"]).iter().filter(|t| t["use"] != "old" && t["value"].is_string() && t["system"].is_string());
            assert_eq!(facts.telecom.len(), usable.count(), "{id}");
            assert_eq!(facts.languages.len(), list(&value["communication"]).len(), "{id}");
            assert_eq!(facts.links.len(), list(&value["link"]).len(), "{id}");
            assert_eq!(facts.general_practitioner.len(), referring(&value["generalPractitioner"]), "{id}");
            let named = list(&value["name"]).iter().any(|n| n["use"] != "old" && n["use"] != "maiden");
            assert_eq!(facts.name.given.is_some() || facts.name.family.is_some(), named, "{id}");
        }
        Facts::Appointment(facts) => {
            let of = |kind: &str| {
                let actors = list(&value["participant"]).iter().map(|p| &p["actor"]["reference"]);
                actors.filter(|r| r.as_str().is_some_and(|r| r.contains(kind))).collect::<Vec<_>>()
            };
            assert_eq!(facts.patients, of("Patient/").into_iter().filter_map(last_segment).collect::<Vec<_>>(), "{id}");
            assert_eq!(facts.practitioners.len(), of("Practitioner").len(), "{id}");
            assert_eq!(facts.locations.len(), of("Location/").len(), "{id}");
            assert_eq!(facts.start.is_some(), value["start"].is_string(), "{id}");
            assert_eq!(facts.patient_status.is_some(), !facts.patients.is_empty(), "{id}");
        }
        Facts::CarePlan(facts) => {
            assert_eq!(facts.patient.as_deref(), last_segment(&value["subject"]["reference"]), "{id}");
            assert_eq!(facts.period.start, value["period"]["start"].as_str().and_then(FhirTime::parse), "{id}");
            assert_eq!(facts.period.end, value["period"]["end"].as_str().and_then(FhirTime::parse), "{id}");
            let wanted = list(&value["activity"]).iter().filter(|a| a["detail"]["doNotPerform"] != true);
            assert_eq!(facts.activities.len(), wanted.count(), "{id}");
            assert_eq!(facts.addresses.len(), referring(&value["addresses"]), "{id}");
        }
        Facts::Condition(f) => {
            owned(&f.patient, &value["subject"], id);
            assert_eq!(f.codes.len(), codes(&value["code"]), "{id}");
            assert_eq!(
                f.onset,
                value["onsetDateTime"].as_str().or(value["onsetPeriod"]["start"].as_str()).and_then(FhirTime::parse),
                "{id}"
            );
            assert_eq!(f.clinical_status.as_deref(), value["clinicalStatus"]["coding"][0]["code"].as_str(), "{id}");
        }
        Facts::Encounter(f) => {
            owned(&f.patient, &value["subject"], id);
            assert_eq!(
                (f.status.as_deref(), f.class.as_ref().map(|c| c.code.as_str())),
                (value["status"].as_str(), value["class"]["code"].as_str())
            );
            assert_eq!(f.period.end, value["period"]["end"].as_str().and_then(FhirTime::parse), "{id}");
            assert_eq!(f.discharge.len(), codes(&value["hospitalization"]["dischargeDisposition"]), "{id}");
        }
        Facts::Coverage(f) => {
            owned(&f.patient, &value["beneficiary"], id);
            assert_eq!((f.kinds.len(), f.payors.len()), (codes(&value["type"]), referring(&value["payor"])), "{id}");
        }
        Facts::Goal(f) => {
            owned(&f.patient, &value["subject"], id);
            assert_eq!(f.due.len(), list(&value["target"]).iter().filter(|t| t["dueDate"].is_string()).count(), "{id}");
        }
        Facts::CareTeam(f) => {
            owned(&f.patient, &value["subject"], id);
            assert_eq!(f.members.len(), list(&value["participant"]).len(), "{id}");
        }
        Facts::Observation(f) => {
            owned(&f.patient, &value["subject"], id);
            assert_eq!(f.codes.len(), codes(&value["code"]), "{id}");
            let told = ["valueQuantity", "valueCodeableConcept", "valueBoolean", "valueInteger"];
            let comparable = told.iter().any(|v| match &value[*v] {
                Value::Null => false,
                quantity if *v == "valueQuantity" => quantity["value"].is_number(),
                concept if *v == "valueCodeableConcept" => codes(concept) > 0,
                _ => true,
            });
            assert_eq!(f.value.is_some(), comparable, "{id}");
        }
        Facts::Procedure(f) => {
            owned(&f.patient, &value["subject"], id);
            let end = value["performedDateTime"].as_str().or(value["performedPeriod"]["end"].as_str());
            assert_eq!((f.codes.len(), f.performed.end), (codes(&value["code"]), end.and_then(FhirTime::parse)), "{id}");
        }
        Facts::Immunization(f) => {
            owned(&f.patient, &value["patient"], id);
            assert_eq!(f.codes.len(), codes(&value["vaccineCode"]), "{id}");
            assert_eq!(f.at, value["occurrenceDateTime"].as_str().and_then(FhirTime::parse), "{id}");
        }
        Facts::MedicationRequest(f) => {
            owned(&f.patient, &value["subject"], id);
            assert_eq!(f.codes.len(), codes(&value["medicationCodeableConcept"]), "{id}");
            assert_eq!(f.intent.as_deref(), value["intent"].as_str(), "{id}");
        }
        Facts::QuestionnaireResponse(f) => {
            owned(&f.patient, &value["subject"], id);
            assert_eq!(f.answers.len(), answers(value), "{id}");
        }
        Facts::RiskAssessment(f) => {
            owned(&f.patient, &value["subject"], id);
            assert_eq!(f.predictions.len(), list(&value["prediction"]).len(), "{id}");
        }
        Facts::Consent(f) => {
            owned(&f.patient, &value["patient"], id);
            assert_eq!(f.provision.as_deref(), value["provision"]["type"].as_str(), "{id}");
        }
        Facts::Practitioner(f) => {
            assert_eq!(called(f).is_some(), !list(&value["name"]).is_empty(), "{id}");
        }
        Facts::PractitionerRole(f) => assert_eq!(f.practitioner.as_deref(), value["practitioner"]["reference"].as_str(), "{id}"),
        Facts::Location(f) | Facts::Organization(f) => assert_eq!(f.name.as_deref(), value["name"].as_str(), "{id}"),
    }
}

/// A reference to a patient is kept by its id, one to anything else is not.
fn owned(patient: &Option<String>, reference: &Value, id: &Value) {
    let text = reference["reference"].as_str().filter(|r| r.contains("Patient/") || r.starts_with("urn:uuid:"));
    let expected = text.and_then(|r| r.rsplit(['/', ':']).next()).filter(|_| !text.is_some_and(|r| r.starts_with('#')));
    assert_eq!(patient.as_deref(), expected, "{id}");
}

fn codes(concept: &Value) -> usize {
    list(&concept["coding"]).iter().filter(|c| c["code"].is_string()).count()
}

/// Coded and boolean answers, at any depth.
fn answers(value: &Value) -> usize {
    let here = |item: &Value| {
        list(&item["answer"])
            .iter()
            .map(|a| usize::from(a["valueCoding"]["code"].is_string() || a["valueBoolean"].is_boolean()) + answers(a))
            .sum::<usize>()
    };
    list(&value["item"]).iter().map(|item| here(item) + answers(item)).sum()
}
