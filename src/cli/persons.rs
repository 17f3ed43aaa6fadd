//! `persons`: which records are one person and why, what a machine cannot settle, and staff's word on it.

use clap::{Args, Subcommand};
use domain::identity::Doubt;
use serde::Serialize;

use super::exit::{Ended, Failure};
use super::{Common, print};
use crate::app::App;
use crate::store::people::{self, Record};
use crate::store::view::persons::{self, Reviewed, Shown};
use crate::store::words::{self, Word};
use crate::store::{Conn, StoreError, ties};

/// Look at which records are one person and why; join and part them
#[derive(Debug, Subcommand)]
pub(super) enum Persons {
    /// List persons with more than one record
    #[command(after_help = "Examples:
  fhir-engage persons list
  fhir-engage persons list --json")]
    List {
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: i64,
    },
    /// Show the person of a record: all records, and what ties them
    #[command(after_help = "Examples:
  fhir-engage persons show main/123
  fhir-engage persons show main/123 --json")]
    Show {
        /// A record: the EHR's name, a slash, and the patient's id there
        #[arg(value_name = "EHR/ID")]
        record: String,
    },
    /// List what a machine cannot settle, and identifiers that too many share
    #[command(after_help = "Examples:
  fhir-engage persons review
  fhir-engage persons review --json

Exit code 1 where there is something to look at. What is put right in the EHR goes from the list with the next sync;
`persons link` and `persons unlink` have the last word.")]
    Review {
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: i64,
    },
    /// Say that two records are one person, whatever the EHRs say
    #[command(after_help = "Examples:
  fhir-engage persons link main/123 south/77 --by kim --why passport
  fhir-engage persons link main/123 south/77 --withdraw --by kim --why mistake

Their history, refusals and limits are one from then on. --withdraw takes the word back: then it is as the EHRs say.")]
    Link(Said),
    /// Say that two records are two persons, whatever ties them
    #[command(after_help = "Examples:
  fhir-engage persons unlink main/123 south/77 --by kim --why twins
  fhir-engage persons unlink main/123 south/77 --withdraw --by kim --why mistake

What each record brought goes back with it. --withdraw takes the word back: then it is as the EHRs say.")]
    Unlink(Said),
}

/// A word on two records.
#[derive(Debug, Args)]
pub(super) struct Said {
    /// One record: the EHR's name, a slash, and the patient's id there
    #[arg(value_name = "EHR/ID")]
    one: String,
    /// The other
    #[arg(value_name = "EHR/ID")]
    other: String,
    /// Who says so
    #[arg(long, value_name = "NAME", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    by: String,
    /// Why, without patient data: it is kept and shown
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    why: String,
    /// Take back what was said of these two
    #[arg(long)]
    withdraw: bool,
}

impl Persons {
    pub(super) async fn run(self, common: &Common) -> Result<Ended, Failure> {
        let app = common.open()?;
        match self {
            Self::List { limit } => list(&app, common, limit).await,
            Self::Show { record } => show(&app, common, &record).await,
            Self::Review { limit } => review(&app, common, limit).await,
            Self::Link(said) => say(&app, common, said, Word::Same).await,
            Self::Unlink(said) => say(&app, common, said, Word::Apart).await,
        }
    }
}

/// `main/123 (merged)`.
fn told(record: &Record) -> String {
    let state = match record.state.as_str() {
        "live" => return record.name(),
        "stub" => "not read yet",
        "gone" => "deleted at the EHR",
        other => other,
    };
    format!("{} ({state})", record.name())
}

async fn list(app: &App, common: &Common, limit: i64) -> Result<Ended, Failure> {
    let all = app.store.read(move |conn| persons::with_several(conn, limit)).await?;
    if common.json {
        let rows: Vec<_> = all.iter().map(|records| records.iter().map(Row::of).collect::<Vec<_>>()).collect();
        print::json(&rows);
        return Ok(Ended::Well);
    }
    if all.is_empty() {
        print::note("nobody has more than one record");
    }
    for records in all {
        print::line(&records.iter().map(told).collect::<Vec<_>>().join(" = "));
    }
    Ok(Ended::Well)
}

/// A record, as JSON.
#[derive(Serialize)]
struct Row {
    record: String,
    state: String,
}

impl Row {
    fn of(record: &Record) -> Self {
        Self { record: record.name(), state: record.state.clone() }
    }
}

async fn find(app: &App, name: &str) -> Result<Record, Failure> {
    let Some((ehr, id)) = name.split_once('/').map(|(e, i)| (e.to_owned(), i.trim_start_matches("Patient/").to_owned())) else {
        return Err(Failure::usage("a record is the EHR's name, a slash, and the patient's id there: main/123"));
    };
    let found = app.store.read(move |conn| people::record(conn, &ehr, &id)).await?;
    found.ok_or_else(|| Failure::problem("no such patient was synced; `fhir-engage sync status` tells what is"))
}

async fn show(app: &App, common: &Common, name: &str) -> Result<Ended, Failure> {
    let person = find(app, name).await?.person;
    let shown = app.store.read(move |conn| persons::show(conn, person)).await?;
    if common.json {
        print::json(&shown);
        return Ok(Ended::Well);
    }
    tell(&shown);
    Ok(Ended::Well)
}

fn tell(shown: &Shown) {
    let mut table = print::Table::new(&["RECORD", "STATE", "SURVIVED BY"]);
    for r in &shown.records {
        table.row([r.record.clone(), r.state.clone(), r.survivor.clone().unwrap_or_else(|| "-".to_owned())]);
    }
    table.print();
    for t in &shown.ties {
        print::line(&format!("{} {} {}, since {}", t.one, t.tie, t.other, t.since));
    }
    for s in &shown.shared {
        print::line(&format!("{} share an identifier of {}", s.records.join(" and "), s.system));
    }
    for w in &shown.words {
        print::line(&format!("{} and {}: {} by {} at {}: {}", w.one, w.other, w.word, w.by, w.at, w.why));
    }
    for r in &shown.review {
        print::line(&format!("{}: {}", r.record, meaning(&r.reason)));
    }
}

fn meaning(reason: &str) -> &str {
    Doubt::parse(reason).map_or(reason, |doubt| doubt.meaning())
}

async fn review(app: &App, common: &Common, limit: i64) -> Result<Ended, Failure> {
    let read = move |conn: &mut Conn| -> Result<(Vec<Reviewed>, Vec<ties::Shared>), StoreError> {
        Ok((persons::review(conn, limit)?, ties::shared_by_many(conn, limit)?))
    };
    let (records, shared) = app.store.read(read).await?;
    let open = !records.is_empty() || !shared.is_empty();
    if common.json {
        print::json(&serde_json::json!({ "records": records, "identifiers": shared }));
    } else if open {
        let mut table = print::Table::new(&["RECORD", "WHY", "SINCE", "WHAT IT MEANS"]);
        for r in &records {
            table.row([r.record.clone(), r.reason.clone(), r.since.clone(), meaning(&r.reason).to_owned()]);
        }
        for s in &shared {
            let what = format!("{} records share this identifier of {}; it ties nobody", s.records, s.system);
            table.row([s.example.clone(), "shared-identifier".to_owned(), "-".to_owned(), what]);
        }
        table.print();
    } else {
        print::note("nothing waits for a person");
    }
    Ok(if open { Ended::WithProblems } else { Ended::Well })
}

async fn say(app: &App, common: &Common, said: Said, word: Word) -> Result<Ended, Failure> {
    let (one, other) = (find(app, &said.one).await?, find(app, &said.other).await?);
    if one.pk == other.pk {
        return Err(Failure::usage("these are one record; name two"));
    }
    let word = if said.withdraw { Word::Withdrawn } else { word };
    let (now, pair) = (app.clock.now(), (one.pk, other.pk));
    let person = app
        .store
        .write("a word on two records", move |conn| {
            words::say(conn, pair, word, &said.by, &said.why, now)?;
            people::person_of(conn, pair.0)
        })
        .await?;
    let shown = app.store.read(move |conn| persons::show(conn, person)).await?;
    if common.json {
        print::json(&shown);
    } else {
        tell(&shown);
    }
    Ok(Ended::Well)
}
