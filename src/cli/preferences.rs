//! `outreach opt-out`, `opt-in`, `preferences`: what a patient said about being written to. The store keeps every entry; the gate judges
//! by the most restrictive one in force.

use clap::Args;
use serde::Serialize;

use super::exit::{Ended, Failure};
use super::{Common, print};
use crate::app::App;
use crate::store::{people, preferences};

/// Whose choice, and about what.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fhir-engage outreach opt-out --patient main/123
  fhir-engage outreach opt-out --patient main/123 --program check-up
  fhir-engage outreach opt-in --patient main/123 --channel email

Without --channel or --program it is about everything. The latest entry of one kind counts, and of those in force the most restrictive:
who opted out of one channel and then in to everything is still not written to on that channel.")]
pub(super) struct Choice {
    /// The patient: the EHR's name, a slash, and the patient's id there
    #[arg(long, value_name = "EHR/ID")]
    patient: String,
    /// One channel only: recorded or email
    #[arg(long, value_name = "CHANNEL", value_parser = ["recorded", "email"], conflicts_with_all = ["program", "all"])]
    channel: Option<String>,
    /// One program only
    #[arg(long, value_name = "PROGRAM", conflicts_with = "all")]
    program: Option<String>,
    /// Everything; the same as naming neither
    #[arg(long)]
    all: bool,
}

/// An entry in force.
#[derive(Serialize)]
struct Row {
    about: String,
    allowed: bool,
    source: String,
    recorded_at: String,
}

impl Choice {
    /// Records it and shows what is in force then.
    pub(super) async fn record(self, app: &App, common: &Common, allowed: bool) -> Result<Ended, Failure> {
        let person = person(app, &self.patient).await?;
        let (scope, value) = match (self.channel, self.program) {
            (Some(channel), _) => ("channel", channel),
            (None, Some(program)) => {
                known_program(app, &program)?;
                ("program", program)
            }
            (None, None) => ("all", String::new()),
        };
        let now = app.clock.now();
        app.store.write("record a preference", move |conn| preferences::record(conn, person, scope, &value, allowed, "staff", now)).await?;
        in_force(app, common, person).await
    }
}

/// Shows a patient's entries in force.
pub(super) async fn show(app: &App, common: &Common, patient: &str) -> Result<Ended, Failure> {
    let person = person(app, patient).await?;
    in_force(app, common, person).await
}

/// A program's id must be one of this installation's.
pub(super) fn known_program(app: &App, id: &str) -> Result<(), Failure> {
    let programs = &app.programs.library().programs;
    if programs.iter().any(|p| p.id == id) {
        return Ok(());
    }
    let known: Vec<&str> = programs.iter().map(|p| p.id.as_str()).collect();
    Err(Failure::usage(format!("there is no such program; there are: {}", known.join(", "))))
}

async fn person(app: &App, patient: &str) -> Result<i64, Failure> {
    let Some((ehr, id)) = patient.split_once('/').map(|(e, i)| (e.to_owned(), i.trim_start_matches("Patient/").to_owned())) else {
        return Err(Failure::usage("--patient wants the EHR's name, a slash, and the patient's id there: main/123"));
    };
    let found = app.store.read(move |conn| people::record(conn, &ehr, &id)).await?;
    found.map(|r| r.person).ok_or_else(|| Failure::problem("no such patient was synced; `fhir-engage sync status` tells what is"))
}

async fn in_force(app: &App, common: &Common, person: i64) -> Result<Ended, Failure> {
    let all = app.store.read(move |conn| preferences::of(conn, person)).await?;
    let replaced =
        |n: usize, p: &preferences::Preference| all.iter().skip(n + 1).any(|later| (&later.scope, &later.value) == (&p.scope, &p.value));
    let rows: Vec<Row> = all
        .iter()
        .enumerate()
        .filter(|(n, p)| !replaced(*n, p))
        .map(|(_, p)| Row {
            about: match p.scope.as_str() {
                "all" => "everything".to_owned(),
                // An address is shown to nobody who did not ask for it.
                "contact_point" => "one contact point".to_owned(),
                scope => format!("{scope} {}", p.value),
            },
            allowed: p.allowed,
            source: p.source.clone(),
            recorded_at: print::instant(p.recorded_at),
        })
        .collect();
    if common.json {
        print::json(&rows);
        return Ok(Ended::Well);
    }
    if rows.is_empty() {
        print::note("this patient said nothing about being written to");
    }
    let mut table = print::Table::new(&["ABOUT", "CHOICE", "BY", "SINCE"]);
    for r in rows {
        table.row([r.about, if r.allowed { "in" } else { "out" }.to_owned(), r.source, r.recorded_at]);
    }
    table.print();
    Ok(Ended::Well)
}
