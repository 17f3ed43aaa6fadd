//! The nouns of the gateway and the pure functions over them: facts, rules and their reasons, verdicts, time.
//!
//! Pure on purpose: no I/O, no SQL, no reading of a clock, no randomness. Everything here can be tested with a table of cases.
//!
//! - [`model`]: identifiers, time, the facts that are kept of a resource, a person's facts together;
//! - [`fhir`]: a resource's bytes to facts, by borrowed serde projections;
//! - [`identity`]: which patient records are one person;
//! - [`rules`]: the attribute catalogue, the rule language, evaluation with reasons and valid-until;
//! - [`clock`]: time as a parameter.

pub mod clock;
pub mod fhir;
pub mod identity;
pub mod model;
pub mod rules;

pub use clock::Clock;
pub use model::time::Timestamp;
