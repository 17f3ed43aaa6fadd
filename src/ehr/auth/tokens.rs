//! Access tokens for one EHR: which credential opens which type. Reading and writing back use tokens of their own (least privilege,
//! standards.md B.4). Where an EHR refuses a set of scopes as a whole, each is asked for by itself, so that one refused type does not stop
//! the others.

use std::sync::Arc;

use super::Algorithm;
use super::client::OAuth;
use super::exchange::{TokenError, TokenGrant};
use super::keeper::Keeper;
use super::purse::{Purse, Source};
use super::scope::{Granted, Need};
use crate::net::Secret;

/// What a client of one EHR authorises its requests with.
pub struct Tokens {
    own: Purse,
    others: Vec<(Vec<String>, Purse)>,
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

/// One way in.
pub enum Way {
    /// No authorisation.
    Open,
    /// A static token.
    Fixed(Secret),
    /// A client by itself.
    Machine(Box<OAuth>),
    /// A client for a person who granted it.
    Person(Box<OAuth>),
}

impl Tokens {
    /// For an EHR that asks for no authorisation.
    #[must_use]
    pub fn none() -> Self {
        Self::by(Way::Open, None)
    }

    /// By the EHR's own credential.
    #[must_use]
    pub fn by(way: Way, keeper: Option<Arc<dyn Keeper>>) -> Self {
        Self { own: Purse::new("", source(way), keeper), others: Vec::new() }
    }

    /// Keeps the access token that a person's code has just brought.
    ///
    /// # Errors
    /// Where it cannot be kept.
    pub async fn begin(&self, grant: TokenGrant) -> Result<(), TokenError> {
        self.own.begin(grant).await
    }

    /// The access token that is kept of what a person granted.
    pub async fn kept(&self) -> Option<Secret> {
        self.own.kept().await
    }

    /// With another credential for some types.
    #[must_use]
    pub fn with(mut self, name: &str, types: &[String], way: Way, keeper: Option<Arc<dyn Keeper>>) -> Self {
        self.others.push((types.to_vec(), Purse::new(name, source(way), keeper)));
        self
    }

    /// The algorithm that assertions are signed with, where they are.
    #[must_use]
    pub fn algorithm(&self) -> Option<Algorithm> {
        match &self.own.source {
            Source::Machine(client) | Source::Person(client) => client.algorithm(),
            Source::Open | Source::Fixed(_) => None,
        }
    }

    /// Whether requests for a type go under a credential of their own, so that its death is no other type's.
    #[must_use]
    pub fn is_apart(&self, resource_type: &str) -> bool {
        self.others.iter().any(|(types, _)| types.iter().any(|t| t == resource_type))
    }

    /// A token for these needs: the kept one, or a new one. Tasks that ask at the same time share one exchange. Where the needs fall under
    /// several credentials the token is that of the EHR's own, and what is granted and missing is told of all; a credential beside the own
    /// one that fails leaves its needs missing.
    ///
    /// # Errors
    /// [`TokenError`] of the EHR's own credential.
    pub async fn access(&self, needs: &[Need]) -> Result<Access, TokenError> {
        if self.others.is_empty() {
            return self.own.access(needs).await;
        }
        let own: Vec<Need> = needs.iter().filter(|n| !self.is_apart(&n.resource_type)).cloned().collect();
        let mut all = match own.is_empty() {
            true => Access { token: None, granted: Some(Granted::default()), missing: Vec::new() },
            false => self.own.access(&own).await?,
        };
        for (types, purse) in &self.others {
            let theirs = of_types(needs, types);
            if theirs.is_empty() {
                continue;
            }
            match purse.access(&theirs).await {
                Ok(access) => {
                    let more = access.granted.unwrap_or_else(|| Granted::as_asked(&theirs));
                    all.granted = all.granted.map(|granted| granted.and(more));
                    all.missing.extend(access.missing);
                }
                Err(_) => all.missing.extend(theirs),
            }
        }
        Ok(all)
    }

    /// A token for a request to one type, among these needs.
    ///
    /// # Errors
    /// [`TokenError`] of the credential that the type falls under.
    pub async fn access_to(&self, resource_type: &str, needs: &[Need]) -> Result<Access, TokenError> {
        let (purse, needs) = self.purse(resource_type, needs);
        purse.access(&needs).await
    }

    /// Throws a token away that the EHR no longer takes. One that was renewed meanwhile stays.
    pub async fn discard(&self, resource_type: &str, needs: &[Need], refused: &Secret) {
        let (purse, needs) = self.purse(resource_type, needs);
        purse.discard(&needs, refused).await;
    }

    fn purse(&self, resource_type: &str, needs: &[Need]) -> (&Purse, Vec<Need>) {
        match self.others.iter().find(|(types, _)| types.iter().any(|t| t == resource_type)) {
            Some((types, purse)) => (purse, of_types(needs, types)),
            None => (&self.own, needs.iter().filter(|n| !self.is_apart(&n.resource_type)).cloned().collect()),
        }
    }
}

fn of_types(needs: &[Need], types: &[String]) -> Vec<Need> {
    needs.iter().filter(|n| types.contains(&n.resource_type)).cloned().collect()
}

fn source(way: Way) -> Source {
    match way {
        Way::Open => Source::Open,
        Way::Fixed(token) => Source::Fixed(token),
        Way::Machine(client) => Source::Machine(client),
        Way::Person(client) => Source::Person(client),
    }
}
