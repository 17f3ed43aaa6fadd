//! Outreach: from a person's membership of a segment to a message that left, was held, or was refused, each with its reasons.
//!
//! The parts are pure but for the stage itself ([`task`]), which reads and writes the store. A [`program`] says who gets which [`template`] when; [`plan`] works out
//! what is due; [`gate`] judges every single message; a [`channel`] carries it; [`reply`] reads what comes back. None of them reads a
//! clock, and none knows HTTP or FHIR JSON.

pub mod barrier;
pub mod by_hand;
pub mod channel;
pub mod definition;
mod enrol;
pub mod gate;
pub mod inbound;
mod judging;
pub mod ledger;
pub mod named;
pub mod owing;
pub mod plan;
pub mod program;
pub mod reply;
mod send;
pub mod task;
pub mod template;

pub use send::SiteVoice;
