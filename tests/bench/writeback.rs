//! How fast a chart is written to, with how many requests and how much memory.
//!
//! `cargo bench --bench writeback -- --rows 20000` owes that many write-backs, one per patient and all due at once, and lets the stage
//! bring them to a sandbox EHR in the same process (so the peak of memory holds the sandbox and all that it keeps). On SQLite, or on an
//! empty PostgreSQL database with `--database URL`.
//!
//! `--outage` is what a long outage leaves: 100,000 rows. `--latency-ms 100` makes the EHR slow. `--rate N` is what the EHR allows a
//! second, and tells in how many seconds it was asked more than that, by its own log (which keeps the last 50,000 requests). `--apart` runs
//! the EHR in a process of its own, so that the memory told is the gateway's alone.

#![expect(clippy::unwrap_used, reason = "a benchmark may fail loudly")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use domain::Clock;
use domain::model::{EhrId, ResourceType};
use fhir_engage::app::{Random, SystemClock};
use fhir_engage::ehr::retry::Policy;
use fhir_engage::ehr::{Connection, Credential, Paces, Parts, Profile, Rate};
use fhir_engage::store::attempts::{self, Departure, End, Outcome, Plan, Verdict};
use fhir_engage::store::codec::content_hash;
use fhir_engage::store::leases::{self, Term};
use fhir_engage::store::resources::{self, Incoming, Precedence};
use fhir_engage::store::{Conn, Lane, Location, Store, StoreError, ehrs, enrolments, people, writebacks};
use fhir_engage::writeback::{Contract, Options, Report, Site, Stage, Ways, needs, run, stated, task};
use sandbox::{Fault, FaultKind, RequestRecord, Sandbox};

const TERM: Term = Term(TimeDelta::seconds(60));
/// Rows per transaction while the work is made.
const PAGE: usize = 2_000;

struct Args {
    rows: usize,
    database: Option<String>,
    latency: Option<u64>,
    rate: Option<usize>,
    options: Options,
    apart: bool,
}

/// The EHR: in this process, or in one of its own, which ends with this one.
enum Ehr {
    Here(Sandbox),
    Apart(std::process::Child, String),
}

impl Ehr {
    fn base_url(&self) -> String {
        match self {
            Self::Here(sandbox) => sandbox.base_url(),
            Self::Apart(_, url) => url.clone(),
        }
    }
}

impl Drop for Ehr {
    fn drop(&mut self) {
        if let Self::Apart(child, _) = self {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

/// Starts the EHR in a process of its own, which is this program with another argument.
fn apart() -> Ehr {
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    let mut child = command.arg("--only-the-ehr").stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut line).unwrap();
    Ehr::Apart(child, line.trim().to_owned())
}

fn main() {
    let args = arguments();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("bench-writeback-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let location = args.database.as_deref().map_or_else(|| Location::Sqlite(folder.join("gateway.db")), Location::parse);
    let engine = location.engine();
    let store = Store::open(location).unwrap();
    let ehr = EhrId::parse(&format!("bench-{}", std::process::id())).unwrap();
    let clock = Arc::new(SystemClock::with_offset(TimeDelta::zero()));
    let time = Arc::clone(&clock);
    let config = sandbox::Config { open: true, ..sandbox::Config::new(Arc::new(move || time.now().micros())) };
    if std::env::args().any(|a| a == "--only-the-ehr") {
        let sandbox = runtime.block_on(sandbox::start(config)).unwrap();
        println!("{}", sandbox.base_url());
        // Until whoever started it goes.
        drop(std::io::read_to_string(std::io::stdin()));
        return;
    }
    let ehr_of_bench = if args.apart { apart() } else { Ehr::Here(runtime.block_on(sandbox::start(config)).unwrap()) };
    let here = if let Ehr::Here(sandbox) = &ehr_of_bench { Some(sandbox) } else { None };

    let began = Instant::now();
    owe(&store, here, &ehr, args.rows, clock.as_ref());
    let before = peak_memory_mb();
    println!("{} write-backs owed in {:.1} s, on {engine}; memory so far {}", args.rows, began.elapsed().as_secs_f64(), mb(before));
    if let Some((millis, sandbox)) = args.latency.zip(here) {
        sandbox.plant(Fault::new(FaultKind::PageTimeout { millis }).on("POST", "/fhir/Communication").times(u32::MAX));
    }
    let began = Instant::now();
    let report = runtime.block_on(write_back(&store, &ehr_of_bench.base_url(), &ehr, &clock, &args));
    let seconds = began.elapsed().as_secs_f64();

    let rows = u64::try_from(args.rows).unwrap();
    assert_eq!(report.written, rows, "{report:?}");
    assert!(here.is_none_or(|sandbox| sandbox.count("Communication") == args.rows));
    println!(
        "{:.0} write-backs/s ({seconds:.2} s), {} at once, {} per commit",
        args.rows as f64 / seconds,
        args.options.concurrency,
        args.options.batch
    );
    if let Some(sandbox) = here {
        tell_requests(&sandbox.request_log(), args.rate);
    }
    let whose = if here.is_some() { "with the EHR's" } else { "the gateway's alone" };
    println!("peak memory: {} ({whose})", mb(peak_memory_mb()));
    drop(store);
    std::fs::remove_dir_all(folder).unwrap();
}

/// The one place that knows how the stage is called.
async fn write_back(store: &Store, base_url: &str, ehr: &EhrId, clock: &Arc<SystemClock>, args: &Args) -> Report {
    let profile = Profile { base_url: Some(base_url.parse().unwrap()), timeout_secs: Some(30), ..Profile::default() };
    let profile = Profile { requests_per_second: args.rate.map(|n| Rate::try_from(n as f64).unwrap()), ..profile };
    let parts = Parts {
        credential: Credential::None,
        clock: Arc::<SystemClock>::clone(clock),
        entropy: Arc::new(Random::default()),
        retry: Policy { tries: 1, base: Duration::ZERO, cap: Duration::ZERO, patience: Duration::ZERO },
        paces: Paces::default(),
    };
    let connection = Connection::open(&profile, &parts).await.unwrap();
    let mut contract = Contract::full_r4().within(&stated(&connection.capability));
    // As after a probe: one request per write-back.
    contract.communication.key_kept = Some(true);
    let contract = Arc::new(contract);
    let site = Arc::new(Site::named("Main Street Clinic"));
    let (lease, now) = (task::lease(ehr.as_str()), clock.now());
    let fence = store.write("bench", move |conn| leases::acquire(conn, &lease, "bench", now, TERM, |_| true)).await.unwrap().unwrap();
    let stage = Stage {
        store,
        clock: clock.as_ref(),
        ehr: ehr.as_str(),
        chart: &connection.client.clone().writing(needs(&contract)),
        contract: &contract,
        ways: &Ways::default(),
        site: &site,
        fence: &fence,
        term: TERM,
        options: args.options,
    };
    run(&stage, &AtomicBool::new(false)).await.unwrap()
}

/// Attempts at as many patients that ended as delivered, through the store's own functions, and their patients in the EHR.
fn owe(store: &Store, sandbox: Option<&Sandbox>, ehr: &EhrId, rows: usize, clock: &dyn Clock) {
    let now = clock.now();
    store.write_blocking(Lane::Bulk, "bench", |conn| ehrs::put(conn, ehr, r#"{"files_only":true}"#, now)).unwrap();
    let message = store
        .codec()
        .pack(None, br#"{"to":"ada@example.org","subject":"Your visit","body":"Hello Ada,\nreply C to confirm."}"#)
        .unwrap()
        .bytes;
    let names: Vec<String> = (0..rows).map(|n| format!("p{n}")).collect();
    for page in names.chunks(PAGE) {
        let bodies: Vec<String> = page.iter().map(|id| format!(r#"{{"resourceType":"Patient","id":"{id}"}}"#)).collect();
        let patients: Vec<Incoming> = page.iter().zip(&bodies).map(|(id, body)| incoming(store, id, body)).collect();
        if let Some(sandbox) = sandbox {
            sandbox.load(bodies).unwrap();
        }
        store
            .write_blocking(Lane::Bulk, "bench", |conn| {
                resources::commit(conn, ehr, ResourceType::Patient, &patients, Precedence::Asked(now), now)?;
                page.iter().try_for_each(|patient| finish(conn, ehr, patient, &message, now))
            })
            .unwrap();
    }
    let counts = store.read_blocking(writebacks::counts).unwrap();
    assert!(counts.iter().any(|(state, n)| state == "owed" && usize::try_from(*n).unwrap() >= rows), "{counts:?}");
}

fn incoming(store: &Store, id: &str, body: &str) -> Incoming {
    Incoming {
        fhir_id: id.to_owned(),
        version: None,
        last_updated: None,
        body: store.codec().pack(Some(ResourceType::Patient), body.as_bytes()).unwrap(),
        body_hash: content_hash(body.as_bytes()),
        facts: b"{}".to_vec(),
        facts_hash: content_hash(b"{}"),
        patients: vec![id.to_owned()],
        ties: Default::default(),
        revision: domain::fhir::revision(ResourceType::Patient),
    }
}

/// One attempt, from its plan to its end.
fn finish(conn: &mut Conn, ehr: &EhrId, patient: &str, message: &[u8], now: domain::Timestamp) -> Result<(), StoreError> {
    let record = people::record(conn, ehr.as_str(), patient)?.unwrap();
    let id = format!("{ehr}-{patient}");
    let enrolment = enrolments::enrol(conn, "visit-confirm", record.person, &id, 1, now)?;
    let plan = Plan {
        id: &id,
        enrolment: enrolment.id,
        program: "visit-confirm",
        program_version: 1,
        step: "first",
        rung: 0,
        anchor_revision: "r1",
        about: None,
        person: record.person,
        patient: record.pk,
        due_at: now,
        expires_at: None,
        template: "visit-confirm",
        action: "confirm",
    };
    assert!(attempts::plan(conn, &plan)?);
    let attempt = attempts::get(conn, &id)?.unwrap();
    let contact_revision = people::contact_revision(conn, record.person)?;
    let departure = Departure {
        channel: "email",
        contact_hash: None,
        language: "en",
        message,
        token: 1,
        contact_revision,
        patient: record.pk,
        to_point: (0, now),
    };
    let verdict = Verdict { outcome: "allow", hold_until: None, facts_as_of: None, reasons: b"[]" };
    assert!(attempts::depart(conn, &attempt, &departure, &verdict, now)?);
    assert!(attempts::finish(conn, &attempt, &End::owing(Outcome::Delivered), now)?);
    Ok(())
}

/// What the EHR says of the requests it had.
fn tell_requests(log: &[RequestRecord], rate: Option<usize>) {
    let created = log.iter().filter(|r| r.method == "POST" && r.path.starts_with("/fhir/Communication") && r.status == 201).count();
    let mut seconds: BTreeMap<i64, usize> = BTreeMap::new();
    for record in log.iter().filter(|r| r.path.starts_with("/fhir/Communication")) {
        *seconds.entry(record.at_micros.div_euclid(1_000_000)).or_default() += 1;
    }
    let asked: usize = seconds.values().sum();
    let most = seconds.values().max().copied().unwrap_or(0);
    println!("{:.3} requests per write-back; at most {most} in one second", asked as f64 / created.max(1) as f64);
    if let Some(rate) = rate {
        let above = seconds.values().filter(|n| **n > rate).count();
        println!("more than {rate} requests in {above} of {} seconds", seconds.len());
    }
}

fn arguments() -> Args {
    let given: Vec<String> = std::env::args().collect();
    let after = |name: &str| given.iter().position(|a| a == name).and_then(|at| given.get(at + 1)).cloned();
    let number = |name: &str| after(name).map(|text| text.parse::<u64>().expect("a number after the option's name"));
    let size = |name: &str| number(name).map(|n| usize::try_from(n).unwrap());
    let standard = Options::default();
    let options = Options {
        concurrency: size("--concurrency").unwrap_or(standard.concurrency),
        batch: size("--batch").unwrap_or(standard.batch),
        ..standard
    };
    let rows = size("--rows").unwrap_or(if given.iter().any(|a| a == "--outage") { 100_000 } else { 20_000 });
    let apart = given.iter().any(|a| a == "--apart");
    Args { apart, rows, database: after("--database"), latency: number("--latency-ms"), rate: size("--rate"), options }
}

/// The process's peak resident memory, in MB.
fn peak_memory_mb() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    Some(line.split_ascii_whitespace().nth(1)?.parse::<u64>().ok()? / 1024)
}

fn mb(peak: Option<u64>) -> String {
    peak.map_or_else(|| "not told by this system".to_owned(), |mb| format!("{mb} MB"))
}
