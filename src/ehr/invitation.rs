//! From a profile to an authorization request for a person, and from its answer to what was granted.

use super::auth::authorize::{Request, Terms};
use super::auth::client::OAuth;
use super::auth::exchange::Given;
use super::auth::{Need, Ops, TokenError, TokenGrant};
use super::client::Client;
use super::connection::{Approach, ConnectError, Parts};
use super::profile::{Auth, Profile};
use crate::net::{Origin, Secret};

/// Why no request can be made.
#[derive(Debug, thiserror::Error)]
pub enum AuthorizeError {
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The credential is not one that a person grants.
    #[error("this credential is not granted by a person")]
    NotByAPerson,
    /// The EHR tells no authorization endpoint.
    #[error("the EHR's discovery document names no authorization endpoint; set auth.authorize_url for this connection")]
    NoEndpoint,
    /// The authorization endpoint is not safe to send a person to.
    #[error("the EHR's authorization endpoint is not https; nobody is sent there")]
    PlainText,
    /// The server knows only a PKCE method that protects nothing.
    #[error("the EHR's authorization server takes no PKCE method S256, which SMART asks of it; nobody is sent there")]
    NoPkce,
}

/// An authorization request, and the client that exchanges its answer.
pub struct Invitation {
    /// The request.
    pub request: Request,
    /// The scopes that it asks for.
    pub scopes: Vec<String>,
    client: OAuth,
}

/// What is asked for beside the types, where the profile does not say: a refresh token that outlives the person's session, and who the
/// person is (SMART scopes-and-launch-context).
pub const BESIDE: [&str; 3] = ["openid", "fhirUser", "offline_access"];

impl Invitation {
    /// Makes a request for the credential of that name.
    ///
    /// # Errors
    /// [`AuthorizeError`].
    pub async fn open(profile: &Profile, name: &str, parts: &Parts) -> Result<Self, AuthorizeError> {
        let auth = profile.auth_named(name).ok_or(AuthorizeError::NotByAPerson)?;
        let Auth::UserGrant(grant) = auth else { return Err(AuthorizeError::NotByAPerson) };
        let approach = Approach::new(profile, parts)?;
        let mut discovery = approach.smart_configuration().await.unwrap_or_default();
        if discovery.authorize_url.is_none() && grant.authorize_url.is_none() {
            discovery = discovery.or(approach.statement().await?.1);
        }
        let endpoint = grant.authorize_url.clone().or_else(|| discovery.authorize_url.clone()).ok_or(AuthorizeError::NoEndpoint)?;
        if !Origin::of(&endpoint).is_some_and(|o| o.is_https() || o.is_loopback() || profile.allow_insecure) {
            return Err(AuthorizeError::PlainText);
        }
        if !discovery.challenge_methods.is_empty() && !discovery.challenge_methods.iter().any(|m| m == "S256") {
            return Err(AuthorizeError::NoPkce);
        }
        let client = approach.oauth(name, auth, profile, parts, &discovery)?;
        let beside = profile.scopes.launch.clone().unwrap_or_else(|| BESIDE.map(str::to_owned).to_vec());
        let scopes: Vec<String> = beside.into_iter().chain(client.scopes_for(&needs(profile, name))).collect();
        let terms = Terms {
            endpoint,
            client_id: client.client_id.clone(),
            redirect: grant.redirect().ok_or(AuthorizeError::NoEndpoint)?,
            scopes: scopes.clone(),
            aud: profile.authorize_aud(),
            // Where the operator named another server, its name is not known.
            issuer: discovery.issuer.clone().filter(|_| grant.authorize_url.is_none()),
            more: Vec::new(),
        };
        Ok(Self { request: Request::new(terms, parts.entropy.as_ref()), scopes, client })
    }

    /// Exchanges a code.
    ///
    /// # Errors
    /// [`TokenError`].
    pub async fn exchange(&self, code: &Secret) -> Result<TokenGrant, TokenError> {
        self.client.ask(|| Given::Code(code, &self.request.redirect, &self.request.verifier)).await
    }
}

/// What a credential is for: the types that it names, or all that is read and written where it is the EHR's own.
fn needs(profile: &Profile, name: &str) -> Vec<Need> {
    let types = profile.credentials.get(name).map(|c| &c.types);
    let (reads, writes) = (Client::reads_of(profile), Client::default_writes());
    let Some(types) = types else { return reads.into_iter().chain(writes).collect() };
    let of = |kind: &String| {
        let ops = reads.iter().chain(&writes).filter(|n| n.resource_type == *kind).fold(Ops::default(), |all, n| all.or(n.ops));
        Need::new(kind, if ops.is_empty() { Ops::RS } else { ops })
    };
    types.iter().map(of).collect()
}
