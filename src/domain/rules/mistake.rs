//! Mistakes in a definition, each with the place and what to write instead. All of them are told at once.

/// The most mistakes that are told of one rule. Who wrote more is helped by the first ones, and a rule of 100 kB must not become a list
/// that takes long to make.
pub const MAX_MISTAKES: usize = 50;

/// One mistake. Names only what the author of the definition wrote, never anything of a patient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The id of the definition, where one was read.
    pub definition: Option<String>,
    /// Line and column in the rule, both from 1; columns count characters. `None` where the mistake is not in the rule.
    pub place: Option<(usize, usize)>,
    /// Line and column in the file, as the other; of what is wrong outside of a rule, where that has a place.
    pub in_file: Option<(usize, usize)>,
    /// What is wrong and what to do.
    pub message: String,
}

impl std::fmt::Display for Mistake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(id) = &self.definition {
            write!(f, "segment {id}: ")?;
        }
        if let Some((line, column)) = self.in_file {
            write!(f, "line {line}, column {column}: ")?;
        }
        if let Some((line, column)) = self.place {
            write!(f, "rule, line {line}, column {column}: ")?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for Mistake {}

impl Mistake {
    /// A mistake outside of the rule's text.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self { definition: None, place: None, in_file: None, message: message.into() }
    }

    /// A mistake at byte `offset` of the file `text`, outside of a rule.
    #[must_use]
    pub fn in_file(text: &str, offset: usize, message: impl Into<String>) -> Self {
        Self { in_file: Some(line_and_column(text, offset)), ..Self::new(message) }
    }

    /// A mistake at byte `offset` of the rule `text`.
    #[must_use]
    pub fn at(text: &str, offset: usize, message: impl Into<String>) -> Self {
        Self { place: Some(line_and_column(text, offset)), ..Self::new(message) }
    }

    /// Told last where a list was cut.
    #[must_use]
    pub fn and_more() -> Self {
        Self::new(format!("there are more than {MAX_MISTAKES} mistakes; correct these first"))
    }

    /// The same, in the definition `id`.
    #[must_use]
    pub fn within(mut self, id: &str) -> Self {
        self.definition = Some(id.to_owned());
        self
    }
}

fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |i| i + 1);
    (before.matches('\n').count() + 1, before.get(line_start..).unwrap_or_default().chars().count() + 1)
}

/// The name among `names` that is most like `wrong`, where one is like enough to be meant.
#[must_use]
pub fn nearest<'a>(wrong: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // A longer name is not a slip of the pen, and the distance is quadratic in the length.
    let length = wrong.chars().count();
    if length > 64 {
        return None;
    }
    let allowed = ((length + 1) / 3).clamp(1, 5);
    names.into_iter().map(|name| (distance(wrong, name), name)).filter(|(d, _)| *d <= allowed).min_by_key(|(d, _)| *d).map(|(_, name)| name)
}

/// `; did you mean ...?`, or nothing.
#[must_use]
pub fn suggestion<'a>(wrong: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    nearest(wrong, names).map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}

/// Levenshtein's distance in characters, letter case aside.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().flat_map(char::to_lowercase).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().flat_map(char::to_lowercase).enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, y) in row.iter_mut().skip(1).zip(&b) {
            let next = (diagonal + usize::from(x != *y)).min(left + 1).min(*cell + 1);
            diagonal = std::mem::replace(cell, next);
            left = next;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (a, b, d) in [("", "", 0), ("abc", "abc", 0), ("kitten", "sitting", 3), ("AGE", "age", 0), ("", "abc", 3), ("abc", "", 3)] {
            assert_eq!(distance(a, b), d, "{a} {b}");
        }
    }

    #[test]
    fn places_count_characters_and_lines_from_one() {
        assert_eq!(line_and_column("é = 1\n  x", 0), (1, 1));
        assert_eq!(line_and_column("é = 1\n  x", 3), (1, 3));
        assert_eq!(line_and_column("é = 1\n  x", 9), (2, 3));
        assert_eq!(line_and_column("ab", 99), (1, 3));
    }
}
