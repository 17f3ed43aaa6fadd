//! What the operators' own attributes read of a resource: what their paths lead to, in the type that each asks for.

use super::elements::{coding, concepts, first_code, string};
use super::path::Path;
use super::raw::{self, Raw, document};
use crate::model::facts::Coding;
use crate::model::own::{OwnRead, OwnValue};
use crate::model::{FhirTime, Phi};

/// The longest text that is kept, in bytes: one that rules compare is a word or two.
const MAX_TEXT: usize = 1_000;

/// In which type a path's values are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnType {
    /// `true`, `false`.
    YesNo,
    /// A number; one with a fraction lies between two whole ones.
    WholeNumber,
    /// A text, code or URL.
    Text,
    /// Codings, CodeableConcepts, codes, references.
    Codes,
    /// A date, dateTime or instant.
    Time,
}

/// Reads one attribute of a resource. What is entered in error, or of another JSON type than asked for, gives no value.
#[must_use]
pub fn own(bytes: &[u8], path: &Path, kind: OwnType, date: Option<&Path>) -> OwnRead {
    let Ok(text) = std::str::from_utf8(bytes) else { return OwnRead::default() };
    let Ok([status, verification]) = document(text, ["status", "verificationStatus"]) else { return OwnRead::default() };
    if string(status).or_else(|| first_code(verification)).is_some_and(|status| status == "entered-in-error") {
        return OwnRead::default();
    }
    let whole = raw::whole(text);
    let Some(led) = path.follow(whole) else { return OwnRead { too_many: true, ..OwnRead::default() } };
    let values = if kind == OwnType::Codes {
        let codes: Vec<Coding> = led.into_iter().flat_map(codes).collect();
        if codes.is_empty() { Vec::new() } else { vec![OwnValue::Codes(codes)] }
    } else {
        led.into_iter().filter_map(|raw| value(raw, kind)).collect()
    };
    let at = date.and_then(|date| date.follow(whole).into_iter().flatten().find_map(|raw| FhirTime::parse(&raw.text()?)));
    OwnRead { values, at, too_many: false }
}

fn value(raw: Raw<'_>, kind: OwnType) -> Option<OwnValue> {
    match kind {
        OwnType::YesNo => raw.boolean().map(OwnValue::Flag),
        OwnType::WholeNumber => whole_numbers(raw.number()?).map(|(least, most)| OwnValue::Number(least, most)),
        OwnType::Text => raw.text_or_number().filter(|t| t.len() <= MAX_TEXT).map(|t| OwnValue::Text(Phi::new(t.into_owned()))),
        OwnType::Time => FhirTime::parse(&raw.text()?).map(OwnValue::Time),
        OwnType::Codes => None,
    }
}

/// The whole numbers that a JSON number lies between; `None` where it is beyond what can be told exactly.
fn whole_numbers(text: &str) -> Option<(i64, i64)> {
    if let Ok(whole) = text.parse::<i64>() {
        return Some((whole, whole));
    }
    let number: f64 = text.parse().ok()?;
    // Up to here every whole number is a float of its own.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if !number.is_finite() || number.abs() >= EXACT {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "whole, and within what i64 holds")]
    let whole = |n: f64| n as i64;
    Some((whole(number.floor()), whole(number.ceil())))
}

/// A CodeableConcept, a Coding, a Reference, an Identifier's value, or a code by itself.
fn codes(raw: Raw<'_>) -> Vec<Coding> {
    let plain = |code: String| Coding { system: None, code };
    let Some([coded, code, reference, value]) = raw.members(["coding", "code", "reference", "value"]) else {
        return raw
            .text()
            .map(|text| plain(text.into_owned()))
            .filter(|c| !c.code.is_empty() && c.code.len() <= MAX_TEXT)
            .into_iter()
            .collect();
    };
    if coded.is_some() {
        return concepts(Some(raw));
    }
    match (code, string(reference), string(value)) {
        (Some(_), ..) => coding(raw).into_iter().collect(),
        (None, Some(text), _) | (None, None, Some(text)) => vec![plain(text)],
        (None, None, None) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str, path: &str, kind: OwnType) -> Vec<OwnValue> {
        own(body.as_bytes(), &Path::parse(path).unwrap(), kind, None).values
    }

    #[test]
    fn values_are_read_in_their_type_or_not_at_all() {
        let body = r#"{"a":true,"n":[3,7.4,-7.4,1e400,12345678901234567890,"9"],"t":"x","d":["2026-11","2026-02-30","soon"],
            "c":[{"coding":[{"system":"s","code":"1"},{"display":"none"}]},{"system":"s","code":"2"},{"reference":"Patient/3"},"4",5,{}]}"#;
        let text = |t: &str| OwnValue::Text(Phi::new(t.into()));
        let coding = |system: Option<&str>, code: &str| Coding { system: system.map(Into::into), code: code.into() };
        assert_eq!(read(body, "a", OwnType::YesNo), [OwnValue::Flag(true)]);
        assert_eq!(read(body, "t", OwnType::YesNo), []);
        assert_eq!(read(body, "n", OwnType::WholeNumber), [OwnValue::Number(3, 3), OwnValue::Number(7, 8), OwnValue::Number(-8, -7)]);
        assert_eq!(read(body, "t", OwnType::Text), [text("x")]);
        assert_eq!(read(body, "a", OwnType::Text), []);
        assert_eq!(read(body, "d", OwnType::Time), [OwnValue::Time(FhirTime::Month(2026, 11))]);
        let all = vec![coding(Some("s"), "1"), coding(Some("s"), "2"), coding(None, "Patient/3"), coding(None, "4")];
        assert_eq!(read(body, "c", OwnType::Codes), [OwnValue::Codes(all)]);
        assert_eq!(read(body, "nothing", OwnType::Codes), []);
        assert_eq!(read("[]", "a", OwnType::YesNo), []);
        assert_eq!(own(&[0xff], &Path::parse("a").unwrap(), OwnType::YesNo, None), OwnRead::default());
    }

    #[test]
    fn of_more_values_than_are_looked_at_none_is_told() {
        let body = |n: usize| format!(r#"{{"a":[{}]}}"#, vec!["\"x\""; n].join(","));
        let read = |n: usize| own(body(n).as_bytes(), &Path::parse("a").unwrap(), OwnType::Text, None);
        assert_eq!((read(1_000).values.len(), read(1_000).too_many), (1_000, false));
        assert_eq!((read(1_001).values.len(), read(1_001).too_many), (0, true));
    }

    #[test]
    fn what_was_entered_in_error_tells_nothing_and_a_date_comes_with_the_values() {
        let path = Path::parse("a").unwrap();
        for wrong in [r#""status":"entered-in-error""#, r#""verificationStatus":{"coding":[{"code":"entered-in-error"}]}"#] {
            assert_eq!(read(&format!("{{{wrong},\"a\":true}}"), "a", OwnType::YesNo), []);
        }
        let read = own(br#"{"status":"final","a":true,"w":"2026-11-23"}"#, &path, OwnType::YesNo, Path::parse("w").ok().as_ref());
        assert_eq!((read.values.len(), read.at), (1, FhirTime::parse("2026-11-23")));
    }
}
