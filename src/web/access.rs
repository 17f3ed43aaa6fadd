//! Who may call a route that is not open: whoever shows the configured bearer.

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header;
use actix_web::middleware::Next;
use actix_web::{Error, web};

use super::Served;
use super::problem::Problem;

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
