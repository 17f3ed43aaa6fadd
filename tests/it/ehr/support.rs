//! A sandbox with one registered client, and that client's side of it, on one clock that stands still.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use domain::clock::ManualClock;
use domain::{Clock, Timestamp};
use fhir_engage::credentials::{KeyRecord, MasterKey, keys};
use fhir_engage::ehr::auth::Algorithm;
use fhir_engage::ehr::profile::{Auth, BackendServices};
use fhir_engage::ehr::retry::Policy;
use fhir_engage::ehr::{Client, Connection, Credential, Entropy, Paces, Parts, Profile, Secret};
use sandbox::{Config, Flavour, Population, Sandbox};

pub const CLIENT: &str = "gateway";
pub const PATIENTS: u32 = 30;

/// Counts, so that no two draws are equal.
#[derive(Default)]
pub struct Counting(AtomicU64);

impl Entropy for Counting {
    fn fill(&self, bytes: &mut [u8]) {
        let n = self.0.fetch_add(1, Ordering::Relaxed).to_le_bytes();
        for (byte, value) in bytes.iter_mut().zip(n.into_iter().cycle()) {
            *byte = value;
        }
    }
}

/// Always the same.
pub struct Stuck;

impl Entropy for Stuck {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(7);
    }
}

pub struct World {
    pub ehr: Sandbox,
    pub clock: Arc<ManualClock>,
    pub profile: Profile,
    pub parts: Parts,
}

pub fn key(algorithm: Algorithm) -> (KeyRecord, Credential) {
    let master = MasterKey::parse(&MasterKey::generate().unwrap()).unwrap();
    let record = keys::generate(algorithm, &master).unwrap();
    let opened = record.open(&master).unwrap();
    (record, Credential::Key(Arc::new(opened)))
}

pub fn registration(record: &KeyRecord, client_id: &str, scopes: &str) -> sandbox::Client {
    let public: serde_json::Value = serde_json::from_str(&record.public_jwk).unwrap();
    sandbox::Client {
        client_id: client_id.to_owned(),
        jwks: serde_json::json!({ "keys": [public] }),
        scopes: scopes.split(' ').map(str::to_owned).collect(),
    }
}

pub fn quick() -> Policy {
    Policy { tries: 4, base: Duration::from_millis(2), cap: Duration::from_millis(5), patience: Duration::from_secs(2) }
}

impl World {
    pub async fn start() -> Self {
        Self::with(Algorithm::Es384, "system/*.cruds").await
    }

    pub async fn with(algorithm: Algorithm, scopes: &str) -> Self {
        Self::made(algorithm, scopes, Flavour::FullR4).await
    }

    /// One that behaves as a vendor's, with the vendor's preset in the profile.
    pub async fn speaking(flavour: Flavour) -> Self {
        let mut world = Self::made(Algorithm::Es384, "system/*.cruds", flavour).await;
        world.profile.vendor = Some(flavour.name().to_owned());
        world
    }

    async fn made(algorithm: Algorithm, scopes: &str, flavour: Flavour) -> Self {
        let clock = Arc::new(ManualClock::at(Timestamp::parse("2026-11-23T15:00:00Z").unwrap()));
        let (record, credential) = key(algorithm);
        let time = clock.clone();
        let config = Config {
            clients: vec![registration(&record, CLIENT, scopes)],
            page_size_default: 10,
            flavour,
            ..Config::new(Arc::new(move || time.now().micros()))
        };
        let ehr = sandbox::start(config).await.unwrap();
        let people = Population { patients: PATIENTS, seed: 7, as_of_micros: clock.now().micros(), zone: chrono_tz::America::New_York };
        ehr.load(people.resources()).unwrap();
        let auth = BackendServices { client_id: CLIENT.to_owned(), key_id: None, token_url: None, scopes: None, dialect: None };
        let profile = Profile {
            base_url: Some(ehr.base_url().parse().unwrap()),
            auth: Auth::BackendServices(auth),
            timeout_secs: Some(5),
            ..Profile::default()
        };
        let parts =
            Parts { credential, clock: clock.clone(), entropy: Arc::new(Counting::default()), retry: quick(), paces: Paces::default() };
        Self { ehr, clock, profile, parts }
    }

    /// On the clock of the machine, for servers that know no other.
    pub fn on_the_machines_clock(&mut self) {
        self.parts.clock = Arc::new(fhir_engage::app::SystemClock::with_offset(chrono::TimeDelta::zero()));
    }

    pub async fn client(&self) -> Client {
        Connection::open(&self.profile, &self.parts).await.unwrap().client
    }

    /// How many requests began so.
    pub fn asked(&self, method: &str, path: &str) -> usize {
        self.ehr.request_log().iter().filter(|r| r.method == method && r.path.starts_with(path)).count()
    }

    pub fn tokens_asked(&self) -> usize {
        self.asked("POST", "/auth/token")
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert!(self.ehr.unused_faults().is_empty(), "a planted fault was not met");
        }
    }
}

pub fn static_token(text: &str) -> Credential {
    Credential::Bearer(Secret::new(text))
}
