//! Stored things as FHIR resources. What `facade` renders is sent as it is.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path, Query};
use serde::Deserialize;

use super::Served;
use super::problem::Problem;
use crate::facade::group;

const FHIR_JSON: &str = "application/fhir+json; charset=utf-8";

/// Which part of a long list of members.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// At most so many persons.
    #[serde(rename = "_count")]
    count: Option<i64>,
    /// Where the part begins, as the `Link` header of the one before said.
    after: Option<i64>,
}

/// A segment as a Group. Where there are more members than one answer holds, `Link` (RFC 8288) tells where the next ones are.
pub async fn group(served: Data<Served>, id: Path<String>, part: Query<Part>) -> Result<HttpResponse, Problem> {
    let id = id.into_inner();
    let count = part.count.unwrap_or(1_000);
    if !(1..=group::LONGEST_PAGE).contains(&count) {
        return Err(Problem::bad_query());
    }
    let after = part.after.unwrap_or(i64::MIN);
    let asked = id.clone();
    let read = served.given.store.snapshot(move |conn| group::read(conn, &asked, after, count)).await?;
    let Some(published) = read else {
        return Ok(HttpResponse::NotFound().content_type(FHIR_JSON).body(group::not_found()));
    };
    let bytes = group::render(&published).map_err(|error| {
        tracing::error!(error = %error, "a segment could not be told as a Group");
        Problem::internal()
    })?;
    let mut answer = HttpResponse::Ok();
    if let Some(next) = published.next() {
        // The id is that of a segment that exists: letters, digits and '-'.
        answer.insert_header(("Link", format!("</fhir/Group/{id}?_count={count}&after={next}>; rel=\"next\"")));
    }
    Ok(answer.content_type(FHIR_JSON).body(bytes))
}
