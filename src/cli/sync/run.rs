//! `sync run`: reads what changed, now; or asks a running server to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Args;
use domain::model::{EhrId, ResourceType};
use indicatif::ProgressBar;

use super::super::exit::{Ended, Failure};
use super::super::{Common, ehr, print, progress, signals, who};
use super::types;
use crate::app::{App, StageProgress};
use crate::store::turns;
use crate::store::view::overview;

/// Sync now
#[derive(Debug, Args)]
pub(in crate::cli) struct Run {
    /// One EHR only
    #[arg(long, value_name = "ID")]
    ehr: Option<String>,
    /// One type only; may be repeated
    #[arg(long = "type", value_name = "TYPE", value_parser = types())]
    types: Vec<String>,
    /// Where a run stopped because much had disappeared at the EHR: it is right, go on
    #[arg(long, requires = "ehr", conflicts_with = "on_server")]
    accept_vanished: bool,
    /// Ask a running serve or work to do it, on whichever node, and do not wait
    #[arg(long)]
    on_server: bool,
    /// Read also what is paused or in closed hours
    #[arg(long, conflicts_with = "on_server")]
    anyway: bool,
}

/// How long a sync by hand waits for exports; who does not want to stops it, and the next one goes on.
const EXPORT_WAIT: Duration = Duration::from_secs(12 * 3600);

impl Run {
    pub(super) async fn run(self, app: &Arc<App>, common: &Common) -> Result<Ended, Failure> {
        let only = self.ehr.as_deref().map(ehr::ehr_id).transpose()?;
        if let Some(id) = &only
            && app.profile(id).await?.files_only
            && self.on_server
        {
            return Err(Failure::usage(format!("{id} has no connection; its data comes by `fhir-engage import --ehr {id} PATH`")));
        }
        let types: Vec<ResourceType> = match self.types.as_slice() {
            [] => app.types_to_sync(),
            named => named.iter().filter_map(|t| ResourceType::parse(t)).collect(),
        };
        if self.on_server {
            return ask(app, common, only, &types).await;
        }
        let mut failures = Vec::new();
        let ehrs: Vec<EhrId> = match &only {
            Some(id) => vec![id.clone()],
            None => {
                let all = app.ehrs().await?;
                failures.extend(all.problems());
                all.known.into_iter().filter(|(_, p)| !p.files_only || !p.drops.is_empty()).map(|(id, _)| id).collect()
            }
        };
        if ehrs.is_empty() && failures.is_empty() {
            return Err(Failure::problem("no EHR with a connection or a drop folder is registered; add one with `fhir-engage ehr add`"));
        }
        let stop = Arc::new(AtomicBool::new(false));
        signals::stop_at(&stop);
        let (mut reports, mut drops) = (Vec::new(), Vec::new());
        self.are_asked_for(app, &ehrs, &types).await?;
        for id in ehrs {
            let profile = app.profile(&id).await?;
            // Files hold what they hold: a look at one type alone is a sync's.
            if !profile.drops.is_empty() && self.types.is_empty() {
                let bar = progress::spinner("rows");
                let shown = bar.clone();
                let done = app.take_drops(&id, &profile, self.accept_vanished, &stop, Arc::new(move |n| shown.set_position(n))).await;
                bar.finish_and_clear();
                match done {
                    Ok(found) => drops.extend(found.into_iter().map(|report| (id.clone(), report))),
                    Err(error) => failures.push(format!("{id}: {error}")),
                }
            }
            if profile.files_only && !profile.drops.is_empty() {
                continue;
            }
            let mut types = types.clone();
            if !self.anyway {
                let agenda = app.agenda().await?;
                for entry in agenda.entries.iter().filter(|e| e.ehr == id) {
                    if let Some(why) = entry.closed(agenda.now).filter(|_| types.contains(&entry.kind)) {
                        types.retain(|kind| *kind != entry.kind);
                        failures.push(format!("{id} {}: {why}; --anyway reads it all the same", entry.kind));
                    }
                }
            }
            if types.is_empty() {
                continue;
            }
            let bar = progress::spinner("resources");
            let shown = |p: StageProgress| {
                if let StageProgress::Synced(_, n) = p {
                    bar.set_position(n);
                }
            };
            let run = app.sync_with(&id, &types, self.accept_vanished, EXPORT_WAIT, &stop, &shown);
            let done = telling_of_exports(app, &id, &bar, run).await;
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
        let well = failures.is_empty() && !reports.iter().any(|(_, r)| r.is_problem()) && !drops.iter().any(|(_, r)| r.is_problem());
        if common.json {
            let rows: Vec<_> = reports.iter().map(|(id, r)| serde_json::json!({ "ehr": id, "run": r })).collect();
            let drops: Vec<_> = drops.iter().map(|(id, r)| serde_json::json!({ "ehr": id, "drop": r })).collect();
            print::json(&serde_json::json!({ "runs": rows, "drops": drops, "failures": failures }));
        } else {
            super::super::drops::tell(&drops);
        }
        if !common.json && !reports.is_empty() {
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
}

/// Looks whether a run waits for an export.
const LOOK: Duration = Duration::from_secs(3);
/// Between two words on how far it is.
const AGAIN: Duration = Duration::from_secs(60);

/// Waits for a run, and tells meanwhile that it waits for an export: that may take hours, and nothing else is to be seen then.
async fn telling_of_exports<T>(app: &App, id: &EhrId, bar: &ProgressBar, run: impl Future<Output = T>) -> T {
    let mut run = std::pin::pin!(run);
    let (mut look, mut told) = (tokio::time::interval(LOOK), None::<(tokio::time::Instant, String)>);
    look.tick().await;
    loop {
        tokio::select! {
            done = &mut run => return done,
            _ = look.tick() => {}
        }
        // What cannot be looked at now is looked at again.
        let exports = app.store.read(overview::in_hand).await.unwrap_or_default();
        let Some(job) = exports.into_iter().find(|job| job.ehr == id.as_str() && job.waits) else { continue };
        if told.as_ref().is_some_and(|(at, says)| at.elapsed() < AGAIN || *says == job.says) {
            continue;
        }
        let text = format!("{id} {}: {}; Ctrl-C leaves it to a later run", job.types.join(", "), job.says);
        if bar.is_hidden() {
            print::note(&text)
        } else {
            bar.println(text)
        }
        told = Some((tokio::time::Instant::now(), job.says));
    }
}

impl Run {
    /// A supporting type that no EHR is asked for would be passed over in silence.
    async fn are_asked_for(&self, app: &App, ehrs: &[EhrId], types: &[ResourceType]) -> Result<(), Failure> {
        for kind in types.iter().filter(|kind| !self.types.is_empty() && !kind.is_core()) {
            let mut asked = false;
            for id in ehrs {
                asked |= app.profile(id).await?.types.contains(kind);
            }
            if !asked {
                return Err(Failure::usage(format!(
                    "no such EHR is asked for {kind}; register it again with `ehr add ... --types {kind}`"
                )));
            }
        }
        Ok(())
    }
}

/// Leaves a wish that the next node to look takes.
async fn ask(app: &App, common: &Common, only: Option<EhrId>, types: &[ResourceType]) -> Result<Ended, Failure> {
    let agenda = app.agenda().await?;
    let wanted: Vec<(EhrId, ResourceType)> = agenda
        .entries
        .iter()
        .filter(|e| only.as_ref().is_none_or(|id| e.ehr == *id) && types.contains(&e.kind))
        .map(|e| (e.ehr.clone(), e.kind))
        .collect();
    if wanted.is_empty() {
        return Err(Failure::problem("nothing of this is synced here; see `fhir-engage sync schedule list`"));
    }
    let (by, now, asked) = (who::who(None), agenda.now, wanted.clone());
    app.store.write("ask for a sync", move |conn| asked.iter().try_for_each(|(id, kind)| turns::want(conn, id, *kind, &by, now))).await?;
    let after = app.agenda().await?;
    let rows: Vec<_> = after.entries.iter().filter(|e| wanted.contains(&(e.ehr.clone(), e.kind))).collect();
    if common.json {
        let told = |e: &&crate::app::Entry| super::schedule::row(e, after.now);
        print::json(&rows.iter().map(told).collect::<Vec<_>>());
    } else {
        let mut table = print::Table::new(&["EHR", "TYPE", "NEXT", "WHY"]);
        for e in rows {
            let (next, why) = super::schedule::next(e, after.now);
            table.row([e.ehr.to_string(), e.kind.to_string(), next, why]);
        }
        table.print();
        print::note("asked; a running `serve` or `work` takes it, and `fhir-engage sync status` tells how it went");
    }
    Ok(Ended::Well)
}
