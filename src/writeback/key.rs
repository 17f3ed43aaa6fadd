//! Our key in a resource: put in as an identifier, or as a mark in a text where identifiers are not kept; and found again in either place.

use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::Value;

/// How a mark begins. It ends with `]`, so that no key is found in a longer one.
const OPENING: &str = "[fhir-engage ";

/// Base64 as servers write it: with or without padding.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent).with_decode_allow_trailing_bits(true),
);

/// The mark of a key, for a text that staff can read.
#[must_use]
pub fn mark(key: &str) -> String {
    format!("{OPENING}{key}]")
}

/// A text of others without what would be taken for a mark: a patient's answer must not stand for another write-back.
#[must_use]
pub fn unmarked(text: &str) -> String {
    text.replace(OPENING, "(fhir-engage ")
}

/// Whether a resource as the EHR gives it carries a key: as an identifier, its own or an entity's, or as a mark where `compose` puts one.
#[must_use]
pub fn carries(resource: &Value, system: &str, key: &str) -> bool {
    let is_ours = |i: &Value| text(i, "system") == Some(system) && text(i, "value") == Some(key);
    if entries(resource, "identifier").any(is_ours) {
        return true;
    }
    if entries(resource, "entity").filter_map(|e| e.get("what")?.get("identifier")).any(is_ours) {
        return true;
    }
    let mark = mark(key);
    let shows = |text: Option<&str>| text.is_some_and(|t| t.contains(&mark));
    let holds = |attachment: Option<&Value>| attachment.is_some_and(|a| shows(text(a, "title")) || shows(data(a).as_deref()));
    shows(resource.get("topic").and_then(|t| text(t, "text")))
        || shows(text(resource, "description"))
        || entries(resource, "payload").any(|p| shows(text(p, "contentString")) || holds(p.get("contentAttachment")))
        || entries(resource, "content").any(|c| holds(c.get("attachment")))
}

/// Whether a resource carries any key of ours, whichever.
#[must_use]
pub fn carries_any(resource: &Value, system: &str) -> bool {
    let shows = |text: Option<&str>| text.is_some_and(|t| t.contains(OPENING));
    let entities = entries(resource, "entity").filter_map(|e| e.get("what")?.get("identifier"));
    entries(resource, "identifier").chain(entities).any(|i| text(i, "system") == Some(system))
        || shows(resource.get("topic").and_then(|t| text(t, "text")))
        || shows(text(resource, "description"))
        || strings(resource).iter().chain(&attachments(resource)).any(|t| t.contains(OPENING))
}

/// The words of a message's payload.
#[must_use]
pub fn strings(resource: &Value) -> Vec<String> {
    entries(resource, "payload").filter_map(|p| text(p, "contentString")).map(str::to_owned).collect()
}

/// The texts of attachments, and their titles where they hold no text.
#[must_use]
pub fn attachments(resource: &Value) -> Vec<String> {
    let payload = entries(resource, "payload").filter_map(|p| p.get("contentAttachment"));
    payload.chain(entries(resource, "content").filter_map(|c| c.get("attachment"))).filter_map(data).collect()
}

fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name).and_then(Value::as_str)
}

fn entries<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    value.get(name).and_then(Value::as_array).into_iter().flatten()
}

/// An attachment's text. Servers may break base64 into lines.
fn data(attachment: &Value) -> Option<String> {
    let base64: Vec<u8> = text(attachment, "data")?.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    LENIENT.decode(base64).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_key_is_found_in_every_place_and_never_in_a_longer_one() {
        let encoded = base64::engine::general_purpose::STANDARD.encode("Asks to cancel. [fhir-engage a1]");
        let (first, second) = encoded.split_at(16);
        for resource in [
            json!({"identifier": [null, {"system": "urn:s", "value": "a1"}]}),
            json!({"entity": [{"role": "source"}, {"role": "source", "what": {"identifier": {"system": "urn:s", "value": "a1"}}}]}),
            json!({"topic": {"text": "Confirm the visit [fhir-engage a1]"}}),
            json!({"description": "Outreach [fhir-engage a1]"}),
            json!({"payload": [{"contentString": "x"}, {"contentString": "y [fhir-engage a1]"}]}),
            json!({"payload": [{"contentAttachment": {"data": encoded}}]}),
            json!({"payload": [{"contentAttachment": {"data": encoded.trim_end_matches('=')}}]}),
            json!({"content": [{"attachment": {"data": format!("{first}\r\n{second}")}}]}),
            json!({"content": [{"attachment": {"title": "Outreach [fhir-engage a1]"}}]}),
        ] {
            assert!(carries(&resource, "urn:s", "a1"), "{resource}");
            for other in ["a", "1", "a1-answer-1", "a2", ""] {
                assert!(!carries(&resource, "urn:s", other), "{resource} {other}");
            }
        }
        for resource in [
            json!({"identifier": [{"system": "urn:other", "value": "a1"}]}),
            json!({"entity": [{"what": {"identifier": {"system": "urn:s", "value": "a1-0-provenance"}}}]}),
            json!({"topic": {"text": "[fhir-engage a1-answer-1]"}}),
            json!({"note": [{"text": "a1"}], "payload": [{"contentString": 7}], "identifier": "a1"}),
            json!({"content": [{"attachment": {"data": "!"}}]}),
            json!([]),
        ] {
            assert!(!carries(&resource, "urn:s", "a1"), "{resource}");
        }
    }

    #[test]
    fn what_others_wrote_is_no_mark() {
        let answer = unmarked("Re: [fhir-engage a1] [[fhir-engage [fhir-engage b2]");
        assert!(!carries(&json!({"description": answer}), "urn:s", "a1") && !answer.contains(OPENING), "{answer}");
    }
}
