//! The authorization server: SMART Backend Services with `private_key_jwt` (SMART App Launch 2.2, "Backend Services" and "Client
//! authentication: asymmetric"), and the token endpoint of [`crate::apps`]. Owns registered clients, used assertion ids and tokens given out; both of the latter only in memory, so a
//! restart ends every token, as real servers do. Knows nothing of FHIR resources.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom, SystemRandom};
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::apps::{self, App, Apps, Brought, Consent, Nothing};
use crate::capability::token_url;
use crate::desk::{self, Desk, LaunchContext, Listed};
use crate::faults::Odd;
use crate::identity::{self, Telling};
use crate::instant::SECOND;
use crate::jwt::Assertion;
use crate::key_sets::{KeyCache, KeySets};
use crate::scope::{Scope, grant};

/// A registered client of the EHR.
#[derive(Clone, Debug)]
pub struct Client {
    /// What the client calls itself in `iss` and `sub`.
    pub client_id: String,
    /// Its public keys, as a JWK Set (RFC 7517). Registered by value: an assertion with a `jku` is refused.
    pub jwks: Value,
    /// The scopes it may have, version 1 or 2: `system/*.cruds`, `system/Patient.read`.
    pub scopes: Vec<String>,
}

/// How long a token lives, in seconds.
const TOKEN_SECONDS: i64 = 300;
/// How far ahead an assertion may expire, in seconds.
const ASSERTION_SECONDS: i64 = 300;
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// The scopes behind a token.
#[derive(Clone)]
pub(crate) struct Grant {
    scopes: Vec<Scope>,
    expires: i64,
    /// The person's yes that it came of.
    family: Option<u64>,
    /// The user that it is of.
    pub(crate) user: Option<String>,
    /// The patient that scopes of the level `patient` are about.
    patient: Option<String>,
    /// What it may do with that patient's resources alone.
    of_patient: Vec<Scope>,
}

/// What becomes of scopes that a client may not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ScopeManner {
    /// They are left out without a word.
    #[default]
    Narrows,
    /// One of them, and nothing is granted.
    AllOrNothing,
    /// What is asked for does not matter: all that the client may have is granted.
    Ignores,
}

impl Grant {
    pub(crate) fn allows(&self, resource_type: &str, letter: char) -> bool {
        self.scopes.iter().chain(&self.of_patient).any(|scope| scope.allows(resource_type, letter))
    }

    /// The one patient that it is for, where it may do this for no other.
    pub(crate) fn confined_to(&self, resource_type: &str, letter: char) -> Option<&str> {
        let freely = self.scopes.iter().any(|scope| scope.allows(resource_type, letter));
        if freely { None } else { self.patient.as_deref() }
    }
}

pub(crate) struct Authority {
    token_url: String,
    clients: Mutex<Vec<Client>>,
    /// (client, jti) to the end of the window in which it must not come again.
    used: Mutex<HashMap<(String, String), i64>>,
    tokens: Mutex<HashMap<String, Grant>>,
    apps: Mutex<Apps>,
    pub(crate) desk: Mutex<Desk>,
    base: String,
    key_sets: Mutex<KeySets>,
    manner: Mutex<ScopeManner>,
    /// The scopes of the latest request for a token.
    asked: Mutex<String>,
}

struct Refusal {
    status: u16,
    error: &'static str,
    description: &'static str,
}

fn refuse(status: u16, error: &'static str, description: &'static str) -> Refusal {
    Refusal { status, error, description }
}

fn invalid_client(description: &'static str) -> Refusal {
    refuse(401, "invalid_client", description)
}

impl Authority {
    pub(crate) fn new(base: &str, token_url: String, clients: Vec<Client>) -> Self {
        Self {
            base: base.to_owned(),
            desk: Mutex::default(),
            token_url,
            clients: Mutex::new(clients),
            used: Mutex::default(),
            tokens: Mutex::default(),
            apps: Mutex::default(),
            key_sets: Mutex::default(),
            manner: Mutex::default(),
            asked: Mutex::default(),
        }
    }

    /// Registers a client; one of the same id is replaced.
    pub(crate) fn register(&self, client: Client) {
        let mut clients = lock(&self.clients);
        clients.retain(|known| known.client_id != client.client_id);
        clients.push(client);
    }

    /// Registers an app; one of the same id is replaced.
    pub(crate) fn register_app(&self, app: App) {
        lock(&self.apps).register(app);
    }

    /// From now on a client's keys are those that it publishes.
    pub(crate) fn keys_at(&self, client_id: &str, url: &str, cache: KeyCache) {
        lock(&self.key_sets).register(client_id, url, cache);
    }

    /// The scopes that were asked for last.
    pub(crate) fn asked(&self) -> String {
        lock(&self.asked).clone()
    }

    pub(crate) fn set_manner(&self, manner: ScopeManner) {
        *lock(&self.manner) = manner;
    }

    /// Answers an authorization request; `patients` lists who can be chosen.
    pub(crate) fn authorize(&self, query: &[(String, String)], denied: bool, now: i64, patients: impl Fn() -> Vec<Listed>) -> Answer {
        let Ok(random) = opaque() else { return Answer::plain(500, "no randomness") };
        match lock(&self.apps).authorize(query, &self.base, denied, now, random, &mut lock(&self.desk)) {
            Consent::Choice => Answer::html(200, desk::chooser(query, &patients())),
            Consent::Redirect(to) => Answer::empty(302).with("Location", to).with("Cache-Control", "no-store"),
            Consent::Page(says) => Answer::plain(400, says),
        }
    }

    /// Opens an app on a patient: where the browser goes. `None` where the app is not known, or is none that can be opened.
    pub(crate) fn open(&self, app: &str, context: LaunchContext) -> Option<String> {
        let launch_url = lock(&self.apps).app(app)?.launch_url.clone()?;
        let token = opaque().ok()?;
        lock(&self.desk).launch(token.clone(), context);
        let mut url = url::Url::parse(&launch_url).ok()?;
        url.query_pairs_mut().append_pair("iss", &self.base).append_pair("launch", &token);
        Some(url.into())
    }

    /// The page that opens apps.
    pub(crate) fn launcher(&self, patients: &[Listed]) -> Answer {
        Answer::html(200, desk::launcher(&lock(&self.apps).opened(), patients))
    }

    /// Takes a token back (RFC 7009). One that is not known was taken back already.
    pub(crate) fn revoke(&self, authorization: Option<&str>, form: &[(String, String)], now: i64) -> Answer {
        let app = match self.app(authorization, form, now) {
            Ok(app) => app,
            Err(refusal) => return Answer::json(refusal.status, json!({ "error": refusal.error }).to_string()),
        };
        let Ok(token) = single(form, "token") else { return Answer::json(400, json!({ "error": "invalid_request" }).to_string()) };
        let family = lock(&self.apps).revoke(&app, token);
        lock(&self.tokens).retain(|known, grant| known != token && (family.is_none() || grant.family != family));
        Answer::empty(200)
    }

    /// How many tokens are in force that a user let an app have.
    pub(crate) fn granted_by_users(&self) -> usize {
        lock(&self.tokens).values().filter(|grant| grant.user.is_some()).count()
    }

    /// Ends every token.
    pub(crate) fn revoke_all(&self) {
        lock(&self.tokens).clear();
    }

    /// Answers a token request (RFC 6749, 4.4.2, 5.1 and 5.2).
    pub(crate) fn token(
        &self,
        content_type: &str,
        authorization: Option<&str>,
        form: &[(String, String)],
        now: i64,
        odd: Option<Odd>,
    ) -> Answer {
        let answer = match self.issue(content_type, authorization, form, now, odd) {
            Ok(token) => Answer::json(200, token.to_string()),
            Err(refusal) => {
                let body = json!({ "error": refusal.error, "error_description": refusal.description });
                Answer::json(refusal.status, body.to_string())
            }
        };
        answer.with("Cache-Control", "no-store").with("Pragma", "no-cache")
    }

    /// The grant behind an `Authorization` header (RFC 6750). The error is the `WWW-Authenticate` challenge's parameters.
    pub(crate) fn check(&self, authorization: Option<&str>, now: i64) -> Result<Grant, &'static str> {
        let Some((scheme, token)) = authorization.and_then(|header| header.split_once(' ')) else {
            return Err("");
        };
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err("");
        }
        let mut tokens = lock(&self.tokens);
        tokens.retain(|_, grant| grant.expires > now);
        tokens.get(token.trim()).cloned().ok_or("error=\"invalid_token\", error_description=\"unknown or expired\"")
    }

    fn issue(
        &self,
        content_type: &str,
        authorization: Option<&str>,
        form: &[(String, String)],
        now: i64,
        odd: Option<Odd>,
    ) -> Result<Value, Refusal> {
        if content_type.split(';').next().map(str::trim) != Some("application/x-www-form-urlencoded") {
            return Err(refuse(400, "invalid_request", "the request must be a form"));
        }
        let kind = single(form, "grant_type")?;
        let has = |name: &str| form.iter().any(|(key, value)| key == name && !value.is_empty());
        let asserts = has("client_assertion") || has("client_assertion_type");
        if kind == "client_credentials" && (asserts || (authorization.is_none() && !has("client_secret"))) {
            return self.by_assertion(form, now);
        }
        if asserts && !matches!(kind, "authorization_code" | "refresh_token") {
            return Err(refuse(400, "unsupported_grant_type", "this grant type is not supported"));
        }
        let app = self.app(authorization, form, now)?;
        let random = opaque()?;
        let brought = match kind {
            "client_credentials" if app.secret.is_some() => {
                let (scope, scopes) = self.granted(single(form, "scope")?, &app.scopes)?;
                return self.give(&scope, scopes, now);
            }
            "authorization_code" => lock(&self.apps).redeem(&app, form, now, random),
            "refresh_token" => lock(&self.apps).refresh(&app, form, now, random),
            _ => return Err(refuse(400, "unauthorized_client", "this client may not use this grant type")),
        };
        let Brought { scope, family, refresh, told, is_new } = brought.map_err(|Nothing { says, ends }| {
            lock(&self.tokens).retain(|_, grant| ends.is_none() || grant.family != ends);
            refuse(400, "invalid_grant", says)
        })?;
        let scope = granted_oddly(&scope, odd);
        let of_level = |level: &str| {
            let parse = |text: &str| Scope::parse(&format!("system/{}", text.strip_prefix(level)?));
            scope.split(' ').filter_map(parse).collect::<Vec<_>>()
        };
        let grant = Grant {
            scopes: [of_level("user/"), of_level("system/")].concat(),
            of_patient: of_level("patient/"),
            expires: 0,
            family: Some(family),
            user: Some(told.user.subject.clone()),
            patient: told.context.patient.clone(),
        };
        let mut answer = self.give_as(&scope, grant, now)?;
        let Some(members) = answer.as_object_mut() else { return Ok(answer) };
        if let Some(token) = refresh {
            members.insert("refresh_token".to_owned(), token.into());
            if let Some(seconds) = app.refresh_seconds {
                members.insert("refresh_expires_in".to_owned(), seconds.into());
            }
        }
        let asked = |name: &str| scope.split(' ').any(|s| s == name);
        if is_new && asked("openid") {
            let telling = Telling {
                issuer: &issuer(&self.base),
                base: &self.base,
                client_id: &app.client_id,
                user: &told.user,
                nonce: told.nonce.as_deref(),
                as_resource: asked("fhirUser") || asked("profile"),
                now,
            };
            let token = odd.map_or_else(|| identity::plain(&telling), |odd| identity::id_token(&telling, Some(odd)));
            token.map(|token| members.insert("id_token".to_owned(), token.into()));
        }
        if asked("launch") || asked("launch/patient") {
            told.context.tell(members);
        }
        match odd {
            Some(Odd::NoPatient) => drop(members.remove("patient")),
            Some(Odd::NoScope) => drop(members.remove("scope")),
            _ => {}
        }
        Ok(answer)
    }

    /// The app that shows a secret, in one way and not in two (RFC 6749, 2.3), or none where it is public.
    fn app(&self, authorization: Option<&str>, form: &[(String, String)], now: i64) -> Result<App, Refusal> {
        if form.iter().any(|(key, _)| key == "client_assertion") {
            if single(form, "client_assertion_type")? != ASSERTION_TYPE {
                return Err(refuse(400, "invalid_request", "client_assertion_type is not the one of RFC 7523"));
            }
            let client = self.authenticate(single(form, "client_assertion")?, now)?;
            return lock(&self.apps).app(&client.client_id).cloned().ok_or_else(|| invalid_client("no such app"));
        }
        let value = |name: &str| form.iter().find(|(key, value)| key == name && !value.is_empty()).map(|(_, value)| value.clone());
        let by_header = authorization.and_then(apps::basic);
        let (id, secret, basic) = match (by_header, value("client_id"), value("client_secret")) {
            (Some(_), _, Some(_)) => return Err(refuse(400, "invalid_request", "the client shows who it is in two ways")),
            (Some((id, secret)), _, None) => (id, Some(secret), true),
            (None, Some(id), secret) => (id, secret, false),
            (None, None, _) => return Err(invalid_client("no client is named")),
        };
        let app = lock(&self.apps).app(&id).cloned().ok_or_else(|| invalid_client("unknown client"))?;
        let way = secret.is_none() || if basic { app.basic } else { app.post };
        match way && app.secret == secret && app.jwks.is_none() {
            true => Ok(app),
            false => Err(invalid_client("the client's secret is wrong, or shown in the wrong way")),
        }
    }

    fn by_assertion(&self, form: &[(String, String)], now: i64) -> Result<Value, Refusal> {
        if single(form, "client_assertion_type")? != ASSERTION_TYPE {
            return Err(refuse(400, "invalid_request", "client_assertion_type is not the one of RFC 7523"));
        }
        let assertion = single(form, "client_assertion")?;
        let requested = single(form, "scope")?;
        let client = self.authenticate(assertion, now)?;
        let (scope, scopes) = self.granted(requested, &client.scopes)?;
        self.give(&scope, scopes, now)
    }

    fn granted(&self, requested: &str, allowed: &[String]) -> Result<(String, Vec<Scope>), Refusal> {
        requested.clone_into(&mut lock(&self.asked));
        let manner = *lock(&self.manner);
        let all = allowed.join(" ");
        let requested = if manner == ScopeManner::Ignores { &all } else { requested };
        let allowed: Vec<Scope> = allowed.iter().filter_map(|scope| Scope::parse(scope)).collect();
        let granted = grant(requested, &allowed).filter(|(scope, _)| {
            let mut asked: Vec<&str> = requested.split_whitespace().collect();
            let mut given: Vec<&str> = scope.split_whitespace().collect();
            asked.sort_unstable();
            given.sort_unstable();
            manner != ScopeManner::AllOrNothing || asked == given
        });
        granted.ok_or_else(|| refuse(400, "invalid_scope", "no requested scope is allowed"))
    }

    fn give(&self, scope: &str, scopes: Vec<Scope>, now: i64) -> Result<Value, Refusal> {
        self.give_as(scope, Grant { scopes, of_patient: Vec::new(), expires: 0, family: None, user: None, patient: None }, now)
    }

    fn give_as(&self, scope: &str, grant: Grant, now: i64) -> Result<Value, Refusal> {
        let token = opaque()?;
        lock(&self.tokens).insert(token.clone(), Grant { expires: now + TOKEN_SECONDS * SECOND, ..grant });
        Ok(json!({ "access_token": token, "token_type": "Bearer", "expires_in": TOKEN_SECONDS, "scope": scope }))
    }

    fn authenticate(&self, assertion: &str, now: i64) -> Result<Client, Refusal> {
        let assertion = Assertion::parse(assertion).ok_or_else(|| invalid_client("the assertion is not a JWT"))?;
        if assertion.header.get("typ").and_then(Value::as_str) != Some("JWT") {
            return Err(invalid_client("typ must be JWT"));
        }
        if assertion.header.get("jku").is_some() {
            return Err(invalid_client("jku is not the registered URL: the keys were registered by value"));
        }
        let claim = |name| assertion.claims.get(name).and_then(Value::as_str);
        let (Some(issuer), Some(subject)) = (claim("iss"), claim("sub")) else {
            return Err(invalid_client("iss and sub are required"));
        };
        if issuer != subject {
            return Err(invalid_client("iss and sub differ"));
        }
        let client = lock(&self.clients).iter().find(|client| client.client_id == issuer).cloned();
        let of_app = || {
            let app = lock(&self.apps).app(issuer).cloned()?;
            Some(Client { client_id: app.client_id, jwks: app.jwks?, scopes: app.scopes })
        };
        let client = client.or_else(of_app).ok_or_else(|| invalid_client("unknown client"))?;
        let published = lock(&self.key_sets).of(issuer, now);
        assertion.verify(published.as_ref().unwrap_or(&client.jwks)).map_err(invalid_client)?;
        if claim("aud") != Some(self.token_url.as_str()) {
            return Err(invalid_client("aud is not this token URL"));
        }
        let expires = instant(&assertion.claims, "exp").ok_or_else(|| invalid_client("exp is required"))?;
        if expires <= now {
            return Err(invalid_client("the assertion has expired"));
        }
        if expires > now + ASSERTION_SECONDS * SECOND {
            return Err(invalid_client("exp is more than five minutes ahead"));
        }
        if instant(&assertion.claims, "nbf").is_some_and(|not_before| not_before > now) {
            return Err(invalid_client("the assertion is not valid yet"));
        }
        let id = claim("jti").filter(|id| !id.is_empty()).ok_or_else(|| invalid_client("jti is required"))?;
        self.use_once(&client.client_id, id, expires, now)?;
        Ok(client)
    }

    fn use_once(&self, client_id: &str, id: &str, expires: i64, now: i64) -> Result<(), Refusal> {
        let mut used = lock(&self.used);
        used.retain(|_, until| *until > now);
        match used.insert((client_id.to_owned(), id.to_owned()), expires) {
            None => Ok(()),
            Some(_) => Err(invalid_client("jti was used before")),
        }
    }
}

/// The issuer of id_tokens: not the FHIR base, as at most EHRs.
pub(crate) fn issuer(base: &str) -> String {
    token_url(base).replace("/auth/token", "/auth")
}

/// Scopes as they are granted where something is odd about it.
fn granted_oddly(scope: &str, odd: Option<Odd>) -> String {
    let other = |text: &str| match text.rsplit_once('.') {
        Some((kind, "read")) => format!("{kind}.rs"),
        Some((kind, "rs")) => format!("{kind}.read"),
        _ => text.to_owned(),
    };
    let all = scope.split(' ');
    match odd {
        Some(Odd::OtherDialect) => all.map(other).collect::<Vec<_>>().join(" "),
        Some(Odd::NoReading) => all.filter(|text| !text.contains("/Patient.")).collect::<Vec<_>>().join(" "),
        _ => scope.to_owned(),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

// RFC 6749, 3.2: a parameter must not occur twice; one without a value counts as absent.
fn single<'a>(form: &'a [(String, String)], name: &str) -> Result<&'a str, Refusal> {
    let mut values = form.iter().filter(|(key, value)| key == name && !value.is_empty()).map(|(_, value)| value.as_str());
    match (values.next(), values.next()) {
        (Some(value), None) => Ok(value),
        (None, _) => Err(refuse(400, "invalid_request", "grant_type, scope, client_assertion_type and client_assertion are required")),
        (Some(_), Some(_)) => Err(refuse(400, "invalid_request", "a parameter occurs twice")),
    }
}

// NumericDate of RFC 7519: seconds, a fraction allowed.
fn instant(claims: &Value, name: &str) -> Option<i64> {
    let number = claims.get(name).filter(|value| value.is_number())?;
    number.as_i64().and_then(|seconds| seconds.checked_mul(SECOND)).or_else(|| {
        let micros = number.as_f64()? * 1e6;
        #[expect(clippy::cast_possible_truncation, reason = "the range is checked beside it")]
        (micros.abs() < 9e18).then_some(micros as i64)
    })
}

fn opaque() -> Result<String, Refusal> {
    let mut bytes = [0_u8; 32];
    SystemRandom::new().fill(&mut bytes).map_err(|_| refuse(500, "server_error", "no randomness"))?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}
