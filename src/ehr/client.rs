//! The client of one EHR: what it may be asked for.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use domain::fhir::{outcome, peek};
use domain::model::{FhirId, ResourceType};
use http::header::{ACCEPT, HeaderName, IF_MATCH};
use url::Url;

use super::auth::{Need, Ops, TokenError, Tokens};
use super::capability::Capability;
use super::change::{self, ChangeOutcome};
use super::create::{self, CreateOutcome};
use super::date::Skew;
use super::discovery::under;
use super::error::EhrError;
use super::pace::{Class as Whom, Pacing};
use super::profile::{Profile, Strategy};
use super::reads::RosterSource;
use super::retry::{Class, Intent, Policy};
use super::search::{Entry, Pages, Search};
use super::wire::Wire;
use crate::net::{Http, Request};

pub(super) const FHIR_JSON: &str = "application/fhir+json";
const JSON_PATCH: &str = "application/json-patch+json";
const PREFER: HeaderName = HeaderName::from_static("prefer");
/// Asks for the resource in the answer, so that what was kept can be seen. A hint, which servers may ignore.
const SHOW: &str = "return=representation";

/// How this EHR wants to be searched.
#[derive(Clone, Debug)]
pub struct Habits {
    /// Resources per page to ask for; the server's own choice where absent.
    pub page_size: Option<u32>,
    /// The parameter that sets it; none is sent where none is known to be taken.
    pub page_size_param: Option<String>,
    /// Search with `POST [type]/_search`.
    pub search_by_post: bool,
}

impl Default for Habits {
    fn default() -> Self {
        Self { page_size: None, page_size_param: Some("_count".to_owned()), search_by_post: false }
    }
}

impl Habits {
    /// Within what the server states: a page size's parameter that is the vendor's own is sent only where every type that is searched lists it.
    /// `_count` is R4's for all types, and the operator's word holds.
    #[must_use]
    pub(super) fn within(mut self, profile: &Profile, capability: &Capability) -> Self {
        let listed = |name: &str| {
            let mut searched = profile.all_types().filter(|kind| capability.allows(kind.as_str(), "search-type"));
            searched.all(|kind| capability.searches_by(kind.as_str(), name))
        };
        let own = profile.page_size_param.is_some();
        self.page_size_param = self.page_size_param.filter(|name| own || name == "_count" || listed(name));
        self
    }
}

/// The client of one EHR. Cloning is cheap and shares tokens and connections.
#[derive(Clone)]
pub struct Client {
    pub(super) wire: Wire,
    /// For files that may be on other hosts, as they were sent.
    pub(super) files: Http,
    pub(super) base: Url,
    pub(super) habits: Habits,
    /// What is read together, under one token.
    pub(super) reads: Arc<[Need]>,
    /// What is written, and searched for to settle it, under another.
    pub(super) writes: Arc<[Need]>,
}

/// What came of reading one resource.
#[derive(Debug)]
pub enum ReadOutcome {
    /// The resource.
    Found(Entry),
    /// The EHR handed on to another record: how some tell that two patients were merged.
    Moved(Entry),
    /// Deleted: it was there (410).
    Gone,
    /// Not there, or hidden from this client (404).
    Absent,
}

impl Client {
    /// The types that a sync reads.
    #[must_use]
    pub fn default_reads() -> Vec<Need> {
        ["Patient", "Appointment", "CarePlan"].map(Need::read).to_vec()
    }

    /// What a sync of this profile reads: of its types those that the vendor gives and the operator has not switched off, so that no scope is asked for in vain; and the Group, where the patients come from one.
    #[must_use]
    pub fn reads_of(profile: &Profile) -> Vec<Need> {
        let preset = profile.preset();
        let wanted = |kind: &ResourceType| {
            // What events name is read, also where there is no other way.
            profile.events.types.contains_key(kind)
                || match profile.strategy.get(kind) {
                    Some(strategy) => *strategy != Strategy::Off,
                    None => preset.is_none_or(|p| !p.sync.of(*kind).strategies.is_empty()),
                }
        };
        let types = profile.all_types().filter(wanted).map(|kind| Need::read(kind.as_str()));
        let group = profile.roster.iter().any(|source| matches!(source, RosterSource::Group(_)));
        types.chain(group.then(|| Need::new("Group", Ops::R))).collect()
    }

    /// What a write-back needs.
    #[must_use]
    pub fn default_writes() -> Vec<Need> {
        vec![Need::new("Communication", Ops::CRS)]
    }

    /// For writing back: what is written, and searched for to settle it, goes under a token for these needs; and each request is tried
    /// once, since whoever keeps the ledger decides what is tried again and when.
    #[must_use]
    pub fn writing(mut self, needs: Vec<Need>) -> Self {
        self.writes = needs.into();
        self.wire.class = Whom::Write;
        self.wire.policy = Policy { tries: 1, patience: Duration::ZERO, ..self.wire.policy };
        self
    }

    /// Asks for nothing that the server's statement does not list.
    #[must_use]
    pub(super) fn within(mut self, profile: &Profile, capability: &Capability) -> Self {
        self.habits = self.habits.within(profile, capability);
        self
    }

    /// For a sync, which can wait: whatever else is asked of this EHR comes first.
    #[must_use]
    pub fn crawling(mut self) -> Self {
        self.wire.class = Whom::Crawl;
        self
    }

    /// How many requests may be on their way at once, over all nodes.
    #[must_use]
    pub fn at_once(&self) -> usize {
        self.wire.pace.at_once()
    }

    /// How it stands with turns to ask; `None` where the EHR may be asked as fast as it goes.
    #[must_use]
    pub fn pacing(&self) -> Option<Pacing> {
        self.wire.pace.pacing()
    }

    /// The FHIR base.
    #[must_use]
    pub const fn base(&self) -> &Url {
        &self.base
    }

    /// How far the EHR's clock is from ours.
    #[must_use]
    pub fn skew(&self) -> &Skew {
        &self.wire.skew
    }

    /// How far ahead the EHR's clock is, where that is worth telling.
    #[must_use]
    pub fn notable_skew(&self) -> Option<TimeDelta> {
        self.wire.skew.notable()
    }

    /// The tokens of this client.
    #[must_use]
    pub fn tokens(&self) -> &Tokens {
        &self.wire.tokens
    }

    /// What the EHR does not grant of what a sync reads and a write-back writes. Empty where scopes do not apply.
    ///
    /// # Errors
    /// [`TokenError`] where there is no token at all.
    pub async fn missing(&self) -> Result<Vec<Need>, TokenError> {
        let mut missing = self.wire.tokens.access(&self.reads).await?.missing;
        match self.wire.tokens.access(&self.writes).await {
            Ok(access) => missing.extend(access.missing),
            Err(error) if error.is_scope() => missing.extend(self.writes.iter().cloned()),
            Err(error) => return Err(error),
        }
        Ok(missing)
    }

    /// Starts a search. Nothing is sent before the first [`Pages::next`].
    #[must_use]
    pub fn search(&self, search: Search) -> Pages<'_> {
        Pages::new(self, search)
    }

    /// All matches of a search, each id once. For counting and settling, not for syncing: everything is held in memory.
    ///
    /// # Errors
    /// [`EhrError`] where any page failed.
    pub async fn search_all(&self, search: Search) -> Result<Vec<Entry>, EhrError> {
        let mut pages = self.search(search);
        let mut seen = std::collections::HashSet::new();
        let mut all = Vec::new();
        while let Some(page) = pages.next().await? {
            all.extend(page.entries.into_iter().filter(|e| e.id.as_ref().is_none_or(|id| seen.insert(id.clone()))));
        }
        Ok(all)
    }

    /// Reads one resource.
    ///
    /// # Errors
    /// [`EhrError`]; a resource that is not there is no error.
    pub async fn read(&self, resource_type: &str, id: &FhirId) -> Result<ReadOutcome, EhrError> {
        let url = self.url(resource_type, Some(id.as_str()))?;
        let request = Request::get(url).header(ACCEPT, FHIR_JSON);
        let ended = self.wire.send(Intent::Read, &request, self.needs(resource_type), resource_type).await?;
        match ended.result.as_ref().map(|r| r.status.as_u16()) {
            Ok(404) => return Ok(ReadOutcome::Absent),
            Ok(410) => return Ok(ReadOutcome::Gone),
            _ => {}
        }
        let response = ended.success()?;
        let peek = peek(&response.body).map_err(|e| EhrError::NotFhir { expected: "resource", source: Some(e) })?;
        if peek.resource_type != resource_type {
            return Err(match outcome(&response.body) {
                Some(outcome) => EhrError::Refused { status: response.status.as_u16(), outcome },
                None => EhrError::NotFhir { expected: "resource of the type asked for", source: None },
            });
        }
        let found = peek.id.map(std::borrow::Cow::into_owned);
        let same = found.as_deref() == Some(id.as_str());
        let entry = Entry { resource_type: Some(resource_type.to_owned()), id: found, bytes: response.body };
        Ok(if same { ReadOutcome::Found(entry) } else { ReadOutcome::Moved(entry) })
    }

    /// Creates a resource. With `if_none_exist` (a search query, `identifier=system|value`) a server that supports it creates nothing
    /// where one exists; others may ignore it, so whoever calls serialises its own writes.
    ///
    /// # Errors
    /// [`EhrError`] only where nothing was sent: no token, no grant, no connection, or it asked to be left alone.
    pub async fn create(&self, resource_type: &str, body: Vec<u8>, if_none_exist: Option<&str>) -> Result<CreateOutcome, EhrError> {
        let mut request = Request::post(self.url(resource_type, None)?, FHIR_JSON, body).header(ACCEPT, FHIR_JSON);
        request = request.header(PREFER, SHOW);
        if let Some(query) = if_none_exist {
            request = request.header(HeaderName::from_static("if-none-exist"), query);
        }
        let ended = self.wire.send(Intent::Write, &request, self.needs(resource_type), resource_type).await?;
        match ended.result {
            Ok(response) => {
                let mut told = create::read_answer(resource_type, if_none_exist.is_some(), ended.class, &response);
                if let CreateOutcome::Refused { retry_after, .. } = &mut told {
                    *retry_after = ended.retry_after;
                }
                Ok(told)
            }
            Err(failure) if ended.class == Class::Unclear => Ok(CreateOutcome::Unclear { why: failure.to_string() }),
            Err(failure) => Err(EhrError::Unreachable(failure)),
        }
    }

    /// Replaces a resource, where it still has the version that is named; without one, whatever version it has.
    ///
    /// # Errors
    /// As [`Client::create`].
    pub async fn update(&self, resource_type: &str, id: &FhirId, version: Option<&str>, body: Vec<u8>) -> Result<ChangeOutcome, EhrError> {
        let request = Request::put(self.url(resource_type, Some(id.as_str()))?, FHIR_JSON, body);
        self.change(resource_type, request, version).await
    }

    /// Changes a resource by a JSON Patch (RFC 6902; R4 http, 3.1.0.8.3), where it still has the version that is named.
    ///
    /// # Errors
    /// As [`Client::create`].
    pub async fn patch(&self, resource_type: &str, id: &FhirId, version: Option<&str>, patch: Vec<u8>) -> Result<ChangeOutcome, EhrError> {
        let request = Request::patch(self.url(resource_type, Some(id.as_str()))?, JSON_PATCH, patch);
        self.change(resource_type, request, version).await
    }

    async fn change(&self, resource_type: &str, request: Request, version: Option<&str>) -> Result<ChangeOutcome, EhrError> {
        let mut request = request.header(ACCEPT, FHIR_JSON).header(PREFER, SHOW);
        if let Some(version) = version {
            // A lock that cannot be written down must not be left out in silence.
            let plain = !version.is_empty() && version.bytes().all(|b| b.is_ascii_graphic() && b != b'"');
            let tag = plain.then(|| format!("W/\"{version}\"")).ok_or(EhrError::BadRequest)?;
            request = request.header(IF_MATCH, &tag);
        }
        let ended = self.wire.send(Intent::Write, &request, self.needs(resource_type), resource_type).await?;
        match ended.result {
            Ok(response) => Ok(change::read_answer(resource_type, ended.class, &response, ended.retry_after)),
            Err(failure) if ended.class == Class::Unclear => Ok(ChangeOutcome::Unclear { why: failure.to_string() }),
            Err(failure) => Err(EhrError::Unreachable(failure)),
        }
    }

    /// Whether any of what this client asks tokens for is about a type.
    #[must_use]
    pub fn asks_for(&self, resource_type: &str) -> bool {
        self.writes.iter().chain(self.reads.iter()).any(|n| n.resource_type == resource_type)
    }

    /// The needs whose token authorises a request to a type.
    pub(super) fn needs(&self, resource_type: &str) -> &[Need] {
        let covers = |needs: &[Need]| needs.iter().any(|n| n.resource_type == resource_type);
        if covers(&self.writes) { &self.writes } else { &self.reads }
    }

    /// `[base]/[type]` or `[base]/[type]/[id]`.
    pub(super) fn url(&self, resource_type: &str, id: Option<&str>) -> Result<Url, EhrError> {
        let named = !resource_type.is_empty() && resource_type.bytes().all(|b| b.is_ascii_alphanumeric());
        let path = match id {
            Some(id) => format!("{resource_type}/{id}"),
            None => resource_type.to_owned(),
        };
        under(&self.base, &path).filter(|_| named).ok_or(EhrError::BadRequest)
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("origin", &self.wire.origin.to_string()).finish_non_exhaustive()
    }
}
