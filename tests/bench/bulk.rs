//! How fast an export is read: from a server on loopback, through gunzip, parsing and storing, to segments; and how much memory it takes.
//!
//! `cargo bench --bench bulk -- --patients 100000` writes the synthetic population as NDJSON.gz (that many patients, three times as many
//! appointments, as many care plans), serves it as an export by the standard, and reads it twice with the gateway's own run: into an empty
//! database, and again unchanged. What the stages cost on one core is taken from an import of the same files. Memory is the process's peak,
//! so a run with ten times the patients shows whether it is flat.

#![expect(clippy::unwrap_used, reason = "a benchmark may fail loudly")]

use std::io::{BufRead as _, BufReader, Read as _, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use domain::Timestamp;
use domain::clock::ManualClock;
use domain::model::{EhrId, ResourceType};
use domain::rules::Site;
use fhir_engage::ehr::retry::Policy;
use fhir_engage::ehr::{Connection, Credential, Entropy, Paces, Parts, Plan, Profile};
use fhir_engage::segments::{Definitions, definitions, task as segments};
use fhir_engage::store::leases::{self, Term};
use fhir_engage::store::{Lane, Location, Store, ehrs};
use fhir_engage::sync::Holder;
use fhir_engage::sync::import::{self, Stages};
use fhir_engage::sync::task::{self, Source, Task, TypeReport};
use flate2::Compression;
use flate2::write::GzEncoder;

/// The instant that the population lies around, 2026-11-23T15:00:00Z.
const AS_OF: Timestamp = Timestamp::from_micros(1_795_446_000_000_000);
const HOLDER: Holder<'static> = Holder { owner: "bench", term: Term(TimeDelta::seconds(60)), is_dead: |_| false };
const FILES: [&str; 3] = ["Patient", "Appointment", "CarePlan"];

struct Counting(AtomicU64);

impl Entropy for Counting {
    fn fill(&self, bytes: &mut [u8]) {
        let n = self.0.fetch_add(1, Ordering::Relaxed).to_le_bytes();
        bytes.iter_mut().zip(n.into_iter().cycle()).for_each(|(byte, value)| *byte = value);
    }
}

fn main() {
    let patients = patients_asked_for();
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("bench-bulk-{}", std::process::id()));
    let files = folder.join("files");
    std::fs::create_dir_all(&files).unwrap();
    write_population(&files, patients);
    let (stages, bytes) = stages(&folder, &files);
    let base = serve(&files);
    let store = open(&folder.join("bulk.db"));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut first_seconds = 0.0;
    for title in ["empty database", "unchanged"] {
        let began = Instant::now();
        let reports = runtime.block_on(sync(&store, &base));
        let read = began.elapsed().as_secs_f64();
        let (persons, segmented) = assign(&store);
        let resources: i64 = reports.iter().map(|r| r.found).sum();
        println!(
            "{title}: {resources} resources in {read:.2} s, {:.0} resources/s, {:.1} MB/s; {persons} persons segmented in {segmented:.2} s",
            resources as f64 / read,
            bytes as f64 / read / 1e6
        );
        let whole = read + segmented;
        println!(
            "  from gunzip to segmented: {:.0} patients/s, {:.0} resources/s, {:.1} MB/s",
            f64::from(patients) / whole,
            resources as f64 / whole,
            bytes as f64 / whole / 1e6
        );
        if first_seconds == 0.0 {
            first_seconds = whole;
            let sum = stages.read + stages.parse + stages.compare + stages.compress + stages.store + segmented;
            println!(
                "  the stages one after the other on one core: {sum:.2} s, {:.0} patients/s; reached {:.0} % of that",
                f64::from(patients) / sum,
                100.0 * sum / whole
            );
        }
    }
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

/// The thread time of each stage, and how many bytes the files hold, by an import of them.
fn stages(folder: &Path, files: &Path) -> (Stages, u64) {
    let store = open(&folder.join("import.db"));
    let (ehr, paths) = (ehr(), [files.to_owned()]);
    let request = import::Request { ehr: &ehr, paths: &paths };
    let report = import::run(&store, &ManualClock::at(AS_OF), HOLDER, request, &AtomicBool::new(false), &|_| {}).unwrap();
    (report.stages, report.bytes)
}

async fn sync(store: &Store, base: &str) -> Vec<TypeReport> {
    let text = format!(r#"{{"base_url":"{base}","strategy":{{"Patient":"bulk","Appointment":"bulk","CarePlan":"bulk"}}}}"#);
    let profile = Profile::from_json(&text).unwrap();
    let clock = Arc::new(ManualClock::at(AS_OF));
    let parts = Parts {
        credential: Credential::None,
        clock: clock.clone(),
        entropy: Arc::new(Counting(AtomicU64::new(0))),
        retry: Policy::default(),
        paces: Paces::default(),
    };
    let connection = Connection::open(&profile, &parts).await.unwrap();
    let plan = Plan::of(&profile, &connection.capability);
    let task = Task {
        store,
        clock: &*clock,
        holder: HOLDER,
        ehr: &ehr(),
        source: Source { client: &connection.client, plan: &plan },
        stop: &AtomicBool::new(false),
        progress: &|_, _| {},
        // Everything is exported anew.
        accept_vanished: true,
        export_wait: Duration::from_secs(60),
        reading: None,
    };
    let reports = task::run(&task, &ResourceType::ALL).await;
    assert!(reports.iter().all(|r| r.result() == "done" && r.strategy == "bulk" && r.quarantined == 0), "{reports:?}");
    reports
}

/// Evaluates everyone who waits; returns how many, and the seconds it took.
fn assign(store: &Store) -> (u64, f64) {
    let clock = ManualClock::at(AS_OF);
    let site = Site::new(chrono_tz::America::New_York, "en");
    let rules = definitions::shipped().unwrap();
    let term = Term(TimeDelta::seconds(60));
    let fence = store
        .write_blocking(Lane::Interactive, "bench", |conn| {
            Definitions::open(conn, &rules, AS_OF)?;
            Ok(leases::acquire(conn, segments::LEASE, "bench", AS_OF, term, |_| true)?.unwrap())
        })
        .unwrap();
    let began = Instant::now();
    let stage = segments::Stage { store, site: &site, clock: &clock, fence: &fence, term };
    let report = segments::run(&stage, &AtomicBool::new(false), &|_| {}).unwrap();
    (report.persons, began.elapsed().as_secs_f64())
}

/// A server of one export, on a thread that ends with the process. Its files go out as they are on disk.
fn serve(files: &Path) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}/fhir", listener.local_addr().unwrap());
    let (files, told) = (files.to_owned(), base.clone());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, files, base) = (stream.unwrap(), files.clone(), told.clone());
            std::thread::spawn(move || answer(stream, &files, &base));
        }
    });
    base
}

fn answer(mut stream: TcpStream, files: &Path, base: &str) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let Some(Ok(first)) = lines.next() else { return };
    while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
    let path = first.split(' ').nth(1).unwrap().trim_start_matches("/fhir/").to_owned();
    let (status, header, body) = match path.split('?').next().unwrap() {
        "metadata" => {
            let text = r#"{"resourceType":"CapabilityStatement","fhirVersion":"4.0.1","rest":[{"mode":"server","resource":[{"type":"Patient","operation":[{"name":"export"}]}]}]}"#;
            ("200 OK", "Content-Type: application/fhir+json\r\n".to_owned(), text.to_owned())
        }
        "Patient/$export" => ("202 Accepted", format!("Content-Location: {base}/job\r\n"), String::new()),
        "job" if first.starts_with("DELETE") => ("202 Accepted", String::new(), String::new()),
        "job" => {
            let output: Vec<String> = FILES.iter().map(|f| format!(r#"{{"type":"{f}","url":"{base}/{f}.ndjson.gz"}}"#)).collect();
            let text = format!(r#"{{"transactionTime":"{AS_OF}","requiresAccessToken":false,"output":[{}],"error":[]}}"#, output.join(","));
            ("200 OK", "Content-Type: application/json\r\n".to_owned(), text)
        }
        file => match std::fs::File::open(files.join(file)) {
            Ok(mut opened) => {
                let length = opened.metadata().unwrap().len();
                write!(stream, "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n")
                    .unwrap();
                let mut buffer = vec![0; 256 * 1024];
                while let Ok(n @ 1..) = opened.read(&mut buffer) {
                    if stream.write_all(buffer.get(..n).unwrap()).is_err() {
                        return;
                    }
                }
                return;
            }
            Err(_) => ("404 Not Found", String::new(), String::new()),
        },
    };
    let length = body.len();
    write!(stream, "HTTP/1.1 {status}\r\n{header}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}").unwrap();
}

/// The process's peak resident memory.
fn peak_memory_mb() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    Some(line.split_ascii_whitespace().nth(1)?.parse::<u64>().ok()? / 1024)
}
