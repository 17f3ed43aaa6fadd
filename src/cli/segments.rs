//! `segments`: the segments, their members, and why someone is in one or not.

use clap::Subcommand;
use domain::Timestamp;

use super::exit::{Ended, Failure};
use super::{Common, print};
use crate::app::App;
use crate::segments::explain::{self, Explanation};
use crate::store::memberships::{self, State};
use crate::store::people;

/// Look at segments, their members, and why
#[derive(Debug, Subcommand)]
pub(super) enum Segments {
    /// List the segments with their sizes
    #[command(after_help = "Examples:
  fhir-engage segments list
  fhir-engage segments list --json")]
    List,
    /// Show one segment: its rule and its members
    #[command(after_help = "Examples:
  fhir-engage segments show visit-unconfirmed
  fhir-engage segments show visit-unconfirmed --held --json")]
    Show {
        /// The segment's id
        #[arg(value_name = "SEGMENT")]
        id: String,
        /// Show those of whom it is not known
        #[arg(long)]
        held: bool,
        /// At most so many members
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: i64,
    },
    /// Tell why a patient is in a segment, or not
    #[command(after_help = "Examples:
  fhir-engage segments explain --patient main/123
  fhir-engage segments explain --patient main/123 --segment lapsed --json")]
    Explain {
        /// The patient: the EHR's name, a slash, and the patient's id there
        #[arg(long, value_name = "EHR/ID")]
        patient: String,
        /// One segment only
        #[arg(long, value_name = "SEGMENT")]
        segment: Option<String>,
    },
    /// Evaluate everyone whose facts changed or whose time has come
    #[command(after_help = "Examples:
  fhir-engage segments run")]
    Run,
    /// List the attributes that rules can ask about
    #[command(after_help = "Examples:
  fhir-engage segments attributes")]
    Attributes,
}

impl Segments {
    pub(super) async fn run(self, common: &Common) -> Result<Ended, Failure> {
        if matches!(self, Self::Attributes) {
            return Ok(attributes(common));
        }
        let app = common.open()?;
        match self {
            Self::List => list(&app, common).await,
            Self::Show { id, held, limit } => show(&app, common, &id, if held { State::Held } else { State::In }, limit).await,
            Self::Explain { patient, segment } => explain_patient(app, common, &patient, segment).await,
            Self::Run => {
                let app = std::sync::Arc::new(app);
                let stop = std::sync::Arc::default();
                super::signals::stop_at(&stop);
                let report = app.assign(&stop, std::sync::Arc::new(|_| ())).await?;
                print::left_out(&app.half_read().await?);
                if common.json {
                    print::json(&report);
                } else {
                    print::line(&format!("{} persons evaluated, {} memberships changed", report.persons, report.changes));
                }
                Ok(Ended::Well)
            }
            Self::Attributes => Ok(Ended::Well),
        }
    }
}

async fn list(app: &App, common: &Common) -> Result<Ended, Failure> {
    let sizes = app.store.read(memberships::sizes).await?;
    let of = |id: &str| sizes.iter().find(|s| s.0 == id).map_or((0, 0), |s| (s.1, s.2));
    let segments = app.definitions.rules().segments();
    if common.json {
        let rows: Vec<_> = segments
            .iter()
            .map(|s| {
                let d = s.definition();
                let (members, held) = of(&d.id);
                serde_json::json!({ "id": d.id, "title": d.title, "stage": d.stage, "members": members, "held": held, "unknown_counts_as": d.unknown.as_str(), "rule": d.rule_text })
            })
            .collect();
        print::json(&rows);
        return Ok(Ended::Well);
    }
    let mut table = print::Table::new(&["SEGMENT", "STAGE", "MEMBERS", "HELD", "TITLE"]);
    for s in segments {
        let d = s.definition();
        let (members, held) = of(&d.id);
        table.row([d.id.clone(), d.stage.clone(), members.to_string(), held.to_string(), d.title.clone()]);
    }
    table.print();
    Ok(Ended::Well)
}

async fn show(app: &App, common: &Common, id: &str, state: State, limit: i64) -> Result<Ended, Failure> {
    let rules = app.definitions.rules();
    let (Some(place), Some(row)) = (rules.place(id), app.definitions.by_id(id)) else {
        return Err(no_such_segment(app, id));
    };
    let number = row.number;
    let members = app
        .store
        .read(move |conn| {
            let persons = memberships::members(conn, number, state, i64::MIN, limit)?;
            persons.into_iter().map(|p| people::records(conn, p)).collect::<Result<Vec<_>, _>>()
        })
        .await?;
    let references: Vec<Vec<String>> =
        members.iter().map(|records| records.iter().map(|r| format!("{}/{}", r.ehr, r.fhir_id)).collect()).collect();
    let Some(definition) = rules.segments().get(place).map(domain::rules::Segment::definition) else {
        return Err(no_such_segment(app, id));
    };
    if common.json {
        print::json(&serde_json::json!({
            "id": definition.id, "title": definition.title, "stage": definition.stage, "description": definition.description,
            "rule": definition.rule_text, "unknown_counts_as": definition.unknown.as_str(), "version": row.version, state.as_str(): references,
        }));
        return Ok(Ended::Well);
    }
    print::line(&format!("{}: {}", definition.id, definition.title));
    print::line(&definition.description);
    print::line(&indented("rule: ", &definition.rule_text));
    print::line("");
    for records in references {
        print::line(&records.join(" = "));
    }
    Ok(Ended::Well)
}

fn no_such_segment(app: &App, id: &str) -> Failure {
    let known: Vec<&str> = app.definitions.rules().segments().iter().map(|s| s.definition().id.as_str()).collect();
    Failure::usage(format!("there is no segment {id}; there are: {}", known.join(", ")))
}

async fn explain_patient(app: App, common: &Common, patient: &str, segment: Option<String>) -> Result<Ended, Failure> {
    let Some((ehr, id)) = patient.split_once('/').map(|(e, i)| (e.to_owned(), i.trim_start_matches("Patient/").to_owned())) else {
        return Err(Failure::usage("--patient wants the EHR's name, a slash, and the patient's id there: main/123"));
    };
    if let Some(id) = &segment
        && app.definitions.by_id(id).is_none()
    {
        return Err(no_such_segment(&app, id));
    }
    let now = app.clock.now();
    let app = std::sync::Arc::new(app);
    let shared = std::sync::Arc::clone(&app);
    let found = app
        .store
        .read(move |conn| explain::explain(conn, &shared.definitions, &shared.site, (&ehr, &id), segment.as_deref(), now))
        .await?
        .ok_or_else(|| Failure::problem("no such patient was synced; `fhir-engage sync status` tells what is"))?;
    if common.json {
        print::json(&found);
    } else {
        tell(&found);
    }
    Ok(Ended::Well)
}

/// A text of several lines, each below the first.
fn indented(head: &str, text: &str) -> String {
    format!("{head}{}", text.replace('\n', &format!("\n{}", " ".repeat(head.len()))))
}

fn to_the_second(text: &str) -> String {
    Timestamp::parse(text).map_or_else(|| text.to_owned(), |t| print::instant(t.micros()))
}

fn tell(found: &Explanation) {
    let known = found.known_up_to.as_deref().map_or_else(|| "not yet: a type was never synced".to_owned(), to_the_second);
    print::line(&format!("{} (known up to {known})", found.patient.expose()));
    if found.records.len() > 1 {
        print::line(&format!("one person: {}", found.records.iter().map(|r| r.expose().as_str()).collect::<Vec<_>>().join(" = ")));
    }
    for s in &found.segments {
        print::line("");
        let since = s.since.as_deref().map(|t| format!(", since {}", to_the_second(t))).unwrap_or_default();
        print::line(&format!("{}: {}{since}", s.segment, s.now.to_uppercase()));
        print::line(&indented("  rule: ", &s.rule));
        for reason in &s.reasons {
            let mark = if reason.decides { "*" } else { " " };
            print::line(&format!("  {mark} {}", reason.sentence.expose()));
        }
        if let Some(until) = &s.valid_until {
            print::line(&format!("  may change with time alone at {}", to_the_second(until)));
        }
        if let Some(stored) = s.stored {
            print::line(&format!("  stored as {}: the segment stage has not come to this person yet", stored.to_uppercase()));
        }
    }
    print::line("");
    print::line("* decides the answer");
}

fn attributes(common: &Common) -> Ended {
    let all = domain::rules::attributes();
    if common.json {
        print::json(&all.collect::<Vec<_>>());
    } else {
        let mut table = print::Table::new(&["ATTRIBUTE", "TYPE", "MEANING"]);
        for a in all {
            table.row([a.name.to_owned(), a.kind.to_string(), a.meaning.to_owned()]);
        }
        table.print();
    }
    Ended::Well
}
