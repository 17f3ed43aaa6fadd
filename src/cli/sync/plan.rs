//! `sync plan`: how each type of an EHR is read, and why so.

use domain::model::EhrId;

use super::super::exit::{Ended, Failure};
use super::super::{Common, print};
use crate::app::App;

pub(super) async fn plan(app: &App, common: &Common, id: &EhrId) -> Result<Ended, Failure> {
    let plan = app.sync_plan(id).await.map_err(|e| Failure::problem(format!("{id}: {e}")))?;
    if common.json {
        print::json(&serde_json::json!({ "ehr": id, "plan": plan }));
    } else {
        print::line(plan.to_string().trim_end());
    }
    Ok(Ended::well_if(plan.types.iter().all(|t| t.lacks.is_none())))
}
