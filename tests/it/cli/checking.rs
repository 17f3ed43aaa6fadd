//! `check` looks at each thing by itself: what is wrong with one hides nothing of another, and nothing is made or changed.

use std::path::Path;

use super::text;
use crate::support::{Backend, Database, Installation, TempDir, on_both, run};

/// The findings at that level, as `about: says`.
fn at(level: &str, checked: &serde_json::Value) -> Vec<String> {
    let all = checked["findings"].as_array().unwrap();
    let of = all.iter().filter(|f| f["level"] == level);
    of.map(|f| format!("{}: {}", f["about"].as_str().unwrap(), f["says"].as_str().unwrap())).collect()
}

#[track_caller]
fn has(told: &[String], wanted: &[&str]) {
    for wanted in wanted {
        assert!(told.iter().any(|t| t.contains(wanted)), "{wanted} is not in {told:#?}");
    }
}

fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(folder).unwrap().map(|f| f.unwrap().file_name().into_string().unwrap()).filter(|n| !n.contains("-wal")).collect();
    names.retain(|n| !n.ends_with("-shm"));
    names.sort();
    names
}

#[test]
fn mistakes_of_every_kind_are_told_at_once() {
    let folder = TempDir::new();
    let config = "[site]\ntime_zone = \"Mars/X\"\n[web]\nbearer = \"env:FHIR_ENGAGE_NO_SUCH_VARIABLE\"\n[smtp]\nhost = \"127.0.0.1\"\ntls = \"none\"\n\
                  from = \"Desk <a..b@clinic.example>\"\n[keys]\nmaster = \"file:/nonexistent/master\"\n";
    std::fs::write(folder.join("fhir-engage.toml"), config).unwrap();
    let no_database = "this is no database, it is a text of some length so that the header is read";
    std::fs::write(folder.join("fhir-engage.sqlite"), no_database).unwrap();
    let checked = run(&["check", "--json", "--data", text(folder.path())]);
    assert_eq!(checked.code, Some(1));
    let found = checked.json();
    has(
        &at("problem", &found),
        &["site.time_zone", "web.bearer: the environment variable", "mail: ", "keys.master: ", "database: cannot open the database file"],
    );
    // Segments and programs need none of these.
    has(&at("ok", &found), &["segments: 30 definitions", "programs: 7 programs"]);
    assert_eq!(std::fs::read_to_string(folder.join("fhir-engage.sqlite")).unwrap(), no_database);
}

#[test]
fn a_data_folder_that_was_never_used_stays_so() {
    let folder = TempDir::new();
    let data = folder.join("never/used");
    let checked = run(&["check", "--json", "--data", text(&data)]).ok().json();
    has(&at("warning", &checked), &["database: SQLite: there is none yet; the first start"]);
    assert_eq!(files(folder.path()), Vec::<String>::new(), "something was made");
    std::fs::create_dir_all(&data).unwrap();
    run(&["check", "--data", text(&data)]).ok();
    assert_eq!(files(&data), Vec::<String>::new(), "something was made");
    let elsewhere = folder.join("no-such-folder/x.db");
    let checked = run(&["check", "--json", "--data", text(&data), "--database", text(&elsewhere)]);
    has(&at("problem", &checked.json()), &["no-such-folder is not there: make it"]);
    let under_a_file = run(&["check", "--json", "--data", "/dev/null/x"]);
    has(&at("problem", &under_a_file.json()), &["name another with --data"]);
}

#[test]
fn an_empty_database_is_told_and_stays_empty() {
    for backend in [Backend::Sqlite, Backend::Postgres] {
        let Some(db) = Database::empty(backend) else { continue };
        let gateway = Installation::new(&db, "");
        has(&at("warning", &gateway.json(&["check"])), &["there is none yet; the first start"]);
        assert_eq!(fhir_engage::store::Store::look(&db.location()).unwrap(), fhir_engage::store::Schema::Absent, "a table was made");
    }
}

on_both! {
    fn a_schema_that_is_behind_is_told_and_stays_so(db) {
        let gateway = Installation::new(&db, "");
        let applied = || db.lines("SELECT version AS line FROM __diesel_schema_migrations ORDER BY version");
        db.execute("DELETE FROM __diesel_schema_migrations WHERE version = (SELECT max(version) FROM __diesel_schema_migrations)");
        let before = applied();
        let checked = gateway.run(&["check", "--json"]);
        assert_eq!(checked.code, Some(1));
        has(&at("problem", &checked.json()), &["the schema lacks 1 migration; run `fhir-engage migrate`"]);
        has(&at("ok", &checked.json()), &["segments: 30 definitions", "programs: 7 programs"]);
        assert_eq!(applied(), before);
    }

    fn each_ehr_is_looked_at_whatever_is_wrong_with_another(db) {
        let gateway = Installation::new(&db, "");
        gateway.run(&["ehr", "add", "ears", "--files"]).ok();
        gateway.run(&["ehr", "add", "bent", "--files"]).ok();
        gateway.run(&["ehr", "add", "dead", "--url", "http://127.0.0.1:1/fhir"]).ok();
        gateway.run(&["ehr", "add", "unkeyed", "--url", "http://127.0.0.1:1/fhir", "--client-id", "c", "--key-alg", "ES384"]).ok();
        gateway.run(&["ehr", "add", "last", "--files"]).ok();
        db.execute("UPDATE ehr SET profile = '{\"base_ur\":1}' WHERE id = 'bent'");
        db.execute("UPDATE signing_key SET state = 'retired'");
        let rows = || db.lines("SELECT kid || ' ' || state AS line FROM signing_key UNION ALL SELECT id FROM segment UNION ALL SELECT id FROM program");
        db.execute("DELETE FROM segment");
        let before = rows();
        let checked = gateway.run(&["check", "--json"]);
        assert_eq!(checked.code, Some(1));
        let found = checked.json();
        has(
            &at("problem", &found),
            &["EHR bent: the profile of bent cannot be used", "unknown field base_ur", "EHR dead, reach: ", "EHR unkeyed: there is no signing key"],
        );
        has(&at("ok", &found), &["EHR ears, reach", "EHR last, reach"]);
        assert_eq!(rows(), before, "something was put in force or made");
        // The remedy that it names works.
        gateway.run(&["ehr", "add", "bent", "--files"]).ok();
        has(&at("ok", &gateway.run(&["check", "--json", "--offline"]).json()), &["EHR bent: its profile"]);
    }
}

#[test]
fn a_master_key_that_does_not_fit_is_told_and_no_other_is_made() {
    let folder = TempDir::new();
    let data = text(folder.path());
    let check = || run(&["check", "--offline", "--json", "--data", data]);
    run(&["ehr", "add", "main", "--url", "http://127.0.0.1:1/fhir", "--client-id", "c", "--key-alg", "ES384", "--data", data]).ok();
    has(&at("ok", &check().ok().json()), &["signing keys: 1 can be opened", "EHR main: its profile and credentials can be read"]);
    let master = folder.join("master.key");
    let kept = std::fs::read_to_string(&master).unwrap();
    std::fs::remove_file(&master).unwrap();
    let gone = check();
    assert_eq!(gone.code, Some(1));
    has(&at("problem", &gone.json()), &["keys.master: the signing keys are sealed", "EHR main: its requests cannot be signed"]);
    assert!(!master.exists());
    std::fs::write(&master, "no key").unwrap();
    has(&at("problem", &check().json()), &["keys.master: the master key must be 32 random bytes"]);
    std::fs::write(&master, "0".repeat(64)).unwrap();
    has(&at("problem", &check().json()), &["signing key ", "EHR main: "]);
    std::fs::write(&master, kept).unwrap();
    check().ok();
}
