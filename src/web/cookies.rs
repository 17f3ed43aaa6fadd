//! What the browser keeps: a random value that names the session, and one that binds a sign-in to the browser it was begun in.
//!
//! `Secure; HttpOnly; SameSite=None; Partitioned`: the pages stand in frames of the EHR, on another site, where browsers take no other
//! cookie; a partitioned one (CHIPS) is kept apart for each EHR and survives the blocking of third-party cookies. A browser that does not know
//! `Partitioned` passes over it and keeps the cookie as long as it lets third parties have any; where it does not, the page
//! says so and offers a tab of its own. Behind https the name has the prefix `__Host-`, so that no other host can set it. Over plain
//! http, which is for loopback only, browsers take `Secure` on loopback but not all of them the prefix.

use actix_web::http::header;
use actix_web::http::header::HeaderMap;
use url::Url;

/// What a cookie is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cookie {
    /// Names the session.
    Session,
    /// Binds a sign-in to the browser.
    Browser,
}

impl Cookie {
    /// Its name; `external` is the URL under which browsers reach this server.
    #[must_use]
    pub fn name(self, external: Option<&Url>) -> &'static str {
        let https = external.is_some_and(|url| url.scheme() == "https");
        match (self, https) {
            (Self::Session, true) => "__Host-engage",
            (Self::Session, false) => "engage",
            (Self::Browser, true) => "__Host-engage-begun",
            (Self::Browser, false) => "engage-begun",
        }
    }

    /// The value that a request brings.
    #[must_use]
    pub fn read(self, headers: &HeaderMap, external: Option<&Url>) -> Option<String> {
        let name = self.name(external);
        let pairs = headers.get_all(header::COOKIE).filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(';'));
        let mut values = pairs.filter_map(|pair| pair.trim().split_once('=')).filter(|(n, v)| *n == name && !v.is_empty());
        // Two of a name: somebody put one beside ours, and it cannot be told which.
        values.next().filter(|_| values.next().is_none()).map(|(_, value)| value.to_owned())
    }

    /// The header that sets it, until the browser is closed.
    #[must_use]
    pub fn set(self, value: &str, external: Option<&Url>) -> String {
        format!("{}={value}; Path=/; Secure; HttpOnly; SameSite=None; Partitioned", self.name(external))
    }

    /// The header that takes it away.
    #[must_use]
    pub fn clear(self, external: Option<&Url>) -> String {
        format!("{}; Max-Age=0", self.set("", external))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::HeaderValue;

    #[test]
    fn only_one_cookie_of_the_name_is_taken() {
        let external = Url::parse("https://engage.example.org/").unwrap();
        let read = |text: &'static str, external: Option<&Url>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::COOKIE, HeaderValue::from_static(text));
            Cookie::Session.read(&headers, external)
        };
        assert_eq!(read("a=1; __Host-engage=x", Some(&external)).as_deref(), Some("x"));
        assert_eq!(read("engage=x", Some(&external)), None, "without the prefix another host may have set it");
        assert_eq!(read("engage=x", None).as_deref(), Some("x"));
        assert_eq!(read("engage=x; engage=y", None), None);
        assert_eq!(read("engage=", None), None);
    }

    #[test]
    fn it_is_for_frames_and_hidden_from_scripts() {
        let external = Url::parse("https://engage.example.org/").unwrap();
        assert_eq!(Cookie::Session.set("v", Some(&external)), "__Host-engage=v; Path=/; Secure; HttpOnly; SameSite=None; Partitioned");
        assert!(Cookie::Browser.clear(None).starts_with("engage-begun=; ") && Cookie::Browser.clear(None).ends_with("; Max-Age=0"));
    }
}
