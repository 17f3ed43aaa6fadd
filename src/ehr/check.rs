//! The walk of a connection, step by step, for the person who sets it up: what works, and for what does not, which of the possible
//! faults it is and what to do. It reads only. The first step that nothing can follow ends the walk.

mod diagnosis;
mod export;
mod launch;
mod searches;

use domain::model::{FhirId, ResourceType};
use serde::Serialize;

use super::auth::{Granted, SecretMethod};
use super::capability::Capability;
use super::client::Client;
use super::connection::{Approach, ConnectError, Parts};
use super::discovery::Discovery;
use super::error::EhrError;
use super::plan::Plan;
use super::profile::{Auth, ClientSecret, Profile};
use diagnosis::Finding;

pub use export::try_export;
pub use launch::try_launch;

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
    /// `reach`, `fhir`, `discovery`, `keys`, `clock`, `token`, `scopes`, `search Patient`, ...
    pub name: String,
    /// The step and how it went, for programs: `search-patient.problem`.
    pub code: String,
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
        self.steps.push(Step {
            name: name.to_owned(),
            code: code(name, Verdict::Ok),
            verdict: Verdict::Ok,
            says: says.into(),
            remedy: None,
        });
    }

    fn add(&mut self, name: &str, verdict: Verdict, finding: Finding) {
        let code = code(name, verdict);
        self.steps.push(Step { name: name.to_owned(), code, verdict, says: finding.says, remedy: Some(finding.remedy) });
    }
}

/// A server certificate that ends within so many days is worth a word.
const SOON: i64 = 14;
fn code(name: &str, verdict: Verdict) -> String {
    let how = match verdict {
        Verdict::Ok => "ok",
        Verdict::Warning => "warning",
        Verdict::Problem => "problem",
    };
    format!("{}.{how}", name.to_ascii_lowercase().replace(' ', "-"))
}

/// Walks the connection.
pub async fn check(profile: &Profile, parts: &Parts) -> Report {
    check_with(profile, parts, None).await
}

/// As [`check`]; with a test patient, what is read patient by patient is searched for that one.
pub async fn check_with(profile: &Profile, parts: &Parts, test_patient: Option<&FhirId>) -> Report {
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
        let probe = searches::Probe { test_patient, now: parts.clock.now() };
        searches::walk(&mut report, &client, profile, &Plan::of(profile, &capability), &probe).await;
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
    if capability.types.is_empty() {
        report.add("fhir", Verdict::Problem, diagnosis::empty_statement());
    }
    walk_discovery(report, found.is_some(), &discovery, profile, parts);
    walk_clock(report, &approach);
    walk_certificate(report, &approach, parts);
    if first.is_err()
        && let Err(error) = approach.authorise(profile, parts, &discovery)
    {
        report.add("token", Verdict::Problem, diagnosis::connect(&error));
        return None;
    }
    let client = approach.client(profile).within(profile, &capability);
    let let_in = walk_token(report, &client).await;
    if let_in {
        walk_credentials(report, &client, profile).await;
    }
    let_in.then_some((client, capability))
}

/// Whether the server's certificate lasts. Nothing is said where there is none.
fn walk_certificate(report: &mut Report, approach: &Approach, parts: &Parts) {
    let Some((_, certificate)) = approach.certificate() else { return };
    let days = (certificate.not_after.micros() - parts.clock.now().micros()).div_euclid(86_400_000_000);
    if days <= SOON {
        report.add("certificate", Verdict::Warning, diagnosis::certificate(&certificate, days));
    } else {
        report.ok("certificate", format!("the server's certificate ends in {days} days"));
    }
}

/// The credentials beside the EHR's own, each with the types that it is for.
async fn walk_credentials(report: &mut Report, client: &Client, profile: &Profile) {
    for (name, of_types) in &profile.credentials {
        let step = format!("credential {name}");
        let Some(kind) = of_types.types.first() else { continue };
        let needs: Vec<_> = client.reads.iter().chain(client.writes.iter()).filter(|n| of_types.types.contains(&n.resource_type)).collect();
        let needs: Vec<_> = needs.into_iter().cloned().collect();
        match client.tokens().access_to(kind, &needs).await {
            Ok(access) if access.missing.is_empty() => report.ok(&step, format!("gives tokens for {}", of_types.types.join(", "))),
            Ok(access) => report.add(&step, Verdict::Problem, diagnosis::scopes(&access.missing)),
            Err(error) => report.add(&step, Verdict::Problem, diagnosis::apart(name, &error, client.notable_skew())),
        }
    }
}

fn walk_discovery(report: &mut Report, found: bool, discovery: &Discovery, profile: &Profile, parts: &Parts) {
    if profile.auth.client_id().is_none() {
        report.ok("discovery", "not needed: this connection asks for no token");
        return;
    }
    match (&discovery.token_url, found) {
        (Some(_), true) => report.ok("discovery", "smart-configuration names a token endpoint"),
        (Some(_), false) => report.ok("discovery", "no smart-configuration; the CapabilityStatement names a token endpoint"),
        (None, _) if profile.auth.token_url().is_some() => {
            report.ok("discovery", "the EHR names no token endpoint; the configured one is used")
        }
        (None, _) => report.add("discovery", Verdict::Problem, diagnosis::no_token_endpoint()),
    }
    let shown_by: &[&str] = match &profile.auth {
        Auth::BackendServices(_) => &["private_key_jwt"],
        Auth::ClientSecret(ClientSecret { method: Some(SecretMethod::Post), .. }) => &["client_secret_post"],
        Auth::ClientSecret(ClientSecret { method: Some(SecretMethod::Basic), .. }) => &["client_secret_basic"],
        Auth::ClientSecret(_) => &["client_secret_basic", "client_secret_post"],
        Auth::None | Auth::Bearer { .. } | Auth::UserGrant(_) => &[],
    };
    let taken = |m: &&str| discovery.auth_methods.iter().any(|theirs| theirs == m);
    if !shown_by.is_empty() && !discovery.auth_methods.is_empty() && !shown_by.iter().any(taken) {
        report.add("discovery", Verdict::Warning, diagnosis::auth_method(shown_by.first().unwrap_or(&""), &discovery.auth_methods));
    }
    if let Some(ring) = parts.credential.keyring("") {
        let algorithm = ring.current().algorithm().as_str();
        if !discovery.algorithms.is_empty() && !discovery.algorithms.iter().any(|a| a == algorithm) {
            report.add("discovery", Verdict::Warning, diagnosis::algorithm(algorithm, &discovery.algorithms));
        }
        let current = ring.current();
        let next = ring.next(parts.clock.now()).map_or_else(String::new, |next| format!("; {} is tried next", next.key_id()));
        report.ok("keys", format!("{} ({algorithm}) signs for this gateway{next}", current.key_id()));
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
    let by_key = client.tokens().algorithm().is_some();
    let access = match client.tokens().access(&client.reads).await {
        Ok(access) => access,
        Err(error) => {
            report.add("token", Verdict::Problem, diagnosis::token(&error, client.notable_skew(), by_key));
            return false;
        }
    };
    let Some(granted) = access.granted else {
        report.ok("token", if access.token.is_some() { "a static token is used" } else { "none is needed" });
        return true;
    };
    report.ok("token", "the EHR gives this client tokens");
    if !client.reads.is_empty() && client.reads.iter().all(|n| granted.ops(&n.resource_type).is_empty()) {
        report.add("token", Verdict::Warning, diagnosis::dialect());
    }
    match client.missing().await {
        Ok(missing) if missing.is_empty() => report.ok("scopes", "all that is needed is granted"),
        Ok(missing) => {
            let writes_only = missing.iter().all(|m| granted_covers(&granted, client, &m.resource_type));
            let verdict = if writes_only { Verdict::Warning } else { Verdict::Problem };
            report.add("scopes", verdict, diagnosis::scopes(&missing));
        }
        Err(error) => report.add("scopes", Verdict::Problem, diagnosis::token(&error, client.notable_skew(), by_key)),
    }
    true
}

/// Whether a sync can do without what is missing of a type: it is no type that is read, or its reading is granted.
fn granted_covers(granted: &Granted, client: &Client, resource_type: &str) -> bool {
    client.reads.iter().filter(|n| n.resource_type == resource_type).all(|n| n.ops.without(granted.ops(resource_type)).is_empty())
}

fn words_of(types: &[ResourceType]) -> String {
    types.iter().map(|t| t.as_str()).collect::<Vec<_>>().join(", ")
}

impl From<&EhrError> for Finding {
    fn from(error: &EhrError) -> Self {
        diagnosis::ehr(error)
    }
}
