//! From patient to patient: each of the roster is read, some at a time, and those are committed together with how far the pass came.
//!
//! What goes wrong with one patient is a hole in the coverage and stops nothing. What goes wrong with all is no fault of theirs: then the run
//! ends without a hole, and goes on from there another time.

use std::collections::{BTreeSet, VecDeque};
use std::pin::Pin;

use domain::fhir::{self, Outcome};
use domain::model::facts::Facts;
use domain::model::{EhrId, FhirId, ResourceType};
use domain::{Clock, Timestamp};
use futures_util::{Stream, StreamExt as _, stream};

use super::page::Told;
use super::pass::{self, Pass};
use super::pull::{Halt, Pull, Start, Tally, chain};
use super::roster::{concerns_all, texts};
use crate::ehr::profile::Strategy;
use crate::ehr::reads::SearchSet;
use crate::ehr::{Client, EhrError, Entry, ReadOutcome, Search, TypePlan};
use crate::store::{Conn, Store, StoreError, coverage, gone, roster, sync_state};

/// Patients of one commit.
const CHUNK: usize = 32;

/// Patients of the list that are read at once.
const LISTED: i64 = 256;

/// The most patients who are asked for at once, whatever the EHR allows: their answers wait in memory for those before them.
const MOST_AT_ONCE: usize = 128;

/// A search for one patient that has more pages than this does not look at the patient it was given.
const MOST_PAGES: i64 = 50;

/// So many failures that may pass, in a chunk without one success, are the EHR's and not the patients'.
const TROUBLE: usize = 5;

/// How often a search is begun anew because the EHR forgot its pages.
const RESTARTS: u32 = 3;

/// Codes by which a vendor says that a patient's record is sealed until somebody gives a reason (standards.md D.6, E.5).
const SEALED: [&str; 3] = ["4130", "4131", "4134"];

/// What an EHR answered about one patient.
#[derive(Default)]
pub(super) struct Answer {
    pub(super) entries: Vec<Entry>,
    pages: i64,
    /// Something is missing, or is another's: why.
    pub(super) short: Option<String>,
    /// It may not be all that there is, by the EHR's own word.
    uncertain: bool,
    /// A read said that the patient is not there.
    pub(super) gone: bool,
    /// A read was answered with this other patient.
    pub(super) moved: Option<String>,
    server: Option<Timestamp>,
    notes: Vec<String>,
}

/// One patient, asked for.
struct Asked {
    patient: String,
    at: Timestamp,
    answer: Result<Answer, EhrError>,
}

/// What is asked of each patient.
struct Question {
    kind: ResourceType,
    set: SearchSet,
    days: Option<(Timestamp, Timestamp)>,
}

/// What a chunk brought, ready for the store.
#[derive(Default)]
struct Chunk {
    entries: Vec<Entry>,
    pages: i64,
    whole: Vec<String>,
    holes: Vec<(String, String)>,
    gone: Vec<String>,
    moved: Vec<(String, String)>,
    server: Option<Timestamp>,
    /// When the first of it was asked for.
    asked: Option<Timestamp>,
}

impl Pull<'_> {
    /// Reads the type of each patient of the roster; returns since when what was read is known.
    pub(super) async fn crawl(&self, plan: &TypePlan, start: &Start, tally: &mut Tally) -> Result<Timestamp, Halt> {
        let mut pass = start.pass.clone().unwrap_or_else(|| Pass::at(start.at));
        self.open_roster(start, tally).await?;
        let days = (plan.strategy == Strategy::Window && plan.search.has_date())
            .then(|| pass::span(pass.started, self.source.plan.window.back_days, self.source.plan.window.ahead_days));
        let question = Question { kind: self.kind, set: plan.search.clone(), days };
        let ehr = self.ehr.clone();
        let total = self.store.read(move |conn| roster::count(conn, &ehr)).await?;
        let (client, clock, ehr, after) = (self.source.client, self.clock, self.ehr.clone(), pass.key.clone().unwrap_or_default());
        let question = &question;
        let each = listed(self.store.clone(), ehr, after).map(|patient| async move { Ok(ask((client, clock), question, patient?).await) });
        // Limited by what the EHR allows; who is behind in the list is asked while those before are stored.
        let mut answers = std::pin::pin!(each.buffered(client.at_once().clamp(1, MOST_AT_ONCE)));
        let mut asked = self.while_alive(&start.context, some(answers.as_mut())).await??;
        while let Some(last) = asked.last().map(|a| a.patient.clone()) {
            if self.stop.load(std::sync::atomic::Ordering::Relaxed) {
                return Err(Halt::Stopped);
            }
            let chunk = self.take(asked, pass.done, tally)?;
            pass.key = Some(last);
            let (stored, next) = tokio::join!(
                self.store_chunk(chunk, question, start, &mut pass, total, tally),
                self.while_alive(&start.context, some(answers.as_mut()))
            );
            stored?;
            asked = next??;
        }
        self.settle(start, &pass, tally).await?;
        Ok(pass.started)
    }

    /// Reads the type of these patients, beside another way that reads it of the others.
    pub(super) async fn crawl_these(&self, plan: &TypePlan, patients: Vec<String>, start: &Start, tally: &mut Tally) -> Result<(), Halt> {
        // What goes wrong with all of them is no failure of the other way.
        let mut pass = Pass { done: 1, ..Pass::at(start.at) };
        let days = (plan.strategy == Strategy::Window && plan.search.has_date())
            .then(|| pass::span(pass.started, self.source.plan.window.back_days, self.source.plan.window.ahead_days));
        let question = Question { kind: self.kind, set: plan.search.clone(), days };
        let (total, many) = (i64::try_from(patients.len()).unwrap_or(i64::MAX), CHUNK);
        for some in patients.chunks(many) {
            let asked: Vec<Asked> = {
                let each = stream::iter(some.to_vec()).map(|patient| ask((self.source.client, self.clock), &question, patient));
                self.while_alive(&start.context, each.buffered(self.source.client.at_once().clamp(1, MOST_AT_ONCE)).collect()).await?
            };
            let chunk = self.take(asked, pass.done, tally)?;
            self.store_chunk(chunk, &question, start, &mut pass, total, tally).await?;
        }
        tally.units = None;
        Ok(())
    }

    /// Sorts out what came; fails where what went wrong is no matter of single patients.
    fn take(&self, asked: Vec<Asked>, done: i64, tally: &mut Tally) -> Result<Chunk, Halt> {
        let passing = asked.iter().filter(|a| matches!(&a.answer, Err(e) if e.is_transient())).count();
        let none = !asked.iter().any(|a| a.answer.is_ok());
        let mut chunk = Chunk { asked: asked.iter().map(|a| a.at).min(), ..Chunk::default() };
        for Asked { patient, answer, .. } in asked {
            match answer {
                Err(error) if concerns_all(&error) || (none && (done == 0 || passing >= TROUBLE)) => return Err(error.into()),
                Err(error) => chunk.holes.push((patient, why(&error))),
                Ok(answer) => {
                    chunk.pages += answer.pages;
                    chunk.server = chunk.server.or(answer.server);
                    answer.notes.into_iter().for_each(|note| tally.note(note));
                    chunk.entries.extend(answer.entries);
                    tally.uncertain |= answer.uncertain;
                    chunk.moved.extend(answer.moved.map(|to| (patient.clone(), to)));
                    match answer.short {
                        _ if answer.gone => chunk.gone.push(patient),
                        None => chunk.whole.push(patient),
                        Some(short) => chunk.holes.push((patient, short)),
                    }
                }
            }
        }
        if done == 0 && chunk.gone.len() >= TROUBLE && chunk.whole.is_empty() && chunk.holes.is_empty() {
            return Err(Halt::Person(format!(
                "the EHR has none of the first {} patients of the roster: is it the list of this EHR?",
                chunk.gone.len()
            )));
        }
        Ok(chunk)
    }

    async fn store_chunk(
        &self,
        chunk: Chunk,
        question: &Question,
        start: &Start,
        pass: &mut Pass,
        total: i64,
        tally: &mut Tally,
    ) -> Result<(), Halt> {
        let Chunk { entries, pages, whole, mut holes, gone, moved, server, asked } = chunk;
        let shown: BTreeSet<String> = entries.iter().filter_map(|e| e.id.clone()).collect();
        let (expected, mut missed) = self.compare(&whole, &gone, &shown, question).await?;
        // Merged into another is not missing.
        missed.retain(|id| self.kind != ResourceType::Patient || !moved.iter().any(|(from, _)| from == id));
        let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        // Who is not there is read to the end: nothing of them is unknown. Whether they are gone, a second read has to say.
        let absent: Vec<(String, String)> =
            gone.iter().filter(|id| !missed.contains(*id)).map(|id| (id.clone(), ABSENT.to_owned())).collect();
        pass.done += count(whole.len() + gone.len() - absent.len());
        holes.extend(absent);
        tally.holes += count(holes.len());
        pass.failed += count(holes.len());
        pass.expected += count(expected);
        let visits = (self.kind == ResourceType::Appointment).then(|| starts(&entries));
        // What was missed before and was told of by a read is counted once only, so the number is the store's to say.
        let newly = self.newly_missed(&missed).await?;
        pass.missed += newly;
        let (resume, run, kind, read) = (pass.to_string(), start.context.run, self.kind, !gone.is_empty());
        let units = (pass.done + pass.failed, total.max(pass.done + pass.failed));
        tally.units = Some(units);
        let (context, now) = (start.context.clone(), self.clock.now());
        let told = Told {
            number: tally.counts.pages + 1,
            pages,
            resume: Some(resume),
            server_started: server.unwrap_or(start.at),
            partial: false,
            asked: asked.unwrap_or(start.at),
            now,
        };
        let also = move |conn: &mut Conn| -> Result<(), StoreError> {
            let ehr = &context.ehr;
            coverage::fill(conn, ehr, kind, &texts(&whole), now)?;
            coverage::open(conn, ehr, kind, &holes.iter().map(|(p, w)| (p.as_str(), w.as_str())).collect::<Vec<_>>(), now)?;
            coverage::found(conn, ehr, kind, &texts(&shown))?;
            for (from, to) in &moved {
                gone::replaced(conn, ehr, from, to, now)?;
            }
            coverage::miss(conn, ehr, kind, &texts(&missed), read, now)?;
            if let Some(visits) = &visits {
                coverage::put_visits(conn, ehr, &visits.iter().map(|(id, at)| (id.as_str(), *at)).collect::<Vec<_>>())?;
            }
            sync_state::progress(conn, run, units.0, units.1, 0)
        };
        self.commit(start, entries, told, also, tally).await
    }

    /// How many stored resources the patients who were read to the end should have shown, and which they did not.
    async fn compare(
        &self,
        whole: &[String],
        gone: &[String],
        shown: &BTreeSet<String>,
        question: &Question,
    ) -> Result<(usize, Vec<String>), StoreError> {
        let (ehr, kind, days, shown) = (self.ehr.clone(), self.kind, question.days, shown.clone());
        let patients: Vec<String> = whole.iter().chain(gone).cloned().collect();
        let stored = self.store.read(move |conn| {
            let mut all = BTreeSet::new();
            for patient in &patients {
                all.extend(coverage::stored_of(conn, &ehr, kind, patient, days)?);
            }
            Ok(all)
        });
        let stored = stored.await?;
        Ok((stored.len(), stored.into_iter().filter(|id| !shown.contains(id)).collect()))
    }

    /// How many of these no read has told of yet.
    pub(super) async fn newly_missed(&self, missed: &[String]) -> Result<i64, StoreError> {
        let (ehr, kind, ids) = (self.ehr.clone(), self.kind, missed.to_vec());
        self.store.read(move |conn| coverage::untold(conn, &ehr, kind, &texts(&ids))).await
    }
}

const ABSENT: &str = "the EHR does not have this patient";

/// A failure in words that hold no patient data.
pub(super) fn why(error: &EhrError) -> String {
    let sealed = |outcome: &Outcome| SEALED.iter().any(|code| outcome.has(code));
    match error {
        EhrError::Refused { outcome, .. } if sealed(outcome) => {
            format!("the record is sealed until somebody gives a reason to open it (break the glass): {}", chain(error))
        }
        other => chain(other),
    }
}

/// When the appointments begin.
pub(super) fn starts(entries: &[Entry]) -> Vec<(String, Option<i64>)> {
    let mut all = std::collections::BTreeMap::new();
    for entry in entries {
        let Ok(projected) = fhir::project(ResourceType::Appointment, &entry.bytes) else { continue };
        if let Facts::Appointment(facts) = &projected.facts {
            all.insert(projected.id.as_str().to_owned(), facts.start.map(Timestamp::micros));
        }
    }
    all.into_iter().collect()
}

/// The patients of a roster after one, in the order of their ids.
fn listed(store: Store, ehr: EhrId, after: String) -> impl Stream<Item = Result<String, StoreError>> {
    stream::try_unfold((after, VecDeque::new()), move |(after, mut read)| {
        let (store, ehr) = (store.clone(), ehr.clone());
        async move {
            if read.is_empty() {
                let from = after.clone();
                read = store.read(move |conn| roster::patients_after(conn, &ehr, &from, LISTED)).await?.into();
            }
            Ok(read.pop_front().map(|patient: String| (patient.clone(), (patient, read))))
        }
    })
}

/// So many answers as belong into one commit, in their order; fewer at the end.
async fn some(mut answers: Pin<&mut impl Stream<Item = Result<Asked, StoreError>>>) -> Result<Vec<Asked>, Halt> {
    let mut all = Vec::with_capacity(CHUNK);
    while all.len() < CHUNK {
        match answers.next().await {
            Some(asked) => all.push(asked?),
            None => break,
        }
    }
    Ok(all)
}

async fn ask((client, clock): (&Client, &dyn Clock), question: &Question, patient: String) -> Asked {
    let at = clock.now();
    let answer = match question.kind {
        ResourceType::Patient => read(client, &patient).await,
        kind => search(client, Search::by(kind.as_str(), &question.set, &patient, question.days)).await,
    };
    Asked { patient, at, answer }
}

/// Reads a Patient.
pub(super) async fn read(client: &Client, patient: &str) -> Result<Answer, EhrError> {
    let id = FhirId::parse(patient).ok_or(EhrError::BadRequest)?;
    let one = |entry, short| Answer { entries: vec![entry], pages: 1, short, ..Answer::default() };
    Ok(match client.read("Patient", &id).await? {
        ReadOutcome::Found(entry) => one(entry, None),
        ReadOutcome::Moved(entry) => Answer { moved: entry.id.clone(), ..one(entry, None) },
        ReadOutcome::Gone | ReadOutcome::Absent => Answer { pages: 1, gone: true, ..Answer::default() },
    })
}

/// Reads all pages of a search for one patient.
pub(super) async fn search(client: &Client, search: Search) -> Result<Answer, EhrError> {
    let mut restarts = 0;
    loop {
        match pages(client, &search).await {
            Err(EhrError::PageExpired) if restarts < RESTARTS => restarts += 1,
            done => return done,
        }
    }
}

async fn pages(client: &Client, search: &Search) -> Result<Answer, EhrError> {
    let mut pages = client.search(search.clone());
    let mut answer = Answer::default();
    while let Some(page) = pages.next().await? {
        answer.pages += 1;
        answer.server = answer.server.or(page.server_date);
        if !page.dropped.is_empty() {
            answer.notes.push(format!("the EHR ignores search parameters: {}", page.dropped.join(", ")));
        }
        if page.unasked > 0 {
            answer.notes.push("the EHR sent resources that were not asked for; they were left out".to_owned());
        }
        if let Some(why) = page.short() {
            answer.uncertain = true;
            answer.short = Some(why);
        }
        answer.entries.extend(page.entries);
        if answer.pages >= MOST_PAGES && page.more {
            answer.short = Some(format!("the answer for one patient has more than {MOST_PAGES} pages; the rest was not read"));
            break;
        }
    }
    Ok(answer)
}
