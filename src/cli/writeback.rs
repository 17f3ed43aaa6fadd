//! `writeback`: writes what is owed into the EHRs; lists what is owed, written and refused, and why.

use clap::Subcommand;
use serde::Serialize;

use super::exit::{Ended, Failure};
use super::{Common, ehr, print};
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
                let rows = app.store.read(move |conn| writebacks::list(conn, ehr.as_deref(), state.as_deref(), limit)).await?;
                let rows: Vec<Row> = rows.into_iter().map(Row::from).collect();
                if common.json {
                    print::json(&rows);
                    return Ok(Ended::Well);
                }
                let mut table = print::Table::new(&["WRITE-BACK", "EHR", "STATE", "TRIES", "OWED", "IN THE EHR", "WHY"]);
                for r in rows {
                    let dash = || "-".to_owned();
                    table.row([r.id, r.ehr, r.state, r.tries.to_string(), r.owed_at, r.remote.unwrap_or_else(dash), r.why.unwrap_or_default()]);
                }
                table.print();
                Ok(Ended::Well)
            }
            Self::Run { ehr: only } => {
                let only = only.as_deref().map(ehr::ehr_id).transpose()?;
                let mut reports = Vec::new();
                for (id, profile) in app.ehrs().await? {
                    if profile.files_only || only.as_ref().is_some_and(|o| *o != id) {
                        continue;
                    }
                    let report = app.write_back(&id, &std::sync::atomic::AtomicBool::new(false)).await?;
                    reports.push((id, report));
                }
                let well = reports.iter().all(|(_, r)| r.refused == 0 && r.parked == 0 && r.stopped.is_none());
                if common.json {
                    let rows: Vec<_> = reports.iter().map(|(id, r)| serde_json::json!({ "ehr": id, "report": r })).collect();
                    print::json(&rows);
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
                Ok(Ended::well_if(well))
            }
        }
    }
}
