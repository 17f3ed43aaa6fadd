//! The EHR as the write-back sees it: create, and search. The one implementation over the network is [`crate::ehr::Client`]; tests have
//! another, so that every cell of the state machine can be reached without a server.

use std::future::Future;
use std::time::Duration;

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

/// An EHR that Communications are written to.
pub trait Chart: Send + Sync {
    /// Creates a Communication; `if_none_exist` is a search query that makes it conditional.
    fn create(&self, body: Vec<u8>, if_none_exist: Option<&str>) -> impl Future<Output = Created> + Send;

    /// Searches for Communications.
    fn search(&self, params: &[(&str, String)]) -> impl Future<Output = Result<Matches, SearchFailed>> + Send;
}
