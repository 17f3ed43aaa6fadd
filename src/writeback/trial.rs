//! One write-back on a named test patient: written by the contract and found again, as a real one would have to be. What it leaves says that
//! it is a test, and is marked as entered in error where the EHR lets it be changed.

use domain::Clock;
use serde::Serialize;

use super::chart::Chart;
use super::compose::{Site, Subject, Telling, compose};
use super::contract::{Carrier, Contract};
use super::deed::Deed;
use super::push::{Letter, push};
use super::route::Ways;
use crate::store::attempts::Attempt;
use crate::store::writebacks::Settlement;

/// What a trial showed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tried {
    /// What carried it.
    pub carrier: Option<Carrier>,
    /// Whether it was written.
    pub written: bool,
    /// Whether it was found again; absent where the contract has no search that could tell.
    pub found: Option<bool>,
    /// Its id, or the file's name.
    pub remote: Option<String>,
    /// Where what the EHR kept differs from what was sent, JSON.
    pub differences: Option<serde_json::Value>,
    /// Whether it could be marked as entered in error.
    pub marked: bool,
    /// Why not, in words.
    pub why: Option<String>,
}

/// Tries one. `patient` is the logical id of a test patient, `key` must be new with each trial.
pub async fn attempt<C: Chart>(
    chart: &C,
    contract: &Contract,
    ways: &Ways,
    site: &Site,
    (patient, key): (&str, &str),
    clock: &dyn Clock,
) -> Tried {
    let a = sample(key, clock.now().micros());
    let subject = Subject { ehr: "trial", attempt: &a, patient, message: None, key, telling: Telling::Original };
    let composed = match compose(&subject, site, contract) {
        Ok(composed) => composed,
        Err(error) => return Tried { why: Some(error.to_string()), ..Tried::default() },
    };
    let mut letter = Letter {
        id: key.to_owned(),
        carrier: composed.carrier,
        tried: None,
        put_as: None,
        system: site.identifier_system.clone(),
        value: key.to_owned(),
        patient: patient.to_owned(),
        sent: composed.at,
        since: clock.now(),
        deed: composed.deed,
        loss: "[]".to_owned(),
        unclear: false,
        tries: 1,
        unanswered: 0,
    };
    let mut tried = Tried { carrier: Some(letter.carrier), ..Tried::default() };
    match push(chart, contract, ways, &letter, clock).await.settlement {
        Settlement::Written { remote_id, differences, .. } => {
            tried.written = true;
            tried.remote = remote_id;
            tried.differences = differences.and_then(|d| serde_json::from_str(&d).ok());
        }
        Settlement::Exported { file, .. } => return Tried { written: true, remote: Some(file), ..tried },
        Settlement::Kept { why }
        | Settlement::Again { why, .. }
        | Settlement::Unknown { why, .. }
        | Settlement::Refused { why }
        | Settlement::Parked { why } => return Tried { why: Some(why), ..tried },
        Settlement::PutBack { .. } => return Tried { why: Some("the EHR cannot be written to now".to_owned()), ..tried },
    }
    if contract.terms(letter.carrier).is_some_and(|t| t.finder().is_some()) {
        // As if its answer had been lost: then a search has to find it, or it would be written twice or wait for a person.
        letter.unclear = true;
        tried.found = Some(match push(chart, contract, ways, &letter, clock).await.settlement {
            Settlement::Written { remote_id, .. } => remote_id == tried.remote,
            _ => false,
        });
    }
    if let Some(id) = tried.remote.clone().filter(|_| contract.terms(letter.carrier).is_some_and(|t| t.update)) {
        letter.deed = Deed::EnteredInError { id, why: "Test of fhir-engage on a test patient.".to_owned() };
        letter.unclear = false;
        tried.marked = matches!(push(chart, contract, ways, &letter, clock).await.settlement, Settlement::Written { .. });
    }
    tried
}

/// An attempt about nothing, by nobody: a server may look for what is referred to.
fn sample(key: &str, now: i64) -> Attempt {
    Attempt {
        id: key.to_owned(),
        enrolment: 0,
        program: "test-of-the-connection".to_owned(),
        program_version: 1,
        step: "test".to_owned(),
        rung: 0,
        anchor_revision: String::new(),
        about: None,
        person: 0,
        patient: 0,
        state: "finished".to_owned(),
        outcome: Some("delivered".to_owned()),
        due_at: now,
        expires_at: None,
        channel: Some("recorded".to_owned()),
        contact_hash: None,
        template: "test-of-the-connection".to_owned(),
        language: None,
        action: "test".to_owned(),
        message: None,
        token: 0,
        provider_ref: None,
        failure: None,
        sent_at: Some(now),
        settle_by: None,
        finished_at: Some(now),
    }
}
