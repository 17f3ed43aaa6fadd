//! `kill -9` of the gateway at any moment, the EHR running on, then the same command again: nothing lost, nothing doubled. And two
//! gateways at once on one database: the same; and three, of which one at random is killed, with EHRs in trouble all the time.
//!
//! The gateway is the built binary as a process of its own; the EHR is the sandbox in the process of the test, which no kill reaches. What
//! the killed gateway ends with is compared with one that was never killed, on its own database and EHR with the same data and clock.
//! `KILL_SEED` chooses the moments (it is printed), `SOAK=1` makes ten times as many rounds.

mod account;
mod charts;
mod demo;
mod drops;
mod exports;
mod first_start;
mod import;
mod mail;
mod merges;
mod nodes;
mod rereading;
mod rounds;
mod sync;
mod two;
mod world;

pub(crate) use world::{Installation, random, rounds};
