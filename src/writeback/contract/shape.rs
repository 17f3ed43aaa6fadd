//! What a resource may hold at one EHR: statuses, elements, parties, payload, lengths. Data only.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// A status that a server takes in `Communication.status` at creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Delivered or handed over.
    Completed,
    /// Begun and given up.
    Stopped,
    /// Never begun.
    NotDone,
    /// Track was lost.
    Unknown,
    /// Should not have been written.
    EnteredInError,
}

impl Status {
    /// The code as FHIR writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Stopped => "stopped",
            Self::NotDone => "not-done",
            Self::Unknown => "unknown",
            Self::EnteredInError => "entered-in-error",
        }
    }
}

/// An element that some servers do not take. What is not listed here (status, subject, recipient, sender, category) all of them need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Element {
    /// `meta.profile`.
    Profile,
    /// `identifier`: our key.
    Identifier,
    /// `statusReason`.
    StatusReason,
    /// `medium`.
    Medium,
    /// `topic`.
    Topic,
    /// `topic.coding`; without it the topic is its text.
    TopicCode,
    /// `about`.
    About,
    /// `basedOn`.
    BasedOn,
    /// `partOf`.
    PartOf,
    /// `inResponseTo`.
    InResponseTo,
    /// `sent`.
    Sent,
    /// `received`.
    Received,
    /// `reasonCode`.
    ReasonCode,
    /// `note`.
    Note,
}

impl Element {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Profile,
        Self::Identifier,
        Self::StatusReason,
        Self::Medium,
        Self::Topic,
        Self::TopicCode,
        Self::About,
        Self::BasedOn,
        Self::PartOf,
        Self::InResponseTo,
        Self::Sent,
        Self::Received,
        Self::ReasonCode,
        Self::Note,
    ];

    /// The element as FHIR writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Profile => "meta.profile",
            Self::Identifier => "identifier",
            Self::StatusReason => "statusReason",
            Self::Medium => "medium",
            Self::Topic => "topic",
            Self::TopicCode => "topic.coding",
            Self::About => "about",
            Self::BasedOn => "basedOn",
            Self::PartOf => "partOf",
            Self::InResponseTo => "inResponseTo",
            Self::Sent => "sent",
            Self::Received => "received",
            Self::ReasonCode => "reasonCode",
            Self::Note => "note",
        }
    }
}

/// How much of a message goes into the chart (45 CFR 164.502(b), minimum necessary).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PayloadShape {
    /// The words that were sent.
    Text,
    /// One sentence: what the patient was asked, and which template asked it.
    #[default]
    Summary,
    /// The template's id.
    Template,
}

/// How `medium` names channels that R4's own copy of v3-ParticipationMode has no code for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MediumCodes {
    /// SMSWRIT, APPWRIT: HL7 Terminology 4.0.0 and later.
    #[default]
    Current,
    /// WRITTEN and a text: for servers that check codes against R4 4.0.1.
    R4,
}

/// How the payload is put into the resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Content {
    /// `contentString`.
    #[default]
    String,
    /// `contentAttachment`, text/plain in UTF-8, base64.
    Attachment,
}

/// Who stands in `sender`, `recipient` or `author`. Written as `patient`, `gateway`, `to-be-configured`, or as a reference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Party {
    /// The patient. As the sender: only what the patient sent is taken.
    Patient,
    /// This gateway, by name only: `Reference.display` with type Device.
    Gateway,
    /// A resource of the EHR that the operator names, such as `Practitioner/123` or `Group/7`. Absent: must be configured before anything
    /// can be written, and `ehr check` says so.
    Configured(Option<String>),
}

impl From<String> for Party {
    fn from(text: String) -> Self {
        match text.as_str() {
            "patient" => Self::Patient,
            "gateway" => Self::Gateway,
            "to-be-configured" => Self::Configured(None),
            _ => Self::Configured(Some(text)),
        }
    }
}

impl From<Party> for String {
    fn from(party: Party) -> Self {
        match party {
            Party::Patient => "patient".to_owned(),
            Party::Gateway => "gateway".to_owned(),
            Party::Configured(reference) => reference.unwrap_or_else(|| "to-be-configured".to_owned()),
        }
    }
}

/// `Communication.category` codes that a server takes (HL7's communication-category).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Category {
    /// Something to act on soon.
    Alert,
    /// For information.
    Notification,
    /// Of something that is to come.
    Reminder,
    /// What to do.
    Instruction,
}

impl Category {
    /// The code as FHIR writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Alert => "alert",
            Self::Notification => "notification",
            Self::Reminder => "reminder",
            Self::Instruction => "instruction",
        }
    }
}

/// Longest texts, in characters; what is longer is cut at a word and told as a loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Of the payload's text.
    pub payload: usize,
    /// Of `topic.text`.
    pub topic: usize,
    /// Of a note.
    pub note: usize,
}

impl Default for Limits {
    fn default() -> Self {
        // R4 strings end at 1 MB (datatypes.html#string); these are what a reader can use.
        Self { payload: 20_000, topic: 255, note: 4_000 }
    }
}

/// What a Communication may hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommunicationShape {
    /// Statuses that are taken at creation.
    pub statuses: BTreeSet<Status>,
    /// Elements that are taken.
    pub elements: BTreeSet<Element>,
    /// Categories that are taken; what has another one becomes a notification.
    pub categories: BTreeSet<Category>,
    /// Who receives it.
    pub recipient: Party,
    /// Who sends it; the patient's answers have the patient where the server takes that.
    pub sender: Party,
    /// Whether the patient may stand as the sender of an answer.
    pub patient_may_send: bool,
    /// How much of the message goes along.
    #[serde(default)]
    pub payload: PayloadShape,
    /// How it is put in.
    #[serde(default)]
    pub content: Content,
    /// How channels are coded.
    #[serde(default)]
    pub medium_codes: MediumCodes,
    /// Longest texts.
    #[serde(default)]
    pub limits: Limits,
}

impl CommunicationShape {
    /// Everything that R4 offers.
    #[must_use]
    pub fn full() -> Self {
        Self {
            statuses: [Status::Completed, Status::Stopped, Status::NotDone, Status::Unknown, Status::EnteredInError].into(),
            elements: Element::ALL.into(),
            categories: [Category::Alert, Category::Notification, Category::Reminder, Category::Instruction].into(),
            recipient: Party::Patient,
            sender: Party::Gateway,
            patient_may_send: true,
            payload: PayloadShape::Summary,
            content: Content::String,
            medium_codes: MediumCodes::Current,
            limits: Limits::default(),
        }
    }
}

/// What a DocumentReference holds: a clinical note after US Core's "writing clinical notes".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NoteShape {
    /// LOINC code of the kind of document.
    pub loinc: String,
    /// Its name.
    pub title: String,
    /// Whether `identifier` is kept.
    pub identifier: bool,
    /// Who wrote it.
    pub author: Party,
    /// Longest text, in characters.
    pub limit: usize,
}

impl Default for NoteShape {
    fn default() -> Self {
        Self {
            // Administrative note: see `typed::codes::document` for why this one.
            loinc: typed::codes::document::ADMINISTRATIVE_NOTE.code.to_owned(),
            title: "Patient outreach".to_owned(),
            identifier: true,
            author: Party::Gateway,
            limit: 100_000,
        }
    }
}

/// A route that the site declared for what FHIR cannot carry: one request to one address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// The address, a template over `{patient}`, `{key}`.
    pub url: String,
    /// Media type of the body.
    pub content_type: String,
    /// The body, a template (minijinja) over `patient`, `key`, `kind`, `status`, `sent`, `channel`, `title`, `summary`. `{{ title|json }}` is
    /// a JSON string with its quotation marks; what is sent as JSON must be JSON. It must hold `{{ key }}`.
    pub body: String,
    /// Where a bearer token is: `env:NAME` or `file:PATH`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bearer: Option<String>,
    /// HTTP statuses that mean that it was taken.
    pub success: BTreeSet<u16>,
    /// JSON pointer to the id in the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id_at: Option<String>,
    /// An address to `GET` that finds it again, a template over the same; our key is looked for in the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub find: Option<String>,
    /// JSON pointer to what was found, in the answer of `find`: our key must stand in it. Without it, `id_at` must lead to a value there. An
    /// answer that only repeats the question shows nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found_at: Option<String>,
}

impl Route {
    /// Where it puts and finds things, in short: told apart from another place without saying which.
    #[must_use]
    pub fn mark(&self) -> String {
        let place = format!("{} {}", self.url, self.find.as_deref().unwrap_or_default());
        format!("route {}", blake3::hash(place.as_bytes()).to_hex().chars().take(16).collect::<String>())
    }
}

/// Which changes of an Appointment's status are taken for a patient's answer. Never one that means arrival.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatusChange {
    /// Switched on by the site.
    pub enabled: bool,
    /// Statuses from which a confirmed visit becomes `booked`.
    pub confirm_from: BTreeSet<String>,
    /// Statuses from which a cancelled visit becomes `cancelled`.
    pub cancel_from: BTreeSet<String>,
}

impl StatusChange {
    /// Whether a status is one before the visit: from any other one nothing is changed, and none of those that mean arrival is ever set.
    #[must_use]
    pub fn is_before_visit(status: &str) -> bool {
        matches!(status, "proposed" | "pending" | "booked" | "waitlist")
    }

    /// R4's own statuses that come before a visit; off.
    #[must_use]
    pub fn full() -> Self {
        let set = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
        Self {
            enabled: false,
            confirm_from: set(&["proposed", "pending"]),
            cancel_from: set(&["proposed", "pending", "booked", "waitlist"]),
        }
    }
}
