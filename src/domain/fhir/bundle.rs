//! A search answer to its entries. Each resource is handed on as the bytes received; one that cannot be read sinks no other.

use std::borrow::Cow;
use std::fmt;

use super::elements::object;
use super::outcome::{Outcome, from_issues};
use super::raw::{Raw, document, document_text, elements};
use super::reject::Reject;

/// What a server answers to a search.
#[derive(Debug)]
pub enum SearchAnswer<'a> {
    /// A Bundle.
    Bundle(Bundle<'a>),
    /// An OperationOutcome in its place.
    Outcome(Outcome),
}

/// A Bundle, taken apart.
#[derive(Debug, Default)]
pub struct Bundle<'a> {
    /// `type` (`searchset`, `batch-response`, ...), where told.
    pub kind: Option<Cow<'a, str>>,
    /// `total`, where told. Often missing and sometimes an estimate: never loop on it.
    pub total: Option<u64>,
    /// Links, in the order sent.
    pub links: Vec<Link<'a>>,
    /// Entries that carry a resource, OperationOutcomes apart.
    pub entries: Vec<Entry<'a>>,
    /// What OperationOutcome entries say: messages about the search, not data.
    pub outcomes: Vec<Outcome>,
    /// Entries that carry a response and no resource (batch and transaction answers).
    pub responses: Vec<EntryResponse<'a>>,
    /// Entries that carry neither, or are no objects.
    pub empty: usize,
}

/// A link of a Bundle.
#[derive(Clone, PartialEq, Eq)]
pub struct Link<'a> {
    /// `self`, `next`, ...
    pub relation: Cow<'a, str>,
    /// Where to; may hold search values of patients, so it is not for logs.
    pub url: Cow<'a, str>,
}

/// Why a resource is in the Bundle (R4 Bundle.entry.search.mode).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SearchMode {
    /// It matched, or the server did not say.
    Match,
    /// It is referred to by one that matched.
    Include,
}

/// An entry with a resource.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry<'a> {
    /// `fullUrl`, where told.
    pub full_url: Option<Cow<'a, str>>,
    /// Why it is here.
    pub mode: SearchMode,
    /// `resourceType`, where it can be read.
    pub resource_type: Option<Cow<'a, str>>,
    /// `id`, where it can be read.
    pub id: Option<Cow<'a, str>>,
    /// The resource exactly as received.
    pub resource: &'a [u8],
}

/// An entry's response without a resource.
#[derive(Clone, PartialEq, Eq)]
pub struct EntryResponse<'a> {
    /// Position in the Bundle: the order of what was asked.
    pub position: usize,
    /// HTTP status (`201 Created`).
    pub status: Option<Cow<'a, str>>,
    /// Where the resource now is.
    pub location: Option<Cow<'a, str>>,
    /// Its version.
    pub etag: Option<Cow<'a, str>>,
    /// What the server says of it.
    pub outcome: Option<Outcome>,
}

impl Bundle<'_> {
    /// The URL of the first link of that relation.
    #[must_use]
    pub fn link(&self, relation: &str) -> Option<&str> {
        self.links.iter().find(|l| l.relation == relation).map(|l| l.url.as_ref())
    }
}

impl fmt::Debug for Link<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("relation", &self.relation).finish_non_exhaustive()
    }
}

impl fmt::Debug for Entry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").field("mode", &self.mode).field("bytes", &self.resource.len()).finish_non_exhaustive()
    }
}

impl fmt::Debug for EntryResponse<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EntryResponse").field("position", &self.position).field("outcome", &self.outcome).finish_non_exhaustive()
    }
}

/// Takes a search answer apart. The caller bounds its size; nesting is not limited here, since entries are skipped over and
/// [`super::project`] judges each by itself.
///
/// # Errors
/// [`Reject`] where the bytes are no JSON object, or one that is neither a Bundle nor an OperationOutcome.
pub fn split_bundle(bytes: &[u8]) -> Result<SearchAnswer<'_>, Reject> {
    let [resource_type, kind, total, link, entry, issue] =
        document(document_text(bytes)?, ["resourceType", "type", "total", "link", "entry", "issue"])?;
    match resource_type.and_then(Raw::text).as_deref() {
        Some("Bundle") => {}
        Some("OperationOutcome") => return Ok(SearchAnswer::Outcome(from_issues(issue))),
        Some(_) => return Err(Reject::wrong_type("Bundle")),
        None => return Err(Reject::new(super::RejectCode::NoResourceType)),
    }
    let mut bundle = Bundle {
        kind: kind.and_then(Raw::text),
        total: total.and_then(Raw::text_or_number).and_then(|text| text.parse().ok()),
        links: elements(link).filter_map(read_link).collect(),
        ..Bundle::default()
    };
    for (position, raw) in entry.into_iter().flat_map(Raw::elements) {
        bundle.add(position, raw);
    }
    Ok(SearchAnswer::Bundle(bundle))
}

fn read_link(raw: Raw<'_>) -> Option<Link<'_>> {
    let [relation, url] = raw.members(["relation", "url"])?;
    Some(Link { relation: relation?.text()?, url: url?.text()? })
}

impl<'a> Bundle<'a> {
    fn add(&mut self, position: usize, raw: Raw<'a>) {
        let [full_url, search, resource, response] = object(Some(raw), ["fullUrl", "search", "resource", "response"]);
        let Some(resource) = resource else {
            match response {
                Some(response) => self.responses.push(read_response(position, response)),
                None => self.empty += 1,
            }
            return;
        };
        let [resource_type, id, issue] = object(Some(resource), ["resourceType", "id", "issue"]);
        let (resource_type, id) = (resource_type.and_then(Raw::text), id.and_then(Raw::text));
        if resource_type.as_deref() == Some("OperationOutcome") {
            self.outcomes.push(from_issues(issue));
            return;
        }
        let include = object(search, ["mode"])[0].and_then(Raw::text).is_some_and(|mode| mode == "include");
        let mode = if include { SearchMode::Include } else { SearchMode::Match };
        let full_url = full_url.and_then(Raw::text);
        self.entries.push(Entry { full_url, mode, resource_type, id, resource: resource.json().as_bytes() });
    }
}

fn read_response(position: usize, raw: Raw<'_>) -> EntryResponse<'_> {
    let [status, location, etag, outcome] = object(Some(raw), ["status", "location", "etag", "outcome"]);
    let [issue] = object(outcome, ["issue"]);
    EntryResponse {
        position,
        status: status.and_then(Raw::text_or_number),
        location: location.and_then(Raw::text),
        etag: etag.and_then(Raw::text),
        outcome: outcome.map(|_| from_issues(issue)),
    }
}
