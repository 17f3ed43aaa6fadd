//! What a full export no longer shows, and who came new to a Group. Absence is not deletion: what is missing is settled by reads, as
//! anywhere (`vanish`).

use domain::Timestamp;
use domain::model::ResourceType;

use super::Round;
use super::job::FEW;
use crate::ehr::bulk::Level;
use crate::store::exports::{self, Job};
use crate::store::leases::Fence;
use crate::store::{coverage, roster};
use crate::sync::pull::{Halt, Tally};
use crate::sync::roster::texts;
use crate::sync::whole::{Shown, Whose};

/// What is noted together.
const CHUNK: i64 = 2_000;

impl Round<'_> {
    /// Notes what a full export does not show although it is stored, and settles what is missing.
    pub(super) async fn compare(&self, job: &Job, kind: ResourceType, fence: &Fence, run: i64, tally: &mut Tally) -> Result<(), Halt> {
        let (pull, start) = (self.pull(kind, fence.clone()), self.begin_of(kind, fence.clone(), run));
        let id = job.id;
        let seen = self.task.store.read(move |conn| exports::seen(conn, id, kind)).await?;
        let whose = match self.export.map(|e| e.level) {
            Some(Level::Group) => Whose::Listed,
            Some(Level::Patient) => Whose::Patients,
            Some(Level::System) | None => Whose::All,
        };
        pull.compare_whole(&start, (whose, Timestamp::from_micros(job.started_at)), &Shown::from(seen), tally).await
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
