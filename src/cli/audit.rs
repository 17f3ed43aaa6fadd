//! `audit`: who saw or did what of which patient, and whether that record is whole.

use clap::Subcommand;
use domain::Timestamp;
use serde_json::{Value, json};

use super::exit::{Ended, Failure};
use super::{Common, print};
use crate::app::App;
use crate::store::audit::{self, Row, Wanted};

/// Look at who saw or did what; tell whether that record is whole
#[derive(Debug, Subcommand)]
pub(super) enum Audit {
    /// List who saw or did what, the latest first
    #[command(after_help = "Examples:
  fhir-engage audit list
  fhir-engage audit list --patient main/123 --json
  fhir-engage audit list --what view --since 2026-11-26T00:00:00Z")]
    List {
        /// Of one patient: the EHR's name, a slash, and the patient's id there
        #[arg(long, value_name = "EHR/ID")]
        patient: Option<String>,
        /// Of one user, as listed
        #[arg(long, value_name = "USER")]
        who: Option<String>,
        /// Of one kind, as listed
        #[arg(long, value_name = "CODE")]
        what: Option<String>,
        /// Since an instant
        #[arg(long, value_name = "INSTANT", value_parser = instant)]
        since: Option<Timestamp>,
        /// Before a row's number: the next part of a long list
        #[arg(long, value_name = "N")]
        before: Option<i64>,
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: i64,
    },
    /// Tell whether a row was changed, taken out or put in
    #[command(after_help = "Examples:
  fhir-engage audit verify
  fhir-engage audit verify --noted 1042:52b1c35ed9a4cdb4b4c2d2de0ad4bfe2

Exit code 1 where something is wrong. Whoever can write the whole database can also write a whole new chain: note what this tells at a
place that they cannot write, and ask for it with --noted.")]
    Verify {
        /// A row's number and hash, as an earlier run told them (the first 32 digits do): that row must be in the chain
        #[arg(long, value_name = "N:HASH", value_parser = noted)]
        noted: Option<(i64, String)>,
    },
}

fn instant(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text).ok_or_else(|| "an instant with an offset, such as 2026-11-26T00:00:00Z".to_owned())
}

fn noted(text: &str) -> Result<(i64, String), String> {
    let parts = text.split_once(':').and_then(|(n, hash)| Some((n.parse().ok()?, hash.to_ascii_lowercase())));
    let fits = |hash: &str| (32..=64).contains(&hash.len()) && hash.bytes().all(|b| b.is_ascii_hexdigit());
    parts
        .filter(|(_, hash)| fits(hash))
        .ok_or_else(|| "a number, a colon and the hexadecimal digits that `audit verify` tells, the first 32 at least".to_owned())
}

impl Audit {
    pub(super) async fn run(self, common: &Common) -> Result<Ended, Failure> {
        let app = common.open()?;
        match self {
            Self::List { patient, who, what, since, before, limit } => {
                if limit < 1 {
                    return Err(Failure::usage("--limit is at least 1"));
                }
                let patient = patient.as_deref().map(patient_of).transpose()?;
                list(&app, common, Wanted { patient, who, what, since, before }, limit).await
            }
            Self::Verify { noted } => verify(&app, common, noted).await,
        }
    }
}

fn patient_of(text: &str) -> Result<(String, String), Failure> {
    let parts = text.split_once('/').map(|(ehr, id)| (ehr.to_owned(), id.trim_start_matches("Patient/").to_owned()));
    parts.ok_or_else(|| Failure::usage("--patient wants the EHR's name, a slash, and the patient's id there: main/123"))
}

fn patient_text(row: &Row) -> Option<String> {
    Some(format!("{}/{}", row.ehr.as_deref()?, row.patient.0.as_ref()?.expose()))
}

fn as_json(row: &Row) -> Value {
    json!({
        "number": row.number,
        "at": Timestamp::from_micros(row.at).to_string(),
        "who": row.who,
        "roles": row.roles.split(',').filter(|r| !r.is_empty()).collect::<Vec<_>>(),
        "what": row.what,
        "patient": patient_text(row),
        "opening": row.opening,
        "about": row.about,
        "why": row.why,
        "hash": row.hash_text(),
    })
}

async fn list(app: &App, common: &Common, wanted: Wanted, limit: i64) -> Result<Ended, Failure> {
    let rows = app.store.read(move |conn| audit::list(conn, &wanted, limit)).await?;
    if common.json {
        print::json(&rows.iter().map(as_json).collect::<Vec<_>>());
        return Ok(Ended::Well);
    }
    if rows.is_empty() {
        print::note("there is no such row");
    }
    let mut table = print::Table::new(&["N", "AT", "WHO", "AS", "WHAT", "PATIENT", "ABOUT", "WHY"]);
    for row in rows {
        let patient = patient_text(&row);
        let dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let about = dash(row.about);
        table.row([row.number.to_string(), print::instant(row.at), row.who, row.roles, row.what, dash(patient), about, dash(row.why)]);
    }
    table.print();
    Ok(Ended::Well)
}

async fn verify(app: &App, common: &Common, noted: Option<(i64, String)>) -> Result<Ended, Failure> {
    let found = app.store.snapshot(move |conn| audit::verify(conn, noted.as_ref().map(|(at, hash)| (*at, hash.as_str())))).await?;
    let broken = found.broken.as_ref().map(ToString::to_string);
    if common.json {
        print::json(&json!({ "whole": broken.is_none(), "rows": found.rows, "last": found.last, "broken": broken }));
    } else if let Some(broken) = &broken {
        print::line(&format!("broken: {broken}"));
        print::line(&format!("whole up to row {}: {}:{}", found.rows, found.rows, found.last));
    } else {
        print::line(&format!("whole: {}", print::plural(usize::try_from(found.rows).unwrap_or(usize::MAX), "row")));
        print::line(&format!("to be noted elsewhere: {}:{}", found.rows, found.last));
    }
    Ok(Ended::well_if(broken.is_none()))
}
