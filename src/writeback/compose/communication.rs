//! A Communication as R4 means it, within what one EHR takes.

use typed::codes::{PROFILE_COMMUNICATION, Term, category};
use typed::{Communication, CommunicationStatus, Concept, Identifier, Payload, Reference};

use super::account::{Account, instant};
use super::{ComposeError, Composed, Loss, Site, Subject, Telling, Told, Unfit, cut, with_mark};
use crate::writeback::contract::{Carrier, Content, Contract, Element, KeyPlace, Party, Status};
use crate::writeback::deed::Deed;
use crate::writeback::key::mark;
use crate::writeback::meaning::medium;

/// Fewer characters of a topic beside our mark tell a reader nothing: the mark goes into the payload then.
const LEAST_TOPIC: usize = 20;

pub(super) fn compose(subject: &Subject<'_>, account: &Account, site: &Site, contract: &Contract) -> Result<Composed, Unfit> {
    fits(subject, account, contract)?;
    let a = subject.attempt;
    let patient = format!("Patient/{}", subject.patient);
    let mut fit = Fit { contract, losses: account.losses.clone() };
    let (sender, recipient) = fit.parties(subject, site, &patient)?;
    let about: Vec<String> = a.about.iter().cloned().collect();
    let plan: Vec<String> = about.iter().filter(|r| r.starts_with("CarePlan/")).cloned().collect();
    let (part_of, in_response_to) = fit.earlier(&subject.telling);
    let is_answer = matches!(subject.telling, Telling::Answer { .. });
    let sent = account.at.map(instant);
    let mut text = account.text.clone();
    let mut communication = Communication {
        identifier: fit.identifier(site, subject.key),
        based_on: fit.list(Element::BasedOn, plan),
        part_of,
        in_response_to,
        status_reason: fit.one(Element::StatusReason, account.reason.clone()),
        category: fit.category(account.category),
        medium: fit.list(Element::Medium, vec![medium(account.channel.as_deref().unwrap_or_default(), contract.shape.medium_codes)]),
        subject: Some(patient),
        topic: fit.topic(&account.topic, subject.key, &mut text)?,
        about: fit.list(Element::About, about),
        received: fit.one(Element::Received, sent.clone().filter(|_| is_answer)),
        sent: fit.one(Element::Sent, sent),
        recipient: vec![recipient],
        sender: Some(sender),
        reason_code: fit.list(Element::ReasonCode, account.barriers.clone()),
        payload: vec![fit.payload(&text)],
        note: fit.notes(&account.notes),
        ..Communication::new(coded(account.status))
    };
    communication.profile = fit.profile(&communication, site);
    let deed = Deed::Create { bytes: typed::communication(&communication)? };
    Ok(Composed { carrier: Carrier::Communication, deed, at: account.at, losses: fit.losses })
}

/// Whether it can be said truthfully at all.
fn fits(subject: &Subject<'_>, account: &Account, contract: &Contract) -> Result<(), Unfit> {
    if matches!(subject.telling, Telling::Note { .. }) {
        return Err(Unfit::next("Communication", "a day's note is a document"));
    }
    let needs_action = matches!(subject.telling, Telling::Answer { answer, .. } if answer.needs_action);
    if contract.writes.only_answers_that_need_action && !needs_action {
        return Err(Unfit::next("Communication", "there it would be an item in somebody's inbox, and nobody has to act on it"));
    }
    let shape = &contract.shape;
    if !shape.statuses.contains(&account.status) {
        let code = account.status.as_str();
        let why = format!("this EHR takes no Communication with status {code}");
        return Err(Unfit::Next(Loss::of("Communication.status", why), ComposeError::Status(code)));
    }
    if shape.sender == Party::Patient && !matches!(subject.telling, Telling::Answer { .. }) {
        return Err(Unfit::next("Communication.sender", "this EHR takes only Communications that the patient sent"));
    }
    if account.status == Status::Completed && account.at.is_none() {
        return Err(ComposeError::NeverSent.into());
    }
    Ok(())
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

    fn lose(&mut self, element: &str, why: impl Into<String>) {
        self.losses.push(Loss::of(element, why));
    }

    /// Whether our key stands in a text, since nothing else is kept.
    fn has_mark(&self) -> bool {
        self.contract.communication.key == KeyPlace::Text || !self.contract.takes(Element::Identifier)
    }

    fn identifier(&mut self, site: &Site, key: &str) -> Vec<Identifier> {
        if self.has_mark() {
            self.lose("identifier", "this EHR does not keep it; our key stands in a text");
            return Vec::new();
        }
        vec![Identifier { system: site.identifier_system.clone(), value: key.to_owned() }]
    }

    /// Sender and recipient.
    fn parties(&mut self, subject: &Subject<'_>, site: &Site, patient: &str) -> Result<(Reference, Reference), ComposeError> {
        let shape = &self.contract.shape;
        let Telling::Answer { .. } = subject.telling else {
            if shape.recipient != Party::Patient {
                self.lose("recipient", "this EHR gives it to staff; the text says who was written to");
            }
            return Ok((site.party(&shape.sender, patient, "sender")?, site.party(&shape.recipient, patient, "recipient")?));
        };
        let sender = if shape.patient_may_send {
            Reference::to(patient)
        } else {
            self.lose("sender", "the patient cannot stand as the sender here; the text says who answered");
            site.party(&shape.sender, patient, "sender")?
        };
        // Where originals go to the patient, answers come to us.
        let recipient =
            if shape.recipient == Party::Patient { site.gateway() } else { site.party(&shape.recipient, patient, "recipient")? };
        Ok((sender, recipient))
    }

    /// What it corrects, and what it answers.
    fn earlier(&mut self, telling: &Telling<'_>) -> (Vec<String>, Vec<String>) {
        match telling {
            Telling::Correction { original } => {
                let corrected = original.and_then(Told::reference);
                if corrected.is_none() {
                    self.lose("partOf", "the entry that it corrects is no resource of this EHR by all we know");
                }
                (self.list(Element::PartOf, corrected.into_iter().collect()), Vec::new())
            }
            Telling::Answer { original, .. } => {
                let answered = original.filter(|told| told.carrier == Carrier::Communication).and_then(Told::reference);
                if answered.is_none() {
                    self.lose("inResponseTo", "what it answers is not a Communication of this EHR");
                }
                (Vec::new(), self.list(Element::InResponseTo, answered.into_iter().collect()))
            }
            Telling::Original | Telling::Note { .. } | Telling::StatusChange { .. } | Telling::Provenance { .. } => {
                (Vec::new(), Vec::new())
            }
        }
    }

    fn category(&mut self, meant: Term) -> Vec<Concept> {
        let taken = &self.contract.shape.categories;
        let known = |term: Term| taken.iter().any(|c| c.as_str() == term.code);
        if known(meant) {
            return vec![meant.into()];
        }
        let instead = known(category::NOTIFICATION).then_some(category::NOTIFICATION);
        let what = if instead.is_some() { "; it is a notification there" } else { "" };
        self.lose("category", format!("this EHR does not know {}{what}", meant.code));
        instead.map(Concept::from).into_iter().collect()
    }

    /// The topic, with our mark where it lives in a text; where a topic has no room for it, it goes into the payload.
    fn topic(&mut self, topic: &Concept, key: &str, text: &mut String) -> Result<Option<Concept>, ComposeError> {
        let limits = &self.contract.shape.limits;
        let mut words = topic.text.clone().unwrap_or_default();
        let room = mark(key).chars().count() + LEAST_TOPIC;
        let in_topic = self.has_mark() && self.contract.takes(Element::Topic) && limits.topic >= room;
        let mut shortened = false;
        if in_topic {
            (words, shortened) = with_mark(&words, key, limits.topic, " ")?;
        } else if let Some(shorter) = cut(&words, limits.topic) {
            (words, shortened) = (shorter, true);
        }
        if shortened {
            self.lose("topic.text", format!("cut to {} characters", limits.topic));
        }
        if self.has_mark() && !in_topic {
            let marked = with_mark(text, key, limits.payload, "\n")?;
            if marked.1 {
                self.lose("payload", format!("cut to {} characters", limits.payload));
            }
            *text = marked.0;
        }
        let coding = self.list(Element::TopicCode, topic.coding.clone());
        Ok(self.one(Element::Topic, Some(Concept { coding, text: Some(words) })))
    }

    fn payload(&mut self, text: &str) -> Payload {
        let limit = self.contract.shape.limits.payload;
        let shorter = cut(text, limit);
        if shorter.is_some() {
            self.lose("payload", format!("cut to {limit} characters"));
        }
        let text = shorter.unwrap_or_else(|| text.to_owned());
        match self.contract.shape.content {
            Content::String => Payload::Text(text),
            Content::Attachment => {
                Payload::Attachment { content_type: "text/plain; charset=utf-8".to_owned(), data: text.into_bytes(), title: None }
            }
        }
    }

    fn notes(&mut self, notes: &[String]) -> Vec<String> {
        let limit = self.contract.shape.limits.note;
        let notes = self.list(Element::Note, notes.to_vec());
        let shorter: Vec<String> = notes.iter().map(|n| cut(n, limit).unwrap_or_else(|| n.clone())).collect();
        if shorter != notes {
            self.lose("note", format!("cut to {limit} characters"));
        }
        shorter
    }

    /// The profile, where it is fulfilled: what was left out may be what it asks for.
    fn profile(&mut self, c: &Communication, site: &Site) -> Vec<String> {
        let profile = self.list(Element::Profile, site.profile(PROFILE_COMMUNICATION));
        let has_reason = c.status_reason.is_some() || !matches!(c.status, CommunicationStatus::Stopped | CommunicationStatus::NotDone);
        let has_sent = c.sent.is_some() || (c.status != CommunicationStatus::Completed && c.received.is_none());
        let full = !c.identifier.is_empty() && !c.category.is_empty() && !c.medium.is_empty() && has_reason && has_sent;
        if full || profile.is_empty() {
            return profile;
        }
        self.lose("meta.profile", "what was left out is asked for by the profile");
        Vec::new()
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
