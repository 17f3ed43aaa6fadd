//! Who and where a visit is, by name: as the EHR sent it with the appointment, else as its Practitioner, PractitionerRole or Location is called
//! where those are synced.

use domain::fhir::{self, called, reference_id, reference_type};
use domain::model::person::{Origin, Sourced};
use domain::model::{AppointmentFacts, EhrId, Facts, ResourceType};

use crate::store::codec::Codec;
use crate::store::{Conn, StoreError, resources};

/// The names of a visit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named {
    /// With whom it is.
    pub with: Option<String>,
    /// Where it is.
    pub place: Option<String>,
}

/// The names of a visit; what is not known is absent.
///
/// # Errors
/// The engine's refusal, or a stored body that cannot be read.
pub fn of(conn: &mut Conn, codec: &Codec, visit: &Sourced<AppointmentFacts>) -> Result<Named, StoreError> {
    let Origin { ehr, id, .. } = &visit.origin;
    let actors = match resources::get(conn, ehr, ResourceType::Appointment, id)? {
        Some(stored) => fhir::actors(&stored.body(codec)?).unwrap_or_default(),
        None => Vec::new(),
    };
    let mut first = |references: &[String]| -> Result<Option<String>, StoreError> {
        for reference in references {
            let sent = actors.iter().find(|a| a.reference == *reference).and_then(|a| a.display.clone());
            let name = match sent {
                Some(name) => Some(name),
                None => name_of(conn, codec, ehr, reference)?,
            };
            if name.is_some() {
                return Ok(name);
            }
        }
        Ok(None)
    };
    Ok(Named { with: first(&visit.facts.practitioners)?, place: first(&visit.facts.locations)? })
}

/// How the one that a reference names is called, by what is stored.
fn name_of(conn: &mut Conn, codec: &Codec, ehr: &EhrId, reference: &str) -> Result<Option<String>, StoreError> {
    let kind = reference_type(reference).and_then(ResourceType::parse).filter(|kind| kind.is_directory());
    let (Some(kind), Some(id)) = (kind, reference_id(reference)) else { return Ok(None) };
    let Some(stored) = resources::get(conn, ehr, kind, id)? else { return Ok(None) };
    let Ok(projected) = fhir::project(kind, &stored.body(codec)?) else { return Ok(None) };
    Ok(match &projected.facts {
        // A role is called by whoever has it.
        Facts::PractitionerRole(role) => match role.practitioner.as_deref().filter(|r| reference_type(r) == Some("Practitioner")) {
            Some(practitioner) => name_of(conn, codec, ehr, practitioner)?,
            None => None,
        },
        Facts::Practitioner(facts) | Facts::Location(facts) | Facts::Organization(facts) => called(facts),
        _ => None,
    })
}
