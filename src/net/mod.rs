//! Guarded outbound traffic: the only place that opens connections to other machines.
//!
//! An HTTP peer is talked to by its registered origins alone; redirects are followed by hand and within them, credentials go only to the
//! origin they were issued for, and every body has a limit. What goes wrong is told by its kind and the peer's origin: a path, a query or
//! an address may name a patient and never reaches a message. Mail leaves by [`smtp`].
//!
//! This room knows nothing of FHIR, of OAuth, or of the store.

pub mod certificate;
pub mod failure;
pub mod http;
pub mod loopback;
pub mod origin;
pub mod proxy;
pub mod secret;
pub mod smtp;

pub use certificate::Certificate;
pub use failure::{Failure, FailureKind};
pub use http::{Http, Peer, Request, Response};
pub use origin::Origin;
pub use proxy::EgressProxy;
pub use secret::Secret;
