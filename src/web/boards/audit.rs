//! The audit chain, for those who look at what others did: who saw or did what, and whether the chain is whole. A patient is looked for by a form,
//! never by an address. That somebody looked is in the chain as well.

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use domain::model::Phi;
use serde::Deserialize;

use super::{Board, Card, Piece, Scene};
use crate::store::StoreError;
use crate::store::audit::{self, Entry, Row as Kept, Wanted};
use crate::store::installation::{self, Setting};
use crate::store::view::listing::AUDIT;
use crate::web::Served;
use crate::web::form::Signed;
use crate::web::list::{Asked, Cell, Column, Filter, Labels, List, Row, held};
use crate::web::notice::Notice;
use crate::web::viewer::Viewer;
use crate::web::words::{Mood, counted};

const PLACE: &str = "/audit";
/// Rows of one patient that are shown; whoever needs more asks the command line.
const MOST: i64 = 500;

const LABELS: Labels = Labels {
    caption: "Who saw or did what, the latest first",
    empty: "Nobody saw or did anything yet. Each patient that is looked at, and each act, will stand here.",
    file: "audit",
};

fn entry(scene: &Scene<'_>, what: &'static str, patient: Option<(String, Phi<String>)>) -> Entry {
    Entry {
        at: scene.now,
        who: scene.viewer.user.named(),
        roles: scene.viewer.roles.to_string(),
        what,
        patient,
        opening: None,
        about: None,
        why: None,
    }
}

fn columns(kinds: Vec<String>, ehrs: Vec<String>) -> Vec<Column> {
    vec![
        Column::text("n", "Row").sorts(),
        Column::text("at", "When"),
        Column::text("who", "Who").code().filter(Filter::Part),
        Column::text("roles", "As"),
        Column::text("what", "What").one_of(kinds),
        Column::text("ehr", "EHR").one_of(ehrs),
        Column::text("patient", "Patient").code(),
        Column::text("about", "About").code(),
        Column::text("why", "Why").code(),
    ]
}

#[derive(Template)]
#[template(path = "audited.html", config = "src/web/askama.toml")]
struct Fields {
    token: String,
    ehrs: Vec<String>,
}

/// The page.
pub async fn page(served: web::Data<Served>, viewer: web::ReqData<Viewer>, request: HttpRequest) -> Result<HttpResponse, Notice> {
    let scene = Scene::of(&served, &viewer, &request).await?;
    let ehrs = super::connections::ehrs(&served).await?;
    let columns = columns(served.given.store.read(audit::kinds).await?, ehrs.clone());
    let asked = scene.asked(&columns)?;
    let what = if asked.csv { "export-audit" } else { "view-audit" };
    served.given.store.audited(entry(&scene, what, None)).await?;
    let list = scene
        .listed(&AUDIT, &[], LABELS, columns, asked, |v| {
            Row::from(vec![
                Cell::text(v.number("n").to_string()),
                scene.at(v.number("at")),
                Cell::text(v.text("who")),
                Cell::text(v.text("roles").replace(',', ", ")),
                Cell::text(v.text("what")),
                Cell::text(v.text("ehr")),
                Cell::text(v.text("patient")),
                Cell::text(v.text("about")),
                Cell::text(v.text("why")),
            ])
        })
        .await?;
    let board = state(scene.board(PLACE, "Audit"), &scene).await?;
    let form = Card::wide("Of one patient").made(&Fields { token: viewer.csrf.clone(), ehrs })?;
    board.card(form).card(Card::wide("Who saw or did what").list(&list)?).answer()
}

/// What of a walk along the chain is kept.
#[derive(Deserialize, serde::Serialize)]
struct Verified {
    at: i64,
    rows: i64,
    last: String,
    broken: Option<String>,
}

/// How the chain stands, as the last walk along it told.
async fn state(board: Board, scene: &Scene<'_>) -> Result<Board, Notice> {
    let read = |conn: &mut _| Ok((installation::get(conn, Setting::AuditVerified)?, audit::rows(conn)?));
    let (kept, rows) = scene.served.given.store.read(read).await?;
    let last: Option<Verified> = kept.and_then(|text| serde_json::from_str(&text).ok());
    let button = vec![crate::web::list::Button::new("/audit/verify", "Verify the chain now", "")];
    let card = Card::wide("Whether it is whole").with(Piece::Acts(scene.viewer.csrf.clone(), button));
    let board = board.figure("Rows", rows);
    let Some(last) = last else {
        let card = card.words("It was not verified here yet. Each row's hash is of the row and of the hash before it.");
        return Ok(board.mood(Mood::Busy).lead("Whether the chain is whole was not looked at yet.").card(card));
    };
    let when = scene.when(last.at);
    let told = format!("{}, {}", when.shown, when.ago);
    Ok(match last.broken {
        Some(broken) => {
            let lead = "Somebody changed, cut off or put in rows: tell who is responsible for privacy, and keep the database as it is.";
            let words = format!("Broken, as of {told}: {broken}. It is whole up to row {}.", last.rows);
            board.mood(Mood::Bad).lead(lead).card(card.words(words))
        }
        None => {
            let behind = rows - last.rows;
            let since = if behind > 0 { format!(" {} since.", counted(behind, "row was added", "rows were added")) } else { String::new() };
            let noted = "Whoever can write the whole database can also write a whole new chain. Note this at a place that they cannot write; \
                         `fhir-engage audit verify --noted` then tells whether it still is in the chain:";
            let card = card
                .words(format!("Whole up to row {}, as of {told}.{since}", last.rows))
                .quiet(noted)
                .with(Piece::Code("noted", format!("{}:{}", last.rows, last.last)));
            board.mood(Mood::Good).card(card)
        }
    })
}

/// The rows of one patient.
#[derive(Debug, Deserialize)]
pub struct Of {
    ehr: String,
    id: Phi<String>,
}

/// Who saw or did what of one patient.
pub async fn of_patient(served: web::Data<Served>, viewer: web::ReqData<Viewer>, form: Signed<Of>) -> Result<HttpResponse, Notice> {
    let scene = Scene::new(&served, &viewer).await?;
    let Of { ehr, id } = form.into_inner();
    let (ehr, id) = (ehr.replace('\0', ""), id.expose().trim().trim_start_matches("Patient/").replace('\0', ""));
    let ehrs = super::connections::ehrs(&served).await?;
    let board = scene.board(PLACE, "Audit of one patient").link(PLACE, "All of the audit");
    let again = Card::wide("Of one patient").made(&Fields { token: viewer.csrf.clone(), ehrs })?;
    if id.is_empty() || id.len() > 100 {
        return board.note(Mood::Bad, "Fill in the patient's id at the EHR.".to_owned()).card(again).answer();
    }
    let patient = (ehr.clone(), Phi::new(id.clone()));
    served.given.store.audited(entry(&scene, "view-audit", Some(patient))).await?;
    let wanted = Wanted { patient: Some((ehr, id)), ..Wanted::default() };
    let rows = served.given.store.read(move |conn| audit::list(conn, &wanted, MOST)).await?;
    let lead = match rows.len() {
        n if i64::try_from(n).unwrap_or(MOST) >= MOST => {
            format!("The latest {MOST} rows; `fhir-engage audit list --patient` has the rest.")
        }
        n => format!("{}.", counted(i64::try_from(n).unwrap_or(0), "row", "rows")),
    };
    let list = of_one(&scene, rows)?;
    board.lead(lead).card(Card::wide("Who saw or did what").list(&list)?).card(again).answer()
}

fn of_one(scene: &Scene<'_>, rows: Vec<Kept>) -> Result<List, Notice> {
    let columns = vec![
        Column::text("n", "Row"),
        Column::text("at", "When"),
        Column::text("who", "Who").code(),
        Column::text("roles", "As"),
        Column::text("what", "What"),
        Column::text("about", "About").long(),
        Column::text("why", "Why").long(),
    ];
    let rows = rows
        .into_iter()
        .map(|r| {
            Row::from(vec![
                Cell::text(r.number.to_string()),
                scene.at(r.at),
                Cell::text(r.who),
                Cell::text(r.roles.replace(',', ", ")),
                Cell::text(r.what),
                Cell::text(r.about.unwrap_or_default()),
                Cell::text(r.why.unwrap_or_default()),
            ])
        })
        .collect();
    let labels =
        Labels { caption: "Who saw or did what of this patient, the latest first", empty: "Nobody saw this patient here.", ..LABELS };
    held(labels, columns, Asked::default(), rows, &scene.viewer.csrf)
}

/// Walks along the chain, which takes a while where it is long: what came of it stands on the page then.
pub async fn verify(
    served: web::Data<Served>,
    viewer: web::ReqData<Viewer>,
    _: Signed<super::acts::Plain>,
) -> Result<HttpResponse, Notice> {
    let (store, clock) = (served.given.store.clone(), std::sync::Arc::clone(&served.given.clock));
    let walk = async move {
        let found = store.snapshot(|conn| audit::verify(conn, None)).await?;
        let at = clock.now().micros();
        let kept = Verified { at, rows: found.rows, last: found.last, broken: found.broken.map(|b| b.to_string()) };
        let text = serde_json::to_string(&kept).map_err(|_| StoreError::Damaged("what a walk along the audit chain told"))?;
        store.write("keep how the audit chain stands", move |conn| installation::set(conn, Setting::AuditVerified, &text)).await
    };
    let mut walk = actix_web::rt::spawn(walk);
    // Most chains are walked along while somebody waits.
    let (mood, words) = match tokio::time::timeout(WAITS, &mut walk).await {
        Ok(Ok(Ok(()))) => (Mood::Good, "The chain was walked along; what came of it stands below."),
        Ok(Ok(Err(error))) => return Err(error.into()),
        Ok(Err(_)) => return Err(Notice::internal()),
        Err(_) => (Mood::Busy, "The chain is being walked along. Come back in a while: what comes of it will stand below."),
    };
    served.leave_note(&viewer.session, (mood, words.to_owned())).await?;
    Ok(HttpResponse::build(StatusCode::SEE_OTHER).insert_header((header::LOCATION, PLACE)).finish())
}

/// How long somebody waits for the walk.
const WAITS: std::time::Duration = std::time::Duration::from_secs(5);
