//! A definition file: TOML whose members know where they stand, so that a mistake can point at its line and column; or the same as JSON.

use toml::de::DeTable;

use super::mistake::Mistake;

/// A TOML file.
pub(super) struct File<'f> {
    text: &'f str,
    /// Its members.
    pub(super) table: toml::Table,
    /// Each member's name, and the bytes where its name and its value begin.
    places: Vec<(String, usize, usize)>,
}

impl<'f> File<'f> {
    /// Reads a file.
    ///
    /// # Errors
    /// All that is no TOML in it, each with its place.
    pub(super) fn read(text: &'f str) -> Result<Self, Vec<Mistake>> {
        let (found, errors) = DeTable::parse_recoverable(text);
        if !errors.is_empty() {
            return Err(errors.iter().map(|error| mistake(text, error)).collect());
        }
        let places = found.get_ref().iter().map(|(key, value)| (key.get_ref().to_string(), key.span().start, value.span().start));
        let table: toml::Table = text.parse().map_err(|error| vec![mistake(text, &error)])?;
        Ok(Self { text, table, places: places.collect() })
    }

    /// Reads a file that is written as JSON. Its members do not know where they stand.
    ///
    /// # Errors
    /// Where it is no JSON object, or holds what TOML cannot.
    pub(super) fn read_json(text: &'f str) -> Result<Self, Vec<Mistake>> {
        // The parser's own words may quote what stands there, and that is the author's.
        let wrong = |error: serde_json::Error| {
            let offset = text.lines().take(error.line().saturating_sub(1)).map(|l| l.len() + 1).sum::<usize>() + error.column();
            vec![Mistake::in_file(text, offset.saturating_sub(1), format!("this is not JSON of a definition: {error}"))]
        };
        let table: toml::Table = serde_json::from_str(text).map_err(wrong)?;
        Ok(Self { text, table, places: Vec::new() })
    }

    /// A mistake in the name of a member.
    pub(super) fn at_name(&self, key: &str, message: impl Into<String>) -> Mistake {
        self.at(key, |(_, name, _)| *name, message)
    }

    /// A mistake in the value of a member; where there is no such member, one of the whole file.
    pub(super) fn at_value(&self, key: &str, message: impl Into<String>) -> Mistake {
        self.at(key, |(_, _, value)| *value, message)
    }

    /// A mistake at a character, from 1, of a text that is the value of a member.
    pub(super) fn within_value(&self, key: &str, column: usize, message: impl Into<String>) -> Mistake {
        let text = self.table.get(key).and_then(toml::Value::as_str).unwrap_or_default();
        let before: usize = text.chars().take(column.saturating_sub(1)).map(char::len_utf8).sum();
        self.at(
            key,
            |(_, _, value)| {
                // Where it is written as it is read, after one quote, each character is where it is counted; else the text is pointed at.
                let plain = self.text.get(value + 1..).is_some_and(|rest| rest.starts_with(text));
                if plain { value + 1 + before } else { *value }
            },
            message,
        )
    }

    fn at(&self, key: &str, of: impl Fn(&(String, usize, usize)) -> usize, message: impl Into<String>) -> Mistake {
        match self.places.iter().find(|(name, ..)| name == key) {
            Some(place) => Mistake::in_file(self.text, of(place), message),
            None => Mistake::new(message),
        }
    }
}

fn mistake(text: &str, error: &toml::de::Error) -> Mistake {
    let message = format!("this is not TOML: {}", error.message());
    match error.span() {
        Some(span) => Mistake::in_file(text, span.start, message),
        None => Mistake::new(message),
    }
}
