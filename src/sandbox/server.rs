//! Starting and stopping the sandbox, and everything a test does to it from the same process. Owns the thread that the server runs on.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::web::{self, Data};
use actix_web::{App, HttpServer};
use serde_json::Value;

use crate::apps::App as RegisteredApp;
use crate::authority::{Authority, Client, ScopeManner};
use crate::capability::token_url;
use crate::carrying;
use crate::charts::{Charts, LoadError};
use crate::create::Lateness;
use crate::desk::LaunchContext;
use crate::ehr::{Clock, Ehr};
use crate::exchange::{self, Line};
use crate::export::Exports;
use crate::faults::{Fault, Faults};
use crate::flavour::Flavour;
use crate::identity::User;
use crate::journal::JournalError;
use crate::key_sets::KeyCache;
use crate::merge::{MergeError, MergeManner};
use crate::records::known_type;
use crate::request_log::{RequestLog, RequestRecord};
use crate::search::Rules;
use crate::strict::Unstated;
use crate::subscriptions::{self, Subscriptions, Told};

/// How a sandbox is to run.
#[derive(Clone)]
pub struct Config {
    /// Where its data are kept; `None`: in memory only.
    pub dir: Option<PathBuf>,
    /// Where it listens; port 0 takes a free one.
    pub bind: SocketAddr,
    /// Its clock: microseconds since the epoch.
    pub clock: Clock,
    /// Who may ask for tokens.
    pub clients: Vec<Client>,
    /// Entries per page where `_count` is not given.
    pub page_size_default: usize,
    /// The most entries per page, whatever `_count` says.
    pub page_size_max: usize,
    /// True: no tokens; there is no smart-configuration then.
    pub open: bool,
    /// True: the administrative routes under `/sandbox/` answer.
    pub admin: bool,
    /// False: `_lastUpdated` is neither advertised nor understood, as in most vendors' EHRs.
    pub last_updated: bool,
    /// Whose server it behaves like.
    pub flavour: Flavour,
    /// True: what its statement does not list is answered 400, and counted ([`Sandbox::unstated`]).
    pub strict: bool,
}

impl Config {
    /// A sandbox in memory on a free port of loopback, with tokens, without administrative routes.
    pub fn new(clock: Clock) -> Self {
        Self {
            dir: None,
            bind: SocketAddr::from(([127, 0, 0, 1], 0)),
            clock,
            clients: Vec::new(),
            page_size_default: 50,
            page_size_max: 500,
            open: false,
            admin: false,
            last_updated: true,
            flavour: Flavour::FullR4,
            strict: false,
        }
    }
}

/// Why a sandbox did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its folder cannot be used.
    #[error("the sandbox cannot open its data")]
    Data(#[from] JournalError),
    /// Its address cannot be used.
    #[error("the sandbox cannot listen on {bind}")]
    Listen {
        /// The address asked for.
        bind: SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The server's thread did not come up.
    #[error("the sandbox's server did not start")]
    Server(#[source] std::io::Error),
}

/// A running sandbox. Dropping it stops it.
pub struct Sandbox {
    ehr: Arc<Ehr>,
    address: SocketAddr,
    handle: ServerHandle,
    thread: Option<JoinHandle<()>>,
}

/// Why a change from inside was not made.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// The type is not one that the sandbox serves.
    #[error("the sandbox does not serve this resource type")]
    UnknownType,
    /// There is no such resource.
    #[error("the sandbox has no such resource")]
    UnknownId,
    /// The journal could not be written.
    #[error("the sandbox's journal cannot be written")]
    Journal(#[source] std::io::Error),
}

/// Starts a sandbox; it answers when this returns. It runs on threads of its own, so it may be started inside any runtime.
///
/// # Errors
/// The folder cannot be used (see [`JournalError`]) or the address is taken.
pub async fn start(config: Config) -> Result<Sandbox, StartError> {
    let listen = |source| StartError::Listen { bind: config.bind, source };
    let listener = TcpListener::bind(config.bind).map_err(listen)?;
    let address = listener.local_addr().map_err(listen)?;
    let base = format!("http://{address}/fhir");
    let manner = config.flavour.manner();
    let ehr = Arc::new(Ehr {
        authority: Authority::new(&base, token_url(&base), config.clients),
        charts: Charts::open(config.dir.as_deref(), manner.versioned)?,
        base,
        clock: config.clock,
        offset: AtomicI64::new(0),
        faults: Faults::default(),
        log: RequestLog::default(),
        open: config.open,
        admin: config.admin,
        rules: Rules { count_default: config.page_size_default, count_max: config.page_size_max.max(1), last_updated: config.last_updated },
        manner,
        late: Lateness::default(),
        merges: Mutex::default(),
        pretended: std::sync::Mutex::default(),
        strict: config.strict,
        unstated: Unstated::default(),
        exports: Exports::default(),
        subscriptions: Subscriptions::default(),
    });
    let listening = Arc::downgrade(&ehr);
    ehr.charts.listen(move |kind, id| {
        if let Some(ehr) = listening.upgrade() {
            ehr.subscriptions.tell(Told::Changed(kind.to_owned(), id.to_owned()));
        }
    });
    subscriptions::start(&ehr).map_err(StartError::Server)?;
    let (tell, told) = tokio::sync::oneshot::channel();
    let shared = Arc::clone(&ehr);
    let thread =
        std::thread::Builder::new().name("sandbox".to_owned()).spawn(move || run(listener, shared, tell)).map_err(StartError::Server)?;
    let handle = told.await.map_err(|_| StartError::Server(std::io::ErrorKind::Interrupted.into()))?.map_err(StartError::Server)?;
    Ok(Sandbox { ehr, address, handle, thread: Some(thread) })
}

/// The largest body taken, in bytes.
const BODY_LIMIT: usize = 16 * 1024 * 1024;

fn run(listener: TcpListener, ehr: Arc<Ehr>, tell: tokio::sync::oneshot::Sender<std::io::Result<ServerHandle>>) {
    actix_web::rt::System::new().block_on(async move {
        let accepting = Arc::clone(&ehr);
        let server = HttpServer::new(move || {
            App::new()
                .app_data(Data::new(Arc::clone(&ehr)))
                .app_data(web::PayloadConfig::new(BODY_LIMIT))
                .default_service(web::to(exchange::answer))
        })
        .on_connect(move |connection, data| {
            if let Some(line) = connection.downcast_ref().and_then(|connection| Line::of(connection, &accepting)) {
                data.insert(line);
            }
        })
        // actix would close an idle connection after five seconds, just when a client takes it up again.
        .keep_alive(Duration::from_secs(75))
        .shutdown_timeout(1)
        .workers(2)
        .disable_signals()
        .listen(listener);
        match server.map(HttpServer::run) {
            Err(error) => drop(tell.send(Err(error))),
            Ok(server) => {
                if tell.send(Ok(server.handle())).is_ok() && server.await.is_err() {
                    tracing::error!("the sandbox's server ended with an error");
                }
            }
        }
    });
}

impl Sandbox {
    /// The FHIR base, for example `http://127.0.0.1:40123/fhir`.
    pub fn base_url(&self) -> String {
        self.ehr.base.clone()
    }

    /// The token endpoint.
    pub fn token_url(&self) -> String {
        token_url(&self.ehr.base)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Registers a client; one of the same id is replaced.
    pub fn register(&self, client: Client) {
        self.ehr.authority.register(client);
    }

    /// Registers an app: a client with a secret, or one that a person lets in. One of the same id is replaced.
    pub fn register_app(&self, app: RegisteredApp) {
        self.ehr.authority.register_app(app);
    }

    /// Who sits at the desk from now on.
    pub fn sit_down(&self, user: User) {
        self.ehr.authority.desk.lock().unwrap_or_else(PoisonError::into_inner).user = user;
    }

    /// Opens an app as the user at the desk would: the address that the browser is sent to. `None` where the app is none that can be opened.
    pub fn open_app(&self, client_id: &str, context: LaunchContext) -> Option<String> {
        self.ehr.authority.open(client_id, context)
    }

    /// Hides a patient from a user, as a sealed record is, or shows them again.
    pub fn hide(&self, subject: &str, patient: &str, hidden: bool) {
        self.ehr.authority.desk.lock().unwrap_or_else(PoisonError::into_inner).hide(subject, patient, hidden);
    }

    /// How many access tokens are in force that a user let an app have.
    pub fn tokens_of_users(&self) -> usize {
        self.ehr.authority.granted_by_users()
    }

    /// From now on the keys of a registered client are those that it publishes at a URL of this machine, kept so long.
    pub fn keys_at(&self, client_id: &str, url: &str, cache: KeyCache) {
        self.ehr.authority.keys_at(client_id, url, cache);
    }

    /// The scopes that a client asked for last.
    pub fn scopes_asked(&self) -> String {
        self.ehr.authority.asked()
    }

    /// Sets what becomes of scopes that a client may not have.
    pub fn set_scope_manner(&self, manner: ScopeManner) {
        self.ehr.authority.set_manner(manner);
    }

    /// Takes resources in as they are, with their ids and `meta`, and returns how many were new. What is there already in the same or a
    /// later version, or was deleted, stays as it is, so a load may be repeated after a restart.
    ///
    /// # Errors
    /// One of them is no FHIR resource of a served type, or the journal cannot be written; those before it, in blocks of 500, are in.
    pub fn load(&self, resources: impl IntoIterator<Item = String>) -> Result<usize, LoadError> {
        self.ehr.charts.load(resources, self.ehr.now())
    }

    /// Changes a resource as a user of the EHR would: the next version, with the time of the sandbox's clock.
    ///
    /// # Errors
    /// There is no such resource, or the journal cannot be written.
    pub fn edit(&self, resource_type: &str, id: &str, change: impl FnOnce(&mut Value)) -> Result<(), ChangeError> {
        let name = known_type(resource_type).ok_or(ChangeError::UnknownType)?;
        let mut resource = self.resource(resource_type, id).ok_or(ChangeError::UnknownId)?;
        change(&mut resource);
        let Value::Object(members) = resource else {
            return Err(ChangeError::UnknownType);
        };
        self.ehr.charts.update(name, id, members, None, self.ehr.now()).map_err(ChangeError::Journal)?;
        Ok(())
    }

    /// Deletes a resource as a user of the EHR would.
    ///
    /// # Errors
    /// There never was such a resource, or the journal cannot be written.
    pub fn delete(&self, resource_type: &str, id: &str) -> Result<(), ChangeError> {
        let name = known_type(resource_type).ok_or(ChangeError::UnknownType)?;
        match self.ehr.charts.delete(name, id, self.ehr.now()) {
            Ok(true) => Ok(()),
            Ok(false) => Err(ChangeError::UnknownId),
            Err(source) => Err(ChangeError::Journal(source)),
        }
    }

    /// Merges a patient into another as the EHR's staff would, and tells of it in a vendor's manner.
    ///
    /// # Errors
    /// One of them is not there or was merged already, or the journal cannot be written.
    pub fn merge(&self, retired: &str, survivor: &str, manner: MergeManner) -> Result<(), MergeError> {
        self.ehr.merge(retired, survivor, manner)
    }

    /// Undoes a merge: the retired record is as it was, and has again what was moved.
    ///
    /// # Errors
    /// It was not merged, or the journal cannot be written.
    pub fn unmerge(&self, retired: &str) -> Result<(), MergeError> {
        self.ehr.unmerge(retired)
    }

    /// One resource as it is served now.
    pub fn resource(&self, resource_type: &str, id: &str) -> Option<Value> {
        self.settle();
        let body = self.ehr.charts.read().get(resource_type, id)?.body.clone()?;
        serde_json::from_str(&body).ok()
    }

    /// Every resource of a type, in the order of creation.
    pub fn resources(&self, resource_type: &str) -> Vec<Value> {
        self.settle();
        let bodies: Vec<_> = self.ehr.charts.read().all(resource_type).filter_map(|entry| entry.body.clone()).collect();
        bodies.iter().filter_map(|body| serde_json::from_str(body).ok()).collect()
    }

    /// How many resources of each type there are, deleted ones not counted.
    pub fn counts(&self) -> BTreeMap<String, usize> {
        self.settle();
        self.ehr.charts.counts()
    }

    /// How many resources of a type carry a text in one of their strings, in the decoded data of an attachment, or in the Binary that they
    /// refer to. Deleted ones are not counted.
    pub fn carrying(&self, resource_type: &str, text: &str) -> usize {
        self.settle();
        carrying::count(&self.ehr.charts.read(), resource_type, text)
    }

    // What a client hung up on is done by now where its instant has come, whether or not anybody asked since.
    fn settle(&self) {
        self.ehr.settle(self.ehr.now());
    }

    /// How many resources of one type there are.
    pub fn count(&self, resource_type: &str) -> usize {
        self.counts().get(resource_type).copied().unwrap_or(0)
    }

    /// Waits until subscribers were told of everything that happened so far. Blocks.
    pub fn told(&self) {
        self.ehr.subscriptions.wait();
    }

    /// Gives every subscription with heartbeats one now. Blocks.
    pub fn heartbeat(&self) {
        self.ehr.subscriptions.tell(Told::Beat);
        self.told();
    }

    /// From now on heartbeats are given at their times.
    pub fn beat_by_itself(&self) {
        self.ehr.subscriptions.beats.store(true, Ordering::Relaxed);
    }

    /// Sends the notifications that are late by a fault. Blocks.
    pub fn release_events(&self) {
        self.ehr.subscriptions.tell(Told::Release);
        self.told();
    }

    /// The topic that tells of a type.
    pub fn topic(resource_type: &str) -> String {
        subscriptions::topic_of(resource_type)
    }

    /// How many exports nobody has deleted yet.
    pub fn open_exports(&self) -> usize {
        self.ehr.exports.count()
    }

    /// The requests so far, oldest first; at most the last 50,000.
    pub fn request_log(&self) -> Vec<RequestRecord> {
        self.ehr.log.all()
    }

    /// States this at `/metadata` from now on, whatever it does, as after an upgrade of the EHR; with `None` what it does, again.
    pub fn pretend(&self, statement: Option<&str>) {
        self.ehr.pretend(statement);
    }

    /// What was asked for without being stated, by type, interaction or search parameter, where it is [`Config::strict`].
    pub fn unstated(&self) -> Vec<String> {
        self.ehr.unstated.all()
    }

    /// Plants a fault.
    pub fn plant(&self, fault: Fault) {
        self.ehr.faults.plant(fault);
    }

    /// The faults that were not used up. A test that ends with one did not test what it says.
    pub fn unused_faults(&self) -> Vec<Fault> {
        self.ehr.faults.unused()
    }

    /// Takes every planted fault away.
    pub fn clear_faults(&self) {
        self.ehr.faults.clear();
    }

    /// Ends every token given out so far.
    pub fn revoke_tokens(&self) {
        self.ehr.authority.revoke_all();
    }

    /// Moves the sandbox's clock by so many microseconds, on top of the clock it was started with.
    pub fn advance(&self, micros: i64) {
        self.ehr.offset.fetch_add(micros, Ordering::Relaxed);
    }

    /// Stops answering and gives folder and port back.
    pub async fn stop(mut self) {
        self.handle.stop(false).await;
        self.join();
    }

    fn join(&mut self) {
        self.ehr.subscriptions.end();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the sandbox's server panicked");
        }
        self.ehr.charts.close();
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // The command is sent when `stop` is called; only waiting for it needs a runtime.
        drop(self.handle.stop(false));
        self.join();
    }
}
