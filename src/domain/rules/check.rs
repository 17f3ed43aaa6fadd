//! A rule's tests against the catalogue: names, types, units. What passes here has a form that evaluation cannot fail on.

use std::sync::Arc;

use crate::model::time::FhirTime;

use super::catalogue::{self, Attribute};
use super::duration::Duration;
use super::mistake::{MAX_MISTAKES, Mistake, suggestion};
use super::syntax::{Comparison, Expr, Literal, Name, Operand, Predicate, Test};
use super::value::Type;
use super::value_set::{ListedCodes, ValueSets};

/// A test whose names and types are right.
#[derive(Clone, Debug)]
pub struct Checked {
    /// What it asks about.
    pub attribute: &'static Attribute,
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

/// A code as FHIR's token search writes it (R4 search, 3.1.1.4.10): `code`, `system|code`, `|code` (without system).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Code {
    /// `None`: any system or none. `Some("")`: none.
    pub system: Option<String>,
    /// The code.
    pub code: String,
}

impl Code {
    fn parse(text: &str) -> Self {
        match text.split_once('|') {
            Some((system, code)) => Self { system: Some(system.to_owned()), code: code.to_owned() },
            None => Self { system: None, code: text.to_owned() },
        }
    }

    /// Whether a coding is this one.
    #[must_use]
    pub fn matches(&self, system: Option<&str>, code: &str) -> bool {
        self.code == code && self.system.as_deref().is_none_or(|wanted| wanted == system.unwrap_or_default())
    }

    /// Whether a text, such as a reference, is this one.
    #[must_use]
    pub fn is_text(&self, text: &str) -> bool {
        self.system.is_none() && self.code == text
    }
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

/// Checks one test. Whether the value set that it names is there, is asked only where `value_sets` are given: a file is read before the set
/// that it belongs to is known.
///
/// # Errors
/// Its mistakes, with their places in `text`.
pub fn check(test: &Test, text: &str, value_sets: Option<&ValueSets>) -> Result<Checked, Vec<Mistake>> {
    let name = &test.attribute;
    let Some(attribute) = catalogue::attribute(&name.text) else {
        let meant = suggestion(&name.text, catalogue::attributes().map(|a| a.name));
        return Err(vec![Mistake::at(text, name.at.0, format!("there is no attribute `{}`{meant}", name.text))]);
    };
    let mut checker = Checker { attribute, text, test, value_sets, mistakes: Vec::new() };
    if test.period.is_some() && attribute.kind != Type::Count {
        checker.wrong(name.at.0, "is not counted, so `in last` has no meaning for it");
    }
    let question = checker.question();
    match question {
        Some(question) if checker.mistakes.is_empty() => Ok(Checked { attribute, period: test.period, question }),
        _ => Err(checker.mistakes),
    }
}

struct Checker<'a> {
    attribute: &'static Attribute,
    text: &'a str,
    test: &'a Test,
    value_sets: Option<&'a ValueSets>,
    mistakes: Vec<Mistake>,
}

impl Checker<'_> {
    /// `age` is a whole number, ...; write for example ...
    fn wrong(&mut self, at: usize, what: &str) -> Option<Question> {
        let Attribute { name, kind, example, .. } = self.attribute;
        self.mistakes.push(Mistake::at(self.text, at, format!("`{name}` is {kind} and {what}; write for example `{example}`")));
        None
    }

    fn question(&mut self) -> Option<Question> {
        let at = self.test.attribute.at.0;
        let kind = self.attribute.kind;
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
        match self.attribute.kind {
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
        match self.attribute.kind {
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
        if self.attribute.kind != Type::Set {
            return self.wrong(name.at.0, "is not looked up in a value set");
        }
        let Some(known) = self.value_sets else {
            // Any question of the right type will do: the test itself is checked again with the set.
            return Some(Question::Exists);
        };
        let Some(listed) = known.get(&name.text) else {
            let meant = suggestion(&name.text, known.ids());
            let message = format!("there is no value set `{}`{meant}", name.text);
            self.mistakes.push(Mistake::at(self.text, name.at.0, message));
            return None;
        };
        Some(Question::InValueSet(Arc::clone(listed)))
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
                let values = self.attribute.values;
                if !values.is_empty() && !values.contains(&text.as_str()) {
                    let meant = suggestion(text, values.iter().copied());
                    let message = format!("`{}` is never \"{text}\", only one of {}{meant}", self.attribute.name, values.join(", "));
                    self.mistakes.push(Mistake::at(self.text, operand.at.0, message));
                    return None;
                }
                Some(TextOperand::Plain(text.clone()))
            }
            Literal::SiteLanguage if self.attribute.values.is_empty() => Some(TextOperand::SiteLanguage),
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
