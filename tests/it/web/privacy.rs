//! No patient data leaves through a route, a metric or a log line: a name is planted in every stored body and looked for everywhere.

use std::io::Write;
use std::sync::{Arc, Mutex, OnceLock};

use fhir_engage::web::routes::table;
use tracing_subscriber::fmt::MakeWriter;

use super::fixture::{BEARER, MARKER, Server, fill};
use crate::support::on_both;

/// Everything that this process logs, at every level, in all crates.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Log {
    fn of_process() -> &'static Self {
        static LOG: OnceLock<Log> = OnceLock::new();
        LOG.get_or_init(|| {
            let log = Self::default();
            let subscriber =
                tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG).with_writer(log.clone()).with_ansi(false).finish();
            tracing::subscriber::set_global_default(subscriber).expect("no other test sets a subscriber");
            log
        })
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

on_both! {
    async fn the_planted_name_shows_in_no_answer_and_no_log(db) {
        let log = Log::of_process();
        fill(&db.store());
        let stored = db.lines(&format!("SELECT fhir_id AS line FROM quarantine WHERE fhir_id = '{MARKER}'"));
        assert_eq!(stored, [MARKER], "the name was not planted");
        let server = Server::start(&db.store());
        let bearer = format!("Bearer {BEARER}");
        let mut answers = Vec::new();
        for row in table() {
            answers.push((row.path, server.send("GET", row.path, &[("Authorization", &bearer)]).await));
            // A caller can put a name into everything it sends; none of it comes back or is logged.
            let path = format!("{}?name={MARKER}&state={MARKER}", row.path);
            let headers = [("Authorization", bearer.as_str()), ("User-Agent", MARKER), ("Referer", MARKER), ("X-Request-Id", MARKER)];
            answers.push((row.path, server.send("GET", &path, &headers).await));
            answers.push((row.path, server.send(MARKER, &format!("{}/{MARKER}", row.path), &headers).await));
        }
        db.execute("DROP TABLE installation");
        db.execute("DROP TABLE membership");
        for row in table() {
            answers.push((row.path, server.send("GET", row.path, &[("Authorization", &bearer)]).await));
        }
        assert!(answers.iter().any(|(_, a)| a.status == 200) && answers.iter().any(|(_, a)| a.status == 500));
        for (path, answer) in answers {
            assert!(!answer.body.contains(MARKER) && !answer.headers.values().any(|v| v.contains(MARKER)), "{path}: {}", answer.body);
        }
        server.end().await;
        let log = log.text();
        assert!(log.contains("route=/api/v1/attempts") && log.contains("route=unmatched") && log.contains("status=500"), "requests were not logged");
        let lines: Vec<&str> = log.lines().filter(|l| l.contains(MARKER)).collect();
        assert!(lines.is_empty(), "{lines:?}");
        assert!(!log.contains(BEARER), "the bearer was logged");
    }
}
