//! From facts to memberships. The rules themselves are in `domain::rules`, pure; this stage finds who must be looked at, evaluates them,
//! and writes differences.
//!
//! It reads facts and the marks that sync leaves, and leaves marks for outreach. It knows nothing of EHRs, programs or channels.

mod assignment;
pub mod change;
pub mod definitions;
pub mod explain;
pub mod history;
pub mod library;
pub mod plan;
mod rollout;
pub mod task;

pub use definitions::{Definitions, NotInForce};
pub use library::Library;
