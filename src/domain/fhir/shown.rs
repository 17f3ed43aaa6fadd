//! What a page shows of a stored resource and no rule asks for, so that it is no fact: read from the body when somebody looks.

use super::elements::{object, string};
use super::raw::{Raw, document, elements};
use super::{Reject, checked_text};
use crate::model::Phi;

/// The code of a medical record number (HL7 v2 table 0203, which R4's `identifier-type` takes over).
const RECORD_NUMBER: &str = "MR";

/// A Patient's medical record number: the value of the first identifier in use whose type says so.
///
/// # Errors
/// [`Reject`] where the bytes are no JSON object, too large or too deep.
pub fn record_number(bytes: &[u8]) -> Result<Option<Phi<String>>, Reject> {
    let [identifiers] = document(checked_text(bytes)?, ["identifier"])?;
    let number = |raw: Raw<'_>| {
        let [usage, kind, value] = raw.members(["use", "type", "value"])?;
        let codings = object(kind, ["coding"])[0];
        let is_number = elements(codings).any(|c| string(object(Some(c), ["code"])[0]).as_deref() == Some(RECORD_NUMBER));
        let old = string(usage).is_some_and(|usage| usage == "old");
        value.and_then(Raw::text_or_number).filter(|_| is_number && !old).map(|v| Phi::new(v.into_owned()))
    };
    Ok(elements(identifiers).find_map(number))
}

/// How a resource is called: a CarePlan's `title`, an Appointment's `description`, else the words of its category or service.
///
/// # Errors
/// As [`record_number`].
pub fn caption(bytes: &[u8]) -> Result<Option<Phi<String>>, Reject> {
    let [title, description, category, service] = document(checked_text(bytes)?, ["title", "description", "category", "serviceType"])?;
    let concept = |raw: Raw<'_>| {
        let [text, codings] = raw.members(["text", "coding"])?;
        said(text).or_else(|| elements(codings).find_map(|c| said(object(Some(c), ["display"])[0])))
    };
    let found = said(title).or_else(|| said(description)).or_else(|| elements(category).chain(elements(service)).find_map(concept));
    Ok(found.map(Phi::new))
}

fn said(raw: Option<Raw<'_>>) -> Option<String> {
    string(raw).filter(|text| !text.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_page_shows_is_read_leniently() {
        let patient = br#"{"identifier":[{"value":"1"},{"use":"old","type":{"coding":[{"code":"MR"}]},"value":"2"},
            {"type":{"coding":[{"code":"SS"},{"code":"MR"}]},"value":3},{"type":{"coding":[{"code":"MR"}]},"value":"4"}]}"#;
        assert_eq!(record_number(patient).unwrap().unwrap().expose(), "3");
        assert_eq!(record_number(br#"{"identifier":"x"}"#).unwrap(), None);
        for (body, called) in [
            (r#"{"title":"Diabetes","category":[{"text":"x"}]}"#, Some("Diabetes")),
            (r#"{"title":" ","category":[{"coding":[{"code":"1"},{"display":"Assess"}]}]}"#, Some("Assess")),
            (r#"{"serviceType":[{"text":"Eye clinic"}]}"#, Some("Eye clinic")),
            (r#"{"title":7}"#, None),
        ] {
            assert_eq!(caption(body.as_bytes()).unwrap().map(Phi::into_inner).as_deref(), called, "{body}");
        }
    }
}
