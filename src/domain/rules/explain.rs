//! Reasons in words: each test with its value, and the resource, version and field where that was read.
//!
//! Rendered only when asked for. Values and sentences are about a patient, so they are [`Phi`]: shown to staff, never logged.

use chrono::SecondsFormat;
use serde::Serialize;

use crate::model::PersonFacts;
use crate::model::ids::ResourceType;
use crate::model::phi::Phi;
use crate::model::time::Timestamp;

use super::answer::Answer;
use super::check::{Checked, Question};
use super::evaluate::Run;
use super::judge::count;
use super::kind::Kind;
use super::ruleset::{Leaf, RuleSet, Segment};
use super::site::Site;
use super::truth::Truth;
use super::value::{Finding, Items, Outcome, Set, Source, Value};

/// The most places that are listed for one count.
const MAX_SOURCES: usize = 10;

/// One test with its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// The test, as in the rule.
    pub test: String,
    /// Whether it holds.
    pub truth: Truth,
    /// Whether it is one of those that decide the answer.
    pub decides: bool,
    /// What was found; absent where nothing was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Phi<String>>,
    /// All of it in one plain sentence.
    pub sentence: Phi<String>,
    /// Where it was read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<ReadIn>,
    /// For a reference to another segment: what decides that one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub because: Vec<Reason>,
}

/// A place where a value was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReadIn {
    /// The EHR; absent for the contact ledger.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ehr: Option<String>,
    /// The resource's type; absent for the contact ledger.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_type: Option<ResourceType>,
    /// Its logical id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Its `meta.versionId`, where sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The element.
    pub field: String,
}

/// Why a person is or is not in a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The answer.
    pub answer: Answer,
    /// All tests of the rule, in its order; those that decide are marked.
    pub reasons: Vec<Reason>,
}

impl RuleSet {
    /// Answers one segment (by place) and explains every test of its rule. `None` where there is no such segment.
    #[must_use]
    pub fn explain(&self, segment: usize, person: &PersonFacts, site: &Site, now: Timestamp) -> Option<Explanation> {
        let rule = self.segments.get(segment)?;
        let mut run = self.run_only(&[segment], person, site, now);
        let answer = run.answers.get(segment).cloned().flatten()?;
        let reasons =
            (0..rule.leaves.len()).filter_map(|leaf| self.reason(&mut run, rule, leaf, answer.reasons.contains(leaf), true)).collect();
        Some(Explanation { answer, reasons })
    }

    /// The reasons of an answer in words, with the facts, the site and the instant that it was made of.
    #[must_use]
    pub fn reasons(&self, answer: &Answer, person: &PersonFacts, site: &Site, now: Timestamp) -> Vec<Reason> {
        let Some(rule) = self.segments.get(answer.segment) else {
            return Vec::new();
        };
        let mut run = self.run_only(&[answer.segment], person, site, now);
        answer.reasons.iter().filter_map(|leaf| self.reason(&mut run, rule, leaf, true, true)).collect()
    }

    fn reason(&self, run: &mut Run<'_, '_>, rule: &Segment, local: usize, decides: bool, nested: bool) -> Option<Reason> {
        let place = *rule.leaves.get(local)?;
        let test = rule.tests.get(local)?.clone();
        let (truth, _) = run.leaf(place);
        Some(match self.leaves.get(place)? {
            Leaf::Value { checked, .. } => {
                let (mut finding, _) = run.derive(&checked.attribute, checked.of.as_ref());
                if let Outcome::Known(Value::DaysSince(day)) = finding.outcome {
                    let days = run.watch.fresh().days_since(day, run.context.site.zone);
                    finding.outcome = Outcome::Known(Value::Integer(days, days));
                }
                let sources = finding.source.iter().map(read_in).collect();
                told(test, truth, decides, checked, &finding, sources, run.context.site)
            }
            Leaf::Count(checked) => {
                let (_, finding, _) = run.count(checked);
                told(test, truth, decides, checked, &finding, counted(run, checked), run.context.site)
            }
            Leaf::Segment(other) => {
                let referred = self.segments.get(*other)?;
                let deciding = run.answers.get(*other)?.as_ref()?.reasons.clone();
                // One level: what that segment itself refers to is explained by asking for it.
                let because = if nested {
                    deciding.iter().filter_map(|leaf| self.reason(run, referred, leaf, true, false)).collect()
                } else {
                    Vec::new()
                };
                let how = match truth {
                    Truth::True => "is fulfilled",
                    Truth::False => "is not fulfilled",
                    Truth::Unknown => "cannot be told",
                };
                let sentence = Phi::new(format!("the rule of segment {} {how}", referred.definition().id));
                Reason { test, truth, decides, value: None, sentence, sources: Vec::new(), because }
            }
        })
    }
}

/// The places of what was counted, the first ones.
fn counted(run: &Run<'_, '_>, checked: &Checked) -> Vec<ReadIn> {
    let mut sources = Vec::new();
    run.events(checked, &mut |event| {
        if sources.len() < MAX_SOURCES {
            let found = count(checked.period, run.context.site.zone, &mut run.watch.fresh(), |each| each(event));
            if found.most > 0 {
                sources.push(read_in(&event.source));
            }
        }
    });
    sources
}

fn read_in(source: &Source<'_>) -> ReadIn {
    match source {
        Source::Resource { origin, field } => ReadIn {
            ehr: Some(origin.ehr.to_string()),
            resource_type: Some(origin.resource_type),
            id: Some(origin.id.clone()),
            version: origin.version.clone(),
            field: (*field).to_owned(),
        },
        Source::Ledger { field } => ReadIn { ehr: None, resource_type: None, id: None, version: None, field: (*field).to_owned() },
    }
}

fn told(test: String, truth: Truth, decides: bool, checked: &Checked, finding: &Finding<'_>, sources: Vec<ReadIn>, site: &Site) -> Reason {
    let name = checked.attribute.name();
    let period = checked.period.map_or_else(String::new, |d| format!(" in the last {d}"));
    let listed = match (&checked.question, &checked.of) {
        (Question::InValueSet(listed), _) | (_, Some(Kind::ValueSet(listed))) => Some(listed),
        _ => None,
    };
    let codeless = listed.filter(|listed| listed.set().len().is_none()).map(|listed| &listed.set().id);
    let (value, mut fact) = match &finding.outcome {
        Outcome::Known(value) => {
            let shown = show(value, checked.attribute.unit(), site);
            let rough = finding.rough.map_or_else(String::new, |why| format!(" ({why})"));
            let fact = format!("{name}{period} is {shown}{rough}");
            (Some(Phi::new(shown)), fact)
        }
        Outcome::Absent(what) => (None, (*what).to_owned()),
        Outcome::Unknown(why) => (None, format!("{name} is not known: {why}")),
    };
    if let (Some(id), Outcome::Known(_) | Outcome::Unknown(_)) = (codeless, &finding.outcome) {
        fact.push_str(&format!("; the codes of value set {id} are not at this site: put them into value-sets/{id}.toml or .json"));
    }
    let verdict = match truth {
        Truth::True => "holds",
        Truth::False => "does not hold",
        Truth::Unknown => "cannot be told",
    };
    let sentence = Phi::new(format!("`{test}` {verdict}: {fact}{}", places(&sources)));
    Reason { test, truth, decides, value, sentence, sources, because: Vec::new() }
}

/// ` (main Appointment/12 version 3, start)`
fn places(sources: &[ReadIn]) -> String {
    let shown: Vec<String> = sources.iter().map(place).collect();
    if shown.is_empty() { String::new() } else { format!(" [{}]", shown.join("; ")) }
}

fn place(read: &ReadIn) -> String {
    match (&read.ehr, &read.resource_type, &read.id) {
        (Some(ehr), Some(kind), Some(id)) => {
            let version = read.version.as_ref().map_or_else(String::new, |v| format!(" version {v}"));
            format!("{ehr} {kind}/{id}{version}, {}", read.field)
        }
        _ => format!("contact ledger, {}", read.field),
    }
}

fn show(value: &Value<'_>, unit: Option<&str>, site: &Site) -> String {
    let unit = unit.map_or_else(String::new, |u| format!(" {u}"));
    match value {
        Value::Bool(true) => "yes".into(),
        Value::Bool(false) => "no".into(),
        Value::Integer(least, most) if least == most => format!("{least}{unit}"),
        Value::Integer(least, i64::MAX) => format!("{least}{unit} or more"),
        Value::Integer(least, most) => format!("{least} to {most}{unit}"),
        Value::DaysSince(day) => format!("counted from {day}"),
        Value::Text(text) => format!("{text:?}"),
        Value::Set(set) => show_set(set),
        Value::Time(from, to) if from == to => show_time(*from, site),
        Value::Time(from, to) => format!("between {} and {}", show_time(*from, site), show_time(*to, site)),
    }
}

fn show_set(set: &Set<'_>) -> String {
    let mut shown: Vec<String> = match &set.items {
        Items::Codes(codes) => codes.iter().map(show_code).collect(),
        Items::ManyCodes(lists) => lists.iter().flat_map(|codes| codes.iter()).map(show_code).collect(),
        Items::Texts(texts) => texts.to_vec(),
        Items::Some(texts) => texts.iter().map(|t| (*t).to_owned()).collect(),
    };
    if set.open {
        shown.push("perhaps more".into());
    }
    shown.join(", ")
}

fn show_code(coding: &crate::model::facts::Coding) -> String {
    match &coding.system {
        Some(system) => format!("{system}|{}", coding.code),
        None => coding.code.clone(),
    }
}

/// At the site's clock, with its offset.
fn show_time(t: Timestamp, site: &Site) -> String {
    // Outside of these years the zone's arithmetic may leave chrono's range.
    let years = Timestamp::from_micros(-62_135_596_800_000_000)..Timestamp::from_micros(253_370_764_800_000_000);
    if years.contains(&t) { t.to_utc().with_timezone(&site.zone).to_rfc3339_opts(SecondsFormat::AutoSi, true) } else { t.to_string() }
}
