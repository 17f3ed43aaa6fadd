//! The carrier that is a request of the site's own: one `POST` to one declared address, for what FHIR cannot carry. It goes to the origin that
//! was declared and nowhere else, and follows no redirect.

use std::time::Duration;

use serde_json::Value;
use url::Url;

use super::chart::{Chart, Remote, SearchFailed};
use super::contract::{Carrier, Route};
use super::export::Folder;
use super::push::{Pushed, Signal, Try};
use crate::net::http::SetupError;
use crate::net::{Http, Origin, Peer, Request, Secret};

/// The carriers that are not the EHR's FHIR interface, as far as the site has them.
#[derive(Clone, Debug, Default)]
pub struct Ways {
    /// The declared route.
    pub route: Option<RouteWay>,
    /// The folder for export files.
    pub export: Option<Folder>,
}

/// A declared route, ready.
#[derive(Clone, Debug)]
pub struct RouteWay {
    http: Http,
    origin: Origin,
    route: Route,
    bearer: Option<Secret>,
}

/// Why a declared route cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RouteError {
    /// No address, or one whose host depends on the patient.
    #[error("the route's {0} must be an http(s) address whose host is written out; placeholders belong into path and query")]
    Address(&'static str),
    /// `find` is elsewhere.
    #[error("the route's find must be at the same origin as its url")]
    Elsewhere,
    /// No connection can be made.
    #[error("the route's connection could not be set up")]
    Setup(#[source] SetupError),
}

impl RouteWay {
    /// Makes a declared route ready; `bearer` is the secret that it points to.
    ///
    /// # Errors
    /// [`RouteError`].
    pub fn open(route: &Route, bearer: Option<Secret>, timeout: Duration) -> Result<Self, RouteError> {
        let origin = fixed_origin(&route.url).ok_or(RouteError::Address("url"))?;
        if let Some(find) = &route.find {
            let there = fixed_origin(find).ok_or(RouteError::Address("find"))?;
            if there != origin {
                return Err(RouteError::Elsewhere);
            }
        }
        let mut peer = Peer::at(vec![origin.clone()]);
        peer.timeout = timeout;
        peer.body_limit = 4 * 1024 * 1024;
        let http = Http::new(peer).map_err(RouteError::Setup)?;
        Ok(Self { http, origin, route: route.clone(), bearer })
    }

    fn request(&self, request: Request) -> Request {
        let request = request.without_redirects();
        match &self.bearer {
            Some(bearer) => request.bearer(bearer.clone(), self.origin.clone()),
            None => request,
        }
    }

    /// Whether the answer of `find` shows a write-back; `None` where it cannot be told.
    fn shows(&self, key: &str, body: &[u8]) -> Option<bool> {
        if !stands_in(key, &String::from_utf8_lossy(body)) {
            return Some(false);
        }
        // It may only repeat what was asked.
        let answer: Value = serde_json::from_slice(body).ok()?;
        let value = |at: &Option<String>| answer.pointer(at.as_deref()?).filter(|v| !v.is_null());
        let shown = match &self.route.found_at {
            Some(_) => stands_in(key, &value(&self.route.found_at)?.to_string()),
            None => value(&self.route.id_at).is_some(),
        };
        shown.then_some(true)
    }

    /// The id in an answer.
    fn id(&self, body: &[u8]) -> Option<String> {
        let answer: Value = serde_json::from_slice(body).ok()?;
        match answer.pointer(self.route.id_at.as_deref()?)? {
            Value::String(id) if !id.is_empty() => Some(id.chars().filter(|c| !c.is_control()).take(255).collect()),
            Value::Number(id) => Some(id.to_string()),
            _ => None,
        }
    }
}

/// The origin of a template, where no value can change it.
fn fixed_origin(template: &str) -> Option<Origin> {
    let of = |value| Origin::of(&Url::parse(&filled(template, value, value)).ok()?);
    let (one, other) = (of("a")?, of("b")?);
    (one == other).then_some(one)
}

/// The template with its values, written so that none can be more than one part of a path or one value of a query.
fn filled(template: &str, patient: &str, key: &str) -> String {
    let plain = |text: &str| {
        text.bytes().fold(String::new(), |mut out, b| {
            if b.is_ascii_alphanumeric() || b"-_~".contains(&b) {
                out.push(char::from(b));
            } else {
                out.push_str(&format!("%{b:02X}"));
            }
            out
        })
    };
    // In one pass: a value that looks like a placeholder is not filled in its turn.
    let mut out = String::new();
    let mut rest = template;
    while let Some(at) = rest.find('{') {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let known = [("{patient}", patient), ("{key}", key)].into_iter().find_map(|(name, value)| Some((from.strip_prefix(name)?, value)));
        rest = match known {
            Some((after, value)) => {
                out.push_str(&plain(value));
                after
            }
            None => {
                out.push('{');
                from.strip_prefix('{').unwrap_or_default()
            }
        };
    }
    out + rest
}

/// Whether a key stands in a text by itself, and not as part of a longer one.
fn stands_in(key: &str, text: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
    text.match_indices(key).any(|(at, _)| {
        let before = text.get(..at).and_then(|t| t.chars().next_back());
        let after = text.get(at + key.len()..).and_then(|t| t.chars().next());
        !before.is_some_and(part) && !after.is_some_and(part)
    })
}

/// What the route's `find` says.
enum Seen {
    There(Remote),
    Not,
    /// It cannot tell.
    Unclear(String),
    /// It may tell later.
    Failed(String),
}

impl<C: Chart> Try<'_, C> {
    /// Sends it by the site's route.
    async fn send_by_route(&self, bytes: &[u8]) -> Pushed {
        let Some(way) = &self.ways.route else { return self.no_route() };
        let Ok(url) = Url::parse(&filled(&way.route.url, &self.letter.patient, &self.letter.value)) else { return self.no_route() };
        let request = Request::post(url, &way.route.content_type, bytes.to_vec());
        let request = request.header(http::HeaderName::from_static("idempotency-key"), &self.letter.value);
        let response = match way.http.send(way.request(request)).await {
            Ok(response) => response,
            Err(failure) if failure.never_sent() => return self.again(format!("no-answer: {failure}"), Signal::Trouble),
            Err(failure) => return self.unknown(&format!("no-answer: {failure}")),
        };
        let status = response.status.as_u16();
        match status {
            _ if way.route.success.contains(&status) => self.written(Remote { id: way.id(&response.body), ..Remote::default() }),
            // By route, only this row waits: the EHR itself asked for nothing.
            429 => self.again("throttled: the route asks to come back later".to_owned(), Signal::Fine),
            408 | 500..=599 => self.unknown(&format!("no-answer: the route answered with HTTP status {status}")),
            409 | 412 => self.conflict(&format!("http-{status}")),
            // What is no success and no refusal leaves open what was done.
            100..=299 => {
                self.unknown(&format!("no-answer: the route answered with HTTP status {status}, which is not among its successes"))
            }
            _ => self.refused(format!("http-{status}: the route refused it")),
        }
    }

    /// One that is owed did not go by the route by all we know; a database that was restored from a backup may know less.
    pub(super) async fn carry_by_route(&self, bytes: &[u8]) -> Pushed {
        if !self.letter.unclear
            && let Some(found) = self.seen_by_route().await
        {
            match found {
                Seen::There(remote) => return self.written(remote),
                Seen::Not | Seen::Unclear(_) => {}
                Seen::Failed(why) => return self.search_failed(SearchFailed::Later(why)),
            }
        }
        self.send_by_route(bytes).await
    }

    /// Whether an earlier try by the route arrived; `None` where it certainly did not.
    pub(super) async fn settled_by_route(&self) -> Option<Pushed> {
        let Some(way) = &self.ways.route else { return Some(self.parked("no-search: the route is not declared any more")) };
        if way.route.find.is_none() {
            return Some(self.parked("no-search: the route declares no find that could tell whether an earlier try arrived"));
        }
        match self.seen_by_route().await? {
            Seen::There(remote) => Some(self.written(remote)),
            Seen::Not => self.parked_as_changed(Carrier::Route),
            Seen::Unclear(why) => Some(self.parked(&why)),
            Seen::Failed(why) => Some(self.search_failed(SearchFailed::Later(why))),
        }
    }

    /// Asks the route's `find`; `None` where there is none.
    async fn seen_by_route(&self) -> Option<Seen> {
        let way = self.ways.route.as_ref()?;
        let url = Url::parse(&filled(way.route.find.as_ref()?, &self.letter.patient, &self.letter.value)).ok()?;
        let answer = match way.http.send(way.request(Request::get(url))).await {
            Ok(answer) => answer,
            Err(failure) => return Some(Seen::Failed(format!("no-answer: {failure}"))),
        };
        let unclear = |why: &str| Seen::Unclear(format!("search-not-trusted: the route's find {why}"));
        Some(match answer.status.as_u16() {
            200 => match way.shows(&self.letter.value, &answer.body) {
                Some(true) => Seen::There(Remote { id: way.id(&answer.body), ..Remote::default() }),
                Some(false) => Seen::Not,
                None => unclear("names our key, and not where found_at or id_at leads to"),
            },
            204 | 404 | 410 => Seen::Not,
            status @ (408 | 429 | 500..=599) => Seen::Failed(format!("no-answer: the route answered with HTTP status {status}")),
            status => Seen::Unclear(format!("search-refused: the route's find answered with HTTP status {status}")),
        })
    }

    fn no_route(&self) -> Pushed {
        self.refused("not-taken: no route is declared".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_stays_where_it_was_put() {
        let template = "https://e.org/p/{patient}/d?k={key}&{other}{";
        let wanted = "https://e.org/p/%2E%2E%2F%2E%2E/d?k=a%26x%3D%7Bpatient%7D&{other}{";
        assert_eq!(filled(template, "../..", "a&x={patient}"), wanted);
        assert_eq!(filled("https://e.org/{key}", "p1", "A-b_1"), "https://e.org/A-b_1");
    }

    #[test]
    fn an_answer_that_repeats_the_question_is_no_find() {
        let way = |found_at: Option<&str>, id_at: Option<&str>| {
            let settings = serde_json::json!({"url": "https://e.org/x", "content_type": "text/plain", "body": "{{ key }}", "success": [200],
                "find": "https://e.org/x?k={key}", "found_at": found_at, "id_at": id_at});
            RouteWay::open(&serde_json::from_value(settings).unwrap(), None, Duration::from_secs(1)).unwrap()
        };
        for (found_at, id_at, body, is) in [
            (Some("/items/0"), None, r#"{"q":"a1","items":[{"key":"a1"}]}"#, Some(true)),
            (Some("/items/0"), None, r#"{"q":"a1","items":[]}"#, None),
            (Some("/items/0"), None, r#"{"q":"a1","items":[{"key":"b2"}]}"#, None),
            (Some("/items/0"), Some("/q"), r#"{"q":"a1","items":[null]}"#, None),
            (Some("/items/0"), None, r#"{"items":[{"key":"a1-answer-1"}]}"#, Some(false)),
            (Some("/items/0"), None, r#"{"items":[]}"#, Some(false)),
            (None, Some("/id"), r#"{"id":7,"key":"a1"}"#, Some(true)),
            (None, Some("/id"), r#"{"error":"no a1"}"#, None),
            (None, None, "a1", None),
            (Some("/items/0"), None, "<p>a1</p>", None),
        ] {
            assert_eq!(way(found_at, id_at).shows("a1", body.as_bytes()), is, "{found_at:?} {id_at:?} {body}");
        }
    }

    #[test]
    fn the_host_of_an_address_is_written_out() {
        for (url, is) in [
            ("https://e.org/x/{patient}", true),
            ("https://e.org/?k={key}", true),
            ("https://{patient}.e.org/x", false),
            ("https://e.org:{key}/x", false),
            ("{key}://e.org/", false),
            ("https://{key}@e.org/x", true),
            ("file:///etc/{key}", false),
            ("e.org/x", false),
        ] {
            assert_eq!(fixed_origin(url).is_some(), is, "{url}");
        }
    }

    #[test]
    fn a_key_is_not_found_within_a_longer_one() {
        for (text, is) in [
            (r#"{"key":"a1"}"#, true),
            ("a1", true),
            (r#"["a1-answer-1"]"#, false),
            ("xa1 a11 a1.2", false),
            ("a1-answer-1, a1", true),
            ("", false),
        ] {
            assert_eq!(stands_in("a1", text), is, "{text}");
        }
    }
}
