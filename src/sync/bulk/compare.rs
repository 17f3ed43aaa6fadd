//! What a full export no longer shows, and who came new to a Group. Absence is not deletion: what is missing is settled by reads, as
//! anywhere (`vanish`).

use std::sync::atomic::Ordering;

use domain::Timestamp;
use domain::model::ResourceType;

use super::Round;
use super::job::FEW;
use crate::ehr::bulk::Level;
use crate::store::exports::{self, Job};
use crate::store::leases::Fence;
use crate::store::{StoreError, coverage, roster};
use crate::sync::import::prepare::seen_hash;
use crate::sync::pass::Pass;
use crate::sync::pull::{Halt, Pull, Start, Tally};
use crate::sync::roster::texts;

/// What is compared together.
const CHUNK: i64 = 2_000;
/// Patients whose resources are compared together.
const PATIENTS: i64 = 200;

impl Round<'_> {
    /// Notes what a full export does not show although it is stored, and settles what is missing.
    pub(super) async fn compare(&self, job: &Job, kind: ResourceType, fence: &Fence, run: i64, tally: &mut Tally) -> Result<(), Halt> {
        let (pull, start) = (self.pull(kind, fence.clone()), self.begin_of(kind, fence.clone(), run));
        let mut pass = Pass::at(self.task.clock.now());
        let id = job.id;
        let seen = self.task.store.read(move |conn| exports::seen(conn, id, kind)).await?;
        let is_seen = |id: &str| seen.binary_search(&seen_hash(id)).is_ok();
        self.found_again(&pull, &start, &is_seen).await?;
        let mut after = String::new();
        loop {
            if self.task.stop.load(Ordering::Relaxed) {
                return Err(Halt::Stopped);
            }
            let (expected, next) = self.expected(kind, &after, Timestamp::from_micros(job.started_at)).await?;
            let Some(next) = next else { break };
            after = next;
            pass.expected += i64::try_from(expected.len()).unwrap_or(i64::MAX);
            let missed: Vec<String> = expected.into_iter().filter(|id| !is_seen(id)).collect();
            if missed.is_empty() {
                continue;
            }
            pass.missed += pull.newly_missed(&missed).await?;
            pull.note(&start, "note what an export does not show", move |conn, ehr, now| {
                coverage::miss(conn, ehr, kind, &texts(&missed), false, now)
            })
            .await?;
        }
        pull.settle(&start, &pass, tally).await
    }

    /// What was missing and is shown is not missing.
    async fn found_again(&self, pull: &Pull<'_>, start: &Start, is_seen: &impl Fn(&str) -> bool) -> Result<(), Halt> {
        let (kind, mut after) = (pull.kind, String::new());
        loop {
            let (ehr, from) = (self.task.ehr.clone(), after.clone());
            let missing = self.task.store.read(move |conn| coverage::missing_after(conn, &ehr, kind, &from, CHUNK)).await?;
            let Some(last) = missing.last() else { return Ok(()) };
            after.clone_from(&last.fhir_id);
            let found: Vec<String> = missing.into_iter().map(|m| m.fhir_id).filter(|id| is_seen(id)).collect();
            if !found.is_empty() {
                pull.note(start, "note what is there again", move |conn, ehr, _| coverage::found(conn, ehr, kind, &texts(&found))).await?;
            }
        }
    }

    /// Some of what has to be shown, after a key; and the key to go on from, `None` at the end.
    async fn expected(&self, kind: ResourceType, after: &str, before: Timestamp) -> Result<(Vec<String>, Option<String>), StoreError> {
        let (ehr, after) = (self.task.ehr.clone(), after.to_owned());
        let level = self.export.map(|e| e.level);
        self.task
            .store
            .read(move |conn| {
                if level == Some(Level::Group) {
                    let patients = roster::listed_by(conn, &ehr, before, &after, PATIENTS)?;
                    let found = exports::expected_of(conn, &ehr, kind, &texts(&patients), before)?;
                    return Ok((found, patients.last().cloned()));
                }
                // Of what is about nobody an export of patients shows nothing.
                let found = exports::expected_after(conn, &ehr, kind, level == Some(Level::Patient), before, &after, CHUNK)?;
                let last = found.last().cloned();
                Ok((found, last))
            })
            .await
    }

    /// Who of a Group is known by this export: all who were on the list when it was asked for, where it was a full one; else who came new is
    /// read by itself, since nothing of before is promised of them (Bulk Data Access, Group guidance).
    pub(super) async fn members(
        &self,
        job: &Job,
        kind: ResourceType,
        fence: &Fence,
        run: i64,
        full: bool,
        tally: &mut Tally,
    ) -> Result<(), Halt> {
        let (pull, start) = (self.pull(kind, fence.clone()), self.begin_of(kind, fence.clone(), run));
        if full {
            let (by, mut after) = (Timestamp::from_micros(job.started_at), String::new());
            loop {
                let (ehr, from) = (self.task.ehr.clone(), after.clone());
                let known = self.task.store.read(move |conn| roster::listed_by(conn, &ehr, by, &from, CHUNK)).await?;
                let Some(last) = known.last() else { return Ok(()) };
                after.clone_from(last);
                pull.note(&start, "note of whom an export tells", move |conn, ehr, now| {
                    coverage::fill(conn, ehr, kind, &texts(&known), now)
                })
                .await?;
            }
        }
        let Some(plan) = self.by_patient(kind) else { return Ok(()) };
        let ehr = self.task.ehr.clone();
        let new = self.task.store.read(move |conn| coverage::listed_holes(conn, &ehr, kind, FEW)).await?;
        if new.is_empty() {
            return Ok(());
        }
        pull.crawl_these(plan, new, &start, tally).await
    }
}
