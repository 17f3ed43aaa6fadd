//! Every command that the README and its guides tell is run here, in their order, against the pretend EHR, so that none rots.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::support::TempDir;

/// Commands that are not run here, since they install or are this very run. The files they need must be there.
const NOT_RUN: [(&str, &str); 4] = [
    ("tests/run", "tests/run"),
    ("cargo install --path .", "Cargo.toml"),
    ("cargo install --path . --features postgres", "Cargo.toml"),
    ("apt-get install libpq-dev", "README.md"),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The README, and the guides that it links to, in that order.
fn pages() -> Vec<String> {
    let first = std::fs::read_to_string(root().join("README.md")).unwrap();
    let guides = first.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link).filter(|l| l.ends_with(".md"));
    let guides: Vec<String> = guides.map(|link| std::fs::read_to_string(root().join(link)).expect(link)).collect();
    assert!(guides.len() > 4, "the README links to its guides");
    std::iter::once(first).chain(guides).collect()
}

/// The lines of the `sh` blocks.
fn commands() -> Vec<String> {
    let text = pages().join("\n");
    let mut found = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        match line {
            "```sh" => inside = true,
            "```" => inside = false,
            command if inside => found.push(command.to_owned()),
            _ => {}
        }
    }
    found
}

/// A child that ends with this value.
struct Kept(Child);

impl Drop for Kept {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Reader {
    folder: TempDir,
    /// The pretend EHR, and its base URL.
    ehr: Option<(Kept, String)>,
}

impl Reader {
    fn gateway(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fhir-engage"));
        command.args(args).current_dir(self.folder.path()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs a command to its end, with a redirection as the shell would do it.
    fn run(&self, command: &str) {
        let (words, file) = command.split_once(" > ").map_or((command, None), |(words, file)| (words, Some(file)));
        let args: Vec<&str> = words.split_whitespace().collect();
        let output = self.gateway(&args).output().unwrap();
        let told = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(0), "{command}: {told}");
        assert!(!output.stdout.is_empty(), "{command} says nothing");
        if let Some(file) = file {
            std::fs::write(self.folder.join(file), &output.stdout).unwrap();
        }
    }

    /// Runs a command that goes on until Ctrl-C.
    fn run_on(&self, command: &str) {
        let mut child = Kept(self.gateway(&command.split_whitespace().collect::<Vec<_>>()).spawn().unwrap());
        let mut lines = BufReader::new(child.0.stderr.take().unwrap()).lines();
        assert!(lines.any(|l| l.unwrap().contains("pages at http://")), "{command} serves no pages");
        assert!(Command::new("kill").args(["-INT", &child.0.id().to_string()]).status().unwrap().success());
        lines.for_each(drop);
        assert_eq!(child.0.wait().unwrap().code(), Some(0), "{command}");
    }

    /// Starts the pretend EHR as the README tells, on a free port and with few patients.
    fn start_ehr(&mut self, command: &str) {
        let told = command.replace("--port 8090", "--port 0");
        let mut args: Vec<&str> = told.split_whitespace().collect();
        args.extend(["--json", "--patients", "20"]);
        let mut child = Kept(self.gateway(&args).spawn().unwrap());
        let mut line = String::new();
        BufReader::new(child.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let base = serde_json::from_str::<Value>(&line).unwrap()["base_url"].as_str().unwrap().to_owned();
        self.ehr = Some((child, base));
    }
}

#[test]
fn every_command_of_the_readme_works() {
    let mut reader = Reader { folder: TempDir::new(), ehr: None };
    for folder in ["data", "data/demo", "export"] {
        std::fs::create_dir(reader.folder.join(folder)).unwrap();
    }
    for folder in ["data", "data/demo"] {
        std::fs::write(reader.folder.join(folder).join("fhir-engage.toml"), "[web]\nbind = \"127.0.0.1:0\"\n").unwrap();
    }
    std::fs::write(reader.folder.join("export/Patient.ndjson"), "{\"resourceType\":\"Patient\",\"id\":\"1\"}\n").unwrap();
    let all = commands();
    assert!(all.len() > 20, "{all:?}");
    let sandbox = all.iter().find(|c| c.starts_with("fhir-engage sandbox ")).expect("the README tells how to have an EHR").clone();
    for command in &all {
        if let Some((_, needs)) = NOT_RUN.iter().find(|(c, _)| c == command) {
            assert!(root().join(needs).exists(), "{command}");
            continue;
        }
        let words = command.strip_prefix("cargo run --release -- ").or_else(|| command.strip_prefix("fhir-engage "));
        let words = words.unwrap_or_else(|| panic!("a command that this test does not know: {command}"));
        // The EHR must know the key before it is asked for a token.
        if words.starts_with("ehr add main") && reader.ehr.is_none() {
            reader.start_ehr(sandbox.strip_prefix("fhir-engage ").unwrap());
        }
        let base = reader.ehr.as_ref().map_or("", |(_, base)| base.as_str());
        let words = words.replace("https://ehr.example.org/fhir", base).replace("main/123", "main/pat-000001");
        let words = words.replace("TEST-PATIENT", "pat-000001");
        match words.as_str() {
            "demo" => reader.run_on("demo --patients 20"),
            "serve" => reader.run_on("serve"),
            words if words.starts_with("sandbox ") => assert!(reader.ehr.is_some()),
            words => reader.run(words),
        }
    }
}
