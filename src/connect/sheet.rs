//! The sheet for a vendor's portal: what to enter where a client is registered, what to ask the vendor for, and what its servers cannot do.

use serde::Serialize;
use url::Url;

use crate::ehr::auth::{Dialect, Need};
use crate::ehr::client::Client;
use crate::ehr::profile::Profile;
use crate::ehr::vendor::{Headers, KeyForm, Preset, Said};
use crate::writeback::contract::Contract;
use crate::writeback::needs;

/// What stands for the address of this gateway where nobody has named it.
pub const PLACEHOLDER: &str = "https://YOUR-GATEWAY";
/// Where a person is sent back to who grants access on the command line.
const LOOPBACK: &str = "http://127.0.0.1:8723/callback";
const LAUNCH: [&str; 6] = ["launch", "openid", "fhirUser", "launch/patient", "user/Patient", "user/Appointment"];

/// What to enter and to ask for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Sheet {
    /// The preset.
    pub vendor: String,
    /// Its name for people.
    pub title: String,
    /// The page where a client is registered.
    pub portal: Option<String>,
    /// Whether the addresses are to be filled in: the gateway's own is not configured.
    pub placeholder: bool,
    /// Where persons are sent back to after they granted access.
    pub redirect_urls: Vec<String>,
    /// Where the EHR opens the gateway.
    pub launch_url: String,
    /// Where our public keys are.
    pub jwks_url: String,
    /// How the keys get there.
    pub keys: KeyForm,
    /// What may be signed with.
    pub algorithms: Vec<&'static str>,
    /// Scopes by purpose.
    pub scopes: Vec<Purpose>,
    /// Headers that will be sent.
    pub headers: Vec<(String, String)>,
    /// What to ask for.
    pub ask: Vec<Said>,
    /// What cannot be.
    pub cannot: Vec<Said>,
    /// What else has to be known.
    pub mind: Vec<Said>,
    /// The published limit.
    pub limit: Option<Said>,
}

/// The scopes of one purpose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Purpose {
    /// `read`, `write`, `launch`.
    pub purpose: &'static str,
    /// The dialect: `v1`, `v2`.
    pub dialect: Dialect,
    /// As they are entered.
    pub scopes: Vec<String>,
}

/// The sheet for a vendor; with the profile of a registered EHR, for that one.
#[must_use]
pub fn sheet(preset: &'static Preset, external: Option<&Url>, profile: Option<&Profile>) -> Sheet {
    let register = &preset.register;
    let base = external.map_or_else(|| PLACEHOLDER.to_owned(), |url| url.as_str().trim_end_matches('/').to_owned());
    let of_vendor = Profile { vendor: Some(preset.name.clone()), ..Profile::default() };
    let profile = profile.unwrap_or(&of_vendor);
    let no_scope = |need: &Need| register.no_system_scope.iter().any(|t| t.as_str() == need.resource_type);
    let reads: Vec<Need> = Client::reads_of(profile).into_iter().filter(|n| !no_scope(n)).collect();
    let writes = Contract::of_preset(preset).map(|c| needs(&c)).unwrap_or_default();
    // Where it is not known in which dialect a client is registered, both are told.
    let dialects = register.dialect.map_or_else(|| vec![Dialect::V2, Dialect::V1], |d| vec![d]);
    let mut scopes = Vec::new();
    for dialect in dialects {
        let of = |all: &[Need]| all.iter().flat_map(|n| n.scopes(dialect)).collect::<Vec<_>>();
        for (purpose, all) in [("read", of(&reads)), ("write", of(&writes)), ("launch", launch(dialect))] {
            if !all.is_empty() {
                scopes.push(Purpose { purpose, dialect, scopes: all });
            }
        }
    }
    let Headers { send, .. } = &preset.headers;
    Sheet {
        vendor: preset.name.clone(),
        title: preset.title.clone(),
        portal: register.portal.clone(),
        placeholder: external.is_none(),
        redirect_urls: vec![format!("{base}/callback"), LOOPBACK.to_owned()],
        launch_url: format!("{base}/launch"),
        jwks_url: format!("{base}/.well-known/jwks.json"),
        keys: register.keys,
        algorithms: register.algorithms.iter().map(|a| a.as_str()).collect(),
        scopes,
        headers: send.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
        ask: register.ask.clone(),
        cannot: register.cannot.clone(),
        mind: register.mind.clone(),
        limit: register.limit.clone(),
    }
}

fn launch(dialect: Dialect) -> Vec<String> {
    let ops = if dialect == Dialect::V1 { "read" } else { "rs" };
    LAUNCH.iter().map(|s| if s.starts_with("user/") { format!("{s}.{ops}") } else { (*s).to_owned() }).collect()
}
