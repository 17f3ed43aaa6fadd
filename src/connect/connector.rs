//! How an EHR is connected, value by value, each with where it comes from: the operator's word, the server's own statement, the vendor's preset
//! with its source, or a default.

use serde::Serialize;

use crate::ehr::auth::{Dialect, Need};
use crate::ehr::client::Client;
use crate::ehr::profile::{Auth, Strategy};
use crate::ehr::vendor::Preset;
use crate::ehr::{Plan, Profile, Statement};
use crate::writeback::contract::Contract;
use crate::writeback::needs;

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum From {
    /// The operator said so (`ehr add`), or the configuration.
    Override,
    /// The server states it of itself.
    Live,
    /// The vendor's preset, borne out by what the server states.
    PresetAndLive,
    /// The vendor's preset; the server was not asked.
    Preset,
    /// A probe showed it.
    Proof,
    /// Nobody said anything.
    Default,
}

impl From {
    /// In words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Override => "operator",
            Self::Live => "statement",
            Self::PresetAndLive => "preset+statement",
            Self::Preset => "preset",
            Self::Proof => "probe",
            Self::Default => "default",
        }
    }
}

/// One value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// Its key: stable, for programs. `scopes.read`, `Patient.strategy`, ...
    pub key: String,
    /// The value, for people.
    pub value: String,
    /// Where it comes from.
    pub from: From,
    /// Where a preset has it from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Where operator and statement disagree, and what else has to be known.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// What the rows are made from.
pub struct Known<'a> {
    /// The connector profile.
    pub profile: &'a Profile,
    /// What the server states; absent where it was never asked.
    pub statement: Option<&'a Statement>,
    /// What it takes in writing back.
    pub contract: &'a Contract,
    /// The installation's own page size.
    pub page_size: u32,
}

/// How the EHR is connected.
#[must_use]
pub fn connector(known: &Known<'_>) -> Vec<Row> {
    let mut rows = Rows { all: Vec::new(), preset: known.profile.preset(), live: known.statement.is_some() };
    connection(known, &mut rows);
    scopes(known, &mut rows);
    if !known.profile.files_only {
        types(known, &mut rows);
        searching(known, &mut rows);
        bulk(known, &mut rows);
    }
    write_back(known, &mut rows);
    limits(known, &mut rows);
    rows.all
}

struct Rows {
    all: Vec<Row>,
    preset: Option<&'static Preset>,
    live: bool,
}

impl Rows {
    fn put(&mut self, key: impl Into<String>, value: impl Into<String>, from: From) -> &mut Row {
        self.all.push(Row { key: key.into(), value: value.into(), from, source: None, warnings: Vec::new() });
        let last = self.all.len() - 1;
        #[expect(clippy::indexing_slicing, reason = "it was put there just now")]
        &mut self.all[last]
    }

    /// A value of the preset, with the source of what it says about that.
    fn preset(&mut self, key: impl Into<String>, value: impl Into<String>, about: &str) -> &mut Row {
        let source = self.preset.and_then(|p| p.facts.iter().find(|f| f.about == about)).map(|f| f.source.clone());
        let from = if self.live { From::PresetAndLive } else { From::Preset };
        let row = self.put(key, value, from);
        row.source = source;
        row
    }
}

fn or_none(items: impl IntoIterator<Item = impl Into<String>>) -> String {
    let all: Vec<String> = items.into_iter().map(Into::into).collect();
    if all.is_empty() { "none".to_owned() } else { all.join(" ") }
}

fn connection(known: &Known<'_>, rows: &mut Rows) {
    let profile = known.profile;
    let base = profile.base_url.as_ref().map_or_else(|| "none: data comes as files".to_owned(), ToString::to_string);
    rows.put("base_url", base, From::Override);
    let named = if profile.vendor.is_some() { From::Override } else { From::Default };
    let preset = rows.preset.map_or_else(|| "none".to_owned(), |p| format!("{} ({})", p.name, p.title));
    rows.put("vendor", preset, named);
    if let Some(statement) = known.statement {
        let capability = &statement.capability;
        let told = |text: &Option<String>| text.clone().unwrap_or_else(|| "not told".to_owned());
        rows.put("fhir_version", told(&capability.fhir_version), From::Live);
        rows.put("software", told(&capability.software), From::Live);
    }
    let auth = match &profile.auth {
        Auth::None => "none".to_owned(),
        Auth::Bearer { .. } => "a static bearer token".to_owned(),
        Auth::BackendServices(b) => format!("SMART Backend Services (private_key_jwt) as client {}", b.client_id),
        Auth::ClientSecret(c) => format!("client credentials with a secret, as client {}", c.client_id),
        Auth::UserGrant(g) => format!("what a person granted, as client {}", g.client_id),
    };
    rows.put("auth", auth, From::Override);
    if let (Some(launch), Some(base)) = (&profile.launch, &profile.base_url) {
        let client = launch.auth.client_id().unwrap_or_default();
        rows.put("launch", format!("as client {client}, in frames of {}", launch.frame_ancestors(base)), From::Override);
    }
    if let Auth::BackendServices(backend) = &profile.auth {
        let discovered = known.statement.and_then(|s| s.discovery.token_endpoint.clone());
        let (endpoint, from) = match (&backend.token_url, &discovered) {
            (Some(url), _) => (url.to_string(), From::Override),
            (None, Some(text)) => (text.clone(), From::Live),
            (None, None) => ("not told".to_owned(), From::Live),
        };
        let row = rows.put("token_endpoint", endpoint.clone(), from);
        if from == From::Override && discovered.as_ref().is_some_and(|d| d.trim_end_matches('/') != endpoint.trim_end_matches('/')) {
            row.warnings.push(format!("the server states {}", discovered.clone().unwrap_or_default()));
        }
        rows.put("assertion_aud", endpoint, from);
        if let Some(statement) = known.statement.filter(|s| !s.discovery.algorithms.is_empty()) {
            rows.put("algorithms", statement.discovery.algorithms.join(" "), From::Live);
        } else if let Some(p) = rows.preset.filter(|p| !p.register.algorithms.is_empty()) {
            let all = p.register.algorithms.iter().map(|a| a.as_str()).collect::<Vec<_>>().join(" ");
            rows.put("algorithms", all, From::Preset);
        }
    }
}

fn scopes(known: &Known<'_>, rows: &mut Rows) {
    let Auth::BackendServices(backend) = &known.profile.auth else { return };
    let capabilities = known.statement.map(|s| s.discovery.capabilities.as_slice());
    let preset = rows.preset.and_then(|p| p.register.dialect);
    let (dialect, from) = match (backend.dialect, capabilities, preset) {
        (Some(own), ..) => (own, From::Override),
        (None, Some(capabilities), _) => (Dialect::of(capabilities), From::Live),
        (None, None, Some(preset)) => (preset, From::Preset),
        (None, None, None) => (Dialect::V1, From::Default),
    };
    let name = |d: Dialect| if d == Dialect::V1 { "version 1 (system/Patient.read)" } else { "version 2 (system/Patient.rs)" };
    let row = rows.put("scopes.dialect", name(dialect), from);
    if from == From::Override
        && let Some(stated) = capabilities.map(Dialect::of).filter(|stated| *stated != dialect)
    {
        row.warnings.push(format!("the server states {}", name(stated)));
    }
    let written = |all: &[Need]| or_none(all.iter().flat_map(|n| n.scopes(dialect)));
    match &backend.scopes {
        Some(own) => {
            rows.put("scopes.all", own.join(" "), From::Override);
        }
        None => {
            rows.preset("scopes.read", written(&Client::reads_of(known.profile)), "sync");
            rows.preset("scopes.write", written(&needs(known.contract)), "chain");
        }
    }
}

fn types(known: &Known<'_>, rows: &mut Rows) {
    let profile = known.profile;
    let Some(statement) = known.statement else {
        rows.put("reading", "not known before the server was asked: run `fhir-engage ehr check`", From::Default);
        return;
    };
    for of in Plan::of(profile, &statement.capability).types {
        let kind = of.kind;
        let own = profile.strategy.contains_key(&kind);
        let value = match of.strategy {
            Strategy::Off => format!("off: {}", of.lacks.as_ref().unwrap_or(&of.why)),
            strategy => strategy.as_str().to_owned(),
        };
        let key = format!("{kind}.strategy");
        let row = if own { rows.put(key, value, From::Override) } else { rows.preset(key, value, "sync") };
        row.warnings.extend(of.warnings.clone());
        if profile.events.types.contains_key(&kind) {
            let told = of.events.as_ref().map_or_else(|| "none: see the warnings of the strategy".to_owned(), |events| events.words(kind));
            rows.put(format!("{kind}.events"), told, From::Override);
        }
        if of.strategy != Strategy::Off {
            let own = profile.searches.contains_key(&kind);
            let key = format!("{kind}.asks");
            if own {
                rows.put(key, of.asks, From::Override)
            } else {
                rows.preset(key, of.asks, "sync")
            };
        }
        let stated = statement.capability.types.get(kind.as_str());
        let listed = |set: Option<&std::collections::BTreeSet<String>>| or_none(set.into_iter().flatten().cloned());
        rows.put(format!("{kind}.interactions"), listed(stated.map(|t| &t.interactions)), From::Live);
        rows.put(format!("{kind}.search_parameters"), listed(stated.map(|t| &t.search_params)), From::Live);
    }
}

/// Whether each type that is searched lists a parameter, as far as the server was asked.
fn lists_everywhere(known: &Known<'_>, name: &str) -> bool {
    let Some(capability) = known.statement.map(|s| &s.capability) else { return true };
    let mut searched = known.profile.all_types().filter(|kind| capability.allows(kind.as_str(), "search-type"));
    searched.all(|kind| capability.searches_by(kind.as_str(), name))
}

fn searching(known: &Known<'_>, rows: &mut Rows) {
    let profile = known.profile;
    match (&profile.page_size_param, rows.preset.and_then(|p| p.sync.page_size.clone())) {
        (Some(own), _) => rows.put("page_size.parameter", own, From::Override),
        (None, Some(preset)) if preset != "_count" && !lists_everywhere(known, &preset) => {
            rows.put("page_size.parameter", format!("none is sent: the server does not list {preset} for all types"), From::Live)
        }
        (None, Some(preset)) => rows.preset("page_size.parameter", preset, "sync"),
        (None, None) => rows.preset("page_size.parameter", "none is known to be taken", "sync"),
    };
    match profile.page_size {
        Some(own) => rows.put("page_size.value", own.to_string(), From::Override),
        None => rows.put("page_size.value", known.page_size.to_string(), From::Default),
    };
    let by = if profile.search_by_post { ("POST [type]/_search", From::Override) } else { ("GET", From::Default) };
    rows.put("search_by", by.0, by.1);
    let headers = profile.request_headers();
    let why = rows.preset.and_then(|p| p.headers.why.clone());
    for (name, value) in headers {
        let own = profile.headers.contains_key(&name);
        let row = rows.put(format!("header.{name}"), value, if own { From::Override } else { From::Preset });
        row.source = why.as_ref().filter(|_| !own).map(|w| w.source.clone());
    }
}

/// Exports: which the server states, and how they are asked for.
fn bulk(known: &Known<'_>, rows: &mut Rows) {
    if let Some(statement) = known.statement {
        let exports = statement.capability.exports;
        let stated = [("system", exports.system), ("patient", exports.patient), ("group", exports.group)];
        rows.put("bulk.stated", or_none(stated.into_iter().filter(|(_, yes)| *yes).map(|(name, _)| name)), From::Live);
    }
    let own = &known.profile.bulk;
    let written = |value: serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let Some(dialect) = rows.preset.and_then(|p| p.bulk.as_ref()) else {
        rows.put("bulk.levels", "none is known", From::Preset);
        return;
    };
    match own.level {
        Some(level) => rows.put("bulk.levels", level.as_str(), From::Override),
        None => rows.preset("bulk.levels", or_none(dialect.levels.iter().map(|l| l.as_str())), "bulk"),
    };
    match own.lists {
        Some(lists) => rows.put("bulk.lists", written(serde_json::json!(lists)), From::Override),
        None => rows.preset("bulk.lists", written(serde_json::json!(dialect.lists)), "bulk"),
    };
    match own.kick_off {
        Some(kick_off) => rows.put("bulk.kick_off", written(serde_json::json!(kick_off)), From::Override),
        None => rows.preset("bulk.kick_off", written(serde_json::json!(dialect.kick_off)), "bulk"),
    };
    if !own.download_hosts.is_empty() {
        rows.put("bulk.download_hosts", own.download_hosts.join(" "), From::Override);
    }
}

fn write_back(known: &Known<'_>, rows: &mut Rows) {
    let contract = known.contract;
    let said = |key: &str| known.profile.write_back.as_ref().is_some_and(|w| w.get(key).is_some());
    let chain = or_none(contract.chain.iter().map(|c| c.as_str()));
    let row =
        if said("chain") { rows.put("write_back.chain", chain, From::Override) } else { rows.preset("write_back.chain", chain, "chain") };
    if !contract.missing().is_empty() {
        row.warnings.push(format!("without {} nothing can be written", contract.missing().join(" and ")));
    }
    for carrier in &contract.chain {
        let (Some(terms), name) = (contract.terms(*carrier), carrier.as_str()) else { continue };
        let about = name.replace('-', "_");
        let found = terms.finder().map_or_else(
            || "by no search".to_owned(),
            |f| serde_json::to_value(f).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default(),
        );
        rows.preset(format!("write_back.{name}.found_again"), found, &about);
        rows.preset(format!("write_back.{name}.update"), if terms.update { "taken" } else { "not taken" }, &about);
        let conditional = terms.creates_conditionally();
        let value = if conditional { "holds" } else { "not used: it was not shown to hold" };
        rows.put(format!("write_back.{name}.conditional_create"), value, if conditional { From::Proof } else { From::Default });
    }
}

fn limits(known: &Known<'_>, rows: &mut Rows) {
    let profile = known.profile;
    match profile.requests_per_second {
        Some(rate) => rows.put("limits.requests_per_second", serde_json::to_string(&rate).unwrap_or_default(), From::Override),
        None => rows.put("limits.requests_per_second", "as fast as it goes", From::Default),
    };
    if let Some(limit) = rows.preset.and_then(|p| p.register.limit.clone()) {
        rows.put("limits.published", limit.says, From::Preset).source = Some(limit.source);
    }
    let timeout = profile.timeout_secs.map_or(("60".to_owned(), From::Default), |t| (t.to_string(), From::Override));
    rows.put("limits.timeout_seconds", timeout.0, timeout.1);
    let vanish = profile.vanish_limit_percent.map_or(("20".to_owned(), From::Default), |t| (t.to_string(), From::Override));
    rows.put("limits.vanish_percent", vanish.0, vanish.1);
}
