//! A rule's tests against the catalogue: names, types, units. What passes here has a form that evaluation cannot fail on.

use std::sync::Arc;

use crate::model::time::FhirTime;

use super::catalogue::{self, Attribute};
use super::duration::Duration;
use super::kind::{Code, Kind};
use super::mistake::{MAX_MISTAKES, Mistake, suggestion};
use super::own::{OWN_PREFIX, OwnAttribute, OwnAttributes};
use super::syntax::{Comparison, Expr, Literal, Name, Operand, Predicate, Selector, Test};
use super::value::Type;
use super::value_set::{ListedCodes, ValueSets};

/// What a test asks about.
#[derive(Clone, Debug)]
pub enum Asked {
    /// An attribute of the catalogue.
    Listed(&'static Attribute),
    /// An operator's own.
    Own(Arc<OwnAttribute>),
}

impl Asked {
    /// Its name in rules.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Listed(attribute) => attribute.name,
            Self::Own(own) => own.name(),
        }
    }

    /// Its type.
    #[must_use]
    pub fn kind(&self) -> Type {
        match self {
            Self::Listed(attribute) => attribute.kind,
            Self::Own(own) => own.kind(),
        }
    }

    /// The unit of a number.
    #[must_use]
    pub fn unit(&self) -> Option<&str> {
        match self {
            Self::Listed(attribute) => attribute.unit,
            Self::Own(own) => own.unit(),
        }
    }

    fn values(&self) -> &'static [&'static str] {
        if let Self::Listed(attribute) = self { attribute.values } else { &[] }
    }

    fn example(&self) -> String {
        match self {
            Self::Listed(attribute) => attribute.example.to_owned(),
            Self::Own(own) => own.example(),
        }
    }

    /// Whether both are the same.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

/// What tests may name.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// The value sets.
    pub value_sets: &'a ValueSets,
    /// The operators' own attributes.
    pub own: &'a OwnAttributes,
}

/// A test whose names and types are right.
#[derive(Clone, Debug)]
pub struct Checked {
    /// What it asks about.
    pub attribute: Asked,
    /// What it is narrowed to.
    pub of: Option<Kind>,
    /// The period of a count.
    pub period: Option<Duration>,
    /// What it asks.
    pub question: Question,
}

/// A question of a checked type.
#[derive(Clone, Debug)]
pub enum Question {
    /// Of any type: is there such a thing?
    Exists,
    /// Of a yes or no: is it this?
    Is(bool),
    /// Of a number or a count.
    Number(Comparison, i64),
    /// Of a number or a count: is it one of these?
    NumberIn(Vec<i64>),
    /// Of a text: is it one of these, or none of them?
    TextIn(Vec<TextOperand>, bool),
    /// Of a set: does it hold one of these, or none of them?
    Holds(Vec<Code>, bool),
    /// Of a set: does it hold a code of this value set?
    InValueSet(Arc<ListedCodes>),
    /// Of a time, with a date read in the site's zone.
    Time(Comparison, FhirTime),
    /// Of a time: to come, and no further away.
    Within(Duration),
    /// Of a time: past, and less than this ago.
    WithinLast(Duration),
    /// Of a time: past, this long or longer.
    OlderThan(Duration),
}

/// What a text is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TextOperand {
    /// This text.
    Plain(String),
    /// The site's language.
    SiteLanguage,
}

/// The mistakes of a rule's tests, with their places in `text`: all, or the first [`MAX_MISTAKES`].
#[must_use]
pub fn mistakes(rule: &Expr, text: &str) -> Vec<Mistake> {
    let mut found = Vec::new();
    collect(rule, text, &mut found);
    found
}

fn collect(rule: &Expr, text: &str, found: &mut Vec<Mistake>) {
    match rule {
        Expr::All(parts) | Expr::Any(parts) => parts.iter().for_each(|part| collect(part, text, found)),
        Expr::Not(part) => collect(part, text, found),
        Expr::Constant(_) | Expr::Segment(_) => {}
        Expr::Test(_) if found.len() >= MAX_MISTAKES => {}
        Expr::Test(test) => found.extend(check(test, text, None).err().unwrap_or_default()),
    }
}

/// Checks one test. Whether the value set or the own attribute that it names is there, is asked only where what is `known` is given: a file
/// is read before the set that it belongs to is known.
///
/// # Errors
/// Its mistakes, with their places in `text`; none where it cannot be told yet.
pub fn check(test: &Test, text: &str, known: Option<Known<'_>>) -> Result<Checked, Vec<Mistake>> {
    let name = &test.attribute;
    let own = || known.and_then(|k| k.own.get(&name.text)).map(|own| Asked::Own(Arc::clone(own)));
    let Some(attribute) = catalogue::attribute(&name.text).map(Asked::Listed).or_else(own) else {
        if known.is_none() && name.text.starts_with(OWN_PREFIX) {
            return Err(Vec::new());
        }
        let theirs = known.into_iter().flat_map(|k| k.own.names());
        let meant = suggestion(&name.text, catalogue::attributes().map(|a| a.name).chain(theirs));
        return Err(vec![Mistake::at(text, name.at.0, format!("there is no attribute `{}`{meant}", name.text))]);
    };
    let (is_counted, narrows) = (attribute.kind() == Type::Count, matches!(attribute, Asked::Listed(a) if a.of.is_some()));
    let mut checker = Checker { attribute, text, test, known, mistakes: Vec::new() };
    if test.period.is_some() && !is_counted {
        checker.wrong(name.at.0, "is not counted, so `in last` has no meaning for it");
    }
    if test.of.is_some() && !narrows {
        checker.wrong(name.at.0, "is not narrowed by `of`");
    }
    let of = test.of.as_ref().and_then(|of| checker.kind(of));
    let question = checker.question();
    match question {
        Some(question) if checker.mistakes.is_empty() => Ok(Checked { attribute: checker.attribute, of, period: test.period, question }),
        _ => Err(checker.mistakes),
    }
}

struct Checker<'a> {
    attribute: Asked,
    text: &'a str,
    test: &'a Test,
    known: Option<Known<'a>>,
    mistakes: Vec<Mistake>,
}

impl Checker<'_> {
    /// `age` is a whole number, ...; write for example ...
    fn wrong(&mut self, at: usize, what: &str) -> Option<Question> {
        let (name, kind, example) = (self.attribute.name(), self.attribute.kind(), self.attribute.example());
        self.mistakes.push(Mistake::at(self.text, at, format!("`{name}` is {kind} and {what}; write for example `{example}`")));
        None
    }

    fn question(&mut self) -> Option<Question> {
        let at = self.test.attribute.at.0;
        let kind = self.attribute.kind();
        match &self.test.predicate {
            Predicate::Exists => Some(Question::Exists),
            Predicate::Holds if kind == Type::Bool => Some(Question::Is(true)),
            Predicate::Holds => self.wrong(at, "is not true or false by itself"),
            Predicate::Compare(comparison, operand) => self.compare(*comparison, operand),
            Predicate::OneOf(operands) => self.one_of(operands),
            Predicate::InValueSet(name) => self.value_set(name),
            Predicate::Within(d) if kind == Type::Time => Some(Question::Within(*d)),
            Predicate::WithinLast(d) if kind == Type::Time => Some(Question::WithinLast(*d)),
            Predicate::OlderThan(d) if kind == Type::Time => Some(Question::OlderThan(*d)),
            Predicate::Within(_) | Predicate::WithinLast(_) | Predicate::OlderThan(_) if kind == Type::Count => {
                self.wrong(at, "takes its period as `in last` before the comparison")
            }
            Predicate::Within(_) | Predicate::WithinLast(_) | Predicate::OlderThan(_) => self.wrong(at, "has no place in time"),
        }
    }

    fn compare(&mut self, comparison: Comparison, operand: &Operand) -> Option<Question> {
        let equality = matches!(comparison, Comparison::Equal | Comparison::NotEqual);
        let negated = comparison == Comparison::NotEqual;
        match self.attribute.kind() {
            Type::Bool | Type::Text | Type::Set if !equality => {
                self.wrong(self.test.attribute.at.0, "can only be equal or not equal (=, !=)")
            }
            Type::Bool => match operand.literal {
                Literal::Bool(value) => Some(Question::Is(value != negated)),
                _ => self.wrong(operand.at.0, "is compared with true or false"),
            },
            Type::Integer | Type::Count => self.number(operand).map(|n| Question::Number(comparison, n)),
            Type::Text => self.text(operand).map(|t| Question::TextIn(vec![t], negated)),
            Type::Set => self.code(operand).map(|c| Question::Holds(vec![c], negated)),
            Type::Time => match operand.literal {
                Literal::Time(time) => Some(Question::Time(comparison, time)),
                _ => self.wrong(operand.at.0, "is compared with a date, as in 2026-11-23"),
            },
        }
    }

    fn one_of(&mut self, operands: &[Operand]) -> Option<Question> {
        // Each operand is looked at before the first mistake ends it, so that all are told.
        match self.attribute.kind() {
            Type::Integer | Type::Count => {
                let numbers: Vec<_> = operands.iter().map(|o| self.number(o)).collect();
                numbers.into_iter().collect::<Option<_>>().map(Question::NumberIn)
            }
            Type::Text => {
                let texts: Vec<_> = operands.iter().map(|o| self.text(o)).collect();
                texts.into_iter().collect::<Option<_>>().map(|texts| Question::TextIn(texts, false))
            }
            Type::Set => {
                let codes: Vec<_> = operands.iter().map(|o| self.code(o)).collect();
                codes.into_iter().collect::<Option<_>>().map(|codes| Question::Holds(codes, false))
            }
            Type::Bool | Type::Time => self.wrong(self.test.attribute.at.0, "is not looked up in a list"),
        }
    }

    fn value_set(&mut self, name: &Name) -> Option<Question> {
        if self.attribute.kind() != Type::Set {
            return self.wrong(name.at.0, "is not looked up in a value set");
        }
        // Any question of the right type will do where the sets are not known: the test itself is checked again with them.
        if self.known.is_none() { Some(Question::Exists) } else { self.listed(name).map(Question::InValueSet) }
    }

    /// The value set of that name, where value sets are known.
    fn listed(&mut self, name: &Name) -> Option<Arc<ListedCodes>> {
        let sets = self.known?.value_sets;
        let listed = sets.get(&name.text);
        if listed.is_none() {
            let meant = suggestion(&name.text, sets.ids());
            self.mistakes.push(Mistake::at(self.text, name.at.0, format!("there is no value set `{}`{meant}", name.text)));
        }
        listed.map(Arc::clone)
    }

    fn kind(&mut self, of: &Selector) -> Option<Kind> {
        match of {
            Selector::ValueSet(name) => self.listed(name).map(Kind::ValueSet),
            Selector::Codes(operands) => {
                let codes: Vec<_> = operands.iter().map(|o| self.code(o)).collect();
                codes.into_iter().collect::<Option<_>>().map(Kind::Codes)
            }
        }
    }

    fn number(&mut self, operand: &Operand) -> Option<i64> {
        if let Literal::Integer(n) = operand.literal {
            return Some(n);
        }
        self.wrong(operand.at.0, "is compared with a whole number");
        None
    }

    fn text(&mut self, operand: &Operand) -> Option<TextOperand> {
        match &operand.literal {
            Literal::Text(text) => {
                let values = self.attribute.values();
                if !values.is_empty() && !values.contains(&text.as_str()) {
                    let meant = suggestion(text, values.iter().copied());
                    let message = format!("`{}` is never \"{text}\", only one of {}{meant}", self.attribute.name(), values.join(", "));
                    self.mistakes.push(Mistake::at(self.text, operand.at.0, message));
                    return None;
                }
                Some(TextOperand::Plain(text.clone()))
            }
            Literal::SiteLanguage if self.attribute.values().is_empty() => Some(TextOperand::SiteLanguage),
            _ => {
                self.wrong(operand.at.0, "is compared with a text in quotes");
                None
            }
        }
    }

    fn code(&mut self, operand: &Operand) -> Option<Code> {
        match &operand.literal {
            Literal::Text(text) if !text.is_empty() => Some(Code::parse(text)),
            _ => {
                self.wrong(operand.at.0, "is compared with a code in quotes, as in \"code\" or \"system|code\"");
                None
            }
        }
    }
}
