//! Files that stand in the program: the style sheet. No page asks any other host for anything.

use actix_web::http::header;
use actix_web::{HttpResponse, Responder};

const STYLE: &str = include_str!("assets/style.css");

/// The style sheet.
pub async fn style() -> impl Responder {
    HttpResponse::Ok().content_type("text/css; charset=utf-8").insert_header((header::CACHE_CONTROL, "public, max-age=300")).body(STYLE)
}
