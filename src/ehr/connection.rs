//! From a profile to a client that works: transport, discovery, statement, tokens, in this order.

use std::sync::Arc;
use std::time::Duration;

use domain::Clock;
use http::header::ACCEPT;
use url::Url;

use super::auth::tokens::Backend;
use super::auth::{Dialect, Signer, TokenError, Tokens};
use super::capability::{Capability, NotACapability};
use super::client::{Client, FHIR_JSON, Habits};
use super::date::Skew;
use super::discovery::{Discovery, smart_configuration_url, under};
use super::error::EhrError;
use super::pace::Paces;
use super::profile::{Auth, Profile};
use super::retry::Policy;
use super::wire::Wire;
use super::{Entropy, Secret};
use crate::net::http::SetupError;
use crate::net::{Http, Origin, Peer, Request};

/// The secret side of a profile's `auth`, fetched by whoever may.
#[derive(Clone)]
pub enum Credential {
    /// None is needed.
    None,
    /// A static token.
    Bearer(Secret),
    /// The key that is registered with the EHR.
    Key(Arc<dyn Signer>),
}

/// What a connection needs from its surroundings.
#[derive(Clone)]
pub struct Parts {
    /// The credential that the profile's `auth` points to.
    pub credential: Credential,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The system's randomness.
    pub entropy: Arc<dyn Entropy>,
    /// How often and how long apart requests are tried.
    pub retry: Policy,
    /// How fast each EHR may be asked: one for the whole process.
    pub paces: Paces,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The EHR delivers files: there is nothing to connect to.
    #[error("this EHR delivers files and has no connection")]
    FilesOnly,
    /// The file with extra authorities cannot be read.
    #[error("the extra CA file {} cannot be read", .0.display())]
    ExtraCa(std::path::PathBuf, #[source] std::io::Error),
    /// The transport could not be set up.
    #[error("the connection could not be set up")]
    Setup(#[source] SetupError),
    /// The EHR did not answer, or refused to say what it is.
    #[error("the EHR does not tell what it can do")]
    Statement(#[source] EhrError),
    /// What answers is no FHIR R4 server.
    #[error("{0}")]
    NotFhir(NotACapability),
    /// The token endpoint is on a host that nobody registered.
    #[error("the EHR's token endpoint is at {0}, which is not registered for this connection; if that is right, set auth.token_url to it")]
    TokenElsewhere(String),
    /// No token endpoint is known.
    #[error("there is nowhere to get a token")]
    Token(#[source] TokenError),
    /// `auth` and the credential handed in do not belong together.
    #[error("the connection's auth asks for another kind of credential than was given")]
    Credential,
}

/// A connected EHR.
#[derive(Clone, Debug)]
pub struct Connection {
    /// What may be asked.
    pub client: Client,
    /// What the EHR says it can do.
    pub capability: Capability,
    /// What it says of its authorisation.
    pub discovery: Discovery,
}

impl Connection {
    /// Connects: reads smart-configuration and `/metadata`, and prepares tokens. No token is asked for before the first request.
    ///
    /// # Errors
    /// [`ConnectError`], each with what to do.
    pub async fn open(profile: &Profile, parts: &Parts) -> Result<Self, ConnectError> {
        let mut approach = Approach::new(profile, parts)?;
        let mut discovery = approach.smart_configuration().await.unwrap_or_default();
        // Some EHRs give even their statement only to clients that are authorised.
        let authorised = match approach.authorise(profile, parts, &discovery) {
            Err(ConnectError::Token(TokenError::NoTokenEndpoint)) => false,
            done => done.map(|()| true)?,
        };
        let (capability, from_statement) = approach.statement().await?;
        if !authorised {
            discovery = discovery.or(from_statement);
            approach.authorise(profile, parts, &discovery)?;
        }
        Ok(Self { client: approach.client(profile), capability, discovery })
    }
}

/// A connection in the making. `check` walks the same steps and stops to look at each.
pub(super) struct Approach {
    pub base: Url,
    pub wire: Wire,
    /// For files: the same peer and where it may give files from.
    files: Http,
}

impl Approach {
    pub fn new(profile: &Profile, parts: &Parts) -> Result<Self, ConnectError> {
        let base = profile.base_url.clone().ok_or(ConnectError::FilesOnly)?;
        let origin = Origin::of(&base).ok_or(ConnectError::NotFhir(NotACapability::NotAStatement))?;
        let mut peer = Peer::at(vec![origin.clone()]);
        peer.origins.extend(registered_token_url(profile).and_then(Origin::of));
        peer.allow_insecure = profile.allow_insecure;
        if let Some(seconds) = profile.timeout_secs {
            peer.timeout = Duration::from_secs(seconds);
        }
        if let Some(path) = &profile.extra_ca {
            peer.extra_ca = Some(std::fs::read(path).map_err(|e| ConnectError::ExtraCa(path.clone(), e))?);
        }
        let mut from = peer.clone();
        from.origins.extend(profile.bulk.download_origins());
        let files = Http::for_files(from).map_err(ConnectError::Setup)?;
        let wire = Wire {
            http: Http::new(peer).map_err(ConnectError::Setup)?,
            tokens: Arc::new(Tokens::none()),
            origin,
            policy: parts.retry,
            clock: parts.clock.clone(),
            entropy: parts.entropy.clone(),
            skew: Arc::new(Skew::default()),
            pace: parts.paces.of(&base, profile.requests_per_second),
        };
        Ok(Self { base, wire, files })
    }

    /// The smart-configuration document; `None` where there is none that can be read, which is no fault of an open or an older EHR.
    pub async fn smart_configuration(&self) -> Option<Discovery> {
        let request = Request::get(smart_configuration_url(&self.base)?).header(ACCEPT, "application/json");
        let response = self.wire.open(&request).await.success().ok()?;
        Discovery::from_smart_configuration(&response.body, &self.base)
    }

    /// What the EHR says of itself. Asked without a token first, as the standard has it; with one where the EHR insists.
    pub async fn statement(&self) -> Result<(Capability, Discovery), ConnectError> {
        let nowhere = || ConnectError::NotFhir(NotACapability::NotAStatement);
        let request = Request::get(under(&self.base, "metadata").ok_or_else(nowhere)?).header(ACCEPT, FHIR_JSON);
        let mut answer = self.wire.open(&request).await.success();
        if matches!(answer, Err(EhrError::Refused { status: 401 | 403, .. })) {
            let reads = Client::default_reads();
            let again = self.wire.send(super::retry::Intent::Read, &request, &reads, "Patient").await;
            answer = again.and_then(super::wire::Ended::success);
        }
        let response = match answer {
            // A server that knows no such path is no FHIR server, or not at this base.
            Err(EhrError::Refused { status: 404 | 405, .. }) => return Err(nowhere()),
            other => other.map_err(ConnectError::Statement)?,
        };
        Capability::read(&response.body, &self.base).map_err(ConnectError::NotFhir)
    }

    /// Puts the tokens in place that the profile asks for.
    pub fn authorise(&mut self, profile: &Profile, parts: &Parts, discovery: &Discovery) -> Result<(), ConnectError> {
        let tokens = match (&profile.auth, &parts.credential) {
            (Auth::None, _) => Tokens::none(),
            (Auth::Bearer { .. }, Credential::Bearer(token)) => Tokens::fixed(token.clone()),
            (Auth::BackendServices(backend), Credential::Key(signer)) => {
                let own = backend.token_url.as_ref();
                let token_url = own.or(discovery.token_url.as_ref()).cloned().ok_or(ConnectError::Token(TokenError::NoTokenEndpoint))?;
                let audience = match (own, &discovery.token_endpoint) {
                    (None, Some(written)) => written.clone(),
                    _ => token_url.to_string(),
                };
                let origin = Origin::of(&token_url).filter(|o| self.wire.http.origins().contains(o));
                if origin.is_none() {
                    return Err(ConnectError::TokenElsewhere(token_url.origin().ascii_serialization()));
                }
                Tokens::backend(Backend {
                    http: self.wire.http.clone(),
                    token_url,
                    audience,
                    client_id: backend.client_id.clone(),
                    signer: signer.clone(),
                    dialect: backend.dialect.unwrap_or_else(|| Dialect::of(&discovery.capabilities)),
                    scopes: backend.scopes.clone(),
                    clock: parts.clock.clone(),
                    entropy: parts.entropy.clone(),
                    skew: self.wire.skew.clone(),
                    pace: self.wire.pace.clone(),
                })
            }
            _ => return Err(ConnectError::Credential),
        };
        self.wire.tokens = Arc::new(tokens);
        Ok(())
    }

    pub fn client(self, profile: &Profile) -> Client {
        Client {
            wire: self.wire,
            files: self.files,
            base: self.base,
            habits: Habits {
                page_size: profile.page_size,
                page_size_param: profile.page_size_param.clone().or_else(|| profile.preset()?.sync.page_size.clone()),
                search_by_post: profile.search_by_post,
            },
            reads: Client::reads_of(profile).into(),
            writes: Client::default_writes().into(),
        }
    }
}

fn registered_token_url(profile: &Profile) -> Option<&Url> {
    match &profile.auth {
        Auth::BackendServices(backend) => backend.token_url.as_ref(),
        Auth::None | Auth::Bearer { .. } => None,
    }
}
