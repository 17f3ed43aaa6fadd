//! A correction where the EHR takes updates: the entry itself is marked as entered in error.

use super::Composed;
use super::account::Account;
use super::subject::Told;
use crate::writeback::contract::{Carrier, Contract, Status};
use crate::writeback::deed::Deed;

/// The entry marked as entered in error, where the EHR can do so and nothing else is told by it. Else a new resource has to say it.
pub(super) fn in_place(told: &Told, account: &Account, contract: &Contract) -> Option<Composed> {
    let terms = contract.terms(told.carrier)?;
    let takes_status = told.carrier != Carrier::Communication || contract.shape.statuses.contains(&Status::EnteredInError);
    if !terms.update || told.note || !takes_status {
        return None;
    }
    let deed = Deed::EnteredInError { id: told.id.clone(), why: account.text.clone() };
    Some(Composed { carrier: told.carrier, deed, at: account.at, losses: Vec::new() })
}
