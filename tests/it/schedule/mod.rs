//! When EHRs are read: turns, pauses, closed hours, wishes, and nodes that share them. Cron expressions and windows by themselves are tested
//! in `src/worker/schedule/tests.rs`.

mod process;
pub mod setup;
mod turns;
