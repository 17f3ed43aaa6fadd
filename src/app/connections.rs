//! From a registered EHR to a connection that works: its profile from the store, its credential from where the profile points.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::TimeDelta;
use domain::Clock;
use domain::model::EhrId;

use super::keys::KeysError;
use super::{App, Random};
use crate::credentials::{SecretRef, Vault};
use crate::ehr::connection::{ConnectError, Connection, Credential, Parts, Wallet};
use crate::ehr::profile::{Auth, LAUNCH, Profile, ProfileError};
use crate::ehr::retry::Policy;
use crate::ehr::{Entropy, Paces, Secret};
use crate::store::ehr_keys::At;
use crate::store::{StoreError, ehrs, expiries, tokens};
use crate::worker::lease::Leases;

/// How long a node that died with the turn to get a token in its hand holds up the others.
const TOKEN_LEASE: TimeDelta = TimeDelta::seconds(60);

impl Entropy for Random {
    fn fill(&self, bytes: &mut [u8]) {
        Self::fill(self, bytes);
    }
}

/// Why an EHR could not be connected.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No such EHR.
    #[error("there is no EHR {0}; list them with `fhir-engage ehr list`, add one with `fhir-engage ehr add`")]
    NoSuchEhr(String),
    /// Its profile.
    #[error("the profile of {0} cannot be used: {told}; change it with `fhir-engage ehr add {0}`", told = told(.1))]
    Profile(String, ProfileError),
    /// Its credential.
    #[error("the credential of {0} cannot be read: {1}")]
    Credential(String, String),
    /// The signing keys.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The EHR.
    #[error("{}", told(.0))]
    Connect(#[from] ConnectError),
}

/// An error with its causes, in one line. A failure of the network has said all that helps: below it, libraries repeat it.
pub(crate) fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text.push_str(": ");
        text.push_str(&next.to_string());
        cause = if next.is::<crate::net::Failure>() { None } else { next.source() };
    }
    text
}

impl App {
    /// The profile of a registered EHR.
    ///
    /// # Errors
    /// Where there is no such EHR, or its profile cannot be read.
    pub async fn profile(&self, id: &EhrId) -> Result<Profile, ConnectionError> {
        let name = id.as_str().to_owned();
        let row = self.store.read(move |conn| ehrs::get(conn, &name)).await?;
        let row = row.ok_or_else(|| ConnectionError::NoSuchEhr(id.to_string()))?;
        Profile::from_json(&row.profile).map_err(|e| ConnectionError::Profile(id.to_string(), e))
    }

    /// What a connection of this profile needs from its surroundings.
    ///
    /// # Errors
    /// Where a secret or key cannot be read.
    pub async fn parts(&self, id: &EhrId, profile: &Profile) -> Result<Parts, ConnectionError> {
        let mut credentials = BTreeMap::new();
        for (name, auth) in profile.all_auth() {
            let credential = match auth {
                auth if auth.signs() => {
                    let at = At { ehr: id.to_string(), client: name.to_owned() };
                    Credential::Keys(self.keyring(at, auth).await?)
                }
                // Where the secret for launches is missing nobody comes in by one; all else goes on.
                auth if name == LAUNCH => plain(id, auth).unwrap_or_else(|error| {
                    tracing::warn!(ehr = %id, %error, "nobody can be launched from this EHR");
                    Credential::None
                }),
                auth => plain(id, auth)?,
            };
            credentials.insert(name.to_owned(), credential);
        }
        let wants_tokens = profile.all_auth().any(|(_, auth)| auth.client_id().is_some());
        let keeper = if wants_tokens { Some(Arc::new(self.vault(id.as_str())?) as Arc<dyn crate::ehr::auth::Keeper>) } else { None };
        let wallet = wallet(id, profile, credentials, keeper)?;
        Ok(parts(Credential::Wallet(Arc::new(wallet)), Arc::clone(&self.clock), &self.random, &self.paces))
    }

    /// As [`App::parts`], with no token of before: what an EHR grants now is to be seen.
    ///
    /// # Errors
    /// As [`App::parts`].
    pub async fn fresh_parts(&self, id: &EhrId, profile: &Profile) -> Result<Parts, ConnectionError> {
        let name = id.as_str().to_owned();
        self.store.write("throw tokens away", move |conn| tokens::forget_all(conn, &name)).await?;
        self.parts(id, profile).await
    }

    /// Where tokens and grants of an EHR are, or those of one of its launches.
    pub(super) fn vault(&self, name: &str) -> Result<Vault, KeysError> {
        let leases = Leases::new(self.store.clone(), self.owner.clone(), Arc::clone(&self.clock), TOKEN_LEASE);
        Ok(Vault::new(self.store.clone(), leases, Arc::new(self.master_key()?), Arc::clone(&self.clock), name))
    }

    /// Connects a registered EHR.
    ///
    /// # Errors
    /// [`ConnectionError`], each with what to do.
    pub async fn connect(&self, id: &EhrId) -> Result<Connection, ConnectionError> {
        self.connect_within(id, None).await
    }

    /// As [`App::connect`]; no request takes longer than `limit`, whatever the profile says.
    pub(super) async fn connect_within(&self, id: &EhrId, limit: Option<chrono::TimeDelta>) -> Result<Connection, ConnectionError> {
        let mut profile = self.profile(id).await?;
        if let Some(limit) = limit.and_then(|l| u64::try_from(l.num_seconds()).ok()) {
            profile.timeout_secs = Some(profile.timeout_secs.map_or(limit, |own| own.min(limit)).max(1));
        }
        profile.page_size = profile.page_size.or(Some(self.config.sync.page_size));
        let parts = self.parts(id, &profile).await?;
        let opened = Connection::open(&profile, &parts).await;
        self.note_statement(id, &profile, &opened).await;
        let connection = opened?;
        if let Some((origin, certificate)) = connection.certificate.clone() {
            let (name, now) = (id.as_str().to_owned(), self.clock.now());
            let noted = self.store.write("note a certificate's end", move |conn| {
                expiries::note(conn, &name, SERVER_CERTIFICATE, &origin, certificate.not_after, now)
            });
            if let Err(error) = noted.await {
                tracing::warn!(%error, "the end of a server's certificate could not be stored");
            }
        }
        Ok(connection)
    }

    /// The registered EHRs with their profiles, by name. One whose profile cannot be read is named and keeps none of the others from their work.
    ///
    /// # Errors
    /// The engine's refusal.
    pub async fn ehrs(&self) -> Result<Registered, StoreError> {
        Ok(Registered::of(self.store.read(ehrs::list).await?))
    }
}

/// The registered EHRs.
#[derive(Debug, Default)]
pub struct Registered {
    /// Those that can be worked with.
    pub known: Vec<(EhrId, Profile)>,
    /// Those that cannot, by name, and why.
    pub unreadable: Vec<(String, ConnectionError)>,
}

impl Registered {
    pub(super) fn of(rows: Vec<ehrs::EhrRow>) -> Self {
        let mut all = Self::default();
        for row in rows {
            let name = row.id.clone();
            match registered(row) {
                Ok(one) => all.known.push(one),
                Err(error) => all.unreadable.push((name, error)),
            }
        }
        all
    }

    /// What is wrong, in words, one for each that cannot be worked with.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        self.unreadable.iter().map(|(_, error)| error.to_string()).collect()
    }
}

/// How the store names what was seen of a server's certificate.
pub(super) const SERVER_CERTIFICATE: &str = "server-certificate";

/// A credential that is a secret, or none.
pub(super) fn plain(id: &EhrId, auth: &Auth) -> Result<Credential, ConnectionError> {
    Ok(match auth {
        Auth::Bearer { token } => Credential::Bearer(secret(id, token)?),
        Auth::ClientSecret(client) => Credential::Secret(secret(id, &client.secret)?),
        Auth::UserGrant(grant) => match &grant.secret {
            Some(pointer) => Credential::Secret(secret(id, pointer)?),
            None => Credential::None,
        },
        Auth::None | Auth::BackendServices(_) => Credential::None,
    })
}

/// All secrets of a profile beside its credentials.
pub(super) fn wallet(
    id: &EhrId,
    profile: &Profile,
    credentials: BTreeMap<String, Credential>,
    keeper: Option<Arc<dyn crate::ehr::auth::Keeper>>,
) -> Result<Wallet, ConnectionError> {
    let client_key = profile.client_certificate.as_ref().map(|c| secret(id, &c.key)).transpose()?;
    let proxy_password = profile.proxy.as_ref().and_then(|p| p.password.as_ref()).map(|p| secret(id, p)).transpose()?;
    Ok(Wallet { credentials, keeper, client_key, proxy_password })
}

/// A registered EHR with its profile, from its row.
pub(super) fn registered(row: ehrs::EhrRow) -> Result<(EhrId, Profile), ConnectionError> {
    let id = EhrId::parse(&row.id).map_err(|_| StoreError::Damaged("an EHR's name"))?;
    let profile = Profile::from_json(&row.profile).map_err(|e| ConnectionError::Profile(row.id, e))?;
    Ok((id, profile))
}

pub(super) fn secret(id: &EhrId, text: &str) -> Result<Secret, ConnectionError> {
    let failed = |e: String| ConnectionError::Credential(id.to_string(), e);
    SecretRef::parse(text).map_err(|e| failed(e.to_string()))?.resolve().map_err(|e| failed(e.to_string()))
}

pub(super) fn parts(credential: Credential, clock: Arc<dyn Clock>, random: &Arc<Random>, paces: &Paces) -> Parts {
    Parts { credential, clock, entropy: Arc::clone(random) as Arc<dyn Entropy>, retry: Policy::default(), paces: paces.clone() }
}
