//! `sync quarantine`: what was put aside, its bytes, and another try to take it in.

use std::sync::Arc;

use clap::Subcommand;
use serde::Serialize;

use super::super::exit::{Ended, Failure};
use super::super::{Common, ehr, print};
use crate::app::App;
use crate::store::{leases::Term, quarantine};
use crate::sync::Holder;
use crate::sync::quarantine::Which;
use crate::worker::Owner;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Quarantine {
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

impl Quarantine {
    pub(super) async fn run(self, app: Arc<App>, common: &Common) -> Result<Ended, Failure> {
        match self {
            Self::List { ehr, limit } => list(&app, common, ehr, limit).await,
            Self::Show { id } => show(app, common, id).await,
            Self::Replay { ehr, id } => replay(app, common, &ehr, id).await,
        }
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
    let mut table = print::Table::new(&["N", "EHR", "TYPE", "ID", "ORIGIN", "SEEN", "REASON"]);
    for r in rows {
        let [rtype, id] = [r.rtype, r.resource_id].map(|told| told.unwrap_or_else(|| "-".to_owned()));
        table.row([r.id.to_string(), r.ehr, rtype, id, r.origin, r.times_seen.to_string(), r.reason]);
    }
    table.print();
    Ok(Ended::Well)
}

async fn show(app: Arc<App>, common: &Common, id: i64) -> Result<Ended, Failure> {
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

async fn replay(app: Arc<App>, common: &Common, ehr: &str, only: Option<i64>) -> Result<Ended, Failure> {
    let id = super::super::ehr::ehr_id(ehr)?;
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
