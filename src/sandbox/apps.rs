//! Clients that are no Backend Services: with a secret (RFC 6749, 2.3.1), and those that a person lets in (4.1, 6; PKCE, RFC 7636; SMART App
//! Launch 2.2, "Obtain authorization code"). Owns registered apps, codes and refresh tokens. The person always says yes.

use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::digest::{SHA256, digest};
use url::Url;

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
}

struct Refresh {
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

/// The answer to an authorization request.
pub(crate) enum Consent {
    /// Back to the app.
    Redirect(String),
    /// The person sees an error: nobody knows where to send them.
    Page(&'static str),
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
    pub(crate) fn authorize(&mut self, query: &[(String, String)], base: &str, denied: bool, now: i64, random: String) -> Consent {
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
        let allowed = |scope: &&str| app.scopes.iter().any(|own| own == scope) || ["openid", "fhirUser", "offline_access"].contains(scope);
        let scope: Vec<&str> = one(query, "scope").unwrap_or_default().split_whitespace().filter(allowed).collect();
        if scope.is_empty() {
            return refuse("invalid_scope", "no requested scope is allowed");
        }
        self.families += 1;
        let code = Code {
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
        let (scope, family) = (code.scope.clone(), code.family);
        let offline = scope.split(' ').any(|s| s == "offline_access");
        let refresh = offline.then(|| self.hand_out(app, &scope, family, now, random));
        Ok(Brought { scope, family, refresh })
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
        let (scope, family) = (held.scope.clone(), held.family);
        let refresh = app.rotates.then(|| self.hand_out(app, &scope, family, now, random));
        Ok(Brought { scope, family, refresh })
    }

    fn hand_out(&mut self, app: &App, scope: &str, family: u64, now: i64, token: String) -> String {
        let expires = app.refresh_seconds.map(|seconds| now + seconds * SECOND);
        let held = Refresh { client_id: app.client_id.clone(), scope: scope.to_owned(), expires, used: false, family };
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
