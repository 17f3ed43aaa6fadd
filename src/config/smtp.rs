//! The operator's mail server.

use super::reader::Section;
use crate::credentials::SecretRef;

/// How the connection is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// STARTTLS, required (RFC 3207); port 587 unless set.
    StartTls,
    /// TLS from the first byte (RFC 8314); port 465 unless set.
    Implicit,
    /// None: only to a server on this machine; port 25 unless set.
    None,
}

/// The mail server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Smtp {
    /// Its name.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The protection.
    pub tls: Tls,
    /// Certificate authorities to trust beside the machine's own, PEM.
    pub ca: Option<SecretRef>,
    /// Who signs in.
    pub user: Option<String>,
    /// With what.
    pub password: Option<SecretRef>,
    /// The sender: `Name <address>` or an address.
    pub from: String,
    /// Where answers go, if not to the sender.
    pub reply_to: Option<String>,
}

impl Smtp {
    /// `None` where the file has no `[smtp]`.
    pub(super) fn read(s: &mut Section<'_, '_>) -> Option<Self> {
        let mailbox = |t: &str| is_mailbox(t).then(|| t.trim().to_owned());
        let host = s.text("host");
        let tls = s
            .parsed("tls", "\"starttls\", \"implicit\" or \"none\"", |t| match t {
                "starttls" => Some(Tls::StartTls),
                "implicit" => Some(Tls::Implicit),
                "none" => Some(Tls::None),
                _ => None,
            })
            .unwrap_or(Tls::StartTls);
        let usual = match tls {
            Tls::StartTls => 587,
            Tls::Implicit => 465,
            Tls::None => 25,
        };
        let port = s.number("port", 1, 65_535).and_then(|p| u16::try_from(p).ok()).unwrap_or(usual);
        let (user, password, ca) = (s.text("user"), s.secret("password"), s.secret("ca"));
        let from = s.parsed("from", "a sender such as \"Front desk <desk@example.org>\"", mailbox);
        let reply_to = s.parsed("reply_to", "an address such as \"desk@example.org\"", mailbox);
        if !s.is_present() {
            return None;
        }
        for (key, missing) in [("host", host.is_none()), ("from", from.is_none())] {
            if missing && !s.has(key) {
                s.wrong(key, "this key is needed in [smtp]");
            }
        }
        if user.is_some() != password.is_some() && s.has("user") != s.has("password") {
            s.wrong("user", "user and password go together: set both or neither");
        }
        if tls == Tls::None && host.as_deref().is_some_and(|h| !is_here(h)) {
            s.wrong("tls", "\"none\" is only for a server on this machine: messages and passwords could be read on the way");
        }
        Some(Self { host: host?, port, tls, ca, user, password, from: from?, reply_to })
    }
}

fn is_here(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// The shape only, to catch slips early; the mail library has the last word.
pub(super) fn is_mailbox(text: &str) -> bool {
    let text = text.trim();
    let address = match (text.rsplit_once('<'), text.strip_suffix('>')) {
        (Some((_, rest)), Some(_)) => rest.trim_end_matches('>'),
        (None, None) => text,
        _ => return false,
    };
    !address.contains([' ', '<', '>', ',', ';', '"'])
        && address.split_once('@').is_some_and(|(local, host)| !local.is_empty() && !host.is_empty() && !host.contains('@'))
}
