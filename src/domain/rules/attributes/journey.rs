//! The journey stage, by a table over three questions: was the person here, is a visit booked, is a care plan in force?
//!
#![doc = include_str!("JOURNEY.md")]

use crate::model::ids::ResourceType;
use crate::rules::catalogue::{Attribute, Derivation};
use crate::rules::duration::{Duration, Unit};
use crate::rules::truth::Truth;
use crate::rules::value::{Finding, Type, Value, Why};
use crate::rules::watch::Watch;

use super::visits::Appointment;
use super::{APPOINTMENT, CARE_PLAN, Context};

/// The stages, in the order of the journey.
pub const STAGES: [&str; 7] = ["awareness", "scheduling", "intake", "visit-preparation", "treatment", "follow-up", "retention"];

const PREPARATION_DAYS: u32 = 7;
const FOLLOW_UP_DAYS: u32 = 14;

pub(super) const ROWS: &[Attribute] = &[Attribute {
    name: "journey.stage",
    kind: Type::Text,
    unit: None,
    values: &STAGES,
    meaning: "Where the person stands in the care journey, by visits so far, the visit to come and care plans in force.",
    needs: APPOINTMENT,
    also_reads: CARE_PLAN,
    of: None,
    unknown: "the stage hangs on a care plan and it is not known whether one is in force, or a finished visit has no time",
    example: "journey.stage = \"follow-up\"",
    derivation: Derivation::Value(stage),
}];

/// Visits so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum History {
    /// None, and none was asked for, missed or cancelled.
    Nothing,
    /// None, but one was asked for, missed or cancelled.
    Asked,
    /// The last one ended less than 14 days ago.
    Recent,
    /// The last one ended longer ago.
    Earlier,
}

/// The booked visit to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Upcoming {
    /// None.
    Nothing,
    /// In more than 7 days.
    Later,
    /// Within 7 days.
    Soon,
}

/// The table above.
const fn stage_of(history: History, upcoming: Upcoming, plan: bool) -> &'static str {
    match (history, upcoming, plan) {
        (_, Upcoming::Soon, _) => "visit-preparation",
        (History::Nothing | History::Asked, Upcoming::Later, _) => "intake",
        (History::Asked, Upcoming::Nothing, _) => "scheduling",
        (History::Nothing, Upcoming::Nothing, _) => "awareness",
        (_, _, true) => "treatment",
        (History::Recent, _, false) => "follow-up",
        (History::Earlier, _, false) => "retention",
    }
}

fn stage<'a>(context: &Context<'a>, watch: &mut Watch) -> Finding<'a> {
    let (upcoming, next) = upcoming(context, watch);
    // What decides is the visit to come where there is one soon, whatever else is not known.
    let (history, last) = match history(context, watch) {
        Ok(told) => told,
        Err(_) if upcoming == Upcoming::Soon => (History::Nothing, None),
        Err(finding) => return finding,
    };
    let plan = if context.person.knows(ResourceType::CarePlan) { context.plans(watch).any() } else { Truth::Unknown };
    let (with, without) = (stage_of(history, upcoming, true), stage_of(history, upcoming, false));
    let told = match plan {
        Truth::True => with,
        Truth::False => without,
        Truth::Unknown if with == without => with,
        Truth::Unknown => {
            let why = context.plans(watch).open.map_or(Why::NotSynced(ResourceType::CarePlan), |(_, why)| why);
            return Finding::unknown(if context.person.knows(ResourceType::CarePlan) {
                why
            } else {
                Why::NotSynced(ResourceType::CarePlan)
            });
        }
    };
    let finding = Finding::plain(Value::Text(told));
    match (told, next, last) {
        ("visit-preparation" | "intake", Some(visit), _) => finding.at(visit, "start"),
        ("treatment", ..) => match context.plans(watch).in_force.first() {
            Some(plan) => finding.at(plan, "status"),
            None => finding,
        },
        (_, _, Some(visit)) => finding.at(visit, "status"),
        _ => finding,
    }
}

fn upcoming<'a>(context: &Context<'a>, watch: &mut Watch) -> (Upcoming, Option<&'a Appointment>) {
    let zone = context.site.zone;
    let pick = context.visits(watch).next;
    watch.join(pick.until);
    let Some(start) = pick.found.and_then(|a| a.facts.start) else {
        return (Upcoming::Nothing, None);
    };
    let soon = Duration::new(PREPARATION_DAYS, Unit::Days).is_some_and(|d| watch.reached(d.before(start, zone)));
    (if soon { Upcoming::Soon } else { Upcoming::Later }, pick.found)
}

fn history<'a>(context: &Context<'a>, watch: &mut Watch) -> Result<(History, Option<&'a Appointment>), Finding<'a>> {
    let zone = context.site.zone;
    let visits = context.visits(watch);
    watch.join(visits.last.until);
    watch.join(visits.missed.until);
    if let Some(undated) = visits.last.undated {
        return Err(Finding::unknown(Why::Missing("Appointment.start")).at(undated, "start"));
    }
    let Some(last) = visits.last.found else {
        let asked =
            visits.requested.or(visits.missed.found).or(visits.missed.undated).or(visits.cancelled.found).or(visits.cancelled.undated);
        return Ok((if asked.is_some() { History::Asked } else { History::Nothing }, asked));
    };
    let end = last.facts.end.or(last.facts.start);
    let earlier = end.is_some_and(|end| Duration::new(FOLLOW_UP_DAYS, Unit::Days).is_some_and(|d| watch.reached(d.after(end, zone))));
    Ok((if earlier { History::Earlier } else { History::Recent }, Some(last)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cell_of_the_table() {
        use {History as H, Upcoming as U};
        for (history, upcoming, without_plan, with_plan) in [
            (H::Nothing, U::Nothing, "awareness", "awareness"),
            (H::Nothing, U::Later, "intake", "intake"),
            (H::Nothing, U::Soon, "visit-preparation", "visit-preparation"),
            (H::Asked, U::Nothing, "scheduling", "scheduling"),
            (H::Asked, U::Later, "intake", "intake"),
            (H::Asked, U::Soon, "visit-preparation", "visit-preparation"),
            (H::Recent, U::Nothing, "follow-up", "treatment"),
            (H::Recent, U::Later, "follow-up", "treatment"),
            (H::Recent, U::Soon, "visit-preparation", "visit-preparation"),
            (H::Earlier, U::Nothing, "retention", "treatment"),
            (H::Earlier, U::Later, "retention", "treatment"),
            (H::Earlier, U::Soon, "visit-preparation", "visit-preparation"),
        ] {
            assert_eq!(stage_of(history, upcoming, false), without_plan, "{history:?} {upcoming:?}");
            assert_eq!(stage_of(history, upcoming, true), with_plan, "{history:?} {upcoming:?}");
        }
    }
}
