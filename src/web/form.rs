//! A form that was sent from a page of this session, and from nowhere else: [`Signed`].

use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::http::header;
use actix_web::{FromRequest, HttpMessage as _, HttpRequest, web};
use serde::de::DeserializeOwned;
use url::{Url, form_urlencoded};

use super::notice::Notice;
use super::viewer::Viewer;
use super::{Served, edge};

/// A form's fields, where the form was sent from our own origin and carries the session's token in its field `csrf`. The route must be one of
/// [`super::routes::Access::Staff`]; a form without a session is refused.
#[derive(Debug)]
pub struct Signed<T>(pub T);

impl<T> Signed<T> {
    /// The fields.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T: DeserializeOwned + 'static> FromRequest for Signed<T> {
    type Error = Notice;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Notice>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let expected = request.extensions().get::<Viewer>().map(|viewer| viewer.csrf.clone());
        let ours = is_ours(request);
        let body = web::Bytes::from_request(request, payload);
        Box::pin(async move {
            let expected = expected.filter(|_| ours).ok_or_else(Notice::foreign_form)?;
            let body = body.await.map_err(|_| Notice::bad_form())?;
            let (tokens, fields): (Vec<_>, Vec<_>) = form_urlencoded::parse(&body).partition(|(name, _)| name == "csrf");
            let [(_, token)] = tokens.as_slice() else { return Err(Notice::foreign_form()) };
            // Hashes take the same time to compare wherever they differ.
            if blake3::hash(token.as_bytes()) != blake3::hash(expected.as_bytes()) {
                return Err(Notice::foreign_form());
            }
            fields_of(&fields).map(Signed)
        })
    }
}

/// A form of somebody who is not signed in, sent from our own origin.
#[derive(Debug)]
pub struct Own<T>(pub T);

impl<T: DeserializeOwned + 'static> FromRequest for Own<T> {
    type Error = Notice;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Notice>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let ours = is_ours(request);
        let body = web::Bytes::from_request(request, payload);
        Box::pin(async move {
            if !ours {
                return Err(Notice::foreign_form());
            }
            let body = body.await.map_err(|_| Notice::bad_form())?;
            let fields: Vec<_> = form_urlencoded::parse(&body).collect();
            fields_of(&fields).map(Self)
        })
    }
}

fn fields_of<T: DeserializeOwned>(fields: &[(std::borrow::Cow<'_, str>, std::borrow::Cow<'_, str>)]) -> Result<T, Notice> {
    let text = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    debug_assert!(text.len() <= 4 * edge::BODY_LIMIT, "bodies are limited before they come here");
    web::Query::<T>::from_query(&text).map(web::Query::into_inner).map_err(|_| Notice::bad_form())
}

/// Whether the request was made by a page of ours. Browsers tell where a request comes from in `Sec-Fetch-Site`, and older ones in `Origin`; what tells
/// neither is no browser that a form would be sent with.
fn is_ours(request: &HttpRequest) -> bool {
    let header = |name: &str| request.headers().get(name).and_then(|v| v.to_str().ok());
    if let Some(site) = header("sec-fetch-site") {
        return site == "same-origin";
    }
    let Some(origin) = header(header::ORIGIN.as_str()) else { return false };
    let external = request.app_data::<web::Data<Served>>().and_then(|s| s.given.external.clone());
    let own = match external {
        Some(url) => Some(url.origin().ascii_serialization()),
        // Without a proxy in front there is no TLS, and the browser named the host itself.
        None => header(header::HOST.as_str())
            .and_then(|host| Url::parse(&format!("http://{host}")).ok())
            .map(|u| u.origin().ascii_serialization()),
    };
    own.as_deref() == Some(origin)
}
