//! The probe of conditional create on a named test patient: a statement is no proof, since a server may ignore `If-None-Exist` without a word
//! and then a chart holds a message twice. One Communication that says that it is a test is created twice under one condition, and what
//! comes of it is counted by search. What it leaves is marked as entered in error where the server lets it be changed.

use chrono::SecondsFormat;
use domain::{Clock, Timestamp};
use serde::Serialize;
use typed::codes::category;
use typed::{Communication, CommunicationStatus, Concept, Identifier, Payload, Reference, printable};

use super::chart::{Chart, Created, SearchFailed};
use super::compose::Site;
use super::contract::{Carrier, Contract, Party};
use super::deed::Deed;
use super::find::{condition, token};
use super::push::{Letter, push};
use super::route::Ways;
use super::settle::{Sighting, sight};
use crate::store::writebacks::Settlement;

const TYPE: &str = "Communication";
const WORDS: &str = "Test of fhir-engage on a test patient. No message was sent.";

/// What a probe found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Probed {
    /// Whether `If-None-Exist` created nothing where one was; `None` where it cannot be told.
    pub conditional_create: Option<bool>,
    /// Why not, or why it cannot be told, in words.
    pub why: Option<String>,
    /// Test Communications that are marked as entered in error.
    pub marked: Vec<String>,
    /// Test Communications that could not be marked: a person may do so.
    pub left: Vec<String>,
}

/// Probes conditional create of Communications. `patient` is the logical id of a test patient; `key` must be new with each probe. `contract` is
/// the one before anything was proved.
pub async fn probe<C: Chart>(chart: &C, contract: &Contract, site: &Site, patient: &str, key: &str, clock: &dyn Clock) -> Probed {
    let probe = Probe { chart, contract, site, patient, key, now: clock.now() };
    let mut ids = Vec::new();
    let mut probed = match probe.run(&mut ids).await {
        Ok(true) => Probed { conditional_create: Some(true), ..Probed::default() },
        Ok(false) => {
            let why = "If-None-Exist is ignored: what was there already was created again".to_owned();
            Probed { conditional_create: Some(false), why: Some(why), ..Probed::default() }
        }
        Err(why) => Probed { why: Some(why), ..Probed::default() },
    };
    ids.sort();
    ids.dedup();
    for id in ids {
        let marked = contract.communication.update && probe.mark(&id, clock).await;
        if marked { probed.marked.push(id) } else { probed.left.push(id) }
    }
    probed
}

struct Probe<'a, C> {
    chart: &'a C,
    contract: &'a Contract,
    site: &'a Site,
    patient: &'a str,
    key: &'a str,
    now: Timestamp,
}

impl<C: Chart> Probe<'_, C> {
    /// Whether the condition holds; what was created is put into `ids`, whatever comes of it.
    async fn run(&self, ids: &mut Vec<String>) -> Result<bool, String> {
        let terms = &self.contract.communication;
        let finder = terms.finder().filter(|f| f.asks_for_our_key());
        let (true, Some(finder)) = (terms.creates_conditionally() && self.contract.chain.contains(&Carrier::Communication), finder) else {
            return Err("the EHR states no conditional create of Communications, or no search by identifier to count by".to_owned());
        };
        let body = self.body()?;
        self.create(&body, ids, "the first create").await?;
        match self.count(finder).await? {
            Sighting::Once(_) => {}
            Sighting::Several(n) => return Err(format!("the first create is there {n} times")),
            Sighting::Absent => return Err("the EHR's search does not show yet what was created; probe again later".to_owned()),
            Sighting::Doubtful => return Err("the EHR's search does not apply our identifier, so nothing can be counted".to_owned()),
        }
        let told_existing = !self.create(&body, ids, "the second create").await?;
        match self.count(finder).await? {
            Sighting::Once(_) if told_existing => Ok(true),
            Sighting::Once(_) => Err("the EHR says that it created it again, and its search shows one; probe again later".to_owned()),
            Sighting::Several(_) => Ok(false),
            Sighting::Absent | Sighting::Doubtful => Err("the EHR's search does not show any more what was created".to_owned()),
        }
    }

    /// One create; whether something new was stored.
    async fn create(&self, body: &[u8], ids: &mut Vec<String>, which: &str) -> Result<bool, String> {
        let condition = condition(&self.site.identifier_system, self.key);
        let (new, remote) = match self.chart.create(TYPE, body.to_vec(), Some(&condition)).await {
            Created::Stored(remote) => (true, remote),
            Created::Existing(remote) => (false, remote),
            Created::SeveralMatch => return Ok(false),
            Created::Unclear(why) | Created::Conflict(why) | Created::Refused(why) | Created::Halted(why) => {
                return Err(format!("{which} did not succeed: {why}"));
            }
            Created::Throttled(_) => return Err(format!("{which} was throttled; probe again later")),
        };
        ids.extend(remote.id);
        Ok(new)
    }

    async fn count(&self, finder: super::contract::Finder) -> Result<Sighting, String> {
        let mut params = vec![("identifier", token(&self.site.identifier_system, self.key))];
        if finder.params().contains(&"patient") {
            params.insert(0, ("patient", format!("Patient/{}", self.patient)));
        }
        match self.chart.search(TYPE, &params).await {
            Ok(found) => Ok(sight(&found, finder, &self.site.identifier_system, self.key)),
            Err(SearchFailed::Throttled(_)) => Err("the search was throttled; probe again later".to_owned()),
            Err(SearchFailed::Later(why) | SearchFailed::Refused(why) | SearchFailed::Halted(why)) => {
                Err(format!("the search failed: {why}"))
            }
        }
    }

    /// A message to nobody that says what it is.
    fn body(&self) -> Result<Vec<u8>, String> {
        let patient = format!("Patient/{}", self.patient);
        let name = printable(&self.site.name).map_or_else(|| "fhir-engage".to_owned(), |name| format!("{name} (fhir-engage)"));
        let party = |party: &Party| match party {
            Party::Patient => Reference::to(patient.clone()),
            Party::Configured(Some(reference)) => Reference::to(reference.clone()),
            Party::Gateway | Party::Configured(None) => Reference::named("Device", name.clone()),
        };
        let communication = Communication {
            identifier: vec![Identifier { system: self.site.identifier_system.clone(), value: self.key.to_owned() }],
            category: vec![category::NOTIFICATION.into()],
            topic: Some(Concept { text: Some("Test of fhir-engage".to_owned()), ..Concept::default() }),
            subject: Some(patient.clone()),
            sent: Some(self.now.to_utc().to_rfc3339_opts(SecondsFormat::Millis, true)),
            recipient: vec![party(&self.contract.shape.recipient)],
            sender: Some(party(&self.contract.shape.sender)),
            payload: vec![Payload::Text(WORDS.to_owned())],
            ..Communication::new(CommunicationStatus::Completed)
        };
        typed::communication(&communication).map_err(|error| format!("the test Communication cannot be made: {error}"))
    }

    async fn mark(&self, id: &str, clock: &dyn Clock) -> bool {
        let letter = Letter {
            id: self.key.to_owned(),
            carrier: Carrier::Communication,
            tried: None,
            put_as: None,
            system: self.site.identifier_system.clone(),
            value: self.key.to_owned(),
            patient: self.patient.to_owned(),
            sent: None,
            since: self.now,
            deed: Deed::EnteredInError { id: id.to_owned(), why: WORDS.to_owned() },
            loss: "[]".to_owned(),
            unclear: false,
            tries: 1,
            unanswered: 0,
        };
        let pushed = push(self.chart, self.contract, &Ways::default(), &letter, clock).await;
        matches!(pushed.settlement, Settlement::Written { .. })
    }
}
