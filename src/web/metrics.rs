//! Metrics for Prometheus: the process's own, and the state of the gateway in counts. Labels are names that an operator gave.

use actix_web::{HttpResponse, web};
use metrics::gauge;

use super::Served;
use super::problem::Problem;
use crate::store::view::overview::Overview;

/// Text format 0.0.4.
pub async fn show(served: web::Data<Served>) -> Result<HttpResponse, Problem> {
    let overview = served.overview().await?;
    let text = served.given.metrics.render(|| set(&overview));
    Ok(HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(text))
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus knows only floats, and counts stay far below 2^53")]
const fn float(n: i64) -> f64 {
    n as f64
}

fn set(o: &Overview) {
    for (rtype, n) in &o.synced {
        gauge!("fhir_engage_resources", "type" => rtype.clone()).set(float(*n));
    }
    for t in &o.types {
        let labels = [("ehr", t.ehr.clone()), ("type", t.rtype.clone())];
        gauge!("fhir_engage_sync_last_run_timestamp_seconds", &labels).set(float(t.started_at) / 1e6);
        gauge!("fhir_engage_sync_running", &labels).set(f64::from(u8::from(t.state == "running")));
        gauge!("fhir_engage_sync_failures_in_a_row", &labels).set(float(t.failures));
        gauge!("fhir_engage_sync_holes", &labels).set(float(t.holes));
        gauge!("fhir_engage_sync_failed", &labels).set(f64::from(u8::from(t.state == "failed")));
        if let Some(known) = t.known_up_to {
            gauge!("fhir_engage_sync_known_up_to_timestamp_seconds", &labels).set(float(known) / 1e6);
        }
    }
    // All kinds, so that one that is over goes back to nought.
    for kind in crate::store::alerts::KINDS {
        gauge!("fhir_engage_alerts_open", "kind" => kind).set(float(o.alerts.get(kind).copied().unwrap_or_default()));
    }
    gauge!("fhir_engage_persons").set(float(o.persons));
    gauge!("fhir_engage_quarantined").set(float(o.quarantined));
    for (segment, n) in &o.segments {
        gauge!("fhir_engage_segment_members", "segment" => segment.clone()).set(float(*n));
    }
    for (segment, n) in &o.held_in_segments {
        gauge!("fhir_engage_segment_held", "segment" => segment.clone()).set(float(*n));
    }
    let a = &o.attempts;
    let states = [
        ("planned", a.planned),
        ("held", a.held),
        ("sending", a.sending),
        ("unclear", a.unclear),
        ("sent", a.sent),
        ("failed", a.failed),
        ("refused", a.refused),
        ("void", a.void),
    ];
    for (state, n) in states {
        gauge!("fhir_engage_attempts", "state" => state).set(float(n));
    }
    for (state, n) in &o.write_backs {
        gauge!("fhir_engage_write_backs", "state" => state.clone()).set(float(*n));
    }
    for (stage, n) in [("segments", o.pending.0), ("outreach", o.pending.1)] {
        gauge!("fhir_engage_persons_waiting", "stage" => stage).set(float(n));
    }
}
