//! Write-back: from a finished attempt to one entry in the chart, never lost and never doubled.
//!
//! [`contract`] says what a server takes; [`compose`] shapes an attempt to it; [`push`] brings it to the EHR and settles what is
//! unclear by search (`unclear`); `amend` changes what is there already; [`compare`] tells what the EHR kept; [`route`] and [`export`] are the ways
//! beside FHIR; [`task`] does so for all that is owed, in each patient's order, under a lease; [`explain`] says in words why a row
//! waits. Knows nothing of programs, of channels or of who decided that something is owed: the store's rows say it.

mod amend;
pub mod chart;
pub mod compare;
pub mod compose;
pub mod contract;
pub mod deed;
pub mod explain;
pub mod export;
mod find;
pub mod key;
pub mod letters;
mod likeness;
mod meaning;
pub mod probe;
pub mod push;
pub mod route;
pub mod samples;
pub mod settle;
mod status;
pub mod task;
pub mod trial;
mod unclear;

pub use chart::{needs, stated};
pub use compose::{Composed, Loss, Site, Subject, Telling, Told, compose};
pub use contract::Contract;
pub use deed::Deed;
pub use export::Folder;
pub use probe::{Probed, probe};
pub use route::{RouteWay, Ways};
pub use task::{Options, Report, Stage, run};

#[cfg(test)]
mod tests;
