//! The HTTP server.

use std::net::{Ipv4Addr, SocketAddr};

use url::Url;

use super::reader::Section;
use crate::credentials::SecretRef;

/// The HTTP server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Web {
    /// Address and port to listen on; loopback unless set.
    pub bind: SocketAddr,
    /// The bearer of the API. There is no default: without it every route that needs one answers 401.
    pub bearer: Option<SecretRef>,
    /// The URL under which others reach this server, where it is behind a proxy.
    pub external_url: Option<Url>,
    /// Address and port for what EHRs fetch, and nothing else; the same as `bind` where absent.
    pub public: Option<SocketAddr>,
}

impl Web {
    /// The URL at which EHRs find the public keys, where it is known.
    #[must_use]
    pub fn jwks_url(&self) -> Option<String> {
        self.external_url.as_ref().map(|url| format!("{}/.well-known/jwks.json", url.as_str().trim_end_matches('/')))
    }

    pub(super) fn read(s: &mut Section<'_, '_>) -> Self {
        let address = |t: &str| t.parse().ok();
        let mut public = s.section("public");
        let listen = public.parsed("listen", "an IP address and a port such as \"0.0.0.0:8081\"", address);
        if public.is_present() && !public.has("listen") {
            public.wrong("listen", "expected an IP address and a port such as \"0.0.0.0:8081\"; without it there is no public listener");
        }
        drop(public);
        Self {
            public: listen,
            bind: s
                .parsed("bind", "an IP address and a port such as \"127.0.0.1:8080\"", |t| t.parse().ok())
                .unwrap_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, 8080))),
            bearer: s.secret("bearer"),
            external_url: s.parsed("external_url", "an http or https URL without query such as \"https://engage.example.org\"", |t| {
                Url::parse(t).ok().filter(|u| {
                    matches!(u.scheme(), "http" | "https")
                        && u.has_host()
                        && u.query().is_none()
                        && u.fragment().is_none()
                        && u.username().is_empty()
                        && u.password().is_none()
                })
            }),
        }
    }
}
