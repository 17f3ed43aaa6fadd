//! Identifiers that may tell that two records are one person (R4 Patient.identifier), in the one form in which two are compared.

use crate::model::Phi;

/// The system of US social security numbers (R4, known identifier systems).
const US_SSN: &str = "http://hl7.org/fhir/sid/us-ssn";

/// An identifier as it was sent, of those that have a system and a value and are not marked `old` or `temp`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identifier {
    /// The system's URI.
    pub system: String,
    /// The value.
    pub value: Phi<String>,
}

/// Words that front desks type where they have no value.
const NO_VALUE: [&str; 12] =
    ["UNKNOWN", "UNK", "NONE", "NA", "NULL", "NOTAPPLICABLE", "NOTAVAILABLE", "REFUSED", "DECLINED", "PENDING", "TEST", "XXX"];

impl Identifier {
    /// The value without blanks, hyphens, dots and slashes and in capitals; `None` for a placeholder, which ties nobody: too short, one
    /// character again and again, digits counted up or down, a word for "none", a social security number that is never given out.
    #[must_use]
    pub fn normal(&self) -> Option<Phi<String>> {
        let ignored = |c: &char| !(c.is_whitespace() || matches!(c, '-' | '.' | '/' | '_'));
        let value: String = self.value.expose().chars().filter(ignored).flat_map(char::to_uppercase).collect();
        let bytes = value.as_bytes();
        let same = bytes.windows(2).all(|two| two.first() == two.last());
        let steps =
            |by: i16| bytes.windows(2).all(|two| matches!(two, [a, b] if i16::from(*b) - i16::from(*a) == by || (*a, *b) == (b'9', b'0')));
        let counted = value.bytes().all(|b| b.is_ascii_digit()) && bytes.len() > 4 && (steps(1) || steps(-1));
        let placeholder =
            bytes.len() < 4 || same || counted || NO_VALUE.contains(&value.as_str()) || (self.system == US_SSN && !is_ssn(&value));
        (!placeholder).then(|| Phi::new(value))
    }
}

/// Nine digits, with no part that is never given out (SSA: area 000, 666, 900 and above; group 00; serial 0000), and none of the two
/// numbers that were printed in advertisements and are carried by thousands.
fn is_ssn(value: &str) -> bool {
    let part = |range: std::ops::Range<usize>| value.get(range).and_then(|t| t.parse::<u32>().ok());
    let (Some(area), Some(group), Some(serial)) = (part(0..3), part(3..5), part(5..9)) else { return false };
    let given_out = area != 0 && area != 666 && area < 900 && group != 0 && serial != 0;
    value.len() == 9 && value.bytes().all(|b| b.is_ascii_digit()) && given_out && !["078051120", "219099999"].contains(&value)
}
