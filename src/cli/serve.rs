//! `serve` and `work`: all stages on their schedule, with and without pages.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::TimeDelta;
use clap::Args;
use domain::model::{EhrId, Role, Roles};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use super::exit::{Ended, Failure};
use super::{Common, print};
use crate::app::{App, Night, StageError, TurnReport};
use crate::web;
use crate::worker::{Health, Nudge, Stop, Task, TaskReport, Worker};

/// Serve pages and run all stages on their schedule
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fhir-engage serve
  fhir-engage serve --no-work      pages only; another node runs the stages

Listens on 127.0.0.1:8080 unless web.bind of the configuration says otherwise. Until somebody has signed in it prints a link
that signs an operator in, once; `fhir-engage staff link` makes others.")]
pub(super) struct Serve {
    /// Serve pages only
    #[arg(long)]
    no_work: bool,
}

/// Run all stages on their schedule, without pages
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fhir-engage work
  fhir-engage work --once     one round through all stages, then end; exit code 1 if any failed

A stage that another process is running now is told on stderr and is no failure: it goes on there.
Patients of an EHR that is being read, or whose sync stopped half-way, are judged once it was read to its end.")]
pub(super) struct Work {
    /// One round through all stages, then end
    #[arg(long)]
    once: bool,
}

impl Serve {
    pub(super) async fn run(self, common: &Common) -> Result<Ended, Failure> {
        let app = Arc::new(common.open_to_stay()?);
        if self.no_work {
            let stop = Stop::new();
            request_on_signal(&stop);
            pages(&app, None, &stop, None, |_| ()).await?.await.map_err(|_| Failure::problem("the web server ended unexpectedly"))?;
        } else {
            pages_and_stages(&app, None, |_| ()).await?;
        }
        Ok(Ended::Well)
    }
}

impl Work {
    pub(super) async fn run(self, common: &Common) -> Result<Ended, Failure> {
        let app = Arc::new(if self.once { common.open() } else { common.open_to_stay() }?);
        if !self.once {
            let stop = Stop::new();
            request_on_signal(&stop);
            let worker = Worker::new(Arc::clone(&app.clock), AT_ONCE);
            let tasks = all_tasks(&app, worker.health())?;
            worker.run(tasks, random(&app), stop).await;
            return Ok(Ended::Well);
        }
        let stop = Arc::new(AtomicBool::new(false));
        super::signals::stop_at(&stop);
        let desk = app.alert_desk().map_err(|e| Failure::problem(e.to_string()))?;
        let mut report = app.cycle(&stop, Arc::new(|_| ())).await;
        match app.verify_chain(&stop).await {
            Ok(_) | Err(StageError::Busy(_)) => {}
            Err(error) => report.failures.push(format!("audit: {error}")),
        }
        match app.look_for_alerts(&desk, true).await {
            Ok(told) => report.failures.extend(told.failures),
            // Where another node looks, that one tells.
            Err(StageError::Busy(_)) => {}
            Err(error) => report.failures.push(format!("alerts: {error}")),
        }
        if common.json {
            print::json(&report);
        } else {
            print::line(&format!(
                "{} types synced, {} persons evaluated, {} attempts sent, {} written back",
                report.sync.len(),
                report.segments.persons,
                report.outreach.sent,
                report.write_back.iter().map(|(_, r)| r.written).sum::<u64>()
            ));
        }
        for told in report.busy.iter().chain(&report.failures) {
            eprintln!("{told}");
        }
        Ok(Ended::well_if(report.failures.is_empty()))
    }
}

/// Tasks that run at the same time: each waits on the network or on the one writer, so more would only queue.
const AT_ONCE: usize = 6;

fn request_on_signal(stop: &Stop) {
    let stop = stop.clone();
    super::signals::at_first(move || stop.request());
}

fn random(app: &App) -> StdRng {
    StdRng::from_seed(app.seed())
}

/// How long the link works that is offered at the start.
const LINK_LASTS: TimeDelta = TimeDelta::hours(1);

/// Begins to serve pages; the handle ends when the last request was answered after a stop. Offers a link to sign in with these roles; where
/// there are none, one for an operator as long as nobody has ever signed in by a link. `bound` is told the address.
async fn pages(
    app: &Arc<App>,
    tasks: Option<Health>,
    stop: &Stop,
    welcome: Option<Roles>,
    bound: impl FnOnce(SocketAddr),
) -> Result<tokio::task::JoinHandle<()>, Failure> {
    for warning in app.config.warnings() {
        eprintln!("fhir-engage: {warning}");
    }
    let state = app.web_state(tasks).map_err(|e| Failure::problem(e.to_string()))?;
    let served = web::serve_apart(state, app.config.web.bind, app.config.web.public, stop.clone());
    let served = served.map_err(|e| Failure::problem(crate::app::told(&e)))?;
    bound(served.address);
    if let Some(public) = served.public {
        eprintln!("public keys, launches and notifications of EHRs, and nothing else, at http://{public}/");
    }
    let first = !app.sessions().was_used().await.map_err(|e| Failure::problem(e.to_string()))?;
    if let Some(roles) = welcome.or_else(|| first.then(|| Roles::of(&[Role::Operator]))) {
        let link = super::staff::link(app, roles, LINK_LASTS, &format!("http://{}", served.address)).await?;
        eprintln!("sign in once, within an hour, as {}: {link}", roles.iter().map(Role::title).collect::<Vec<_>>().join(", "));
    }
    eprintln!("pages at http://{}/ until Ctrl-C", served.address);
    Ok(served.running)
}

/// Serves pages and runs all stages until a signal; what is in hand is finished. `bound` is told the pages' address.
pub(super) async fn pages_and_stages(app: &Arc<App>, welcome: Option<Roles>, bound: impl FnOnce(SocketAddr)) -> Result<(), Failure> {
    let stop = Stop::new();
    request_on_signal(&stop);
    let worker = Worker::new(Arc::clone(&app.clock), AT_ONCE);
    let tasks = all_tasks(app, worker.health())?;
    let served = pages(app, Some(worker.health()), &stop, welcome, bound).await?;
    worker.run(tasks, random(app), stop).await;
    served.await.map_err(|_| Failure::problem("the web server ended unexpectedly"))
}

/// The stages, and what looks after them.
fn all_tasks(app: &Arc<App>, health: Health) -> Result<Vec<Task>, Failure> {
    let mut all = tasks(app);
    all.push(alerts_task(app, health)?);
    Ok(all)
}

/// The task that looks for what is wrong. `health` tells whether the other loops run as they should: where they do not, the dead-man's
/// signal stays away.
fn alerts_task(app: &Arc<App>, health: Health) -> Result<Task, Failure> {
    let desk = Arc::new(app.alert_desk().map_err(|e| Failure::problem(e.to_string()))?);
    let (app, every) = (Arc::clone(app), app.config.alerts.look_every.to_std().unwrap_or(Duration::from_secs(60)));
    Ok(Task::new("alerts", every, Nudge::new(), move |_| {
        let (app, desk, health) = (Arc::clone(&app), Arc::clone(&desk), health.clone());
        async move {
            let is_well = health.overdue(app.clock.now(), TASK_GRACE).is_empty();
            match app.look_for_alerts(&desk, is_well).await {
                Ok(r) if !r.failures.is_empty() => TaskReport::failed(r.failures.join("; ")),
                Ok(r) if r.opened + r.closed + r.told == 0 => TaskReport::idle(None),
                Ok(r) => TaskReport::worked(format!("{} opened, {} closed, {} open, {} told", r.opened, r.closed, r.open, r.told), None),
                Err(error) => failed(&error),
            }
        }
    }))
}

/// A task may wake this late: the machine may be busy.
const TASK_GRACE: TimeDelta = TimeDelta::seconds(60);

/// The stages as periodic tasks. Each nudges the one that reads what it leaves; a nudge carries no data.
fn tasks(app: &Arc<App>) -> Vec<Task> {
    let std = |d: chrono::TimeDelta| d.to_std().unwrap_or(Duration::from_secs(60));
    let tick = std(app.config.worker.tick);
    // Whoever asks for a run now should not wait long, however seldom the other stages look.
    let look = tick.min(Duration::from_secs(10));
    let crate::app::Nudges { refresh, segments, outreach, write_back } = app.nudges.clone();
    let sync = Nudge::new();
    let (wake, resync) = (segments.clone(), sync.clone());
    let (a, next) = (Arc::clone(app), segments.clone());
    let sync_task = Task::new("sync", look, sync, move |stop| {
        let (app, next) = (Arc::clone(&a), next.clone());
        async move { sync_due(&app, &stop, &next, look).await }
    });
    let (a, next) = (Arc::clone(app), outreach.clone());
    let segments_task = Task::new("segments", tick, segments.clone(), move |stop| {
        let (app, next) = (Arc::clone(&a), next.clone());
        async move {
            let flag = flag(&stop);
            match app.assign(&flag, Arc::new(|_| ())).await {
                Ok(r) if r.persons == 0 => TaskReport::idle(None),
                Ok(r) => {
                    next.give();
                    TaskReport::worked(format!("{} persons evaluated, {} memberships changed", r.persons, r.changes), None)
                }
                Err(error) => failed(&error),
            }
        }
    });
    let (a, next, back) = (Arc::clone(app), write_back.clone(), segments);
    let outreach_task = Task::new("outreach", tick, outreach, move |stop| {
        let (app, next, back) = (Arc::clone(&a), next.clone(), back.clone());
        async move {
            let flag = flag(&stop);
            match app.reach_out(&flag, &|_| ()).await {
                Ok(r) if r.persons + r.voided + r.sent + r.held + r.refused + r.failed + r.unclear + r.settled == 0 => {
                    TaskReport::idle(None)
                }
                Ok(r) => {
                    next.give();
                    back.give();
                    TaskReport::worked(
                        format!("{} sent, {} held, {} refused, {} failed, {} in doubt", r.sent, r.held, r.refused, r.failed, r.unclear),
                        None,
                    )
                }
                Err(error) => failed(&error),
            }
        }
    });
    let a = Arc::clone(app);
    let write_back_task = Task::new("write-back", tick, write_back, move |stop| {
        let app = Arc::clone(&a);
        async move { write_all(&app, &stop).await }
    });
    let (a, next) = (Arc::clone(app), wake.clone());
    let events_task = Task::new("events", look, app.heard(), move |stop| {
        let (app, next, resync) = (Arc::clone(&a), next.clone(), resync.clone());
        async move {
            let report = app.look_after_events(&flag(&stop)).await;
            if report.changed > 0 {
                next.give();
            }
            if report.reread > 0 {
                resync.give();
            }
            // What is due now and was left is another node's, or waits: to come back at once would be a storm.
            let soon = app.clock.now().plus(TimeDelta::seconds(1));
            let next = report.next.map(|at| at.max(soon));
            match report.failures {
                none if none.is_empty() && report.subscriptions == 0 && report.read == 0 => TaskReport::idle(next),
                none if none.is_empty() => TaskReport::worked(
                    format!("{} read, {} changed, {} subscriptions", report.read, report.changed, report.subscriptions),
                    next,
                ),
                some => TaskReport { next, ..TaskReport::failed(some.join("; ")) },
            }
        }
    });
    let (a, next) = (Arc::clone(app), wake);
    let drops_task = Task::new("drops", tick, Nudge::new(), move |stop| {
        let (app, next) = (Arc::clone(&a), next.clone());
        async move {
            let report = super::drops::take_all(&app, &stop).await;
            if report.worked {
                next.give();
            }
            report
        }
    });
    let a = Arc::clone(app);
    // Whoever looks at a patient on another node has nudged that one; this is how soon it is seen here.
    let refresh_task = Task::new("patients", Duration::from_secs(2), refresh, move |_| {
        let app = Arc::clone(&a);
        async move {
            match app.refresh_patients().await {
                Ok((0, failures)) if failures.is_empty() => TaskReport::idle(None),
                Ok((n, failures)) if failures.is_empty() => TaskReport::worked(format!("{n} read again"), None),
                Ok((_, failures)) => TaskReport::failed(failures.join("; ")),
                Err(error) => failed(&error),
            }
        }
    });
    let a = Arc::clone(app);
    let sessions_task = Task::new("sessions", Duration::from_secs(60), Nudge::new(), move |_| {
        let app = Arc::clone(&a);
        async move {
            match app.sweep_sessions().await {
                Ok((0, 0)) => TaskReport::idle(None),
                Ok((sessions, grants)) => TaskReport::worked(format!("{sessions} sessions had run out, {grants} grants given back"), None),
                Err(error) => failed(&error),
            }
        }
    });
    let a = Arc::clone(app);
    let audit_task = Task::new("audit", Duration::from_secs(600), Nudge::new(), move |stop| {
        let app = Arc::clone(&a);
        async move {
            match app.verify_chain(&flag(&stop)).await {
                Ok(Night { told: None, next }) => TaskReport::idle(Some(next)),
                Ok(Night { told: Some(s), next }) => {
                    let found = s.broken.map_or_else(|| "whole".to_owned(), |broken| format!("broken: {broken}"));
                    TaskReport::worked(format!("{} rows verified, {found}", s.rows), Some(next))
                }
                Err(error) => failed(&error),
            }
        }
    });
    vec![events_task, drops_task, sync_task, segments_task, outreach_task, write_back_task, refresh_task, sessions_task, audit_task]
}

fn failed(error: &StageError) -> TaskReport {
    match error {
        // Another node is at it: that is how it should be.
        StageError::Busy(_) => TaskReport::idle(None),
        other => TaskReport::failed(other.to_string()),
    }
}

/// The flag that the stages look at between two pieces of work.
pub(super) fn flag(stop: &Stop) -> Arc<AtomicBool> {
    let flag = Arc::new(AtomicBool::new(stop.is_requested()));
    let (stop, shared) = (stop.clone(), Arc::downgrade(&flag));
    tokio::spawn(async move {
        stop.requested().await;
        if let Some(flag) = shared.upgrade() {
            flag.store(true, Ordering::Relaxed);
        }
    });
    flag
}

/// EHRs that are read at the same time.
const EHRS_AT_ONCE: usize = 8;
/// How soon what a run has committed is seen by the next stage, while the run goes on.
const SOON: Duration = Duration::from_secs(1);

/// Reads what is due, one EHR beside the other, and looks for more while any of them goes on: one that takes all night must not hold up the
/// others. Whenever an EHR is through, `next` is nudged.
async fn sync_due(app: &App, stop: &Stop, next: &Nudge, look: Duration) -> TaskReport {
    let (mut running, mut all, mut ran) = (FuturesUnordered::new(), TurnReport::default(), false);
    loop {
        if !stop.is_requested() {
            match app.due_turns(EHRS_AT_ONCE.saturating_sub(running.len())).await {
                Ok(turns) => running.extend(turns.into_iter().map(|turn| app.take_turn(turn, || stop.is_requested()))),
                Err(error) if running.is_empty() => return TaskReport::failed(error.to_string()),
                Err(error) => tracing::warn!(error = %error, "what is due could not be asked"),
            }
        }
        if running.is_empty() {
            break;
        }
        tokio::select! {
            Some(done) = running.next() => {
                ran = true;
                all.found += done.found;
                all.stored += done.stored;
                all.failures.extend(done.failures);
                next.give();
            }
            // What was committed so far need not wait for the rest that is still read.
            () = tokio::time::sleep(look.min(SOON)) => next.give(),
        }
    }
    if ran && let Ok(registered) = app.ehrs().await {
        all.failures.extend(registered.problems());
    }
    match all.failures {
        none if none.is_empty() && !ran => TaskReport::idle(None),
        none if none.is_empty() => TaskReport::worked(format!("{} found, {} stored", all.found, all.stored), None),
        // Each type has its own time for another try; the others must not wait for it.
        some => TaskReport {
            next: Some(app.clock.now().plus(TimeDelta::from_std(look).unwrap_or_default())),
            ..TaskReport::failed(some.join("; "))
        },
    }
}

/// Writes what is due to one EHR; how much, and why it stopped before the end.
async fn write_one(app: &App, ehr: &EhrId, stop: &AtomicBool) -> Result<(u64, Option<String>), String> {
    let (name, now) = (ehr.as_str().to_owned(), app.clock.now());
    // An EHR to which nothing is due is not even asked for a token.
    match app.store.read(move |conn| crate::store::writebacks::next_due(conn, &name, now)).await {
        Ok(Some(at)) if at <= now => {}
        Ok(_) => return Ok((0, None)),
        Err(error) => return Err(error.to_string()),
    }
    match app.write_back(ehr, stop).await {
        Ok(r) => {
            let stopped = r.stopped.filter(|_| !r.is_paused);
            Ok((r.written + r.exported + r.kept, stopped.map(|why| format!("{ehr}: {why}"))))
        }
        Err(StageError::Busy(_)) => Ok((0, None)),
        Err(error) if error.pause().is_some() => Ok((0, None)),
        Err(error) => Err(format!("{ehr}: {error}")),
    }
}

async fn write_all(app: &App, stop: &Stop) -> TaskReport {
    let flag = flag(stop);
    // Those without a connection, too: theirs go into files.
    let ehrs = match app.ehrs().await {
        // Those that cannot be worked with are the sync task's to tell.
        Ok(ehrs) => ehrs.known,
        Err(error) => return TaskReport::failed(error.to_string()),
    };
    let (mut written, mut failures) = (0, Vec::new());
    // All at once: a slow EHR with a backlog must not hold up the others.
    let runs = ehrs.iter().map(|(ehr, _)| write_one(app, ehr, &flag));
    for ended in futures_util::future::join_all(runs).await {
        match ended {
            Ok((n, stopped)) => {
                written += n;
                failures.extend(stopped);
            }
            Err(error) => failures.push(error),
        }
    }
    let next = match app.next_write_back().await {
        Ok(next) => next,
        Err(error) => {
            failures.push(error.to_string());
            None
        }
    };
    // What is due and was not written is another process's work, or waits for the next tick: to come back at once would be a storm.
    let next = next.filter(|at| written > 0 || *at > app.clock.now());
    match failures {
        none if none.is_empty() && written == 0 => TaskReport::idle(next),
        none if none.is_empty() => TaskReport::worked(format!("{written} written"), next),
        some => TaskReport::failed(some.join("; ")),
    }
}
