//! Who sends: what messages say about the sender, and where the site is.

use chrono_tz::Tz;

use super::reader::Section;

/// The site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// The name that patients know.
    pub name: String,
    /// Its time zone: days and quiet hours of patients without a place of their own.
    pub time_zone: Tz,
    /// Its language, a BCP 47 tag: what templates fall back to.
    pub language: String,
    /// The number that patients call.
    pub phone: Option<String>,
    /// The postal address in one line; commercial e-mail must carry it in some countries.
    pub address_line: Option<String>,
}

impl Site {
    pub(super) fn read(s: &mut Section<'_, '_>) -> Self {
        Self {
            name: s.text("name").unwrap_or_else(|| "Our practice".to_owned()),
            time_zone: s.parsed("time_zone", "an IANA time zone such as \"America/New_York\"", |t| t.parse().ok()).unwrap_or(Tz::UTC),
            language: s
                .parsed("language", "a BCP 47 language tag such as \"en\" or \"es-MX\"", |t| is_language(t).then(|| t.to_owned()))
                .unwrap_or_else(|| "en".to_owned()),
            phone: s.parsed("phone", "a phone number such as \"+1 555 0100\"", |t| is_phone(t).then(|| t.trim().to_owned())),
            address_line: s.text("address_line"),
        }
    }
}

/// The shape of a tag (RFC 5646 section 2.1): a language of 2 or 3 letters, then subtags of 1 to 8 letters and digits.
fn is_language(tag: &str) -> bool {
    let mut parts = tag.split('-');
    parts.next().is_some_and(|l| matches!(l.len(), 2 | 3) && l.bytes().all(|b| b.is_ascii_alphabetic()))
        && parts.all(|p| (1..=8).contains(&p.len()) && p.bytes().all(|b| b.is_ascii_alphanumeric()))
}

fn is_phone(text: &str) -> bool {
    text.bytes().filter(u8::is_ascii_digit).count() >= 3 && text.chars().all(|c| c.is_ascii_digit() || "+-(). /x".contains(c))
}
