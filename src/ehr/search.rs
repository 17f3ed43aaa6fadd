//! Searching and paging (R4 search; standards.md D.4). Servers may ignore a parameter in silence, add what was not asked for, repeat a
//! page or point elsewhere: every page is checked against what was asked, and what was not asked for is left out and counted.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use domain::Timestamp;
use domain::fhir::{Bundle, Outcome, Reject, RejectCode, SearchAnswer, SearchMode, patient_id, split_bundle};
use http::header::{ACCEPT, DATE, HeaderName, LOCATION};
use serde_json::Value;
use url::{Url, form_urlencoded};

use super::client::{Client, FHIR_JSON};
use super::date::http_date;
use super::error::EhrError;
use super::reads::{Param, SearchSet};
use super::retry::Intent;
use crate::net::{Origin, Request, Response};

/// What to search for.
#[derive(Clone, PartialEq, Eq)]
pub struct Search {
    resource_type: String,
    params: Vec<(String, String)>,
    strict: bool,
}

impl Search {
    /// All resources of a type.
    #[must_use]
    pub fn of(resource_type: &str) -> Self {
        Self { resource_type: resource_type.to_owned(), params: Vec::new(), strict: false }
    }

    /// Narrowed by a parameter. May be given more than once (`date=ge...` and `date=lt...`).
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.params.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Resources of a type by a set of parameters: `who` is the logical id of the patient, location or practitioner, and `days` are the first
    /// instant and the first instant after.
    #[must_use]
    pub fn by(resource_type: &str, set: &SearchSet, who: &str, days: Option<(Timestamp, Timestamp)>) -> Self {
        set.0.iter().fold(Self::of(resource_type), |search, param| match param {
            Param::Date => {
                days.iter().fold(search, |s, (from, until)| s.with("date", &format!("ge{from}")).with("date", &format!("lt{until}")))
            }
            Param::Fixed(name, value) => search.with(name, value),
            Param::Patient(name) => search.with(name, who),
            Param::Location | Param::Practitioner => search.with(param.name(), who),
        })
    }

    /// Asks the server to refuse parameters that it does not know, rather than to ignore them (`Prefer: handling=strict`).
    #[must_use]
    pub fn strict(mut self) -> Self {
        self.strict = true;
        self
    }

    /// The patient whose resources are asked for, where the search is for one.
    fn patient(&self) -> Option<&str> {
        let value =
            self.params.iter().find(|(n, _)| matches!(n.as_str(), "patient" | "subject" | "patient:Patient" | "subject:Patient"))?;
        let id = value.1.as_str();
        patient_id(id).or_else(|| (!id.contains(['/', ',', '|'])).then_some(id))
    }
}

impl fmt::Debug for Search {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.params.iter().map(|(n, _)| n.as_str()).collect();
        f.debug_struct("Search").field("resource_type", &self.resource_type).field("params", &names).finish_non_exhaustive()
    }
}

/// A resource as received.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    /// `resourceType`, where it can be read.
    pub resource_type: Option<String>,
    /// `id`, where it can be read; not checked.
    pub id: Option<String>,
    /// The resource's bytes, unchanged.
    pub bytes: Vec<u8>,
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").field("bytes", &self.bytes.len()).finish_non_exhaustive()
    }
}

/// One page of a search.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// What was asked for. An entry whose type or id cannot be read is here too: it is for the quarantine.
    pub entries: Vec<Entry>,
    /// What the server says about the search.
    pub outcomes: Vec<Outcome>,
    /// The server says that it did not give everything: nothing may be taken as gone because it is not here.
    pub incomplete: bool,
    /// Parameters that the server's `self` link shows it did not apply, by name.
    pub dropped: Vec<String>,
    /// Resources left out because they were not asked for: of another type, or of another patient.
    pub unasked: usize,
    /// Entries without a resource: something is there, and was not given.
    pub hollow: usize,
    /// `Bundle.total`: often missing, sometimes an estimate.
    pub total: Option<u64>,
    /// The server's `Date`.
    pub server_date: Option<Timestamp>,
    /// Whether another page follows.
    pub more: bool,
    /// The list ends here, as long as it was asked to be at most, and the server counts so many: it gave no link to the rest.
    pub cut_off: Option<u64>,
}

impl Page {
    /// Why the search is not known to have given all there is, in words and codes; `None` where it has.
    #[must_use]
    pub fn short(&self) -> Option<String> {
        if self.hollow > 0 {
            return Some("the EHR sent entries without a resource: its answer is not complete".to_owned());
        }
        if self.incomplete {
            let said: Vec<String> = self.outcomes.iter().map(ToString::to_string).collect();
            return Some(format!("the EHR says that its answer is not complete ({})", said.join("; ")));
        }
        self.cut_off.map(|counted| format!("the EHR counts {counted} and ended its list before them, with no link to the rest"))
    }
}

/// The pages of a search, fetched one at a time.
pub struct Pages<'c> {
    client: &'c Client,
    search: Search,
    next: Next,
    seen: HashSet<String>,
    /// Where the FHIR base was redirected to, within its origin.
    moved: Option<Url>,
    shown: Shown,
    /// How many were given so far.
    given: u64,
}

/// Servers that filter what they have found give empty pages in between, and those that count give a page twice where something is put in
/// before it; but never so many of them one after the other.
const MOST_BARREN: u32 = 500;

/// What the pages so far have shown: a server may give each page an address of its own and still come to no end.
#[derive(Default)]
struct Shown {
    /// Hashes of the ids of each page.
    pages: HashSet<u64>,
    barren: u32,
}

impl Shown {
    /// Takes a page in.
    fn take(&mut self, page: &Page) -> Result<(), EhrError> {
        let mut hasher = DefaultHasher::new();
        page.entries.iter().for_each(|entry| entry.id.hash(&mut hasher));
        let new = self.pages.insert(hasher.finish()) && !page.entries.is_empty();
        self.barren = if new { 0 } else { self.barren + 1 };
        if page.more && self.barren >= MOST_BARREN { Err(EhrError::PagesBarren(self.barren)) } else { Ok(()) }
    }
}

enum Next {
    First,
    Link(Url),
    End,
}

impl<'c> Pages<'c> {
    pub(super) fn new(client: &'c Client, search: Search) -> Self {
        Self { client, search, next: Next::First, seen: HashSet::new(), moved: None, shown: Shown::default(), given: 0 }
    }

    /// The next page; `None` after the last. After an error the search has ended and is to be started anew.
    ///
    /// # Errors
    /// [`EhrError`].
    pub async fn next(&mut self) -> Result<Option<Page>, EhrError> {
        let (request, first) = match std::mem::replace(&mut self.next, Next::End) {
            Next::First => (self.first_request()?, true),
            Next::Link(url) => (Request::get(url), false),
            Next::End => return Ok(None),
        };
        let mut request = request.header(ACCEPT, FHIR_JSON);
        if self.search.strict {
            request = request.header(HeaderName::from_static("prefer"), "handling=strict");
        }
        let (mut page, next) = self.ask(&request, first).await?;
        self.shown.take(&page)?;
        let here = (page.entries.len() + page.unasked + page.hollow) as u64;
        self.given += here;
        if next.is_none() && self.size().is_some_and(|size| here >= u64::from(size)) {
            page.cut_off = self.counted(page.total).await?.filter(|counted| *counted > self.given);
        }
        if let Some(url) = next {
            if !self.seen.insert(url.to_string()) {
                return Err(EhrError::PagesCircle);
            }
            self.next = Next::Link(url);
        }
        Ok(Some(page))
    }

    /// How many resources a page is asked to hold.
    fn size(&self) -> Option<u32> {
        let habits = &self.client.habits;
        habits.page_size_param.as_ref().filter(|name| !self.search.params.iter().any(|(n, _)| n == *name))?;
        habits.page_size
    }

    /// How many the server counts, where it does: by its total, else asked for by `_summary=count` (R4 search, section 3.1.1.5.13), which a
    /// server that does not know it ignores or refuses.
    async fn counted(&self, total: Option<u64>) -> Result<Option<u64>, EhrError> {
        if total.is_some() || self.client.habits.search_by_post {
            return Ok(total);
        }
        let kind = &self.search.resource_type;
        let mut url = self.client.url(kind, None)?;
        let narrowing = self.search.params.iter().filter(|(name, _)| name != "_sort" && name != "_include" && name != "_revinclude");
        url.query_pairs_mut().extend_pairs(narrowing.map(|(n, v)| (n, v))).append_pair("_summary", "count");
        let request = Request::get(url).header(ACCEPT, FHIR_JSON);
        let answer = self.client.wire.send(Intent::Read, &request, self.client.needs(kind), kind).await?;
        match answer.success() {
            Err(EhrError::Refused { .. }) => Ok(None),
            Err(other) => Err(other),
            Ok(response) => match split_bundle(&response.body) {
                Ok(SearchAnswer::Bundle(bundle)) => Ok(bundle.total),
                _ => Ok(None),
            },
        }
    }

    /// Asks for a page until it comes whole: where the end of an answer is the end of the connection, one that was cut off looks like a whole one.
    async fn ask(&mut self, request: &Request, first: bool) -> Result<(Page, Option<Url>), EhrError> {
        let (kind, mut tried) = (self.search.resource_type.clone(), 0);
        loop {
            tried += 1;
            let ended = self.client.wire.send(Intent::Read, request, self.client.needs(&kind), &kind).await?;
            let sent_on = ended.result.as_ref().ok().and_then(sent_on);
            let response = match ended.success() {
                // Page links are short-lived at most servers.
                Err(EhrError::Refused { status: 400 | 404 | 410, .. }) if !first => return Err(EhrError::PageExpired),
                Err(EhrError::Refused { status: status @ 300..=399, .. }) => {
                    return Err(EhrError::SearchSentOn { status, to: sent_on.unwrap_or_else(|| "nowhere".to_owned()) });
                }
                other => other?,
            };
            self.moved = moved(&self.client.base, request.url(), &response.url).or(self.moved.take());
            match self.read(&response, first) {
                Err(EhrError::NotFhir { source: Some(Reject { code: RejectCode::Truncated, .. }), .. })
                    if self.client.wire.pause(tried, None).await => {}
                read => return read,
            }
        }
    }

    fn first_request(&mut self) -> Result<Request, EhrError> {
        let mut url = self.client.url(&self.search.resource_type, None)?;
        let habits = &self.client.habits;
        let named = habits.page_size_param.as_ref().filter(|name| !self.search.params.iter().any(|(n, _)| n == *name));
        let size = named.zip(habits.page_size).map(|(name, n)| (name.clone(), n.to_string()));
        let params: Vec<&(String, String)> = self.search.params.iter().chain(&size).collect();
        if habits.search_by_post {
            let url = super::discovery::under(&url, "_search").ok_or(EhrError::BadRequest)?;
            let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(params.iter().map(|(n, v)| (n, v))).finish();
            return Ok(Request::post(url, "application/x-www-form-urlencoded", body.into_bytes()).only_asking());
        }
        if !params.is_empty() {
            url.query_pairs_mut().extend_pairs(params.iter().map(|(n, v)| (n, v)));
        }
        self.seen.insert(url.to_string());
        Ok(Request::get(url))
    }

    fn read(&self, response: &Response, first: bool) -> Result<(Page, Option<Url>), EhrError> {
        let not_fhir = |e| EhrError::NotFhir { expected: "Bundle", source: Some(e) };
        let mut page = Page { server_date: response.header(DATE.as_str()).and_then(http_date), ..Page::default() };
        let bundle = match split_bundle(&response.body).map_err(not_fhir)? {
            SearchAnswer::Bundle(bundle) => bundle,
            SearchAnswer::Outcome(outcome) if outcome.is_error() => {
                return Err(EhrError::Refused { status: response.status.as_u16(), outcome });
            }
            // In the place of a further page it would end the search in its middle.
            SearchAnswer::Outcome(_) if !first => return Err(EhrError::PageExpired),
            SearchAnswer::Outcome(outcome) => {
                page.incomplete = !says_nothing_found(&outcome);
                Bundle { outcomes: vec![outcome], ..Bundle::default() }
            }
        };
        page.total = bundle.total;
        page.hollow = bundle.empty + bundle.responses.len();
        page.incomplete |= page.hollow > 0 || bundle.outcomes.iter().any(says_incomplete);
        if first && let Some(applied) = bundle.link("self") {
            page.dropped = dropped(&self.search.params, &response.url, applied);
        }
        let follow = |link| {
            let elsewhere = next_url(&self.client.base, &response.url, link);
            self.moved.as_ref().filter(|_| elsewhere.is_err()).map_or(elsewhere, |moved| next_url(moved, &response.url, link))
        };
        let next = bundle.link("next").map(follow).transpose()?;
        page.more = next.is_some();
        for entry in bundle.entries {
            if entry.mode == SearchMode::Include {
                continue;
            }
            if self.is_asked(entry.resource_type.as_deref(), entry.id.as_deref(), entry.resource) {
                let [resource_type, id] = [entry.resource_type, entry.id].map(|t| t.map(std::borrow::Cow::into_owned));
                page.entries.push(Entry { resource_type, id, bytes: entry.resource.to_vec() });
            } else {
                page.unasked += 1;
            }
        }
        page.outcomes = bundle.outcomes;
        Ok((page, next))
    }

    /// Whether a resource is one of those asked for. What cannot be told is taken: the quarantine is for what cannot be read.
    fn is_asked(&self, resource_type: Option<&str>, id: Option<&str>, bytes: &[u8]) -> bool {
        let Some(resource_type) = resource_type else { return true };
        if resource_type != self.search.resource_type {
            return false;
        }
        let Some(patient) = self.search.patient() else { return true };
        if resource_type == "Patient" {
            return id.is_none_or(|id| id == patient);
        }
        let Ok(resource) = serde_json::from_slice::<Value>(bytes) else {
            return true;
        };
        let named = patients(&resource);
        named.is_empty() || named.contains(&patient)
    }
}

/// The patients that a resource is about, by the elements that the types used here have.
fn patients(resource: &Value) -> Vec<&str> {
    let direct = ["subject", "patient"].into_iter().filter_map(|name| resource.get(name));
    let actors = resource.get("participant").and_then(Value::as_array).into_iter().flatten().filter_map(|p| p.get("actor"));
    direct.chain(actors).filter_map(|v| patient_id(v.get("reference")?.as_str()?)).collect()
}

/// The origin that a redirect leads to. Not the path: it may name a patient.
fn sent_on(response: &Response) -> Option<String> {
    let to = response.url.join(response.header(LOCATION.as_str())?).ok()?;
    Some(Origin::of(&to)?.to_string())
}

/// A vendor's own code for an answer from which something is missing (standards.md E.5).
const PARTIAL: &str = "4119";

/// Whether an outcome in place of results says no more than that there are none.
fn says_nothing_found(outcome: &Outcome) -> bool {
    outcome.issues.iter().all(|issue| matches!(issue.code.as_str(), "informational" | "not-found" | "success"))
}

/// Where a base is now, where the server sent what was asked below it on to another path of its origin.
fn moved(base: &Url, asked: &Url, answered: &Url) -> Option<Url> {
    if asked == answered || Origin::of(asked) != Origin::of(base) || Origin::of(answered) != Origin::of(base) {
        return None;
    }
    let rest = asked.path().strip_prefix(base.path().trim_end_matches('/')).filter(|rest| rest.starts_with('/'))?;
    let root = answered.path().strip_suffix(rest)?;
    let mut moved = base.clone();
    moved.set_path(if root.is_empty() { "/" } else { root });
    Some(moved)
}

/// Whether an outcome beside results says that there would be more.
fn says_incomplete(outcome: &Outcome) -> bool {
    outcome.is_error() || ["incomplete", "timeout", "throttled", "transient", "too-costly", PARTIAL].iter().any(|code| outcome.has(code))
}

/// The parameters that were asked for and are not in the server's own account of the search. Modifiers are not compared (servers
/// rewrite them), values neither (servers normalise them), and parameters that shape the answer rather than narrow it do not count.
fn dropped(asked: &[(String, String)], from: &Url, applied: &str) -> Vec<String> {
    const SHAPING: [&str; 8] = ["_count", "_format", "_pretty", "_total", "_summary", "_elements", "_maxresults", "_getpagesoffset"];
    let Ok(applied) = from.join(applied) else { return Vec::new() };
    let bare = |name: &str| name.split(':').next().unwrap_or(name).to_owned();
    let mut counts: HashMap<String, usize> = HashMap::new();
    for (name, _) in applied.query_pairs() {
        *counts.entry(bare(&name)).or_default() += 1;
    }
    let mut dropped = Vec::new();
    for (name, _) in asked.iter().filter(|(n, _)| !SHAPING.contains(&n.as_str())) {
        match counts.get_mut(&bare(name)) {
            Some(left) if *left > 0 => *left -= 1,
            _ => dropped.push(name.clone()),
        }
    }
    dropped.dedup();
    dropped
}

/// Where a `next` link leads, where that is below the FHIR base at its origin.
fn next_url(base: &Url, from: &Url, link: &str) -> Result<Url, EhrError> {
    let mut url = from.join(link).map_err(|_| EhrError::NextLinkElsewhere)?;
    let (Some(ours), Some(theirs)) = (Origin::of(base), Origin::of(&url)) else {
        return Err(EhrError::NextLinkElsewhere);
    };
    // A server behind a TLS proxy writes its links with http: the host is the same, and https is where we go.
    if ours.is_https() && !theirs.is_https() && ours.same_host(&theirs) {
        let lifted = url.set_scheme("https").and_then(|()| url.set_port(base.port()));
        lifted.map_err(|()| EhrError::NextLinkElsewhere)?;
    }
    // So does one of this machine that knows itself by another name: it is asked by the name that it was registered with.
    if ours.is_loopback()
        && theirs.is_loopback()
        && url.port_or_known_default() == base.port_or_known_default()
        && url.scheme() == base.scheme()
    {
        url.set_host(base.host_str()).map_err(|_| EhrError::NextLinkElsewhere)?;
    }
    let root = base.path().trim_end_matches('/');
    let below = url.path().strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if Origin::of(&url) == Some(ours) && below { Ok(url) } else { Err(EhrError::NextLinkElsewhere) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn next_links_stay_below_the_base() {
        let base = Url::parse("https://ehr.example.org/a/r4/").unwrap();
        let from = Url::parse("https://ehr.example.org/a/r4/Patient?x=1").unwrap();
        for (link, to) in [
            ("https://ehr.example.org/a/r4?_getpages=1", Some("https://ehr.example.org/a/r4?_getpages=1")),
            ("https://ehr.example.org/a/r4/Patient?page=2", Some("https://ehr.example.org/a/r4/Patient?page=2")),
            ("https://ehr.example.org:443/a/r4/Patient?page=2", Some("https://ehr.example.org/a/r4/Patient?page=2")),
            ("?page=2", Some("https://ehr.example.org/a/r4/Patient?page=2")),
            ("/a/r4/Patient?page=2", Some("https://ehr.example.org/a/r4/Patient?page=2")),
            ("http://ehr.example.org/a/r4/Patient?page=2", Some("https://ehr.example.org/a/r4/Patient?page=2")),
            ("http://ehr.example.org:8080/a/r4/Patient?page=2", Some("https://ehr.example.org/a/r4/Patient?page=2")),
            ("https://evil.example.org/a/r4/Patient?page=2", None),
            ("https://ehr.example.org:8443/a/r4/Patient?page=2", None),
            ("https://ehr.example.org@evil.example.org/a/r4/Patient", None),
            ("//evil.example.org/a/r4/Patient", None),
            ("https://ehr.example.org/a/r4x/Patient", None),
            ("https://ehr.example.org/admin", None),
            ("https://ehr.example.org/a/r4/../admin", None),
            ("file:///etc/passwd", None),
            ("http://[", None),
        ] {
            let told = next_url(&base, &from, link);
            assert_eq!(told.as_ref().ok().map(Url::as_str), to, "{link}");
        }
    }

    #[test]
    fn this_machine_has_several_names_and_is_asked_by_one() {
        let base = Url::parse("http://127.0.0.1:8080/fhir").unwrap();
        for (link, to) in [
            ("http://localhost:8080/fhir?_getpages=1", Some("http://127.0.0.1:8080/fhir?_getpages=1")),
            ("http://[::1]:8080/fhir/Patient?page=2", Some("http://127.0.0.1:8080/fhir/Patient?page=2")),
            ("http://localhost:8081/fhir?_getpages=1", None),
            ("https://localhost:8080/fhir?_getpages=1", None),
            ("http://localhost.example.org:8080/fhir", None),
        ] {
            let told = next_url(&base, &base, link);
            assert_eq!(told.as_ref().ok().map(Url::as_str), to, "{link}");
        }
    }

    #[test]
    fn a_base_that_is_sent_on_is_known_where_it_is_now() {
        let url = |text: &str| Url::parse(text).unwrap();
        for (base, asked, answered, now) in [
            ("https://e.org/fhir", "https://e.org/fhir/Patient?a=1", "https://e.org/r4/Patient?a=1", Some("https://e.org/r4")),
            ("https://e.org/fhir/", "https://e.org/fhir/Patient", "https://e.org/Patient", Some("https://e.org/")),
            ("https://e.org/", "https://e.org/Patient", "https://e.org/a/b/Patient", Some("https://e.org/a/b")),
            ("https://e.org/fhir", "https://e.org/fhir/Patient", "https://e.org/fhir/Patient", None),
            ("https://e.org/fhir", "https://e.org/fhir/Patient", "https://e.org/fhir/Patient/", None),
            ("https://e.org/fhir", "https://e.org/fhir/Patient", "https://other.org/r4/Patient", None),
            ("https://e.org/fhir", "https://e.org/fhir/Patient", "https://e.org/login", None),
        ] {
            let found = moved(&url(base), &url(asked), &url(answered));
            assert_eq!(found.as_ref().map(Url::as_str), now, "{base} {answered}");
        }
    }

    #[test]
    fn pages_that_bring_nothing_new_come_to_an_end() {
        let page = |ids: &[&str]| Page {
            entries: ids.iter().map(|id| Entry { resource_type: None, id: Some((*id).to_owned()), bytes: Vec::new() }).collect(),
            more: true,
            ..Page::default()
        };
        let ends = |pages: &[Page]| {
            let mut shown = Shown::default();
            pages.iter().cycle().take(3 * MOST_BARREN as usize).position(|page| shown.take(page).is_err())
        };
        let limit = MOST_BARREN as usize;
        assert_eq!(ends(&[page(&[])]), Some(limit - 1));
        assert_eq!(ends(&[page(&["a"]), page(&["b"])]), Some(limit + 1), "in a circle of fresh addresses");
        let mut shown = Shown::default();
        for n in 0..3 * MOST_BARREN {
            assert!(shown.take(&page(&[&n.to_string()])).is_ok() && shown.take(&page(&[])).is_ok(), "now and then one is empty");
        }
        let mut last = page(&[]);
        last.more = false;
        let mut shown = Shown { barren: MOST_BARREN, ..Shown::default() };
        assert!(shown.take(&last).is_ok(), "the last one is the end anyway");
    }

    #[test]
    fn dropped_parameters_are_named() {
        let asked = |pairs: &[(&str, &str)]| pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect::<Vec<_>>();
        let from = Url::parse("https://ehr.example.org/r4/Appointment").unwrap();
        let two_dates = asked(&[("patient", "12"), ("date", "ge2026-01-01"), ("date", "lt2026-02-01"), ("_count", "50")]);
        for (applied, names) in [
            ("https://ehr.example.org/r4/Appointment?patient=Patient/12&date=ge2026-01-01&date=lt2026-02-01", &[][..]),
            ("Appointment?patient:Patient=12&date=x&date=y", &[]),
            ("Appointment?date=x&date=y", &["patient"]),
            ("Appointment?patient=12&date=x", &["date"]),
            ("https://ehr.example.org/r4/Appointment", &["patient", "date"]),
        ] {
            assert_eq!(dropped(&two_dates, &from, applied), names, "{applied}");
        }
    }

    #[test]
    fn the_patient_asked_for_is_known_however_it_is_written() {
        for (value, id) in
            [("12", Some("12")), ("Patient/12", Some("12")), ("https://e.org/Patient/12", Some("12")), ("1,2", None), ("a|b", None)]
        {
            assert_eq!(Search::of("CarePlan").with("status", "active").with("patient", value).patient(), id, "{value}");
        }
        assert_eq!(Search::of("CarePlan").with("identifier", "a|b").patient(), None);
        assert!(!format!("{:?}", Search::of("Patient").with("name", "Lovelace")).contains("Lovelace"));
    }

    #[test]
    fn only_some_messages_say_that_there_would_be_more() {
        for (severity, code, incomplete) in [
            ("warning", "not-found", false),
            ("information", "informational", false),
            ("warning", "incomplete", true),
            ("information", "too-costly", true),
            ("error", "processing", true),
            ("fatal", "", true),
        ] {
            let issue = domain::fhir::Issue { severity: severity.to_owned(), code: code.to_owned(), details: Vec::new() };
            assert_eq!(says_incomplete(&Outcome { issues: vec![issue] }), incomplete, "{severity} {code}");
        }
    }

    #[test]
    fn a_resource_tells_whom_it_is_about() {
        let of = |text: &str| patients(&serde_json::from_str(text).unwrap()).join(" ");
        assert_eq!(of(r#"{"subject":{"reference":"Patient/1"}}"#), "1");
        assert_eq!(of(r#"{"participant":[null,{"actor":{"reference":"Practitioner/2"}},{"actor":{"reference":"Patient/1"}}]}"#), "1");
        assert_eq!(of(r#"{"subject":{"reference":"Group/1"},"participant":{}}"#), "");
    }
}
