//! Attempts, one by one, by state; and all verdicts on one. Whom they are about is not told here: the patient's page does.

use actix_web::{HttpRequest, HttpResponse, web};

use super::{Card, Piece, Scene, list_page};
use crate::store::attempts::{self, VerdictRow};
use crate::store::view::listing::ATTEMPTS;
use crate::web::Served;
use crate::web::list::{Cell, Column, Filter, Labels, Row};
use crate::web::notice::Notice;
use crate::web::viewer::Viewer;
use crate::web::words::Mood;

const PLACE: &str = "/outreach";

/// States, with what they mean.
const STATES: [(&str, &str); 7] = [
    ("held", "held"),
    ("refused", "refused"),
    ("planned", "planned"),
    ("sending", "on their way, or in doubt"),
    ("sent", "sent, no receipt yet"),
    ("finished", "finished"),
    ("void", "given up: their reason went away"),
];

pub(super) fn mood(state: &str, outcome: &str) -> Mood {
    match (state, outcome) {
        ("finished", "failed") | ("refused", _) => Mood::Bad,
        ("finished" | "sent", _) => Mood::Good,
        ("void", _) => Mood::Plain,
        _ => Mood::Busy,
    }
}

/// The list.
pub async fn page(served: web::Data<Served>, viewer: web::ReqData<Viewer>, request: HttpRequest) -> Result<HttpResponse, Notice> {
    let scene = Scene::of(&served, &viewer, &request).await?;
    let desk = &served.given.desk;
    let mut programs: Vec<String> =
        served.attempts().await?.alike.iter().map(|a| a.program.clone()).chain(desk.programs().into_iter().map(|p| p.id)).collect();
    programs.sort_unstable();
    programs.dedup();
    let states = STATES.iter().map(|(value, name)| ((*value).to_owned(), (*name).to_owned())).collect();
    let columns = vec![
        Column::text("id", "Attempt"),
        Column::text("program", "Program").one_of(programs),
        Column::text("step", "Step"),
        Column::text("channel", "Channel").one_of(desk.channels()),
        Column::text("state", "State").filter(Filter::Always(states)),
        Column::text("outcome", "Outcome").one_of(["delivered", "answered", "failed", "unknown"]),
        Column::text("due", "Due").sorts(),
        Column::text("sent", "Sent"),
        Column::text("why", "Why").long(),
    ];
    let asked = scene.asked(&columns)?;
    let labels =
        Labels { caption: "Attempts of one state, the latest due first", empty: "No attempt is in this state now.", file: "attempts" };
    let list = scene
        .listed(&ATTEMPTS, &[], labels, columns, asked, |v| {
            let (id, state, outcome) = (v.text("id").to_owned(), v.text("state"), v.text("outcome"));
            let why: Vec<String> =
                v.text("failure").trim_start_matches("channel: ").split(", ").filter(|c| !c.is_empty()).map(|c| desk.meaning(c)).collect();
            Row::from(vec![
                Cell::Link(format!("/attempts/{id}"), id),
                Cell::text(v.text("program")),
                Cell::text(v.text("step")),
                Cell::text(v.text("channel")),
                Cell::Status(mood(state, outcome), state.to_owned()),
                Cell::text(outcome),
                scene.at(v.number("due")),
                scene.at_or_nothing(v.instant("sent")),
                Cell::text(if why.is_empty() && state == "held" { "see the attempt".to_owned() } else { why.join("; ") }),
            ])
        })
        .await?;
    list_page(scene.board(PLACE, "Attempts"), "One by one", &list)
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
            if r.detail.is_empty() || r.detail == meaning { meaning } else { format!("{meaning}: {}", r.detail) }
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
    let board = scene.board(PLACE, "An attempt").lead("Whom it is about is told on the patient's page only.");
    board.card(Card::wide("What it is").with(Piece::Code("attempt", a.id.clone())).with(Piece::Facts(facts))).card(card).answer()
}
