//! `ehr show`: how an EHR is connected, each value with where it comes from.

use domain::model::EhrId;

use super::super::exit::{Ended, Failure};
use super::super::{Common, print};
use crate::app::{App, Connected};

pub(super) async fn show(app: &App, common: &Common, id: &EhrId, offline: bool) -> Result<Ended, Failure> {
    let Connected { rows, seen_at, drifted } = app.connected_as(id, offline).await?;
    if common.json {
        let changes = drifted.as_ref().map(|d| &d.changes);
        print::json(&serde_json::json!({ "ehr": id, "statement_seen_at": seen_at.map(print::instant), "values": rows, "drift": changes }));
        return Ok(Ended::Well);
    }
    let mut table = print::Table::new(&["VALUE", "FROM", ""]);
    for row in &rows {
        table.row([row.key.clone(), row.from.words().to_owned(), row.value.clone()]);
    }
    table.print();
    let mut told: Vec<String> = rows.iter().flat_map(|r| r.warnings.iter().map(|w| format!("{}: {w}", r.key))).collect();
    told.dedup();
    if !told.is_empty() {
        print::line("");
    }
    told.iter().for_each(|text| print::line(&format!("mind  {text}")));
    let mut sources: Vec<&str> = rows.iter().filter_map(|r| r.source.as_deref()).flat_map(|s| s.split("; ")).collect();
    sources.sort_unstable();
    sources.dedup();
    if !sources.is_empty() {
        print::line("");
    }
    sources.iter().for_each(|source| print::line(&format!("preset's source  {source}")));
    match (seen_at, drifted.filter(|d| d.row.is_problem())) {
        (Some(at), None) => print::note(&format!("the EHR's statement is of {}", print::instant(at))),
        (Some(_), Some(_)) => print::note(&format!("the EHR's statement changed; see `fhir-engage ehr drift {id}`")),
        (None, _) => print::note(&format!("the EHR was never asked; run `fhir-engage ehr check {id}`")),
    }
    Ok(Ended::Well)
}
