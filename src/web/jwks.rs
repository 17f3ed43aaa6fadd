//! The public keys by which EHRs check this gateway's assertions (SMART Backend Services, "Registering a SMART Backend Service").

use actix_web::http::header;
use actix_web::{HttpResponse, web};

use super::Served;
use super::problem::Problem;

/// The JWK Set. EHRs may keep it for five minutes, which is far less than the overlap of a key rotation.
pub async fn show(served: web::Data<Served>) -> Result<HttpResponse, Problem> {
    let keys = (served.given.jwks)().await?;
    Ok(HttpResponse::Ok().content_type("application/json").insert_header((header::CACHE_CONTROL, "public, max-age=300")).body(keys))
}
