//! The installation's signing keys: made at first need, sealed with the master key, opened to sign.

use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::App;
use crate::config::Keys;
use crate::credentials::jwks;
use crate::credentials::keys::{KeyError, KeyRecord, generate};
use crate::credentials::sealing::{MasterKey, SealError};
use crate::ehr::auth::{Algorithm, Signer};
use crate::store::StoreError;
use crate::store::keys::{self, SigningKey};

/// Why keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The master key cannot be read.
    #[error("the master key cannot be read: {0}; set keys.master to env:NAME or file:PATH")]
    Master(String),
    /// The master key is not one.
    #[error("{0}")]
    NotAMaster(#[source] SealError),
    /// A key could not be made or opened.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The default master key file could not be made.
    #[error("cannot make {}: {}", .0.display(), .1.kind())]
    Make(PathBuf, #[source] std::io::Error),
    /// A key that a connection names is not here.
    #[error("there is no signing key {0}; list them with `fhir-engage keys list`")]
    NoSuchKey(String),
}

impl App {
    /// The public keys, as served at `/.well-known/jwks.json`.
    ///
    /// # Errors
    /// The engine's refusal.
    pub async fn jwks(&self) -> Result<String, StoreError> {
        let rows = self.store.read(keys::list).await?;
        Ok(jwks::render(rows.iter().map(|k| k.public_jwk.as_str())))
    }

    /// The signing keys, without their private halves.
    ///
    /// # Errors
    /// The engine's refusal.
    pub async fn keys(&self) -> Result<Vec<SigningKey>, StoreError> {
        self.store.read(keys::list).await
    }

    /// The current key of an algorithm, made where there is none.
    ///
    /// # Errors
    /// [`KeysError`].
    pub async fn ensure_key(&self, algorithm: Algorithm) -> Result<SigningKey, KeysError> {
        let current = |rows: Vec<SigningKey>| rows.into_iter().rev().find(|k| k.alg == algorithm.as_str() && k.state == "current");
        if let Some(key) = current(self.store.read(keys::list).await?) {
            return Ok(key);
        }
        let master = self.master_key()?;
        let record = tokio::task::spawn_blocking(move || generate(algorithm, &master)).await.map_err(|_| KeyError::Generate)??;
        let now = self.clock.now();
        self.store
            .write("add a signing key", move |conn| {
                keys::add_first(conn, &record.kid, algorithm.as_str(), &record.sealed, &record.public_jwk, now)
            })
            .await?;
        current(self.store.read(keys::list).await?).ok_or_else(|| KeysError::NoSuchKey(algorithm.as_str().to_owned()))
    }

    /// Opens a key for signing: the named one, else the current one of `algorithm`, else any current one.
    pub(super) async fn signer(&self, kid: Option<&str>) -> Result<Arc<dyn Signer>, KeysError> {
        let rows = self.store.read(keys::list).await?;
        let found = match kid {
            Some(kid) => rows.into_iter().find(|k| k.kid == kid).ok_or_else(|| KeysError::NoSuchKey(kid.to_owned()))?,
            None => match rows.into_iter().find(|k| k.state == "current") {
                Some(key) => key,
                None => self.ensure_key(Algorithm::Rs384).await?,
            },
        };
        open_key(found, &self.master_key()?)
    }

    fn master_key(&self) -> Result<MasterKey, KeysError> {
        let keys = &self.config.keys;
        if !keys.master_is_named {
            make_default(&default_path(&self.data))?;
        }
        read_master_key(keys)
    }
}

/// Opens a stored key for signing.
///
/// # Errors
/// Where it was sealed with another master key, or is damaged.
pub fn open_key(found: SigningKey, master: &MasterKey) -> Result<Arc<dyn Signer>, KeysError> {
    let algorithm = Algorithm::parse(&found.alg).ok_or(StoreError::Damaged("a key's algorithm"))?;
    let record = KeyRecord { kid: found.kid, algorithm, sealed: found.sealed, public_jwk: found.public_jwk };
    Ok(Arc::new(record.open(master)?))
}

pub(super) fn read_master_key(keys: &Keys) -> Result<MasterKey, KeysError> {
    let key = keys.master.resolve().map_err(|e| KeysError::Master(e.to_string()))?;
    MasterKey::parse(&key).map_err(KeysError::NotAMaster)
}

/// Where the master key is that is made at first need.
pub(super) fn default_path(data: &Path) -> PathBuf {
    data.join("master.key")
}

/// Makes the default master key file where there is none: readable by its owner only, whole or not at all.
fn make_default(path: &Path) -> Result<(), KeysError> {
    use std::io::Write as _;
    if path.exists() {
        return Ok(());
    }
    let failed = |e| KeysError::Make(path.to_owned(), e);
    let fresh = MasterKey::generate().map_err(KeysError::NotAMaster)?;
    let partial = path.with_extension(format!("new-{}", std::process::id()));
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&partial).map_err(failed)?;
    file.write_all(fresh.expose().as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
    // A link fails where the file is there already: of two first starts one wins, and both use its key.
    let linked = std::fs::hard_link(&partial, path);
    std::fs::remove_file(&partial).map_err(failed)?;
    match linked {
        Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => Err(failed(e)),
        _ => Ok(()),
    }
}
