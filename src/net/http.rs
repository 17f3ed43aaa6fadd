//! HTTP to one peer, within its registered origins.
//!
//! Redirects are not left to the library: only reads are redirected, at most [`MAX_REDIRECTS`] times and only within the registered
//! origins, and the bearer token goes only to the origin it was issued for.

use std::sync::Once;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION};
use reqwest::{Method, StatusCode, redirect};
use url::Url;

use super::certificate::Certificate;
use super::failure::{Failure, FailureKind, ProxyFault};
use super::origin::Origin;
use super::proxy::EgressProxy;
use super::secret::Secret;

/// How many redirects are followed in a row.
pub const MAX_REDIRECTS: usize = 5;

/// The mark of UTF-8 that some systems put before a text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What may be told about a peer before it is first talked to.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The origins that requests may go to. Anything else is refused before a connection is opened.
    pub origins: Vec<Origin>,
    /// Certificate authorities to trust beside the system's, PEM.
    pub extra_ca: Option<Vec<u8>>,
    /// The certificate to show to a peer that asks for one, with its private key, PEM.
    pub identity: Option<Secret>,
    /// The way out.
    pub proxy: Option<EgressProxy>,
    /// Time for a connection to stand, TLS included.
    pub connect_timeout: Duration,
    /// Time for a whole exchange, body included.
    pub timeout: Duration,
    /// Largest body taken, in bytes after decompression.
    pub body_limit: usize,
    /// Allows clear text to machines other than this one.
    pub allow_insecure: bool,
}

impl Peer {
    /// A peer at these origins with the usual limits: 10 s to connect, 60 s in all, 64 MB.
    #[must_use]
    pub fn at(origins: Vec<Origin>) -> Self {
        Self {
            origins,
            extra_ca: None,
            identity: None,
            proxy: None,
            connect_timeout: Duration::from_secs(10),
            timeout: Duration::from_secs(60),
            body_limit: 64 * 1024 * 1024,
            allow_insecure: false,
        }
    }
}

/// Why no client could be made.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The extra CA is not PEM, or holds no certificate.
    #[error("the extra CA is not a PEM file with at least one certificate")]
    ExtraCa(#[source] Option<reqwest::Error>),
    /// The client certificate cannot be used.
    #[error("the client certificate is not a PEM certificate with its private key")]
    Identity(#[source] reqwest::Error),
    /// The proxy cannot be used.
    #[error("the proxy's URL cannot be used; write it as http://proxy.example.org:3128")]
    Proxy,
    /// The machine has no trusted authorities.
    #[error("no TLS client could be set up; this machine may lack certificate authorities (Debian package ca-certificates)")]
    Tls(#[source] reqwest::Error),
}

/// One request. Nothing is sent until [`Http::send`].
#[derive(Clone, Debug)]
pub struct Request {
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: Option<Vec<u8>>,
    bearer: Option<(Secret, Origin)>,
    redirects: bool,
    asks: bool,
}

impl Request {
    /// Where it goes. Never to be told: it may name a patient.
    #[must_use]
    pub const fn url(&self) -> &Url {
        &self.url
    }

    /// A `GET`.
    #[must_use]
    pub fn get(url: Url) -> Self {
        Self { method: Method::GET, url, headers: HeaderMap::new(), body: None, bearer: None, redirects: true, asks: true }
    }

    /// A `POST` of a body with its media type.
    #[must_use]
    pub fn post(url: Url, content_type: &str, body: Vec<u8>) -> Self {
        Self::carrying(Method::POST, url, content_type, body)
    }

    /// A `PUT` of a body with its media type.
    #[must_use]
    pub fn put(url: Url, content_type: &str, body: Vec<u8>) -> Self {
        Self::carrying(Method::PUT, url, content_type, body)
    }

    /// A `PATCH` of a body with its media type.
    #[must_use]
    pub fn patch(url: Url, content_type: &str, body: Vec<u8>) -> Self {
        Self::carrying(Method::PATCH, url, content_type, body)
    }

    fn carrying(method: Method, url: Url, content_type: &str, body: Vec<u8>) -> Self {
        let request = Self { method, url, headers: HeaderMap::new(), body: Some(body), bearer: None, redirects: true, asks: false };
        request.header(CONTENT_TYPE, content_type)
    }

    /// Takes a redirect as the answer, wherever it leads.
    #[must_use]
    pub fn without_redirects(mut self) -> Self {
        self.redirects = false;
        self
    }

    /// Says of a `POST` that it only asks, as a search does: within its own origin it may be sent on with its body (307, 308; RFC 9110, 15.4.8
    /// and 15.4.9). By the other redirects the body, and with it the question, would be lost.
    #[must_use]
    pub fn only_asking(mut self) -> Self {
        self.asks = true;
        self
    }

    /// A `DELETE`.
    #[must_use]
    pub fn delete(url: Url) -> Self {
        Self { method: Method::DELETE, asks: false, ..Self::get(url) }
    }

    /// Adds a header; a value that HTTP cannot carry is left out.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(mut value) = HeaderValue::from_str(value) {
            value.set_sensitive(name == AUTHORIZATION);
            self.headers.insert(name, value);
        }
        self
    }

    /// Authorises the request with a token that was issued for `origin`; it is sent to no other.
    #[must_use]
    pub fn bearer(mut self, token: Secret, origin: Origin) -> Self {
        self.bearer = Some((token, origin));
        self
    }
}

/// A whole answer.
#[derive(Clone)]
pub struct Response {
    /// HTTP status.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    /// The body, decompressed, without a byte order mark.
    pub body: Vec<u8>,
    /// Where the answer came from, after redirects.
    pub url: Url,
    /// The peer's certificate, where the answer came by TLS.
    pub certificate: Option<Certificate>,
}

impl Response {
    /// A header as text, where present and printable.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|v| v.to_str().ok())
    }
}

impl std::fmt::Debug for Response {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Response").field("status", &self.status.as_u16()).field("bytes", &self.body.len()).finish_non_exhaustive()
    }
}

/// The client for one peer. Cloning shares the connections.
#[derive(Clone, Debug)]
pub struct Http {
    client: reqwest::Client,
    peer: Peer,
}

impl Http {
    /// Sets up a client. Reads the system's certificate authorities where an origin is `https`.
    ///
    /// # Errors
    /// [`SetupError`] where the extra CA cannot be used or TLS cannot be set up.
    pub fn new(peer: Peer) -> Result<Self, SetupError> {
        install_crypto_provider();
        let client = builder(&peer)?.build().map_err(SetupError::Tls)?;
        Ok(Self { client, peer })
    }

    /// The same for files: bodies are handed on as they were sent, compressed or not, whatever the headers say of it.
    ///
    /// # Errors
    /// As [`Http::new`].
    pub fn for_files(peer: Peer) -> Result<Self, SetupError> {
        install_crypto_provider();
        let client = builder(&peer)?.gzip(false).build().map_err(SetupError::Tls)?;
        Ok(Self { client, peer })
    }

    /// How long an exchange may take.
    pub(super) const fn timeout(&self) -> Duration {
        self.peer.timeout
    }

    /// The origins this client may talk to.
    #[must_use]
    pub fn origins(&self) -> &[Origin] {
        &self.peer.origins
    }

    /// Sends a request, follows redirects of reads, and reads the whole body. A status of 400 and above is an answer, not a failure.
    ///
    /// # Errors
    /// [`Failure`] where no whole answer came, or where the way led out of the registered origins.
    pub async fn send(&self, request: Request) -> Result<Response, Failure> {
        let mut url = request.url.clone();
        for _ in 0..=MAX_REDIRECTS {
            let origin = self.permit(&url, &request.url)?;
            let response = self.attempt(&request, &url, &origin, None).await?;
            match redirected(&request, &response) {
                Some(next) => url = next,
                None => return read_body(response, &origin, self.peer.body_limit).await,
            }
        }
        Err(Failure::new(&self.permit(&url, &request.url)?, FailureKind::TooManyRedirects))
    }

    /// Sends a request once. `within` is the time for the whole exchange, where it is another than the peer's.
    pub(super) async fn attempt(
        &self,
        request: &Request,
        url: &Url,
        origin: &Origin,
        within: Option<Duration>,
    ) -> Result<reqwest::Response, Failure> {
        let mut headers = request.headers.clone();
        if let Some((token, _)) = request.bearer.as_ref().filter(|(_, issued_for)| issued_for == origin)
            && let Ok(mut value) = HeaderValue::from_str(&format!("Bearer {}", token.expose()))
        {
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let mut sent = self.client.request(request.method.clone(), url.clone()).headers(headers);
        if let Some(body) = &request.body {
            sent = sent.body(body.clone());
        }
        if let Some(within) = within {
            sent = sent.timeout(within);
        }
        let through = self.peer.proxy.as_ref().is_some_and(|proxy| !proxy.passes_by(origin));
        let answer = sent.send().await.map_err(|e| Failure::from_reqwest(origin, e, through))?;
        // A server that is not a proxy never answers so (RFC 9110, 15.5.8).
        if through && answer.status() == StatusCode::PROXY_AUTHENTICATION_REQUIRED {
            return Err(Failure::new(origin, FailureKind::Proxy(ProxyFault::WantsLogin)));
        }
        Ok(answer)
    }

    /// Lets a URL pass where its origin is registered and its transport is safe. `from` is where the way began, for the message.
    pub(super) fn permit(&self, url: &Url, from: &Url) -> Result<Origin, Failure> {
        let origin = Origin::of(url).filter(|o| self.peer.origins.contains(o)).ok_or_else(|| Failure::other_origin(from, url))?;
        if !origin.is_https() && !origin.is_loopback() && !self.peer.allow_insecure {
            return Err(Failure::new(&origin, FailureKind::PlainText));
        }
        Ok(origin)
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the place that the lint points to")]
fn builder(peer: &Peer) -> Result<reqwest::ClientBuilder, SetupError> {
    let mut extra = Vec::new();
    if let Some(pem) = &peer.extra_ca {
        extra = reqwest::Certificate::from_pem_bundle(pem).map_err(|e| SetupError::ExtraCa(Some(e)))?;
        if extra.is_empty() {
            return Err(SetupError::ExtraCa(None));
        }
    }
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("fhir-engage/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
        // A proxy is part of a connection's configuration, never of the process's environment.
        .no_proxy()
        .connect_timeout(peer.connect_timeout)
        .timeout(peer.timeout)
        .tls_version_min(reqwest::tls::Version::TLS_1_2)
        .tls_info(true)
        .gzip(true);
    if let Some(pem) = &peer.identity {
        builder = builder.identity(reqwest::Identity::from_pem(pem.expose().as_bytes()).map_err(SetupError::Identity)?);
    }
    if let Some(proxy) = &peer.proxy {
        builder = builder.proxy(way_out(proxy)?);
    }
    // Without an https origin no certificate is ever looked at: a machine without authorities can still talk to itself.
    Ok(if peer.origins.iter().any(Origin::is_https) { builder.tls_certs_merge(extra) } else { builder.tls_certs_only(extra) })
}

fn way_out(proxy: &EgressProxy) -> Result<reqwest::Proxy, SetupError> {
    // Checked here once: the closure has no way to tell.
    reqwest::Proxy::all(proxy.url.clone()).map_err(|_| SetupError::Proxy)?;
    let chosen = proxy.clone();
    let way = reqwest::Proxy::custom(move |url| {
        let direct = Origin::of(url).is_some_and(|origin| chosen.passes_by(&origin));
        (!direct).then(|| chosen.url.clone())
    });
    Ok(match &proxy.login {
        Some((name, password)) => way.basic_auth(name, password.expose()),
        None => way,
    })
}

/// Chooses the process's TLS implementation once. Another choice made earlier stands.
fn install_crypto_provider() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let _already_chosen = rustls::crypto::ring::default_provider().install_default();
    });
}

/// Where a read is sent on to. A redirect of a write is handed back as it is: repeating a body elsewhere is the caller's decision. So is one of a
/// question with a body that would lose it, or carry it to another origin.
pub(super) fn redirected(request: &Request, response: &reqwest::Response) -> Option<Url> {
    let status = response.status().as_u16();
    if !matches!(status, 301 | 302 | 303 | 307 | 308) || !request.asks || !request.redirects {
        return None;
    }
    let location = response.headers().get(LOCATION)?.to_str().ok()?;
    let next = response.url().join(location).ok()?;
    let keeps_body = matches!(status, 307 | 308) && Origin::of(&next) == Origin::of(&request.url);
    (request.body.is_none() || keeps_body).then_some(next)
}

async fn read_body(mut response: reqwest::Response, origin: &Origin, limit: usize) -> Result<Response, Failure> {
    let (status, headers, url) = (response.status(), response.headers().clone(), response.url().clone());
    let certificate =
        response.extensions().get::<reqwest::tls::TlsInfo>().and_then(|info| info.peer_certificate()).and_then(Certificate::from_der);
    let too_large = || Failure::new(origin, FailureKind::BodyTooLarge { limit });
    let announced = response.content_length().and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
    if announced > limit {
        return Err(too_large());
    }
    let mut body = Vec::with_capacity(announced);
    while let Some(chunk) = response.chunk().await.map_err(|e| Failure::from_reqwest(origin, e, false))? {
        if body.len() + chunk.len() > limit {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
    // Some servers put one before JSON, where readers may pass over it (RFC 8259, 8.1).
    if body.starts_with(BYTE_ORDER_MARK) {
        body.drain(..BYTE_ORDER_MARK.len());
    }
    Ok(Response { status, headers, body, url, certificate })
}

#[cfg(test)]
#[path = "http/tests.rs"]
mod tests;
