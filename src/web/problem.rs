//! What goes wrong, as the caller sees it: problem documents (RFC 9457).
//!
//! The policy:
//! - A handler returns `Result<_, Problem>`. A mistake of the caller is one of the constructors here, and says what to do.
//! - Everything else comes in by `From`: its cause goes to the log, the caller gets a bare 500. No cause is ever in an answer: it can
//!   name tables, hosts and values.
//! - A database outage is the server's fault and therefore a 5xx, never a 4xx.
//! - No problem repeats what the caller sent.

use actix_web::body::BoxBody;
use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, Responder, ResponseError};
use serde::Serialize;

use crate::store::StoreError;

/// A problem document. Its type is `about:blank`: the status says what it is, the detail what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    title: &'static str,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'static str>,
    #[serde(skip)]
    extra: Option<(header::HeaderName, String)>,
}

impl Problem {
    fn new(status: StatusCode, title: &'static str, detail: Option<&'static str>) -> Self {
        Self { title, status: status.as_u16(), detail, extra: None }
    }

    /// 404.
    #[must_use]
    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "Not Found", Some("There is nothing at this path."))
    }

    /// 405, with the methods that are allowed.
    #[must_use]
    pub fn method_not_allowed(allowed: &str) -> Self {
        let detail = "This path does not take that method; the Allow header names those it takes.";
        Self {
            extra: Some((header::ALLOW, allowed.to_owned())),
            ..Self::new(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed", Some(detail))
        }
    }

    /// 401 with a challenge (RFC 6750 section 3).
    #[must_use]
    pub fn unauthorized(shown: bool) -> Self {
        let (detail, challenge) = if shown {
            ("The bearer is not the one that this gateway was configured with.", "Bearer realm=\"fhir-engage\", error=\"invalid_token\"")
        } else {
            (
                "Send the bearer that this gateway was configured with (web.bearer) as `Authorization: Bearer ...`.",
                "Bearer realm=\"fhir-engage\"",
            )
        };
        Self {
            extra: Some((header::WWW_AUTHENTICATE, challenge.to_owned())),
            ..Self::new(StatusCode::UNAUTHORIZED, "Unauthorized", Some(detail))
        }
    }

    /// 401 for somebody who has to sign in.
    #[must_use]
    pub fn signed_out() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Unauthorized", Some("You are not signed in, or no longer. Open /signin in a browser."))
    }

    /// 400 for a query that is not understood.
    #[must_use]
    pub fn bad_query() -> Self {
        let detail = "The query is not understood: it takes limit (1 to 1000) and, on some routes, ehr or state, each once.";
        Self::new(StatusCode::BAD_REQUEST, "Bad Request", Some(detail))
    }

    /// A body that is not what the route takes.
    #[must_use]
    pub fn bad_body() -> Self {
        let detail = "The body is not understood: it is a JSON object with patient, as EHR/ID, and perhaps segment.";
        Self::new(StatusCode::BAD_REQUEST, "Bad Request", Some(detail))
    }

    /// What is asked about is not there.
    #[must_use]
    pub fn no_such(detail: &'static str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "Not Found", Some(detail))
    }

    /// 413.
    #[must_use]
    pub fn too_large() -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "Content Too Large", Some("No route takes a body of this size."))
    }

    /// 401 for a notification.
    #[must_use]
    pub fn no_secret() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "Unauthorized",
            Some("The notification does not show the secret that its subscription was given."),
        )
    }

    /// 400 for a body that is no notification.
    #[must_use]
    pub fn not_a_notification() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "Bad Request", Some("The body is no notification of a FHIR Subscription."))
    }

    /// 429.
    #[must_use]
    pub fn too_many() -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "Too Many Requests", Some("Send again after a second."))
    }

    /// 503 for what took too long.
    #[must_use]
    pub fn too_slow() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable", Some("This took too long; try again later."))
    }

    /// 500. The cause is in the log.
    #[must_use]
    pub fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error", None)
    }

    /// The response.
    #[must_use]
    pub fn response(&self) -> HttpResponse {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = HttpResponse::build(status);
        if let Some((name, value)) = &self.extra {
            response.insert_header((name.clone(), value.as_str()));
        }
        response.content_type("application/problem+json").body(serde_json::to_string(self).unwrap_or_default())
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.title)
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse<BoxBody> {
        self.response()
    }
}

impl Responder for Problem {
    type Body = BoxBody;

    fn respond_to(self, _: &HttpRequest) -> HttpResponse {
        self.response()
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        tracing::error!(error = %error, "a request failed in the store");
        Self::internal()
    }
}

impl From<askama::Error> for Problem {
    fn from(_: askama::Error) -> Self {
        tracing::error!("a page could not be rendered");
        Self::internal()
    }
}
