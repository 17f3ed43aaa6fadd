//! Connections: how each EHR is read, the run in progress, alerts; one EHR with its drift and its blind spots; runs; alerts.

use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template as _;
use domain::Timestamp;
use domain::model::Right;

use super::{Card, Piece, Scene, Source, html, list_page};
use crate::store::alerts;
use crate::store::view::listing::{ALERTS, RUNS};
use crate::store::view::overview::TypeStatus;
use crate::store::view::progress::{self, Left};
use crate::web::Served;
use crate::web::desk::{Reading, Readings};
use crate::web::list::{Button, Cell, Column, Filter, Labels, List, Row, held};
use crate::web::notice::Notice;
use crate::web::viewer::Viewer;
use crate::web::words::{Mood, counted, grouped, length};

const PLACE: &str = "/connections";

/// Of a run in progress.
#[derive(askama::Template)]
#[template(path = "running.html", config = "src/web/askama.toml")]
struct Running {
    runs: Vec<RunShown>,
}

struct RunShown {
    name: String,
    /// Done, and of how many, where that is known.
    bar: Option<(i64, i64)>,
    words: String,
}

fn running(readings: &Readings, now: Timestamp) -> Running {
    let going = readings.types.iter().filter_map(|r| r.last.as_ref().filter(|t| t.state == "running"));
    Running { runs: going.map(|t| run_shown(t, now)).collect() }
}

fn run_shown(t: &TypeStatus, now: Timestamp) -> RunShown {
    let bar = t.units_done.zip(t.units_of).or_else(|| t.expected.map(|of| (t.found, of))).filter(|(_, of)| *of > 0);
    let mut words = format!("{} read, {} new or changed", grouped(t.found), grouped(t.stored));
    if let (Some(done), Some(of)) = (t.units_done, t.units_of) {
        let what = if t.by_patient { "patients" } else { "weeks" };
        words.push_str(&format!(", {} of {} {what}", grouped(done), grouped(of)));
    }
    if let Some(rate) = progress::rate(t, now) {
        words.push_str(&format!(", {rate:.0} a second"));
    }
    match progress::left(t, now) {
        Left::About { seconds, by } => words.push_str(&format!(", about {} left by {by}", length(chrono::TimeDelta::seconds(seconds)))),
        Left::Unknown | Left::NotRunning => {}
    }
    if let Some(says) = &t.export {
        words.push_str(&format!("; {says}"));
    }
    RunShown { name: format!("{} {}", t.ehr, t.rtype), bar, words }
}

/// The run in progress, as the script asks for it again and again.
pub async fn now(served: web::Data<Served>) -> Result<HttpResponse, Notice> {
    let readings = served.given.desk.readings().await?;
    Ok(html(running(&readings, served.given.clock.now()).render()?))
}

fn state(t: Option<&TypeStatus>) -> (Mood, String) {
    let Some(t) = t else { return (Mood::Plain, "Never read".to_owned()) };
    match (t.state.as_str(), t.partial) {
        ("done", false) => (Mood::Good, "Done".to_owned()),
        ("done", true) => (Mood::Bad, "Done, but the EHR left something out".to_owned()),
        ("running", _) => (Mood::Busy, "Running".to_owned()),
        ("interrupted", _) => (Mood::Busy, "Interrupted; it goes on".to_owned()),
        _ => (Mood::Bad, "Failed".to_owned()),
    }
}

/// How an EHR's state is called in a filter.
const STATES: [&str; 6] = ["Done", "Done, but the EHR left something out", "Running", "Interrupted; it goes on", "Failed", "Never read"];

fn columns(readings: &Readings) -> Vec<Column> {
    let mut ehrs: Vec<&str> = readings.types.iter().map(|r| r.ehr.as_str()).collect();
    ehrs.dedup();
    vec![
        Column::text("ehr", "EHR").sorts().one_of(ehrs),
        Column::text("type", "Type").sorts().filter(Filter::Part),
        Column::text("state", "Last run").sorts().one_of(STATES),
        Column::text("began", "Began").sorts(),
        Column::number("found", "Read").sorts(),
        Column::number("stored", "New or changed").sorts(),
        Column::number("aside", "Put aside").sorts(),
        Column::text("known", "Known up to").sorts(),
        Column::text("next", "Next run").sorts(),
        Column::text("why", "Why").long(),
    ]
}

fn row(scene: &Scene<'_>, r: &Reading) -> Row {
    let t = r.last.as_ref();
    let (mood, words) = state(t);
    let why = match (t.and_then(|t| t.failure.clone()), &r.paused) {
        (_, Some(_)) | (None, None) => r.why.clone(),
        (Some(failure), None) => format!("{failure}; {}", r.why),
    };
    let n = |n: fn(&TypeStatus) -> i64| t.map_or(Cell::Nothing, |t| Cell::Number(n(t)));
    let cells = vec![
        Cell::Link(format!("{PLACE}/{}", r.ehr), r.ehr.clone()),
        Cell::text(r.rtype.clone()),
        Cell::Status(mood, words),
        t.map_or(Cell::Nothing, |t| scene.at(t.started_at)),
        n(|t| t.found),
        n(|t| t.stored),
        n(|t| t.quarantined),
        scene.at_or_nothing(t.and_then(|t| t.known_up_to)),
        if r.paused.is_some() { Cell::Status(Mood::Busy, "Paused".to_owned()) } else { scene.at_or_nothing(r.next) },
        Cell::text(why),
    ];
    let mut acts = Vec::new();
    let about = format!("{} {}", r.ehr, r.rtype);
    if scene.viewer.may(Right::RunSync) && r.paused.is_none() && t.is_none_or(|t| t.state != "running") {
        acts.push(Button::new("/connections/run", "Read now", about).with("ehr", &r.ehr).with("type", &r.rtype));
    }
    Row { cells, acts }
}

const LABELS: Labels = Labels {
    caption: "Each type of each EHR: how its last run went, and when the next one is",
    empty: "Here each EHR will stand with its types. Connect one with `fhir-engage ehr add`.",
    file: "connections",
};

/// The page.
pub async fn page(served: web::Data<Served>, viewer: web::ReqData<Viewer>, request: HttpRequest) -> Result<HttpResponse, Notice> {
    let scene = Scene::of(&served, &viewer, &request).await?;
    let readings = served.given.desk.readings().await?;
    let columns = columns(&readings);
    let asked = scene.asked(&columns)?;
    let rows = readings.types.iter().map(|r| row(&scene, r)).collect();
    let list = held(LABELS, columns, asked, rows, &viewer.csrf)?;
    let open = served.given.store.read(alerts::open).await?;
    let bad = readings.types.iter().filter(|r| state(r.last.as_ref()).0 == Mood::Bad).count();
    let bad = i64::try_from(bad + readings.unreadable.len()).unwrap_or(i64::MAX);
    let (mood, title) = match () {
        () if readings.types.is_empty() && readings.unreadable.is_empty() => (Mood::Plain, "No EHR is connected yet".to_owned()),
        () if bad > 0 => (Mood::Bad, format!("{} not end well", counted(bad, "sync did", "syncs did"))),
        () if !open.is_empty() => {
            (Mood::Bad, format!("{} open", counted(i64::try_from(open.len()).unwrap_or(0), "alert is", "alerts are")))
        }
        () => (Mood::Good, "All connections are well".to_owned()),
    };
    let mut board = scene
        .board(PLACE, title)
        .mood(mood)
        .lead("What is read from the EHRs, and when.")
        .link("/runs", "All runs")
        .link("/alerts", "Alerts");
    if viewer.may(Right::SeeQuarantine) {
        board = board.link("/quarantine", "Quarantine");
    }
    let moving = running(&readings, scene.now).render()?;
    board = board.card(Card::wide("In progress").with(Piece::Live("/connections/now", 3, moving)));
    if !open.is_empty() {
        let lines = open.iter().map(|a| format!("{}: {} What to do: {}", a.subject, sentence(&a.says), sentence(&a.remedy))).collect();
        board = board
            .card(Card::wide("Open alerts").with(Piece::Lines(lines)).with(Piece::Links(vec![("/alerts".to_owned(), "To the alerts")])));
    }
    if !readings.unreadable.is_empty() {
        let lines = readings.unreadable.iter().map(|(ehr, why)| format!("{ehr}: {why}")).collect();
        board = board.card(Card::wide("EHRs whose settings cannot be read").with(Piece::Lines(lines)));
    }
    board.card(Card::wide("EHRs and types").list(&list)?).answer()
}

/// With a full stop.
fn sentence(words: &str) -> String {
    let words = words.trim();
    if words.ends_with(['.', '!', '?']) { words.to_owned() } else { format!("{words}.") }
}

/// One EHR.
pub async fn one(
    served: web::Data<Served>,
    viewer: web::ReqData<Viewer>,
    name: web::Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, Notice> {
    let scene = Scene::of(&served, &viewer, &request).await?;
    let desk = &served.given.desk;
    let name = name.into_inner();
    let Some(sheet) = desk.sheet(name.clone()).await? else {
        return Err(Notice::not_there("There is no EHR of that name. It may have been removed."));
    };
    let mut readings = desk.readings().await?;
    readings.types.retain(|r| r.ehr == name);
    let paused = readings.types.iter().find_map(|r| r.paused.clone().filter(|p| !p.3));
    let mut board = scene.board(PLACE, name.clone()).link(format!("/runs?ehr={name}"), "Its runs");
    if viewer.may(Right::SeeQuarantine) {
        board = board.link(format!("/quarantine?ehr={name}"), "Its quarantine");
    }
    board = match sheet.seen_at {
        Some(at) => board.lead(format!("What it can do was last asked {}.", scene.when(at).ago)),
        None if sheet.files_only => board.lead("It delivers files; there is nothing to ask."),
        None => board.lead("It was not asked yet what it can do."),
    };
    let mut acts = Vec::new();
    if viewer.may(Right::RunSync) && !sheet.files_only {
        acts.push(Button::new("/connections/run", "Read all types now", &name).with("ehr", &name));
    }
    if viewer.may(Right::PauseSync) {
        acts.push(match &paused {
            Some(_) => Button::new("/connections/resume", "Let it be read again", &name).with("ehr", &name),
            None => {
                Button::new("/connections/pause", "Pause the reading", &name).with("ehr", &name).asks("why", "Why, without patient data")
            }
        });
    }
    // Without live parts: the one of all connections would mix the others in.
    let mut status = Card::wide("Types").made(&running(&readings, scene.now))?;
    if let Some((by, why, at, _)) = &paused {
        status = status.words(format!("Paused by {by} {}: {why}", scene.when(*at).ago));
    }
    let rows = readings.types.iter().map(|r| row(&scene, r)).collect();
    status = status.list(&scene.beside(LABELS, columns(&readings), rows)?)?;
    if !acts.is_empty() {
        status = status.with(Piece::Acts(viewer.csrf.clone(), acts));
    }
    board = board.card(status).card(drift(&scene, &name, &sheet)).card(blind(&scene, &sheet)?);
    board.card(Card::wide("How it is connected").with(Piece::Facts(sheet.facts))).answer()
}

fn drift(scene: &Scene<'_>, name: &str, sheet: &crate::web::desk::Sheet) -> Card {
    let mut card = Card::wide("What changed at the EHR");
    if let Some(why) = &sheet.unread {
        card = card.words(format!("What it can do cannot be read now: {why}"));
    }
    let since = sheet.compared_with.map_or_else(|| "the beginning".to_owned(), |at| scene.when(at).shown);
    if sheet.drift.is_empty() {
        return card.words(if sheet.files_only {
            "Files say nothing of what an EHR can do.".to_owned()
        } else {
            format!("Nothing changed since {since}.")
        });
    }
    let lines = sheet.drift.iter().map(|(grave, words)| format!("{}{words}", if *grave { "Problem: " } else { "" })).collect();
    card = card.quiet(format!("Compared with what it stated on {since}.")).with(Piece::Lines(lines));
    if scene.viewer.may(Right::RunSync) {
        let act = Button::new("/connections/accept", "Take note of it", name).with("ehr", name).with("fingerprint", &sheet.fingerprint);
        card = card.with(Piece::Acts(scene.viewer.csrf.clone(), vec![act]));
    }
    card
}

fn blind(scene: &Scene<'_>, sheet: &crate::web::desk::Sheet) -> Result<Card, Notice> {
    let card = Card::wide("Blind spots");
    let spots = match &sheet.blind {
        Err(why) => return Ok(card.words(format!("Not known: {why}"))),
        Ok(spots) if spots.is_empty() => return Ok(card.words("Every segment and every program can work on this EHR.")),
        Ok(spots) => spots,
    };
    let labels = Labels { caption: "Segments and programs that cannot fully work on this EHR", empty: "", file: "blind-spots" };
    let columns = vec![
        Column::text("kind", "What").sorts().one_of(["segment", "program"]),
        Column::text("id", "Name").sorts().filter(Filter::Part),
        Column::text("works", "Works").long(),
        Column::text("because", "Because").long(),
    ];
    let rows = spots.iter().map(|b| {
        Row::from(vec![Cell::text(b.kind), Cell::text(b.id.clone()), Cell::text(b.works.clone()), Cell::text(b.because.join(" "))])
    });
    card.list(&scene.beside(labels, columns, rows.collect())?)
}

fn run_columns(ehrs: Vec<String>) -> Vec<Column> {
    vec![
        Column::text("began", "Began").sorts(),
        Column::text("ehr", "EHR").one_of(ehrs),
        Column::text("type", "Type").one_of(domain::model::ResourceType::ALL.map(domain::model::ResourceType::as_str)),
        Column::text("strategy", "How"),
        Column::text("state", "State").one_of(["running", "done", "failed", "interrupted"]),
        Column::text("ended", "Ended"),
        Column::number("found", "Read"),
        Column::number("stored", "New or changed"),
        Column::number("quarantined", "Put aside"),
        Column::text("failure", "Why").long(),
    ]
}

/// Runs.
pub async fn runs(served: web::Data<Served>, viewer: web::ReqData<Viewer>, request: HttpRequest) -> Result<HttpResponse, Notice> {
    let scene = Scene::of(&served, &viewer, &request).await?;
    let columns = run_columns(ehrs(&served).await?);
    let asked = scene.asked(&columns)?;
    let labels =
        Labels { caption: "Sync runs, the latest first", empty: "Here each sync run will stand, with what it read.", file: "runs" };
    let list: List = scene
        .listed(Source::of(&RUNS), labels, columns, asked, |v| {
            let mood = match v.text("state") {
                "done" => Mood::Good,
                "failed" => Mood::Bad,
                _ => Mood::Busy,
            };
            Row::from(vec![
                scene.at(v.number("began")),
                Cell::text(v.text("ehr")),
                Cell::text(v.text("type")),
                Cell::text(v.text("strategy")),
                Cell::Status(mood, v.text("state").to_owned()),
                scene.at_or_nothing(v.instant("ended")),
                Cell::Number(v.number("found")),
                Cell::Number(v.number("stored")),
                Cell::Number(v.number("quarantined")),
                Cell::text(v.text("failure")),
            ])
        })
        .await?;
    list_page(scene.board(PLACE, "Sync runs"), "Runs", &list)
}

/// The names of all EHRs.
pub(super) async fn ehrs(served: &Served) -> Result<Vec<String>, Notice> {
    Ok(served.given.store.read(crate::store::ehrs::list).await?.into_iter().map(|row| row.id).collect())
}

/// Alerts.
pub async fn alerts(served: web::Data<Served>, viewer: web::ReqData<Viewer>, request: HttpRequest) -> Result<HttpResponse, Notice> {
    let scene = Scene::of(&served, &viewer, &request).await?;
    let states = vec![("open".to_owned(), "open".to_owned()), ("over".to_owned(), "over".to_owned())];
    let columns = vec![
        Column::text("n", "Number").sorts(),
        Column::text("state", "State").filter(Filter::OneOf(states)),
        Column::text("subject", "Of"),
        Column::text("says", "What is wrong").long(),
        Column::text("remedy", "What to do").long(),
        Column::text("opened", "Since"),
        Column::text("closed", "Over"),
        Column::text("by", "Acknowledged by"),
    ];
    let asked = scene.asked(&columns)?;
    let labels = Labels {
        caption: "Alerts, the latest first",
        empty: "Nothing was ever wrong. What is will stand here, with what to do.",
        file: "alerts",
    };
    let may = viewer.may(Right::RunSync);
    let list = scene
        .listed(Source::of(&ALERTS), labels, columns, asked, |v| {
            let (n, open, by) = (v.number("n"), v.instant("closed").is_none(), v.text("by"));
            let (mood, state) = match (open, by.is_empty()) {
                (false, _) => (Mood::Good, "over"),
                (true, true) => (Mood::Bad, "open"),
                (true, false) => (Mood::Busy, "acknowledged"),
            };
            let cells = vec![
                Cell::text(n.to_string()),
                Cell::Status(mood, state.to_owned()),
                Cell::text(v.text("subject")),
                Cell::text(v.text("says")),
                Cell::text(v.text("remedy")),
                scene.at(v.number("opened")),
                scene.at_or_nothing(v.instant("closed")),
                Cell::text(by),
            ];
            let act = Button::new("/alerts/acknowledge", "Acknowledge", format!("alert {n}"))
                .with("alert", n.to_string())
                .asks("why", "What is being done");
            Row { cells, acts: if may && open && by.is_empty() { vec![act] } else { Vec::new() } }
        })
        .await?;
    list_page(scene.board(PLACE, "Alerts"), "Alerts", &list)
}
