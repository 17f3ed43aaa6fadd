//! A source file, read as far as the rules need it: code without comments and strings, its test parts cut out, its place in the module
//! tree, and the modules and crates it names. A small reader in place of a parser: the rules need names and places, not syntax trees.

use std::collections::BTreeSet;

/// A file below `src/`.
#[derive(Clone, Debug)]
pub struct Source {
    /// Path from the root, with `/`.
    pub path: String,
    /// The text as it is.
    pub text: String,
    /// Without comments, strings and test modules; lines keep their places.
    pub code: String,
    /// Without comments and test modules.
    pub code_with_strings: String,
    /// The top-level module or crate it belongs to; empty for `main.rs` and `lib.rs`.
    pub module: String,
    /// Whether that is a crate of its own.
    pub own_crate: bool,
    /// Whether the file is compiled for tests only.
    pub test: bool,
    own_crates: BTreeSet<String>,
}

impl Source {
    /// Reads a file. `own_crates` are the folders below `src` that are crates.
    pub fn new(path: String, text: String, own_crates: &BTreeSet<String>) -> Self {
        let inner = path.strip_prefix("src/").unwrap_or(&path);
        let first = inner.split('/').next().unwrap_or_default().trim_end_matches(".rs");
        let module = if matches!(first, "main" | "lib") { String::new() } else { first.to_owned() };
        let code_with_strings = without_tests(&blank(&text, false), &blank(&text, true));
        let code = without_tests(&blank(&text, true), &blank(&text, true));
        let test = inner.ends_with("/tests.rs") || inner.contains("/tests/");
        let own_crate = own_crates.contains(&module);
        Self { path, code, code_with_strings, own_crate, module, test, own_crates: own_crates.clone(), text }
    }

    /// The path of its module, from the root of its crate.
    fn place(&self) -> Vec<&str> {
        let inner = self.path.strip_prefix("src/").unwrap_or(&self.path).trim_end_matches(".rs");
        let mut place: Vec<&str> = inner.split('/').skip(usize::from(self.own_crate)).collect();
        if matches!(place.last(), Some(&("mod" | "lib" | "main"))) {
            place.pop();
        }
        place
    }

    /// The names in its code, in order, with `::` and braces between them.
    pub fn tokens(&self) -> Vec<&str> {
        tokens(&self.code)
    }

    /// The top-level modules of the main crate and the crates of ours that it names.
    pub fn imports(&self) -> BTreeSet<String> {
        let tokens = self.tokens();
        let place = self.place();
        let mut found = BTreeSet::new();
        for (at, token) in tokens.iter().enumerate() {
            let begins = at == 0 || !matches!(tokens[at - 1], "::" | ".");
            let goes_on = tokens.get(at + 1) == Some(&"::");
            match *token {
                "crate" if goes_on && !self.own_crate => found.extend(heads(&tokens[at + 2..])),
                "fhir_engage" if goes_on => found.extend(heads(&tokens[at + 2..])),
                "super" if begins && goes_on && !self.own_crate => {
                    let ups = tokens[at..].chunks(2).take_while(|pair| *pair == ["super", "::"]).count();
                    match place.len().checked_sub(ups) {
                        Some(0) => found.extend(heads(&tokens[at + 2 * ups..])),
                        Some(_) => drop(found.insert(place[0].to_owned())),
                        None => {}
                    }
                }
                name if begins
                    && self.own_crates.contains(name)
                    && (goes_on || (at > 0 && tokens[at - 1] == "use"))
                    && name != self.module =>
                {
                    found.insert(name.to_owned());
                }
                _ => {}
            }
        }
        found
    }
}

/// The first names of what follows a `::`, which is a name or a group of paths.
fn heads(tokens: &[&str]) -> Vec<String> {
    if tokens.first() != Some(&"{") {
        return tokens.first().map(|t| (*t).to_owned()).into_iter().collect();
    }
    let (mut depth, mut at_head, mut all) = (0, false, Vec::new());
    for token in tokens {
        match *token {
            "{" => {
                depth += 1;
                at_head = depth == 1;
            }
            "}" if depth == 1 => break,
            "}" => depth -= 1,
            "," => at_head = depth == 1,
            name => {
                if at_head {
                    all.push(name.to_owned());
                }
                at_head = false;
            }
        }
    }
    all
}

fn tokens(code: &str) -> Vec<&str> {
    let mut all = Vec::new();
    let mut rest = code;
    while let Some(c) = rest.chars().next() {
        let word = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
        let length = if word > 0 {
            word
        } else if rest.starts_with("::") {
            2
        } else {
            c.len_utf8()
        };
        let (token, after) = rest.split_at(length);
        if !c.is_whitespace() {
            all.push(token);
        }
        rest = after;
    }
    all
}

/// The text with comments, and where asked strings, replaced by blanks of the same length.
fn blank(text: &str, strings_too: bool) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let (length, gone) = if rest.starts_with(b"//") {
            (rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len()), true)
        } else if rest.starts_with(b"/*") {
            (block_comment(rest), true)
        } else if let Some(length) = raw_string(bytes, at) {
            (length, strings_too)
        } else if rest[0] == b'"' {
            (string(rest), strings_too)
        } else if rest[0] == b'\'' {
            (character(rest), strings_too)
        } else {
            (1, false)
        };
        if gone {
            out[at..at + length].iter_mut().filter(|b| **b != b'\n').for_each(|b| *b = b' ');
        }
        at += length;
    }
    String::from_utf8(out).unwrap()
}

fn block_comment(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        if rest[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                break;
            }
        } else {
            at += 1;
        }
    }
    at
}

fn raw_string(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = &bytes[at..];
    let inside_a_word = at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_') && bytes[at - 1] != b'b';
    if rest[0] != b'r' || inside_a_word {
        return None;
    }
    let hashes = rest[1..].iter().take_while(|b| **b == b'#').count();
    if rest.get(1 + hashes) != Some(&b'"') {
        return None;
    }
    let end: Vec<u8> = std::iter::once(b'"').chain(std::iter::repeat_n(b'#', hashes)).collect();
    let body = &rest[2 + hashes..];
    let length = body.windows(end.len()).position(|w| w == end).map_or(body.len(), |n| n + end.len());
    Some(2 + hashes + length)
}

fn string(rest: &[u8]) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != b'"' {
        at += if rest[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}

/// A character literal; a lifetime is one byte, the quote.
fn character(rest: &[u8]) -> usize {
    let text = String::from_utf8_lossy(&rest[..rest.len().min(16)]).into_owned();
    let mut chars = text.chars().skip(1);
    match (chars.next(), chars.next()) {
        (Some('\\'), _) => rest.iter().skip(2).position(|b| *b == b'\'').map_or(1, |n| n + 3 + usize::from(rest[2] == b'\'')),
        (Some(c), Some('\'')) => 2 + c.len_utf8(),
        _ => 1,
    }
}

/// The text without its `#[cfg(test)] mod x { .. }`; `code` is the same text without strings, to count braces in.
fn without_tests(text: &str, code: &str) -> String {
    let mut out = text.as_bytes().to_vec();
    let mut from = 0;
    while let Some(found) = code[from..].find("#[cfg(test)]").map(|n| n + from) {
        from = found + 1;
        let item = code[found + "#[cfg(test)]".len()..].trim_start();
        let Some(open) = code[found..].find(['{', ';']).map(|n| n + found) else {
            continue;
        };
        if !(item.starts_with("mod ") || item.starts_with("pub mod ") || item.starts_with("pub(crate) mod "))
            || code.as_bytes()[open] == b';'
        {
            continue;
        }
        let mut depth = 0;
        let end = code[open..].bytes().position(|b| {
            depth += i32::from(b == b'{') - i32::from(b == b'}');
            depth == 0
        });
        let end = end.map_or(code.len(), |n| open + n + 1);
        // Blanks and no line ends: these lines are not counted.
        out[found..end].fill(b' ');
        from = end;
    }
    String::from_utf8(out).unwrap()
}

/// Marks what a `#[cfg(test)] mod x;` brings in.
pub fn mark_tests(mut sources: Vec<Source>) -> Vec<Source> {
    let mut roots = Vec::new();
    for source in &sources {
        let tokens = source.tokens();
        for at in tokens.windows(9).enumerate().filter(|(_, w)| w[..7] == ["#", "[", "cfg", "(", "test", ")", "]"]).map(|(n, _)| n) {
            let Some(name) = tokens[at + 7..].windows(3).take(5).find(|w| w[0] == "mod" && w[2] == ";").map(|w| w[1]) else {
                continue;
            };
            let stem = source.path.trim_end_matches(".rs");
            let folder = match stem.rsplit_once('/') {
                Some((folder, "mod" | "lib" | "main")) => folder,
                _ => stem,
            };
            roots.push(format!("{folder}/{name}"));
        }
    }
    for source in &mut sources {
        let stem = source.path.trim_end_matches(".rs");
        source.test |= roots.iter().any(|r| stem == r || source.path.starts_with(&format!("{r}/")));
    }
    sources
}
