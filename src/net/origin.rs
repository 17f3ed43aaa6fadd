//! Where a request may go: scheme, host and port (RFC 6454), the unit in which peers are registered.

use url::{Host, Url};

/// Scheme, host and port of an `http` or `https` URL. Prints as `https://ehr.example.org:8443`, the port left out where it is the
/// scheme's own. Holds no path, no query and no user name, so it may be logged.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin {
    https: bool,
    host: Host,
    port: u16,
}

impl Origin {
    /// The origin of a URL; `None` where the scheme is neither `http` nor `https`.
    #[must_use]
    pub fn of(url: &Url) -> Option<Self> {
        let https = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        Some(Self { https, host: url.host()?.to_owned(), port: url.port_or_known_default()? })
    }

    /// Whether requests are encrypted.
    #[must_use]
    pub const fn is_https(&self) -> bool {
        self.https
    }

    /// Whether the host is this machine: a loopback address, or `localhost` (RFC 6761).
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        match &self.host {
            Host::Domain(name) => name.eq_ignore_ascii_case("localhost"),
            Host::Ipv4(ip) => ip.is_loopback(),
            Host::Ipv6(ip) => ip.is_loopback(),
        }
    }

    /// The host.
    #[must_use]
    pub(super) const fn host(&self) -> &Host {
        &self.host
    }

    /// Whether the other origin names the same host, on whatever scheme and port.
    #[must_use]
    pub fn same_host(&self, other: &Self) -> bool {
        self.host == other.host
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (scheme, usual) = if self.https { ("https", 443) } else { ("http", 80) };
        write!(f, "{scheme}://{}", self.host)?;
        if self.port == usual { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

#[cfg(test)]
mod tests {
    use super::Origin;
    use url::Url;

    fn of(text: &str) -> Option<Origin> {
        Origin::of(&Url::parse(text).unwrap())
    }

    #[test]
    fn prints_neither_path_nor_query() {
        for (url, shown) in [
            ("https://ehr.example.org/fhir?patient=12", "https://ehr.example.org"),
            ("https://ehr.example.org:443/", "https://ehr.example.org"),
            ("http://127.0.0.1:8080/a", "http://127.0.0.1:8080"),
            ("http://[::1]:8080/a", "http://[::1]:8080"),
            ("https://user:word@ehr.example.org/", "https://ehr.example.org"),
        ] {
            assert_eq!(of(url).unwrap().to_string(), shown);
        }
        assert_eq!(of("ftp://ehr.example.org/"), None);
        assert_eq!(of("file:///etc/passwd"), None);
    }

    #[test]
    fn scheme_host_and_port_all_count() {
        let base = of("https://ehr.example.org/").unwrap();
        for other in ["http://ehr.example.org/", "https://ehr.example.org:8443/", "https://ehr.example.com/"] {
            assert_ne!(of(other).unwrap(), base);
        }
        assert_eq!(of("https://EHR.example.org/x").unwrap(), base);
        assert!(of("http://ehr.example.org:80/").unwrap().same_host(&base));
    }

    #[test]
    fn loopback_is_an_address_not_a_name_that_resembles_it() {
        for (url, is) in [
            ("http://127.0.0.1:1/", true),
            ("http://127.9.9.9/", true),
            ("http://[::1]/", true),
            ("http://localhost:9/", true),
            ("http://localhost.example.org/", false),
            ("http://127.0.0.1.example.org/", false),
            ("http://10.0.0.1/", false),
        ] {
            assert_eq!(of(url).unwrap().is_loopback(), is, "{url}");
        }
    }
}
