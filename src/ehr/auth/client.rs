//! A client of an EHR's token endpoint: asks for what is needed, for fewer where the whole is refused, and with the next key where one is
//! to be tried. It keeps nothing.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use domain::Clock;
use http::header::AUTHORIZATION;
use url::Url;

use super::assertion::{ASSERTION_TYPE, assertion};
use super::exchange::{Exchange, Exchanged, Given, Proof, SecretMethod, TokenError, TokenGrant};
use super::keeper::Keyring;
use super::scope::{Dialect, Level, Need, Purpose};
use super::{Algorithm, Signer};
use crate::ehr::Entropy;
use crate::ehr::date::Skew;
use crate::ehr::pace::{Class, Outcome, Pace, until_next_minute};
use crate::ehr::profile::PurposeScopes;
use crate::net::{Http, Request, Secret};

/// How long a token is waited for where nothing may be asked.
const PATIENCE: Duration = Duration::from_secs(30);

/// A client that is registered with an EHR.
#[derive(Clone)]
pub struct OAuth {
    /// The transport.
    pub http: Http,
    /// The token endpoint.
    pub token_url: Url,
    /// The client's id as registered with the EHR.
    pub client_id: String,
    /// How it shows who it is.
    pub shown_by: ShownBy,
    /// How scopes are written.
    pub dialect: Dialect,
    /// On whose behalf it asks.
    pub level: Level,
    /// Scopes to ask for instead of those that the needs give, whatever they are for.
    pub scopes: Option<Vec<String>>,
    /// The same, by purpose.
    pub purposes: PurposeScopes,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// For the `jti` of assertions.
    pub entropy: Arc<dyn Entropy>,
    /// Where the server's clock is noted.
    pub skew: Arc<Skew>,
    /// How fast it may be asked.
    pub pace: Arc<Pace>,
}

/// How a client shows who it is.
#[derive(Clone)]
pub enum ShownBy {
    /// By assertions: the keys, and the audience.
    Keys(Arc<dyn Keyring>, String),
    /// By a secret.
    Secret(Secret, SecretMethod),
    /// By its id alone.
    Public,
}

impl OAuth {
    /// The algorithm that assertions are signed with, where they are.
    #[must_use]
    pub fn algorithm(&self) -> Option<Algorithm> {
        match &self.shown_by {
            ShownBy::Keys(ring, _) => Some(ring.current().algorithm()),
            ShownBy::Secret(..) | ShownBy::Public => None,
        }
    }

    /// The scopes that are set for these needs, whatever these are.
    fn set(&self, needs: &[Need]) -> Option<&Vec<String>> {
        let by_purpose = match Purpose::of(needs) {
            Purpose::Read => self.purposes.read.as_ref(),
            Purpose::Write => self.purposes.write.as_ref(),
        };
        by_purpose.or(self.scopes.as_ref())
    }

    /// The scopes to ask for.
    #[must_use]
    pub fn scopes_for(&self, needs: &[Need]) -> Vec<String> {
        let mut scopes = match self.set(needs) {
            Some(set) => set.clone(),
            None => needs.iter().flat_map(|n| n.scopes_at(self.level, self.dialect)).collect(),
        };
        let mut seen = std::collections::HashSet::new();
        scopes.retain(|scope| seen.insert(scope.clone()));
        scopes
    }

    /// Asks for a token for these needs; for those of them that are taken where the whole is refused. Also what was asked for in the end,
    /// where that is less.
    ///
    /// # Errors
    /// [`TokenError`].
    pub async fn obtain(&self, needs: &[Need]) -> Result<(TokenGrant, Option<Vec<Need>>), TokenError> {
        let refusal = match self.credentials(needs).await {
            Ok(grant) => return Ok((grant, None)),
            Err(error) => error,
        };
        let parts: Vec<Need> = needs.iter().flat_map(Need::parts).collect();
        if !refusal.is_scope() || self.set(needs).is_some() || parts.len() < 2 {
            return Err(refusal);
        }
        let (accepted, last) = self.one_by_one(needs).await?;
        let Some(last) = last else { return Err(refusal) };
        // With one type accepted its own token will do.
        let grant = if accepted.len() == 1 { last } else { self.credentials(&accepted).await? };
        Ok((grant, Some(accepted)))
    }

    /// Which needs the server takes one at a time, and the last token it gave. A need that is refused is asked for in its parts: some
    /// clients may create and not read, or the other way round.
    async fn one_by_one(&self, needs: &[Need]) -> Result<(Vec<Need>, Option<TokenGrant>), TokenError> {
        let (mut accepted, mut last) = (Vec::new(), None);
        let mut queue: Vec<Need> = needs.iter().rev().cloned().collect();
        while let Some(need) = queue.pop() {
            // A whole that is one need was refused just now.
            let known = needs.len() == 1 && needs.first() == Some(&need);
            let asked = if known { None } else { Some(self.credentials(std::slice::from_ref(&need)).await) };
            match asked {
                Some(Ok(grant)) => {
                    accepted.push(need);
                    last = Some(grant);
                }
                Some(Err(error)) if !error.is_scope() => return Err(error),
                _ => {
                    let parts = need.parts();
                    if parts.len() > 1 {
                        queue.extend(parts.into_iter().rev());
                    }
                }
            }
        }
        Ok((accepted, last))
    }

    /// One token by client credentials.
    ///
    /// # Errors
    /// [`TokenError`].
    pub async fn credentials(&self, needs: &[Need]) -> Result<TokenGrant, TokenError> {
        let scopes = self.scopes_for(needs);
        self.ask(|| Given::Credentials(&scopes)).await
    }

    /// Asks for a token, with the key whose turn it is.
    ///
    /// # Errors
    /// [`TokenError`].
    pub async fn ask<'g>(&self, given: impl Fn() -> Given<'g>) -> Result<TokenGrant, TokenError> {
        let (ring, audience) = match &self.shown_by {
            ShownBy::Keys(ring, audience) => (ring, audience),
            ShownBy::Secret(secret, method) => return self.exchange(Proof::Secret(secret, *method), given()).await,
            ShownBy::Public => return self.exchange(Proof::Public, given()).await,
        };
        ring.renew().await;
        let now = self.clock.now();
        let first = ring.next(now);
        let in_turn: Vec<Arc<dyn Signer>> = [first, Some(ring.current()), ring.before(now)].into_iter().flatten().collect();
        let mut refused: Vec<(String, TokenError)> = Vec::new();
        for signer in in_turn {
            match self.exchange(Proof::Assertion(signer.as_ref(), audience), given()).await {
                Ok(grant) => {
                    // Only now is it known that the key was what the EHR did not like.
                    for (kid, error) in &refused {
                        ring.refused(kid, &error.to_string()).await;
                    }
                    ring.accepted(signer.key_id()).await;
                    return Ok(grant);
                }
                Err(error) if error.is_client() => refused.push((signer.key_id().to_owned(), error)),
                // It got past the key: what it was refused for is something else.
                Err(error) => return Err(error),
            }
        }
        // None of the keys: what the EHR says to the current one is what people know.
        let current = ring.current();
        let told = refused.iter().position(|(kid, _)| kid == current.key_id()).map(|at| refused.swap_remove(at).1);
        Err(told.unwrap_or(TokenError::NoTokenEndpoint))
    }

    /// Gives a token back (RFC 7009). A server that does not know it answers as if it did.
    ///
    /// # Errors
    /// [`TokenError`] where it may still be in force.
    pub async fn revoke(&self, url: &Url, token: &Secret, hint: &str) -> Result<(), TokenError> {
        let mut form = vec![("token", token.expose().to_owned()), ("token_type_hint", hint.to_owned())];
        let mut header = None;
        match &self.shown_by {
            ShownBy::Public => form.push(("client_id", self.client_id.clone())),
            ShownBy::Secret(secret, SecretMethod::Post) => {
                form.extend([("client_id", self.client_id.clone()), ("client_secret", secret.expose().to_owned())]);
            }
            ShownBy::Secret(secret, SecretMethod::Basic) => {
                let part = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
                header = Some(format!("Basic {}", STANDARD.encode(format!("{}:{}", part(&self.client_id), part(secret.expose())))));
            }
            ShownBy::Keys(ring, audience) => {
                let mut jti = [0_u8; 16];
                self.entropy.fill(&mut jti);
                let made = assertion(ring.current().as_ref(), &self.client_id, audience, self.clock.now(), &URL_SAFE_NO_PAD.encode(jti));
                let made = made.map_err(TokenError::Signing)?;
                form.extend([("client_assertion_type", ASSERTION_TYPE.to_owned()), ("client_assertion", made.expose().to_owned())]);
            }
        }
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let mut request = Request::post(url.clone(), "application/x-www-form-urlencoded", body.into_bytes());
        if let Some(value) = header {
            request = request.header(AUTHORIZATION, &value);
        }
        let answer = self.http.send(request).await.map_err(TokenError::Unreachable)?;
        let status = answer.status.as_u16();
        if answer.status.is_success() { Ok(()) } else { Err(TokenError::Unusable { status }) }
    }

    async fn exchange(&self, proof: Proof<'_>, given: Given<'_>) -> Result<TokenGrant, TokenError> {
        let mut jti = [0_u8; 16];
        self.entropy.fill(&mut jti);
        let exchange = Exchange { http: &self.http, token_url: &self.token_url, client_id: &self.client_id, proof };
        let permit = self.pace.turn(Class::Write, PATIENCE).await.map_err(TokenError::Paused)?;
        let now = self.clock.now();
        let Exchanged { result, server_date, status } = exchange.ask(given, now, &URL_SAFE_NO_PAD.encode(jti)).await;
        permit
            .ended(match (status, &result) {
                (429, _) => {
                    let [first, second, third, fourth, ..] = jti;
                    let random = u32::from_le_bytes([first, second, third, fourth]).into();
                    Outcome::Throttled(until_next_minute(server_date.unwrap_or(now), random))
                }
                (_, Err(error)) if error.is_transient() => Outcome::failed(&self.token_url),
                _ => Outcome::Answered,
            })
            .await;
        if let Some(date) = server_date {
            self.skew.note(date, self.clock.now());
        }
        result
    }
}
