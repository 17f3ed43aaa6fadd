//! `sync status`: how the last run of each EHR and type went, or how far it is.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::time::Duration;

use clap::Args;
use domain::Timestamp;
use serde_json::{Value, json};

use super::super::exit::{Ended, Failure};
use super::super::{Common, ehr, print, signals};
use super::telling as events;
use crate::app::{Agenda, App, Entry};
use crate::store::leases::{self, Term};
use crate::store::reading::PREFIX;
use crate::store::view::overview::{self, InHand, TypeStatus};
use crate::store::view::progress::{self, Left};
use crate::store::view::telling::{self, Telling};

/// Show the last run of each EHR and type, or the one that goes on
#[derive(Debug, Args)]
pub(in crate::cli) struct Status {
    /// One EHR only
    #[arg(value_name = "ID")]
    id: Option<String>,
    /// Look again and again
    #[arg(long)]
    watch: bool,
}

/// Between two looks.
const AGAIN: Duration = Duration::from_secs(2);

/// One look.
struct Look {
    now: Timestamp,
    types: Vec<TypeStatus>,
    agenda: Agenda,
    /// What EHRs tell by themselves, by EHR and type.
    telling: BTreeMap<(String, String), Telling>,
    /// Exports in hand, those of types that no run has begun to read included.
    exports: Vec<InHand>,
}

impl Status {
    pub(super) async fn run(self, app: &App, common: &Common) -> Result<Ended, Failure> {
        let only = self.id.as_deref().map(ehr::ehr_id).transpose()?;
        let only = only.as_ref().map(|id| id.as_str());
        if let Some(id) = only
            && !look(app, None).await?.1.iter().any(|known| known == id)
        {
            return Err(crate::app::ConnectionError::NoSuchEhr(id.to_owned()).into());
        }
        if !self.watch {
            let (look, _) = look(app, only).await?;
            tell(&look, common);
            return Ok(Ended::well_if(look.is_well()));
        }
        let mut signals = signals::Signals::listen();
        loop {
            let (look, _) = look(app, only).await?;
            if std::io::stdout().is_terminal() && !common.json {
                // To the top left, and the rest of the screen empty.
                print::line("\u{1b}[H\u{1b}[2J");
            }
            tell(&look, common);
            tokio::select! {
                () = signals.next() => return Ok(Ended::well_if(look.is_well())),
                () = tokio::time::sleep(AGAIN) => {}
            }
        }
    }
}

async fn look(app: &App, only: Option<&str>) -> Result<(Look, Vec<String>), Failure> {
    let mut agenda = app.agenda().await?;
    let registered = app.ehrs().await?;
    let names: Vec<String> =
        registered.known.iter().map(|(id, _)| id.to_string()).chain(registered.unreadable.iter().map(|(id, _)| id.clone())).collect();
    let (now, term, owner) = (agenda.now, Term(app.config.worker.lease), app.owner.clone());
    let read = move |conn: &mut _| {
        let held = leases::held(conn, PREFIX, now, term, |o| owner.is_dead(o))?;
        Ok((overview::read(conn)?.types, held, telling::read(conn)?, overview::in_hand(conn)?))
    };
    let (mut types, held, mut telling, mut exports) = app.store.snapshot(read).await?;
    // The last failure of an EHR that was removed is nobody's task any more.
    types.retain(|t| names.contains(&t.ehr) && only.is_none_or(|id| id == t.ehr));
    for t in types.iter_mut().filter(|t| t.state == "running" && !held.contains(&format!("{PREFIX}{}/{}", t.ehr, t.rtype))) {
        // Its process is gone; the next run closes its row and goes on.
        t.state = "interrupted".to_owned();
    }
    agenda.entries.retain(|e| only.is_none_or(|id| id == e.ehr.as_str()));
    agenda.unreadable.retain(|(id, _)| only.is_none_or(|only| only == id));
    telling.retain(|(ehr, _), _| names.contains(ehr) && only.is_none_or(|id| id == ehr));
    exports.retain(|job| names.contains(&job.ehr) && only.is_none_or(|id| id == job.ehr));
    Ok((Look { now, types, agenda, telling, exports }, names))
}

impl Look {
    fn is_well(&self) -> bool {
        self.agenda.unreadable.is_empty() && self.types.iter().all(|t| t.failure.is_none())
    }

    fn entry(&self, t: &TypeStatus) -> Option<&Entry> {
        self.agenda.entries.iter().find(|e| e.ehr.as_str() == t.ehr && e.kind.as_str() == t.rtype)
    }

    fn told(&self, ehr: &str, rtype: &str) -> Option<&Telling> {
        self.telling.get(&(ehr.to_owned(), rtype.to_owned()))
    }

    /// The export that a type waits for which no run has begun to read.
    fn awaited(&self, e: &Entry) -> Option<&InHand> {
        self.exports.iter().rfind(|job| job.ehr == e.ehr.as_str() && job.types.iter().any(|t| t == e.kind.as_str()))
    }

    /// What is to be read and never was, not even in vain.
    fn never(&self) -> impl Iterator<Item = &Entry> {
        self.agenda.entries.iter().filter(|e| !self.types.iter().any(|t| e.ehr.as_str() == t.ehr && e.kind.as_str() == t.rtype))
    }
}

fn tell(look: &Look, common: &Common) {
    if common.json { print::json(&as_json(look)) } else { as_table(look) }
}

fn as_json(look: &Look) -> Vec<Value> {
    let mut rows: Vec<Value> = look
        .types
        .iter()
        .map(|t| {
            let mut value = serde_json::to_value(t).unwrap_or_default();
            if let Some(map) = value.as_object_mut() {
                for key in ["started_at", "ended_at", "known_up_to", "failing_since", "retry_at", "paused_until", "reconciled_at"] {
                    let told = map.get(key).and_then(Value::as_i64).map(print::instant);
                    map.insert(key.to_owned(), told.into());
                }
                let (left, basis) = match progress::left(t, look.now) {
                    Left::About { seconds, by } => (Some(seconds), Some(by)),
                    Left::Unknown | Left::NotRunning => (None, None),
                };
                map.insert("per_second".to_owned(), progress::rate(t, look.now).map(|r| (r * 10.0).round() / 10.0).into());
                map.insert("seconds_left".to_owned(), left.into());
                map.insert("estimated_by".to_owned(), basis.into());
                map.insert("remedy".to_owned(), remedy(t).into());
                let told = look.told(&t.ehr, &t.rtype);
                map.insert("completeness".to_owned(), events::completeness(t, told));
                map.insert("events".to_owned(), events::events(told));
                if let Some(e) = look.entry(t) {
                    let schedule = super::schedule::row(e, look.now);
                    for key in ["next", "why", "paused"] {
                        map.insert(key.to_owned(), schedule.get(key).cloned().unwrap_or_default());
                    }
                }
            }
            value
        })
        .collect();
    rows.extend(look.never().map(|e| {
        let mut row = super::schedule::row(e, look.now);
        if let Some(map) = row.as_object_mut() {
            map.insert("state".to_owned(), if look.awaited(e).is_some() { "waiting" } else { "never" }.into());
            map.insert("export".to_owned(), look.awaited(e).map(|job| job.says.clone()).into());
            map.insert("events".to_owned(), events::events(look.told(e.ehr.as_str(), e.kind.as_str())));
        }
        row
    }));
    rows.extend(look.agenda.unreadable.iter().map(|(id, why)| json!({ "ehr": id, "type": null, "state": "failed", "failure": why })));
    rows
}

fn as_table(look: &Look) {
    if look.types.is_empty() && look.agenda.entries.is_empty() && look.agenda.unreadable.is_empty() {
        print::note("nothing was synced yet; begin with `fhir-engage sync run`");
    }
    let mut table = print::Table::new(&[
        "EHR",
        "TYPE",
        "STATE",
        "STARTED",
        "FOUND",
        "STORED",
        "UNCHANGED",
        "QUARANTINED",
        "VANISHED",
        "PAGES",
        "PER SECOND",
        "LEFT",
        "IN ALL",
        "READ",
        "KNOWN UP TO",
        "COMPLETE",
        "NEXT",
    ]);
    for t in &look.types {
        let counts = [t.found, t.stored, t.unchanged, t.quarantined, t.gone.unwrap_or(0), t.pages].map(|n| n.to_string());
        let start = [t.ehr.clone(), t.rtype.clone(), t.state.clone(), print::instant(t.started_at)];
        let rate = progress::rate(t, look.now).map_or_else(|| "-".to_owned(), |r| format!("{r:.0}"));
        let left = match progress::left(t, look.now) {
            Left::NotRunning => "-".to_owned(),
            Left::Unknown => "unknown".to_owned(),
            Left::About { seconds, by } => format!("about {} (by {by})", length(seconds)),
        };
        let next = look.entry(t).map_or_else(|| "-".to_owned(), |e| super::schedule::next(e, look.now).0);
        let rest = [rate, left, t.total.to_string(), units(t), print::instant_or_dash(t.known_up_to), events::complete(t), next];
        table.row(start.into_iter().chain(counts).chain(rest));
    }
    for e in look.never() {
        let dashes = std::iter::repeat_n("-".to_owned(), 12);
        let next = super::schedule::next(e, look.now).0;
        let [state, since] = look
            .awaited(e)
            .map_or_else(|| ["never".to_owned(), "-".to_owned()], |job| ["waiting".to_owned(), print::instant(job.asked_at)]);
        table.row([e.ehr.to_string(), e.kind.to_string(), state, since].into_iter().chain(dashes).chain([next]));
    }
    table.print();
    for job in &look.exports {
        print::line(&format!("{} {}: {}", job.ehr, job.types.join(", "), job.says));
    }
    for t in &look.types {
        let of = format!("{} {}", t.ehr, t.rtype);
        if let Some(says) = &t.note {
            print::line(&format!("{of}: {says}"));
        }
        if let Some(why) = &t.failure {
            let since = t.failing_since.filter(|_| t.failures > 1);
            let since = since.map(|at| format!(" ({} times in a row since {})", t.failures, print::instant(at))).unwrap_or_default();
            print::line(&format!("{of}: {why}{since}"));
            if let Some(remedy) = remedy(t) {
                print::line(&format!("    {remedy}"));
            }
        }
        if let Some(until) = t.paused_until.filter(|until| *until > look.now.micros()) {
            print::line(&format!("{of}: paused until {}; see `fhir-engage ehr limits {}`", print::instant(until), t.ehr));
        }
        if t.partial {
            let known = t.note.as_ref().map_or("what the EHR gave was not complete", |_| "so what the EHR gave was not complete");
            print::line(&format!("{of}: {known}; the next run reads it again, and nothing counts as gone meanwhile"));
        }
        if t.holes > 0 {
            let many = print::plural(usize::try_from(t.holes).unwrap_or(usize::MAX), "patient");
            print::line(&format!("{of}: not known of {many}; see `fhir-engage sync holes {}`", t.ehr));
        }
        if let Some(pause) = look.entry(t).and_then(|e| e.pause.as_ref()) {
            print::line(&format!("{of}: paused by {} since {}: {}", pause.paused_by, print::instant(pause.paused_at), pause.why));
        }
    }
    for ((ehr, rtype), told) in look.telling.iter().filter(|(_, told)| told.missing > 0) {
        let many = print::plural(usize::try_from(told.missing).unwrap_or(usize::MAX), "resource");
        print::line(&format!("{ehr} {rtype}: {many} no longer shown; gone once a second read apart in time says so"));
    }
    look.agenda.unreadable.iter().for_each(|(_, why)| print::line(why));
    events::table(look.telling.iter().map(|((ehr, rtype), told)| (ehr.as_str(), rtype.as_str(), told)));
}

/// What to do about a failure that does not say so itself.
fn remedy(t: &TypeStatus) -> Option<String> {
    let why = t.failure.as_ref()?;
    (!why.contains('`')).then(|| format!("`fhir-engage ehr check {}` walks the connection and says what to do", t.ehr))
}

/// How far a run came that goes from patient to patient, or from week to week.
fn units(t: &TypeStatus) -> String {
    let what = if t.by_patient { "patients" } else { "weeks" };
    match (t.units_done, t.units_of) {
        (Some(done), Some(of)) => format!("{done} of {of} {what}"),
        _ => "-".to_owned(),
    }
}

fn length(seconds: i64) -> String {
    match seconds {
        s if s < 90 => format!("{s} s"),
        s if s < 90 * 60 => format!("{} min", (s + 30) / 60),
        s => format!("{} h", (s + 1_800) / 3_600),
    }
}
