//! EHR to store: bytes come in, facts go out, and nothing is lost in between.
//!
//! [`import`] takes files, [`task`] searches an EHR, one type after the other. A page's bodies, their facts, what was put aside of it, the
//! run's counts and its resume point commit together, under the lease of the (EHR, type); so a crash at any moment leaves a state that the
//! next run goes on from. What cannot be read is quarantined with its bytes and sinks nothing else; [`quarantine`] tries it again.
//!
//! Knows nothing of segments, programs or channels: it leaves marks for the next stage in the same transaction as its rows.

pub mod bulk;
mod crawl;
pub mod drops;
pub mod events;
pub mod identify;
pub mod import;
mod incoming;
mod lease;
mod page;
pub mod pass;
pub mod patient;
mod pull;
pub mod quarantine;
mod rederive;
mod references;
pub mod refresh;
pub mod reproject;
mod rescan;
mod resource_types;
mod roster;
pub mod subscribing;
pub mod task;
pub mod vanish;
mod whole;
pub mod window;

pub use lease::{Holder, lease_name, reading_lease};
