//! Launches as the browser meets them: the address that the EHR opens, the one that begins here, and the one that the EHR sends the browser back to.

use actix_web::http::{StatusCode, header};
use actix_web::web::{Data, Path};
use actix_web::{HttpMessage as _, HttpRequest, HttpResponse};

use super::Served;
use super::address;
use super::cookies::Cookie;
use super::edge::FramedBy;
use super::notice::Notice;
use super::signin::{Landing, short};
use crate::smart::launch::From;
use crate::smart::{Answer, Landed, NoEntry, Stranded};

/// Where the EHR sends the browser back to, as registered there.
const CALLBACK: &str = "/callback";

/// The launch address that is registered with EHRs (SMART App Launch 2.2, "EHR launch").
pub async fn from_ehr(request: HttpRequest, served: Data<Served>) -> Result<HttpResponse, Notice> {
    let (Some(iss), Some(launch)) = (one(&request, "iss"), one(&request, "launch")) else {
        return Err(stranded(&request, &served, NoEntry::NotALaunch.into()).await);
    };
    begin(request, served, From::Ehr { iss: &iss, launch: &launch }).await
}

/// A launch that begins here, at the EHR of the path; the EHR asks for the patient.
pub async fn from_here(request: HttpRequest, served: Data<Served>, ehr: Path<String>) -> Result<HttpResponse, Notice> {
    begin(request, served, From::Here(&ehr)).await
}

async fn begin(request: HttpRequest, served: Data<Served>, from: From<'_>) -> Result<HttpResponse, Notice> {
    let Some(redirect) = address::own(&request, &served, CALLBACK) else {
        return Err(stranded(&request, &served, NoEntry::NoAddress.into()).await);
    };
    let binding = Binding::of(&request, &served);
    match served.given.launches.begin(from, redirect, &binding.value).await {
        Ok(url) => Ok(binding.send(&served, url.as_str())),
        Err(why) => Err(stranded(&request, &served, why).await),
    }
}

/// Where the EHR sends the browser back to.
pub async fn callback(request: HttpRequest, served: Data<Served>) -> Result<HttpResponse, Notice> {
    let external = served.given.external.as_ref();
    let browser = Cookie::Browser.read(request.headers(), external);
    let before = Cookie::Session.read(request.headers(), external);
    match served.given.launches.finish(&answer(&request), browser.as_deref(), before.as_deref()).await {
        Ok(Landed { begun, handle }) => {
            let path = handle.map_or_else(|| "/".to_owned(), |handle| format!("/l/{handle}"));
            Ok(Landing { begun, path }.answer(&served))
        }
        Err(why) => Err(stranded(&request, &served, why).await),
    }
}

/// What binds a sign-in to this browser: what it has, or something new.
pub(super) struct Binding {
    pub(super) value: String,
    is_new: bool,
}

impl Binding {
    pub(super) fn of(request: &HttpRequest, served: &Served) -> Self {
        match Cookie::Browser.read(request.headers(), served.given.external.as_ref()) {
            Some(value) => Self { value, is_new: false },
            None => Self { value: served.given.launches.browser(), is_new: true },
        }
    }

    /// Sends the browser on.
    pub(super) fn send(&self, served: &Served, url: &str) -> HttpResponse {
        let mut answer = HttpResponse::SeeOther();
        answer.insert_header((header::LOCATION, url));
        if self.is_new {
            answer.insert_header((header::SET_COOKIE, Cookie::Browser.set(&self.value, served.given.external.as_ref())));
        }
        answer.finish()
    }
}

/// What the browser came back with. A parameter that stands there twice is not there.
pub(super) fn answer(request: &HttpRequest) -> Answer {
    Answer { state: one(request, "state"), code: one(request, "code"), error: one(request, "error"), iss: one(request, "iss") }
}

/// A parameter of the query that stands there once.
fn one(request: &HttpRequest, name: &str) -> Option<String> {
    let mut values = url::form_urlencoded::parse(request.query_string().as_bytes()).filter(|(n, v)| n == name && !v.is_empty());
    let first = values.next()?.1.into_owned();
    values.next().is_none().then_some(first)
}

/// The page for somebody who was not let in. It stands in the EHR's frame where the EHR is known.
async fn stranded(request: &HttpRequest, served: &Served, Stranded { ehr, why }: Stranded) -> Notice {
    tracing::info!(ehr = ehr.as_deref().unwrap_or("unknown"), why = why.told(), "a launch let nobody in");
    let notice = refusal(&why);
    let Some(ehr) = ehr else { return notice };
    let framed = served.given.launches.frames_of(&ehr).await;
    request.extensions_mut().insert(FramedBy(framed));
    notice.with_tab(format!("/launch/{ehr}"), "Open it in a tab of its own")
}

/// A refusal as a page.
pub(super) fn refusal(why: &NoEntry) -> Notice {
    let (status, title) = match why {
        NoEntry::NotALaunch | NoEntry::UnknownEhr | NoEntry::Foreign | NoEntry::Mixed => {
            (StatusCode::BAD_REQUEST, "This did not begin here")
        }
        NoEntry::Refused(_) | NoEntry::NoRole | NoEntry::NotGranted => (StatusCode::FORBIDDEN, "You were not let in"),
        NoEntry::Server(_) | NoEntry::Identity(_) | NoEntry::NoIdentity | NoEntry::NoPatient => {
            (StatusCode::BAD_GATEWAY, "The sign-in did not work")
        }
        NoEntry::NoAddress | NoEntry::Here(_) | NoEntry::Store(_) => (StatusCode::INTERNAL_SERVER_ERROR, "This did not work"),
    };
    if why.is_ours() {
        tracing::error!(why = why.told(), "nobody can sign in as things are");
    }
    Notice::new(status, title, why.to_string())
}

impl Landing {
    pub(super) fn answer(self, served: &Served) -> HttpResponse {
        let session = &self.begun.session;
        tracing::info!(session = short(&session.id), way = session.who.way.as_str(), roles = %session.who.roles, "a session began");
        served.give_back(self.begun.ended);
        let cookie = Cookie::Session.set(self.begun.cookie.expose(), served.given.external.as_ref());
        super::signin::to(&self.path).insert_header((header::SET_COOKIE, cookie)).finish()
    }
}
