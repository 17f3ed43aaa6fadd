//! What a change costs among many: 1,000 changed patients, page by page, among 10,000 and among as many as `--patients` says (1,000,000).
//!
//! `cargo bench --bench incremental -- --patients 1000000` fills two databases and lets the same thousand changes into each, as a sync
//! does and then as segments are evaluated, on a warm cache. On SQLite, or with `--postgres ADDRESS` on a PostgreSQL server. Shown are rows written, statements,
//! time, and pages touched: how often the engine asked for a page, in its cache or not, by its own count. On SQLite also what went through
//! the system: pages of the file read, and pages of the log written (the engine maps nothing into memory). `--statements 20` names those that
//! ask for most pages.

#![expect(clippy::unwrap_used, reason = "a benchmark may fail loudly")]

#[expect(dead_code, reason = "not everything is needed here")]
mod shared;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex};
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
use fhir_engage::store::resources::{self, Incoming, Precedence};
use fhir_engage::store::{Lane, Store, leases};
use shared::{AS_OF, TERM, Workplace, ehr, number, population, word};

const CHANGES: u32 = 1_000;
const PAGE: usize = 100;
const FILL: usize = 5_000;
const PAGE_BYTES: u64 = 4_096;

static STATEMENTS: AtomicU64 = AtomicU64::new(0);
static BY_STATEMENT: LazyLock<Mutex<ByStatement>> = LazyLock::new(Mutex::default);

struct Count;

impl Instrumentation for Count {
    fn on_connection_event(&mut self, event: InstrumentationEvent<'_>) {
        match event {
            InstrumentationEvent::StartQuery { query, .. } => {
                STATEMENTS.fetch_add(1, Ordering::Relaxed);
                if word("--postgres").is_none() {
                    BY_STATEMENT.lock().unwrap().begin(&query.to_string(), pages::asked_for());
                }
            }
            InstrumentationEvent::FinishQuery { .. } if word("--postgres").is_none() => {
                BY_STATEMENT.lock().unwrap().end(pages::asked_for())
            }
            _ => {}
        }
    }
}

/// Pages that each statement asked for, by its text without values.
#[derive(Default)]
struct ByStatement {
    pages: BTreeMap<String, (u64, u64)>,
    running: Option<(String, u64)>,
}

impl ByStatement {
    fn begin(&mut self, text: &str, so_far: u64) {
        let text = text.split(" -- binds").next().unwrap_or_default();
        self.running = Some((text.chars().take(140).collect(), so_far));
    }

    fn end(&mut self, so_far: u64) {
        if let Some((text, before)) = self.running.take() {
            let (times, pages) = self.pages.entry(text).or_default();
            *times += 1;
            *pages += so_far - before;
        }
    }
}

/// What a thousand changes cost.
#[derive(Debug)]
struct Cost {
    stored: usize,
    persons: u64,
    statements: u64,
    touched: u64,
    read: u64,
    written: u64,
    took: Duration,
}

fn main() {
    diesel::connection::set_default_instrumentation(|| Some(Box::new(Count))).unwrap();
    pages::count_from_now_on();
    let many = number("--patients", 1_000_000);
    let workplace = Workplace::new("incremental");
    let costs: Vec<Cost> = [10_000, many].map(|patients| cost_among(&workplace, patients)).into();
    let [few, many] = costs.as_slice() else { unreachable!("two were made") };
    let ratio = |a: u64, b: u64| a as f64 / b.max(1) as f64;
    println!(
        "rows {} to {}; statements {:.2} times; pages touched {:.2} times; through the system: read {:.2} times, written {:.2} times; time {:.2} times",
        few.stored,
        many.stored,
        ratio(many.statements, few.statements),
        ratio(many.touched, few.touched),
        ratio(many.read, few.read),
        ratio(many.written, few.written),
        many.took.as_secs_f64() / few.took.as_secs_f64()
    );
}

fn cost_among(workplace: &Workplace, patients: u32) -> Cost {
    let store = workplace.store(&format!("among_{patients}"));
    let ehr = ehr();
    let people = population(patients);
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
    let mut by_statement: Vec<_> = BY_STATEMENT.lock().unwrap().pages.clone().into_iter().collect();
    by_statement.sort_unstable_by_key(|(_, (_, pages))| std::cmp::Reverse(*pages));
    for (text, (times, pages)) in by_statement.iter().take(number("--statements", 0) as usize) {
        println!("  {pages:>8} pages in {times:>5}: {text}");
    }
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
    BY_STATEMENT.lock().unwrap().pages.clear();
    let (pages, statements, (read, written), began) =
        (pages::asked_for(), STATEMENTS.load(Ordering::Relaxed), through_the_system(), Instant::now());
    let stored = changed.chunks(PAGE).map(|page| commit(store, ehr, page, now)).sum();
    let persons = segments.assign(now);
    let took = began.elapsed();
    let (read_now, written_now) = through_the_system();
    Cost {
        stored,
        persons,
        statements: STATEMENTS.load(Ordering::Relaxed) - statements,
        touched: pages::asked_for() - pages,
        read: (read_now - read) / PAGE_BYTES,
        written: (written_now - written) / PAGE_BYTES,
        took,
    }
}

fn commit(store: &Store, ehr: &EhrId, page: &[Incoming], now: Timestamp) -> usize {
    let write = |conn: &mut _| resources::commit(conn, ehr, ResourceType::Patient, page, Precedence::Asked(now), now);
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
fn through_the_system() -> (u64, u64) {
    let text = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    let of = |name: &str| text.lines().find_map(|l| l.strip_prefix(name)?.trim().parse().ok()).unwrap_or(0);
    (of("rchar:"), of("wchar:"))
}

mod pages {
    //! How often an engine asked for a page.

    #![expect(unsafe_code, reason = "SQLite tells its counts by its C interface only")]

    use std::ffi::{c_int, c_uint};
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use libsqlite3_sys as sqlite;

    type Fetch = unsafe extern "C" fn(*mut sqlite::sqlite3_pcache, c_uint, c_int) -> *mut sqlite::sqlite3_pcache_page;

    static FETCH: OnceLock<Fetch> = OnceLock::new();
    static COUNT: AtomicU64 = AtomicU64::new(0);

    unsafe extern "C" fn counted(cache: *mut sqlite::sqlite3_pcache, page: c_uint, create: c_int) -> *mut sqlite::sqlite3_pcache_page {
        COUNT.fetch_add(1, Ordering::Relaxed);
        // SAFETY: what SQLite gave is handed on to what it would have called.
        unsafe { FETCH.get().expect("set before SQLite was told of this function")(cache, page, create) }
    }

    /// Stands between SQLite and its own page cache; before the first connection is opened.
    pub fn count_from_now_on() {
        // SAFETY: SQLite is not initialised yet, fills the table with functions of its own, and copies the table that it is given.
        unsafe {
            let mut methods: sqlite::sqlite3_pcache_methods2 = std::mem::zeroed();
            assert_eq!(sqlite::sqlite3_config(sqlite::SQLITE_CONFIG_GETPCACHE2, &raw mut methods), sqlite::SQLITE_OK);
            FETCH.set(methods.xFetch.expect("SQLite has a page cache")).unwrap();
            methods.xFetch = Some(counted);
            assert_eq!(sqlite::sqlite3_config(sqlite::SQLITE_CONFIG_PCACHE2, &raw mut methods), sqlite::SQLITE_OK);
        }
    }

    pub fn asked_for() -> u64 {
        match super::word("--postgres") {
            Some(server) => by_postgres(&server),
            None => COUNT.load(Ordering::Relaxed),
        }
    }

    /// A server's process tells its counts when it was idle for ten seconds.
    #[cfg(feature = "postgres")]
    #[expect(clippy::disallowed_methods, reason = "the server is asked of all its databases, not through one store")]
    fn by_postgres(server: &str) -> u64 {
        use diesel::{QueryableByName, RunQueryDsl as _, sql_query, sql_types};
        #[derive(QueryableByName)]
        struct Count {
            #[diesel(sql_type = sql_types::BigInt)]
            n: i64,
        }
        std::thread::sleep(std::time::Duration::from_secs(12));
        let mut conn = <diesel::PgConnection as diesel::Connection>::establish(server).unwrap();
        let sum = "SELECT sum(blks_hit + blks_read)::bigint AS n FROM pg_stat_database WHERE datname LIKE 'bench_among_%'";
        let count: Count = sql_query(sum).get_result(&mut conn).unwrap();
        u64::try_from(count.n).unwrap()
    }

    #[cfg(not(feature = "postgres"))]
    fn by_postgres(_: &str) -> u64 {
        eprintln!("--postgres needs --features postgres");
        std::process::exit(2)
    }
}
