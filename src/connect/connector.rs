//! How an EHR is connected, value by value, each with where it comes from: the operator's word, the server's own statement, the vendor's preset
//! with its source, or a default.

mod access;
mod bounds;
mod writing;

use domain::model::ResourceType;
use serde::Serialize;

use crate::ehr::profile::Strategy;
use crate::ehr::vendor::Preset;
use crate::ehr::{Plan, Profile, Statement};
use crate::writeback::contract::Contract;

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
    access::connection(known, &mut rows);
    access::credentials(known, &mut rows);
    if !known.profile.files_only {
        types(known, &mut rows);
        searching(known, &mut rows);
        bulk(known, &mut rows);
    }
    writing::write_back(known, &mut rows);
    bounds::limits(known, &mut rows);
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
        parameter_sets(known, kind, rows);
        let stated = statement.capability.types.get(kind.as_str());
        let listed = |set: Option<&std::collections::BTreeSet<String>>| or_none(set.into_iter().flatten().cloned());
        rows.put(format!("{kind}.interactions"), listed(stated.map(|t| &t.interactions)), From::Live);
        rows.put(format!("{kind}.search_parameters"), listed(stated.map(|t| &t.search_params)), From::Live);
    }
}

/// The sets of parameters that a search of a type has to give one of.
fn parameter_sets(known: &Known<'_>, kind: ResourceType, rows: &mut Rows) {
    let key = format!("{kind}.parameter_sets");
    if let Some(own) = known.profile.searches.get(&kind) {
        rows.put(key, own.pattern(), From::Override);
        return;
    }
    let sets = rows.preset.map(|preset| preset.sync.of(kind).searches).unwrap_or_default();
    if !sets.is_empty() {
        let patterns: Vec<String> = sets.iter().map(crate::ehr::reads::SearchSet::pattern).collect();
        rows.preset(key, patterns.join("; or "), "sync");
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
