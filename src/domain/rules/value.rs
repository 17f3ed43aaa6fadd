//! What a derivation finds: a value with its type, known absence, or not knowing and why; and the place it was found.

use chrono::NaiveDate;
use serde::Serialize;

use crate::model::facts::Coding;
use crate::model::ids::ResourceType;
use crate::model::person::{Origin, Sourced};
use crate::model::time::Timestamp;

/// The type of an attribute, which says what it may be compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Type {
    /// Yes or no.
    Bool,
    /// A whole number, perhaps known only to lie between two.
    Integer,
    /// A text or a code of one fixed list.
    Text,
    /// A set of codes or references: a test asks what it holds.
    Set,
    /// An instant, perhaps known only to lie between two.
    Time,
    /// Things that happened, to be counted over the whole record or over a period.
    Count,
}

impl std::fmt::Display for Type {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Bool => "a yes or no",
            Self::Integer => "a whole number",
            Self::Text => "a text",
            Self::Set => "a set of codes",
            Self::Time => "a time",
            Self::Count => "a count",
        })
    }
}

/// A value, borrowed from the facts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// Of [`Type::Bool`].
    Bool(bool),
    /// Of [`Type::Integer`] and [`Type::Count`]: lies between the two, both included.
    Integer(i64, i64),
    /// Of [`Type::Integer`]: how many midnights have passed at the site since that day. It grows by itself, so a test asks only when it comes to
    /// the number that it names.
    DaysSince(NaiveDate),
    /// Of [`Type::Text`].
    Text(&'a str),
    /// Of [`Type::Set`].
    Set(Set<'a>),
    /// Of [`Type::Time`]: lies between the two, both included.
    Time(Timestamp, Timestamp),
}

/// A set of codes or references.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set<'a> {
    /// What it holds.
    pub items: Items<'a>,
    /// Whether it may hold more than is told.
    pub open: bool,
}

/// The members of a set, as they lie in the facts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Items<'a> {
    /// Codes of one resource.
    Codes(&'a [Coding]),
    /// Codes of several resources.
    ManyCodes(Vec<&'a [Coding]>),
    /// References or other texts.
    Texts(&'a [String]),
    /// Some of those that lie in the facts.
    Some(Vec<&'a str>),
}

impl Items<'_> {
    /// Whether some member is accepted by `code` (system and code) or, for texts, by `text`.
    pub fn any(&self, code: impl Fn(Option<&str>, &str) -> bool, text: impl Fn(&str) -> bool) -> bool {
        let coded = |c: &Coding| code(c.system.as_deref(), &c.code);
        match self {
            Self::Codes(codes) => codes.iter().any(coded),
            Self::ManyCodes(lists) => lists.iter().any(|codes| codes.iter().any(coded)),
            Self::Texts(texts) => texts.iter().any(|t| text(t)),
            Self::Some(texts) => texts.iter().any(|t| text(t)),
        }
    }

    /// Whether there is no member.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.any(|_, _| true, |_| true)
    }
}

/// Why something is not known. Holds no value of a patient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Why {
    /// The type is not synced at every EHR of the person.
    NotSynced(ResourceType),
    /// The record does not say: the FHIR path that is missing.
    Missing(&'static str),
    /// The record contradicts itself or cannot be right: what is wrong with it.
    Doubtful(&'static str),
}

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotSynced(t) => write!(f, "{t} is not synced at every EHR of this person"),
            Self::Missing(path) => write!(f, "the record has no {path}"),
            Self::Doubtful(what) => f.write_str(what),
        }
    }
}

/// What is the case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome<'a> {
    /// This.
    Known(Value<'a>),
    /// There is no such thing, and that is known. The sentence says what there is not.
    Absent(&'static str),
    /// It cannot be told.
    Unknown(Why),
}

/// Where a value was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source<'a> {
    /// A field of a synced resource.
    Resource {
        /// Which resource, in which version.
        origin: &'a Origin,
        /// The element, as FHIR names it.
        field: &'static str,
    },
    /// The contact ledger of this gateway.
    Ledger {
        /// What the ledger tells.
        field: &'static str,
    },
}

/// What a derivation returns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding<'a> {
    /// What is the case.
    pub outcome: Outcome<'a>,
    /// Where that was read.
    pub source: Option<Source<'a>>,
    /// Why a known value is known only roughly.
    pub rough: Option<Why>,
}

impl<'a> Finding<'a> {
    /// A known value, read in `field` of `record`.
    pub const fn known<F>(value: Value<'a>, record: &'a Sourced<F>, field: &'static str) -> Self {
        Self { outcome: Outcome::Known(value), source: Some(Source::Resource { origin: &record.origin, field }), rough: None }
    }

    /// A value that follows from there being nothing to the contrary.
    #[must_use]
    pub const fn plain(value: Value<'a>) -> Self {
        Self { outcome: Outcome::Known(value), source: None, rough: None }
    }

    /// A value that the contact ledger tells.
    #[must_use]
    pub const fn of_ledger(value: Value<'a>, field: &'static str) -> Self {
        Self { outcome: Outcome::Known(value), source: Some(Source::Ledger { field }), rough: None }
    }

    /// Known not to be there.
    #[must_use]
    pub const fn absent(what: &'static str) -> Self {
        Self { outcome: Outcome::Absent(what), source: None, rough: None }
    }

    /// Not known.
    #[must_use]
    pub const fn unknown(why: Why) -> Self {
        Self { outcome: Outcome::Unknown(why), source: None, rough: None }
    }

    /// The same, with the place where it was read.
    #[must_use]
    pub const fn at<F>(mut self, record: &'a Sourced<F>, field: &'static str) -> Self {
        self.source = Some(Source::Resource { origin: &record.origin, field });
        self
    }

    /// The same, with what makes the value rough.
    #[must_use]
    pub const fn because(mut self, rough: Option<Why>) -> Self {
        self.rough = rough;
        self
    }
}

/// One thing that happened, for [`Type::Count`].
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// When: between the two, both included; `None` where the record does not say.
    pub at: Option<(Timestamp, Timestamp)>,
    /// The element that tells when.
    pub time: &'static str,
    /// Why it may be none of those that are counted.
    pub unsure: Option<Why>,
    /// Where that was read.
    pub source: Source<'a>,
}
