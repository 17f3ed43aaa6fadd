//! One exchange with a token endpoint, by the `oauth2` crate over `net`: client credentials, an authorization code, or a refresh token;
//! the client shown by a signed assertion, a secret, or its id alone.
//!
//! Token endpoints of the field fail in many shapes (a 500 as text, an error without JSON, a lifetime as text or fraction or not at
//! all): what can be used is used, and what cannot is told by its status, never by its body.

use std::collections::HashMap;
use std::fmt;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use domain::Timestamp;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, DATE};
use oauth2::basic::{BasicErrorResponse, BasicErrorResponseType, BasicRevocationErrorResponse, BasicTokenIntrospectionResponse};
use oauth2::{
    AccessToken, AuthType, AuthorizationCode, Client, ClientId, ClientSecret, HttpRequest, HttpResponse, PkceCodeVerifier, RedirectUrl,
    RefreshToken, RequestTokenError, Scope, StandardRevocableToken, TokenResponse, TokenType, TokenUrl,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use super::assertion::{ASSERTION_TYPE, assertion};
use super::context::{LaunchContext, RawContext};
use super::{Signer, SigningFailed};
use crate::ehr::date::http_date;
use crate::net::{Failure, Http, Request, Secret};

/// A token as the server gave it.
#[derive(Clone, Debug)]
pub struct TokenGrant {
    /// The bearer token.
    pub token: Secret,
    /// How long it is valid, where told.
    pub expires_in: Option<Duration>,
    /// The granted `scope`, where told.
    pub scope: Option<String>,
    /// A refresh token, where one was given: it takes the place of the one before.
    pub refresh: Option<Secret>,
    /// How long the refresh token is valid, where told (`refresh_expires_in`, or `refresh_token_expires_in`).
    pub refresh_expires_in: Option<Duration>,
    /// What came with it of a launch.
    pub context: LaunchContext,
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The EHR tells no token endpoint.
    #[error("the EHR's discovery document names no token endpoint; name it with `ehr add --token-url URL`")]
    NoTokenEndpoint,
    /// No whole answer.
    #[error("the token endpoint gave no answer")]
    Unreachable(#[source] Failure),
    /// The server refused, with an OAuth error code (RFC 6749, 5.2).
    #[error("the token endpoint refused with {code}{}", .description.as_deref().map(|d| format!(" ({d})")).unwrap_or_default())]
    Refused {
        /// `invalid_client`, `invalid_scope`, ...
        code: String,
        /// What the server says of it: about this client, in the server's words, shortened.
        description: Option<String>,
    },
    /// The server failed, or answered something that is no token.
    #[error("the token endpoint answered with HTTP status {status} and no token")]
    Unusable {
        /// HTTP status; 200 where a token answer could not be read.
        status: u16,
    },
    /// A token of a kind that is not a bearer token.
    #[error("the token endpoint gave a token that is not a bearer token")]
    NotBearer,
    /// Nothing may be asked for longer than a token is waited for. Nothing was sent.
    #[error("{0}")]
    Paused(crate::ehr::pace::Paused),
    /// The key could not sign.
    #[error("no client assertion could be made")]
    Signing(#[source] SigningFailed),
    /// Nobody granted it yet.
    #[error("no person has granted it yet; run `fhir-engage ehr authorize` for this EHR{}", credential(.0))]
    NotAuthorised(String),
    /// What a person granted is no longer taken.
    #[error("what a person granted is no longer taken ({told}); run `fhir-engage ehr authorize` again for this EHR{}", credential(.name))]
    GrantLost {
        /// The credential.
        name: String,
        /// Why.
        told: String,
    },
    /// Another process is getting the token, and takes long.
    #[error("another process is getting a token and has not done so yet")]
    Awaited,
    /// The tokens that nodes share could not be read or written.
    #[error("the stored tokens cannot be used: {0}")]
    Keeper(String),
}

fn credential(name: &str) -> String {
    if name.is_empty() { String::new() } else { format!(" with `--credential {name}`") }
}

impl TokenError {
    /// Whether the same request may succeed later without anyone changing anything.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable(failure) => failure.is_transient(),
            Self::Unusable { status } => *status >= 500 || *status == 429 || *status == 408,
            Self::Awaited | Self::Keeper(_) | Self::Paused(_) => true,
            Self::NoTokenEndpoint
            | Self::Refused { .. }
            | Self::NotBearer
            | Self::Signing(_)
            | Self::NotAuthorised(_)
            | Self::GrantLost { .. } => false,
        }
    }

    /// Whether the client may have been refused for the key that it signed with. Servers have many words for it, and some fail.
    #[must_use]
    pub fn is_client(&self) -> bool {
        match self {
            Self::Refused { code, .. } => !matches!(code.as_str(), "invalid_scope" | "unsupported_grant_type" | "temporarily_unavailable"),
            Self::Unusable { status } => matches!(status, 400 | 401 | 403 | 500),
            _ => false,
        }
    }

    /// For how long nothing is to be asked, where that is why.
    #[must_use]
    pub const fn pause(&self) -> Option<crate::ehr::pace::Paused> {
        match self {
            Self::Paused(paused) => Some(*paused),
            _ => None,
        }
    }

    /// Whether the server refused the scopes rather than the client.
    #[must_use]
    pub fn is_scope(&self) -> bool {
        matches!(self, Self::Refused { code, .. } if code == "invalid_scope")
    }
}

/// How a secret is shown (RFC 6749, 2.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SecretMethod {
    /// In the `Authorization` header.
    Basic,
    /// In the form.
    Post,
}

/// How the client shows who it is.
pub enum Proof<'a> {
    /// By an assertion (RFC 7523). The audience is the token endpoint as the EHR writes it: servers compare texts, and a parsed URL may
    /// print otherwise.
    Assertion(&'a dyn Signer, &'a str),
    /// By a secret.
    Secret(&'a Secret, SecretMethod),
    /// Not at all: a public client.
    Public,
}

/// What is given for a token.
pub enum Given<'a> {
    /// Nothing but who the client is, and what it wants.
    Credentials(&'a [String]),
    /// What a person brought back from the authorization endpoint, with the URL that it came to and the secret of PKCE (RFC 7636).
    Code(&'a Secret, &'a Url, &'a Secret),
    /// A refresh token. No scopes are asked for: that means all that was granted.
    Refresh(&'a Secret),
}

/// Who asks, and where.
pub struct Exchange<'a> {
    /// The transport; the token endpoint's origin must be registered with it.
    pub http: &'a Http,
    /// The token endpoint.
    pub token_url: &'a Url,
    /// The client's id as registered with the EHR.
    pub client_id: &'a str,
    /// How it shows who it is.
    pub proof: Proof<'a>,
}

/// What came of an exchange.
pub struct Exchanged {
    /// The token, or why not.
    pub result: Result<TokenGrant, TokenError>,
    /// The server's `Date`, where it sent one.
    pub server_date: Option<Timestamp>,
    /// The answer's HTTP status; 0 where there was no answer.
    pub status: u16,
}

impl Exchange<'_> {
    /// Asks for a token. `jti` must be new each time.
    pub async fn ask(&self, given: Given<'_>, now: Timestamp, jti: &str) -> Exchanged {
        let seen = Mutex::new(Seen::default());
        let result = self.run(given, now, jti, &seen).await;
        let seen = seen.into_inner().unwrap_or_else(PoisonError::into_inner);
        Exchanged { result, server_date: seen.date, status: seen.status }
    }

    async fn run(&self, given: Given<'_>, now: Timestamp, jti: &str, seen: &Mutex<Seen>) -> Result<TokenGrant, TokenError> {
        let client: SmartClient = Client::new(ClientId::new(self.client_id.to_owned()));
        let mut client = client.set_token_uri(TokenUrl::from_url(self.token_url.clone())).set_auth_type(AuthType::RequestBody);
        let mut assertion_of_client = None;
        match self.proof {
            Proof::Assertion(signer, audience) => {
                assertion_of_client = Some(assertion(signer, self.client_id, audience, now, jti).map_err(TokenError::Signing)?);
            }
            Proof::Secret(secret, method) => {
                client = client.set_client_secret(ClientSecret::new(secret.expose().to_owned())).set_auth_type(match method {
                    SecretMethod::Basic => AuthType::BasicAuth,
                    SecretMethod::Post => AuthType::RequestBody,
                });
            }
            Proof::Public => {}
        }
        let shown = assertion_of_client
            .iter()
            .flat_map(|jwt| [("client_assertion_type", ASSERTION_TYPE.to_owned()), ("client_assertion", jwt.expose().to_owned())]);
        let transport = Transport { http: self.http, seen };
        let answer = match given {
            Given::Credentials(scopes) => {
                let request = client.exchange_client_credentials().add_scopes(scopes.iter().cloned().map(Scope::new));
                shown.fold(request, |r, (name, value)| r.add_extra_param(name, value)).request_async(&transport).await
            }
            Given::Code(code, redirect, verifier) => {
                let request = client
                    .exchange_code(AuthorizationCode::new(code.expose().to_owned()))
                    .set_pkce_verifier(PkceCodeVerifier::new(verifier.expose().to_owned()))
                    .set_redirect_uri(std::borrow::Cow::Owned(RedirectUrl::from_url(redirect.clone())));
                shown.fold(request, |r, (name, value)| r.add_extra_param(name, value)).request_async(&transport).await
            }
            Given::Refresh(token) => {
                let token = RefreshToken::new(token.expose().to_owned());
                let request = client.exchange_refresh_token(&token);
                shown.fold(request, |r, (name, value)| r.add_extra_param(name, value)).request_async(&transport).await
            }
        };
        let status = seen.lock().unwrap_or_else(PoisonError::into_inner).status;
        let answer = answer.map_err(|error| explain(error, status))?;
        if !answer.token_type.0.eq_ignore_ascii_case("bearer") {
            return Err(TokenError::NotBearer);
        }
        let scope = answer.scopes.map(|s| s.iter().map(|s| s.as_str()).collect::<Vec<_>>().join(" "));
        Ok(TokenGrant {
            token: Secret::new(answer.access_token.secret()),
            expires_in: answer.expires_in,
            scope,
            refresh: answer.refresh_token.map(|t| Secret::new(t.secret())),
            refresh_expires_in: answer.refresh_expires_in,
            context: answer.context,
        })
    }
}

type SmartClient<U = oauth2::EndpointNotSet> = Client<
    BasicErrorResponse,
    SmartToken,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
    oauth2::EndpointNotSet,
    oauth2::EndpointNotSet,
    oauth2::EndpointNotSet,
    oauth2::EndpointNotSet,
    U,
>;

/// What the library does not hand on.
#[derive(Default)]
struct Seen {
    status: u16,
    date: Option<Timestamp>,
}

/// Why the transport gave the library nothing.
#[derive(Debug, thiserror::Error)]
enum TransportError {
    #[error("no answer")]
    Net(#[source] Failure),
    #[error("the request could not be made")]
    Request,
}

/// The library's way to the network. Boxed: of the future of a closure, the compiler cannot tell that it may move between threads.
struct Transport<'a> {
    http: &'a Http,
    seen: &'a Mutex<Seen>,
}

impl<'c> oauth2::AsyncHttpClient<'c> for Transport<'_> {
    type Error = TransportError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, TransportError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(post(self.http, request, self.seen))
    }
}

async fn post(http: &Http, request: HttpRequest, seen: &Mutex<Seen>) -> Result<HttpResponse, TransportError> {
    let (parts, body) = request.into_parts();
    let url = Url::parse(&parts.uri.to_string()).map_err(|_| TransportError::Request)?;
    let mut request = Request::post(url, "application/x-www-form-urlencoded", body).header(ACCEPT, "application/json");
    // A client's secret. A POST is never sent on, so it goes to the token endpoint and nowhere else.
    if let Some(secret) = parts.headers.get(AUTHORIZATION).and_then(|h| h.to_str().ok()) {
        request = request.header(AUTHORIZATION, secret);
    }
    let answer = http.send(request).await.map_err(TransportError::Net)?;
    let mut now_seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    now_seen.status = answer.status.as_u16();
    now_seen.date = answer.header(DATE.as_str()).and_then(http_date);
    // The library takes 200 and application/json only; some servers answer 201, or JSON as text.
    let mut shaped = HttpResponse::new(answer.body);
    *shaped.status_mut() = if answer.status.is_success() { http::StatusCode::OK } else { answer.status };
    shaped.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    Ok(shaped)
}

fn explain(error: RequestTokenError<TransportError, BasicErrorResponse>, status: u16) -> TokenError {
    match error {
        RequestTokenError::ServerResponse(refusal) => {
            TokenError::Refused { code: refusal_code(refusal.error()), description: refusal.error_description().map(|text| shorten(text)) }
        }
        RequestTokenError::Request(TransportError::Net(failure)) => TokenError::Unreachable(failure),
        // The library's own messages may quote the body: the status has to do.
        RequestTokenError::Request(TransportError::Request) | RequestTokenError::Parse(..) | RequestTokenError::Other(_) => {
            TokenError::Unusable { status }
        }
    }
}

fn refusal_code(kind: &BasicErrorResponseType) -> String {
    let code: &str = kind.as_ref();
    shorten(code)
}

/// A server's words, fit for one line of a log.
fn shorten(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(160).collect()
}

/// A token answer read leniently.
#[derive(Debug, Deserialize, Serialize)]
#[serde(from = "RawToken", into = "HashMap<String, Value>")]
struct SmartToken {
    access_token: AccessToken,
    token_type: AnyTokenType,
    expires_in: Option<Duration>,
    scopes: Option<Vec<Scope>>,
    refresh_token: Option<RefreshToken>,
    refresh_expires_in: Option<Duration>,
    context: LaunchContext,
}

/// `token_type` as sent; `bearer` where not sent.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
struct AnyTokenType(String);

impl TokenType for AnyTokenType {}

#[derive(Deserialize)]
struct RawToken {
    access_token: AccessToken,
    #[serde(default)]
    token_type: Option<Value>,
    #[serde(default)]
    expires_in: Option<Value>,
    #[serde(default)]
    scope: Option<Value>,
    #[serde(default)]
    refresh_token: Option<Value>,
    #[serde(default, alias = "refresh_token_expires_in")]
    refresh_expires_in: Option<Value>,
    // Named one by one: `flatten` and numbers of arbitrary precision do not go together.
    #[serde(default)]
    id_token: Option<Value>,
    #[serde(default)]
    patient: Option<Value>,
    #[serde(default)]
    encounter: Option<Value>,
    #[serde(default, rename = "fhirContext")]
    fhir_context: Option<Value>,
    #[serde(default)]
    need_patient_banner: Option<Value>,
    #[serde(default)]
    intent: Option<Value>,
    #[serde(default)]
    tenant: Option<Value>,
}

impl From<RawToken> for SmartToken {
    fn from(raw: RawToken) -> Self {
        let words = |text: &str| text.split_whitespace().map(|s| Scope::new(s.to_owned())).collect::<Vec<_>>();
        Self {
            access_token: raw.access_token,
            token_type: AnyTokenType(raw.token_type.and_then(|t| t.as_str().map(str::to_owned)).unwrap_or_else(|| "bearer".into())),
            expires_in: raw.expires_in.as_ref().and_then(seconds),
            scopes: match raw.scope {
                Some(Value::String(text)) => Some(words(&text)),
                Some(Value::Array(list)) => Some(list.iter().filter_map(Value::as_str).flat_map(words).collect()),
                _ => None,
            },
            refresh_token: raw
                .refresh_token
                .as_ref()
                .and_then(Value::as_str)
                .filter(|t| !t.is_empty())
                .map(|t| RefreshToken::new(t.to_owned())),
            // Zero is how some say "without end".
            refresh_expires_in: raw.refresh_expires_in.as_ref().and_then(seconds).filter(|d| !d.is_zero()),
            context: RawContext {
                id_token: raw.id_token,
                patient: raw.patient,
                encounter: raw.encounter,
                fhir_context: raw.fhir_context,
                need_patient_banner: raw.need_patient_banner,
                intent: raw.intent,
                tenant: raw.tenant,
            }
            .into(),
        }
    }
}

/// The library asks that an answer can be written; nothing is ever to be written of a token.
impl From<SmartToken> for HashMap<String, Value> {
    fn from(_: SmartToken) -> Self {
        Self::new()
    }
}

impl Clone for SmartToken {
    fn clone(&self) -> Self {
        Self {
            access_token: self.access_token.clone(),
            token_type: self.token_type.clone(),
            expires_in: self.expires_in,
            scopes: self.scopes.clone(),
            refresh_token: self.refresh_token.clone(),
            refresh_expires_in: self.refresh_expires_in,
            context: self.context.clone(),
        }
    }
}

impl TokenResponse for SmartToken {
    type TokenType = AnyTokenType;

    fn access_token(&self) -> &AccessToken {
        &self.access_token
    }
    fn token_type(&self) -> &AnyTokenType {
        &self.token_type
    }
    fn expires_in(&self) -> Option<Duration> {
        self.expires_in
    }
    fn refresh_token(&self) -> Option<&RefreshToken> {
        self.refresh_token.as_ref()
    }
    fn scopes(&self) -> Option<&Vec<Scope>> {
        self.scopes.as_ref()
    }
}

/// `300`, `300.0` or `"300"`; what is negative, absurd or no number is not told.
fn seconds(value: &Value) -> Option<Duration> {
    let number = value.as_f64().or_else(|| value.as_str()?.trim().parse().ok())?;
    (number.is_finite() && (0.0..=31_536_000.0).contains(&number)).then(|| Duration::from_secs_f64(number))
}

impl fmt::Debug for Exchange<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange").field("client_id", &self.client_id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_are_read_as_servers_write_them() {
        for (json, told) in [
            ("300", Some(300)),
            ("300.0", Some(300)),
            ("\"570\"", Some(570)),
            ("0", Some(0)),
            ("-1", None),
            ("1e99", None),
            ("null", None),
            ("\"soon\"", None),
            ("{}", None),
        ] {
            let value: Value = serde_json::from_str(json).unwrap();
            assert_eq!(seconds(&value), told.map(Duration::from_secs), "{json}");
        }
    }

    #[test]
    fn a_token_answer_needs_only_its_token() {
        let read = |text: &str| serde_json::from_str::<SmartToken>(text);
        let bare = read(r#"{"access_token":"t"}"#).unwrap();
        assert_eq!((bare.token_type.0.as_str(), bare.expires_in, bare.scopes), ("bearer", None, None));
        let list = read(r#"{"access_token":"t","token_type":"BEARER","scope":["system/Patient.rs","system/CarePlan.rs"],"x":1}"#).unwrap();
        assert_eq!(list.scopes.unwrap().len(), 2);
        assert!(read(r#"{"token":"t"}"#).is_err());
        assert!(!format!("{:?}", read(r#"{"access_token":"s3cret"}"#).unwrap()).contains("s3cret"));
    }
}
