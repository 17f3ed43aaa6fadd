//! A write-back contract: what one EHR takes, as data. A vendor's preset, narrowed by what the server states of itself, with the
//! operator's word on top. Knows what can be written and found again; how it is written is `push`'s, what is written is `compose`'s.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

/// What carries an attempt into the chart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Carrier {
    /// A Communication.
    Communication,
    /// Nothing: this EHR takes none.
    None,
}

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
    /// `about`.
    About,
    /// `basedOn`.
    BasedOn,
    /// `sent`.
    Sent,
    /// `note`.
    Note,
}

impl Element {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Profile,
        Self::Identifier,
        Self::StatusReason,
        Self::Medium,
        Self::Topic,
        Self::About,
        Self::BasedOn,
        Self::Sent,
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
            Self::About => "about",
            Self::BasedOn => "basedOn",
            Self::Sent => "sent",
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

/// A search that finds what was written by us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Finder {
    /// `identifier=system|value`.
    Identifier,
    /// `patient=...&sent=...`, and our identifier looked for in what comes back.
    PatientSent,
}

impl Finder {
    /// The search parameters that a server must know for it.
    #[must_use]
    pub const fn params(self) -> &'static [&'static str] {
        match self {
            Self::Identifier => &["identifier"],
            Self::PatientSent => &["patient", "sent"],
        }
    }
}

/// What one EHR takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contract {
    /// The preset it came from.
    pub preset: String,
    /// What carries an attempt.
    pub carrier: Carrier,
    /// Statuses that are taken.
    pub statuses: BTreeSet<Status>,
    /// Elements that are taken.
    pub elements: BTreeSet<Element>,
    /// How much of the message goes along.
    pub payload: PayloadShape,
    /// How channels are coded.
    pub medium_codes: MediumCodes,
    /// Whether `If-None-Exist` can be relied on to create nothing where our identifier is.
    pub conditional_create: bool,
    /// Searches that find it again, best first. Empty: what is unclear stays with a person.
    pub finders: Vec<Finder>,
    /// Seconds after which the server has certainly finished a request whose answer was lost. Only then is it searched for. Longer than
    /// the time-out of a request, since a server goes on working when its client has gone.
    pub settle_delay_secs: u32,
}

/// What a server states about Communication.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stated {
    /// `create` is advertised.
    pub create: bool,
    /// `search-type` is advertised.
    pub search: bool,
    /// `conditionalCreate` is true.
    pub conditional_create: bool,
    /// Its search parameters.
    pub search_params: BTreeSet<String>,
}

/// The operator's word on top of preset and statement.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Override {
    /// How much of the message goes along.
    pub payload: Option<PayloadShape>,
    /// How channels are coded.
    pub medium_codes: Option<MediumCodes>,
    /// Elements to leave out, since this server refuses them.
    pub leave_out: BTreeSet<Element>,
    /// Whether `If-None-Exist` is used, whatever the server states.
    pub conditional_create: Option<bool>,
    /// Seconds to wait before an unclear outcome is searched for.
    pub settle_delay_secs: Option<u32>,
}

impl Contract {
    /// A full R4 server: every element, every terminal status, our identifier searchable (standards.md E.2, last row).
    #[must_use]
    pub fn full_r4() -> Self {
        Self {
            preset: "full-r4".to_owned(),
            carrier: Carrier::Communication,
            statuses: [Status::Completed, Status::Stopped, Status::NotDone, Status::Unknown, Status::EnteredInError].into(),
            elements: Element::ALL.into(),
            payload: PayloadShape::Summary,
            medium_codes: MediumCodes::Current,
            conditional_create: true,
            finders: vec![Finder::Identifier, Finder::PatientSent],
            settle_delay_secs: 120,
        }
    }

    /// Narrowed by what the server states: without `create` nothing is carried, without the parameters a search is not used.
    #[must_use]
    pub fn within(mut self, stated: &Stated) -> Self {
        if !stated.create {
            self.carrier = Carrier::None;
        }
        self.conditional_create &= stated.conditional_create;
        let known = |f: &Finder| stated.search && f.params().iter().all(|p| stated.search_params.contains(*p));
        self.finders.retain(known);
        self
    }

    /// With the operator's word on top.
    #[must_use]
    pub fn with(mut self, word: &Override) -> Self {
        self.payload = word.payload.unwrap_or(self.payload);
        self.medium_codes = word.medium_codes.unwrap_or(self.medium_codes);
        self.conditional_create = word.conditional_create.unwrap_or(self.conditional_create);
        self.settle_delay_secs = word.settle_delay_secs.unwrap_or(self.settle_delay_secs);
        self.elements.retain(|e| !word.leave_out.contains(e));
        self
    }

    /// Whether an element is taken.
    #[must_use]
    pub fn takes(&self, element: Element) -> bool {
        self.elements.contains(&element)
    }

    /// The search to settle an unclear outcome by. One that looks for our identifier is of no use where the server does not keep it.
    #[must_use]
    pub fn finder(&self) -> Option<Finder> {
        self.finders.first().copied().filter(|_| self.takes(Element::Identifier))
    }

    /// Whether a create can be made conditional on our identifier.
    #[must_use]
    pub fn creates_conditionally(&self) -> bool {
        self.conditional_create && self.takes(Element::Identifier)
    }

    /// How long to wait before an unclear outcome is searched for.
    #[must_use]
    pub fn settle_delay(&self) -> TimeDelta {
        TimeDelta::seconds(i64::from(self.settle_delay_secs))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stated(create: bool, search: bool, conditional_create: bool, params: &[&str]) -> Stated {
        Stated { create, search, conditional_create, search_params: params.iter().map(|p| (*p).to_owned()).collect() }
    }

    #[test]
    fn the_statement_bounds_the_preset() {
        use Finder::{Identifier, PatientSent};
        let all = ["identifier", "patient", "sent", "status"];
        for (said, carrier, conditional, finders) in [
            (stated(true, true, true, &all), Carrier::Communication, true, vec![Identifier, PatientSent]),
            (stated(true, true, false, &all), Carrier::Communication, false, vec![Identifier, PatientSent]),
            (stated(true, true, false, &["patient", "sent"]), Carrier::Communication, false, vec![PatientSent]),
            (stated(true, true, true, &["patient"]), Carrier::Communication, true, vec![]),
            (stated(true, false, true, &all), Carrier::Communication, true, vec![]),
            (stated(false, true, true, &all), Carrier::None, true, vec![Identifier, PatientSent]),
            (Stated::default(), Carrier::None, false, vec![]),
        ] {
            let contract = Contract::full_r4().within(&said);
            assert_eq!((contract.carrier, contract.conditional_create, contract.finders), (carrier, conditional, finders), "{said:?}");
        }
    }

    #[test]
    fn the_operators_word_is_on_top() {
        let word: Override =
            serde_json::from_str(r#"{"payload":"template","leave-out":[]}"#.replace("leave-out", "leave_out").as_str()).unwrap();
        assert_eq!(Contract::full_r4().with(&word), Contract { payload: PayloadShape::Template, ..Contract::full_r4() });
        let word: Override =
            serde_json::from_str(r#"{"leave_out":["identifier"],"settle_delay_secs":5,"conditional_create":true}"#).unwrap();
        let contract = Contract::full_r4().within(&Stated { create: true, ..Stated::default() }).with(&word);
        assert_eq!(contract.settle_delay(), TimeDelta::seconds(5));
        assert!(contract.conditional_create && !contract.creates_conditionally(), "a condition on what is not kept would never be met");
        assert_eq!(Contract::full_r4().with(&word).finder(), None);
        assert!(serde_json::from_str::<Override>(r#"{"payloads":"text"}"#).is_err(), "a misspelt key is refused");
    }

    #[test]
    fn a_contract_is_data() {
        let json = serde_json::to_string(&Contract::full_r4()).unwrap();
        assert_eq!(serde_json::from_str::<Contract>(&json).unwrap(), Contract::full_r4());
        assert!(json.contains(r#""finders":["identifier","patient-sent"]"#), "{json}");
    }
}
