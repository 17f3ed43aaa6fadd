//! What is known too long ago: a fact of an (EHR, type), kept once for each and applied where something is read. Nobody is evaluated anew
//! because a type grows old, or is read again.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use domain::Timestamp;
use domain::model::ResourceType;
use serde::Serialize;

use super::connection::Conn;
use super::error::StoreError;
use super::sync_state;

/// A type of an EHR that is known up to an instant too long ago.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Stale {
    /// The EHR.
    pub ehr: String,
    /// The type.
    #[serde(rename = "type")]
    pub rtype: ResourceType,
    /// Known up to this instant.
    pub known_up_to: String,
}

/// What is known too long ago, at one instant.
#[derive(Clone, Debug, Default)]
pub struct Freshness(BTreeMap<(String, ResourceType), Timestamp>);

impl Freshness {
    /// Reads which types of which EHRs are known longer ago than `max_age`. A type that was never synced is not known, which is not old.
    ///
    /// # Errors
    /// The engine's refusal.
    pub fn read(conn: &mut Conn, max_age: TimeDelta, now: Timestamp) -> Result<Self, StoreError> {
        let oldest = now.plus(-max_age);
        let old = |state: sync_state::SyncState| {
            let at = state.as_of.map(Timestamp::from_micros).filter(|at| *at < oldest)?;
            Some(((state.ehr, ResourceType::parse(&state.rtype)?), at))
        };
        Ok(Self(sync_state::list(conn)?.into_iter().filter_map(old).collect()))
    }

    /// What is stale of the types that `reads` names, as bits, at any EHR.
    #[must_use]
    pub fn stale(&self, reads: i64) -> Vec<Stale> {
        self.at(reads, |_| true)
    }

    /// The same, at these EHRs: those of one person.
    #[must_use]
    pub fn stale_at<'a>(&self, reads: i64, ehrs: impl IntoIterator<Item = &'a str>) -> Vec<Stale> {
        let ehrs: Vec<&str> = ehrs.into_iter().collect();
        self.at(reads, |ehr| ehrs.contains(&ehr))
    }

    fn at(&self, reads: i64, is_meant: impl Fn(&str) -> bool) -> Vec<Stale> {
        let named = self.0.iter().filter(|((ehr, kind), _)| reads & i64::from(kind.bit()) != 0 && is_meant(ehr));
        named.map(|((ehr, kind), at)| Stale { ehr: ehr.clone(), rtype: *kind, known_up_to: at.to_string() }).collect()
    }
}
