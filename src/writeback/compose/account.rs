//! What is said, before it takes a form: the same words and times for whichever carrier.

use chrono::{NaiveDate, SecondsFormat, TimeZone as _};
use chrono_tz::Tz;
use domain::Timestamp;
use typed::codes::{Term, category};
use typed::{Concept, printable};

use super::{ComposeError, Loss, Subject, Telling};
use crate::store::answers::Answer;
use crate::store::attempts::Attempt;
use crate::writeback::contract::{Contract, PayloadShape, Status};
use crate::writeback::key::unmarked;
use crate::writeback::meaning::{Meaning, answered, channel_words, meaning};
use crate::writeback::status::{failure_code, status};

/// What is said.
pub(super) struct Account {
    /// How it ended.
    pub status: Status,
    /// Why it ended so.
    pub reason: Option<Concept>,
    /// The kind of message.
    pub category: Term,
    /// The purpose, like a subject line.
    pub topic: Concept,
    /// The channel; absent for a note of several.
    pub channel: Option<String>,
    /// When it was sent, or came.
    pub at: Option<Timestamp>,
    /// For how long it reaches, where it tells of several.
    pub until: Option<Timestamp>,
    /// The words, as much as the contract wants, for a form that has its own elements for the rest.
    pub text: String,
    /// How it ended, in a sentence, for a form that has only words.
    pub ended: String,
    /// Remarks.
    pub notes: Vec<String>,
    /// The barriers that the patient named.
    pub barriers: Vec<Concept>,
    /// What is not said, whatever the form.
    pub losses: Vec<Loss>,
}

impl Account {
    /// What is to be told.
    pub fn of(subject: &Subject<'_>, contract: &Contract) -> Result<Self, ComposeError> {
        match subject.telling {
            Telling::Original => original(subject, contract.shape.payload),
            Telling::Answer { answer, text, .. } => Ok(answer_to(subject, answer, text, contract)),
            Telling::Correction { .. } => correction(subject),
            Telling::Note { day, zone, attempts } => note(&format!("{} on {day}", clean(&contract.note.title)), day, zone, attempts),
            Telling::StatusChange { .. } => Err(ComposeError::StatusChange("it is no text")),
            Telling::Provenance { .. } => Err(ComposeError::NotTaken("a Provenance is no text".to_owned())),
        }
    }

    /// The topic in words.
    pub fn title(&self) -> &str {
        self.topic.text.as_deref().unwrap_or("Patient outreach")
    }

    /// Everything in words, for a form that has nothing else.
    pub fn in_words(&self) -> String {
        let when = self.channel.as_deref().map(|c| match self.at {
            Some(at) => format!("{}, {} UTC. ", channel_words(c), at.to_utc().format("%Y-%m-%d %H:%M")),
            None => format!("{}. ", channel_words(c)),
        });
        let first = format!("{}{}", when.unwrap_or_default(), self.ended);
        let parts = [first, self.text.clone()].into_iter().chain(self.notes.iter().cloned()).filter(|p| !p.trim().is_empty());
        parts.map(|p| p.trim().to_owned()).collect::<Vec<_>>().join("\n")
    }
}

/// A FHIR instant in whole milliseconds: what every server keeps.
pub(super) fn instant(at: Timestamp) -> String {
    at.to_utc().to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// A text of others as it may stand in ours.
fn clean(text: &str) -> String {
    printable(text).map(|t| unmarked(&t)).unwrap_or_default()
}

fn original(subject: &Subject<'_>, shape: PayloadShape) -> Result<Account, ComposeError> {
    let a = subject.attempt;
    let (status, reason) = status(a).ok_or(ComposeError::NotFinished)?;
    let meaning = meaning(&a.action);
    let mut losses = Vec::new();
    let text = match (shape, subject.message.map(clean).filter(|m| !m.is_empty())) {
        (PayloadShape::Template, _) => template(a),
        (PayloadShape::Summary, _) => summary(a, &meaning),
        (PayloadShape::Text, Some(words)) => words,
        (PayloadShape::Text, None) => {
            losses.push(Loss::of("payload", "the words that were sent are not kept; a summary stands in their place"));
            summary(a, &meaning)
        }
    };
    Ok(Account {
        status,
        ended: ended(a, reason.as_ref()),
        reason,
        category: meaning.category,
        topic: meaning.topic(),
        channel: Some(clean(a.channel.as_deref().unwrap_or_default())),
        at: a.sent_at.map(Timestamp::from_micros),
        until: None,
        text,
        notes: notes(a),
        barriers: Vec::new(),
        losses,
    })
}

/// The channel tells when an answer came. That is also the best that is known of when it was sent; the one instant stands for both.
fn answer_to(subject: &Subject<'_>, answer: &Answer, text: Option<&str>, contract: &Contract) -> Account {
    let a = subject.attempt;
    let (phrase, barrier) = answered(&answer.meaning, answer.barrier.as_deref(), a.about.as_deref());
    let words = text.map(clean).filter(|w| !w.is_empty());
    let urgent = if answer.needs_action { " Somebody has to act on it." } else { "" };
    let said = format!("The patient, who was asked {}, {phrase}.{urgent}", meaning(&a.action).asked);
    let hidden = if answer.meaning == "free-text" { " The words are in the outreach record." } else { "" };
    let mut losses = Vec::new();
    let body = match (contract.shape.payload, words) {
        (PayloadShape::Text, Some(words)) if contract.shape.patient_may_send => words,
        (PayloadShape::Text, Some(words)) => format!("{said}\nThe patient's words: {words}"),
        (PayloadShape::Text, None) => {
            losses.push(Loss::of("payload", "the patient's words are not kept; a summary stands in their place"));
            said
        }
        (PayloadShape::Summary, _) => format!("{said}{hidden} {}", template(a)),
        (PayloadShape::Template, _) => format!("Answer {} to: {}", clean(&answer.meaning), template(a)),
    };
    let by = (answer.recorded_by != answer.channel).then(|| format!("Entered by: {}", clean(&answer.recorded_by)));
    Account {
        status: Status::Completed,
        reason: None,
        category: category::NOTIFICATION,
        topic: Concept::text(format!("Answer: the patient {phrase}")),
        channel: Some(clean(&answer.channel)),
        at: Some(Timestamp::from_micros(answer.received_at)),
        until: None,
        text: body,
        ended: format!("The patient {phrase}."),
        notes: by.into_iter().collect(),
        barriers: barrier.map(Concept::from).into_iter().collect(),
        losses,
    }
}

fn correction(subject: &Subject<'_>) -> Result<Account, ComposeError> {
    let now = original(subject, PayloadShape::Summary)?;
    let title = format!("Correction: {}", now.title());
    let text = format!("An earlier entry on this message is not true any more. {} {}", now.ended, now.text);
    Ok(Account { topic: Concept { text: Some(title), ..now.topic }, text, ended: String::new(), ..now })
}

/// One line an attempt, in the order of the patient's own day.
fn note(title: &str, day: NaiveDate, zone: Tz, attempts: &[Attempt]) -> Result<Account, ComposeError> {
    let at = |a: &Attempt| a.sent_at.or(a.finished_at).unwrap_or(a.due_at);
    let mut sorted: Vec<&Attempt> = attempts.iter().collect();
    sorted.sort_by_key(|a| (at(a), a.id.as_str()));
    let mut lines = Vec::new();
    for a in &sorted {
        let (_, reason) = status(a).ok_or(ComposeError::NotFinished)?;
        let local = zone.from_utc_datetime(&Timestamp::from_micros(at(a)).to_utc().naive_utc());
        let (channel, asked) = (channel_words(a.channel.as_deref().unwrap_or_default()), meaning(&a.action).asked);
        // One whose receipt was waited for was sent on an earlier day.
        let when = local.format(if local.date_naive() == day { "%H:%M" } else { "%Y-%m-%d %H:%M" });
        lines.push(format!("{when} {channel}: the patient was asked {asked}. {}", ended(a, reason.as_ref())));
    }
    let (Some(first), Some(last)) = (sorted.first(), sorted.last()) else { return Err(ComposeError::NotFinished) };
    Ok(Account {
        status: Status::Completed,
        reason: None,
        category: category::NOTIFICATION,
        topic: Concept::text(title),
        channel: None,
        at: Some(Timestamp::from_micros(at(first))),
        until: Some(Timestamp::from_micros(at(last))),
        text: lines.join("\n"),
        ended: String::new(),
        notes: vec![format!("Times are those of {zone}.")],
        barriers: Vec::new(),
        losses: Vec::new(),
    })
}

fn template(a: &Attempt) -> String {
    if a.template.is_empty() {
        return "Entered by hand by staff.".to_owned();
    }
    format!("Template {}, program {}, step {}.", clean(&a.template), clean(&a.program), clean(&a.step))
}

fn summary(a: &Attempt, meaning: &Meaning) -> String {
    let language = a.language.as_deref().map(clean).filter(|l| !l.is_empty()).map(|l| format!(" (language {l})")).unwrap_or_default();
    format!("The patient was asked {}{language}. {}", meaning.asked, template(a))
}

/// How a finished attempt ended, in a sentence.
fn ended(a: &Attempt, reason: Option<&Concept>) -> String {
    let recorded = a.channel.as_deref() == Some("recorded");
    match a.outcome.as_deref() {
        // What staff did needs no delivery.
        Some("delivered") if a.template.is_empty() => format!("{}.", meaning(&a.action).topic().text.unwrap_or_default()),
        Some("delivered") if recorded => "It was recorded; nothing was sent.".to_owned(),
        Some("delivered") => "It was delivered.".to_owned(),
        Some("answered") => "The patient answered.".to_owned(),
        Some("failed") => {
            let words: Vec<&str> = reason.iter().flat_map(|r| &r.coding).filter_map(|c| c.display.as_deref()).collect();
            if words.is_empty() { "It was not delivered.".to_owned() } else { format!("It was not delivered: {}.", words.join(", ")) }
        }
        _ if a.settle_by.is_some() => "It was sent; whether it arrived is not known.".to_owned(),
        _ => "Whether it was sent is not known.".to_owned(),
    }
}

fn notes(a: &Attempt) -> Vec<String> {
    let mut notes = Vec::new();
    if a.channel.as_deref() == Some("recorded") {
        notes.push("Recorded, not sent: the step went through the recorded channel, and no message left this installation.".to_owned());
    }
    if a.outcome.as_deref() == Some("answered") {
        notes.push("The patient answered.".to_owned());
    }
    if let Some(code) = failure_code(a).filter(|_| a.outcome.as_deref() == Some("failed")).map(clean).filter(|c| !c.is_empty()) {
        notes.push(format!("The channel said: {code}"));
    }
    notes
}
