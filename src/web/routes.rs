//! Every route, on one screen: how it is called, who may call it, and what answers.
//!
//! actix is set up from this table and from nothing else, and a test walks it: what is not [`Access::Open`] answers 401 to a caller
//! without a bearer or a session, a path that is not here answers 404, another method 405.

use std::pin::Pin;
use std::time::Duration;

use actix_web::body::BoxBody;
use actix_web::http::{Method, header};
use actix_web::{Either, FromRequest, Handler, HttpRequest, Responder, Route, guard, middleware, web};
use domain::model::Right;

use super::boards::{acts, attempts, audit, connections, lookup, outreach, overview, quarantine, segments, work, writeback};
use super::notice::Notice;
use super::{access, api, fhir, health, jwks, launch, metrics, notifications, patient, problem, script, signin};

/// Who may call a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Anyone who reaches the server. Such a route shows no patient data.
    Open,
    /// Who shows the configured bearer (RFC 6750 section 2.1).
    Bearer,
    /// Whoever is signed in.
    SignedIn,
    /// Whoever is signed in with a role that has the right. A POST takes its form by [`super::form::Signed`].
    Staff(Right),
}

/// A route.
pub struct Row {
    /// How it is called. GET answers HEAD too.
    pub method: Method,
    /// Where.
    pub path: &'static str,
    /// By whom.
    pub access: Access,
    /// Whether the public listener answers it too: what EHRs and the browsers in them need, and nothing that operators need.
    pub public: bool,
    handler: fn() -> Route,
}

use Access::{Bearer, Open, SignedIn, Staff};

#[rustfmt::skip]
static ROUTES: &[Row] = &[
    get("/",                      Staff(Right::SeeOverview), || to(overview::page)),
    get("/signin",                Open,   || to(signin::ways)),
    get("/signin/once/{token}",   Open,   || to(signin::link)),
    post("/signin/once",          Open,   || to(signin::once)),
    get("/signin/provider",       Open,   || to(signin::provider)),
    get("/signin/callback",       Open,   || to(signin::callback)),
    seen("/launch",                Open,   || to(launch::from_ehr)),
    seen("/launch/{ehr}",          Open,   || to(launch::from_here)),
    seen("/callback",              Open,   || to(launch::callback)),
    done("/signout",              SignedIn, || to(signin::out)),
    public("/assets/{name}",              || to(script::show)),
    seen("/l/{handle}",            Staff(Right::SeePatient),        || to(patient::page)),
    seen("/l/{handle}/reading",    Staff(Right::SeePatient),        || to(patient::reading)),
    seen("/l/{handle}/segments",   Staff(Right::SeePatient),        || to(patient::segments)),
    seen("/l/{handle}/message",    Staff(Right::SendMessage),       || to(patient::preview)),
    done("/l/{handle}/message",   Staff(Right::SendMessage),       || to(patient::send)),
    done("/l/{handle}/contact",   Staff(Right::RecordContact),     || to(patient::contact)),
    done("/l/{handle}/preference", Staff(Right::ChangePreferences), || to(patient::choose)),
    done("/l/{handle}/stop",      Staff(Right::StopStep),          || to(patient::stop)),
    done("/l/{handle}/move",      Staff(Right::MoveStep),          || to(patient::reschedule)),
    get("/connections",           Staff(Right::SeeConnections),    || to(connections::page)),
    get("/connections/now",       Staff(Right::SeeConnections),    || to(connections::now)),
    post("/connections/run",      Staff(Right::RunSync),           || to(acts::run)),
    post("/connections/pause",    Staff(Right::PauseSync),         || to(acts::pause)),
    post("/connections/resume",   Staff(Right::PauseSync),         || to(acts::resume)),
    post("/connections/accept",   Staff(Right::RunSync),           || to(acts::accept)),
    get("/connections/{ehr}",     Staff(Right::SeeConnections),    || to(connections::one)),
    get("/runs",                  Staff(Right::SeeConnections),    || to(connections::runs)),
    get("/alerts",                Staff(Right::SeeConnections),    || to(connections::alerts)),
    post("/alerts/acknowledge",   Staff(Right::RunSync),           || to(acts::acknowledge)),
    get("/quarantine",            Staff(Right::SeeQuarantine),     || to(quarantine::page)),
    post("/quarantine/replay",    Staff(Right::ReplayQuarantine),  || to(acts::replay_quarantine)),
    get("/segments",              Staff(Right::SeeSegments),       || to(segments::page)),
    get("/segments/plan",         Staff(Right::ApplySegments),     || to(segments::plan)),
    post("/segments/plan",        Staff(Right::ApplySegments),     || to(acts::plan)),
    post("/segments/apply",       Staff(Right::ApplySegments),     || to(acts::apply)),
    post("/segments/back",        Staff(Right::ApplySegments),     || to(acts::back)),
    get("/segments/{id}",         Staff(Right::SeeSegments),       || to(segments::one)),
    get("/segments/{id}/members", Staff(Right::SeeMembers),        || to(segments::members)),
    get("/outreach",              Staff(Right::SeeOutreach),       || to(outreach::page)),
    post("/outreach/live",        Staff(Right::SwitchOutreach),    || to(acts::live)),
    post("/outreach/stop",        Staff(Right::SwitchOutreach),    || to(acts::stop)),
    post("/outreach/start",       Staff(Right::SwitchOutreach),    || to(acts::start)),
    get("/attempts",              Staff(Right::SeeOutreach),       || to(attempts::page)),
    get("/attempts/{id}",         Staff(Right::SeeOutreach),       || to(attempts::one)),
    get("/work",                  Staff(Right::SeeWork),           || to(work::page)),
    post("/work/send",            Staff(Right::SettleWork),        || to(acts::settle_send)),
    post("/work/write",           Staff(Right::SettleWork),        || to(acts::settle_write)),
    post("/work/answer",          Staff(Right::SettleWork),        || to(acts::answer_done)),
    post("/work/called",          Staff(Right::SettleWork),        || to(acts::called)),
    post("/work/person",          Staff(Right::JoinPersons),       || to(acts::join)),
    get("/writeback",             Staff(Right::SeeWriteBack),      || to(writeback::page)),
    get("/writebacks",            Staff(Right::SeeWriteBack),      || to(writeback::list)),
    post("/writeback/replay",     Staff(Right::ReplayWriteBack),   || to(acts::replay_writes)),
    get("/patients",              Staff(Right::FindPatient),       || to(lookup::page)),
    post("/patients",             Staff(Right::FindPatient),       || to(lookup::find)),
    post("/patients/open",        Staff(Right::FindPatient),       || to(lookup::open)),
    get("/audit",                 Staff(Right::SeeAudit),          || to(audit::page)),
    post("/audit",                Staff(Right::SeeAudit),          || to(audit::ask)),
    post("/audit/verify",         Staff(Right::SeeAudit),          || to(audit::verify)),
    get("/audit/{handle}",        Staff(Right::SeeAudit),          || to(audit::of_patient)),
    get("/healthz",               Open,   || to(health::alive)),
    get("/readyz",                Open,   || to(health::ready)),
    get("/metrics",               Open,   || to(metrics::show)),
    public("/.well-known/jwks.json",      || to(jwks::show)),
    hook(Method::POST, "/notifications/{token}", || to(notifications::take)),
    hook(Method::PUT,  "/notifications/{token}/{type}/{id}", || to(notifications::named)),
    hook(Method::POST, "/notifications/{token}/{type}/{id}", || to(notifications::named)),
    get("/api/v1/overview",       Bearer, || to(api::overview)),
    get("/api/v1/runs",           Bearer, || to(api::runs)),
    get("/api/v1/segments",       Bearer, || to(api::segments)),
    post("/api/v1/explanations",  Bearer, || to(api::explain)),
    get("/api/v1/attempts",       Bearer, || to(api::attempts)),
    get("/api/v1/writebacks",     Bearer, || to(api::write_backs)),
    get("/fhir/Group/{id}",       Bearer, || to(fhir::group)),
];

const fn get(path: &'static str, access: Access, handler: fn() -> Route) -> Row {
    Row { method: Method::GET, path, access, public: false, handler }
}

const fn post(path: &'static str, access: Access, handler: fn() -> Route) -> Row {
    Row { method: Method::POST, path, access, public: false, handler }
}

/// A page of a launch: browsers come to it from the EHR, so the public listener answers it too.
const fn seen(path: &'static str, access: Access, handler: fn() -> Route) -> Row {
    Row { method: Method::GET, path, access, public: true, handler }
}

/// A form of such a page.
const fn done(path: &'static str, access: Access, handler: fn() -> Route) -> Row {
    Row { method: Method::POST, path, access, public: true, handler }
}

const fn public(path: &'static str, handler: fn() -> Route) -> Row {
    Row { method: Method::GET, path, access: Access::Open, public: true, handler }
}

/// What EHRs call: the token in the address and the secret that comes with it say who calls.
const fn hook(method: Method, path: &'static str, handler: fn() -> Route) -> Row {
    Row { method, path, access: Access::Open, public: true, handler }
}

/// How long a handler may take.
const TIME_LIMIT: Duration = Duration::from_secs(30);

fn to<F, A>(handler: F) -> Route
where
    F: Handler<A>,
    A: FromRequest + 'static,
    F::Output: Responder + 'static,
    F::Future: 'static,
{
    web::route().to(Limited(handler))
}

/// A handler that is given up when it takes too long.
#[derive(Clone)]
struct Limited<F>(F);

impl<F, A> Handler<A> for Limited<F>
where
    F: Handler<A>,
    F::Output: 'static,
    F::Future: 'static,
{
    type Output = Either<F::Output, problem::Problem>;
    type Future = Pin<Box<dyn Future<Output = Self::Output>>>;

    fn call(&self, args: A) -> Self::Future {
        let answer = self.0.call(args);
        Box::pin(async move {
            match tokio::time::timeout(TIME_LIMIT, answer).await {
                Ok(answer) => Either::Left(answer),
                Err(_) => {
                    tracing::warn!("a request took too long and was given up");
                    Either::Right(problem::Problem::too_slow())
                }
            }
        })
    }
}

/// The table, for a test and for documentation.
#[must_use]
pub fn table() -> &'static [Row] {
    ROUTES
}

/// Sets actix up from the table: all of it, or what is public, where the way in and the overview are a page that says so. Rows of one path are one resource: actix asks no second one.
pub fn configure(config: &mut web::ServiceConfig, public_only: bool) {
    let mut paths: Vec<(&'static str, Vec<&'static Row>)> = Vec::new();
    for row in ROUTES.iter().filter(|row| row.public || !public_only) {
        match paths.iter_mut().find(|(path, _)| *path == row.path) {
            Some((_, rows)) => rows.push(row),
            None => paths.push((row.path, vec![row])),
        }
    }
    for (path, rows) in paths {
        let methods: Vec<&str> = rows.iter().map(|row| if row.method == Method::GET { "GET, HEAD" } else { row.method.as_str() }).collect();
        let allowed = methods.join(", ");
        let otherwise = web::to(move || std::future::ready(problem::Problem::method_not_allowed(&allowed)));
        let resource = rows.into_iter().fold(web::resource(path), |resource, row| resource.route(guarded(row)));
        config.service(resource.default_service(otherwise));
    }
    if public_only {
        // Whoever signs out, or comes back to a session that is over, is sent to these.
        for path in ["/", "/signin"] {
            config.route(path, web::route().guard(guard::Any(guard::Get()).or(guard::Head())).to(Limited(signin::elsewhere)));
        }
    }
    config.default_service(web::to(|request: HttpRequest| std::future::ready(nothing(&request))));
}

/// What is at no path: a page for people, a problem document for programs.
fn nothing(request: &HttpRequest) -> Result<Notice, problem::Problem> {
    let accepts = request.headers().get(header::ACCEPT).and_then(|v| v.to_str().ok());
    if accepts.is_some_and(|a| a.contains("text/html")) {
        return Ok(Notice::not_there("There is nothing at this address. A link may be old, or was not copied whole."));
    }
    Err(problem::Problem::not_found())
}

/// A row's route, behind who may call it.
fn guarded(row: &'static Row) -> Route {
    let route = (row.handler)();
    let route =
        if row.method == Method::GET { route.guard(guard::Any(guard::Get()).or(guard::Head())) } else { route.method(row.method.clone()) };
    let staff = |right| middleware::from_fn(move |request, next: middleware::Next<BoxBody>| access::staff(right, request, next));
    match row.access {
        Open => route,
        Bearer => route.wrap(middleware::from_fn(access::bearer)),
        SignedIn => route.wrap(staff(None)),
        Staff(right) => route.wrap(staff(Some(right))),
    }
}
