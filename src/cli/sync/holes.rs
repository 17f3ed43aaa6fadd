//! `sync holes`: of whom a type is not known, and why.

use domain::model::EhrId;

use super::super::exit::{Ended, Failure};
use super::super::{Common, print};
use crate::app::App;
use crate::store::coverage;

pub(super) async fn holes(app: &App, common: &Common, id: &EhrId, limit: i64) -> Result<Ended, Failure> {
    app.profile(id).await?;
    let ehr = id.clone();
    let found = app.store.read(move |conn| coverage::holes(conn, &ehr, limit)).await?;
    if common.json {
        let rows: Vec<_> = found
            .iter()
            .map(|h| {
                serde_json::json!({
                    "patient": h.patient, "type": h.rtype, "why": h.why, "since": print::instant(h.since),
                    "known_up_to": h.known_up_to.map(print::instant),
                })
            })
            .collect();
        print::json(&rows);
        return Ok(Ended::Well);
    }
    if found.is_empty() {
        print::note("there is none");
    }
    let mut table = print::Table::new(&["TYPE", "PATIENT", "SINCE", "KNOWN UP TO", "WHY"]);
    for h in found {
        table.row([h.rtype, h.patient, print::instant(h.since), print::instant_or_dash(h.known_up_to), h.why]);
    }
    table.print();
    Ok(Ended::Well)
}
