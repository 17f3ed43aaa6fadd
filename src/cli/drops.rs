//! `sync drops`: what came into the drop folders, and a declaration tried out on a file.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Subcommand;
use domain::model::EhrId;
use serde_json::{Value, json};

use super::exit::{Ended, Failure};
use super::{Common, ehr, print};
use crate::app::{App, StageError};
use crate::store::drops::{self, DropFile, DropStatus};
use crate::sync::drops::{Drop, DropReport, try_out};
use crate::worker::{Stop, TaskReport};

/// Look at drop folders and their files
#[derive(Debug, Subcommand)]
pub(super) enum Drops {
    /// Show how each drop folder stands, and the files that were taken, the latest first
    #[command(after_help = "Examples:
  fhir-engage sync drops list
  fhir-engage sync drops list --ehr north --json

Rows read = stored + unchanged + superseded + ignored + quarantined. Exit code 1 where a folder cannot be read, a file is late, or the
last file of a folder failed or waits for an answer.")]
    List {
        /// One EHR only
        #[arg(long, value_name = "ID")]
        ehr: Option<String>,
        /// At most so many files
        #[arg(long, value_name = "N", default_value_t = 50)]
        limit: i64,
    },
    /// Show one file, with what became of its rows
    #[command(after_help = "Examples:
  fhir-engage sync drops show 12
  fhir-engage sync drops show 12 --json")]
    Show {
        /// The file's number
        #[arg(value_name = "N")]
        id: i64,
    },
    /// Try a declaration out on a file: its first rows as resources, and all mistakes; nothing is stored
    #[command(after_help = "Examples:
  fhir-engage sync drops check appointments.toml appointments_20261125.csv
  fhir-engage sync drops check appointments.toml sample.csv --rows 10 --json

The rows are patients' data and go to standard output: mind where you print them. Exit code 1 where a row has a mistake.")]
    Check {
        /// The declaration, TOML
        #[arg(value_name = "DECLARATION")]
        declaration: PathBuf,
        /// A file as the hospital sends it
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// So many resources are shown
        #[arg(long, value_name = "N", default_value_t = 3)]
        rows: usize,
    },
}

/// Reads a declaration, as `ehr add --drop` does.
pub(super) fn declaration(path: &std::path::Path) -> Result<Drop, Failure> {
    let text = std::fs::read_to_string(path).map_err(|e| Failure::usage(format!("{} cannot be read: {}", path.display(), e.kind())))?;
    Drop::from_toml(&text).map_err(|mistakes| Failure::usage(format!("{}: {mistakes}", path.display())))
}

/// `sync drops check` needs no installation.
pub(super) fn check(common: &Common, path: &std::path::Path, file: &std::path::Path, rows: usize) -> Result<Ended, Failure> {
    let trial = try_out(&declaration(path)?, file, rows).map_err(|e| Failure::problem(e.to_string()))?;
    let well = trial.found == 0 && trial.trailer.is_none();
    if common.json {
        let first: Vec<Value> = trial.first.iter().filter_map(|text| serde_json::from_str(text).ok()).collect();
        let mistakes: Vec<Value> =
            trial.mistakes.iter().map(|(line, flaw)| json!({ "line": line, "columns": flaw.columns, "says": flaw.says })).collect();
        print::json(&json!({
            "rows": trial.rows, "good": trial.good, "first": first, "mistakes": mistakes, "mistakes_in_all": trial.found, "trailer": trial.trailer,
        }));
        return Ok(Ended::well_if(well));
    }
    for resource in &trial.first {
        print::line(resource);
    }
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    for (line, flaw) in &trial.mistakes {
        print::note(&format!("{name}:{line}: {flaw}"));
    }
    if let Some(says) = &trial.trailer {
        print::note(&format!("{name}: {says}"));
    }
    print::note(&format!("{} rows, {} become resources, {} mistakes", trial.rows, trial.good, trial.found));
    Ok(Ended::well_if(well))
}

impl Drops {
    pub(super) async fn run(self, app: &App, common: &Common) -> Result<Ended, Failure> {
        match self {
            Self::List { ehr, limit } => list(app, common, ehr, limit).await,
            Self::Show { id } => show(app, common, id).await,
            Self::Check { declaration, file, rows } => check(common, &declaration, &file, rows),
        }
    }
}

fn file_json(f: &DropFile) -> Value {
    json!({
        "number": f.id, "ehr": f.ehr, "drop": f.drop_name, "file": f.file, "state": f.state, "size": f.size,
        "seen_at": print::instant(f.seen_at), "ended_at": f.ended_at.map(print::instant), "moved": f.moved, "rows": f.lines, "stored": f.stored,
        "unchanged": f.unchanged, "superseded": f.superseded, "ignored": f.ignored, "quarantined": f.quarantined, "missing": f.missing,
        "gone": f.gone, "reason": f.reason, "hash": f.hash,
    })
}

fn status_json(s: &DropStatus) -> Value {
    json!({
        "ehr": s.ehr, "drop": s.drop_name, "checked_at": print::instant(s.checked_at), "last_taken_at": s.last_taken_at.map(print::instant),
        "late_since": s.late_since.map(print::instant), "problem": s.problem,
    })
}

async fn list(app: &App, common: &Common, only: Option<String>, limit: i64) -> Result<Ended, Failure> {
    if let Some(name) = &only {
        app.profile(&ehr::ehr_id(name)?).await?;
    }
    let (statuses, files) =
        app.store.read(move |conn| Ok((drops::statuses(conn, only.as_deref())?, drops::files(conn, only.as_deref(), limit)?))).await?;
    // The files come latest first.
    let bad = |s: &DropStatus| {
        files.iter().find(|f| f.ehr == s.ehr && f.drop_name == s.drop_name).is_some_and(|f| matches!(f.state.as_str(), "failed" | "held"))
    };
    let well = statuses.iter().all(|s| s.late_since.is_none() && s.problem.is_none() && !bad(s));
    if common.json {
        let (statuses, files): (Vec<Value>, Vec<Value>) =
            (statuses.iter().map(status_json).collect(), files.iter().map(file_json).collect());
        print::json(&json!({ "drops": statuses, "files": files }));
        return Ok(Ended::well_if(well));
    }
    if statuses.is_empty() {
        print::note(
            "no drop folder was looked into yet; declare one with `fhir-engage ehr add ... --drop FILE`, then `fhir-engage sync run`",
        );
    }
    let mut table = print::Table::new(&["EHR", "DROP", "CHECKED", "LAST FILE", "LATE SINCE", "PROBLEM"]);
    for s in &statuses {
        let times = [Some(s.checked_at), s.last_taken_at, s.late_since].map(print::instant_or_dash);
        table.row(
            [s.ehr.clone(), s.drop_name.clone()].into_iter().chain(times).chain([s.problem.clone().unwrap_or_else(|| "-".to_owned())]),
        );
    }
    table.print();
    if files.is_empty() {
        return Ok(Ended::well_if(well));
    }
    print::line("");
    let mut table =
        print::Table::new(&["N", "EHR", "DROP", "FILE", "STATE", "ROWS", "STORED", "UNCHANGED", "QUARANTINED", "MISSING", "REASON"]);
    for f in &files {
        let counts = [f.lines, f.stored, f.unchanged, f.quarantined, f.missing].map(|n| n.to_string());
        let head = [f.id.to_string(), f.ehr.clone(), f.drop_name.clone(), f.file.clone(), f.state.clone()];
        table.row(head.into_iter().chain(counts).chain([f.reason.clone().unwrap_or_else(|| "-".to_owned())]));
    }
    table.print();
    Ok(Ended::well_if(well))
}

async fn show(app: &App, common: &Common, id: i64) -> Result<Ended, Failure> {
    let found = app.store.read(move |conn| drops::file(conn, id)).await?;
    let Some(file) = found else { return Err(Failure::usage(format!("there is no file {id}; `fhir-engage sync drops list` tells them"))) };
    let value = file_json(&file);
    if common.json {
        print::json(&value);
        return Ok(Ended::Well);
    }
    let mut table = print::Table::new(&["WHAT", "IS"]);
    for (key, value) in value.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null()) {
        table.row([key.replace('_', " "), value.as_str().map_or_else(|| value.to_string(), str::to_owned)]);
    }
    table.print();
    if file.quarantined > 0 {
        print::note(&format!("`fhir-engage sync quarantine list --ehr {}` tells what was put aside", file.ehr));
    }
    Ok(Ended::Well)
}

/// Prints what a look into folders brought.
pub(super) fn tell(reports: &[(EhrId, DropReport)]) {
    let mut table = print::Table::new(&["EHR", "DROP", "FILE", "STATE", "ROWS", "STORED", "UNCHANGED", "QUARANTINED"]);
    let mut any = false;
    for (id, report) in reports {
        for f in &report.files {
            any = true;
            let counts = [f.lines, f.stored, f.unchanged, f.quarantined].map(|n| n.to_string());
            table.row([id.to_string(), report.drop.clone(), f.file.clone(), f.state.to_owned()].into_iter().chain(counts));
        }
    }
    if any {
        table.print();
    }
    for (id, report) in reports {
        let say = |text: String| print::note(&format!("{id} {}: {text}", report.drop));
        report.files.iter().filter_map(|f| Some((f, f.reason.as_ref()?))).for_each(|(f, why)| say(format!("{}: {why}", f.file)));
        report.waiting.iter().for_each(|(file, why)| say(format!("{file} waits: {why}")));
        report.problem.iter().for_each(|why| say(why.clone()));
        report.late_since.iter().for_each(|at| say(format!("no file has come since it was due at {at}")));
    }
}

/// Looks into all folders once, for the worker.
pub(super) async fn take_all(app: &Arc<App>, stop: &Stop) -> TaskReport {
    let flag = super::serve::flag(stop);
    let ehrs = match app.ehrs().await {
        Ok(ehrs) => ehrs,
        Err(error) => return TaskReport::failed(error.to_string()),
    };
    let (mut files, mut rows, mut failures) = (0, 0, Vec::new());
    for (ehr, profile) in ehrs.known.iter().filter(|(_, profile)| !profile.drops.is_empty()) {
        match app.take_drops(ehr, profile, false, &flag, Arc::new(|_| ())).await {
            Ok(reports) => {
                for report in &reports {
                    files += report.files.len();
                    rows += report.files.iter().map(|f| f.lines).sum::<i64>();
                    // Files' names and what is in them stay out of logs.
                    if report.files.iter().any(|f| matches!(f.state, "failed" | "held")) {
                        failures
                            .push(format!("{ehr}: a file of the drop {} needs a person; `fhir-engage sync drops list` tells", report.drop));
                    }
                    failures.extend(report.problem.iter().map(|why| format!("{ehr}: {why}")));
                }
            }
            Err(StageError::Busy(_)) => {}
            Err(error) => failures.push(format!("{ehr}: {error}")),
        }
    }
    match failures {
        none if none.is_empty() && files == 0 => TaskReport::idle(None),
        none if none.is_empty() => TaskReport::worked(format!("{files} files taken, {rows} rows read"), None),
        some => TaskReport::failed(some.join("; ")),
    }
}
