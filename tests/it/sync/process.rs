//! The gateway as a process: what `sync plan`, `sync run`, `sync status` and `sync holes` say, and a crawl that is killed in its middle.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use domain::{Clock as _, Timestamp};
use fhir_engage::app::SystemClock;
use sandbox::{Fault, FaultKind, Population, Sandbox};
use serde_json::Value;

use super::setup::group;
use crate::kill::{Installation, random, rounds};
use crate::support::on_both;

const PATIENTS: u32 = 300;

/// How long a kill is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

fn now() -> SystemClock {
    SystemClock::showing(Timestamp::parse("2026-11-23T18:05:00Z").unwrap())
}

/// An open EHR with a Group of all its patients.
async fn ehr() -> Sandbox {
    let clock = now();
    let people = Population { patients: PATIENTS, seed: 7, as_of_micros: clock.now().micros(), zone: chrono_tz::America::New_York };
    let config = sandbox::Config { open: true, ..sandbox::Config::new(std::sync::Arc::new(move || clock.now().micros())) };
    let ehr = sandbox::start(config).await.unwrap();
    ehr.load(people.resources()).unwrap();
    let ids: Vec<String> = (1..=PATIENTS).map(|n| format!("pat-{n:06}")).collect();
    ehr.load([group(&ids)]).unwrap();
    ehr
}

/// Every type from patient to patient.
fn add(gateway: &Installation, ehr: &Sandbox) {
    gateway.set_clock(now());
    let base = ehr.base_url();
    let mut args = vec!["ehr", "add", "north", "--url", &base, "--group", "Group/panel", "--search", "Appointment=patient&date"];
    for strategy in ["Patient=roster", "Appointment=window", "CarePlan=roster"] {
        args.extend(["--strategy", strategy]);
    }
    gateway.run(&args);
}

fn json(gateway: &Installation, args: &[&str]) -> Value {
    serde_json::from_str(&gateway.run(&[args, &["--json"]].concat())).unwrap()
}

/// The ids that are stored of a type.
fn stored(gateway: &Installation, kind: &str) -> BTreeSet<String> {
    gateway.db.lines(&format!("SELECT fhir_id AS line FROM resource WHERE rtype = '{kind}'")).into_iter().collect()
}

on_both! {
    async fn the_plan_the_status_and_the_holes_are_told(db) {
        let ehr = ehr().await;
        let gateway = Installation::new(db);
        add(&gateway, &ehr);
        let plan = gateway.run(&["sync", "plan", "north"]);
        for says in ["the members of Group/panel", "Appointment?patient=…&date=ge…&date=lt…", "the operator says so"] {
            assert!(plan.contains(says), "{says}: {plan}");
        }
        assert_eq!(json(&gateway, &["sync", "plan", "north"])["plan"]["types"][1]["reconciled"], "each-run");
        let fault = FaultKind::OfPatient { patient: "pat-000011".to_owned(), status: 403, code: Some("4130".to_owned()) };
        ehr.plant(Fault::new(fault).on("GET", "/fhir/CarePlan"));
        let ran = gateway.start(&["sync", "run"]).wait();
        assert_eq!(ran.code, Some(1), "not all was read: {}", ran.stdout);
        assert!(ran.stdout.contains("done, but it could not be read of 1 patient (`sync holes`)"), "{}", ran.stdout);
        let status = gateway.run(&["sync", "status"]);
        assert!(status.contains("300 of 300 patients") && status.contains("north CarePlan: not known of 1 patient"), "{status}");
        let told = json(&gateway, &["sync", "status"]);
        assert_eq!((&told[1]["type"], &told[1]["units_done"], &told[1]["units_of"], &told[1]["holes"]), (&"CarePlan".into(), &300.into(), &300.into(), &1.into()));
        let holes = json(&gateway, &["sync", "holes", "north"]);
        assert_eq!((&holes[0]["patient"], &holes[0]["type"], &holes[0]["known_up_to"]), (&"pat-000011".into(), &"CarePlan".into(), &Value::Null));
        assert!(holes[0]["why"].as_str().unwrap().contains("break the glass"), "{holes}");
        let check = gateway.run(&["ehr", "check", "north"]);
        assert!(check.contains("not tried: CarePlan?patient=…, for each patient of the roster"), "{check}");
    }

    async fn a_crawl_that_is_killed_again_and_again_reads_everyone_and_nobody_is_lost(db) {
        let mut random = random("a_crawl_that_is_killed");
        let ehr = ehr().await;
        let gateway = Installation::new(db);
        add(&gateway, &ehr);
        let done = || gateway.db.lines("SELECT CAST(COALESCE(MAX(units_done), 0) AS TEXT) AS line FROM sync_run WHERE rtype = 'Patient'")[0].parse::<i64>().unwrap();
        let (mut cut, mut round) = (0, 0);
        while round < rounds(4) || (cut < 2 && round < rounds(20)) {
            round += 1;
            // Each answer is late, so that a kill finds it in the middle.
            ehr.plant(Fault::new(FaultKind::PageTimeout { millis: 40 }).on("GET", "/fhir/Patient/").times(u32::MAX));
            let (before, mut running) = (done(), gateway.start(&["sync", "run", "--type", "Patient"]));
            let until = Instant::now() + PATIENCE;
            // Two chunks further, or the end; then at some moment.
            while done() < before + 64 && !running.has_ended() && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(2));
            }
            std::thread::sleep(Duration::from_millis(rand::RngExt::random_range(&mut random, 0..120)));
            cut += u32::from(!running.has_ended());
            running.kill();
            ehr.clear_faults();
        }
        assert!(cut > 1, "{cut} kills found it running");
        let asked = |ehr: &Sandbox| ehr.request_log().iter().filter(|r| r.path.starts_with("/fhir/Patient/")).count();
        let (before, left) = (asked(&ehr), i64::from(PATIENTS) - done());
        gateway.run(&["sync", "run"]);
        // A new pass begins where the last was through; else the last one goes on.
        let read = i64::try_from(asked(&ehr) - before).unwrap();
        assert!(read == left || left == 0, "{left} were left, and {read} were read");
        for kind in ["Patient", "CarePlan"] {
            let there: BTreeSet<String> = ehr.resources(kind).iter().map(|r| r["id"].as_str().unwrap().to_owned()).collect();
            assert_eq!(stored(&gateway, kind), there, "{kind}");
        }
        assert_eq!(json(&gateway, &["sync", "holes", "north"]), serde_json::json!([]));
        assert_eq!(gateway.db.lines("SELECT rtype AS line FROM sync_run WHERE state = 'running'"), Vec::<String>::new());
    }
}
