//! Tokens and grants of one EHR, shared by all nodes: sealed in the database, and got by one node at a time under a lease.

use std::sync::Arc;

use domain::{Clock, Timestamp};
use serde::{Deserialize, Serialize};

use super::sealing::{MasterKey, SealError};
use crate::ehr::Secret;
use crate::ehr::auth::Need;
use crate::ehr::auth::keeper::{Answering, Keeper, KeeperFailed, KeptGrant, KeptToken, Refreshed, Turn};
use crate::store::grants::{self, Fresh};
use crate::store::tokens::{self, TokenRow};
use crate::store::{Store, StoreError};
use crate::worker::lease::Leases;

/// The vault of one EHR.
#[derive(Clone)]
pub struct Vault {
    store: Store,
    leases: Leases,
    master: Arc<MasterKey>,
    clock: Arc<dyn Clock>,
    ehr: String,
}

/// A token in clear, only ever inside of a seal.
#[derive(Serialize, Deserialize)]
struct Plain {
    token: String,
    allows: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reduced: Option<(Vec<String>, i64)>,
}

impl Vault {
    /// The vault of an EHR.
    #[must_use]
    pub fn new(store: Store, leases: Leases, master: Arc<MasterKey>, clock: Arc<dyn Clock>, ehr: &str) -> Self {
        Self { store, leases, master, clock, ehr: ehr.to_owned() }
    }

    /// Keeps what a person just granted to a credential; what was granted before is replaced.
    ///
    /// # Errors
    /// Where it cannot be sealed or stored.
    pub async fn granted(&self, client: &str, outcome: &Refreshed) -> Result<(), KeeperFailed> {
        let fresh = self.fresh(client, outcome)?;
        let (ehr, client, now) = (self.ehr.clone(), client.to_owned(), self.clock.now());
        let done = self.store.write("keep a grant", move |conn| {
            // Tokens of an older grant are of another person, perhaps.
            tokens::forget_all(conn, &ehr)?;
            grants::put(conn, &ehr, &client, &fresh, now)
        });
        done.await.map_err(stored)
    }

    /// Throws away all that is in it.
    ///
    /// # Errors
    /// The engine's refusal.
    pub async fn clear(&self) -> Result<(), StoreError> {
        let ehr = self.ehr.clone();
        let done = self.store.write("throw a grant away", move |conn| {
            tokens::forget_all(conn, &ehr)?;
            grants::forget_all(conn, &ehr)
        });
        done.await
    }

    fn fresh(&self, client: &str, outcome: &Refreshed) -> Result<Fresh, KeeperFailed> {
        let sealed = self.master.seal(&self.grant_label(client), outcome.refresh.expose().as_bytes()).map_err(sealing)?;
        Ok(Fresh { sealed, scope: outcome.scope.clone(), expires_at: outcome.expires_at })
    }

    fn row(&self, slot: &str, token: &KeptToken) -> Result<TokenRow, KeeperFailed> {
        let reduced = token.reduced.as_ref().map(|(needs, since)| (needs.iter().map(ToString::to_string).collect(), since.micros()));
        let plain = Plain { token: token.token.expose().to_owned(), allows: token.allows.clone(), reduced };
        let text = serde_json::to_vec(&plain).map_err(|_| KeeperFailed("a token could not be written down".to_owned()))?;
        let sealed = self.master.seal(&self.token_label(slot), &text).map_err(sealing)?;
        Ok(TokenRow { sealed, fingerprint: fingerprint(&token.token), renew_at: token.renew_at.micros() })
    }

    /// A row that cannot be opened (another master key) counts as none: a token can be had anew.
    fn open(&self, slot: &str, row: &TokenRow) -> Option<KeptToken> {
        let text = self.master.open(&self.token_label(slot), &row.sealed).ok()?;
        let plain: Plain = serde_json::from_slice(&text).ok()?;
        let reduced = plain.reduced.map(|(needs, since)| {
            let needs = needs.iter().filter_map(|text| Need::parse(text)).collect();
            (needs, Timestamp::from_micros(since))
        });
        Some(KeptToken { token: Secret::new(plain.token), allows: plain.allows, reduced, renew_at: Timestamp::from_micros(row.renew_at) })
    }

    fn token_label(&self, slot: &str) -> String {
        format!("token/{}/{slot}", self.ehr)
    }

    fn grant_label(&self, client: &str) -> String {
        format!("grant/{}/{client}", self.ehr)
    }
}

impl Keeper for Vault {
    fn token<'a>(&'a self, slot: &'a str) -> Answering<'a, Option<KeptToken>> {
        Box::pin(async move {
            let (ehr, name) = (self.ehr.clone(), slot.to_owned());
            let row = self.store.read(move |conn| tokens::get(conn, &ehr, &name)).await.map_err(stored)?;
            Ok(row.and_then(|row| self.open(slot, &row)))
        })
    }

    fn turn<'a>(&'a self, slot: &'a str) -> Answering<'a, Option<Turn>> {
        Box::pin(async move {
            let lease = self.leases.take(&self.token_label(slot)).await.map_err(stored)?;
            Ok(lease.map(|lease| Box::new(lease) as Turn))
        })
    }

    fn keep<'a>(&'a self, slot: &'a str, token: &'a KeptToken) -> Answering<'a, ()> {
        Box::pin(async move {
            let row = self.row(slot, token)?;
            let (ehr, slot) = (self.ehr.clone(), slot.to_owned());
            self.store.write("keep a token", move |conn| tokens::put(conn, &ehr, &slot, &row)).await.map_err(stored)
        })
    }

    fn forget<'a>(&'a self, slot: &'a str, token: &'a Secret) -> Answering<'a, ()> {
        Box::pin(async move {
            let (ehr, slot, known_by) = (self.ehr.clone(), slot.to_owned(), fingerprint(token));
            self.store.write("throw a token away", move |conn| tokens::forget(conn, &ehr, &slot, &known_by)).await.map_err(stored)
        })
    }

    fn grant<'a>(&'a self, name: &'a str) -> Answering<'a, Option<KeptGrant>> {
        Box::pin(async move {
            let (ehr, client) = (self.ehr.clone(), name.to_owned());
            let Some(row) = self.store.read(move |conn| grants::get(conn, &ehr, &client)).await.map_err(stored)? else { return Ok(None) };
            let opened = self.master.open(&self.grant_label(name), &row.sealed).map_err(sealing)?;
            let refresh = String::from_utf8(opened).map_err(|_| sealing(SealError::WrongKey))?;
            let lost = (row.state == "lost").then(|| row.told.clone().unwrap_or_default());
            let cut_off = row.state == "refreshing";
            Ok(Some(KeptGrant { refresh: Secret::new(refresh), revision: row.revision, cut_off, lost, scope: row.scope }))
        })
    }

    fn begin<'a>(&'a self, name: &'a str, revision: i64) -> Answering<'a, Option<i64>> {
        Box::pin(async move {
            let (ehr, client) = (self.ehr.clone(), name.to_owned());
            let began =
                self.store.write("begin a refresh", move |conn| grants::begin(conn, &ehr, &client, revision)).await.map_err(stored)?;
            Ok(began.then_some(revision + 1))
        })
    }

    fn refreshed<'a>(&'a self, name: &'a str, revision: i64, outcome: &'a Refreshed) -> Answering<'a, bool> {
        Box::pin(async move {
            let fresh = self.fresh(name, outcome)?;
            let access = outcome.access.as_ref().map(|(slot, token)| Ok((slot.clone(), self.row(slot, token)?))).transpose()?;
            let (ehr, client, now) = (self.ehr.clone(), name.to_owned(), self.clock.now());
            let done = self.store.write("keep a refreshed grant", move |conn| {
                let ours = grants::refreshed(conn, &ehr, &client, revision, &fresh, now)?;
                if let Some((slot, row)) = access.as_ref().filter(|_| ours) {
                    tokens::put(conn, &ehr, slot, row)?;
                }
                Ok(ours)
            });
            done.await.map_err(stored)
        })
    }

    fn unrefreshed<'a>(&'a self, name: &'a str, revision: i64, lost: Option<&'a str>) -> Answering<'a, ()> {
        Box::pin(async move {
            let (ehr, client, lost) = (self.ehr.clone(), name.to_owned(), lost.map(str::to_owned));
            let done = self.store.write("end a refresh", move |conn| grants::unrefreshed(conn, &ehr, &client, revision, lost.as_deref()));
            done.await.map_err(stored)
        })
    }
}

/// Tells tokens apart. A token is random enough that its digest says nothing of it.
fn fingerprint(token: &Secret) -> String {
    blake3::hash(token.expose().as_bytes()).to_hex().to_string()
}

fn stored(error: StoreError) -> KeeperFailed {
    KeeperFailed(error.to_string())
}

fn sealing(error: SealError) -> KeeperFailed {
    KeeperFailed(error.to_string())
}
