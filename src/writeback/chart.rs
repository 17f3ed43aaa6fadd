//! The EHR as the write-back sees it: create, and search. The one implementation over the network is [`crate::ehr::Client`]; tests have
//! another, so that every cell of the state machine can be reached without a server.

use std::future::Future;
use std::time::Duration;

use super::contract::{Stated, StatedType};
use crate::ehr::{Capability, Client, CreateOutcome, EhrError, Refusal, Search};

/// What may be written or changed.
const TYPES: [&str; 3] = ["Communication", "DocumentReference", "Appointment"];
/// Pages that a search for one resource may have; a server with more has not understood what was asked.
const PAGES: usize = 4;

/// A resource in the EHR.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remote {
    /// Its logical id, where the answer told it.
    pub id: Option<String>,
    /// Its version, where told.
    pub version: Option<String>,
}

/// What came of a create. The texts hold codes only, never words of the other side, which may quote a patient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Created {
    /// Stored now.
    Stored(Remote),
    /// The condition matched one that was there; nothing was stored.
    Existing(Remote),
    /// Stored or not: the answer does not tell.
    Unclear(String),
    /// Not stored: throttled. Nothing else should be asked for so long.
    Throttled(Option<Duration>),
    /// Not stored: it clashes with what the server is doing now (409, or 412 without a condition).
    Conflict(String),
    /// Not stored: the condition matched more than one (412).
    SeveralMatch,
    /// Not stored, and will not be by trying again.
    Refused(String),
    /// Nothing was sent, and nothing can be now: no token, no grant, no connection.
    Halted(String),
}

/// One search match.
#[derive(Clone, PartialEq, Eq)]
pub struct Match {
    /// The resource as received.
    pub bytes: Vec<u8>,
}

/// What a search brought.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Matches {
    /// What came back, of all pages.
    pub entries: Vec<Match>,
    /// The server did not apply a parameter, or not all pages could be read: nothing may be taken as absent.
    pub doubtful: bool,
}

/// Why a search brought nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SearchFailed {
    /// It may succeed later.
    Later(String),
    /// Throttled.
    Throttled(Option<Duration>),
    /// It will not succeed by trying again.
    Refused(String),
    /// Nothing can be asked now: no token, no grant, no connection.
    Halted(String),
}

/// An EHR that is written to.
pub trait Chart: Send + Sync {
    /// Creates a resource; `if_none_exist` is a search query that makes it conditional.
    fn create(&self, resource_type: &str, body: Vec<u8>, if_none_exist: Option<&str>) -> impl Future<Output = Created> + Send;

    /// Searches for resources of a type.
    fn search(&self, resource_type: &str, params: &[(&str, String)]) -> impl Future<Output = Result<Matches, SearchFailed>> + Send;
}

impl Chart for Client {
    async fn create(&self, resource_type: &str, body: Vec<u8>, if_none_exist: Option<&str>) -> Created {
        match Client::create(self, resource_type, body, if_none_exist).await {
            Ok(outcome) => created(outcome),
            Err(error) => Created::Halted(error.to_string()),
        }
    }

    async fn search(&self, resource_type: &str, params: &[(&str, String)]) -> Result<Matches, SearchFailed> {
        let search = params.iter().fold(Search::of(resource_type).strict(), |s, (name, value)| s.with(name, value));
        let mut pages = Client::search(self, search);
        let mut all = Matches::default();
        for _ in 0..PAGES {
            let Some(page) = pages.next().await.map_err(failed)? else { return Ok(all) };
            all.doubtful |= page.incomplete || !page.dropped.is_empty();
            all.entries.extend(page.entries.into_iter().map(|e| Match { bytes: e.bytes }));
            if !page.more {
                return Ok(all);
            }
        }
        all.doubtful = true;
        Ok(all)
    }
}

fn created(outcome: CreateOutcome) -> Created {
    let remote = |w: crate::ehr::Written| Remote { id: w.id, version: w.version };
    match outcome {
        CreateOutcome::Created(written) => Created::Stored(remote(written)),
        CreateOutcome::Existing(written) => Created::Existing(remote(written)),
        CreateOutcome::Unclear { why } => Created::Unclear(format!("no-answer: {why}")),
        // A fresh token was not taken either: no other row will fare better.
        CreateOutcome::Refused { status: 401, .. } => {
            Created::Halted("the EHR does not take its own access token (HTTP status 401)".to_owned())
        }
        CreateOutcome::Refused { class: Refusal::Busy, retry_after, .. } => Created::Throttled(retry_after),
        CreateOutcome::Refused { class: Refusal::SeveralMatch, .. } => Created::SeveralMatch,
        CreateOutcome::Refused { class: Refusal::Conflict, status, .. } => Created::Conflict(format!("http-{status}")),
        CreateOutcome::Refused { status, outcome, .. } => Created::Refused(format!("http-{status}: {outcome}")),
    }
}

fn failed(error: EhrError) -> SearchFailed {
    if error.is_credential() {
        return SearchFailed::Halted(error.to_string());
    }
    match error {
        EhrError::Token(_) | EhrError::NotGranted(_) => SearchFailed::Halted(error.to_string()),
        EhrError::Busy { retry_after, .. } => SearchFailed::Throttled(retry_after),
        EhrError::Refused { status, ref outcome } if status < 500 => SearchFailed::Refused(format!("http-{status}: {outcome}")),
        EhrError::Refused { status, ref outcome } => SearchFailed::Later(format!("http-{status}: {outcome}")),
        _ => SearchFailed::Later(format!("no-answer: {error}")),
    }
}

/// What an EHR's CapabilityStatement says of the types that are written.
#[must_use]
pub fn stated(capability: &Capability) -> Stated {
    let of = |name: &'static str| {
        let says = |interaction: &str| capability.allows(name, interaction);
        let stated = StatedType {
            create: says("create"),
            search: says("search-type"),
            read: says("read"),
            update: says("update"),
            patch: says("patch"),
            conditional_create: capability.conditional_create(name),
            search_params: capability.types.get(name).map(|t| t.search_params.clone()).unwrap_or_default(),
        };
        (name, stated)
    };
    Stated(TYPES.into_iter().map(of).collect())
}
