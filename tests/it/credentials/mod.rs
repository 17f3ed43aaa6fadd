//! Keys that rotate, tokens and grants that nodes share: the gateway with its store, against the sandbox and against an authorization
//! server of others.

mod expiring;
mod grants;
pub mod oidc;
mod oidc_sync;
mod rotation;
mod setup;
mod sharing;
