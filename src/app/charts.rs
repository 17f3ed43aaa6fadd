//! What each EHR's charts take and want: its write-back contract, from preset, statement, proofs and the operator's word, and what outreach
//! needs to know of it.

use std::collections::BTreeSet;

use domain::model::EhrId;

use super::App;
use super::stages::StageError;
use crate::ehr::{Connection, Profile};
use crate::outreach::inbound;
use crate::outreach::owing::{Owing, Wants};
use crate::store::proofs;
use crate::writeback::Contract;
use crate::writeback::contract::{Proven, Writes};

impl App {
    /// What an EHR takes by its preset and the operator's word, before it was asked anything.
    #[must_use]
    pub fn intended_contract(_profile: &Profile) -> Contract {
        Contract::full_r4()
    }

    /// What an EHR takes: the intended contract, narrowed by what it states and by what a probe proved.
    ///
    /// # Errors
    /// The engine's refusal.
    pub async fn contract(&self, id: &EhrId, profile: &Profile, connection: &Connection) -> Result<Contract, StageError> {
        let proven = self.proven(id).await?;
        let mut contract = Self::intended_contract(profile).within(&crate::writeback::stated(&connection.capability)).proven(&proven);
        contract.settle_delay_secs = u32::try_from(self.config.write_back.settle_delay.num_seconds()).unwrap_or(u32::MAX);
        Ok(contract)
    }

    /// What probes of an EHR proved.
    async fn proven(&self, id: &EhrId) -> Result<Proven, StageError> {
        let name = id.as_str().to_owned();
        let proofs = self.store.read(move |conn| proofs::of(conn, &name)).await?;
        let held = |p: &proofs::Proof| p.holds.then(|| p.subject.strip_prefix(CONDITIONAL_CREATE).map(str::to_owned)).flatten();
        Ok(Proven { conditional_create: proofs.iter().filter_map(held).collect() })
    }

    /// Keeps whether an EHR's conditional create of a type held when it was tried out.
    ///
    /// # Errors
    /// The engine's refusal.
    pub async fn keep_proof(&self, id: &EhrId, resource_type: &str, holds: bool) -> Result<(), StageError> {
        let (name, subject, now) = (id.as_str().to_owned(), format!("{CONDITIONAL_CREATE}{resource_type}"), self.clock.now());
        Ok(self.store.write("keep a proof", move |conn| proofs::keep(conn, &name, &subject, holds, now)).await?)
    }

    /// What the charts of all EHRs want of outreach.
    ///
    /// # Errors
    /// The engine's refusal, or a profile that cannot be read.
    pub async fn owing(&self) -> Result<Owing, StageError> {
        let ehrs = self.ehrs().await?;
        let wants = ehrs.iter().map(|(id, profile)| (id.as_str().to_owned(), wanted(Self::intended_contract(profile).writes)));
        Ok(Owing { wants: wants.collect(), zone: self.config.site.time_zone })
    }
}

impl App {
    /// Records a patient's answer.
    ///
    /// # Errors
    /// The engine's refusal, or a profile that cannot be read.
    pub async fn answered(&self, came: inbound::Answer) -> Result<inbound::Taken, StageError> {
        let (owing, changing) = (self.owing().await?, self.changing_status().await?);
        Ok(self.desk(&owing, &|ehr| changing.contains(ehr)).answered(came).await?)
    }

    /// Records that a message did not arrive.
    ///
    /// # Errors
    /// The engine's refusal, or a profile that cannot be read.
    pub async fn bounced(&self, attempt: &str, code: &str) -> Result<Option<bool>, StageError> {
        let owing = self.owing().await?;
        Ok(self.desk(&owing, &|_| false).bounced(attempt, code).await?)
    }

    fn desk<'a>(&'a self, owing: &'a Owing, changes_status: &'a (dyn Fn(&str) -> bool + Send + Sync)) -> inbound::Desk<'a> {
        let library = self.programs.library();
        inbound::Desk { store: &self.store, clock: self.clock.as_ref(), owing, library, changes_status }
    }

    /// The EHRs that take changes of an Appointment's status.
    async fn changing_status(&self) -> Result<BTreeSet<String>, StageError> {
        let takes = |profile: &Profile| Self::intended_contract(profile).status_change.is_some_and(|c| c.enabled);
        Ok(self.ehrs().await?.into_iter().filter(|(_, p)| takes(p)).map(|(id, _)| id.as_str().to_owned()).collect())
    }
}

/// What stands before the resource type in a proof's subject.
const CONDITIONAL_CREATE: &str = "conditional-create ";

const fn wanted(writes: Writes) -> Wants {
    Wants {
        sent: writes.sent,
        answered: writes.answered,
        unreachable: writes.unreachable,
        only_answers_that_need_action: writes.only_answers_that_need_action,
        daily_note: writes.daily_note,
    }
}
