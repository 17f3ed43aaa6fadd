//! The walk of a connection, step by step, for the person who sets it up: what works, and for what does not, which of the possible
//! faults it is and what to do. It reads only. The first step that nothing can follow ends the walk.

mod diagnosis;
mod export;

use domain::Timestamp;
use domain::model::ResourceType;
use serde::Serialize;

use super::auth::Granted;
use super::capability::Capability;
use super::client::Client;
use super::connection::{Approach, ConnectError, Parts};
use super::discovery::Discovery;
use super::error::EhrError;
use super::plan::Plan;
use super::profile::{Auth, Profile, Strategy};
use super::reads::{Axis, SearchSet};
use super::search::Search;
use diagnosis::Finding;

pub use export::try_export;

/// How a step went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It works, but less than it could.
    Warning,
    /// It does not work.
    Problem,
}

/// One step of the walk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// `reach`, `fhir`, `discovery`, `clock`, `token`, `scopes`, `search Patient`, ...
    pub name: String,
    /// How it went.
    pub verdict: Verdict,
    /// What was found, in one sentence.
    pub says: String,
    /// What to do about it, where there is something.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// The whole walk. Holds no patient data.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The steps in order.
    pub steps: Vec<Step>,
}

impl Report {
    /// Whether no step found a problem.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.problems().next().is_none()
    }

    /// The steps that do not work.
    pub fn problems(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(|s| s.verdict == Verdict::Problem)
    }

    fn ok(&mut self, name: &str, says: impl Into<String>) {
        self.steps.push(Step { name: name.to_owned(), verdict: Verdict::Ok, says: says.into(), remedy: None });
    }

    fn add(&mut self, name: &str, verdict: Verdict, finding: Finding) {
        self.steps.push(Step { name: name.to_owned(), verdict, says: finding.says, remedy: Some(finding.remedy) });
    }
}

/// Walks the connection.
pub async fn check(profile: &Profile, parts: &Parts) -> Report {
    let mut report = Report::default();
    if profile.files_only {
        report.ok("reach", "this EHR delivers files; there is no connection to check");
        return report;
    }
    let approach = match Approach::new(profile, parts) {
        Ok(approach) => approach,
        Err(error) => {
            report.add("reach", Verdict::Problem, diagnosis::connect(&error));
            return report;
        }
    };
    if let Some((client, capability)) = walk_to_client(&mut report, approach, profile, parts).await {
        walk_types(&mut report, &client, profile, &Plan::of(profile, &capability)).await;
    }
    report
}

async fn walk_to_client(report: &mut Report, mut approach: Approach, profile: &Profile, parts: &Parts) -> Option<(Client, Capability)> {
    let found = approach.smart_configuration().await;
    let mut discovery = found.clone().unwrap_or_default();
    let first = approach.authorise(profile, parts, &discovery);
    let capability = match approach.statement().await {
        Ok((capability, from_statement)) => {
            discovery = discovery.or(from_statement);
            capability
        }
        Err(error) => {
            let step = if matches!(error, ConnectError::NotFhir(_)) { "fhir" } else { "reach" };
            report.add(step, Verdict::Problem, diagnosis::connect(&error));
            return None;
        }
    };
    report.ok("reach", format!("{} answers", approach.wire.origin));
    let unknown = || "unknown".to_owned();
    let version = capability.fhir_version.clone().unwrap_or_else(unknown);
    report.ok("fhir", format!("FHIR {version}, software {}", capability.software.clone().unwrap_or_else(unknown)));
    walk_discovery(report, found.is_some(), &discovery, profile, parts);
    walk_clock(report, &approach);
    if first.is_err()
        && let Err(error) = approach.authorise(profile, parts, &discovery)
    {
        report.add("token", Verdict::Problem, diagnosis::connect(&error));
        return None;
    }
    let client = approach.client(profile);
    walk_token(report, &client).await.then_some((client, capability))
}

fn walk_discovery(report: &mut Report, found: bool, discovery: &Discovery, profile: &Profile, parts: &Parts) {
    let Auth::BackendServices(backend) = &profile.auth else {
        report.ok("discovery", "not needed: this connection asks for no token");
        return;
    };
    match (&discovery.token_url, found) {
        (Some(_), true) => report.ok("discovery", "smart-configuration names a token endpoint"),
        (Some(_), false) => report.ok("discovery", "no smart-configuration; the CapabilityStatement names a token endpoint"),
        (None, _) if backend.token_url.is_some() => report.ok("discovery", "the EHR names no token endpoint; the configured one is used"),
        (None, _) => report.add("discovery", Verdict::Problem, diagnosis::no_token_endpoint()),
    }
    if let super::Credential::Key(signer) = &parts.credential {
        let algorithm = signer.algorithm().as_str();
        if !discovery.algorithms.is_empty() && !discovery.algorithms.iter().any(|a| a == algorithm) {
            report.add("discovery", Verdict::Warning, diagnosis::algorithm(algorithm, &discovery.algorithms));
        }
    }
}

fn walk_clock(report: &mut Report, approach: &Approach) {
    match (approach.wire.skew.notable(), approach.wire.skew.ahead()) {
        (Some(ahead), _) => report.add("clock", Verdict::Problem, diagnosis::clock(ahead)),
        (None, Some(_)) => report.ok("clock", "the clocks agree to within two minutes"),
        (None, None) => report.ok("clock", "the EHR does not tell its time"),
    }
}

/// Whether there is a token, and for what.
async fn walk_token(report: &mut Report, client: &Client) -> bool {
    let access = match client.tokens().access(&client.reads).await {
        Ok(access) => access,
        Err(error) => {
            report.add("token", Verdict::Problem, diagnosis::token(&error, client.notable_skew()));
            return false;
        }
    };
    let Some(granted) = access.granted else {
        report.ok("token", if access.token.is_some() { "a static token is used" } else { "none is needed" });
        return true;
    };
    report.ok("token", "the EHR gives this client tokens");
    match client.missing().await {
        Ok(missing) if missing.is_empty() => report.ok("scopes", "all that is needed is granted"),
        Ok(missing) => {
            let writes_only = missing.iter().all(|m| granted_covers(&granted, client, &m.resource_type));
            let verdict = if writes_only { Verdict::Warning } else { Verdict::Problem };
            report.add("scopes", verdict, diagnosis::scopes(&missing));
        }
        Err(error) => report.add("scopes", Verdict::Problem, diagnosis::token(&error, client.notable_skew())),
    }
    true
}

/// Whether a sync can do without what is missing of a type: it is no type that is read, or its reading is granted.
fn granted_covers(granted: &Granted, client: &Client, resource_type: &str) -> bool {
    client.reads.iter().filter(|n| n.resource_type == resource_type).all(|n| n.ops.without(granted.ops(resource_type)).is_empty())
}

async fn walk_types(report: &mut Report, client: &Client, profile: &Profile, plan: &Plan) {
    for of in &plan.types {
        let resource_type = of.kind;
        let name = format!("search {resource_type}");
        let search = match of.strategy {
            Strategy::Off => {
                if let Some(lacks) = &of.lacks {
                    report.add(&name, Verdict::Problem, diagnosis::lacks(lacks));
                } else if profile.strategy.get(&resource_type) != Some(&Strategy::Off) {
                    report.add(&name, Verdict::Warning, diagnosis::no_way(&of.why));
                }
                continue;
            }
            Strategy::Bulk => {
                report.ok(&name, format!("not tried: {}; `--deep` tries an export", of.asks));
                continue;
            }
            // A patient would have to be named, and nobody's data is read for a check.
            _ if of.is_by_patient() => {
                report.ok(&name, format!("not tried: {}", of.asks));
                continue;
            }
            Strategy::Window => match first_day(&of.search, plan) {
                Some(search) => search,
                None => continue,
            },
            _ => Search::of(resource_type.as_str()),
        };
        // One resource is enough, where the EHR can be told so.
        let search = match &client.habits.page_size_param {
            Some(size) => search.with(size, "1"),
            None => search,
        };
        let mut pages = client.search(search);
        match pages.next().await {
            Ok(Some(page)) if page.unasked > 0 => report.add(&name, Verdict::Warning, diagnosis::unasked(resource_type)),
            Ok(page) => {
                let any = page.is_some_and(|p| !p.entries.is_empty());
                report.ok(&name, if any { "a search finds resources" } else { "a search works and finds nothing" });
            }
            Err(error) => report.add(&name, Verdict::Problem, diagnosis::search(resource_type, &error)),
        }
        if profile.auth == Auth::None && report.problems().any(|s| s.says.contains("401")) {
            return;
        }
    }
}

fn words_of(types: &[ResourceType]) -> String {
    types.iter().map(|t| t.as_str()).collect::<Vec<_>>().join(", ")
}

/// A search as a window puts it, for one day long ago: it shows whether the parameters are taken.
fn first_day(set: &SearchSet, plan: &Plan) -> Option<Search> {
    let day = (Timestamp::from_micros(0), Timestamp::from_micros(86_400_000_000));
    let who = match set.axis() {
        Axis::Location => plan.window.locations.first()?.as_str(),
        Axis::Practitioner => plan.window.practitioners.first()?.as_str(),
        Axis::Alone | Axis::Patient => "",
    };
    Some(Search::by(ResourceType::Appointment.as_str(), set, who, Some(day)))
}

impl From<&EhrError> for Finding {
    fn from(error: &EhrError) -> Self {
        diagnosis::ehr(error)
    }
}
