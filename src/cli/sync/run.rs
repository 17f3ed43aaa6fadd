//! `sync run`: reads what changed, now.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use domain::model::ResourceType;

use super::super::exit::{Ended, Failure};
use super::super::{Common, ehr, print, progress, signals};
use crate::app::{App, StageProgress};

pub(super) async fn run(
    app: &App,
    common: &Common,
    only: Option<String>,
    types: &[String],
    accept_vanished: bool,
) -> Result<Ended, Failure> {
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
    signals::stop_at(&stop);
    let mut reports = Vec::new();
    let mut failures = Vec::new();
    for (id, _) in ehrs {
        let bar = progress::spinner("resources");
        let done = app
            .sync_with(&id, &types, accept_vanished, &stop, &|p| {
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
