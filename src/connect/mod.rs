//! What spans an EHR and the stages, for the people who connect one: what its charts will and will not show, which segments and programs work
//! on it, how it is connected and from where each value is, how to register with its vendor, and what of its statement changed. Pure: asks no
//! EHR and reads no store.

mod blind;
mod charts;
mod connector;
mod drift;
mod sheet;

pub use blind::{BlindSpots, Given, Reason, State, Verdict, blind_spots, refused};
pub use charts::{Outlook, Shown, outlook};
pub use connector::{From, Known, Row, connector};
pub use drift::{Change, Weight, drift, weigh};
pub use sheet::{PLACEHOLDER, Purpose, Sheet, sheet};
