//! What EHRs state of themselves, from one connection to the next: kept, compared with what somebody took note of, and joined with preset and
//! the operator's word for people to see.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use domain::model::{EhrId, ResourceType};

use super::stages::StageError;
use super::{App, charts};
use crate::connect::{self, BlindSpots, Change, Given, Known, Reason, Row, outlook};
use crate::ehr::capability::Capability;
use crate::ehr::connection::{ConnectError, Connection};
use crate::ehr::{Plan, Profile, Statement};
use crate::outreach::channel::ChannelKind;
use crate::store::statements::{self, StatementRow};
use crate::store::{StoreError, sync_state};
use crate::writeback::contract::Contract;

/// For how long a statement that did not change is not written down again.
const FRESH: TimeDelta = TimeDelta::seconds(60);

/// What changed at an EHR.
pub struct Drifted {
    /// What is kept.
    pub row: StatementRow,
    /// The changes since somebody took note.
    pub changes: Vec<Change>,
}

/// The strategy of what was imported, in the store.
const BY_FILE: &str = "file";

/// How an EHR is connected, and when its statement was seen.
pub struct Connected {
    /// Each value.
    pub rows: Vec<Row>,
    /// When the statement was last read, microseconds; absent where never.
    pub seen_at: Option<i64>,
    /// What changed since somebody took note.
    pub drifted: Option<Drifted>,
}

impl App {
    /// Keeps what an EHR stated when it was connected, or why that could not be read. A store that refuses is told in the log and keeps nobody
    /// from the EHR.
    pub(super) async fn note_statement(&self, id: &EhrId, profile: &Profile, opened: &Result<Connection, ConnectError>) {
        let noted = match opened {
            Ok(connection) => self.keep_statement(id, profile, &Statement::of(&connection.capability, &connection.discovery)).await,
            Err(error @ ConnectError::NotFhir(_)) => self.statement_failed(id, &super::told(error)).await,
            // A line that is down says nothing of what the EHR can do.
            Err(_) => Ok(()),
        };
        if let Err(error) = noted {
            tracing::warn!(ehr = %id, %error, "what the EHR states of itself could not be kept");
        }
    }

    async fn keep_statement(&self, id: &EhrId, profile: &Profile, statement: &Statement) -> Result<(), StageError> {
        let (name, now, text) = (id.as_str().to_owned(), self.clock.now(), statement.to_text());
        let before = self.store.read(move |conn| statements::get(conn, &name)).await?;
        let fresh = |row: &StatementRow| row.failure.is_none() && now.micros() - row.seen_at < FRESH.num_microseconds().unwrap_or(0);
        if before.as_ref().is_some_and(|row| row.stated == text && fresh(row)) {
            return Ok(());
        }
        let changes = match &before {
            Some(row) if row.accepted != text => self.changes(id, profile, row, statement).await?,
            _ => Vec::new(),
        };
        let (name, weights) = (id.as_str().to_owned(), connect::weigh(&changes));
        let changed = self.store.write("keep a statement", move |conn| statements::keep(conn, &name, &text, weights, now)).await?;
        if changed && weights.0 > 0 {
            tracing::warn!(ehr = %id, problems = weights.0, "what the EHR states of itself changed; see `fhir-engage ehr drift {id}`");
        }
        Ok(())
    }

    async fn statement_failed(&self, id: &EhrId, why: &str) -> Result<(), StageError> {
        let (name, now, why) = (id.as_str().to_owned(), self.clock.now(), why.to_owned());
        self.store.write("keep a statement", move |conn| statements::fail(conn, &name, &why, now)).await?;
        Ok(())
    }

    /// The changes from what somebody took note of to a statement.
    async fn changes(&self, id: &EhrId, profile: &Profile, row: &StatementRow, is: &Statement) -> Result<Vec<Change>, StageError> {
        // What another version kept and this one cannot read is no statement to compare with.
        let Some(was) = Statement::from_text(&row.accepted) else { return Ok(Vec::new()) };
        let proven = self.proven(id).await?;
        let contract = |capability: &Capability| charts::contract_within(profile, &crate::writeback::stated(capability), &proven).ok();
        Ok(connect::drift(profile, &was, is, &contract))
    }

    /// What changed at an EHR since somebody took note, by what it stated the last time that it was asked. `None` where it never was.
    ///
    /// # Errors
    /// The engine's refusal, or no such EHR.
    pub async fn drifted(&self, id: &EhrId) -> Result<Option<Drifted>, StageError> {
        let profile = self.profile(id).await?;
        let Some(row) = self.statement(id).await? else { return Ok(None) };
        let changes = match Statement::from_text(&row.stated) {
            Some(is) => self.changes(id, &profile, &row, &is).await?,
            None => Vec::new(),
        };
        Ok(Some(Drifted { row, changes }))
    }

    /// Takes note of what an EHR states. `false` where it states another thing by now than what was shown.
    ///
    /// # Errors
    /// The engine's refusal.
    pub async fn accept_statement(&self, id: &EhrId, shown: &Drifted, by: &str) -> Result<bool, StageError> {
        let (name, text, by, now) = (id.as_str().to_owned(), shown.row.stated.clone(), by.to_owned(), self.clock.now());
        Ok(self.store.write("take note of a statement", move |conn| statements::accept(conn, &name, &text, &by, now)).await?)
    }

    async fn statement(&self, id: &EhrId) -> Result<Option<StatementRow>, StoreError> {
        let name = id.as_str().to_owned();
        self.store.read(move |conn| statements::get(conn, &name)).await
    }

    /// How an EHR is connected, each value with where it comes from. It is asked now, unless `offline`: then what it last stated counts.
    ///
    /// # Errors
    /// Where it cannot be connected, or its settings cannot be used.
    pub async fn connected_as(&self, id: &EhrId, offline: bool) -> Result<Connected, StageError> {
        let profile = self.profile(id).await?;
        if !offline && !profile.files_only {
            self.connect(id).await?;
        }
        let drifted = self.drifted(id).await?;
        let statement = drifted.as_ref().and_then(|d| Statement::from_text(&d.row.stated));
        let contract = self.contract_by(id, &profile, statement.as_ref()).await?;
        let page_size = self.config.sync.page_size;
        let rows = connect::connector(&Known { profile: &profile, statement: statement.as_ref(), contract: &contract, page_size });
        Ok(Connected { rows, seen_at: drifted.as_ref().map(|d| d.row.seen_at), drifted })
    }

    async fn contract_by(&self, id: &EhrId, profile: &Profile, statement: Option<&Statement>) -> Result<Contract, StageError> {
        let made = match statement {
            Some(statement) if !profile.files_only => {
                charts::contract_within(profile, &crate::writeback::stated(&statement.capability), &self.proven(id).await?)
            }
            _ => charts::intended_contract(profile),
        };
        made.map_err(|e| StageError::WriteBack(id.to_string(), e.to_string()))
    }

    /// Which segments and programs work on an EHR, by what it states and grants now; `offline` by what it last stated.
    ///
    /// # Errors
    /// Where it cannot be connected, or was never asked.
    pub async fn blind_spots(&self, id: &EhrId, offline: bool) -> Result<BlindSpots, StageError> {
        let profile = self.profile(id).await?;
        let mut refused = connect::refused(&profile, None);
        let statement = if profile.files_only {
            None
        } else if offline {
            let row = self.statement(id).await?;
            let last = row.and_then(|row| Statement::from_text(&row.stated));
            Some(last.ok_or_else(|| StageError::NeverAsked(id.to_string()))?)
        } else {
            let connection = self.connect(id).await?;
            if let Ok(access) = connection.client.tokens().access(&crate::ehr::Client::reads_of(&profile)).await
                && let Some(granted) = &access.granted
            {
                refused = connect::refused(&profile, Some(granted));
            }
            Some(Statement::of(&connection.capability, &connection.discovery))
        };
        let contract = self.contract_by(id, &profile, statement.as_ref()).await?;
        let capability = statement.map(|s| s.capability).unwrap_or_default();
        self.blind_spots_of(id, &profile, &capability, &contract, &refused).await
    }

    async fn blind_spots_of(
        &self,
        id: &EhrId,
        profile: &Profile,
        capability: &Capability,
        contract: &Contract,
        refused: &BTreeMap<ResourceType, Reason>,
    ) -> Result<BlindSpots, StageError> {
        let name = id.clone();
        let states = self.store.read(sync_state::list).await?;
        let by_file: Vec<ResourceType> = states
            .iter()
            .filter(|s| s.ehr == name.as_str() && s.strategy == BY_FILE && s.as_of.is_some())
            .filter_map(|s| ResourceType::parse(&s.rtype))
            .collect();
        let channels: Vec<ChannelKind> = self.channels.iter().map(crate::outreach::channel::Channel::kind).collect();
        Ok(connect::blind_spots(&Given {
            profile,
            plan: &Plan::of(profile, capability),
            outlook: &outlook(&self.chart_site(), contract),
            rules: self.definitions.rules(),
            programs: self.programs.library(),
            channels: &channels,
            by_file: &by_file,
            refused,
        }))
    }
}
