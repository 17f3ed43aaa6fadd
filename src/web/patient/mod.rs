//! A patient's page and what can be done on it. First paint is from the store; the patient is asked for anew from the EHR beside it. Each view
//! is in the audit chain before it is sent, each act in the transaction of the act.
//!
//! Forms lead back here by 303, so that "back" and "reload" send nothing again; each carries a key of its own, so that a double click acts once.

mod view;

use std::pin::Pin;

use actix_web::HttpResponse;
use actix_web::http::{StatusCode, header};
use actix_web::web::{Data, Query};
use askama::Template as _;
use chrono::NaiveDateTime;
use domain::Timestamp;
use domain::model::time::civil;
use domain::model::{Phi, Right};
use serde::Deserialize;

use super::Served;
use super::form::Signed;
use super::notice::Notice;
use super::opening::Opened;
use crate::patient::acts::{About, Act, Actor, Contacted, Done, Signed as Form};
use crate::patient::by_hand::{self, Choice, Preview};
use crate::patient::page::Segment;
use crate::patient::{Page, Reach, Subject};
use crate::store::{StoreError, audit};
use view::{Reading, Show};

/// What a call to [`Patients`] gives.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// What pages of a patient show and do. `app` puts it together.
pub trait Patients: Send + Sync {
    /// The page, by the store.
    fn page(&self, subject: Subject) -> Answer<'_, Page>;
    /// Every segment, as it stands to the patient; `None` where there is no such patient.
    fn segments(&self, subject: Subject) -> Answer<'_, Option<Vec<Segment>>>;
    /// Asks for the patient to be read again; nobody waits for it. Returns whether that is under way.
    fn ask(&self, subject: Subject) -> Answer<'_, bool>;
    /// A message as it would be sent now. `None` where there is no such patient, template or channel.
    fn preview(&self, subject: Subject, choice: Choice) -> Answer<'_, Option<Preview>>;
    /// Does what a form asks for.
    fn act(&self, form: Form, act: Act) -> Answer<'_, Done>;
    /// What a choice is about, of what there is: `all`, `channel:NAME`, `program:ID`.
    fn about(&self, text: &str) -> Option<About>;
    /// A random key for a form.
    fn fresh_key(&self) -> String;
}

fn subject(served: &Served, opened: &Opened) -> Subject {
    let what = &opened.opening.what;
    // Where the EHR let the user in, its word is of this record; where somebody looked for the patient here, the role decides, of all.
    let reach = if what.launched { served.given.elsewhere } else { Reach::Person };
    Subject { ehr: what.ehr.clone(), id: what.patient.clone(), reach }
}

fn user(opened: &Opened) -> String {
    opened.viewer.user.named()
}

/// What the viewer is here: the roles that both the session and the opening have.
fn roles(opened: &Opened) -> Vec<domain::model::Role> {
    opened.viewer.roles.iter().filter(|role| opened.opening.what.roles.has(*role)).collect()
}

/// Names the opening in the audit chain. A handle is worth something to its session only, but whoever reads the chain needs none.
fn opening_name(opened: &Opened) -> String {
    blake3::hash(opened.opening.handle.as_bytes()).to_hex().chars().take(16).collect()
}

pub(super) fn entry(served: &Served, opened: &Opened, what: &'static str, about: Option<String>) -> audit::Entry {
    let way = if opened.opening.what.launched { "launch" } else { "found" };
    let roles: Vec<&str> = roles(opened).into_iter().map(domain::model::Role::as_str).collect();
    audit::Entry {
        at: served.given.clock.now(),
        who: user(opened),
        roles: roles.join(","),
        what,
        patient: Some((opened.opening.what.ehr.clone(), opened.opening.what.patient.clone())),
        opening: Some(opening_name(opened)),
        about,
        why: Some(way.to_owned()),
    }
}

/// What brought somebody back to the page.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Came {
    did: Option<String>,
}

/// The row of somebody to whom the EHR does not show this patient: a try is told, too.
pub(super) fn denied(served: &Served, opened: &Opened) -> audit::Entry {
    entry(served, opened, "view-denied", None)
}

/// The page.
pub(super) async fn page(served: Data<Served>, opened: Opened, came: Query<Came>) -> Result<HttpResponse, Notice> {
    let patients = &served.given.patients;
    let seen = served.given.store.audited(entry(&served, &opened, "view-patient", None));
    let (asked, found, kept) =
        futures_util::future::join3(patients.ask(subject(&served, &opened)), patients.page(subject(&served, &opened)), seen).await;
    // Not a word before the chain has it.
    kept?;
    let mut found = found?;
    if asked? {
        found.reading = crate::patient::page::Reading::UnderWay;
    }
    let show = Show::new(&served, &opened, found, came.did.as_deref(), &patients.fresh_key());
    html(&show.render()?)
}

/// Where the reading of the patient stands: the part of the page that moves.
pub(super) async fn reading(served: Data<Served>, opened: Opened) -> Result<HttpResponse, Notice> {
    let found = served.given.patients.page(subject(&served, &opened)).await?;
    html(&Reading::new(&served, &opened, &found).render()?)
}

/// Every segment, in or out, with what decides.
pub(super) async fn segments(served: Data<Served>, opened: Opened) -> Result<HttpResponse, Notice> {
    served.given.store.audited(entry(&served, &opened, "explain-segments", None)).await?;
    let found = served.given.patients.segments(subject(&served, &opened)).await?;
    let found = found.ok_or_else(|| {
        let says = "This patient is not here yet, so nothing was decided. It will be once the patient was read.";
        Notice::new(StatusCode::NOT_FOUND, "Nothing was decided yet", says).with_next(opened.path(), "Back to the patient")
    })?;
    html(&view::Explained::new(&served, &opened, found).render()?)
}

fn html(body: &str) -> Result<HttpResponse, Notice> {
    Ok(HttpResponse::Ok().content_type("text/html; charset=utf-8").body(body.to_owned()))
}

/// Which message.
#[derive(Deserialize)]
pub(super) struct Message {
    template: String,
    channel: String,
}

/// A message as it would be sent now, with the gate's verdict.
pub(super) async fn preview(served: Data<Served>, opened: Opened, message: Query<Message>) -> Result<HttpResponse, Notice> {
    let Message { template, channel } = message.into_inner();
    let choice = Choice { template, channel };
    let seen = entry(&served, &opened, "preview-message", Some(choice.template.chars().take(100).collect()));
    served.given.store.audited(seen).await?;
    let found = served.given.patients.preview(subject(&served, &opened), choice.clone()).await?;
    let found = found.ok_or_else(|| {
        Notice::new(StatusCode::NOT_FOUND, "No such message", "There is no such template or channel, or the patient is not here yet.")
    })?;
    html(&view::Draft::new(&served, &opened, &choice, found, &served.given.patients.fresh_key()).render()?)
}

/// What every form here carries.
#[derive(Deserialize)]
pub(super) struct Keyed<T> {
    key: String,
    #[serde(flatten)]
    fields: T,
}

async fn act(served: &Served, opened: &Opened, right: Right, key: String, act: Act, did: &str) -> Result<HttpResponse, Notice> {
    if key.is_empty() || key.len() > 100 {
        return Err(Notice::bad_form());
    }
    let role = roles(opened).into_iter().find(|role| role.may(right)).map_or("staff", domain::model::Role::title);
    let roles: Vec<&str> = roles(opened).into_iter().map(domain::model::Role::as_str).collect();
    let actor = Actor { who: user(opened), roles: roles.join(","), opening: opening_name(opened), role: role.to_owned() };
    let done = served.given.patients.act(Form { subject: subject(served, opened), actor, key }, act).await?;
    let did = match done {
        Done::Yes => did,
        Done::Before => "before",
        Done::NoPatient => "no-patient",
        Done::TooLate => "too-late",
        Done::BadTime => "bad-time",
    };
    Ok(HttpResponse::SeeOther().insert_header((header::LOCATION, format!("{}?did={did}", opened.path()))).finish())
}

/// Which planned step.
#[derive(Deserialize)]
pub(super) struct Step {
    attempt: String,
}

/// Stops a planned step.
pub(super) async fn stop(served: Data<Served>, opened: Opened, form: Signed<Keyed<Step>>) -> Result<HttpResponse, Notice> {
    let Keyed { key, fields } = form.into_inner();
    act(&served, &opened, Right::StopStep, key, Act::Stop { attempt: fields.attempt }, "stopped").await
}

/// Which planned step, and when it is to be: by the site's clock, as `datetime-local` has it.
#[derive(Deserialize)]
pub(super) struct Moved {
    attempt: String,
    to: String,
}

/// Moves a planned step.
pub(super) async fn reschedule(served: Data<Served>, opened: Opened, form: Signed<Keyed<Moved>>) -> Result<HttpResponse, Notice> {
    let Keyed { key, fields } = form.into_inner();
    let forms = ["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"];
    let local = forms.iter().find_map(|f| NaiveDateTime::parse_from_str(&fields.to, f).ok()).ok_or_else(Notice::bad_form)?;
    let to: Timestamp = civil(local.date(), local.time(), served.given.zone);
    act(&served, &opened, Right::MoveStep, key, Act::Move { attempt: fields.attempt, to }, "moved").await
}

/// What the patient wants.
#[derive(Deserialize)]
pub(super) struct Wish {
    about: String,
    wish: String,
}

/// Says what the patient wants.
pub(super) async fn choose(served: Data<Served>, opened: Opened, form: Signed<Keyed<Wish>>) -> Result<HttpResponse, Notice> {
    let Keyed { key, fields } = form.into_inner();
    let about = served.given.patients.about(&fields.about).ok_or_else(Notice::bad_form)?;
    let allowed = match fields.wish.as_str() {
        "welcome" => true,
        "none" => false,
        _ => return Err(Notice::bad_form()),
    };
    act(&served, &opened, Right::ChangePreferences, key, Act::Choose { about, allowed }, "chosen").await
}

/// A call or a meeting.
#[derive(Deserialize)]
pub(super) struct Contact {
    went: String,
    #[serde(default)]
    said: String,
    #[serde(default)]
    barrier: String,
    #[serde(default)]
    note: String,
}

/// The longest note, in characters.
const NOTE: usize = 4_000;

/// Enters a call or a meeting.
pub(super) async fn contact(served: Data<Served>, opened: Opened, form: Signed<Keyed<Contact>>) -> Result<HttpResponse, Notice> {
    let Keyed { key, fields } = form.into_inner();
    let went = by_hand::Went::parse(&fields.went).ok_or_else(Notice::bad_form)?;
    let said = by_hand::Said::parse(&fields.said, &fields.barrier).ok_or_else(Notice::bad_form)?;
    let note = fields.note.trim();
    // The form takes no more; what would be cut off is refused whole.
    if note.chars().count() > NOTE {
        return Err(Notice::bad_form());
    }
    let contact = Contacted { went, said, note: Some(note.to_owned()).filter(|n| !n.is_empty()).map(Phi::new) };
    act(&served, &opened, Right::RecordContact, key, Act::Contact(contact), "recorded").await
}

/// Sends a message.
pub(super) async fn send(served: Data<Served>, opened: Opened, form: Signed<Keyed<Message>>) -> Result<HttpResponse, Notice> {
    let Keyed { key, fields } = form.into_inner();
    let choice = Choice { template: fields.template, channel: fields.channel };
    // What the gate refuses now is not even planned; the run that sends judges once more.
    let judged = served.given.patients.preview(subject(&served, &opened), choice.clone()).await?;
    let refused = judged.is_none_or(|p| view::refuses(&p));
    if refused {
        return Ok(HttpResponse::SeeOther().insert_header((header::LOCATION, format!("{}?did=refused", opened.path()))).finish());
    }
    act(&served, &opened, Right::SendMessage, key, Act::Send(choice), "sent").await
}
