//! A lease held over time: taken by name, extended in the background at a third of its term, given back at the end.
//!
//! The keeper only keeps other workers waiting. What makes a write safe is the [`Fence`]: every commit of the task begins with
//! `store::leases::extend`, which fails where another worker has the lease by now.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use domain::Clock;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use super::owner::Owner;
use crate::store::leases::{self, Fence, Term};
use crate::store::{Store, StoreError};

/// What is needed to take leases: given once to each stage.
#[derive(Clone)]
pub struct Leases {
    store: Store,
    owner: Arc<Owner>,
    clock: Arc<dyn Clock>,
    term: TimeDelta,
}

impl std::fmt::Debug for Leases {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Leases({}, {})", self.owner.as_str(), self.term)
    }
}

impl Leases {
    /// Leases of `term` for the process `owner`.
    #[must_use]
    pub fn new(store: Store, owner: Owner, clock: Arc<dyn Clock>, term: TimeDelta) -> Self {
        Self { store, owner: Arc::new(owner), clock, term }
    }

    /// The term, for the commits that extend.
    #[must_use]
    pub const fn term(&self) -> Term {
        Term(self.term)
    }

    /// Takes the lease `name`; `None` where another worker holds it.
    ///
    /// # Errors
    /// The store's refusal.
    pub async fn take(&self, name: &str) -> Result<Option<Lease>, StoreError> {
        let (name, owner, clock, term) = (name.to_owned(), Arc::clone(&self.owner), Arc::clone(&self.clock), self.term());
        let fence = self
            .store
            .write("take a lease", move |conn| {
                leases::acquire(conn, &name, owner.as_str(), clock.now(), term, |other| owner.is_dead(other))
            })
            .await?;
        Ok(fence.map(|fence| self.keep(fence)))
    }

    fn keep(&self, fence: Fence) -> Lease {
        let (end, ended) = oneshot::channel();
        let (lost, seen) = watch::channel(false);
        let keeper = tokio::spawn(self.clone().kept(fence.clone(), ended, lost));
        Lease { fence, term: self.term(), lost: seen, end, keeper }
    }

    async fn kept(self, fence: Fence, mut ended: oneshot::Receiver<()>, lost: watch::Sender<bool>) -> Result<(), StoreError> {
        let term = self.term.to_std().unwrap_or(Duration::ZERO);
        let mut proven = Instant::now();
        loop {
            // Ends when the holder says so, and also when the holder is dropped.
            if tokio::time::timeout(term / 3, &mut ended).await.is_ok() {
                return self.store.write("give a lease back", move |conn| leases::release(conn, &fence)).await;
            }
            let (own, clock, length) = (fence.clone(), Arc::clone(&self.clock), self.term());
            match self.store.write("extend a lease", move |conn| leases::extend(conn, &own, clock.now(), length)).await {
                Ok(()) => proven = Instant::now(),
                Err(StoreError::LeaseLost(name)) => {
                    tracing::warn!(lease = %name, "the lease was lost to another worker; what is not committed is left to it");
                    break;
                }
                Err(error) if proven.elapsed() < term => {
                    tracing::warn!(lease = %fence.name, error = %error, "the lease could not be extended yet")
                }
                Err(error) => {
                    tracing::warn!(lease = %fence.name, error = %error, "the lease could not be extended within its term and counts as lost");
                    break;
                }
            }
        }
        metrics::counter!("fhir_engage_leases_lost_total").increment(1);
        lost.send_replace(true);
        Ok(())
    }
}

/// A lease that is held. Dropping it gives it back in the background; [`Lease::release`] waits for that.
#[derive(Debug)]
pub struct Lease {
    fence: Fence,
    term: Term,
    lost: watch::Receiver<bool>,
    end: oneshot::Sender<()>,
    keeper: JoinHandle<Result<(), StoreError>>,
}

impl Lease {
    /// The proof to show at each commit.
    #[must_use]
    pub const fn fence(&self) -> &Fence {
        &self.fence
    }

    /// The term to extend by.
    #[must_use]
    pub const fn term(&self) -> Term {
        self.term
    }

    /// Whether it is known to be lost: to be asked before work that would be in vain. `false` proves nothing, only a commit does.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        *self.lost.borrow()
    }

    /// Ends when it is lost: to cut work short that waits on the network.
    pub async fn lost(&self) {
        let mut lost = self.lost.clone();
        // The keeper lives until the lease is lost or given back, and giving it back takes `self`.
        if lost.wait_for(|lost| *lost).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Gives it back and waits until that is done.
    ///
    /// # Errors
    /// The store's refusal; then it ends with its term.
    pub async fn release(self) -> Result<(), StoreError> {
        let Self { end, keeper, .. } = self;
        drop(end);
        keeper.await.unwrap_or(Ok(()))
    }
}

#[cfg(test)]
mod tests;
