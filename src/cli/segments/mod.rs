//! `segments`: the segments, their members, why someone is in one or not, and how definitions come into force.

mod attributes;
mod export;
mod lifecycle;

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Subcommand;
use domain::Timestamp;

use super::exit::{Ended, Failure};
use super::{Common, print};
use crate::app::App;
use crate::segments::Library;
use crate::segments::change;
use crate::segments::explain::{self, Explanation};
use crate::segments::history;
use crate::store::freshness::{Freshness, Stale};
use crate::store::memberships::{self, State};
use crate::store::{definitions, derivations, own, people};

/// Look at segments, their members, and why; put definitions in force
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
  fhir-engage segments show visit-unconfirmed --held --json
  fhir-engage segments show lapsed --at 2026-11-01T00:00:00Z")]
    Show {
        /// The segment's id
        #[arg(value_name = "SEGMENT")]
        id: String,
        /// Show those of whom it is not known
        #[arg(long)]
        held: bool,
        /// Show who was a member at this instant
        #[arg(long, value_name = "INSTANT", conflicts_with = "held")]
        at: Option<String>,
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
    /// Check definition files; tell all mistakes at once
    #[command(after_help = "Examples:
  fhir-engage segments check                            all files of the data folder
  fhir-engage segments check data/segments/seniors.toml
  fhir-engage segments check --json data/segments/*.toml data/attributes/*.toml")]
    Check {
        /// Files of segments, value sets or attributes; they may name the shipped ones and those of --definitions [default: those of
        /// --definitions]
        #[arg(value_name = "FILE")]
        files: Vec<PathBuf>,
        #[command(flatten)]
        from: From,
    },
    /// Show what the definition files would change, and change nothing
    #[command(after_help = "Examples:
  fhir-engage segments plan
  fhir-engage segments plan --all --json")]
    Plan {
        #[command(flatten)]
        from: From,
        /// Show segments that do not differ too: how many are in, out and unknown
        #[arg(long)]
        all: bool,
        /// At most so many examples of who enters and who leaves
        #[arg(long, value_name = "N", default_value_t = 3)]
        examples: usize,
    },
    /// Put the definition files in force
    #[command(after_help = "Examples:
  fhir-engage segments apply
  fhir-engage segments apply --no-wait

While everyone is evaluated, the versions in force still answer. Run again after an
interruption, or leave it to `serve`: it goes on where it stopped.")]
    Apply {
        #[command(flatten)]
        from: From,
        /// Begin, and leave the work to `serve` or `segments run`
        #[arg(long)]
        no_wait: bool,
    },
    /// Go back to the definitions that were in force before
    #[command(after_help = "Examples:
  fhir-engage segments rollback
  fhir-engage segments rollback --to 3

Gives up a roll-out that is not in force yet. The files stay as they are: put them right
before the next `segments apply`.")]
    Rollback {
        /// To what was in force after this roll-out
        #[arg(long, value_name = "N")]
        to: Option<i64>,
        /// Begin, and leave the work to `serve` or `segments run`
        #[arg(long)]
        no_wait: bool,
    },
    /// List the roll-outs, the versions of a segment, or the entries and exits of a patient
    #[command(after_help = "Examples:
  fhir-engage segments history
  fhir-engage segments history lapsed --json
  fhir-engage segments history --patient main/123")]
    History {
        /// The segment's id
        #[arg(value_name = "SEGMENT")]
        id: Option<String>,
        /// Entries and exits of this patient
        #[arg(long, value_name = "EHR/ID")]
        patient: Option<String>,
    },
    /// Print a segment for other systems
    #[command(after_help = "Examples:
  fhir-engage segments export lapsed --format group > lapsed.json")]
    Export {
        /// The segment's id
        #[arg(value_name = "SEGMENT")]
        id: String,
        /// In which form
        #[arg(long, value_name = "FORM", value_enum, default_value_t = export::Format::Group)]
        format: export::Format,
    },
    /// Evaluate everyone whose facts changed or whose time has come
    #[command(after_help = "Examples:
  fhir-engage segments run")]
    Run,
    /// List the attributes that rules can ask about
    #[command(after_help = "Examples:
  fhir-engage segments attributes
  fhir-engage segments attributes age --json
  fhir-engage segments attributes --markdown

Attributes of your own are files in the folder `attributes`, each a path into a resource with
a type; `segments apply` reads them out of what is stored.")]
    Attributes {
        /// One attribute, in full
        #[arg(value_name = "ATTRIBUTE")]
        name: Option<String>,
        /// Print the documentation page
        #[arg(long, conflicts_with = "name")]
        markdown: bool,
        #[command(flatten)]
        from: From,
    },
}

/// Where definition files are.
#[derive(Debug, clap::Args)]
pub(super) struct From {
    /// The folder with segments, value-sets (*.toml or *.json) and attributes (*.toml) [default: the data folder]
    #[arg(long, value_name = "DIR")]
    definitions: Option<PathBuf>,
}

impl From {
    fn folder(&self, common: &Common) -> PathBuf {
        self.definitions.clone().unwrap_or_else(|| common.data())
    }
}

impl Segments {
    pub(super) async fn run(self, common: &Common) -> Result<Ended, Failure> {
        let this = match self {
            Self::Attributes { name, markdown, from } => {
                return attributes::show(common, name.as_deref(), markdown, &from.folder(common));
            }
            Self::Check { files, from } => return lifecycle::check(common, &files, &from.folder(common)),
            other => other,
        };
        let app = common.open()?;
        match this {
            Self::List => list(&app, common).await,
            Self::Export { id, format } => export::export(&app, &id, format).await,
            Self::Plan { from, all, examples } => lifecycle::plan(app, common, &from.folder(common), all, examples).await,
            Self::Apply { from, no_wait } => lifecycle::apply(app, common, &from.folder(common), no_wait).await,
            Self::Rollback { to, no_wait } => lifecycle::roll_back(app, common, to, no_wait).await,
            Self::History { id, patient } => lifecycle::history(&app, common, id.as_deref(), patient.as_deref()).await,
            Self::Show { id, at: Some(at), limit, .. } => show_past(&app, common, id, &at, limit).await,
            Self::Show { id, held, limit, .. } => show(&app, common, &id, if held { State::Held } else { State::In }, limit).await,
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
            Self::Attributes { .. } | Self::Check { .. } => Ok(Ended::Well),
        }
    }
}

async fn list(app: &App, common: &Common) -> Result<Ended, Failure> {
    let sizes = app.store.read(memberships::counted).await?;
    let fresh = freshness(app).await?;
    let of = |d: &domain::rules::Definition| {
        let size = sizes.iter().find(|s| s.id == d.id);
        size.map_or([0; 5], |s| [s.members, s.held, s.holds(d.unknown), s.does_not_hold(d.unknown), s.unknown])
    };
    let segments = app.definitions.rules().segments();
    let going_on = app.store.read(definitions::going_on).await?;
    if let Some(r) = going_on.filter(|r| r.state == "staging") {
        print::note(&format!(
            "roll-out {} is under way, {} persons evaluated; until then the versions before it answer",
            r.number, r.persons
        ));
    }
    differing(app, common);
    if common.json {
        let rows: Vec<_> = segments
            .iter()
            .map(|s| {
                let d = s.definition();
                let [members, held, holds, does_not_hold, unknown] = of(d);
                let stale = fresh.stale(i64::from(s.reads().mask()));
                let version = app.definitions.by_id(&d.id).map_or(0, |row| row.version);
                serde_json::json!({ "id": d.id, "version": version, "title": d.title, "stage": d.stage, "members": members, "held": held,
                    "holds": holds, "does_not_hold": does_not_hold, "unknown": unknown, "stale": stale,
                    "unknown_counts_as": d.unknown.as_str(), "rule": d.rule_text })
            })
            .collect();
        print::json(&rows);
        return Ok(Ended::Well);
    }
    let mut table = print::Table::new(&["SEGMENT", "STAGE", "MEMBERS", "HELD", "HOLDS", "DOES NOT", "UNKNOWN", "COUNTS AS", "TITLE"]);
    let mut old: BTreeMap<Stale, Vec<&str>> = BTreeMap::new();
    for s in segments {
        let d = s.definition();
        let numbers = of(d).map(|n| n.to_string());
        let words = [d.unknown.as_str().to_owned(), d.title.clone()];
        table.row([d.id.clone(), d.stage.clone()].into_iter().chain(numbers).chain(words));
        fresh.stale(i64::from(s.reads().mask())).into_iter().for_each(|stale| old.entry(stale).or_default().push(&d.id));
    }
    table.print();
    for (stale, ids) in old {
        print::note(&format!("{}: it decides over {}", old_news(&stale), ids.join(", ")));
    }
    unread(app).await?;
    Ok(Ended::Well)
}

/// What is known longer ago than messages may be sent by.
async fn freshness(app: &App) -> Result<Freshness, Failure> {
    let (max_age, now) = (app.config.outreach.max_staleness, app.clock.now());
    Ok(app.store.read(move |conn| Freshness::read(conn, max_age, now)).await?)
}

fn old_news(stale: &Stale) -> String {
    format!("{} of {} is stale, known up to {}", stale.rtype, stale.ehr, to_the_second(&stale.known_up_to))
}

/// Tells of facts and own attributes that are still being read out of the stored bodies.
async fn unread(app: &App) -> Result<(), Failure> {
    for reading in app.store.read(derivations::readings).await?.into_iter().filter(|r| r.ended_at.is_none()) {
        print::note(&format!(
            "this version reads more out of a record: {} of {} stored resources of type {} were read anew",
            reading.done, reading.total, reading.rtype
        ));
    }
    for reading in app.store.read(own::readings).await?.into_iter().filter(|r| r.ended_at.is_none()) {
        let all = app.definitions.library().own();
        let name = all.iter().find(|a| a.key() == reading.hash).map_or("an attribute that is being rolled out", |a| a.name());
        print::note(&format!("{name}: {} of {} stored resources of type {} were read", reading.done, reading.total, reading.rtype));
    }
    Ok(())
}

/// Tells where the files, or what is shipped, say something else than what is in force.
fn differing(app: &App, common: &Common) {
    match Library::with_files(&common.data()) {
        Ok(wanted) => {
            let n = change::differences(&app.definitions, &wanted).len();
            if n > 0 {
                print::note(&format!("{} not as in force: `fhir-engage segments plan` tells", print::plural(n, "definition")));
            }
        }
        Err(mistakes) => {
            let n = print::plural(mistakes.len(), "mistake");
            print::note(&format!("the definition files have {n}: `fhir-engage segments plan` tells"));
        }
    }
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
    let fresh = freshness(app).await?;
    let reads = rules.reads(place).map_or(0, |reads| i64::from(reads.mask()));
    let stale: Vec<Vec<Stale>> = members.iter().map(|records| fresh.stale_at(reads, records.iter().map(|r| r.ehr.as_str()))).collect();
    let size = app.store.read(memberships::counted).await?.into_iter().find(|s| s.id == id);
    let Some(definition) = rules.segments().get(place).map(domain::rules::Segment::definition) else {
        return Err(no_such_segment(app, id));
    };
    if common.json {
        print::json(&serde_json::json!({
            "id": definition.id, "title": definition.title, "stage": definition.stage, "description": definition.description,
            "rule": definition.rule_text, "tree": definition.rule.to_json(), "unknown_counts_as": definition.unknown.as_str(),
            "version": row.version, state.as_str(): references,
            "holds": size.as_ref().map(|s| s.holds(definition.unknown)), "does_not_hold": size.as_ref().map(|s| s.does_not_hold(definition.unknown)),
            "unknown": size.as_ref().map(|s| s.unknown), "stale": fresh.stale(reads),
        }));
        return Ok(Ended::Well);
    }
    print::line(&format!("{}: {}", definition.id, definition.title));
    print::line(&definition.description);
    print::line(&indented("rule: ", &definition.rule_text));
    if let Some(s) = &size {
        let (holds, does_not) = (s.holds(definition.unknown), s.does_not_hold(definition.unknown));
        let unknown = definition.unknown.as_str();
        print::line(&format!("holds of {holds}, does not hold of {does_not}, not known of {}, which counts as {unknown}", s.unknown));
    }
    fresh.stale(reads).iter().for_each(|stale| print::note(&old_news(stale)));
    print::line("");
    for (records, stale) in references.iter().zip(&stale) {
        let mark = if stale.is_empty() { "" } else { "  (stale)" };
        print::line(&format!("{}{mark}", records.join(" = ")));
    }
    Ok(Ended::Well)
}

fn no_such_segment(app: &App, id: &str) -> Failure {
    let known: Vec<&str> = app.definitions.rules().segments().iter().map(|s| s.definition().id.as_str()).collect();
    Failure::usage(format!("there is no segment {id}; there are: {}", known.join(", ")))
}

async fn show_past(app: &App, common: &Common, id: String, at: &str, limit: i64) -> Result<Ended, Failure> {
    let Some(at) = Timestamp::parse(at) else {
        return Err(Failure::usage("--at wants an instant with its offset, as in 2026-11-01T00:00:00Z"));
    };
    let known = id.clone();
    let definitions = app.definitions.clone();
    let past = app.store.snapshot(move |conn| history::members_at(conn, &definitions, &id, at, limit)).await?;
    let Some(past) = past else { return Err(no_such_segment(app, &known)) };
    if app.store.read(definitions::going_on).await?.is_some_and(|r| r.state == "settling") {
        print::note(
            "a roll-out is being entered into the histories: what it changed shows in part; ask again when `segments history` says done",
        );
    }
    if common.json {
        print::json(&past);
        return Ok(Ended::Well);
    }
    let version = past.version.map_or_else(|| "not in force then".to_owned(), |v| format!("version {v}"));
    print::line(&format!(
        "{} at {} ({version}): {}",
        past.id,
        to_the_second(&past.at),
        print::plural(usize::try_from(past.members).unwrap_or(0), "member")
    ));
    for records in past.listed {
        print::line(&records.iter().map(|r| r.expose().as_str()).collect::<Vec<_>>().join(" = "));
    }
    Ok(Ended::Well)
}

async fn explain_patient(app: App, common: &Common, patient: &str, segment: Option<String>) -> Result<Ended, Failure> {
    let (ehr, id) = record(patient)?;
    if let Some(id) = &segment
        && app.definitions.by_id(id).is_none()
    {
        return Err(no_such_segment(&app, id));
    }
    let now = app.clock.now();
    let fresh = freshness(&app).await?;
    let app = std::sync::Arc::new(app);
    let shared = std::sync::Arc::clone(&app);
    let found = app
        .store
        .read(move |conn| explain::explain(conn, &shared.definitions, &shared.site, (&ehr, &id), segment.as_deref(), (&fresh, now)))
        .await?
        .ok_or_else(|| Failure::problem("no such patient was synced; `fhir-engage sync status` tells what is"))?;
    if common.json {
        print::json(&found);
    } else {
        tell(&found);
    }
    Ok(Ended::Well)
}

/// `main/123` as its two parts.
fn record(patient: &str) -> Result<(String, String), Failure> {
    patient
        .split_once('/')
        .map(|(ehr, id)| (ehr.to_owned(), id.trim_start_matches("Patient/").to_owned()))
        .ok_or_else(|| Failure::usage("--patient wants the EHR's name, a slash, and the patient's id there: main/123"))
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
        let unknown = if s.unknown { format!(" (not known, which counts as {} here)", s.now) } else { String::new() };
        print::line(&format!("{}: {}{unknown}{since}", s.segment, s.now.to_uppercase()));
        print::line(&indented("  rule: ", &s.rule));
        for reason in &s.reasons {
            let mark = if reason.decides { "*" } else { " " };
            print::line(&format!("  {mark} {}", reason.sentence.expose()));
        }
        s.stale.iter().for_each(|stale| print::line(&format!("  {}", old_news(stale))));
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
