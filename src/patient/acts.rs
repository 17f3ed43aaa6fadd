//! What staff does for a patient. Each act is one transaction: it claims its form's key, does what it does, and appends its row to the audit
//! chain. So a form that is sent twice acts once, and nothing is done that the chain does not tell.

use domain::Timestamp;
use domain::model::Phi;

use super::journey::STOPPED;
use super::look::Seen;
use super::{Subject, words};
use crate::outreach::barrier::Barrier;
use crate::outreach::by_hand::{self, Hand};
use crate::outreach::channel::ChannelKind;
use crate::outreach::ledger::KeptReason;
use crate::outreach::owing::Owing;
use crate::outreach::program::Library;
use crate::store::attempts::{self, Attempt, Verdict};
use crate::store::people::{self, Record};
use crate::store::{Conn, Store, StoreError, audit, form_keys, preferences};

/// Who acts.
#[derive(Clone, Debug)]
pub struct Actor {
    /// The user.
    pub who: String,
    /// As what, joined by commas.
    pub roles: String,
    /// The opening of the page.
    pub opening: String,
    /// The role that is told in the chart and to patients' records.
    pub role: String,
}

/// A form that was sent: whose patient it is about, who sent it, and its key.
#[derive(Clone, Debug)]
pub struct Signed {
    /// Whom it is about.
    pub subject: Subject,
    /// Who sent it.
    pub actor: Actor,
    /// The key that the form came with, within its opening.
    pub key: String,
}

impl Signed {
    /// The key as it is stored: of this opening only, and telling nothing of it.
    fn stored_key(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.actor.opening.as_bytes()).update(b"\0").update(self.key.as_bytes());
        hasher.finalize().to_hex().to_string()
    }
}

/// What became of an act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// It was done.
    Yes,
    /// It was done before, by the same form.
    Before,
    /// There is no such patient here yet.
    NoPatient,
    /// What it is about is not there, or does not wait any more.
    TooLate,
    /// The instant that was named lies in the past, or when it would be of no use.
    BadTime,
}

/// Runs an act: `does` returns what it was about, for the audit chain, or why it could not be.
fn run(
    conn: &mut Conn,
    form: &Signed,
    what: &'static str,
    now: Timestamp,
    does: impl FnOnce(&mut Conn, &Record) -> Result<Result<String, Done>, StoreError>,
) -> Result<Done, StoreError> {
    let key = form.stored_key();
    if !form_keys::claim(conn, &key, now)? {
        return Ok(Done::Before);
    }
    let record = people::record(conn, &form.subject.ehr, form.subject.id.expose())?;
    let done = match record {
        Some(record) => does(conn, &record)?,
        None => Err(Done::NoPatient),
    };
    match done {
        Ok(about) => {
            let entry = audit::Entry {
                at: now,
                who: form.actor.who.clone(),
                roles: form.actor.roles.clone(),
                what,
                patient: Some((form.subject.ehr.clone(), form.subject.id.clone())),
                opening: Some(form.actor.opening.clone()),
                about: Some(about),
                why: None,
            };
            audit::append(conn, &entry)?;
            Ok(Done::Yes)
        }
        Err(why) => {
            // Nothing was done: the same form may be tried again.
            form_keys::give_back(conn, &key)?;
            Ok(why)
        }
    }
}

/// An attempt of this person that waits, and that the page shows.
fn waiting(conn: &mut Conn, subject: &Subject, record: &Record, id: &str) -> Result<Option<Attempt>, StoreError> {
    let seen = Seen::of(conn, subject, record)?;
    let found = attempts::get(conn, id)?.filter(|a| a.person == record.person && seen.outreach(a.patient));
    Ok(found.filter(|a| matches!(a.state.as_str(), "planned" | "held")))
}

fn by_staff(code: &str, detail: String) -> Vec<u8> {
    serde_json::to_vec(&[KeptReason { code: code.to_owned(), detail, source: None }]).unwrap_or_default()
}

/// Stops what is planned. It is not planned again for this visit or entry.
///
/// # Errors
/// The engine's refusal; nothing was done then.
pub fn stop(conn: &mut Conn, form: &Signed, attempt: &str, now: Timestamp) -> Result<Done, StoreError> {
    run(conn, form, "stop-step", now, |conn, record| {
        let Some(a) = waiting(conn, &form.subject, record, attempt)? else { return Ok(Err(Done::TooLate)) };
        let reasons = by_staff(STOPPED, format!("stopped by staff ({})", form.actor.role));
        let verdict = Verdict { outcome: "refuse", hold_until: None, facts_as_of: None, reasons: &reasons };
        let done = attempts::stop(conn, &a.id, STOPPED, &verdict, now)?;
        Ok(if done { Ok(a.id) } else { Err(Done::TooLate) })
    })
}

/// Moves what is planned to another instant; the gate judges it then.
///
/// # Errors
/// The engine's refusal; nothing was done then.
pub fn reschedule(conn: &mut Conn, form: &Signed, attempt: &str, to: Timestamp, now: Timestamp) -> Result<Done, StoreError> {
    run(conn, form, "move-step", now, |conn, record| {
        let Some(a) = waiting(conn, &form.subject, record, attempt)? else { return Ok(Err(Done::TooLate)) };
        if to <= now || a.expires_at.is_some_and(|end| to.micros() >= end) {
            return Ok(Err(Done::BadTime));
        }
        let reasons = by_staff("moved-by-staff", format!("moved by staff ({})", form.actor.role));
        let verdict = Verdict { outcome: "hold", hold_until: Some(to), facts_as_of: None, reasons: &reasons };
        let done = attempts::hold(conn, &a.id, (to, false), &verdict, now)?;
        Ok(if done { Ok(a.id) } else { Err(Done::TooLate) })
    })
}

/// About what a choice is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    /// Everything.
    All,
    /// One channel.
    Channel(String),
    /// One program.
    Program(String),
}

impl About {
    /// Reads `all`, `channel:NAME` or `program:ID`, of those that there are.
    #[must_use]
    pub fn parse(text: &str, library: &Library) -> Option<Self> {
        match text.split_once(':') {
            None if text == "all" => Some(Self::All),
            Some(("channel", name)) => ChannelKind::parse(name).map(|k| Self::Channel(k.as_str().to_owned())),
            Some(("program", id)) => library.programs.iter().find(|p| p.id == id).map(|p| Self::Program(p.id.clone())),
            _ => None,
        }
    }
}

/// Records what the patient wants, by the word of staff.
///
/// # Errors
/// The engine's refusal; nothing was done then.
pub fn choose(conn: &mut Conn, form: &Signed, about: &About, allowed: bool, now: Timestamp) -> Result<Done, StoreError> {
    run(conn, form, "set-preference", now, |conn, record| {
        let (scope, value) = match about {
            About::All => ("all", ""),
            About::Channel(name) => ("channel", name.as_str()),
            About::Program(id) => ("program", id.as_str()),
        };
        preferences::record(conn, record.person, scope, value, allowed, "staff", now)?;
        let welcome = if allowed { "welcome" } else { "no messages" };
        Ok(Ok([scope, value, welcome].into_iter().filter(|t| !t.is_empty()).collect::<Vec<_>>().join(" ")))
    })
}

/// A call or a meeting, as staff enters it.
#[derive(Clone, Debug)]
pub struct Contacted {
    /// How it went.
    pub went: by_hand::Went,
    /// What the patient said.
    pub said: by_hand::Said,
    /// What staff wrote down.
    pub note: Option<Phi<String>>,
}

/// Enters a call or a meeting; what it owes to the chart is owed with it.
///
/// # Errors
/// The engine's refusal; nothing was done then.
pub fn contacted(
    conn: &mut Conn,
    store: &Store,
    (owing, status_changes): (&Owing, bool),
    form: &Signed,
    contact: &Contacted,
    id: &str,
    now: Timestamp,
) -> Result<Done, StoreError> {
    run(conn, form, "record-contact", now, |conn, record| {
        let contact = by_hand::Contact {
            went: contact.went,
            said: contact.said,
            note: contact.note.clone(),
            by: &format!("staff: {}", form.actor.role),
        };
        by_hand::contacted(conn, store, (owing, status_changes), record, &contact, (id, id), now)?;
        Ok(Ok(id.to_owned()))
    })
}

/// Plans a message; the next run of outreach judges and sends it.
///
/// # Errors
/// The engine's refusal; nothing was done then.
pub fn send(
    conn: &mut Conn,
    hand: &Hand<'_>,
    form: &Signed,
    choice: &by_hand::Choice,
    id: &str,
    now: Timestamp,
) -> Result<Done, StoreError> {
    run(conn, form, "send-message", now, |conn, record| {
        let planned = hand.plan(conn, record, choice, (id, id), now)?;
        Ok(planned.ok_or(Done::TooLate))
    })
}

/// Something that staff does for a patient.
#[derive(Clone, Debug)]
pub enum Act {
    /// Stop what is planned.
    Stop {
        /// Which.
        attempt: String,
    },
    /// Move what is planned.
    Move {
        /// Which.
        attempt: String,
        /// To when.
        to: Timestamp,
    },
    /// Say what the patient wants.
    Choose {
        /// About what.
        about: About,
        /// Messages are welcome.
        allowed: bool,
    },
    /// Enter a call or a meeting.
    Contact(Contacted),
    /// Send a message.
    Send(by_hand::Choice),
}

impl Act {
    /// Its transaction's name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Stop { .. } => "stop a step",
            Self::Move { .. } => "move a step",
            Self::Choose { .. } => "record a preference",
            Self::Contact(_) => "record a contact",
            Self::Send(_) => "plan a message by hand",
        }
    }
}

/// The barriers that a form offers: code and words.
#[must_use]
pub fn barrier_options() -> Vec<(&'static str, &'static str)> {
    Barrier::ALL.into_iter().map(|b| (b.as_str(), words::barrier(b.as_str()))).collect()
}
