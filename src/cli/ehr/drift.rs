//! `ehr drift`: what changed in what an EHR states of itself, and taking note of it.

use domain::model::EhrId;

use super::super::exit::{Ended, Failure};
use super::super::{Common, print};
use crate::app::App;
use crate::connect::Weight;

/// Whether to ask the EHR first, and whether to take note.
pub(super) struct How<'a> {
    pub offline: bool,
    pub acknowledge: bool,
    pub by: Option<&'a str>,
}

pub(super) async fn drift(app: &App, common: &Common, id: &EhrId, how: How<'_>) -> Result<Ended, Failure> {
    if app.profile(id).await?.files_only {
        return Err(Failure::usage(format!("{id} delivers files; there is no statement that could change")));
    }
    // What cannot be read now is told with what was read last.
    let asked = if how.offline { Ok(()) } else { app.connect(id).await.map(drop) };
    let Some(drifted) = app.drifted(id).await? else {
        asked?;
        return Err(Failure::problem(format!("{id} was never asked what it can do; run `fhir-engage ehr check {id}`")));
    };
    if how.acknowledge {
        asked?;
        let by = how.by.map_or_else(|| std::env::var("USER").unwrap_or_else(|_| "operator".to_owned()), str::to_owned);
        if !app.accept_statement(id, &drifted, &by).await? {
            return Err(Failure::problem("the statement changed once more in this moment; look at it again"));
        }
    }
    let row = &drifted.row;
    let problem = !how.acknowledge && (drifted.changes.iter().any(|c| c.weight == Weight::Problem) || row.failure.is_some());
    if common.json {
        print::json(&serde_json::json!({
            "ehr": id,
            "seen_at": print::instant(row.seen_at),
            "compared_with": print::instant(row.accepted_at),
            "accepted_by": row.accepted_by,
            "drifted_at": row.drifted_at.map(print::instant),
            "failure": row.failure,
            "failed_at": row.failed_at.map(print::instant),
            "changes": drifted.changes,
            "acknowledged": how.acknowledge,
        }));
        return Ok(Ended::well_if(!problem));
    }
    if let (Some(failure), Some(at)) = (&row.failure, row.failed_at) {
        print::line(&format!("PROBLEM  since {} the statement cannot be read: {failure}", print::instant(at)));
    }
    drifted.changes.iter().for_each(|change| print::line(&change.to_string()));
    let since = print::instant(row.accepted_at);
    match (drifted.changes.is_empty(), how.acknowledge) {
        (true, _) => print::note(&format!("nothing changed since {since}")),
        (false, true) => print::note(&format!("taken note of; changes are told from {} on", print::instant(row.seen_at))),
        (false, false) => {
            print::note(&format!("compared with what was stated on {since}; `fhir-engage ehr drift {id} --acknowledge` takes note of it"))
        }
    }
    Ok(Ended::well_if(!problem))
}
