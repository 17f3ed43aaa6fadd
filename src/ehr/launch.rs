//! The EHR's side of a launch: where its authorization server is, the request that a browser is sent with, what a code brings, and what the
//! EHR shows to the user who brought it.

use std::sync::Arc;

use domain::model::FhirId;
use http::header::ACCEPT;
use url::Url;

use super::auth::authorize::{Request, Terms};
use super::auth::client::OAuth;
use super::auth::exchange::Given;
use super::auth::tokens::Way;
use super::auth::{Keeper, TokenError, TokenGrant, Tokens};
use super::client::FHIR_JSON;
use super::connection::{Approach, Parts};
use super::discovery::{Discovery, under};
use super::error::EhrError;
use super::invitation::AuthorizeError;
use super::profile::{Auth, LAUNCH, Profile};
use crate::net::{Origin, Request as Http, Secret};

/// The authorization server of an EHR, as far as launches are.
pub struct Authority {
    approach: Approach,
    oauth: OAuth,
    discovery: Discovery,
    endpoint: Url,
    aud: Option<String>,
}

/// What a request is to say beside what the profile does.
pub struct Asking<'a> {
    /// Where the browser is to come back to, as registered.
    pub redirect: Url,
    /// What the EHR gave with the launch, and its address as the EHR writes it; `None` where the launch begins here.
    pub launch: Option<(&'a str, &'a str)>,
    /// What the id_token has to repeat.
    pub nonce: &'a str,
}

/// What the EHR says when it is asked for something with the user's token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    /// It shows it.
    Shown,
    /// It does not: refused, hidden or not there.
    Hidden,
    /// It cannot be told: there is no answer, or the user's token has ended.
    Unknown,
}

impl Authority {
    /// Looks the authorization server up; nobody is asked where `known` says what the EHR said a moment ago. The launch's client must be in the
    /// profile.
    ///
    /// # Errors
    /// [`AuthorizeError`].
    pub async fn find(profile: &Profile, parts: &Parts, known: Option<Discovery>) -> Result<Self, AuthorizeError> {
        let auth = profile.auth_named(LAUNCH).ok_or(AuthorizeError::NotByAPerson)?;
        let Auth::UserGrant(grant) = auth else { return Err(AuthorizeError::NotByAPerson) };
        let approach = Approach::new(profile, parts)?;
        let asks = known.is_none();
        let mut discovery = match known {
            Some(known) => known,
            None => approach.smart_configuration().await.unwrap_or_default(),
        };
        // SMART names the issuer since version 2 (conformance); before, the FHIR server's own OpenID configuration did.
        if asks
            && discovery.issuer.is_none()
            && discovery.keys_url.is_none()
            && let Some(Discovery { issuer: Some(issuer), keys_url, .. }) = approach.openid_configuration().await
        {
            (discovery.issuer, discovery.keys_url) = (Some(issuer), keys_url);
        }
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
        let oauth = approach.oauth(LAUNCH, auth, profile, parts, &discovery)?;
        Ok(Self { aud: profile.authorize_aud(), approach, oauth, discovery, endpoint })
    }

    /// What the EHR says of its authorisation.
    #[must_use]
    pub const fn discovery(&self) -> &Discovery {
        &self.discovery
    }

    /// Where the browser is sent.
    #[must_use]
    pub const fn endpoint(&self) -> &Url {
        &self.endpoint
    }

    /// Who signs id_tokens, as the EHR says.
    #[must_use]
    pub fn issuer(&self) -> Option<&str> {
        self.discovery.issuer.as_deref()
    }

    /// The client's id, which id_tokens are for.
    #[must_use]
    pub fn client_id(&self) -> &str {
        &self.oauth.client_id
    }

    /// The request that the browser is sent with.
    #[must_use]
    pub fn request(&self, profile: &Profile, asking: Asking<'_>) -> Request {
        let dialect = self.oauth.dialect;
        let online = self.discovery.capabilities.iter().any(|c| c == "permission-online");
        let scopes = profile.launch.as_ref().map(|l| l.asks(asking.launch.is_some(), online, dialect)).unwrap_or_default();
        // SMART wants the address of the EHR as the EHR writes it; what the profile says of it goes before.
        let own_word = profile.audience.authorize.is_some() || profile.preset().is_some_and(|p| p.authorization.aud.is_some());
        let aud = match asking.launch {
            Some((iss, _)) if !own_word => Some(iss.to_owned()),
            _ => self.aud.clone(),
        };
        let mut more = vec![("nonce", asking.nonce.to_owned())];
        more.extend(asking.launch.map(|(_, launch)| ("launch", launch.to_owned())));
        let terms = Terms {
            endpoint: self.endpoint.clone(),
            client_id: self.oauth.client_id.clone(),
            redirect: asking.redirect,
            scopes,
            aud,
            issuer: self.discovery.issuer.clone(),
            more,
        };
        Request::new(terms, self.oauth.entropy.as_ref())
    }

    /// Exchanges a code.
    ///
    /// # Errors
    /// [`TokenError`].
    pub async fn exchange(&self, code: &Secret, redirect: &Url, verifier: &Secret) -> Result<TokenGrant, TokenError> {
        self.oauth.ask(|| Given::Code(code, redirect, verifier)).await
    }

    /// The keys that id_tokens are signed with, as a JWK Set: where the EHR says that they are, else where its issuer does.
    ///
    /// # Errors
    /// [`EhrError`] where they cannot be had.
    pub async fn keys(&self) -> Result<Vec<u8>, EhrError> {
        let nowhere = EhrError::NotFhir { expected: "jwks_uri in the discovery document", source: None };
        let url = match &self.discovery.keys_url {
            Some(url) => url.clone(),
            None => {
                let issuer = self.issuer().and_then(|i| Url::parse(i).ok()).ok_or(nowhere)?;
                let at = under(&issuer, ".well-known/openid-configuration").ok_or(EhrError::BadRequest)?;
                let document = self.fetch(at).await?;
                let known = Discovery::from_smart_configuration(&document, &issuer).and_then(|d| d.keys_url);
                known.ok_or(EhrError::NotFhir { expected: "jwks_uri in the issuer's configuration", source: None })?
            }
        };
        self.fetch(url).await
    }

    /// The issuer that the issuer's own configuration names (OpenID Connect Discovery 1.0, 4.3); `None` where the document names none.
    ///
    /// # Errors
    /// [`EhrError`] where it cannot be had.
    pub async fn issuer_says(&self) -> Result<Option<String>, EhrError> {
        let nowhere = EhrError::NotFhir { expected: "issuer in the discovery document", source: None };
        let issuer = self.issuer().and_then(|i| Url::parse(i).ok()).ok_or(nowhere)?;
        let at = under(&issuer, ".well-known/openid-configuration").ok_or(EhrError::BadRequest)?;
        let document = self.fetch(at).await?;
        Ok(Discovery::from_smart_configuration(&document, &issuer).and_then(|d| d.issuer))
    }

    async fn fetch(&self, url: Url) -> Result<Vec<u8>, EhrError> {
        let request = Http::get(url).header(ACCEPT, "application/json");
        Ok(self.approach.wire.open(&request).await?.success()?.body)
    }

    /// What the EHR shows to the user whose grant `keeper` has.
    #[must_use]
    pub fn eyes(self, keeper: Arc<dyn Keeper>) -> Eyes {
        let Self { mut approach, oauth, .. } = self;
        approach.wire.tokens = Arc::new(Tokens::by(Way::Person(Box::new(oauth)), Some(keeper)));
        Eyes { approach }
    }

    /// Gives back what a user granted (RFC 7009), where the EHR takes it back: first the refresh token, with which most servers end what came
    /// of it, too.
    ///
    /// # Errors
    /// [`TokenError`] where the EHR did not take it.
    pub async fn give_back(&self, keeper: &Arc<dyn Keeper>) -> Result<(), TokenError> {
        let Some(url) = &self.discovery.revoke_url else { return Ok(()) };
        if let Some(grant) = keeper.grant("").await? {
            self.oauth.revoke(url, &grant.refresh, "refresh_token").await?;
        }
        let tokens = Tokens::by(Way::Person(Box::new(self.oauth.clone())), Some(Arc::clone(keeper)));
        if let Some(token) = tokens.kept().await {
            self.oauth.revoke(url, &token, "access_token").await?;
        }
        Ok(())
    }
}

/// An EHR as one of its users sees it.
pub struct Eyes {
    approach: Approach,
}

impl Eyes {
    /// Keeps the access token that the user's code has just brought.
    ///
    /// # Errors
    /// Where it cannot be kept.
    pub async fn begin(&self, grant: TokenGrant) -> Result<(), TokenError> {
        self.approach.wire.tokens.begin(grant).await
    }

    /// Whether the EHR shows a resource to the user.
    pub async fn sees(&self, resource_type: &str, id: &FhirId) -> Sight {
        let Some(url) = under(&self.approach.base, &format!("{resource_type}/{id}")) else { return Sight::Hidden };
        let request = Http::get(url).header(ACCEPT, FHIR_JSON);
        let ended = match self.approach.wire.ask_once(&request, &[]).await {
            Ok(ended) => ended,
            Err(error) => {
                tracing::info!(kind = resource_type, %error, "it cannot be asked whether a user may see a patient");
                return Sight::Unknown;
            }
        };
        match ended.result.as_ref().map(|answer| (answer.status.as_u16(), shows(&answer.body, resource_type))) {
            Ok((200..=299, true)) => Sight::Shown,
            // 401: what was granted has ended, or never was for this. That is no word on the patient.
            Ok((401 | 408 | 429 | 500..=599, _)) | Err(_) => Sight::Unknown,
            Ok(_) => Sight::Hidden,
        }
    }
}

/// Whether a body is a resource of the type: an EHR that denies with 200 and an OperationOutcome denies.
fn shows(body: &[u8], resource_type: &str) -> bool {
    domain::fhir::peek(body).is_ok_and(|found| found.resource_type == resource_type)
}
