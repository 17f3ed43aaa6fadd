//! Shapes a finished attempt to a contract: the Communication's bytes, and what could not be carried. Pure: no store, no clock, no EHR.
//!
//! What a contract does not take is left out and told as a [`Loss`]; what would make the resource say something untrue is refused.

use chrono::{NaiveDate, SecondsFormat};
use domain::Timestamp;
use serde::{Deserialize, Serialize};
use typed::codes::{ATTEMPT_SYSTEM, PROFILE_COMMUNICATION};
use typed::{Communication, CommunicationStatus, Concept, Identifier, Invalid, Payload, Reference, printable};

use super::contract::{Carrier, Contract, Element, PayloadShape, Status};
use super::deed::Deed;
use super::meaning::{Meaning, meaning, medium};
use super::status::{failure_code, status};
use crate::store::answers::Answer;
use crate::store::attempts::Attempt;

/// Who writes: the same for all write-backs of an installation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// The practice's name, as patients and staff know it.
    pub name: String,
    /// The namespace of attempt ids, an absolute URI. Must never change once something was written: it is what is searched for.
    pub identifier_system: String,
    /// The zone of the practice's clocks: a note's day and its lines are told in it.
    pub zone: chrono_tz::Tz,
}

impl Site {
    /// A site with the default namespace.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned(), identifier_system: ATTEMPT_SYSTEM.to_owned(), zone: chrono_tz::Tz::UTC }
    }
}

/// Where something that we wrote is in the EHR.
#[derive(Clone, PartialEq, Eq)]
pub struct Told {
    /// What carried it.
    pub carrier: Carrier,
    /// Its logical id; the file's name for an export.
    pub id: String,
    /// Its version, where it is known.
    pub version: Option<String>,
}

/// What is to be told of an attempt.
#[derive(Clone, Copy)]
pub enum Telling<'a> {
    /// How it went.
    Original,
    /// What the patient answered.
    Answer {
        /// The answer.
        answer: &'a Answer,
        /// Its words, where they are kept.
        text: Option<&'a str>,
        /// Where the original is, where it was written.
        original: Option<&'a Told>,
    },
    /// That what was told is not true any more: a late bounce. The attempt is as it is now.
    Correction {
        /// Where the original is, where it was written.
        original: Option<&'a Told>,
        /// What was sent then, where it is kept.
        kept: Option<&'a [u8]>,
    },
    /// One note of a day's attempts.
    Note {
        /// The day, by the practice's clock.
        day: NaiveDate,
        /// The attempts, in the order in which they were sent.
        attempts: &'a [Attempt],
    },
    /// That the status of the Appointment is to change, as the patient asked for.
    StatusChange {
        /// The answer that asks for it.
        answer: &'a Answer,
    },
}

/// What a write-back is made from. It has no `Debug`: it holds a patient's words.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    /// The finished attempt.
    pub attempt: &'a Attempt,
    /// The patient's logical id in the EHR.
    pub patient: &'a str,
    /// The words that were sent; needed only where the contract wants them.
    pub message: Option<&'a str>,
    /// The write-back's key, unique within the site's namespace: by it it is found again.
    pub key: &'a str,
    /// What is to be told.
    pub telling: Telling<'a>,
}

/// Something that this EHR's chart will not show.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss {
    /// The element, as FHIR writes it.
    pub element: String,
    /// Why, in words without patient data.
    pub why: String,
}

/// A write-back, ready to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Composed {
    /// What carries it.
    pub carrier: Carrier,
    /// What is to be done.
    pub deed: Deed,
    /// What could not be carried.
    pub losses: Vec<Loss>,
}

/// Why nothing could be composed. For a person: the row is refused with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ComposeError {
    /// It has no outcome.
    #[error("not-finished: the attempt has no outcome to tell")]
    NotFinished,
    /// `completed` without `sent` would be a lie or break the profile.
    #[error("never-sent: the attempt has no time of sending")]
    NeverSent,
    /// The contract takes no such status.
    #[error("status-not-taken: this EHR takes no Communication with status {0}")]
    Status(&'static str),
    /// Nothing of the contract's chain can carry it.
    #[error("not-taken: this EHR takes no Communication")]
    NotTaken,
    /// A value that R4 does not take.
    #[error("not-r4: {0}")]
    Invalid(#[from] Invalid),
}

/// Composes one Communication.
///
/// # Errors
/// [`ComposeError`], where nothing true and valid can be said.
pub fn compose(subject: &Subject<'_>, site: &Site, contract: &Contract) -> Result<Composed, ComposeError> {
    let a = subject.attempt;
    if !matches!(subject.telling, Telling::Original) {
        return Err(ComposeError::NotTaken);
    }
    let (code, reason) = status(a).ok_or(ComposeError::NotFinished)?;
    if !contract.chain.contains(&Carrier::Communication) {
        return Err(ComposeError::NotTaken);
    }
    if !contract.shape.statuses.contains(&code) {
        return Err(ComposeError::Status(code.as_str()));
    }
    if code == Status::Completed && a.sent_at.is_none() {
        return Err(ComposeError::NeverSent);
    }
    let meaning = meaning(&a.action);
    let patient = format!("Patient/{}", subject.patient);
    let about: Vec<String> = a.about.iter().cloned().collect();
    let plan: Vec<String> = about.iter().filter(|r| r.starts_with("CarePlan/")).cloned().collect();
    let mut fit = Fit { contract, losses: Vec::new() };
    let communication = Communication {
        // The profile fixes the namespace of the identifier.
        profile: if site.identifier_system == ATTEMPT_SYSTEM {
            fit.list(Element::Profile, vec![PROFILE_COMMUNICATION.to_owned()])
        } else {
            Vec::new()
        },
        identifier: fit
            .list(Element::Identifier, vec![Identifier { system: site.identifier_system.clone(), value: subject.key.to_owned() }]),
        based_on: fit.list(Element::BasedOn, plan),
        status_reason: fit.one(Element::StatusReason, reason),
        category: vec![meaning.category.into()],
        medium: fit.list(Element::Medium, vec![medium(a.channel.as_deref().unwrap_or_default(), contract.shape.medium_codes)]),
        subject: Some(patient.clone()),
        topic: fit.topic(meaning.topic()),
        about: fit.list(Element::About, about),
        sent: fit.one(Element::Sent, a.sent_at.map(instant)),
        recipient: vec![Reference::to(patient)],
        sender: Some(sender(site)),
        payload: fit.payload(subject, &meaning),
        note: fit.list(Element::Note, notes(a)),
        ..Communication::new(coded(code))
    };
    let deed = Deed::Create { bytes: typed::communication(&communication)? };
    Ok(Composed { carrier: Carrier::Communication, deed, losses: fit.losses })
}

/// Leaves out what the contract does not take, and remembers it.
struct Fit<'a> {
    contract: &'a Contract,
    losses: Vec<Loss>,
}

impl Fit<'_> {
    fn list<T>(&mut self, element: Element, values: Vec<T>) -> Vec<T> {
        if values.is_empty() || self.contract.takes(element) {
            return values;
        }
        self.lose(element.as_str(), "this EHR does not take it");
        Vec::new()
    }

    fn one<T>(&mut self, element: Element, value: Option<T>) -> Option<T> {
        self.list(element, value.into_iter().collect()).pop()
    }

    fn topic(&mut self, topic: Concept) -> Option<Concept> {
        let coding = self.list(Element::TopicCode, topic.coding);
        self.one(Element::Topic, Some(Concept { coding, ..topic }))
    }

    fn payload(&mut self, subject: &Subject<'_>, meaning: &Meaning) -> Vec<Payload> {
        let a = subject.attempt;
        let text = match self.contract.shape.payload {
            PayloadShape::Template => template(a),
            PayloadShape::Summary => summary(a, meaning),
            PayloadShape::Text => match subject.message.and_then(printable) {
                Some(words) => words,
                None => {
                    self.lose("payload", "the words that were sent are not kept; a summary stands in their place");
                    summary(a, meaning)
                }
            },
        };
        vec![Payload::Text(text)]
    }

    fn lose(&mut self, element: &str, why: &str) {
        self.losses.push(Loss { element: element.to_owned(), why: why.to_owned() });
    }
}

const fn coded(status: Status) -> CommunicationStatus {
    match status {
        Status::Completed => CommunicationStatus::Completed,
        Status::Stopped => CommunicationStatus::Stopped,
        Status::NotDone => CommunicationStatus::NotDone,
        Status::Unknown => CommunicationStatus::Unknown,
        Status::EnteredInError => CommunicationStatus::EnteredInError,
    }
}

/// A machine sent it, in the practice's name. Known by name only: no EHR has a resource for it unless somebody made one.
fn sender(site: &Site) -> Reference {
    let name = printable(&site.name).map_or_else(|| "fhir-engage".to_owned(), |name| format!("{name} (fhir-engage)"));
    Reference::named("Device", name)
}

/// A FHIR instant in whole milliseconds: what every server keeps.
fn instant(micros: i64) -> String {
    Timestamp::from_micros(micros).to_utc().to_rfc3339_opts(SecondsFormat::Millis, true)
}

fn template(a: &Attempt) -> String {
    format!("Template {}, program {}, step {}.", a.template, a.program, a.step)
}

fn summary(a: &Attempt, meaning: &Meaning) -> String {
    let language = a.language.as_deref().map(|l| format!(" (language {l})")).unwrap_or_default();
    format!("The patient was asked {}{language}. {}", meaning.asked, template(a))
}

fn notes(a: &Attempt) -> Vec<String> {
    let mut notes = Vec::new();
    if a.channel.as_deref() == Some("recorded") {
        notes.push("Recorded, not sent: the step went through the recorded channel, and no message left this installation.".to_owned());
    }
    if a.outcome.as_deref() == Some("answered") {
        notes.push("The patient answered.".to_owned());
    }
    if let Some(code) = failure_code(a).filter(|_| a.outcome.as_deref() == Some("failed")).and_then(printable) {
        notes.push(format!("The channel said: {code}"));
    }
    notes
}
