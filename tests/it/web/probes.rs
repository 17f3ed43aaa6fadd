//! Health, readiness and metrics.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use domain::clock::ManualClock;
use domain::model::Role;
use fhir_engage::telemetry::METRICS;
use fhir_engage::worker::{Nudge, Phase, Stop, Task, TaskReport, Worker};
use rand::SeedableRng as _;

use super::fixture::{Server, fill};
use crate::store::fixtures::at;
use crate::support::{Backend, Database, on_both};

on_both! {
    async fn readiness_follows_the_database_and_liveness_does_not(db) {
        let server = Server::start(&db.store());
        let staff = server.staff(&[Role::Operator]).await;
        let ready = server.get("/readyz").await;
        assert_eq!((ready.status, ready.json()["database"].as_str()), (200, Some("ok")));
        match db.location() {
            // Not by cutting the file short: SQLite maps its index of the log, and a page that is not there any more ends the process.
            fhir_engage::store::Location::Sqlite(_) => db.execute("DROP TABLE installation"),
            fhir_engage::store::Location::Postgres(_) => db.execute("DROP SCHEMA public CASCADE"),
        }
        let gone = server.get("/readyz").await;
        assert_eq!((gone.status, gone.json()["database"].as_str()), (503, Some("unusable")), "{}", gone.body);
        assert_eq!(gone.json()["status"], "not ready");
        assert_eq!(server.get("/healthz").await.status, 200);
        let page = server.send("GET", "/", &[("Cookie", &staff.cookie)]).await;
        assert_eq!(page.status, 500);
        match db.location() {
            // The session is there, and the page says it in words.
            fhir_engage::store::Location::Sqlite(_) => {
                assert!(page.body.contains("Something went wrong here") && !page.body.contains("installation"), "a cause was told: {}", page.body);
            }
            fhir_engage::store::Location::Postgres(_) => {
                assert_eq!(page.body, "{\"title\":\"Internal Server Error\",\"status\":500}", "a cause was told");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_does_not_wake_makes_the_process_unready() {
    let db = Database::fresh(Backend::Sqlite).unwrap();
    let clock = Arc::new(ManualClock::at(at(3600)));
    let worker = Worker::new(Arc::clone(&clock) as Arc<dyn domain::Clock>, 1);
    let task = Task::new("outreach", Duration::from_secs(3600), Nudge::new(), |_| std::future::ready(TaskReport::idle(None)));
    let (health, stop) = (worker.health(), Stop::new());
    let running = tokio::spawn({
        let stop = stop.clone();
        async move { worker.run(vec![task], rand::rngs::StdRng::seed_from_u64(1), stop).await }
    });
    while !health.statuses().iter().any(|s| matches!(s.phase, Phase::Sleeping { .. })) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let server = Server::start_with(&db.store(), None, Some(health));
    let ready = server.get("/readyz").await;
    assert_eq!((ready.status, ready.json()["tasks"].as_str()), (200, Some("ok")));
    server.clock.set(at(3600).plus(TimeDelta::hours(2)));
    let late = server.get("/readyz").await;
    assert_eq!((late.status, late.json()["overdue"][0].as_str()), (503, Some("outreach")), "{}", late.body);
    stop.request();
    running.await.unwrap();
}

/// Name, labels and value of a sample.
type Sample<'a> = (&'a str, Vec<(&'a str, &'a str)>, f64);

/// One sample of the text format: `name{label="value",..} number`.
fn sample(line: &str) -> Option<Sample<'_>> {
    let (series, value) = line.rsplit_once(' ')?;
    let (name, labels) = match series.split_once('{') {
        None => (series, Vec::new()),
        Some((name, rest)) => {
            let pairs = rest.strip_suffix('}')?.split("\",").map(|p| p.trim_end_matches('"').split_once("=\""));
            (name, pairs.collect::<Option<Vec<_>>>()?)
        }
    };
    Some((name, labels, value.parse().ok()?))
}

on_both! {
    async fn metrics_are_in_prometheus_text_and_each_is_documented(db) {
        fill(&db.store());
        let server = Server::start(&db.store());
        server.get("/nothing/at/all").await;
        let answer = server.get("/metrics").await;
        assert_eq!(answer.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
        let mut values = std::collections::BTreeMap::new();
        for line in answer.body.lines().filter(|l| !l.is_empty() && !l.starts_with('#')) {
            let (name, labels, value) = sample(line).unwrap_or_else(|| panic!("not a sample: {line}"));
            let base = ["_bucket", "_sum", "_count"].iter().find_map(|s| name.strip_suffix(s)).unwrap_or(name);
            let known = METRICS.iter().find(|m| m.0 == base).unwrap_or_else(|| panic!("{name} is not in the table"));
            assert!(labels.iter().all(|l| known.2.contains(&l.0) || l.0 == "le"), "{line}");
            values.insert(line.rsplit_once(' ').unwrap().0.to_owned(), value);
        }
        let types: Vec<&str> = answer.body.lines().filter_map(|l| l.strip_prefix("# TYPE ")).collect();
        let unique: std::collections::BTreeSet<&str> = types.iter().copied().collect();
        assert_eq!(types.len(), unique.len(), "a metric's type is told twice");
        let expected = [
            ("fhir_engage_quarantined", 1.0),
            ("fhir_engage_persons", 2.0),
            ("fhir_engage_resources{type=\"Patient\"}", 2.0),
            ("fhir_engage_segment_members{segment=\"visit-72h-not-confirmed\"}", 1.0),
            ("fhir_engage_segment_held{segment=\"visit-72h-not-confirmed\"}", 1.0),
            ("fhir_engage_attempts{state=\"sent\"}", 2.0),
            ("fhir_engage_attempts{state=\"refused\"}", 1.0),
            ("fhir_engage_write_backs{state=\"written\"}", 1.0),
            ("fhir_engage_sync_failed{ehr=\"north\",type=\"Appointment\"}", 1.0),
            ("fhir_engage_sync_failed{ehr=\"north\",type=\"Patient\"}", 0.0),
        ];
        for (series, value) in expected {
            assert_eq!(values.get(series), Some(&value), "{series}\n{}", answer.body);
        }
        let unmatched = values.iter().find(|(k, _)| k.contains("route=\"unmatched\"") && k.contains("status=\"404\""));
        assert!(unmatched.is_some_and(|(_, n)| *n >= 1.0), "{}", answer.body);
        assert!(!answer.body.contains("nothing/at"));
    }
}
