//! An EHR that tells of changes, and a gateway that listens: its web server on a port of loopback, its tasks run by hand.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use chrono::TimeDelta;
use domain::Clock as _;
use domain::model::ResourceType;
use fhir_engage::app::{App, EventsReport};
use fhir_engage::store::subscriptions::{self, Row};
use fhir_engage::store::{refresh, resources};
use fhir_engage::web;
use fhir_engage::worker::Stop;
use serde_json::{Value, json};

use crate::schedule::setup::{World, north};
use crate::support::Database;
use crate::web::fixture::Server;

/// The URL of a topic of the sandbox.
pub fn topic(kind: ResourceType) -> String {
    sandbox::Sandbox::topic(kind.as_str())
}

pub struct Listening {
    pub world: World,
    pub app: Arc<App>,
    /// Where notifications are taken.
    pub server: Server,
    stop: Stop,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.stop.request();
        if !std::thread::panicking() {
            assert!(self.world.ehr.unused_faults().is_empty(), "a planted fault was not met");
        }
    }
}

impl Listening {
    /// Twenty patients, all read once, and an EHR that is asked to tell of these types, each by its topics or by a search.
    pub async fn start(db: Database, events: Value) -> Self {
        let world = World::new(db, 20, "").await;
        let app = world.node();
        let stop = Stop::new();
        let serving = web::serve_apart(
            app.web_state(None).unwrap(),
            "127.0.0.1:0".parse().unwrap(),
            Some("127.0.0.1:0".parse().unwrap()),
            stop.clone(),
        );
        let address = serving.unwrap().public.unwrap();
        let listening = Self { world, app, server: Server::seen_at(address), stop };
        listening.register(events).await;
        listening.sync().await;
        listening
    }

    /// Registers the EHR with these events and the address of this server.
    pub async fn register(&self, mut events: Value) {
        events["address"] = json!(format!("http://{}", self.server.address));
        let profile = json!({ "base_url": self.world.ehr.base_url(), "auth": { "kind": "none" }, "events": events });
        self.world.register(&north(), &profile.to_string()).await;
    }

    /// Reads all types by their other ways.
    pub async fn sync(&self) {
        let reports = self.app.sync(&north(), &ResourceType::CORE, &AtomicBool::new(false), &|_| ()).await.unwrap();
        assert!(reports.iter().all(|r| r.failure().is_none()), "{reports:?}");
    }

    /// One round of the task that looks after events.
    pub async fn round(&self) -> EventsReport {
        self.app.look_after_events(&AtomicBool::new(false)).await
    }

    /// Lets the EHR tell what it has to, off this thread: it waits for our answers.
    pub async fn told(&self) {
        let waits = |ehr: &sandbox::Sandbox| ehr.told();
        tokio::task::block_in_place(|| waits(&self.world.ehr));
    }

    pub async fn beat(&self) {
        tokio::task::block_in_place(|| self.world.ehr.heartbeat());
    }

    /// Until the subscriptions that are wanted work.
    pub async fn begin(&self) {
        let first = self.round().await;
        assert_eq!(first.failures, Vec::<String>::new());
        self.told().await;
        self.world.forward(TimeDelta::seconds(6));
        self.round().await;
        let rows = self.rows();
        assert!(!rows.is_empty() && rows.iter().all(|r| r.state == "active"), "{rows:?}");
    }

    pub fn rows(&self) -> Vec<Row> {
        self.world.store.read_blocking(subscriptions::list).unwrap()
    }

    pub fn row(&self) -> Row {
        let mut rows = self.rows();
        assert_eq!(rows.len(), 1, "{rows:?}");
        rows.remove(0)
    }

    /// How many reads wait.
    pub fn waiting(&self, kind: ResourceType) -> i64 {
        self.world.store.read_blocking(|conn| refresh::waiting(conn, &north(), kind)).unwrap()
    }

    /// The ids of a type at the EHR.
    pub fn ids(&self, kind: ResourceType) -> Vec<String> {
        self.world.ehr.resources(kind.as_str()).iter().map(|r| r["id"].as_str().unwrap().to_owned()).collect()
    }

    /// Changes a resource at the EHR, and lets it tell so.
    pub async fn edit(&self, kind: ResourceType, id: &str, note: &str) {
        self.world.ehr.edit(kind.as_str(), id, |r| r["language"] = json!(note)).unwrap();
        self.told().await;
    }

    /// A resource as it is stored; `None` where it is not, or gone.
    pub fn stored(&self, kind: ResourceType, id: &str) -> Option<Value> {
        let store = &self.world.store;
        let row = store.read_blocking(|conn| resources::get(conn, &north(), kind, id)).unwrap()?;
        let known = store.read_blocking(|conn| resources::known(conn, &north(), kind, &[id])).unwrap();
        known.get(id).filter(|k| k.gone_at.is_none())?;
        Some(serde_json::from_slice(&row.body(store.codec()).unwrap()).unwrap())
    }

    /// Whether the store has what the EHR has of a type.
    #[track_caller]
    pub fn assert_same(&self, kind: ResourceType) {
        for resource in self.world.ehr.resources(kind.as_str()) {
            let id = resource["id"].as_str().unwrap();
            assert_eq!(self.stored(kind, id).as_ref(), Some(&resource), "{kind}/{id}");
        }
    }

    /// Reads of single resources of a type so far, as the EHR counted them.
    pub fn reads(&self, kind: ResourceType) -> usize {
        let path = format!("/fhir/{kind}/");
        self.world.ehr.request_log().iter().filter(|r| r.method == "GET" && r.path.starts_with(&path)).count()
    }

    pub fn asked(&self, method: &str, path: &str) -> usize {
        self.world.ehr.request_log().iter().filter(|r| r.method == method && r.path.starts_with(path)).count()
    }

    /// Whether someone wants the type read by its other way.
    pub fn is_wanted(&self, kind: ResourceType) -> bool {
        let turn = self.world.store.read_blocking(|conn| fhir_engage::store::turns::get(conn, &north(), kind)).unwrap();
        turn.is_some_and(|t| t.wanted_at.is_some())
    }

    /// The conditions that are noted, as (kind, subject).
    pub fn conditions(&self) -> Vec<(String, String)> {
        let now = self.world.clock.now();
        let all = self.world.store.read_blocking(|conn| fhir_engage::store::alerts::conditions(conn, now)).unwrap();
        all.into_iter().map(|c| (c.kind, c.subject)).collect()
    }
}

/// What a server states of itself, read without the gateway.
pub fn fetched(base: &str) -> Value {
    use std::io::{Read as _, Write as _};
    let url = url::Url::parse(base).unwrap();
    let (host, port) = (url.host_str().unwrap(), url.port().unwrap());
    let mut stream = std::net::TcpStream::connect((host, port)).unwrap();
    write!(stream, "GET {}/metadata HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n", url.path()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let body = text.split_once("\r\n\r\n").unwrap().1;
    serde_json::from_str(&body[body.find('{').unwrap()..=body.rfind('}').unwrap()]).unwrap()
}
