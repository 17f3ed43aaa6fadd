//! A Provenance of what was written: who made it, and from which entry of ours. An extra: where it is not taken, nothing of what is told is
//! lost.

use domain::Timestamp;
use typed::codes::{activity, agent};
use typed::{Agent, Identifier, Provenance, Reference, printable};

use super::account::instant;
use super::{ComposeError, Composed, Site, Subject, Told};
use crate::writeback::contract::{Carrier, Contract};
use crate::writeback::deed::Deed;

pub(super) fn compose(
    subject: &Subject<'_>,
    of: &Told,
    recorded: Timestamp,
    site: &Site,
    contract: &Contract,
) -> Result<Composed, ComposeError> {
    if !contract.wants_provenance_of(of.carrier) {
        let why = "It would say only who wrote the entry; this EHR creates no Provenance, or it is switched off.".to_owned();
        return Ok(Composed { carrier: Carrier::Ledger, deed: Deed::Keep { why }, at: None, losses: Vec::new() });
    }
    let target = of.version_reference().ok_or_else(|| ComposeError::NotTaken("what it would be of is no resource".to_owned()))?;
    let gateway = Agent {
        kind: agent::ASSEMBLER.into(),
        who: site.gateway(),
        on_behalf_of: printable(&site.name).map(|name| Reference::named("Organization", name)),
    };
    let key = Identifier { system: site.identifier_system.clone(), value: subject.key.to_owned() };
    let provenance = Provenance {
        target: vec![target],
        recorded: instant(recorded),
        activity: activity::CREATE.into(),
        agent: vec![gateway],
        source: vec![Reference { identifier: Some(key), ..Reference::default() }],
    };
    let deed = Deed::Create { bytes: typed::provenance(&provenance)? };
    Ok(Composed { carrier: Carrier::Provenance, deed, at: None, losses: Vec::new() })
}
