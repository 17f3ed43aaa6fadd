//! Patients with unmistakable data go through every stage, some of them malformed so that they are put aside. What is logged at the
//! finest level, told as an error, listed or measured holds none of it; only what is meant to show data does.

use std::io::{Read as _, Write as _};
use std::sync::Arc;

use chrono::TimeDelta;
use domain::Clock as _;
use fhir_engage::app::SystemClock;
use serde_json::json;

use super::{talkative, text};
use crate::support::{TempDir, run};

/// What must not be seen. Each is in the data below.
const CANARIES: [&str; 8] =
    ["Qanaryson", "Zwitschera", "5550177123", "555-0177", "qanary@mail.example", "1961-07-", "Voliere", "canary-patient"];

fn resources() -> Vec<String> {
    let patient = |id: &str, change: fn(&mut serde_json::Value)| {
        let mut patient = json!({
            "resourceType": "Patient", "id": id, "active": true, "birthDate": "1961-07-19",
            "name": [{ "family": "Qanaryson", "given": ["Zwitschera"] }],
            "telecom": [
                { "system": "phone", "value": "+1 212 555-0177", "use": "mobile" },
                { "system": "sms", "value": "+15550177123" },
                { "system": "email", "value": "qanary@mail.example" },
            ],
            "address": [{ "line": ["7 Voliere Lane"], "city": "Voliere", "state": "NY", "country": "US" }],
            "communication": [{ "language": { "coding": [{ "system": "urn:ietf:bcp:47", "code": "es" }] }, "preferred": true }],
        });
        change(&mut patient);
        patient.to_string()
    };
    let appointment = |id: &str, start: &str, status: &str| {
        json!({
            "resourceType": "Appointment", "id": id, "status": status, "start": start, "end": start, "comment": "Qanaryson coughs",
            "participant": [{ "actor": { "reference": "Patient/canary-patient-1", "display": "Zwitschera Qanaryson" }, "status": "needs-action" }],
        })
        .to_string()
    };
    vec![
        patient("canary-patient-1", |_| ()),
        patient("canary-patient-2", |p| p["birthDate"] = json!(["1961-07-19"])),
        patient("canary-patient-3", |p| p["name"] = json!("Zwitschera Qanaryson")),
        patient("canary-patient-4", |p| p["telecom"] = json!([{ "system": "email", "value": "qanary@mail.example qanary@mail.example" }])),
        patient("canary-patient-5", |p| p["deceasedDateTime"] = json!("1961-07-99T99:99")),
        appointment("visit-1", "2026-11-24T15:00:00Z", "booked"),
        appointment("visit-2", "2026-10-24T15:00:00Z", "noshow"),
        appointment("visit-3", "Qanaryson", "booked"),
    ]
}

/// Asserts that a text holds no canary.
#[track_caller]
fn silent(what: &str, said: &str) {
    for canary in CANARIES {
        assert!(!said.to_lowercase().contains(&canary.to_lowercase()), "{what} shows {canary}");
    }
}

/// Runs a command at the finest log level. What it says beside the data must be silent, and the data too unless it is meant to show.
fn stage(args: &[&str], shows: bool) -> String {
    let output = talkative(args).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    silent(&format!("stderr of {args:?}"), &err);
    assert!(!err.contains("panicked") && !err.contains("a defect stopped"), "{err}");
    if !shows {
        silent(&format!("stdout of {args:?}"), &out);
    }
    out.into_owned()
}

fn metrics(data: &str) -> String {
    let mut child = talkative(&["serve", "--no-work", "--data", data]).spawn().unwrap();
    let mut said = Vec::new();
    let mut stderr = child.stderr.take().unwrap();
    // The line with the address comes before the first request can.
    let mut byte = [0];
    while !String::from_utf8_lossy(&said).contains("pages at http://") || *said.last().unwrap() != b'\n' {
        assert_eq!(stderr.read(&mut byte).unwrap(), 1, "{}", String::from_utf8_lossy(&said));
        said.push(byte[0]);
    }
    let said = String::from_utf8(said).unwrap();
    let address = said.split("pages at http://").nth(1).unwrap().split('/').next().unwrap();
    let get = |path: &str| {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    };
    let pages = get("/metrics") + &get("/") + &get("/readyz");
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(pages.contains("fhir_engage_persons"), "{pages}");
    said + &pages
}

#[test]
fn no_stage_tells_who_the_patients_are() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    // The gateway's own clock, so that times agree.
    let now = || SystemClock::with_offset(TimeDelta::zero()).now().micros();
    let config = sandbox::Config { open: true, ..sandbox::Config::new(Arc::new(now)) };
    let ehr = runtime.block_on(sandbox::start(config)).unwrap();
    ehr.load(resources()).unwrap();

    let folder = TempDir::new();
    let data = text(folder.path());
    std::fs::write(folder.join("fhir-engage.toml"), "[web]\nbind = \"127.0.0.1:0\"\n[outreach]\nchannels = [\"recorded\"]\n").unwrap();
    let file = folder.join("canary.ndjson");
    std::fs::write(&file, resources().join("\n") + "\n{\"Qanaryson\": Zwitschera\n").unwrap();
    let run_stage = |args: &[&str]| stage(&[args, &["--data", data]].concat(), false);
    run_stage(&["ehr", "add", "live", "--url", &ehr.base_url()]);
    run_stage(&["ehr", "add", "files", "--files"]);
    run_stage(&["sync", "run"]);
    run_stage(&["import", "--ehr", "files", text(&file)]);
    run_stage(&["import", "--ehr", "files", "--json", text(&file)]);
    run_stage(&["segments", "run"]);
    run_stage(&["outreach", "run", "--json"]);
    run_stage(&["writeback", "run", "--json"]);
    run_stage(&["work", "--once"]);
    run_stage(&["sync", "status", "--json"]);
    run_stage(&["check"]);
    run_stage(&["ehr", "check", "live"]);
    run_stage(&["sync", "quarantine", "replay", "--ehr", "files"]);
    run_stage(&["writeback", "list", "--json"]);
    silent("the pages", &metrics(data));

    let aside = run(&["sync", "quarantine", "list", "--json", "--data", data]).ok().json();
    let aside = aside.as_array().unwrap();
    assert!(aside.len() >= 3, "the malformed ones were put aside: {aside:?}");
    for row in aside {
        silent("a reason in quarantine", row["reason"].as_str().unwrap());
    }
    // What is asked for by name shows data, and its stderr does not.
    let shown = stage(&["segments", "explain", "--patient", "live/canary-patient-1", "--data", data], true);
    assert!(shown.contains("canary-patient-1"), "{shown}");
    let bytes = stage(&["sync", "quarantine", "show", &aside[0]["id"].to_string(), "--data", data], true);
    assert!(CANARIES.iter().any(|c| bytes.contains(c)), "{bytes}");
    let attempts = run(&["outreach", "list", "--json", "--data", data]).ok().json();
    assert!(!attempts.as_array().unwrap().is_empty(), "someone was in a segment, so that the later stages had work");
    runtime.block_on(ehr.stop());
}
