//! Somebody of the staff who is signed in.

use std::sync::Arc;

use domain::model::{Role, Roles};
use fhir_engage::app::Random;
use fhir_engage::smart::{Identity, Lifetimes, Sessions, Way};
use fhir_engage::store::Store;

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
