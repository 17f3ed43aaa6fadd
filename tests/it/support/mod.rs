//! What the tests stand on: databases, temporary folders, the gateway as a process, and a real EHR. No test is in here.

mod database;
mod process;
mod prerequisite;
mod temp;

pub use database::{Backend, Database};
pub(crate) use database::on_both;
pub use temp::TempDir;
