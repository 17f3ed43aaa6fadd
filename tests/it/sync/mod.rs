//! EHR to store: files and searches, on both engines.

mod drops;
mod import;
mod import_bad;
mod merging;
mod process;
mod pull;
mod pull_faults;
mod replay;
mod roster;
pub(crate) mod setup;
mod supporting;
mod vanish;
mod window;
