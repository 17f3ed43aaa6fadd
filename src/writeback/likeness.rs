//! Whether a resource that does not carry our key may yet be the one that we sent, its key dropped in silence. In doubt it may: what is taken
//! for ours waits for a person, what is wrongly taken for another's is written twice. Pure.

use domain::Timestamp;
use serde_json::Value;

use super::key;

/// How far apart two times may be and still be one: servers round.
const SAME: chrono::TimeDelta = chrono::TimeDelta::seconds(1);

/// Whether `there` may be what was sent. It is not where it carries another key of ours, or where something that both have differs.
#[must_use]
pub fn may_be(sent: &Value, there: &Value, system: &str) -> bool {
    !key::carries_any(there, system)
        && ["sent", "date", "recorded"].iter().all(|name| same_time(sent.get(name), there.get(name)))
        && same_text(sent.pointer("/topic/text"), there.pointer("/topic/text"))
        && same_text(sent.get("description"), there.get("description"))
        && same_text(sent.pointer("/subject/reference"), there.pointer("/subject/reference"))
        && same_lists(&key::strings(sent), &key::strings(there))
        && same_lists(&key::attachments(sent), &key::attachments(there))
}

fn same_time(sent: Option<&Value>, there: Option<&Value>) -> bool {
    let at = |v: Option<&Value>| v.and_then(Value::as_str).and_then(Timestamp::parse);
    match (at(sent), at(there)) {
        (Some(sent), Some(there)) => sent.since(there).abs() <= SAME,
        _ => true,
    }
}

/// References may be absolute in one of them.
fn same_text(sent: Option<&Value>, there: Option<&Value>) -> bool {
    match (sent.and_then(Value::as_str), there.and_then(Value::as_str)) {
        (Some(sent), Some(there)) => sent == there || there.ends_with(&format!("/{sent}")) || sent.ends_with(&format!("/{there}")),
        _ => true,
    }
}

fn same_lists(sent: &[String], there: &[String]) -> bool {
    sent.is_empty() || there.is_empty() || sent.iter().any(|s| there.iter().any(|t| t.trim() == s.trim()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_differs_is_another() {
        let sent = json!({"resourceType": "Communication", "identifier": [{"system": "urn:s", "value": "a1"}], "subject": {"reference": "Patient/p1"},
            "sent": "2026-11-23T09:00:01.123Z", "topic": {"text": "Confirm the visit"}, "payload": [{"contentString": "Reply C"}]});
        for (there, may) in [
            // All of it, without the key.
            (
                json!({"subject": {"reference": "https://e.org/r4/Patient/p1"}, "sent": "2026-11-23T10:00:01+01:00", "topic": {"text": "Confirm the visit"},
                "payload": [{"contentString": "Reply C "}]}),
                true,
            ),
            // As little as some keep.
            (json!({"status": "completed"}), true),
            (json!({"payload": [{"contentReference": {"reference": "Binary/1"}}]}), true),
            (json!({"identifier": [{"system": "urn:other", "value": "a1"}]}), true),
            // Another one of ours.
            (json!({"identifier": [{"system": "urn:s", "value": "a2"}], "sent": "2026-11-23T09:00:01Z"}), false),
            (json!({"topic": {"text": "Confirm the visit [fhir-engage a2]"}}), false),
            // Another's.
            (json!({"sent": "2026-11-23T09:00:04Z", "payload": [{"contentString": "Reply C"}]}), false),
            (json!({"payload": [{"contentString": "Your results are in"}]}), false),
            (json!({"topic": {"text": "Results"}}), false),
            (json!({"subject": {"reference": "Patient/p2"}}), false),
        ] {
            assert_eq!(may_be(&sent, &there, "urn:s"), may, "{there}");
        }
        let origin = |recorded: &str, entity: Value| json!({"recorded": recorded, "entity": entity});
        let ours = |key: &str| json!([{"what": {"identifier": {"system": "urn:s", "value": key}}}]);
        let sent = origin("2026-11-23T09:00:00.000Z", ours("a1-0-provenance"));
        assert!(may_be(&sent, &origin("2026-11-23T09:00:00Z", json!([])), "urn:s"));
        assert!(!may_be(&sent, &origin("2026-11-23T09:00:00Z", ours("a2-0-provenance")), "urn:s"));
        assert!(!may_be(&sent, &origin("2026-11-23T08:00:00Z", json!([])), "urn:s"));
        let note = |text: &str| json!({"date": "2026-11-23T09:00:00Z", "content": [{"attachment": {"data": base64(text)}}]});
        assert!(may_be(&note("Sent by e-mail"), &note("Sent by e-mail"), "urn:s"));
        assert!(!may_be(&note("Sent by e-mail"), &note("Seen in clinic"), "urn:s"));
    }

    fn base64(text: &str) -> String {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(text)
    }
}
