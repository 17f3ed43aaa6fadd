//! Who may call a route that is not open: whoever shows the configured bearer, or is signed in with a role that may.

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::{Method, header};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage as _, HttpResponse, web};
use domain::model::Right;

use super::Served;
use super::cookies::Cookie;
use super::edge::FramedBy;
use super::notice::Notice;
use super::problem::Problem;
use super::viewer::Viewer;

/// The right that the route asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted(pub(super) Right);

/// Lets a request through that shows the bearer; all others get 401, and where no bearer is configured that is everyone.
pub async fn bearer(request: ServiceRequest, next: Next<impl MessageBody + 'static>) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let shown = shown(&request);
    let expected = request.app_data::<web::Data<Served>>().and_then(|s| s.given.bearer.as_ref());
    // Comparing two blake3 hashes takes the same time wherever they differ, and does not tell how long the secret is.
    let same =
        shown.zip(expected).is_some_and(|(shown, expected)| blake3::hash(shown.as_bytes()) == blake3::hash(expected.expose().as_bytes()));
    if same {
        return next.call(request).await.map(ServiceResponse::map_into_left_body);
    }
    let refused = Problem::unauthorized(shown.is_some());
    Ok(request.error_response(refused).map_into_right_body())
}

/// The token of `Authorization: Bearer TOKEN`; the scheme's case does not matter (RFC 9110 section 11.1).
fn shown(request: &ServiceRequest) -> Option<&str> {
    let (scheme, token) = request.headers().get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim()).filter(|t| !t.is_empty())
}

/// Lets a request through whose session has a role with the right, or any session where none is asked for; puts the [`Viewer`] into it.
pub async fn staff(
    right: Option<Right>,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let viewer = match viewer(&request).await {
        Ok(viewer) => viewer,
        Err(problem) => return Ok(request.error_response(problem)),
    };
    let Some(viewer) = viewer else {
        if is_framed(&request) {
            return Ok(over(request).await);
        }
        return Ok(unknown(request));
    };
    if right.is_some_and(|right| !viewer.may(right)) {
        return Ok(request.error_response(Notice::forbidden()));
    }
    request.extensions_mut().insert(viewer);
    if let Some(right) = right {
        request.extensions_mut().insert(Wanted(right));
    }
    next.call(request).await.map(ServiceResponse::map_into_boxed_body)
}

async fn viewer(request: &ServiceRequest) -> Result<Option<Viewer>, Problem> {
    let Some(served) = request.app_data::<web::Data<Served>>().cloned() else { return Ok(None) };
    let Some(cookie) = Cookie::Session.read(request.headers(), served.given.external.as_ref()) else { return Ok(None) };
    Ok(served.given.sessions.find(&cookie).await?.map(Viewer::of))
}

/// Whether a browser asks for a page, or sends a form, to show what comes of it in a frame.
fn is_framed(request: &ServiceRequest) -> bool {
    in_frame(request.headers()) && [Method::GET, Method::POST].contains(request.method())
}

/// Whether what a browser asks for is to stand in a frame.
pub(super) fn in_frame(headers: &header::HeaderMap) -> bool {
    matches!(headers.get("sec-fetch-dest").and_then(|v| v.to_str().ok()), Some("iframe" | "frame"))
}

/// A session that is over, in a frame of the EHR's: there the page to sign in cannot be shown, and the EHR is where one comes in.
async fn over(request: ServiceRequest) -> ServiceResponse<BoxBody> {
    if let Some(served) = request.app_data::<web::Data<Served>>().cloned() {
        let framed = served.given.launches.all_frames().await;
        request.extensions_mut().insert(FramedBy(framed));
    }
    request.error_response(Notice::over())
}

/// Somebody who is not signed in: a browser that asks for a page is sent to where one signs in, and comes back from there; all else is 401, for a form that
/// a person sent with what to do.
fn unknown(request: ServiceRequest) -> ServiceResponse<BoxBody> {
    let header = |name: &str| request.headers().get(name).and_then(|v| v.to_str().ok());
    let asks = *request.method() == Method::GET || *request.method() == Method::HEAD;
    // Other requests of a page's are told by what they are for; programs send nothing of the kind and ask for no HTML.
    let page =
        header("sec-fetch-mode").map_or_else(|| header("accept").is_some_and(|a| a.contains("text/html")), |mode| mode == "navigate");
    match (asks, page) {
        (true, true) => {}
        (false, true) => return request.error_response(Notice::too_late()),
        _ => return request.error_response(Problem::signed_out()),
    }
    // The path alone: what a query says may be about a patient.
    let back: String = url::form_urlencoded::byte_serialize(request.path().as_bytes()).collect();
    let answer = HttpResponse::SeeOther().insert_header((header::LOCATION, format!("/signin?back={back}"))).finish();
    request.into_response(answer)
}
