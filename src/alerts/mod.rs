//! Alerts: what someone has to look at. Derived from status rows, so no stage knows of it; each opens once and closes once, however many
//! nodes look, and is told at both moments by mail and webhook. A dead-man's signal goes the other way round: it is given while all is
//! well, so that its silence is noticed elsewhere.
//!
//! One node looks at a time, under the lease [`LEASE`]. What is found is opened, what is not found any more is closed after a while, and whom to
//! tell is owed in the same transaction; telling comes after, so a crash in between loses nothing. A message that was sent and could not
//! be noted as sent is sent again under the same id: an alert that came twice is better than one that did not come.
//!
//! A part whose own rows do not tell what is wrong (a node's disk) notes it with [`crate::store::alerts::note`] and takes it back with `clear`;
//! it then becomes an alert as the others do.

mod heartbeat;
mod judge;
mod look;
pub mod post;
mod task;

pub use heartbeat::Heartbeat;
pub use judge::{Ending, Expected, Facts, Finding, Limits, judge};
pub use look::Known;
pub use post::{Post, Target};
pub use task::{Desk, Look, Report, Sent};

/// The lease of whoever looks.
pub const LEASE: &str = "alerts";

pub use crate::store::alerts::kind;
