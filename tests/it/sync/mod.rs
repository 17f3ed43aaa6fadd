//! EHR to store: files and searches, on both engines.

mod import;
mod import_bad;
mod pull;
mod pull_faults;
mod replay;
mod setup;
