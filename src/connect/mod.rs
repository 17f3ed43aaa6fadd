//! What spans an EHR and the stages, for the people who connect one: what its charts will and will not show. Knows contracts and the common
//! cases of outreach; asks no EHR and reads no store.

mod charts;

pub use charts::{Outlook, Shown, outlook};
