//! Exports: one job of the EHR serves all types that are read so. It is asked for, and where to ask for it is kept before anything else is
//! done; it is asked for again, by this run or a later one, until it is ready; its files go through the same threads as an import's; what it
//! no longer shows is settled; and the EHR is told to delete it, however it ended.
//!
//! A lease `export/EHR` says who looks after the job. It is none of those by which an EHR counts as half read: while the EHR prepares an
//! export nothing is written, and whole days may pass.

mod compare;
mod feed;
mod job;
mod read;

use std::collections::BTreeMap;

use chrono::TimeDelta;
use domain::Timestamp;
use domain::model::{EhrId, ResourceType};

use super::pull::{Halt, chain};
use super::task::{Ended, Task, TypeReport};
use crate::ehr::bulk::{Level, Manifest};
use crate::ehr::plan::{ExportPlan, Reconciled};
use crate::ehr::profile::Strategy;
use crate::store::StoreError;
use crate::store::exports::Job;
use crate::store::leases::{self, Fence};
use crate::store::sync_state::{self, SyncState};

/// The lease of whoever looks after the export of an EHR.
#[must_use]
pub fn export_lease(ehr: &EhrId) -> String {
    format!("export/{ehr}")
}

/// How the exports of a run stand.
pub(super) struct Round<'a> {
    task: &'a Task<'a>,
    export: Option<&'a ExportPlan>,
    /// The types that are read so, and those of which a full export is due, that no export was asked for yet.
    to_ask: Vec<ResourceType>,
    /// How much longer the run may wait for the EHR.
    patience: std::time::Duration,
    fence: Option<Fence>,
    stage: Stage,
    /// How often an export was asked for anew because the EHR forgot one.
    anew: u32,
    ended: BTreeMap<ResourceType, Ended>,
    /// The types that the EHR refuses to export, and why.
    fallen: BTreeMap<ResourceType, String>,
    notes: Vec<String>,
    /// What is told of an export that may run at the EHR, since its answer did not come through.
    unknown: Option<String>,
}

/// What is in hand.
enum Stage {
    /// Nothing.
    Idle,
    /// The EHR was busy: to be asked again after so long.
    Later(Vec<ResourceType>, std::time::Duration),
    /// The EHR prepares it.
    Waiting(Box<Job>),
    /// It can be read.
    Ready(Box<Job>, Manifest),
}

impl<'a> Round<'a> {
    /// Looks what of these types is to be exported. Nothing is asked for yet.
    pub(super) async fn of(task: &'a Task<'a>, types: &[ResourceType]) -> Result<Self, StoreError> {
        let export = task.source.plan.export.as_ref();
        let mut to_ask = Vec::new();
        for kind in types.iter().copied() {
            let planned = task.source.strategy(kind) == Strategy::Bulk;
            if planned || is_due(task, kind, export).await? {
                to_ask.push(kind);
            }
        }
        let patience = task.export_wait;
        let (ended, fallen) = (BTreeMap::new(), BTreeMap::new());
        Ok(Self {
            task,
            export,
            to_ask,
            patience,
            fence: None,
            stage: Stage::Idle,
            anew: 0,
            ended,
            fallen,
            notes: Vec::new(),
            unknown: None,
        })
    }

    fn is_planned(&self, kind: ResourceType) -> bool {
        self.task.source.strategy(kind) == Strategy::Bulk
    }

    /// What an export is asked for beside types and time.
    fn request(&self) -> String {
        let Some(export) = self.export else { return String::new() };
        let filters: Vec<String> = export.filters.iter().map(crate::ehr::bulk::TypeFilter::value).collect();
        let whose = export.group.as_deref().unwrap_or("-");
        format!("{} {} {whose} {}", self.task.source.client.base(), export.level.as_str(), filters.join(" "))
    }

    /// What the mark of a type that is read so belongs to.
    fn fingerprint(&self) -> String {
        format!("{} {}", Strategy::Bulk.as_str(), self.request())
    }

    /// How all types of the job ended, the same way.
    fn end_all(&mut self, types: &[ResourceType], how: &Ended) {
        for kind in types {
            // What was only to be compared is read by another way, and fails nobody.
            if self.is_planned(*kind) {
                self.ended.insert(*kind, how.clone());
            } else {
                self.notes.push(format!("the export to compare {kind} with did not come: {}", words(how)));
            }
        }
    }

    /// These types are not exported to this client.
    fn fall_back(&mut self, types: &[ResourceType], why: &str) {
        for kind in types {
            match self.is_planned(*kind) {
                true => drop(self.fallen.insert(*kind, why.to_owned())),
                false => self.notes.push(format!("no export to compare {kind} with: {why}")),
            }
        }
    }

    /// The types that are to be read by another way, with why.
    pub(super) fn fallen(&mut self) -> BTreeMap<ResourceType, String> {
        std::mem::take(&mut self.fallen)
    }

    /// The reports of the types that were read by no way, and gives the lease back.
    pub(super) async fn close(mut self) -> Vec<TypeReport> {
        if let Some(fence) = self.fence.take() {
            super::lease::give_back_one(self.task.store, fence).await;
        }
        for note in &self.notes {
            tracing::warn!(ehr = %self.task.ehr, "{note}");
        }
        let kinds = std::mem::take(&mut self.ended);
        kinds.into_iter().map(|(kind, ended)| TypeReport::bare(kind, Strategy::Bulk, ended)).collect()
    }

    /// A write under the lease of the exports.
    async fn write<T: Send + 'static>(
        &self,
        name: &'static str,
        mut f: impl FnMut(&mut crate::store::Conn, Timestamp) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (fence, now, term) = (self.fence.clone(), self.task.clock.now(), self.task.holder.term);
        let write = move |conn: &mut crate::store::Conn| {
            if let Some(fence) = &fence {
                leases::extend(conn, fence, now, term)?;
            }
            f(conn, now)
        };
        self.task.store.write(name, write).await
    }

    fn is_of_group(&self) -> bool {
        self.export.is_some_and(|e| e.level == Level::Group)
    }
}

/// Whether a full export of a type that is read by a cursor is to be compared with what is stored now.
async fn is_due(task: &Task<'_>, kind: ResourceType, export: Option<&ExportPlan>) -> Result<bool, StoreError> {
    let of = task.source.plan.of_type(kind);
    let Some(Reconciled::ByExport(days)) = of.filter(|t| t.strategy == Strategy::Cursor && export.is_some()).map(|t| t.reconciled) else {
        return Ok(false);
    };
    let ehr = task.ehr.clone();
    let state = task.store.read(move |conn| sync_state::get(conn, &ehr, kind)).await?;
    // What was never read to its end is not compared.
    Ok(state.is_some_and(|s| s.as_of.is_some() && days_ago(&s, task.clock.now()) >= i64::from(days)))
}

/// How many whole days ago a complete answer was compared; very many where none was.
fn days_ago(state: &SyncState, now: Timestamp) -> i64 {
    // An hour less, so that a run that comes a little early each day does not skip one.
    state.reconciled_at.map_or(i64::MAX, |at| (now.since(Timestamp::from_micros(at)) + TimeDelta::hours(1)).num_days())
}

fn words(how: &Ended) -> String {
    match how {
        Ended::Refused(why) | Ended::Failed(why) | Ended::Waiting(why) | Ended::Paused(why) | Ended::NoWay(why) => why.clone(),
        Ended::Interrupted => "stopped".to_owned(),
        Ended::Held => "another process is at it".to_owned(),
        Ended::Done | Ended::Off => "done".to_owned(),
    }
}

/// How a failure ends a type.
fn ended(halt: Halt) -> Ended {
    match halt {
        Halt::Stopped => Ended::Interrupted,
        Halt::Store(error) => Ended::Failed(chain(&error)),
        Halt::Person(why) => Ended::Failed(why),
        Halt::Ehr(error) => Ended::Failed(chain(&error)),
    }
}
