//! Staff's way in: launches from the EHR, sign-in by the site's own provider, and the sessions and openings that come of them.
//!
//! A [`Session`] says who somebody is and what roles they have here; an [`Opening`] is a patient that a session has open. Both live in the
//! database, so any node can answer; the browser holds a random value and nothing else. What this module hands out in clear, a cookie's
//! value or a link's token, is stored as a hash only.

mod entry;
pub mod id_token;
pub mod launch;
pub mod provider;
pub mod session;
mod waiting;

pub use crate::ehr::launch::Sight;
pub use entry::NoEntry;
pub use launch::{Landed, Launches, Stranded};
pub use provider::Provider;
pub use session::{Begun, Identity, Lifetimes, NewOpening, Opening, Session, Sessions, Verdict, Way};
pub use waiting::Answer;
