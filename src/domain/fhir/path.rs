//! A path into a resource, for the operators' own attributes: a small part of FHIRPath, read without building values.
//!
//! ```text
//! path = part { "." part }
//! part = element [ "[" number "]" ]
//!      | "extension" "(" 'url' ")"                    the extensions of that URL
//!      | "where" "(" path "=" 'text' ")"              those of which the inner path leads to that text
//! ```
//!
//! An element that is a list means all of it, as in FHIRPath. Choice elements are written as in JSON (`valueQuantity`, not `value`), since that is
//! what lies in the body.

use super::raw::{Raw, elements};

/// The longest path, in bytes.
pub const MAX_PATH: usize = 1_000;
/// The most parts, those of inner paths included.
const MAX_PARTS: usize = 32;
/// Of more values than these nothing is told: a path that leads to them is none into one person's record.
const MAX_VALUES: usize = 1_000;

/// A path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Element(String),
    Index(usize),
    Extension(String),
    Where(Path, String),
}

/// Why a text is no path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAPath {
    /// The character, from 1, where it goes wrong; absent where that is the whole.
    pub column: Option<usize>,
    /// What is wrong.
    pub what: String,
}

impl std::fmt::Display for NotAPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(column) = self.column {
            write!(f, "column {column}: ")?;
        }
        f.write_str(&self.what)
    }
}

impl Path {
    /// Reads a path.
    ///
    /// # Errors
    /// What is wrong, with its place.
    pub fn parse(text: &str) -> Result<Self, NotAPath> {
        if text.len() > MAX_PATH {
            return Err(NotAPath { column: None, what: format!("a path has at most {MAX_PATH} bytes") });
        }
        let mut reader = Reader { text, at: 0, parts: 0 };
        let path = reader.path()?;
        if reader.rest().is_empty() { Ok(path) } else { Err(reader.wrong("this cannot follow here; parts are joined by `.`")) }
    }

    /// All that is wrong with a text, by its parts; nothing where it is a path.
    #[must_use]
    pub fn mistakes(text: &str) -> Vec<NotAPath> {
        let Err(first) = Self::parse(text) else { return Vec::new() };
        if text.len() > MAX_PATH {
            return vec![first];
        }
        let wrong = |(from, to): (usize, usize)| {
            let mut reader = Reader { text: text.get(..to)?, at: from, parts: 0 };
            if let Err(why) = reader.part(&mut Vec::new()) {
                return Some(why);
            }
            reader.skip_blanks();
            (!reader.rest().is_empty()).then(|| reader.wrong("this cannot follow here; parts are joined by `.`"))
        };
        let all: Vec<NotAPath> = pieces(text).into_iter().filter_map(wrong).collect();
        if all.is_empty() { vec![first] } else { all }
    }

    /// What it leads to, in the order sent; `None` where that is more than is looked at.
    pub(super) fn follow<'a>(&self, from: Raw<'a>) -> Option<Vec<Raw<'a>>> {
        let mut found = vec![from];
        for part in &self.0 {
            found = match part {
                Part::Element(name) => few(found.into_iter().flat_map(|raw| member(raw, name)))?,
                Part::Index(place) => found.into_iter().skip(*place).take(1).collect(),
                Part::Extension(url) => few(found.into_iter().flat_map(|raw| extensions(raw, url)))?,
                Part::Where(path, text) => {
                    let is = |found: Raw<'a>| found.text_or_number().is_some_and(|t| t == *text) || found.json() == text;
                    let mut kept = Vec::new();
                    for raw in found {
                        if path.follow(raw)?.into_iter().any(is) {
                            kept.push(raw);
                        }
                    }
                    kept
                }
            };
        }
        Some(found)
    }
}

fn few<'a>(values: impl Iterator<Item = Raw<'a>>) -> Option<Vec<Raw<'a>>> {
    let found: Vec<Raw<'a>> = values.take(MAX_VALUES + 1).collect();
    (found.len() <= MAX_VALUES).then_some(found)
}

impl std::fmt::Display for Path {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (at, part) in self.0.iter().enumerate() {
            if at > 0 && !matches!(part, Part::Index(_)) {
                f.write_str(".")?;
            }
            match part {
                Part::Element(name) => f.write_str(name)?,
                Part::Index(place) => write!(f, "[{place}]")?,
                Part::Extension(url) => write!(f, "extension('{url}')")?,
                Part::Where(path, text) => write!(f, "where({path} = '{text}')")?,
            }
        }
        Ok(())
    }
}

fn member<'a>(raw: Raw<'a>, name: &str) -> Vec<Raw<'a>> {
    raw.members([name]).map(|[found]| elements(found).collect()).unwrap_or_default()
}

fn extensions<'a>(raw: Raw<'a>, url: &str) -> Vec<Raw<'a>> {
    let is = |extension: &Raw<'a>| extension.members(["url"]).and_then(|[u]| u?.text()).is_some_and(|u| u == url);
    member(raw, "extension").into_iter().filter(is).collect()
}

/// Where the parts of a text begin and end: at dots that stand in no parentheses and no quotes.
fn pieces(text: &str) -> Vec<(usize, usize)> {
    let (mut all, mut begin, mut depth, mut quoted) = (Vec::new(), 0, 0_u32, false);
    for (at, c) in text.char_indices() {
        match c {
            '\'' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => depth = depth.saturating_sub(1),
            '.' if !quoted && depth == 0 => {
                all.push((begin, at));
                begin = at + 1;
            }
            _ => {}
        }
    }
    all.push((begin, text.len()));
    all
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
    parts: usize,
}

impl<'t> Reader<'t> {
    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn skip_blanks(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    fn eat(&mut self, wanted: &str) -> bool {
        self.skip_blanks();
        let found = self.rest().starts_with(wanted);
        self.at += if found { wanted.len() } else { 0 };
        found
    }

    fn wrong(&self, what: &str) -> NotAPath {
        let column = self.text.get(..self.at).map_or(0, |before| before.chars().count()) + 1;
        NotAPath { column: Some(column), what: what.to_owned() }
    }

    fn must(&mut self, wanted: &str) -> Result<(), NotAPath> {
        if self.eat(wanted) { Ok(()) } else { Err(self.wrong(&format!("`{wanted}` is missing here"))) }
    }

    fn path(&mut self) -> Result<Path, NotAPath> {
        let mut parts = Vec::new();
        loop {
            self.parts += 1;
            if self.parts > MAX_PARTS {
                return Err(self.wrong(&format!("a path has at most {MAX_PARTS} parts")));
            }
            self.part(&mut parts)?;
            if !self.eat(".") {
                return Ok(Path(parts));
            }
        }
    }

    fn part(&mut self, parts: &mut Vec<Part>) -> Result<(), NotAPath> {
        self.skip_blanks();
        let begin = self.at;
        let rest = self.rest();
        let name = rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or_default();
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(self.wrong("the name of an element is missing here"));
        }
        self.at += name.len();
        if self.eat("(") {
            let part = match name {
                "extension" => Part::Extension(self.quoted()?),
                "where" => {
                    let inner = self.path()?;
                    self.must("=")?;
                    Part::Where(inner, self.quoted()?)
                }
                _ => {
                    self.at = begin;
                    return Err(self.wrong(&format!("there is no function `{name}`, only extension('url') and where(path = 'text')")));
                }
            };
            parts.push(part);
            return self.must(")");
        }
        parts.push(Part::Element(name.to_owned()));
        if self.eat("[") {
            self.skip_blanks();
            let digits = self.rest().split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
            let Ok(place) = digits.parse() else { return Err(self.wrong("a place is a number, as in name[0]")) };
            self.at += digits.len();
            parts.push(Part::Index(place));
            return self.must("]");
        }
        Ok(())
    }

    /// A text in single quotes; one without a quote in it, which no URL or code has.
    fn quoted(&mut self) -> Result<String, NotAPath> {
        if !self.eat("'") {
            return Err(self.wrong("a text in single quotes is missing here"));
        }
        let Some(end) = self.rest().find('\'') else { return Err(self.wrong("this text has no closing quote")) };
        let text = self.rest().get(..end).unwrap_or_default().to_owned();
        self.at += end + 1;
        if text.is_empty() { Err(self.wrong("the text is empty")) } else { Ok(text) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fhir::raw;

    const BODY: &str = r#"{"resourceType":"Observation","id":"1","code":{"coding":[{"system":"http://loinc.org","code":"44249-1"},{"code":"x"}]},
        "valueQuantity":{"value":7.4},"component":[{"code":{"coding":[{"code":"a"}]},"valueInteger":1},{"code":{"coding":[{"code":"b"}]},"valueInteger":2}],
        "extension":[{"url":"http://x/e","valueBoolean":true,"extension":[{"url":"in","valueCode":"q"}]},{"url":"http://x/f","valueString":"f"}]}"#;

    fn led(path: &str) -> Vec<String> {
        let path = Path::parse(path).unwrap_or_else(|why| panic!("{path}: {why}"));
        path.follow(raw::whole(BODY)).unwrap().iter().map(|r| r.json().to_owned()).collect()
    }

    #[test]
    fn paths_lead_where_they_say() {
        for (path, found) in [
            ("id", vec!["\"1\""]),
            ("code.coding.code", vec!["\"44249-1\"", "\"x\""]),
            ("code.coding[1].code", vec!["\"x\""]),
            ("code.coding[7].code", vec![]),
            ("valueQuantity.value", vec!["7.4"]),
            ("extension('http://x/e').valueBoolean", vec!["true"]),
            ("extension('http://x/e').extension('in').valueCode", vec!["\"q\""]),
            ("component.where(code.coding.code = 'b').valueInteger", vec!["2"]),
            ("where(code.coding.code='44249-1').valueQuantity.value", vec!["7.4"]),
            ("where(code.coding.code='other').valueQuantity.value", vec![]),
            ("nothing.at.all", vec![]),
            ("id.deeper", vec![]),
        ] {
            assert_eq!(led(path), found, "{path}");
            assert_eq!(Path::parse(&Path::parse(path).unwrap().to_string()), Path::parse(path), "{path}");
        }
    }

    #[test]
    fn what_is_no_path_is_told_with_its_place() {
        for (path, says) in [
            ("", "column 1: the name of an element"),
            ("a..b", "column 3: the name of an element"),
            ("a b", "column 3: this cannot follow"),
            ("name.first()", "column 6: there is no function `first`"),
            ("extension(x)", "column 11: a text in single quotes"),
            ("extension('x", "column 12: this text has no closing quote"),
            ("where(a 'x')", "`=` is missing"),
            ("a[x]", "a place is a number"),
            ("a[1", "`]` is missing"),
        ] {
            let told = Path::parse(path).unwrap_err().to_string();
            assert!(told.contains(says), "{path}: {told}");
        }
        assert!(Path::parse(&"a.".repeat(400)).unwrap_err().what.contains("at most 32 parts"));
        assert!(Path::parse(&"where(".repeat(40)).unwrap_err().what.contains("at most 32 parts"));
        assert!(Path::parse(&"a".repeat(2_000)).unwrap_err().what.contains("at most 1000 bytes"));
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[a-c.()\\[\\]='0-9 ]{0,40}") {
            if let Ok(path) = Path::parse(&text) {
                proptest::prop_assert_eq!(Path::parse(&path.to_string()), Ok(path));
            }
        }
    }

    #[test]
    fn all_parts_that_are_wrong_are_told_at_once() {
        let told = |text: &str| Path::mistakes(text).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(told("component.where(code.coding.code = 'b').valueInteger"), Vec::<String>::new());
        let all = told("na me.given[x].last().where(a.b = 'c.d').9");
        let columns: Vec<&str> = all.iter().map(|m| m.split(':').next().unwrap()).collect();
        assert_eq!(columns, ["column 4", "column 13", "column 16", "column 42"], "{all:?}");
        // What is wrong with the whole only.
        assert_eq!(told(&["a"; 40].join(".")).len(), 1);
        assert_eq!(told(""), ["column 1: the name of an element is missing here"]);
    }
}
