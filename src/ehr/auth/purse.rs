//! The tokens of one credential: each kept until shortly before it expires, shared with the other nodes where there is a keeper, and got by
//! one task of one node while the others wait.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use domain::Timestamp;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::client::OAuth;
use super::exchange::{Given, TokenError, TokenGrant};
use super::keeper::{Keeper, KeeperFailed, KeptToken, Refreshed, Turn};
use super::scope::{Granted, Level, Need};
use super::tokens::Access;
use crate::net::Secret;

/// How long before its end a token is renewed, so that it does not expire on the way.
const RENEW_BEFORE: TimeDelta = TimeDelta::seconds(30);
/// The lifetime assumed where the server tells none: SMART's recommended longest.
const ASSUMED_LIFETIME: Duration = Duration::from_secs(300);
/// How long fewer scopes are asked for, before all are asked for again: the EHR's operator may have added what was missing.
const REDUCED_FOR: TimeDelta = TimeDelta::hours(24);
/// How long another node's exchange is waited for.
const PATIENCE: Duration = Duration::from_secs(45);
const LOOK_AGAIN: Duration = Duration::from_millis(60);

/// What opens an EHR.
pub(super) enum Source {
    Open,
    Fixed(Secret),
    /// A client by itself.
    Machine(Box<OAuth>),
    /// A client for a person who granted it.
    Person(Box<OAuth>),
}

/// The tokens of one credential.
pub(super) struct Purse {
    /// The credential's name; empty for the EHR's own.
    name: String,
    pub(super) source: Source,
    keeper: Option<Arc<dyn Keeper>>,
    slots: Mutex<HashMap<Vec<Need>, Arc<Mutex<Slot>>>>,
}

#[derive(Default)]
struct Slot {
    held: Option<KeptToken>,
    reduced: Option<(Vec<Need>, Timestamp)>,
}

impl From<KeeperFailed> for TokenError {
    fn from(failed: KeeperFailed) -> Self {
        Self::Keeper(failed.to_string())
    }
}

impl Purse {
    pub(super) fn new(name: &str, source: Source, keeper: Option<Arc<dyn Keeper>>) -> Self {
        Self { name: name.to_owned(), source, keeper, slots: Mutex::default() }
    }

    /// A token for these needs.
    pub(super) async fn access(&self, needs: &[Need]) -> Result<Access, TokenError> {
        let (client, person) = match &self.source {
            Source::Open => return Ok(Access { token: None, granted: None, missing: Vec::new() }),
            Source::Fixed(token) => return Ok(Access { token: Some(token.clone()), granted: None, missing: Vec::new() }),
            Source::Machine(client) => (client, false),
            Source::Person(client) => (client, true),
        };
        let slot = self.slot(needs, person).await;
        // Held over the exchange: whoever comes meanwhile waits and finds the new token.
        let mut slot = slot.lock().await;
        if let Some(held) = slot.held.as_ref().filter(|h| client.clock.now() < h.renew_at) {
            return Ok(access(held, needs));
        }
        slot.held = None;
        let name = self.slot_name(client, needs, person);
        let held = match &self.keeper {
            Some(keeper) => self.shared(client, keeper.as_ref(), &name, needs, person, &mut slot).await?,
            None if person => return Err(TokenError::NotAuthorised(self.name.clone())),
            None => obtain(client, needs, &mut slot.reduced).await?,
        };
        let access = access(&held, needs);
        slot.held = Some(held);
        Ok(access)
    }

    /// Keeps the access token that a person's code has just brought, where there is a keeper. A refresh token that came with it is the
    /// keeper's already.
    pub(super) async fn begin(&self, grant: TokenGrant) -> Result<(), TokenError> {
        let (Source::Person(client), Some(keeper)) = (&self.source, &self.keeper) else { return Ok(()) };
        let held = hold(client, &[], grant, None);
        Ok(keeper.keep(&self.slot_name(client, &[], true), &held).await?)
    }

    /// The access token that is kept of what a person granted, whether or not its time has come.
    pub(super) async fn kept(&self) -> Option<Secret> {
        let (Source::Person(client), Some(keeper)) = (&self.source, &self.keeper) else { return None };
        keeper.token(&self.slot_name(client, &[], true)).await.ok().flatten().map(|kept| kept.token)
    }

    /// Throws a token away that the EHR no longer takes. One that was renewed meanwhile stays.
    pub(super) async fn discard(&self, needs: &[Need], refused: &Secret) {
        let (client, person) = match &self.source {
            Source::Machine(client) => (client, false),
            Source::Person(client) => (client, true),
            Source::Open | Source::Fixed(_) => return,
        };
        let slot = self.slot(needs, person).await;
        let mut slot = slot.lock().await;
        if slot.held.as_ref().is_some_and(|h| h.token == *refused) {
            slot.held = None;
        }
        if let Some(keeper) = &self.keeper
            && let Err(error) = keeper.forget(&self.slot_name(client, needs, person), refused).await
        {
            tracing::warn!(%error, "a token that is no longer taken could not be thrown away");
        }
    }

    async fn slot(&self, needs: &[Need], person: bool) -> Arc<Mutex<Slot>> {
        // What a person granted is one token, whatever it is used for.
        let mut key = if person { Vec::new() } else { needs.to_vec() };
        key.sort();
        self.slots.lock().await.entry(key).or_default().clone()
    }

    /// Names what a token is for, over processes. Two nodes with other settings have other slots.
    fn slot_name(&self, client: &OAuth, needs: &[Need], person: bool) -> String {
        let mut scopes = if person { Vec::new() } else { client.scopes_for(needs) };
        scopes.sort();
        let text = [self.name.as_str(), client.token_url.as_str(), &client.client_id, &scopes.join(" ")].join("\n");
        blake3::hash(text.as_bytes()).to_hex().chars().take(32).collect()
    }

    /// The token that some node got, or gets now.
    async fn shared(
        &self,
        client: &OAuth,
        keeper: &dyn Keeper,
        name: &str,
        needs: &[Need],
        person: bool,
        slot: &mut Slot,
    ) -> Result<KeptToken, TokenError> {
        let began = Instant::now();
        loop {
            let turn = keeper.turn(name).await?;
            // Looked at with the turn in hand: whoever had it before has stored what it got.
            if let Some(kept) = keeper.token(name).await? {
                if client.clock.now() < kept.renew_at {
                    return Ok(kept);
                }
                slot.reduced = slot.reduced.take().or(kept.reduced);
            }
            match turn {
                Some(turn) if person => return self.refreshed(client, keeper, name, needs, turn).await,
                Some(_turn) => {
                    let held = obtain(client, needs, &mut slot.reduced).await?;
                    if let Err(error) = keeper.keep(name, &held).await {
                        tracing::warn!(%error, "a token could not be stored; this process uses it alone");
                    }
                    return Ok(held);
                }
                None if began.elapsed() > PATIENCE => return Err(TokenError::Awaited),
                None => tokio::time::sleep(LOOK_AGAIN).await,
            }
        }
    }

    /// An access token for a refresh token. What comes is stored before it is used: a refresh token that changes with each use and is lost
    /// loses the grant.
    async fn refreshed(
        &self,
        client: &OAuth,
        keeper: &dyn Keeper,
        slot: &str,
        needs: &[Need],
        _turn: Turn,
    ) -> Result<KeptToken, TokenError> {
        let lost = |told: String| TokenError::GrantLost { name: self.name.clone(), told };
        let grant = keeper.grant(&self.name).await?.ok_or_else(|| TokenError::NotAuthorised(self.name.clone()))?;
        if let Some(told) = grant.lost {
            return Err(lost(told));
        }
        let revision = keeper.begin(&self.name, grant.revision).await?.ok_or(TokenError::Awaited)?;
        let answer = client.ask(|| Given::Refresh(&grant.refresh)).await;
        let answer = match answer {
            Ok(answer) => answer,
            Err(TokenError::Refused { code, description }) if code == "invalid_grant" => {
                let mut told = format!("the EHR says {code}{}", description.map(|d| format!(": {d}")).unwrap_or_default());
                if grant.cut_off {
                    told.push_str("; an earlier refresh was cut off before its answer was stored");
                }
                keeper.unrefreshed(&self.name, revision, Some(&told)).await?;
                return Err(lost(told));
            }
            // Nobody knows whether the refresh token was spent: that it was begun stays on record.
            Err(TokenError::Unreachable(failure)) if !failure.never_sent() => return Err(TokenError::Unreachable(failure)),
            Err(error) => {
                keeper.unrefreshed(&self.name, revision, None).await?;
                return Err(error);
            }
        };
        let now = client.clock.now();
        let scope = answer.scope.clone().unwrap_or(grant.scope);
        let held = hold(client, needs, TokenGrant { scope: Some(scope.clone()), ..answer.clone() }, None);
        let outcome = Refreshed {
            refresh: answer.refresh.unwrap_or(grant.refresh),
            scope,
            expires_at: answer.refresh_expires_in.and_then(|d| TimeDelta::from_std(d).ok()).map(|d| now.plus(d)),
            access: Some((slot.to_owned(), held.clone())),
        };
        self.store(keeper, revision, &outcome).await?;
        Ok(held)
    }

    /// Stores a refresh's outcome, again and again where the store is busy: there is no second copy of it.
    async fn store(&self, keeper: &dyn Keeper, revision: i64, outcome: &Refreshed) -> Result<(), TokenError> {
        let mut wait = Duration::from_millis(50);
        loop {
            match keeper.refreshed(&self.name, revision, outcome).await {
                Ok(true) => return Ok(()),
                // Somebody authorised anew meanwhile: theirs is the grant.
                Ok(false) => return Err(TokenError::Awaited),
                Err(error) if wait > Duration::from_secs(8) => {
                    tracing::error!(%error, "a refresh token could not be stored and is lost; authorise this gateway again");
                    return Err(error.into());
                }
                Err(error) => {
                    tracing::warn!(%error, "a refresh token could not be stored yet");
                    tokio::time::sleep(wait).await;
                    wait *= 2;
                }
            }
        }
    }
}

fn access(held: &KeptToken, needs: &[Need]) -> Access {
    let granted = Granted::parse(&held.allows);
    let missing = granted.missing(needs);
    Access { token: Some(held.token.clone()), granted: Some(granted), missing }
}

async fn obtain(client: &OAuth, needs: &[Need], reduced: &mut Option<(Vec<Need>, Timestamp)>) -> Result<KeptToken, TokenError> {
    let now = client.clock.now();
    if reduced.as_ref().is_some_and(|(_, since)| now > since.plus(REDUCED_FOR)) {
        *reduced = None;
    }
    let asked = reduced.as_ref().map_or_else(|| needs.to_vec(), |(fewer, _)| fewer.clone());
    let (grant, fewer) = client.obtain(&asked).await?;
    if let Some(fewer) = fewer {
        *reduced = Some((fewer, now));
    }
    let asked = reduced.as_ref().map_or(asked, |(fewer, _)| fewer.clone());
    Ok(hold(client, &asked, grant, reduced.clone()))
}

fn hold(client: &OAuth, asked: &[Need], grant: TokenGrant, reduced: Option<(Vec<Need>, Timestamp)>) -> KeptToken {
    let granted = match &grant.scope {
        Some(scope) if client.level == Level::User => {
            // A person's client may have been given the gateway's own scopes beside the person's.
            Granted::parse_at(Level::User, scope).and(Granted::parse(scope))
        }
        Some(scope) => Granted::parse(scope),
        None => Granted::as_asked(asked),
    };
    let lifetime = TimeDelta::from_std(grant.expires_in.unwrap_or(ASSUMED_LIFETIME)).unwrap_or(RENEW_BEFORE);
    // A token that lives for less than a minute is used for half of its life.
    let early = RENEW_BEFORE.min(lifetime / 2);
    KeptToken { token: grant.token, allows: granted.to_string(), reduced, renew_at: client.clock.now().plus(lifetime - early) }
}
