//! Probes: whether the process lives, and whether it can work. They say which check failed and nothing of why; the log has that.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use chrono::TimeDelta;
use serde::Serialize;

use super::Served;
use crate::store::installation::{self, Setting};

/// A database that does not answer within this time is not there.
const DATABASE_TIME: Duration = Duration::from_secs(5);
/// A task may wake this late: the machine may be busy.
const TASK_GRACE: TimeDelta = TimeDelta::seconds(60);

#[derive(Serialize)]
struct Readiness {
    status: &'static str,
    database: &'static str,
    tasks: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    overdue: Vec<String>,
}

/// Answers as long as the process can answer at all.
pub async fn alive() -> HttpResponse {
    HttpResponse::Ok().json(serde_json::json!({ "status": "ok" }))
}

/// 200 where the database answers and every task woke when it should; else 503.
pub async fn ready(served: web::Data<Served>) -> HttpResponse {
    let asked = served.given.store.read(|conn| installation::get(conn, Setting::Live));
    let database = match tokio::time::timeout(DATABASE_TIME, asked).await {
        Ok(Ok(_)) => "ok",
        Ok(Err(error)) => {
            tracing::warn!(error = %error, "the database does not answer a probe");
            "unusable"
        }
        Err(_) => "too slow",
    };
    let tasks = served.given.tasks.as_ref();
    let overdue = tasks.map(|t| t.overdue(served.given.clock.now(), TASK_GRACE)).unwrap_or_default();
    let ok = database == "ok" && overdue.is_empty();
    let body = Readiness {
        status: if ok { "ready" } else { "not ready" },
        database,
        tasks: match (tasks, overdue.is_empty()) {
            (None, _) => "none in this process",
            (Some(_), true) => "ok",
            (Some(_), false) => "overdue",
        },
        overdue,
    };
    HttpResponse::build(if ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }).json(body)
}
