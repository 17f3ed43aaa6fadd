//! What is no longer shown: settled by reads. Absence is not deletion (ARCHITECTURE.md, invariant 6), so a resource is gone only where two
//! reads apart in time say so; where much disappears at once a person is asked first, and where an answer was not complete nothing is.

use chrono::TimeDelta;
use domain::Timestamp;
use domain::model::{FhirId, ResourceType};
use futures_util::{StreamExt as _, stream};

use super::crawl::starts;
use super::page::Told;
use super::pass::Pass;
use super::pull::{Halt, Pull, Start, Tally};
use super::roster::{AT_ONCE, concerns_all, texts};
use crate::ehr::{EhrError, Entry, ReadOutcome};
use crate::store::coverage::{self, Missing};
use crate::store::{Conn, StoreError, gone, sync_state};

/// How far apart the two reads are at least: an EHR that is being repaired, or a record that is being merged, is past it.
pub const APART: TimeDelta = TimeDelta::hours(1);

/// What is looked at together.
const CHUNK: i64 = 32;

/// What is kept as the reason.
const READ_TWICE: &str = "no search shows it, and two reads apart in time found it gone";

/// What reads said of resources that no search shows.
struct Settled {
    /// Not there, by a first read.
    first: Vec<String>,
    /// Not there, by a second one.
    second: Vec<String>,
    /// Answered with another record: both ids.
    moved: Vec<(String, String)>,
    /// When they were asked for.
    asked: Timestamp,
}

impl Pull<'_> {
    /// Settles what is missing, at the end of a pass.
    pub(super) async fn settle(&self, start: &Start, pass: &Pass, tally: &mut Tally) -> Result<(), Halt> {
        if !self.source.plan.of_type(self.kind).is_none_or(|plan| plan.reads_one) {
            tally.note(format!("the server's statement does not list reading a {0}, so no {0} was taken as gone", self.kind));
            return Ok(());
        }
        let percent = self.source.plan.vanish_limit_percent;
        if pass.is_mass_disappearance(percent) && !self.accept_vanished {
            return self.ask(start, pass, percent).await;
        }
        if tally.uncertain || tally.partial {
            tally.note(format!("an answer was not complete, so no {} was taken as gone", self.kind));
            return Ok(());
        }
        let mut after = String::new();
        loop {
            let (ehr, kind, from) = (self.ehr.clone(), self.kind, after.clone());
            let missing = self.store.read(move |conn| coverage::missing_after(conn, &ehr, kind, &from, CHUNK)).await?;
            let Some(last) = missing.last() else { return Ok(()) };
            after.clone_from(&last.fhir_id);
            if self.stop.load(std::sync::atomic::Ordering::Relaxed) {
                return Err(Halt::Stopped);
            }
            self.read_missing(missing, start, pass, tally).await?;
        }
    }

    /// Too much has disappeared to be believed: nothing of it stays noted, and the next run looks anew.
    async fn ask(&self, start: &Start, pass: &Pass, percent: u8) -> Result<(), Halt> {
        let (kind, run, since) = (self.kind, start.context.run, pass.started);
        self.note(start, "forget what disappeared", move |conn, ehr, _| {
            coverage::forget_missed_since(conn, ehr, kind, since)?;
            sync_state::advance(conn, ehr, kind, run, sync_state::Counts::default(), None)
        })
        .await?;
        Err(Halt::Person(format!(
            "{} of {} stored {kind}s are no longer shown, which is more than {percent} % and {} at once; nothing was marked as gone. \
             Ask the EHR's operator; if it is right, run `fhir-engage sync run --ehr {} --type {kind} --accept-vanished`",
            pass.missed,
            pass.expected,
            super::pass::A_HANDFUL,
            self.ehr
        )))
    }

    async fn read_missing(&self, missing: Vec<Missing>, start: &Start, pass: &Pass, tally: &mut Tally) -> Result<(), Halt> {
        let now = self.clock.now();
        // Too soon for a second read.
        let due = missing.into_iter().filter(|m| m.read_at.is_none_or(|at| now.since(Timestamp::from_micros(at)) >= APART));
        let (client, kind) = (self.source.client, self.kind);
        let each = stream::iter(due).map(|one| async move {
            let id = FhirId::parse(&one.fhir_id);
            let read = match &id {
                Some(id) => client.read(kind.as_str(), id).await,
                None => Err(EhrError::BadRequest),
            };
            (one, read)
        });
        let answers: Vec<(Missing, Result<ReadOutcome, EhrError>)> =
            self.while_alive(&start.context, each.buffered(AT_ONCE).collect()).await?;
        let mut there: Vec<Entry> = Vec::new();
        let (mut first, mut second, mut moved) = (Vec::new(), Vec::new(), Vec::new());
        for (one, answer) in answers {
            match answer {
                Ok(ReadOutcome::Found(entry)) => there.push(entry),
                Ok(ReadOutcome::Gone | ReadOutcome::Absent) => {
                    if one.read_at.is_some() { &mut second } else { &mut first }.push(one.fhir_id)
                }
                // Another record in its place: a merge, as some EHRs tell it. That one is read whole with it.
                Ok(ReadOutcome::Moved(entry)) => {
                    moved.extend(entry.id.clone().map(|to| (one.fhir_id, to)));
                    there.push(entry);
                }
                Err(error) if concerns_all(&error) => return Err(error.into()),
                // One that cannot be read now is read by the next run.
                Err(_) => {}
            }
        }
        self.store_settled(there, Settled { first, second, moved, asked: now }, start, pass, tally).await
    }

    async fn store_settled(
        &self,
        there: Vec<Entry>,
        Settled { first, second, moved, asked }: Settled,
        start: &Start,
        pass: &Pass,
        tally: &mut Tally,
    ) -> Result<(), Halt> {
        if there.is_empty() && first.is_empty() && second.is_empty() {
            return Ok(());
        }
        let (kind, run, ehr, now) = (self.kind, start.context.run, self.ehr.clone(), self.clock.now());
        let count = i64::try_from(second.len()).unwrap_or(i64::MAX);
        let told = Told {
            number: tally.counts.pages + 1,
            pages: 0,
            resume: Some(pass.to_string()),
            server_started: start.at,
            partial: false,
            asked,
            now,
        };
        let found: Vec<String> = there.iter().filter_map(|e| e.id.clone()).collect();
        let visits = if kind == ResourceType::Appointment { starts(&there) } else { Vec::new() };
        let units = tally.units;
        let also = move |conn: &mut Conn| -> Result<(), StoreError> {
            coverage::found(conn, &ehr, kind, &texts(&found))?;
            coverage::put_visits(conn, &ehr, &visits.iter().map(|(id, at)| (id.as_str(), *at)).collect::<Vec<_>>())?;
            coverage::told_gone(conn, &ehr, kind, &texts(&first), now)?;
            // One that a single read found meanwhile is not missing any more.
            let still: Vec<String> = coverage::first_told(conn, &ehr, kind, &texts(&second))?.into_iter().map(|(id, _)| id).collect();
            let count = gone::mark(conn, &ehr, kind, &texts(&still), READ_TWICE, now)?;
            for (from, to) in moved.iter().filter(|_| kind == ResourceType::Patient) {
                gone::replaced(conn, &ehr, from, to, now)?;
            }
            match units {
                Some((done, of)) => sync_state::progress(conn, run, done, of, count),
                None => sync_state::more_gone(conn, run, count),
            }
        };
        self.commit(start, there, told, also, tally).await?;
        tally.gone += count;
        Ok(())
    }
}
