//! The journal: what was answered is there after a restart, whatever the last write looked like.

use std::path::{Path, PathBuf};

use super::*;
use crate::{JournalError, StartError, read_meta, write_meta};

/// A folder of this process that is removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("sandbox-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

fn on(dir: &Path) -> Config {
    Config { open: true, dir: Some(dir.to_owned()), ..config().0 }
}

fn state(sandbox: &Sandbox) -> Vec<Value> {
    ["Patient", "Appointment", "CarePlan", "Communication"].iter().flat_map(|name| sandbox.resources(name)).collect()
}

#[test]
fn a_restart_gives_back_every_byte_version_and_deletion() {
    let folder = Folder::new("restart");
    let sandbox = begin(on(&folder.0));
    sandbox.load(population(5).resources()).unwrap();
    post(&sandbox, "/fhir/Communication", &[], &communication("a")).unwrap();
    sandbox.edit("Patient", "pat-000002", |patient| patient["active"] = json!(false)).unwrap();
    sandbox.delete("Patient", "pat-000003").unwrap();
    let journal = std::fs::read_to_string(folder.0.join("journal.ndjson")).unwrap();
    assert!(
        journal.ends_with('\n') && journal.lines().count() == sandbox.counts().values().sum::<usize>() + 3,
        "written before the answer"
    );
    let (before, patient) = (state(&sandbox), get(&sandbox, "/fhir/Patient/pat-000001").body);
    drop(sandbox);
    let sandbox = begin(on(&folder.0));
    assert_eq!(state(&sandbox), before);
    assert_eq!(get(&sandbox, "/fhir/Patient/pat-000001").body, patient);
    assert_eq!(get(&sandbox, "/fhir/Patient/pat-000002").header("etag"), Some("W/\"2\""));
    assert_eq!(get(&sandbox, "/fhir/Patient/pat-000002/_history/1").status, 200);
    assert_eq!(get(&sandbox, "/fhir/Patient/pat-000003").status, 410);
    let next = post(&sandbox, "/fhir/Communication", &[], &communication("b")).unwrap().json();
    assert!(before.iter().all(|resource| resource["id"] != next["id"]), "an id is given out once");
    let after = state(&sandbox);
    assert_eq!(sandbox.load(population(5).resources()).unwrap(), 0, "loading again brings back nothing that was edited or deleted");
    assert_eq!(state(&sandbox), after);
}

#[test]
fn a_last_line_torn_at_any_byte_is_cut_off_and_nothing_else() {
    let folder = Folder::new("torn");
    let sandbox = begin(on(&folder.0));
    post(&sandbox, "/fhir/Communication", &[], &communication("a")).unwrap();
    post(&sandbox, "/fhir/Communication", &[], &communication("b")).unwrap();
    let whole = state(&sandbox);
    drop(sandbox);
    let path = folder.0.join("journal.ndjson");
    let bytes = std::fs::read(&path).unwrap();
    let first = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    for length in first..bytes.len() {
        std::fs::write(&path, &bytes[..length]).unwrap();
        let charts = crate::charts::Charts::open(Some(&folder.0), true).unwrap();
        assert_eq!(charts.counts().get("Communication"), Some(&1), "cut at {length}");
        drop(charts);
        assert_eq!(std::fs::read(&path).unwrap(), &bytes[..first], "cut at {length}");
    }
    std::fs::write(&path, &bytes[..bytes.len() - 9]).unwrap();
    let sandbox = begin(on(&folder.0));
    post(&sandbox, "/fhir/Communication", &[], &communication("b")).unwrap();
    assert_eq!(state(&sandbox), whole);
}

#[test]
fn damage_in_the_middle_and_a_second_process_are_refused() {
    let folder = Folder::new("refused");
    let sandbox = begin(on(&folder.0));
    post(&sandbox, "/fhir/Communication", &[], &communication("a")).unwrap();
    let second = runtime().block_on(start(on(&folder.0)));
    assert!(matches!(second, Err(StartError::Data(JournalError::InUse { .. }))));
    runtime().block_on(sandbox.stop());
    let path = folder.0.join("journal.ndjson");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{text}{}\n{text}", text.get(..20).unwrap())).unwrap();
    assert!(matches!(runtime().block_on(start(on(&folder.0))), Err(StartError::Data(JournalError::Damaged { line: 2, .. }))));
}

#[test]
fn a_load_names_what_it_cannot_take() {
    let sandbox = open();
    let bad = ["{".to_owned(), r#"{"resourceType":"Patient"}"#.to_owned(), r#"{"resourceType":"Bogus","id":"1"}"#.to_owned()];
    for text in bad {
        let good = population(1).patient(0);
        assert!(matches!(sandbox.load([good, text]), Err(crate::LoadError::NotAResource { index: 1 })));
    }
}

#[test]
fn the_small_document_is_replaced_whole() {
    let folder = Folder::new("meta");
    let dir = folder.0.join("deeper");
    assert_eq!(read_meta(&dir).unwrap(), None);
    for value in [json!({ "seed": 1 }), json!({ "seed": 2, "as_of": "2026" })] {
        write_meta(&dir, &value).unwrap();
        assert_eq!(read_meta(&dir).unwrap(), Some(value));
    }
    std::fs::write(dir.join("meta.json"), "{").unwrap();
    assert!(read_meta(&dir).is_err());
}
