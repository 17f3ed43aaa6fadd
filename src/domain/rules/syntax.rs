//! The tree of a rule: what both the text form and the JSON form stand for.

use crate::model::time::FhirTime;

use super::duration::Duration;

/// The largest text of a rule, in bytes.
pub const MAX_BYTES: usize = 100_000;
/// The deepest nesting of `and`, `or`, `not` and parentheses.
pub const MAX_DEPTH: usize = 64;
/// The most different tests in one rule. A longer one is better told as segments of segments.
pub const MAX_TESTS: usize = 256;

/// Where something stands in the text of the rule, in bytes. Two trees are equal wherever they stand.
#[derive(Clone, Copy, Debug, Default)]
pub struct At(pub usize);

impl PartialEq for At {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for At {}

/// A name with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// The name.
    pub text: String,
    /// Where it stands.
    pub at: At,
}

/// A rule or a part of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expr {
    /// `a and b and ...`: two or more.
    All(Vec<Expr>),
    /// `a or b or ...`: two or more.
    Any(Vec<Expr>),
    /// `not a`.
    Not(Box<Expr>),
    /// `true`, `false`.
    Constant(bool),
    /// `segment(id)`: whether the person fulfils another segment's rule, unknown included.
    Segment(Name),
    /// One question about one attribute.
    Test(Test),
}

/// One question about one attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Test {
    /// The attribute.
    pub attribute: Name,
    /// `of ...`: only what is of this kind; all of it where absent.
    pub of: Option<Selector>,
    /// `in last ...`: the period over which a count is taken; the whole record where absent.
    pub period: Option<Duration>,
    /// The question.
    pub predicate: Predicate,
}

/// What an attribute is narrowed to: conditions, procedures, visits of these codes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// `of "a"`, `of ("a", "b")`.
    Codes(Vec<Operand>),
    /// `of valueset(x)`.
    ValueSet(Name),
}

/// A question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Predicate {
    /// The attribute alone: is it true?
    Holds,
    /// `exists`: is there such a thing?
    Exists,
    /// `= 3`, `>= 65`, ...
    Compare(Comparison, Operand),
    /// `in (a, b)`.
    OneOf(Vec<Operand>),
    /// `in valueset(x)`: does it hold a code of this value set?
    InValueSet(Name),
    /// `within 72h`: still to come, and no further away than this.
    Within(Duration),
    /// `within last 30d`: past, and less than this ago.
    WithinLast(Duration),
    /// `older than 12 months`: past, and this long ago or longer.
    OlderThan(Duration),
}

/// A comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Comparison {
    /// `=`; for a set: holds it.
    Equal,
    /// `!=`; for a set: does not hold it.
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `>`
    Greater,
    /// `>=`
    AtLeast,
}

impl Comparison {
    /// All, in the order of the grammar.
    pub const ALL: [Self; 6] = [Self::Equal, Self::NotEqual, Self::Less, Self::AtMost, Self::Greater, Self::AtLeast];

    /// As written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::AtMost => "<=",
            Self::Greater => ">",
            Self::AtLeast => ">=",
        }
    }

    /// The comparison so written.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|c| c.as_str() == text)
    }
}

/// A literal with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operand {
    /// The literal.
    pub literal: Literal,
    /// Where it stands.
    pub at: At,
}

/// What an attribute is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Literal {
    /// `true`, `false`.
    Bool(bool),
    /// `-3`, `65`.
    Integer(i64),
    /// `"spa"`.
    Text(String),
    /// `2026-11`, `2026-11-23`, `2026-11-23T10:00:00Z`; read in the site's zone. A year alone would read as a number, so it is not one of these.
    Time(FhirTime),
    /// `site.language`.
    SiteLanguage,
}

impl Expr {
    /// How deep `and`, `or` and `not` are nested.
    #[must_use]
    pub fn depth(&self) -> usize {
        match self {
            Self::All(parts) | Self::Any(parts) => 1 + parts.iter().map(Self::depth).max().unwrap_or(0),
            Self::Not(part) => 1 + part.depth(),
            Self::Constant(_) | Self::Segment(_) | Self::Test(_) => 0,
        }
    }

    /// The value sets that it names, in order.
    #[must_use]
    pub fn value_sets(&self) -> Vec<&Name> {
        match self {
            Self::All(parts) | Self::Any(parts) => parts.iter().flat_map(Self::value_sets).collect(),
            Self::Not(part) => part.value_sets(),
            Self::Test(test) => {
                let of = if let Some(Selector::ValueSet(name)) = &test.of { Some(name) } else { None };
                let holds = if let Predicate::InValueSet(name) = &test.predicate { Some(name) } else { None };
                of.into_iter().chain(holds).collect()
            }
            Self::Segment(_) | Self::Constant(_) => Vec::new(),
        }
    }

    /// The segments that it refers to, in order.
    #[must_use]
    pub fn references(&self) -> Vec<&Name> {
        match self {
            Self::All(parts) | Self::Any(parts) => parts.iter().flat_map(Self::references).collect(),
            Self::Not(part) => part.references(),
            Self::Segment(name) => vec![name],
            Self::Constant(_) | Self::Test(_) => Vec::new(),
        }
    }
}

/// Whether a text can be the id of a segment: 1 to 64 lower-case letters, digits and `-`, beginning with a letter.
#[must_use]
pub fn is_segment_id(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.ends_with('-')
}
