//! Outreach: from a person's membership of a segment to a message that left, was held, or was refused, each with its reasons.
//!
//! The pure parts are here; what needs the store is the task. A [`program`] says who gets which [`template`] when; [`plan`] works out
//! what is due; [`gate`] judges every single message; a [`channel`] carries it; [`reply`] reads what comes back. None of them reads a
//! clock, and none knows the store, HTTP or FHIR JSON.

pub mod channel;
pub mod definition;
pub mod gate;
pub mod plan;
pub mod program;
pub mod reply;
pub mod template;
