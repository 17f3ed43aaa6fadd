//! A launch, walked as far as a machine can: what the EHR says of its authorization server, whether that fits what is registered, whether it can be
//! proven who a user is, and what the EHR's vendor must know of this gateway. Only a person can go the rest of the way.

use serde_json::Value;
use url::Url;

use super::diagnosis::{self, Finding};
use super::{Report, Verdict};
use crate::ehr::connection::Parts;
use crate::ehr::discovery::Discovery;
use crate::ehr::invitation::AuthorizeError;
use crate::ehr::launch::Authority;
use crate::ehr::profile::{AppLaunch, Auth, Profile};
use crate::net::Origin;

/// What a launch needs that an EHR lists as a capability (SMART App Launch 2.2, "Conformance"), and what is lost without.
const NEEDED: [(&str, &str); 4] = [
    ("launch-ehr", "the app cannot be opened from inside the EHR"),
    ("launch-standalone", "a launch cannot begin here"),
    ("context-ehr-patient", "a launch does not say which patient is open"),
    ("permission-user", "the EHR cannot be asked whether its user may see a patient"),
];

/// Walks the launch of a connection that has one. `own` is the address under which browsers reach this gateway.
pub async fn try_launch(report: &mut Report, profile: &Profile, parts: &Parts, own: Option<&Url>) {
    let Some(launch) = profile.launch.as_deref() else { return };
    let authority = match Authority::find(profile, parts, None).await {
        Ok(authority) => authority,
        Err(error) => return report.add("launch", Verdict::Problem, no_way_in(&error)),
    };
    let discovery = authority.discovery();
    let at = Origin::of(authority.endpoint()).map_or_else(|| "an address without a host".to_owned(), |o| o.to_string());
    report.ok("launch", format!("users are sent to {at} to sign in"));
    pkce(report, discovery);
    capabilities(report, discovery, launch);
    identity(report, &authority).await;
    if discovery.revoke_url.is_none() {
        report.add(
            "launch end",
            Verdict::Warning,
            finding(
                "the EHR names no revocation endpoint: what a user granted ends by itself, and not when they sign out",
                "nothing, where that is soon; else ask the EHR's operator whether there is one",
            ),
        );
    }
    let is_here = profile.base_url.as_ref().and_then(Origin::of).is_some_and(|o| o.is_loopback());
    addresses(report, launch, own, is_here);
}

fn finding(says: impl Into<String>, remedy: impl Into<String>) -> Finding {
    Finding { says: says.into(), remedy: remedy.into() }
}

fn no_way_in(error: &AuthorizeError) -> Finding {
    match error {
        AuthorizeError::Connect(error) => diagnosis::connect(error),
        AuthorizeError::NotByAPerson => finding(error.to_string(), "register the EHR again with --launch-client-id"),
        AuthorizeError::NoEndpoint => finding(
            "the EHR names no authorization endpoint, so nobody can be sent there to sign in",
            "ask the EHR's operator whether SMART launches are switched on for this server",
        ),
        AuthorizeError::PlainText => finding(error.to_string(), "ask the EHR's operator for an https address"),
        AuthorizeError::NoPkce => finding(error.to_string(), "ask the EHR's operator to let its authorization server take S256"),
    }
}

fn pkce(report: &mut Report, discovery: &Discovery) {
    const STEP: &str = "launch pkce";
    // One without S256 has ended the walk.
    if discovery.challenge_methods.is_empty() {
        let says = "the EHR does not say whether it takes PKCE; S256 is sent all the same";
        return report.add(
            STEP,
            Verdict::Warning,
            finding(says, "if a launch ends with `invalid_request`, ask the EHR's operator for S256"),
        );
    }
    report.ok(STEP, "S256 is taken");
}

fn capabilities(report: &mut Report, discovery: &Discovery, launch: &AppLaunch) {
    const STEP: &str = "launch capabilities";
    if discovery.capabilities.is_empty() {
        let says = "the EHR lists no capabilities: whether it launches apps is not known before somebody tries";
        return report.add(STEP, Verdict::Warning, finding(says, "try a launch; ask the EHR's operator for a smart-configuration"));
    }
    let (client, shown_by) = match &launch.auth {
        Auth::UserGrant(grant) if grant.key => ("client-confidential-asymmetric", "its key"),
        Auth::UserGrant(grant) if grant.secret.is_some() => ("client-confidential-symmetric", "its secret"),
        _ => ("client-public", "nothing, a public client"),
    };
    let lists = |name: &str| discovery.capabilities.iter().any(|c| c == name);
    let mut missing: Vec<String> =
        NEEDED.into_iter().filter(|(name, _)| !lists(name)).map(|(name, lost)| format!("{name}, without which {lost}")).collect();
    if !lists(client) {
        missing.push(format!("{client}, and this client shows who it is by {shown_by}"));
    }
    if missing.is_empty() {
        return report.ok(STEP, "all that a launch needs is listed");
    }
    // Lists are known to leave out what works.
    let remedy = "try a launch: some servers list less than they can. If it fails, have it switched on for this client, or register it the other way";
    report.add(STEP, Verdict::Warning, finding(format!("the EHR does not list {}", missing.join("; ")), remedy));
}

/// Whether an id_token could be verified.
async fn identity(report: &mut Report, authority: &Authority) {
    const STEP: &str = "launch identity";
    let Some(issuer) = authority.issuer() else {
        let says = "the EHR does not say who signs its id_tokens (issuer): nobody can be let in, since it cannot be proven who they are";
        let remedy = "ask the EHR's operator to switch sso-openid-connect on, with issuer and jwks_uri in its smart-configuration";
        return report.add(STEP, Verdict::Problem, finding(says, remedy));
    };
    if !authority.discovery().capabilities.is_empty() && !authority.discovery().capabilities.iter().any(|c| c == "sso-openid-connect") {
        let says = "the EHR names an issuer and does not list sso-openid-connect: it may give no id_token, and then nobody is let in";
        report.add(STEP, Verdict::Warning, finding(says, "have the scopes openid and fhirUser allowed for this client"));
    }
    match authority.issuer_says().await {
        Ok(Some(named)) if named.trim_end_matches('/') != issuer.trim_end_matches('/') => {
            let says = "the issuer's own configuration names another issuer than the EHR does: id_tokens of that one are refused";
            report.add(STEP, Verdict::Problem, finding(says, "ask the EHR's operator which is right"));
        }
        Ok(Some(_)) => report.ok(STEP, "the issuer's configuration is there, and names the same issuer"),
        // Where the EHR itself says where the keys are, it is not needed.
        Ok(None) | Err(_) if authority.discovery().keys_url.is_some() => {
            report.ok(STEP, "the EHR says itself where the issuer's keys are");
        }
        Ok(None) => report.add(STEP, Verdict::Problem, elsewhere("the issuer's configuration is no OpenID Connect configuration")),
        Err(error) => {
            let why = diagnosis::ehr(&error).says;
            report.add(STEP, Verdict::Problem, elsewhere(&format!("the issuer's configuration cannot be read: {why}")));
        }
    }
    match authority.keys().await.map(|keys| usable(&keys)) {
        Ok(0) => {
            let says = "the issuer publishes no key of RS256 or ES256, which id_tokens are signed with";
            report.add(
                "launch keys",
                Verdict::Problem,
                finding(says, "ask the EHR's operator for the keys that its id_tokens are signed with"),
            );
        }
        Ok(n) => report.ok("launch keys", format!("{n} {} id_tokens", if n == 1 { "key verifies" } else { "keys verify" })),
        Err(error) => {
            let why = diagnosis::ehr(&error).says;
            report.add("launch keys", Verdict::Problem, elsewhere(&format!("the issuer's keys cannot be read: {why}")));
        }
    }
}

fn elsewhere(says: &str) -> Finding {
    finding(says, "if they are at another host than the EHR's, and its operator confirms that, name its origin with --launch-origin")
}

/// How many keys of a JWK Set an id_token could be signed with.
fn usable(set: &[u8]) -> usize {
    let set: Value = serde_json::from_slice(set).unwrap_or_default();
    let text = |key: &Value, name: &str| key.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let fits = |key: &&Value| {
        let kind = (text(key, "kty"), text(key, "crv"));
        let kind_fits = kind.0 == "RSA" || (kind.0 == "EC" && kind.1 == "P-256");
        kind_fits && text(key, "use") != "enc" && ["", "RS256", "ES256"].contains(&text(key, "alg").as_str())
    };
    set.get("keys").and_then(Value::as_array).map_or(0, |keys| keys.iter().filter(fits).count())
}

/// What the vendor must know of this gateway: compared there with what is sent, character by character. `is_here`: the EHR is on this machine.
fn addresses(report: &mut Report, launch: &AppLaunch, own: Option<&Url>, is_here: bool) {
    const STEP: &str = "launch addresses";
    let Some(own) = own else {
        let says = "this gateway does not know its own address: no launch can come back to it but one on this machine";
        let verdict = if is_here { Verdict::Warning } else { Verdict::Problem };
        return report.add(STEP, verdict, finding(says, "set external_url in [web], then register what this step tells"));
    };
    let base = own.as_str().trim_end_matches('/');
    let signs = matches!(&launch.auth, Auth::UserGrant(grant) if grant.key);
    let keys = if signs { format!(", keys {base}/.well-known/jwks.json") } else { String::new() };
    let says = format!("to be registered at the EHR: launch URL {base}/launch, redirect URL {base}/callback{keys}");
    if !Origin::of(own).is_some_and(|o| o.is_https() || o.is_loopback()) {
        let remedy = "give external_url in [web] as https: over plain http browsers send no cookie into the EHR's frame";
        return report.add(STEP, Verdict::Problem, finding(says, remedy));
    }
    report.ok(STEP, says);
}
