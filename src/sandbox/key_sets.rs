//! Key sets that clients publish (SMART App Launch 2.2, client-confidential-asymmetric, "Registering a client": a JWKS URL). Owns how long
//! one is kept: as `Cache-Control` says, or for ever, as some servers do.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;
use url::Url;

use crate::instant::SECOND;

/// How long a fetched key set is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyCache {
    /// As long as the client's `Cache-Control: max-age` says; one minute where it says nothing.
    MaxAge,
    /// For ever: what is fetched once is never fetched again.
    ForEver,
}

struct Published {
    url: String,
    cache: KeyCache,
    kept: Option<(Value, i64)>,
}

/// The key sets of clients that publish them.
#[derive(Default)]
pub(crate) struct KeySets(HashMap<String, Published>);

impl KeySets {
    pub(crate) fn register(&mut self, client_id: &str, url: &str, cache: KeyCache) {
        self.0.insert(client_id.to_owned(), Published { url: url.to_owned(), cache, kept: None });
    }

    /// The key set of a client; `None` where it publishes none. A set that cannot be fetched is empty.
    pub(crate) fn of(&mut self, client_id: &str, now: i64) -> Option<Value> {
        let published = self.0.get_mut(client_id)?;
        let fresh = published.kept.as_ref().is_some_and(|(_, until)| published.cache == KeyCache::ForEver || now < *until);
        if !fresh {
            published.kept = fetch(&published.url).map(|(set, max_age)| (set, now + max_age * SECOND));
        }
        Some(published.kept.as_ref().map(|(set, _)| set.clone()).unwrap_or_default())
    }
}

// As much HTTP/1.1 as it takes to read one document on loopback.
fn fetch(url: &str) -> Option<(Value, i64)> {
    let url = Url::parse(url).ok()?;
    let (host, port) = (url.host_str()?, url.port_or_known_default()?);
    let mut stream = TcpStream::connect((host, port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    write!(stream, "GET {} HTTP/1.1\r\nHost: {host}:{port}\r\nAccept: application/json\r\nConnection: close\r\n\r\n", url.path()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    if head.split(' ').nth(1) != Some("200") {
        return None;
    }
    let control = head.lines().find_map(|line| line.split_once(':').filter(|(name, _)| name.eq_ignore_ascii_case("cache-control")));
    let max_age = control.and_then(|(_, value)| value.split(',').find_map(|part| part.trim().strip_prefix("max-age=")?.parse().ok()));
    Some((serde_json::from_str(body).ok()?, max_age.unwrap_or(60)))
}
