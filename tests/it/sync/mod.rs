//! EHR to store: files and searches, on both engines.

mod bulk;
mod bulk_faults;
mod import;
mod import_bad;
mod process;
mod pull;
mod pull_faults;
mod replay;
mod roster;
mod setup;
mod vanish;
mod window;
