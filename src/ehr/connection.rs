//! From a profile to a client that works: transport, discovery, statement, tokens, in this order.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::Clock;
use http::header::ACCEPT;
use url::Url;

use super::auth::client::{OAuth, ShownBy};
use super::auth::keeper::OneKey;
use super::auth::tokens::Way;
use super::auth::{Dialect, Keeper, Keyring, Level, SecretMethod, Signer, TokenError, Tokens};
use super::capability::{Capability, NotACapability};
use super::client::{Client, FHIR_JSON, Habits};
use super::date::Skew;
use super::discovery::{Discovery, smart_configuration_url, under};
use super::error::EhrError;
use super::limits::Limits;
use super::pace::{Class, Paces, Paused};
use super::profile::{Auth, Profile, PurposeScopes};
use super::retry::Policy;
use super::wire::Wire;
use super::{Entropy, Secret};
use crate::net::Certificate;
use crate::net::http::SetupError;
use crate::net::proxy::Exception;
use crate::net::{EgressProxy, Http, Origin, Peer, Request, Response};

/// The secret side of a profile's `auth`, fetched by whoever may.
#[derive(Clone)]
pub enum Credential {
    /// None is needed.
    None,
    /// A static token.
    Bearer(Secret),
    /// The key that is registered with the EHR.
    Key(Arc<dyn Signer>),
    /// The keys of a rotation.
    Keys(Arc<dyn Keyring>),
    /// A client's secret.
    Secret(Secret),
    /// All that an EHR's profile points to.
    Wallet(Arc<Wallet>),
}

/// All secrets of one EHR, and where what is got by them is kept.
#[derive(Clone)]
pub struct Wallet {
    /// Each credential by its name, the EHR's own under the empty name.
    pub credentials: BTreeMap<String, Credential>,
    /// Where tokens and grants are shared with other nodes; each process for itself where absent.
    pub keeper: Option<Arc<dyn Keeper>>,
    /// The private key of the client certificate, PEM.
    pub client_key: Option<Secret>,
    /// The password for the proxy.
    pub proxy_password: Option<Secret>,
}

impl Credential {
    fn named(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Wallet(wallet) => wallet.credentials.get(name),
            own if name.is_empty() => Some(own),
            _ => None,
        }
    }

    fn wallet(&self) -> Option<&Wallet> {
        match self {
            Self::Wallet(wallet) => Some(wallet),
            _ => None,
        }
    }

    /// The keys that a credential signs with.
    pub(super) fn keyring(&self, name: &str) -> Option<Arc<dyn Keyring>> {
        match self.named(name)? {
            Self::Key(signer) => Some(Arc::new(OneKey(Arc::clone(signer)))),
            Self::Keys(ring) => Some(Arc::clone(ring)),
            _ => None,
        }
    }
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
    /// The file with the client certificate cannot be read.
    #[error("the client certificate {} cannot be read", .0.display())]
    ClientCertificate(std::path::PathBuf, #[source] std::io::Error),
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
    #[error(
        "the EHR's token endpoint is at {0}, which is not registered for this connection; if that is right, name it with \
         `ehr add --token-url URL`"
    )]
    TokenElsewhere(String),
    /// No token endpoint is known.
    #[error("there is nowhere to get a token")]
    Token(#[source] TokenError),
    /// `auth` and the credential handed in do not belong together.
    #[error("the connection's auth asks for another kind of credential than was given")]
    Credential,
}

impl ConnectError {
    /// For how long nothing is to be asked of the EHR, where that is why.
    #[must_use]
    pub fn pause(&self) -> Option<Paused> {
        match self {
            Self::Statement(error) => error.pause(),
            Self::Token(error) => error.pause(),
            _ => None,
        }
    }
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
    /// The certificate that its server showed, and at which origin; `None` without TLS.
    pub certificate: Option<(String, Certificate)>,
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
        let certificate = approach.certificate();
        Ok(Self { client: approach.client(profile).within(profile, &capability), capability, discovery, certificate })
    }
}

/// A connection in the making. `check` walks the same steps and stops to look at each.
pub(super) struct Approach {
    pub base: Url,
    pub wire: Wire,
    certificate: Mutex<Option<Certificate>>,
    /// For files: the same peer and where it may give files from.
    files: Http,
}

impl Approach {
    pub fn new(profile: &Profile, parts: &Parts) -> Result<Self, ConnectError> {
        let base = profile.base_url.clone().ok_or(ConnectError::FilesOnly)?;
        let origin = Origin::of(&base).ok_or(ConnectError::NotFhir(NotACapability::NotAStatement))?;
        let mut peer = Peer::at(vec![origin.clone()]);
        peer.origins.extend(profile.launch.iter().flat_map(|l| &l.origins).filter_map(Origin::of));
        peer.origins.extend(profile.all_auth().filter_map(|(_, auth)| auth.token_url().and_then(Origin::of)));
        peer.allow_insecure = profile.allow_insecure;
        if let Some(seconds) = profile.timeout_secs {
            peer.timeout = Duration::from_secs(seconds);
        }
        if let Some(path) = &profile.extra_ca {
            peer.extra_ca = Some(std::fs::read(path).map_err(|e| ConnectError::ExtraCa(path.clone(), e))?);
        }
        let wallet = parts.credential.wallet();
        if let Some(shown) = &profile.client_certificate {
            let key = wallet.and_then(|w| w.client_key.as_ref()).ok_or(ConnectError::Credential)?;
            let chain = std::fs::read_to_string(&shown.certificate);
            let chain = chain.map_err(|e| ConnectError::ClientCertificate(shown.certificate.clone(), e))?;
            peer.identity = Some(Secret::new(format!("{chain}\n{}", key.expose())));
        }
        if let Some(proxy) = &profile.proxy {
            let login = match &proxy.user {
                Some(user) => Some((user.clone(), wallet.and_then(|w| w.proxy_password.clone()).ok_or(ConnectError::Credential)?)),
                None => None,
            };
            let except = proxy.except.iter().filter_map(|text| Exception::parse(text)).collect();
            peer.proxy = Some(EgressProxy { url: proxy.url.clone(), login, except });
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
            headers: profile.request_headers().into_iter().filter_map(|(name, value)| Some((name.parse().ok()?, value))).collect(),
            pace: parts.paces.of(Limits::of(profile, &base), &parts.clock),
            class: Class::Read,
        };
        Ok(Self { base, wire, certificate: Mutex::default(), files })
    }

    /// The certificate that the server showed so far, and at which origin.
    pub fn certificate(&self) -> Option<(String, Certificate)> {
        let seen = self.certificate.lock().unwrap_or_else(PoisonError::into_inner).clone();
        seen.map(|certificate| (self.wire.origin.to_string(), certificate))
    }

    /// The smart-configuration document; `None` where there is none that can be read, which is no fault of an open or an older EHR.
    pub async fn smart_configuration(&self) -> Option<Discovery> {
        let request = Request::get(smart_configuration_url(&self.base)?).header(ACCEPT, "application/json");
        let response = self.wire.open(&request).await.ok()?.success().ok()?;
        Discovery::from_smart_configuration(&response.body, &self.base)
    }

    /// The OpenID configuration that stands under the base, or `None` where there is none.
    pub(super) async fn openid_configuration(&self) -> Option<Discovery> {
        let request = Request::get(under(&self.base, ".well-known/openid-configuration")?).header(ACCEPT, "application/json");
        let response = self.wire.open(&request).await.ok()?.success().ok()?;
        Discovery::from_smart_configuration(&response.body, &self.base)
    }

    /// What the EHR says of itself. Asked without a token first, as the standard has it; with one where the EHR insists.
    pub async fn statement(&self) -> Result<(Capability, Discovery), ConnectError> {
        let nowhere = || ConnectError::NotFhir(NotACapability::NotAStatement);
        let request = Request::get(under(&self.base, "metadata").ok_or_else(nowhere)?).header(ACCEPT, FHIR_JSON);
        let mut answer = self.wire.open(&request).await.and_then(super::wire::Ended::success);
        if matches!(answer, Err(EhrError::Refused { status: 401 | 403, .. })) {
            let reads = Client::default_reads();
            let again = self.wire.send(super::retry::Intent::Read, &request, &reads, "Patient").await;
            answer = again.and_then(super::wire::Ended::success);
        }
        if let Ok(Response { certificate: Some(certificate), .. }) = &answer {
            *self.certificate.lock().unwrap_or_else(PoisonError::into_inner) = Some(certificate.clone());
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
        let keeper = || parts.credential.wallet().and_then(|w| w.keeper.clone());
        let mut tokens = Tokens::by(self.way("", &profile.auth, profile, parts, discovery)?, keeper());
        for (name, of_types) in &profile.credentials {
            let way = self.way(name, &of_types.auth, profile, parts, discovery)?;
            tokens = tokens.with(name, &of_types.types, way, keeper());
        }
        self.wire.tokens = Arc::new(tokens);
        Ok(())
    }

    fn way(&self, name: &str, auth: &Auth, profile: &Profile, parts: &Parts, discovery: &Discovery) -> Result<Way, ConnectError> {
        let credential = parts.credential.named(name);
        match (auth, credential) {
            (Auth::None, _) => Ok(Way::Open),
            (Auth::Bearer { .. }, Some(Credential::Bearer(token))) => Ok(Way::Fixed(token.clone())),
            (Auth::Bearer { .. }, _) => Err(ConnectError::Credential),
            (Auth::UserGrant(_), _) => Ok(Way::Person(Box::new(self.oauth(name, auth, profile, parts, discovery)?))),
            (Auth::BackendServices(_) | Auth::ClientSecret(_), _) => {
                Ok(Way::Machine(Box::new(self.oauth(name, auth, profile, parts, discovery)?)))
            }
        }
    }

    /// The client of the token endpoint that a credential is.
    pub fn oauth(&self, name: &str, auth: &Auth, profile: &Profile, parts: &Parts, discovery: &Discovery) -> Result<OAuth, ConnectError> {
        let own = auth.token_url();
        let token_url = own.or(discovery.token_url.as_ref()).cloned().ok_or(ConnectError::Token(TokenError::NoTokenEndpoint))?;
        let audience = match (&profile.audience.assertion, own, &discovery.token_endpoint) {
            (Some(set), ..) => set.clone(),
            (None, None, Some(written)) => written.clone(),
            _ => token_url.to_string(),
        };
        if Origin::of(&token_url).filter(|o| self.wire.http.origins().contains(o)).is_none() {
            return Err(ConnectError::TokenElsewhere(token_url.origin().ascii_serialization()));
        }
        let by_keys = || parts.credential.keyring(name).map(|ring| ShownBy::Keys(ring, audience)).ok_or(ConnectError::Credential);
        let by_secret = |method: Option<SecretMethod>| match parts.credential.named(name) {
            Some(Credential::Secret(secret)) => Ok(ShownBy::Secret(secret.clone(), method.unwrap_or_else(|| secret_method(discovery)))),
            _ => Err(ConnectError::Credential),
        };
        let (shown_by, level, scopes) = match auth {
            Auth::BackendServices(backend) => (by_keys()?, Level::System, backend.scopes.clone()),
            Auth::ClientSecret(client) => (by_secret(client.method)?, Level::System, None),
            Auth::UserGrant(grant) if grant.key => (by_keys()?, Level::User, None),
            Auth::UserGrant(grant) if grant.secret.is_some() => (by_secret(grant.method)?, Level::User, None),
            Auth::UserGrant(_) => (ShownBy::Public, Level::User, None),
            Auth::None | Auth::Bearer { .. } => return Err(ConnectError::Credential),
        };
        Ok(OAuth {
            http: self.wire.http.clone(),
            token_url,
            client_id: auth.client_id().unwrap_or_default().to_owned(),
            shown_by,
            dialect: auth.dialect().unwrap_or_else(|| Dialect::of(&discovery.capabilities)),
            level,
            scopes,
            // What is set for a purpose is set for the EHR's own credential.
            purposes: if name.is_empty() { profile.scopes.clone() } else { PurposeScopes::default() },
            clock: parts.clock.clone(),
            entropy: parts.entropy.clone(),
            skew: self.wire.skew.clone(),
            pace: self.wire.pace.clone(),
        })
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

/// How a secret is shown where the profile does not say: as the EHR states. Without a statement in the header, which every server has to
/// take (RFC 6749, 2.3.1).
fn secret_method(discovery: &Discovery) -> SecretMethod {
    let offers = |name: &str| discovery.auth_methods.iter().any(|m| m == name);
    if offers("client_secret_post") && !offers("client_secret_basic") { SecretMethod::Post } else { SecretMethod::Basic }
}
