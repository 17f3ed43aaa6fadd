//! Who takes part in an appointment, with the names that the EHR sent with the references. Names are not facts: they are read when a message
//! is written.

use super::elements::{object, string};
use super::raw::{document, elements};
use super::{Reject, checked_text};

/// One who takes part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// The reference, as sent.
    pub reference: String,
    /// `actor.display`, where it says something.
    pub display: Option<String>,
}

/// The participants of an Appointment that are named by a reference, in the order sent.
///
/// # Errors
/// [`Reject`] where the bytes are no JSON object, too large or too deep.
pub fn actors(bytes: &[u8]) -> Result<Vec<Actor>, Reject> {
    let [participants] = document(checked_text(bytes)?, ["participant"])?;
    let actor = |participant| {
        let [reference, display] = object(object(Some(participant), ["actor"])[0], ["reference", "display"]);
        Some(Actor { reference: string(reference)?, display: string(display).filter(|name| !name.trim().is_empty()) })
    };
    Ok(elements(participants).filter_map(actor).collect())
}
