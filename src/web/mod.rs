//! The HTTP server: probes, metrics, keys, an overview page and a small API for operators. The only user of actix.
//!
//! [`routes`] lists every route on one screen with who may call it. A handler reads through `store::view` and the doors of other modules;
//! it holds no SQL and no FHIR path. What goes wrong becomes a problem document in [`problem`]. [`edge`] is what every request passes:
//! request id, limits, security headers, one log line.
//!
//! actix's workers are single-threaded, so nothing here may block: the store runs its work on other threads.

mod access;
mod address;
mod api;
mod boards;
mod cookies;
pub mod desk;
pub mod edge;
mod fhir;
pub mod form;
mod health;
mod jwks;
mod kept;
mod launch;
mod list;
mod metrics;
pub mod notice;
pub mod notifications;
pub mod opening;
pub mod patient;
mod plot;
mod prefix;
pub mod problem;
pub mod routes;
mod script;
mod signin;
mod style;
pub mod viewer;
mod words;

pub use script::path as script_path;

use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use actix_web::{App, HttpServer, web};
use chrono::TimeDelta;
use chrono_tz::Tz;
use domain::{Clock, model::Phi};
use tokio::task::JoinHandle;
use url::Url;

use self::kept::Kept;
use crate::patient::Reach;
use crate::smart::{Launches, Provider, Sessions};
use crate::store::view::outreach;
use crate::store::view::overview::{self, Overview};
use crate::store::view::work::{self, Queue};
use crate::store::{Store, StoreError};
use crate::telemetry::Metrics;
use crate::worker::{Health, Stop};

/// The public keys as a JWK Set (RFC 7517), read anew for each request.
pub type JwksProvider = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Result<String, StoreError>> + Send>> + Send + Sync>;

/// What is asked to be explained.
#[derive(Clone, Debug)]
pub struct Question {
    /// The EHR.
    pub ehr: String,
    /// The patient's logical id there.
    pub patient: Phi<String>,
    /// One segment only.
    pub segment: Option<String>,
}

/// What is answered to a [`Question`].
#[derive(Clone, Debug)]
pub enum Explained {
    /// The explanations, as JSON.
    Told(Phi<String>),
    /// No such patient is known.
    NoPatient,
    /// No such segment is in force.
    NoSegment,
}

/// Tells why a patient is in segments, or not.
pub type Explain = Arc<dyn Fn(Question) -> Pin<Box<dyn Future<Output = Result<Explained, StoreError>> + Send>> + Send + Sync>;

/// What the server needs. `app` puts it together.
pub struct WebState {
    /// The store.
    pub store: Store,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The site's name, for the page's heading.
    pub site: String,
    /// The zone that the page shows times in.
    pub zone: Tz,
    /// The tasks of this process; `None` where it only serves.
    pub tasks: Option<Health>,
    /// The process's metrics.
    pub metrics: Metrics,
    /// The public keys.
    pub jwks: JwksProvider,
    /// Why patients are in segments, or not.
    pub explain: Explain,
    /// How long what is known may be read from an EHR before, for people to go by it.
    pub max_age: TimeDelta,
    /// The bearer of the API; without one, all its routes answer 401.
    pub bearer: Option<Phi<String>>,
    /// What the dashboard asks beside the store, and its acts.
    pub desk: Arc<dyn desk::Desk>,
    /// What pages of a patient show and do.
    pub patients: Arc<dyn patient::Patients>,
    /// Who is signed in.
    pub sessions: Sessions,
    /// Launches from EHRs.
    pub launches: Launches,
    /// The site's own provider, where there is one.
    pub provider: Option<Provider>,
    /// What a page says where the EHR does not let the user see the patient, in the site's words.
    pub denied: Option<String>,
    /// How much a page that an EHR launched shows of the patient's other records, which that EHR was not asked for.
    pub elsewhere: Reach,
    /// Takes in what EHRs tell of by themselves.
    pub notified: notifications::Notified,
    /// The URL under which browsers reach this server, where it is behind a proxy.
    pub external: Option<Url>,
    /// A random number: request ids of this process begin with it.
    pub process: u64,
    /// How long counts are kept for the page and the metrics, which anyone may ask for: counting reads whole tables.
    pub keep_counts: Duration,
}

impl std::fmt::Debug for WebState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WebState")
    }
}

/// What an act has to say on the next page of its session.
type Said = (words::Mood, String);

/// The state as handlers see it.
struct Served {
    given: WebState,
    requests: AtomicU64,
    counts: Arc<Kept<Overview>>,
    attempts: Arc<Kept<outreach::Counts>>,
}

impl Served {
    fn new(given: WebState) -> Self {
        let kept = given.keep_counts;
        Self {
            counts: Kept::new(given.store.clone(), kept, overview::read),
            attempts: Kept::new(given.store.clone(), kept, outreach::counts),
            requests: AtomicU64::new(0),
            given,
        }
    }

    /// Gives back what EHRs granted to openings that have ended, (EHR, handle) each. The page does not wait for it.
    fn give_back(&self, ended: Vec<(String, String)>) {
        if !ended.is_empty() {
            let launches = self.given.launches.clone();
            actix_web::rt::spawn(async move { launches.give_back(ended).await });
        }
    }

    /// The counts, a little old at most.
    async fn overview(&self) -> Result<Arc<Overview>, StoreError> {
        self.counts.get().await
    }

    /// Attempts in counts, a little old at most.
    async fn attempts(&self) -> Result<Arc<outreach::Counts>, StoreError> {
        self.attempts.get().await
    }

    /// What waits for a person, now.
    async fn queue(&self) -> Result<Queue, StoreError> {
        let now = self.given.clock.now();
        self.given.store.snapshot(move |conn| work::read(conn, now)).await
    }

    /// Something was done: what was counted is no longer so.
    fn forget(&self) {
        self.counts.forget();
        self.attempts.forget();
    }

    /// Keeps what an act has to say for the next page of its session, at whichever node that is asked for.
    async fn leave_note(&self, session: &str, (mood, words): Said) -> Result<(), StoreError> {
        self.given.sessions.leave_note(session, &format!("{} {words}", mood.class())).await
    }

    /// Takes what the last act of a session has to say: it is shown once.
    async fn take_note(&self, viewer: &viewer::Viewer) -> Result<Option<Said>, StoreError> {
        let Some(note) = &viewer.note else { return Ok(None) };
        self.given.sessions.clear_note(&viewer.session, note.expose()).await?;
        let said = note.expose().split_once(' ').and_then(|(mood, words)| Some((words::Mood::parse(mood)?, words.to_owned())));
        Ok(said)
    }
}

/// Why the server could not begin.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address cannot be had.
    #[error("cannot listen on {bind}: {}; choose another web.bind or stop what listens there", .source.kind())]
    Bind {
        /// The address.
        bind: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Its thread could not be made.
    #[error("the server's thread could not be started")]
    Thread(#[source] std::io::Error),
}

const WORKERS: usize = 2;
const CONNECTIONS_PER_WORKER: usize = 1_000;
/// How long open requests have to end once the program stops.
const GRACE_SECONDS: u64 = 10;

/// Begins to serve on `bind` (port 0: any free one) until `stop`; returns the address and what ends when the last request was answered.
///
/// Works under any tokio runtime: the server has its own thread and its own actix system.
///
/// # Errors
/// [`ServeError`] where the address cannot be had.
pub fn serve(state: WebState, bind: SocketAddr, stop: Stop) -> Result<(SocketAddr, JoinHandle<()>), ServeError> {
    let served = serve_apart(state, bind, None, stop)?;
    Ok((served.address, served.running))
}

/// What serves.
#[derive(Debug)]
pub struct Serving {
    /// Where everything answers.
    pub address: SocketAddr,
    /// Where only what is public answers.
    pub public: Option<SocketAddr>,
    /// Ends when the last request was answered.
    pub running: JoinHandle<()>,
}

/// As [`serve`], with what is public on a listener of its own, too: the one that a firewall lets others reach.
///
/// # Errors
/// [`ServeError`] where an address cannot be had.
pub fn serve_apart(state: WebState, bind: SocketAddr, public: Option<SocketAddr>, stop: Stop) -> Result<Serving, ServeError> {
    // Bound here and not by actix, so that a port in use is told before anything else starts.
    let listener = listen(bind)?;
    let apart = public.map(listen).transpose()?;
    let address = listener.1;
    let public = apart.as_ref().map(|(_, address)| *address);
    let served = web::Data::new(Served::new(state));
    tokio::spawn(Arc::clone(&served.counts).keep_warm(stop.clone()));
    tokio::spawn(Arc::clone(&served.attempts).keep_warm(stop.clone()));
    let all = run(served.clone(), listener.0, false, stop.clone())?;
    let few = apart.map(|(listener, _)| run(served, listener, true, stop)).transpose()?;
    let running = tokio::spawn(async move {
        for end in std::iter::once(all).chain(few) {
            if let Ok(Err(error)) = end.await {
                tracing::error!(error = %error.kind(), "the web server ended early");
            }
        }
    });
    Ok(Serving { address, public, running })
}

fn listen(bind: SocketAddr) -> Result<(TcpListener, SocketAddr), ServeError> {
    let failed = |source| ServeError::Bind { bind, source };
    let listener = TcpListener::bind(bind).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

type End = tokio::sync::oneshot::Receiver<std::io::Result<()>>;

fn run(served: web::Data<Served>, listener: TcpListener, public_only: bool, stop: Stop) -> Result<End, ServeError> {
    let (ended, end) = tokio::sync::oneshot::channel();
    let run = move || {
        let server = HttpServer::new(move || {
            App::new()
                .app_data(served.clone())
                .app_data(web::PayloadConfig::new(edge::BODY_LIMIT))
                .app_data(web::QueryConfig::default().error_handler(|_, _| problem::Problem::bad_query().into()))
                .wrap(actix_web::middleware::from_fn(edge::pass))
                .configure(|config| routes::configure(config, public_only))
        })
        .workers(WORKERS)
        .max_connections(CONNECTIONS_PER_WORKER)
        .client_request_timeout(Duration::from_secs(10))
        .keep_alive(Duration::from_secs(30))
        .shutdown_timeout(GRACE_SECONDS)
        .shutdown_signal(async move { stop.requested().await })
        .listen(listener);
        let result = server.and_then(|server| actix_web::rt::System::new().block_on(server.run()));
        drop(ended.send(result));
    };
    let name = if public_only { "web-public" } else { "web" };
    std::thread::Builder::new().name(name.to_owned()).spawn(run).map_err(ServeError::Thread)?;
    Ok(end)
}
