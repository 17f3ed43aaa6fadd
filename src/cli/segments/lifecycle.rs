//! How definitions come into force: `segments check`, `plan`, `apply`, `rollback` and `history`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use domain::rules::{Definition, Mistake, OwnAttribute, ValueSet};

use super::super::exit::{Ended, Failure};
use super::super::{Common, print, progress, signals};
use crate::app::{App, StageError};
use crate::segments::Library;
use crate::segments::change::{self, Applied, How};
use crate::segments::history;
use crate::segments::library::{LONGEST_VALUE_SET, read_file};
use crate::segments::plan::{self, Dry, Plan, Planned};
use crate::store::definitions::{self, Kind, Rollout};
use crate::store::steps;

/// How often a roll-out is looked at while one waits for it.
const LOOK: Duration = Duration::from_millis(200);
/// A definition file is a page of text.
const LONGEST: u64 = 1 << 20;

fn library(folder: &Path) -> Result<Library, Failure> {
    Library::with_files(folder).map_err(|mistakes| mistaken(&mistakes))
}

fn mistaken(mistakes: &[Mistake]) -> Failure {
    let lines: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
    Failure::problem(format!("the definitions have {}:\n{}", print::plural(lines.len(), "mistake"), lines.join("\n")))
}

/// A file to check, read.
enum Read {
    Segment(Definition),
    ValueSet(ValueSet),
    Attribute(OwnAttribute),
}

/// What a file defines: by its folder, else by what stands in it.
fn read(file: &Path) -> Result<Read, Vec<Mistake>> {
    let is_json = file.extension().is_some_and(|e| e == "json");
    let folder = file.canonicalize().ok().and_then(|f| Some(f.parent()?.file_name()?.to_str()?.to_owned())).unwrap_or_default();
    let longest = if is_json || folder == "value-sets" { LONGEST_VALUE_SET } else { LONGEST };
    let text = read_file(file, longest).map_err(|why| vec![Mistake::new(why)])?;
    if is_json && (folder == "value-sets" || text.contains("\"ValueSet\"")) {
        return ValueSet::from_fhir(&text).map(Read::ValueSet);
    }
    if is_json {
        return Definition::parse_json(&text).map(Read::Segment);
    }
    let table = text.parse::<toml::Table>().unwrap_or_default();
    let has = |keys: &[&str]| keys.iter().any(|key| table.contains_key(*key));
    match folder.as_str() {
        "attributes" => OwnAttribute::parse(&text).map(Read::Attribute),
        "value-sets" => ValueSet::parse(&text).map(Read::ValueSet),
        "segments" => Definition::parse(&text).map(Read::Segment),
        _ if !has(&["rule"]) && has(&["path", "resource"]) => OwnAttribute::parse(&text).map(Read::Attribute),
        _ if !has(&["rule"]) && has(&["codes", "licence"]) => ValueSet::parse(&text).map(Read::ValueSet),
        _ => Definition::parse(&text).map(Read::Segment),
    }
}

/// The definition files of a folder, in order.
fn files_of(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut all = Vec::new();
    for below in ["segments", "value-sets", "attributes"] {
        let below = folder.join(below);
        let unreadable = |e: std::io::Error| Failure::problem(format!("{} cannot be read: {}", below.display(), e.kind()));
        let entries = match std::fs::read_dir(&below) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            entries => entries.map_err(unreadable)?,
        };
        for entry in entries {
            let file = entry.map_err(unreadable)?.path();
            if file.extension().is_some_and(|e| e == "toml" || e == "json") {
                all.push(file);
            }
        }
    }
    all.sort();
    Ok(all)
}

/// Checks files alone first, then together with what they may name. Without files named, those of the folder.
pub(super) fn check(common: &Common, files: &[PathBuf], folder: &Path) -> Result<Ended, Failure> {
    let of_folder = if files.is_empty() { files_of(folder)? } else { Vec::new() };
    let files = if files.is_empty() { &of_folder } else { files };
    if files.is_empty() {
        print::note(&format!("{} holds no definition files; the shipped definitions can be applied", folder.display()));
    }
    let mut told: Vec<(String, String)> = Vec::new();
    let (mut definitions, mut sets, mut own) = (Vec::new(), Vec::new(), Vec::new());
    for file in files {
        match read(file) {
            Ok(Read::Segment(one)) => definitions.push(one),
            Ok(Read::ValueSet(one)) => sets.push(one),
            Ok(Read::Attribute(one)) => own.push(one),
            Err(mistakes) => told.extend(mistakes.iter().map(|m| (file.display().to_string(), m.to_string()))),
        }
    }
    // What a file with mistakes defines is not known: whoever names it would be told that it is not there.
    if told.is_empty() {
        let library = library(folder)?;
        let others = library.rules().segments().iter().map(|s| s.definition());
        let all: Vec<Definition> = beside(others, &definitions, |d| &d.id);
        let all_sets = beside(library.value_sets().iter(), &sets, |v| &v.id);
        let all_own = beside(library.own().iter(), &own, |a| &a.id);
        if let Err(mistakes) = Library::with_own(&all, all_sets, all_own) {
            told.extend(mistakes.iter().map(|m| (m.definition.clone().unwrap_or_default(), m.to_string())));
        }
    }
    if common.json {
        let rows: Vec<_> = told.iter().map(|(file, mistake)| serde_json::json!({ "in": file, "mistake": mistake })).collect();
        print::json(&rows);
    } else {
        told.iter().for_each(|(file, mistake)| print::line(&if file.is_empty() { mistake.clone() } else { format!("{file}: {mistake}") }));
        if told.is_empty() && !files.is_empty() {
            print::line(&format!("{} can be applied", print::plural(files.len(), "definition")));
        }
    }
    Ok(if told.is_empty() { Ended::Well } else { Ended::WithProblems })
}

/// These, and those of the others whose place they do not take.
fn beside<'a, T: Clone + 'a>(others: impl Iterator<Item = &'a T>, these: &[T], id: impl Fn(&T) -> &String) -> Vec<T> {
    let replaced = |other: &&T| these.iter().any(|one| id(one) == id(other));
    others.filter(|other| !replaced(other)).cloned().chain(these.iter().cloned()).collect()
}

pub(super) async fn plan(app: App, common: &Common, folder: &Path, all: bool, examples: usize) -> Result<Ended, Failure> {
    let wanted = library(folder)?;
    let stop: Arc<AtomicBool> = Arc::default();
    signals::stop_at(&stop);
    let bar = progress::spinner("persons evaluated");
    let shown = bar.clone();
    let (app, asked) = (Arc::new(app), Arc::clone(&stop));
    let planned = tokio::task::spawn_blocking(move || {
        let clock = app.clock.as_ref();
        let dry = Dry { store: &app.store, site: &app.site, clock, live: &app.definitions, wanted: &wanted, all, examples };
        plan::plan(&dry, &asked, &|n| shown.set_position(n))
    })
    .await
    .map_err(|_| Failure::problem("the plan could not be worked out"))??;
    bar.finish_and_clear();
    if stop.load(Ordering::Relaxed) {
        print::note("interrupted: the counts are those of a part");
    }
    if common.json {
        print::json(&planned);
    } else {
        tell(&planned);
    }
    Ok(Ended::Well)
}

fn tell(plan: &Plan) {
    if plan.segments.is_empty() && plan.value_sets.is_empty() && plan.attributes.is_empty() {
        print::line("nothing differs: what the files say is in force");
        return;
    }
    for (id, how) in &plan.value_sets {
        print::line(&format!("value set {id}: {}", word(*how)));
    }
    for (id, how) in &plan.attributes {
        print::line(&format!("attribute own.{id}: {}", word(*how)));
    }
    let mut table = print::Table::new(&["SEGMENT", "CHANGE", "NOW", "ENTER", "LEAVE", "HOLDS", "DOES NOT", "UNKNOWN", "COUNTS AS"]);
    for s in &plan.segments {
        let change = s.change.map_or("-", word);
        let numbers = [s.members_now, s.entering, s.leaving, s.holds, s.does_not_hold, s.unknown].map(|n| n.to_string());
        table.row([s.id.clone(), change.to_owned()].into_iter().chain(numbers).chain([s.unknown_counts_as.to_owned()]));
    }
    table.print();
    for s in &plan.segments {
        examples(s);
    }
    if plan.left_out > 0 {
        print::note(&format!("{} persons were left out: an EHR of theirs is being read", plan.left_out));
    }
}

fn examples(s: &Planned) {
    for (what, examples) in [("enters", &s.examples_entering), ("leaves", &s.examples_leaving)] {
        for example in examples {
            print::line("");
            print::line(&format!("{} {what} {}:", example.patient.expose(), s.id));
            example.because.iter().for_each(|sentence| print::line(&format!("  {}", sentence.expose())));
        }
    }
}

const fn word(how: How) -> &'static str {
    match how {
        How::New => "new",
        How::Changed => "changed",
        How::Ends => "ends",
        How::Reworded => "reworded, decides as before",
    }
}

pub(super) async fn apply(app: App, common: &Common, folder: &Path, no_wait: bool) -> Result<Ended, Failure> {
    let wanted = library(folder)?;
    let now = app.clock.now();
    let applied = app.store.write("apply segments", move |conn| change::apply(conn, &wanted, now)).await?;
    follow(app, common, &applied, no_wait).await
}

pub(super) async fn roll_back(app: App, common: &Common, to: Option<i64>, no_wait: bool) -> Result<Ended, Failure> {
    let now = app.clock.now();
    let applied = app.store.write("roll segments back", move |conn| change::roll_back(conn, to, now)).await?;
    follow(app, common, &applied, no_wait).await
}

/// Does the work of a roll-out, or waits until the process that has the segments in hand did it.
async fn follow(app: App, common: &Common, applied: &Applied, no_wait: bool) -> Result<Ended, Failure> {
    let number = match applied {
        Applied::Begun(number) => *number,
        Applied::Nothing => return Ok(told(common, None, "nothing differs: what is wanted is in force")),
        Applied::Reworded(n) => {
            return Ok(told(common, None, &format!("{} reworded; nothing else differs", print::plural(*n, "definition"))));
        }
        Applied::GivenUp(n) => {
            return Ok(told(common, None, &format!("roll-out {n} was given up before it came into force; nothing else changed")));
        }
        Applied::Busy => {
            return Err(Failure::problem(
                "the last roll-out is still being entered into the histories; try again when `fhir-engage segments history` says it is done",
            ));
        }
        Applied::NoSuch => {
            return Err(Failure::usage("there is no such roll-out to go back to; `fhir-engage segments history` lists them"));
        }
    };
    if no_wait {
        return Ok(told(common, None, &format!("roll-out {number} began; `serve` or `segments run` goes on with it")));
    }
    let stop: Arc<AtomicBool> = Arc::default();
    signals::stop_at(&stop);
    let app = Arc::new(app);
    let total = app.store.read(steps::persons).await?;
    let bar = progress::spinner("persons evaluated by the new definitions");
    let row = loop {
        let working = app.assign(&stop, Arc::new(|_| ()));
        tokio::pin!(working);
        let ended = loop {
            tokio::select! {
                done = &mut working => break done,
                () = tokio::time::sleep(LOOK) => {
                    if let Some(row) = of_number(&app, number).await? {
                        bar.set_message(format!("of {total} persons evaluated by the new definitions"));
                        bar.set_position(u64::try_from(row.persons).unwrap_or(0));
                    }
                }
            }
        };
        let row = of_number(&app, number).await?;
        let over = row.as_ref().is_none_or(|r| matches!(r.state.as_str(), "done" | "dropped" | "dropping"));
        if over || stop.load(Ordering::Relaxed) {
            break row;
        }
        match ended {
            Ok(_) => {}
            // Another process has the segments in hand, and does it.
            Err(StageError::Busy(_)) => tokio::time::sleep(LOOK).await,
            Err(error) => return Err(error.into()),
        }
    };
    bar.finish_and_clear();
    let Some(row) = row else { return Err(Failure::problem("the roll-out is gone")) };
    let text = match row.state.as_str() {
        "done" => format!("roll-out {number} is in force: {} entries, {} exits", row.entries, row.exits),
        "dropping" | "dropped" => format!("roll-out {number} was given up for another one"),
        _ => format!("interrupted after {} persons; `serve` or `segments apply` goes on", row.persons),
    };
    Ok(told(common, Some(&row), &text))
}

fn told(common: &Common, row: Option<&Rollout>, text: &str) -> Ended {
    if common.json {
        print::json(&serde_json::json!({ "rollout": row.map(json), "said": text }));
    } else {
        print::line(text);
    }
    Ended::Well
}

async fn of_number(app: &App, number: i64) -> Result<Option<Rollout>, Failure> {
    Ok(app.store.read(definitions::rollouts).await?.into_iter().find(|r| r.number == number))
}

fn json(r: &Rollout) -> serde_json::Value {
    serde_json::json!({
        "number": r.number, "cause": r.kind, "back_to": r.back_to, "state": r.state, "persons": r.persons, "entries": r.entries, "exits": r.exits,
        "begun_at": print::instant(r.begun_at), "in_force_from": r.flipped_at.map(print::instant), "ended_at": r.ended_at.map(print::instant),
    })
}

pub(super) async fn history(app: &App, common: &Common, id: Option<&str>, patient: Option<&str>) -> Result<Ended, Failure> {
    match (patient, id) {
        (Some(patient), only) => events(app, common, patient, only.map(str::to_owned)).await,
        (None, Some(id)) => versions(app, common, id.to_owned()).await,
        (None, None) => rollouts(app, common).await,
    }
}

async fn rollouts(app: &App, common: &Common) -> Result<Ended, Failure> {
    let all = app.store.read(definitions::rollouts).await?;
    let mut brought = Vec::new();
    for rollout in &all {
        let number = rollout.number;
        let versions = app.store.read(move |conn| definitions::of_rollout(conn, number)).await?;
        let names = versions.iter().map(|v| {
            let what = if v.rollout == number { format!("{} {}", v.id, v.version) } else { format!("{} {} ends", v.id, v.version) };
            match Kind::ALL.into_iter().find(|kind| kind.as_str() == v.kind) {
                Some(kind) if kind != Kind::Segment => format!("{} {what}", kind.in_words()),
                _ => what,
            }
        });
        // What is replaced is told by what replaces it.
        let ended_only = |v: &&definitions::Version| {
            v.rollout == number || !versions.iter().any(|o| o.rollout == number && o.id == v.id && o.kind == v.kind)
        };
        let kept: Vec<String> = names.zip(&versions).filter(|(_, v)| ended_only(v)).map(|(name, _)| name).collect();
        brought.push(kept);
    }
    if common.json {
        let rows: Vec<_> = all
            .iter()
            .zip(&brought)
            .map(|(r, names)| {
                let mut row = json(r);
                if let Some(map) = row.as_object_mut() {
                    map.insert("versions".into(), serde_json::json!(names));
                }
                row
            })
            .collect();
        print::json(&rows);
        return Ok(Ended::Well);
    }
    let mut table = print::Table::new(&["ROLL-OUT", "CAUSE", "STATE", "IN FORCE FROM", "ENTRIES", "EXITS", "VERSIONS"]);
    for (r, names) in all.iter().zip(brought) {
        let cause = r.back_to.map_or_else(|| r.kind.clone(), |to| format!("{} to {to}", r.kind));
        let shown = names.iter().take(4).cloned().collect::<Vec<_>>().join(", ");
        let more = names.len().checked_sub(4).filter(|n| *n > 0).map_or_else(String::new, |n| format!(", {n} more"));
        table.row([
            r.number.to_string(),
            cause,
            r.state.clone(),
            print::instant_or_dash(r.flipped_at),
            r.entries.to_string(),
            r.exits.to_string(),
            format!("{shown}{more}"),
        ]);
    }
    table.print();
    Ok(Ended::Well)
}

async fn versions(app: &App, common: &Common, id: String) -> Result<Ended, Failure> {
    let asked = id.clone();
    let all = app.store.read(move |conn| definitions::versions(conn, Kind::Segment, &asked)).await?;
    if all.is_empty() {
        return Err(super::no_such_segment(app, &id));
    }
    if common.json {
        let rows: Vec<_> = all
            .iter()
            .map(|v| {
                serde_json::json!({
                    "version": v.version, "state": v.state, "rollout": v.rollout, "from": v.current_from.map(print::instant),
                    "until": v.current_until.map(print::instant), "source": v.source,
                })
            })
            .collect();
        print::json(&rows);
        return Ok(Ended::Well);
    }
    let mut table = print::Table::new(&["VERSION", "STATE", "ROLL-OUT", "FROM", "UNTIL", "RULE"]);
    for v in &all {
        let rule = Definition::parse(&v.source).map_or_else(|_| "-".to_owned(), |d| d.rule.to_string());
        let (from, until) = (print::instant_or_dash(v.current_from), print::instant_or_dash(v.current_until));
        table.row([v.version.to_string(), v.state.clone(), v.rollout.to_string(), from, until, rule]);
    }
    table.print();
    Ok(Ended::Well)
}

async fn events(app: &App, common: &Common, patient: &str, only: Option<String>) -> Result<Ended, Failure> {
    let (ehr, id) = super::record(patient)?;
    let events = app
        .store
        .read(move |conn| history::of_patient(conn, (&ehr, &id), only.as_deref()))
        .await?
        .ok_or_else(|| Failure::problem("no such patient was synced; `fhir-engage sync status` tells what is"))?;
    if common.json {
        print::json(&events);
        return Ok(Ended::Well);
    }
    let mut table = print::Table::new(&["NUMBER", "FROM", "SEGMENT", "VERSION", "BEFORE", "AFTER", "BECAUSE"]);
    for e in events {
        let reasons = e.reasons.expose().as_array().cloned().unwrap_or_default();
        let tests: Vec<String> =
            reasons.iter().filter_map(|r| Some(format!("{} is {}", r.get("test")?.as_str()?, r.get("truth")?.as_str()?))).collect();
        table.row([
            e.number.to_string(),
            super::to_the_second(&e.effective_at),
            e.segment,
            e.version.to_string(),
            e.before,
            e.after,
            tests.join("; "),
        ]);
    }
    table.print();
    Ok(Ended::Well)
}
