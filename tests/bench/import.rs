//! How fast files are imported, where the time goes, and how much memory it takes.
//!
//! `cargo bench --bench import -- --patients 100000` writes the synthetic population as NDJSON.gz (that many patients, three times as many
//! appointments, as many care plans), then imports it three times: into an empty database (and evaluates all segments), again unchanged, and into
//! another empty database while pages are served, which an interactive write every 50 ms stands for. Memory is the process's peak, so a run
//! with ten times the patients shows whether it is flat. On SQLite, or with `--postgres ADDRESS` on a PostgreSQL server.

#![expect(clippy::unwrap_used, reason = "a benchmark may fail loudly")]

mod shared;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use domain::model::EhrId;
use fhir_engage::store::{Lane, Store, ehrs};
use fhir_engage::sync::import::Report;
use shared::{AS_OF, Workplace, assign, at, import_into, number, peak_memory_mb, write_population};

const PAGE_EVERY: Duration = Duration::from_millis(50);

fn main() {
    let workplace = Workplace::new("import");
    let files = workplace.files();
    write_population(&files, number("--patients", 10_000));
    let store = workplace.store("first");
    let report = import_into(&store, &files);
    show("empty database", &report);
    let (persons, seconds) = assign(&store);
    println!(
        "  segments: {persons} persons in {seconds:.2} s; projected and segmented: {:.0} resources/s",
        report.lines as f64 / (report.seconds + seconds)
    );
    let report = import_into(&store, &files);
    show("unchanged", &report);
    let (persons, seconds) = assign(&store);
    println!("  segments: {persons} persons in {seconds:.2} s");
    drop(store);
    let store = workplace.store("second");
    let done = AtomicBool::new(false);
    let (report, waits) = std::thread::scope(|scope| {
        let pages = scope.spawn(|| serve_pages(&store, &done));
        let report = import_into(&store, &files);
        done.store(true, Ordering::Relaxed);
        (report, pages.join().unwrap())
    });
    show("while pages are served", &report);
    println!(
        "  a page's write took {} (median), {} (99 in 100), {} (longest) of {}",
        at(&waits, 50),
        at(&waits, 99),
        at(&waits, 100),
        waits.len()
    );
    println!("peak memory: {}", peak_memory_mb());
}

/// Writes as a page would, over and over; returns how long each took, in order of length.
fn serve_pages(store: &Store, done: &AtomicBool) -> Vec<Duration> {
    let page = EhrId::parse("page").unwrap();
    let mut waits = Vec::new();
    while !done.load(Ordering::Relaxed) {
        let began = Instant::now();
        store.write_blocking(Lane::Interactive, "page", |conn| ehrs::put(conn, &page, r#"{"files_only":true}"#, AS_OF)).unwrap();
        waits.push(began.elapsed());
        std::thread::sleep(PAGE_EVERY);
    }
    waits.sort_unstable();
    waits
}

fn show(title: &str, report: &Report) {
    let stages = report.stages;
    let all = stages.read + stages.parse + stages.compare + stages.compress + stages.store;
    let share = |part: f64| 100.0 * part / all.max(f64::MIN_POSITIVE);
    println!(
        "{title}: {} resources in {:.2} s, {:.0} resources/s, {:.1} MB/s; {} stored, {} unchanged",
        report.lines,
        report.seconds,
        report.lines as f64 / report.seconds,
        report.bytes as f64 / report.seconds / 1e6,
        report.stored,
        report.unchanged,
    );
    println!(
        "  thread time: read {:.0} %, parse {:.0} %, compare {:.0} %, compress {:.0} %, store {:.0} %",
        share(stages.read),
        share(stages.parse),
        share(stages.compare),
        share(stages.compress),
        share(stages.store)
    );
}
