//! What each EHR's charts take and want: its write-back contract, from preset, statement, proofs and the operator's word; the ways beside
//! FHIR that the site has; and what outreach needs to know of it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use domain::model::EhrId;

use super::stages::StageError;
use super::{App, ConnectionError, connections};
use crate::credentials::SecretRef;
use crate::ehr::{Connection, Profile};
use crate::outreach::inbound;
use crate::outreach::owing::{Owing, Wants};
use crate::store::{attempts, people, proofs, writebacks};
use crate::writeback::contract::{Carrier, Contract, ContractError, KeyPlace, Override, Proven, Stated, Writes};
use crate::writeback::letters::Letters;
use crate::writeback::task::KEY_KEPT;
use crate::writeback::trial::Tried;
use crate::writeback::{self, Composed, Folder, Probed, RouteWay, Site, Ways};

/// A write-back as it would be.
pub struct Previewed {
    /// The write-back; absent where the attempt owes none yet, and is shown as if it were delivered now.
    pub write_back: Option<String>,
    /// What it becomes, or why nothing can.
    pub composed: Result<Composed, String>,
}

/// What stands before the resource type in a proof's subject.
const CONDITIONAL_CREATE: &str = "conditional-create ";

/// What an EHR takes by its preset and the operator's word, before it was asked anything. Where there is no connection, only what needs
/// none is left: by a file, where nothing else is said.
///
/// # Errors
/// [`ContractError`].
pub fn intended_contract(profile: &Profile) -> Result<Contract, ContractError> {
    let word = profile.write_back.as_ref().map(Override::read).transpose()?.unwrap_or_default();
    let mut contract = Contract::of_preset(profile.preset().ok_or_else(unknown_vendor)?)?.with(&word);
    if profile.files_only {
        contract.chain.retain(|c| c.resource_type().is_none());
        if contract.chain.is_empty() {
            contract.chain = vec![Carrier::Export];
        }
        contract.status_change = None;
    }
    contract.check()?;
    if let Some(bearer) = contract.route.as_ref().and_then(|r| r.bearer.as_deref()) {
        SecretRef::parse(bearer).map_err(|e| ContractError::Rule(format!("route.bearer: {e}")))?;
    }
    Ok(contract)
}

/// What an EHR takes, by all that is known.
///
/// # Errors
/// [`ContractError`].
pub fn contract_within(profile: &Profile, stated: &Stated, proven: &Proven) -> Result<Contract, ContractError> {
    let word = profile.write_back.as_ref().map(Override::read).transpose()?.unwrap_or_default();
    Contract::for_ehr(profile.preset().ok_or_else(unknown_vendor)?, stated, proven, &word)
}

fn unknown_vendor() -> ContractError {
    ContractError::Rule(format!("there is no preset for this vendor; known are {}", crate::ehr::vendor::known()))
}

impl App {
    /// What an EHR takes: preset and word, narrowed by what it states and by what a probe proved.
    ///
    /// # Errors
    /// The engine's refusal, or settings that cannot be used.
    pub async fn contract(&self, id: &EhrId, profile: &Profile, connection: &Connection) -> Result<Contract, StageError> {
        let mut contract = contract_within(profile, &writeback::stated(&connection.capability), &self.proven(id).await?)
            .map_err(|e| StageError::WriteBack(id.to_string(), e.to_string()))?;
        // The EHR's own settings first, then the installation's, then what the preset knows of such servers.
        let said = profile.write_back.as_ref().is_some_and(|w| w.get("settle_delay_secs").is_some());
        if let Some(configured) = self.config.write_back.settle_delay.filter(|_| !said) {
            contract.settle_delay_secs = u32::try_from(configured.num_seconds()).unwrap_or(u32::MAX);
        }
        Ok(contract)
    }

    /// What an EHR takes, asked now where it can be asked: its own statement narrows the preset. Also says whether it was asked.
    ///
    /// # Errors
    /// Where it cannot be connected, or its settings cannot be used.
    pub async fn contract_now(&self, id: &EhrId, offline: bool) -> Result<(Contract, bool), StageError> {
        let profile = self.profile(id).await?;
        if offline || profile.files_only {
            let contract = intended_contract(&profile).map_err(|e| StageError::WriteBack(id.to_string(), e.to_string()))?;
            return Ok((contract, false));
        }
        let connection = self.connect(id).await?;
        Ok((self.contract(id, &profile, &connection).await?, true))
    }

    /// Who writes back: this installation's site.
    #[must_use]
    pub fn chart_site(&self) -> Site {
        Site { zone: self.config.site.time_zone, ..Site::named(&self.config.site.name) }
    }

    /// What a write-back, or an attempt as if it were delivered now, would become by a contract. `None` where there is neither.
    ///
    /// # Errors
    /// The engine's refusal.
    pub async fn preview(&self, id: &str, contract: Contract) -> Result<Option<Previewed>, StageError> {
        let letters = Letters { store: self.store.clone(), contract: Arc::new(contract), site: Arc::new(self.chart_site()) };
        let (id, now) = (id.to_owned(), self.clock.now());
        let made = self.store.read(move |conn| {
            let row = match writebacks::get(conn, &id)? {
                Some(row) => Some(row),
                None => writebacks::of_attempt(conn, &id)?.into_iter().find(|r| r.kind == "original"),
            };
            Ok(match row {
                Some(row) => letters.preview(conn, &row)?.map(|composed| Previewed { write_back: Some(row.id), composed }),
                None => letters.preview_as_delivered(conn, &id, now)?.map(|composed| Previewed { write_back: None, composed }),
            })
        });
        Ok(made.await?)
    }

    /// The EHR that a write-back or an attempt belongs to; `None` where there is neither.
    ///
    /// # Errors
    /// The engine's refusal.
    pub async fn ehr_of(&self, id: &str) -> Result<Option<EhrId>, StageError> {
        let id = id.to_owned();
        let name = self
            .store
            .read(move |conn| {
                if let Some(row) = writebacks::get(conn, &id)? {
                    return Ok(Some(row.ehr));
                }
                let Some(a) = attempts::get(conn, &id)? else { return Ok(None) };
                people::ehr_of(conn, a.patient).map(Some)
            })
            .await?;
        Ok(name.and_then(|n| EhrId::parse(&n).ok()))
    }

    /// Tries out on a named test patient whether this EHR's conditional create holds, keeps what was seen, and then writes one test
    /// Communication by the contract and finds it again.
    ///
    /// # Errors
    /// Where the EHR cannot be connected, or the engine's refusal.
    pub async fn probe(&self, id: &EhrId, patient: &str) -> Result<(Probed, Tried), StageError> {
        let profile = self.profile(id).await?;
        let connection = self.connect(id).await?;
        let stated = writeback::stated(&connection.capability);
        // Before anything was proved, the statement is what there is to try out.
        let claims = Proven { conditional_create: ["Communication".to_owned()].into(), ..self.proven(id).await? };
        let contract = contract_within(&profile, &stated, &claims).map_err(|e| StageError::WriteBack(id.to_string(), e.to_string()))?;
        let client = connection.client.clone().writing(writeback::needs(&contract));
        let key = format!("probe-{}", self.random.id());
        let probed = writeback::probe(&client, &contract, &self.chart_site(), patient, &key, self.clock.as_ref()).await;
        if let Some(holds) = probed.conditional_create {
            self.keep_proof(id, "Communication", holds).await?;
        }
        let contract = self.contract(id, &profile, &connection).await?;
        let client = connection.client.clone().writing(writeback::needs(&contract));
        let (ways, site, key) = (self.ways(id, &contract)?, self.chart_site(), format!("probe-{}", self.random.id()));
        let tried = writeback::trial::attempt(&client, &contract, &ways, &site, (patient, &key), self.clock.as_ref()).await;
        Ok((probed, tried))
    }

    /// What probes of an EHR proved.
    ///
    /// # Errors
    /// The engine's refusal.
    pub async fn proven(&self, id: &EhrId) -> Result<Proven, StageError> {
        let name = id.as_str().to_owned();
        let proofs = self.store.read(move |conn| proofs::of(conn, &name)).await?;
        let held = |p: &proofs::Proof| p.holds.then(|| p.subject.strip_prefix(CONDITIONAL_CREATE).map(str::to_owned)).flatten();
        let kept = |p: &proofs::Proof| {
            let (place, resource_type) = p.subject.strip_prefix(KEY_KEPT)?.split_once(' ')?;
            let place = KeyPlace::ALL.into_iter().find(|k| k.as_str() == place)?;
            Some(((resource_type.to_owned(), place), p.holds))
        };
        Ok(Proven {
            conditional_create: proofs.iter().filter_map(held).collect(),
            key_kept: proofs.iter().filter_map(kept).collect(),
            used: proofs.iter().filter_map(|p| p.subject.strip_prefix(proofs::USED)).map(str::to_owned).collect(),
        })
    }

    /// Keeps whether an EHR's conditional create of a type held when it was tried out.
    ///
    /// # Errors
    /// The engine's refusal.
    pub async fn keep_proof(&self, id: &EhrId, resource_type: &str, holds: bool) -> Result<(), StageError> {
        let (name, subject, now) = (id.as_str().to_owned(), format!("{CONDITIONAL_CREATE}{resource_type}"), self.clock.now());
        Ok(self.store.write("keep a proof", move |conn| proofs::keep(conn, &name, &subject, holds, now)).await?)
    }

    /// The ways beside FHIR by which this EHR's write-backs go: the route that the site declared, and a folder for files.
    ///
    /// # Errors
    /// Where the route cannot be set up or its secret cannot be read.
    pub(super) fn ways(&self, id: &EhrId, contract: &Contract) -> Result<Ways, StageError> {
        let failed = |why: String| StageError::WriteBack(id.to_string(), why);
        let timeout = self.config.write_back.http_timeout.to_std().unwrap_or(Duration::from_secs(30));
        let open = |route: &writeback::contract::Route| {
            let bearer = route.bearer.as_deref().map(|text| connections::secret(id, text)).transpose()?;
            RouteWay::open(route, bearer, timeout).map_err(|e| failed(super::connections::told(&e)))
        };
        // One that nothing goes by any more is still asked for what went by it.
        let route = match contract.route.as_ref().map(open).transpose() {
            Err(error) if contract.chain.contains(&Carrier::Route) => return Err(error),
            route => route.ok().flatten(),
        };
        Ok(Ways { route, export: Some(Folder::new(&self.data.join("export"), id.as_str())) })
    }

    /// What the charts of all EHRs want of outreach.
    ///
    /// # Errors
    /// The engine's refusal, or a profile that cannot be read.
    pub async fn owing(&self) -> Result<Owing, StageError> {
        let mut wants = std::collections::BTreeMap::new();
        for (id, profile) in self.ehrs().await?.known {
            match intended_contract(&profile) {
                Ok(contract) => drop(wants.insert(id.as_str().to_owned(), wanted(contract.writes))),
                // Its write-backs fail by themselves, and say so. What is owed meanwhile is owed in the usual way.
                Err(error) => tracing::warn!(ehr = %id, %error, "the write-back settings cannot be used"),
            }
        }
        Ok(Owing { wants, zone: self.config.site.time_zone })
    }

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
    pub(super) async fn changing_status(&self) -> Result<BTreeSet<String>, ConnectionError> {
        let takes = |profile: &Profile| intended_contract(profile).ok().and_then(|c| c.status_change).is_some_and(|c| c.enabled);
        Ok(self.ehrs().await?.known.into_iter().filter(|(_, p)| takes(p)).map(|(id, _)| id.as_str().to_owned()).collect())
    }
}

const fn wanted(writes: Writes) -> Wants {
    Wants {
        sent: writes.sent,
        answered: writes.answered,
        unreachable: writes.unreachable,
        only_answers_that_need_action: writes.only_answers_that_need_action,
        daily_note: writes.daily_note,
    }
}
