//! `sync plan`: how each type of an EHR is read, and why so.

use domain::model::EhrId;

use super::super::exit::{Ended, Failure};
use super::super::{Common, print};
use crate::app::App;

pub(super) async fn plan(app: &App, common: &Common, id: &EhrId) -> Result<Ended, Failure> {
    let plan = app.sync_plan(id).await.map_err(|e| Failure::problem(format!("{id}: {e}")))?;
    let agenda = app.agenda().await?;
    if common.json {
        let next: Vec<_> = agenda.entries.iter().filter(|e| e.ehr == *id).map(|e| super::schedule::row(e, agenda.now)).collect();
        print::json(&serde_json::json!({ "ehr": id, "plan": plan, "schedule": next }));
    } else {
        print::line(plan.to_string().trim_end());
        print::line("");
        let mut table = print::Table::new(&["TYPE", "NEXT", "WHY"]);
        for e in agenda.entries.iter().filter(|e| e.ehr == *id) {
            let (next, why) = super::schedule::next(e, agenda.now);
            table.row([e.kind.to_string(), next, why]);
        }
        table.print();
    }
    Ok(Ended::well_if(plan.no_grant.is_none() && plan.types.iter().all(|t| t.lacks.is_none() && t.ungranted.is_none())))
}
