//! Where the parts are joined: configuration, store, clock, keys, definitions, programs, channels; and each stage run under its lease.
//!
//! Construction only: no rule, no SQL, no FHIR. Commands and pages get what they need from here.

mod agenda;
mod alerts;
mod authorize;
mod chain;
pub(crate) mod charts;
mod connections;
mod desk;
mod drops;
mod ends;
mod entropy;
mod events;
mod keys;
mod limits;
mod look;
mod pages;
mod patients;
mod present;
mod removing;
mod settling;
mod staff;
mod stages;
mod statements;
mod turns;

use std::cmp::Ordering;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::NaiveTime;
use domain::Clock;
use domain::rules::Site;

pub use agenda::{Agenda, Entry};
pub use alerts::AlertsError;
pub use authorize::GrantError;
pub use chain::Night;
pub(crate) use connections::told;
pub use connections::{ConnectionError, Registered};
pub use entropy::Random;
pub use events::EventsReport;
pub use keys::{KeysError, Rotation, open_key};
pub use limits::{Standing, Wait};
pub use look::Look;
pub use pages::PagesError;
pub use present::SystemClock;
pub use removing::{Removal, Removed};
pub use settling::Settled;
pub use stages::{CycleReport, Progress, StageError, StageProgress};
pub use statements::{Connected, Drifted};
pub use turns::{Turn, TurnReport};

use crate::config::Config;
use crate::outreach::channel::{Channel, ChannelKind};
use crate::outreach::gate::{Hours, SitePolicy};
use crate::outreach::{SiteVoice, program, task};
use crate::segments::{Definitions, NotInForce, definitions};
use crate::store::installation::{self, Setting};
use crate::store::{Location, Store, StoreError, ties};
use crate::worker::{Nudge, Owner};

/// The gateway, put together.
pub struct App {
    /// The configuration.
    pub config: Config,
    /// The folder with the embedded database, keys and the configuration file.
    pub data: PathBuf,
    /// The store.
    pub store: Store,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// The site as rules see it.
    pub site: Site,
    /// The site as messages and the gate see it.
    pub voice: SiteVoice,
    /// The segment definitions in force.
    pub definitions: Definitions,
    /// The programs in force.
    pub programs: task::Programs,
    /// The channels of this installation.
    pub channels: Vec<Channel>,
    /// Who this process is, in leases.
    pub owner: Owner,
    /// What wakes the stages of this process.
    pub nudges: Nudges,
    kept: patients::Kept,
    plans: desk::Plans,
    random: Arc<Random>,
    paces: crate::ehr::Paces,
    shared: Arc<limits::Shared>,
    listening: events::Listening,
}

/// What wakes the stages of this process, for whoever leaves them something to do. A nudge that nobody waits for is lost without harm.
#[derive(Clone, Debug, Default)]
pub struct Nudges {
    /// Patients to be read again.
    pub refresh: Nudge,
    /// Persons to be evaluated.
    pub segments: Nudge,
    /// Persons to be planned for, and messages to be sent.
    pub outreach: Nudge,
    /// Something is owed to a chart.
    pub write_back: Nudge,
}

/// Why the gateway could not be put together.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The segment definitions.
    #[error(transparent)]
    Segments(#[from] NotInForce),
    /// The programs.
    #[error("the programs have mistakes:\n{0}")]
    Programs(crate::outreach::definition::Mistakes),
    /// The mail server.
    #[error("the mail server of [smtp] cannot be used: {0}")]
    Mail(String),
    /// The data folder.
    #[error("the data folder {} cannot be made or written ({}): name another with --data, or let this user write there", .0.display(), .1.kind())]
    Data(PathBuf, #[source] std::io::Error),
}

impl App {
    /// Puts the gateway together on a database whose schema is brought up to date.
    ///
    /// # Errors
    /// [`OpenError`], each with what to do.
    pub fn open(config: Config, data: &Path) -> Result<Self, OpenError> {
        Self::open_with(config, data, None)
    }

    /// As [`App::open`], with a clock of the caller's: the demo's.
    ///
    /// # Errors
    /// As [`App::open`].
    pub fn open_with(config: Config, data: &Path, clock: Option<Arc<dyn Clock>>) -> Result<Self, OpenError> {
        make_folder(data).map_err(|e| OpenError::Data(data.to_owned(), e))?;
        let store = Store::open(Location::parse(config.database.url.expose()))?;
        let clock = match clock {
            Some(clock) => clock,
            None => Arc::new(SystemClock::with_offset(stored_offset(&store)?)),
        };
        let random = Arc::new(Random::default());
        let wanted = definitions::shipped()?;
        let ids: Vec<String> = wanted.rules().segments().iter().map(|s| s.definition().id.clone()).collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let library = program::shipped(&ids).map_err(OpenError::Programs)?;
        let channels = channels(&config)?;
        let order = channel_order(&config, &channels);
        let now = clock.now();
        let (definitions, programs) = store.write_blocking(crate::store::Lane::Interactive, "put definitions in force", |conn| {
            ties::declare(conn, &config.persons.common_identifiers)?;
            let definitions = Definitions::open(conn, &wanted, now)?;
            let programs = task::Programs::put_in_force(conn, library.clone(), &order, now)?;
            Ok((definitions, programs))
        })?;
        let (owner, shared) = (Owner::this_process(), Arc::new(limits::Shared::new(store.clone(), clock.as_ref())));
        // Where a process has no name of its own, such as in two containers, the rest tells them apart.
        let paces = crate::ehr::Paces::kept_by(shared.clone(), format!("{} {}", owner.as_str(), random.id()));
        Ok(Self {
            site: Site::new(config.site.time_zone, &config.site.language),
            voice: voice(&config),
            data: data.to_owned(),
            owner,
            config,
            store,
            clock,
            definitions,
            programs,
            channels,
            nudges: Nudges::default(),
            kept: patients::Kept::default(),
            plans: desk::Plans::default(),
            random,
            paces,
            shared,
            listening: events::Listening::default(),
        })
    }

    /// A seed for what has to be spread and need not be secret.
    #[must_use]
    pub fn seed(&self) -> [u8; 32] {
        let mut seed = [0; 32];
        self.random.fill(&mut seed);
        seed
    }

    /// Whether outreach may leave the building.
    ///
    /// # Errors
    /// The engine's refusal.
    pub async fn is_live(&self) -> Result<bool, StoreError> {
        Ok(self.store.read(|conn| installation::get(conn, Setting::Live)).await?.as_deref() == Some("true"))
    }
}

/// Makes a folder that others on the machine cannot read.
pub(crate) fn make_folder(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn stored_offset(store: &Store) -> Result<chrono::TimeDelta, StoreError> {
    let text = store.read_blocking(|conn| installation::get(conn, Setting::ClockOffset))?;
    Ok(chrono::TimeDelta::microseconds(text.and_then(|t| t.parse().ok()).unwrap_or(0)))
}

fn voice(config: &Config) -> SiteVoice {
    let mut policy = SitePolicy::new(config.site.time_zone);
    let quiet = &config.outreach.quiet_hours;
    policy.hours = open_hours(quiet.start, quiet.end);
    policy.per_day = config.outreach.per_day;
    policy.per_week = config.outreach.per_week;
    policy.max_fact_age = config.outreach.max_staleness;
    SiteVoice { name: config.site.name.clone(), phone: config.site.phone.clone().unwrap_or_default(), policy }
}

/// The hours outside of quiet hours. Where those lie within one day they leave two parts of it; messages then come in the longer one.
fn open_hours(quiet_from: NaiveTime, quiet_until: NaiveTime) -> Hours {
    let midnight = NaiveTime::MIN;
    // The last microsecond, which is the finest that a timestamp tells: 24:00 is no time of day.
    let day_ends = midnight - chrono::TimeDelta::microseconds(1);
    let (from, until) = match quiet_from.cmp(&quiet_until) {
        Ordering::Greater => (quiet_until, quiet_from),
        Ordering::Equal => (midnight, day_ends),
        Ordering::Less if quiet_from - midnight > day_ends - quiet_until => (midnight, quiet_from),
        Ordering::Less => (quiet_until, day_ends),
    };
    Hours { from, until, sunday_from: None }
}

fn channels(config: &Config) -> Result<Vec<Channel>, OpenError> {
    let mut channels = vec![Channel::Recorded];
    if let Some(smtp) = &config.smtp {
        channels.push(Channel::Email(Box::new(mailer(smtp)?)));
    }
    Ok(channels)
}

fn mailer(smtp: &crate::config::Smtp) -> Result<crate::net::smtp::Mailer, OpenError> {
    use crate::config::Tls;
    use crate::net::smtp::{Login, Mailer, MailerConfig, Protection};
    let read =
        |place: Option<&crate::credentials::SecretRef>| place.map(|p| p.resolve().map_err(|e| OpenError::Mail(e.to_string()))).transpose();
    let (password, ca) = (read(smtp.password.as_ref())?, read(smtp.ca.as_ref())?);
    let login =
        smtp.user.as_ref().zip(password).map(|(user, password)| Login { user: user.clone(), password: password.expose().to_owned() });
    Mailer::new(MailerConfig {
        host: smtp.host.clone(),
        port: smtp.port,
        tls: match smtp.tls {
            Tls::StartTls => Protection::StartTls,
            Tls::Implicit => Protection::Tls,
            Tls::None => Protection::None,
        },
        extra_roots_pem: ca.map(|pem| pem.expose().as_bytes().to_vec()).unwrap_or_default(),
        login,
        from: smtp.from.clone(),
        reply_to: smtp.reply_to.clone(),
        command_timeout: std::time::Duration::from_secs(30),
        data_timeout: std::time::Duration::from_secs(120),
    })
    .map_err(|e| OpenError::Mail(e.to_string()))
}

/// The configured order, narrowed to what this installation has.
fn channel_order(config: &Config, channels: &[Channel]) -> Vec<ChannelKind> {
    let wanted = config.outreach.channels.iter().filter_map(|name| ChannelKind::parse(name));
    wanted.filter(|kind| channels.iter().any(|c| c.kind() == *kind)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quiet_hours_leave_the_rest_of_the_day_open() {
        let time = |text: &str| NaiveTime::parse_from_str(text, "%H:%M").unwrap();
        for (start, end, from, until) in [
            ("21:00", "08:00", "08:00", "21:00"),
            // None at all.
            ("00:00", "00:00", "00:00", "23:59"),
            ("09:00", "09:00", "00:00", "23:59"),
            // Within one day.
            ("01:00", "06:00", "06:00", "23:59"),
            ("00:00", "08:00", "08:00", "23:59"),
            ("20:00", "23:00", "00:00", "20:00"),
            ("21:00", "00:00", "00:00", "21:00"),
        ] {
            let hours = open_hours(time(start), time(end));
            assert_eq!((hours.from, hours.until.format("%H:%M").to_string().as_str()), (time(from), until), "{start} to {end}");
        }
    }
}
