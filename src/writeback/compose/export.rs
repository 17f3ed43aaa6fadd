//! A file that says everything by itself: the resource as a full R4 server would get it, where it belongs, and what the chart lacks.

use serde::Serialize;
use serde_json::value::RawValue;

use super::account::Account;
use super::{ComposeError, Composed, Loss, Site, Subject, Telling, Unfit, communication, document};
use crate::writeback::contract::{Carrier, Contract};
use crate::writeback::deed::Deed;

/// What is in the file. Keys may be added; none changes its meaning without another `format`.
#[derive(Serialize)]
struct Exported<'a> {
    format: &'static str,
    ehr: &'a str,
    patient: String,
    key: Key<'a>,
    kind: &'static str,
    /// Why it did not go into the chart.
    not_carried: &'a [Loss],
    resource: Box<RawValue>,
}

#[derive(Serialize)]
struct Key<'a> {
    system: &'a str,
    value: &'a str,
}

pub(super) fn compose(
    subject: &Subject<'_>,
    account: &Account,
    site: &Site,
    contract: &Contract,
    passed: &[Loss],
) -> Result<Composed, Unfit> {
    // As a full server would get it, with as much of the message as this contract shows.
    let mut full = Contract::full_r4();
    (full.shape.payload, full.shape.medium_codes) = (contract.shape.payload, contract.shape.medium_codes);
    full.note =
        crate::writeback::contract::NoteShape { title: contract.note.title.clone(), loinc: contract.note.loinc.clone(), ..full.note };
    let resource = if matches!(subject.telling, Telling::Note { .. }) {
        document::compose(subject, account, site, &full)?
    } else {
        communication::compose(subject, account, site, &full)?
    };
    let Deed::Create { bytes } = resource.deed else { return Err(Unfit::next("export", "there is nothing to put into a file")) };
    let not_r4 = |_| ComposeError::Route("an export could not be written as JSON".to_owned());
    let exported = Exported {
        format: "fhir-engage-write-back-1",
        ehr: subject.ehr,
        patient: format!("Patient/{}", subject.patient),
        key: Key { system: &site.identifier_system, value: subject.key },
        kind: subject.telling.kind(),
        not_carried: passed,
        resource: serde_json::from_slice(&bytes).map_err(not_r4)?,
    };
    let bytes = serde_json::to_vec(&exported).map_err(not_r4)?;
    Ok(Composed { carrier: Carrier::Export, deed: Deed::Create { bytes }, at: resource.at, losses: resource.losses })
}
