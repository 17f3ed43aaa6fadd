//! `outreach`: plans and sends what is due; lists attempts and why they went or did not go; switches the installation to live.

use clap::Subcommand;
use serde::Serialize;

use super::exit::{Ended, Failure};
use super::preferences::Choice;
use super::{Common, print};
use crate::app::{App, Settled};
use crate::outreach::ledger::KeptReason;
use crate::store::attempts::{self, Attempt, Listed, VerdictRow};
use crate::store::installation::{self, Setting};
use crate::store::people;

/// Plan and send what is due; look at attempts and why they went or did not go
#[derive(Debug, Subcommand)]
pub(super) enum Outreach {
    /// Plan for everyone who waits, and send what is due
    #[command(after_help = "Examples:
  fhir-engage outreach run
  fhir-engage outreach run --json")]
    Run,
    /// List attempts, the latest due first, with the last verdict on each
    #[command(after_help = "Examples:
  fhir-engage outreach list --state held
  fhir-engage outreach list --state unclear             what a person has to settle, and how
  fhir-engage outreach list --program visit-confirm --json")]
    List {
        /// planned, held, sending, sent, finished, refused or void; or unclear: those in sending that wait for a person
        #[arg(long, value_name = "STATE", value_parser = STATES)]
        state: Option<String>,
        /// One program only
        #[arg(long, value_name = "PROGRAM")]
        program: Option<String>,
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: i64,
    },
    /// Tell all verdicts on one attempt, and what became of it
    #[command(after_help = "Examples:
  fhir-engage outreach explain 014cc6014bfea35885865dd5413db20b

`fhir-engage outreach list` tells the ids.")]
    Explain {
        /// The attempt's id
        #[arg(value_name = "ATTEMPT")]
        id: String,
    },
    /// Say whether a message that is in doubt went out; the attempt then ends, or is judged anew
    #[command(after_help = "Examples:
  fhir-engage outreach list --state unclear
  fhir-engage outreach settle 014cc6014bfea35885865dd5413db20b --sent
  fhir-engage outreach settle 014cc6014bfea35885865dd5413db20b --not-sent

The message's id at the mail server begins with the attempt's id: look for it in the mail server's log.
With --sent the attempt ends, and the chart is told: sent, delivery unknown.
With --not-sent it waits again and is judged anew, so it may also be held or refused.")]
    Settle {
        /// The attempt's id
        #[arg(value_name = "ATTEMPT")]
        id: String,
        /// It went out
        #[arg(long, conflicts_with = "not_sent", required_unless_present = "not_sent")]
        sent: bool,
        /// It did not: judge it anew
        #[arg(long)]
        not_sent: bool,
    },
    Answer(super::inbound::Heard),
    Bounce(super::inbound::Bounce),
    /// Record that a patient does not want to be written to
    OptOut(Choice),
    /// Record that a patient wants to be written to again
    OptIn(Choice),
    /// Show what a patient said about being written to
    #[command(after_help = "Examples:
  fhir-engage outreach preferences --patient main/123")]
    Preferences {
        /// The patient: the EHR's name, a slash, and the patient's id there
        #[arg(long, value_name = "EHR/ID")]
        patient: String,
    },
    /// Show or switch whether messages may leave this installation; it begins switched off
    #[command(after_help = "Examples:
  fhir-engage outreach live            tell
  fhir-engage outreach live on         from now on, messages leave
  fhir-engage outreach live off")]
    Live {
        /// on or off
        #[arg(value_parser = ["on", "off"])]
        switch: Option<String>,
    },
    Stop(super::stops::Stop),
    Start(super::stops::Start),
}

/// In the list, an attempt that says `sending` and waits for a person.
const UNCLEAR: &str = "unclear";
const STATES: [&str; 8] = ["planned", "held", "sending", UNCLEAR, "sent", "finished", "refused", "void"];

/// An attempt as a list shows it: ids and states, no contact data and no words.
#[derive(Serialize)]
struct Row {
    id: String,
    patient: Option<String>,
    /// All records of the person.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    person: Vec<String>,
    program: String,
    step: String,
    state: String,
    outcome: Option<String>,
    channel: Option<String>,
    due_at: String,
    sent_at: Option<String>,
    about: Option<String>,
    failure: Option<String>,
    /// What a person has to do, where only a person can go on.
    to_do: Option<String>,
    verdict: Option<Judgement>,
}

#[derive(Serialize)]
struct Judgement {
    at: String,
    outcome: String,
    hold_until: Option<String>,
    facts_known_up_to: Option<String>,
    reasons: Vec<KeptReason>,
}

impl From<VerdictRow> for Judgement {
    fn from(v: VerdictRow) -> Self {
        Self {
            at: print::instant(v.judged_at),
            outcome: v.outcome,
            hold_until: v.hold_until.map(print::instant),
            facts_known_up_to: v.facts_as_of.map(print::instant),
            reasons: serde_json::from_slice(&v.reasons).unwrap_or_default(),
        }
    }
}

impl Outreach {
    pub(super) async fn run(self, common: &Common) -> Result<Ended, Failure> {
        let app = common.open()?;
        match self {
            Self::Run => run(&app, common).await,
            Self::List { state, program, limit } => list(&app, common, state, program, limit).await,
            Self::Explain { id } => explain(&app, common, id).await,
            Self::Settle { id, sent, .. } => settle(&app, common, id, sent).await,
            Self::Answer(heard) => heard.run(&app, common).await,
            Self::Bounce(bounce) => bounce.run(&app, common).await,
            Self::OptOut(choice) => choice.record(&app, common, false).await,
            Self::OptIn(choice) => choice.record(&app, common, true).await,
            Self::Preferences { patient } => super::preferences::show(&app, common, &patient).await,
            Self::Live { switch } => live(&app, common, switch).await,
            Self::Stop(stop) => stop.run(&app, common).await,
            Self::Start(start) => start.run(&app, common).await,
        }
    }
}

async fn run(app: &App, common: &Common) -> Result<Ended, Failure> {
    let stop = std::sync::Arc::default();
    super::signals::stop_at(&stop);
    let report = app.reach_out(&stop, &|_| ()).await?;
    print::left_out(&app.half_read().await?);
    if common.json {
        print::json(&report);
    } else {
        print::line(&format!(
            "{} persons planned for, {} attempts planned, {} given up; {} sent, {} held, {} refused, {} failed",
            report.persons, report.planned, report.voided, report.sent, report.held, report.refused, report.failed
        ));
        if report.unclear > 0 {
            print::line(&format!(
                "{} in doubt: see `fhir-engage outreach list --state unclear`, and settle each with `fhir-engage outreach settle`",
                report.unclear
            ));
        }
    }
    Ok(Ended::well_if(report.unclear == 0))
}

fn row(a: Attempt, record: Option<&people::Record>, verdict: Option<VerdictRow>) -> Row {
    Row {
        to_do: a.is_left_to_person().then(|| {
            format!("find out at the mail server whether it went out, then: fhir-engage outreach settle {} --sent, or --not-sent", a.id)
        }),
        patient: record.map(people::Record::name),
        person: Vec::new(),
        id: a.id,
        program: a.program,
        step: a.step,
        state: a.state,
        outcome: a.outcome,
        channel: a.channel,
        due_at: print::instant(a.due_at),
        sent_at: a.sent_at.map(print::instant),
        about: a.about,
        failure: a.failure,
        verdict: verdict.map(Judgement::from),
    }
}

async fn list(app: &App, common: &Common, state: Option<String>, program: Option<String>, limit: i64) -> Result<Ended, Failure> {
    if let Some(id) = &program {
        super::preferences::known_program(app, id)?;
    }
    let which = match state {
        None => Listed::All,
        Some(state) if state == UNCLEAR => Listed::LeftToPerson,
        Some(state) => Listed::In(state),
    };
    let rows = app
        .store
        .read(move |conn| {
            let attempts = attempts::list(conn, &which, program.as_deref(), limit)?;
            attempts
                .into_iter()
                .map(|a| {
                    let verdict = attempts::verdicts(conn, &a.id)?.pop();
                    let records = people::records(conn, a.person)?;
                    let record = records.iter().find(|r| r.pk == a.patient);
                    let person = records.iter().map(people::Record::name).collect();
                    Ok(Row { person, ..row(a, record, verdict) })
                })
                .collect::<Result<Vec<Row>, crate::store::StoreError>>()
        })
        .await?;
    if common.json {
        print::json(&rows);
        return Ok(Ended::Well);
    }
    if rows.is_empty() {
        print::note("no attempt is like that");
    }
    let mut table = print::Table::new(&["ATTEMPT", "PATIENT", "PROGRAM", "STEP", "STATE", "CHANNEL", "DUE", "WHY"]);
    let to_do: Vec<String> = rows.iter().filter_map(|r| Some(format!("{}: {}", r.id, r.to_do.as_ref()?))).collect();
    for r in rows {
        let state = r.outcome.map_or(r.state.clone(), |o| format!("{} ({o})", r.state));
        let codes = |v: &Judgement| v.reasons.iter().map(|r| r.code.clone()).collect::<Vec<_>>().join(", ");
        let judged = matches!(r.state.as_str(), "held" | "refused");
        let why = match (&r.failure, r.verdict.as_ref()) {
            // What became of a send says more than why it was allowed.
            (Some(failure), _) if !judged => failure.clone(),
            (_, Some(v)) => v.hold_until.as_ref().map_or_else(|| codes(v), |until| format!("until {until}: {}", codes(v))),
            (failure, None) => failure.clone().unwrap_or_default(),
        };
        table.row([
            r.id,
            r.patient.unwrap_or_default(),
            r.program,
            r.step,
            state,
            r.channel.unwrap_or_else(|| "-".to_owned()),
            r.due_at,
            why,
        ]);
    }
    table.print();
    to_do.iter().for_each(|told| print::line(told));
    Ok(Ended::Well)
}

async fn explain(app: &App, common: &Common, id: String) -> Result<Ended, Failure> {
    let wanted = id.clone();
    let found = app
        .store
        .read(move |conn| {
            let Some(a) = attempts::get(conn, &wanted)? else { return Ok(None) };
            let verdicts = attempts::verdicts(conn, &wanted)?;
            let records = people::records(conn, a.person)?;
            let record = records.into_iter().find(|r| r.pk == a.patient);
            Ok(Some((a, verdicts, record)))
        })
        .await?;
    let Some((attempt, verdicts, record)) = found else { return Err(no_such_attempt(&id)) };
    let judgements: Vec<Judgement> = verdicts.into_iter().map(Judgement::from).collect();
    let row = row(attempt, record.as_ref(), None);
    if common.json {
        print::json(&serde_json::json!({ "attempt": row, "verdicts": judgements }));
        return Ok(Ended::Well);
    }
    print::line(&format!("{} {} step {}: {}", row.id, row.program, row.step, row.outcome.as_ref().unwrap_or(&row.state)));
    if let Some(patient) = &row.patient {
        print::line(&format!("for {patient}{}", row.about.as_ref().map(|a| format!(", about {a}")).unwrap_or_default()));
    }
    for j in &judgements {
        let until = j.hold_until.as_ref().map(|t| format!(" until {t}")).unwrap_or_default();
        print::line(&format!("{} {}{until}", j.at, j.outcome));
        for reason in &j.reasons {
            let source = reason.source.as_ref().map(|s| format!(" [{}]", s.expose())).unwrap_or_default();
            print::line(&format!("  {}: {}{source}", reason.code, reason.detail));
        }
    }
    if let Some(failure) = &row.failure {
        print::line(&format!("{}: {failure}", if row.to_do.is_some() { "in doubt" } else { "ended" }));
    }
    if let Some(to_do) = &row.to_do {
        print::line(to_do);
    }
    Ok(Ended::Well)
}

fn no_such_attempt(id: &str) -> Failure {
    Failure::usage(format!("there is no attempt {id}; list them with `fhir-engage outreach list`"))
}

async fn settle(app: &App, common: &Common, id: String, sent: bool) -> Result<Ended, Failure> {
    let settled = app.settle_send(id.clone(), sent, None).await?;
    match settled {
        Settled::NoSuch => return Err(no_such_attempt(&id)),
        Settled::Not(state) if state == "sending" => {
            return Err(Failure::problem(format!(
                "{id} is being sent now, or its sender died: run `fhir-engage outreach run`, which finds out, and look again with `fhir-engage outreach list --state unclear`"
            )));
        }
        Settled::Not(state) => {
            return Err(Failure::problem(format!(
                "{id} does not wait for a person, it is {state}: nothing was changed; `fhir-engage outreach list --state unclear` lists those that do"
            )));
        }
        Settled::Done => {}
    }
    if common.json {
        print::json(&serde_json::json!({ "attempt": id, "settled_as": if sent { "sent" } else { "not-sent" } }));
    } else if sent {
        print::line("ended as sent, delivery unknown; the chart will be told so");
    } else {
        print::line("it waits again and will be judged anew by the next `fhir-engage outreach run`");
    }
    Ok(Ended::Well)
}

async fn live(app: &App, common: &Common, switch: Option<String>) -> Result<Ended, Failure> {
    if let Some(switch) = switch {
        let value = if switch == "on" { "true" } else { "false" };
        app.store.write("switch live", move |conn| installation::set(conn, Setting::Live, value)).await?;
    }
    let live = app.is_live().await?;
    if common.json {
        print::json(&serde_json::json!({ "live": live }));
    } else {
        print::line(if live { "live: messages leave this installation" } else { "not live: nothing leaves this installation" });
    }
    Ok(Ended::Well)
}
