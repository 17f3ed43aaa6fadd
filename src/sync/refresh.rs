//! Single reads that others asked for (`store::refresh`): because the EHR told of a change, or because someone looks at a patient. Each is a GET
//! by id with our own credential, within the limits of the EHR, and is stored beside whatever run of its type goes on: what a crawl of hours
//! reads must not hold up what just changed. Of two answers that may have been given in either order the one that is not plainly newer gives
//! way, and the resource is read once more (`store::resources`, `Precedence`). The request goes in the transaction that stores what was
//! read; a crash before it leaves the request, and then it is read once more.
//!
//! What is not there is settled as everywhere: gone only by two reads apart in time (`vanish`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::TimeDelta;
use domain::model::{EhrId, FhirId, ResourceType};
use domain::{Clock, Timestamp};
use futures_util::{StreamExt as _, stream};

use super::crawl::starts;
use super::page;
use super::pass::A_HANDFUL;
use super::pull::chain;
use super::roster::{AT_ONCE, concerns_all, texts};
use super::vanish::APART;
use crate::ehr::{Client, EhrError, Entry, ReadOutcome};
use crate::store::refresh::{self, Request};
use crate::store::{Conn, Store, StoreError, alerts, coverage, gone, resources};

/// Read together and stored in one commit.
const CHUNK: i64 = 32;
/// Between two looks whether a type may be read again.
const CLOSED: TimeDelta = TimeDelta::seconds(60);
/// One resource that cannot be read is tried so often.
const TRIES: i64 = 5;
/// What is kept as the reason.
const READ_TWICE: &str = "two reads apart in time found it gone";
const REMEDY: &str = "ask the EHR's operator; if it is right, a full sync with --accept-vanished marks them as gone";

/// What single reads work with.
#[derive(Clone, Copy)]
pub struct Refresh<'a> {
    /// The store.
    pub store: &'a Store,
    /// Our clock.
    pub clock: &'a dyn Clock,
    /// The EHR.
    pub ehr: &'a EhrId,
    /// Its client.
    pub client: &'a Client,
    /// The types that may be read by id: those of the profile of which the server's statement lists it.
    pub readable: &'a BTreeSet<ResourceType>,
    /// Of those the ones that may not be read now: they are paused, or their hours are closed.
    pub closed: &'a BTreeSet<ResourceType>,
    /// Ends it between two chunks.
    pub stop: &'a AtomicBool,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Report {
    /// Read.
    pub read: i64,
    /// Of those new or changed.
    pub stored: i64,
    /// Found gone.
    pub gone: i64,
    /// Left for later because the type is paused, or its hours are closed.
    pub held: i64,
    /// Why it stopped early, in words.
    pub failure: Option<String>,
    /// Until when the EHR is not to be asked, where that is why.
    pub paused_until: Option<Timestamp>,
}

/// What reads said.
#[derive(Default)]
struct Answers {
    entries: Vec<Entry>,
    /// Read to an end, by their requests.
    done: Vec<Request>,
    /// Not there.
    absent: Vec<Request>,
    /// Answered with another record.
    moved: Vec<(String, String)>,
    /// Not readable now.
    failed: Vec<Request>,
}

/// Reads what is due at an EHR.
///
/// # Errors
/// The store's refusal. What the EHR refuses is told in the report, and tried again.
pub async fn run(task: &Refresh<'_>) -> Result<Report, StoreError> {
    let mut report = Report::default();
    while !task.stop.load(Ordering::Relaxed) && report.failure.is_none() && report.paused_until.is_none() {
        let (ehr, now) = (task.ehr.clone(), task.clock.now());
        let due = task.store.read(move |conn| refresh::due(conn, &ehr, now, CHUNK)).await?;
        if due.is_empty() {
            break;
        }
        let mut by_type: BTreeMap<Option<ResourceType>, Vec<Request>> = BTreeMap::new();
        for row in due {
            let kind = ResourceType::parse(&row.rtype).filter(|kind| task.readable.contains(kind));
            by_type.entry(kind).or_default().push(row);
        }
        for (kind, rows) in by_type {
            match kind {
                Some(kind) if task.closed.contains(&kind) => {
                    let until = task.clock.now().plus(CLOSED);
                    put_off(task, rows, until, &mut report).await?;
                }
                Some(kind) => read(task, kind, rows, &mut report).await?,
                // Not to be read at this EHR, or not any more.
                None => settle(task, "drop what is not read", move |conn| rows.iter().try_for_each(|row| refresh::done(conn, row))).await?,
            }
        }
    }
    Ok(report)
}

async fn settle(
    task: &Refresh<'_>,
    name: &'static str,
    f: impl FnMut(&mut Conn) -> Result<(), StoreError> + Send + 'static,
) -> Result<(), StoreError> {
    task.store.write(name, f).await
}

async fn put_off(task: &Refresh<'_>, rows: Vec<Request>, until: Timestamp, report: &mut Report) -> Result<(), StoreError> {
    report.held += i64::try_from(rows.len()).unwrap_or(i64::MAX);
    settle(task, "put reads off", move |conn| rows.iter().try_for_each(|row| refresh::put_off(conn, row, until, false))).await
}

async fn read(task: &Refresh<'_>, kind: ResourceType, rows: Vec<Request>, report: &mut Report) -> Result<(), StoreError> {
    let (client, asked) = (task.client, task.clock.now());
    let each = stream::iter(rows).map(|row| async move {
        let read = match FhirId::parse(&row.fhir_id) {
            Some(id) => client.read(kind.as_str(), &id).await,
            None => Err(EhrError::BadRequest),
        };
        (row, read)
    });
    let answers: Vec<(Request, Result<ReadOutcome, EhrError>)> = each.buffered(AT_ONCE).collect().await;
    let mut all = Answers::default();
    for (row, answer) in answers {
        match answer {
            Ok(ReadOutcome::Found(entry)) => {
                all.entries.push(entry);
                all.done.push(row);
            }
            Ok(ReadOutcome::Moved(entry)) => {
                all.moved.extend(entry.id.clone().map(|to| (row.fhir_id.clone(), to)));
                all.entries.push(entry);
                all.done.push(row);
            }
            Ok(ReadOutcome::Gone | ReadOutcome::Absent) => all.absent.push(row),
            Err(error) => {
                if let Some(paused) = error.pause() {
                    report.paused_until = Some(paused.until(task.clock.now()));
                } else if concerns_all(&error) || error.is_transient() {
                    report.failure = Some(format!("{kind}: {}", chain(&error)));
                }
                all.failed.push(row);
            }
        }
    }
    store(task, (kind, asked), all, report).await
}

async fn store(
    task: &Refresh<'_>,
    (kind, asked): (ResourceType, Timestamp),
    answers: Answers,
    report: &mut Report,
) -> Result<(), StoreError> {
    let Answers { entries, done, absent, moved, failed } = answers;
    let (store, ehr, now) = (task.store.clone(), task.ehr.clone(), task.clock.now());
    let all_failed = report.failure.is_some() || report.paused_until.is_some();
    let pause = report.paused_until;
    let stored = tokio::task::spawn_blocking(move || {
        let found: Vec<String> = entries.iter().filter_map(|e| e.id.clone()).collect();
        let visits = if kind == ResourceType::Appointment { starts(&entries) } else { Vec::new() };
        let mut gone_now = 0;
        let counts = page::commit_singly(&store, (&ehr, kind), &entries, (asked, now), &mut |conn| {
            coverage::found(conn, &ehr, kind, &texts(&found))?;
            coverage::put_visits(conn, &ehr, &visits.iter().map(|(id, at)| (id.as_str(), *at)).collect::<Vec<_>>())?;
            for (from, to) in moved.iter().filter(|_| kind == ResourceType::Patient) {
                gone::replaced(conn, &ehr, from, to, now)?;
            }
            done.iter().try_for_each(|row| refresh::done(conn, row))?;
            gone_now = take_absent(conn, (&ehr, kind), &absent, (asked, now))?;
            for row in &failed {
                // What stops all of them is no fault of one.
                if !all_failed && row.tries + 1 >= TRIES {
                    refresh::done(conn, row)?;
                } else {
                    let wait = TimeDelta::seconds(5 << row.tries.clamp(0, 6));
                    refresh::put_off(conn, row, pause.unwrap_or(now.plus(wait)), !all_failed)?;
                }
            }
            Ok(())
        })?;
        Ok::<_, StoreError>((counts, gone_now))
    });
    let (counts, gone_now) = stored.await.unwrap_or_else(|panicked| std::panic::resume_unwind(panicked.into_panic()))?;
    report.read += counts.found;
    report.stored += counts.stored;
    report.gone += gone_now;
    Ok(())
}

/// What a read did not find: for the first time it is missing and read once more later; for the second time, apart from the first, it is gone.
fn take_absent(
    conn: &mut Conn,
    (ehr, kind): (&EhrId, ResourceType),
    absent: &[Request],
    (asked, now): (Timestamp, Timestamp),
) -> Result<i64, StoreError> {
    let ids: Vec<&str> = absent.iter().map(|row| row.fhir_id.as_str()).collect();
    let known = resources::known(conn, ehr, kind, &ids)?;
    let told: BTreeMap<String, i64> = coverage::first_told(conn, ehr, kind, &ids)?.into_iter().collect();
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for row in absent {
        let id = row.fhir_id.as_str();
        match known.get(id) {
            // A run has stored it while it was asked for: it is asked for once more.
            Some(k) if k.received_at > asked.micros() => {
                refresh::put_off(conn, row, now, false)?;
                continue;
            }
            Some(k) if k.gone_at.is_none() => {}
            // Of what was never stored, or is gone already, there is nothing to take back.
            _ => {
                refresh::done(conn, row)?;
                continue;
            }
        }
        match told.get(id).map(|at| Timestamp::from_micros(*at)) {
            Some(at) if now.since(at) >= APART => {
                second.push(id);
                refresh::done(conn, row)?;
            }
            Some(at) => refresh::put_off(conn, row, at.plus(APART), false)?,
            None => {
                first.push(id);
                refresh::put_off(conn, row, now.plus(APART), false)?;
            }
        }
    }
    coverage::miss(conn, ehr, kind, &first, true, now)?;
    let subject = format!("{ehr}/{kind} gone");
    if i64::try_from(second.len()).unwrap_or(i64::MAX) > A_HANDFUL {
        // They stay missing, and a person is asked: an EHR that is being repaired hides much at once.
        let says = format!("{} of the {kind}s that {ehr} told of are no longer there; nothing was marked as gone", second.len());
        alerts::note(conn, (alerts::kind::FAILING, &subject), (&says, REMEDY), Some(now.plus(TimeDelta::days(1))), now)?;
        return Ok(0);
    }
    gone::mark(conn, ehr, kind, &second, READ_TWICE, now)
}
