//! One write-back's way to the EHR. What may have arrived is searched for before it is sent again; what certainly did not is created,
//! conditionally where the contract says so, else after a search.
//!
//! A row that is `owed` was never sent, or was certainly not stored. A row that is unclear may be in the chart, and leaves that state only
//! by a search that can be trusted, or by a person.

use domain::{Clock, Timestamp};

use super::chart::{Chart, Created, Remote, SearchFailed};
use super::contract::{Carrier, Contract, Finder, Terms};
use super::deed::Deed;
use super::settle::{Sighting, after_settling, backoff, sight};
use crate::store::writebacks::Settlement;

/// Conflicts in a row after which a person has to look.
const CONFLICTS: i64 = 8;

/// A claimed write-back, composed.
#[derive(Clone, PartialEq, Eq)]
pub struct Letter {
    /// The row.
    pub id: String,
    /// What carries it.
    pub carrier: Carrier,
    /// Our identifier's namespace.
    pub system: String,
    /// Our identifier.
    pub value: String,
    /// The patient's logical id.
    pub patient: String,
    /// When the message was sent, a FHIR instant in UTC; for searches by patient and time.
    pub sent: Option<Timestamp>,
    /// What is to be done.
    pub deed: Deed,
    /// What could not be carried, JSON.
    pub loss: String,
    /// An earlier try may have reached the EHR.
    pub unclear: bool,
    /// Tries so far, this one included.
    pub tries: i64,
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

/// How a try ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// What becomes of the row.
    pub settlement: Settlement,
    /// What it means for others.
    pub signal: Signal,
}

/// Brings one write-back to the EHR.
pub async fn push<C: Chart>(chart: &C, contract: &Contract, letter: &Letter, clock: &dyn Clock) -> Pushed {
    let (Some(resource_type), Some(terms), Some(body)) =
        (letter.carrier.resource_type(), contract.terms(letter.carrier), letter.deed.bytes())
    else {
        let why = format!("not-taken: nothing here writes by {}", letter.carrier.as_str());
        return Pushed { settlement: Settlement::Refused { why }, signal: Signal::Fine };
    };
    let try_ = Try { chart, contract, terms, resource_type, body, letter, clock };
    if letter.unclear {
        return try_.settle_first().await;
    }
    if !terms.creates_conditionally()
        && let Some(finder) = terms.finder()
    {
        // A row that is owed is not in the chart by all we know; a database that was restored from a backup may know less.
        match try_.look(finder).await {
            Ok(Sighting::Once(found)) => return try_.written(found),
            Ok(Sighting::Several(n)) => return try_.doubled(n),
            Ok(Sighting::Absent | Sighting::Doubtful) | Err(SearchFailed::Refused(_)) => {}
            Err(failed) => return try_.search_failed(failed),
        }
    }
    try_.create().await
}

struct Try<'a, C> {
    chart: &'a C,
    contract: &'a Contract,
    terms: &'a Terms,
    resource_type: &'a str,
    body: &'a [u8],
    letter: &'a Letter,
    clock: &'a dyn Clock,
}

impl<C: Chart> Try<'_, C> {
    /// An unclear one: searched for, and created only where it is certainly not there.
    async fn settle_first(&self) -> Pushed {
        let Some(finder) = self.terms.finder() else {
            return self.parked("no-search: this EHR has no search that could tell whether an earlier try arrived");
        };
        match self.look(finder).await {
            Ok(Sighting::Once(found)) => self.written(found),
            Ok(Sighting::Several(n)) => self.doubled(n),
            Ok(Sighting::Absent) => self.create().await,
            Ok(Sighting::Doubtful) => self.parked(
                "search-not-trusted: the EHR's search does not apply our identifier, so it cannot tell whether an earlier try arrived",
            ),
            Err(SearchFailed::Refused(why)) => {
                self.parked(&format!("search-refused: {why}; so it cannot be told whether an earlier try arrived"))
            }
            Err(failed) => self.search_failed(failed),
        }
    }

    async fn create(&self) -> Pushed {
        let condition = self.terms.creates_conditionally().then(|| self.condition());
        match self.chart.create(self.resource_type, self.body.to_vec(), condition.as_deref()).await {
            Created::Stored(remote) if remote.id.is_some() => self.written(remote),
            // Stored, and the answer does not say under which id.
            Created::Stored(remote) => match self.look_anywhere().await {
                Some(Sighting::Once(found)) => self.written(found),
                Some(Sighting::Several(n)) => self.doubled(n),
                _ => self.written(remote),
            },
            Created::Existing(remote) => self.existing(remote).await,
            Created::Unclear(why) => self.unknown(&why),
            Created::Throttled(asked) => {
                let at = self.later(asked);
                self.ended(Settlement::Again { at, why: "throttled: the EHR asks to come back later".to_owned() }, Signal::Pause(at))
            }
            Created::Conflict(why) => self.conflict(&why),
            Created::SeveralMatch => match self.look_anywhere().await {
                Some(Sighting::Once(found)) => self.written(found),
                Some(Sighting::Several(n)) => self.doubled(n),
                // Some answer 412 to whatever they cannot evaluate.
                _ => self.conflict("http-412"),
            },
            Created::Refused(why) => self.ended(Settlement::Refused { why }, Signal::Fine),
            Created::Halted(why) => self.put_back(why),
        }
    }

    /// The condition matched. It must be ours that it matched: a server may not understand the condition and match anything.
    async fn existing(&self, told: Remote) -> Pushed {
        // Where it cannot be looked for, the server's word is all there is.
        let Some(finder) = self.terms.finder() else { return self.written(told) };
        match self.look(finder).await {
            Ok(Sighting::Once(found)) => self.written(found),
            Ok(Sighting::Several(n)) => self.doubled(n),
            Ok(Sighting::Absent) => self.unknown("condition-hit: the EHR says that it is there, and its search does not find it yet"),
            Ok(Sighting::Doubtful) => {
                self.parked("condition-hit: the EHR says that it is there, and its search cannot be trusted to show that it is this one")
            }
            Err(_) => self.unknown("condition-hit: the EHR says that it is there, and the search for it failed"),
        }
    }

    async fn look(&self, finder: Finder) -> Result<Sighting, SearchFailed> {
        let found = self.chart.search(self.resource_type, &self.query(finder)).await?;
        Ok(sight(&found, finder, &self.letter.system, &self.letter.value))
    }

    async fn look_anywhere(&self) -> Option<Sighting> {
        self.look(self.terms.finder()?).await.ok()
    }

    fn query(&self, finder: Finder) -> Vec<(&'static str, String)> {
        let patient = ("patient", format!("Patient/{}", self.letter.patient));
        let ours = ("identifier", token(&self.letter.system, &self.letter.value));
        match finder {
            Finder::Identifier => vec![ours],
            Finder::PatientIdentifier => vec![patient, ours],
            Finder::Patient | Finder::InboxReceived => vec![patient],
            Finder::PatientSent => [vec![patient], self.around("sent")].concat(),
            Finder::PatientDate => [vec![patient], self.around("date")].concat(),
        }
    }

    /// A window around the time of sending; servers round instants, and a second each way covers that.
    fn around(&self, parameter: &'static str) -> Vec<(&'static str, String)> {
        let second = chrono::TimeDelta::seconds(1);
        let text = |t: Timestamp| t.to_utc().to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
        self.letter.sent.map_or_else(Vec::new, |sent| {
            vec![(parameter, format!("ge{}", text(sent.plus(-second)))), (parameter, format!("le{}", text(sent.plus(second))))]
        })
    }

    fn condition(&self) -> String {
        format!("identifier={}", percent_encoded(&token(&self.letter.system, &self.letter.value)))
    }

    fn written(&self, remote: Remote) -> Pushed {
        let loss = self.letter.loss.clone();
        self.ended(Settlement::Written { remote_id: remote.id, version: remote.version, loss, differences: None }, Signal::Fine)
    }

    fn doubled(&self, times: usize) -> Pushed {
        tracing::error!(write_back = %self.letter.id, times, "a write-back is in the EHR more than once; have one of them marked as entered in error");
        self.ended(Settlement::Refused { why: format!("found-twice: it is in the EHR {times} times") }, Signal::Fine)
    }

    fn unknown(&self, why: &str) -> Pushed {
        let at = after_settling(self.clock.now(), &self.letter.id, self.contract.settle_delay());
        self.ended(Settlement::Unknown { at, why: why.to_owned() }, Signal::Trouble)
    }

    fn conflict(&self, why: &str) -> Pushed {
        if self.letter.tries >= CONFLICTS {
            let why = format!("{why}: the EHR refused it {CONFLICTS} times as a conflict");
            return self.ended(Settlement::Refused { why }, Signal::Fine);
        }
        self.ended(
            Settlement::Again { at: self.later(None), why: format!("{why}: the EHR says that it conflicts with another change") },
            Signal::Fine,
        )
    }

    fn parked(&self, why: &str) -> Pushed {
        self.ended(Settlement::Parked { why: why.to_owned() }, Signal::Fine)
    }

    fn put_back(&self, why: String) -> Pushed {
        self.ended(Settlement::PutBack { at: self.clock.now(), unclear: self.letter.unclear }, Signal::Halt(why))
    }

    /// A search failed before anything was created: the row stays what it was.
    fn search_failed(&self, failed: SearchFailed) -> Pushed {
        let (at, why, signal) = match failed {
            SearchFailed::Halted(why) => return self.put_back(why),
            SearchFailed::Throttled(asked) => {
                let at = self.later(asked);
                (at, "throttled: the EHR asks to come back later".to_owned(), Signal::Pause(at))
            }
            SearchFailed::Later(why) | SearchFailed::Refused(why) => (self.later(None), why, Signal::Trouble),
        };
        let settlement = if self.letter.unclear { Settlement::Unknown { at, why } } else { Settlement::Again { at, why } };
        self.ended(settlement, signal)
    }

    fn later(&self, asked: Option<std::time::Duration>) -> Timestamp {
        backoff(self.clock.now(), &self.letter.id, self.letter.tries, asked)
    }

    fn ended(&self, settlement: Settlement, signal: Signal) -> Pushed {
        Pushed { settlement, signal }
    }
}

/// A token search value; `\`, `|`, `,` and `$` of the parts are escaped (R4 search, 3.1.1.4.0.2).
fn token(system: &str, value: &str) -> String {
    let escaped = |text: &str| {
        text.chars().fold(String::new(), |mut out, c| {
            if matches!(c, '\\' | '|' | ',' | '$') {
                out.push('\\');
            }
            out.push(c);
            out
        })
    };
    format!("{}|{}", escaped(system), escaped(value))
}

/// For a header that holds a query: `:`, `/` and `|` stay as the specification's own example has them, since not every server decodes
/// them; what would end or change the query does not.
fn percent_encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, b| {
        if b.is_ascii_alphanumeric() || b"-._~:/|\\".contains(&b) {
            out.push(char::from(b));
        } else {
            out.push_str(&format!("%{b:02X}"));
        }
        out
    })
}
