//! The command line as its users meet it: help, exit codes, what is data and what is not, and that no patient is in what is logged.

mod canary;
mod checking;
mod connecting;
mod help;
mod importing;
mod keys;
mod listing;
mod sentences;
mod writing_back;

use std::io::{BufRead as _, Read as _};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::{TempDir, run};

/// A folder with the demo of 30 patients in it, made once for a test.
fn demo() -> TempDir {
    let folder = TempDir::new();
    run(&["demo", "--once", "--json", "--patients", "30", "--as-of", "2026-11-23T10:00:00-05:00", "--data", text(folder.path())]).ok();
    folder
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The binary with a variable that makes it tell all it can.
fn talkative(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fhir-engage"));
    command.args(args).env("FHIR_ENGAGE_LOG", "trace").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let folder = demo();
    let mut command = talkative(&["segments", "attributes"]);
    command.env_remove("FHIR_ENGAGE_LOG");
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!((child.wait().unwrap().code(), said.as_str()), (Some(0), ""));
    drop(folder);
}

#[test]
fn ctrl_c_ends_what_runs_on_and_what_it_had_stays() {
    let folder = demo();
    std::fs::write(folder.join("fhir-engage.toml"), "[web]\nbind = \"127.0.0.1:0\"\n").unwrap();
    for (args, begun) in [
        (&["serve"][..], "pages at http://"),
        (&["serve", "--no-work"], "pages at http://"),
        (&["work"], "a task "),
        (&["sandbox", "--open"], "answers at http://"),
    ] {
        let sandbox = folder.join("sandbox");
        let data = if args[0] == "sandbox" { sandbox.as_path() } else { folder.path() };
        let mut child = talkative(&[args, &["--data", text(data)]].concat()).spawn().unwrap();
        let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let told: Box<dyn std::io::Read + Send> = if args[0] == "sandbox" { Box::new(out) } else { Box::new(err) };
        let mut lines = std::io::BufReader::new(told).lines();
        assert!(lines.any(|l| l.unwrap().contains(begun)), "{args:?} ended by itself");
        // Who does not read on would stop the writer.
        let rest = std::thread::spawn(move || lines.for_each(drop));
        assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
        assert_eq!(child.wait().unwrap().code(), Some(0), "{args:?}");
        rest.join().unwrap();
    }
    run(&["writeback", "list", "--data", text(folder.path())]).ok();
}

#[test]
#[cfg(unix)]
fn what_holds_patient_data_is_for_its_own_user_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = TempDir::new();
    let (made, migrated) = (folder.join("a/b"), folder.join("c/d"));
    run(&["demo", "--once", "--json", "--patients", "5", "--data", text(&made)]).ok();
    run(&["migrate", "--data", text(&migrated)]).ok();
    for path in [&made, &made.join("ehr"), &migrated] {
        assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o077, 0, "{}", path.display());
    }
}

#[test]
fn a_short_command_that_went_well_says_nothing_on_stderr() {
    let folder = demo();
    for args in [
        &["ehr", "list"][..],
        &["sync", "status"],
        &["segments", "list"],
        &["segments", "run"],
        &["outreach", "run"],
        &["outreach", "list"],
        &["writeback", "list"],
        &["keys", "list"],
        &["outreach", "live"],
        &["check", "--offline"],
        &["demo", "--once"],
    ] {
        let ended = run(&[args, &["--data", text(folder.path())]].concat()).ok();
        assert_eq!(ended.stderr, "", "{args:?}");
        assert_ne!(ended.stdout, "", "{args:?}");
    }
}

#[test]
fn an_opt_out_is_kept_shown_and_obeyed() {
    let folder = demo();
    let data = text(folder.path());
    let of = |args: &[&str]| run(&[&["outreach"], args, &["--json", "--data", data]].concat());
    let planned = of(&["list", "--limit", "10000"]).ok().json();
    let patient = planned[0]["patient"].as_str().unwrap().to_owned();
    let about = |args: &[&str]| of(&[args, &["--patient", &patient]].concat()).ok().json();
    assert_eq!(about(&["preferences"]), serde_json::json!([]));
    let after = about(&["opt-out", "--program", "check-up"]);
    assert_eq!(
        (&after[0]["about"], &after[0]["allowed"], &after[0]["source"]),
        (&"program check-up".into(), &false.into(), &"staff".into())
    );
    let after = about(&["opt-in", "--program", "check-up"]);
    assert_eq!((after.as_array().unwrap().len(), &after[0]["allowed"]), (1, &true.into()), "the later entry replaces the earlier");
    let after = about(&["opt-out"]);
    assert_eq!((&after[1]["about"], &after[1]["allowed"]), (&"everything".into(), &false.into()));
    // Wrong names are refused, and nothing is recorded.
    assert_eq!(of(&["opt-out", "--patient", &patient, "--program", "no-such"]).code, Some(2));
    assert_eq!(of(&["opt-out", "--patient", &patient, "--channel", "pigeon"]).code, Some(2));
    assert_eq!(of(&["opt-out", "--patient", "sandbox/no-such"]).code, Some(1));
    assert_eq!(of(&["opt-out", "--patient", "nothing"]).code, Some(2));
    assert_eq!(about(&["preferences"]), after);
}
