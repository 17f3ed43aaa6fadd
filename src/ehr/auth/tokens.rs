//! Access tokens, kept until shortly before they expire and renewed by one task while the others wait.
//!
//! A token is kept per set of needs: reading and writing back use tokens of their own (least privilege, standards.md B.4). Where an
//! EHR refuses a set of scopes as a whole, each type is asked for by itself, so that one refused type does not stop the others.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use domain::{Clock, Timestamp};
use tokio::sync::Mutex;
use url::Url;

use super::exchange::{Exchange, TokenError, TokenGrant};
use super::scope::{Dialect, Granted, Need};
use super::{Algorithm, Signer};
use crate::ehr::Entropy;
use crate::ehr::date::Skew;
use crate::ehr::pace::{Class, Outcome, Pace, until_next_minute};
use crate::net::{Http, Secret};

/// How long before its end a token is renewed, so that it does not expire on the way.
const RENEW_BEFORE: TimeDelta = TimeDelta::seconds(30);
/// How long a token is waited for where nothing may be asked.
const PATIENCE: Duration = Duration::from_secs(30);
/// The lifetime assumed where the server tells none: SMART's recommended longest.
const ASSUMED_LIFETIME: Duration = Duration::from_secs(300);

/// What a client of one EHR authorises its requests with.
pub struct Tokens {
    source: Source,
    slots: Mutex<HashMap<Vec<Need>, Arc<Mutex<Slot>>>>,
}

enum Source {
    Open,
    Fixed(Secret),
    Backend(Box<Backend>),
}

/// The parts of a SMART Backend Services client.
pub struct Backend {
    /// The transport.
    pub http: Http,
    /// The token endpoint.
    pub token_url: Url,
    /// The token endpoint as the EHR writes it: the audience of assertions.
    pub audience: String,
    /// The client's id as registered with the EHR.
    pub client_id: String,
    /// The key registered with the EHR.
    pub signer: Arc<dyn Signer>,
    /// How scopes are written.
    pub dialect: Dialect,
    /// Scopes to ask for instead of those that the needs give.
    pub scopes: Option<Vec<String>>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// For the `jti` of assertions.
    pub entropy: Arc<dyn Entropy>,
    /// Where the server's clock is noted.
    pub skew: Arc<Skew>,
    /// How fast it may be asked.
    pub pace: Arc<Pace>,
}

/// How a request may be authorised.
#[derive(Clone, Debug)]
pub struct Access {
    /// The bearer token; `None` at an EHR that needs none.
    pub token: Option<Secret>,
    /// What it allows, where that is known: not for static tokens and open EHRs.
    pub granted: Option<Granted>,
    /// The needs that the EHR refuses as a whole, or left out of the grant.
    pub missing: Vec<Need>,
}

#[derive(Default)]
struct Slot {
    held: Option<Held>,
    /// What to ask for since the whole was refused.
    reduced: Option<Vec<Need>>,
}

struct Held {
    access: Access,
    renew_at: Timestamp,
}

impl Tokens {
    /// For an EHR that asks for no authorisation.
    #[must_use]
    pub fn none() -> Self {
        Self::from(Source::Open)
    }

    /// For an EHR that gave out a static token.
    #[must_use]
    pub fn fixed(token: Secret) -> Self {
        Self::from(Source::Fixed(token))
    }

    /// For SMART Backend Services.
    #[must_use]
    pub fn backend(backend: Backend) -> Self {
        Self::from(Source::Backend(Box::new(backend)))
    }

    fn from(source: Source) -> Self {
        Self { source, slots: Mutex::default() }
    }

    /// The algorithm that assertions are signed with, where they are.
    #[must_use]
    pub fn algorithm(&self) -> Option<Algorithm> {
        match &self.source {
            Source::Backend(backend) => Some(backend.signer.algorithm()),
            Source::Open | Source::Fixed(_) => None,
        }
    }

    /// A token for these needs: the kept one, or a new one. Tasks that ask at the same time share one exchange.
    ///
    /// # Errors
    /// [`TokenError`].
    pub async fn access(&self, needs: &[Need]) -> Result<Access, TokenError> {
        let backend = match &self.source {
            Source::Open => {
                return Ok(Access { token: None, granted: None, missing: Vec::new() });
            }
            Source::Fixed(token) => {
                return Ok(Access { token: Some(token.clone()), granted: None, missing: Vec::new() });
            }
            Source::Backend(backend) => backend,
        };
        let slot = self.slot(needs).await;
        // Held over the exchange: whoever comes meanwhile waits and finds the new token.
        let mut slot = slot.lock().await;
        if let Some(held) = slot.held.as_ref().filter(|h| backend.clock.now() < h.renew_at) {
            return Ok(held.access.clone());
        }
        slot.held = None;
        let held = backend.obtain(needs, &mut slot.reduced).await?;
        let access = held.access.clone();
        slot.held = Some(held);
        Ok(access)
    }

    /// Throws a token away that the EHR no longer takes. One that was renewed meanwhile stays.
    pub async fn discard(&self, needs: &[Need], refused: &Secret) {
        let slot = self.slot(needs).await;
        let mut slot = slot.lock().await;
        if slot.held.as_ref().is_some_and(|h| h.access.token.as_ref() == Some(refused)) {
            slot.held = None;
        }
    }

    async fn slot(&self, needs: &[Need]) -> Arc<Mutex<Slot>> {
        let mut key = needs.to_vec();
        key.sort();
        self.slots.lock().await.entry(key).or_default().clone()
    }
}

impl Backend {
    async fn obtain(&self, needs: &[Need], reduced: &mut Option<Vec<Need>>) -> Result<Held, TokenError> {
        let asked = reduced.clone().unwrap_or_else(|| needs.to_vec());
        match self.ask(&asked).await {
            Ok(grant) => Ok(self.hold(needs, &asked, grant)),
            Err(refusal) if refusal.is_scope() && self.scopes.is_none() && asked.len() > 1 => {
                let (accepted, last) = self.one_by_one(&asked).await?;
                let Some(last) = last else { return Err(refusal) };
                // With one type accepted its own token will do.
                let grant = if accepted.len() == 1 { last } else { self.ask(&accepted).await? };
                let held = self.hold(needs, &accepted, grant);
                *reduced = Some(accepted);
                Ok(held)
            }
            Err(error) => Err(error),
        }
    }

    /// Which needs the server takes one at a time, and the last token it gave.
    async fn one_by_one(&self, needs: &[Need]) -> Result<(Vec<Need>, Option<TokenGrant>), TokenError> {
        let (mut accepted, mut last) = (Vec::new(), None);
        for need in needs {
            match self.ask(std::slice::from_ref(need)).await {
                Ok(grant) => {
                    accepted.push(need.clone());
                    last = Some(grant);
                }
                Err(error) if error.is_scope() => {}
                Err(error) => return Err(error),
            }
        }
        Ok((accepted, last))
    }

    async fn ask(&self, needs: &[Need]) -> Result<TokenGrant, TokenError> {
        let scopes = self.scopes.clone().unwrap_or_else(|| needs.iter().flat_map(|n| n.scopes(self.dialect)).collect());
        let mut jti = [0_u8; 16];
        self.entropy.fill(&mut jti);
        let exchange = Exchange {
            http: &self.http,
            token_url: &self.token_url,
            audience: &self.audience,
            client_id: &self.client_id,
            signer: self.signer.as_ref(),
        };
        let permit = self.pace.turn(Class::Write, PATIENCE).await.map_err(TokenError::Paused)?;
        let now = self.clock.now();
        let exchanged = exchange.ask(&scopes, now, &URL_SAFE_NO_PAD.encode(jti)).await;
        permit
            .ended(match (exchanged.status, &exchanged.result) {
                (429, _) => {
                    let [first, second, third, fourth, ..] = jti;
                    let random = u32::from_le_bytes([first, second, third, fourth]).into();
                    Outcome::Throttled(until_next_minute(exchanged.server_date.unwrap_or(now), random))
                }
                (_, Err(error)) if error.is_transient() => Outcome::failed(&self.token_url),
                _ => Outcome::Answered,
            })
            .await;
        if let Some(date) = exchanged.server_date {
            self.skew.note(date, self.clock.now());
        }
        exchanged.result
    }

    fn hold(&self, needs: &[Need], asked: &[Need], grant: TokenGrant) -> Held {
        let granted = match &grant.scope {
            Some(scope) => Granted::parse(scope),
            None => Granted::as_asked(asked),
        };
        let missing = granted.missing(needs);
        let access = Access { token: Some(grant.token), granted: Some(granted), missing };
        let lifetime = TimeDelta::from_std(grant.expires_in.unwrap_or(ASSUMED_LIFETIME)).unwrap_or(RENEW_BEFORE);
        // A token that lives for less than a minute is used for half of its life.
        let early = RENEW_BEFORE.min(lifetime / 2);
        Held { access, renew_at: self.clock.now().plus(lifetime - early) }
    }
}
