//! A conformance check of what we emit, for tests. The R4 model library loops, panics or coerces on some input, so that the bytes are
//! walked first, the library is fenced by `catch_unwind`, and what it read is written again and compared.

use std::collections::HashSet;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use fhirbolt::model::r4::Resource;
use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use crate::invalid::{Invalid, Problem};

/// More than any resource that we emit.
const MAX_BYTES: usize = 16 * 1024 * 1024;
const MAX_DEPTH: usize = 64;

/// Checks that the bytes are one R4 resource: known members of the right types, mandatory single elements present, nothing empty, null
/// or doubled, nothing after it, and nothing that reads back as something else (such as `"true"` for `true`).
///
/// It does not check codes against value sets, formats of dates, targets of references, or that mandatory lists have entries: the
/// builders do, and `tests/validate` does it for finished files.
///
/// # Errors
/// [`Invalid`], with the path where it is known. Messages never quote values.
pub fn parse_strict(bytes: &[u8]) -> Result<(), Invalid> {
    if bytes.len() > MAX_BYTES {
        return Err(Invalid::new("", Problem::TooLarge));
    }
    walk(bytes)?;
    let written: Value = serde_json::from_slice(bytes).map_err(|_| Invalid::new("", Problem::NotJson))?;
    match written.get("resourceType").and_then(Value::as_str) {
        None => return Err(Invalid::new("resourceType", Problem::Missing)),
        Some("Bundle") => return Err(Invalid::new("resourceType", Problem::Bundle)),
        Some(_) => {}
    }
    let read = catch_unwind(AssertUnwindSafe(|| fhirbolt::json::from_slice::<Resource>(bytes, None)))
        .map_err(|_| Invalid::new("", Problem::NotR4))?
        .map_err(|e| refusal(&e.to_string()))?;
    let again = fhirbolt::json::to_json_value(read, None).map_err(|_| Invalid::new("", Problem::NotR4))?;
    if again == written { Ok(()) } else { Err(Invalid::new("", Problem::NotR4)) }
}

/// The library's messages quote values, save one kind, which names a member of the model.
fn refusal(message: &str) -> Invalid {
    match message.strip_prefix("missing field `").and_then(|m| m.split('`').next()) {
        Some(field) => Invalid::new(shown(field), Problem::Missing),
        None => Invalid::new("", Problem::NotR4),
    }
}

/// Only what looks like a member of FHIR is shown: a key of foreign input could be anything.
fn shown(key: &str) -> &str {
    let name = key.strip_prefix('_').unwrap_or(key);
    if (1..=40).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric()) { key } else { "(member)" }
}

fn walk(bytes: &[u8]) -> Result<(), Invalid> {
    let mut found = None;
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let walked = Walk { path: "", depth: 0, found: &mut found }.deserialize(&mut json).and_then(|kind| {
        json.end()?;
        if kind == Kind::Object { Ok(()) } else { Err(serde_json::Error::custom("")) }
    });
    match (found, walked) {
        (Some(invalid), _) => Err(invalid),
        (None, Err(_)) => Err(Invalid::new("", Problem::NotJson)),
        (None, Ok(())) => Ok(()),
    }
}

#[derive(PartialEq)]
enum Kind {
    Object,
    Other,
}

/// Walks one value and notes the first thing that no resource of ours has.
struct Walk<'a> {
    path: &'a str,
    depth: usize,
    found: &'a mut Option<Invalid>,
}

impl Walk<'_> {
    fn refuse<E: serde::de::Error>(self, problem: Problem) -> E {
        *self.found = Some(Invalid::new(self.path, problem));
        E::custom("")
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = Kind;

    fn deserialize<D: serde::Deserializer<'de>>(self, json: D) -> Result<Kind, D::Error> {
        if self.depth > MAX_DEPTH {
            return Err(self.refuse(Problem::TooDeep));
        }
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = Kind;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Kind, E> {
        Ok(Kind::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Kind, E> {
        Ok(Kind::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Kind, E> {
        Ok(Kind::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Kind, E> {
        Ok(Kind::Other)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Kind, E> {
        if text.trim().is_empty() { Err(self.refuse(Problem::Empty)) } else { Ok(Kind::Other) }
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Kind, E> {
        Err(self.refuse(Problem::Null))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Kind, A::Error> {
        let mut count = 0_usize;
        loop {
            let path = format!("{}[{count}]", self.path);
            let entry = Walk { path: &path, depth: self.depth + 1, found: &mut *self.found };
            if entries.next_element_seed(entry)?.is_none() {
                break;
            }
            count += 1;
        }
        if count == 0 { Err(self.refuse(Problem::Empty)) } else { Ok(Kind::Other) }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Kind, A::Error> {
        let mut seen = HashSet::new();
        while let Some(key) = members.next_key::<String>()? {
            // With arbitrary precision the parser shows a number as a map with this one member.
            if key == "$serde_json::private::Number" {
                members.next_value::<serde::de::IgnoredAny>()?;
                return Ok(Kind::Other);
            }
            let separator = if self.path.is_empty() { "" } else { "." };
            let path = format!("{}{separator}{}", self.path, shown(&key));
            if !seen.insert(key) {
                return Err(Walk { path: &path, ..self }.refuse(Problem::Duplicate));
            }
            members.next_value_seed(Walk { path: &path, depth: self.depth + 1, found: &mut *self.found })?;
        }
        if seen.is_empty() { Err(self.refuse(Problem::Empty)) } else { Ok(Kind::Object) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(json: &str) -> (String, Problem) {
        let invalid = parse_strict(json.as_bytes()).unwrap_err();
        (invalid.element().to_owned(), invalid.problem())
    }

    #[test]
    fn what_no_resource_of_ours_has() {
        let cases = [
            ("", "resource", Problem::NotJson),
            ("[]", "resource", Problem::Empty),
            ("[1]", "resource", Problem::NotJson),
            ("7", "resource", Problem::NotJson),
            ("{}", "resource", Problem::Empty),
            (r#"{"status":"completed"}"#, "resourceType", Problem::Missing),
            (r#"{"resourceType":"Bundle","type":"batch"}"#, "resourceType", Problem::Bundle),
            (r#"{"resourceType":"Communication"}"#, "status", Problem::Missing),
            (r#"{"resourceType":"Communication","status":"completed"} x"#, "resource", Problem::NotJson),
            (r#"{"resourceType":"Communication","status":"completed","note":[]}"#, "note", Problem::Empty),
            (r#"{"resourceType":"Communication","status":"completed","topic":{}}"#, "topic", Problem::Empty),
            (r#"{"resourceType":"Communication","status":"completed","sent":null}"#, "sent", Problem::Null),
            (r#"{"resourceType":"Communication","status":"completed","sent":""}"#, "sent", Problem::Empty),
            (r#"{"resourceType":"Communication","status":"completed","status":"completed"}"#, "status", Problem::Duplicate),
            (r#"{"resourceType":"Communication","status":"completed","note":[{"text":"a"},{"text":null}]}"#, "note[1].text", Problem::Null),
            (r#"{"resourceType":"Communication","status":"completed","Ada Lovelace":null}"#, "(member)", Problem::Null),
            (r#"{"resourceType":"Communication","status":"completed","unheard":1}"#, "resource", Problem::NotR4),
            (r#"{"resourceType":"Communication","status":"completed","medium":{"text":"x"}}"#, "resource", Problem::NotR4),
            (r#"{"resourceType":"Group","type":"person","actual":"true"}"#, "resource", Problem::NotR4),
            (
                r#"{"resourceType":"Communication","status":"completed","payload":[{"contentString":"a","contentReference":{"display":"b"}}]}"#,
                "resource",
                Problem::NotR4,
            ),
        ];
        for (json, element, problem) in cases {
            assert_eq!(found(json), (element.to_owned(), problem), "{json}");
        }
        let deep = format!("{}1{}", r#"{"a":"#.repeat(70), "}".repeat(70));
        assert_eq!(found(&deep).1, Problem::TooDeep);
    }

    #[test]
    fn messages_do_not_quote_values() {
        for json in [
            r#"{"resourceType":"Communication","status":["Lovelace"]}"#,
            r#"{"resourceType":"Communication","status":"completed","Lovelace":"Lovelace"}"#,
            r#"{"resourceType":"Lovelace","status":"completed"}"#,
        ] {
            let invalid = parse_strict(json.as_bytes()).unwrap_err();
            assert!(!format!("{invalid} {invalid:?}").contains("Lovelace"), "{invalid}");
        }
    }

    #[test]
    fn a_valid_resource_passes_with_its_decimals() {
        let json = r#"{"resourceType":"Observation","status":"final","code":{"text":"x"},"valueQuantity":{"value":1.500}}"#;
        assert_eq!(parse_strict(json.as_bytes()), Ok(()));
    }
}
