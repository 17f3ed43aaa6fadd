//! The leases under which resources are written: one per (EHR, type). Beside them, whoever reads several types of an EHR holds one on the EHR:
//! between two types it is known by half as well (`store::reading`).

use domain::Clock;
use domain::model::{EhrId, ResourceType};

use crate::store::leases::{self, Fence, Term};
use crate::store::reading::PREFIX;
use crate::store::{Lane, Store, StoreError};

/// The lease under which resources of one type of one EHR are written.
#[must_use]
pub fn lease_name(ehr: &EhrId, kind: ResourceType) -> String {
    format!("{PREFIX}{ehr}/{kind}")
}

/// The lease that says that an EHR is being read. Nothing is written under it.
#[must_use]
pub fn reading_lease(ehr: &EhrId) -> String {
    format!("{PREFIX}{ehr}")
}

/// Who takes the leases.
#[derive(Clone, Copy, Debug)]
pub struct Holder<'a> {
    /// This process, as other processes know it.
    pub owner: &'a str,
    /// How long a lease lasts without a sign of life.
    pub term: Term,
    /// Whether another owner is certainly gone, so that its leases need not run out first.
    pub is_dead: fn(&str) -> bool,
}

/// Why the leases could not be taken.
pub(super) enum Refused {
    /// Another one holds the lease of this type.
    Held(ResourceType),
    /// The store cannot go on.
    Store(StoreError),
}

/// Takes the lease of one type; `None` where another one holds it.
pub(super) async fn take(
    store: &Store,
    clock: &dyn Clock,
    holder: Holder<'_>,
    ehr: &EhrId,
    kind: ResourceType,
) -> Result<Option<Fence>, StoreError> {
    let (name, owner, now) = (lease_name(ehr, kind), holder.owner.to_owned(), clock.now());
    store.write("take a sync lease", move |conn| leases::acquire(conn, &name, &owner, now, holder.term, holder.is_dead)).await
}

/// Takes the leases of these types, or none. Blocks.
pub(super) fn take_all(
    store: &Store,
    clock: &dyn Clock,
    holder: Holder<'_>,
    ehr: &EhrId,
    types: &[ResourceType],
) -> Result<Vec<Fence>, Refused> {
    let mut fences = Vec::new();
    for &kind in types {
        let name = lease_name(ehr, kind);
        let taken = store.write_blocking(Lane::Bulk, "take a sync lease", |conn| {
            leases::acquire(conn, &name, holder.owner, clock.now(), holder.term, holder.is_dead)
        });
        match taken {
            Ok(Some(fence)) => fences.push(fence),
            refused => {
                give_back(store, &fences);
                return Err(refused.err().map_or(Refused::Held(kind), Refused::Store));
            }
        }
    }
    Ok(fences)
}

/// Gives leases back. Blocks.
pub(super) fn give_back(store: &Store, fences: &[Fence]) {
    told(store.write_blocking(Lane::Bulk, "give sync leases back", |conn| fences.iter().try_for_each(|f| leases::release(conn, f))));
}

/// Gives one lease back.
pub(super) async fn give_back_one(store: &Store, fence: Fence) {
    told(store.write("give a sync lease back", move |conn| leases::release(conn, &fence)).await);
}

fn told(done: Result<(), StoreError>) {
    if let Err(error) = done {
        tracing::warn!(error = %error, "leases could not be given back; they run out by themselves");
    }
}
