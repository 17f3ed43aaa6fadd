//! The binary as its users run it: exit codes, what is data and what is not, and the demo, the whole way.

use fhir_engage::store::Store;
use serde_json::{Value, json};

use crate::support::{Backend, Database, TempDir, on_both, run};

#[test]
fn wrong_use_ends_with_2_and_says_nothing_on_stdout() {
    for args in [&["no-such-command"][..], &["migrate", "--no-such-option"], &["ehr", "add"], &["import"]] {
        let ended = run(args);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{args:?}: {}", ended.stderr);
        assert!(!ended.stderr.is_empty(), "{args:?}");
    }
}

#[test]
fn a_database_that_cannot_be_used_is_a_problem_in_one_sentence() {
    let ended = run(&["migrate", "--database", "postgres://gateway:hunter2@127.0.0.1:1/engage"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""), "{}", ended.stderr);
    assert!(!ended.stderr.contains("hunter2") && !ended.stderr.contains("panicked"), "{}", ended.stderr);
}

#[test]
fn migrate_tells_what_is_missing_runs_it_and_is_done() {
    for backend in [Backend::Sqlite, Backend::Postgres] {
        let Some(db) = Database::empty(backend) else { continue };
        let migrate = |more: &[&str]| run(&[&["migrate", "--json", "--database", &db.argument()], more].concat());
        let missing = migrate(&["--dry-run"]);
        assert_eq!(missing.code, Some(1), "{}", missing.stderr);
        let names = missing.json()["missing"].clone();
        assert!(names.as_array().is_some_and(|n| n.len() >= 6), "{names}");
        assert_eq!(migrate(&[]).ok().json()["run"], names);
        assert_eq!(migrate(&[]).ok().json()["run"], json!([]));
        assert_eq!(migrate(&["--dry-run"]).ok().json()["missing"], json!([]));
        assert!(Store::missing_migrations(&db.location()).unwrap().is_empty());
    }
}

on_both! {
    fn the_demo_goes_the_whole_way_and_a_second_run_adds_nothing(db) {
        let folder = TempDir::new();
        let data = folder.path().to_str().unwrap();
        // A fixed instant: ten in the morning, so that quiet hours do not silence it.
        let demo = || -> Value {
            let database = db.argument();
            run(&["demo", "--once", "--json", "--patients", "60", "--as-of", "2026-11-23T10:00:00-05:00", "--data", data, "--database", &database]).ok().json()
        };
        let first = demo();
        let in_ehr = first["communications_in_ehr"].as_u64().unwrap();
        assert!(in_ehr > 0, "{first}");
        assert_eq!(first["write_backs"], json!({ "owed": 0, "written": in_ehr }), "{first}");
        assert_eq!(first["duplicates_in_ehr"], 0);
        assert_eq!((&first["synced"]["Patient"], &first["quarantined"]), (&json!(60), &json!(0)), "{first}");
        assert_eq!(demo(), first, "the second run reads the same and adds nothing");
    }
}
