//! Attributes of conditions: what a person has, and since when.
//!
//! | `clinicalStatus` | means here |
//! |---|---|
//! | active, recurrence, relapse | present |
//! | inactive, remission, resolved | past |
//! | none | past where an abatement has come or is told without a date; else it is open |
//!
//! A condition that was refuted or entered in error never counts; one that is unconfirmed, provisional or differential (R4
//! `verificationStatus`) leaves it open.

use crate::model::facts::Coding;
use crate::model::person::Sourced;
use crate::model::supporting::ConditionFacts;
use crate::rules::catalogue::Attribute;
use crate::rules::kind::Kind;
use crate::rules::value::{Finding, Type, Why};
use crate::rules::watch::Watch;

use super::timeline::{Counts, Entry, InForce, Latest, count, of_kind};
use super::{CONDITION, Context, counted_of, row_of};

const WHEN: &str = "Condition.onset[x] or recordedDate";
const NONE: &str = "there is no present condition of that kind";
const NOT_CONFIRMED: Why = Why::Doubtful("a condition is not confirmed");
const BY_CODE: &str = "the condition's code";

pub(super) const ROWS: &[Attribute] = &[
    row_of(
        "condition.present",
        Type::Bool,
        CONDITION,
        "A condition is present: active, recurring or relapsed, and neither refuted nor entered in error.",
        BY_CODE,
        "only conditions without clinical status, or not confirmed",
        "condition.present of \"http://hl7.org/fhir/sid/icd-10-cm|E11.9\"",
        |c, kind, w| present(c, kind, w).any("clinicalStatus"),
    ),
    row_of(
        "condition.codes",
        Type::Set,
        CONDITION,
        "Codes of the conditions that are present.",
        BY_CODE,
        "not found, and it is open whether a further condition is present",
        "condition.codes = \"http://hl7.org/fhir/sid/icd-10-cm|I10\"",
        |c, kind, w| present(c, kind, w).codes("code", "no present condition is coded", |f| &f.codes),
    ),
    row_of(
        "condition.onset",
        Type::Time,
        CONDITION,
        "The latest onset of the conditions that are present; where an onset is not told, when the condition was recorded.",
        BY_CODE,
        "a present condition has neither an onset nor a recorded date",
        "condition.onset of \"http://hl7.org/fhir/sid/icd-10-cm|E11.9\" within last 1 month",
        onset,
    ),
    counted_of(
        "conditions.begun",
        "conditions",
        CONDITION,
        "Conditions, present or past, by their onset; where that is not told, by when they were recorded.",
        BY_CODE,
        "known only roughly where one has no date, is not confirmed, or is dated to the month or year",
        "exists conditions.begun of \"http://hl7.org/fhir/sid/icd-10-cm|E11.9\" in last 1 month",
        |c, kind, each| {
            let entries = c.person.supporting.conditions.iter().map(|r| entry(r, of_kind(real(&r.facts), kind, r.facts.codes.iter())));
            count(entries, WHEN, "onset", c.site.zone, each);
        },
    ),
];

/// Whether it is one at all.
fn real(facts: &ConditionFacts) -> Counts {
    match facts.verification.as_deref() {
        Some("refuted" | "entered-in-error") => Ok(false),
        Some("unconfirmed" | "provisional" | "differential") => Err(NOT_CONFIRMED),
        _ => Ok(true),
    }
}

fn is_present(facts: &ConditionFacts, context: &Context<'_>, watch: &mut Watch) -> Counts {
    let real = real(facts);
    if real == Ok(false) {
        return real;
    }
    match facts.clinical_status.as_deref() {
        Some("active" | "recurrence" | "relapse") => real,
        Some("inactive" | "remission" | "resolved") => Ok(false),
        _ if facts.abated => Ok(false),
        _ if facts.abatement.is_some_and(|t| watch.reached(t.span(context.site.zone).1)) => Ok(false),
        _ => Err(Why::Missing("Condition.clinicalStatus")),
    }
}

fn present<'a>(context: &Context<'a>, kind: Option<&Kind>, watch: &mut Watch) -> InForce<'a, ConditionFacts> {
    InForce::survey(&context.person.supporting.conditions, |f| of_kind(is_present(f, context, watch), kind, f.codes.iter()))
}

fn entry(record: &Sourced<ConditionFacts>, counts: Counts) -> Entry<'_, ConditionFacts> {
    Entry { record, counts, at: record.facts.onset.or(record.facts.recorded) }
}

fn onset<'a>(context: &Context<'a>, kind: Option<&Kind>, watch: &mut Watch) -> Finding<'a> {
    let mut judged = Vec::new();
    for record in &context.person.supporting.conditions {
        judged.push(entry(record, of_kind(is_present(&record.facts, context, watch), kind, record.facts.codes.iter())));
    }
    Latest::survey(judged.into_iter(), WHEN, context.site.zone, watch).time("onset", NONE)
}

/// The codes of the conditions that references name, as far as they are there; and whether all are.
pub(super) fn named<'a>(context: &Context<'a>, references: impl Iterator<Item = (&'a str, &'a str)>) -> (Vec<&'a [Coding]>, bool) {
    let (mut codes, mut all) = (Vec::new(), true);
    for (ehr, reference) in references {
        let id = reference.rsplit_once("Condition/").map(|(_, id)| id.split('/').next().unwrap_or(id));
        let found = context.person.supporting.conditions.iter().find(|c| Some(c.origin.id.as_str()) == id && c.origin.ehr.as_str() == ehr);
        match found {
            Some(condition) if !condition.facts.codes.is_empty() => codes.push(condition.facts.codes.as_slice()),
            _ => all = false,
        }
    }
    (codes, all)
}
