//! The catalogue of attributes: one row each, with exactly one derivation. Everything else (the parser's checks, evaluation, reasons, the
//! printed list) goes by these rows, so an attribute is added by adding a row.

use serde::Serialize;

use crate::model::ids::ResourceType;

use super::attributes::{self, Context};
use super::kind::Kind;
use super::mistake::nearest;
use super::value::{Event, Finding, Type};
use super::watch::Watch;

/// Raised whenever a derivation's meaning changes: every stored answer was made with an older one and is made anew.
pub const REVISION: u32 = 1;

/// How an attribute's value comes about.
#[derive(Clone, Copy)]
pub enum Derivation {
    /// One finding per person.
    Value(for<'a> fn(&Context<'a>, &mut Watch) -> Finding<'a>),
    /// One finding per person, over what is of a kind.
    ValueOf(for<'a> fn(&Context<'a>, Option<&Kind>, &mut Watch) -> Finding<'a>),
    /// What happened, one event at a time; the test counts them.
    Events(for<'a> fn(&Context<'a>, &mut dyn FnMut(Event<'a>))),
    /// The same, over what is of a kind.
    EventsOf(for<'a> fn(&Context<'a>, Option<&Kind>, &mut dyn FnMut(Event<'a>))),
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
    /// By which codes `of` narrows it; absent where it does not.
    #[serde(rename = "narrowed_by", skip_serializing_if = "Option::is_none")]
    pub of: Option<&'static str>,
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

impl Attribute {
    /// What it is read from, in words.
    #[must_use]
    pub fn origin(&self) -> String {
        if self.reads().next().is_none() {
            return "the contact ledger".to_owned();
        }
        let names = |types: &[ResourceType]| types.iter().map(|t| t.as_str()).collect::<Vec<_>>().join(", ");
        match (self.needs, self.also_reads) {
            (needs, []) => names(needs),
            ([], also) => names(also),
            (needs, also) => format!("{}; in some cases {}", names(needs), names(also)),
        }
    }
}

/// The attribute whose name is most like `wrong`, where one is like enough to be meant.
#[must_use]
pub fn nearest_attribute(wrong: &str) -> Option<&'static str> {
    nearest(wrong, attributes().map(|a| a.name))
}

/// The documentation page of the catalogue, as Markdown.
#[must_use]
pub fn attribute_page() -> String {
    let mut page = String::from(PAGE_HEAD);
    let subject = |a: &Attribute| a.name.split_once('.').map_or("person", |(subject, _)| subject);
    let mut subjects: Vec<&str> = Vec::new();
    for of in attributes().map(subject) {
        if !subjects.contains(&of) {
            subjects.push(of);
        }
    }
    for of in subjects {
        page.push_str(&format!(
            "\n## {of}\n\n| attribute | type | meaning | read from | unknown where | example |\n|---|---|---|---|---|---|\n"
        ));
        attributes().filter(|a| subject(a) == of).for_each(|a| page.push_str(&page_row(a)));
    }
    page.push_str("\nThe stage by the first row of this table that fits:\n\n");
    page.push_str(include_str!("attributes/JOURNEY.md"));
    page
}

fn page_row(a: &Attribute) -> String {
    let unit = a.unit.map_or_else(String::new, |u| format!(" ({u})"));
    let values = if a.values.is_empty() { String::new() } else { format!(" One of: {}.", a.values.join(", ")) };
    let of = a.of.map_or_else(String::new, |of| format!(" `of`: {of}."));
    format!(
        "| `{}` | {}{unit} | {}{values}{of} | {} | {} | `{}` |\n",
        a.name,
        a.kind,
        a.meaning,
        a.origin(),
        if a.unknown.is_empty() { "-" } else { a.unknown },
        a.example.replace('|', "\\|"),
    )
}

const PAGE_HEAD: &str = "# Attributes

What rules can ask about. Made from the catalogue (`fhir-engage segments attributes --markdown`); do not edit it by hand.

Besides what a row says, an attribute is unknown where a type that it is read from is not synced at every EHR of the person.

Where a row names what `of` narrows it by, `of valueset(id)` or `of \"system|code\"` asks for records of that kind only. A record that is not
coded, or in a code system of which the kind has no codes, may be one: the answer is then unknown where it hangs on that record.
";

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
            assert_eq!(row.kind == Type::Count, matches!(row.derivation, Derivation::Events(_) | Derivation::EventsOf(_)), "{}", row.name);
            let rule = crate::rules::parse(row.example).unwrap_or_else(|e| panic!("{}: {e:?}", row.name));
            assert_eq!(check::mistakes(&rule, row.example), [], "{}", row.name);
            assert!(row.example.contains(row.name), "{}", row.name);
        }
    }

    /// `cargo run -- segments attributes --markdown > src/domain/rules/ATTRIBUTES.md` makes it anew.
    #[test]
    fn the_page_is_made_from_the_catalogue() {
        assert_eq!(include_str!("ATTRIBUTES.md"), attribute_page());
    }
}
