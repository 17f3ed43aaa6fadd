//! The overview: how the last runs went, in counts. No patient data; for all of the staff.
//!
//! What a state means is said in plain words here; the reasons of a failure stand on the pages that it leads to, for those who may see them.

use actix_web::{HttpRequest, HttpResponse, web};
use domain::model::Right;

use super::{Card, Piece, Scene};
use crate::store::view::overview::{AttemptCounts, Overview, TypeStatus};
use crate::web::Served;
use crate::web::list::{Cell, Column, Filter, Labels, Row};
use crate::web::notice::Notice;
use crate::web::viewer::Viewer;
use crate::web::words::{Mood, counted, grouped};
use crate::worker::{Phase, Status};

/// The page.
pub async fn page(served: web::Data<Served>, viewer: web::ReqData<Viewer>, request: HttpRequest) -> Result<HttpResponse, Notice> {
    let scene = Scene::of(&served, &viewer, &request).await?;
    let counts = served.overview().await?;
    let tasks: Vec<Status> = served.given.tasks.iter().flat_map(|t| t.statuses()).collect();
    let (mood, title) = headline(&counts, &tasks);
    let mut board = scene
        .board("/", title)
        .mood(mood)
        .lead("How the last runs went, in counts and without patient data. Reload for the present state.")
        .figure("Persons known", counts.persons)
        .figure("Resources stored", counts.synced.values().sum())
        .figure("Attempts sent", counts.attempts.sent)
        .figure("Written back", counts.write_backs.get("written").copied().unwrap_or_default())
        .card(syncs(&scene, &counts)?)
        .card(attempts(&scene, &counts.attempts)?)
        .card(write_backs(&scene, &counts)?)
        .card(segments(&scene, &counts)?);
    if viewer.may(Right::SeeConnections) {
        board = board.card(background(&scene, &tasks)?);
    }
    board.answer()
}

fn state(t: &TypeStatus) -> (Mood, &'static str) {
    match (t.state.as_str(), t.partial) {
        ("done", false) => (Mood::Good, "Done"),
        ("done", true) => (Mood::Bad, "Done, but the EHR left something out"),
        ("running", _) => (Mood::Busy, "Running"),
        ("interrupted", _) => (Mood::Busy, "Interrupted; it goes on"),
        _ => (Mood::Bad, "Failed"),
    }
}

/// The one sentence on top: the worst that there is.
fn headline(o: &Overview, tasks: &[Status]) -> (Mood, String) {
    let n = |len: usize| i64::try_from(len).unwrap_or(i64::MAX);
    let bad = n(o.types.iter().filter(|t| state(t).0 == Mood::Bad).count());
    let failing = n(tasks.iter().filter(|t| t.failures_in_a_row > 0).count());
    let unclear = o.write_backs.get("unknown").copied().unwrap_or_default() + o.write_backs.get("refused").copied().unwrap_or_default();
    let alerts = o.alerts.values().sum::<i64>();
    match () {
        () if o.types.is_empty() => (Mood::Busy, "Nothing was synced yet".to_owned()),
        () if bad > 0 => (Mood::Bad, format!("{} not end well", counted(bad, "sync did", "syncs did"))),
        () if alerts > 0 => (Mood::Bad, format!("{} open", counted(alerts, "alert is", "alerts are"))),
        () if failing > 0 => (Mood::Bad, format!("{} failing", counted(failing, "background task is", "background tasks are"))),
        () if o.quarantined + unclear + o.attempts.failed + o.attempts.unclear > 0 => {
            (Mood::Busy, "The syncs went well; some items need a look".to_owned())
        }
        () if o.types.iter().any(|t| state(t).0 == Mood::Busy) => (Mood::Busy, "A sync is running".to_owned()),
        () => (Mood::Good, "All is well".to_owned()),
    }
}

/// Words that lead to a page, for those who may see it.
fn leads(scene: &Scene<'_>, right: Right, path: impl Into<String>, words: impl Into<String>) -> Cell {
    if scene.viewer.may(right) { Cell::Link(path.into(), words.into()) } else { Cell::text(words) }
}

fn syncs(scene: &Scene<'_>, o: &Overview) -> Result<Card, Notice> {
    let mut ehrs: Vec<&str> = o.types.iter().map(|t| t.ehr.as_str()).collect();
    ehrs.dedup();
    let columns = vec![
        Column::text("ehr", "EHR").sorts().one_of(ehrs),
        Column::text("type", "Type").sorts().filter(Filter::Part),
        Column::text("outcome", "Outcome").sorts(),
        Column::text("began", "Began").sorts(),
        Column::number("found", "Read").sorts(),
        Column::number("stored", "New or changed").sorts(),
        Column::number("unchanged", "Unchanged").sorts(),
        Column::number("aside", "Put aside").sorts(),
        Column::number("total", "Stored").sorts(),
    ];
    let labels = Labels {
        caption: "Counts are of the last run; stored is what the gateway holds in all",
        empty: "Nothing was synced yet. Connect an EHR with `fhir-engage ehr add`, then run `fhir-engage sync run`.",
        file: "syncs",
    };
    let rows = o.types.iter().map(|t| {
        let (mood, outcome) = state(t);
        Row::from(vec![
            leads(scene, Right::SeeConnections, format!("/connections/{}", t.ehr), t.ehr.clone()),
            Cell::text(t.rtype.clone()),
            Cell::Status(mood, outcome.to_owned()),
            scene.at(t.started_at),
            Cell::Number(t.found),
            Cell::Number(t.stored),
            Cell::Number(t.unchanged),
            Cell::Number(t.quarantined),
            Cell::Number(t.total),
        ])
    });
    let mut card = Card::wide("Last sync of each type").list(&scene.beside(labels, columns, rows.collect())?)?;
    let (alerts, aside) = (o.alerts.values().sum::<i64>(), o.quarantined);
    let mut links = Vec::new();
    if alerts > 0 {
        card = card.words(format!("{} open.", counted(alerts, "alert is", "alerts are")));
        links.extend(scene.viewer.may(Right::SeeConnections).then(|| ("/alerts?state=open".to_owned(), "See the alerts")));
    }
    if aside > 0 {
        card = card.words(format!("{} in quarantine: kept as it came, with the reason.", counted(aside, "resource is", "resources are")));
        links.extend(scene.viewer.may(Right::SeeQuarantine).then(|| ("/quarantine".to_owned(), "See the quarantine")));
    } else {
        card = card.quiet("Nothing is in quarantine.");
    }
    Ok(if links.is_empty() { card } else { card.with(Piece::Links(links)) })
}

/// A state in counts: where it leads, what it is called, what that means, and how many there are.
type State = (Option<&'static str>, &'static str, &'static str, i64);

fn states(scene: &Scene<'_>, title: &str, labels: Labels, right: Right, states: &[State]) -> Result<Card, Notice> {
    let columns = vec![
        Column::text("state", "State").sorts().filter(Filter::Part),
        Column::text("meaning", "Meaning"),
        Column::number("n", "How many").sorts(),
    ];
    let rows = states.iter().map(|(path, name, meaning, n)| {
        let name = path.map_or_else(|| Cell::text(*name), |path| leads(scene, right, path, *name));
        Row::from(vec![name, Cell::text(*meaning), Cell::Number(*n)])
    });
    Card::new(title).list(&scene.beside(labels, columns, rows.collect())?)
}

fn attempts(scene: &Scene<'_>, a: &AttemptCounts) -> Result<Card, Notice> {
    let labels = Labels { caption: "Attempts to reach a person, by state", empty: "There is none yet.", file: "attempts" };
    let all = [
        (Some("/attempts?state=planned"), "Planned", "looked at when their time comes", a.planned),
        (Some("/attempts?state=held"), "Held", "wait for a later moment", a.held),
        (Some("/attempts?state=sending"), "Sending", "on their way out", a.sending),
        (Some("/attempts?state=sending"), "In doubt", "may have gone out; somebody must say", a.unclear),
        (Some("/attempts?state=any&by=state&down=1"), "Sent", "left the building, or were recorded", a.sent),
        (Some("/attempts?state=finished&outcome=failed"), "Failed", "could not be delivered", a.failed),
        (Some("/attempts?state=refused"), "Refused", "a rule said no; each says which", a.refused),
        (Some("/attempts?state=void"), "Void", "their reason went away", a.void),
    ];
    states(scene, "Outreach", labels, Right::SeeOutreach, &all)
}

fn write_backs(scene: &Scene<'_>, o: &Overview) -> Result<Card, Notice> {
    let labels = Labels { caption: "Communications owed to the charts, by state", empty: "There is none yet.", file: "write-backs" };
    let n = |state: &str| o.write_backs.get(state).copied().unwrap_or_default();
    let all = [
        (Some("/writebacks?state=owed"), "Owed", "still to be written", n("owed")),
        (Some("/writebacks?state=writing"), "Writing", "on their way", n("writing")),
        (Some("/writebacks?state=written"), "Written", "in the chart", n("written")),
        (Some("/writebacks?state=unknown"), "Unknown", "the EHR will be asked before anything is sent again", n("unknown")),
        (Some("/writebacks?state=refused"), "Refused", "the EHR said no; somebody must look", n("refused")),
        (Some("/writebacks?state=exported"), "Exported", "handed over as a file", n("exported")),
        (Some("/writebacks?state=kept"), "Kept", "stay in the ledger, as the site wants it", n("kept")),
    ];
    states(scene, "Write-back", labels, Right::SeeWriteBack, &all)
}

fn segments(scene: &Scene<'_>, o: &Overview) -> Result<Card, Notice> {
    let columns = vec![
        Column::text("id", "Segment").sorts().filter(Filter::Part),
        Column::number("in", "Members").sorts(),
        Column::number("held", "Not known").sorts(),
    ];
    let labels = Labels {
        caption: "Not known: what was synced does not tell of so many persons",
        empty: "No segment is in force yet.",
        file: "segments",
    };
    let rows = o.segments.iter().map(|(id, n)| {
        let unknown = o.unknown_in_segments.get(id).copied().unwrap_or_default();
        Row::from(vec![leads(scene, Right::SeeSegments, format!("/segments/{id}"), id.clone()), Cell::Number(*n), Cell::Number(unknown)])
    });
    let (evaluated, planned) = o.pending;
    let card = Card::wide("Segments").list(&scene.beside(labels, columns, rows.collect())?)?;
    Ok(card.quiet(format!("Persons that wait: {} to be evaluated, {} to be planned for.", grouped(evaluated), grouped(planned))))
}

/// The tasks of this process, and what programs ask of it.
fn background(scene: &Scene<'_>, tasks: &[Status]) -> Result<Card, Notice> {
    const PHASES: [&str; 5] = ["Running", "Waits for another task", "Waits for work", "Failed; tries again", "Stopped"];
    let links = Piece::Links(vec![
        ("/readyz".to_owned(), "Readiness"),
        ("/metrics".to_owned(), "Metrics"),
        ("/.well-known/jwks.json".to_owned(), "Public keys"),
    ]);
    let card = Card::wide("Background tasks");
    if scene.served.given.tasks.is_none() {
        return Ok(card.words("This process serves pages only; another one does the work.").with(links));
    }
    let columns = vec![
        Column::text("task", "Task").sorts().filter(Filter::Part),
        Column::text("state", "State").sorts().one_of(PHASES),
        Column::text("ended", "Last run").sorts(),
        Column::text("did", "What it did").long(),
    ];
    let labels = Labels { caption: "Tasks of this process and what each did last", empty: "No task has begun yet.", file: "tasks" };
    let rows = tasks.iter().map(|s| {
        let failing = s.failures_in_a_row > 0;
        let (mood, phase) = match s.phase {
            Phase::Running { .. } if failing => (Mood::Bad, "Running"),
            Phase::Running { .. } => (Mood::Busy, "Running"),
            Phase::Waiting => (Mood::Good, "Waits for another task"),
            Phase::Stopped => (Mood::Good, "Stopped"),
            Phase::Sleeping { .. } if failing => (Mood::Bad, "Failed; tries again"),
            Phase::Sleeping { .. } => (Mood::Good, "Waits for work"),
        };
        let did = s.last_report.as_ref().map(|r| r.summary.clone()).unwrap_or_default();
        Row::from(vec![
            Cell::text(s.name.clone()),
            Cell::Status(mood, phase.to_owned()),
            scene.at_or_nothing(s.last_ended.map(domain::Timestamp::micros)),
            Cell::text(did),
        ])
    });
    Ok(card.list(&scene.beside(labels, columns, rows.collect())?)?.with(links))
}
