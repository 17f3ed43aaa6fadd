//! The pretend EHR as one object: charts, authorization server, faults, log and clock, and the way from a request to its reply. Owns the
//! routes and the order of checks: faults of the network, then the route, then the token, then the scope, then the interaction.
//! Knows no web framework.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::answer::{Answer, Body, Reply};
use crate::authority::{Authority, Grant};
use crate::call::Call;
use crate::capability;
use crate::charts::Charts;
use crate::create::Lateness;
use crate::desk::{self, LaunchContext, Listed};
use crate::export::Exports;
use crate::faults::{FaultKind, Faults};
use crate::flavour::{Code, Manner, Operation, Served};
use crate::identity;
use crate::merge::Merges;
use crate::records::known_type;
use crate::request_log::RequestLog;
use crate::search::Rules;
use crate::strict::Unstated;
use crate::subscriptions::Subscriptions;

/// The sandbox's clock: microseconds since the epoch.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

pub(crate) struct Ehr {
    /// The FHIR base, without a slash at the end.
    pub(crate) base: String,
    pub(crate) clock: Clock,
    /// Microseconds that the clock was moved by since the start.
    pub(crate) offset: AtomicI64,
    pub(crate) charts: Charts,
    pub(crate) authority: Authority,
    pub(crate) faults: Faults,
    pub(crate) log: RequestLog,
    /// No token is asked for.
    pub(crate) open: bool,
    pub(crate) admin: bool,
    pub(crate) rules: Rules,
    /// Whose server it behaves like.
    pub(crate) manner: &'static Manner,
    pub(crate) late: Lateness,
    pub(crate) merges: Mutex<Merges>,
    /// What it states in place of what it does, where it was told to.
    pub(crate) pretended: Mutex<Option<Arc<str>>>,
    /// Whether what it does not state is refused.
    pub(crate) strict: bool,
    pub(crate) unstated: Unstated,
    pub(crate) exports: Exports,
    pub(crate) subscriptions: Subscriptions,
}

/// What a request wants of a resource type.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Interaction<'a> {
    Read(&'a str),
    VersionRead(&'a str, &'a str),
    Search,
    Create,
    Update(&'a str),
    Patch(&'a str),
    Delete(&'a str),
}

impl Interaction<'_> {
    /// The letter of SMART scopes version 2.
    fn letter(self) -> char {
        match self {
            Self::Read(_) | Self::VersionRead(..) => 'r',
            Self::Search => 's',
            Self::Create => 'c',
            Self::Update(_) | Self::Patch(_) => 'u',
            Self::Delete(_) => 'd',
        }
    }

    fn code(self) -> Code {
        match self {
            Self::Read(_) => Code::Read,
            Self::VersionRead(..) => Code::VersionRead,
            Self::Search => Code::Search,
            Self::Create => Code::Create,
            Self::Update(_) => Code::Update,
            Self::Patch(_) => Code::Patch,
            Self::Delete(_) => Code::Delete,
        }
    }

    fn writes(self) -> bool {
        !matches!(self, Self::Read(_) | Self::VersionRead(..) | Self::Search)
    }
}

impl Ehr {
    pub(crate) fn now(&self) -> i64 {
        (self.clock)().saturating_add(self.offset.load(Ordering::Relaxed))
    }

    /// Takes a fault that fits the request, if one of those wanted is planted.
    pub(crate) fn fault(&self, call: &Call, wanted: impl Fn(&FaultKind) -> bool) -> Option<FaultKind> {
        self.faults.take(&call.method, &call.path, wanted)
    }

    /// The reply to a request at an instant.
    pub(crate) fn reply(&self, call: &Call, now: i64) -> Reply {
        if let Some(rest) = call.path.strip_prefix("/sandbox/").filter(|_| self.admin) {
            return self.administer(call, rest).into();
        }
        let fhir = call.path.starts_with("/fhir/");
        let broken = self.fault(call, |kind| match kind {
            FaultKind::TooManyRequests { .. } => true,
            FaultKind::ServerError { .. } => fhir,
            _ => false,
        });
        match broken {
            Some(FaultKind::TooManyRequests { retry_after }) => {
                let answer = Answer::plain(429, "Too many requests");
                return retry_after.into_iter().fold(answer, |answer, value| answer.with("Retry-After", value)).into();
            }
            Some(FaultKind::ServerError { status }) => return Answer::error(status, "transient", "the server is not well").into(),
            _ => {}
        }
        if call.path == "/auth/token" {
            return self.token(call, now).into();
        }
        if call.path == "/auth/authorize" && !self.open {
            if call.method != "GET" {
                return method_not_allowed("GET").into();
            }
            let denied = self.fault(call, |kind| *kind == FaultKind::AccessDenied).is_some();
            return self.authority.authorize(&call.query_pairs(), denied, now, || self.listed()).into();
        }
        if !self.open
            && let Some(answer) = self.desk(call, now)
        {
            return answer.into();
        }
        match call.path.strip_prefix("/fhir/") {
            Some(rest) => self.fhir(call, rest.trim_end_matches('/'), now),
            None => Answer::error(404, "not-found", "there is nothing at this path").into(),
        }
    }

    fn token(&self, call: &Call, now: i64) -> Answer {
        if call.method != "POST" {
            return method_not_allowed("POST");
        }
        match self.fault(call, |kind| matches!(kind, FaultKind::TokenRefused { .. })) {
            Some(FaultKind::TokenRefused { status, error: Some(error) }) => {
                Answer::json(status, serde_json::json!({ "error": error }).to_string()).with("Cache-Control", "no-store")
            }
            Some(FaultKind::TokenRefused { status, error: None }) => Answer::plain(status, "Internal error"),
            _ => {
                let odd = match self.fault(call, |kind| matches!(kind, FaultKind::OddGrant { .. })) {
                    Some(FaultKind::OddGrant { how }) => Some(how),
                    _ => None,
                };
                self.authority.token(call.content_type(), call.header("authorization"), &call.form(), now, odd)
            }
        }
    }

    /// The rest of the authorization server, and the pages that open apps.
    fn desk(&self, call: &Call, now: i64) -> Option<Answer> {
        let get = call.method == "GET";
        Some(match call.path.as_str() {
            "/auth/jwks" if get => Answer::json(200, identity::key_set().to_string()),
            "/auth/.well-known/openid-configuration" if get => Answer::json(200, capability::smart_configuration(&self.base)),
            "/auth/revoke" if call.method == "POST" => self.authority.revoke(call.header("authorization"), &call.form(), now),
            "/launcher" if get => self.authority.launcher(&self.listed()),
            "/launcher/open" if get => {
                let pairs = call.query_pairs();
                let value = |name: &str| pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
                let opened =
                    value("app").zip(value("patient")).and_then(|(app, patient)| self.authority.open(app, LaunchContext::of(patient)));
                match opened {
                    Some(url) if value("frame").is_some() => Answer::html(200, desk::framed(&url)),
                    Some(url) => Answer::empty(302).with("Location", url),
                    None => Answer::plain(404, "no such app"),
                }
            }
            _ => return None,
        })
    }

    /// The first patients, for lists.
    fn listed(&self) -> Vec<Listed> {
        let records = self.charts.read();
        let bodies = records.all("Patient").filter_map(|entry| entry.body.clone()).take(100);
        let listed = bodies.filter_map(|body| {
            let patient: serde_json::Value = serde_json::from_str(&body).ok()?;
            let id = patient.get("id")?.as_str()?.to_owned();
            let name = patient.pointer("/name/0")?;
            let text = |pointer: &str| name.pointer(pointer).and_then(serde_json::Value::as_str).unwrap_or_default();
            Some(Listed { name: format!("{}, {}", text("/family"), text("/given/0")), id })
        });
        listed.collect()
    }

    /// Whether a request is about a patient that the user of a token may not see, or whom the token is not for.
    fn is_hidden(&self, call: &Call, name: &str, interaction: Interaction<'_>, grant: &Grant) -> bool {
        let Some(user) = &grant.user else { return false };
        let confined = grant.confined_to(name, interaction.letter());
        let about = |patient: &str| match interaction {
            Interaction::Read(id) | Interaction::VersionRead(id, _) if name == "Patient" => id == patient,
            Interaction::Read(id) | Interaction::VersionRead(id, _) => {
                let body = self.charts.read().get(name, id).and_then(|entry| entry.body.clone());
                body.is_some_and(|body| body.contains(&format!("\"Patient/{patient}\"")))
            }
            _ => call.query.contains(patient),
        };
        let desk = self.authority.desk.lock().unwrap_or_else(PoisonError::into_inner);
        desk.hidden_from(user).any(about) || confined.is_some_and(|patient| !about(patient))
    }

    fn fhir(&self, call: &Call, rest: &str, now: i64) -> Reply {
        let get = call.method == "GET";
        match rest {
            "metadata" if get => {
                let hidden = self.fault(call, |kind| matches!(kind, FaultKind::NoLastUpdated)).is_some();
                let last_updated = self.rules.last_updated && !hidden;
                return self.page_fault(call).unwrap_or_else(|| self.statement(now, last_updated).into());
            }
            ".well-known/smart-configuration" if get && !self.open => {
                return self.page_fault(call).unwrap_or_else(|| Answer::json(200, capability::smart_configuration(&self.base)).into());
            }
            "metadata" | ".well-known/smart-configuration" if !get => return method_not_allowed("GET").into(),
            _ => {}
        }
        if let Some(refusal) = self.beyond_statement(call, rest, now) {
            return refusal.into();
        }
        if let Some(reply) = self.export(call, rest, now) {
            return reply;
        }
        if call.method == "GET"
            && let Some(reply) = self.subscription_operation(call, rest, now)
        {
            return reply;
        }
        let segments: Vec<&str> = rest.split('/').collect();
        let interaction = match (call.method.as_str(), segments.as_slice()) {
            ("GET", [_]) | ("POST", [_, "_search"]) => Interaction::Search,
            ("POST", [_]) => Interaction::Create,
            ("GET", [_, id]) => Interaction::Read(id),
            ("PUT", [_, id]) => Interaction::Update(id),
            ("PATCH", [_, id]) => Interaction::Patch(id),
            ("DELETE", [_, id]) => Interaction::Delete(id),
            ("GET", [_, id, "_history", version]) => Interaction::VersionRead(id, version),
            (_, [_] | [_, _] | [_, _, "_history", _]) => return method_not_allowed("GET, POST, PUT, DELETE").into(),
            _ => return Answer::error(404, "not-found", "there is nothing at this path").into(),
        };
        let name = segments.first().copied().unwrap_or_default();
        if let Some(refusal) = self.guard(call, name, interaction, now) {
            return refusal.into();
        }
        let Some(served) = known_type(name).and_then(|name| self.manner.served(name)) else {
            return Answer::error(404, "not-supported", "this resource type is not served").into();
        };
        if let Some(operation) = operation(&served, interaction) {
            return Answer::fhir(200, (operation.answer)().to_string()).into();
        }
        if !served.codes.contains(&interaction.code()) {
            return self.unoffered().into();
        }
        if !call.accepts_json() {
            return Answer::error(406, "not-supported", "only JSON is served").into();
        }
        self.interact(call, &served, interaction, now)
    }

    pub(crate) fn statement(&self, now: i64, last_updated: bool) -> Answer {
        if let Some(text) = self.pretended.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            return Answer::fhir(200, text.to_string());
        }
        Answer::fhir(200, capability::statement(self.manner, &self.base, now, !self.open, last_updated))
    }

    /// States this at `/metadata` from now on; what it does, again, where `None`.
    pub(crate) fn pretend(&self, statement: Option<&str>) {
        *self.pretended.lock().unwrap_or_else(PoisonError::into_inner) = statement.map(Arc::from);
    }

    fn unoffered(&self) -> Answer {
        match self.manner.unoffered {
            405 => method_not_allowed("GET, POST, PUT, DELETE"),
            403 => Answer::error(403, "forbidden", "this interaction is not open to this client"),
            status => Answer::error(status, "not-supported", "this interaction is not supported for the type"),
        }
    }

    /// Checks token and scope.
    pub(crate) fn guard(&self, call: &Call, name: &str, interaction: Interaction<'_>, now: i64) -> Option<Answer> {
        let paging = interaction == Interaction::Search && call.query.contains("_cursor=");
        if paging && self.fault(call, |kind| *kind == FaultKind::TokenExpiredMidSearch).is_some() {
            self.authority.revoke_all();
            return Some(unauthorized("error=\"invalid_token\", error_description=\"unknown or expired\""));
        }
        if interaction.writes() && self.fault(call, |kind| *kind == FaultKind::TokenExpiredAtCreate).is_some() {
            self.authority.revoke_all();
            return Some(unauthorized("error=\"invalid_token\", error_description=\"unknown or expired\""));
        }
        if !self.open {
            match self.authority.check(call.header("authorization"), now) {
                Err(challenge) => return Some(unauthorized(challenge)),
                Ok(grant) if !grant.allows(name, interaction.letter()) => {
                    let answer = Answer::error(403, "forbidden", "the token's scope does not allow this");
                    return Some(answer.with("WWW-Authenticate", "Bearer realm=\"sandbox\", error=\"insufficient_scope\""));
                }
                Ok(grant) if self.is_hidden(call, name, interaction, &grant) => {
                    return Some(Answer::error(403, "forbidden", "this user may not see this patient"));
                }
                Ok(_) => {}
            }
        }
        self.fault(call, |kind| *kind == FaultKind::RefuseType)
            .map(|_| Answer::error(403, "forbidden", "this type is not open to this client"))
    }

    /// The faults that replace the page of a GET or search.
    pub(crate) fn page_fault(&self, call: &Call) -> Option<Reply> {
        match self.fault(call, |kind| matches!(kind, FaultKind::NotJson | FaultKind::HugeBody { .. }))? {
            FaultKind::HugeBody { bytes } => {
                let headers = vec![("Content-Type", crate::answer::FHIR_JSON.to_owned())];
                Some(Answer { status: 200, headers, body: Body::Flood(bytes) }.into())
            }
            _ => Some(markup().into()),
        }
    }
}

/// What [`FaultKind::NotJson`] answers.
pub(crate) fn markup() -> Answer {
    let page = "<!DOCTYPE html><html><body><h1>Sign in</h1></body></html>".to_owned();
    let headers = vec![("Content-Type", "text/html; charset=utf-8".to_owned())];
    Answer { status: 200, headers, body: Body::Text(page) }
}

// A name with a dollar sign stands where an id does.
fn operation(served: &Served, interaction: Interaction<'_>) -> Option<Operation> {
    let Interaction::Read(name) = interaction else { return None };
    served.operations.iter().find(|operation| name.strip_prefix('$') == Some(operation.name)).copied()
}

pub(crate) fn unauthorized(challenge: &str) -> Answer {
    let separator = if challenge.is_empty() { "" } else { ", " };
    let header = format!("Bearer realm=\"sandbox\"{separator}{challenge}");
    Answer::error(401, "login", "a valid access token is required").with("WWW-Authenticate", header)
}

fn method_not_allowed(allow: &str) -> Answer {
    Answer::error(405, "not-supported", "this method is not supported here").with("Allow", allow)
}
