//! The demo's promises beside its first run: the JSON's form, the same bytes from the same seed, a later day, and what it refuses.

use serde_json::Value;

use crate::support::{Backend, Database, Ended, TempDir, gateway, run};

const AS_OF: &str = "2026-11-23T10:00:00-05:00";

fn demo(data: &TempDir, more: &[&str]) -> Ended {
    run(&[&["demo", "--once", "--json", "--data", data.path().to_str().unwrap()], more].concat())
}

/// What must be true of every account.
fn adds_up(account: &Value) {
    assert_eq!(account["write_backs"]["written"], account["communications_in_ehr"], "{account}");
    assert_eq!((&account["write_backs"]["owed"], &account["duplicates_in_ehr"]), (&0.into(), &0.into()), "{account}");
}

#[test]
fn the_account_has_these_keys_in_this_order() {
    let data = TempDir::new();
    let said = demo(&data, &["--patients", "40", "--as-of", AS_OF]).ok();
    assert_eq!((said.stderr.as_str(), said.stdout.lines().count()), ("", 1), "progress is for terminals");
    adds_up(&said.json());
    // Every key, in the order in which it is printed; segments' ids are their own.
    let keys: Vec<&str> = said.stdout.split('"').skip(1).step_by(2).collect();
    let (head, rest) = keys.split_at(keys.iter().position(|k| *k == "segments").unwrap() + 1);
    assert_eq!(head, ["synced", "Patient", "Appointment", "CarePlan", "quarantined", "segments"].as_slice());
    let tail = &rest[rest.iter().position(|k| *k == "attempts").unwrap()..];
    let expected =
        ["attempts", "sent", "held", "refused", "failed", "write_backs", "owed", "written", "communications_in_ehr", "duplicates_in_ehr"];
    assert_eq!(tail, expected.as_slice());
    assert_eq!(rest.len() - tail.len(), 30, "the shipped segments: {rest:?}");
    // The table tells the same figures.
    let table = run(&["demo", "--once", "--data", data.path().to_str().unwrap()]).ok().stdout;
    let written = said.json()["write_backs"]["written"].to_string();
    assert!(table.lines().any(|l| l.contains("written") && l.ends_with(&format!(" {written}"))), "{table}");
}

/// The population of a pretend EHR, as its journal holds it.
fn population(more: &[&str]) -> String {
    let folder = TempDir::new();
    demo(&folder, &[&["--patients", "25"], more].concat()).ok();
    let journal = std::fs::read_to_string(folder.join("ehr/journal.ndjson")).unwrap();
    // What the gateway wrote has ids of its own, which are random.
    journal.lines().filter(|l| !l.contains("\"type\":\"Communication\"")).fold(String::new(), |text, line| text + line + "\n")
}

#[test]
fn the_same_seed_and_instant_give_the_same_bytes() {
    let one = population(&["--seed", "7", "--as-of", AS_OF]);
    assert!(one.lines().count() > 75, "{}", one.lines().count());
    assert!(one == population(&["--seed", "7", "--as-of", AS_OF]), "the same seed and instant gave other bytes");
    assert!(one != population(&["--seed", "8", "--as-of", AS_OF]), "another seed gave the same bytes");
    assert!(one != population(&["--seed", "7", "--as-of", "2026-11-24T10:00:00-05:00"]), "another instant gave the same bytes");
}

#[test]
fn another_population_in_the_same_folder_is_refused() {
    let data = TempDir::new();
    let first = demo(&data, &["--patients", "20", "--seed", "3", "--as-of", AS_OF]).ok().json();
    for (option, value) in [("--patients", "21"), ("--seed", "4"), ("--as-of", "2026-11-24T10:00:00-05:00")] {
        let refused = demo(&data, &[option, value]);
        assert_eq!((refused.code, refused.stdout.as_str()), (Some(2), ""));
        assert!(refused.stderr.contains(option) && refused.stderr.contains("--data"), "{}", refused.stderr);
    }
    assert_eq!(demo(&data, &["--patients", "20", "--seed", "3", "--as-of", AS_OF]).ok().json(), first);
    let bad = demo(&data, &["--as-of", "tomorrow"]);
    assert!(bad.code == Some(2) && bad.stderr.contains("2026-11-23T10:00:00-05:00"), "{}", bad.stderr);
}

#[test]
fn a_run_a_day_later_goes_on_and_adds_only_what_is_due_by_then() {
    let (data, db) = (TempDir::new(), Database::empty(Backend::Sqlite).unwrap());
    let database = db.argument();
    let first = demo(&data, &["--patients", "60", "--as-of", AS_OF, "--database", &database]).ok().json();
    // A day passes: both keep the clock's offset, as microseconds.
    let meta = data.join("ehr/meta.json");
    let mut kept: Value = serde_json::from_str(&std::fs::read_to_string(&meta).unwrap()).unwrap();
    let offset = kept["offset"].as_i64().unwrap() + 86_400_000_000;
    kept["offset"] = offset.into();
    std::fs::write(&meta, kept.to_string()).unwrap();
    db.execute(&format!("UPDATE installation SET value = '{offset}' WHERE name = 'clock-offset'"));
    let later = demo(&data, &["--database", &database]).ok().json();
    adds_up(&later);
    assert_eq!((&later["synced"], &later["quarantined"]), (&first["synced"], &first["quarantined"]));
    let sent = |account: &Value| account["attempts"]["sent"].as_i64().unwrap();
    assert!(sent(&later) > sent(&first), "what was held for a day went out: {first} {later}");
    assert_eq!(demo(&data, &["--database", &database]).ok().json(), later, "and nothing twice");
}

#[test]
fn a_demo_long_ago_or_far_ahead_works_like_one_today() {
    for as_of in ["2019-02-28T10:00:00-05:00", "2031-08-04T10:00:00-04:00"] {
        let data = TempDir::new();
        let first = demo(&data, &["--patients", "40", "--as-of", as_of]).ok().json();
        adds_up(&first);
        assert!(first["attempts"]["sent"].as_i64().unwrap() > 0, "{as_of}: {first}");
        assert_eq!(demo(&data, &[]).ok().json(), first, "{as_of}");
    }
}

#[test]
fn a_database_that_is_not_this_demos_is_refused() {
    let (one, other, db) = (TempDir::new(), TempDir::new(), Database::empty(Backend::Sqlite).unwrap());
    let database = db.argument();
    let first = demo(&one, &["--patients", "10", "--as-of", AS_OF, "--database", &database]).ok().json();
    let refused = demo(&other, &["--patients", "10", "--as-of", AS_OF, "--database", &database]);
    assert_eq!(refused.code, Some(2), "{}", refused.stdout);
    assert!(refused.stderr.contains("--data or --database"), "{}", refused.stderr);
    assert_eq!(demo(&one, &["--database", &database]).ok().json(), first);
}

#[test]
fn a_demo_on_any_free_port_can_be_opened_from_inside_its_ehr() {
    use std::io::{BufRead as _, BufReader};
    let data = TempDir::new();
    std::fs::write(data.join("fhir-engage.toml"), "[web]\nbind = \"127.0.0.1:0\"\n").unwrap();
    let mut child = gateway(&["demo", "--patients", "10", "--as-of", AS_OF, "--data", data.path().to_str().unwrap()]).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let mut after = |words: &str| lines.find_map(|l| l.split_once(words).map(|(_, rest)| rest.trim().to_owned())).unwrap();
    let launcher = after("open a patient from inside the pretend EHR: ");
    let pages = after("pages at ").split(' ').next().unwrap().to_owned();
    assert!(!pages.contains(":8080") && !pages.contains(":0/"), "{pages}");
    std::thread::spawn(move || lines.for_each(drop));
    let launcher: url::Url = launcher.parse().unwrap();
    let chart = crate::credentials::oidc::answer_of(&launcher);
    let open = chart.split("href=\"").find(|l| l.contains("in a tab")).unwrap().split('"').next().unwrap().replace("&amp;", "&");
    let landed = crate::credentials::oidc::browses(&launcher.join(&open).unwrap(), &format!("{pages}l/"));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(landed.path().starts_with("/l/"), "{landed}");
}
