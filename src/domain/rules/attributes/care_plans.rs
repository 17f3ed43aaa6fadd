//! Attributes of care plans in force, and of their activities.
//!
//! A plan is in force where its status is `active`, its intent is `plan` or `order` (a proposal or option is not yet anyone's plan) and
//! its period covers the present. A status `unknown` or a missing intent leaves it open whether it is.
//!
//! Many EHRs send plans without activities or without schedules (`standards.md` E.1). Then the number of activities due is not known;
//! what is known goes by category and period.

use chrono_tz::Tz;

use crate::model::PersonFacts;
use crate::model::facts::{Activity, CarePlanFacts};
use crate::model::person::Sourced;
use crate::model::time::{FhirTime, Timestamp};
use crate::rules::catalogue::Attribute;
use crate::rules::duration::{Duration, Unit};
use crate::rules::site::Site;
use crate::rules::truth::Truth;
use crate::rules::value::{Finding, Items, Set, Type, Value, Why};
use crate::rules::watch::Watch;

use super::conditions::named;
use super::person::covers;
use super::{CARE_PLAN, CARE_PLAN_AND_CONDITION, Context, instant, row};

type Plan = Sourced<CarePlanFacts>;

/// From this length on a plan is long-term: chronic care is planned by the quarter or longer.
const LONG_TERM_DAYS: u32 = 90;
const NO_PLAN: &str = "there is no care plan in force";
const NO_SCHEDULE: Why = Why::Missing("CarePlan.activity.detail.scheduledPeriod");
const NO_STATUS: Why = Why::Missing("CarePlan.activity.detail.status");
const NO_ACTIVITY: Why = Why::Missing("CarePlan.activity");

pub(super) const ROWS: &[Attribute] = &[
    row(
        "care_plan.active",
        Type::Bool,
        CARE_PLAN,
        "A care plan is in force now.",
        "only plans whose status is `unknown` or whose intent is not told",
        "care_plan.active",
        active,
    ),
    row(
        "care_plan.category",
        Type::Set,
        CARE_PLAN,
        "Category codes of the care plans in force.",
        "not found, and it is open whether a further plan is in force",
        "care_plan.category = \"http://hl7.org/fhir/us/core/CodeSystem/careplan-category|assess-plan\"",
        category,
    ),
    row(
        "care_plan.start",
        Type::Time,
        CARE_PLAN,
        "The earliest start of the care plans in force.",
        "a plan in force has no start",
        "care_plan.start within last 1 month",
        start,
    ),
    row(
        "care_plan.end",
        Type::Time,
        CARE_PLAN,
        "The latest end of the care plans in force; absent where one has no end.",
        "it is open whether a further plan is in force",
        "care_plan.end within 30d",
        end,
    ),
    row(
        "care_plan.long_term",
        Type::Bool,
        CARE_PLAN,
        "A care plan in force covers 90 days or more, or has begun and has no end.",
        "the plans in force do not tell their period",
        "care_plan.long_term",
        long_term,
    ),
    row(
        "care_plan.addresses",
        Type::Set,
        CARE_PLAN,
        "References of the conditions that the care plans in force address, as sent.",
        "not found, and it is open whether a further plan is in force",
        "care_plan.addresses = \"Condition/12\"",
        addresses,
    ),
    row(
        "care_plan.conditions",
        Type::Set,
        CARE_PLAN_AND_CONDITION,
        "Codes of the conditions that the care plans in force address.",
        "not found, and a condition that is addressed is not there or not coded, or it is open whether a further plan is in force",
        "care_plan.conditions = \"http://hl7.org/fhir/sid/icd-10-cm|E11.9\"",
        conditions,
    ),
    row(
        "care_plan.activities_done",
        Type::Integer,
        CARE_PLAN,
        "Completed activities of care plans in force.",
        "known only roughly where activities or their statuses are not told",
        "care_plan.activities_done >= 1",
        done,
    )
    .in_unit("activities"),
    row(
        "care_plan.activities_due",
        Type::Integer,
        CARE_PLAN,
        "Open activities of care plans in force whose scheduled time has begun and not ended.",
        "known only roughly where activities or their schedules are not told",
        "care_plan.activities_due >= 1",
        |c, w| activities(c, w, Moment::Due),
    )
    .in_unit("activities"),
    row(
        "care_plan.activities_overdue",
        Type::Integer,
        CARE_PLAN,
        "Open activities of care plans in force whose scheduled time has ended.",
        "known only roughly where activities or their schedules are not told",
        "care_plan.activities_overdue >= 1",
        |c, w| activities(c, w, Moment::Overdue),
    )
    .in_unit("activities"),
    row(
        "care_plan.next_due",
        Type::Time,
        CARE_PLAN,
        "When the scheduled time of the next open activity ends.",
        "activities or their schedules are not told",
        "care_plan.next_due within 7d",
        next_due,
    ),
];

/// The plans of a person, sorted by whether they are in force.
pub(super) struct Plans<'a> {
    pub(super) in_force: Vec<&'a Plan>,
    /// Plans of which it cannot be told, and why.
    pub(super) open: Option<(&'a Plan, Why)>,
}

impl<'a> Plans<'a> {
    pub(super) fn survey(person: &'a PersonFacts, site: &Site, watch: &mut Watch) -> Self {
        let mut plans = Self { in_force: Vec::new(), open: None };
        for plan in &person.care_plans {
            match in_force(&plan.facts, site, watch) {
                Ok(true) => plans.in_force.push(plan),
                Ok(false) => {}
                Err(why) => plans.open = plans.open.or(Some((plan, why))),
            }
        }
        plans
    }

    /// Whether some plan is in force.
    pub(super) fn any(&self) -> Truth {
        Truth::told(!self.in_force.is_empty(), self.open.is_none())
    }

    fn nothing(&self) -> Finding<'a> {
        self.open.map_or_else(|| Finding::absent(NO_PLAN), |(plan, why)| Finding::unknown(why).at(plan, "status"))
    }
}

fn in_force(plan: &CarePlanFacts, site: &Site, watch: &mut Watch) -> Result<bool, Why> {
    let status = plan.status.as_str();
    let intent = plan.intent.as_deref();
    if !matches!(status, "active" | "unknown") || !matches!(intent, None | Some("plan" | "order")) {
        return Ok(false);
    }
    if !covers(&plan.period, site.zone, watch) {
        return Ok(false);
    }
    match (status, intent) {
        ("active", Some(_)) => Ok(true),
        ("active", None) => Err(Why::Missing("CarePlan.intent")),
        _ => Err(Why::Doubtful("the status of a care plan is `unknown`")),
    }
}

fn active<'a>(context: &Context<'a>, watch: &mut Watch) -> Finding<'a> {
    let plans = context.plans(watch);
    match (plans.in_force.first(), plans.open) {
        (Some(plan), _) => Finding::known(Value::Bool(true), plan, "status"),
        (None, Some((plan, why))) => Finding::unknown(why).at(plan, "status"),
        (None, None) => Finding::plain(Value::Bool(false)),
    }
}

fn category<'a>(context: &Context<'a>, watch: &mut Watch) -> Finding<'a> {
    let plans = context.plans(watch);
    let Some(first) = plans.in_force.first() else {
        return plans.nothing();
    };
    let items = Items::ManyCodes(plans.in_force.iter().map(|plan| plan.facts.categories.as_slice()).collect());
    let open = plans.open.is_some();
    if items.is_empty() && !open {
        return Finding::absent("no care plan in force has a category").at(first, "category");
    }
    let told = plans.in_force.iter().find(|plan| !plan.facts.categories.is_empty()).unwrap_or(first);
    Finding::known(Value::Set(Set { items, open }), told, "category").because(plans.open.map(|(_, why)| why))
}

fn start<'a>(context: &Context<'a>, watch: &mut Watch) -> Finding<'a> {
    let zone = context.site.zone;
    let plans = context.plans(watch);
    let Some(first) = plans.in_force.first() else {
        return plans.nothing();
    };
    if let Some((plan, why)) = plans.open {
        return Finding::unknown(why).at(plan, "status");
    }
    let mut best: Option<(Timestamp, &'a Plan)> = None;
    for plan in &plans.in_force {
        let Some(start) = plan.facts.period.start.map(|s| s.earliest(zone)) else {
            return Finding::unknown(Why::Missing("CarePlan.period.start")).at(plan, "period.start");
        };
        best = best.filter(|(t, _)| *t <= start).or(Some((start, plan)));
    }
    best.map_or_else(|| Finding::absent(NO_PLAN).at(first, "period"), |(t, plan)| Finding::known(instant(t), plan, "period.start"))
}

fn end<'a>(context: &Context<'a>, watch: &mut Watch) -> Finding<'a> {
    let zone = context.site.zone;
    let plans = context.plans(watch);
    if plans.in_force.is_empty() {
        return plans.nothing();
    }
    if let Some(plan) = plans.in_force.iter().find(|plan| plan.facts.period.end.is_none()) {
        return Finding::absent("a care plan in force has no end").at(plan, "period.end");
    }
    if let Some((plan, why)) = plans.open {
        return Finding::unknown(why).at(plan, "status");
    }
    let ends = plans.in_force.iter().filter_map(|plan| plan.facts.period.end.map(|e| (close(e, zone), *plan)));
    match ends.max_by_key(|(t, _)| *t) {
        Some((t, plan)) => Finding::known(instant(t), plan, "period.end"),
        None => plans.nothing(),
    }
}

fn long_term<'a>(context: &Context<'a>, watch: &mut Watch) -> Finding<'a> {
    let plans = context.plans(watch);
    let mut untold = None;
    for plan in &plans.in_force {
        match is_long_term(&plan.facts, context.site) {
            Truth::True => return Finding::known(Value::Bool(true), plan, "period"),
            Truth::Unknown => untold = untold.or(Some((*plan, "period", Why::Missing("CarePlan.period with a start")))),
            Truth::False => {}
        }
    }
    let open = plans.open.map(|(plan, why)| (plan, "status", why));
    match (untold.or(open), plans.in_force.first()) {
        (Some((plan, field, why)), _) => Finding::unknown(why).at(plan, field),
        (None, Some(plan)) => Finding::known(Value::Bool(false), plan, "period"),
        (None, None) => Finding::plain(Value::Bool(false)),
    }
}

/// Where the period has no start, the day the plan was made stands in for it: a plan does not begin before it is made.
fn is_long_term(plan: &CarePlanFacts, site: &Site) -> Truth {
    let zone = site.zone;
    match (plan.period.start.or(plan.created), plan.period.end) {
        (Some(_), None) if plan.period.start.is_some() => Truth::True,
        (Some(start), Some(end)) => {
            let long = Duration::new(LONG_TERM_DAYS, Unit::Days).is_some_and(|d| d.after(start.earliest(zone), zone) <= end.span(zone).1);
            long.into()
        }
        _ => Truth::Unknown,
    }
}

/// Where an activity stands in its scheduled time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    /// Done, stopped, on hold, or not begun.
    NotNow,
    Due,
    Overdue,
    /// Open, and the record does not say when it is to be done.
    Untold,
}

fn moment(activity: &Activity, site: &Site, watch: &mut Watch) -> Moment {
    match activity.status.as_deref() {
        Some("completed" | "cancelled" | "stopped" | "entered-in-error" | "on-hold") => return Moment::NotNow,
        Some("not-started" | "scheduled" | "in-progress") => {}
        _ => return Moment::Untold,
    }
    let zone = site.zone;
    if activity.scheduled.end.is_some_and(|end| watch.reached(end.span(zone).1)) {
        return Moment::Overdue;
    }
    match activity.scheduled.start {
        Some(start) if watch.reached(start.earliest(zone)) => Moment::Due,
        Some(_) => Moment::NotNow,
        None => Moment::Untold,
    }
}

fn activities<'a>(context: &Context<'a>, watch: &mut Watch, wanted: Moment) -> Finding<'a> {
    let plans = context.plans(watch);
    let (mut certain, mut possible) = (0_i64, 0_i64);
    let mut found: Option<&'a Plan> = None;
    let mut rough = plans.open;
    for plan in &plans.in_force {
        if plan.facts.activities.is_empty() {
            rough = rough.or(Some((plan, NO_ACTIVITY)));
        }
        for activity in &plan.facts.activities {
            match moment(activity, context.site, watch) {
                Moment::Untold => {
                    possible += 1;
                    rough = rough.or(Some((plan, NO_SCHEDULE)));
                }
                m if m == wanted => {
                    certain += 1;
                    found = found.or(Some(plan));
                }
                _ => {}
            }
        }
    }
    let without_end = plans.open.is_some() || plans.in_force.iter().any(|plan| plan.facts.activities.is_empty());
    let most = if without_end { i64::MAX } else { certain + possible };
    let finding = Finding::plain(Value::Integer(certain, most)).because(rough.map(|(_, why)| why));
    match found.or(rough.map(|(plan, _)| plan)).or(plans.in_force.first().copied()) {
        Some(plan) => finding.at(plan, "activity"),
        None => finding,
    }
}

fn addresses<'a>(context: &Context<'a>, watch: &mut Watch) -> Finding<'a> {
    let plans = context.plans(watch);
    let Some(first) = plans.in_force.first() else {
        return plans.nothing();
    };
    let items: Vec<&str> = plans.in_force.iter().flat_map(|plan| plan.facts.addresses.iter().map(String::as_str)).collect();
    let open = plans.open.is_some();
    if items.is_empty() && !open {
        return Finding::absent("no care plan in force says what it addresses").at(first, "addresses");
    }
    let told = plans.in_force.iter().find(|plan| !plan.facts.addresses.is_empty()).unwrap_or(first);
    Finding::known(Value::Set(Set { items: Items::Some(items), open }), told, "addresses").because(plans.open.map(|(_, why)| why))
}

fn conditions<'a>(context: &Context<'a>, watch: &mut Watch) -> Finding<'a> {
    let plans = context.plans(watch);
    let Some(first) = plans.in_force.first() else {
        return plans.nothing();
    };
    let references = plans.in_force.iter().flat_map(|plan| plan.facts.addresses.iter().map(|r| (plan.origin.ehr.as_str(), r.as_str())));
    let (codes, all) = named(context, references);
    let why = plans.open.map(|(_, why)| why).or((!all).then_some(Why::Missing("Condition that the plan addresses, with a code")));
    if codes.is_empty() && why.is_none() {
        return Finding::absent("no care plan in force says what it addresses").at(first, "addresses");
    }
    let told = plans.in_force.iter().find(|plan| !plan.facts.addresses.is_empty()).unwrap_or(first);
    let items = Items::ManyCodes(codes);
    Finding::known(Value::Set(Set { items, open: why.is_some() }), told, "addresses").because(why)
}

fn done<'a>(context: &Context<'a>, watch: &mut Watch) -> Finding<'a> {
    let plans = context.plans(watch);
    let all = || plans.in_force.iter().flat_map(|plan| plan.facts.activities.iter().map(move |a| (*plan, a.status.as_deref())));
    let count = |wanted: &dyn Fn(Option<&str>) -> bool| i64::try_from(all().filter(|(_, s)| wanted(*s)).count()).unwrap_or(i64::MAX);
    let least = count(&|s| s == Some("completed"));
    let untold = count(&|s| matches!(s, None | Some("unknown")));
    let silent = plans.in_force.iter().find(|plan| plan.facts.activities.is_empty());
    let rough = plans.open.or(silent.map(|plan| (*plan, NO_ACTIVITY))).or((untold > 0)
        .then_some(())
        .and_then(|()| all().find(|(_, s)| matches!(s, None | Some("unknown"))).map(|(plan, _)| (plan, NO_STATUS))));
    let most = if plans.open.is_some() || silent.is_some() { i64::MAX } else { least + untold };
    let finding = Finding::plain(Value::Integer(least, most)).because(rough.map(|(_, why)| why));
    match all().find(|(_, s)| *s == Some("completed")).map(|(plan, _)| plan).or(rough.map(|(plan, _)| plan)) {
        Some(plan) => finding.at(plan, "activity"),
        None => finding,
    }
}

fn next_due<'a>(context: &Context<'a>, watch: &mut Watch) -> Finding<'a> {
    let zone = context.site.zone;
    let plans = context.plans(watch);
    if let Some((plan, why)) = plans.open {
        return Finding::unknown(why).at(plan, "status");
    }
    let mut best: Option<(Timestamp, &'a Plan)> = None;
    for plan in &plans.in_force {
        if plan.facts.activities.is_empty() {
            return Finding::unknown(NO_ACTIVITY).at(plan, "activity");
        }
        for activity in &plan.facts.activities {
            let end = activity.scheduled.end.map(|e| close(e, zone));
            match (moment(activity, context.site, watch), end) {
                // Where the status is not told, it may be done already.
                (Moment::Untold, _) if !is_open(activity) => return Finding::unknown(NO_STATUS).at(plan, "activity"),
                (Moment::Untold, None) => return Finding::unknown(NO_SCHEDULE).at(plan, "activity"),
                (Moment::NotNow, _) if !is_open(activity) => {}
                (Moment::Due | Moment::Untold | Moment::NotNow, Some(end)) => best = best.filter(|(t, _)| *t <= end).or(Some((end, plan))),
                (Moment::Due | Moment::NotNow, None) | (Moment::Overdue, _) => {}
            }
        }
    }
    best.map_or_else(|| Finding::absent("no open activity has a date to come"), |(t, plan)| Finding::known(instant(t), plan, "activity"))
}

/// When a period ends: a date with its last instant, told as the first one after it; an instant is itself.
fn close(end: FhirTime, zone: Tz) -> Timestamp {
    match end {
        FhirTime::Instant(t) => t,
        date => date.span(zone).1,
    }
}

fn is_open(activity: &Activity) -> bool {
    matches!(activity.status.as_deref(), Some("not-started" | "scheduled" | "in-progress"))
}
