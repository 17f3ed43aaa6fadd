//! The status of the Appointment that a patient confirmed or cancelled. Never one that means that somebody arrived.

use std::collections::BTreeSet;

use super::{ComposeError, Composed, Subject};
use crate::store::answers::Answer;
use crate::writeback::contract::{Carrier, Contract, StatusChange};
use crate::writeback::deed::Deed;

pub(super) fn compose(subject: &Subject<'_>, answer: &Answer, contract: &Contract) -> Result<Composed, ComposeError> {
    let refused = |why| Err(ComposeError::StatusChange(why));
    let Some(change) = contract.status_change.as_ref() else {
        return refused("this EHR does not take a change of an Appointment's status");
    };
    if !change.enabled {
        return refused("status_change is not switched on in this EHR's write-back settings");
    }
    let about = subject.attempt.about.as_deref().and_then(|r| r.strip_prefix("Appointment/"));
    let Some(appointment) = about.filter(|id| !id.is_empty() && !id.contains('/')) else {
        return refused("the message was not about an Appointment");
    };
    let (to, from) = match answer.meaning.as_str() {
        "confirm" => ("booked", &change.confirm_from),
        "cancel-visit" => ("cancelled", &change.cancel_from),
        _ => return refused("the answer neither confirms nor cancels"),
    };
    let from: BTreeSet<String> = from.iter().filter(|s| s.as_str() != to && StatusChange::is_before_visit(s)).cloned().collect();
    if from.is_empty() {
        return refused("this EHR takes that change from no status");
    }
    // The state of an appointment anchor is its start; other anchors are about no time.
    let start = subject.attempt.anchor_revision.parse().ok().filter(|at: &i64| *at > 0);
    let deed = Deed::Status { appointment: appointment.to_owned(), to: to.to_owned(), start, from };
    Ok(Composed { carrier: Carrier::Appointment, deed, at: None, losses: Vec::new() })
}
