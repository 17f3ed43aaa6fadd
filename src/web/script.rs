//! The one script of the pages: live parts and copy buttons. It is served at a path with its hash, so a browser keeps it for good and takes
//! a new one with a new build.

use std::sync::LazyLock;

use actix_web::http::header;
use actix_web::{HttpResponse, web};

use super::problem::Problem;

const SCRIPT: &str = include_str!("script.js");

/// Its file name.
static NAME: LazyLock<String> = LazyLock::new(|| {
    let hash = blake3::hash(SCRIPT.as_bytes()).to_hex();
    format!("script-{}.js", hash.get(..16).unwrap_or_default())
});

/// Where it is served.
#[must_use]
pub fn path() -> String {
    format!("/assets/{}", *NAME)
}

/// The script; another name, such as that of an older build, is not there.
pub async fn show(name: web::Path<String>) -> Result<HttpResponse, Problem> {
    if *name != *NAME {
        return Err(Problem::not_found());
    }
    Ok(HttpResponse::Ok()
        .content_type("text/javascript; charset=utf-8")
        .insert_header((header::CACHE_CONTROL, "public, max-age=31536000, immutable"))
        .body(SCRIPT))
}
