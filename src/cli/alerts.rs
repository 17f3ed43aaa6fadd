//! `alerts`: what is wrong, since when, who was told.

use clap::Subcommand;
use serde_json::{Value, json};

use super::exit::{Ended, Failure};
use super::{Common, print, who};
use crate::app::App;
use crate::store::alerts::{self, Alert, Delivery};

/// Look at what is wrong and who was told; take note of it, try it out
#[derive(Debug, Subcommand)]
pub(super) enum Alerts {
    /// List what is wrong
    #[command(after_help = "Examples:
  fhir-engage alerts list
  fhir-engage alerts list --all --json

Found by a running serve or work. Exit code 1 where one is open that nobody took note of.")]
    List {
        /// Those that are over, too
        #[arg(long)]
        all: bool,
        /// At most so many, the latest first
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: i64,
    },
    /// Show one, with what to do and who was told
    #[command(after_help = "Examples:
  fhir-engage alerts show 12
  fhir-engage alerts show 12 --json")]
    Show {
        /// The alert's number
        #[arg(value_name = "N")]
        id: i64,
    },
    /// Take note of one: you are at it
    #[command(after_help = "Examples:
  fhir-engage alerts acknowledge 12 --why vendor-ticket-4711

It closes by itself when what is wrong is over.")]
    Acknowledge {
        /// The alert's number
        #[arg(value_name = "N")]
        id: i64,
        /// What is being done
        #[arg(long, value_name = "TEXT")]
        why: String,
        /// Who [default: the user of this machine]
        #[arg(long, value_name = "NAME")]
        by: Option<String>,
    },
    /// Send a trial to everyone who would be told
    #[command(after_help = "Examples:
  fhir-engage alerts test
  fhir-engage alerts test --json

Exit code 1 where someone did not get it, or nobody is configured.")]
    Test,
}

impl Alerts {
    pub(super) async fn run(self, common: &Common) -> Result<Ended, Failure> {
        let app = common.open()?;
        match self {
            Self::List { all, limit } => list(&app, common, all, limit).await,
            Self::Show { id } => show(&app, common, id).await,
            Self::Acknowledge { id, why, by } => acknowledge(&app, common, id, why, by).await,
            Self::Test => test(&app, common).await,
        }
    }
}

fn state(a: &Alert) -> &'static str {
    match (a.closed_at, a.acknowledged_at) {
        (Some(_), _) => "over",
        (None, Some(_)) => "acknowledged",
        (None, None) => "open",
    }
}

fn as_json(a: &Alert) -> Value {
    json!({
        "id": a.id,
        "kind": a.kind,
        "subject": a.subject,
        "state": state(a),
        "says": a.says,
        "remedy": a.remedy,
        "opened_at": print::instant(a.opened_at),
        "closed_at": a.closed_at.map(print::instant),
        "acknowledged_at": a.acknowledged_at.map(print::instant),
        "acknowledged_by": a.acknowledged_by,
        "acknowledged_why": a.acknowledged_why,
    })
}

async fn list(app: &App, common: &Common, all: bool, limit: i64) -> Result<Ended, Failure> {
    if limit < 1 {
        return Err(Failure::usage("--limit is at least 1"));
    }
    let found = app.store.read(move |conn| if all { alerts::latest(conn, limit) } else { alerts::open(conn) }).await?;
    let well = found.iter().all(|a| state(a) != "open");
    if common.json {
        print::json(&found.iter().map(as_json).collect::<Vec<_>>());
        return Ok(Ended::well_if(well));
    }
    if found.is_empty() {
        print::note(if all { "there was none" } else { "none is open" });
    }
    let mut table = print::Table::new(&["N", "STATE", "KIND", "OF", "SINCE", "OVER", "SAYS"]);
    for a in found {
        let (since, over) = (print::instant(a.opened_at), print::instant_or_dash(a.closed_at));
        table.row([a.id.to_string(), state(&a).to_owned(), a.kind, a.subject, since, over, a.says]);
    }
    table.print();
    Ok(Ended::well_if(well))
}

async fn show(app: &App, common: &Common, id: i64) -> Result<Ended, Failure> {
    let read = move |conn: &mut _| Ok((alerts::get(conn, id)?, alerts::deliveries(conn, id)?));
    let (Some(alert), told) = app.store.read(read).await? else {
        return Err(Failure::usage(format!("there is no alert {id}; see `fhir-engage alerts list --all`")));
    };
    if common.json {
        let delivery = |d: &Delivery| {
            json!({
                "event": d.event, "target": d.target, "state": d.state, "tries": d.tries, "said": d.said,
                "owed_at": print::instant(d.owed_at), "settled_at": d.settled_at.map(print::instant),
                "next_at": (d.state == "owed").then(|| print::instant(d.next_at)),
            })
        };
        let mut value = as_json(&alert);
        if let Some(map) = value.as_object_mut() {
            map.insert("told".to_owned(), told.iter().map(delivery).collect());
        }
        print::json(&value);
        return Ok(Ended::Well);
    }
    print::line(&format!("{} {} ({}): {}", alert.kind, alert.subject, state(&alert), alert.says));
    print::line(&format!("since {}, over {}", print::instant(alert.opened_at), print::instant_or_dash(alert.closed_at)));
    print::line(&format!("what to do: {}", alert.remedy));
    if let (Some(at), Some(by), Some(why)) = (alert.acknowledged_at, &alert.acknowledged_by, &alert.acknowledged_why) {
        print::line(&format!("acknowledged by {by} at {}: {why}", print::instant(at)));
    }
    print::line("");
    let mut table = print::Table::new(&["TOLD", "TO", "STATE", "TRIES", "NEXT", "SAID"]);
    for d in told {
        let next = if d.state == "owed" { print::instant(d.next_at) } else { "-".to_owned() };
        table.row([d.event, d.target, d.state, d.tries.to_string(), next, d.said.unwrap_or_default()]);
    }
    table.print();
    Ok(Ended::Well)
}

async fn acknowledge(app: &App, common: &Common, id: i64, why: String, by: Option<String>) -> Result<Ended, Failure> {
    let (by, now) = (who::who(by), app.clock.now());
    let done = app.store.write("acknowledge an alert", move |conn| alerts::acknowledge(conn, id, &by, &why, now)).await?;
    match app.store.read(move |conn| alerts::get(conn, id)).await? {
        None => Err(Failure::usage(format!("there is no alert {id}; see `fhir-engage alerts list`"))),
        Some(alert) if !done => Err(Failure::problem(match (alert.closed_at, &alert.acknowledged_by) {
            (None, Some(who)) => format!("{who} has acknowledged it already"),
            _ => "it is over already".to_owned(),
        })),
        Some(alert) if common.json => {
            print::json(&as_json(&alert));
            Ok(Ended::Well)
        }
        Some(_) => {
            print::line("acknowledged; it closes by itself when what is wrong is over");
            Ok(Ended::Well)
        }
    }
}

async fn test(app: &App, common: &Common) -> Result<Ended, Failure> {
    let desk = app.alert_desk().map_err(|e| Failure::problem(e.to_string()))?;
    let sent = desk.trial(app.clock.now()).await;
    let well = !sent.is_empty() && sent.iter().all(|s| s.taken);
    if common.json {
        print::json(&sent);
        return Ok(Ended::well_if(well));
    }
    if sent.is_empty() {
        print::note("nobody is told: set alerts.mail or alerts.webhook in the configuration (`fhir-engage check --example-config`)");
    }
    let mut table = print::Table::new(&["TARGET", "TAKEN", "SAID"]);
    for s in sent {
        table.row([s.target, if s.taken { "yes" } else { "no" }.to_owned(), s.said]);
    }
    table.print();
    Ok(Ended::well_if(well))
}
