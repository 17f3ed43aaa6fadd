//! EHR to store: files and searches, on both engines.

mod import;
mod import_bad;
mod setup;
