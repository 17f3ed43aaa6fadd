//! What the tests of sync stand on.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use chrono::TimeDelta;
use domain::clock::ManualClock;
use domain::model::{EhrId, ResourceType};
use domain::{Clock as _, Timestamp};
use fhir_engage::ehr::profile::Strategy;
use fhir_engage::ehr::reads::RosterSource;
use fhir_engage::ehr::{Connection, Plan, Profile};
use fhir_engage::store::leases::Term;
use fhir_engage::store::sync_state::{self, Counts, SyncRun, SyncState};
use fhir_engage::store::{Store, ehrs, resources};
use fhir_engage::sync::Holder;
use fhir_engage::sync::import::{self, ImportError, Report};
use fhir_engage::sync::task::{self, Source, Task, TypeReport};
use sandbox::Flavour;
use serde_json::Value;

use crate::ehr::support::World;

/// An instant: seconds after a fixed one, 2027-01-15T08:00:00Z.
pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(1_800_000_000_000_000 + seconds * 1_000_000)
}

/// The EHR of most tests.
pub fn ehr() -> EhrId {
    EhrId::parse("north").unwrap()
}

/// This process, as the holder of leases.
pub const HOLDER: Holder<'static> = Holder { owner: "test", term: Term(TimeDelta::seconds(60)), is_dead: |_| false };

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

/// An EHR to sync from, and what the gateway knows of it.
pub struct Synced {
    pub world: World,
    pub connection: Connection,
    pub strategies: BTreeMap<ResourceType, Strategy>,
    pub accept_vanished: bool,
}

/// A Group of patients, called `panel`.
pub fn group(ids: &[String]) -> String {
    let members: Vec<Value> = ids.iter().map(|id| serde_json::json!({ "entity": { "reference": format!("Patient/{id}") } })).collect();
    serde_json::json!({ "resourceType": "Group", "id": "panel", "type": "person", "actual": true, "member": members }).to_string()
}

/// A page of the sandbox in these tests.
pub const PAGE: usize = 10;

impl Synced {
    pub async fn start(store: &Store) -> Self {
        Self::of(store, World::start().await).await
    }

    /// An EHR as a vendor's is, where the site gives a Group of all its patients.
    pub async fn at(store: &Store, flavour: Flavour) -> Self {
        let mut world = World::speaking(flavour).await;
        world.profile.roster = vec![RosterSource::Group("panel".to_owned())];
        let ids: Vec<String> = world.ehr.resources("Patient").iter().map(|p| p["id"].as_str().unwrap().to_owned()).collect();
        world.ehr.load([group(&ids)]).unwrap();
        Self::of(store, world).await
    }

    pub async fn of(store: &Store, world: World) -> Self {
        let profile = world.profile.to_json();
        let now = world.clock.now();
        store.write("test", move |conn| ehrs::put(conn, &ehr(), &profile, now)).await.unwrap();
        let connection = Connection::open(&world.profile, &world.parts).await.unwrap();
        Self { world, connection, strategies: BTreeMap::new(), accept_vanished: false }
    }

    /// How it is read.
    pub fn plan(&self) -> Plan {
        let profile = Profile { strategy: self.strategies.clone(), ..self.world.profile.clone() };
        Plan::of(&profile, &self.connection.capability)
    }

    /// The same, with one strategy for all types.
    pub fn with(mut self, strategy: Strategy) -> Self {
        self.strategies = ResourceType::CORE.map(|kind| (kind, strategy)).into();
        self
    }

    /// Runs a sync of some types.
    pub async fn sync(&self, store: &Store, types: &[ResourceType]) -> Vec<TypeReport> {
        self.sync_with(store, types, HOLDER, &AtomicBool::new(false), &|_, _| {}).await
    }

    pub async fn sync_with(
        &self,
        store: &Store,
        types: &[ResourceType],
        holder: Holder<'_>,
        stop: &AtomicBool,
        progress: &(dyn Fn(ResourceType, Counts) + Sync),
    ) -> Vec<TypeReport> {
        let plan = self.plan();
        let source = Source { client: &self.connection.client, plan: &plan };
        let task =
            Task { store, clock: &*self.world.clock, holder, ehr: &ehr(), source, stop, progress, accept_vanished: self.accept_vanished };
        let reports = task::run(&task, types).await;
        for r in &reports {
            assert_eq!(r.found, r.stored + r.unchanged + r.superseded + r.quarantined, "{r:?}");
        }
        reports
    }

    /// Runs a sync of one type.
    pub async fn sync_one(&self, store: &Store, kind: ResourceType) -> TypeReport {
        self.sync(store, &[kind]).await.remove(0)
    }

    /// Checks that the store has what the EHR has, value for value.
    #[track_caller]
    pub fn assert_same(&self, store: &Store, kind: ResourceType) {
        let mut expected: Vec<(String, Value)> =
            self.world.ehr.resources(kind.as_str()).into_iter().map(|r| (r["id"].as_str().unwrap().to_owned(), r)).collect();
        expected.sort_by(|a, b| a.0.cmp(&b.0));
        let mut found = values(store, kind);
        found.sort_by(|a, b| a.0.cmp(&b.0));
        assert_eq!(found.len(), expected.len(), "{kind}");
        assert!(found == expected, "{kind}: the store differs from the EHR");
    }

    /// The searches of a type so far, as the EHR logged them, decoded.
    pub fn searches(&self, kind: ResourceType) -> Vec<String> {
        let path = format!("/fhir/{kind}");
        let log = self.world.ehr.request_log();
        log.into_iter().filter(|r| r.path.starts_with(&path)).map(|r| r.path.replace("%3A", ":").replace("%2B", "+")).collect()
    }
}

/// The state of a type.
pub fn state(store: &Store, kind: ResourceType) -> SyncState {
    store.read_blocking(|conn| sync_state::get(conn, &ehr(), kind)).unwrap().unwrap()
}
