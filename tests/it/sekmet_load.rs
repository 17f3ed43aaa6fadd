//! A real EHR that is worked in while it is read: its own scenario books, moves, accepts, checks in and cancels all the time, and at the end the
//! store has what the EHR has, version by version, by searches as by exports.

use serde_json::Value;

use crate::support::{Database, Installation, Sekmet, on_both};

/// Which an EHR of the test is read by.
const WAYS: [(&str, &str); 2] = [("ward", "cursor"), ("nightly", "bulk")];
const TYPES: [&str; 2] = ["Patient", "Appointment"];
/// Journeys of the scenario: each registers a patient and has two appointments with about eight changes.
const JOURNEYS: u32 = 14;

/// `id version` of each resource that an EHR of ours has, and that the EHR itself has.
#[track_caller]
fn assert_same(db: &Database, ehr: &Sekmet, name: &str) {
    for kind in TYPES {
        let sql =
            format!("SELECT fhir_id || ' ' || version AS line FROM resource WHERE ehr = '{name}' AND rtype = '{kind}' AND gone_at IS NULL");
        let mut here = db.lines(&sql);
        let one = |r: &Value| format!("{} {}", r["id"].as_str().unwrap(), r["meta"]["versionId"].as_str().unwrap());
        let mut there: Vec<String> = ehr.search(kind, "_count=200").iter().map(one).collect();
        here.sort();
        there.sort();
        assert!(there.len() > 20, "{name} {kind}: {} are nothing to compare", there.len());
        assert_eq!(here, there, "{name} {kind}");
    }
}

on_both! {
    fn the_store_is_the_ehr_by_version_while_others_work_in_it(db) {
        let gateway = Installation::new(&db, "");
        let Some(ehr) = Sekmet::start(&gateway.run(&["keys", "jwks", "--alg", "ES384"]).ok().json()) else { return };
        ehr.seed(25);
        ehr.open_schedule(3);
        for (name, way) in WAYS {
            let base = ehr.base_url();
            let mut add = vec!["ehr", "add", name, "--url", &base, "--client-id", "gateway", "--key-alg", "ES384", "--bulk-level", "patient"];
            let strategies = ["Patient", "Appointment"].map(|kind| format!("{kind}={way}"));
            strategies.iter().for_each(|s| add.extend(["--strategy", s]));
            // The kick-off is answered well whatever the scopes, and the status only where they are all of them.
            gateway.run(&[&add[..], &["--strategy", "CarePlan=off", "--scope", "system/*.cruds"]].concat()).ok();
        }
        // One run; what it found anew.
        let sync = |name: &str| -> i64 {
            let ran = gateway.json(&["sync", "run", "--ehr", name]);
            let runs = ran["runs"].as_array().unwrap();
            let read: Vec<&Value> = runs.iter().map(|r| &r["run"]).filter(|r| r["state"] != "off").collect();
            assert!(read.len() == 2 && read.iter().all(|r| r["state"] == "done" && r["quarantined"] == 0), "{name}: {ran}");
            let way = WAYS.iter().find(|(n, _)| *n == name).unwrap().1;
            assert!(read.iter().all(|r| r["strategy"] == way), "{name}: {ran}");
            read.iter().map(|r| r["stored"].as_i64().unwrap()).sum()
        };
        WAYS.iter().for_each(|(name, _)| assert!(sync(name) >= 25));
        let mut load = ehr.load("appointment_book_cancel", 2, JOURNEYS);
        let mut under_way = [0, 0];
        while !load.has_ended() {
            for (n, (name, _)) in WAYS.iter().enumerate() {
                under_way[n] += u32::from(sync(name) > 0);
            }
        }
        let said = load.wait().ok().stdout;
        eprintln!("{under_way:?} runs found something while it was worked in: {}", said.lines().filter(|l| l.contains("journeys")).collect::<String>());
        assert!(said.contains("failed journeys 0.0%"), "{said}");
        assert!(under_way.iter().all(|runs| *runs > 0), "the load was over before anything was read: a test of nothing");
        // Two patients that the load does not touch are merged meanwhile.
        let ids = ehr.patients();
        ehr.merge(&ids[0], &ids[1]);
        for (name, _) in WAYS {
            sync(name);
            assert_same(&db, &ehr, name);
            let person = format!("SELECT a.state AS line FROM patient a JOIN patient b ON b.person = a.person WHERE a.ehr = '{name}' AND b.ehr = '{name}' AND a.fhir_id = '{}' AND b.fhir_id = '{}'", ids[0], ids[1]);
            assert_eq!(db.lines(&person), ["merged"], "{name}");
            assert_eq!(sync(name), 0, "{name}: and nothing is left to read");
        }
        assert_eq!(db.lines("SELECT reason AS line FROM quarantine"), Vec::<String>::new());
        assert_eq!(db.lines("SELECT status_url AS line FROM export_job"), Vec::<String>::new());
    }
}
