//! Attributes of how a person stands: who pays, what was consented to, at which risk, in whose care, towards which goals.

use crate::model::facts::Coding;
use crate::model::person::Sourced;
use crate::model::supporting::{CareTeamFacts, ConsentFacts, CoverageFacts, GoalFacts, RiskAssessmentFacts};
use crate::model::time::Timestamp;
use crate::rules::catalogue::Attribute;
use crate::rules::kind::Kind;
use crate::rules::value::{Finding, Items, Type, Value, Why};
use crate::rules::watch::Watch;

use super::person::covers;
use super::timeline::{Counts, Entry, InForce, Latest, of_kind};
use super::{CARE_TEAM, CONSENT, COVERAGE, Context, GOAL, RISK_ASSESSMENT, instant, row, row_of};

const BY_CONSENT: &str = "the consent's scope or category, or what its rule is about";
const BY_RISK: &str = "what was assessed, by which method, or the predicted outcome";

pub(super) const ROWS: &[Attribute] = &[
    row(
        "coverage.active",
        Type::Bool,
        COVERAGE,
        "A coverage is in force now.",
        "only coverages without status",
        "not coverage.active",
        |c, w| coverages(c, w).any("status"),
    ),
    row(
        "coverage.payer_type",
        Type::Set,
        COVERAGE,
        "Type codes of the coverages in force: who pays (public, commercial, self-pay).",
        "not found, and it is open whether a further coverage is in force",
        "coverage.payer_type = \"http://terminology.hl7.org/CodeSystem/v3-ActCode|PUBLICPOL\"",
        |c, w| coverages(c, w).codes("type", "no coverage in force has a type", |f| &f.kinds),
    ),
    row(
        "coverage.payers",
        Type::Set,
        COVERAGE,
        "References of the payors of the coverages in force, as sent.",
        "not found, and it is open whether a further coverage is in force",
        "coverage.payers = \"Organization/12\"",
        |c, w| {
            let coverages = coverages(c, w);
            let payors = coverages.certain.iter().flat_map(|r| r.facts.payors.iter().map(String::as_str)).collect();
            coverages.set("payor", "no coverage in force names a payor", Items::Some(payors))
        },
    ),
    row_of(
        "consent.permits",
        Type::Bool,
        CONSENT,
        "A consent is in force that permits.",
        BY_CONSENT,
        "only consents without status or rule, or with exceptions",
        "consent.permits of \"http://terminology.hl7.org/CodeSystem/consentscope|research\"",
        |c, kind, w| consents(c, kind, "permit", w).any("provision.type"),
    ),
    row_of(
        "consent.denies",
        Type::Bool,
        CONSENT,
        "A consent is in force that denies.",
        BY_CONSENT,
        "only consents without status or rule, or with exceptions",
        "not consent.denies of \"http://terminology.hl7.org/CodeSystem/consentscope|patient-privacy\"",
        |c, kind, w| consents(c, kind, "deny", w).any("provision.type"),
    ),
    row_of(
        "risk.level",
        Type::Set,
        RISK_ASSESSMENT,
        "Qualitative risks of the last final risk assessment (`low`, `moderate`, `high`, `certain`).",
        BY_RISK,
        "it is open which assessment is the last",
        "risk.level in (\"high\", \"certain\")",
        |c, kind, w| {
            let latest = assessed(c, kind, w);
            latest.codes("prediction.qualitativeRisk", NO_RISK, |f| f.predictions.iter().map(|p| p.level.as_slice()).collect())
        },
    ),
    row_of(
        "risk.assessed",
        Type::Time,
        RISK_ASSESSMENT,
        "When risk was last assessed.",
        BY_RISK,
        "a final assessment has no date",
        "risk.assessed older than 12 months",
        |c, kind, w| assessed(c, kind, w).time("occurrence", NO_RISK),
    ),
    row(
        "care_team.members",
        Type::Set,
        CARE_TEAM,
        "References of the members of the active care teams, as sent.",
        "not found, and it is open whether a further care team is active",
        "care_team.members = \"Practitioner/12\"",
        members,
    ),
    row(
        "care_team.roles",
        Type::Set,
        CARE_TEAM,
        "Role codes of the members of the active care teams.",
        "not found, and it is open whether a further care team is active",
        "care_team.roles = \"http://terminology.hl7.org/CodeSystem/v3-ParticipationFunction|PCP\"",
        roles,
    ),
    row_of(
        "goal.active",
        Type::Bool,
        GOAL,
        "A goal is accepted or active.",
        "the goal's description or category codes",
        "only goals without lifecycle status",
        "goal.active",
        |c, kind, _| goals(c, kind).any("lifecycleStatus"),
    ),
    row(
        "goal.next_due",
        Type::Time,
        GOAL,
        "The next due date to come of the active goals that are not achieved: the end of that day.",
        "it is open whether a further goal is active",
        "goal.next_due within 30d",
        next_due,
    ),
    row(
        "goal.overdue",
        Type::Integer,
        GOAL,
        "Active goals that are not achieved and of which a due date has passed.",
        "known only roughly where a goal has no lifecycle status",
        "goal.overdue >= 1",
        overdue,
    )
    .in_unit("goals"),
    row(
        "goal.achievement",
        Type::Set,
        GOAL,
        "Achievement codes of the active goals (`in-progress`, `improving`, `not-achieved`, ...).",
        "not found, and it is open whether a further goal is active",
        "goal.achievement in (\"worsening\", \"no-progress\")",
        |c, _| goals(c, None).codes("achievementStatus", "no active goal tells of its achievement", |f| &f.achievement),
    ),
];

const NO_RISK: &str = "there is no final risk assessment of that kind";

/// Whether a status is the one that counts; where it is missing or `unknown`, it is open.
fn is(status: Option<&str>, wanted: &[&str], why: Why) -> Counts {
    match status {
        None | Some("unknown") => Err(why),
        Some(status) => Ok(wanted.contains(&status)),
    }
}

fn coverages<'a>(context: &Context<'a>, watch: &mut Watch) -> InForce<'a, CoverageFacts> {
    InForce::survey(&context.person.supporting.coverages, |f| {
        if covers(&f.period, context.site.zone, watch) {
            is(f.status.as_deref(), &["active"], Why::Missing("Coverage.status"))
        } else {
            Ok(false)
        }
    })
}

/// Consents whose rule says so. R4 keeps the type of the rule that all others are exceptions from in `provision.type`; where it is missing,
/// the rule is that of a policy which is not looked into.
fn consents<'a>(context: &Context<'a>, kind: Option<&Kind>, wanted: &str, watch: &mut Watch) -> InForce<'a, ConsentFacts> {
    InForce::survey(&context.person.supporting.consents, |f| {
        if !covers(&f.period, context.site.zone, watch) {
            return Ok(false);
        }
        let says = match f.provision.as_deref() {
            Some(_) if f.has_exceptions => Err(Why::Doubtful("a consent has exceptions, which are not looked into")),
            Some(rule) => Ok(rule == wanted),
            None => Err(Why::Missing("Consent.provision.type")),
        };
        let in_force = is(f.status.as_deref(), &["active"], Why::Missing("Consent.status"));
        let counts = match (in_force, says) {
            (Ok(false), _) | (_, Ok(false)) => Ok(false),
            (Err(why), _) | (_, Err(why)) => Err(why),
            (Ok(true), Ok(true)) => Ok(true),
        };
        of_kind(counts, kind, f.scopes.iter().chain(&f.categories).chain(&f.about))
    })
}

fn assessed<'a>(context: &Context<'a>, kind: Option<&Kind>, watch: &mut Watch) -> Latest<'a, RiskAssessmentFacts> {
    let entries = context.person.supporting.risk_assessments.iter().map(|record| {
        let f = &record.facts;
        let counts = is(f.status.as_deref(), &["final", "amended", "corrected"], Why::Missing("RiskAssessment.status"));
        let codes = f.codes.iter().chain(f.predictions.iter().flat_map(|p| &p.outcome));
        Entry { record, counts: of_kind(counts, kind, codes), at: f.at }
    });
    Latest::survey(entries, "RiskAssessment.occurrence[x]", context.site.zone, watch)
}

fn teams<'a>(context: &Context<'a>, watch: &mut Watch) -> InForce<'a, CareTeamFacts> {
    InForce::survey(&context.person.supporting.care_teams, |f| {
        if covers(&f.period, context.site.zone, watch) {
            is(f.status.as_deref(), &["active"], Why::Missing("CareTeam.status"))
        } else {
            Ok(false)
        }
    })
}

const NO_TEAM: &str = "no active care team names a member";

fn members<'a>(context: &Context<'a>, watch: &mut Watch) -> Finding<'a> {
    let teams = teams(context, watch);
    let mut found: Vec<&'a str> = Vec::new();
    for team in &teams.certain {
        let there = team.facts.members.iter().filter(|m| covers(&m.period, context.site.zone, watch));
        found.extend(there.filter_map(|m| m.member.as_deref()));
    }
    teams.set("participant.member", NO_TEAM, Items::Some(found))
}

fn roles<'a>(context: &Context<'a>, watch: &mut Watch) -> Finding<'a> {
    let teams = teams(context, watch);
    let mut lists: Vec<&'a [Coding]> = Vec::new();
    for team in &teams.certain {
        let there = team.facts.members.iter().filter(|m| covers(&m.period, context.site.zone, watch));
        lists.extend(there.map(|m| m.roles.as_slice()));
    }
    teams.set("participant.role", NO_TEAM, Items::ManyCodes(lists))
}

fn goals<'a>(context: &Context<'a>, kind: Option<&Kind>) -> InForce<'a, GoalFacts> {
    InForce::survey(&context.person.supporting.goals, |f| {
        let counts = is(f.status.as_deref(), &["accepted", "active"], Why::Missing("Goal.lifecycleStatus"));
        of_kind(counts, kind, f.codes.iter().chain(&f.categories))
    })
}

/// R4 code system `goal-achievement`.
fn is_achieved(facts: &GoalFacts) -> bool {
    facts.achievement.iter().any(|c| c.code == "achieved")
}

fn next_due<'a>(context: &Context<'a>, watch: &mut Watch) -> Finding<'a> {
    let zone = context.site.zone;
    let goals = goals(context, None);
    if let Some((goal, why)) = goals.open {
        return Finding::unknown(why).at(goal, "lifecycleStatus");
    }
    let mut best: Option<(Timestamp, &'a Sourced<GoalFacts>)> = None;
    for goal in goals.certain.iter().filter(|g| !is_achieved(&g.facts)) {
        for due in &goal.facts.due {
            let end = due.span(zone).1;
            if !watch.reached(end) {
                best = best.filter(|(t, _)| *t <= end).or(Some((end, goal)));
            }
        }
    }
    best.map_or_else(
        || Finding::absent("no active goal has a due date to come"),
        |(t, goal)| Finding::known(instant(t), goal, "target.dueDate"),
    )
}

fn overdue<'a>(context: &Context<'a>, watch: &mut Watch) -> Finding<'a> {
    let zone = context.site.zone;
    let goals = goals(context, None);
    let mut late = |f: &GoalFacts| f.due.iter().filter(|due| watch.reached(due.span(zone).1)).count() > 0 && !is_achieved(f);
    let found: Vec<_> = goals.certain.iter().filter(|g| late(&g.facts)).collect();
    let least = i64::try_from(found.len()).unwrap_or(i64::MAX);
    let most = if goals.open.is_some() { i64::MAX } else { least };
    let finding = Finding::plain(Value::Integer(least, most)).because(goals.open.map(|(_, why)| why));
    match found.first().copied().copied().or(goals.open.map(|(goal, _)| goal)).or(goals.certain.first().copied()) {
        Some(goal) => finding.at(goal, "target.dueDate"),
        None => finding,
    }
}
