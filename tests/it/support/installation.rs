//! The gateway as an installation: a data folder with its configuration, a database, and the built binary run on both.

use serde_json::Value;

use super::database::Database;
use super::process::{Ended, gateway, run};
use super::temp::TempDir;

/// An installation of one test.
pub struct Installation {
    folder: TempDir,
    database: String,
}

impl Installation {
    /// With this configuration file.
    pub fn new(db: &Database, config: &str) -> Self {
        let folder = TempDir::new();
        std::fs::write(folder.join("fhir-engage.toml"), config).unwrap();
        Self { folder, database: db.argument() }
    }

    /// The data folder.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// Runs a command to its end.
    pub fn run(&self, args: &[&str]) -> Ended {
        run(&[args, &["--data", self.folder.path().to_str().unwrap(), "--database", &self.database]].concat())
    }

    /// A command on it, not started yet.
    pub fn command(&self, args: &[&str]) -> std::process::Command {
        gateway(&[args, &["--data", self.folder.path().to_str().unwrap(), "--database", &self.database]].concat())
    }

    /// The data of a command that must do well, asked for as JSON.
    #[track_caller]
    pub fn json(&self, args: &[&str]) -> Value {
        self.run(&[args, &["--json"]].concat()).ok().json()
    }

    /// One round through all stages; nothing may fail.
    #[track_caller]
    pub fn cycle(&self) -> Value {
        let report = self.json(&["work", "--once"]);
        assert_eq!(report["failures"], serde_json::json!([]), "{report}");
        report
    }

    /// The members of a segment, as `EHR/ID`.
    #[track_caller]
    pub fn members(&self, segment: &str) -> Vec<String> {
        let mut all: Vec<String> =
            self.json(&["segments", "show", segment])["in"].as_array().unwrap().iter().map(|m| m[0].as_str().unwrap().to_owned()).collect();
        all.sort();
        all
    }

    /// The attempts of a program for one patient (`EHR/ID`), as `(step, state, whole row)`.
    #[track_caller]
    pub fn attempts(&self, program: &str, patient: &str) -> Vec<(String, String, Value)> {
        let all = self.json(&["outreach", "list", "--program", program, "--limit", "1000"]);
        let text = |row: &Value, key: &str| row[key].as_str().unwrap().to_owned();
        let of = all.as_array().unwrap().iter().filter(|row| row["patient"] == patient);
        let mut rows: Vec<_> = of.map(|row| (text(row, "step"), text(row, "state"), row.clone())).collect();
        rows.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
        rows
    }
}

/// Keeps what the gateway wrote into an EHR where `tests/run` validates it.
pub fn keep_for_validation(name: &str, resources: &[Value]) {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("emitted");
    std::fs::create_dir_all(&folder).unwrap();
    let lines: Vec<String> = resources.iter().map(Value::to_string).collect();
    std::fs::write(folder.join(format!("{name}.ndjson").to_lowercase()), lines.join("\n") + "\n").unwrap();
}
