//! The overview page: how the last runs went, in counts. No patient data; for all of the staff.
//!
//! What a state means is said in plain words here; the reasons of a failure stay behind the bearer and on the command line.

use actix_web::{HttpResponse, web};
use askama::Template;
use domain::Timestamp;

use super::Served;
use super::problem::Problem;
use super::viewer::{Nav, Viewer};
use super::words::{Mood, When, grouped, when};
use crate::store::installation::{self, Setting};
use crate::store::view::overview::{AttemptCounts, Overview, TypeStatus};
use crate::worker::{Phase, Status};

struct SyncRow {
    ehr: String,
    rtype: String,
    mood: Mood,
    outcome: &'static str,
    began: When,
    found: String,
    stored: String,
    unchanged: String,
    quarantined: String,
    total: String,
}

struct CountRow {
    name: String,
    meaning: &'static str,
    count: String,
}

struct SegmentRow {
    id: String,
    members: String,
    held: String,
}

struct TaskRow {
    name: String,
    mood: Mood,
    phase: &'static str,
    ended: Option<When>,
    did: String,
}

#[derive(Template)]
#[template(path = "overview.html", config = "src/web/askama.toml")]
struct Page {
    nav: Option<Nav>,
    site: String,
    now: When,
    zone: String,
    live: bool,
    mood: Mood,
    headline: String,
    figures: [(&'static str, String); 4],
    syncs: Vec<SyncRow>,
    segments: Vec<SegmentRow>,
    attempts: Vec<CountRow>,
    write_backs: Vec<CountRow>,
    alerts: Vec<(String, i64)>,
    quarantined: i64,
    quarantined_shown: String,
    waiting: [String; 2],
    tasks: Vec<TaskRow>,
    serves_only: bool,
}

/// The page.
pub async fn overview(served: web::Data<Served>, viewer: web::ReqData<Viewer>) -> Result<HttpResponse, Problem> {
    let counts = served.overview().await?;
    let live = served.given.store.read(|conn| installation::get(conn, Setting::Live)).await?;
    let page = page(&served, &viewer, &counts, live.as_deref() == Some("true"));
    Ok(HttpResponse::Ok().content_type("text/html; charset=utf-8").body(page.render()?))
}

fn page(served: &Served, viewer: &Viewer, o: &Overview, live: bool) -> Page {
    let (now, zone) = (served.given.clock.now(), served.given.zone);
    let at = |t: Timestamp| when(t, now, zone);
    let syncs: Vec<SyncRow> = o.types.iter().map(|t| sync_row(t, &at)).collect();
    let tasks: Vec<TaskRow> = served.given.tasks.iter().flat_map(|t| t.statuses()).map(|s| task_row(s, &at)).collect();
    let (mood, headline) = headline(&syncs, &tasks, o);
    Page {
        nav: viewer.nav("/"),
        site: served.given.site.clone(),
        now: at(now),
        zone: zone.name().to_owned(),
        live,
        mood,
        headline,
        figures: [
            ("Persons known", grouped(o.persons)),
            ("Resources stored", grouped(o.synced.values().sum())),
            ("Attempts sent", grouped(o.attempts.sent)),
            ("Written back", grouped(o.write_backs.get("written").copied().unwrap_or_default())),
        ],
        syncs,
        segments: o
            .segments
            .iter()
            .map(|(id, n)| SegmentRow {
                id: id.clone(),
                members: grouped(*n),
                held: grouped(o.held_in_segments.get(id).copied().unwrap_or_default()),
            })
            .collect(),
        attempts: attempt_rows(&o.attempts),
        write_backs: write_back_rows(o),
        alerts: o.alerts.iter().map(|(kind, n)| (kind.clone(), *n)).collect(),
        quarantined: o.quarantined,
        quarantined_shown: grouped(o.quarantined),
        waiting: [grouped(o.pending.0), grouped(o.pending.1)],
        serves_only: served.given.tasks.is_none(),
        tasks,
    }
}

/// The one sentence on top: the worst that there is.
fn headline(syncs: &[SyncRow], tasks: &[TaskRow], o: &Overview) -> (Mood, String) {
    let bad = syncs.iter().filter(|s| s.mood == Mood::Bad).count();
    let failing = tasks.iter().filter(|t| t.mood == Mood::Bad).count();
    let unclear = o.write_backs.get("unknown").copied().unwrap_or_default() + o.write_backs.get("refused").copied().unwrap_or_default();
    let alerts = usize::try_from(o.alerts.values().sum::<i64>()).unwrap_or(usize::MAX);
    let plural = |n: usize, one: &str, many: &str| if n == 1 { format!("1 {one}") } else { format!("{n} {many}") };
    if syncs.is_empty() {
        (Mood::Busy, "Nothing was synced yet".to_owned())
    } else if bad > 0 {
        (Mood::Bad, format!("{} did not end well", plural(bad, "sync", "syncs")))
    } else if alerts > 0 {
        (Mood::Bad, format!("{} open", plural(alerts, "alert is", "alerts are")))
    } else if failing > 0 {
        (Mood::Bad, format!("{} failing", plural(failing, "background task is", "background tasks are")))
    } else if o.quarantined + unclear + o.attempts.failed + o.attempts.unclear > 0 {
        (Mood::Busy, "The syncs went well; some items need a look".to_owned())
    } else if syncs.iter().any(|s| s.mood == Mood::Busy) {
        (Mood::Busy, "A sync is running".to_owned())
    } else {
        (Mood::Good, "All is well".to_owned())
    }
}

fn sync_row(t: &TypeStatus, at: &impl Fn(Timestamp) -> When) -> SyncRow {
    let (mood, outcome) = match (t.state.as_str(), t.partial) {
        ("done", false) => (Mood::Good, "Done"),
        ("done", true) => (Mood::Bad, "Done, but the EHR left something out"),
        ("running", _) => (Mood::Busy, "Running"),
        ("interrupted", _) => (Mood::Busy, "Interrupted; it goes on"),
        _ => (Mood::Bad, "Failed"),
    };
    SyncRow {
        ehr: t.ehr.clone(),
        rtype: t.rtype.clone(),
        mood,
        outcome,
        began: at(Timestamp::from_micros(t.started_at)),
        found: grouped(t.found),
        stored: grouped(t.stored),
        unchanged: grouped(t.unchanged),
        quarantined: grouped(t.quarantined),
        total: grouped(t.total),
    }
}

fn task_row(s: Status, at: &impl Fn(Timestamp) -> When) -> TaskRow {
    let failing = s.failures_in_a_row > 0;
    TaskRow {
        mood: match s.phase {
            _ if failing => Mood::Bad,
            Phase::Running { .. } => Mood::Busy,
            _ => Mood::Good,
        },
        phase: match s.phase {
            Phase::Running { .. } => "Running",
            Phase::Waiting => "Waits for another task",
            Phase::Stopped => "Stopped",
            Phase::Sleeping { .. } if failing => "Failed; tries again",
            Phase::Sleeping { .. } => "Waits for work",
        },
        name: s.name,
        ended: s.last_ended.map(at),
        did: s.last_report.map(|r| r.summary).unwrap_or_default(),
    }
}

fn attempt_rows(a: &AttemptCounts) -> Vec<CountRow> {
    let row = |name: &str, meaning, n| CountRow { name: name.to_owned(), meaning, count: grouped(n) };
    vec![
        row("Planned", "will be judged when due", a.planned),
        row("Held", "wait for an instant that the policy named", a.held),
        row("Sending", "on their way out", a.sending),
        row("In doubt", "may have gone out; someone must say", a.unclear),
        row("Sent", "left the building, or were recorded", a.sent),
        row("Failed", "could not be delivered", a.failed),
        row("Refused", "the policy said no", a.refused),
        row("Void", "their reason went away", a.void),
    ]
}

fn write_back_rows(o: &Overview) -> Vec<CountRow> {
    const STATES: [(&str, &str, &str); 6] = [
        ("owed", "Owed", "still to be written"),
        ("writing", "Writing", "on their way"),
        ("written", "Written", "in the chart"),
        ("unknown", "Unknown", "the EHR will be asked before anything is sent again"),
        ("refused", "Refused", "the EHR said no; someone must look"),
        ("exported", "Exported", "handed over as a file"),
    ];
    STATES
        .into_iter()
        .map(|(state, name, meaning)| CountRow {
            name: name.to_owned(),
            meaning,
            count: grouped(o.write_backs.get(state).copied().unwrap_or_default()),
        })
        .collect()
}
