//! EHR to store: files and searches, on both engines.

mod bulk;
mod bulk_faults;
mod drops;
mod faults;
mod import;
mod import_bad;
mod merging;
mod mishaps;
mod plain;
mod process;
mod pull;
mod pull_faults;
mod replay;
mod roster;
pub(crate) mod setup;
mod supporting;
mod vanish;
mod window;
