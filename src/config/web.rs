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
}

impl Web {
    pub(super) fn read(s: &mut Section<'_, '_>) -> Self {
        Self {
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
