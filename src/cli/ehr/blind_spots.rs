//! `ehr blind-spots`: which segments and programs cannot work on an EHR, and why.

use domain::model::EhrId;

use super::super::exit::{Ended, Failure};
use super::super::{Common, print};
use crate::app::App;

pub(super) async fn blind_spots(app: &App, common: &Common, id: &EhrId, offline: bool) -> Result<Ended, Failure> {
    let report = app.blind_spots(id, offline).await?;
    if common.json {
        print::json(&serde_json::json!({ "ehr": id, "segments": report.segments, "programs": report.programs, "reasons": report.reasons }));
    } else {
        print::line(report.to_string().trim_end());
    }
    Ok(Ended::Well)
}
