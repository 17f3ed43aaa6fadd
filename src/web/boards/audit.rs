//! The audit chain, for those who look at what others did: who saw or did what, and whether the chain is whole. A patient is looked for by a form,
//! never by an address. That somebody looked is in the chain as well.

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use domain::model::{Phi, Right, Role, Roles};
use serde::Deserialize;

use super::{Board, Card, Piece, Scene, Source, Values};
use crate::smart::NewOpening;
use crate::store::audit::{self, Entry};
use crate::store::chain;
use crate::store::view::listing::AUDIT;
use crate::web::Served;
use crate::web::form::Signed;
use crate::web::list::{Cell, Column, Filter, Labels, Row};
use crate::web::notice::Notice;
use crate::web::viewer::Viewer;
use crate::web::words::{Mood, counted};

const PLACE: &str = "/audit";

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
        Column::text("who", "Who").code().filter(Filter::Whole),
        Column::text("roles", "As"),
        Column::text("what", "What").one_of(kinds),
        Column::text("ehr", "EHR").one_of(ehrs),
        Column::text("patient", "Patient").code(),
        Column::text("about", "About").code(),
        Column::text("why", "Why").code(),
    ]
}

/// The cells of a row; without the patient where all rows are of one.
fn row(scene: &Scene<'_>, v: &Values<'_>, is_of_one: bool) -> Row {
    let mut cells = vec![
        Cell::text(v.number("n").to_string()),
        scene.at(v.number("at")),
        Cell::text(v.text("who")),
        Cell::text(v.text("roles").replace(',', ", ")),
        Cell::text(v.text("what")),
    ];
    if !is_of_one {
        cells.extend([Cell::text(v.text("ehr")), Cell::text(v.text("patient"))]);
    }
    cells.extend([Cell::text(v.text("about")), Cell::text(v.text("why"))]);
    Row::from(cells)
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
    let list = scene.listed(Source::of(&AUDIT), LABELS, columns, asked, |v| row(&scene, v, false)).await?;
    let board = state(scene.board(PLACE, "Audit"), &scene).await?;
    let form = Card::wide("Of one patient").made(&Fields { token: viewer.csrf.clone(), ehrs })?;
    board.card(form).card(Card::wide("Who saw or did what").list(&list)?).answer()
}

/// How the chain stands, as the last walk along it told.
async fn state(board: Board, scene: &Scene<'_>) -> Result<Board, Notice> {
    let read = |conn: &mut _| Ok((chain::kept(conn)?, audit::rows(conn)?));
    let (kept, rows) = scene.served.given.store.read(read).await?;
    let button = vec![crate::web::list::Button::new("/audit/verify", "Verify the chain now", "")];
    let card = Card::wide("Whether it is whole").with(Piece::Acts(scene.viewer.csrf.clone(), button));
    let board = board.figure("Rows", rows);
    let Some(last) = kept else {
        let card = card.words(
            "It was not verified here yet; that is done by itself once a night. Each row's hash is of the row and of the hash before it.",
        );
        return Ok(board.mood(Mood::Busy).lead("Whether the chain is whole was not looked at yet.").card(card));
    };
    let told = |at: i64| format!("{}, {}", scene.when(at).shown, scene.when(at).ago);
    Ok(match last.broken {
        Some(broken) => {
            let lead = "Somebody changed, cut off or put in rows: tell who is responsible for privacy, and keep the database as it is.";
            let words = format!("Broken, as of {}: {broken}. It is whole up to row {}.", told(last.at), last.rows);
            let before = last.whole_at.map(|at| format!("It was last found whole on {}.", told(at)));
            let card = card.words(words).quiet(before.unwrap_or_else(|| "It was never found whole.".to_owned()));
            board.mood(Mood::Bad).lead(lead).card(card)
        }
        None if last.rows == 0 => board.lead(format!("It had no row yet when it was last verified, on {}.", told(last.at))).card(card),
        None => {
            let behind = rows - last.rows;
            let since = if behind > 0 { format!(" {} since.", counted(behind, "row was added", "rows were added")) } else { String::new() };
            let noted = "Whoever can write the whole database can also write a whole new chain. Note this at a place that they cannot write; \
                         `fhir-engage audit verify --noted` then tells whether it still is in the chain:";
            let card = card
                .words(format!(
                    "Last found whole on {}, up to row {}.{since} It is verified by itself once a night.",
                    told(last.at),
                    last.rows
                ))
                .quiet(noted)
                .with(Piece::Code("noted", format!("{}:{}", last.rows, last.last)));
            board.mood(Mood::Good).lead(format!("Whole as of {}.", scene.when(last.at).ago)).card(card)
        }
    })
}

/// The patient whose rows are asked for.
#[derive(Debug, Deserialize)]
pub struct Of {
    ehr: String,
    id: Phi<String>,
}

/// Opens the rows of one patient under a handle of this session, so that no address names the patient, and leads there.
pub async fn ask(served: web::Data<Served>, viewer: web::ReqData<Viewer>, form: Signed<Of>) -> Result<HttpResponse, Notice> {
    let scene = Scene::new(&served, &viewer).await?;
    let Of { ehr, id } = form.into_inner();
    let id = id.expose().trim().trim_start_matches("Patient/").to_owned();
    let ehrs = super::connections::ehrs(&served).await?;
    if !ehrs.contains(&ehr) || id.contains('\0') {
        return Err(Notice::bad_form());
    }
    if id.is_empty() || id.len() > 100 {
        let again = Card::wide("Of one patient").made(&Fields { token: viewer.csrf.clone(), ehrs })?;
        let board = scene.board(PLACE, "Audit of one patient").link(PLACE, "All of the audit");
        return board.note(Mood::Bad, "Fill in the patient's id at the EHR.".to_owned()).card(again).answer();
    }
    // It opens no more than that: the patient's page asks for another role.
    let handle = served.given.sessions.open(&viewer.session, NewOpening::found(ehr, Phi::new(id), Roles::of(&[Role::Auditor]))).await?;
    Ok(HttpResponse::build(StatusCode::SEE_OTHER).insert_header((header::LOCATION, format!("{PLACE}/{handle}"))).finish())
}

/// Who saw or did what of the patient that is open under a handle.
pub async fn of_patient(
    served: web::Data<Served>,
    viewer: web::ReqData<Viewer>,
    handle: web::Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, Notice> {
    let opening = served.given.sessions.opening(&handle, &viewer.session).await?;
    let Some(opening) = opening.filter(|o| o.may(Right::SeeAudit) && !o.what.launched) else {
        return Err(Notice::not_open().with_next(PLACE, "To the audit"));
    };
    let (ehr, id) = (opening.what.ehr, opening.what.patient);
    let scene = Scene::of(&served, &viewer, &request).await?;
    let columns: Vec<Column> = columns(served.given.store.read(audit::kinds).await?, Vec::new())
        .into_iter()
        .filter(|c| !matches!(c.key, "ehr" | "patient"))
        .collect();
    let asked = scene.asked(&columns)?;
    let what = if asked.csv { "export-audit" } else { "view-audit" };
    served.given.store.audited(entry(&scene, what, Some((ehr.clone(), id.clone())))).await?;
    let source = Source::of(&AUDIT).only("ehr", &ehr).only("patient", id.expose());
    let labels = Labels {
        caption: "Who saw or did what of this patient, the latest first",
        empty: "Nobody saw this patient here.",
        file: "audit-of-a-patient",
    };
    let list = scene.listed(source, labels, columns, asked, |v| row(&scene, v, true)).await?;
    let ehrs = super::connections::ehrs(&served).await?;
    let again = Card::wide("Of another patient").made(&Fields { token: viewer.csrf.clone(), ehrs })?;
    scene
        .board(PLACE, "Audit of one patient")
        .lead(format!("Patient {} of {ehr}. That you looked is among the rows.", id.expose()))
        .link(PLACE, "All of the audit")
        .card(Card::wide("Who saw or did what").list(&list)?)
        .card(again)
        .answer()
}

/// Walks along the chain, which takes a while where it is long: what came of it stands on the page then.
pub async fn verify(
    served: web::Data<Served>,
    viewer: web::ReqData<Viewer>,
    _: Signed<super::acts::Plain>,
) -> Result<HttpResponse, Notice> {
    let (store, clock) = (served.given.store.clone(), std::sync::Arc::clone(&served.given.clock));
    let walk = async move { chain::verify(&store, clock.as_ref()).await.map(|_| ()) };
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
