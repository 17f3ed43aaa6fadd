//! EHR to store: files and searches, on both engines.

mod import;
mod import_bad;
mod process;
mod pull;
mod pull_faults;
mod replay;
mod roster;
pub(crate) mod setup;
mod vanish;
mod window;
