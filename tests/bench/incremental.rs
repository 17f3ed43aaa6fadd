//! What a change costs among many: 1,000 changed patients, page by page, among 10,000 and among as many as `--patients` says (1,000,000).
//!
//! `cargo bench --bench incremental -- --patients 1000000` fills two SQLite databases and lets the same thousand changes into each, as a sync
//! does and then as segments are evaluated, on a warm cache. Shown are rows written, statements, pages of the file read and log frames
//! written (by what the system says that this process read and wrote; the engine maps nothing into memory), and time.

#![expect(clippy::unwrap_used, reason = "a benchmark may fail loudly")]

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use diesel::connection::{Instrumentation, InstrumentationEvent};
use domain::Timestamp;
use domain::clock::ManualClock;
use domain::fhir;
use domain::model::{EhrId, ResourceType};
use domain::rules::Site;
use fhir_engage::segments::{Definitions, Library, task};
use fhir_engage::store::codec::content_hash;
use fhir_engage::store::leases::{self, Term};
use fhir_engage::store::resources::{self, Incoming, Precedence};
use fhir_engage::store::{Lane, Location, Store, ehrs};

const AS_OF: Timestamp = Timestamp::from_micros(1_795_446_000_000_000);
const TERM: Term = Term(TimeDelta::seconds(3600));
const CHANGES: u32 = 1_000;
const PAGE: usize = 100;
const FILL: usize = 5_000;
const PAGE_BYTES: u64 = 4_096;

static STATEMENTS: AtomicU64 = AtomicU64::new(0);

struct Count;

impl Instrumentation for Count {
    fn on_connection_event(&mut self, event: InstrumentationEvent<'_>) {
        if matches!(event, InstrumentationEvent::StartQuery { .. }) {
            STATEMENTS.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// What a thousand changes cost.
#[derive(Debug)]
struct Cost {
    stored: usize,
    persons: u64,
    statements: u64,
    read: u64,
    written: u64,
    took: Duration,
}

fn main() {
    diesel::connection::set_default_instrumentation(|| Some(Box::new(Count))).unwrap();
    let args: Vec<String> = std::env::args().collect();
    let value = args.iter().position(|a| a == "--patients").and_then(|at| args.get(at + 1));
    let many: u32 = value.map_or(1_000_000, |text| text.parse().expect("--patients takes a number"));
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("bench-incremental-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let costs: Vec<Cost> = [10_000, many].map(|patients| cost_among(&folder, patients)).into();
    std::fs::remove_dir_all(folder).unwrap();
    let [few, many] = costs.as_slice() else { unreachable!("two were made") };
    let ratio = |a: u64, b: u64| a as f64 / b.max(1) as f64;
    println!(
        "rows {} to {}; statements {:.2} times; pages touched {:.2} times; time {:.2} times",
        few.stored,
        many.stored,
        ratio(many.statements, few.statements),
        ratio(many.read + many.written, few.read + few.written),
        many.took.as_secs_f64() / few.took.as_secs_f64()
    );
}

fn cost_among(folder: &Path, patients: u32) -> Cost {
    let store = Store::open(Location::Sqlite(folder.join(format!("{patients}.db")))).unwrap();
    let ehr = EhrId::parse("bench").unwrap();
    store.write_blocking(Lane::Bulk, "bench", |conn| ehrs::put(conn, &ehr, r#"{"files_only":true}"#, AS_OF)).unwrap();
    let people = sandbox::Population { patients, seed: 1, as_of_micros: AS_OF.micros(), zone: chrono_tz::America::New_York };
    let mut page = Vec::with_capacity(FILL);
    for text in people.patients() {
        page.push(incoming(&store, &text));
        if page.len() == FILL {
            commit(&store, &ehr, &std::mem::take(&mut page), AS_OF);
        }
    }
    commit(&store, &ehr, &page, AS_OF);
    let segments = Segments::new(&store);
    segments.assign(AS_OF);
    // Once to warm the caches, with others of the same kind; then for the record.
    change(&store, &ehr, &segments, &people, 1, 1);
    let cost = change(&store, &ehr, &segments, &people, 2, 2);
    println!("{patients} patients, {} of them evaluated anew: {cost:?}", cost.persons);
    cost
}

/// Lets a thousand changed patients in, spread over all of them.
fn change(store: &Store, ehr: &EhrId, segments: &Segments, people: &sandbox::Population, offset: u32, day: i64) -> Cost {
    let step = people.patients / CHANGES;
    let language = format!("x-{day}");
    let changed: Vec<Incoming> = (0..CHANGES)
        .map(|n| {
            let mut patient: serde_json::Value = serde_json::from_str(&people.patient(n * step + offset % step)).unwrap();
            let fields = patient.as_object_mut().unwrap();
            let spoken = serde_json::json!([{ "language": { "coding": [{ "code": language }] }, "preferred": true }]);
            fields.insert("communication".to_owned(), spoken);
            fields.insert("active".to_owned(), (day % 2 == 0).into());
            incoming(store, &patient.to_string())
        })
        .collect();
    let now = AS_OF.plus(TimeDelta::days(day));
    let (statements, (read, written), began) = (STATEMENTS.load(Ordering::Relaxed), touched(), Instant::now());
    let stored = changed.chunks(PAGE).map(|page| commit(store, ehr, page, now)).sum();
    let persons = segments.assign(now);
    let (read_now, written_now) = touched();
    Cost {
        stored,
        persons,
        statements: STATEMENTS.load(Ordering::Relaxed) - statements,
        read: (read_now - read) / PAGE_BYTES,
        written: (written_now - written) / PAGE_BYTES,
        took: began.elapsed(),
    }
}

fn commit(store: &Store, ehr: &EhrId, page: &[Incoming], now: Timestamp) -> usize {
    let write = |conn: &mut _| resources::commit(conn, ehr, ResourceType::Patient, page, Precedence::Latest, now);
    store.write_blocking(Lane::Bulk, "bench", write).unwrap().stored.len()
}

fn incoming(store: &Store, text: &str) -> Incoming {
    let projected = fhir::project(ResourceType::Patient, text.as_bytes()).unwrap();
    let facts = projected.facts.to_bytes();
    Incoming {
        fhir_id: projected.id.as_str().to_owned(),
        version: None,
        last_updated: None,
        body: store.codec().pack(Some(ResourceType::Patient), text.as_bytes()).unwrap(),
        body_hash: content_hash(text.as_bytes()),
        ties: Default::default(),
        revision: fhir::revision(ResourceType::Patient),
        facts_hash: content_hash(&facts),
        facts,
        patients: vec![projected.id.as_str().to_owned()],
    }
}

struct Segments<'a> {
    store: &'a Store,
    fence: leases::Fence,
}

impl<'a> Segments<'a> {
    fn new(store: &'a Store) -> Self {
        let put = |conn: &mut _| {
            Definitions::open(conn, &Library::shipped().unwrap(), AS_OF)?;
            leases::acquire(conn, task::LEASE, "bench", AS_OF, TERM, |_| true)
        };
        let fence = store.write_blocking(Lane::Bulk, "bench", put).unwrap();
        Self { store, fence: fence.unwrap() }
    }

    fn assign(&self, now: Timestamp) -> u64 {
        let clock = ManualClock::at(now);
        let site = Site::new(chrono_tz::America::New_York, "en");
        let stage = task::Stage { store: self.store, site: &site, clock: &clock, fence: &self.fence, term: TERM };
        task::run(&stage, &AtomicBool::new(false), &|_| ()).unwrap().persons
    }
}

/// Bytes that this process read and wrote so far.
fn touched() -> (u64, u64) {
    let text = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    let of = |name: &str| text.lines().find_map(|l| l.strip_prefix(name)?.trim().parse().ok()).unwrap_or(0);
    (of("rchar:"), of("wchar:"))
}
