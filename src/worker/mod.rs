//! The loop that runs the stages' tasks. It names no stage and knows nothing of FHIR.
//!
//! When a task wakes: (1) at its first tick, a random moment soon after the start, so that nodes do not move in step; (2) when its
//! period, or the earlier instant that its last report named, has come; (3) when it is nudged. A nudge carries no data: what there is
//! to do stands in the store, so a nudge that is lost costs time and nothing else. After a failure the next run waits ([`backoff`]),
//! nudged or not; but a task whose failed report names an instant paces its own repeats, since one of the many things it looks after failed.
//!
//! Who may do what: a task takes no input, is idempotent and does no retry of its own. The loop decides when it runs, how many run at
//! once, and waits for all of them at the end. Across nodes a [`lease::Lease`] decides, which the task takes by itself.

pub mod backoff;
pub mod lease;
pub mod owner;
mod run;
pub mod schedule;
mod status;
mod stop;
mod task;

pub use owner::Owner;
pub use run::Worker;
pub use status::{Health, Phase, Status};
pub use stop::Stop;
pub use task::{Nudge, Task, TaskReport};
