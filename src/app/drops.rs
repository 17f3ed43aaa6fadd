//! The drop folders of an EHR, looked into once: what `sync run` and the worker's task call.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use domain::model::EhrId;

use super::App;
use super::stages::StageError;
use crate::ehr::Profile;
use crate::store::leases::Term;
use crate::sync::Holder;
use crate::sync::drops::{self, DropError, DropReport};
use crate::worker::Owner;

impl App {
    /// Takes what is complete in the drop folders of an EHR.
    ///
    /// # Errors
    /// Where a folder is not declared as it must be, the store cannot go on, or another process is at it.
    pub async fn take_drops(
        self: &Arc<Self>,
        ehr: &EhrId,
        profile: &Profile,
        accept_vanished: bool,
        stop: &Arc<AtomicBool>,
        progress: Arc<dyn Fn(u64) + Send + Sync>,
    ) -> Result<Vec<DropReport>, StageError> {
        if profile.drops.is_empty() {
            return Ok(Vec::new());
        }
        let (app, ehr, profile, stop) = (Arc::clone(self), ehr.clone(), profile.clone(), Arc::clone(stop));
        let done = tokio::task::spawn_blocking(move || {
            let task = drops::Task {
                store: &app.store,
                clock: app.clock.as_ref(),
                holder: Holder {
                    owner: app.owner.as_str(),
                    term: Term(app.config.worker.lease),
                    is_dead: |other| Owner::this_process().is_dead(other),
                },
                ehr: &ehr,
                stop: &stop,
                progress: &|p| progress(p.lines),
                accept_vanished,
            };
            drops::run(&task, &profile)
        })
        .await
        .unwrap_or_else(|join| std::panic::resume_unwind(join.into_panic()));
        done.map_err(|error| match error {
            DropError::Held(ehr) => StageError::Busy(format!("drops/{ehr}")),
            DropError::Store(error) => StageError::Store(error),
            DropError::Declaration(..) => StageError::Drops(error),
        })
    }
}
