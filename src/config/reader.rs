//! Reading typed keys from TOML so that every mistake is gathered with its file, line and key. Knows nothing of what the keys mean.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use chrono::TimeDelta;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::credentials::SecretRef;

/// One mistake in the configuration.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mistake {
    /// The file, as it was named.
    pub file: String,
    /// The line, from 1; absent where the file could not be read or the value came from the environment.
    pub line: Option<usize>,
    /// The key, dotted (`smtp.port`); empty where the text is not TOML.
    pub key: String,
    /// What is wrong and what to write instead. Never quotes a value that may be a secret.
    pub says: String,
}

impl std::fmt::Display for Mistake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.says)
    }
}

/// A URL, or where one is that is a secret itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// As it stands.
    Url(url::Url),
    /// To be fetched.
    Secret(SecretRef),
}

/// One file and what was wrong in it.
pub(super) struct Reader<'a> {
    file: String,
    text: &'a str,
    folder: PathBuf,
    root: DeTable<'a>,
    mistakes: RefCell<Vec<Mistake>>,
}

impl<'a> Reader<'a> {
    /// Parses `text`. `folder` is what relative paths in it start from.
    pub(super) fn new(file: String, text: &'a str, folder: PathBuf) -> Self {
        let (root, errors) = DeTable::parse_recoverable(text);
        let reader = Self { file, text, folder, root: root.into_inner(), mistakes: RefCell::default() };
        for error in errors {
            reader.note(error.span().map(|s| s.start), "", format!("not TOML: {}", error.message()));
        }
        reader
    }

    /// The whole file.
    pub(super) fn top(&self) -> Section<'_, 'a> {
        Section { reader: self, path: String::new(), at: None, table: Some(&self.root), known: BTreeSet::new() }
    }

    fn note(&self, at: Option<usize>, key: &str, says: String) {
        let line = at.map(|at| self.text.bytes().take(at).filter(|b| *b == b'\n').count() + 1);
        let mut mistakes = self.mistakes.borrow_mut();
        // What the parser guessed after a syntax error is no second mistake.
        if line.is_some() && mistakes.iter().any(|m| m.key.is_empty() && m.line == line) {
            return;
        }
        mistakes.push(Mistake { file: self.file.clone(), line, key: key.to_owned(), says });
    }

    /// All mistakes, in the order of the file.
    pub(super) fn into_mistakes(self) -> Vec<Mistake> {
        let mut mistakes = self.mistakes.into_inner();
        mistakes.sort_by(|a, b| (a.line, &a.key).cmp(&(b.line, &b.key)));
        mistakes.dedup();
        mistakes
    }
}

/// One table of the file. When it goes out of use, keys that nobody asked for are mistakes.
pub(super) struct Section<'r, 'a> {
    reader: &'r Reader<'a>,
    path: String,
    /// Where it begins; where it is absent, nothing in it can be wrong.
    at: Option<usize>,
    table: Option<&'r DeTable<'a>>,
    known: BTreeSet<&'static str>,
}

impl<'r, 'a> Section<'r, 'a> {
    /// Whether the file has this table.
    pub(super) const fn is_present(&self) -> bool {
        self.table.is_some()
    }

    /// Whether the table has this key, with whatever value.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.is_some_and(|t| t.contains_key(key))
    }

    /// Whether the key is a list without members, as written: one whose members were all mistakes has been told already.
    pub(super) fn is_empty_list(&self, key: &str) -> bool {
        self.table.and_then(|t| t.get(key)).and_then(|v| v.get_ref().as_array()).is_some_and(|a| a.is_empty())
    }

    fn find(&mut self, key: &'static str) -> Option<&'r Spanned<DeValue<'a>>> {
        self.known.insert(key);
        self.table?.get(key)
    }

    fn full(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// Tells a mistake about `key`, at its value if it has one, else at the table's beginning.
    pub(super) fn wrong(&self, key: &str, says: impl Into<String>) {
        let at = self.table.and_then(|t| t.get(key)).map(|v| v.span().start).or(self.at);
        self.reader.note(at, &self.full(key), says.into());
    }

    fn expected(&self, key: &str, what: &str, found: &DeValue<'_>) {
        self.wrong(key, format!("expected {what}, found {}", kind(found)));
    }

    /// A table in this one.
    pub(super) fn section(&mut self, key: &'static str) -> Section<'r, 'a> {
        let value = self.find(key);
        let table = value.and_then(|v| match v.get_ref() {
            DeValue::Table(table) => Some(table),
            other => {
                self.expected(key, &format!("a table [{}]", self.full(key)), other);
                None
            }
        });
        Section { reader: self.reader, path: self.full(key), at: value.map(|v| v.span().start), table, known: BTreeSet::new() }
    }

    /// A text that is not empty.
    pub(super) fn text(&mut self, key: &'static str) -> Option<String> {
        self.parsed(key, "a text that is not empty", |t| Some(t.trim()).filter(|t| !t.is_empty()).map(str::to_owned))
    }

    /// A text of a certain form; `what` says which, with an example.
    pub(super) fn parsed<T>(&mut self, key: &'static str, what: &str, parse: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        match self.find(key)?.get_ref() {
            DeValue::String(text) => parse(text).or_else(|| {
                self.wrong(key, format!("expected {what}, found {text:?}"));
                None
            }),
            other => {
                self.expected(key, what, other);
                None
            }
        }
    }

    /// A whole number within bounds.
    pub(super) fn number(&mut self, key: &'static str, from: u32, to: u32) -> Option<u32> {
        let what = format!("a whole number from {from} to {to}");
        match self.find(key)?.get_ref() {
            DeValue::Integer(n) => {
                let value = u32::from_str_radix(n.as_str(), n.radix()).ok().filter(|v| (from..=to).contains(v));
                if value.is_none() {
                    self.wrong(key, format!("expected {what}, found {n}"));
                }
                value
            }
            other => {
                self.expected(key, &what, other);
                None
            }
        }
    }

    /// A span of time such as `"90s"`, within bounds.
    pub(super) fn span(&mut self, key: &'static str, from: TimeDelta, to: TimeDelta) -> Option<TimeDelta> {
        let what = format!("a time span from {} to {}, such as \"30s\", \"15m\", \"26h\" or \"3d\"", show_span(from), show_span(to));
        self.parsed(key, &what, |t| parse_span(t).filter(|s| (from..=to).contains(s)))
    }

    /// A list of texts, each of a certain form.
    pub(super) fn list(&mut self, key: &'static str, what: &str, accept: impl Fn(&str) -> bool) -> Option<Vec<String>> {
        let value = self.find(key)?;
        let DeValue::Array(items) = value.get_ref() else {
            self.expected(key, &format!("a list of {what}"), value.get_ref());
            return None;
        };
        let mut texts: Vec<String> = Vec::new();
        for item in items.iter() {
            let says = match item.get_ref() {
                DeValue::String(t) if texts.iter().any(|s| s == t) => format!("{t:?} is named twice"),
                DeValue::String(t) if accept(t) => {
                    texts.push(t.to_string());
                    continue;
                }
                DeValue::String(t) => format!("expected a list of {what}, found {t:?} in it"),
                other => format!("expected a list of {what}, found {} in it", kind(other)),
            };
            self.reader.note(Some(item.span().start), &self.full(key), says);
        }
        Some(texts)
    }

    /// Where a secret is. What stands there instead is not quoted: it may be the secret itself.
    pub(super) fn secret(&mut self, key: &'static str) -> Option<SecretRef> {
        let reference = self.find(key)?.get_ref().as_str().and_then(|text| self.pointer(text));
        if reference.is_none() {
            self.wrong(key, "expected \"env:NAME\" or \"file:PATH\"; a secret itself never stands in the configuration");
        }
        reference
    }

    /// A URL to send something to, or where it is. What stands there instead is not quoted: the path of such a URL is often a secret.
    pub(super) fn place(&mut self, key: &'static str) -> Option<Place> {
        let text = self.find(key)?.get_ref().as_str();
        let url = |t: &str| url::Url::parse(t).ok().filter(is_guarded).map(Place::Url);
        let place = text.and_then(|t| self.pointer(t).map(Place::Secret).or_else(|| url(t)));
        if place.is_none() {
            self.wrong(key, "expected an https URL (http only on this machine), or \"env:NAME\" or \"file:PATH\" that holds one");
        }
        place
    }

    /// Reads a pointer to a secret; a relative path starts from the file's folder.
    pub(super) fn pointer(&self, text: &str) -> Option<SecretRef> {
        match SecretRef::parse(text).ok()? {
            SecretRef::File(path) => Some(SecretRef::File(self.folder().join(path))),
            env @ SecretRef::Env(_) => Some(env),
        }
    }

    /// What relative paths start from: the folder of the file.
    pub(super) fn folder(&self) -> &'r Path {
        &self.reader.folder
    }
}

/// Whether nobody on the way can read what is sent there.
pub(crate) fn is_guarded(url: &url::Url) -> bool {
    let here = match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    };
    url.has_host() && (url.scheme() == "https" || (url.scheme() == "http" && here))
}

impl Drop for Section<'_, '_> {
    fn drop(&mut self) {
        let Some(table) = self.table else { return };
        for key in table.keys().filter(|k| !self.known.contains(k.get_ref().as_ref())) {
            let name = key.get_ref();
            let nearest = self
                .known
                .iter()
                .map(|k| (strsim::damerau_levenshtein(k, name), *k))
                .min()
                .filter(|(distance, k)| *distance <= 1 + k.len() / 4);
            let known: Vec<&str> = self.known.iter().copied().collect();
            let says = match nearest {
                Some((_, near)) => format!("this key is not known; did you mean {near}?"),
                None => format!("this key is not known; the known ones are {}", known.join(", ")),
            };
            self.reader.note(Some(key.span().start), &self.full(name), says);
        }
    }
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time without quotation marks",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

const UNITS: [(&str, i64); 4] = [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];

fn parse_span(text: &str) -> Option<TimeDelta> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let seconds = UNITS.iter().find(|u| u.0 == unit)?.1;
    TimeDelta::try_seconds(number.parse::<i64>().ok()?.checked_mul(seconds)?)
}

fn show_span(span: TimeDelta) -> String {
    let seconds = span.num_seconds();
    let (unit, size) = UNITS.iter().find(|u| seconds >= u.1 && seconds % u.1 == 0).unwrap_or(&("s", 1));
    format!("\"{}{unit}\"", seconds / size)
}
