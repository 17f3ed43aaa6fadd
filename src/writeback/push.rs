//! One write-back's way to the EHR. What may have arrived is searched for before it is sent again; what certainly did not is created,
//! conditionally where the contract says so, else after a search.
//!
//! A row that is `owed` was never sent, or was certainly not stored. A row that is unclear may be in the chart, and leaves that state only
//! by a search that can be trusted ([`super::unclear`]), or by a person. What changes something that is there already is [`super::amend`]'s.

use std::time::Duration;

use chrono::TimeDelta;
use domain::{Clock, Timestamp};
use serde_json::Value;

use super::chart::{Chart, Created, Matches, Remote, SearchFailed};
use super::compare::{KEY, differences};
use super::contract::{Carrier, Contract, Finder, ReadBack, Terms};
use super::deed::Deed;
use super::find::{EMAIL_STATUSES, Wanted, condition, email_status, query};
use super::route::Ways;
use super::settle::{MOST_ASKED, Sighting, after_settling, backoff, sight, unanswered};
use crate::store::writebacks::Settlement;

/// Conflicts in a row after which a person has to look.
const CONFLICTS: i64 = 8;
/// Tries in a row without a clear end after which a person has to look.
const UNANSWERED: i64 = 12;

const THROTTLED: &str = "throttled: the EHR asks to come back later";

/// A claimed write-back, composed.
#[derive(Clone, PartialEq, Eq)]
pub struct Letter {
    /// The row.
    pub id: String,
    /// What carries it.
    pub carrier: Carrier,
    /// What carried it when it was last tried, where that is known.
    pub tried: Option<Carrier>,
    /// How it was put then (`Try::put_as`). Absent where nobody knows how it was put last, nor by what: a worker died at it.
    pub put_as: Option<String>,
    /// Our identifier's namespace.
    pub system: String,
    /// Our identifier.
    pub value: String,
    /// The patient's logical id.
    pub patient: String,
    /// When the message was sent; for searches by patient and time.
    pub sent: Option<Timestamp>,
    /// When it was owed: no try was made before.
    pub since: Timestamp,
    /// What is to be done.
    pub deed: Deed,
    /// What could not be carried, JSON.
    pub loss: String,
    /// An earlier try may have reached the EHR.
    pub unclear: bool,
    /// Tries so far, this one included.
    pub tries: i64,
    /// How often in a row it was sent before and stayed unclear.
    pub unanswered: i64,
}

/// What a try means for those behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signal {
    /// The EHR answers.
    Fine,
    /// The EHR did not answer this one as it should.
    Trouble,
    /// Nothing should be asked before this instant.
    Pause(Timestamp),
    /// Nothing can be asked now.
    Halt(String),
}

/// What a try did to where a write-back may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Put {
    /// Nothing: it was not sent.
    Not,
    /// It was sent, so.
    As(Option<String>),
}

/// How a try ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// What becomes of the row.
    pub settlement: Settlement,
    /// What it means for others.
    pub signal: Signal,
    /// What carried it, or carried it when it was found.
    pub carrier: Carrier,
    /// What this try did to where it may be.
    pub put: Put,
    /// Whether the EHR was seen to keep our key.
    pub key_kept: Option<bool>,
}

impl Pushed {
    /// What the row is to say of how it was put, and by what; `None` where it says so already.
    pub(super) fn way(&self) -> Option<(Carrier, Option<String>)> {
        match (&self.settlement, &self.put) {
            (Settlement::PutBack { .. }, _) => None,
            (_, Put::As(how)) => Some((self.carrier, how.clone())),
            (Settlement::Unknown { .. } | Settlement::Again { .. } | Settlement::Parked { .. }, Put::Not) => None,
            (_, Put::Not) => Some((self.carrier, None)),
        }
    }
}

/// Brings one write-back to the EHR.
pub async fn push<C: Chart>(chart: &C, contract: &Contract, ways: &Ways, letter: &Letter, clock: &dyn Clock) -> Pushed {
    let try_ = Try::new(chart, contract, ways, letter, clock);
    match &letter.deed {
        Deed::EnteredInError { id, why } => Pushed { put: Put::As(None), ..try_.enter_in_error(id, why).await },
        Deed::Status { appointment, to, start, from } => {
            Pushed { put: Put::As(None), ..try_.change_status(appointment, to, *start, from).await }
        }
        Deed::Create { bytes } => match try_.settled().await {
            Some(pushed) => pushed,
            None => Pushed { put: Put::As(try_.put_as(letter.carrier)), ..try_.carry(bytes).await },
        },
        Deed::Keep { why } => match try_.settled().await {
            Some(pushed) => pushed,
            None => try_.ended(Settlement::Kept { why: why.clone() }, Signal::Fine),
        },
    }
}

/// It stays unclear whether it arrived: it is searched for later, and longer after with each time in a row. One that never comes to a clear
/// end is no accident, and a person has to look.
pub(super) fn unclear(letter: &Letter, contract: &Contract, now: Timestamp, why: &str) -> Settlement {
    let times = letter.unanswered + 1;
    if times >= UNANSWERED {
        return Settlement::Parked { why: format!("{why}; it was sent {times} times and never came to a clear end") };
    }
    Settlement::Unknown { at: unanswered(now, &letter.id, contract.settle_delay(), times), why: why.to_owned() }
}

/// One try, on its way.
pub(super) struct Try<'a, C> {
    pub chart: &'a C,
    pub contract: &'a Contract,
    pub ways: &'a Ways,
    pub letter: &'a Letter,
    pub clock: &'a dyn Clock,
    /// What is sent, where it is JSON.
    pub resource: Option<Value>,
}

impl<'a, C: Chart> Try<'a, C> {
    fn new(chart: &'a C, contract: &'a Contract, ways: &'a Ways, letter: &'a Letter, clock: &'a dyn Clock) -> Self {
        let resource = letter.deed.bytes().and_then(|bytes| serde_json::from_slice(bytes).ok());
        Self { chart, contract, ways, letter, clock, resource }
    }

    async fn carry(&self, bytes: &[u8]) -> Pushed {
        let carrier = self.letter.carrier;
        match (carrier, carrier.resource_type(), self.contract.terms(carrier)) {
            (_, Some(resource_type), Some(terms)) => self.create(resource_type, terms, bytes).await,
            (Carrier::Route, ..) => self.carry_by_route(bytes).await,
            (Carrier::Export, ..) => self.export(bytes).await,
            _ => self.refused(format!("not-taken: nothing here writes by {}", carrier.as_str())),
        }
    }

    async fn create(&self, resource_type: &str, terms: &Terms, bytes: &[u8]) -> Pushed {
        // One that is owed is not in the chart by all we know; a database that was restored from a backup may know less. An unclear one was
        // looked for already.
        if !terms.creates_conditionally() && !self.letter.unclear {
            match self.look(self.letter.carrier, resource_type, terms).await {
                Some(Ok(Sighting::Once(found))) => return self.found(found),
                Some(Ok(Sighting::Several(n))) => return self.doubled(n),
                None | Some(Ok(Sighting::Absent | Sighting::Doubtful) | Err(SearchFailed::Refused(_))) => {}
                Some(Err(failed)) => return self.search_failed(failed),
            }
        }
        let condition = terms.creates_conditionally().then(|| condition(&self.letter.system, &self.letter.value));
        match self.chart.create(resource_type, bytes.to_vec(), condition.as_deref()).await {
            Created::Stored(remote) if remote.id.is_some() => self.stored(resource_type, terms, remote).await,
            // Stored, and the answer does not say under which id.
            Created::Stored(remote) => match self.look_again(resource_type, terms).await {
                Some(Sighting::Once(found)) => self.found(found),
                Some(Sighting::Several(n)) => self.doubled(n),
                _ => self.written(remote),
            },
            Created::Existing(remote) => self.existing(resource_type, terms, remote).await,
            Created::Unclear(why) => self.unknown(&why),
            Created::Throttled(asked) => self.throttled(asked),
            Created::Conflict(why) => self.conflict(&why),
            Created::SeveralMatch => match self.look_again(resource_type, terms).await {
                Some(Sighting::Once(found)) => self.found(found),
                Some(Sighting::Several(n)) => self.doubled(n),
                // Some answer 412 to whatever they cannot evaluate.
                _ => self.conflict("http-412"),
            },
            Created::Refused(why) => self.refused(why),
            Created::Halted(why) => self.put_back(why),
        }
    }

    /// It is there. What was kept of it is looked at, and whatever comes of that, it is written.
    async fn stored(&self, resource_type: &str, terms: &Terms, mut remote: Remote) -> Pushed {
        // Once an EHR: whether what was written can be found again by our key, which an answer that repeats what was sent does not show.
        let unseen = terms.key_kept.is_none() && terms.finder().is_some();
        if unseen && let Some(Ok(Sighting::Once(found))) = self.look(self.letter.carrier, resource_type, terms).await {
            return self.found(found);
        }
        let read = match terms.read_back {
            ReadBack::Never => return self.written(Remote { kept: None, ..remote }),
            ReadBack::FromAnswer => remote.kept.is_none() || unseen,
            ReadBack::Always => true,
        };
        if read && let Some(id) = remote.id.as_deref() {
            remote.kept = self.chart.read(resource_type, id).await.ok().flatten().map(|found| found.bytes);
        }
        self.written(remote)
    }

    /// The condition matched. It must be ours that it matched: a server may not understand the condition and match anything.
    async fn existing(&self, resource_type: &str, terms: &Terms, told: Remote) -> Pushed {
        match self.look(self.letter.carrier, resource_type, terms).await {
            // Where it cannot be looked for, the server's word is all there is.
            None => self.written(told),
            Some(Ok(Sighting::Once(found))) => self.found(found),
            Some(Ok(Sighting::Several(n))) => self.doubled(n),
            Some(Ok(Sighting::Absent)) => self.unknown("condition-hit: the EHR says that it is there, and its search does not find it yet"),
            Some(Ok(Sighting::Doubtful)) => {
                self.parked("condition-hit: the EHR says that it is there, and its search cannot be trusted to show that it is this one")
            }
            Some(Err(_)) => self.unknown("condition-hit: the EHR says that it is there, and the search for it failed"),
        }
    }

    /// Looks for it as a resource of a type; `None` where the contract has no search for that, or what was sent does not tell what to ask.
    pub async fn look(&self, carrier: Carrier, resource_type: &str, terms: &Terms) -> Option<Result<Sighting, SearchFailed>> {
        let finder = terms.finder()?;
        let query = query(finder, &self.wanted(carrier))?;
        let found = match self.chart.search(resource_type, &query).await {
            Err(SearchFailed::Refused(_)) if finder == Finder::InboxReceived && self.letter.unclear => {
                self.by_email_status(resource_type, &query).await
            }
            found => found,
        };
        Some(found.map(|found| sight(&found, finder, &self.letter.system, &self.letter.value)))
    }

    pub fn wanted(&self, carrier: Carrier) -> Wanted<'_> {
        Wanted {
            system: &self.letter.system,
            key: &self.letter.value,
            patient: &self.letter.patient,
            sent: self.letter.sent,
            since: self.letter.since,
            now: self.clock.now(),
            ahead: self.chart.ahead(),
            resource: self.resource.as_ref().filter(|_| carrier == self.letter.carrier),
        }
    }

    /// Some inboxes answer only who asks for an e-mail's status too. What is found so is there; that nothing is found proves nothing, since it
    /// is not known that each message has one.
    async fn by_email_status(&self, resource_type: &str, query: &[(&'static str, String)]) -> Result<Matches, SearchFailed> {
        let mut all = Matches { doubtful: true, ..Matches::default() };
        for status in EMAIL_STATUSES {
            let narrowed = [query, &[email_status(status)]].concat();
            all.entries.extend(self.chart.search(resource_type, &narrowed).await?.entries);
        }
        Ok(all)
    }

    async fn look_again(&self, resource_type: &str, terms: &Terms) -> Option<Sighting> {
        self.look(self.letter.carrier, resource_type, terms).await?.ok()
    }

    /// A search by our key found it.
    pub fn found(&self, remote: Remote) -> Pushed {
        Pushed { key_kept: Some(true), ..self.written(remote) }
    }

    pub fn written(&self, remote: Remote) -> Pushed {
        let kept: Option<Value> = remote.kept.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let compared = self.resource.as_ref().zip(kept.as_ref());
        let compared = compared.filter(|(sent, kept)| sent.get("resourceType") == kept.get("resourceType"));
        let differences = compared.map(|(sent, kept)| differences(sent, kept, &self.letter.system, &self.letter.value));
        // That it is kept is shown by a search only.
        let dropped = differences.as_ref().is_some_and(|all| all.iter().any(|d| d.path == KEY));
        let settlement = Settlement::Written {
            remote_id: remote.id,
            version: remote.version,
            loss: self.letter.loss.clone(),
            differences: differences.and_then(|found| serde_json::to_string(&found).ok()),
        };
        Pushed { key_kept: dropped.then_some(false), ..self.ended(settlement, Signal::Fine) }
    }

    pub fn doubled(&self, times: usize) -> Pushed {
        tracing::error!(write_back = %self.letter.id, times, "a write-back is in the EHR more than once; have one of them marked as entered in error");
        self.refused(format!("found-twice: it is in the EHR {times} times"))
    }

    pub fn unknown(&self, why: &str) -> Pushed {
        self.ended(unclear(self.letter, self.contract, self.clock.now(), why), Signal::Trouble)
    }

    pub fn conflict(&self, why: &str) -> Pushed {
        if self.letter.tries >= CONFLICTS {
            return self.refused(format!("{why}: the EHR refused it {CONFLICTS} times as a conflict"));
        }
        self.again(format!("{why}: the EHR says that it conflicts with another change"), Signal::Fine)
    }

    pub fn throttled(&self, asked: Option<Duration>) -> Pushed {
        self.ended(Settlement::Again { at: self.later(asked), why: THROTTLED.to_owned() }, self.pause(asked))
    }

    /// Others wait as long as was asked for, and not until this row's own turn.
    fn pause(&self, asked: Option<Duration>) -> Signal {
        let at = self.later(asked);
        let asked = asked.and_then(|d| TimeDelta::from_std(d).ok()).map(|d| self.clock.now().plus(d).min(at));
        Signal::Pause(asked.unwrap_or(at))
    }

    pub fn again(&self, why: String, signal: Signal) -> Pushed {
        self.ended(Settlement::Again { at: self.later(None), why }, signal)
    }

    pub fn refused(&self, why: String) -> Pushed {
        self.ended(Settlement::Refused { why }, Signal::Fine)
    }

    pub fn parked(&self, why: &str) -> Pushed {
        self.ended(Settlement::Parked { why: why.to_owned() }, Signal::Fine)
    }

    pub fn put_back(&self, why: String) -> Pushed {
        self.ended(Settlement::PutBack { at: self.clock.now(), unclear: self.letter.unclear }, Signal::Halt(why))
    }

    /// A search or a read failed before anything was sent: the row stays what it was.
    pub fn search_failed(&self, failed: SearchFailed) -> Pushed {
        let (at, why, signal) = match failed {
            SearchFailed::Halted(why) => return self.put_back(why),
            SearchFailed::Throttled(asked) => (self.later(asked), THROTTLED.to_owned(), self.pause(asked)),
            SearchFailed::Later(why) | SearchFailed::Refused(why) => (self.later(None), why, Signal::Trouble),
        };
        let settlement = if self.letter.unclear { Settlement::Unknown { at, why } } else { Settlement::Again { at, why } };
        self.ended(settlement, signal)
    }

    /// As long as was asked for: that an EHR throttles says nothing against this row. Else longer with each try.
    fn later(&self, asked: Option<Duration>) -> Timestamp {
        let (now, id) = (self.clock.now(), &self.letter.id);
        match asked.and_then(|d| TimeDelta::from_std(d).ok()) {
            Some(asked) => after_settling(now, id, asked.min(MOST_ASKED)),
            None => backoff(now, id, self.letter.tries),
        }
    }

    pub fn ended(&self, settlement: Settlement, signal: Signal) -> Pushed {
        Pushed { settlement, signal, carrier: self.letter.carrier, put: Put::Not, key_kept: None }
    }
}
