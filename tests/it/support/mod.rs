//! What the tests stand on: databases, temporary folders, the gateway as a process, a real EHR, and a bad line to it. No test is in here.

mod browser;
mod database;
mod installation;
mod mail_server;
pub mod older;
pub mod owing;
pub mod plain;
mod prerequisite;
mod process;
mod proxy;
mod sekmet;
mod serving;
mod staff;
mod temp;

pub use browser::{Browser, Theme};
pub(crate) use database::on_both;
pub use database::{Backend, Database};
pub use installation::{Installation, keep_for_validation};
pub use mail_server::{MailServer, Manner};
pub use prerequisite::prerequisite;
pub use process::{Ended, Running, gateway, run};
pub use proxy::Proxy;
pub use sekmet::Sekmet;
pub use serving::Serving;
pub use staff::{Staff, launches, sessions};
pub use temp::TempDir;
