//! What several benchmarks need: the population as files, an empty database of either engine, an import, and what they tell.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
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
pub const AS_OF: Timestamp = Timestamp::from_micros(1_795_446_000_000_000);
pub const TERM: Term = Term(TimeDelta::seconds(3600));
pub const HOLDER: Holder<'static> = Holder { owner: "bench", term: TERM, is_dead: |_| false };

/// The word after `name` on the command line. cargo adds `--bench`, which says nothing here.
pub fn word(name: &str) -> Option<String> {
    let args: Vec<String> = std::env::args().collect();
    let at = args.iter().position(|a| a == name)?;
    args.get(at + 1).cloned()
}

pub fn number(name: &str, otherwise: u32) -> u32 {
    word(name).map_or(otherwise, |text| text.parse().expect("a number"))
}

pub fn ehr() -> EhrId {
    EhrId::parse("bench").unwrap()
}

/// The synthetic population: a patient, three appointments and a care plan each.
pub fn population(patients: u32) -> sandbox::Population {
    sandbox::Population { patients, seed: 1, as_of_micros: AS_OF.micros(), zone: chrono_tz::America::New_York }
}

/// The population as NDJSON.gz, a file for each type.
pub fn write_population(folder: &Path, patients: u32) {
    let people = population(patients);
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

/// A folder of this run; gone with the value, as are the databases that were made.
pub struct Workplace {
    pub folder: PathBuf,
}

impl Workplace {
    pub fn new(name: &str) -> Self {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("bench-{name}-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("files")).unwrap();
        Self { folder }
    }

    pub fn files(&self) -> PathBuf {
        self.folder.join("files")
    }

    /// An empty database: a file, or one on the server of `--postgres postgres://USER@HOST:PORT/postgres`, made for this run and left there.
    pub fn location(&self, name: &str) -> Location {
        match word("--postgres") {
            None => Location::Sqlite(self.folder.join(format!("{name}.db"))),
            Some(server) => postgres(&server, name),
        }
    }

    /// The same, opened, with one EHR in it.
    pub fn store(&self, name: &str) -> Store {
        let store = Store::open(self.location(name)).unwrap();
        store.write_blocking(Lane::Bulk, "bench", |conn| ehrs::put(conn, &ehr(), r#"{"files_only":true}"#, AS_OF)).unwrap();
        store
    }
}

impl Drop for Workplace {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

#[cfg(feature = "postgres")]
#[expect(clippy::disallowed_methods, reason = "a database is made here, where there is no store yet")]
fn postgres(server: &str, name: &str) -> Location {
    use diesel::connection::SimpleConnection as _;
    let mut conn = <diesel::PgConnection as diesel::Connection>::establish(server).unwrap();
    let (base, _) = server.rsplit_once('/').expect("a database in the address");
    // Neither runs inside a transaction, which several statements at once are.
    for statement in [format!("DROP DATABASE IF EXISTS bench_{name} WITH (FORCE)"), format!("CREATE DATABASE bench_{name}")] {
        conn.batch_execute(&statement).unwrap();
    }
    Location::parse(&format!("{base}/bench_{name}"))
}

#[cfg(not(feature = "postgres"))]
fn postgres(_: &str, _: &str) -> Location {
    eprintln!("--postgres needs --features postgres");
    std::process::exit(2)
}

/// Imports the files of a folder.
pub fn import_into(store: &Store, folder: &Path) -> Report {
    let (ehr, paths) = (ehr(), [folder.to_owned()]);
    let request = import::Request { ehr: &ehr, paths: &paths };
    let report = import::run(store, &ManualClock::at(AS_OF), HOLDER, request, &AtomicBool::new(false), &|_| {}).unwrap();
    assert!(report.quarantined == 0 && report.ignored.is_empty() && report.lines == report.stored + report.unchanged, "{report:?}");
    report
}

/// Evaluates everyone who waits by the shipped segments, as the command does after an import; returns how many, and the seconds it took.
pub fn assign(store: &Store) -> (u64, f64) {
    let library = Library::shipped().unwrap();
    let put = |conn: &mut _| {
        Definitions::open(conn, &library, AS_OF)?;
        leases::acquire(conn, task::LEASE, "bench", AS_OF, TERM, |_| true)
    };
    let fence = store.write_blocking(Lane::Interactive, "bench", put).unwrap().unwrap();
    let (clock, site) = (ManualClock::at(AS_OF), Site::new(chrono_tz::America::New_York, "en"));
    let began = Instant::now();
    let stage = task::Stage { store, site: &site, clock: &clock, fence: &fence, term: TERM };
    let report = task::run(&stage, &AtomicBool::new(false), &|_| {}).unwrap();
    (report.persons, began.elapsed().as_secs_f64())
}

/// Of waits in order of length, the one that so many in a hundred are not longer than.
pub fn at(waits: &[Duration], percent: usize) -> String {
    let place = (waits.len() * percent / 100).min(waits.len().saturating_sub(1));
    waits.get(place).map_or_else(|| "-".to_owned(), |wait| format!("{:.1} ms", wait.as_secs_f64() * 1_000.0))
}

/// The process's peak resident memory.
pub fn peak_memory_mb() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kb = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_ascii_whitespace().next()?.parse::<u64>().ok());
    kb.map_or_else(|| "not told by this system".to_owned(), |kb| format!("{} MB", kb / 1024))
}
