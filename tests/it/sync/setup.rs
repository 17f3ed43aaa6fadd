//! What the tests of sync stand on.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use chrono::TimeDelta;
use domain::Timestamp;
use domain::clock::ManualClock;
use domain::model::{EhrId, ResourceType};
use fhir_engage::store::leases::Term;
use fhir_engage::store::sync_state::{self, SyncRun};
use fhir_engage::store::{Store, ehrs, resources};
use fhir_engage::sync::Holder;
use fhir_engage::sync::import::{self, ImportError, Report};
use serde_json::Value;

/// An instant: seconds after a fixed one, 2027-01-15T08:00:00Z.
pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(1_800_000_000_000_000 + seconds * 1_000_000)
}

/// The EHR of most tests.
pub fn ehr() -> EhrId {
    EhrId::parse("north").unwrap()
}

/// This process, as the holder of leases.
pub const HOLDER: Holder<'static> = Holder { owner: "test", term: Term(TimeDelta::seconds(60)), is_dead: &|_| false };

/// Registers the EHR as one that delivers files.
pub fn register(store: &Store) {
    store.write_blocking(fhir_engage::store::Lane::Bulk, "test", |conn| ehrs::put(conn, &ehr(), r#"{"files_only":true}"#, at(0))).unwrap();
}

/// Imports with a clock that stands still.
pub fn try_import(store: &Store, paths: &[PathBuf]) -> Result<Report, ImportError> {
    let request = import::Request { ehr: &ehr(), paths };
    import::run(store, &ManualClock::at(at(0)), HOLDER, request, &AtomicBool::new(false), &|_| {})
}

/// Imports and checks that every line is accounted for.
#[track_caller]
pub fn import(store: &Store, paths: &[PathBuf]) -> Report {
    let report = try_import(store, paths).unwrap();
    let ignored: u64 = report.ignored.values().sum();
    assert_eq!(report.lines, report.stored + report.unchanged + report.superseded + ignored + report.quarantined, "{report:?}");
    report
}

/// Writes a file, gzipped where its name says so.
pub fn write(path: &Path, bytes: &[u8]) -> PathBuf {
    if path.extension().is_some_and(|e| e == "gz") {
        let mut encoder = flate2::write::GzEncoder::new(std::fs::File::create(path).unwrap(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap();
    } else {
        std::fs::write(path, bytes).unwrap();
    }
    path.to_owned()
}

/// Everything stored of a type, by id.
pub fn bodies(store: &Store, kind: ResourceType) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    loop {
        let after = all.last().map_or_else(String::new, |(id, _): &(String, Vec<u8>)| id.clone());
        let page = store.read_blocking(|conn| resources::after(conn, &ehr(), kind, &after, 500)).unwrap();
        if page.is_empty() {
            return all;
        }
        all.extend(page.into_iter().map(|r| (r.fhir_id.clone(), r.body(store.codec()).unwrap())));
    }
}

/// Everything stored of a type as JSON, numbers as written.
pub fn values(store: &Store, kind: ResourceType) -> Vec<(String, Value)> {
    bodies(store, kind).into_iter().map(|(id, body)| (id, serde_json::from_slice(&body).unwrap())).collect()
}

/// The latest run of a type.
pub fn latest_run(store: &Store, kind: ResourceType) -> Option<SyncRun> {
    let runs = store.read_blocking(sync_state::latest_runs).unwrap();
    runs.into_iter().find(|run| run.rtype == kind.as_str() && run.ehr == ehr().as_str())
}

/// Up to when a type is known.
pub fn as_of(store: &Store, kind: ResourceType) -> Option<i64> {
    store.read_blocking(|conn| sync_state::get(conn, &ehr(), kind)).unwrap().and_then(|state| state.as_of)
}
