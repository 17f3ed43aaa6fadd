//! The store's hard points, each on both engines.

mod fixtures;
mod leases;
