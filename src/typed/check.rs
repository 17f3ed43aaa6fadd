//! R4's primitive datatypes, checked (datatypes.html#primitive). Each function takes the element's path for its error.

use chrono::NaiveDate;

use crate::invalid::{Invalid, Problem};

/// R4 `string`: at most 1 MB.
const MAX_STRING: usize = 1024 * 1024;

/// The text without the control characters that an R4 `string` cannot hold, trimmed; `None` where nothing is left. For what a patient
/// typed, which is to be kept rather than refused.
#[must_use]
pub fn printable(text: &str) -> Option<String> {
    let kept: String = text.chars().filter(|c| !is_refused(*c)).collect();
    let kept = kept.trim();
    (!kept.is_empty()).then(|| kept.to_owned())
}

/// "Strings SHOULD NOT contain Unicode character points below 32, except for u0009, u000D and u000A."
const fn is_refused(c: char) -> bool {
    c < ' ' && !matches!(c, '\t' | '\n' | '\r')
}

pub(crate) fn string(element: &str, text: &str) -> Result<String, Invalid> {
    let problem = if text.trim().is_empty() {
        Problem::Empty
    } else if text.len() > MAX_STRING {
        Problem::TooLong
    } else if text.chars().any(is_refused) {
        Problem::ControlCharacter
    } else {
        return Ok(text.to_owned());
    };
    Err(Invalid::new(element, problem))
}

/// R4 `code`: `[^\s]+(\s[^\s]+)*`.
pub(crate) fn code(element: &str, text: &str) -> Result<String, Invalid> {
    string(element, text)?;
    let ok = !text.starts_with(char::is_whitespace)
        && !text.ends_with(char::is_whitespace)
        && !text.as_bytes().windows(2).any(|w| w.iter().all(u8::is_ascii_whitespace));
    if ok { Ok(text.to_owned()) } else { Err(Invalid::new(element, Problem::Code)) }
}

/// An absolute URI: a scheme (RFC 3986 section 3.1), a colon, and something after it.
pub(crate) fn absolute_uri(element: &str, text: &str) -> Result<String, Invalid> {
    let ok = text.split_once(':').is_some_and(|(scheme, rest)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
            && !rest.is_empty()
            && !text.chars().any(|c| c.is_whitespace() || c.is_control())
    });
    if ok { Ok(text.to_owned()) } else { Err(Invalid::new(element, Problem::Uri)) }
}

/// A media type (RFC 6838), with or without parameters.
pub(crate) fn media_type(element: &str, text: &str) -> Result<String, Invalid> {
    let token = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b));
    let essence = text.split(';').next().unwrap_or_default();
    let ok = essence.split_once('/').is_some_and(|(kind, sub)| token(kind) && token(sub.trim_end()));
    if ok { code(element, text) } else { Err(Invalid::new(element, Problem::MediaType)) }
}

/// R4 `dateTime`: a year, a month, a day, or an instant with seconds and a zone; the day exists.
pub(crate) fn date_time(element: &str, text: &str) -> Result<String, Invalid> {
    if is_date_time(text) { Ok(text.to_owned()) } else { Err(Invalid::new(element, Problem::DateTime)) }
}

/// R4 `instant`: a dateTime with its time.
pub(crate) fn instant(element: &str, text: &str) -> Result<String, Invalid> {
    if text.contains('T') && is_date_time(text) { Ok(text.to_owned()) } else { Err(Invalid::new(element, Problem::Instant)) }
}

fn is_date_time(text: &str) -> bool {
    let Some((date, time)) = text.split_once('T') else {
        return is_partial_date(text);
    };
    date.len() == 10 && is_partial_date(date) && is_zoned_time(time)
}

fn is_partial_date(text: &str) -> bool {
    let (year, rest) = text.split_at_checked(4).unwrap_or((text, ""));
    let (Some(year), true) = (digits(year, 4), text.len() == 4 || rest.starts_with('-')) else {
        return false;
    };
    let mut parts = rest.split('-').skip(1);
    let (month, day, end) = (parts.next(), parts.next(), parts.next());
    let month_number = month.map_or(Some(1), |m| digits(m, 2));
    let day_number = day.map_or(Some(1), |d| digits(d, 2));
    let (Some(m), Some(d), None) = (month_number, day_number, end) else {
        return false;
    };
    year > 0 && i32::try_from(year).is_ok_and(|y| NaiveDate::from_ymd_opt(y, m, d).is_some())
}

fn is_zoned_time(text: &str) -> bool {
    let Some(clock) = text.get(..8) else { return false };
    let mut fields = clock.split(':').map(|f| digits(f, 2));
    let (Some(Some(hour)), Some(Some(minute)), Some(Some(second)), None) = (fields.next(), fields.next(), fields.next(), fields.next())
    else {
        return false;
    };
    let rest = text.get(8..).unwrap_or_default();
    let zone = match rest.strip_prefix('.') {
        Some(fraction) => {
            let zone = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
            if zone.len() == fraction.len() {
                return false;
            }
            zone
        }
        None => rest,
    };
    // R4 lets a leap second be written; 60 is taken at any minute.
    hour < 24 && minute < 60 && second <= 60 && is_zone(zone)
}

/// `Z`, or an offset of at most 14:00.
fn is_zone(text: &str) -> bool {
    if text == "Z" {
        return true;
    }
    let Some((hours, minutes)) = text.strip_prefix(['+', '-']).and_then(|t| t.split_once(':')) else {
        return false;
    };
    matches!((digits(hours, 2), digits(minutes, 2)), (Some(h), Some(m)) if (h < 14 && m < 60) || (h == 14 && m == 0))
}

fn digits(text: &str, width: usize) -> Option<u32> {
    (text.len() == width && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

/// A literal reference (references.html#literal): `Type/id`, an absolute URL that ends so, either with a version, or a `urn:uuid:`.
/// `allowed` are the types that the element takes; empty means any. An id may be longer than R4's 64 characters and may hold `_` and
/// `~`, since servers in the field give out such ids and a reference must name them as they are.
pub(crate) fn reference(element: &str, text: &str, allowed: &[&str]) -> Result<String, Invalid> {
    if let Some(uuid) = text.strip_prefix("urn:uuid:") {
        let ok = uuid.len() == 36 && uuid.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
        return if ok { Ok(text.to_owned()) } else { Err(Invalid::new(element, Problem::Reference)) };
    }
    let malformed = || Invalid::new(element, Problem::Reference);
    let path = match text.split_once("://") {
        Some(("http" | "https", rest)) => rest.split_once('/').filter(|(host, _)| !host.is_empty()).ok_or_else(malformed)?.1,
        Some(_) => return Err(malformed()),
        None => text,
    };
    if text.chars().any(|c| c.is_whitespace() || c.is_control() || matches!(c, '#' | '?')) {
        return Err(malformed());
    }
    let mut segments: Vec<&str> = path.split('/').collect();
    if let [.., "_history", version] = segments.as_slice() {
        if !is_id(version) {
            return Err(malformed());
        }
        segments.truncate(segments.len() - 2);
    }
    let relative = !text.contains("://");
    let kind = match segments.as_slice() {
        [kind, id] if is_id(id) => *kind,
        [.., kind, id] if !relative && is_id(id) => *kind,
        _ => return Err(malformed()),
    };
    if !is_type_name(kind) {
        return Err(malformed());
    }
    if !allowed.is_empty() && !allowed.contains(&kind) {
        return Err(Invalid::new(element, Problem::ReferenceType));
    }
    Ok(text.to_owned())
}

/// R4 `id`, for ids that we give ourselves: 1 to 64 of `A-Z a-z 0-9 - .`.
pub(crate) fn id(element: &str, text: &str) -> Result<String, Invalid> {
    let ok = (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.'));
    if ok { Ok(text.to_owned()) } else { Err(Invalid::new(element, Problem::Id)) }
}

fn is_id(text: &str) -> bool {
    (1..=255).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~'))
        && !matches!(text, "." | "..")
}

fn is_type_name(text: &str) -> bool {
    (3..=64).contains(&text.len()) && text.starts_with(|c: char| c.is_ascii_uppercase()) && text.bytes().all(|b| b.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn date_times() {
        for good in [
            "2026",
            "2026-11",
            "2026-11-23",
            "2024-02-29",
            "2026-11-23T09:30:00Z",
            "2026-11-23T09:30:00.123456+05:30",
            "2026-11-23T09:30:00-14:00",
            "2016-12-31T23:59:60Z",
        ] {
            assert!(is_date_time(good), "{good}");
        }
        for bad in [
            "",
            "26",
            "0000",
            "2026-13",
            "2026-1",
            "2026-02-29",
            "2026-11-23-01",
            "20261123",
            "2026-11-23T",
            "2026-11-23T09:30:00",
            "2026-11-23T09:30Z",
            "2026-11-23T24:00:00Z",
            "2026-11-23T09:60:00Z",
            "2026-11-23T09:30:61Z",
            "2026-11-23T09:30:00.Z",
            "2026-11-23T09:30:00+14:30",
            "2026-11-23T09:30:00+1:00",
            "2026-11T09:30:00Z",
            "2026-11-23 09:30:00Z",
            "2026-11-23T09:30:00z",
            "２026",
            "2026-11-23T09:30:0é",
        ] {
            assert!(!is_date_time(bad), "{bad}");
        }
    }

    #[test]
    fn references() {
        for good in [
            "Patient/1",
            "Patient/erXuFYUfucBZaryVksYEcMg3",
            "Appointment/a.b-c_d~e",
            "Patient/1/_history/3",
            "https://ehr.example/fhir/R4/Patient/1",
            "http://ehr.example/Patient/1/_history/2",
            "urn:uuid:2c1f3f4e-7d3a-4c53-9f5e-5d7f0e6b1a11",
        ] {
            assert!(reference("e", good, &[]).is_ok(), "{good}");
        }
        for bad in [
            "",
            "Patient",
            "Patient/",
            "/Patient/1",
            "patient/1",
            "Patient/1/2",
            "Patient/a b",
            "Patient/..",
            "#p1",
            "Patient?identifier=1",
            "ftp://ehr.example/Patient/1",
            "https:///Patient/1",
            "https://ehr.example/",
            "https://ehr.example",
            "urn:uuid:1",
            "Patient/1/_history/",
        ] {
            assert_eq!(reference("e", bad, &[]).unwrap_err().problem(), Problem::Reference, "{bad}");
        }
        assert_eq!(reference("e", "Practitioner/1", &["Patient"]).unwrap_err().problem(), Problem::ReferenceType);
        assert!(reference("e", "https://ehr.example/fhir/Patient/1", &["Patient"]).is_ok());
    }

    #[test]
    fn uris_codes_and_media_types() {
        for good in ["urn:fhir-engage:attempt", "http://a.example/x", "urn:oid:1.2.3"] {
            assert!(absolute_uri("e", good).is_ok(), "{good}");
        }
        for bad in ["", "attempt", "/x/y", ":x", "urn:", "urn:a b", "1x:y", "http://a\u{a0}b"] {
            assert!(absolute_uri("e", bad).is_err(), "{bad}");
        }
        for good in ["a", "EMAILWRIT", "two words"] {
            assert!(code("e", good).is_ok(), "{good}");
        }
        for bad in ["", " ", " a", "a ", "a  b", "a\u{1}"] {
            assert!(code("e", bad).is_err(), "{bad}");
        }
        for good in ["text/plain", "application/xhtml+xml", "text/plain;charset=utf-8", "text/plain; charset=utf-8"] {
            assert!(media_type("e", good).is_ok(), "{good}");
        }
        for bad in ["", "plain", "text/", "/plain", "text/pl ain", "text/plain "] {
            assert!(media_type("e", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_a_patient_typed_is_kept_without_control_characters() {
        assert_eq!(printable(" YES\u{0}\u{1f} ok\n").as_deref(), Some("YES ok"));
        assert_eq!(printable("\u{7}\u{8} \n"), None);
        for text in ["a", "\u{0}x\ty", "  é "] {
            assert!(string("e", &printable(text).unwrap()).is_ok());
        }
        assert_eq!(string("e", "a\u{b}").unwrap_err().problem(), Problem::ControlCharacter);
        assert_eq!(string("e", " \n").unwrap_err().problem(), Problem::Empty);
        assert_eq!(string("e", &"x".repeat(MAX_STRING + 1)).unwrap_err().problem(), Problem::TooLong);
    }
}
