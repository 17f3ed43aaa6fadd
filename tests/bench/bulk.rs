//! How fast an export is read: from a server on loopback, through gunzip, parsing and storing, to segments; and how much memory it takes.
//!
//! `cargo bench --bench bulk -- --patients 100000` writes the synthetic population as NDJSON.gz (that many patients, three times as many
//! appointments, as many care plans), serves it as an export by the standard, and reads it twice with the gateway's own run: into an empty
//! database, and again unchanged. What the stages cost on one core is taken from an import of the same files. Memory is the process's peak,
//! so a run with ten times the patients shows whether it is flat. `--only Patient` exports that type alone. On SQLite, or with `--postgres
//! ADDRESS` on a PostgreSQL server.

#![expect(clippy::unwrap_used, reason = "a benchmark may fail loudly")]

#[expect(dead_code, reason = "not everything is needed here")]
mod shared;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use domain::clock::ManualClock;
use domain::model::ResourceType;
use fhir_engage::ehr::retry::Policy;
use fhir_engage::ehr::{Connection, Credential, Entropy, Paces, Parts, Plan, Profile};
use fhir_engage::store::Store;
use fhir_engage::sync::task::{self, Source, Task, TypeReport};
use shared::{AS_OF, HOLDER, Workplace, assign, ehr, import_into, number, peak_memory_mb, word, write_population};

struct Counting(AtomicU64);

impl Entropy for Counting {
    fn fill(&self, bytes: &mut [u8]) {
        let n = self.0.fetch_add(1, Ordering::Relaxed).to_le_bytes();
        bytes.iter_mut().zip(n.into_iter().cycle()).for_each(|(byte, value)| *byte = value);
    }
}

fn main() {
    let patients = number("--patients", 10_000);
    let workplace = Workplace::new("bulk");
    let files = workplace.files();
    write_population(&files, patients);
    let types = match word("--only") {
        None => ResourceType::CORE.to_vec(),
        Some(name) => ResourceType::CORE.into_iter().filter(|t| t.as_str() == name).collect(),
    };
    for other in ResourceType::CORE.into_iter().filter(|t| !types.contains(t)) {
        std::fs::remove_file(files.join(format!("{}.ndjson.gz", other.as_str()))).unwrap();
    }
    // The thread time of each stage, and how many bytes the files hold, by an import of them.
    let imported = import_into(&workplace.store("import"), &files);
    let (stages, bytes) = (imported.stages, imported.bytes);
    let base = serve(&files, &types);
    let store = workplace.store("bulk");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut first_seconds = 0.0;
    for title in ["empty database", "unchanged"] {
        let began = Instant::now();
        let reports = runtime.block_on(sync(&store, &base, &types));
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
    println!("peak memory: {}", peak_memory_mb());
}

async fn sync(store: &Store, base: &str, types: &[ResourceType]) -> Vec<TypeReport> {
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
    let reports = task::run(&task, types).await;
    assert!(reports.iter().all(|r| r.result() == "done" && r.strategy == "bulk" && r.quarantined == 0), "{reports:?}");
    reports
}

/// A server of one export, on a thread that ends with the process. Its files go out as they are on disk.
fn serve(files: &Path, types: &[ResourceType]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}/fhir", listener.local_addr().unwrap());
    let output: Vec<String> = types.iter().map(|t| format!(r#"{{"type":"{t}","url":"{base}/{t}.ndjson.gz"}}"#, t = t.as_str())).collect();
    let manifest = format!(r#"{{"transactionTime":"{AS_OF}","requiresAccessToken":false,"output":[{}],"error":[]}}"#, output.join(","));
    let (files, told) = (files.to_owned(), base.clone());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, files, base, manifest) = (stream.unwrap(), files.clone(), told.clone(), manifest.clone());
            std::thread::spawn(move || answer(stream, &files, &base, manifest));
        }
    });
    base
}

fn answer(mut stream: TcpStream, files: &Path, base: &str, manifest: String) {
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
        "job" => ("200 OK", "Content-Type: application/json\r\n".to_owned(), manifest),
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
