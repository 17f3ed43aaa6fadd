//! Clients that are no Backend Services: with a secret (RFC 6749, 2.3.1), and those that a person lets in (4.1, 6; PKCE, RFC 7636; SMART App
//! Launch 2.2, "Obtain authorization code"). Owns registered apps, codes and refresh tokens. The person always says yes.

use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::digest::{SHA256, digest};
use url::Url;

use serde_json::Value;

use crate::desk::{Desk, LaunchContext};
use crate::identity::User;
use crate::instant::SECOND;

/// A registered app.
#[derive(Clone, Debug)]
pub struct App {
    /// Its id.
    pub client_id: String,
    /// Its secret; a public client where absent.
    pub secret: Option<String>,
    /// Whether it may show the secret in the `Authorization` header, and in the form.
    pub basic: bool,
    /// See `basic`.
    pub post: bool,
    /// Where persons are sent back to; without one no person may let it in.
    pub redirect_uri: Option<String>,
    /// Its public keys, as a JWK Set, where it shows who it is by assertions.
    pub jwks: Option<Value>,
    /// Where the EHR opens it.
    pub launch_url: Option<String>,
    /// The scopes it may have: `system/...` by itself, `user/...` for a person.
    pub scopes: Vec<String>,
    /// Whether each use of a refresh token gives a new one, and the old one, used again, ends all that came of the grant.
    pub rotates: bool,
    /// How long a refresh token lives, in seconds; told in `refresh_expires_in`.
    pub refresh_seconds: Option<i64>,
    /// Whether an authorization request must name the FHIR base in `aud`; otherwise it must leave `aud` out.
    pub wants_aud: bool,
}

impl App {
    /// An app with a secret that acts by itself.
    pub fn with_secret(client_id: &str, secret: &str, scopes: &str) -> Self {
        Self {
            client_id: client_id.to_owned(),
            secret: Some(secret.to_owned()),
            basic: true,
            post: true,
            redirect_uri: None,
            jwks: None,
            launch_url: None,
            scopes: scopes.split(' ').map(str::to_owned).collect(),
            rotates: true,
            refresh_seconds: None,
            wants_aud: true,
        }
    }

    /// A public app that a person lets in.
    pub fn public(client_id: &str, redirect_uri: &str, scopes: &str) -> Self {
        Self { secret: None, redirect_uri: Some(redirect_uri.to_owned()), ..Self::with_secret(client_id, "", scopes) }
    }
}

/// A code that waits to be exchanged, or was.
struct Code {
    client_id: String,
    redirect_uri: String,
    challenge: String,
    scope: String,
    expires: i64,
    used: bool,
    family: u64,
    told: Told,
}

/// What an app learns beside its token, and of whom.
#[derive(Clone, Default)]
pub(crate) struct Told {
    pub(crate) user: User,
    pub(crate) context: LaunchContext,
    pub(crate) nonce: Option<String>,
}

struct Refresh {
    told: Told,
    client_id: String,
    scope: String,
    expires: Option<i64>,
    used: bool,
    family: u64,
}

/// What a code or a refresh token brings.
pub(crate) struct Brought {
    pub(crate) scope: String,
    /// All that came of one person's yes.
    pub(crate) family: u64,
    /// A refresh token to hand out.
    pub(crate) refresh: Option<String>,
    pub(crate) told: Told,
    /// Whether it was a code that brought it.
    pub(crate) is_new: bool,
}

/// Why a code or refresh token brings nothing.
pub(crate) struct Nothing {
    pub(crate) says: &'static str,
    /// All that came of it ends.
    pub(crate) ends: Option<u64>,
}

/// The apps of an authority with what they hold.
#[derive(Default)]
pub(crate) struct Apps {
    known: Vec<App>,
    codes: HashMap<String, Code>,
    refresh: HashMap<String, Refresh>,
    families: u64,
}

const CODE_SECONDS: i64 = 60;
/// Scopes that any app may ask for.
const OF_LAUNCHES: [&str; 8] =
    ["openid", "fhirUser", "profile", "offline_access", "online_access", "launch", "launch/patient", "launch/encounter"];

/// The answer to an authorization request.
pub(crate) enum Consent {
    /// Back to the app.
    Redirect(String),
    /// The person sees an error: nobody knows where to send them.
    Page(&'static str),
    /// The person has to choose a patient.
    Choice,
}

fn one<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let mut values = pairs.iter().filter(|(key, value)| key == name && !value.is_empty()).map(|(_, value)| value.as_str());
    values.next().filter(|_| values.next().is_none())
}

impl Apps {
    pub(crate) fn register(&mut self, app: App) {
        self.known.retain(|known| known.client_id != app.client_id);
        self.known.push(app);
    }

    pub(crate) fn app(&self, client_id: &str) -> Option<&App> {
        self.known.iter().find(|app| app.client_id == client_id)
    }

    /// Answers an authorization request (RFC 6749, 4.1.1 and 4.1.2).
    pub(crate) fn authorize(
        &mut self,
        query: &[(String, String)],
        base: &str,
        denied: bool,
        now: i64,
        random: String,
        desk: &mut Desk,
    ) -> Consent {
        let Some(app) = one(query, "client_id").and_then(|id| self.app(id)).cloned() else { return Consent::Page("unknown client") };
        let Some(redirect_uri) = app.redirect_uri.clone().filter(|own| one(query, "redirect_uri") == Some(own.as_str())) else {
            return Consent::Page("redirect_uri is not the registered one");
        };
        let state = one(query, "state").map(str::to_owned);
        let back = |pairs: &[(&str, &str)]| match Url::parse(&redirect_uri) {
            Ok(mut url) => {
                url.query_pairs_mut().extend_pairs(pairs).extend_pairs(state.as_deref().map(|s| ("state", s)));
                Consent::Redirect(url.into())
            }
            Err(_) => Consent::Page("redirect_uri is no URL"),
        };
        let refuse = |error: &str, says: &str| back(&[("error", error), ("error_description", says)]);
        if denied {
            return refuse("access_denied", "the person said no");
        }
        if one(query, "response_type") != Some("code") {
            return refuse("unsupported_response_type", "response_type must be code");
        }
        if state.is_none() {
            return refuse("invalid_request", "state is required");
        }
        let aud = one(query, "aud");
        if app.wants_aud && aud != Some(base) || !app.wants_aud && aud.is_some() {
            return refuse("invalid_request", "aud is not as it has to be");
        }
        let (Some(challenge), Some("S256")) = (one(query, "code_challenge"), one(query, "code_challenge_method")) else {
            return refuse("invalid_request", "PKCE with S256 is required");
        };
        let allowed = |scope: &&str| app.scopes.iter().any(|own| own == scope) || OF_LAUNCHES.contains(scope);
        let scope: Vec<&str> = one(query, "scope").unwrap_or_default().split_whitespace().filter(allowed).collect();
        if scope.is_empty() {
            return refuse("invalid_scope", "no requested scope is allowed");
        }
        let context = match (one(query, "launch"), one(query, "chosen")) {
            (Some(token), _) => match desk.take(token) {
                Some(context) => context,
                None => return refuse("invalid_request", "this launch is not known, or was used"),
            },
            (None, Some(patient)) => LaunchContext::of(patient),
            (None, None) if scope.contains(&"launch/patient") => return Consent::Choice,
            (None, None) if scope.contains(&"launch") => return refuse("invalid_request", "launch is required"),
            (None, None) => LaunchContext::default(),
        };
        let told = Told { user: desk.user.clone(), context, nonce: one(query, "nonce").map(str::to_owned) };
        self.families += 1;
        let code = Code {
            told,
            client_id: app.client_id.clone(),
            redirect_uri: redirect_uri.clone(),
            challenge: challenge.to_owned(),
            scope: scope.join(" "),
            expires: now + CODE_SECONDS * SECOND,
            used: false,
            family: self.families,
        };
        self.codes.insert(random.clone(), code);
        back(&[("code", &random)])
    }

    /// Exchanges a code; one that comes a second time ends all that came of it (RFC 6749, 4.1.2).
    pub(crate) fn redeem(&mut self, app: &App, form: &[(String, String)], now: i64, random: String) -> Result<Brought, Nothing> {
        let nothing = |says| Nothing { says, ends: None };
        let code = one(form, "code").and_then(|code| self.codes.get_mut(code)).filter(|c| c.client_id == app.client_id);
        let code = code.ok_or_else(|| nothing("unknown code"))?;
        if code.used {
            let family = code.family;
            self.refresh.retain(|_, r| r.family != family);
            return Err(Nothing { says: "the code was used before", ends: Some(family) });
        }
        if code.expires <= now {
            return Err(nothing("the code has expired"));
        }
        if one(form, "redirect_uri") != Some(code.redirect_uri.as_str()) {
            return Err(nothing("redirect_uri is another one than that of the authorization request"));
        }
        let verifier = one(form, "code_verifier").unwrap_or_default();
        if URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes())) != code.challenge {
            return Err(nothing("code_verifier does not fit code_challenge"));
        }
        code.used = true;
        let (scope, family, told) = (code.scope.clone(), code.family, code.told.clone());
        let lasts = scope.split(' ').any(|s| s == "offline_access" || s == "online_access");
        let refresh = lasts.then(|| self.hand_out(app, &scope, &told, family, now, random));
        Ok(Brought { scope, family, refresh, told, is_new: true })
    }

    /// Takes a refresh token. Where tokens rotate, one that was used before ends all that came of the grant (RFC 9700, 4.14.2).
    pub(crate) fn refresh(&mut self, app: &App, form: &[(String, String)], now: i64, random: String) -> Result<Brought, Nothing> {
        let nothing = |says| Nothing { says, ends: None };
        let held = one(form, "refresh_token").and_then(|token| self.refresh.get_mut(token)).filter(|r| r.client_id == app.client_id);
        let held = held.ok_or_else(|| nothing("unknown refresh token"))?;
        if held.used {
            let family = held.family;
            self.refresh.retain(|_, r| r.family != family);
            return Err(Nothing { says: "the refresh token was used before: all that came of it has ended", ends: Some(family) });
        }
        if held.expires.is_some_and(|expires| expires <= now) {
            return Err(nothing("the refresh token has expired"));
        }
        held.used = app.rotates;
        let (scope, family, told) = (held.scope.clone(), held.family, held.told.clone());
        let refresh = app.rotates.then(|| self.hand_out(app, &scope, &told, family, now, random));
        Ok(Brought { scope, family, refresh, told, is_new: false })
    }

    /// Takes a refresh token back, with all that came of it; the family that ends.
    pub(crate) fn revoke(&mut self, app: &App, token: &str) -> Option<u64> {
        let family = self.refresh.get(token).filter(|r| r.client_id == app.client_id)?.family;
        self.refresh.retain(|_, r| r.family != family);
        Some(family)
    }

    /// The apps that the EHR can open, by id.
    pub(crate) fn opened(&self) -> Vec<String> {
        self.known.iter().filter(|app| app.launch_url.is_some()).map(|app| app.client_id.clone()).collect()
    }

    fn hand_out(&mut self, app: &App, scope: &str, told: &Told, family: u64, now: i64, token: String) -> String {
        let expires = app.refresh_seconds.map(|seconds| now + seconds * SECOND);
        let held = Refresh { client_id: app.client_id.clone(), scope: scope.to_owned(), expires, used: false, family, told: told.clone() };
        self.refresh.insert(token.clone(), held);
        token
    }
}

/// The id and secret of a `Basic` header: each form-encoded, then joined and encoded (RFC 6749, 2.3.1).
pub(crate) fn basic(header: &str) -> Option<(String, String)> {
    let encoded = header.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("basic"))?.1;
    let text = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (id, secret) = text.split_once(':')?;
    let plain = |text: &str| {
        let pairs = format!("x={text}");
        url::form_urlencoded::parse(pairs.as_bytes()).next().map(|(_, value)| value.into_owned())
    };
    Some((plain(id)?, plain(secret)?))
}
