//! `sync`: reads what changed, shows runs, and looks after what was put aside.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Subcommand;
use domain::model::{EhrId, ResourceType};
use serde::Serialize;

use super::exit::{Ended, Failure};
use super::{Common, ehr, print};
use crate::app::{App, StageProgress};
use crate::store::view::overview;
use crate::store::{coverage, leases::Term, quarantine};
use crate::sync::Holder;
use crate::sync::quarantine::Which;
use crate::worker::Owner;

/// Read what changed in the EHRs; look at runs and at what was put aside
#[derive(Debug, Subcommand)]
pub(super) enum Sync {
    /// Sync now
    #[command(after_help = "Examples:
  fhir-engage sync run
  fhir-engage sync run --ehr main --type Appointment

A type that the EHR refuses is skipped and named; the others go on. A run that was cut off goes on where it was.")]
    Run {
        /// One EHR only
        #[arg(long, value_name = "ID")]
        ehr: Option<String>,
        /// One type only; may be repeated
        #[arg(long = "type", value_name = "TYPE", value_parser = ["Patient", "Appointment", "CarePlan"])]
        types: Vec<String>,
        /// Where a run stopped because much had disappeared at the EHR: it is right, go on
        #[arg(long, requires = "ehr")]
        accept_vanished: bool,
    },
    /// Explain how each type of an EHR is read, what that misses, and what is lacking
    #[command(after_help = "Examples:
  fhir-engage sync plan main
  fhir-engage sync plan main --json

The vendor's preset, narrowed by what the server states of itself now; what `ehr add` was told holds against both.
Exit code 1 where a type cannot be read until something is given.")]
    Plan {
        /// The EHR's name
        #[arg(value_name = "ID")]
        id: String,
    },
    /// List the patients of whom a type is not known, and why
    #[command(after_help = "Examples:
  fhir-engage sync holes main
  fhir-engage sync holes main --json

Rules that read the type answer `unknown` for these patients, or as old as they were last read.")]
    Holes {
        /// The EHR's name
        #[arg(value_name = "ID")]
        id: String,
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: i64,
    },
    /// Show the last run of each EHR and type, or the one that goes on
    #[command(after_help = "Examples:
  fhir-engage sync status
  fhir-engage sync status --json

Exit code 1 where the last run of a type failed.")]
    Status,
    /// Look at what was put aside, and replay it
    Quarantine {
        #[command(subcommand)]
        command: Option<Quarantine>,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum Quarantine {
    /// List what waits, the latest first
    #[command(after_help = "Examples:
  fhir-engage sync quarantine list
  fhir-engage sync quarantine list --ehr main --json")]
    List {
        /// One EHR only
        #[arg(long, value_name = "ID")]
        ehr: Option<String>,
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: i64,
    },
    /// Print the bytes of one row as they were received
    #[command(after_help = "Examples:
  fhir-engage sync quarantine show 12

The bytes are a patient's data: mind where you print them.")]
    Show {
        /// The row's number
        #[arg(value_name = "N")]
        id: i64,
    },
    /// Try to take in what waits
    #[command(after_help = "Examples:
  fhir-engage sync quarantine replay --ehr main
  fhir-engage sync quarantine replay --ehr main --id 12")]
    Replay {
        /// The EHR
        #[arg(long, value_name = "ID")]
        ehr: String,
        /// One row only
        #[arg(long, value_name = "N")]
        id: Option<i64>,
    },
}

/// How long a sync by hand waits for exports; who does not want to stops it, and the next one goes on.
const EXPORT_WAIT: std::time::Duration = std::time::Duration::from_secs(12 * 3600);

impl Sync {
    pub(super) async fn run(self, common: &Common) -> Result<Ended, Failure> {
        let app = common.open()?;
        match self {
            Self::Run { ehr, types, accept_vanished } => run(&app, common, ehr, &types, accept_vanished).await,
            Self::Plan { id } => plan(&app, common, &ehr::ehr_id(&id)?).await,
            Self::Holes { id, limit } => holes(&app, common, &ehr::ehr_id(&id)?, limit).await,
            Self::Status => status(&app, common).await,
            Self::Quarantine { command: Some(Quarantine::List { ehr, limit }) } => list(&app, common, ehr, limit).await,
            Self::Quarantine { command: None } => list(&app, common, None, 100).await,
            Self::Quarantine { command: Some(Quarantine::Show { id }) } => show(app, common, id).await,
            Self::Quarantine { command: Some(Quarantine::Replay { ehr, id }) } => replay(app, common, &ehr, id).await,
        }
    }
}

async fn run(app: &App, common: &Common, only: Option<String>, types: &[String], accept_vanished: bool) -> Result<Ended, Failure> {
    let only = only.as_deref().map(ehr::ehr_id).transpose()?;
    let types: Vec<ResourceType> = match types {
        [] => app.config.sync.types.clone(),
        named => named.iter().filter_map(|t| ResourceType::parse(t)).collect(),
    };
    let ehrs: Vec<_> = match &only {
        Some(id) => vec![(id.clone(), app.profile(id).await?)],
        None => app.ehrs().await?.into_iter().filter(|(_, p)| !p.files_only).collect(),
    };
    if ehrs.is_empty() {
        return Err(Failure::problem("no EHR with a connection is registered; add one with `fhir-engage ehr add`"));
    }
    let stop = Arc::new(AtomicBool::new(false));
    super::signals::stop_at(&stop);
    let mut reports = Vec::new();
    let mut failures = Vec::new();
    for (id, _) in ehrs {
        let bar = super::progress::spinner("resources");
        let done = app
            .sync_with(&id, &types, accept_vanished, EXPORT_WAIT, &stop, &|p| {
                if let StageProgress::Synced(_, n) = p {
                    bar.set_position(n)
                }
            })
            .await;
        bar.finish_and_clear();
        match done {
            Ok(found) => reports.extend(found.into_iter().map(|r| (id.clone(), r))),
            Err(error) => failures.push(format!("{id}: {error}")),
        }
        if stop.load(Ordering::Relaxed) {
            failures.push("stopped before the end; the same command goes on from there".to_owned());
            break;
        }
    }
    let well = failures.is_empty() && reports.iter().all(|(_, r)| r.failure().is_none());
    if common.json {
        let rows: Vec<_> = reports.iter().map(|(id, r)| serde_json::json!({ "ehr": id, "run": r })).collect();
        print::json(&serde_json::json!({ "runs": rows, "failures": failures }));
    } else if !reports.is_empty() {
        let mut table = print::Table::new(&["EHR", "TYPE", "STRATEGY", "FOUND", "STORED", "UNCHANGED", "QUARANTINED", "RESULT"]);
        for (id, r) in &reports {
            let result = r.result();
            let counts = [r.found, r.stored, r.unchanged, r.quarantined].map(|n| n.to_string());
            table.row([id.to_string(), r.kind.to_string(), r.strategy.to_owned()].into_iter().chain(counts).chain([result]));
        }
        table.print();
    }
    for failure in &failures {
        eprintln!("{failure}");
    }
    Ok(Ended::well_if(well))
}

async fn plan(app: &App, common: &Common, id: &EhrId) -> Result<Ended, Failure> {
    let plan = app.sync_plan(id).await.map_err(|e| Failure::problem(format!("{id}: {e}")))?;
    if common.json {
        print::json(&serde_json::json!({ "ehr": id, "plan": plan }));
    } else {
        print::line(plan.to_string().trim_end());
    }
    Ok(Ended::well_if(plan.types.iter().all(|t| t.lacks.is_none())))
}

async fn holes(app: &App, common: &Common, id: &EhrId, limit: i64) -> Result<Ended, Failure> {
    app.profile(id).await?;
    let ehr = id.clone();
    let found = app.store.read(move |conn| coverage::holes(conn, &ehr, limit)).await?;
    if common.json {
        let rows: Vec<_> = found
            .iter()
            .map(|h| {
                serde_json::json!({
                    "patient": h.patient, "type": h.rtype, "why": h.why, "since": print::instant(h.since),
                    "known_up_to": h.known_up_to.map(print::instant),
                })
            })
            .collect();
        print::json(&rows);
        return Ok(Ended::Well);
    }
    if found.is_empty() {
        print::note("there is none");
    }
    let mut table = print::Table::new(&["TYPE", "PATIENT", "SINCE", "KNOWN UP TO", "WHY"]);
    for h in found {
        table.row([h.rtype, h.patient, print::instant(h.since), print::instant_or_dash(h.known_up_to), h.why]);
    }
    table.print();
    Ok(Ended::Well)
}

async fn status(app: &App, common: &Common) -> Result<Ended, Failure> {
    let registered: Vec<String> = app.ehrs().await?.into_iter().map(|(id, _)| id.to_string()).collect();
    let mut found = app.store.read(overview::read).await?;
    // The last failure of an EHR that was removed is nobody's task any more.
    found.types.retain(|t| registered.contains(&t.ehr));
    let well = found.types.iter().all(|t| t.failure.is_none());
    if common.json {
        let rows: Vec<_> = found
            .types
            .iter()
            .map(|t| {
                let mut value = serde_json::to_value(t).unwrap_or_default();
                if let Some(map) = value.as_object_mut() {
                    for key in ["started_at", "ended_at", "known_up_to", "reconciled_at"] {
                        let told = map.get(key).and_then(serde_json::Value::as_i64).map(print::instant);
                        map.insert(key.to_owned(), told.into());
                    }
                }
                value
            })
            .collect();
        print::json(&rows);
        return Ok(Ended::well_if(well));
    }
    if found.types.is_empty() {
        print::note("nothing was synced yet; begin with `fhir-engage sync run`");
    }
    let mut table = print::Table::new(&[
        "EHR",
        "TYPE",
        "STATE",
        "STARTED",
        "FOUND",
        "STORED",
        "UNCHANGED",
        "QUARANTINED",
        "IN ALL",
        "READ",
        "KNOWN UP TO",
    ]);
    for t in &found.types {
        let counts = [t.found, t.stored, t.unchanged, t.quarantined, t.total].map(|n| n.to_string());
        let start = [t.ehr.clone(), t.rtype.clone(), t.state.clone(), print::instant(t.started_at)];
        table.row(start.into_iter().chain(counts).chain([units(t), print::instant_or_dash(t.known_up_to)]));
    }
    table.print();
    for t in &found.types {
        if let Some(why) = &t.failure {
            print::line(&format!("{} {}: {why}", t.ehr, t.rtype));
        }
        if let Some(note) = &t.note {
            print::line(&format!("{} {}: {note}", t.ehr, t.rtype));
        }
        if let Some(export) = &t.export {
            print::line(&format!("{} {}: {export}", t.ehr, t.rtype));
        }
        if t.partial {
            print::line(&format!("{} {}: the EHR said that its answer was not complete", t.ehr, t.rtype));
        }
        if t.holes > 0 {
            let many = print::plural(usize::try_from(t.holes).unwrap_or(usize::MAX), "patient");
            print::line(&format!("{} {}: not known of {many}; see `fhir-engage sync holes {}`", t.ehr, t.rtype, t.ehr));
        }
    }
    Ok(Ended::well_if(well))
}

/// How far a run came that goes from patient to patient, or from week to week.
fn units(t: &overview::TypeStatus) -> String {
    let what = if t.by_patient { "patients" } else { "weeks" };
    match (t.units_done, t.units_of) {
        (Some(done), Some(of)) => format!("{done} of {of} {what}"),
        _ => "-".to_owned(),
    }
}

#[derive(Serialize)]
struct Row {
    id: i64,
    ehr: String,
    #[serde(rename = "type")]
    rtype: Option<String>,
    resource_id: Option<String>,
    origin: String,
    code: String,
    reason: String,
    last_seen_at: String,
    times_seen: i64,
}

impl From<quarantine::QuarantineRow> for Row {
    fn from(r: quarantine::QuarantineRow) -> Self {
        Self {
            id: r.id,
            ehr: r.ehr,
            rtype: r.rtype,
            resource_id: r.fhir_id,
            origin: r.origin,
            code: r.code,
            reason: r.reason,
            last_seen_at: print::instant(r.last_seen_at),
            times_seen: r.times_seen,
        }
    }
}

async fn list(app: &App, common: &Common, only: Option<String>, limit: i64) -> Result<Ended, Failure> {
    if let Some(name) = &only {
        app.profile(&ehr::ehr_id(name)?).await?;
    }
    let rows = app.store.read(move |conn| quarantine::list(conn, only.as_deref(), limit)).await?;
    let rows: Vec<Row> = rows.into_iter().map(Row::from).collect();
    if common.json {
        print::json(&rows);
        return Ok(Ended::Well);
    }
    if rows.is_empty() {
        print::note("nothing is put aside");
    }
    let mut table = print::Table::new(&["N", "EHR", "TYPE", "ORIGIN", "SEEN", "REASON"]);
    for r in rows {
        table.row([r.id.to_string(), r.ehr, r.rtype.unwrap_or_else(|| "-".to_owned()), r.origin, r.times_seen.to_string(), r.reason]);
    }
    table.print();
    Ok(Ended::Well)
}

async fn show(app: App, common: &Common, id: i64) -> Result<Ended, Failure> {
    let store = app.store.clone();
    let found = app.store.read(move |conn| quarantine::get(conn, store.codec(), id)).await?;
    let Some((row, bytes)) = found else { return Err(Failure::usage(format!("there is no row {id} in quarantine"))) };
    if common.json {
        print::json(&serde_json::json!({ "row": Row::from(row), "bytes": String::from_utf8_lossy(&bytes) }));
    } else {
        use std::io::Write as _;
        eprintln!("{} ({}): {}", row.origin, row.code, row.reason);
        let mut out = std::io::stdout().lock();
        drop(out.write_all(&bytes).and_then(|()| out.write_all(b"\n")));
    }
    Ok(Ended::Well)
}

async fn replay(app: App, common: &Common, ehr: &str, only: Option<i64>) -> Result<Ended, Failure> {
    let id = super::ehr::ehr_id(ehr)?;
    app.profile(&id).await?;
    let report = tokio::task::spawn_blocking(move || {
        let owner = app.owner.clone();
        let holder =
            Holder { owner: owner.as_str(), term: Term(app.config.worker.lease), is_dead: |other| Owner::this_process().is_dead(other) };
        crate::sync::quarantine::replay(&app.store, app.clock.as_ref(), holder, &id, only.map_or(Which::All, Which::Row))
    })
    .await
    .map_err(|_| Failure::problem("the replay ended unexpectedly; run the same command again"))?
    .map_err(|e| Failure::problem(crate::app::told(&e)))?;
    if common.json {
        print::json(&report);
    } else {
        print::line(&format!(
            "{} tried: {} stored, {} no longer needed, {} still put aside",
            report.tried,
            report.stored,
            report.superseded,
            report.still_bad.len()
        ));
        for (row, why) in &report.still_bad {
            print::line(&format!("{row}: {why}"));
        }
    }
    Ok(Ended::well_if(report.still_bad.is_empty()))
}
