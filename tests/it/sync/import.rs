//! Importing files: accounts, repeats, order, what is read back, leases.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use domain::clock::ManualClock;
use domain::model::ResourceType;
use fhir_engage::store::{Lane, leases, pending, people, quarantine};
use fhir_engage::sync::import::{self, ImportError, Progress};
use fhir_engage::sync::lease_name;
use serde_json::Value;

use super::setup::{HOLDER, as_of, at, bodies, ehr, import, latest_run, register, try_import, values, write};
use crate::support::{TempDir, on_both};

fn patient(id: &str, family: &str) -> String {
    format!(r#"{{"resourceType":"Patient","id":"{id}","name":[{{"family":"{family}"}}]}}"#)
}

fn patient_at(id: &str, family: &str, updated: &str) -> String {
    format!(r#"{{"resourceType":"Patient","id":"{id}","meta":{{"lastUpdated":"{updated}"}},"name":[{{"family":"{family}"}}]}}"#)
}

fn appointment(id: &str, patient: &str) -> String {
    format!(
        r#"{{"resourceType":"Appointment","id":"{id}","status":"booked","start":"2027-02-01T10:00:00Z","participant":[{{"actor":{{"reference":"Patient/{patient}"}},"status":"accepted"}}]}}"#
    )
}

fn care_plan(id: &str, patient: &str) -> String {
    format!(r#"{{"resourceType":"CarePlan","id":"{id}","status":"active","intent":"plan","subject":{{"reference":"Patient/{patient}"}}}}"#)
}

on_both! {
    fn mixed_types_in_one_file_are_counted_and_a_second_import_stores_nothing(db) {
        let (store, folder) = (db.store(), TempDir::new());
        register(&store);
        let lines = [
            patient("1", "Lovelace"),
            String::new(),
            appointment("a", "1"),
            r#"{"resourceType":"Observation","id":"o"}"#.to_owned(),
            "  ".to_owned(),
            care_plan("c", "1"),
            r#"{"resourceType":"Slot","id":"s"}"#.to_owned(),
            r#"{"resourceType":"Slot","id":"t"}"#.to_owned(),
        ];
        let file = write(&folder.join("all.ndjson"), lines.join("\n").as_bytes());
        let first = import(&store, std::slice::from_ref(&file));
        assert_eq!((first.files, first.lines, first.stored, first.quarantined), (1, 6, 3, 0));
        assert_eq!(first.ignored, BTreeMap::from([("Observation".to_owned(), 1), ("Slot".to_owned(), 2)]));
        assert_eq!(store.read_blocking(people::count).unwrap(), 1);
        let waiting = store.read_blocking(pending::counts).unwrap();
        let second = import(&store, &[file]);
        assert_eq!((second.lines, second.stored, second.unchanged), (6, 0, 3));
        assert_eq!(store.read_blocking(pending::counts).unwrap(), waiting, "what did not change wakes nobody");
        for kind in ResourceType::CORE {
            let run = latest_run(&store, kind).unwrap();
            assert_eq!((run.strategy.as_str(), run.state.as_str(), run.found, run.unchanged, run.stored), ("file", "done", 1, 1, 0));
            assert!(as_of(&store, kind).is_some());
        }
    }

    fn a_type_of_which_no_line_came_stays_as_it_was(db) {
        let (store, folder) = (db.store(), TempDir::new());
        register(&store);
        import(&store, &[write(&folder.join("p.ndjson"), patient("1", "Lovelace").as_bytes())]);
        assert!(as_of(&store, ResourceType::Patient).is_some());
        assert_eq!(as_of(&store, ResourceType::Appointment), None);
        assert!(latest_run(&store, ResourceType::CarePlan).is_none());
    }

    fn the_later_of_two_lines_wins_in_one_chunk_and_over_chunks(db) {
        let (store, folder) = (db.store(), TempDir::new());
        register(&store);
        // More than a chunk between the two lines of `twice`.
        let mut lines = vec![patient("twice", "Old"), patient("near", "Old"), patient("near", "New")];
        lines.extend((0..6_000).map(|n| patient(&format!("p{n}"), "Other")));
        lines.push(patient("twice", "New"));
        let report = import(&store, &[write(&folder.join("p.ndjson.gz"), lines.join("\n").as_bytes())]);
        assert_eq!((report.lines, report.stored, report.superseded), (6_004, 6_002, 2));
        let run = latest_run(&store, ResourceType::Patient).unwrap();
        assert_eq!((run.found, run.stored, run.superseded), (6_004, 6_002, 2));
        for id in ["near", "twice"] {
            let body = &bodies(&store, ResourceType::Patient).into_iter().find(|(found, _)| found == id).unwrap().1;
            assert_eq!(body, patient(id, "New").as_bytes());
        }
    }

    fn a_newer_version_wins_whatever_the_order(db) {
        let (store, folder) = (db.store(), TempDir::new());
        register(&store);
        let (old, new) = (patient_at("1", "Old", "2026-01-01T00:00:00Z"), patient_at("1", "New", "2026-06-01T00:00:00+02:00"));
        let both = write(&folder.join("both.ndjson"), format!("{new}\n{old}").as_bytes());
        let report = import(&store, &[both]);
        assert_eq!((report.stored, report.superseded), (1, 1));
        let report = import(&store, &[write(&folder.join("old.ndjson"), old.as_bytes())]);
        assert_eq!((report.stored, report.superseded), (0, 1));
        assert_eq!(bodies(&store, ResourceType::Patient), [("1".to_owned(), new.into_bytes())]);
    }

    fn a_file_that_ends_as_the_store_is_leaves_it_so(db) {
        // The stored version, then another, then the stored one again: the line that looks unchanged must not be dropped.
        let (store, folder) = (db.store(), TempDir::new());
        register(&store);
        import(&store, &[write(&folder.join("1.ndjson"), patient("1", "A").as_bytes())]);
        let mut lines = vec![patient("1", "B")];
        lines.extend((0..1_500).map(|n| patient(&format!("p{n}"), "Other")));
        lines.push(patient("1", "A"));
        import(&store, &[write(&folder.join("2.ndjson"), lines.join("\n").as_bytes())]);
        let body = &bodies(&store, ResourceType::Patient).into_iter().find(|(id, _)| id == "1").unwrap().1;
        assert_eq!(body, patient("1", "A").as_bytes());
    }

    fn appointments_before_their_patients_come_to_the_same(db) {
        let (store, folder) = (db.store(), TempDir::new());
        register(&store);
        import(&store, &[write(&folder.join("a.ndjson"), [appointment("a", "1"), care_plan("c", "1")].join("\n").as_bytes())]);
        assert_eq!(db.lines("SELECT state AS line FROM patient"), ["stub"]);
        import(&store, &[write(&folder.join("p.ndjson"), patient("1", "Lovelace").as_bytes())]);
        assert_eq!(db.lines("SELECT state AS line FROM patient"), ["live"]);
        assert_eq!(store.read_blocking(people::count).unwrap(), 1);
    }

    fn a_good_version_releases_what_was_put_aside(db) {
        let (store, folder) = (db.store(), TempDir::new());
        register(&store);
        let bad = r#"{"resourceType":"Patient","id":"1","birthDate":1815}"#;
        import(&store, &[write(&folder.join("bad.ndjson"), bad.as_bytes())]);
        assert_eq!(store.read_blocking(quarantine::count).unwrap(), 1);
        import(&store, &[write(&folder.join("good.ndjson"), patient("1", "Lovelace").as_bytes())]);
        assert_eq!(store.read_blocking(quarantine::count).unwrap(), 0);
        // In one file the last word counts.
        let both = format!("{bad}\n{}", patient("1", "Lovelace"));
        import(&store, &[write(&folder.join("both.ndjson"), both.as_bytes())]);
        assert_eq!(store.read_blocking(quarantine::count).unwrap(), 0);
        let both = format!("{}\n{bad}", patient("1", "Byron"));
        import(&store, &[write(&folder.join("both.ndjson"), both.as_bytes())]);
        assert_eq!(store.read_blocking(quarantine::count).unwrap(), 1);
    }

    fn a_held_lease_stops_an_import_before_it_begins(db) {
        let (store, folder) = (db.store(), TempDir::new());
        register(&store);
        let file = write(&folder.join("p.ndjson"), patient("1", "Lovelace").as_bytes());
        let name = lease_name(&ehr(), ResourceType::CarePlan);
        let fence = store
            .write_blocking(Lane::Bulk, "test", |conn| leases::acquire(conn, &name, "another", at(0), HOLDER.term, |_| false))
            .unwrap()
            .unwrap();
        let refused = try_import(&store, std::slice::from_ref(&file)).unwrap_err();
        assert!(matches!(refused, ImportError::Held { kind: ResourceType::CarePlan, .. }), "{refused}");
        assert!(bodies(&store, ResourceType::Patient).is_empty());
        store.write_blocking(Lane::Bulk, "test", |conn| leases::release(conn, &fence)).unwrap();
        assert_eq!(import(&store, &[file]).stored, 1);
    }

    fn an_import_that_lost_its_lease_cannot_write(db) {
        let (store, folder) = (db.store(), TempDir::new());
        register(&store);
        let lines: Vec<String> = (0..20_000).map(|n| patient(&format!("p{n}"), "Other")).collect();
        let file = write(&folder.join("p.ndjson"), lines.join("\n").as_bytes());
        let taken = AtomicBool::new(false);
        let steal = |_: Progress| {
            if !taken.swap(true, Ordering::SeqCst) {
                let name = lease_name(&ehr(), ResourceType::Appointment);
                let rival = store.write_blocking(Lane::Bulk, "test", |conn| leases::acquire(conn, &name, "another", at(0), HOLDER.term, |_| true));
                assert!(rival.unwrap().is_some());
            }
        };
        let (north, paths) = (ehr(), [file]);
        let request = import::Request { ehr: &north, paths: &paths };
        let error = import::run(&store, &ManualClock::at(at(0)), HOLDER, request, &AtomicBool::new(false), &steal).unwrap_err();
        assert!(matches!(error, ImportError::Store(fhir_engage::store::StoreError::LeaseLost(_))), "{error:?}");
        assert!(as_of(&store, ResourceType::Patient).is_none(), "a run that lost its lease has not ended well");
        assert!(bodies(&store, ResourceType::Patient).len() < lines.len());
    }

    fn a_stopped_import_keeps_what_it_has_and_goes_on_later(db) {
        let (store, folder) = (db.store(), TempDir::new());
        register(&store);
        let lines: Vec<String> = (0..30_000).map(|n| patient(&format!("p{n}"), "Other")).collect();
        let paths = [write(&folder.join("p.ndjson"), lines.join("\n").as_bytes())];
        let (stop, ehr) = (AtomicBool::new(false), ehr());
        let told = Mutex::new(0);
        let halfway = |progress: Progress| {
            *told.lock().unwrap() = progress.lines;
            stop.store(true, Ordering::Relaxed);
        };
        let request = import::Request { ehr: &ehr, paths: &paths };
        let report = import::run(&store, &ManualClock::at(at(0)), HOLDER, request, &stop, &halfway).unwrap();
        assert!(report.interrupted && report.lines > 0 && report.lines < 30_000, "{report:?}");
        assert_eq!(report.lines, *told.lock().unwrap());
        assert_eq!(bodies(&store, ResourceType::Patient).len() as u64, report.stored);
        assert_eq!(latest_run(&store, ResourceType::Patient).unwrap().state, "interrupted");
        let rest = import(&store, &paths);
        assert_eq!((rest.unchanged, rest.stored), (report.stored, 30_000 - report.stored));
    }

    fn real_data_is_read_back_as_it_was_read_in(db) {
        let store = db.store();
        register(&store);
        for name in ["synthea-generated-sample", "sekmet-generated"] {
            let Some(folder) = shared_data(name) else { return };
            let first = import(&store, std::slice::from_ref(&folder));
            assert_eq!(first.quarantined, 0, "{:?}", first.problems);
            assert!(first.stored > 200);
            let second = import(&store, &[folder]);
            assert_eq!((second.stored, second.unchanged), (0, first.stored));
        }
        let mut expected: BTreeMap<(String, String), Value> = BTreeMap::new();
        for name in ["synthea-generated-sample", "sekmet-generated"] {
            let Some(folder) = shared_data(name) else { return };
            for file in std::fs::read_dir(folder).unwrap() {
                let mut text = String::new();
                flate2::read::GzDecoder::new(std::fs::File::open(file.unwrap().path()).unwrap()).read_to_string(&mut text).unwrap();
                for line in text.lines().filter(|l| !l.trim().is_empty()) {
                    let value: Value = serde_json::from_str(line).unwrap();
                    let key = (value["resourceType"].as_str().unwrap().to_owned(), value["id"].as_str().unwrap().to_owned());
                    expected.insert(key, value);
                }
            }
        }
        expected.retain(|(kind, _), _| ResourceType::parse(kind).is_some_and(ResourceType::is_core));
        let mut found = BTreeMap::new();
        for kind in ResourceType::CORE {
            found.extend(values(&store, kind).into_iter().map(|(id, value)| ((kind.as_str().to_owned(), id), value)));
        }
        assert_eq!(found.len(), expected.len());
        for (key, value) in &expected {
            assert!(found[key] == *value, "{key:?} was changed on its way");
        }
    }
}

/// A folder of the data that lies beside the project, where it is there.
fn shared_data(name: &str) -> Option<PathBuf> {
    let variable = std::env::var_os("TEST_SHARED_DATA").map(PathBuf::from);
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    let folder = variable.unwrap_or(beside).join(name);
    folder.is_dir().then_some(folder)
}
