//! Write-back: what is owed to charts, what is unknown, what was refused, by cause with what to do; and each write-back by state.

use actix_web::{HttpRequest, HttpResponse, web};
use domain::model::Right;

use super::connections::ehrs;
use super::{Card, Scene, Source, list_page};
use crate::store::view::listing::{Arm, WRITE_BACKS};
use crate::store::writebacks;
use crate::web::Served;
use crate::web::list::{ANY, Asked, Button, Cell, Column, Filter, Labels, Row};
use crate::web::notice::Notice;
use crate::web::plot::Bars;
use crate::web::viewer::Viewer;
use crate::web::words::{Mood, counted};

const PLACE: &str = "/writeback";

/// States, with what they mean.
const STATES: [(&str, &str); 8] = [
    ("refused", "refused"),
    ("unknown", "unknown: it is searched for"),
    ("owed", "owed"),
    ("writing", "being written"),
    ("written", "written"),
    ("exported", "handed over as a file"),
    ("kept", "kept in the ledger"),
    (ANY, "any"),
];

/// The parts that the list is read in, so that an index holds each in order: by state, and by EHR where that is asked for.
fn arms(ehrs: &[String], asked: &Asked) -> Vec<Arm> {
    let states = STATES.iter().map(|(state, _)| *state).filter(|s| *s != ANY);
    let by_ehr = asked.filter("ehr").is_some() || asked.order.is_some_and(|(by, _)| by == "ehr");
    let ehrs: Vec<Option<&String>> = if by_ehr { ehrs.iter().map(Some).collect() } else { vec![None] };
    let wanted = |key, value: &str| asked.filter(key).is_none_or(|w| w == ANY || w == value);
    states
        .filter(|state| wanted("state", state))
        .flat_map(|state| ehrs.iter().filter(|e| e.is_none_or(|e| wanted("ehr", e))).map(move |ehr| (state, *ehr)))
        .map(|(state, ehr)| std::iter::once(("state", Some(state.to_owned()))).chain(ehr.map(|e| ("ehr", Some(e.clone())))).collect())
        .collect()
}

fn mood(state: &str) -> Mood {
    match state {
        "refused" => Mood::Bad,
        "written" | "exported" | "kept" => Mood::Good,
        _ => Mood::Busy,
    }
}

/// The page.
pub async fn page(served: web::Data<Served>, viewer: web::ReqData<Viewer>, request: HttpRequest) -> Result<HttpResponse, Notice> {
    let scene = Scene::of(&served, &viewer, &request).await?;
    let counts = served.overview().await?;
    let n = |state: &str| counts.write_backs.get(state).copied().unwrap_or_default();
    let causes = served.given.store.read(|conn| writebacks::causes(conn, None)).await?;
    let waiting: i64 = causes.iter().map(|c| c.count).sum();
    let (mood, title) = match waiting {
        0 if n("owed") + n("writing") > 0 => (Mood::Busy, "Write-backs are on their way".to_owned()),
        0 => (Mood::Good, "All that was owed to the charts is told".to_owned()),
        waiting => (Mood::Bad, format!("{} for a person", counted(waiting, "write-back waits", "write-backs wait"))),
    };
    let board = scene
        .board(PLACE, title)
        .mood(mood)
        .lead("What happened is told to each patient's chart. What the EHR refuses stands here by cause, with what to do.")
        .link("/writebacks?state=refused", "One by one")
        .figure("Owed", n("owed") + n("writing"))
        .figure("Written", n("written") + n("exported") + n("kept"))
        .figure("Unknown", n("unknown"))
        .figure("Refused", n("refused"));
    let columns = vec![
        Column::text("ehr", "EHR").sorts(),
        Column::text("state", "State").sorts(),
        Column::text("cause", "Cause").sorts().filter(Filter::Part),
        Column::number("n", "How many").sorts(),
        Column::text("oldest", "The oldest since").sorts(),
        Column::text("example", "In the EHR's words").long(),
        Column::text("to-do", "What to do").long(),
    ];
    let may = viewer.may(Right::ReplayWriteBack);
    let rows = causes
        .iter()
        .map(|c| {
            let state = if c.state == "unknown" { "waits for a person" } else { "refused" };
            let cells = vec![
                Cell::text(c.ehr.clone()),
                Cell::Status(Mood::Bad, state.to_owned()),
                Cell::text(c.cause.clone()),
                Cell::Number(c.count),
                scene.at(c.oldest),
                Cell::text(c.example.clone()),
                Cell::text(served.given.desk.remedy(&c.state, &c.cause)),
            ];
            let act = Button::new("/writeback/replay", "Write them again", format!("{} at {}", c.cause, c.ehr))
                .with("ehr", &c.ehr)
                .with("cause", &c.cause);
            Row { cells, acts: if may { vec![act] } else { Vec::new() } }
        })
        .collect();
    let labels = Labels {
        caption: "Refusals, and what waits for a person, by cause",
        empty: "Nothing was refused, and nothing waits. What does will stand here with what to do.",
        file: "causes",
    };
    let by_state = Labels { caption: "States", empty: "There is none yet.", file: "by-state" };
    let states: Vec<(String, Vec<i64>)> =
        STATES.iter().filter(|(state, _)| *state != ANY).map(|(state, _)| ((*state).to_owned(), vec![n(state)])).collect();
    board
        .card(Card::wide("Causes").list(&scene.beside(labels, columns, rows)?)?)
        .card(Card::wide("By state").drawn(&scene, Bars::new("Write-backs by state", by_state, &["write-backs"], &states))?)
        .answer()
}

/// Write-backs one by one.
pub async fn list(served: web::Data<Served>, viewer: web::ReqData<Viewer>, request: HttpRequest) -> Result<HttpResponse, Notice> {
    let scene = Scene::of(&served, &viewer, &request).await?;
    let ehrs = ehrs(&served).await?;
    let states = STATES.iter().map(|(value, name)| ((*value).to_owned(), (*name).to_owned())).collect();
    let columns = vec![
        Column::text("id", "Write-back"),
        Column::text("ehr", "EHR").sorts().one_of(ehrs.clone()),
        Column::text("kind", "Kind"),
        Column::text("state", "State").sorts().filter(Filter::Always(states)),
        Column::text("carrier", "As"),
        Column::number("tries", "Tries"),
        Column::text("owed", "Owed since").sorts(),
        Column::text("settled", "Settled"),
        Column::text("remote", "In the EHR as"),
        Column::text("failure", "Why").long(),
    ];
    let asked = scene.asked(&columns)?;
    let labels =
        Labels { caption: "Write-backs, the latest owed first", empty: "No write-back is in this state now.", file: "write-backs" };
    let may = viewer.may(Right::ReplayWriteBack);
    let list = scene
        .listed(Source::of(&WRITE_BACKS).in_arms(arms(&ehrs, &asked)), labels, columns, asked, |v| {
            let (id, state) = (v.text("id").to_owned(), v.text("state").to_owned());
            let cells = vec![
                Cell::text(id.clone()),
                Cell::text(v.text("ehr")),
                Cell::text(v.text("kind")),
                Cell::Status(mood(&state), state.clone()),
                Cell::text(v.text("carrier")),
                Cell::Number(v.number("tries")),
                scene.at(v.number("owed")),
                scene.at_or_nothing(v.instant("settled")),
                Cell::text(v.text("remote")),
                Cell::text(v.text("failure")),
            ];
            let act = Button::new("/writeback/replay", "Write it again", id.clone()).with("id", id);
            Row { cells, acts: if may && state == "refused" { vec![act] } else { Vec::new() } }
        })
        .await?;
    list_page(scene.board(PLACE, "Write-backs"), "One by one", &list)
}
