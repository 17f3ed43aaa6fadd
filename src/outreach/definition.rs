//! Reading a definition that an operator wrote (a program, a template): typed access to the keys of a TOML file, where every mistake is
//! gathered, so that one run tells all of them. Knows nothing of what the keys mean.

use toml::{Table, Value};

/// One mistake in a file that an operator wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The file's name, as given.
    pub file: String,
    /// The key, dotted (`step[2].offset`); a line (`line 4`) where the file is not TOML.
    pub key: String,
    /// What is wrong and what to write instead.
    pub says: String,
}

impl std::fmt::Display for Mistake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}: {}", self.file, self.key, self.says)
    }
}

/// All mistakes of one or more files; never empty when it is an error.
#[derive(Clone, Debug, Default, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct Mistakes(pub Vec<Mistake>);

/// Reads the keys of one file and remembers what was wrong.
pub(super) struct Reader {
    file: String,
    mistakes: Vec<Mistake>,
}

impl Reader {
    pub(super) fn new(file: &str) -> Self {
        Self { file: file.to_owned(), mistakes: Vec::new() }
    }

    /// The file's table; where it is not TOML, an empty one and the mistake with its line.
    pub(super) fn open(&mut self, text: &str) -> Table {
        text.parse::<Table>().unwrap_or_else(|e| {
            let before = e.span().and_then(|s| text.get(..s.start)).unwrap_or_default();
            let line = before.bytes().filter(|b| *b == b'\n').count() + 1;
            self.wrong(&format!("line {line}"), &format!("not TOML: {}", e.message()));
            Table::new()
        })
    }

    pub(super) fn wrong(&mut self, key: &str, says: &str) {
        self.mistakes.push(Mistake { file: self.file.clone(), key: key.to_owned(), says: says.to_owned() });
    }

    pub(super) fn is_clean(&self) -> bool {
        self.mistakes.is_empty()
    }

    /// A text that must be there and not be blank.
    pub(super) fn text(&mut self, table: &mut Table, path: &str, key: &str) -> String {
        match self.optional_text(table, path, key) {
            Some(text) => text,
            None => {
                if !self.mistakes.iter().any(|m| m.key == dotted(path, key)) {
                    self.wrong(&dotted(path, key), "is missing: write a text");
                }
                String::new()
            }
        }
    }

    /// A text that may be left out.
    pub(super) fn optional_text(&mut self, table: &mut Table, path: &str, key: &str) -> Option<String> {
        match table.remove(key)? {
            Value::String(text) if !text.trim().is_empty() => Some(text),
            Value::String(_) => {
                self.wrong(&dotted(path, key), "is empty: write a text");
                None
            }
            other => {
                self.wrong(&dotted(path, key), &format!("is a {}: write a text in quotes", other.type_str()));
                None
            }
        }
    }

    /// An id: 1 to 64 lower-case letters, digits and `-`, beginning with a letter.
    pub(super) fn id(&mut self, table: &mut Table, path: &str, key: &str) -> String {
        let text = self.text(table, path, key);
        let ok = text.len() <= 64
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if !ok && !text.is_empty() {
            self.wrong(&dotted(path, key), "must be 1 to 64 lower-case letters, digits and '-', beginning with a letter");
        }
        text
    }

    /// A whole number within limits.
    pub(super) fn number(&mut self, table: &mut Table, path: &str, key: &str, range: std::ops::RangeInclusive<u32>) -> u32 {
        let says = format!("write a whole number from {} to {}", range.start(), range.end());
        match table.remove(key) {
            Some(Value::Integer(n)) if u32::try_from(n).is_ok_and(|n| range.contains(&n)) => u32::try_from(n).unwrap_or_default(),
            Some(_) => {
                self.wrong(&dotted(path, key), &says);
                *range.start()
            }
            None => {
                self.wrong(&dotted(path, key), &format!("is missing: {says}"));
                *range.start()
            }
        }
    }

    /// A text that `parse` understands; `allowed` tells the operator what may be written.
    pub(super) fn parsed<T>(
        &mut self,
        table: &mut Table,
        path: &str,
        key: &str,
        allowed: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        if !table.contains_key(key) {
            self.wrong(&dotted(path, key), &format!("is missing: write {allowed}"));
            return None;
        }
        let text = self.optional_text(table, path, key)?;
        let value = parse(text.trim());
        if value.is_none() {
            self.wrong(&dotted(path, key), &format!("{text:?} is not understood: write {allowed}"));
        }
        value
    }

    /// A list of texts that `parse` understands, at least one, none twice. Left out where `or` is given.
    pub(super) fn list<T: PartialEq>(
        &mut self,
        table: &mut Table,
        path: &str,
        key: &str,
        allowed: &str,
        or: Option<Vec<T>>,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Vec<T> {
        let at = dotted(path, key);
        let items = match (table.remove(key), or) {
            (Some(Value::Array(items)), _) if !items.is_empty() => items,
            (None, Some(default)) => return default,
            _ => {
                self.wrong(&at, &format!("write a list with at least one of {allowed}"));
                return Vec::new();
            }
        };
        let mut out = Vec::with_capacity(items.len());
        for item in items {
            match item.as_str().and_then(&parse) {
                Some(value) if out.contains(&value) => self.wrong(&at, &format!("{item} is listed twice")),
                Some(value) => out.push(value),
                None => self.wrong(&at, &format!("{item} is not understood: write {allowed}")),
            }
        }
        out
    }

    /// The tables of `[[key]]`, in order.
    pub(super) fn tables(&mut self, table: &mut Table, key: &str) -> Vec<Table> {
        match table.remove(key) {
            Some(Value::Array(items)) if items.iter().all(Value::is_table) && !items.is_empty() => {
                items.into_iter().filter_map(|v| if let Value::Table(t) = v { Some(t) } else { None }).collect()
            }
            _ => {
                self.wrong(key, &format!("write at least one [[{key}]]"));
                Vec::new()
            }
        }
    }

    /// What is left in a table is not known to us: most often a misspelt key.
    pub(super) fn nothing_else(&mut self, table: &Table, path: &str) {
        for key in table.keys() {
            self.wrong(&dotted(path, key), "is not a key that is known here: check its spelling");
        }
    }

    pub(super) fn finish<T>(self, value: Option<T>) -> Result<T, Mistakes> {
        match value {
            Some(value) if self.mistakes.is_empty() => Ok(value),
            _ => Err(Mistakes(self.mistakes)),
        }
    }
}

pub(super) fn dotted(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}
