//! What the gate answers: the outcome, and every reason with the field that it comes from. Texts hold no value of the patient.

use domain::Timestamp;
use domain::model::facts::PatientFacts;
use domain::model::person::{Origin, Sourced};

use super::contact::Point;
use crate::outreach::channel::ChannelKind;

/// What a reason does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Refuses, whatever the channel.
    Refuse,
    /// Refuses on this channel; the next rung may be tried.
    RefuseChannel,
    /// Holds.
    Hold,
    /// Is worth knowing, and does nothing.
    Note,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident $text:literal $effect:ident,)*) => {
        /// Why.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum ReasonCode { $($(#[$doc])* $name,)* }

        impl ReasonCode {
            /// All codes.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// As written in the store and on pages.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }

            /// What it does.
            #[must_use]
            pub const fn effect(self) -> Effect {
                match self { $(Self::$name => Effect::$effect),* }
            }
        }
    };
}

codes! {
    /// No patient record.
    NoPatientRecord "no-patient-record" Refuse,
    /// The patient has died.
    Deceased "deceased" Refuse,
    /// The record is not in use.
    Inactive "inactive" Refuse,
    /// Another record replaced it.
    Merged "merged" Refuse,
    /// Under age, or perhaps.
    Minor "minor" Refuse,
    /// No birth date.
    AgeUnknown "age-unknown" Note,
    /// A security label.
    Sensitive "sensitive" Refuse,
    /// Opted out of all, or of this program.
    OptedOut "opted-out" Refuse,
    /// Opted out of this channel.
    OptedOutOfChannel "opted-out-of-channel" RefuseChannel,
    /// Marketing without authorisation.
    NoAuthorisation "no-authorisation" Refuse,
    /// No contact point is left for the channel.
    NoContactPoint "no-contact-point" RefuseChannel,
    /// A contact point was passed over: not in use.
    PointNotInUse "point-not-in-use" Note,
    /// A contact point was passed over: malformed.
    PointMalformed "point-malformed" Note,
    /// A contact point was passed over: opted out.
    PointOptedOut "point-opted-out" Note,
    /// A contact point was passed over: several persons share it.
    SharedContactPoint "shared-contact-point" Note,
    /// A contact point was passed over: it reaches somebody else.
    WrongPerson "wrong-person" Note,
    /// A contact point was passed over: mail came back.
    Bounced "bounced" Note,
    /// Too late.
    Expired "expired" Refuse,
    /// Would be too late when the hold ends.
    ExpiresWhileHeld "expires-while-held" Refuse,
    /// Tells too much for the channel.
    PhiOnOpenChannel "phi-on-open-channel" RefuseChannel,
    /// The installation is not live.
    NotLive "not-live" RefuseChannel,
    /// A person stopped the program, the channel or all sending: it waits until that ends.
    Killed "killed" Hold,
    /// Sent before.
    Duplicate "duplicate" Refuse,
    /// The cap of a day.
    DailyCap "daily-cap" Hold,
    /// The cap of a week.
    WeeklyCap "weekly-cap" Hold,
    /// The caps of a contact point that others share.
    PointCap "point-cap" Hold,
    /// Quiet hours.
    QuietHours "quiet-hours" Hold,
    /// Where the patient is was not told.
    PlaceUnknown "place-unknown" Note,
    /// The places where the patient may be leave no hour.
    NoAllowedHour "no-allowed-hour" Refuse,
    /// Facts are too old.
    StaleFacts "stale-facts" Hold,
}

/// Where a reason comes from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Source {
    /// The resource.
    pub origin: Origin,
    /// The field (`Patient.deceased[x]`).
    pub field: String,
}

/// One reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// Which.
    pub code: ReasonCode,
    /// For people, without values of the patient.
    pub detail: String,
    /// The field that it comes from, where it comes from one.
    pub source: Option<Source>,
}

impl Reason {
    pub(super) fn new(code: ReasonCode, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), source: None }
    }

    pub(super) fn at(mut self, record: &Sourced<PatientFacts>, field: &str) -> Self {
        self.source = Some(Source { origin: record.origin.clone(), field: field.to_owned() });
        self
    }

    /// Whether it refuses, on this channel or altogether.
    #[must_use]
    pub const fn refuses(&self) -> bool {
        matches!(self.code.effect(), Effect::Refuse | Effect::RefuseChannel)
    }
}

/// The outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Send it.
    Allow,
    /// Judge it again then; always later than the instant of the verdict.
    HoldUntil(Timestamp),
    /// Do not send it.
    Refuse,
}

impl Outcome {
    /// As written in the store.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::HoldUntil(_) => "hold",
            Self::Refuse => "refuse",
        }
    }
}

/// What the gate says of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The outcome.
    pub outcome: Outcome,
    /// All reasons, notes included.
    pub reasons: Vec<Reason>,
    /// The channel that was judged.
    pub channel: ChannelKind,
    /// The contact point that was chosen, where one can be used.
    pub point: Option<Point>,
}

impl Verdict {
    /// Whether it is refused for reasons of the channel alone, so that the next rung may be tried.
    #[must_use]
    pub fn next_rung_may_do(&self) -> bool {
        self.outcome == Outcome::Refuse && !self.reasons.iter().any(|r| r.code.effect() == Effect::Refuse)
    }

    /// Whether a reason of that code was given.
    #[must_use]
    pub fn has(&self, code: ReasonCode) -> bool {
        self.reasons.iter().any(|r| r.code == code)
    }
}
