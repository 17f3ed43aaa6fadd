//! Provenance (R4, hl7.org/fhir/R4/provenance.html): who made something that we wrote, for servers that take it.

use fhirbolt::model::r4::{Resource, resources};

use crate::check;
use crate::datatypes::{Concept, Reference, concept, each, literal, opt, reference};
use crate::invalid::{Invalid, Problem};
use crate::render;

/// `Provenance.agent.who` takes these.
const AGENTS: &[&str] = &["Practitioner", "PractitionerRole", "RelatedPerson", "Patient", "Device", "Organization"];

/// Who took part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    /// How; [`crate::codes::agent`].
    pub kind: Concept,
    /// Who.
    pub who: Reference,
    /// For whom.
    pub on_behalf_of: Option<Reference>,
}

/// The origin of one or more resources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provenance {
    /// What was made, a version where it is known: `Communication/1/_history/1`.
    pub target: Vec<String>,
    /// When it was written down, an instant.
    pub recorded: String,
    /// What was done; [`crate::codes::activity`].
    pub activity: Concept,
    /// By whom.
    pub agent: Vec<Agent>,
    /// What it was made from: entities of the role `source`.
    pub source: Vec<Reference>,
}

/// Renders a Provenance as R4 JSON.
///
/// # Errors
/// [`Invalid`] at the first element that cannot be valid R4, or without a target or an agent.
pub fn provenance(from: &Provenance) -> Result<Vec<u8>, Invalid> {
    for (element, empty) in [("Provenance.target", from.target.is_empty()), ("Provenance.agent", from.agent.is_empty())] {
        if empty {
            return Err(Invalid::new(element, Problem::NoEntry));
        }
    }
    let resource = resources::Provenance {
        target: each("Provenance.target", &from.target, |e, t: &String| literal(e, t, &[]))?,
        recorded: check::instant("Provenance.recorded", &from.recorded)?.into(),
        activity: Some(Box::new(concept("Provenance.activity", &from.activity)?)),
        agent: each("Provenance.agent", &from.agent, agent)?,
        entity: each("Provenance.entity", &from.source, source)?,
        ..Default::default()
    };
    render(&Resource::Provenance(Box::new(resource)))
}

fn agent(element: &str, from: &Agent) -> Result<resources::ProvenanceAgent, Invalid> {
    Ok(resources::ProvenanceAgent {
        r#type: Some(Box::new(concept(&format!("{element}.type"), &from.kind)?)),
        who: Box::new(reference(&format!("{element}.who"), &from.who, AGENTS)?),
        on_behalf_of: opt(from.on_behalf_of.as_ref(), |r| reference(&format!("{element}.onBehalfOf"), r, AGENTS))?.map(Box::new),
        ..Default::default()
    })
}

fn source(element: &str, from: &Reference) -> Result<resources::ProvenanceEntity, Invalid> {
    Ok(resources::ProvenanceEntity {
        role: "source".into(),
        what: Box::new(reference(&format!("{element}.what"), from, &[])?),
        ..Default::default()
    })
}
