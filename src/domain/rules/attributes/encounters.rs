//! Attributes of encounters: where a person is cared for now, and what ended when. A stay is an encounter of a class in [`STAYS`].
//!
//! R4 status `finished` has ended; `arrived`, `triaged`, `in-progress` and `onleave` go on; `planned`, `cancelled` and `entered-in-error` never
//! count; `unknown`, or none, leaves it open.

use crate::model::facts::Coding;
use crate::model::person::Sourced;
use crate::model::supporting::EncounterFacts;
use crate::rules::catalogue::Attribute;
use crate::rules::kind::Kind;
use crate::rules::value::{Type, Why};
use crate::rules::watch::Watch;

use super::timeline::{Counts, Entry, InForce, Latest, count, of_kind};
use super::{Context, ENCOUNTER, counted_of, row, row_of};

/// Classes of a stay (v3-ActCode): inpatient, acute, non-acute, observation, short stay.
const STAYS: [&str; 5] = ["IMP", "ACUTE", "NONAC", "OBSENC", "SS"];
/// The other classes of R4's value set (v3-ActEncounterCode).
const NO_STAYS: [&str; 6] = ["AMB", "EMER", "FLD", "HH", "PRENC", "VR"];
const ACT_CODE: &str = "http://terminology.hl7.org/CodeSystem/v3-ActCode";

const WHEN: &str = "Encounter.period.end";
const NO_STATUS: Why = Why::Missing("Encounter.status that tells one");
const NO_CLASS: Why = Why::Missing("Encounter.class of v3-ActCode");
const BY_CLASS: &str = "the encounter's class or type";

pub(super) const ROWS: &[Attribute] = &[
    row(
        "encounter.current_class",
        Type::Set,
        ENCOUNTER,
        "Classes of the encounters that go on now: where the person is cared for.",
        "not found, and it is open whether a further encounter goes on",
        "encounter.current_class = \"IMP\"",
        |c, _| InForce::survey(&c.person.supporting.encounters, goes_on).codes("class", "no encounter goes on", class),
    ),
    row_of(
        "last_encounter.end",
        Type::Time,
        ENCOUNTER,
        "When the last finished encounter ended.",
        BY_CLASS,
        "a finished encounter has no end",
        "last_encounter.end of \"EMER\" within last 7d",
        |c, kind, w| finished(c, kind, w).time("period.end", "there is no finished encounter of that kind"),
    ),
    row_of(
        "last_encounter.class",
        Type::Set,
        ENCOUNTER,
        "The class of the last finished encounter.",
        BY_CLASS,
        "a finished encounter has no end",
        "last_encounter.class = \"AMB\"",
        |c, kind, w| finished(c, kind, w).codes("class", "there is no finished encounter of that kind", |f| vec![class(f)]),
    ),
    counted_of(
        "encounters.finished",
        "encounters",
        ENCOUNTER,
        "Finished encounters, by when they ended.",
        BY_CLASS,
        "known only roughly where one has no end or no status",
        "encounters.finished of \"EMER\" in last 12 months >= 2",
        |c, kind, each| {
            let entries = c.person.supporting.encounters.iter().map(|r| entry(r, of_its_kind(ended(&r.facts), kind, &r.facts)));
            count(entries, WHEN, "period.end", c.site.zone, each);
        },
    ),
    row(
        "last_discharge.end",
        Type::Time,
        ENCOUNTER,
        "When the last stay ended: a finished encounter that is inpatient, acute, non-acute, for observation or a short stay.",
        "a stay has no end, or an encounter has no class of v3-ActCode",
        "last_discharge.end within last 30d",
        |c, w| discharged(c, w).time("period.end", "there is no stay that ended"),
    ),
    row(
        "last_discharge.disposition",
        Type::Set,
        ENCOUNTER,
        "Where to the person was discharged from the last stay (codes of `hospitalization.dischargeDisposition`).",
        "a stay has no end, or an encounter has no class of v3-ActCode",
        "last_discharge.disposition = \"home\"",
        |c, w| discharged(c, w).codes("hospitalization.dischargeDisposition", "there is no stay that ended", |f| vec![&f.discharge]),
    ),
];

fn class(facts: &EncounterFacts) -> &[Coding] {
    facts.class.as_slice()
}

fn goes_on(facts: &EncounterFacts) -> Counts {
    match facts.status.as_deref() {
        Some("arrived" | "triaged" | "in-progress" | "onleave") => Ok(true),
        Some("finished" | "planned" | "cancelled" | "entered-in-error") => Ok(false),
        _ => Err(NO_STATUS),
    }
}

fn ended(facts: &EncounterFacts) -> Counts {
    match facts.status.as_deref() {
        Some("finished") => Ok(true),
        Some("arrived" | "triaged" | "in-progress" | "onleave" | "planned" | "cancelled" | "entered-in-error") => Ok(false),
        _ => Err(NO_STATUS),
    }
}

fn of_its_kind(counts: Counts, kind: Option<&Kind>, facts: &EncounterFacts) -> Counts {
    of_kind(counts, kind, facts.class.iter().chain(&facts.kinds))
}

fn is_stay(facts: &EncounterFacts) -> Counts {
    let Some(class) = &facts.class else { return Err(NO_CLASS) };
    let known = class.system.as_deref().is_none_or(|system| system == ACT_CODE);
    match class.code.as_str() {
        code if known && STAYS.contains(&code) => Ok(true),
        code if known && NO_STAYS.contains(&code) => Ok(false),
        _ => Err(NO_CLASS),
    }
}

fn entry(record: &Sourced<EncounterFacts>, counts: Counts) -> Entry<'_, EncounterFacts> {
    Entry { record, counts, at: record.facts.period.end }
}

fn finished<'a>(context: &Context<'a>, kind: Option<&Kind>, watch: &mut Watch) -> Latest<'a, EncounterFacts> {
    let entries = context.person.supporting.encounters.iter().map(|r| entry(r, of_its_kind(ended(&r.facts), kind, &r.facts)));
    Latest::survey(entries, WHEN, context.site.zone, watch)
}

fn discharged<'a>(context: &Context<'a>, watch: &mut Watch) -> Latest<'a, EncounterFacts> {
    let counts = |facts: &EncounterFacts| match (ended(facts), is_stay(facts)) {
        (Ok(false), _) | (_, Ok(false)) => Ok(false),
        (Err(why), _) | (_, Err(why)) => Err(why),
        (Ok(true), Ok(true)) => Ok(true),
    };
    let entries = context.person.supporting.encounters.iter().map(|r| entry(r, counts(&r.facts)));
    Latest::survey(entries, WHEN, context.site.zone, watch)
}
