//! The catalogue of attributes: one row each, with exactly one derivation. Everything else (the parser's checks, evaluation, reasons, the
//! printed list) goes by these rows, so an attribute is added by adding a row.

use serde::Serialize;

use crate::model::ids::ResourceType;

use super::attributes::{self, Context};
use super::value::{Event, Finding, Type};
use super::watch::Watch;

/// Raised whenever a derivation's meaning changes: every stored answer was made with an older one and is made anew.
pub const REVISION: u32 = 1;

/// How an attribute's value comes about.
#[derive(Clone, Copy)]
pub enum Derivation {
    /// One finding per person.
    Value(for<'a> fn(&Context<'a>, &mut Watch) -> Finding<'a>),
    /// What happened, one event at a time; the test counts them.
    Events(for<'a> fn(&Context<'a>, &mut dyn FnMut(Event<'a>))),
}

/// One attribute.
#[derive(Clone, Copy, Serialize)]
pub struct Attribute {
    /// Its name in rules.
    pub name: &'static str,
    /// Its type.
    pub kind: Type,
    /// The unit of a number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<&'static str>,
    /// The values of a text that has a fixed list of them; empty otherwise.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub values: &'static [&'static str],
    /// What it says, in one sentence.
    pub meaning: &'static str,
    /// The FHIR types that it is read from; unknown where one is not synced. Empty: the contact ledger.
    pub needs: &'static [ResourceType],
    /// FHIR types that it is also read from, and can sometimes do without.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub also_reads: &'static [ResourceType],
    /// What makes it unknown, besides a type that is not synced.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub unknown: &'static str,
    /// A test of it.
    pub example: &'static str,
    /// Its derivation.
    #[serde(skip)]
    pub derivation: Derivation,
}

impl std::fmt::Debug for Attribute {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attribute").field("name", &self.name).field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl Attribute {
    /// Every type that it reads.
    pub fn reads(&self) -> impl Iterator<Item = ResourceType> {
        self.needs.iter().chain(self.also_reads).copied()
    }
}

/// All attributes, by subject.
pub fn attributes() -> impl Iterator<Item = &'static Attribute> {
    attributes::ALL.iter().copied().flatten()
}

/// The attribute of that name.
#[must_use]
pub fn attribute(name: &str) -> Option<&'static Attribute> {
    attributes().find(|a| a.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::check;

    #[test]
    fn every_row_is_complete_and_its_example_is_a_rule_that_reads_it() {
        let mut names = std::collections::BTreeSet::new();
        for row in attributes() {
            assert!(names.insert(row.name), "{} is there twice", row.name);
            assert!(row.meaning.ends_with('.'), "{}", row.name);
            assert_eq!(row.kind == Type::Integer || row.kind == Type::Count, row.unit.is_some(), "{}", row.name);
            assert_eq!(row.kind == Type::Count, matches!(row.derivation, Derivation::Events(_)), "{}", row.name);
            let rule = crate::rules::parse(row.example).unwrap_or_else(|e| panic!("{}: {e:?}", row.name));
            assert_eq!(check::mistakes(&rule, row.example), [], "{}", row.name);
            assert!(row.example.contains(row.name), "{}", row.name);
        }
    }
}
