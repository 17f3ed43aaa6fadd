//! A gateway with its pages, a pretend EHR that launches it, and a browser that keeps cookies as browsers do.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use domain::clock::ManualClock;
use domain::model::EhrId;
use domain::{Clock, Timestamp};
use fhir_engage::app::App;
use fhir_engage::config::Config;
use fhir_engage::ehr::auth::SecretMethod;
use fhir_engage::ehr::profile::{AppLaunch, Auth, Profile, UserGrant};
use fhir_engage::smart::Opening;
use fhir_engage::store::{ehrs, openings};
use fhir_engage::web;
use fhir_engage::worker::Stop;
use sandbox::{LaunchContext, Population, Sandbox};
use url::Url;

use crate::support::{Database, TempDir};
use crate::web::fixture::{Answer, Server};

pub const EHR: &str = "north";
pub const CLIENT: &str = "gateway-launch";
const SECRET: &str = "a secret & more";
pub const SCOPES: &str = "user/Patient.rs user/Patient.read user/Appointment.rs user/Encounter.rs patient/Patient.read patient/Patient.rs";

/// How the gateway is registered for launches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Public,
    Basic,
    Post,
    Key,
}

pub const KINDS: [Kind; 4] = [Kind::Public, Kind::Basic, Kind::Post, Kind::Key];

pub struct World {
    pub app: Arc<App>,
    pub ehr: Sandbox,
    pub clock: Arc<ManualClock>,
    pub address: SocketAddr,
    stop: Stop,
    data: TempDir,
    db: Database,
}

impl World {
    pub async fn begin(db: Database, kind: Kind) -> Self {
        Self::configured(db, kind, "").await
    }

    /// With a `[staff]` section of a configuration.
    pub async fn configured(db: Database, kind: Kind, staff: &str) -> Self {
        let clock = Arc::new(ManualClock::at(Timestamp::parse("2026-11-23T18:05:00Z").unwrap()));
        let data = TempDir::new();
        std::fs::write(data.join("secret"), SECRET).unwrap();
        std::fs::write(data.join("fhir-engage.toml"), format!("[staff]\n{staff}")).unwrap();
        let mut config = Config::load(None, data.path()).unwrap();
        config.database.url = db.argument().into();
        let app = Arc::new(App::open_with(config, data.path(), Some(clock.clone())).unwrap());
        let time = clock.clone();
        let ehr = sandbox::start(sandbox::Config::new(Arc::new(move || time.now().micros()))).await.unwrap();
        let people = Population { patients: 4, seed: 7, as_of_micros: clock.now().micros(), zone: chrono_tz::America::New_York };
        ehr.load(people.resources()).unwrap();
        let stop = Stop::new();
        let (address, _) = web::serve(app.web_state(None).unwrap(), "127.0.0.1:0".parse().unwrap(), stop.clone()).unwrap();
        let world = Self { app, ehr, clock, address, stop, data, db };
        world.registers(kind).await;
        world
    }

    async fn registers(&self, kind: Kind) {
        let redirect = format!("http://{}/callback", self.address);
        let public =
            sandbox::App { launch_url: Some(format!("http://{}/launch", self.address)), ..sandbox::App::public(CLIENT, &redirect, SCOPES) };
        let secret = Some(SECRET.to_owned());
        self.ehr.register_app(match kind {
            Kind::Public => public,
            Kind::Basic => sandbox::App { secret, post: false, ..public },
            Kind::Post => sandbox::App { secret, basic: false, ..public },
            Kind::Key => {
                self.app.ensure_key(fhir_engage::ehr::auth::Algorithm::Es384).await.unwrap();
                sandbox::App { jwks: Some(serde_json::from_str(&self.app.jwks().await.unwrap()).unwrap()), ..public }
            }
        });
        let grant = UserGrant {
            client_id: CLIENT.to_owned(),
            secret: matches!(kind, Kind::Basic | Kind::Post).then(|| format!("file:{}", self.data.join("secret").display())),
            method: (kind == Kind::Post).then_some(SecretMethod::Post),
            key: kind == Kind::Key,
            ..UserGrant::default()
        };
        self.launches_by(AppLaunch { auth: Auth::UserGrant(grant), ..AppLaunch::default() }).await;
    }

    /// Registers the EHR with this for launches.
    pub async fn launches_by(&self, launch: AppLaunch) {
        let base_url = Some(self.ehr.base_url().parse().unwrap());
        let profile = Profile { base_url, launch: Some(Box::new(launch)), timeout_secs: Some(5), ..Profile::default() };
        profile.check().unwrap();
        let (text, now, id) = (profile.to_json(), self.clock.now(), EhrId::parse(EHR).unwrap());
        self.app.store.write("test", move |conn| ehrs::put(conn, &id, &text, now)).await.unwrap();
    }

    /// What is registered for launches.
    pub async fn launch(&self) -> AppLaunch {
        *self.app.profile(&EhrId::parse(EHR).unwrap()).await.unwrap().launch.unwrap()
    }

    pub fn browser(&self) -> Browser {
        Browser { ours: Server::seen_at(self.address), theirs: Server::seen_at(self.ehr.address()), cookies: BTreeMap::new() }
    }

    pub fn lines(&self, sql: &str) -> Vec<String> {
        self.db.lines(sql)
    }

    pub fn execute(&self, sql: &str) {
        self.db.execute(sql);
    }

    /// How many rows a table has.
    pub fn count(&self, table: &str) -> usize {
        self.lines(&format!("SELECT 'x' AS line FROM {table}")).len()
    }

    /// Requests to the EHR that begin so, by method and path.
    pub fn asked(&self, method: &str, path: &str) -> usize {
        self.ehr.request_log().iter().filter(|r| r.method == method && r.path.starts_with(path)).count()
    }

    /// The opening of a page's address, whoever it is of.
    pub fn opening(&self, path: &str) -> Option<openings::OpeningRow> {
        let (handle, now) = (path.strip_prefix("/l/")?.to_owned(), self.clock.now());
        let session = self.lines(&format!("SELECT session AS line FROM opening WHERE handle = '{handle}'")).pop()?;
        self.app.store.read_blocking(move |conn| openings::get(conn, &handle, &session, now)).unwrap()
    }

    /// The opening as the gateway reads it.
    pub async fn opened(&self, path: &str) -> Opening {
        let row = self.opening(path).unwrap();
        self.app.sessions().opening(&row.handle, &row.session).await.unwrap().unwrap()
    }

    /// A whole EHR launch in this browser; the last answer, which is that of our callback.
    pub async fn launched(&self, browser: &mut Browser, context: LaunchContext) -> Answer {
        let back = self.sent_back(browser, context).await;
        browser.get(&back).await
    }

    /// An EHR launch up to where the EHR sends the browser back to us.
    pub async fn sent_back(&self, browser: &mut Browser, context: LaunchContext) -> Url {
        let start: Url = self.ehr.open_app(CLIENT, context).unwrap().parse().unwrap();
        let to_ehr = browser.get(&start).await.goes_to(&start);
        let answer = browser.get(&to_ehr).await;
        answer.goes_to(&to_ehr)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.request();
        if !std::thread::panicking() {
            assert!(self.ehr.unused_faults().is_empty(), "a planted fault was not met");
        }
    }
}

/// A patient that the population has.
pub fn patient(world: &World, index: usize) -> String {
    world.ehr.resources("Patient")[index]["id"].as_str().unwrap().to_owned()
}

/// A browser with its cookies; ours and the EHR's are on different ports, and cookies know no ports, but these know their names.
pub struct Browser {
    ours: Server,
    theirs: Server,
    pub cookies: BTreeMap<String, String>,
}

impl Browser {
    /// The header that brings the cookies.
    pub fn cookie(&self) -> String {
        self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
    }

    /// Goes to an address of ours or of the EHR's.
    pub async fn get(&mut self, url: &Url) -> Answer {
        let path = &url[url::Position::BeforePath..url::Position::AfterQuery];
        if url.port() == Some(self.theirs.address.port()) {
            return self.theirs.get(path).await;
        }
        self.page(path).await
    }

    /// Goes to a page of ours.
    pub async fn page(&mut self, path: &str) -> Answer {
        let cookie = self.cookie();
        let answer = self.ours.send("GET", path, &[("Cookie", &cookie), ("Accept", "text/html"), ("Sec-Fetch-Mode", "navigate")]).await;
        self.keeps(&answer);
        answer
    }

    /// Goes to a page of ours in a frame.
    pub async fn in_frame(&mut self, path: &str) -> Answer {
        let headers = [("Accept", "text/html"), ("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "iframe")];
        self.ours.send("GET", path, &headers).await
    }

    /// Goes to a page of ours under a host that the request makes up.
    pub async fn of_host(world: &World, host: &str, path: &str) -> Answer {
        let mut server = Server::seen_at(world.address);
        server.host = Some(host.to_owned());
        server.get(path).await
    }

    /// Sends a form from a page of ours.
    pub async fn sends(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let answer = self.ours.post(path, &self.cookie(), fields).await;
        self.keeps(&answer);
        answer
    }

    fn keeps(&mut self, answer: &Answer) {
        let Some(set) = answer.headers.get("set-cookie") else { return };
        assert!(set.contains("; Path=/; Secure; HttpOnly; SameSite=None; Partitioned"), "{set}");
        let (name, value) = set.split(';').next().unwrap().split_once('=').unwrap();
        if set.contains("Max-Age=0") {
            self.cookies.remove(name);
        } else {
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
    }
}

impl Answer {
    /// Where the browser is sent.
    #[track_caller]
    pub fn goes_to(&self, from: &Url) -> Url {
        let location = self.headers.get("location").unwrap_or_else(|| panic!("{} is no redirect: {}", self.status, self.body));
        from.join(location).unwrap()
    }

    /// The path of ours that the browser is sent to.
    #[track_caller]
    pub fn lands_at(&self) -> String {
        assert_eq!(self.status, 303, "{}", self.body);
        self.headers["location"].clone()
    }

    /// Nobody was let in, and the page says why.
    #[track_caller]
    pub fn refuses(&self, status: u16, says: &str) {
        assert_eq!(self.status, status, "{}", self.body);
        assert!(self.body.contains(says), "{says:?} is not in: {}", self.body);
        assert!(!self.headers.get("set-cookie").is_some_and(|c| c.starts_with("engage=")), "somebody was signed in");
        assert_eq!(self.headers["content-type"], "text/html; charset=utf-8");
    }
}
