//! What goes wrong is told in a sentence that says what to do, with the exit code that its kind has.

use super::text;
use crate::support::{TempDir, run};

#[test]
fn each_mistake_has_its_sentence_and_its_exit_code() {
    let folder = TempDir::new();
    let data = text(folder.path());
    run(&["ehr", "add", "files", "--files", "--data", data]).ok();
    run(&["ehr", "add", "dead", "--url", "http://127.0.0.1:1/fhir", "--data", data]).ok();
    let cases: [(&[&str], i32, &str); 22] = [
        (&["ehr", "check", "nobody"], 2, "`fhir-engage ehr list`"),
        (&["ehr", "remove", "nobody"], 2, "`fhir-engage ehr list`"),
        (&["ehr", "add", "Bad Name", "--url", "http://127.0.0.1/"], 2, "lower-case letters"),
        (&["ehr", "add", "a", "--url", "foo"], 2, "https://ehr.example.org/fhir"),
        (&["ehr", "add", "a", "--url", "http://ehr.example.org/fhir"], 2, "https"),
        (
            &["ehr", "add", "a", "--url", "https://ehr.example.org/", "--client-id", "c", "--key-alg", "HS256"],
            2,
            "RS384, ES384, RS256 or ES256",
        ),
        (&["sync", "run", "--ehr", "dead"], 1, "connection was refused; check host, port and firewall"),
        (&["sync", "run", "--type", "Basic"], 2, "Appointment"),
        (&["sync", "run", "--type", "Observation"], 2, "--types Observation"),
        (&["sync", "quarantine", "list", "--ehr", "nobody"], 2, "there is no EHR nobody"),
        (&["sync", "quarantine", "show", "7"], 2, "there is no row 7"),
        (&["writeback", "run", "--ehr", "nobody"], 2, "there is no EHR nobody"),
        (&["writeback", "run", "--ehr", "dead"], 1, "connection was refused"),
        (&["writeback", "list", "--ehr", "nobody"], 2, "there is no EHR nobody"),
        (&["segments", "show", "nothing"], 2, "visit-unconfirmed"),
        (&["segments", "explain", "--patient", "x"], 2, "main/123"),
        (&["segments", "explain", "--patient", "files/x"], 1, "no such patient was synced"),
        (&["outreach", "explain", "x"], 2, "`fhir-engage outreach list`"),
        (&["outreach", "list", "--program", "nothing"], 2, "check-up"),
        (&["import", "--ehr", "files", "no-such-file"], 1, "cannot read no-such-file"),
        (&["import", "--ehr", "nobody", data], 1, "holds no file that ends in .ndjson"),
        (&["demo", "--once"], 2, "belongs to another installation"),
    ];
    for (args, code, says) in cases {
        let ended = run(&[args, &["--data", data]].concat());
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(code), ""), "{args:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(says), "{args:?}: {}", ended.stderr);
        assert!(!ended.stderr.contains("os error 111") && !ended.stderr.contains("panicked"), "{args:?}: {}", ended.stderr);
    }
}

#[test]
fn an_ehr_check_finds_what_is_wrong_and_exits_with_1() {
    let folder = TempDir::new();
    let data = text(folder.path());
    run(&["ehr", "add", "dead", "--url", "http://127.0.0.1:1/fhir", "--data", data]).ok();
    let ended = run(&["ehr", "check", "dead", "--json", "--data", data]);
    assert_eq!(ended.code, Some(1));
    let found = ended.json();
    assert_eq!((&found["ehr"], &found["ok"]), (&"dead".into(), &false.into()));
    assert!(found["steps"][0]["remedy"].is_string(), "{found}");
    // The whole check tells it too, beside what is well.
    let ended = run(&["check", "--json", "--data", data]);
    let found = ended.json();
    assert_eq!((ended.code, &found["ok"]), (Some(1), &false.into()));
    let levels: Vec<_> = found["findings"].as_array().unwrap().iter().map(|f| f["level"].as_str().unwrap()).collect();
    assert!(levels.contains(&"ok") && levels.contains(&"problem"), "{found}");
}

#[test]
fn all_mistakes_of_a_configuration_are_told_at_once() {
    let folder = TempDir::new();
    let file = folder.join("bad.toml");
    std::fs::write(&file, "[site]\ntime_zone = \"Mars/X\"\nlanguage = 3\nnme = \"x\"\n[web]\nbind = \"x\"\n[foo]\n").unwrap();
    let wrong =
        ["bad.toml:2: site.time_zone", "bad.toml:3: site.language", "bad.toml:4: site.nme", "bad.toml:6: web.bind", "bad.toml:7: foo"];
    let run = |args: &[&str]| run(&[args, &["--config", text(&file), "--data", text(folder.path())]].concat());
    let checked = run(&["check"]);
    assert_eq!(checked.code, Some(1));
    let used = run(&["ehr", "list"]);
    assert_eq!((used.code, used.stdout.as_str()), (Some(2), ""));
    for says in wrong {
        assert!(checked.stdout.contains(says) && used.stderr.contains(says), "{says}: {}{}", checked.stdout, used.stderr);
    }
}

#[test]
fn a_configuration_or_folder_that_cannot_be_had_is_told() {
    let folder = TempDir::new();
    let ended = run(&["ehr", "list", "--config", "/nonexistent/x.toml", "--data", text(folder.path())]);
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.contains("/nonexistent/x.toml") && ended.stderr.contains("--config"), "{}", ended.stderr);
    for (args, says) in [
        (&["ehr", "list", "--data", "/dev/null/x"][..], "name another with --data"),
        (&["demo", "--once", "--data", "/dev/null/x"], "name another with --data"),
        (&["sandbox", "--open", "--data", "/dev/null/x"], "name another with --data"),
        (&["ehr", "list", "--database", "/dev/null/x.db", "--data", text(folder.path())], "cannot open the database file"),
    ] {
        let ended = run(args);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""), "{args:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(says), "{args:?}: {}", ended.stderr);
    }
}
