//! The gateway as a process: what the commands say, and a node that dies in the middle of a run.

use std::time::{Duration, Instant};

use domain::{Clock as _, Timestamp};
use fhir_engage::app::SystemClock;
use sandbox::{Fault, FaultKind, Population, Sandbox};
use serde_json::Value;

use crate::kill::Installation;
use crate::support::on_both;

const PATIENTS: u32 = 200;
const PATIENCE: Duration = Duration::from_secs(60);

/// The shortest lease there is.
const CONFIGURATION: &str = "[worker]\nlease = \"6s\"\ntick = \"1s\"\n[alerts]\nlook_every = \"1s\"\n";

fn now() -> SystemClock {
    SystemClock::showing(Timestamp::parse("2026-11-23T18:05:00Z").unwrap())
}

async fn ehr() -> Sandbox {
    let clock = now();
    let people = Population { patients: PATIENTS, seed: 7, as_of_micros: clock.now().micros(), zone: chrono_tz::America::New_York };
    let config = sandbox::Config {
        open: true,
        page_size_default: 10,
        page_size_max: 10,
        ..sandbox::Config::new(std::sync::Arc::new(move || clock.now().micros()))
    };
    let ehr = sandbox::start(config).await.unwrap();
    ehr.load(people.resources()).unwrap();
    ehr
}

fn add(gateway: &Installation, ehr: &Sandbox) {
    gateway.set_clock(now());
    gateway.run(&["ehr", "add", "north", "--url", &ehr.base_url()]);
}

fn json(gateway: &Installation, args: &[&str]) -> Value {
    gateway.start(&[args, &["--json"]].concat()).wait().json()
}

/// Waits for a line of a query.
fn wait_for(gateway: &Installation, what: &str, sql: &str) -> String {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(line) = gateway.db.lines(sql).pop() {
            return line;
        }
        assert!(Instant::now() < until, "{what} did not come");
        std::thread::sleep(Duration::from_millis(3));
    }
}

on_both! {
    async fn a_node_that_dies_is_followed_by_another_within_the_lease(db) {
        let ehr = ehr().await;
        let gateway = Installation::with(db, CONFIGURATION);
        add(&gateway, &ehr);
        ehr.plant(Fault::new(FaultKind::PageTimeout { millis: 60 }).on("GET", "/fhir/Patient").times(u32::MAX));
        let mut first = gateway.start(&["work"]);
        wait_for(&gateway, "a page", "SELECT rtype AS line FROM sync_run WHERE rtype = 'Patient' AND pages >= 2");
        first.kill();
        // As a node of another machine, of which nobody can tell here that it is dead.
        gateway.db.execute("UPDATE lease SET owner = 'elsewhere.boot.1.0/1/1' WHERE expires_at > 0");
        let of = |name: &str| gateway.db.lines(&format!("SELECT CAST(expires_at AS TEXT) AS line FROM lease WHERE name = '{name}'"));
        let (claim, lease): (i64, i64) = (of("turn/north/Patient")[0].parse().unwrap(), of("sync/north/Patient")[0].parse().unwrap());
        ehr.clear_faults();
        let second = gateway.start(&["work"]);
        let began = wait_for(
            &gateway,
            "the end of the second node's run",
            "SELECT CAST(started_at AS TEXT) AS line FROM sync_run WHERE rtype = 'Patient' AND state = 'done'",
        );
        let (began, free) = (began.parse::<i64>().unwrap(), claim.max(lease));
        assert!(began >= free, "it began {} ms before the lease of the first ran out", (free - began) / 1000);
        assert!(began - free < 20_000_000, "it began {} s after that", (began - free) / 1_000_000);
        wait_for(&gateway, "the others", "SELECT rtype AS line FROM sync_run WHERE rtype = 'CarePlan' AND state = 'done'");
        drop(second);
        let stored = gateway.db.lines("SELECT fhir_id AS line FROM resource WHERE rtype = 'Patient'").len();
        assert_eq!(stored, usize::try_from(PATIENTS).unwrap());
        let states = gateway.db.lines("SELECT state AS line FROM sync_run WHERE rtype = 'Patient' ORDER BY id");
        assert_eq!(states, ["interrupted", "done"]);
    }

    async fn commands_set_show_pause_and_ask(db) {
        let ehr = ehr().await;
        let gateway = Installation::with(db, CONFIGURATION);
        add(&gateway, &ehr);
        let listed = json(&gateway, &["sync", "schedule", "list"]);
        assert_eq!((&listed[0]["schedule"], &listed[0]["due"], &listed[0]["why"]), (&"every 15 min".into(), &true.into(), &"it was never read".into()));
        let dry = gateway.run(&["sync", "schedule", "set", "north", "--cron", "30 2 * * mon-fri", "--time-zone", "America/New_York", "--dry-run"]);
        assert!(dry.contains("2026-11-24T07:30:00Z, 2026-11-25T07:30:00Z"), "{dry}");
        assert!(json(&gateway, &["sync", "schedule", "list"])[0]["set_by"].is_null(), "a dry run sets nothing");
        // It is 18:05 UTC, five past one in New York.
        gateway.run(&["sync", "schedule", "set", "north", "--every", "1h", "--not-during", "mon-fri 07:00-19:00", "--time-zone", "America/New_York", "--by", "ada"]);
        gateway.run(&["sync", "schedule", "set", "north", "--type", "Appointment", "--every", "15m"]);
        let listed = json(&gateway, &["sync", "schedule", "list"]);
        let of = |rtype: &str| listed.as_array().unwrap().iter().find(|r| r["type"] == rtype).unwrap().clone();
        assert_eq!((&of("Patient")["set_for"], &of("Appointment")["set_for"], &of("Patient")["set_by"]), (&"ehr".into(), &"type".into(), &"ada".into()));
        assert_eq!((&of("Patient")["next"], &of("Appointment")["due"]), (&"2026-11-24T00:00:00Z".into(), &true.into()));
        // Closed hours hold for a run by hand too, unless it is said that they do not.
        let refused = gateway.start(&["sync", "run", "--type", "Patient"]).wait();
        assert!(refused.code == Some(1) && refused.stderr.contains("closed until 2026-11-24T00:00:00Z") && refused.stderr.contains("--anyway"), "{refused:?}");
        assert!(ehr.request_log().is_empty());
        gateway.run(&["sync", "run", "--type", "Patient", "--anyway"]);
        let status = json(&gateway, &["sync", "status"]);
        assert_eq!(status[0]["type"], "Patient");
        assert_eq!((&status[0]["state"], &status[0]["found"], &status[0]["next"]), (&"done".into(), &PATIENTS.into(), &"2026-11-24T00:00:00Z".into()));
        assert_eq!(status.as_array().unwrap().iter().filter(|r| r["state"] == "never").count(), 2, "{status}");
        gateway.run(&["sync", "pause", "north", "--why", "downtime", "--by", "ada"]);
        let paused = gateway.run(&["sync", "status"]);
        assert!(paused.contains("north Patient: paused by ada since") && paused.contains("downtime"), "{paused}");
        assert_eq!(json(&gateway, &["sync", "schedule", "list"])[1]["paused"]["why"], "downtime");
        gateway.run(&["sync", "resume", "north", "--by", "bob"]);
        assert_eq!(gateway.start(&["sync", "resume", "north"]).wait().code, Some(1), "nothing is paused any more");
        gateway.run(&["sync", "schedule", "clear", "north"]);
        gateway.run(&["sync", "schedule", "clear", "north", "--type", "Appointment"]);
        let asked = json(&gateway, &["sync", "run", "--ehr", "north", "--type", "Patient", "--on-server"]);
        assert!(asked[0]["due"] == true && asked[0]["why"].as_str().unwrap().ends_with("asked for it"), "{asked}");
        let mut server = gateway.start(&["work"]);
        wait_for(&gateway, "the run that was asked for", "SELECT rtype AS line FROM sync_run WHERE rtype = 'Patient' AND state = 'done' AND id > 1");
        server.kill();
        for (args, code) in [
            (&["sync", "schedule", "set", "north", "--cron", "61 * * * *"][..], 2),
            (&["sync", "schedule", "set", "north", "--time-zone", "Mars"], 2),
            (&["sync", "schedule", "set", "nobody", "--every", "1h"], 2),
            (&["sync", "schedule", "set", "north", "--every", "soon"], 2),
            (&["sync", "schedule", "clear", "north"], 1),
            (&["sync", "pause", "nobody", "--why", "x"], 2),
            (&["sync", "status", "nobody"], 2),
        ] {
            assert_eq!(gateway.start(args).wait().code, Some(code), "{args:?}");
        }
    }

    async fn status_tells_a_run_that_goes_on_and_one_whose_process_is_gone(db) {
        let ehr = ehr().await;
        let gateway = Installation::with(db, CONFIGURATION);
        add(&gateway, &ehr);
        ehr.plant(Fault::new(FaultKind::PageTimeout { millis: 60 }).on("GET", "/fhir/Patient").times(u32::MAX));
        let mut run = gateway.start(&["sync", "run", "--type", "Patient"]);
        wait_for(&gateway, "pages", "SELECT rtype AS line FROM sync_run WHERE rtype = 'Patient' AND pages >= 4");
        let live = json(&gateway, &["sync", "status", "north"])[0].clone();
        assert_eq!(live["state"], "running", "{live}");
        assert!(live["pages"].as_i64().unwrap() >= 4 && live["per_second"].as_f64().unwrap() > 0.0, "{live}");
        assert_eq!((&live["estimated_by"], &live["expected"]), (&"the EHR's total".into(), &PATIENTS.into()), "{live}");
        assert!((0..60).contains(&live["seconds_left"].as_i64().unwrap()), "{live}");
        run.kill();
        let gone = json(&gateway, &["sync", "status"])[0].clone();
        assert_eq!((&gone["state"], &gone["seconds_left"]), (&"interrupted".into(), &Value::Null));
        // What cannot be reached is told in words, with what to do, though it makes no run.
        gateway.run(&["ehr", "add", "south", "--url", "http://127.0.0.1:9/fhir"]);
        assert_eq!(gateway.start(&["sync", "run", "--ehr", "south"]).wait().code, Some(1));
        let told = gateway.start(&["sync", "status"]).wait();
        assert_eq!(told.code, Some(1));
        assert!(told.stdout.contains("south Patient: ") && told.stdout.contains("fhir-engage ehr check south"), "{}", told.stdout);
        gateway.db.execute("UPDATE ehr SET profile = '{\"base_url\":17}' WHERE id = 'south'");
        for args in [&["sync", "status"][..], &["ehr", "list"], &["sync", "schedule", "list"], &["sync", "run"]] {
            let told = gateway.start(args).wait();
            let said = format!("{}{}", told.stdout, told.stderr);
            assert!(told.code == Some(1) && said.contains("the profile of south cannot be used"), "{args:?}: {said}");
        }
        assert_eq!(gateway.db.lines("SELECT state AS line FROM sync_run WHERE ehr = 'north' ORDER BY id DESC")[0], "done", "the other one was read");
    }
}
