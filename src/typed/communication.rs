//! Communication (R4, hl7.org/fhir/R4/communication.html): what the write-back puts into a chart.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fhirbolt::model::r4::{Resource, resources, types};

use crate::check;
use crate::datatypes::{Concept, Identifier, Reference, concept, each, identifier, literal, meta, opt, reference};
use crate::invalid::{Invalid, Problem};
use crate::render;

/// `Communication.recipient` takes these.
const RECIPIENTS: &[&str] =
    &["Device", "Organization", "Patient", "Practitioner", "PractitionerRole", "RelatedPerson", "Group", "CareTeam", "HealthcareService"];
/// `Communication.sender` takes these.
const SENDERS: &[&str] = &["Device", "Organization", "Patient", "Practitioner", "PractitionerRole", "RelatedPerson", "HealthcareService"];
/// Any resource type.
const ANY: &[&str] = &[];

/// `Communication.status` (required binding `event-status`). A write-back is made once, at a terminal status; `InProgress` is for
/// servers that take updates. `preparation` and `on-hold` stay in the ledger and are not offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CommunicationStatus {
    /// Begun and not yet done.
    InProgress,
    /// Delivered or handed over.
    Completed,
    /// Never begun; say why in the status reason.
    NotDone,
    /// Begun and given up; say why in the status reason.
    Stopped,
    /// Track was lost; not "other".
    Unknown,
    /// Should not have been written.
    EnteredInError,
}

impl CommunicationStatus {
    /// The code as FHIR writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InProgress => "in-progress",
            Self::Completed => "completed",
            Self::NotDone => "not-done",
            Self::Stopped => "stopped",
            Self::Unknown => "unknown",
            Self::EnteredInError => "entered-in-error",
        }
    }
}

/// `Communication.priority` (required binding `request-priority`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Priority {
    /// Normal.
    Routine,
    /// Before routine ones.
    Urgent,
    /// As soon as possible.
    Asap,
    /// At once.
    Stat,
}

impl Priority {
    /// The code as FHIR writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Routine => "routine",
            Self::Urgent => "urgent",
            Self::Asap => "asap",
            Self::Stat => "stat",
        }
    }
}

/// One part of what was said (`payload.content[x]`). `Debug` shows the kind only.
#[derive(Clone, PartialEq, Eq)]
pub enum Payload {
    /// `contentString`.
    Text(String),
    /// `contentAttachment` with inline data.
    Attachment {
        /// Media type, such as `text/plain; charset=utf-8`.
        content_type: String,
        /// The bytes; base64 is made of them.
        data: Vec<u8>,
        /// A label for a reader.
        title: Option<String>,
    },
    /// `contentReference`: a literal reference to any resource.
    Reference(String),
}

impl std::fmt::Debug for Payload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Text(_) => "Text([redacted])",
            Self::Attachment { .. } => "Attachment([redacted])",
            Self::Reference(_) => "Reference([redacted])",
        })
    }
}

/// A Communication to be. Nothing is mandatory in R4 but the status; what a profile or an EHR's contract wants is the caller's to know,
/// and what it does not take is left empty. Texts are as R4 wants them: `sent` and `received` are dateTimes with a zone.
#[derive(Clone, PartialEq, Eq)]
pub struct Communication {
    /// `meta.profile`: canonical URLs.
    pub profile: Vec<String>,
    /// Our business identifier, where the server takes one.
    pub identifier: Vec<Identifier>,
    /// Orders or plans that this fulfils: any resource.
    pub based_on: Vec<String>,
    /// What this is a part of, such as a thread: any resource.
    pub part_of: Vec<String>,
    /// The Communications that this answers.
    pub in_response_to: Vec<String>,
    /// The status.
    pub status: CommunicationStatus,
    /// Why it has that status.
    pub status_reason: Option<Concept>,
    /// The kind of message; [`crate::codes::category`].
    pub category: Vec<Concept>,
    /// How urgent it was.
    pub priority: Option<Priority>,
    /// The channel; [`crate::codes::medium`].
    pub medium: Vec<Concept>,
    /// The Patient, or Group, it is about.
    pub subject: Option<String>,
    /// The purpose, like a subject line; [`crate::codes::topic`].
    pub topic: Option<Concept>,
    /// What it concerns, such as the Appointment: any resource.
    pub about: Vec<String>,
    /// The Encounter it belongs to.
    pub encounter: Option<String>,
    /// When it was sent.
    pub sent: Option<String>,
    /// When it arrived.
    pub received: Option<String>,
    /// To whom.
    pub recipient: Vec<Reference>,
    /// By whom.
    pub sender: Option<Reference>,
    /// Why it was made; on a patient's answer the barrier that the patient named ([`crate::codes::barrier`]).
    pub reason_code: Vec<Concept>,
    /// What was said.
    pub payload: Vec<Payload>,
    /// Remarks, as Markdown.
    pub note: Vec<String>,
}

impl Communication {
    /// A Communication with a status and nothing else.
    #[must_use]
    pub const fn new(status: CommunicationStatus) -> Self {
        Self {
            profile: Vec::new(),
            identifier: Vec::new(),
            based_on: Vec::new(),
            part_of: Vec::new(),
            in_response_to: Vec::new(),
            status,
            status_reason: None,
            category: Vec::new(),
            priority: None,
            medium: Vec::new(),
            subject: None,
            topic: None,
            about: Vec::new(),
            encounter: None,
            sent: None,
            received: None,
            recipient: Vec::new(),
            sender: None,
            reason_code: Vec::new(),
            payload: Vec::new(),
            note: Vec::new(),
        }
    }
}

impl std::fmt::Debug for Communication {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Communication").field("status", &self.status).field("payload", &self.payload).finish_non_exhaustive()
    }
}

/// Renders a Communication as R4 JSON.
///
/// # Errors
/// [`Invalid`] at the first element that cannot be valid R4.
pub fn communication(from: &Communication) -> Result<Vec<u8>, Invalid> {
    let strings = |element: &str, list: &[String], allowed: &'static [&'static str]| {
        each(element, list, |e, text: &String| literal(e, text, allowed))
    };
    let concepts = |element: &str, list: &[Concept]| each(element, list, concept);
    let boxed = |element: &str, from: &Option<Concept>| opt(from.as_ref(), |c| concept(element, c)).map(|c| c.map(Box::new));
    let time = |element: &str, from: &Option<String>| opt(from.as_deref(), |t| check::date_time(element, t)).map(|t| t.map(Into::into));
    let resource = resources::Communication {
        meta: meta("Communication.meta", &from.profile)?,
        identifier: each("Communication.identifier", &from.identifier, identifier)?,
        based_on: strings("Communication.basedOn", &from.based_on, ANY)?,
        part_of: strings("Communication.partOf", &from.part_of, ANY)?,
        in_response_to: strings("Communication.inResponseTo", &from.in_response_to, &["Communication"])?,
        status: from.status.as_str().into(),
        status_reason: boxed("Communication.statusReason", &from.status_reason)?,
        category: concepts("Communication.category", &from.category)?,
        priority: from.priority.map(|p| p.as_str().into()),
        medium: concepts("Communication.medium", &from.medium)?,
        subject: opt(from.subject.as_deref(), |s| literal("Communication.subject", s, &["Patient", "Group"]))?.map(Box::new),
        topic: boxed("Communication.topic", &from.topic)?,
        about: strings("Communication.about", &from.about, ANY)?,
        encounter: opt(from.encounter.as_deref(), |s| literal("Communication.encounter", s, &["Encounter"]))?.map(Box::new),
        sent: time("Communication.sent", &from.sent)?,
        received: time("Communication.received", &from.received)?,
        recipient: each("Communication.recipient", &from.recipient, |e, r| reference(e, r, RECIPIENTS))?,
        sender: opt(from.sender.as_ref(), |r| reference("Communication.sender", r, SENDERS))?.map(Box::new),
        reason_code: concepts("Communication.reasonCode", &from.reason_code)?,
        payload: each("Communication.payload", &from.payload, payload)?,
        note: each("Communication.note", &from.note, |e, text: &String| annotation(e, text))?,
        ..Default::default()
    };
    render(&Resource::Communication(Box::new(resource)))
}

fn payload(element: &str, from: &Payload) -> Result<resources::CommunicationPayload, Invalid> {
    let content = match from {
        Payload::Text(text) => {
            resources::CommunicationPayloadContent::String(check::string(&format!("{element}.contentString"), text)?.into())
        }
        Payload::Attachment { content_type, data, title } => {
            let element = format!("{element}.contentAttachment");
            if data.is_empty() {
                return Err(Invalid::new(format!("{element}.data"), Problem::Empty));
            }
            resources::CommunicationPayloadContent::Attachment(Box::new(types::Attachment {
                content_type: Some(check::media_type(&format!("{element}.contentType"), content_type)?.into()),
                data: Some(STANDARD.encode(data).into()),
                title: opt(title.as_deref(), |t| check::string(&format!("{element}.title"), t))?.map(Into::into),
                ..Default::default()
            }))
        }
        Payload::Reference(to) => {
            resources::CommunicationPayloadContent::Reference(Box::new(literal(&format!("{element}.contentReference"), to, ANY)?))
        }
    };
    Ok(resources::CommunicationPayload { content, ..Default::default() })
}

fn annotation(element: &str, text: &str) -> Result<types::Annotation, Invalid> {
    let text = check::string(&format!("{element}.text"), text)?;
    Ok(types::Annotation { text: text.into(), ..Default::default() })
}
