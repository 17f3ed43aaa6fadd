//! The part of the walk that searches: each type with the parameters that a sync would use. Whether they are taken, applied (the server's own
//! `self` link, and a search that must find nothing), whether the page size is kept, and whether the next page is where it may be. A type
//! that is read patient by patient needs a test patient: nobody else's data is looked at one by one for a check.

use chrono::TimeDelta;
use domain::Timestamp;
use domain::model::{FhirId, ResourceType};
use serde_json::Value;

use super::diagnosis::{self, Finding};
use super::{Report, Verdict};
use crate::ehr::client::{Client, ReadOutcome};
use crate::ehr::error::EhrError;
use crate::ehr::plan::{Plan, TypePlan};
use crate::ehr::profile::{Auth, Profile, Strategy};
use crate::ehr::reads::{Axis, RosterSource};
use crate::ehr::search::{Page, Search};

/// Whom and when to search for.
pub(super) struct Probe<'a> {
    pub test_patient: Option<&'a FhirId>,
    pub now: Timestamp,
}

/// The first day of 1970: no appointment is on it.
const NO_DAY: (Timestamp, Timestamp) = (Timestamp::from_micros(0), Timestamp::from_micros(86_400_000_000));
/// Nothing was changed since then.
const NEVER: &str = "ge2999-01-01T00:00:00Z";

pub(super) async fn walk(report: &mut Report, client: &Client, profile: &Profile, plan: &Plan, probe: &Probe<'_>) {
    if plan.by_patient().next().is_some() {
        walk_roster(report, client, profile).await;
    }
    for of in &plan.types {
        walk_type(report, client, profile, plan, of, probe).await;
        if profile.auth == Auth::None && report.problems().any(|s| s.says.contains("401")) {
            return;
        }
    }
}

/// Whether the Group is there that the patients come from.
async fn walk_roster(report: &mut Report, client: &Client, profile: &Profile) {
    for source in &profile.roster {
        let RosterSource::Group(id) = source else { continue };
        let Some(id) = FhirId::parse(id) else { continue };
        match client.read("Group", &id).await {
            Ok(ReadOutcome::Found(entry)) => {
                let members = serde_json::from_slice::<Value>(&entry.bytes).ok();
                let members = members.as_ref().and_then(|g| g.get("member")?.as_array()).map_or(0, Vec::len);
                if members == 0 {
                    report.add("roster", Verdict::Warning, no_members());
                } else {
                    report.ok("roster", format!("the Group has {members} members"));
                }
            }
            Ok(_) => report.add("roster", Verdict::Problem, no_group()),
            Err(error) => report.add("roster", Verdict::Problem, Finding::from(&error)),
        }
    }
}

async fn walk_type(report: &mut Report, client: &Client, profile: &Profile, plan: &Plan, of: &TypePlan, probe: &Probe<'_>) {
    let kind = of.kind;
    let name = format!("search {kind}");
    if of.strategy == Strategy::Off {
        if let Some(lacks) = &of.lacks {
            report.add(&name, Verdict::Problem, diagnosis::lacks(lacks));
        } else if profile.strategy.get(&kind) != Some(&Strategy::Off) {
            report.add(&name, Verdict::Warning, diagnosis::no_way(&of.why));
        }
        return;
    }
    let Some((asked, nothing)) = searches(of, plan, probe) else {
        match probe.test_patient.filter(|_| kind == ResourceType::Patient && of.is_by_patient()) {
            Some(patient) => read_patient(report, &name, client, patient).await,
            None if of.strategy == Strategy::Bulk => report.ok(&name, format!("not tried: {}; `--deep` tries an export", of.asks)),
            None => report.ok(&name, format!("not tried: {}", of.asks)),
        }
        return;
    };
    let before = report.steps.len();
    match first_pages(client, asked).await {
        Ok((first, second)) => {
            look(report, &name, kind, client, &first);
            match second {
                Ok(Some(page)) if page.unasked > 0 && first.unasked == 0 => {
                    report.add(&name, Verdict::Warning, diagnosis::unasked(kind));
                }
                Ok(_) => {}
                Err(error) => report.add(&name, Verdict::Problem, diagnosis::search(kind, &error)),
            }
            if let Some((search, what)) = nothing {
                match first_pages(client, search).await {
                    Ok((page, _)) if page.entries.is_empty() => {}
                    Ok(_) => report.add(&name, Verdict::Problem, not_applied(kind, what)),
                    Err(error) => report.add(&name, Verdict::Problem, diagnosis::search(kind, &error)),
                }
            }
            if report.steps.len() == before {
                report.ok(&name, works(client, of, &first));
            }
        }
        Err(error) => report.add(&name, Verdict::Problem, diagnosis::search(kind, &error)),
    }
}

/// A search that went well, in words: what is asked, what came, and whose the page size is.
fn works(client: &Client, of: &TypePlan, first: &Page) -> String {
    let found = if first.entries.is_empty() { "a search works and finds nothing" } else { "a search finds resources" };
    let size = client.habits.page_size_param.as_ref();
    let size = size.map_or_else(|| "the page size is the EHR's".to_owned(), |name| format!("{name} sets the page size"));
    format!("{found} ({}; {size})", of.asks)
}

/// The search that a sync would make, and one with the same parameters that must find nothing; `None` where a patient would have to be named
/// who is not, or where resources are read by id.
fn searches(of: &TypePlan, plan: &Plan, probe: &Probe<'_>) -> Option<(Search, Option<(Search, &'static str)>)> {
    let kind = of.kind.as_str();
    let who = match (of.is_by_patient(), of.search.axis()) {
        (true, _) if of.kind == ResourceType::Patient => return None,
        (true, _) => probe.test_patient?.as_str(),
        (false, Axis::Location) => plan.window.locations.first()?.as_str(),
        (false, Axis::Practitioner) => plan.window.practitioners.first()?.as_str(),
        (false, _) => "",
    };
    let week = (probe.now, probe.now.plus(TimeDelta::days(7)));
    match of.strategy {
        Strategy::Off | Strategy::Reference | Strategy::Bulk => None,
        Strategy::Cursor => {
            let asked = Search::of(kind).with("_sort", "-_lastUpdated");
            Some((asked, Some((Search::of(kind).with("_lastUpdated", NEVER), "_lastUpdated"))))
        }
        Strategy::Window => {
            let by = |days| Search::by(kind, &of.search, who, Some(days));
            Some((by(week), Some((by(NO_DAY), "date"))))
        }
        Strategy::Roster => Some((Search::by(kind, &of.search, who, of.search.has_date().then_some(week)), None)),
        Strategy::Full => Some((Search::of(kind), None)),
    }
}

/// The first page of one resource, and the second where there is one.
async fn first_pages(client: &Client, search: Search) -> Result<(Page, Result<Option<Page>, EhrError>), EhrError> {
    let search = match &client.habits.page_size_param {
        Some(size) => search.with(size, "1"),
        None => search,
    };
    let mut pages = client.search(search);
    let first = pages.next().await?.unwrap_or_default();
    let second = if first.more { pages.next().await } else { Ok(None) };
    Ok((first, second))
}

fn look(report: &mut Report, name: &str, kind: ResourceType, client: &Client, first: &Page) {
    if first.unasked > 0 {
        report.add(name, Verdict::Warning, diagnosis::unasked(kind));
    }
    if !first.dropped.is_empty() {
        report.add(name, Verdict::Warning, dropped(kind, &first.dropped));
    }
    if client.habits.page_size_param.is_some() && first.entries.len() > 1 {
        report.add(name, Verdict::Warning, page_size(kind, first.entries.len()));
    }
    if first.incomplete {
        report.add(name, Verdict::Warning, incomplete(kind));
    }
}

async fn read_patient(report: &mut Report, name: &str, client: &Client, patient: &FhirId) {
    match client.read("Patient", patient).await {
        Ok(ReadOutcome::Found(_)) => report.ok(name, "the test patient can be read"),
        Ok(ReadOutcome::Moved(_)) => report.add(name, Verdict::Warning, moved()),
        Ok(ReadOutcome::Gone | ReadOutcome::Absent) => report.add(name, Verdict::Problem, no_patient()),
        Err(error) => report.add(name, Verdict::Problem, Finding::from(&error)),
    }
}

fn finding(says: impl Into<String>, remedy: &str) -> Finding {
    Finding { says: says.into(), remedy: remedy.to_owned() }
}

fn no_group() -> Finding {
    finding("the Group that the patients come from is not there, or hidden from this client", "correct --group, or have the Group shared")
}

fn no_members() -> Finding {
    finding("the Group that the patients come from has no members: nobody would be read", "have patients put into it, or name another")
}

fn no_patient() -> Finding {
    finding("the test patient is not there, or hidden from this client", "name another with --test-patient")
}

fn moved() -> Finding {
    finding("the test patient's record was merged into another", "name that one with --test-patient")
}

fn not_applied(kind: ResourceType, param: &str) -> Finding {
    finding(
        format!("a search of {kind} by {param} that can find nothing finds something: the EHR ignores {param} in silence"),
        "choose another way for the type (`ehr add --strategy`), and tell the EHR's operator",
    )
}

fn dropped(kind: ResourceType, names: &[String]) -> Finding {
    finding(
        format!("by its own account (link self) the EHR did not apply {} in a search of {kind}", names.join(", ")),
        "what comes beyond what was asked for is left out here; more is read than needed, so ask the EHR's operator",
    )
}

fn page_size(kind: ResourceType, n: usize) -> Finding {
    finding(
        format!("one {kind} a page was asked for and {n} came: the EHR does not keep to the page size"),
        "nothing has to be done, unless pages are so large that they come too late; then ask the EHR's operator",
    )
}

fn incomplete(kind: ResourceType) -> Finding {
    finding(
        format!("the EHR says that an answer to a search of {kind} is not complete"),
        "nothing counts as gone while it says so; ask the EHR's operator what is withheld",
    )
}
