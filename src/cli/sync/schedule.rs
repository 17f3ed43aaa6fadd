//! `sync schedule`: when each type of each EHR is read. Kept in the database, so that all nodes go by one.

use chrono::TimeDelta;
use clap::{Args, Subcommand};
use domain::Timestamp;
use serde_json::{Value, json};

use super::super::exit::{Ended, Failure};
use super::super::{Common, ehr, print, who};
use super::types;
use crate::app::{App, Entry};
use crate::store::schedules::{self, ALL_TYPES};
use crate::worker::schedule::{Due, Schedule as Times, Why, Written};

/// Say when an EHR is read, and see when each type is read next and why
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Schedule {
    /// List when each type of each EHR is read next, and why
    #[command(after_help = "Examples:
  fhir-engage sync schedule list
  fhir-engage sync schedule list --json

Where nothing was set, each type is read worker.sync_every after it was read last.
Exit code 1 where a schedule or an EHR's profile cannot be read.")]
    List,
    /// Set when an EHR, or one type of it, is read
    Set(Set),
    /// Take back what was set
    #[command(after_help = "Examples:
  fhir-engage sync schedule clear main
  fhir-engage sync schedule clear main --type Appointment")]
    Clear {
        /// The EHR's name
        #[arg(value_name = "ID")]
        id: String,
        /// The schedule of this type only
        #[arg(long = "type", value_name = "TYPE", value_parser = types())]
        kind: Option<String>,
    },
}

/// Set when an EHR, or one type of it, is read
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fhir-engage sync schedule set main --cron @daily --time-zone America/New_York
  fhir-engage sync schedule set main --type Appointment --every 15m
  fhir-engage sync schedule set main --not-during 07:00-19:00 --dry-run

A cron expression has five fields: minute, hour, day of month, month, day of week,
as in --cron \"30 2 * * mon-fri\". A span of hours may name days, as in
--not-during \"mon-fri 07:00-19:00\"; one over midnight, such as 22:00-05:00,
belongs to the day on which it begins. Spans and expressions follow the wall clock
of the time zone. In closed hours nothing begins, and what runs stops at its next
safe point and goes on when they are over.")]
pub(in crate::cli) struct Set {
    /// The EHR's name
    #[arg(value_name = "ID")]
    id: String,
    /// This type only; it then goes before what is set for the whole EHR
    #[arg(long = "type", value_name = "TYPE", value_parser = types())]
    kind: Option<String>,
    /// A cron expression
    #[arg(long, value_name = "EXPRESSION", conflicts_with = "every")]
    cron: Option<String>,
    /// So long after the last time: 30m, 4h, 1d
    #[arg(long, value_name = "SPAN", value_parser = span)]
    every: Option<TimeDelta>,
    /// Zone of the expression and of the spans [default: site.time_zone]
    #[arg(long, value_name = "ZONE")]
    time_zone: Option<String>,
    /// Up to so much later, so that not all begin at once: 10m
    #[arg(long, value_name = "SPAN", value_parser = span)]
    jitter: Option<TimeDelta>,
    /// Closed hours (a blackout); may be repeated
    #[arg(long, value_name = "HOURS")]
    not_during: Vec<String>,
    /// Only in these hours (off-peak); may be repeated
    #[arg(long, value_name = "HOURS")]
    only_during: Vec<String>,
    /// Who [default: the user of this machine]
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    /// Only show the next five times
    #[arg(long)]
    dry_run: bool,
}

fn span(text: &str) -> Result<TimeDelta, String> {
    let (number, unit) = text.split_at(text.bytes().take_while(u8::is_ascii_digit).count());
    let size = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => 0,
    };
    let seconds = number.parse::<i64>().ok().and_then(|n| n.checked_mul(size)).filter(|n| (1..=31 * 86_400).contains(n));
    seconds.map(TimeDelta::seconds).ok_or_else(|| "write a span of time such as 90s, 30m, 4h or 1d, of 31 days at most".to_owned())
}

impl Schedule {
    pub(super) async fn run(self, app: &App, common: &Common) -> Result<Ended, Failure> {
        match self {
            Self::List => list(app, common).await,
            Self::Set(set) => set.run(app, common).await,
            Self::Clear { id, kind } => clear(app, common, &id, kind).await,
        }
    }
}

impl Set {
    async fn run(self, app: &App, common: &Common) -> Result<Ended, Failure> {
        let id = ehr::ehr_id(&self.id)?;
        if app.profile(&id).await?.files_only {
            return Err(Failure::usage(format!("{id} has no connection: nothing of it is read by a schedule")));
        }
        let written = Written {
            cron: self.cron,
            every_seconds: self.every.map(|d| d.num_seconds()),
            time_zone: self.time_zone.unwrap_or_else(|| app.config.site.time_zone.name().to_owned()),
            jitter_seconds: self.jitter.map_or(0, |d| d.num_seconds()),
            not_during: self.not_during,
            only_during: self.only_during,
        };
        let times = Times::of(&written, app.usual_interval()).map_err(|e| Failure::usage(e.to_string()))?;
        let (rtype, now) = (self.kind.unwrap_or_else(|| ALL_TYPES.to_owned()), app.clock.now());
        let mut next = Vec::new();
        let mut after = now;
        for _ in 0..5 {
            after = times.next(after, &format!("{id}/{rtype}"));
            next.push(times.opens(after));
        }
        next.dedup();
        if !self.dry_run {
            let timing = serde_json::to_string(&written).map_err(|_| Failure::problem("the schedule could not be written down"))?;
            let (ehr, of_type, by) = (id.clone(), rtype.clone(), who::who(self.by));
            app.store.write("set a schedule", move |conn| schedules::put(conn, &ehr, &of_type, &timing, &by, now)).await?;
        }
        let shown: Vec<String> = next.iter().map(|t| print::instant(t.micros())).collect();
        if common.json {
            let kind = (rtype != ALL_TYPES).then_some(rtype);
            print::json(&json!({ "ehr": id, "type": kind, "schedule": times.words(), "next": shown, "set": !self.dry_run }));
        } else {
            let what = if rtype == ALL_TYPES { id.to_string() } else { format!("{id} {rtype}") };
            print::line(&format!("{what}: {}", times.words()));
            print::line(&format!("next: {}", shown.join(", ")));
            if self.dry_run {
                print::note("nothing was set");
            }
        }
        Ok(Ended::Well)
    }
}

async fn clear(app: &App, common: &Common, id: &str, kind: Option<String>) -> Result<Ended, Failure> {
    let id = ehr::ehr_id(id)?;
    let rtype = kind.unwrap_or_else(|| ALL_TYPES.to_owned());
    let (ehr, of_type) = (id.clone(), rtype.clone());
    if !app.store.write("take a schedule back", move |conn| schedules::remove(conn, &ehr, &of_type)).await? {
        return Err(Failure::problem("no such schedule is set; see `fhir-engage sync schedule list`"));
    }
    if common.json {
        print::json(&json!({ "ehr": id, "type": (rtype != ALL_TYPES).then_some(rtype), "set": false }));
    } else {
        print::line("taken back; `fhir-engage sync schedule list` shows what holds now");
    }
    Ok(Ended::Well)
}

async fn list(app: &App, common: &Common) -> Result<Ended, Failure> {
    let agenda = app.agenda().await?;
    let well = agenda.unreadable.is_empty() && agenda.entries.iter().all(|e| e.schedule.is_ok());
    if common.json {
        let mut rows: Vec<Value> = agenda.entries.iter().map(|e| row(e, agenda.now)).collect();
        rows.extend(agenda.unreadable.iter().map(|(id, why)| json!({ "ehr": id, "type": null, "problem": why })));
        print::json(&rows);
        return Ok(Ended::well_if(well));
    }
    if agenda.entries.is_empty() && agenda.unreadable.is_empty() {
        print::note("no EHR with a connection is registered; add one with `fhir-engage ehr add`");
    }
    let mut table = print::Table::new(&["EHR", "TYPE", "SCHEDULE", "SET FOR", "NEXT", "WHY"]);
    for e in &agenda.entries {
        let words = e.schedule.as_ref().map_or_else(ToString::to_string, Times::words);
        let (next, why) = next(e, agenda.now);
        table.row([e.ehr.to_string(), e.kind.to_string(), words, set_for(e).to_owned(), next, why]);
    }
    table.print();
    agenda.unreadable.iter().for_each(|(_, why)| print::note(why));
    Ok(Ended::well_if(well))
}

fn set_for(e: &Entry) -> &'static str {
    match &e.set {
        None => "all (worker.sync_every)",
        Some(row) if row.rtype == ALL_TYPES => "the EHR",
        Some(_) => "the type",
    }
}

/// When a type is read next, and why, in words.
pub(super) fn next(e: &Entry, now: Timestamp) -> (String, String) {
    if let Some(pause) = &e.pause {
        let since = print::instant(pause.paused_at);
        return ("paused".to_owned(), format!("by {} since {since}: {}", pause.paused_by, pause.why));
    }
    match &e.due {
        Some(due) => {
            let at = if due.at <= now { "now".to_owned() } else { print::instant(due.at.micros()) };
            (at, why(due))
        }
        None => ("-".to_owned(), "the schedule cannot be read".to_owned()),
    }
}

fn why(due: &Due) -> String {
    let mut text = match &due.why {
        Why::First => "it was never read".to_owned(),
        Why::Scheduled => "as scheduled".to_owned(),
        Why::Missed { was_due } => format!("missed since {}; it is made up for once", print::instant(was_due.micros())),
        Why::Retry { failures: 0 } => "the EHR may not be asked before; see `fhir-engage ehr limits`".to_owned(),
        Why::Retry { failures } => format!("another try after {}", print::plural(*failures as usize, "failure")),
        Why::Wanted { by } => format!("{by} asked for it"),
    };
    if due.held_since.is_some() {
        text.push_str(", held until closed hours are over");
    }
    text
}

/// A type as JSON.
pub(super) fn row(e: &Entry, now: Timestamp) -> Value {
    let instant = |t: Timestamp| print::instant(t.micros());
    let (_, words) = next(e, now);
    json!({
        "ehr": e.ehr,
        "type": e.kind,
        "schedule": e.schedule.as_ref().map(Times::words).ok(),
        "problem": e.schedule.as_ref().err().map(ToString::to_string),
        "set_for": e.set.as_ref().map(|s| if s.rtype == ALL_TYPES { "ehr" } else { "type" }),
        "set_by": e.set.as_ref().map(|s| s.set_by.as_str()),
        "next": e.due.as_ref().map(|d| instant(d.at)),
        "due": e.is_due(now),
        "why": words,
        "held_since": e.due.as_ref().and_then(|d| d.held_since).map(instant),
        "last_served": e.done.served.map(instant),
        "paused": e.pause.as_ref().map(|p| json!({ "by": p.paused_by, "why": p.why, "since": print::instant(p.paused_at) })),
    })
}
