//! Attempts, one by one, by state; and all verdicts on one. Whom they are about is not told here: the patient's page does.

use std::collections::{BTreeMap, BTreeSet};

use actix_web::{HttpRequest, HttpResponse, web};

use super::{Card, Piece, Scene, Source, list_page};
use crate::patient::told_times;
use crate::store::attempts::{self, VerdictRow};
use crate::store::view::listing::{ATTEMPTS, Arm};
use crate::store::view::outreach::Counts;
use crate::web::Served;
use crate::web::list::{ANY, Asked, Cell, Column, Filter, Labels, Row};
use crate::web::notice::Notice;
use crate::web::viewer::Viewer;
use crate::web::words::Mood;

const PLACE: &str = "/outreach";

/// States, with what they mean; what waits first, since that is what people look for.
const STATES: [(&str, &str); 8] = [
    ("held", "held"),
    ("refused", "refused"),
    ("planned", "planned"),
    ("sending", "on their way, or in doubt"),
    ("sent", "sent, no receipt yet"),
    ("finished", "finished"),
    ("void", "given up: their reason went away"),
    (ANY, "any"),
];
const OUTCOMES: [&str; 4] = ["delivered", "answered", "failed", "unknown"];

pub(super) fn mood(state: &str, outcome: &str) -> Mood {
    match (state, outcome) {
        ("finished", "failed") | ("refused", _) => Mood::Bad,
        ("finished" | "sent", _) => Mood::Good,
        ("void", _) => Mood::Plain,
        _ => Mood::Busy,
    }
}

/// The parts that the list is read in, so that an index holds each in order: by state; and where something is asked of program, channel or outcome
/// by all of them, as far as there is anything.
fn arms(counts: &Counts, asked: &Asked) -> Vec<Arm> {
    let asks = |key: &str| asked.filter(key).is_some() || asked.order.is_some_and(|(by, _)| by == key);
    let by_point = asks("channel") || asks("outcome");
    let by_program = by_point || asks("program");
    let mut arms: BTreeSet<Arm> = BTreeSet::new();
    for alike in &counts.alike {
        let mut arm: Arm = vec![("state", Some(alike.state.clone()))];
        if by_program {
            arm.push(("program", Some(alike.program.clone())));
        }
        if by_point {
            arm.extend([("channel", alike.channel.clone()), ("outcome", alike.outcome.clone())]);
        }
        let is_wanted = |(key, value): &(&str, Option<String>)| asked.filter(key).is_none_or(|w| w == ANY || value.as_deref() == Some(w));
        if arm.iter().all(is_wanted) {
            arms.insert(arm);
        }
    }
    if arms.is_empty() {
        // There is none: no attempt is of no program, and an index says so at once.
        arms.insert(vec![("program", None)]);
    }
    arms.into_iter().collect()
}

/// The list.
pub async fn page(served: web::Data<Served>, viewer: web::ReqData<Viewer>, request: HttpRequest) -> Result<HttpResponse, Notice> {
    let scene = Scene::of(&served, &viewer, &request).await?;
    let desk = &served.given.desk;
    let counts = served.attempts().await?;
    let named = |all: &mut Vec<String>| {
        all.sort_unstable();
        all.dedup();
    };
    let mut programs: Vec<String> =
        counts.alike.iter().map(|a| a.program.clone()).chain(desk.programs().into_iter().map(|p| p.id)).collect();
    named(&mut programs);
    let mut channels: Vec<String> =
        counts.alike.iter().filter_map(|a| a.channel.clone()).chain(desk.channels().into_iter().map(str::to_owned)).collect();
    named(&mut channels);
    let states = STATES.iter().map(|(value, name)| ((*value).to_owned(), (*name).to_owned())).collect();
    let columns = vec![
        Column::text("id", "Attempt"),
        Column::text("program", "Program").sorts().one_of(programs),
        Column::text("step", "Step"),
        Column::text("channel", "Channel").sorts().one_of(channels),
        Column::text("state", "State").sorts().filter(Filter::Always(states)),
        Column::text("outcome", "Outcome").sorts().one_of(OUTCOMES),
        Column::text("due", "Due").sorts(),
        Column::text("sent", "Sent"),
        Column::text("why", "Why").long(),
    ];
    let asked = scene.asked(&columns)?;
    let labels = Labels { caption: "Attempts, the latest due first", empty: "No attempt is in this state now.", file: "attempts" };
    let source = Source::of(&ATTEMPTS).in_arms(arms(&counts, &asked));
    let page = scene.page(source, &asked).await?;
    let held: Vec<String> = page.values().filter(|v| v.text("state") == "held").map(|v| v.text("id").to_owned()).collect();
    let waits = why_held(&scene, held).await?;
    let rows = page
        .values()
        .map(|v| {
            let (id, state, outcome) = (v.text("id").to_owned(), v.text("state"), v.text("outcome"));
            let failure = v.text("failure").trim_start_matches("channel: ");
            let why: Vec<String> = failure.split(", ").filter(|c| !c.is_empty()).map(|c| desk.meaning(c)).collect();
            let why = waits.get(&id).cloned().unwrap_or_else(|| why.join("; "));
            Row::from(vec![
                Cell::Link(format!("/attempts/{id}"), id),
                Cell::text(v.text("program")),
                Cell::text(v.text("step")),
                Cell::text(v.text("channel")),
                Cell::Status(mood(state, outcome), state.to_owned()),
                Cell::text(outcome),
                scene.at(v.number("due")),
                scene.at_or_nothing(v.instant("sent")),
                Cell::text(why),
            ])
        })
        .collect();
    let list = scene.paged(labels, columns, asked, rows, page.next);
    list_page(
        scene
            .board(PLACE, "Attempts")
            .lead("Each message that was planned, with what became of it and why.")
            .link(PLACE, "Outreach in counts"),
        "One by one",
        &list,
    )
}

/// Why each of these attempts is held, in words: by its last verdict.
async fn why_held(scene: &Scene<'_>, held: Vec<String>) -> Result<BTreeMap<String, String>, Notice> {
    if held.is_empty() {
        return Ok(BTreeMap::new());
    }
    let read = move |conn: &mut _| attempts::verdicts_on(conn, &held.iter().map(String::as_str).collect::<Vec<_>>());
    let verdicts = scene.served.given.store.read(read).await?;
    Ok(verdicts.iter().map(|v| (v.attempt.clone(), reasons(scene, v).join("; "))).collect())
}

/// A reason as it is kept.
#[derive(serde::Deserialize)]
struct Kept {
    code: String,
    detail: String,
}

fn reasons(scene: &Scene<'_>, v: &VerdictRow) -> Vec<String> {
    let kept: Vec<Kept> = serde_json::from_slice(&v.reasons).unwrap_or_default();
    kept.into_iter()
        .map(|r| {
            let meaning = scene.served.given.desk.meaning(&r.code);
            let detail = told_times(&r.detail, scene.served.given.zone);
            if detail.is_empty() || detail == meaning { meaning } else { format!("{meaning}: {detail}") }
        })
        .collect()
}

/// One attempt.
pub async fn one(
    served: web::Data<Served>,
    viewer: web::ReqData<Viewer>,
    id: web::Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, Notice> {
    let scene = Scene::of(&served, &viewer, &request).await?;
    let wanted = id.into_inner();
    if wanted.contains('\0') {
        return Err(Notice::bad_list());
    }
    let found = served.given.store.read(move |conn| Ok((attempts::get(conn, &wanted)?, attempts::verdicts(conn, &wanted)?))).await?;
    let (Some(a), verdicts) = found else { return Err(Notice::not_there("There is no such attempt.")) };
    let facts = vec![
        ("Program".to_owned(), a.program.clone()),
        ("Step".to_owned(), a.step.clone()),
        ("State".to_owned(), a.outcome.as_ref().map_or_else(|| a.state.clone(), |o| format!("{} ({o})", a.state))),
        ("Channel".to_owned(), a.channel.clone().unwrap_or_else(|| "not chosen yet".to_owned())),
        ("Template".to_owned(), a.template.clone()),
        ("Due".to_owned(), scene.when(a.due_at).shown),
        ("Sent".to_owned(), a.sent_at.map_or_else(|| "no".to_owned(), |t| scene.when(t).shown)),
    ];
    let mut card = Card::wide("Why it went, or did not");
    if verdicts.is_empty() {
        card = card.words("It was not judged yet: that comes when it is due.");
    }
    for v in &verdicts {
        let until = v.hold_until.map(|t| format!(" until {}", scene.when(t).shown)).unwrap_or_default();
        let outcome = match v.outcome.as_str() {
            "allow" => "It may go",
            "hold" => "Held",
            _ => "Refused",
        };
        card = card.words(format!("{}: {outcome}{until}.", scene.when(v.judged_at).shown)).with(Piece::Lines(reasons(&scene, v)));
    }
    if let Some(failure) = &a.failure {
        card = card.words(format!("What became of it: {failure}"));
    }
    let board = scene
        .board(PLACE, "An attempt")
        .lead("Whom it is about is told on the patient's page only.")
        .link(format!("/attempts?state={}", a.state), "All in this state");
    board.card(Card::wide("What it is").with(Piece::Code("attempt", a.id.clone())).with(Piece::Facts(facts))).card(card).answer()
}
