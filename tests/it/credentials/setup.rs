//! A gateway with its store on a clock that the test moves, its public keys served over HTTP, and a sandbox that knows it.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::TimeDelta;
use domain::clock::ManualClock;
use domain::model::EhrId;
use domain::{Clock, Timestamp};
use fhir_engage::app::App;
use fhir_engage::config::Config;
use fhir_engage::ehr::auth::Algorithm;
use fhir_engage::ehr::profile::{Auth, BackendServices, Profile};
use fhir_engage::ehr::{Client, EhrError, Search};
use fhir_engage::store::ehrs;
use fhir_engage::web;
use fhir_engage::worker::Stop;
use sandbox::Sandbox;

use crate::support::{Database, TempDir};

pub const EHR: &str = "north";

pub struct World {
    pub app: Arc<App>,
    pub ehr: Sandbox,
    pub clock: Arc<ManualClock>,
    /// Where the gateway's public keys are.
    pub jwks_url: String,
    stop: Stop,
    data: TempDir,
    db: Database,
}

pub fn id() -> EhrId {
    EhrId::parse(EHR).unwrap()
}

impl World {
    pub async fn begin(db: Database) -> Self {
        Self::begin_at(db, Timestamp::parse("2026-11-23T18:05:00Z").unwrap()).await
    }

    /// At the machine's own time, for servers that know no other.
    pub async fn begin_now(db: Database) -> Self {
        let now = fhir_engage::app::SystemClock::with_offset(chrono::TimeDelta::zero()).now();
        Self::begin_at(db, now).await
    }

    async fn begin_at(db: Database, start: Timestamp) -> Self {
        let clock = Arc::new(ManualClock::at(start));
        let data = TempDir::new();
        let app = node(&db, &data, &clock);
        let key = app.ensure_key(Algorithm::Es384).await.unwrap();
        let jwks = serde_json::from_str(&app.jwks().await.unwrap()).unwrap();
        let client = sandbox::Client { client_id: "gateway".to_owned(), jwks, scopes: vec!["system/*.cruds".to_owned()] };
        let time = clock.clone();
        let config = sandbox::Config { clients: vec![client], ..sandbox::Config::new(Arc::new(move || time.now().micros())) };
        let ehr = sandbox::start(config).await.unwrap();
        let people = sandbox::Population { patients: 3, seed: 7, as_of_micros: clock.now().micros(), zone: chrono_tz::America::New_York };
        ehr.load(people.resources()).unwrap();
        let stop = Stop::new();
        let state = app.web_state(None).unwrap();
        let served = web::serve_apart(state, "127.0.0.1:0".parse().unwrap(), Some("127.0.0.1:0".parse().unwrap()), stop.clone()).unwrap();
        let jwks_url = format!("http://{}/.well-known/jwks.json", served.public.unwrap());
        let world = Self { app, ehr, clock, jwks_url, stop, data, db };
        let auth = BackendServices { client_id: "gateway".to_owned(), key_id: Some(key.kid), ..BackendServices::default() };
        world.registers(&world.profile(Auth::BackendServices(auth))).await;
        world
    }

    pub fn profile(&self, auth: Auth) -> Profile {
        Profile {
            base_url: Some(self.ehr.base_url().parse().unwrap()),
            auth,
            credentials: BTreeMap::new(),
            timeout_secs: Some(5),
            ..Profile::default()
        }
    }

    pub async fn registers(&self, profile: &Profile) {
        profile.check().unwrap();
        let (text, now) = (profile.to_json(), self.clock.now());
        self.app.store.write("test", move |conn| ehrs::put(conn, &id(), &text, now)).await.unwrap();
    }

    /// Another node of the same installation.
    pub fn another_node(&self) -> Arc<App> {
        node(&self.db, &self.data, &self.clock)
    }

    pub fn lines(&self, sql: &str) -> Vec<String> {
        self.db.lines(sql)
    }

    pub fn tokens_asked(&self) -> usize {
        self.ehr.request_log().iter().filter(|r| r.path.starts_with("/auth/token")).count()
    }

    /// Time passes, and a node connects anew and reads something: a token is needed.
    pub async fn reads_after(&self, by: TimeDelta) -> Result<(), EhrError> {
        self.clock.advance(by);
        reads(&self.app).await
    }

    pub async fn client(&self) -> Client {
        self.app.connect(&id()).await.unwrap().client
    }
}

fn node(db: &Database, data: &TempDir, clock: &Arc<ManualClock>) -> Arc<App> {
    let mut config = Config::load(None, data.path()).unwrap();
    config.database.url = db.argument().into();
    Arc::new(App::open_with(config, data.path(), Some(clock.clone())).unwrap())
}

/// A node connects and reads a patient.
pub async fn reads(app: &App) -> Result<(), EhrError> {
    let client = app.connect(&id()).await.unwrap().client;
    client.search(Search::of("Patient")).next().await.map(|page| assert!(page.is_some()))
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.request();
    }
}

/// What a test looks at behind the gateway's back.
impl World {
    pub fn execute(&self, sql: &str) {
        self.db.execute(sql);
    }

    pub fn data(&self) -> &std::path::Path {
        self.data.path()
    }

    pub async fn forget_tokens(&self) {
        self.app.store.write("test", |conn| fhir_engage::store::tokens::forget_all(conn, EHR)).await.unwrap();
    }

    pub fn sealed_tokens(&self) -> Vec<Vec<u8>> {
        let slots = self.lines("SELECT slot AS line FROM access_token");
        let store = self.app.store.clone();
        let read = |slot: &String| store.read_blocking(|conn| fhir_engage::store::tokens::get(conn, EHR, slot)).unwrap().unwrap().sealed;
        slots.iter().map(read).collect()
    }

    pub fn grant_rows(&self) -> Vec<fhir_engage::store::grants::GrantRow> {
        self.app.store.read_blocking(fhir_engage::store::grants::list).unwrap()
    }

    pub fn sealed_grants(&self) -> Vec<Vec<u8>> {
        self.grant_rows().into_iter().map(|row| row.sealed).collect()
    }

    /// Puts the refresh tokens of a copy back.
    pub fn puts_back(&self, rows: &[fhir_engage::store::grants::GrantRow]) {
        for row in rows.iter().cloned() {
            let now = self.clock.now();
            let fresh = fhir_engage::store::grants::Fresh { sealed: row.sealed, scope: row.scope, expires_at: None };
            let put = move |conn: &mut fhir_engage::store::Conn| {
                fhir_engage::store::tokens::forget_all(conn, &row.ehr)?;
                fhir_engage::store::grants::put(conn, &row.ehr, &row.client, &fresh, now)
            };
            self.app.store.write_blocking(fhir_engage::store::Lane::Interactive, "test", put).unwrap();
        }
    }
}
