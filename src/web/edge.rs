//! What every request passes on its way in and out: a request id, limits, security headers, one log line and two metrics.
//!
//! The log line has the route's pattern and never the path, its parameters, the query, a header or the caller's address.

use std::sync::atomic::Ordering;
use std::time::Instant;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::http::{Method, header};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage as _, web};

use super::Served;
use super::notifications;
use super::prefix;
use super::problem::Problem;
use super::style;

/// The largest body that is taken, bytes.
pub const BODY_LIMIT: usize = 64 * 1024;

/// On every answer, beside the policy of [`style::policy`].
pub const SECURITY_HEADERS: [(&str, &str); 4] = [
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
];

/// Whose frames the answer may stand in: origins, as `frame-ancestors` lists them. A handler puts it into its request; without it nobody's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FramedBy(pub(super) String);

/// Asked every few seconds by machines: not worth a line each as long as they go well.
const PROBES: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// The header that names a request, in the answer and in the log.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The middleware.
pub async fn pass(mut request: ServiceRequest, next: Next<impl MessageBody + 'static>) -> Result<ServiceResponse<BoxBody>, Error> {
    let began = Instant::now();
    let method = method_name(request.method());
    let prefix = prefix::of(&request);
    if let Some(prefix) = &prefix {
        prefix::take_off(&mut request, prefix);
    }
    let route = request.match_pattern().unwrap_or_else(|| "unmatched".to_owned());
    let id = request.app_data::<web::Data<Served>>().map_or_else(String::new, |served| {
        format!("{:08x}-{}", served.given.process & 0xffff_ffff, served.requests.fetch_add(1, Ordering::Relaxed))
    });
    let mut response = answer(request, next).await?;
    if let Some(prefix) = &prefix {
        response = prefix::put_on(response, prefix).await?;
    }
    let framed_by = response.request().extensions().get::<FramedBy>().map(|f| f.0.clone()).unwrap_or_default();
    dress(response.headers_mut(), &id, &framed_by);
    let (status, took) = (response.status().as_u16(), began.elapsed());
    if PROBES.contains(&route.as_str()) && status < 400 {
        tracing::debug!(request = %id, method, route = %route, status, micros = took.as_micros(), "a probe was answered");
    } else {
        tracing::info!(request = %id, method, route = %route, status, micros = took.as_micros(), "a request was answered");
    }
    metrics::counter!("fhir_engage_http_requests_total", "method" => method, "route" => route.clone(), "status" => status.to_string())
        .increment(1);
    metrics::histogram!("fhir_engage_http_request_seconds", "route" => route).record(took.as_secs_f64());
    Ok(response)
}

async fn answer(request: ServiceRequest, next: Next<impl MessageBody + 'static>) -> Result<ServiceResponse<BoxBody>, Error> {
    let told = request.headers().get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()).and_then(|v| v.parse::<u64>().ok());
    let limit = if request.path().starts_with(notifications::PATH) { notifications::BODY_LIMIT } else { BODY_LIMIT };
    if told.is_some_and(|length| length > limit as u64) {
        return Ok(request.error_response(Problem::too_large()));
    }
    // The request must not be cloned here: actix adds the route's data to it on its way in, and panics where it is shared.
    next.call(request).await.map(ServiceResponse::map_into_boxed_body)
}

fn dress(headers: &mut HeaderMap, id: &str, framed_by: &str) {
    for (name, value) in SECURITY_HEADERS {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    // An origin that cannot stand in a header is in no registered URL; without a policy nothing may be shown.
    let policy = HeaderValue::from_str(&style::policy(framed_by)).unwrap_or_else(|_| HeaderValue::from_static("default-src 'none'"));
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    if framed_by.is_empty() {
        // It knows no origins: where frames are allowed, the policy alone says whose.
        headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    }
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert(REQUEST_ID, id);
    }
}

/// A method's name for logs and labels: a caller can make up any other.
fn method_name(method: &Method) -> &'static str {
    [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS]
        .iter()
        .zip(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
        .find(|(known, _)| *known == method)
        .map_or("other", |(_, name)| name)
}
