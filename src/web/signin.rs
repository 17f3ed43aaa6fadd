//! Signing in and out: the page that offers the ways, the link that works once, and the end of a session.

use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::web::{Data, Path, Query, ReqData};
use actix_web::{HttpMessage as _, HttpRequest, HttpResponse};
use askama::Template;
use serde::Deserialize;
use url::form_urlencoded;

use super::Served;
use super::address;
use super::cookies::Cookie;
use super::edge::FramedBy;
use super::form::{Own, Signed};
use super::launch::{Binding, answer, refusal};
use super::notice::Notice;
use super::viewer::{Nav, Viewer};
use crate::smart::{Begun, NoEntry};

const PROVIDER: &str = "/signin/provider";
/// Where the site's provider sends the browser back to, as registered there.
const CALLBACK: &str = "/signin/callback";

/// Where to go after signing in.
#[derive(Deserialize)]
pub struct Back {
    back: Option<String>,
}

#[derive(Template)]
#[template(path = "signin.html", config = "src/web/askama.toml")]
struct SignIn {
    site: String,
    /// The path that begins a sign-in by the site's provider.
    provider: Option<String>,
    /// EHRs at which a launch can begin here.
    ehrs: Vec<String>,
    nav: Option<Nav>,
}

/// The page that tells how to sign in.
pub async fn ways(request: HttpRequest, served: Data<Served>, back: Query<Back>) -> Result<HttpResponse, Notice> {
    if super::access::in_frame(request.headers()) {
        return Ok(framed(&request, &served, signed_out()).await.response());
    }
    let back = back.into_inner().back.as_deref().and_then(address::local);
    let to_provider = |back: Option<String>| {
        let query = back.map(|b| form_urlencoded::Serializer::new(String::new()).append_pair("back", &b).finish());
        query.map_or_else(|| PROVIDER.to_owned(), |query| format!("{PROVIDER}?{query}"))
    };
    let provider = served.given.provider.is_some().then(|| to_provider(back));
    let ehrs = served.given.launches.offered().await?;
    let page = SignIn { site: served.given.site.clone(), provider, ehrs, nav: None };
    Ok(html(page.render()?))
}

#[derive(Template)]
#[template(path = "link.html", config = "src/web/askama.toml")]
struct LinkPage {
    site: String,
    token: String,
    nav: Option<Nav>,
}

/// The page of a link. It uses nothing up: mail programs and messengers open links before people do.
pub async fn link(served: Data<Served>, token: Path<String>) -> Result<HttpResponse, Notice> {
    let token = token.into_inner();
    if !served.given.sessions.link_holds(&token).await? {
        return Err(spent());
    }
    let page = LinkPage { site: served.given.site.clone(), token, nav: None };
    Ok(html(page.render()?))
}

/// What the button of that page sends.
#[derive(Deserialize)]
pub struct Once {
    token: String,
}

/// Uses a link.
pub async fn once(request: HttpRequest, served: Data<Served>, form: Own<Once>) -> Result<HttpResponse, Notice> {
    let who = served.given.sessions.use_link(&form.0.token).await?.ok_or_else(spent)?;
    let before = Cookie::Session.read(request.headers(), served.given.external.as_ref());
    let begun = served.given.sessions.begin(who, before.as_deref()).await?;
    Ok(Landing { begun, path: "/".to_owned() }.answer(&served))
}

fn spent() -> Notice {
    let says = "This link was used before, or its time has passed. Ask for another one: `fhir-engage staff link` makes one.";
    Notice::new(StatusCode::GONE, "This link does not work any more", says)
}

/// A session that has just begun, and where its browser goes.
pub(super) struct Landing {
    pub(super) begun: Begun,
    pub(super) path: String,
}

/// Begins a sign-in by the site's provider.
pub async fn provider(request: HttpRequest, served: Data<Served>, back: Query<Back>) -> Result<HttpResponse, Notice> {
    let provider = served.given.provider.as_ref().ok_or_else(no_provider)?;
    let redirect = address::own(&request, &served, CALLBACK).ok_or_else(|| refusal(&NoEntry::NoAddress))?;
    let binding = Binding::of(&request, &served);
    let back = back.into_inner().back.as_deref().and_then(address::local);
    let url = provider.begin(redirect, &binding.value, back).await.map_err(|why| not_in(&why))?;
    Ok(binding.send(&served, url.as_str()))
}

/// Where the site's provider sends the browser back to.
pub async fn callback(request: HttpRequest, served: Data<Served>) -> Result<HttpResponse, Notice> {
    let provider = served.given.provider.as_ref().ok_or_else(no_provider)?;
    let external = served.given.external.as_ref();
    let browser = Cookie::Browser.read(request.headers(), external);
    let (who, back) = provider.finish(&answer(&request), browser.as_deref()).await.map_err(|why| not_in(&why))?;
    let before = Cookie::Session.read(request.headers(), external);
    let begun = served.given.sessions.begin(who, before.as_deref()).await?;
    let path = back.as_deref().and_then(address::local).unwrap_or_else(|| "/".to_owned());
    Ok(Landing { begun, path }.answer(&served))
}

fn no_provider() -> Notice {
    let says = "No provider for signing in is set up here ([staff.oidc]). Start the app from inside the EHR, or ask for a link.";
    Notice::new(StatusCode::NOT_FOUND, "There is no such way in", says).with_next("/signin", "Ways to sign in")
}

fn not_in(why: &NoEntry) -> Notice {
    tracing::info!(why = why.told(), "a sign-in let nobody in");
    refusal(why).with_next("/signin", "Ways to sign in")
}

/// Nothing but the token.
#[derive(Deserialize)]
pub struct Nothing {}

/// Ends the session with all that it has open.
pub async fn out(served: Data<Served>, viewer: ReqData<Viewer>, _form: Signed<Nothing>) -> Result<HttpResponse, Notice> {
    let ended = served.given.sessions.end(&viewer.session).await?;
    tracing::info!(session = short(&viewer.session), "a session was ended by its user");
    served.give_back(ended);
    let gone = Cookie::Session.clear(served.given.external.as_ref());
    Ok(to("/signin").insert_header((header::SET_COOKIE, gone)).finish())
}

/// What stands in place of the way in, and of the overview, where only what EHRs need answers.
pub async fn elsewhere(request: HttpRequest, served: Data<Served>) -> Result<Notice, Notice> {
    let cookie = Cookie::Session.read(request.headers(), served.given.external.as_ref());
    let session = match cookie {
        Some(cookie) => served.given.sessions.find(&cookie).await?,
        None => None,
    };
    let says = "At this address patients are shown that were opened in the EHR. Open a patient there and start the app.";
    let notice = session.map_or_else(signed_out, |_| Notice::new(StatusCode::OK, "You are signed in", says));
    Ok(framed(&request, &served, notice).await)
}

fn signed_out() -> Notice {
    let says = "Nothing is open any more; this page can be closed. To come back, open a patient in the EHR and start the app there.";
    Notice::new(StatusCode::OK, "You are signed out", says)
}

/// A page that does nothing and says only where somebody stands, which may be shown where an EHR showed a patient before: in its frame.
async fn framed(request: &HttpRequest, served: &Served, notice: Notice) -> Notice {
    let frames = served.given.launches.all_frames().await;
    request.extensions_mut().insert(FramedBy(frames));
    notice
}

/// Enough of a session's name to tell it from others in a log.
pub(super) fn short(session: &str) -> &str {
    session.get(..12).unwrap_or_default()
}

pub(super) fn html(body: String) -> HttpResponse {
    HttpResponse::Ok().content_type("text/html; charset=utf-8").body(body)
}

pub(super) fn to(path: &str) -> actix_web::HttpResponseBuilder {
    let mut answer = HttpResponse::SeeOther();
    answer.insert_header((header::LOCATION, path));
    answer
}
