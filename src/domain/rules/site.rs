//! What a rule may know of the site: its time zone and its language.

use chrono_tz::Tz;

/// The place whose calendar and language rules go by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// Dates without an offset and calendar units are read in this zone.
    pub zone: Tz,
    language: String,
}

impl Site {
    /// A site with a BCP 47 language tag; only the tag's language is kept (`en` of `en-US`).
    #[must_use]
    pub fn new(zone: Tz, language: &str) -> Self {
        Self { zone, language: primary_language(language).to_ascii_lowercase() }
    }

    /// The language, in lower case.
    #[must_use]
    pub fn language(&self) -> &str {
        &self.language
    }
}

/// The primary language of a BCP 47 tag (`es` of `es-MX`).
#[must_use]
pub fn primary_language(tag: &str) -> &str {
    tag.split(['-', '_']).next().unwrap_or(tag).trim()
}
