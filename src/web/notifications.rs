//! What EHRs send of themselves (Subscription, rest-hook): taken in and answered at once, never read into. Who sends must know the random token in
//! the address and show the secret that only this subscription has; an address that nobody was given is 404 as any other.
//!
//! The body is handed on as it came, and what it says is a hint to read: nothing of it is kept.

use std::pin::Pin;
use std::sync::Arc;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use futures_util::StreamExt as _;

use super::Served;
use super::problem::Problem;
use crate::store::StoreError;

/// The largest notification that is taken, bytes: R4's rest-hook sends a whole resource where it was asked to.
pub const BODY_LIMIT: usize = 1024 * 1024;

/// Where the routes are.
pub const PATH: &str = "/notifications/";

/// What came.
pub struct Came {
    /// The token in the address.
    pub token: String,
    /// `Authorization`.
    pub authorization: Option<String>,
    /// `X-Hub-Signature`.
    pub signature: Option<String>,
    /// The type and id in the address, where the EHR puts resources there.
    pub named: Option<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl std::fmt::Debug for Came {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Came")
    }
}

/// What becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// It is kept.
    Taken,
    /// No subscription has this address.
    Unknown,
    /// It does not show the secret.
    NotShown,
    /// It is none.
    NotOne,
    /// More than one subscription may send.
    TooMany,
}

/// Takes a notification in. `app` puts it together.
pub type Notified = Arc<dyn Fn(Came) -> Pin<Box<dyn Future<Output = Result<Received, StoreError>> + Send>> + Send + Sync>;

/// `POST /notifications/{token}`.
pub(super) async fn take(
    served: web::Data<Served>,
    request: HttpRequest,
    token: web::Path<String>,
    body: web::Payload,
) -> Result<HttpResponse, Problem> {
    let body = whole(body).await?;
    answer(&served, &request, token.into_inner(), None, body).await
}

/// `PUT` or `POST /notifications/{token}/{type}/{id}`: R4's rest-hook with a payload, as some servers send it. The address says all that is used.
pub(super) async fn named(
    served: web::Data<Served>,
    request: HttpRequest,
    path: web::Path<(String, String, String)>,
    body: web::Payload,
) -> Result<HttpResponse, Problem> {
    let (token, kind, id) = path.into_inner();
    let body = whole(body).await?;
    answer(&served, &request, token, Some((kind, id)), body).await
}

async fn whole(mut payload: web::Payload) -> Result<Vec<u8>, Problem> {
    let mut body = Vec::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|_| Problem::not_a_notification())?;
        if body.len() + chunk.len() > BODY_LIMIT {
            return Err(Problem::too_large());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

async fn answer(
    served: &Served,
    request: &HttpRequest,
    token: String,
    named: Option<(String, String)>,
    body: Vec<u8>,
) -> Result<HttpResponse, Problem> {
    let header = |name: &str| request.headers().get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
    let came = Came { token, authorization: header("authorization"), signature: header("x-hub-signature"), named, body };
    let received = (served.given.notified)(came).await?;
    let told = match received {
        Received::Taken => "taken",
        Received::Unknown => "unknown",
        Received::NotShown => "not-shown",
        Received::NotOne => "not-one",
        Received::TooMany => "too-many",
    };
    metrics::counter!("fhir_engage_notifications_total", "outcome" => told).increment(1);
    match received {
        Received::Taken => Ok(HttpResponse::Ok().finish()),
        Received::Unknown => Err(Problem::not_found()),
        Received::NotShown => Err(Problem::no_secret()),
        Received::NotOne => Err(Problem::not_a_notification()),
        Received::TooMany => {
            let mut refused = Problem::too_many().response();
            refused.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
            Ok(refused)
        }
    }
}
