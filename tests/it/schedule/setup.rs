//! An open EHR, and nodes of a gateway that stand on one database and one clock that is moved by hand.

use std::sync::Arc;

use chrono::TimeDelta;
use domain::clock::ManualClock;
use domain::model::EhrId;
use domain::{Clock as _, Timestamp};
use fhir_engage::app::{App, TurnReport};
use fhir_engage::config::Config;
use fhir_engage::store::schedules::{self, ALL_TYPES};
use fhir_engage::store::sync_state::{self, SyncRun};
use fhir_engage::store::{Store, ehrs};
use sandbox::{Population, Sandbox};

use crate::support::{Database, TempDir};

/// The EHR.
pub fn north() -> EhrId {
    EhrId::parse("north").unwrap()
}

pub fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

/// Nodes of one installation.
pub struct World {
    pub clock: Arc<ManualClock>,
    pub ehr: Sandbox,
    pub store: Store,
    db: Database,
    configuration: String,
    folder: TempDir,
}

impl World {
    /// An EHR with so many patients, registered at nine in the morning, UTC.
    pub async fn new(db: Database, patients: u32, configuration: &str) -> Self {
        let clock = Arc::new(ManualClock::at(at("2027-01-12T09:00:00Z")));
        let time = Arc::clone(&clock);
        let config = sandbox::Config {
            open: true,
            page_size_default: 10,
            page_size_max: 10,
            ..sandbox::Config::new(Arc::new(move || time.now().micros()))
        };
        let ehr = sandbox::start(config).await.unwrap();
        let people = Population { patients, seed: 7, as_of_micros: clock.now().micros(), zone: chrono_tz::America::New_York };
        ehr.load(people.resources()).unwrap();
        let store = db.store();
        let world = Self { clock, ehr, store, db, configuration: configuration.to_owned(), folder: TempDir::new() };
        let base = world.ehr.base_url();
        world.register(&north(), &format!(r#"{{"base_url":"{base}","auth":{{"kind":"none"}}}}"#)).await;
        world
    }

    /// Registers an EHR with whatever profile.
    pub async fn register(&self, id: &EhrId, profile: &str) {
        let (id, profile, now) = (id.clone(), profile.to_owned(), self.clock.now());
        self.store.write("test", move |conn| ehrs::put(conn, &id, &profile, now)).await.unwrap();
    }

    /// A node.
    pub fn node(&self) -> Arc<App> {
        let file = self.folder.join("fhir-engage.toml");
        std::fs::write(&file, &self.configuration).unwrap();
        let mut config = Config::load(Some(&file), self.folder.path()).unwrap();
        config.database.url = self.db.argument().into();
        Arc::new(App::open_with(config, self.folder.path(), Some(Arc::clone(&self.clock) as Arc<dyn domain::Clock>)).unwrap())
    }

    /// A file in the data folder.
    pub fn keep(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.folder.join(name), bytes).unwrap();
    }

    pub fn forward(&self, by: TimeDelta) {
        self.clock.advance(by);
    }

    /// Sets the schedule of the whole EHR.
    pub async fn set(&self, timing: &str) {
        let (timing, now) = (timing.to_owned(), self.clock.now());
        self.store.write("test", move |conn| schedules::put(conn, &north(), ALL_TYPES, &timing, "ada", now)).await.unwrap();
    }

    /// All runs of a type, the oldest first.
    pub fn runs(&self, rtype: &str) -> Vec<SyncRun> {
        let mut found: Vec<SyncRun> = (1..200)
            .filter_map(|id| self.store.read_blocking(|conn| sync_state::run(conn, id)).unwrap())
            .filter(|r| r.rtype == rtype)
            .collect();
        found.sort_by_key(|r| r.id);
        found
    }

    /// How many of a type are stored.
    pub fn stored(&self, rtype: &str) -> usize {
        self.db.lines(&format!("SELECT fhir_id AS line FROM resource WHERE rtype = '{rtype}'")).len()
    }

    pub fn lines(&self, sql: &str) -> Vec<String> {
        self.db.lines(sql)
    }

    pub fn execute(&self, sql: &str) {
        self.db.execute(sql);
    }
}

/// Takes all turns that are due; the reports.
pub async fn take_all(node: &App) -> Vec<TurnReport> {
    let mut reports = Vec::new();
    for turn in node.due_turns(8).await.unwrap() {
        reports.push(node.take_turn(turn, || false).await);
    }
    reports
}
