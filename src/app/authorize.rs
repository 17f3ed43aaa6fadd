//! A person lets this gateway in, once: the browser is sent to the EHR, what it comes back with is exchanged, and the grant is kept.

use std::time::Duration;

use chrono::TimeDelta;
use domain::model::EhrId;
use url::Url;

use super::{App, ConnectionError};
use crate::ehr::auth::TokenError;
use crate::ehr::auth::authorize::{NotACode, Request};
use crate::ehr::auth::keeper::{KeeperFailed, Refreshed};
use crate::ehr::invitation::{AuthorizeError, Invitation};
use crate::ehr::profile::{Auth, LAUNCH};
use crate::net::loopback::Loopback;

/// Why nothing was granted.
#[derive(Debug, thiserror::Error)]
pub enum GrantError {
    /// The EHR, its profile or its keys.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// The credential is not one that a person grants.
    #[error("this credential is not granted by a person; see `fhir-engage ehr add --help`")]
    NotByAPerson,
    /// No request could be made.
    #[error("{}", super::told(.0))]
    Authorize(#[from] AuthorizeError),
    /// What came back is no code.
    #[error(transparent)]
    NotACode(#[from] NotACode),
    /// The code was not taken.
    #[error("{}", super::told(.0))]
    Token(#[from] TokenError),
    /// There is no refresh token in the answer.
    #[error(
        "the EHR gave an access token and no refresh token: ask its operator to allow offline access (scope offline_access) for this client"
    )]
    NoRefreshToken,
    /// It could not be kept.
    #[error("what was granted could not be kept: {0}")]
    Keep(#[from] KeeperFailed),
    /// The port of the redirect URL cannot be had.
    #[error("cannot listen on port {0} of this machine, where the redirect URL leads ({kind}); stop what listens there, or use --paste", kind = .1.kind())]
    Listen(u16, #[source] std::io::Error),
    /// Nobody came back.
    #[error("nobody came back from the EHR within {0} minutes; begin again")]
    Nobody(u64),
}

/// An authorization request that waits for its answer.
pub struct Inviting {
    ehr: EhrId,
    client: String,
    invitation: Invitation,
}

impl App {
    /// Makes the request that a person opens in a browser. `client` names the credential; empty for the EHR's own.
    ///
    /// # Errors
    /// [`GrantError`].
    pub async fn invite(&self, id: &EhrId, client: &str) -> Result<Inviting, GrantError> {
        let profile = self.profile(id).await?;
        // The launch's client is let in by each user, at each launch.
        if client == LAUNCH || !matches!(profile.auth_named(client), Some(Auth::UserGrant(_))) {
            return Err(GrantError::NotByAPerson);
        }
        let parts = self.parts(id, &profile).await?;
        let invitation = Invitation::open(&profile, client, &parts).await?;
        Ok(Inviting { ehr: id.clone(), client: client.to_owned(), invitation })
    }

    /// Exchanges what the browser came back with, and keeps what was granted; returns its scopes.
    ///
    /// # Errors
    /// [`GrantError`]; nothing was kept then, and what was granted before stays.
    pub async fn accept(&self, inviting: &Inviting, back: &Url) -> Result<String, GrantError> {
        let request = inviting.request();
        let code = request.code(back)?;
        let grant = inviting.invitation.exchange(&code).await?;
        let now = self.clock.now();
        let outcome = Refreshed {
            refresh: grant.refresh.ok_or(GrantError::NoRefreshToken)?,
            scope: grant.scope.unwrap_or_else(|| inviting.invitation.scopes.join(" ")),
            expires_at: grant.refresh_expires_in.and_then(|d| TimeDelta::from_std(d).ok()).map(|d| now.plus(d)),
            access: None,
        };
        let vault = self.vault(inviting.ehr.as_str()).map_err(ConnectionError::from)?;
        vault.granted(&inviting.client, &outcome).await?;
        Ok(outcome.scope)
    }
}

impl Inviting {
    const fn request(&self) -> &Request {
        &self.invitation.request
    }

    /// What to open in a browser.
    #[must_use]
    pub const fn url(&self) -> &Url {
        &self.request().url
    }

    /// Where the browser comes back to.
    #[must_use]
    pub const fn redirect(&self) -> &Url {
        &self.request().redirect
    }

    /// Whether this machine can wait there.
    #[must_use]
    pub fn can_wait(&self) -> bool {
        let redirect = self.redirect();
        redirect.scheme() == "http" && matches!(redirect.host_str(), Some("127.0.0.1" | "localhost"))
    }

    /// Begins to listen where the browser comes back to; before the URL is shown.
    ///
    /// # Errors
    /// Where the port cannot be had.
    pub async fn listen(&self) -> Result<Waiting, GrantError> {
        let port = self.redirect().port_or_known_default().unwrap_or(80);
        Ok(Waiting(Loopback::listen(port).await.map_err(|e| GrantError::Listen(port, e))?))
    }
}

/// Waits for the browser.
#[derive(Debug)]
pub struct Waiting(Loopback);

impl Waiting {
    /// Waits for the browser to come back, for so long.
    ///
    /// # Errors
    /// Where nobody came.
    pub async fn back(&self, inviting: &Inviting, limit: Duration) -> Result<Url, GrantError> {
        let minutes = limit.as_secs() / 60;
        let port = self.0.port();
        match tokio::time::timeout(limit, self.0.redirected_to(inviting.redirect().path())).await {
            Ok(back) => back.map_err(|e| GrantError::Listen(port, e)),
            Err(_) => Err(GrantError::Nobody(minutes)),
        }
    }
}
