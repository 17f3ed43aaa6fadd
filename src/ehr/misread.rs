//! A text that is not of the shape that was asked for, told without what it holds: serde's own messages quote values, and a value may be a secret
//! in the wrong place. What is told is where (line and key) and what was wanted there.

use serde::de::DeserializeOwned;

/// Where and why a text could not be read. Holds no value of the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{why}", place(.key, *.line))]
pub struct Misread {
    /// The key, with those above it; empty where it is the whole, or the text is no JSON.
    pub key: String,
    /// The line, from 1; 0 where it is not known.
    pub line: usize,
    /// What was wanted.
    pub why: String,
}

fn place(key: &str, line: usize) -> String {
    match (key.is_empty(), line) {
        (true, 0) => String::new(),
        (true, line) => format!("line {line}: "),
        (false, 0) => format!("{key}: "),
        (false, line) => format!("{key} (line {line}): "),
    }
}

/// Reads JSON.
///
/// # Errors
/// [`Misread`].
pub fn read<T: DeserializeOwned>(text: &str) -> Result<T, Misread> {
    serde_json::from_str(text).map_err(|error| of_json(text, &error))
}

/// Reads a value that was read before. Its lines are nobody's, so only the key is told.
///
/// # Errors
/// [`Misread`].
pub fn read_value<T: DeserializeOwned>(value: &serde_json::Value) -> Result<T, Misread> {
    let text = value.to_string();
    read(&text).map_err(|misread| Misread { line: 0, ..misread })
}

/// What a failure to read TOML tells.
#[must_use]
pub fn of_toml(text: &str, error: &toml::de::Error) -> Misread {
    let line = error.span().map_or(0, |span| 1 + text.bytes().take(span.start).filter(|b| *b == b'\n').count());
    Misread { key: String::new(), line, why: plain(error.message()) }
}

fn of_json(text: &str, error: &serde_json::Error) -> Misread {
    let (line, column) = (error.line(), error.column());
    if error.is_syntax() || error.is_eof() {
        return Misread { key: String::new(), line, why: format!("it is no JSON from column {column} on") };
    }
    let whole = error.to_string();
    let said = whole.rsplit_once(" at line ").map_or(whole.as_str(), |(said, _)| said);
    Misread { key: key_at(text, offset(text, line, column)), line, why: plain(said) }
}

/// The bytes up to a line and column of serde's.
fn offset(text: &str, line: usize, column: usize) -> usize {
    let before: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    (before + column).min(text.len())
}

/// One of serde's messages without the value that it quotes. What comes before `, expected` is about the value; what a key is called is told.
fn plain(said: &str) -> String {
    for begins in ["missing field", "unknown field", "duplicate field"] {
        if said.starts_with(begins) {
            return said.replace('`', "");
        }
    }
    let wanted = said.rsplit_once(", expected ").map(|(_, wanted)| wanted.replace('`', ""));
    match (said.split_once(':'), wanted) {
        (Some(("invalid type", found)), Some(wanted)) => format!("{} where {wanted} is wanted", sort(found)),
        (_, Some(wanted)) => format!("wanted is {wanted}"),
        // A message of a type's own. Where it quotes nothing it helps.
        (_, None) if !said.contains(['"', '`', '\'']) => said.to_owned(),
        (_, None) => "this value is not taken here".to_owned(),
    }
}

/// What sort of value serde found.
fn sort(found: &str) -> &'static str {
    let found = found.trim_start();
    [("string", "a text"), ("integer", "a number"), ("floating point", "a number"), ("boolean", "true or false"), ("map", "a table")]
        .into_iter()
        .chain([("sequence", "a list"), ("null", "nothing"), ("unit", "nothing")])
        .find(|(name, _)| found.starts_with(name))
        .map_or("another value", |(_, words)| words)
}

/// The key at a place of a JSON text, with those above it, as `a.b`. The text is sound up to there.
fn key_at(text: &str, end: usize) -> String {
    /// An object or list that is open: the key in hand, and whether a key comes next. A list has none.
    struct Open {
        key: Option<String>,
        wants_key: bool,
        is_list: bool,
    }
    let mut open: Vec<Open> = Vec::new();
    let mut rest = text.get(..end).unwrap_or(text).chars();
    while let Some(c) = rest.next() {
        match c {
            '{' => open.push(Open { key: None, wants_key: true, is_list: false }),
            '[' => open.push(Open { key: None, wants_key: false, is_list: true }),
            // The end of what is wrong as a whole: it is the key that holds it.
            '}' | ']' => drop(open.pop()),
            ',' => {
                if let Some(top) = open.last_mut().filter(|top| !top.is_list) {
                    (top.key, top.wants_key) = (None, true);
                }
            }
            '"' => {
                let mut word = String::new();
                while let Some(c) = rest.next() {
                    match c {
                        '"' => break,
                        '\\' => drop(rest.next()),
                        c => word.push(c),
                    }
                }
                if let Some(top) = open.last_mut().filter(|top| top.wants_key) {
                    (top.key, top.wants_key) = (Some(word), false);
                }
            }
            _ => {}
        }
    }
    open.into_iter().filter_map(|o| o.key).collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only whether it is read counts")]
    struct Shape {
        size: u32,
        #[serde(default)]
        kind: Option<Kind>,
        #[serde(default)]
        inner: BTreeMap<String, Vec<u8>>,
        #[serde(default)]
        address: Option<url::Url>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "kebab-case")]
    enum Kind {
        One,
        Two,
    }

    #[test]
    fn the_place_and_what_was_wanted_are_told_and_never_the_value() {
        for (text, told) in [
            ("{\n  \"size\": \"s3cret\"\n}", "size (line 2): a text where u32 is wanted"),
            ("{\"size\": 1, \"kind\": \"s3cret\"}", "kind (line 1): wanted is one or two"),
            ("{\"size\": 1, \"inner\": {\"a\": [1, \"s3cret\"]}}", "inner.a (line 1): a text where u8 is wanted"),
            ("{\"size\": 1,\n\"inner\": {\"x\\\"s3cret\": []}, \"address\": \"s3cret\"}", "address (line 2): this value is not taken here"),
            ("{\"size\": 1, \"sise\": 2}", "sise (line 1): unknown field sise, expected one of size, kind, inner, address"),
            ("{\"kind\": \"one\"}", "line 1: missing field size"),
            ("{\"size\": s3cret}", "line 1: it is no JSON from column 10 on"),
        ] {
            let misread = read::<Shape>(text).unwrap_err().to_string();
            assert_eq!(misread, told, "{text}");
        }
        let value = serde_json::json!({ "size": 1, "address": { "token": "s3cret" } });
        let misread = read_value::<Shape>(&value).unwrap_err().to_string();
        assert!(misread.starts_with("address: a table where ") && !misread.contains("s3cret"), "{misread}");
        let text = "size = 1\nkind = \"s3cret\n";
        let misread = of_toml(text, &toml::from_str::<toml::Table>(text).unwrap_err()).to_string();
        assert!(misread.starts_with("line 2: ") && !misread.contains("s3cret"), "{misread}");
    }
}
