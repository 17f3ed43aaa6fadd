//! Signing in and out: the page that offers the ways, the link that works once, and the end of a session.

use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::web::{Data, Path, Query, ReqData};
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;
use serde::Deserialize;

use super::Served;
use super::cookies::Cookie;
use super::form::{Own, Signed};
use super::notice::Notice;
use super::viewer::{Nav, Viewer};
use crate::smart::{Begun, Identity};

/// Where to go after signing in.
#[derive(Deserialize)]
pub struct Back {
    #[expect(dead_code, reason = "sign-in by a provider comes next")]
    back: Option<String>,
}

#[derive(Template)]
#[template(path = "signin.html", config = "src/web/askama.toml")]
struct SignIn {
    site: String,
    nav: Option<Nav>,
}

/// The page that tells how to sign in.
pub async fn ways(served: Data<Served>, _back: Query<Back>) -> Result<HttpResponse, Notice> {
    let page = SignIn { site: served.given.site.clone(), nav: None };
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
    let begun = begin(&request, &served, who).await?;
    Ok(to("/").insert_header((header::SET_COOKIE, begun)).finish())
}

fn spent() -> Notice {
    let says = "This link was used before, or its time has passed. Ask for another one: `fhir-engage staff link` makes one.";
    Notice::new(StatusCode::GONE, "This link does not work any more", says)
}

/// Begins a session in place of the one that the browser has; the header that sets its cookie.
pub(super) async fn begin(request: &HttpRequest, served: &Served, who: Identity) -> Result<String, Notice> {
    let external = served.given.external.as_ref();
    let before = Cookie::Session.read(request.headers(), external);
    let Begun { cookie, session, ended } = served.given.sessions.begin(who, before.as_deref()).await?;
    tracing::info!(session = short(&session.id), way = session.who.way.as_str(), roles = %session.who.roles, "a session began");
    (served.given.revoke)(ended);
    Ok(Cookie::Session.set(cookie.expose(), external))
}

/// Nothing but the token.
#[derive(Deserialize)]
pub struct Nothing {}

/// Ends the session with all that it has open.
pub async fn out(served: Data<Served>, viewer: ReqData<Viewer>, _form: Signed<Nothing>) -> Result<HttpResponse, Notice> {
    let ended = served.given.sessions.end(&viewer.session).await?;
    tracing::info!(session = short(&viewer.session), "a session was ended by its user");
    (served.given.revoke)(ended);
    let gone = Cookie::Session.clear(served.given.external.as_ref());
    Ok(to("/signin").insert_header((header::SET_COOKIE, gone)).finish())
}

/// Enough of a session's name to tell it from others in a log.
fn short(session: &str) -> &str {
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
