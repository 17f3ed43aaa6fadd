//! Exports of an EHR that others wrote: what the store has at the end is what the EHR has, by version; and an EHR that accepts an export and
//! refuses it when asked is read by search.

use serde_json::{Value, json};

use crate::support::{Database, Installation, Sekmet, on_both};

const TYPES: [&str; 3] = ["Patient", "Appointment", "CarePlan"];

struct World<'a> {
    db: &'a Database,
    ehr: Sekmet,
    gateway: Installation,
}

impl<'a> World<'a> {
    /// All types are read by exports of all patients. `scopes` takes the place of those that each type needs.
    fn new(db: &'a Database, scopes: &[&str]) -> Option<Self> {
        let gateway = Installation::new(db, "");
        let ehr = Sekmet::start(&gateway.run(&["keys", "jwks", "--alg", "ES384"]).ok().json())?;
        ehr.seed(25);
        ehr.open_schedule(3);
        let base = ehr.base_url();
        let mut add = vec!["ehr", "add", "ward", "--url", &base, "--client-id", "gateway", "--key-alg", "ES384", "--bulk-level", "patient"];
        for kind in ["Patient=bulk", "Appointment=bulk", "CarePlan=bulk"] {
            add.extend(["--strategy", kind]);
        }
        scopes.iter().for_each(|scope| add.extend(["--scope", scope]));
        gateway.run(&add).ok();
        Some(Self { db, ehr, gateway })
    }

    fn sync(&self) -> Vec<Value> {
        let ran = self.gateway.run(&["sync", "run", "--json"]).ok().json();
        ran["runs"].as_array().unwrap().iter().map(|r| r["run"].clone()).collect()
    }

    /// `id version` of each resource here and there.
    #[track_caller]
    fn assert_same(&self) {
        for kind in TYPES {
            let text = format!("SELECT fhir_id || ' ' || version AS line FROM resource WHERE rtype = '{kind}' AND gone_at IS NULL");
            let mut here = self.db.lines(&text);
            let one = |r: &Value| format!("{} {}", r["id"].as_str().unwrap(), r["meta"]["versionId"].as_str().unwrap());
            let mut there: Vec<String> = self.ehr.search(kind, "_count=500").iter().map(one).collect();
            here.sort();
            there.sort();
            assert_eq!(here, there, "{kind}");
            assert!(!there.is_empty(), "{kind}: nothing to compare");
        }
    }
}

on_both! {
    fn the_store_is_the_ehr_by_version_after_exports(db) {
        let Some(w) = World::new(&db, &["system/*.cruds"]) else { return };
        let patients = w.ehr.patients();
        let booked: Vec<String> = patients.iter().take(4).map(|p| w.ehr.book(p)).collect();
        w.ehr.create(&json!({
            "resourceType": "CarePlan", "status": "active", "intent": "plan", "subject": { "reference": format!("Patient/{}", patients[0]) },
        }));
        let deep = w.gateway.json(&["ehr", "check", "ward", "--deep"]);
        let export = deep["steps"].as_array().unwrap().iter().find(|s| s["name"] == "export").unwrap().clone();
        assert!(export["verdict"] == "ok" && export["says"].as_str().unwrap().contains("took an export"), "{export}");
        let first = w.sync();
        assert!(first.iter().all(|r| r["state"] == "done" && r["strategy"] == "bulk" && r["stored"] == r["found"]), "{first:?}");
        w.assert_same();
        // What its workflows change is what the next export holds, and what was promised to be in the one before for five minutes.
        w.ehr.cancel(&booked[0]);
        w.ehr.book(&patients[5]);
        let second = w.sync();
        assert!(second.iter().all(|r| r["state"] == "done"), "{second:?}");
        let found: i64 = second.iter().map(|r| r["found"].as_i64().unwrap()).sum();
        let stored: i64 = second.iter().map(|r| r["stored"].as_i64().unwrap()).sum();
        assert!(stored >= 2, "{second:?}");
        let before: i64 = first.iter().map(|r| r["found"].as_i64().unwrap()).sum();
        assert!(stored <= 4 && found <= before + stored, "{second:?}");
        w.assert_same();
        assert_eq!(w.db.lines("SELECT status_url AS line FROM export_job"), Vec::<String>::new(), "no job is left over");
    }

    fn an_export_that_is_accepted_and_then_refused_is_made_up_for_by_search(db) {
        let Some(w) = World::new(&db, &[]) else { return };
        let patients = w.ehr.patients();
        w.ehr.book(&patients[0]);
        w.ehr.create(&json!({
            "resourceType": "CarePlan", "status": "active", "intent": "plan", "subject": { "reference": format!("Patient/{}", patients[0]) },
        }));
        let runs = w.sync();
        for r in &runs {
            assert!(r["state"] == "done" && r["strategy"] != "bulk", "{r}");
            assert!(r["notes"].to_string().contains("accepts the export and then refuses it (HTTP status 403"), "{r}");
        }
        w.assert_same();
        let status = w.gateway.run(&["sync", "status"]).ok().stdout;
        assert!(status.contains("read by search instead"), "{status}");
    }
}
