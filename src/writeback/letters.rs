//! From claimed rows to letters: each row's attempt, shaped to the contract by `compose`. Reads the store; sends nothing.

use std::sync::Arc;

use domain::Timestamp;
use domain::model::Phi;

use super::compose::{Site, Subject, Telling, compose};
use super::contract::{Carrier, Contract, PayloadShape};
use super::push::Letter;
use super::task::Ended;
use crate::store::writebacks::{self, Claimed, Settlement};
use crate::store::{Conn, Store, StoreError};

/// Makes letters of rows, off the async threads.
pub(super) struct Letters {
    pub store: Store,
    pub contract: Arc<Contract>,
    pub site: Arc<Site>,
}

impl Letters {
    /// The letters of claimed rows; a row that cannot be composed comes back with its end.
    pub fn of(&self, conn: &mut Conn, claimed: Vec<Claimed>) -> Result<Vec<Result<Letter, Ended>>, StoreError> {
        let attempts: Vec<&str> = claimed.iter().map(|c| c.row.attempt.as_str()).collect();
        let subjects = writebacks::subjects(conn, &attempts)?;
        claimed
            .into_iter()
            .map(|claim| {
                let (attempt, patient) = subjects.get(&claim.row.attempt).ok_or(StoreError::Damaged("a write-back without its attempt"))?;
                let message = self.message(attempt.message.as_deref())?;
                let subject = Subject {
                    ehr: &claim.row.ehr,
                    attempt,
                    patient,
                    message: message.as_deref(),
                    key: &attempt.id,
                    telling: Telling::Original,
                };
                Ok(self.letter(&claim, &subject).map_err(|why| refused(claim, why)))
            })
            .collect()
    }

    /// The words that were sent, where the contract wants them: as the ledger keeps them, without the address.
    fn message(&self, packed: Option<&[u8]>) -> Result<Option<String>, StoreError> {
        #[derive(serde::Deserialize)]
        struct Kept {
            subject: Phi<String>,
            body: Phi<String>,
        }
        let Some(packed) = packed.filter(|_| self.contract.shape.payload == PayloadShape::Text) else { return Ok(None) };
        let json = self.store.codec().unpack(packed, None)?;
        let kept: Kept = serde_json::from_slice(&json).map_err(|_| StoreError::Damaged("a message that was sent"))?;
        Ok(Some(format!("{}\n\n{}", kept.subject.expose(), kept.body.expose())))
    }

    fn letter(&self, claim: &Claimed, subject: &Subject<'_>) -> Result<Letter, String> {
        if claim.row.kind != "original" {
            return Err(format!("kind: a write-back of kind {} cannot be composed", claim.row.kind));
        }
        let composed = compose(subject, &self.site, &self.contract).map_err(|e| e.to_string())?;
        Ok(Letter {
            id: claim.row.id.clone(),
            carrier: composed.carrier,
            tried: claim.row.carrier.as_deref().and_then(Carrier::parse),
            system: self.site.identifier_system.clone(),
            value: subject.key.to_owned(),
            patient: subject.patient.to_owned(),
            sent: composed.at,
            since: Timestamp::from_micros(claim.row.owed_at),
            deed: composed.deed,
            loss: serde_json::to_string(&composed.losses).unwrap_or_else(|_| "[]".to_owned()),
            unclear: claim.unclear,
            tries: claim.row.tries,
        })
    }
}

/// Not composed: refused. One that may have arrived by an earlier try waits for a person instead.
fn refused(claim: Claimed, why: String) -> Ended {
    let how = if claim.unclear {
        Settlement::Parked { why: format!("{why}; an earlier try may have arrived") }
    } else {
        Settlement::Refused { why }
    };
    Ended { id: claim.row.id, how, carrier: None }
}
