//! Shapes what is to be told of an attempt to a contract: what is to be done in the EHR, and what could not be carried. Pure: no store, no
//! clock, no EHR.
//!
//! Each write-back goes by the first carrier of the contract's chain that can carry it truthfully. What a carrier does not take is left
//! out and told as a [`Loss`]; what would make a resource say something untrue goes by the next carrier, and is refused after the last.

mod account;
mod communication;
mod correction;
mod document;
mod export;
mod provenance;
mod route;
mod status_change;
mod subject;

use domain::Timestamp;
use serde::{Deserialize, Serialize};
use typed::codes::ATTEMPT_SYSTEM;
use typed::{Invalid, Reference, printable};

use super::contract::{Carrier, Contract, Party};
use super::deed::Deed;
use account::Account;
pub use subject::{Subject, Telling, Told};

pub(super) use route::check as check_route;

/// Who writes: the same for all write-backs of an installation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// The practice's name, as patients and staff know it.
    pub name: String,
    /// The namespace of our keys, an absolute URI. Must never change once something was written: it is what is searched for.
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

    /// The profile that the resources of this site claim, where they fulfil it: the profiles fix the namespace of the identifier.
    fn profile(&self, url: &str) -> Vec<String> {
        if self.identifier_system == ATTEMPT_SYSTEM { vec![url.to_owned()] } else { Vec::new() }
    }

    /// This gateway, which sends in the practice's name. Known by name only: no EHR has a resource for it unless somebody made one.
    fn gateway(&self) -> Reference {
        let name = printable(&self.name).map_or_else(|| "fhir-engage".to_owned(), |name| format!("{name} (fhir-engage)"));
        Reference::named("Device", name)
    }

    /// A party of a contract; `setting` is the key of the write-back settings that names it.
    fn party(&self, party: &Party, patient: &str, setting: &'static str) -> Result<Reference, ComposeError> {
        match party {
            Party::Patient => Ok(Reference::to(patient)),
            Party::Gateway => Ok(self.gateway()),
            Party::Configured(Some(reference)) => Ok(Reference::to(reference)),
            Party::Configured(None) => Err(ComposeError::NotConfigured(setting)),
        }
    }
}

/// Something that this EHR's chart will not show.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss {
    /// The element, as FHIR writes it; or the resource type or carrier, where all of it is meant.
    pub element: String,
    /// Why, in words without patient data.
    pub why: String,
}

impl Loss {
    fn of(element: &str, why: impl Into<String>) -> Self {
        Self { element: element.to_owned(), why: why.into() }
    }
}

/// A write-back, ready to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Composed {
    /// What carries it.
    pub carrier: Carrier,
    /// What is to be done.
    pub deed: Deed,
    /// The instant that it bears (`sent`, or a document's `date`): for searches by patient and time.
    pub at: Option<Timestamp>,
    /// What could not be carried.
    pub losses: Vec<Loss>,
}

/// Why nothing could be composed. For a person: the row is refused with it, and refusals are grouped by the first word.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ComposeError {
    /// It has no outcome.
    #[error("not-finished: the attempt has no outcome to tell")]
    NotFinished,
    /// `completed` without `sent` would be a lie or break the profile.
    #[error("never-sent: the attempt has no time of sending")]
    NeverSent,
    /// Nothing of the contract's chain takes such a status.
    #[error("status-not-taken: this EHR takes no Communication with status {0}, and nothing else of the chain carries it")]
    Status(&'static str),
    /// Nothing of the contract's chain can carry it.
    #[error("not-taken: {0}")]
    NotTaken(String),
    /// A setting is missing.
    #[error("not-configured: {0} is not set in this EHR's write-back settings")]
    NotConfigured(&'static str),
    /// The contract's longest text has no room for our key.
    #[error("no-room-for-key: the contract's limits are too low to hold the key by which it is found again")]
    NoRoom,
    /// The site's template does not make a body. The kind of fault only: a message of the engine may quote a value.
    #[error("route-template: {0}")]
    Route(String),
    /// The Appointment's status is not to be changed so.
    #[error("status-change-not-taken: {0}")]
    StatusChange(&'static str),
    /// A value that R4 does not take.
    #[error("not-r4: {0}")]
    Invalid(#[from] Invalid),
}

/// Why one carrier does not carry it.
enum Unfit {
    /// It could not do so truthfully, or at all: the next one is tried. What is told where the next one does, and where none does.
    Next(Loss, ComposeError),
    /// No other one would help.
    Error(ComposeError),
}

impl Unfit {
    fn next(element: &str, why: &str) -> Self {
        Self::Next(Loss::of(element, why), ComposeError::NotTaken(why.to_owned()))
    }
}

impl From<ComposeError> for Unfit {
    fn from(error: ComposeError) -> Self {
        Self::Error(error)
    }
}

impl From<Invalid> for Unfit {
    fn from(error: Invalid) -> Self {
        Self::Error(error.into())
    }
}

/// Composes one write-back.
///
/// # Errors
/// [`ComposeError`], where nothing true and valid can be said.
pub fn compose(subject: &Subject<'_>, site: &Site, contract: &Contract) -> Result<Composed, ComposeError> {
    if let Telling::StatusChange { answer } = subject.telling {
        return status_change::compose(subject, answer, contract);
    }
    if let Telling::Provenance { of, recorded } = subject.telling {
        return provenance::compose(subject, of, recorded, site, contract);
    }
    let account = Account::of(subject, contract)?;
    if let Telling::Correction { original: Some(told) } = subject.telling
        && let Some(composed) = correction::in_place(told, &account, contract)
    {
        return Ok(composed);
    }
    let mut passed = Vec::new();
    let mut first = None;
    for carrier in &contract.chain {
        let form = match carrier {
            Carrier::Communication => communication::compose(subject, &account, site, contract),
            Carrier::DocumentReference => document::compose(subject, &account, site, contract),
            Carrier::Route => route::compose(subject, &account, contract),
            Carrier::Export => export::compose(subject, &account, site, contract, &passed),
            Carrier::Ledger => Ok(keep(&passed)),
            Carrier::Appointment => Err(Unfit::next("Appointment", "a chain cannot hold a change of an Appointment's status")),
            Carrier::Provenance => {
                Err(Unfit::next("Provenance", "a chain cannot hold a Provenance, which is of something that was written"))
            }
        };
        match form {
            Ok(composed) => return Ok(Composed { losses: [passed, composed.losses].concat(), ..composed }),
            Err(Unfit::Next(loss, error)) => {
                passed.push(loss);
                first.get_or_insert(error);
            }
            Err(Unfit::Error(error)) => return Err(error),
        }
    }
    Err(first.unwrap_or_else(|| ComposeError::NotTaken("this EHR takes no Communication, and nothing else that could carry it".to_owned())))
}

fn keep(passed: &[Loss]) -> Composed {
    let why = passed.first().map_or_else(|| "The contract keeps it there.".to_owned(), |l| format!("The chart cannot hold it: {}.", l.why));
    Composed { carrier: Carrier::Ledger, deed: Deed::Keep { why }, at: None, losses: Vec::new() }
}

/// A text cut at a word to so many characters.
fn cut(text: &str, limit: usize) -> Option<String> {
    if text.chars().count() <= limit {
        return None;
    }
    let kept: String = text.chars().take(limit.saturating_sub(1)).collect();
    let word = kept.rfind(char::is_whitespace).and_then(|end| kept.get(..end)).map(str::trim_end).filter(|k| k.len() * 2 > kept.len());
    Some(format!("{}…", word.unwrap_or(&kept)))
}

/// A text that ends with our mark, within a limit; what was cut is told.
fn with_mark(text: &str, key: &str, limit: usize, separator: &str) -> Result<(String, bool), ComposeError> {
    let mark = super::key::mark(key);
    let room = limit.checked_sub(mark.chars().count() + separator.chars().count()).filter(|n| *n > 0).ok_or(ComposeError::NoRoom)?;
    let shorter = cut(text, room);
    Ok((format!("{}{separator}{mark}", shorter.as_deref().unwrap_or(text)), shorter.is_some()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_at_a_word_and_keep_the_mark() {
        assert_eq!(cut("to be or not", 12), None);
        assert_eq!(cut("to be or not", 11).as_deref(), Some("to be or…"));
        assert_eq!(cut("to bééééééééé", 8).as_deref(), Some("to bééé…"));
        assert_eq!(cut("x", 0).as_deref(), Some("…"));
        assert_eq!(with_mark("Confirm the visit", "a1", 60, " "), Ok(("Confirm the visit [fhir-engage a1]".to_owned(), false)));
        assert_eq!(with_mark("Confirm the visit", "a1", 30, " "), Ok(("Confirm the… [fhir-engage a1]".to_owned(), true)));
        assert_eq!(with_mark("Confirm the visit", "a1", 16, " "), Err(ComposeError::NoRoom));
    }
}
