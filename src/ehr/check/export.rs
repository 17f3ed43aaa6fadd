//! Trying an export: a job for what changed from now on, which is next to nothing, asked for once and deleted.

use domain::model::ResourceType;

use super::diagnosis::Finding;
use super::{Report, Verdict};
use crate::ehr::bulk::{KickedOff, Polled};
use crate::ehr::connection::{Connection, Parts};
use crate::ehr::plan::Plan;
use crate::ehr::profile::{Profile, Strategy};

const STEP: &str = "export";

/// Starts an export, asks for it once, deletes it, and adds what was seen to the report.
pub async fn try_export(report: &mut Report, profile: &Profile, parts: &Parts) {
    // What keeps a connection from standing is in the report already.
    let Ok(connection) = Connection::open(profile, parts).await else { return };
    let (plan, client) = (Plan::of(profile, &connection.capability), &connection.client);
    let planned: Vec<ResourceType> = plan.types.iter().filter(|t| t.strategy == Strategy::Bulk).map(|t| t.kind).collect();
    let Some(export) = &plan.export else {
        return report.ok(STEP, "not tried: this EHR states no export that could be asked for");
    };
    let types = if planned.is_empty() { export.types.iter().copied().take(1).collect() } else { planned };
    let trouble = |says: String| Finding {
        says,
        remedy: "have the client's registration opened for bulk exports; until then searches are used".to_owned(),
    };
    let told = match client.kick_off(&export.of(&types, Some(parts.clock.now()))).await {
        Ok(told) => told,
        Err(error) => return report.add(STEP, Verdict::Warning, Finding::from(&error)),
    };
    let status_url = match told {
        KickedOff::Accepted { status_url, .. } if client.may_ask(&status_url) => status_url,
        KickedOff::Accepted { status_url, .. } => {
            let says = format!("the EHR says to ask for its export at {}", status_url.origin().ascii_serialization());
            return report.add(STEP, Verdict::Warning, trouble(says));
        }
        KickedOff::Refused { status, outcome } => {
            return report.add(STEP, Verdict::Warning, trouble(format!("the EHR refuses an export (HTTP status {status}, {outcome})")));
        }
        KickedOff::TooMuch => return report.add(STEP, Verdict::Warning, trouble("the EHR says that the export is too large".to_owned())),
        KickedOff::Busy { status, .. } => {
            return report.ok(STEP, format!("not tried to the end: another export is in hand there (HTTP status {status})"));
        }
        KickedOff::Nowhere => {
            return report.add(
                STEP,
                Verdict::Warning,
                trouble("the EHR accepts an export and does not say where to ask for it".to_owned()),
            );
        }
    };
    let seen = match client.poll(&status_url).await {
        Ok(Polled::Refused { status, outcome }) => {
            Err(format!("the EHR accepts an export and then refuses it (HTTP status {status}, {outcome})"))
        }
        Ok(Polled::Gone) => Err("the EHR accepts an export and does not know it when asked".to_owned()),
        Ok(Polled::Ready { .. }) => Ok("it was ready at once"),
        Ok(Polled::Working { .. } | Polled::Throttled { .. }) => Ok("it is being prepared"),
        Ok(Polled::Failing { why, .. }) => Err(format!("the EHR accepts an export and fails when asked for it: {why}")),
        Err(error) => Err(format!("the EHR accepts an export and cannot be asked for it: {error}")),
    };
    let deleted = match client.delete_export(&status_url).await {
        Ok(true) => "and it was deleted",
        Ok(false) => "and the EHR does not let it be deleted",
        Err(_) => "and it is not certain that it was deleted",
    };
    match seen {
        Ok(how) => report.ok(STEP, format!("the EHR took an export of {}: {how}, {deleted}", super::words_of(&types))),
        Err(why) => report.add(STEP, Verdict::Warning, trouble(format!("{why}; {deleted}"))),
    }
}
