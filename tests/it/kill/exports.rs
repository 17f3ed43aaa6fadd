//! The gateway is killed while the files of an export are fetched and stored: the next run goes on with the same job, the end is that of a run
//! that nobody killed, and the EHR is told to delete the job.

use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::Clock as _;
use rand::RngExt as _;
use sandbox::{Config, Fault, FaultKind, Population, Sandbox};

use super::account::Account;
use super::world::{Installation, clock, random, rounds};
use crate::support::{Backend, Database, on_both};

const PATIENTS: u32 = 1_100;
const PATIENCE: Duration = Duration::from_secs(120);

struct World {
    ehr: Sandbox,
    gateway: Installation,
}

impl World {
    /// An open EHR whose types are all read by exports of several files each.
    async fn new(db: Database) -> Self {
        let clock = clock();
        let ehr = sandbox::start(Config { open: true, ..Config::new(Arc::new(move || clock.now().micros())) }).await.unwrap();
        let people = Population { patients: PATIENTS, seed: 7, as_of_micros: clock.now().micros(), zone: chrono_tz::America::New_York };
        ehr.load(people.resources()).unwrap();
        let gateway = Installation::new(db);
        gateway.set_clock(clock);
        let base = ehr.base_url();
        let mut add = vec!["ehr", "add", "north", "--url", &base, "--bulk-level", "patient"];
        for kind in ["Patient=bulk", "Appointment=bulk", "CarePlan=bulk"] {
            add.extend(["--strategy", kind]);
        }
        gateway.run(&add);
        Self { ehr, gateway }
    }

    fn asked(&self, method: &str, path: &str) -> usize {
        self.ehr.request_log().iter().filter(|r| r.method == method && r.path.starts_with(path)).count()
    }

    fn lines(&self, sql: &str) -> Vec<String> {
        let mut all = self.gateway.db.lines(sql);
        all.sort();
        all
    }

    /// How many resources are stored.
    fn stored(&self) -> usize {
        self.gateway.db.lines("SELECT '' || count(*) AS line FROM resource")[0].parse().unwrap()
    }

    /// One undisturbed sync, all of it by the export.
    #[track_caller]
    fn sync(&self) -> serde_json::Value {
        let told: serde_json::Value = serde_json::from_str(&self.gateway.run(&["sync", "run", "--json"])).unwrap();
        let runs = told["runs"].as_array().unwrap();
        assert!(runs.len() == 3 && runs.iter().all(|r| r["run"]["state"] == "done" && r["run"]["strategy"] == "bulk"), "{told}");
        told
    }
}

/// The same resources, facts and marks; no job is left anywhere; and the store has what the EHR has, by version.
#[track_caller]
fn assert_same(killed: &World, reference: &World) {
    Account::of(&killed.gateway.db).assert_same_as(&Account::of(&reference.gateway.db));
    let facts = "SELECT p.fhir_id || ' ' || f.rtype || '/' || f.fhir_id AS line FROM fact f JOIN patient p ON p.pk = f.patient";
    assert_eq!(killed.lines(facts), reference.lines(facts));
    for world in [killed, reference] {
        assert_eq!(world.lines("SELECT status_url AS line FROM export_job"), Vec::<String>::new());
        assert_eq!(world.ehr.open_exports(), 0, "a job was left at the EHR");
        assert_eq!(world.lines("SELECT rtype AS line FROM sync_run WHERE state = 'running'"), Vec::<String>::new());
        assert_eq!(
            world.lines("SELECT fhir_id AS line FROM missing"),
            Vec::<String>::new(),
            "what was shown before a kill counts as shown"
        );
        assert_eq!(world.lines("SELECT reason AS line FROM quarantine"), Vec::<String>::new());
        for kind in ["Patient", "Appointment", "CarePlan"] {
            let ours =
                world.lines(&format!("SELECT fhir_id || ' ' || version AS line FROM resource WHERE rtype = '{kind}' AND gone_at IS NULL"));
            let told = |r: serde_json::Value| format!("{} {}", r["id"].as_str().unwrap(), r["meta"]["versionId"].as_str().unwrap());
            let mut theirs: Vec<String> = world.ehr.resources(kind).into_iter().map(told).collect();
            theirs.sort();
            assert!(ours == theirs, "{kind}: {} in the EHR, {} stored", theirs.len(), ours.len());
        }
    }
}

on_both! {
    async fn an_export_that_is_killed_while_its_files_are_read_ends_as_one_that_was_not(db) {
        let mut random = random("an_export_that_is_killed");
        let (killed, reference) = (World::new(db).await, World::new(Database::fresh(Backend::Sqlite).unwrap()).await);
        reference.sync();
        let all = reference.stored();
        let (mut cut, mut kills, mut between) = (0, 0, 0);
        // Until it is read to its end: kills while a file is on its way, and while one is stored.
        while killed.gateway.db.lines("SELECT rtype AS line FROM sync_run WHERE state = 'done'").len() < 3 && kills < rounds(12) {
            kills += 1;
            let (before, asked) = (killed.stored(), killed.asked("GET", "/fhir/export-files"));
            killed.ehr.plant(Fault::new(FaultKind::PageTimeout { millis: 150 }).on("GET", "/fhir/export-files").times(1_000));
            let mut running = killed.gateway.start(&["sync", "run"]);
            let until = Instant::now() + PATIENCE;
            let on_its_way = kills % 2 == 0;
            let come = || if on_its_way { killed.asked("GET", "/fhir/export-files") > asked + 1 } else { killed.stored() > before };
            while !come() && !running.has_ended() && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(2));
            }
            std::thread::sleep(Duration::from_millis(random.random_range(0..150)));
            if !running.has_ended() {
                cut += 1;
                running.kill();
                let stored = killed.stored();
                between += u32::from(stored > before && stored < all);
            }
            killed.ehr.clear_faults();
        }
        let kicked = killed.asked("GET", "/fhir/Patient/$export");
        killed.sync();
        eprintln!("{cut} kills found it running, {between} of them with some of the files stored; the EHR was asked {kicked} times for an export");
        assert!(cut > 2 && between > 0, "too few kills found it reading");
        assert_eq!(kicked, 1, "one job, whoever dies");
        assert_same(&killed, &reference);

        // What changes is read by the next one, killed or not.
        for world in [&killed, &reference] {
            for n in [3, 500, 1_000] {
                world.ehr.edit("Patient", &format!("pat-{n:06}"), |p| p["active"] = serde_json::json!(false)).unwrap();
            }
        }
        killed.ehr.plant(Fault::new(FaultKind::PageTimeout { millis: 300 }).on("GET", "/fhir/export-files").times(1_000));
        let asked = killed.asked("GET", "/fhir/export-files");
        let (mut running, until) = (killed.gateway.start(&["sync", "run"]), Instant::now() + PATIENCE);
        while killed.asked("GET", "/fhir/export-files") == asked && !running.has_ended() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(2));
        }
        running.kill();
        killed.ehr.clear_faults();
        killed.sync();
        reference.sync();
        assert_same(&killed, &reference);
    }
}
