//! `writeback`: writes what is owed into the EHRs; lists what is owed, written and refused, and why.

use std::sync::Arc;

use clap::Subcommand;
use serde::Serialize;

use super::exit::{Ended, Failure};
use super::{Common, ehr, print};
use crate::app::App;
use crate::store::writebacks;

/// Write what is owed into the EHRs; look at what is owed, written and refused
#[derive(Debug, Subcommand)]
pub(super) enum Writeback {
    /// List write-backs, the latest owed first
    #[command(after_help = "Examples:
  fhir-engage writeback list --state refused
  fhir-engage writeback list --ehr main --json")]
    List {
        /// owed, writing, written, unknown, refused or exported
        #[arg(long, value_name = "STATE", value_parser = ["owed", "writing", "written", "unknown", "refused", "exported"])]
        state: Option<String>,
        /// One EHR only
        #[arg(long, value_name = "EHR")]
        ehr: Option<String>,
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: i64,
    },
    /// Write what is owed and due
    #[command(after_help = "Examples:
  fhir-engage writeback run
  fhir-engage writeback run --ehr main --json")]
    Run {
        /// One EHR only
        #[arg(long, value_name = "EHR")]
        ehr: Option<String>,
    },
}

#[derive(Serialize)]
struct Row {
    id: String,
    attempt: String,
    ehr: String,
    state: String,
    tries: i64,
    owed_at: String,
    settled_at: Option<String>,
    next_at: Option<String>,
    remote: Option<String>,
    why: Option<String>,
    loss: serde_json::Value,
}

impl From<writebacks::Writeback> for Row {
    fn from(w: writebacks::Writeback) -> Self {
        let open = matches!(w.state.as_str(), "owed" | "writing" | "unknown");
        Self {
            id: w.id,
            attempt: w.attempt,
            ehr: w.ehr,
            tries: w.tries,
            owed_at: print::instant(w.owed_at),
            settled_at: w.settled_at.map(print::instant),
            next_at: open.then(|| print::instant(w.next_at)),
            remote: w.remote_id.map(|id| format!("Communication/{id}")),
            why: w.failure,
            loss: serde_json::from_str(&w.loss).unwrap_or_default(),
            state: w.state,
        }
    }
}

impl Writeback {
    pub(super) async fn run(self, common: &Common) -> Result<Ended, Failure> {
        let app = common.open()?;
        match self {
            Self::List { state, ehr, limit } => {
                if let Some(name) = &ehr {
                    app.profile(&super::ehr::ehr_id(name)?).await?;
                }
                let rows = app.store.read(move |conn| writebacks::list(conn, ehr.as_deref(), state.as_deref(), limit)).await?;
                let rows: Vec<Row> = rows.into_iter().map(Row::from).collect();
                if common.json {
                    print::json(&rows);
                    return Ok(Ended::Well);
                }
                if rows.is_empty() {
                    print::note("no write-back is like that");
                }
                let mut table = print::Table::new(&["WRITE-BACK", "EHR", "STATE", "TRIES", "OWED", "IN THE EHR", "WHY"]);
                for r in rows {
                    let dash = || "-".to_owned();
                    table.row([
                        r.id,
                        r.ehr,
                        r.state,
                        r.tries.to_string(),
                        r.owed_at,
                        r.remote.unwrap_or_else(dash),
                        r.why.unwrap_or_default(),
                    ]);
                }
                table.print();
                Ok(Ended::Well)
            }
            Self::Run { ehr: only } => run(&app, common, only.as_deref()).await,
        }
    }
}

async fn run(app: &App, common: &Common, only: Option<&str>) -> Result<Ended, Failure> {
    let ehrs = match only {
        Some(name) => {
            let id = ehr::ehr_id(name)?;
            app.profile(&id).await?;
            vec![id]
        }
        None => app.connected().await?,
    };
    let stop = Arc::default();
    super::signals::stop_at(&stop);
    let (mut reports, mut failures) = (Vec::new(), Vec::new());
    for id in ehrs {
        match app.write_back(&id, &stop).await {
            Ok(report) => reports.push((id, report)),
            Err(error) => failures.push(format!("{id}: {error}")),
        }
    }
    let well = failures.is_empty() && reports.iter().all(|(_, r)| r.refused == 0 && r.parked == 0 && r.stopped.is_none());
    if common.json {
        let rows: Vec<_> = reports.iter().map(|(id, r)| serde_json::json!({ "ehr": id, "report": r })).collect();
        print::json(&serde_json::json!({ "runs": rows, "failures": failures }));
    } else {
        for (id, r) in &reports {
            print::line(&format!(
                "{id}: {} written, {} to be tried again, {} unclear, {} for a person, {} refused{}",
                r.written,
                r.again,
                r.unknown,
                r.parked,
                r.refused,
                r.stopped.as_ref().map(|why| format!("; stopped: {why}")).unwrap_or_default()
            ));
        }
    }
    for failure in &failures {
        print::note(failure);
    }
    Ok(Ended::well_if(well))
}
