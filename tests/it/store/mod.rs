//! The store's hard points, each on both engines.

mod attempts;
mod audit;
mod bodies;
mod chain;
mod debts;
pub(crate) mod fixtures;
mod gone;
mod leases;
mod memberships;
mod merging;
mod opening;
mod pending;
mod people;
mod pooler;
mod quarantine;
mod reading;
mod resources;
mod transactions;
mod waking;
mod walks;
mod writebacks;
