//! What `check` looks at, each thing by itself, so that what is wrong with one hides nothing of another. Reads only: it makes no key, runs
//! no migration and puts nothing in force.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use chrono::TimeDelta;

use domain::model::EhrId;

use super::keys::{KeysError, open_key, read_master_key};
use super::{ConnectionError, OpenError, Random, SystemClock, connections, stored_offset};
use crate::config::Config;
use crate::credentials::sealing::MasterKey;
use crate::credentials::{Expiry, Vault};
use crate::ehr::connection::{Credential, Parts};
use crate::ehr::profile::{Auth, Profile};
use crate::outreach::definition::Mistakes;
use crate::outreach::program::{self, Library};
use crate::segments::{NotInForce, library};
use crate::store::keys::{self, SigningKey};
use crate::store::{Location, Schema, Store, StoreError, ehr_keys, ehrs};
use crate::worker::Owner;
use crate::worker::lease::Leases;

/// An installation, looked at from outside.
pub struct Look {
    config: Config,
    data: PathBuf,
    random: Arc<Random>,
}

impl Look {
    /// With this configuration and data folder.
    #[must_use]
    pub fn new(config: Config, data: PathBuf) -> Self {
        Self { config, data, random: Arc::default() }
    }

    /// Where the data is kept.
    #[must_use]
    pub fn location(&self) -> Location {
        Location::parse(self.config.database.url.expose())
    }

    /// How far the schema is. Nothing is made and nothing is run.
    ///
    /// # Errors
    /// Where the database cannot be opened, or is a newer version's.
    pub fn schema(&self) -> Result<Schema, StoreError> {
        Store::look(&self.location())
    }

    /// What stands in the way of the database's file, which the first start would make.
    #[must_use]
    pub fn no_way_to(&self, location: &Location) -> Option<String> {
        let Location::Sqlite(path) = location else { return None };
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty())?;
        // The data folder is made with all above it; any other has to be there.
        let nearest = folder.ancestors().find(|p| p.exists())?;
        if !nearest.is_dir() {
            return Some(format!(
                "{} is a file, so the folder of the database cannot be made: name another with --data",
                nearest.display()
            ));
        }
        let made = folder == self.data || self.data.starts_with(folder);
        (nearest != folder && !made).then(|| format!("the folder {} is not there: make it, or name another database", folder.display()))
    }

    /// Opens a database whose schema is up to date.
    ///
    /// # Errors
    /// As [`Look::schema`].
    pub fn open(&self) -> Result<Store, StoreError> {
        Store::open_without_migrating(self.location())
    }

    /// The ids of the segment definitions, those of the site's own files among them.
    ///
    /// # Errors
    /// Their mistakes.
    pub fn segments(&self) -> Result<Vec<String>, NotInForce> {
        let wanted = library::Library::with_files(&self.data).map_err(NotInForce::Mistakes)?;
        Ok(wanted.rules().segments().iter().map(|s| s.definition().id.clone()).collect())
    }

    /// The programs over those segments.
    ///
    /// # Errors
    /// All their mistakes.
    pub fn programs(&self, segments: &[String]) -> Result<Library, Mistakes> {
        program::shipped(&segments.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Whether a mail server is configured and can be set up. It is not called. A password that cannot be read is no mistake of this.
    ///
    /// # Errors
    /// Why it cannot.
    pub fn mail(&self) -> Result<bool, OpenError> {
        match &self.config.smtp {
            Some(smtp) if smtp.password.as_ref().is_none_or(|p| p.resolve().is_ok()) => super::mailer(smtp).map(|_| true),
            _ => Ok(false),
        }
    }

    /// The master key; `None` where the default one was not made yet.
    ///
    /// # Errors
    /// Where it cannot be read, or is none.
    pub fn master_key(&self) -> Result<Option<MasterKey>, KeysError> {
        let keys = &self.config.keys;
        if !keys.master_is_named && !super::keys::default_path(&self.data).exists() {
            return Ok(None);
        }
        read_master_key(keys).map(Some)
    }

    /// By how many seconds this machine's clock is off the database server's, and which way, where that is too much to write back.
    ///
    /// # Errors
    /// The engine's refusal.
    pub async fn clock_apart(&self, store: &Store) -> Result<Option<(i64, &'static str)>, StoreError> {
        super::stages::clock_apart(store).await
    }

    /// The signing keys.
    ///
    /// # Errors
    /// The engine's refusal.
    pub async fn signing_keys(&self, store: &Store) -> Result<Vec<SigningKey>, StoreError> {
        store.read(keys::list).await
    }

    /// The registered EHRs, each with its profile or why that cannot be used.
    ///
    /// # Errors
    /// The engine's refusal.
    pub async fn ehrs(&self, store: &Store) -> Result<Vec<(String, Result<(EhrId, Profile), ConnectionError>)>, StoreError> {
        let rows = store.read(ehrs::list).await?;
        Ok(rows.into_iter().map(|row| (row.id.clone(), connections::registered(row))).collect())
    }

    /// What ends by itself, of the installation and these EHRs.
    ///
    /// # Errors
    /// The engine's refusal.
    pub async fn expiries(&self, store: &Store, ehrs: &[(EhrId, Profile)]) -> Result<Vec<Expiry>, StoreError> {
        let now = domain::Clock::now(&SystemClock::with_offset(stored_offset(store)?));
        super::ends::expiries(store, ehrs, now).await
    }

    /// What a connection needs from its surroundings; `None` where no signing key was made yet.
    ///
    /// # Errors
    /// Where a secret or key cannot be read.
    pub fn parts(
        &self,
        store: &Store,
        (id, profile): (&EhrId, &Profile),
        master: Option<&MasterKey>,
        signing: &[SigningKey],
    ) -> Result<Option<Parts>, ConnectionError> {
        let uses = store.read_blocking(ehr_keys::list)?;
        let mut credentials = BTreeMap::new();
        for (name, auth) in profile.all_auth() {
            let credential = if auth.signs() {
                let used = uses.iter().find(|r| r.ehr == id.as_str() && r.client == name && r.state == "current").map(|r| r.kid.as_str());
                let set = match auth {
                    Auth::BackendServices(backend) => backend.key_id.as_deref(),
                    _ => None,
                };
                let found = match used.or(set) {
                    Some(kid) => Some(signing.iter().find(|k| k.kid == kid).ok_or_else(|| KeysError::NoSuchKey(kid.to_owned()))?),
                    None => signing.iter().find(|k| k.state == "current"),
                };
                let (Some(found), Some(master)) = (found, master) else { return Ok(None) };
                Credential::Key(open_key(found.clone(), master)?)
            } else {
                connections::plain(id, auth)?
            };
            credentials.insert(name.to_owned(), credential);
        }
        let clock = Arc::new(SystemClock::with_offset(stored_offset(store)?));
        // A grant's token may change with its use: it is used where the change is kept, or not at all.
        let keeper = match (profile.all_auth().any(|(_, auth)| matches!(auth, Auth::UserGrant(_))), read_master_key(&self.config.keys)) {
            (true, Ok(master)) => {
                let clock: Arc<dyn domain::Clock> = clock.clone();
                let leases = Leases::new(store.clone(), Owner::this_process(), Arc::clone(&clock), TimeDelta::seconds(60));
                let vault = Vault::new(store.clone(), leases, Arc::new(master), clock, id.as_str());
                Some(Arc::new(vault) as Arc<dyn crate::ehr::auth::Keeper>)
            }
            _ => None,
        };
        let credential = Credential::Wallet(Arc::new(connections::wallet(id, profile, credentials, keeper)?));
        Ok(Some(connections::parts(credential, clock, &self.random, &crate::ehr::Paces::default())))
    }
}
