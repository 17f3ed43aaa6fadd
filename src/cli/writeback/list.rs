//! `writeback list` and `writeback run`.

use std::sync::Arc;

use clap::Args;
use serde::Serialize;

use crate::app::App;
use crate::cli::exit::{Ended, Failure};
use crate::cli::{Common, ehr, print, signals};
use crate::store::writebacks;
use crate::writeback;

/// List write-backs, the latest owed first
#[derive(Debug, Args)]
pub(in crate::cli) struct List {
    /// owed, writing, written, unknown, parked, refused, exported or kept
    #[arg(long, value_name = "STATE", value_parser = ["owed", "writing", "written", "unknown", "parked", "refused", "exported", "kept"])]
    state: Option<String>,
    /// One EHR only
    #[arg(long, value_name = "EHR")]
    ehr: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: i64,
}

/// A write-back as lists and `show` tell it.
#[derive(Serialize)]
pub(super) struct Row {
    pub id: String,
    pub attempt: String,
    pub kind: String,
    pub ehr: String,
    /// As stored, but that an unknown one that waits for a person is `parked`.
    pub state: String,
    pub tries: i64,
    pub owed_at: String,
    pub settled_at: Option<String>,
    pub next_at: Option<String>,
    pub carrier: Option<String>,
    pub remote: Option<String>,
    pub why: Option<String>,
    pub loss: serde_json::Value,
    pub differences: Option<serde_json::Value>,
}

impl From<writebacks::Writeback> for Row {
    fn from(w: writebacks::Writeback) -> Self {
        let parked = w.is_parked();
        let open = !parked && matches!(w.state.as_str(), "owed" | "writing" | "unknown");
        let place = match w.carrier.as_deref() {
            Some("document-reference") => "DocumentReference/",
            Some("appointment") => "Appointment/",
            Some("provenance") => "Provenance/",
            Some("export" | "route") => "",
            _ => "Communication/",
        };
        Self {
            id: w.id,
            attempt: w.attempt,
            kind: w.kind,
            ehr: w.ehr,
            tries: w.tries,
            owed_at: print::instant(w.owed_at),
            settled_at: w.settled_at.map(print::instant),
            next_at: open.then(|| print::instant(w.next_at)),
            remote: w.remote_id.map(|id| format!("{place}{id}")),
            carrier: w.carrier,
            why: w.failure,
            loss: serde_json::from_str(&w.loss).unwrap_or_default(),
            differences: w.differences.and_then(|d| serde_json::from_str(&d).ok()),
            state: if parked { "parked".to_owned() } else { w.state },
        }
    }
}

impl List {
    pub(super) async fn run(self, app: &App, common: &Common) -> Result<Ended, Failure> {
        super::known(app, self.ehr.as_deref()).await?;
        let rows = app.store.read(move |conn| writebacks::list(conn, self.ehr.as_deref(), self.state.as_deref(), self.limit)).await?;
        let rows: Vec<Row> = rows.into_iter().map(Row::from).collect();
        if common.json {
            print::json(&rows);
            return Ok(Ended::Well);
        }
        if rows.is_empty() {
            print::note("no write-back is like that");
        }
        let mut table = print::Table::new(&["WRITE-BACK", "KIND", "EHR", "STATE", "TRIES", "OWED", "IN THE EHR", "WHY"]);
        for r in rows {
            let remote = r.remote.unwrap_or_else(|| "-".to_owned());
            table.row([r.id, r.kind, r.ehr, r.state, r.tries.to_string(), r.owed_at, remote, r.why.unwrap_or_default()]);
        }
        table.print();
        Ok(Ended::Well)
    }
}

pub(super) async fn write(app: &App, common: &Common, only: Option<&str>) -> Result<Ended, Failure> {
    let (mut reports, mut failures) = (Vec::new(), Vec::new());
    let ehrs = match only {
        Some(name) => {
            let id = ehr::ehr_id(name)?;
            app.profile(&id).await?;
            vec![id]
        }
        None => {
            let all = app.ehrs().await?;
            failures.extend(all.problems());
            all.known.into_iter().map(|(id, _)| id).collect()
        }
    };
    let stop = Arc::default();
    signals::stop_at(&stop);
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
        let idle = writeback::Report::default();
        if failures.is_empty() && reports.iter().all(|(_, r)| *r == idle) {
            print::note("nothing was due");
        }
        for (id, r) in reports.iter().filter(|(_, r)| *r != idle) {
            print::line(&format!(
                "{id}: {} written, {} exported, {} kept in the ledger, {} to be tried again, {} unclear, {} for a person, {} refused{}",
                r.written,
                r.exported,
                r.kept,
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
