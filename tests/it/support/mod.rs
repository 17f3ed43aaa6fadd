//! What the tests stand on: databases, temporary folders, the gateway as a process, and a real EHR. No test is in here.

mod database;
mod installation;
mod mail_server;
mod prerequisite;
mod process;
mod sekmet;
mod temp;

pub(crate) use database::on_both;
pub use database::{Backend, Database};
pub use installation::{Installation, keep_for_validation};
pub use mail_server::{MailServer, Manner};
pub use process::{Ended, Running, gateway, run};
pub use sekmet::Sekmet;
pub use temp::TempDir;
