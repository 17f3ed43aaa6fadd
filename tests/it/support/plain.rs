//! A plain FHIR server with the manners of others than the sandbox: pages behind opaque links as HAPI, Medplum and Google have them, versions
//! that are UUIDs, changes to the microsecond, no totals; and what such servers, and whatever stands before them, do to an answer. It speaks
//! as much HTTP as that needs, one request a connection, and shares no code with the gateway or the sandbox.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

/// Where a `next` link leads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Paging {
    /// `[base]?_getpages=...`, as HAPI has it.
    #[default]
    Base,
    /// `[base]/Patient?_cursor=...`, as Medplum has it.
    Type,
    /// `[base]/_page/...`.
    Path,
}

/// How a `next` link is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Written {
    #[default]
    Whole,
    /// From the root of the host on.
    FromRoot,
    /// As a browser would take it from where the page came.
    Relative,
}

/// What happens to an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trick {
    /// Compressed, whether or not that was asked for.
    Gzip,
    /// Compressed, and cut off, under a length that is right.
    GzipCut,
    /// A byte order mark comes first.
    Bom,
    /// Another content type; empty: none.
    Type(&'static str),
    /// In chunks.
    Chunked,
    /// In chunks of which the last ones do not come.
    ChunkedCut,
    /// As HTTP/1.0 had it: the end of the connection is the end.
    OldHttp,
    /// The same, and half of it does not come.
    OldHttpCut,
    /// A length that is longer than what comes.
    LengthCut,
    /// Nothing comes, and the connection stays.
    Silent,
    /// 200 without a body.
    Nothing,
    /// 204.
    NoContent,
    /// A page for people.
    Html,
    /// What is asked for below `/old` is sent on with this status, to a whole address or to a path.
    SentOn(u16, Written),
    /// `link` of a whole answer says http and the outside port is another: sent to another origin.
    SentAway,
    /// An OperationOutcome with 200 in the place of a Bundle: severity, code, and whether only from the second page on.
    Outcome(&'static str, &'static str, bool),
    /// A `next` link that is not known any more: this status.
    Forgotten(u16),
    /// A page begins with the last entry of the one before, and ends with its own first one.
    Doubled,
    /// Before each page comes an empty one.
    EmptyBetween,
    /// `next` leads to the page it is on.
    NextToSelf,
    /// `next` leads to a fresh address of the same page, for ever.
    NextEndless,
    /// The same with pages that are empty.
    EmptyEndless,
    /// An entry comes without its resource.
    Hollow,
    /// `next` leads to another origin.
    NextElsewhere,
    /// Members that are null or wrong: `total` is 0, a `prev` without an address, an entry that is null.
    OddMembers,
    /// `_sort` is ignored, and what was applied is not told.
    Unsorted,
    /// Times are written with an offset.
    Offset,
}

use Trick::{
    Bom, Chunked, ChunkedCut, Doubled, EmptyBetween, EmptyEndless, Forgotten, Gzip, GzipCut, Hollow, Html, LengthCut, NextElsewhere,
    NextEndless, NextToSelf, NoContent, Nothing, OddMembers, Offset, OldHttp, OldHttpCut, Outcome, SentAway, SentOn, Silent, Type,
    Unsorted,
};

/// Always.
pub const ALWAYS: u32 = u32::MAX;

#[derive(Default)]
struct State {
    charts: BTreeMap<&'static str, Vec<Value>>,
    paging: Paging,
    written: Written,
    /// Entries of a page, whatever is asked for.
    page: usize,
    tricks: Vec<(Trick, u32)>,
    /// Searches that are being paged, by their names: types and the ids that were found.
    found: HashMap<String, (&'static str, Vec<String>)>,
    made: usize,
    now: i64,
    /// What was asked: method and target.
    log: Vec<String>,
}

/// A running server; it ends with this value.
pub struct Plain {
    port: u16,
    state: Arc<Mutex<State>>,
    ended: Arc<AtomicBool>,
}

impl Drop for Plain {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        // So that it looks.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

impl Plain {
    /// One with these resources, at an instant of its clock, in microseconds since 1970.
    pub fn start(now: i64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(Mutex::new(State { page: 5, now, ..State::default() }));
        let ended = Arc::new(AtomicBool::new(false));
        let (shared, over) = (Arc::clone(&state), Arc::clone(&ended));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                let (shared, over) = (Arc::clone(&shared), Arc::clone(&over));
                std::thread::spawn(move || serve(stream, port, &shared, &over));
            }
        });
        Self { port, state, ended }
    }

    /// Its FHIR base, below which it is known by this path too.
    pub fn base(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// How it pages from now on.
    pub fn pages(&self, paging: Paging, written: Written, page: usize) {
        let mut state = self.state();
        (state.paging, state.written, state.page) = (paging, written, page);
    }

    /// What it does from now on, and how often.
    pub fn does(&self, tricks: &[(Trick, u32)]) {
        self.state().tricks = tricks.to_vec();
    }

    /// Tricks that were not played as often as they were to be.
    pub fn not_done(&self) -> Vec<Trick> {
        self.state().tricks.iter().filter(|(_, left)| (1..ALWAYS).contains(left)).map(|(trick, _)| *trick).collect()
    }

    /// What was asked since the last time this was.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.state().log)
    }

    /// Its clock goes on by so many microseconds.
    pub fn advance(&self, micros: i64) {
        self.state().now += micros;
    }

    /// Stores a resource in a new version, with the time of its clock.
    pub fn put(&self, mut resource: Value) {
        let mut state = self.state();
        state.made += 1;
        // No two changes at one instant, and none to the millisecond.
        state.now += 1_003;
        let (made, now) = (state.made, state.now);
        let at = chrono::DateTime::from_timestamp_micros(now).unwrap();
        let offset = state.tricks.iter().any(|(trick, _)| *trick == Offset);
        let text = if offset {
            at.with_timezone(&chrono::FixedOffset::east_opt(19_800).unwrap()).format("%Y-%m-%dT%H:%M:%S%.6f%:z")
        } else {
            at.format("%Y-%m-%dT%H:%M:%S%.6fZ")
        };
        resource["meta"] = json!({ "versionId": format!("{made:08x}-1f2e-4c3d-8b4a-0123456789ab"), "lastUpdated": text.to_string() });
        let kind = if resource["resourceType"] == "Patient" { "Patient" } else { "CarePlan" };
        let all = state.charts.entry(kind).or_default();
        all.retain(|r| r["id"] != resource["id"]);
        all.push(resource);
    }

    /// All of a type, as it is served.
    pub fn all(&self, kind: &str) -> Vec<Value> {
        self.state().charts.get(kind).cloned().unwrap_or_default()
    }
}

impl State {
    /// Whether a trick is played now.
    fn plays(&mut self, wanted: impl Fn(Trick) -> bool) -> Option<Trick> {
        let (trick, left) = self.tricks.iter_mut().find(|(trick, left)| *left > 0 && wanted(*trick))?;
        if *left < ALWAYS {
            *left -= 1;
        }
        Some(*trick)
    }
}

struct Asked {
    method: String,
    target: String,
    path: String,
    query: Vec<(String, String)>,
}

impl Asked {
    fn read(stream: &TcpStream) -> Option<Self> {
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let mut words = line.split(' ');
        let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
        let mut length = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            let Some((name, value)) = line.trim().split_once(':') else { break };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().ok()?;
            }
        }
        reader.read_exact(&mut vec![0; length]).ok()?;
        let url = url::Url::parse(&format!("http://here{target}")).ok()?;
        Some(Self { method, path: url.path().to_owned(), query: url.query_pairs().into_owned().collect(), target })
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
}

/// An answer before HTTP.
struct Said {
    status: u16,
    headers: String,
    body: Vec<u8>,
    /// Of a search, which tricks may break.
    is_page: bool,
}

fn said(status: u16, body: &Value) -> Said {
    Said { status, headers: String::new(), body: body.to_string().into_bytes(), is_page: false }
}

fn outcome(severity: &str, code: &str) -> Value {
    json!({ "resourceType": "OperationOutcome", "issue": [{ "severity": severity, "code": code }] })
}

fn serve(mut stream: TcpStream, port: u16, shared: &Mutex<State>, over: &AtomicBool) {
    let Some(asked) = Asked::read(&stream) else { return };
    let (bytes, silent) = {
        let mut state = shared.lock().unwrap();
        state.log.push(format!("{} {}", asked.method, asked.target));
        let said = answer(&asked, port, &mut state);
        let silent = said.is_page && state.plays(|t| t == Silent).is_some();
        (dressed(said, &mut state), silent)
    };
    if silent {
        // Until the client goes.
        let _ = stream.set_read_timeout(Some(std::time::Duration::from_millis(50)));
        let mut byte = [0];
        while !over.load(Ordering::Relaxed) {
            match stream.read(&mut byte) {
                Ok(0) => return,
                Err(e) if matches!(e.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {}
                _ => return,
            }
        }
        return;
    }
    // A client that hangs up in between is its own affair.
    let _ = stream.write_all(&bytes);
}

/// The answer as HTTP, with what is done to it there.
fn dressed(mut said: Said, state: &mut State) -> Vec<u8> {
    let page = said.is_page;
    let mut kind = "application/fhir+json;charset=utf-8";
    if let Some(Type(other)) = state.plays(|t| matches!(t, Type(_))) {
        kind = other;
    }
    if page && state.plays(|t| t == Html).is_some() {
        (said.body, kind) = (b"<!DOCTYPE html><html><body>Sign in</body></html>".to_vec(), "text/html");
    }
    if page && state.plays(|t| t == NoContent).is_some() {
        (said.status, said.body) = (204, Vec::new());
    }
    if page && state.plays(|t| t == Nothing).is_some() {
        said.body = Vec::new();
    }
    if state.plays(|t| t == Bom).is_some() {
        said.body.splice(0..0, *b"\xef\xbb\xbf");
    }
    let cut = page && state.plays(|t| t == GzipCut).is_some();
    if cut || state.plays(|t| t == Gzip).is_some() {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        packed.write_all(&said.body).unwrap();
        said.body = packed.finish().unwrap();
        said.headers.push_str("Content-Encoding: gzip\r\n");
        if cut {
            said.body.truncate(said.body.len() / 2);
        }
    }
    let old_cut = page && state.plays(|t| t == OldHttpCut).is_some();
    let old = old_cut || state.plays(|t| t == OldHttp).is_some();
    let chunks_cut = page && state.plays(|t| t == ChunkedCut).is_some();
    let chunked = chunks_cut || state.plays(|t| t == Chunked).is_some();
    let length_cut = page && state.plays(|t| t == LengthCut).is_some();
    let date = chrono::DateTime::from_timestamp_micros(state.now).unwrap().format("%a, %d %b %Y %H:%M:%S GMT");
    let version = if old { "1.0" } else { "1.1" };
    let mut head = format!("HTTP/{version} {} X\r\nDate: {date}\r\nConnection: close\r\n{}", said.status, said.headers);
    if !kind.is_empty() {
        head.push_str(&format!("Content-Type: {kind}\r\n"));
    }
    let half = said.body.len() / 2;
    let mut bytes = Vec::new();
    if chunked {
        head.push_str("Transfer-Encoding: chunked\r\n\r\n");
        bytes.extend_from_slice(head.as_bytes());
        for chunk in said.body.chunks(700).take(if chunks_cut { 1 } else { usize::MAX }) {
            bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            bytes.extend_from_slice(chunk);
            bytes.extend_from_slice(b"\r\n");
        }
        if !chunks_cut {
            bytes.extend_from_slice(b"0\r\n\r\n");
        }
        return bytes;
    }
    if !old && said.status != 204 {
        head.push_str(&format!("Content-Length: {}\r\n", said.body.len()));
    }
    bytes.extend_from_slice(format!("{head}\r\n").as_bytes());
    bytes.extend_from_slice(if old_cut || length_cut { &said.body[..half] } else { &said.body });
    bytes
}

fn answer(asked: &Asked, port: u16, state: &mut State) -> Said {
    let path = asked.path.as_str();
    let here = format!("http://127.0.0.1:{port}");
    if let Some(rest) = path.strip_prefix("/old") {
        let Some(SentOn(status, written)) = state.plays(|t| matches!(t, SentOn(..))) else {
            return said(404, &outcome("error", "not-found"));
        };
        let query = asked.target.split_once('?').map_or(String::new(), |(_, query)| format!("?{query}"));
        let to = format!("/fhir{rest}{query}");
        let to = if written == Written::Whole { format!("{here}{to}") } else { to };
        return Said { headers: format!("Location: {to}\r\n"), ..said(status, &outcome("information", "informational")) };
    }
    let Some(rest) = path.strip_prefix("/fhir").map(|rest| rest.trim_matches('/')) else {
        return said(404, &outcome("error", "not-found"));
    };
    if rest == "metadata" {
        return said(200, &statement());
    }
    if state.plays(|t| t == SentAway).is_some() {
        let to = format!("http://localhost:{port}{}", asked.target);
        return Said { headers: format!("Location: {to}\r\n"), ..said(302, &outcome("information", "informational")) };
    }
    let page = match (rest.split('/').collect::<Vec<_>>().as_slice(), asked.value("_getpages").or(asked.value("_cursor"))) {
        (_, Some(token)) => later(token.to_owned(), state, &here),
        (["_page", token], None) => later((*token).to_owned(), state, &here),
        (["Patient"], None) => first("Patient", asked, state, &here),
        (["CarePlan"], None) => first("CarePlan", asked, state, &here),
        ([kind, id], None) => {
            let found = state.charts.iter().find(|(name, _)| *name == kind).and_then(|(_, all)| all.iter().find(|r| r["id"] == *id));
            return found.map_or_else(|| said(404, &outcome("error", "not-found")), |r| said(200, r));
        }
        _ => return said(404, &outcome("error", "not-found")),
    };
    Said { is_page: true, ..page }
}

fn statement() -> Value {
    let param = |name: &str, kind: &str| json!({ "name": name, "type": kind });
    let of = |kind: &str| {
        json!({ "type": kind, "interaction": [{ "code": "read" }, { "code": "search-type" }],
            "searchParam": [param("_id", "token"), param("_lastUpdated", "date"), param("identifier", "token"), param("patient", "reference")] })
    };
    json!({ "resourceType": "CapabilityStatement", "status": "active", "date": "2026-11-01", "kind": "instance", "fhirVersion": "4.0.1",
        "format": ["application/fhir+json"], "rest": [{ "mode": "server", "resource": [of("Patient"), of("CarePlan")] }] })
}

fn instant(resource: &Value) -> i64 {
    chrono::DateTime::parse_from_rfc3339(resource["meta"]["lastUpdated"].as_str().unwrap()).unwrap().timestamp_micros()
}

/// A new search.
fn first(kind: &'static str, asked: &Asked, state: &mut State, here: &str) -> Said {
    let within = |r: &Value| {
        asked.query.iter().filter(|(name, _)| name == "_lastUpdated").all(|(_, value)| {
            let at = chrono::DateTime::parse_from_rfc3339(&value[2..]).unwrap().timestamp_micros();
            if value.starts_with("ge") { instant(r) >= at } else { instant(r) <= at }
        })
    };
    let about = |r: &Value| asked.value("patient").is_none_or(|p| r["subject"]["reference"].as_str().is_some_and(|s| s.ends_with(p)));
    let mut found: Vec<&Value> = state.charts.get(kind).into_iter().flatten().filter(|r| within(r) && about(r)).collect();
    let unsorted = state.tricks.iter().any(|(trick, _)| *trick == Unsorted);
    if asked.value("_sort") == Some("-_lastUpdated") && !unsorted {
        found.sort_by_key(|r| std::cmp::Reverse(instant(r)));
    }
    let ids: Vec<String> = found.iter().map(|r| r["id"].as_str().unwrap().to_owned()).collect();
    state.made += 1;
    let name = format!("q{}", state.made);
    state.found.insert(name.clone(), (kind, ids));
    let own = (!unsorted).then(|| format!("{here}{}", asked.target));
    page(&name, 0, false, own, state, here)
}

/// A page after the first: `NAME.FROM.FILLED.NONCE`.
fn later(token: String, state: &mut State, here: &str) -> Said {
    if let Some(Forgotten(status)) = state.plays(|t| matches!(t, Forgotten(_))) {
        return said(status, &outcome("error", "processing"));
    }
    let parts: Vec<&str> = token.split('.').collect();
    let [name, from, blank, _] = parts.as_slice() else { return said(400, &outcome("error", "invalid")) };
    page(name, from.parse().unwrap(), *blank == "f", None, state, here)
}

fn page(name: &str, from: usize, filled: bool, own: Option<String>, state: &mut State, here: &str) -> Said {
    if let Some(Outcome(severity, code, _)) = state.plays(|t| matches!(t, Outcome(_, _, later) if !later || from > 0)) {
        return said(200, &outcome(severity, code));
    }
    let Some((kind, ids)) = state.found.get(name).cloned() else { return said(410, &outcome("error", "processing")) };
    let size = state.page;
    let endless = from > 0 && state.plays(|t| t == EmptyEndless).is_some();
    let blank = endless || (from > 0 && !filled && state.plays(|t| t == EmptyBetween).is_some());
    let doubled = from > 0 && state.plays(|t| t == Doubled).is_some();
    let again = state.plays(|t| t == NextEndless).is_some();
    let mut wanted: Vec<String> = ids.iter().skip(from).take(size).cloned().collect();
    if doubled {
        wanted.insert(0, ids[from - 1].clone());
        wanted.push(wanted[1].clone());
    }
    if blank {
        wanted.clear();
    }
    let all = state.charts.get(kind).cloned().unwrap_or_default();
    let full = |r: &Value| json!({ "fullUrl": format!("{here}/fhir/{kind}/{}", r["id"].as_str().unwrap()), "resource": r, "search": { "mode": "match" } });
    let mut entries: Vec<Value> = wanted.iter().filter_map(|id| all.iter().find(|r| r["id"] == **id)).map(full).collect();
    if !entries.is_empty() && state.plays(|t| t == Hollow).is_some() {
        entries[0].as_object_mut().unwrap().remove("resource");
    }
    let mut links = Vec::new();
    if let Some(own) = own {
        links.push(json!({ "relation": "self", "url": own }));
    }
    // A page that is empty stays where it was.
    let to = match (blank || again, endless) {
        (_, true) => Some((from, "e")),
        (true, false) => Some((from, "f")),
        (false, false) => (from + size < ids.len()).then_some((from + size, "e")),
    };
    state.made += 1;
    if let Some((to, blank)) = to {
        let token = if state.plays(|t| t == NextToSelf).is_some() {
            format!("{name}.{from}.{blank}.0")
        } else {
            format!("{name}.{to}.{blank}.{}", state.made)
        };
        let below = match state.paging {
            Paging::Base => format!("?_getpages={token}&_bundletype=searchset"),
            Paging::Type => format!("/{kind}?_cursor={token}"),
            Paging::Path => format!("/_page/{token}"),
        };
        let url = match (state.written, state.paging) {
            (Written::Whole, _) => format!("{here}/fhir{below}"),
            (Written::FromRoot, _) => format!("/fhir{below}"),
            // From `/fhir/Patient`, and from `/fhir/_page/x`.
            (Written::Relative, Paging::Type) => format!("?_cursor={token}"),
            (Written::Relative, Paging::Path) => {
                if from == 0 && !filled {
                    format!("_page/{token}")
                } else {
                    token
                }
            }
            (Written::Relative, Paging::Base) => format!("../fhir?_getpages={token}"),
        };
        let away = state.plays(|t| t == NextElsewhere).is_some();
        let url = if away { format!("http://127.0.0.1:9/fhir{below}") } else { url };
        links.push(json!({ "relation": "next", "url": url }));
    }
    let mut bundle = json!({ "resourceType": "Bundle", "id": name, "type": "searchset", "link": links });
    if state.plays(|t| t == OddMembers).is_some() {
        bundle["total"] = json!(0);
        bundle["link"].as_array_mut().unwrap().push(json!({ "relation": "previous", "url": null }));
        bundle["signature"] = Value::Null;
        entries.push(json!({ "resource": { "resourceType": "OperationOutcome", "issue": null }, "search": { "mode": "outcome" } }));
    }
    if !entries.is_empty() {
        bundle["entry"] = entries.into();
    }
    said(200, &bundle)
}
