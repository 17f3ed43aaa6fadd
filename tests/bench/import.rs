//! How fast files are imported, where the time goes, and how much memory it takes.
//!
//! `cargo bench --bench import -- --patients 100000` writes the synthetic population as NDJSON.gz (that many patients, three times as many
//! appointments, as many care plans), then imports it into SQLite three times: into an empty database (and evaluates all segments), again unchanged, and into another
//! empty database while pages are served, which an interactive write every 50 ms stands for. Memory is the process's peak, so a run with ten times the patients
//! shows whether it is flat.

#![expect(clippy::unwrap_used, reason = "a benchmark may fail loudly")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use domain::Timestamp;
use domain::clock::ManualClock;
use domain::model::EhrId;
use domain::rules::Site;
use fhir_engage::segments::{Definitions, Library, task};
use fhir_engage::store::leases::{self, Term};
use fhir_engage::store::{Lane, Location, Store, ehrs};
use fhir_engage::sync::Holder;
use fhir_engage::sync::import::{self, Report};
use flate2::Compression;
use flate2::write::GzEncoder;

/// The instant that the population lies around, 2026-11-23T15:00:00Z.
const AS_OF: Timestamp = Timestamp::from_micros(1_795_446_000_000_000);
const HOLDER: Holder<'static> = Holder { owner: "bench", term: Term(TimeDelta::seconds(60)), is_dead: |_| false };
const PAGE_EVERY: Duration = Duration::from_millis(50);

fn main() {
    let patients = patients_asked_for();
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("bench-import-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    write_population(&folder, patients);
    let store = open(&folder.join("first.db"));
    let report = import_into(&store, &folder);
    show("empty database", &report);
    let (persons, seconds) = assign(&store);
    println!(
        "  segments: {persons} persons in {seconds:.2} s; projected and segmented: {:.0} resources/s",
        report.lines as f64 / (report.seconds + seconds)
    );
    let report = import_into(&store, &folder);
    show("unchanged", &report);
    let (persons, seconds) = assign(&store);
    println!("  segments: {persons} persons in {seconds:.2} s");
    drop(store);
    let store = open(&folder.join("second.db"));
    let done = AtomicBool::new(false);
    let (report, waits) = std::thread::scope(|scope| {
        let pages = scope.spawn(|| serve_pages(&store, &done));
        let report = import_into(&store, &folder);
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
    println!("peak memory: {} MB", peak_memory_mb().map_or_else(|| "not told by this system".to_owned(), |mb| mb.to_string()));
    drop(store);
    std::fs::remove_dir_all(folder).unwrap();
}

/// `--patients N`. cargo adds `--bench`, which says nothing here.
fn patients_asked_for() -> u32 {
    let args: Vec<String> = std::env::args().collect();
    let value = args.iter().position(|a| a == "--patients").and_then(|at| args.get(at + 1));
    value.map_or(10_000, |text| text.parse().expect("--patients takes a number"))
}

fn write_population(folder: &Path, patients: u32) {
    let people = sandbox::Population { patients, seed: 1, as_of_micros: AS_OF.micros(), zone: chrono_tz::America::New_York };
    write_lines(&folder.join("Patient.ndjson.gz"), people.patients());
    write_lines(&folder.join("Appointment.ndjson.gz"), people.appointments());
    write_lines(&folder.join("CarePlan.ndjson.gz"), people.care_plans());
}

fn write_lines(path: &Path, lines: impl Iterator<Item = String>) {
    let mut file = GzEncoder::new(std::io::BufWriter::new(std::fs::File::create(path).unwrap()), Compression::fast());
    for line in lines {
        writeln!(file, "{line}").unwrap();
    }
    file.finish().unwrap().flush().unwrap();
}

fn ehr() -> EhrId {
    EhrId::parse("bench").unwrap()
}

fn open(file: &Path) -> Store {
    let store = Store::open(Location::Sqlite(file.to_owned())).unwrap();
    store.write_blocking(Lane::Bulk, "bench", |conn| ehrs::put(conn, &ehr(), r#"{"files_only":true}"#, AS_OF)).unwrap();
    store
}

fn import_into(store: &Store, folder: &Path) -> Report {
    let (ehr, paths) = (ehr(), [folder.to_owned()]);
    let request = import::Request { ehr: &ehr, paths: &paths };
    let report = import::run(store, &ManualClock::at(AS_OF), HOLDER, request, &AtomicBool::new(false), &|_| {}).unwrap();
    assert!(report.quarantined == 0 && report.ignored.is_empty() && report.lines == report.stored + report.unchanged, "{report:?}");
    report
}

/// Evaluates everyone who waits, as the command does after an import; returns how many, and the seconds it took.
fn assign(store: &Store) -> (u64, f64) {
    let clock = ManualClock::at(AS_OF);
    let site = Site::new(chrono_tz::America::New_York, "en");
    let library = Library::shipped().unwrap();
    let term = Term(TimeDelta::seconds(60));
    let fence = store
        .write_blocking(Lane::Interactive, "bench", |conn| {
            Definitions::open(conn, &library, AS_OF)?;
            let fence = leases::acquire(conn, task::LEASE, "bench", AS_OF, term, |_| true)?;
            Ok(fence.unwrap())
        })
        .unwrap();
    let began = Instant::now();
    let stage = task::Stage { store, site: &site, clock: &clock, fence: &fence, term };
    let report = task::run(&stage, &AtomicBool::new(false), &|_| {}).unwrap();
    (report.persons, began.elapsed().as_secs_f64())
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

fn at(waits: &[Duration], percent: usize) -> String {
    let place = (waits.len() * percent / 100).min(waits.len().saturating_sub(1));
    waits.get(place).map_or_else(|| "-".to_owned(), |wait| format!("{:.1} ms", wait.as_secs_f64() * 1_000.0))
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

/// The process's peak resident memory.
fn peak_memory_mb() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    Some(line.split_ascii_whitespace().nth(1)?.parse::<u64>().ok()? / 1024)
}
