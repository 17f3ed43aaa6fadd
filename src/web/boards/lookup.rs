//! Finding a patient, for staff who do not come from the EHR. What is looked for is sent by a form, never in the address; a patient that was
//! found is opened by a form, too, and from there on has a page of this session.

use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, web};
use askama::Template;
use domain::model::Phi;
use serde::Deserialize;

use super::{Card, Scene};
use crate::smart::NewOpening;
use crate::store::audit::Entry;
use crate::store::labels::{self, Found, Sought};
use crate::store::people;
use crate::web::Served;
use crate::web::form::Signed;
use crate::web::list::{Asked, Button, Cell, Column, Labels, Row, held};
use crate::web::notice::Notice;
use crate::web::viewer::Viewer;
use crate::web::words::Mood;

const PLACE: &str = "/patients";
/// Whoever finds more than this looks for something more exact.
const MOST: i64 = 30;

/// What is looked for. Its Debug hides it.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Form {
    #[serde(default)]
    family: Phi<String>,
    #[serde(default)]
    given: Phi<String>,
    #[serde(default)]
    born: Phi<String>,
    #[serde(default)]
    ehr: String,
    #[serde(default)]
    id: Phi<String>,
}

#[derive(Template)]
#[template(path = "lookup.html", config = "src/web/askama.toml")]
struct Fields {
    token: String,
    form: Form,
    ehrs: Vec<String>,
}

impl Form {
    fn is_empty(&self) -> bool {
        [&self.family, &self.given, &self.born, &self.id].iter().all(|f| f.expose().trim().is_empty())
    }
}

async fn ask(scene: &Scene<'_>, form: Form) -> Result<Card, Notice> {
    let ehrs = super::connections::ehrs(scene.served).await?;
    Card::wide("Look for").made(&Fields { token: scene.viewer.csrf.clone(), form, ehrs })
}

/// The form.
pub async fn page(served: web::Data<Served>, viewer: web::ReqData<Viewer>) -> Result<HttpResponse, Notice> {
    let scene = Scene::new(&served, &viewer).await?;
    let card = ask(&scene, Form::default()).await?;
    let board =
        scene.board(PLACE, "Find a patient").lead("By name and birth date, or by the id that an EHR gave. That you looked is noted.");
    board.card(card).answer()
}

/// What was found.
pub async fn find(served: web::Data<Served>, viewer: web::ReqData<Viewer>, form: Signed<Form>) -> Result<HttpResponse, Notice> {
    let scene = Scene::new(&served, &viewer).await?;
    let form = form.into_inner();
    let mut board = scene.board(PLACE, "Find a patient");
    if form.is_empty() {
        board = board.note(Mood::Bad, "Fill in a family name, a birth date, or an id.".to_owned());
        return board.card(ask(&scene, form).await?).answer();
    }
    served.given.store.audited(entry(&scene, "find-patient", None, None)).await?;
    let sought = form.clone();
    let mut found = served
        .given
        .store
        .read(move |conn| {
            let (ehr, id) = (sought.ehr.replace('\0', ""), sought.id.expose().trim().replace('\0', ""));
            if id.is_empty() {
                return labels::find(conn, &Sought { family: sought.family, given: sought.given, born: sought.born }, MOST + 1);
            }
            let Some(record) = people::record(conn, &ehr, &id)? else { return Ok(Vec::new()) };
            let shown = labels::shown(conn, &[record.pk])?.remove(&record.pk).map(Phi::into_inner).unwrap_or_default();
            Ok(vec![Found { ehr: record.ehr, fhir_id: record.fhir_id, state: record.state, shown, born: String::new() }])
        })
        .await?;
    let too_many = found.len() > usize::try_from(MOST).unwrap_or(usize::MAX);
    found.truncate(usize::try_from(MOST).unwrap_or(usize::MAX));
    let given_only = form.family.expose().trim().is_empty() && form.born.expose().trim().is_empty() && form.id.expose().trim().is_empty();
    board = match (found.len(), too_many) {
        (0, _) if given_only => board.lead("A given name alone is not enough: add the family name or the birth date."),
        (0, _) => board.lead("Nobody was found. The beginning of a name is enough; a patient who was not synced yet is not known here."),
        (_, true) => board.lead("More were found than are shown. Add the given name or the birth date."),
        (1, _) => board.lead("One record was found."),
        (n, _) => board.lead(format!("{n} records were found.")),
    };
    let rows = found
        .into_iter()
        .map(|f| {
            let name = if f.shown.is_empty() { "(no name known)".to_owned() } else { f.shown };
            let state = match f.state.as_str() {
                "merged" => "merged into another",
                "stub" => "not read yet",
                "gone" => "deleted at the EHR",
                _ => "in use",
            };
            let act = Button::new("/patients/open", "Open", name.clone()).with("ehr", &f.ehr).with("patient", &f.fhir_id);
            let cells = vec![Cell::text(name), Cell::text(f.born), Cell::text(f.ehr), Cell::text(f.fhir_id), Cell::text(state)];
            Row { cells, acts: vec![act] }
        })
        .collect();
    let columns = vec![
        Column::text("name", "Patient"),
        Column::text("born", "Born"),
        Column::text("ehr", "EHR"),
        Column::text("id", "Id there"),
        Column::text("state", "Record"),
    ];
    let labels = Labels { caption: "Records found", empty: "Nobody was found.", file: "found" };
    let list = held(labels, columns, Asked::default(), rows, &viewer.csrf)?.on_this_page_only();
    board.card(Card::wide("Found").made(&list)?).card(ask(&scene, form).await?).answer()
}

fn entry(scene: &Scene<'_>, what: &'static str, patient: Option<(String, Phi<String>)>, opening: Option<String>) -> Entry {
    Entry {
        at: scene.now,
        who: scene.viewer.user.named(),
        roles: scene.viewer.roles.to_string(),
        what,
        patient,
        opening,
        about: None,
        why: None,
    }
}

/// A record to be opened.
#[derive(Debug, Deserialize)]
pub struct Record {
    ehr: String,
    patient: Phi<String>,
}

/// Opens a patient, and leads to the page.
pub async fn open(served: web::Data<Served>, viewer: web::ReqData<Viewer>, form: Signed<Record>) -> Result<HttpResponse, Notice> {
    let scene = Scene::new(&served, &viewer).await?;
    let Record { ehr, patient } = form.into_inner();
    if ehr.contains('\0') || patient.expose().contains('\0') {
        return Err(Notice::bad_form());
    }
    let (name, id) = (ehr.clone(), patient.expose().clone());
    if served.given.store.read(move |conn| people::record(conn, &name, &id)).await?.is_none() {
        return Err(Notice::not_there("This patient is not known here. A patient becomes known with the sync of their EHR."));
    }
    let sessions = &served.given.sessions;
    let handle = sessions.handle();
    // Noted before it is there: what is not written down is not opened.
    served.given.store.audited(entry(&scene, "open-patient", Some((ehr.clone(), patient.clone())), Some(handle.clone()))).await?;
    sessions.open_as(&handle, &viewer.session, NewOpening::found(ehr, patient, viewer.roles)).await?;
    Ok(HttpResponse::build(StatusCode::SEE_OTHER).insert_header((header::LOCATION, format!("/l/{handle}"))).finish())
}
