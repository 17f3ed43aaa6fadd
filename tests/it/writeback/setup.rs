//! A gateway with attempts that owe something, an EHR to write to, and one clock that both follow.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use chrono::TimeDelta;
use domain::clock::ManualClock;
use domain::{Clock, Timestamp};
use fhir_engage::credentials::{MasterKey, keys};
use fhir_engage::ehr::auth::Algorithm;
use fhir_engage::ehr::profile::{Auth, BackendServices};
use fhir_engage::ehr::retry::Policy;
use fhir_engage::ehr::vendor;
use fhir_engage::ehr::{Connection, Credential, Entropy, Paces, Parts, Profile, Rate};
use fhir_engage::store::leases::{self, Fence, Term};
use fhir_engage::store::writebacks::{self, Writeback};
use fhir_engage::store::{Lane, Store, StoreError};
use fhir_engage::writeback::{Contract, Options, Report, Site, Stage, Ways, needs, run, stated, task};
use sandbox::{Config, Flavour, Sandbox};
use serde_json::Value;

use crate::support::{Database, owing};

pub const TERM: Term = Term(TimeDelta::seconds(60));
pub const EHR: &str = "north";

/// Enough that no two draws are equal.
struct Counting(AtomicU64);

impl Entropy for Counting {
    fn fill(&self, bytes: &mut [u8]) {
        let n = self.0.fetch_add(1, Ordering::Relaxed).to_le_bytes();
        bytes.iter_mut().zip(n.into_iter().cycle()).for_each(|(b, n)| *b = n);
    }
}

pub struct World {
    pub store: Store,
    pub sandbox: Sandbox,
    pub clock: Arc<ManualClock>,
    pub connection: Connection,
    pub contract: Contract,
    pub options: Options,
    pub ways: Ways,
    profile: Profile,
    parts: Parts,
    /// Patients that were added so far.
    patients: BTreeSet<String>,
    _db: Database,
}

impl World {
    /// A full R4 server that asks for tokens, and a gateway with nothing owed.
    pub async fn new(db: Database) -> Self {
        let mut world = Self::at(db, Flavour::FullR4).await;
        world.contract = Contract::full_r4().within(&stated(&world.connection.capability));
        world.has_seen_the_key();
        assert!(
            world.contract.communication.creates_conditionally() && world.contract.communication.finder().is_some(),
            "the sandbox is a full R4 server: {:?}",
            world.contract
        );
        world
    }

    /// As after the first write-backs to this EHR: it was seen to keep our key, or to drop it.
    pub fn has_seen_the_key(&mut self) {
        self.contract.communication.key_kept = Some(true);
        self.contract.document_reference.key_kept = Some(true);
    }

    /// A vendor's EHR, with the vendor's contract as far as the EHR states what it claims.
    pub async fn at(db: Database, flavour: Flavour) -> Self {
        let clock = Arc::new(ManualClock::at(Timestamp::parse("2026-11-23T15:00:00Z").unwrap()));
        let master = MasterKey::parse(&MasterKey::generate().unwrap()).unwrap();
        let record = keys::generate(Algorithm::Es384, &master).unwrap();
        let public: Value = serde_json::from_str(&record.public_jwk).unwrap();
        let client = sandbox::Client {
            client_id: "gateway".to_owned(),
            jwks: serde_json::json!({ "keys": [public] }),
            scopes: vec!["system/*.cruds".to_owned()],
        };
        let time = clock.clone();
        let config = Config { clients: vec![client], flavour, ..Config::new(Arc::new(move || time.now().micros())) };
        let sandbox = sandbox::start(config).await.unwrap();
        let auth = BackendServices { client_id: "gateway".to_owned(), key_id: None, token_url: None, scopes: None, dialect: None };
        let profile = Profile {
            base_url: Some(sandbox.base_url().parse().unwrap()),
            auth: Auth::BackendServices(auth),
            timeout_secs: Some(5),
            ..Profile::default()
        };
        let parts = Parts {
            credential: Credential::Key(Arc::new(record.open(&master).unwrap())),
            clock: clock.clone(),
            entropy: Arc::new(Counting(AtomicU64::new(0))),
            retry: Policy { tries: 1, base: Duration::ZERO, cap: Duration::ZERO, patience: Duration::ZERO },
            paces: Paces::default(),
        };
        let connection = Connection::open(&profile, &parts).await.unwrap();
        let preset = Contract::of_preset(vendor::preset(flavour.name()).unwrap()).unwrap();
        let contract = preset.within(&stated(&connection.capability));
        let options = Options { hold: TimeDelta::seconds(10), breaker: 1_000, ..Options::default() };
        Self {
            store: db.store(),
            sandbox,
            clock,
            connection,
            contract,
            options,
            ways: Ways::default(),
            profile,
            parts,
            patients: BTreeSet::new(),
            _db: db,
        }
    }

    /// Connects anew, as an EHR that allows so many requests a second.
    pub async fn pace(&mut self, rate: Option<Rate>) {
        self.profile.requests_per_second = rate;
        self.connection = Connection::open(&self.profile, &self.parts).await.unwrap();
    }

    /// An attempt at a patient that ended as delivered, so that a Communication is owed.
    pub fn owe(&mut self, patient: &str, attempt: &str) {
        let now = self.clock.now();
        if self.patients.insert(patient.to_owned()) {
            owing::admit(&self.store, EHR, &[patient.to_owned()], now);
            self.sandbox.load([owing::patient(patient)]).unwrap();
        }
        owing::owe(&self.store, EHR, &[(patient.to_owned(), attempt.to_owned())], now);
    }

    /// Takes the lease as a new worker, who finds the earlier one dead.
    pub fn lease(&self) -> Fence {
        let now = self.clock.now();
        let take = |conn: &mut _| leases::acquire(conn, &task::lease(EHR), "worker", now, TERM, |_| true);
        self.store.write_blocking(Lane::Interactive, "test", take).unwrap().unwrap()
    }

    /// One run under this lease.
    pub async fn run_under(&self, fence: &Fence, stop: &AtomicBool) -> Result<Report, StoreError> {
        let (contract, site) = (Arc::new(self.contract.clone()), Arc::new(Site::named("Main Street Clinic")));
        let client = self.connection.client.clone().writing(needs(&self.contract));
        let stage = Stage {
            store: &self.store,
            clock: self.clock.as_ref(),
            ehr: EHR,
            chart: &client,
            contract: &contract,
            ways: &self.ways,
            site: &site,
            fence,
            term: TERM,
            options: self.options,
        };
        run(&stage, stop).await
    }

    /// One run.
    pub async fn run(&self) -> Report {
        self.run_under(&self.lease(), &AtomicBool::new(false)).await.unwrap()
    }

    /// Runs, moving the clock to what is due next, until nothing is due any more.
    pub async fn settle(&self) -> Report {
        for _ in 0..50 {
            let report = self.run().await;
            let Some(next) = self.store.read_blocking(|conn| writebacks::next_due(conn, EHR, self.clock.now())).unwrap() else {
                return report;
            };
            if next > self.clock.now() {
                self.clock.set(next);
            }
        }
        panic!("it did not settle: {:?}", self.rows());
    }

    /// All rows, by id.
    pub fn rows(&self) -> Vec<Writeback> {
        let mut rows = self.store.read_blocking(|conn| writebacks::list(conn, Some(EHR), None, 10_000)).unwrap();
        rows.sort_by(|a, b| a.id.cmp(&b.id));
        rows
    }

    pub fn row(&self, attempt: &str) -> Writeback {
        self.rows().into_iter().find(|r| r.attempt == attempt).unwrap()
    }

    pub fn states(&self) -> Vec<String> {
        self.rows().into_iter().map(|r| r.state).collect()
    }

    /// The attempts in the EHR, in the order in which they came; each as often as it is there.
    pub fn in_ehr(&self) -> Vec<String> {
        let value = |c: Value| c["identifier"][0]["value"].as_str().unwrap().to_owned();
        self.sandbox.resources("Communication").into_iter().map(value).collect()
    }

    /// Each owed one is in the EHR exactly once, and its row says where.
    #[track_caller]
    pub fn all_written_once(&self) {
        let rows = self.rows();
        let mut there = self.in_ehr();
        there.sort();
        assert_eq!(there, rows.iter().map(|r| r.attempt.clone()).collect::<Vec<_>>(), "{rows:#?}");
        for row in rows {
            assert_eq!(row.state, "written", "{row:?}");
            let id = row.remote_id.as_deref().unwrap_or_else(|| panic!("no id: {row:?}"));
            let resource = self.sandbox.resource("Communication", id).unwrap_or_else(|| panic!("not there: {row:?}"));
            assert_eq!(resource["identifier"][0]["value"], row.attempt.as_str());
            assert_eq!(resource["meta"]["versionId"].as_str(), row.remote_version.as_deref());
        }
        assert_eq!(self.sandbox.unused_faults(), [], "a planted fault was not met");
    }

    /// How many requests to Communication had this method.
    pub fn asked(&self, method: &str) -> usize {
        self.sandbox.request_log().iter().filter(|r| r.method == method && r.path.starts_with("/fhir/Communication")).count()
    }
}
