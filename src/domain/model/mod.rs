//! The nouns: what a thing is called here is what the field calls it (FHIR, SMART, campaign practice).

pub mod access;
pub mod casting;
pub mod facts;
pub mod ids;
pub mod own;
pub mod person;
pub mod phi;
pub mod supporting;
pub mod time;

pub use access::{Right, Role, Roles};
pub use casting::Casting;
pub use facts::{AppointmentFacts, CarePlanFacts, Facts, PatientFacts};
pub use ids::{EhrId, FhirId, ResourceType};
pub use person::PersonFacts;
pub use phi::Phi;
pub use time::{FhirTime, Timestamp};
