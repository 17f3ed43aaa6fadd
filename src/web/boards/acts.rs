//! Acts: a form is read, the desk does it, and the browser is led back to the page with what came of it. What was refused is told at once,
//! with what to do, and changed nothing.

use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, web};
use domain::model::Phi;
use serde::Deserialize;

use super::Scene;
use crate::store::stops::Scope;
use crate::web::Served;
use crate::web::desk::{Act, Refusal};
use crate::web::form::Signed;
use crate::web::notice::Notice;
use crate::web::viewer::Viewer;
use crate::web::words::Mood;

impl From<Refusal> for Notice {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Because(why) => Self::new(StatusCode::CONFLICT, "This did not work", why).with_next("/", "To the overview"),
            Refusal::Store(error) => error.into(),
        }
    }
}

type Answer = Result<HttpResponse, Notice>;
type Serving = web::Data<Served>;
type Who = web::ReqData<Viewer>;

/// A line of a form: no longer than the field that it was written in, and without what no database keeps.
fn line(text: &str) -> Result<String, Notice> {
    let text = text.trim();
    if text.is_empty() || text.len() > 2_000 || text.contains('\0') { Err(Notice::bad_form()) } else { Ok(text.to_owned()) }
}

fn maybe(text: Option<String>) -> Result<Option<String>, Notice> {
    text.filter(|t| !t.is_empty()).map(|t| line(&t)).transpose()
}

/// Does it, and leads back to `place`.
async fn done(served: &Served, viewer: &Viewer, act: Act, place: String, words: &'static str) -> Answer {
    match served.given.desk.act(viewer.clone(), act).await {
        Ok(said) => {
            served.forget();
            served.leave_note(&viewer.session, (Mood::Good, said)).await?;
            Ok(HttpResponse::build(StatusCode::SEE_OTHER).insert_header((header::LOCATION, place)).finish())
        }
        Err(Refusal::Because(why)) => {
            let scene = Scene::new(served, viewer).await?;
            let mut answer = scene.board("", "Nothing was done").mood(Mood::Bad).lead(why).link(place, words).answer()?;
            *answer.status_mut() = StatusCode::CONFLICT;
            Ok(answer)
        }
        Err(Refusal::Store(error)) => Err(error.into()),
    }
}

/// An EHR, and one type of it.
#[derive(Debug, Deserialize)]
pub struct Reading {
    ehr: String,
    #[serde(rename = "type")]
    rtype: Option<String>,
    why: Option<String>,
}

/// Names of EHRs are parts of addresses.
fn place(ehr: &str) -> String {
    let plain = ehr.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    if plain { format!("/connections/{ehr}") } else { "/connections".to_owned() }
}

/// Reads an EHR.
pub async fn run(served: Serving, viewer: Who, form: Signed<Reading>) -> Answer {
    let Reading { ehr, rtype, .. } = form.into_inner();
    let (ehr, rtype) = (line(&ehr)?, maybe(rtype)?);
    let back = if rtype.is_some() { "/connections".to_owned() } else { place(&ehr) };
    done(&served, &viewer, Act::RunSync { ehr, rtype }, back, "Back to the connections").await
}

/// Pauses the reading of an EHR.
pub async fn pause(served: Serving, viewer: Who, form: Signed<Reading>) -> Answer {
    let Reading { ehr, rtype, why } = form.into_inner();
    let (ehr, rtype, why) = (line(&ehr)?, maybe(rtype)?, line(&why.unwrap_or_default())?);
    let back = place(&ehr);
    done(&served, &viewer, Act::Pause { ehr, rtype, why }, back, "Back to the EHR").await
}

/// Lets it be read again.
pub async fn resume(served: Serving, viewer: Who, form: Signed<Reading>) -> Answer {
    let Reading { ehr, rtype, .. } = form.into_inner();
    let (ehr, rtype) = (line(&ehr)?, maybe(rtype)?);
    let back = place(&ehr);
    done(&served, &viewer, Act::Resume { ehr, rtype }, back, "Back to the EHR").await
}

/// A statement that was shown.
#[derive(Debug, Deserialize)]
pub struct Statement {
    ehr: String,
    fingerprint: String,
}

/// Takes note of what an EHR states.
pub async fn accept(served: Serving, viewer: Who, form: Signed<Statement>) -> Answer {
    let Statement { ehr, fingerprint } = form.into_inner();
    let (ehr, fingerprint) = (line(&ehr)?, line(&fingerprint)?);
    let back = place(&ehr);
    done(&served, &viewer, Act::AcceptDrift { ehr, fingerprint }, back, "Back to the EHR").await
}

/// An alert.
#[derive(Debug, Deserialize)]
pub struct Alert {
    alert: i64,
    why: String,
}

/// Acknowledges an alert.
pub async fn acknowledge(served: Serving, viewer: Who, form: Signed<Alert>) -> Answer {
    let Alert { alert, why } = form.into_inner();
    let why = line(&why)?;
    done(&served, &viewer, Act::Acknowledge { alert, why }, "/alerts".to_owned(), "Back to the alerts").await
}

/// What was put aside.
#[derive(Debug, Deserialize)]
pub struct Aside {
    ehr: String,
    id: Option<i64>,
}

/// Tries to take in what was put aside.
pub async fn replay_quarantine(served: Serving, viewer: Who, form: Signed<Aside>) -> Answer {
    let Aside { ehr, id } = form.into_inner();
    let ehr = line(&ehr)?;
    done(&served, &viewer, Act::ReplayQuarantine { ehr, id }, "/quarantine".to_owned(), "Back to the quarantine").await
}

/// A form whose sending is all that it says.
#[derive(Debug, Deserialize)]
pub struct Plain {}

/// Works out what definition files would change.
pub async fn plan(served: Serving, viewer: Who, _: Signed<Plain>) -> Answer {
    done(&served, &viewer, Act::PlanSegments, "/segments/plan".to_owned(), "Back to the plan").await
}

/// A plan that was shown.
#[derive(Debug, Deserialize)]
pub struct Plan {
    fingerprint: String,
}

/// Puts definition files in force.
pub async fn apply(served: Serving, viewer: Who, form: Signed<Plan>) -> Answer {
    let fingerprint = line(&form.into_inner().fingerprint)?;
    done(&served, &viewer, Act::ApplySegments { fingerprint }, "/segments".to_owned(), "Back to the plan").await
}

/// Goes back to the definitions before.
pub async fn back(served: Serving, viewer: Who, _: Signed<Plain>) -> Answer {
    done(&served, &viewer, Act::RollBackSegments, "/segments".to_owned(), "Back to the segments").await
}

/// Whether messages leave.
#[derive(Debug, Deserialize)]
pub struct Live {
    on: bool,
}

/// Lets messages leave, or not.
pub async fn live(served: Serving, viewer: Who, form: Signed<Live>) -> Answer {
    done(&served, &viewer, Act::Live { on: form.into_inner().on }, "/outreach".to_owned(), "Back to outreach").await
}

/// A switch.
#[derive(Debug, Deserialize)]
pub struct Switch {
    scope: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    why: String,
}

impl Switch {
    fn what(&self) -> Result<(Scope, String), Notice> {
        let scope = Scope::parse(&self.scope).ok_or_else(Notice::bad_form)?;
        Ok((scope, if self.name.is_empty() { String::new() } else { line(&self.name)? }))
    }
}

/// Stops outreach.
pub async fn stop(served: Serving, viewer: Who, form: Signed<Switch>) -> Answer {
    let form = form.into_inner();
    let (scope, name) = form.what()?;
    let why = line(&form.why)?;
    done(&served, &viewer, Act::Stop { scope, name, why }, "/outreach".to_owned(), "Back to outreach").await
}

/// Lets outreach go on.
pub async fn start(served: Serving, viewer: Who, form: Signed<Switch>) -> Answer {
    let (scope, name) = form.into_inner().what()?;
    done(&served, &viewer, Act::Start { scope, name }, "/outreach".to_owned(), "Back to outreach").await
}

/// A message in doubt.
#[derive(Debug, Deserialize)]
pub struct Send {
    attempt: String,
    sent: bool,
}

/// Says whether a message went out.
pub async fn settle_send(served: Serving, viewer: Who, form: Signed<Send>) -> Answer {
    let Send { attempt, sent } = form.into_inner();
    let attempt = line(&attempt)?;
    done(&served, &viewer, Act::SettleSend { attempt, sent }, "/work".to_owned(), "Back to the work").await
}

/// A write-back in doubt.
#[derive(Debug, Deserialize)]
pub struct Write {
    id: String,
    there: bool,
}

/// Says whether a write-back is in the EHR.
pub async fn settle_write(served: Serving, viewer: Who, form: Signed<Write>) -> Answer {
    let Write { id, there } = form.into_inner();
    let id = line(&id)?;
    done(&served, &viewer, Act::SettleWrite { id, there }, "/work".to_owned(), "Back to the work").await
}

/// Which write-backs.
#[derive(Debug, Deserialize)]
pub struct Refused {
    ehr: Option<String>,
    cause: Option<String>,
    id: Option<String>,
}

/// Writes refused ones again.
pub async fn replay_writes(served: Serving, viewer: Who, form: Signed<Refused>) -> Answer {
    let Refused { ehr, cause, id } = form.into_inner();
    let act = Act::ReplayWrites { ehr: maybe(ehr)?, cause: maybe(cause)?, id: maybe(id)? };
    done(&served, &viewer, act, "/writeback".to_owned(), "Back to write-back").await
}

/// An answer.
#[derive(Debug, Deserialize)]
pub struct Answered {
    attempt: String,
    number: i64,
}

/// Notes that what an answer asked for was done.
pub async fn answer_done(served: Serving, viewer: Who, form: Signed<Answered>) -> Answer {
    let Answered { attempt, number } = form.into_inner();
    let attempt = line(&attempt)?;
    done(&served, &viewer, Act::AnswerDone { attempt, number }, "/work".to_owned(), "Back to the work").await
}

/// A call.
#[derive(Debug, Deserialize)]
pub struct Call {
    attempt: String,
}

/// Notes that a patient was called.
pub async fn called(served: Serving, viewer: Who, form: Signed<Call>) -> Answer {
    let attempt = line(&form.into_inner().attempt)?;
    done(&served, &viewer, Act::Called { attempt }, "/work".to_owned(), "Back to the work").await
}

/// Two records.
#[derive(Debug, Deserialize)]
pub struct Pair {
    one: Phi<String>,
    other: Phi<String>,
    same: bool,
    why: String,
}

/// Says whether two records are one person.
pub async fn join(served: Serving, viewer: Who, form: Signed<Pair>) -> Answer {
    let Pair { one, other, same, why } = form.into_inner();
    let (one, other) = (Phi::new(line(one.expose())?), Phi::new(line(other.expose())?));
    let why = line(&why)?;
    done(&served, &viewer, Act::Join { one, other, same, why }, "/work".to_owned(), "Back to the work").await
}
