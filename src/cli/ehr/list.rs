//! `ehr list`: the registered EHRs, and how the last sync of each went.

use domain::model::EhrId;
use url::Url;

use super::super::exit::{Ended, Failure};
use super::super::{Common, print};
use crate::app::App;
use crate::store::view::overview::{self, TypeStatus};

/// How the latest runs of an EHR's types went.
struct Health {
    last: Option<i64>,
    failed: Vec<String>,
}

impl Health {
    fn of(runs: &[&TypeStatus]) -> Self {
        let failed = runs.iter().filter(|t| t.failure.is_some()).map(|t| t.rtype.clone()).collect();
        Self { last: runs.iter().filter_map(|t| t.ended_at).max(), failed }
    }
}

impl std::fmt::Display for Health {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.last.map_or_else(|| "never".to_owned(), print::instant))?;
        if !self.failed.is_empty() {
            write!(f, ", failed: {} (see `fhir-engage sync status`)", self.failed.join(", "))?;
        }
        Ok(())
    }
}

pub(super) async fn list(app: &App, common: &Common) -> Result<Ended, Failure> {
    let all = app.ehrs().await?;
    let types = app.store.read(overview::read).await?.types;
    let runs = |id: &EhrId| types.iter().filter(|t| t.ehr == id.as_str()).collect::<Vec<_>>();
    if common.json {
        let mut rows: Vec<_> = all
            .known
            .iter()
            .map(|(id, profile)| {
                let health = Health::of(&runs(id));
                serde_json::json!({ "id": id, "profile": profile, "last_sync": health.last.map(print::instant), "failed_types": health.failed })
            })
            .collect();
        rows.extend(all.unreadable.iter().map(|(id, why)| serde_json::json!({ "id": id, "profile": null, "problem": why.to_string() })));
        print::json(&rows);
        return Ok(Ended::well_if(all.unreadable.is_empty()));
    }
    if all.known.is_empty() && all.unreadable.is_empty() {
        print::note("no EHR is registered; add one with `fhir-engage ehr add`");
    }
    let mut table = print::Table::new(&["EHR", "BASE URL", "AUTH", "LAST SYNC"]);
    let problems = all.problems();
    for (id, profile) in all.known {
        let base = profile.base_url.as_ref().map_or_else(|| "files only".to_owned(), Url::to_string);
        let auth = profile.auth.as_str();
        let health = Health::of(&runs(&id));
        table.row([id.to_string(), base, auth.to_owned(), health.to_string()]);
    }
    table.print();
    problems.iter().for_each(|problem| print::note(problem));
    Ok(Ended::well_if(problems.is_empty()))
}
