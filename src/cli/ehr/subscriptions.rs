//! `ehr subscriptions`: what EHRs were asked to tell of by themselves, and how that goes.

use clap::Subcommand;
use domain::model::EhrId;
use serde_json::json;

use super::super::exit::{Ended, Failure};
use super::super::{Common, print};
use super::ehr_id;
use crate::app::App;
use crate::store::refresh;
use crate::store::subscriptions::{self, Row};
use crate::sync::subscribing::Kept;

/// What an EHR was asked to tell of by itself
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Subscriptions {
    /// List the subscriptions, and how each goes
    #[command(after_help = "Examples:
  fhir-engage ehr subscriptions list
  fhir-engage ehr subscriptions list main
  fhir-engage ehr subscriptions list --json

Exit code 1 where one does not work. What is missed meanwhile, the type's other way of reading makes up for.")]
    List {
        /// One EHR only
        #[arg(value_name = "ID")]
        id: Option<String>,
    },
    /// Ask for what is wanted and not there, and renew all, now
    #[command(after_help = "Examples:
  fhir-engage ehr subscriptions renew main
  fhir-engage ehr subscriptions renew main --json

`fhir-engage serve` and `work` do so by themselves, before a subscription ends.")]
    Renew {
        /// The EHR's name
        #[arg(value_name = "ID")]
        id: String,
    },
    /// Tell the EHR to end all of them
    #[command(after_help = "Examples:
  fhir-engage ehr subscriptions end main

They begin again with the next round while `ehr add` was told --events; register the EHR without, to leave it so.")]
    End {
        /// The EHR's name
        #[arg(value_name = "ID")]
        id: String,
    },
}

impl Subscriptions {
    pub(super) async fn run(self, app: &App, common: &Common) -> Result<Ended, Failure> {
        match self {
            Self::List { id } => list(app, common, id.as_deref().map(ehr_id).transpose()?.as_ref()).await,
            Self::Renew { id } => {
                let id = ehr_id(&id)?;
                let profile = app.profile(&id).await?;
                if profile.events.types.is_empty() {
                    return Err(Failure::usage(format!("nobody asked for events of {id}; `fhir-engage ehr add {id} --events TYPE` does")));
                }
                if app.event_address(&profile).is_none() {
                    return Err(Failure::usage(
                        "where the EHR reaches this gateway is not known: set external_url in [web], or --event-address of `ehr add`"
                            .to_owned(),
                    ));
                }
                Ok(told(common, &id, &app.subscribe(&id, true).await?))
            }
            Self::End { id } => {
                let id = ehr_id(&id)?;
                Ok(told(common, &id, &app.unsubscribe(&id).await?))
            }
        }
    }
}

fn told(common: &Common, id: &EhrId, kept: &Kept) -> Ended {
    if common.json {
        print::json(&json!({ "ehr": id, "asked": kept.asked, "renewed": kept.renewed, "ended": kept.ended, "failures": kept.failures }));
    } else {
        print::line(&format!("{} asked for, {} renewed, {} ended.", kept.asked, kept.renewed, kept.ended));
        kept.failures.iter().for_each(|why| print::line(&format!("PROBLEM  {why}")));
    }
    Ended::well_if(kept.failures.is_empty())
}

async fn list(app: &App, common: &Common, only: Option<&EhrId>) -> Result<Ended, Failure> {
    let now = app.clock.now();
    let (mut rows, due) = app.store.read(move |conn| Ok((subscriptions::list(conn)?, refresh::due_ehrs(conn, now)?))).await?;
    rows.retain(|row| only.is_none_or(|id| id.as_str() == row.ehr));
    let well = rows.iter().all(|row| row.failure.is_none());
    if common.json {
        print::json(&rows.iter().map(as_json).collect::<Vec<_>>());
        return Ok(Ended::well_if(well));
    }
    if rows.is_empty() {
        print::line("no EHR was asked to tell of changes; `fhir-engage ehr add ID --events TYPE` does");
        return Ok(Ended::Well);
    }
    let mut table = print::Table::new(&["EHR", "TYPE", "BY", "STATE", "EVENTS", "LAST HEARD", "ENDS"]);
    for row in &rows {
        let by = if row.topic.is_empty() { row.manner.clone() } else { row.topic.clone() };
        let at = |at: Option<i64>| at.map_or_else(|| "never".to_owned(), print::instant);
        table.row([row.ehr.clone(), row.rtype.clone(), by, row.state.clone(), row.events.to_string(), at(row.heard_at), at(row.ends_at)]);
    }
    table.print();
    for row in &rows {
        if let Some(why) = &row.failure {
            print::line(&format!("PROBLEM  {}: {why}", row.subject()));
        }
    }
    due.iter().for_each(|id| print::note(&format!("{id}: told of, and not read yet; `fhir-engage serve` or `work` reads it")));
    Ok(Ended::well_if(well))
}

fn as_json(row: &Row) -> serde_json::Value {
    json!({
        "ehr": row.ehr,
        "type": row.rtype,
        "topic": Some(&row.topic).filter(|t| !t.is_empty()),
        "manner": row.manner,
        "state": row.state,
        "id": row.remote_id,
        "asked_at": print::instant(row.asked_at),
        "ends_at": row.ends_at.map(print::instant),
        "heartbeat_secs": row.heartbeat_secs,
        "last_heard_at": row.heard_at.map(print::instant),
        "last_event_at": row.event_at.map(print::instant),
        "events": row.events,
        "last_number": row.last_number,
        "missing": row.missing_from.zip(row.missing_to).map(|(from, to)| json!([from, to])),
        "reread_due": row.reread_due.map(print::instant),
        "failures": row.failures,
        "failure": row.failure,
    })
}
