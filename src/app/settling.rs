//! What a person settles that no machine can: for the commands and for pages alike. Each is one transaction, with its row of the audit chain
//! where somebody signed in did it.

use super::{App, StageError};
use crate::store::attempts::{self, Outcome};
use crate::store::audit::{self, Entry};
use crate::store::people;
use crate::store::writebacks::{self, Resolution};
use crate::store::{Conn, StoreError};

/// How a person's word on a message was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    /// There is no such attempt, or write-back.
    NoSuch,
    /// It was taken.
    Done,
    /// It does not wait for a person; what it is.
    Not(String),
}

/// Appends to the audit chain, where there is something to append.
pub(super) fn note(conn: &mut Conn, entry: Option<&Entry>) -> Result<(), StoreError> {
    entry.map_or(Ok(()), |entry| audit::append(conn, entry).map(|_| ()))
}

impl App {
    /// Takes a person's word on whether a message that is in doubt went out.
    ///
    /// # Errors
    /// The engine's refusal.
    pub async fn settle_send(&self, id: String, sent: bool, entry: Option<Entry>) -> Result<Settled, StageError> {
        let (now, owing) = (self.clock.now(), self.owing().await?);
        let settle = move |conn: &mut Conn| {
            let Some(a) = attempts::get(conn, &id)? else { return Ok(Settled::NoSuch) };
            if !a.is_left_to_person() {
                return Ok(Settled::Not(a.outcome.map_or(a.state.clone(), |o| format!("{} ({o})", a.state))));
            }
            if sent {
                // As the channel would have said it: taken, and no receipt is waited for.
                attempts::sent(conn, &a.id, None, now)?;
                let debt = owing.debt(&people::ehr_of(conn, a.patient)?, Outcome::Unknown, true, now);
                attempts::finish(conn, &a, &attempts::End { debt, ..attempts::End::owing(Outcome::Unknown) }, now)?;
            } else {
                attempts::put_back(conn, &a.id, now, None)?;
            }
            note(conn, entry.as_ref())?;
            Ok(Settled::Done)
        };
        Ok(self.store.write("settle an attempt", settle).await?)
    }

    /// Takes a person's word on whether a write-back that no machine can settle is in the EHR.
    ///
    /// # Errors
    /// The engine's refusal.
    pub async fn settle_write(&self, id: String, how: Resolution, entry: Option<Entry>) -> Result<Settled, StageError> {
        let now = self.clock.now();
        // What was found there is written, too. Whether this EHR creates a Provenance is seen when it is its turn.
        let wants = match self.ehr_of(&id).await? {
            Some(ehr) => self.contract_now(&ehr, true).await.is_ok_and(|(contract, _)| contract.provenance.is_some_and(|p| p.enabled)),
            None => false,
        };
        let settle = move |conn: &mut Conn| {
            if !writebacks::resolve(conn, &id, &how, now)? {
                return Ok(writebacks::get(conn, &id)?.map_or(Settled::NoSuch, |w| Settled::Not(w.state)));
            }
            if wants {
                writebacks::owe_provenance(conn, &id, now)?;
            }
            note(conn, entry.as_ref())?;
            Ok(Settled::Done)
        };
        Ok(self.store.write("settle a write-back", settle).await?)
    }
}
