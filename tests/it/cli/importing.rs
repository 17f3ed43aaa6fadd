//! `import` as a user runs it: what is bad is told with file and line, the rest is stored, and the exit code says so.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::text;
use crate::support::{TempDir, run};

fn gateway() -> TempDir {
    let folder = TempDir::new();
    run(&["ehr", "add", "nightly", "--files", "--data", text(folder.path())]).ok();
    folder
}

fn import(folder: &TempDir, more: &[&str]) -> crate::support::Ended {
    run(&[&["import", "--ehr", "nightly", "--json", "--data", text(folder.path())], more].concat())
}

#[test]
fn another_server_cannot_take_a_name_that_has_data() {
    let folder = gateway();
    let data = text(folder.path());
    let add = |more: &[&str]| run(&[&["ehr", "add", "nightly", "--url", "http://127.0.0.1:9/fhir", "--data", data], more].concat());
    add(&[]).ok();
    run(&["ehr", "add", "nightly", "--files", "--data", data]).ok();
    let file = folder.join("one.ndjson");
    std::fs::write(&file, "{\"resourceType\":\"Patient\",\"id\":\"p\"}\n").unwrap();
    import(&folder, &[text(&file)]).ok();
    let refused = add(&[]);
    assert!(refused.code == Some(2) && refused.stderr.contains("--moved"), "{}", refused.stderr);
    add(&["--moved"]).ok();
}

/// Lines read = stored + unchanged + superseded + ignored + quarantined.
fn adds_up(report: &Value) {
    let n = |key: &str| report[key].as_u64().unwrap();
    let ignored: u64 = report["ignored"].as_object().unwrap().values().map(|v| v.as_u64().unwrap()).sum();
    assert_eq!(n("lines"), n("stored") + n("unchanged") + n("superseded") + ignored + n("quarantined"), "{report}");
}

const BAD: [(&str, &str); 5] = [
    ("{\"resourceType\":\"Patient\",", "cut off"),
    ("{\"resourceType\":\"Nonsense\",\"id\":\"a\"}", "resourceType"),
    ("{\"resourceType\":\"Patient\"}", "id"),
    ("{\"resourceType\":\"Patient\",\"id\":\"b\",\"birthDate\":19700101}", "birthDate"),
    ("[]", "object"),
];

#[test]
fn each_bad_line_is_told_with_its_place_and_the_rest_is_stored() {
    let folder = gateway();
    let file = folder.join("bad.ndjson");
    let mut lines = "{\"resourceType\":\"Patient\",\"id\":\"good\"}\n".to_owned();
    BAD.iter().for_each(|(line, _)| lines.extend([line, "\n"]));
    lines.push_str("{\"resourceType\":\"Patient\",\"id\":\"last\"}\n{\"resourceType\":\"Observation\",\"id\":\"o\"}\n");
    std::fs::write(&file, lines).unwrap();
    let ended = import(&folder, &[text(&file)]);
    assert_eq!(ended.code, Some(1));
    let report = ended.json();
    adds_up(&report);
    let counts = ["stored", "quarantined", "lines"].map(|k| report[k].clone());
    assert_eq!((counts, &report["ignored"]), ([json!(2), json!(5), json!(8)], &json!({ "Observation": 1 })), "{report}");
    for (n, (_, says)) in BAD.iter().enumerate() {
        let place = format!("bad.ndjson:{}", n + 2);
        let told = ended.stderr.lines().find(|l| l.contains(&place)).unwrap_or_else(|| panic!("{place} is not in {}", ended.stderr));
        assert!(told.contains(says), "{told}");
    }
    // As many as were allowed is no problem; one more is.
    assert_eq!(import(&folder, &["--max-bad", "5", text(&file)]).code, Some(0));
    assert_eq!(import(&folder, &["--max-bad", "4", text(&file)]).code, Some(1));
    let waiting = run(&["sync", "quarantine", "list", "--json", "--data", text(folder.path())]).ok().json();
    assert_eq!(waiting.as_array().unwrap().len(), 5, "seen again, they are the same rows: {waiting}");
    let first = waiting.as_array().unwrap().iter().find(|r| r["reason"].as_str().unwrap().contains("birthDate")).unwrap();
    let shown = run(&["sync", "quarantine", "show", &first["id"].to_string(), "--data", text(folder.path())]).ok();
    assert_eq!(shown.stdout.trim_end(), BAD[3].0, "the bytes as they were received");
}

#[test]
fn a_truncated_gzip_and_a_line_of_20_mb_sink_nothing_else() {
    let folder = gateway();
    let patient = |n: usize| format!("{{\"resourceType\":\"Patient\",\"id\":\"p{n}\",\"gender\":\"female\"}}\n");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    (0..20_000).for_each(|n| gzip.write_all(patient(n).as_bytes()).unwrap());
    let whole = gzip.finish().unwrap();
    let cut = folder.join("cut.ndjson.gz");
    std::fs::write(&cut, &whole[..whole.len() * 2 / 3]).unwrap();
    let ended = import(&folder, &[text(&cut)]);
    assert_eq!(ended.code, Some(1));
    adds_up(&ended.json());
    assert!(ended.json()["stored"].as_u64().unwrap() > 1000 && ended.stderr.contains("cut.ndjson.gz"), "{}", ended.stderr);

    let long = folder.join("long.ndjson");
    std::fs::write(&long, format!("{{\"resourceType\":\"Patient\",\"id\":\"{}\"}}\n{}", "x".repeat(20_000_000), patient(99_999))).unwrap();
    let ended = import(&folder, &[text(&long)]);
    assert_eq!((ended.code, &ended.json()["stored"]), (Some(1), &json!(1)));
    assert!(ended.stderr.contains("long.ndjson:1"), "{}", ended.stderr);
}

#[test]
fn odd_but_legal_members_are_survived_and_standard_input_is_a_file() {
    let folder = gateway();
    let odd = r#"{"resourceType":"Patient","id":"odd","fhir_comments":["x"],"active":null,"name":[],"telecom":[null,{"system":"phone","value":"1","rank":"1"}],"unknown":{"a":1.50}}"#;
    let mut command = super::talkative(&["import", "--ehr", "nightly", "--json", "--data", text(folder.path()), "-"]);
    let mut child = command.env_remove("FHIR_ENGAGE_LOG").stdin(std::process::Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(odd.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["stored"], &report["quarantined"]), (&json!(1), &json!(0)), "{report}");
}

/// The data that lies beside the project, where it is there.
fn shared(name: &str) -> Option<PathBuf> {
    let variable = std::env::var_os("FHIR_ENGAGE_SHARED").map(PathBuf::from);
    let folder = variable.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared")).join("data").join(name);
    folder.is_dir().then_some(folder)
}

#[test]
fn a_second_import_of_real_data_stores_nothing() {
    let folder = gateway();
    for name in ["synthea-generated-sample", "sekmet-generated"] {
        let Some(data) = shared(name) else { return };
        let first = import(&folder, &[text(&data)]).ok().json();
        adds_up(&first);
        assert!(first["stored"].as_u64().unwrap() > 100 && first["quarantined"] == 0, "{first}");
        let second = import(&folder, &[text(&data)]).ok().json();
        adds_up(&second);
        assert_eq!((&second["stored"], &second["unchanged"]), (&json!(0), &first["stored"]), "{second}");
    }
}
