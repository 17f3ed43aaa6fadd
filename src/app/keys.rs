//! The installation's signing keys: made at first need, sealed with the master key, opened to sign.

use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use domain::model::EhrId;

use super::{App, ConnectionError};
use crate::config::Keys;
use crate::credentials::jwks;
use crate::credentials::keys::{KeyError, KeyRecord, generate};
use crate::credentials::ring::{self, Ring, RingError};
use crate::credentials::sealing::{MasterKey, SealError};
use crate::ehr::auth::{Algorithm, Keyring, Signer};
use crate::ehr::profile::Auth;
use crate::store::ehr_keys::{self, At, EhrKey};
use crate::store::keys::{self, SigningKey};
use crate::store::{StoreError, tokens};

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
    /// The keys of an EHR could not be opened.
    #[error(transparent)]
    Ring(#[from] RingError),
    /// The default master key file could not be made.
    #[error("cannot make {}: {}", .0.display(), .1.kind())]
    Make(PathBuf, #[source] std::io::Error),
    /// A key that a connection names is not here.
    #[error("there is no signing key {0}; list them with `fhir-engage keys list`")]
    NoSuchKey(String),
    /// A key is still in use.
    #[error(
        "{kid} is the current key at {ehrs}; rotate first (`fhir-engage keys rotate`), or repeat with --force: what is signed with it is refused from then on"
    )]
    InUse {
        /// Which.
        kid: String,
        /// Where.
        ehrs: String,
    },
}

/// What a rotation did at one EHR.
#[derive(Clone, Debug)]
pub struct Rotation {
    /// The EHR.
    pub ehr: String,
    /// The credential of the EHR; empty for its own.
    pub credential: String,
    /// The key that was in use.
    pub from: String,
    /// The key that takes its place.
    pub to: String,
    /// From when on it is tried; `None` where it took its place at once.
    pub tried_after: Option<domain::Timestamp>,
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

    /// The public keys that one EHR has to know: those in use there, and those that wait; the installation's where none is in use yet.
    ///
    /// # Errors
    /// The engine's refusal.
    pub async fn jwks_of(&self, id: &EhrId) -> Result<String, StoreError> {
        let (keys, uses) = (self.keys().await?, self.key_uses().await?);
        let kids: Vec<&str> = uses.iter().filter(|u| u.ehr == id.as_str() && u.state != "refused").map(|u| u.kid.as_str()).collect();
        let known = keys.iter().filter(|k| kids.is_empty() || kids.contains(&k.kid.as_str()));
        Ok(jwks::render(known.map(|k| k.public_jwk.as_str())))
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

    /// Which key is used where.
    ///
    /// # Errors
    /// The engine's refusal.
    pub async fn key_uses(&self) -> Result<Vec<EhrKey>, StoreError> {
        self.store.read(ehr_keys::list).await
    }

    /// Makes a new key: `next` where there is a current one of its algorithm, else that.
    ///
    /// # Errors
    /// [`KeysError`].
    pub async fn generate_key(&self, algorithm: Algorithm) -> Result<SigningKey, KeysError> {
        if !self.store.read(keys::list).await?.iter().any(|k| k.alg == algorithm.as_str() && k.state == "current") {
            return self.ensure_key(algorithm).await;
        }
        let master = self.master_key()?;
        let record = tokio::task::spawn_blocking(move || generate(algorithm, &master)).await.map_err(|_| KeyError::Generate)??;
        let (kid, now) = (record.kid.clone(), self.clock.now());
        self.store
            .write("add a signing key", move |conn| {
                keys::add(conn, &record.kid, algorithm.as_str(), "next", &record.sealed, &record.public_jwk, now)
            })
            .await?;
        let all = self.store.read(keys::list).await?;
        all.into_iter().find(|k| k.kid == kid).ok_or(KeysError::NoSuchKey(kid))
    }

    /// Begins a rotation at these EHRs, all where none is named: a new key is published now and tried once the overlap is over. `at_once`
    /// is for a key that others may have: the new one takes its place now, the old one is published no more, and tokens got with it are
    /// thrown away.
    ///
    /// # Errors
    /// Where a key cannot be made, or an EHR is not there.
    pub async fn rotate(&self, ehrs: &[EhrId], alg: Option<Algorithm>, at_once: bool) -> Result<Vec<Rotation>, ConnectionError> {
        for id in ehrs {
            self.profile(id).await?;
        }
        // One key per algorithm serves all EHRs of this rotation.
        let mut fresh: Vec<SigningKey> = Vec::new();
        let (mut done, mut left) = (Vec::new(), Vec::new());
        // Those that are passed over go on with the old key: they are looked up too, so that it is known to be in use.
        for (id, profile) in self.ehrs().await?.known {
            for (client, auth) in profile.all_auth().filter(|(_, auth)| auth.signs()) {
                let at = At { ehr: id.to_string(), client: client.to_owned() };
                let (current, waiting) = self.keys_in_use(&at, auth).await?;
                if !ehrs.is_empty() && !ehrs.contains(&id) {
                    continue;
                }
                let algorithm = match alg {
                    Some(alg) => alg,
                    None => Algorithm::parse(&current.alg).ok_or(StoreError::Damaged("a key's algorithm"))?,
                };
                let waits = waiting.filter(|k| !at_once && k.alg == algorithm.as_str());
                let to = match waits.or_else(|| fresh.iter().find(|k| k.alg == algorithm.as_str()).cloned()) {
                    Some(key) => key,
                    None => {
                        let key = self.staged_key(algorithm, at_once).await?;
                        fresh.push(key.clone());
                        key
                    }
                };
                let tried_after = self.put_in_turn(&at, &to, at_once).await?;
                if at_once {
                    left.push(current.kid.clone());
                }
                done.push(Rotation { ehr: at.ehr, credential: at.client, from: current.kid, to: to.kid, tried_after });
            }
        }
        for kid in left {
            // One that another EHR still uses is retired with the last of them.
            if !self.key_uses().await?.iter().any(|r| r.kid == kid && r.state == "current") {
                self.drop_key(&kid).await?;
            }
        }
        Ok(done)
    }

    /// A key that nobody uses yet; for an emergency always a new one, since whoever took one may have taken those beside it.
    async fn staged_key(&self, algorithm: Algorithm, at_once: bool) -> Result<SigningKey, KeysError> {
        let waiting = self.store.read(keys::list).await?.into_iter().rev().find(|k| k.alg == algorithm.as_str() && k.state == "next");
        match waiting.filter(|_| !at_once) {
            Some(key) => Ok(key),
            None => self.generate_key(algorithm).await,
        }
    }

    async fn put_in_turn(&self, at: &At, to: &SigningKey, at_once: bool) -> Result<Option<domain::Timestamp>, StoreError> {
        let (at, to, now, overlap) = (at.clone(), to.clone(), self.clock.now(), self.config.keys.overlap);
        self.store
            .write("rotate a key", move |conn| {
                if at_once {
                    ehr_keys::set(conn, &at, &to.kid, now)?;
                    tokens::forget_all(conn, &at.ehr)?;
                    return Ok(None);
                }
                let waits = ehr_keys::of(conn, &at)?.into_iter().find(|r| r.kid == to.kid && r.state == "next");
                if let Some(waits) = waits {
                    return Ok(Some(domain::Timestamp::from_micros(waits.try_after)));
                }
                // The overlap counts from when it was first published.
                let published = domain::Timestamp::from_micros(to.created_at).plus(overlap);
                let try_after = if published.micros() > now.micros() { published } else { now };
                ehr_keys::stage(conn, &at, &to.kid, try_after, now)?;
                Ok(Some(try_after))
            })
            .await
    }

    /// Takes a key out of use and out of the published set.
    ///
    /// # Errors
    /// [`KeysError`] where there is no such key, or an EHR uses it and `force` is not set.
    pub async fn retire_key(&self, kid: &str, force: bool) -> Result<(), KeysError> {
        if !self.store.read(keys::list).await?.iter().any(|k| k.kid == kid) {
            return Err(KeysError::NoSuchKey(kid.to_owned()));
        }
        let uses = self.key_uses().await?;
        let at: Vec<&str> = uses.iter().filter(|r| r.kid == kid && r.state == "current").map(|r| r.ehr.as_str()).collect();
        if !at.is_empty() && !force {
            return Err(KeysError::InUse { kid: kid.to_owned(), ehrs: at.join(", ") });
        }
        Ok(self.drop_key(kid).await?)
    }

    async fn drop_key(&self, kid: &str) -> Result<(), StoreError> {
        let kid = kid.to_owned();
        self.store
            .write("retire a key", move |conn| {
                keys::set_state(conn, &kid, "retired")?;
                ehr_keys::drop_key(conn, &kid)
            })
            .await
    }

    /// The key that a credential signs with, and the one that waits to be tried. What a profile says counts until the first use.
    async fn keys_in_use(&self, at: &At, auth: &Auth) -> Result<(SigningKey, Option<SigningKey>), KeysError> {
        let all = self.store.read(keys::list).await?;
        let of = at.clone();
        let rows = self.store.read(move |conn| ehr_keys::of(conn, &of)).await?;
        let named = |kid: &str| all.iter().find(|k| k.kid == kid).cloned().ok_or_else(|| KeysError::NoSuchKey(kid.to_owned()));
        let in_state = |state: &str| rows.iter().find(|r| r.state == state);
        if let Some(current) = in_state("current") {
            let waiting = in_state("next").and_then(|r| all.iter().find(|k| k.kid == r.kid).cloned());
            return Ok((named(&current.kid)?, waiting));
        }
        let set = match auth {
            Auth::BackendServices(backend) => backend.key_id.as_deref(),
            _ => None,
        };
        let key = match set {
            Some(kid) => named(kid)?,
            None => match all.iter().find(|k| k.state == "current").cloned() {
                Some(key) => key,
                None => self.ensure_key(Algorithm::Rs384).await?,
            },
        };
        let (at, kid, now) = (at.clone(), key.kid.clone(), self.clock.now());
        self.store.write("note a key's use", move |conn| ehr_keys::set(conn, &at, &kid, now)).await?;
        Ok((key, None))
    }

    /// The keys of a credential, opened, as far as their rotation is. Keys whose time is over are retired on the way.
    pub(super) async fn keyring(&self, at: At, auth: &Auth) -> Result<Arc<dyn Keyring>, KeysError> {
        self.settle_keys().await?;
        self.keys_in_use(&at, auth).await?;
        let (master, overlap) = (Arc::new(self.master_key()?), self.config.keys.overlap);
        Ok(Arc::new(Ring::open(self.store.clone(), master, Arc::clone(&self.clock), at, overlap).await?))
    }

    async fn settle_keys(&self) -> Result<(), StoreError> {
        if self.store.read(keys::list).await?.len() < 2 {
            return Ok(());
        }
        let settled = self.clock.now().plus(-self.config.keys.overlap.max(jwks::MAX_AGE + ring::ASSERTION_LIFE));
        let retired = self.store.write("settle keys", move |conn| ehr_keys::settle(conn, settled)).await?;
        for kid in retired {
            tracing::info!(key = %kid, "this signing key is used nowhere any more and is published no longer");
        }
        Ok(())
    }

    pub(super) fn master_key(&self) -> Result<MasterKey, KeysError> {
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
