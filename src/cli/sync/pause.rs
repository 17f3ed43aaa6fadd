//! `sync pause` and `sync resume`.

use clap::Args;

use super::super::exit::{Ended, Failure};
use super::super::{Common, ehr, print, who};
use super::types;
use crate::app::App;
use crate::store::pauses;
use crate::store::schedules::ALL_TYPES;

/// Stop reading an EHR, or one type of it, until it is resumed
#[derive(Debug, Args)]
pub(in crate::cli) struct Pause {
    /// The EHR's name
    #[arg(value_name = "ID")]
    id: String,
    /// One type only
    #[arg(long = "type", value_name = "TYPE", value_parser = types())]
    kind: Option<String>,
    /// Why: whoever finds it paused will want to know
    #[arg(long, value_name = "TEXT")]
    why: String,
    /// Who [default: the user of this machine]
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
}

/// Let an EHR be read again; what was missed is made up for once
#[derive(Debug, Args)]
pub(in crate::cli) struct Resume {
    /// The EHR's name
    #[arg(value_name = "ID")]
    id: String,
    /// The type that was paused by itself
    #[arg(long = "type", value_name = "TYPE", value_parser = types())]
    kind: Option<String>,
    /// Who [default: the user of this machine]
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
}

/// What is paused, in words.
fn of(id: &str, rtype: &str) -> String {
    if rtype == ALL_TYPES { id.to_owned() } else { format!("{id} {rtype}") }
}

fn tell(common: &Common, id: &str, rtype: &str, state: &str, says: &str) {
    if common.json {
        let kind = (rtype != ALL_TYPES).then_some(rtype);
        print::json(&serde_json::json!({ "ehr": id, "type": kind, "state": state }));
    } else {
        print::line(says);
    }
}

impl Pause {
    pub(super) async fn run(self, app: &App, common: &Common) -> Result<Ended, Failure> {
        let id = ehr::ehr_id(&self.id)?;
        registered(app, id.as_str()).await?;
        let (rtype, by, now) = (self.kind.unwrap_or_else(|| ALL_TYPES.to_owned()), who::who(self.by), app.clock.now());
        if self.why.trim().is_empty() {
            return Err(Failure::usage("--why is empty: whoever finds it paused will want to know"));
        }
        let (ehr, of_type, why) = (id.clone(), rtype.clone(), self.why);
        let began = app.store.write("pause a sync", move |conn| pauses::begin(conn, &ehr, &of_type, &why, &by, now)).await?;
        let what = of(id.as_str(), &rtype);
        let says = if began {
            format!("{what} is paused; `fhir-engage sync resume` lets it go on")
        } else {
            format!("{what} was paused already; see `fhir-engage sync schedule list`")
        };
        tell(common, id.as_str(), &rtype, "paused", &says);
        Ok(Ended::Well)
    }
}

impl Resume {
    pub(super) async fn run(self, app: &App, common: &Common) -> Result<Ended, Failure> {
        let id = ehr::ehr_id(&self.id)?;
        registered(app, id.as_str()).await?;
        let (rtype, by, now) = (self.kind.unwrap_or_else(|| ALL_TYPES.to_owned()), who::who(self.by), app.clock.now());
        let (ehr, of_type) = (id.clone(), rtype.clone());
        let ended = app.store.write("resume a sync", move |conn| pauses::end(conn, &ehr, &of_type, &by, now)).await?;
        let left = app.store.read(pauses::in_force).await?;
        let what = of(id.as_str(), &rtype);
        if !ended {
            let others: Vec<String> = left.iter().filter(|p| p.ehr == id.as_str()).map(|p| of(&p.ehr, &p.rtype)).collect();
            let hint = if others.is_empty() { String::new() } else { format!("; paused is {}", others.join(", ")) };
            return Err(Failure::problem(format!("{what} is not paused{hint}")));
        }
        let still = left.iter().find(|p| p.ehr == id.as_str()).map(|p| format!("; {} still is", of(&p.ehr, &p.rtype)));
        tell(common, id.as_str(), &rtype, "resumed", &format!("{what} is no longer paused{}", still.unwrap_or_default()));
        Ok(Ended::Well)
    }
}

/// An EHR can be paused whose profile cannot be read, but not one that is not there.
async fn registered(app: &App, id: &str) -> Result<(), Failure> {
    let name = id.to_owned();
    match app.store.read(move |conn| crate::store::ehrs::get(conn, &name)).await? {
        Some(_) => Ok(()),
        None => Err(crate::app::ConnectionError::NoSuchEhr(id.to_owned()).into()),
    }
}
