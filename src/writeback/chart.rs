//! The EHR as the write-back sees it: create, search, read, change. The one implementation over the network is [`crate::ehr::Client`];
//! tests have another, so that every cell of the state machine can be reached without a server.

use std::future::Future;
use std::time::Duration;

use chrono::TimeDelta;
use domain::model::FhirId;

use super::contract::{Carrier, Contract, Stated, StatedType};
use crate::ehr::auth::{Need, Ops};
use crate::ehr::{Capability, ChangeOutcome, Client, CreateOutcome, EhrError, Pacing, ReadOutcome, Refusal, Search, Written};

/// What may be written or changed.
const TYPES: [&str; 4] = ["Communication", "DocumentReference", "Appointment", "Provenance"];
/// Pages that a search for one resource may have; a server with more has not understood what was asked.
const PAGES: usize = 20;

/// A resource in the EHR.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Remote {
    /// Its logical id, where the answer told it.
    pub id: Option<String>,
    /// Its version, where told.
    pub version: Option<String>,
    /// The resource as the EHR has it, where it was shown.
    pub kept: Option<Vec<u8>>,
}

impl std::fmt::Debug for Remote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Remote").field("id", &self.id).field("version", &self.version).finish_non_exhaustive()
    }
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
    /// Nothing was sent, and nothing can be now: no token, no connection.
    Halted(String),
}

/// What came of an update or a patch. The texts hold codes only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changed {
    /// It is as asked for.
    Done(Remote),
    /// Changed or not: the answer does not tell.
    Unclear(String),
    /// Not changed: throttled.
    Throttled(Option<Duration>),
    /// Not changed: it has another version by now.
    Conflict(String),
    /// Not changed, and will not be by trying again.
    Refused(String),
    /// Nothing was sent, and nothing can be now.
    Halted(String),
}

/// One search match, or a resource that was read.
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

/// Why a search or a read brought nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SearchFailed {
    /// It may succeed later.
    Later(String),
    /// Throttled.
    Throttled(Option<Duration>),
    /// It will not succeed by trying again.
    Refused(String),
    /// Nothing can be asked now: no token, no connection.
    Halted(String),
}

/// An EHR that is written to.
pub trait Chart: Send + Sync {
    /// Creates a resource; `if_none_exist` is a search query that makes it conditional.
    fn create(&self, resource_type: &str, body: Vec<u8>, if_none_exist: Option<&str>) -> impl Future<Output = Created> + Send;

    /// Searches for resources of a type.
    fn search(&self, resource_type: &str, params: &[(&str, String)]) -> impl Future<Output = Result<Matches, SearchFailed>> + Send;

    /// Reads a resource; `None` where it is not there, or not there any more.
    fn read(&self, resource_type: &str, id: &str) -> impl Future<Output = Result<Option<Match>, SearchFailed>> + Send;

    /// Replaces a resource that has this version.
    fn update(&self, resource_type: &str, id: &str, version: Option<&str>, body: Vec<u8>) -> impl Future<Output = Changed> + Send;

    /// Changes a resource that has this version, by a JSON Patch.
    fn patch(&self, resource_type: &str, id: &str, version: Option<&str>, patch: Vec<u8>) -> impl Future<Output = Changed> + Send;

    /// How it stands with turns to ask; `None` where there is no limit but our own.
    fn pacing(&self) -> Option<Pacing> {
        None
    }

    /// How far the EHR's clock is ahead of ours, as far as is known.
    fn ahead(&self) -> TimeDelta {
        TimeDelta::zero()
    }
}

/// The chart of an EHR that has no connection: what needs one is refused, so that it is seen and holds up nothing.
#[derive(Clone, Copy, Debug)]
pub struct NoChart;

const NO_CONNECTION: &str = "no-connection: this EHR delivers files now";

impl Chart for NoChart {
    async fn create(&self, _: &str, _: Vec<u8>, _: Option<&str>) -> Created {
        Created::Refused(NO_CONNECTION.to_owned())
    }

    async fn search(&self, _: &str, _: &[(&str, String)]) -> Result<Matches, SearchFailed> {
        Err(SearchFailed::Refused(NO_CONNECTION.to_owned()))
    }

    async fn read(&self, _: &str, _: &str) -> Result<Option<Match>, SearchFailed> {
        Err(SearchFailed::Refused(NO_CONNECTION.to_owned()))
    }

    async fn update(&self, _: &str, _: &str, _: Option<&str>, _: Vec<u8>) -> Changed {
        Changed::Refused(NO_CONNECTION.to_owned())
    }

    async fn patch(&self, _: &str, _: &str, _: Option<&str>, _: Vec<u8>) -> Changed {
        Changed::Refused(NO_CONNECTION.to_owned())
    }
}

impl Chart for Client {
    async fn create(&self, resource_type: &str, body: Vec<u8>, if_none_exist: Option<&str>) -> Created {
        match Client::create(self, resource_type, body, if_none_exist).await {
            Ok(outcome) => created(outcome),
            Err(error) => match not_sent(&error) {
                SearchFailed::Throttled(asked) => Created::Throttled(asked),
                SearchFailed::Refused(why) => Created::Refused(why),
                SearchFailed::Halted(why) | SearchFailed::Later(why) => Created::Halted(why),
            },
        }
    }

    async fn search(&self, resource_type: &str, params: &[(&str, String)]) -> Result<Matches, SearchFailed> {
        let search = params.iter().fold(Search::of(resource_type).strict(), |s, (name, value)| s.with(name, value));
        let mut pages = Client::search(self, search);
        let mut all = Matches::default();
        for _ in 0..PAGES {
            let Some(page) = pages.next().await.map_err(|e| not_asked_for(self, resource_type, &e).unwrap_or_else(|| failed(&e)))? else {
                return Ok(all);
            };
            all.doubtful |= page.short().is_some() || !page.dropped.is_empty();
            all.entries.extend(page.entries.into_iter().map(|e| Match { bytes: e.bytes }));
            if !page.more {
                return Ok(all);
            }
        }
        all.doubtful = true;
        Ok(all)
    }

    async fn read(&self, resource_type: &str, id: &str) -> Result<Option<Match>, SearchFailed> {
        let id = FhirId::parse(id).ok_or_else(|| failed(&EhrError::BadRequest))?;
        match Client::read(self, resource_type, &id).await.map_err(|e| failed(&e))? {
            ReadOutcome::Found(entry) => Ok(Some(Match { bytes: entry.bytes })),
            // Another record than the one that was written to.
            ReadOutcome::Moved(_) | ReadOutcome::Gone | ReadOutcome::Absent => Ok(None),
        }
    }

    async fn update(&self, resource_type: &str, id: &str, version: Option<&str>, body: Vec<u8>) -> Changed {
        match FhirId::parse(id) {
            Some(id) => changed(Client::update(self, resource_type, &id, version, body).await),
            None => changed(Err(EhrError::BadRequest)),
        }
    }

    async fn patch(&self, resource_type: &str, id: &str, version: Option<&str>, patch: Vec<u8>) -> Changed {
        match FhirId::parse(id) {
            Some(id) => changed(Client::patch(self, resource_type, &id, version, patch).await),
            None => changed(Err(EhrError::BadRequest)),
        }
    }

    fn pacing(&self) -> Option<Pacing> {
        Client::pacing(self)
    }

    fn ahead(&self) -> TimeDelta {
        self.skew().ahead().unwrap_or_default()
    }
}

const NO_TOKEN: &str = "the EHR does not take its own access token (HTTP status 401)";

fn remote(written: Written) -> Remote {
    Remote { id: written.id, version: written.version, kept: written.body }
}

fn created(outcome: CreateOutcome) -> Created {
    match outcome {
        CreateOutcome::Created(written) => Created::Stored(remote(written)),
        CreateOutcome::Existing(written) => Created::Existing(remote(written)),
        CreateOutcome::Unclear { why } => Created::Unclear(format!("no-answer: {why}")),
        // A fresh token was not taken either: no other row will fare better.
        CreateOutcome::Refused { status: 401, .. } => Created::Halted(NO_TOKEN.to_owned()),
        CreateOutcome::Refused { class: Refusal::Busy, retry_after, .. } => Created::Throttled(retry_after),
        CreateOutcome::Refused { class: Refusal::SeveralMatch, .. } => Created::SeveralMatch,
        CreateOutcome::Refused { class: Refusal::Conflict, status, .. } => Created::Conflict(format!("http-{status}")),
        CreateOutcome::Refused { status, outcome, .. } => Created::Refused(format!("http-{status}: {outcome}")),
    }
}

fn changed(outcome: Result<ChangeOutcome, EhrError>) -> Changed {
    match outcome {
        Ok(ChangeOutcome::Changed(written)) => Changed::Done(remote(written)),
        Ok(ChangeOutcome::Unclear { why }) => Changed::Unclear(format!("no-answer: {why}")),
        Ok(ChangeOutcome::Refused { status: 401, .. }) => Changed::Halted(NO_TOKEN.to_owned()),
        Ok(ChangeOutcome::Refused { class: Refusal::Busy, retry_after, .. }) => Changed::Throttled(retry_after),
        Ok(ChangeOutcome::Refused { class: Refusal::Conflict | Refusal::SeveralMatch, status, .. }) => {
            Changed::Conflict(format!("http-{status}"))
        }
        Ok(ChangeOutcome::Refused { status, outcome, .. }) => Changed::Refused(format!("http-{status}: {outcome}")),
        Err(error) => match not_sent(&error) {
            SearchFailed::Throttled(asked) => Changed::Throttled(asked),
            SearchFailed::Refused(why) => Changed::Refused(why),
            SearchFailed::Halted(why) | SearchFailed::Later(why) => Changed::Halted(why),
        },
    }
}

/// Why a write did not leave. One type that is not granted must not hold up the others, so it is a refusal of the row.
fn not_sent(error: &EhrError) -> SearchFailed {
    match error {
        EhrError::Busy { retry_after, .. } => SearchFailed::Throttled(*retry_after),
        EhrError::Paused(_) | EhrError::Token(_) if error.pause().is_some() => {
            SearchFailed::Throttled(error.pause().map(|paused| paused.left))
        }
        EhrError::NotGranted(_) => SearchFailed::Refused(format!("not-granted: {error}")),
        EhrError::BadRequest => SearchFailed::Refused(format!("not-r4: {error}")),
        _ => SearchFailed::Halted(error.to_string()),
    }
}

/// A token that is not to be had for a type that no token was asked for says nothing of the others: only this search is refused.
fn not_asked_for(client: &Client, resource_type: &str, error: &EhrError) -> Option<SearchFailed> {
    let no_token = matches!(error, EhrError::Token(_) | EhrError::NotGranted(_)) && error.pause().is_none();
    (no_token && !client.asks_for(resource_type))
        .then(|| SearchFailed::Refused(format!("not-granted: no token is asked for {resource_type}")))
}

fn failed(error: &EhrError) -> SearchFailed {
    if error.is_credential() {
        return SearchFailed::Halted(error.to_string());
    }
    match error {
        EhrError::Token(_) | EhrError::NotGranted(_) | EhrError::BadRequest | EhrError::Busy { .. } | EhrError::Paused(_) => {
            not_sent(error)
        }
        EhrError::Refused { status, outcome } if *status < 500 => SearchFailed::Refused(format!("http-{status}: {outcome}")),
        // The same question gets the same answer.
        EhrError::NotFhir { .. }
        | EhrError::SearchSentOn { .. }
        | EhrError::PagesCircle
        | EhrError::PagesBarren(_)
        | EhrError::NextLinkElsewhere => SearchFailed::Refused(format!("not-r4: {error}")),
        EhrError::Refused { status, outcome } => SearchFailed::Later(format!("http-{status}: {outcome}")),
        _ => SearchFailed::Later(format!("no-answer: {error}")),
    }
}

/// What a token must allow for a contract to be kept.
#[must_use]
pub fn needs(contract: &Contract) -> Vec<Need> {
    let created = [Carrier::Communication, Carrier::DocumentReference].into_iter().filter(|c| contract.chain.contains(c));
    let mut needs: Vec<Need> = created
        .filter_map(|carrier| {
            let update = contract.terms(carrier)?.update;
            Some(Need::new(carrier.resource_type()?, if update { Ops::CRS.or(Ops::U) } else { Ops::CRS }))
        })
        .collect();
    // What may have been written before the chain was changed is looked for after a crash.
    let before = |c: &Carrier| contract.preset_chain.contains(c) || contract.terms(*c).is_some_and(|terms| terms.key_kept.is_some());
    let before = [Carrier::Communication, Carrier::DocumentReference].into_iter().filter(|c| !contract.chain.contains(c) && before(c));
    let found = before.filter(|c| contract.terms(*c).is_some_and(|terms| terms.finder().is_some()));
    needs.extend(found.filter_map(|c| Some(Need::read(c.resource_type()?))));
    if contract.status_change.as_ref().is_some_and(|change| change.enabled) {
        needs.push(Need::new("Appointment", Ops::R.or(Ops::U)));
    }
    if contract.chain.iter().any(|carrier| contract.wants_provenance_of(*carrier)) {
        needs.push(Need::new("Provenance", Ops::CRS));
    }
    needs
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_will_never_be_answered_is_not_asked_for_ever() {
        for error in [EhrError::NotFhir { expected: "Bundle", source: None }, EhrError::PagesCircle, EhrError::NextLinkElsewhere] {
            assert!(matches!(failed(&error), SearchFailed::Refused(why) if why.starts_with("not-r4")), "{error}");
        }
        assert!(matches!(failed(&EhrError::PageExpired), SearchFailed::Later(_)));
    }

    #[test]
    fn a_token_must_allow_what_the_contract_does_and_no_more() {
        let says = |contract: &Contract| needs(contract).iter().map(ToString::to_string).collect::<Vec<_>>();
        let mut contract = Contract::full_r4();
        assert_eq!(says(&contract), ["system/Communication.crus"]);
        contract.communication.update = false;
        contract.chain = vec![Carrier::Communication, Carrier::DocumentReference, Carrier::Ledger];
        contract.status_change.as_mut().unwrap().enabled = true;
        assert_eq!(says(&contract), ["system/Communication.crs", "system/DocumentReference.crus", "system/Appointment.ru"]);
        contract.provenance.as_mut().unwrap().enabled = true;
        assert_eq!(says(&contract).last().unwrap(), "system/Provenance.crs");
        contract.chain = vec![Carrier::Export];
        contract.document_reference.key_kept = Some(true);
        assert_eq!(says(&contract), ["system/DocumentReference.rs", "system/Appointment.ru"], "there may be one of ours");
        contract.document_reference.key_kept = None;
        contract.status_change = None;
        assert_eq!(says(&contract), [""; 0]);
    }
}
