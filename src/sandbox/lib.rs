//! A pretend EHR, written from the FHIR R4 and SMART specifications: R4 search with paging, conditional create, SMART Backend Services, a
//! synthetic population, durable data, faults planted by name, and the flavours of vendors' servers. For the demo, tests and benches; it
//! imports nothing of the gateway, so the two cannot share a mistake.
//!
//! ```no_run
//! # async fn example(clock: sandbox::Clock, key: sandbox::Client) -> Result<(), Box<dyn std::error::Error>> {
//! let people = sandbox::Population { patients: 500, seed: 1, as_of_micros: clock(), zone: chrono_tz::America::New_York };
//! let ehr = sandbox::start(sandbox::Config { clients: vec![key], ..sandbox::Config::new(clock) }).await?;
//! ehr.load(people.resources())?; // then point the gateway to ehr.base_url()
//! ehr.plant(sandbox::Fault::new(sandbox::FaultKind::CreateAppliedAnswerLost).on("POST", "/fhir/Communication"));
//! assert!(ehr.unused_faults().is_empty() && ehr.count("Communication") == 1); // after the gateway ran
//! # Ok(()) }
//! ```

mod admin;
mod answer;
mod apps;
mod authority;
mod call;
mod capability;
mod carrying;
mod charts;
mod create;
mod desk;
mod ehr;
mod exchange;
mod export;
mod faults;
mod flavour;
mod identity;
mod instant;
mod interactions;
mod journal;
mod json;
mod jwt;
mod key_sets;
mod keys;
mod merge;
mod meta;
mod patch;
mod population;
mod records;
mod request_log;
mod scope;
mod search;
mod searchset;
mod server;
mod strict;
mod subscriptions;
#[cfg(test)]
mod trials;
mod validity;

pub use apps::App;
pub use authority::{Client, ScopeManner};
pub use charts::LoadError;
pub use desk::LaunchContext;
pub use ehr::Clock;
pub use faults::{Fault, FaultKind, Odd};
pub use flavour::Flavour;
pub use identity::User;
pub use journal::JournalError;
pub use key_sets::KeyCache;
pub use merge::{MergeError, MergeManner};
pub use meta::{read_meta, write_meta};
pub use population::Population;
pub use request_log::RequestRecord;
pub use server::{ChangeError, Config, Sandbox, StartError, start};
