//! The way out of a site whose machines may not reach the network themselves: an HTTP proxy per peer (RFC 9110, 9.3.6), and which hosts
//! are nevertheless reached directly. Variables of the environment play no part: a proxy is part of a connection's configuration.

use std::net::IpAddr;

use url::{Host, Url};

use super::origin::Origin;
use super::secret::Secret;

/// An HTTP proxy for one peer.
#[derive(Clone, Debug)]
pub struct EgressProxy {
    /// Where it is.
    pub url: Url,
    /// Name and password, where it asks for them (RFC 7617).
    pub login: Option<(String, Secret)>,
    /// What is reached without it.
    pub except: Vec<Exception>,
}

impl EgressProxy {
    /// Whether an origin is reached without the proxy.
    #[must_use]
    pub fn passes_by(&self, origin: &Origin) -> bool {
        self.except.iter().any(|e| e.holds(origin.host()))
    }
}

/// What is reached without a proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exception {
    /// Everything.
    All,
    /// A host of exactly this name.
    Host(String),
    /// A domain with all that is below it.
    Domain(String),
    /// A network: an address and how many of its bits count.
    Network(IpAddr, u8),
}

impl Exception {
    /// Reads one: `*`, a host's name, `.example.org` (or `*.example.org`) for a domain, an address, or a network such as `10.0.0.0/8`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim().trim_end_matches('.').to_ascii_lowercase();
        if text == "*" {
            return Some(Self::All);
        }
        let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(&text);
        if let Ok(ip) = bare.parse::<IpAddr>() {
            return Some(Self::Network(ip, bits(ip)));
        }
        if let Some((ip, count)) = text.split_once('/') {
            let (ip, count) = (ip.parse::<IpAddr>().ok()?, count.parse().ok()?);
            return (count <= bits(ip)).then_some(Self::Network(ip, count));
        }
        let domain = text.strip_prefix("*.").or_else(|| text.strip_prefix('.'));
        let name = domain.unwrap_or(&text);
        let plain = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'));
        plain.then(|| if domain.is_some() { Self::Domain(name.to_owned()) } else { Self::Host(name.to_owned()) })
    }

    fn holds(&self, host: &Host) -> bool {
        match (self, host) {
            (Self::All, _) => true,
            (Self::Host(own), Host::Domain(name)) => name.trim_end_matches('.').eq_ignore_ascii_case(own),
            (Self::Domain(own), Host::Domain(name)) => {
                let name = name.trim_end_matches('.').to_ascii_lowercase();
                name == *own || name.strip_suffix(own.as_str()).is_some_and(|front| front.ends_with('.'))
            }
            (Self::Network(net, count), Host::Ipv4(ip)) => same_network(*net, (*ip).into(), *count),
            (Self::Network(net, count), Host::Ipv6(ip)) => same_network(*net, (*ip).into(), *count),
            (Self::Host(_) | Self::Domain(_), Host::Ipv4(_) | Host::Ipv6(_)) | (Self::Network(..), Host::Domain(_)) => false,
        }
    }
}

const fn bits(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}

fn same_network(one: IpAddr, other: IpAddr, count: u8) -> bool {
    let wide = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => (u128::from(u32::from(ip)) << 96, 32),
        IpAddr::V6(ip) => (u128::from(ip), 128),
    };
    let ((one, own), (other, of)) = (wide(one), wide(other));
    let differs = one ^ other;
    own == of && (count == 0 || differs >> (128 - u32::from(count)) == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exceptions_are_names_domains_and_networks() {
        for (text, url, direct) in [
            ("ehr.example.org", "https://ehr.example.org/", true),
            ("ehr.example.org", "https://EHR.example.org:8443/", true),
            ("ehr.example.org", "https://x.ehr.example.org/", false),
            (".example.org", "https://ehr.example.org/", true),
            ("*.example.org", "https://a.b.example.org/", true),
            (".example.org", "https://example.org/", true),
            (".example.org", "https://badexample.org/", false),
            (".example.org", "https://example.org.evil.net/", false),
            ("10.0.0.0/8", "https://10.9.8.7/", true),
            ("10.0.0.0/8", "https://11.0.0.1/", false),
            ("192.168.1.64/26", "https://192.168.1.127/", true),
            ("192.168.1.64/26", "https://192.168.1.128/", false),
            ("0.0.0.0/0", "https://1.2.3.4/", true),
            ("0.0.0.0/0", "https://[2001:db8::1]/", false),
            ("2001:db8::/32", "https://[2001:db8:1::1]/", true),
            ("[::1]", "http://[::1]:80/", true),
            ("127.0.0.1", "http://127.0.0.1/", true),
            ("127.0.0.1", "http://localhost/", false),
            ("10.0.0.0/8", "https://10.example.org/", false),
            ("*", "https://anything.example.org/", true),
        ] {
            let exception = Exception::parse(text).unwrap_or_else(|| panic!("{text}"));
            let origin = Origin::of(&Url::parse(url).unwrap()).unwrap();
            assert_eq!(exception.holds(origin.host()), direct, "{text} {url}");
        }
        for text in ["", ".", "*.", "10.0.0.0/33", "10.0.0/8", "a b", "http://x", "::/129"] {
            assert_eq!(Exception::parse(text), None, "{text}");
        }
    }
}
