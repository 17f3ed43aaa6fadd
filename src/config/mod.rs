//! What an operator sets: one TOML file, one Rust file per concern. Every key has a default, so no file at all is a valid configuration.
//!
//! All mistakes are told at once, each with file, line and key ([`Mistake`]); a key that is not known is a mistake, with the nearest
//! known key named. Secrets are never in the file: a [`SecretRef`] says where they are. There is no global: [`Config::load`] returns a
//! value, and `app` hands each part to the stage that needs it.
//!
//! Only `app` and `cli` import this. It knows no stage and opens nothing but the file; of the others it imports only
//! `credentials::SecretRef`, the pointer to a secret.

mod alerts;
mod database;
mod keys;
mod log;
mod outreach;
mod persons;
mod reader;
mod site;
mod smtp;
mod staff;
mod sync;
#[cfg(test)]
mod tests;
mod web;
mod worker;
mod write_back;

use std::path::{Path, PathBuf};

pub use crate::credentials::SecretRef;
pub use alerts::Alerts;
pub use database::{DATABASE_VARIABLE, Database};
pub use keys::Keys;
pub use log::{Format, Log};
pub use outreach::{Outreach, QuietHours};
pub use persons::Persons;
use reader::Reader;
pub(crate) use reader::is_guarded;
pub use reader::{Mistake, Place};
pub use site::Site;
pub use smtp::{Smtp, Tls};
pub use staff::{Oidc, Staff};
pub use sync::Sync;
pub use web::Web;
pub use worker::Worker;
pub use write_back::WriteBack;

/// The file that is read where none is named: `DATA/fhir-engage.toml`.
pub const FILE_NAME: &str = "fhir-engage.toml";

/// Everything an operator sets.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file that was read; `None` where there is none and all defaults hold.
    pub file: Option<PathBuf>,
    /// Who sends.
    pub site: Site,
    /// Where the data is kept.
    pub database: Database,
    /// The HTTP server.
    pub web: Web,
    /// The loop that runs the stages.
    pub worker: Worker,
    /// Reading from EHRs.
    pub sync: Sync,
    /// Which records are one person.
    pub persons: Persons,
    /// When and how often people are written to.
    pub outreach: Outreach,
    /// The operator's mail server, if there is one.
    pub smtp: Option<Smtp>,
    /// Who of the staff may come in, and what they are here.
    pub staff: Staff,
    /// Who is told what goes wrong.
    pub alerts: Alerts,
    /// Writing to EHRs.
    pub write_back: WriteBack,
    /// What seals private keys at rest.
    pub keys: Keys,
    /// Logs.
    pub log: Log,
}

impl Config {
    /// Reads the file at `path`; where none is named, [`FILE_NAME`] in `data_dir` if it exists, else defaults alone.
    ///
    /// `FHIR_ENGAGE_DATABASE` in the environment goes before `database.url`.
    ///
    /// # Errors
    /// Every mistake that was found, in the order of the file.
    pub fn load(path: Option<&Path>, data_dir: &Path) -> Result<Self, Vec<Mistake>> {
        Self::load_with(path, data_dir, &|name| std::env::var(name).ok())
    }

    /// As [`Config::load`], with the environment as a parameter.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn load_with(path: Option<&Path>, data_dir: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Self, Vec<Mistake>> {
        Self::without_mistakes(Self::read(path, data_dir, env))
    }

    fn without_mistakes(read: (Option<Self>, Vec<Mistake>)) -> Result<Self, Vec<Mistake>> {
        match read {
            (Some(config), mistakes) if mistakes.is_empty() => Ok(config),
            (_, mistakes) => Err(mistakes),
        }
    }

    /// What can be known of the configuration, and every mistake in it, to look at the rest of an installation beside them. What is mistaken has
    /// its default. `None` where the file cannot be read at all.
    #[must_use]
    pub fn look(path: Option<&Path>, data_dir: &Path) -> (Option<Self>, Vec<Mistake>) {
        Self::read(path, data_dir, &|name| std::env::var(name).ok())
    }

    fn read(path: Option<&Path>, data_dir: &Path, env: &dyn Fn(&str) -> Option<String>) -> (Option<Self>, Vec<Mistake>) {
        let default = data_dir.join(FILE_NAME);
        let file = path.map(Path::to_path_buf).or_else(|| default.exists().then_some(default));
        let text = match &file {
            None => String::new(),
            Some(f) => match std::fs::read_to_string(f) {
                Ok(text) => text,
                Err(error) => {
                    let says =
                        format!("the file cannot be read ({}); check the path and its permissions, or leave --config out", error.kind());
                    return (None, vec![Mistake { file: f.display().to_string(), line: None, key: String::new(), says }]);
                }
            },
        };
        Self::parse(file, &text, data_dir, env)
    }

    fn parse(file: Option<PathBuf>, text: &str, data_dir: &Path, env: &dyn Fn(&str) -> Option<String>) -> (Option<Self>, Vec<Mistake>) {
        let folder = file.as_deref().and_then(Path::parent).unwrap_or(data_dir).to_path_buf();
        let name = file.as_deref().map_or_else(|| FILE_NAME.to_owned(), |f| f.display().to_string());
        let reader = Reader::new(name, text, folder);
        let mut top = reader.top();
        let config = Self {
            file,
            site: Site::read(&mut top.section("site")),
            database: Database::read(&mut top.section("database"), data_dir, env),
            web: Web::read(&mut top.section("web")),
            worker: Worker::read(&mut top.section("worker")),
            sync: Sync::read(&mut top.section("sync")),
            persons: Persons::read(&mut top.section("persons")),
            outreach: Outreach::read(&mut top.section("outreach")),
            smtp: Smtp::read(&mut top.section("smtp")),
            staff: Staff::read(&mut top.section("staff")),
            alerts: Alerts::read(&mut top.section("alerts")),
            write_back: WriteBack::read(&mut top.section("write_back")),
            keys: Keys::read(&mut top.section("keys"), data_dir),
            log: Log::read(&mut top.section("log")),
        };
        drop(top);
        let mistakes = reader.into_mistakes();
        let is_toml = mistakes.iter().all(|m| !m.key.is_empty());
        (is_toml.then_some(config), mistakes)
    }

    /// What is allowed but most likely not meant; to be shown at start and by `check`.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if !self.web.bind.ip().is_loopback() {
            if self.web.bearer.is_none() {
                warnings.push(format!(
                    "web.bind is {}, which other machines reach, and web.bearer is not set: the pages without patient data are open to them and /api answers 401 to everyone; set web.bearer, or bind to 127.0.0.1",
                    self.web.bind
                ));
            }
            if self.web.external_url.as_ref().is_none_or(|u| u.scheme() != "https") {
                warnings.push(format!(
                    "web.bind is {}, which other machines reach, and web.external_url is not an https URL: put a proxy with TLS in front and name its URL, since a bearer in clear text can be read on the way",
                    self.web.bind
                ));
            }
        }
        if self.web.public.is_some_and(|public| public == self.web.bind && public.port() != 0) {
            warnings
                .push("web.public.listen is the same address as web.bind: the second one cannot be had; choose another port".to_owned());
        }
        // With another channel behind it, e-mail without a server is only passed over.
        if self.outreach.channels.iter().all(|c| c == "email") && self.smtp.is_none() {
            warnings.push("outreach.channels names \"email\", but there is no [smtp]: no e-mail can be sent until there is".to_owned());
        }
        if !self.alerts.mail.is_empty() && self.smtp.is_none() {
            warnings.push("alerts.mail names addresses, but there is no [smtp]: no alert can be mailed until there is".to_owned());
        }
        if self.site.phone.is_none() && self.smtp.is_some() {
            warnings.push("site.phone is not set: messages cannot say whom to call".to_owned());
        }
        warnings
    }
}

/// A configuration file with every key, its default and what it means.
#[must_use]
pub const fn example() -> &'static str {
    include_str!("example.toml")
}
