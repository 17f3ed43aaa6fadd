//! What can go wrong between this machine and a peer, told so that an operator knows where to look.
//!
//! A message holds the peer's origin and nothing else of the URL.

use std::error::Error;
use std::io;

use url::Url;

use super::origin::Origin;

/// A request that brought no whole answer.
#[derive(Debug, thiserror::Error)]
#[error("{peer}: {kind}")]
pub struct Failure {
    /// The origin that the request was to go to.
    pub peer: String,
    /// What went wrong.
    pub kind: FailureKind,
    #[source]
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// The kinds of failure, each a different thing to look at.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FailureKind {
    /// Nothing listens, or no route leads there.
    #[error("cannot be reached: the connection was refused; check host, port and firewall")]
    Refused,
    /// The name does not resolve.
    #[error("its host name does not resolve; check the spelling and the DNS of this machine")]
    Dns,
    /// The certificate does not verify.
    #[error("its TLS certificate does not verify: {0}")]
    Certificate(CertificateFault),
    /// The peer asks for a client certificate, or does not accept the one that it was shown.
    #[error("it does not accept this client's certificate, or asks for one and was shown none")]
    ClientCertificate,
    /// The proxy that leads there did not let the request through.
    #[error("the proxy that leads there {0}")]
    Proxy(ProxyFault),
    /// TLS failed for another reason.
    #[error("the TLS handshake failed; check that the port speaks TLS 1.2 or 1.3")]
    Tls,
    /// No connection within the time allowed.
    #[error("did not accept a connection in time; check host, port and firewall")]
    ConnectTimeout,
    /// Connected, but no whole answer within the time allowed.
    #[error("did not answer in time")]
    Timeout,
    /// The connection ended in mid-answer, or the answer is not HTTP.
    #[error("the connection broke before the whole answer had come")]
    Reset,
    /// The body is larger than allowed.
    #[error("the answer is larger than the limit of {limit} bytes")]
    BodyTooLarge {
        /// The limit that was passed.
        limit: usize,
    },
    /// A redirect or link leads out of the registered origins.
    #[error("it points to {0}, which is not registered for this connection")]
    OtherOrigin(String),
    /// More redirects than are followed.
    #[error("it redirects again and again")]
    TooManyRedirects,
    /// Clear text to another machine.
    #[error("plain http is refused, except to this machine; use https, or allow insecure transport for this connection")]
    PlainText,
}

/// Why a proxy let nothing through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyFault {
    /// It cannot be reached itself.
    #[error("cannot be reached; check its address and the firewall")]
    Unreachable,
    /// It asks for a name and a password, or does not take those it was given.
    #[error("asks for a name and a password, or does not accept the configured ones")]
    WantsLogin,
    /// It does not let this peer through, or cannot reach it.
    #[error("does not let this address through, or cannot reach it; have it allowed there")]
    Refused,
}

/// Why a certificate does not verify, with the remedy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateFault {
    /// Signed by an authority that is not trusted here.
    #[error(
        "it is signed by an authority that this machine does not trust; give that authority's certificate as the connection's extra CA"
    )]
    UnknownIssuer,
    /// A self-signed certificate that says that it is an authority's.
    #[error(
        "it is self-signed and marked as an authority's own, which no server may use; the EHR's operator must install a server certificate"
    )]
    SelfSigned,
    /// Past its end.
    #[error("it has expired; the EHR's operator must renew it (or this machine's clock is wrong)")]
    Expired,
    /// Before its begin.
    #[error("it is not valid yet; check this machine's clock")]
    NotYetValid,
    /// For another host.
    #[error("it was issued for another host name; use the name that the certificate holds")]
    WrongName,
    /// Taken back by its issuer.
    #[error("it was revoked; the EHR's operator must replace it")]
    Revoked,
    /// Anything else.
    #[error("it is malformed or signed in a way that is not accepted; ask the EHR's operator")]
    Other,
}

impl Failure {
    pub(super) fn new(peer: &Origin, kind: FailureKind) -> Self {
        Self { peer: peer.to_string(), kind, source: None }
    }

    pub(super) fn other_origin(from: &Url, to: &Url) -> Self {
        let name = |url: &Url| Origin::of(url).map_or_else(|| format!("a {} address", url.scheme()), |o| o.to_string());
        Self { peer: name(from), kind: FailureKind::OtherOrigin(name(to)), source: None }
    }

    /// Classifies an error of the transport by the first cause in its chain that tells something.
    pub(super) fn from_reqwest(peer: &Origin, error: reqwest::Error, through_proxy: bool) -> Self {
        let error = error.without_url();
        let kind = match classify(&error) {
            // On the way through a proxy only the proxy is connected to, and looked up.
            FailureKind::Refused | FailureKind::Dns | FailureKind::ConnectTimeout if through_proxy => {
                FailureKind::Proxy(ProxyFault::Unreachable)
            }
            kind => kind,
        };
        Self { peer: peer.to_string(), kind, source: Some(Box::new(error)) }
    }

    /// Whether the request certainly did not reach the peer, so that even a write may be repeated.
    #[must_use]
    pub const fn never_sent(&self) -> bool {
        matches!(
            self.kind,
            FailureKind::Refused
                | FailureKind::Dns
                | FailureKind::Certificate(_)
                | FailureKind::ClientCertificate
                | FailureKind::Proxy(_)
                | FailureKind::Tls
                | FailureKind::ConnectTimeout
                | FailureKind::PlainText
        )
    }

    /// Whether the same request may succeed later without anyone changing anything.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(
            self.kind,
            FailureKind::Refused
                | FailureKind::Dns
                | FailureKind::ConnectTimeout
                | FailureKind::Timeout
                | FailureKind::Reset
                | FailureKind::Proxy(ProxyFault::Unreachable)
        )
    }
}

fn classify(error: &reqwest::Error) -> FailureKind {
    let mut cause: Option<&(dyn Error + 'static)> = error.source();
    while let Some(inner) = cause {
        if let Some(tls) = inner.downcast_ref::<rustls::Error>() {
            return of_tls(tls);
        }
        let io = inner.downcast_ref::<io::Error>();
        match io.map(io::Error::kind) {
            Some(io::ErrorKind::ConnectionRefused | io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable) => {
                return FailureKind::Refused;
            }
            Some(io::ErrorKind::TimedOut) if error.is_connect() => return FailureKind::ConnectTimeout,
            _ => {}
        }
        // The tunnel's error type is private to the HTTP library; its texts are fixed.
        if let Some(why) = inner.to_string().strip_prefix("tunnel error: ") {
            return FailureKind::Proxy(match why {
                w if w.contains("authorization required") => ProxyFault::WantsLogin,
                w if w.contains("underlying connection") => ProxyFault::Unreachable,
                _ => ProxyFault::Refused,
            });
        }
        // The resolver's error type is private to the HTTP library; its text is fixed.
        if error.is_connect() && inner.to_string().contains("dns error") {
            return FailureKind::Dns;
        }
        // The source of an io::Error is its content's source: the content itself would be passed over.
        cause = match io.and_then(io::Error::get_ref) {
            Some(content) => Some(content),
            None => inner.source(),
        };
    }
    match (error.is_connect(), error.is_timeout()) {
        (true, true) => FailureKind::ConnectTimeout,
        (true, false) => FailureKind::Refused,
        (false, true) => FailureKind::Timeout,
        (false, false) => FailureKind::Reset,
    }
}

fn of_tls(error: &rustls::Error) -> FailureKind {
    use rustls::AlertDescription as A;
    use rustls::CertificateError as C;
    let fault = match error {
        rustls::Error::InvalidCertificate(fault) => fault,
        // What a server says of a client's certificate (RFC 8446, 6.2); some have no word for it but "handshake failure".
        rustls::Error::AlertReceived(
            A::CertificateRequired
            | A::BadCertificate
            | A::CertificateExpired
            | A::CertificateRevoked
            | A::CertificateUnknown
            | A::UnsupportedCertificate
            | A::UnknownCA
            | A::AccessDenied
            | A::NoCertificate,
        ) => return FailureKind::ClientCertificate,
        _ => return FailureKind::Tls,
    };
    FailureKind::Certificate(match fault {
        C::UnknownIssuer => CertificateFault::UnknownIssuer,
        C::Expired | C::ExpiredContext { .. } => CertificateFault::Expired,
        C::NotValidYet | C::NotValidYetContext { .. } => CertificateFault::NotYetValid,
        C::NotValidForName | C::NotValidForNameContext { .. } => CertificateFault::WrongName,
        C::Revoked => CertificateFault::Revoked,
        // The verifier's own error type is behind another crate; its name is part of that crate's interface.
        C::Other(other) if format!("{other:?}").contains("CaUsedAsEndEntity") => CertificateFault::SelfSigned,
        _ => CertificateFault::Other,
    })
}
