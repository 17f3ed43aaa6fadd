//! What changed in what an EHR states of itself, in words: what was there, what is there now, and what stops working because of it. A change
//! that takes away what is used is a problem; all others are notes.

use std::collections::BTreeSet;
use std::fmt;

use domain::model::ResourceType;
use serde::Serialize;

use crate::ehr::auth::Dialect;
use crate::ehr::capability::{Capability, TypeCapability};
use crate::ehr::profile::{Auth, Strategy};
use crate::ehr::{Plan, Profile, Statement, TypePlan};
use crate::writeback::contract::{Carrier, Contract};

/// How much a change matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Weight {
    /// Something that worked does not any more, or not as well.
    Problem,
    /// Nothing stops.
    Note,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// How much it matters.
    pub weight: Weight,
    /// What kind of change: stable, for programs. `reading`, `write-back`, ...
    pub code: &'static str,
    /// What it is about: a resource type, `token endpoint`, ...
    pub about: String,
    /// What was there.
    pub was: String,
    /// What is there now.
    pub is: String,
    /// What stops working because of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stops: Option<String>,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.weight == Weight::Problem { "PROBLEM" } else { "note   " };
        write!(f, "{mark}  {}\n         was    {}\n         is     {}", self.about, self.was, self.is)?;
        self.stops.as_ref().map_or(Ok(()), |stops| write!(f, "\n         stops  {stops}"))
    }
}

/// How many of the changes matter, and how many do not.
#[must_use]
pub fn weigh(changes: &[Change]) -> (i64, i64) {
    let problems = changes.iter().filter(|c| c.weight == Weight::Problem).count();
    (i64::try_from(problems).unwrap_or(i64::MAX), i64::try_from(changes.len() - problems).unwrap_or(i64::MAX))
}

/// The changes from one statement to another, those that matter first. `contract` is the write-back contract at an EHR that states this.
#[must_use]
pub fn drift(profile: &Profile, was: &Statement, is: &Statement, contract: &dyn Fn(&Capability) -> Option<Contract>) -> Vec<Change> {
    if was == is {
        return Vec::new();
    }
    let mut changes = Changes::default();
    versions(was, is, &mut changes);
    let (before, now) = (Plan::of(profile, &was.capability), Plan::of(profile, &is.capability));
    for of in &now.types {
        if let Some(old) = before.of_type(of.kind) {
            reading(profile, old, of, &mut changes);
        }
    }
    if let (Some(before), Some(now)) = (contract(&was.capability), contract(&is.capability)) {
        writing(&before, &now, &mut changes);
    }
    access(profile, was, is, &mut changes);
    types(&was.capability, &is.capability, &mut changes);
    changes.0.sort_by_key(|c| c.weight);
    changes.0
}

#[derive(Default)]
struct Changes(Vec<Change>);

impl Changes {
    fn problem(&mut self, code: &'static str, about: impl Into<String>, (was, is): (String, String), stops: impl Into<String>) {
        self.0.push(Change { weight: Weight::Problem, code, about: about.into(), was, is, stops: Some(stops.into()) });
    }

    fn note(&mut self, code: &'static str, about: impl Into<String>, (was, is): (String, String)) {
        self.0.push(Change { weight: Weight::Note, code, about: about.into(), was, is, stops: None });
    }
}

fn versions(was: &Statement, is: &Statement, changes: &mut Changes) {
    let told = |text: &Option<String>| text.clone().unwrap_or_else(|| "not told".to_owned());
    for (code, about, old, new) in [
        ("fhir-version", "FHIR version", &was.capability.fhir_version, &is.capability.fhir_version),
        ("software", "software", &was.capability.software, &is.capability.software),
    ] {
        if old != new {
            changes.note(code, about, (told(old), told(new)));
        }
    }
}

fn way(of: &TypePlan) -> String {
    match of.strategy {
        Strategy::Off => format!("not read ({})", of.lacks.as_ref().unwrap_or(&of.why)),
        strategy => format!("{}: {}", strategy.as_str(), of.asks),
    }
}

fn reading(profile: &Profile, was: &TypePlan, is: &TypePlan, changes: &mut Changes) {
    let kind = is.kind;
    if (was.strategy, &was.search) != (is.strategy, &is.search) {
        let ways = (way(was), way(is));
        let rank = |of: &TypePlan| rank(profile, kind, of.strategy);
        match (was.strategy, is.strategy) {
            (_, Strategy::Off) => {
                let stops = format!("{kind} is not read any more; what is stored of it grows old and rules over it turn unknown");
                changes.problem("reading", kind.as_str(), ways, stops);
            }
            (Strategy::Off, _) => changes.note("reading", kind.as_str(), ways),
            _ if rank(is) > rank(was) => {
                let stops =
                    format!("{kind} is read by the next best way: that takes more requests, and may see less (`fhir-engage sync plan`)");
                changes.problem("reading", kind.as_str(), ways, stops);
            }
            _ => changes.note("reading", kind.as_str(), ways),
        }
    }
    // Where the operator's word holds against the statement, only a warning tells.
    for warning in is.warnings.iter().filter(|w| !was.warnings.contains(w)) {
        let stops = "it is asked for all the same, by the operator's word; it may be refused, or ignored in silence";
        changes.problem("override", kind.as_str(), ("stated".to_owned(), warning.clone()), stops);
    }
}

/// How far down in the vendor's list a way stands.
fn rank(profile: &Profile, kind: ResourceType, strategy: Strategy) -> usize {
    let strategies = profile.preset().map(|p| p.sync.of(kind).strategies).unwrap_or_default();
    strategies.iter().position(|s| *s == strategy).unwrap_or(strategies.len())
}

fn writing(was: &Contract, is: &Contract, changes: &mut Changes) {
    let chain = |c: &Contract| match c.chain.as_slice() {
        [] => "nothing".to_owned(),
        some => some.iter().map(|c| c.as_str()).collect::<Vec<_>>().join(", then "),
    };
    if was.chain != is.chain {
        let lost: Vec<&str> = was.chain.iter().filter(|c| !is.chain.contains(c)).map(|c| c.as_str()).collect();
        let chains = (chain(was), chain(is));
        match lost.is_empty() {
            true => changes.note("write-back", "what carries write-backs", chains),
            false => changes.problem(
                "write-back",
                "what carries write-backs",
                chains,
                format!("nothing is written as {} any more; what is owed goes by the next carrier, or waits", lost.join(" or ")),
            ),
        }
    }
    for carrier in [Carrier::Communication, Carrier::DocumentReference] {
        let (Some(old), Some(new)) = (was.terms(carrier), is.terms(carrier)) else { continue };
        if !was.chain.contains(&carrier) || !is.chain.contains(&carrier) {
            continue;
        }
        let name = carrier.resource_type().unwrap_or_default();
        let found =
            |finder: Option<_>| finder.map_or_else(|| "by no search".to_owned(), |f: crate::writeback::contract::Finder| format!("{f:?}"));
        if old.finder() != new.finder() {
            let ways = (found(old.finder()), found(new.finder()));
            match new.finder() {
                None => changes.problem("finding", name, ways, "a write-back whose answer is lost waits for a person"),
                Some(_) => changes.note("finding", name, ways),
            }
        }
        let yes_no = |yes: bool| if yes { "taken".to_owned() } else { "not taken".to_owned() };
        if old.update && !new.update {
            let ways = (yes_no(old.update), yes_no(new.update));
            changes.problem("update", format!("update of {name}"), ways, "a correction is written as a new resource beside the old one");
        }
        if old.creates_conditionally() && !new.creates_conditionally() {
            let ways = (yes_no(true), yes_no(false));
            changes.problem("conditional-create", format!("conditional create of {name}"), ways, "each write-back is searched for first");
        }
    }
    let (old, new) = (was.status_change.as_ref().is_some_and(|c| c.enabled), is.status_change.as_ref().is_some_and(|c| c.enabled));
    if old && !new {
        let ways = ("changed by patch or update".to_owned(), "not changed".to_owned());
        changes.problem("status-change", "status of an Appointment", ways, "a patient's answer no longer changes the visit");
    }
}

fn access(profile: &Profile, was: &Statement, is: &Statement, changes: &mut Changes) {
    let (old, new) = (&was.discovery, &is.discovery);
    let Auth::BackendServices(backend) = &profile.auth else { return };
    let list = |items: &[String]| if items.is_empty() { "not told".to_owned() } else { items.join(", ") };
    if old.token_url != new.token_url && backend.token_url.is_none() {
        let url =
            |url: &Option<url::Url>| url.as_ref().map_or_else(|| "not told".to_owned(), |u| u.origin().ascii_serialization() + u.path());
        let urls = (url(&old.token_url), url(&new.token_url));
        let elsewhere = |u: &url::Url| profile.base_url.as_ref().is_some_and(|base| base.origin() != u.origin());
        match &new.token_url {
            None => changes.problem("token-endpoint", "token endpoint", urls, "no token can be had; name the endpoint with --token-url"),
            Some(u) if elsewhere(u) => {
                let stops = "no token can be had from a host that nobody registered; if it is right, name it with --token-url";
                changes.problem("token-endpoint", "token endpoint", urls, stops);
            }
            Some(_) => changes.note("token-endpoint", "token endpoint", urls),
        }
    }
    let lost = |old: &[String], new: &[String], ours: &[&str]| {
        let has = |list: &[String]| list.is_empty() || ours.iter().any(|o| list.iter().any(|l| l == o));
        has(old) && !has(new)
    };
    for (code, about, old, new, ours, stops) in [
        (
            "auth-method",
            "ways to authenticate",
            &old.auth_methods,
            &new.auth_methods,
            &["private_key_jwt"][..],
            "our signature is not taken any more",
        ),
        ("grant-type", "grant types", &old.grant_types, &new.grant_types, &["client_credentials"], "a client without a user gets no token"),
        (
            "algorithm",
            "signature algorithms",
            &old.algorithms,
            &new.algorithms,
            &["RS384", "ES384"],
            "neither RS384 nor ES384 is taken: no token",
        ),
    ] {
        if old != new {
            let lists = (list(old), list(new));
            if lost(old, new, ours) { changes.problem(code, about, lists, stops) } else { changes.note(code, about, lists) }
        }
    }
    let dialect = |capabilities: &[String]| match backend.dialect.unwrap_or_else(|| Dialect::of(capabilities)) {
        Dialect::V1 => "version 1 (system/Patient.read)".to_owned(),
        Dialect::V2 => "version 2 (system/Patient.rs)".to_owned(),
    };
    let dialects = (dialect(&old.capabilities), dialect(&new.capabilities));
    if dialects.0 != dialects.1 {
        let stops = "scopes are asked for in the other dialect; a client that is registered for the first one may be granted nothing";
        changes.problem("dialect", "how scopes are written", dialects, stops);
    }
    let gone: Vec<String> = old.scopes.iter().filter(|s| s.starts_with("system/") && !new.scopes.contains(s)).cloned().collect();
    let come: Vec<String> = new.scopes.iter().filter(|s| s.starts_with("system/") && !old.scopes.contains(s)).cloned().collect();
    if !(gone.is_empty() && come.is_empty()) {
        // The list is not exhaustive by the standard: what is granted tells, and the token step of the check compares that.
        changes.note("scopes", "scopes that are listed", (list_or(&gone, "nothing that is gone"), list_or(&come, "nothing new")));
    }
}

fn list_or(items: &[String], nothing: &str) -> String {
    const SHOWN: usize = 12;
    match items.len() {
        0 => nothing.to_owned(),
        n if n > SHOWN => format!("{} and {} more", items.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", "), n - SHOWN),
        _ => items.join(", "),
    }
}

fn types(was: &Capability, is: &Capability, changes: &mut Changes) {
    let nothing = TypeCapability::default();
    let names: BTreeSet<&String> = was.types.keys().chain(is.types.keys()).collect();
    for name in names {
        let (old, new) = (was.types.get(name), is.types.get(name));
        if old == new {
            continue;
        }
        match (old, new) {
            (Some(_), None) => changes.note("statement", name, ("listed".to_owned(), "not listed".to_owned())),
            (None, Some(_)) => changes.note("statement", name, ("not listed".to_owned(), "listed".to_owned())),
            _ => {
                let (old, new) = (old.unwrap_or(&nothing), new.unwrap_or(&nothing));
                let (gone, come) = (claims(old), claims(new));
                let minus: Vec<String> = gone.difference(&come).cloned().collect();
                let plus: Vec<String> = come.difference(&gone).cloned().collect();
                changes.note("statement", name, (list_or(&minus, "nothing that is gone"), list_or(&plus, "nothing new")));
            }
        }
    }
}

/// What a statement says of a type, one claim each.
fn claims(of: &TypeCapability) -> BTreeSet<String> {
    let search = of.search_params.iter().map(|p| format!("search by {p}"));
    let conditional = of.conditional_create.then(|| "conditional create".to_owned());
    let versioning = of.versioning.iter().map(|v| format!("versioning {v}"));
    of.interactions.iter().cloned().chain(search).chain(conditional).chain(versioning).collect()
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::*;
    use crate::writeback::contract::{Override, Proven};
    use crate::writeback::stated;

    fn statement(change: impl Fn(&mut serde_json::Value)) -> Statement {
        let row = |kind: &str| {
            let names = ["_lastUpdated", "patient", "date", "identifier", "sent"].map(|n| serde_json::json!({ "name": n }));
            let codes = ["read", "search-type", "create", "update"].map(|c| serde_json::json!({ "code": c }));
            serde_json::json!({ "type": kind, "interaction": codes, "searchParam": names, "conditionalCreate": true })
        };
        let rows = ["Patient", "Appointment", "CarePlan", "Communication"].map(row);
        let mut document = serde_json::json!({
            "resourceType": "CapabilityStatement", "fhirVersion": "4.0.1", "software": { "name": "S", "version": "1" },
            "rest": [{ "mode": "server", "resource": rows }],
            "smart": { "token_endpoint": "https://ehr.example.org/token", "capabilities": ["permission-v2"],
                "token_endpoint_auth_methods_supported": ["private_key_jwt"] },
        });
        change(&mut document);
        let base = Url::parse("https://ehr.example.org/r4").unwrap();
        let (capability, _) = Capability::read(document.to_string().as_bytes(), &base).unwrap();
        let smart = document["smart"].to_string();
        Statement::of(&capability, &crate::ehr::discovery::Discovery::from_smart_configuration(smart.as_bytes(), &base).unwrap())
    }

    fn changed(more: &str, change: impl Fn(&mut serde_json::Value)) -> Vec<Change> {
        let profile = Profile::from_json(&format!(
            r#"{{"base_url":"https://ehr.example.org/r4","auth":{{"kind":"backend-services","client_id":"c"}}{more}}}"#
        ))
        .unwrap();
        let proven = Proven { conditional_create: ["Communication".to_owned()].into(), ..Proven::default() };
        let contract = |c: &Capability| Contract::for_ehr(profile.preset()?, &stated(c), &proven, &Override::default()).ok();
        drift(&profile, &statement(|_| {}), &statement(change), &contract)
    }

    type Spoil = Box<dyn Fn(&mut serde_json::Value)>;

    fn resource(document: &mut serde_json::Value, at: usize) -> &mut serde_json::Value {
        document.pointer_mut(&format!("/rest/0/resource/{at}")).unwrap()
    }

    #[test]
    fn what_takes_away_what_is_used_is_a_problem_and_says_what_stops() {
        let without =
            |name: &'static str| move |params: &mut serde_json::Value| params.as_array_mut().unwrap().retain(|p| p["name"] != name);
        let spoil: [(&str, Spoil, &str); 8] = [
            ("reading", Box::new(move |d| without("_lastUpdated")(&mut resource(d, 0)["searchParam"])), "next best way"),
            ("reading", Box::new(|d| resource(d, 1)["interaction"] = serde_json::json!([])), "not read any more"),
            ("write-back", Box::new(|d| resource(d, 3)["interaction"] = serde_json::json!([{ "code": "read" }])), "nothing is written as"),
            ("conditional-create", Box::new(|d| resource(d, 3)["conditionalCreate"] = false.into()), "searched for first"),
            ("token-endpoint", Box::new(|d| d["smart"]["token_endpoint"] = "https://other.example.org/token".into()), "nobody registered"),
            ("token-endpoint", Box::new(|d| d["smart"]["token_endpoint"] = serde_json::Value::Null), "no token can be had"),
            (
                "auth-method",
                Box::new(|d| d["smart"]["token_endpoint_auth_methods_supported"] = serde_json::json!(["client_secret_basic"])),
                "signature",
            ),
            ("dialect", Box::new(|d| d["smart"]["capabilities"] = serde_json::json!([])), "other dialect"),
        ];
        for (code, change, stops) in spoil {
            let found = changed("", change);
            let problem = found.iter().find(|c| c.weight == Weight::Problem).unwrap_or_else(|| panic!("{code}: {found:?}"));
            assert_eq!(problem.code, code, "{found:?}");
            assert!(problem.stops.as_ref().unwrap().contains(stops) && problem.was != problem.is, "{problem:?}");
            assert_eq!(found[0].weight, Weight::Problem, "what matters comes first");
        }
    }

    #[test]
    fn what_is_not_used_and_what_is_more_is_a_note_and_nothing_is_nothing() {
        assert_eq!(changed("", |_| {}), []);
        for change in [
            Box::new(|d: &mut serde_json::Value| d["software"]["version"] = "2".into()) as Spoil,
            Box::new(|d| resource(d, 2)["searchParam"].as_array_mut().unwrap().push(serde_json::json!({ "name": "category" }))),
            Box::new(|d| d["rest"][0]["resource"].as_array_mut().unwrap().push(serde_json::json!({ "type": "Slot" }))),
            Box::new(|d| d["smart"]["token_endpoint"] = "https://ehr.example.org/token/2".into()),
        ] {
            let found = changed("", change);
            assert!(!found.is_empty() && found.iter().all(|c| c.weight == Weight::Note), "{found:?}");
        }
    }

    #[test]
    fn the_operators_word_against_the_new_statement_is_told() {
        let found = changed(r#","strategy":{"Patient":"cursor"}"#, |d| {
            resource(d, 0)["searchParam"] = serde_json::json!([]);
        });
        assert!(found.iter().any(|c| c.code == "override" && c.weight == Weight::Problem), "{found:?}");
    }
}
