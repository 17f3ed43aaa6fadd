//! `ehr remove`: removes a connection; what was synced and sent stays.

use domain::model::EhrId;

use super::super::exit::{Ended, Failure};
use super::super::{Common, print};
use crate::app::{App, Removal};

pub(super) async fn remove(app: &App, common: &Common, id: &EhrId, force: bool) -> Result<Ended, Failure> {
    let done = match app.remove_ehr(id, force).await? {
        Removal::NoSuchEhr => return Err(Failure::usage(format!("there is no EHR {id}; list them with `fhir-engage ehr list`"))),
        Removal::InTheWay(why) => {
            return Err(Failure::problem(format!("{id} is not removed: {}; or repeat with --force to give that up", why.join("; "))));
        }
        Removal::Done(done) => done,
    };
    if common.json {
        let mut told = serde_json::json!({ "removed": id });
        if let (Some(told), Ok(serde_json::Value::Object(more))) = (told.as_object_mut(), serde_json::to_value(&done)) {
            told.extend(more);
        }
        print::json(&told);
    } else {
        if done.deleted_exports > 0 {
            print::note(&format!("the EHR was told to delete {}", print::plural(done.deleted_exports, "export")));
        }
        done.notes.iter().for_each(|why| print::note(why));
        print::line(&format!("{id} is removed. {} resources and {} attempts stay as a record.", done.kept_resources, done.kept_attempts));
    }
    Ok(Ended::Well)
}
