//! Somebody of the staff who is signed in.

use std::sync::Arc;

use domain::model::{EhrId, Role, Roles};
use fhir_engage::app::Random;
use fhir_engage::credentials::{MasterKey, Vault};
use fhir_engage::ehr::{Parts, Profile};
use fhir_engage::smart::launch::{Answering, Ehrs};
use fhir_engage::smart::{Identity, Launches, Lifetimes, Sessions, Way};
use fhir_engage::store::{Store, StoreError};

/// A session, as a browser has it. `new` puts it into the store of a test; the server of [`super::super::web::fixture`] takes it.
#[derive(Clone, Debug)]
pub struct Staff {
    /// The value of the header `Cookie`.
    pub cookie: String,
    /// What forms carry in their field `csrf`.
    pub csrf: String,
    /// Names the session.
    pub session: String,
}

/// No EHR is registered.
pub struct NoEhrs;

impl Ehrs for NoEhrs {
    fn all(&self) -> Answering<'_, Result<Vec<(EhrId, Profile)>, StoreError>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    fn parts<'a>(&'a self, _: &'a EhrId, _: &'a Profile) -> Answering<'a, Result<Parts, String>> {
        Box::pin(std::future::ready(Err("there is no EHR".to_owned())))
    }

    fn master(&self) -> Result<Arc<MasterKey>, String> {
        Err("there is no key".to_owned())
    }

    fn vault(&self, _: &str) -> Result<Vault, String> {
        Err("there is no vault".to_owned())
    }
}

/// The launches of a store at which no EHR is registered.
pub fn launches(store: &Store, clock: Arc<dyn domain::Clock>) -> Launches {
    let sessions = sessions(store, Arc::clone(&clock));
    Launches::new(store.clone(), sessions, clock, Arc::new(Random::default()), Arc::new(NoEhrs), Arc::default())
}

/// The sessions of a store, with the clock of a test.
pub fn sessions(store: &Store, clock: Arc<dyn domain::Clock>) -> Sessions {
    Sessions::new(store.clone(), clock, Arc::new(Random::default()), Lifetimes::default())
}

impl Staff {
    /// Signs `subject` in with these roles.
    pub async fn new(sessions: &Sessions, subject: &str, roles: &[Role]) -> Self {
        let who = Identity {
            issuer: "https://login.example.org".to_owned(),
            subject: subject.to_owned(),
            name: Some(format!("Kim {subject}")),
            fhir_user: None,
            ehr: None,
            roles: Roles::of(roles),
            way: Way::Oidc,
        };
        let begun = sessions.begin(who, None).await.unwrap();
        let session = begun.session;
        Self { cookie: format!("engage={}", begun.cookie.expose()), csrf: session.csrf, session: session.id }
    }
}
