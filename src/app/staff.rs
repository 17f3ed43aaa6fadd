//! Staff's way in, put together: sessions, launches from the registered EHRs, and the site's own provider.

use std::sync::Arc;

use domain::model::{Casting, EhrId};

use super::App;
use super::pages::PagesError;
use super::stages::StageError;
use crate::credentials::{MasterKey, SecretRef, Vault};
use crate::ehr::{Entropy, Parts, Profile};
use crate::smart::launch::{Answering, Ehrs};
use crate::smart::provider::Account;
use crate::smart::{Launches, Lifetimes, Provider, Sessions};
use crate::store::StoreError;

impl App {
    /// Who is signed in.
    #[must_use]
    pub fn sessions(&self) -> Sessions {
        let staff = &self.config.staff;
        let lives = Lifetimes { idle: staff.idle, absolute: staff.lifetime, ..Lifetimes::default() };
        Sessions::new(self.store.clone(), Arc::clone(&self.clock), self.entropy(), lives)
    }

    /// Launches from the registered EHRs.
    #[must_use]
    pub fn launches(self: &Arc<Self>) -> Launches {
        let ehrs: Arc<dyn Ehrs> = Arc::new(Registry(Arc::clone(self)));
        Launches::new(self.store.clone(), self.sessions(), Arc::clone(&self.clock), self.entropy(), ehrs, self.casting())
    }

    /// Throws away sessions and openings that have run out, and gives back what EHRs granted to them; returns how many sessions, and how many
    /// grants.
    ///
    /// # Errors
    /// The engine's refusal, or another node is at it.
    pub async fn sweep_sessions(self: &Arc<Self>) -> Result<(u64, usize), StageError> {
        let lease = self.lease("sessions").await?;
        let swept = self.launches().sweep().await;
        lease.release().await?;
        Ok(swept?)
    }

    /// The site's own provider, where one is configured.
    ///
    /// # Errors
    /// [`PagesError::Provider`] where its secret cannot be read.
    pub fn provider(self: &Arc<Self>) -> Result<Option<Provider>, PagesError> {
        let Some(oidc) = &self.config.staff.oidc else { return Ok(None) };
        let read =
            |name, place: Option<&SecretRef>| place.map(|p| p.resolve().map_err(|e| PagesError::Provider(name, e.to_string()))).transpose();
        let account = Account {
            issuer: oidc.issuer.clone(),
            client_id: oidc.client_id.clone(),
            secret: read("client_secret", oidc.client_secret.as_ref())?,
            scopes: oidc.scopes.clone(),
            extra_ca: read("ca", oidc.ca.as_ref())?.map(|pem| pem.expose().as_bytes().to_vec()),
        };
        let ehrs: Arc<dyn Ehrs> = Arc::new(Registry(Arc::clone(self)));
        let (clock, entropy) = (Arc::clone(&self.clock), self.entropy());
        Ok(Some(Provider::new(account, self.store.clone(), clock, entropy, ehrs, self.casting())))
    }

    fn casting(&self) -> Arc<Casting> {
        Arc::new(Casting::new(self.config.staff.roles.clone()))
    }

    fn entropy(&self) -> Arc<dyn Entropy> {
        Arc::clone(&self.random) as Arc<dyn Entropy>
    }
}

/// The registered EHRs, as launches see them.
struct Registry(Arc<App>);

impl Ehrs for Registry {
    fn all(&self) -> Answering<'_, Result<Vec<(EhrId, Profile)>, StoreError>> {
        Box::pin(async { Ok(self.0.ehrs().await?.known) })
    }

    fn parts<'a>(&'a self, id: &'a EhrId, profile: &'a Profile) -> Answering<'a, Result<Parts, String>> {
        Box::pin(async move { self.0.parts(id, profile).await.map_err(|e| e.to_string()) })
    }

    fn master(&self) -> Result<Arc<MasterKey>, String> {
        self.0.master_key().map(Arc::new).map_err(|e| e.to_string())
    }

    fn vault(&self, name: &str) -> Result<Vault, String> {
        self.0.vault(name).map_err(|e| e.to_string())
    }
}
