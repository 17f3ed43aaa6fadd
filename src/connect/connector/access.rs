//! How an EHR is reached and how this gateway gets in: its address, each credential, the forms of `aud`, and the scopes for each purpose.

use super::{From, Known, Rows, or_none};
use crate::ehr::auth::{Dialect, Level, Need};
use crate::ehr::client::Client;
use crate::ehr::invitation::BESIDE;
use crate::ehr::profile::{AudForm, Auth, LAUNCH};
use crate::ehr::subscription::remote;
use crate::writeback::needs;

pub(super) fn connection(known: &Known<'_>, rows: &mut Rows) {
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
    rows.put("auth", words(&profile.auth), From::Override);
    for (name, credential) in &profile.credentials {
        let value = format!("{}, for {}", words(&credential.auth), credential.types.join(" "));
        rows.put(format!("credential.{name}"), value, From::Override);
    }
    if let (Some(launch), Some(base)) = (&profile.launch, &profile.base_url) {
        let client = launch.auth.client_id().unwrap_or_default();
        rows.put("launch", format!("as client {client}, in frames of {}", launch.frame_ancestors(base)), From::Override);
    }
    if let Some(proxy) = &profile.proxy {
        rows.put("proxy", proxy.url.to_string(), From::Override);
    }
    if let Some(shown) = &profile.client_certificate {
        rows.put("client_certificate", shown.certificate.display().to_string(), From::Override);
    }
    if profile.all_auth().any(|(_, auth)| auth.client_id().is_some()) {
        endpoint(known, rows);
        audience(known, rows);
        algorithms(known, rows);
    }
}

fn words(auth: &Auth) -> String {
    match auth {
        Auth::None => "none".to_owned(),
        Auth::Bearer { .. } => "a static bearer token".to_owned(),
        Auth::BackendServices(b) => format!("SMART Backend Services (private_key_jwt) as client {}", b.client_id),
        Auth::ClientSecret(c) => format!("client credentials with a secret, as client {}", c.client_id),
        Auth::UserGrant(g) => format!("what a person granted, as client {}", g.client_id),
    }
}

fn endpoint(known: &Known<'_>, rows: &mut Rows) {
    let stated = known.statement.and_then(|s| s.discovery.token_endpoint.clone());
    let (endpoint, from) = match (known.profile.auth.token_url(), &stated) {
        (Some(url), _) => (url.to_string(), From::Override),
        (None, Some(text)) => (text.clone(), From::Live),
        (None, None) => ("not told".to_owned(), From::Live),
    };
    let row = rows.put("token_endpoint", endpoint.clone(), from);
    if from == From::Override
        && let Some(stated) = stated.filter(|s| s.trim_end_matches('/') != endpoint.trim_end_matches('/'))
    {
        row.warnings.push(format!("the server states {stated}"));
    }
}

/// `aud`: of assertions, and of the requests that a browser is sent with.
fn audience(known: &Known<'_>, rows: &mut Rows) {
    let profile = known.profile;
    if profile.all_auth().any(|(_, auth)| auth.signs()) {
        let stated = known.statement.and_then(|s| s.discovery.token_endpoint.clone());
        let (value, from) = match (&profile.audience.assertion, profile.auth.token_url(), stated) {
            (Some(set), ..) => (set.clone(), From::Override),
            (None, Some(url), _) => (url.to_string(), From::Override),
            (None, None, Some(text)) => (text, From::Live),
            (None, None, None) => ("the token endpoint; not told".to_owned(), From::Live),
        };
        rows.put("assertion_aud", value, from);
    }
    if profile.all_auth().any(|(_, auth)| matches!(auth, Auth::UserGrant(_))) {
        let preset = rows.preset.and_then(|p| p.authorization.aud);
        let form = profile.audience.authorize.or(preset).unwrap_or_default();
        let form = match form {
            AudForm::Base => "base",
            AudForm::NoSlash => "no-slash",
            AudForm::Absent => "absent",
        };
        let value = profile.authorize_aud().map_or_else(|| form.to_owned(), |text| format!("{form}: {text}"));
        match (profile.audience.authorize, preset) {
            (Some(_), _) => rows.put("authorize_aud", value, From::Override),
            (None, Some(_)) => rows.preset("authorize_aud", value, "authorization"),
            (None, None) => rows.put("authorize_aud", value, From::Default),
        };
    }
}

fn algorithms(known: &Known<'_>, rows: &mut Rows) {
    if let Some(statement) = known.statement.filter(|s| !s.discovery.algorithms.is_empty()) {
        rows.put("algorithms", statement.discovery.algorithms.join(" "), From::Live);
    } else if let Some(p) = rows.preset.filter(|p| !p.register.algorithms.is_empty()) {
        let all = p.register.algorithms.iter().map(|a| a.as_str()).collect::<Vec<_>>().join(" ");
        rows.put("algorithms", all, From::Preset);
    }
}

/// How scopes are written by one credential.
fn dialect(known: &Known<'_>, auth: &Auth, rows: &Rows) -> (Dialect, From) {
    let capabilities = known.statement.map(|s| s.discovery.capabilities.as_slice());
    match (auth.dialect(), capabilities, rows.preset.and_then(|p| p.register.dialect)) {
        (Some(own), ..) => (own, From::Override),
        (None, Some(capabilities), _) => (Dialect::of(capabilities), From::Live),
        (None, None, Some(preset)) => (preset, From::Preset),
        (None, None, None) => (Dialect::V1, From::Default),
    }
}

const fn named(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::V1 => "version 1 (system/Patient.read)",
        Dialect::V2 => "version 2 (system/Patient.rs)",
    }
}

/// The scopes that each credential asks for, by purpose: reading (exports too), writing back, subscriptions; a person's grant, and launches.
pub(super) fn credentials(known: &Known<'_>, rows: &mut Rows) {
    let profile = known.profile;
    let apart = |kind: &str| profile.credentials.values().any(|c| c.types.iter().any(|t| t == kind));
    for (name, auth) in profile.all_auth().filter(|(_, auth)| auth.client_id().is_some()) {
        let (of, prefix) = dialect_row(known, (name, auth), rows);
        if name == LAUNCH {
            launch(known, of, rows);
            continue;
        }
        let level = if matches!(auth, Auth::UserGrant(_)) { Level::User } else { Level::System };
        let theirs = |need: &Need| match profile.credentials.get(name) {
            Some(credential) => credential.types.contains(&need.resource_type),
            None => !apart(&need.resource_type),
        };
        let written = |all: Vec<Need>| or_none(all.iter().filter(|n| theirs(n)).flat_map(|n| n.scopes_at(level, of)));
        // What is set for a purpose is set for the EHR's own credential.
        let own = name.is_empty();
        let all = match auth {
            Auth::BackendServices(backend) => backend.scopes.as_ref(),
            _ => None,
        };
        let set = |purpose: &'_ Option<Vec<String>>| purpose.clone().filter(|_| own).or_else(|| all.cloned());
        put(rows, format!("{prefix}.read"), set(&profile.scopes.read), written(Client::reads_of(profile)), "sync");
        put(rows, format!("{prefix}.write"), set(&profile.scopes.write), written(needs(known.contract)), "chain");
        if !profile.events.types.is_empty()
            && let Some(statement) = known.statement
        {
            let scopes = written(remote::needs(&statement.capability));
            rows.put(format!("{prefix}.events"), set(&profile.scopes.write).map_or(scopes, |set| set.join(" ")), From::Live);
        }
        if matches!(auth, Auth::UserGrant(_)) {
            let (beside, from) = match &profile.scopes.launch {
                Some(set) => (set.join(" "), From::Override),
                None => (BESIDE.join(" "), From::Default),
            };
            rows.put(format!("{prefix}.beside"), beside, from);
        }
    }
    if profile.all_auth().all(|(_, auth)| auth.client_id().is_none()) && !profile.files_only {
        rows.put("scopes", "none are asked for: they do not apply to such a credential", From::Override);
    }
}

fn put(rows: &mut Rows, key: String, set: Option<Vec<String>>, needed: String, about: &str) {
    match set {
        Some(set) => rows.put(key, set.join(" "), From::Override),
        None => rows.preset(key, needed, about),
    };
}

/// How a credential's scopes are written, and what its keys begin with.
fn dialect_row(known: &Known<'_>, (name, auth): (&str, &Auth), rows: &mut Rows) -> (Dialect, String) {
    let (of, from) = dialect(known, auth, rows);
    let prefix = if name.is_empty() { "scopes".to_owned() } else { format!("scopes.{name}") };
    let row = rows.put(format!("{prefix}.dialect"), named(of), from);
    if from == From::Override
        && let Some(stated) = known.statement.map(|s| Dialect::of(&s.discovery.capabilities)).filter(|stated| *stated != of)
    {
        row.warnings.push(format!("the server states {}", named(stated)));
    }
    (of, prefix)
}

fn launch(known: &Known<'_>, dialect: Dialect, rows: &mut Rows) {
    let Some(launch) = &known.profile.launch else { return };
    let online = known.statement.is_some_and(|s| s.discovery.capabilities.iter().any(|c| c == "permission-online"));
    let from = match (&launch.scopes, known.statement) {
        (Some(_), _) => From::Override,
        (None, Some(_)) => From::Live,
        (None, None) => From::Default,
    };
    rows.put("scopes.launch", launch.asks(true, online, dialect).join(" "), from);
}
