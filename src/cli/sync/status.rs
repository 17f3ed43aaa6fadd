//! `sync status`: how the last run of each EHR and type went, or how far it is.

use super::super::exit::{Ended, Failure};
use super::super::{Common, print};
use crate::app::App;
use crate::store::view::overview;

pub(super) async fn status(app: &App, common: &Common) -> Result<Ended, Failure> {
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
                    for key in ["started_at", "ended_at", "known_up_to"] {
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
