//! Segments: the attribute catalogue, the rule language, and evaluation with reasons and valid-until.
//!
//! Pure. Knows facts, a site and an instant; must not know of stores, EHRs, programs or how an answer is kept.
//!
//! ```
//! use domain::Timestamp;
//! use domain::model::{EhrId, Facts, PatientFacts, PersonFacts, ResourceType, FhirTime};
//! use domain::model::person::Origin;
//! use domain::rules::{Definition, Membership, RuleSet, Site, Truth};
//!
//! let definition = Definition::parse(r#"
//!     id = "seniors"
//!     title = "65 and over"
//!     stage = "retention"
//!     description = "Preventive visits for older people."
//!     rule = "age >= 65 and not deceased"
//! "#).map_err(|mistakes| format!("{mistakes:?}"))?;
//! let rules = RuleSet::compile(&[definition]).map_err(|mistakes| format!("{mistakes:?}"))?;
//!
//! let mut person = PersonFacts { synced: vec![ResourceType::Patient], ..PersonFacts::default() };
//! let origin = Origin {
//!     ehr: EhrId::parse("main")?, resource_type: ResourceType::Patient, id: "7".into(), version: Some("3".into()),
//! };
//! let patient = PatientFacts { birth_date: FhirTime::parse("1961-11-24"), ..PatientFacts::default() };
//! person.add(origin, Facts::Patient(Box::new(patient)));
//!
//! // One day before the 65th birthday: not yet, and the answer says until when.
//! let site = Site::new(chrono_tz::America::New_York, "en-US");
//! let now = Timestamp::parse("2026-11-23T10:00:00-05:00").ok_or("no instant")?;
//! let answer = rules.evaluate(&person, &site, now).remove(0);
//! assert_eq!((answer.truth, answer.membership), (Truth::False, Membership::Out));
//! assert_eq!(answer.valid_until, Timestamp::parse("2026-11-24T00:00:00-05:00"));
//!
//! let reasons = rules.reasons(&answer, &person, &site, now);
//! assert_eq!(reasons[0].sentence.expose(), "`age >= 65` does not hold: age is 64 years [main Patient/7 version 3, birthDate]");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
#![doc = include_str!("GRAMMAR.md")]

mod answer;
mod attributes;
mod catalogue;
mod check;
mod definition;
mod duration;
mod evaluate;
mod explain;
mod file;
mod json;
mod judge;
mod kind;
mod lexer;
mod mistake;
mod own;
mod parse;
mod print;
mod prospect;
mod reasons;
mod ruleset;
pub mod shipped;
mod site;
pub mod syntax;
mod truth;
mod value;
mod value_set;
mod watch;

pub use answer::{Answer, LeafSet, Membership};
pub use attributes::{Horizon, Looks, Reach, Reading, STAGES, next_visit, reading};
pub use catalogue::{Attribute, REVISION, attribute, attribute_page, attributes, nearest_attribute};
pub use definition::{Definition, Unknown};
pub use duration::{Duration, Unit};
pub use explain::{Explanation, ReadIn, Reason};
pub use mistake::Mistake;
pub use own::{OWN_PREFIX, OwnAttribute, OwnAttributes};
pub use parse::parse;
pub use prospect::Prospect;
pub use ruleset::{Reads, RuleSet, Segment, text_hash};
pub use site::Site;
pub use truth::Truth;
pub use value::Type;
pub use value_set::{ValueSet, ValueSets};

#[cfg(test)]
mod tests;
