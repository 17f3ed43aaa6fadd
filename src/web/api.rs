//! The API for operators' own programs: counts, runs, and attempts and write-backs by id and state, without patient data; and explanations,
//! which are all about a patient.
//!
//! Wire types are here and rows are in the store: a column can change without the API changing. Instants are RFC 3339 in UTC; lists
//! are newest first, `limit` (1 to 1000) long.

use actix_web::HttpResponse;
use actix_web::web::{Bytes, Data, Json, Query};
use domain::Timestamp;
use domain::model::Phi;
use serde::{Deserialize, Serialize};

use super::problem::Problem;
use super::{Explained, Question, Served};
use crate::store::freshness::{Freshness, Stale};
use crate::store::view::{lists, overview};
use crate::worker::Status;

/// What a list takes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    limit: Option<u16>,
    ehr: Option<String>,
    state: Option<String>,
}

impl Asked {
    /// The limit, where the query names nothing but what this list takes.
    fn limit(&self, takes_ehr: bool, takes_state: bool) -> Result<i64, Problem> {
        let limit = self.limit.unwrap_or(100);
        let fits = (takes_ehr || self.ehr.is_none()) && (takes_state || self.state.is_none());
        if fits && (1..=1000).contains(&limit) { Ok(i64::from(limit)) } else { Err(Problem::bad_query()) }
    }
}

/// A list in an object, so that it can grow members later.
#[derive(Serialize)]
pub struct List<T> {
    items: Vec<T>,
}

impl<T> List<T> {
    fn of<R>(rows: Vec<R>, convert: impl Fn(R) -> T) -> Json<Self> {
        Json(Self { items: rows.into_iter().map(convert).collect() })
    }
}

fn instant(micros: i64) -> String {
    Timestamp::from_micros(micros).to_string()
}

/// A sync run.
#[derive(Serialize)]
pub struct Run {
    id: i64,
    ehr: String,
    #[serde(rename = "type")]
    rtype: String,
    strategy: String,
    state: String,
    started_at: String,
    ended_at: Option<String>,
    partial: bool,
    failure: Option<String>,
    pages: i64,
    found: i64,
    stored: i64,
    unchanged: i64,
    superseded: i64,
    quarantined: i64,
}

/// The state of the gateway.
#[derive(Serialize)]
pub struct State {
    as_of: String,
    synced: std::collections::BTreeMap<String, i64>,
    persons: i64,
    quarantined: i64,
    segments: std::collections::BTreeMap<String, i64>,
    attempts: overview::AttemptCounts,
    write_backs: std::collections::BTreeMap<String, i64>,
    syncs: Vec<Sync>,
    tasks: Vec<Status>,
}

/// Where one (EHR, type) stands.
#[derive(Serialize)]
pub struct Sync {
    ehr: String,
    #[serde(rename = "type")]
    rtype: String,
    state: String,
    started_at: String,
    ended_at: Option<String>,
    known_up_to: Option<String>,
    total: i64,
}

/// A segment.
#[derive(Serialize)]
pub struct Segment {
    id: String,
    version: i64,
    changed_at: String,
    members: i64,
    held: i64,
    /// Of how many persons its rule holds, does not hold, and is not known to do either.
    holds: i64,
    does_not_hold: i64,
    unknown: i64,
    unknown_counts_as: &'static str,
    /// What it hangs on and is known too long ago.
    stale: Vec<Stale>,
}

/// An attempt.
#[derive(Serialize)]
pub struct Attempt {
    id: String,
    program: String,
    step: String,
    state: String,
    outcome: Option<String>,
    channel: Option<String>,
    due_at: String,
    sent_at: Option<String>,
    finished_at: Option<String>,
}

/// A write-back.
#[derive(Serialize)]
pub struct WriteBack {
    id: String,
    attempt: String,
    ehr: String,
    kind: String,
    state: String,
    tries: i64,
    remote_id: Option<String>,
    owed_at: String,
    settled_at: Option<String>,
}

/// The state of the gateway in counts, now.
pub async fn overview(served: Data<Served>, asked: Query<Asked>) -> Result<Json<State>, Problem> {
    asked.limit(false, false)?;
    let o = served.given.store.read(overview::read).await?;
    let sync = |t: overview::TypeStatus| Sync {
        ehr: t.ehr,
        rtype: t.rtype,
        state: t.state,
        started_at: instant(t.started_at),
        ended_at: t.ended_at.map(instant),
        known_up_to: t.known_up_to.map(instant),
        total: t.total,
    };
    Ok(Json(State {
        as_of: served.given.clock.now().to_string(),
        synced: o.synced,
        persons: o.persons,
        quarantined: o.quarantined,
        segments: o.segments,
        attempts: o.attempts,
        write_backs: o.write_backs,
        syncs: o.types.into_iter().map(sync).collect(),
        tasks: served.given.tasks.as_ref().map(crate::worker::Health::statuses).unwrap_or_default(),
    }))
}

/// Sync runs; `ehr` narrows them.
pub async fn runs(served: Data<Served>, asked: Query<Asked>) -> Result<Json<List<Run>>, Problem> {
    let limit = asked.limit(true, false)?;
    let ehr = asked.into_inner().ehr;
    let rows = served.given.store.read(move |conn| lists::runs(conn, ehr.as_deref(), limit)).await?;
    Ok(List::of(rows, |r| Run {
        id: r.id,
        ehr: r.ehr,
        rtype: r.rtype,
        strategy: r.strategy,
        state: r.state,
        started_at: instant(r.started_at),
        ended_at: r.ended_at.map(instant),
        partial: r.partial,
        failure: r.failure,
        pages: r.pages,
        found: r.found,
        stored: r.stored,
        unchanged: r.unchanged,
        superseded: r.superseded,
        quarantined: r.quarantined,
    }))
}

/// Segments in use.
pub async fn segments(served: Data<Served>, asked: Query<Asked>) -> Result<Json<List<Segment>>, Problem> {
    asked.limit(false, false)?;
    let (max_age, now) = (served.given.max_age, served.given.clock.now());
    let read = move |conn: &mut _| Ok((lists::segments(conn)?, Freshness::read(conn, max_age, now)?));
    let (rows, fresh) = served.given.store.snapshot(read).await?;
    Ok(List::of(rows, |s| Segment {
        changed_at: instant(s.changed_at),
        version: s.version,
        members: s.members,
        held: s.held,
        holds: s.holds,
        does_not_hold: s.does_not_hold,
        unknown: s.unknown,
        unknown_counts_as: s.unknown_counts_as.as_str(),
        stale: fresh.stale(s.reads),
        id: s.id,
    }))
}

/// What an explanation takes: in the body, since a patient's id has no place in a URL, which others write down.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ToExplain {
    /// The EHR's name, a slash, and the patient's id there.
    patient: Phi<String>,
    /// One segment only.
    segment: Option<String>,
}

/// Why a patient is in segments, or not: each test with its value, resource, version and field.
pub async fn explain(served: Data<Served>, body: Bytes) -> Result<HttpResponse, Problem> {
    let asked: ToExplain = serde_json::from_slice(&body).map_err(|_| Problem::bad_body())?;
    let (ehr, id) = asked.patient.expose().split_once('/').ok_or_else(Problem::bad_body)?;
    let id = id.strip_prefix("Patient/").unwrap_or(id);
    let question = Question { ehr: ehr.to_owned(), patient: Phi::new(id.to_owned()), segment: asked.segment };
    match (served.given.explain)(question).await? {
        Explained::Told(json) => Ok(HttpResponse::Ok().content_type("application/json").body(json.into_inner())),
        Explained::NoPatient => Err(Problem::no_such("No such patient was synced.")),
        Explained::NoSegment => Err(Problem::no_such("There is no such segment in force.")),
    }
}

/// Attempts; `state` narrows them.
pub async fn attempts(served: Data<Served>, asked: Query<Asked>) -> Result<Json<List<Attempt>>, Problem> {
    let limit = asked.limit(false, true)?;
    let state = asked.into_inner().state;
    let rows = served.given.store.read(move |conn| lists::attempts(conn, state.as_deref(), limit)).await?;
    Ok(List::of(rows, |a| Attempt {
        id: a.id,
        program: a.program,
        step: a.step,
        state: a.state,
        outcome: a.outcome,
        channel: a.channel,
        due_at: instant(a.due_at),
        sent_at: a.sent_at.map(instant),
        finished_at: a.finished_at.map(instant),
    }))
}

/// Write-backs; `state` narrows them.
pub async fn write_backs(served: Data<Served>, asked: Query<Asked>) -> Result<Json<List<WriteBack>>, Problem> {
    let limit = asked.limit(false, true)?;
    let state = asked.into_inner().state;
    let rows = served.given.store.read(move |conn| lists::write_backs(conn, state.as_deref(), limit)).await?;
    Ok(List::of(rows, |w| WriteBack {
        id: w.id,
        attempt: w.attempt,
        ehr: w.ehr,
        kind: w.kind,
        state: w.state,
        tries: w.tries,
        remote_id: w.remote_id,
        owed_at: instant(w.owed_at),
        settled_at: w.settled_at.map(instant),
    }))
}
