//! The real EHR behind a line that loses requests and answers, resets connections, cuts answers off and is late, at random (`LINE_SEED` chooses, and is
//! printed): what a backlog of outreach owes is in its charts once, by its own search, and what cannot be told waits for a person.

use std::time::{Duration, Instant};

use fhir_engage::app::SystemClock;
use serde_json::{Value, json};

use crate::support::{Installation, Proxy, Sekmet, on_both};

const PATIENTS: usize = 120;
const SYSTEM: &str = "urn:fhir-engage:attempt";
/// How late is late: after the client's time-out, and well before what is unclear is searched for.
const LATE: Duration = Duration::from_millis(2_500);
/// How long the line is bad.
const BAD: Duration = Duration::from_secs(20);
const PATIENCE: Duration = Duration::from_secs(240);

const CONFIG: &str = r#"
[outreach]
channels = ["recorded"]
per_day = 24
per_week = 100
[outreach.quiet_hours]
start = "00:00"
end = "00:00"
[write_back]
http_timeout = "2s"
settle_delay = "6s"
"#;

fn seed() -> u64 {
    let machine = SystemClock::with_offset(chrono::TimeDelta::zero());
    let now = domain::Clock::now(&machine).micros().unsigned_abs();
    let seed = std::env::var("LINE_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(now);
    eprintln!("a_backlog_over_a_bad_line: LINE_SEED={seed}");
    seed
}

/// A patient with a care plan, who is asked how it goes.
fn admit(ehr: &Sekmet, n: usize) {
    let patient = ehr.create(&json!({
        "resourceType": "Patient", "active": true, "birthDate": "1980-05-01", "gender": "female",
        "name": [{ "use": "official", "family": "Probe", "given": [format!("Ada{n}")] }],
        "telecom": [{ "system": "email", "value": format!("ada{n}@example.org") }],
        "communication": [{ "language": { "coding": [{ "system": "urn:ietf:bcp:47", "code": "en" }] }, "preferred": true }],
    }));
    ehr.create(&json!({
        "resourceType": "CarePlan", "status": "active", "intent": "plan", "subject": { "reference": format!("Patient/{patient}") },
        "period": { "start": "2026-01-01" }, "title": "Diabetes",
    }));
}

fn rows(gateway: &Installation) -> Vec<Value> {
    gateway.json(&["writeback", "list", "--limit", "1000"]).as_array().unwrap().clone()
}

fn is_open(row: &Value) -> bool {
    ["owed", "writing", "unknown"].iter().any(|state| row["state"] == *state)
}

/// How often an attempt is in the charts, by the EHR's own search.
fn times(ehr: &Sekmet, row: &Value) -> usize {
    ehr.search("Communication", &format!("identifier={SYSTEM}%7C{}", row["attempt"].as_str().unwrap())).len()
}

/// Runs until nothing is open but what waits for a person; the line is healed after a while.
fn write_back(gateway: &Installation, proxy: &Proxy) {
    let began = Instant::now();
    while rows(gateway).iter().any(is_open) {
        assert!(began.elapsed() < PATIENCE, "{:#?}", rows(gateway));
        if began.elapsed() > BAD {
            proxy.harm(&[], LATE);
        }
        let ran = gateway.run(&["writeback", "run", "--json"]);
        assert_eq!(ran.json()["failures"], json!([]), "{ran:?}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

on_both! {
    fn a_backlog_over_a_bad_line_is_in_the_charts_once(db) {
        let gateway = Installation::new(&db, CONFIG);
        let Some(ehr) = Sekmet::start(&gateway.run(&["keys", "jwks", "--alg", "ES384"]).ok().json()) else { return };
        (0..PATIENTS).for_each(|n| admit(&ehr, n));
        let add = |url: &str, more: &[&str]| {
            gateway.run(&[&["ehr", "add", "ward", "--url", url, "--client-id", "gateway", "--key-alg", "ES384"], more].concat()).ok();
        };
        add(&ehr.base_url(), &[]);
        for stage in ["sync", "segments", "outreach"] {
            gateway.run(&[stage, "run"]).ok();
        }
        let owed = rows(&gateway);
        assert!(owed.len() >= PATIENTS && owed.iter().all(|r| r["state"] == "owed"), "{owed:#?}");

        // From now on the EHR has another address, and its tokens still come from the old one.
        let proxy = Proxy::start(ehr.port(), "/fhir/Communication", seed());
        let token_url = ehr.base_url().replace("/fhir", "/auth/token");
        add(&format!("http://127.0.0.1:{}/fhir", proxy.port()), &["--token-url", &token_url, "--moved"]);
        proxy.harm(&[("POST", 50), ("GET", 15)], LATE);
        write_back(&gateway, &proxy);

        let rows_now = rows(&gateway);
        let waiting: Vec<&Value> = rows_now.iter().filter(|r| r["state"] != "written").collect();
        let counted: Vec<(&Value, usize)> = rows_now.iter().map(|row| (row, times(&ehr, row))).collect();
        let (met, harmed) = (proxy.met(), proxy.harmed());
        eprintln!("{} write-backs over a line that did: {met:?}; {} for a person", rows_now.len(), waiting.len());
        assert!(met.len() == 9 && harmed > PATIENTS / 2, "a test of nothing: {met:?}");
        for (row, times) in &counted {
            assert!(*times == 1 || (*times == 0 && row["state"] != "written"), "{times} times: {row}");
        }
        assert_eq!(counted.iter().map(|(_, times)| times).sum::<usize>(), ehr.search("Communication", "_count=50").len());
        let causes = gateway.run(&["writeback", "causes", "--json"]).json();
        assert_eq!(causes.as_array().unwrap().iter().map(|c| c["count"].as_u64().unwrap()).sum::<u64>(), waiting.len() as u64, "{causes}");

        // The person settles what waits, and all are there.
        for (row, times) in counted.iter().filter(|(row, _)| row["state"] == "parked") {
            gateway.run(&["writeback", "settle", row["id"].as_str().unwrap(), if *times == 1 { "--in-ehr" } else { "--not-there" }]).ok();
        }
        gateway.run(&["writeback", "replay", "--all"]).ok();
        write_back(&gateway, &proxy);
        assert!(rows(&gateway).iter().all(|row| row["state"] == "written" && times(&ehr, row) == 1));
    }
}
