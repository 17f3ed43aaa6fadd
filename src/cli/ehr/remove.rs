//! `ehr remove`: removes a connection; what was synced and sent stays.

use domain::model::EhrId;

use super::super::exit::{Ended, Failure};
use super::super::{Common, print};
use crate::app::App;
use crate::store::{ehrs, subscriptions};

pub(super) async fn remove(app: &App, common: &Common, id: &EhrId, force: bool) -> Result<Ended, Failure> {
    let name = id.as_str().to_owned();
    let holdings = app.store.read(move |conn| ehrs::holdings(conn, &name)).await?;
    if holdings.unsettled > 0 && !force {
        return Err(Failure::problem(format!(
            "{} to {id} are not settled; run `fhir-engage writeback run` first, or repeat with --force to give them up",
            print::plural(usize::try_from(holdings.unsettled).unwrap_or(0), "write-back")
        )));
    }
    let of = id.clone();
    if !app.store.read(move |conn| subscriptions::of_ehr(conn, &of)).await?.is_empty() {
        // One that cannot be ended now meets an address that nobody knows, and ends there.
        match app.unsubscribe(id).await {
            Ok(kept) => kept.failures.iter().for_each(|why| print::note(why)),
            Err(error) => print::note(&format!("its subscriptions could not be ended there: {error}")),
        }
    }
    let name = id.as_str().to_owned();
    if !app.store.write("remove an EHR", move |conn| ehrs::remove(conn, &name)).await? {
        return Err(Failure::usage(format!("there is no EHR {id}; list them with `fhir-engage ehr list`")));
    }
    if common.json {
        print::json(&serde_json::json!({ "removed": id, "kept_resources": holdings.resources, "kept_attempts": holdings.attempts }));
    } else {
        print::line(&format!("{id} is removed. {} resources and {} attempts stay as a record.", holdings.resources, holdings.attempts));
    }
    Ok(Ended::Well)
}
