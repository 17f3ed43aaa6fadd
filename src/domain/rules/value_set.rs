//! Value sets: named lists of codes that rules ask about, each with its source, version and licence.
//!
//! A file is TOML, or a FHIR ValueSet as JSON whose codes are listed (R4 ValueSet, `expansion` or `compose.include.concept`). A value set
//! whose licence forbids shipping its codes is shipped without them: until the site puts a file with codes beside it, every test of it is
//! unknown.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use serde_json::Value;

use super::file::File;
use super::mistake::{MAX_MISTAKES, Mistake, suggestion};
use super::syntax::is_segment_id;

/// The most codes of one value set. The largest published ones for conditions have some ten thousand.
pub const MAX_CODES: usize = 200_000;

const KEYS: [&str; 7] = ["id", "title", "source", "version", "licence", "description", "codes"];

/// A named list of codes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueSet {
    /// Its id: lower-case letters, digits and `-`.
    pub id: String,
    /// Its name for people.
    pub title: String,
    /// Where it comes from: a canonical URL or a publication.
    pub source: String,
    /// The version of the source.
    pub version: String,
    /// Under which licence the codes may be used.
    pub licence: String,
    /// What it is for; may be empty.
    pub description: String,
    codes: Option<Codes>,
}

/// Codes by their system.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Codes(BTreeMap<String, BTreeSet<String>>);

/// The value sets that rules may name.
#[derive(Clone, Debug, Default)]
pub struct ValueSets(BTreeMap<String, Arc<ListedCodes>>);

/// A value set in the form that tests look codes up in.
#[derive(Clone, Debug)]
pub struct ListedCodes {
    set: ValueSet,
    hashed: Option<HashMap<String, HashSet<String>>>,
}

impl ListedCodes {
    fn of(set: ValueSet) -> Self {
        let hash = |codes: &Codes| codes.0.iter().map(|(system, codes)| (system.clone(), codes.iter().cloned().collect())).collect();
        let hashed = set.codes.as_ref().map(hash);
        Self { set, hashed }
    }

    /// The value set.
    #[must_use]
    pub const fn set(&self) -> &ValueSet {
        &self.set
    }

    /// Whether a code of a system is listed; `None` where the codes are not at this site.
    #[must_use]
    pub fn contains(&self, system: Option<&str>, code: &str) -> Option<bool> {
        let listed = self.hashed.as_ref()?;
        Some(system.and_then(|system| listed.get(system)).is_some_and(|codes| codes.contains(code)))
    }

    /// Whether codes of this system are listed.
    #[must_use]
    pub fn has_system(&self, system: Option<&str>) -> bool {
        system.zip(self.hashed.as_ref()).is_some_and(|(system, listed)| listed.contains_key(system))
    }
}

impl ValueSets {
    /// These value sets.
    ///
    /// # Errors
    /// Ids given twice.
    pub fn of(sets: impl IntoIterator<Item = ValueSet>) -> Result<Self, Vec<Mistake>> {
        let mut all = BTreeMap::new();
        let mut mistakes = Vec::new();
        for set in sets {
            let id = set.id.clone();
            if all.insert(id.clone(), Arc::new(ListedCodes::of(set))).is_some() {
                mistakes.push(Mistake::new(format!("the value set {id} is given twice; rename one of the two")));
            }
        }
        if mistakes.is_empty() { Ok(Self(all)) } else { Err(mistakes) }
    }

    /// The value set of that id.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Arc<ListedCodes>> {
        self.0.get(id)
    }

    /// Their ids.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// All of them, by id.
    pub fn iter(&self) -> impl Iterator<Item = &ValueSet> {
        self.0.values().map(|listed| listed.set())
    }
}

impl ValueSet {
    /// Reads a TOML file.
    ///
    /// # Errors
    /// Every mistake in it.
    pub fn parse(file: &str) -> Result<Self, Vec<Mistake>> {
        let file = File::read(file)?;
        let mut mistakes: Vec<Mistake> = file
            .table
            .keys()
            .filter(|k| !KEYS.contains(&k.as_str()))
            .map(|key| file.at_name(key, format!("there is no member `{key}`{}", suggestion(key, KEYS))))
            .collect();
        let mut text = |key: &str, wanted: bool| match file.table.get(key) {
            Some(toml::Value::String(text)) if !text.trim().is_empty() || !wanted => text.trim().to_owned(),
            None if !wanted => String::new(),
            _ => {
                mistakes.push(file.at_value(key, format!("`{key}` must be a text in quotes")));
                String::new()
            }
        };
        let (id, title) = (text("id", true), text("title", true));
        let (source, version, licence) = (text("source", true), text("version", true), text("licence", true));
        let description = text("description", false);
        if !id.is_empty() && !is_segment_id(&id) {
            mistakes.push(
                file.at_value("id", format!("`{id}` is not an id: 1 to 64 lower-case letters, digits and `-`, beginning with a letter")),
            );
        }
        let codes = file.table.get("codes").map(|codes| toml_codes(codes, &file, &mut mistakes));
        Self { id, title, source, version, licence, description, codes }.unless(mistakes)
    }

    /// Reads a FHIR ValueSet whose codes are listed: its `expansion`, or else the concepts of `compose.include`.
    ///
    /// # Errors
    /// Every mistake in it: what is computed (filters, whole systems, other value sets) must be expanded first.
    pub fn from_fhir(file: &str) -> Result<Self, Vec<Mistake>> {
        let one = |what: &str| vec![Mistake::new(what)];
        let Ok(json) = serde_json::from_str::<Value>(file) else { return Err(one("is not JSON")) };
        if json.get("resourceType").and_then(Value::as_str) != Some("ValueSet") {
            return Err(one("is not a FHIR ValueSet"));
        }
        let text = |key: &str| json.get(key).and_then(Value::as_str).unwrap_or_default().trim().to_owned();
        let either = |a: String, b: &str| if a.is_empty() { b.to_owned() } else { a };
        let id = text("id");
        let mut mistakes = Vec::new();
        if !is_segment_id(&id) {
            mistakes.push(Mistake::new("`id` must be 1 to 64 lower-case letters, digits and `-`, beginning with a letter: rules name it"));
        }
        let mut codes = Codes::default();
        match (json.get("expansion"), json.get("compose")) {
            (Some(expansion), _) => expanded(expansion, &mut codes),
            (None, Some(compose)) => composed(compose, &mut codes, &mut mistakes),
            (None, None) => mistakes.push(Mistake::new("has neither `expansion` nor `compose`")),
        }
        if codes.0.is_empty() && mistakes.is_empty() {
            mistakes.push(Mistake::new("lists no code"));
        }
        let set = Self {
            title: either(text("title"), &either(text("name"), &id)),
            source: either(text("url"), "not told"),
            version: either(text("version"), "not told"),
            licence: either(text("copyright"), "not told"),
            description: text("description"),
            codes: Some(codes),
            id,
        };
        set.unless(mistakes)
    }

    fn unless(self, mut mistakes: Vec<Mistake>) -> Result<Self, Vec<Mistake>> {
        if self.len().is_some_and(|n| n > MAX_CODES) {
            mistakes.push(Mistake::new(format!("a value set has at most {MAX_CODES} codes")));
        }
        if mistakes.is_empty() {
            return Ok(self);
        }
        if mistakes.len() > MAX_MISTAKES {
            mistakes.truncate(MAX_MISTAKES);
            mistakes.push(Mistake::and_more());
        }
        Err(mistakes)
    }

    /// How many codes it lists; `None` where they are not at this site.
    #[must_use]
    pub fn len(&self) -> Option<usize> {
        self.codes.as_ref().map(|codes| codes.0.values().map(BTreeSet::len).sum())
    }

    /// Whether it lists no code, or its codes are not at this site.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len().is_none_or(|n| n == 0)
    }

    /// The file in one fixed form, which [`ValueSet::parse`] reads: equal value sets give equal texts.
    #[must_use]
    pub fn canonical_text(&self) -> String {
        let quoted = |text: &str| Value::from(text).to_string();
        let members = [
            ("id", &self.id),
            ("title", &self.title),
            ("source", &self.source),
            ("version", &self.version),
            ("licence", &self.licence),
            ("description", &self.description),
        ];
        let mut text: String = members.iter().map(|(key, value)| format!("{key} = {}\n", quoted(value))).collect();
        if let Some(codes) = &self.codes {
            text.push_str("[codes]\n");
            for (system, codes) in &codes.0 {
                let listed: Vec<String> = codes.iter().map(|code| quoted(code)).collect();
                text.push_str(&format!("{} = [{}]\n", quoted(system), listed.join(", ")));
            }
        }
        text
    }
}

fn toml_codes(codes: &toml::Value, file: &File<'_>, mistakes: &mut Vec<Mistake>) -> Codes {
    let mut all = Codes::default();
    let Some(table) = codes.as_table() else {
        mistakes.push(file.at_value("codes", "`codes` is a table: \"the system's URI\" = [\"code\", ...]"));
        return all;
    };
    for (system, listed) in table {
        let items = listed.as_array().map(Vec::as_slice).unwrap_or_default();
        let texts: BTreeSet<String> = items.iter().filter_map(|i| i.as_str()).filter(|c| !c.is_empty()).map(str::to_owned).collect();
        if items.is_empty() || texts.len() != items.len() {
            let message = format!("the codes of `{system}` must be a list of texts in quotes, none of them empty or twice");
            mistakes.push(file.at_value("codes", message));
        }
        all.0.insert(system.clone(), texts);
    }
    all
}

/// `expansion.contains`, which nests. Abstract entries are headings, not codes (R4 ValueSet.expansion.contains.abstract).
fn expanded(expansion: &Value, codes: &mut Codes) {
    let mut open: Vec<&Value> = expansion.get("contains").and_then(Value::as_array).into_iter().flatten().collect();
    while let Some(entry) = open.pop() {
        open.extend(entry.get("contains").and_then(Value::as_array).into_iter().flatten());
        let text = |key: &str| entry.get(key).and_then(Value::as_str).filter(|t| !t.is_empty());
        if let (Some(system), Some(code)) = (text("system"), text("code"))
            && entry.get("abstract") != Some(&Value::Bool(true))
        {
            codes.0.entry(system.to_owned()).or_default().insert(code.to_owned());
        }
    }
}

fn composed(compose: &Value, codes: &mut Codes, mistakes: &mut Vec<Mistake>) {
    if compose.get("exclude").is_some() {
        mistakes.push(Mistake::new("`compose.exclude` is not read here; expand the value set first"));
    }
    for (at, include) in compose.get("include").and_then(Value::as_array).into_iter().flatten().enumerate() {
        let concepts = include.get("concept").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let system = include.get("system").and_then(Value::as_str).unwrap_or_default();
        let listed: Vec<&str> = concepts.iter().filter_map(|c| c.get("code")?.as_str()).filter(|c| !c.is_empty()).collect();
        if system.is_empty()
            || listed.is_empty()
            || listed.len() != concepts.len()
            || include.get("filter").or(include.get("valueSet")).is_some()
        {
            let what = format!("`compose.include[{at}]` does not list a system and its codes; expand the value set first");
            mistakes.push(Mistake::new(what));
            continue;
        }
        codes.0.entry(system.to_owned()).or_default().extend(listed.into_iter().map(str::to_owned));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "id = 'eyes'\ntitle = 'Eyes'\nsource = 'http://example.org/vs'\nversion = '1'\nlicence = 'CC0-1.0'\n";

    #[test]
    fn a_file_and_its_fixed_form_are_the_same_set() {
        let set = ValueSet::parse(&format!("{FILE}[codes]\n'http://b' = ['2', '1']\n'http://a' = ['\"']\n")).unwrap();
        assert_eq!(set.len(), Some(3));
        assert_eq!(ValueSet::parse(&set.canonical_text()).unwrap(), set);
        let sets = ValueSets::of([set, ValueSet::parse(&FILE.replace("eyes", "ears")).unwrap()]).unwrap();
        let eyes = sets.get("eyes").unwrap();
        assert_eq!(eyes.contains(Some("http://b"), "1"), Some(true));
        assert_eq!((eyes.contains(None, "1"), eyes.contains(Some("http://a"), "1")), (Some(false), Some(false)));
        assert_eq!(sets.get("ears").unwrap().contains(Some("http://b"), "1"), None, "its codes are not at this site");
    }

    #[test]
    fn a_fhir_value_set_is_read_where_its_codes_are_listed() {
        let file = |body: &str| format!(r#"{{"resourceType":"ValueSet","id":"eyes","name":"Eyes","url":"http://x","version":"2",{body}}}"#);
        let composed = file(r#""compose":{"include":[{"system":"http://a","concept":[{"code":"1"},{"code":"2"}]}]}"#);
        assert_eq!(ValueSet::from_fhir(&composed).unwrap().len(), Some(2));
        let expanded = file(
            r#""expansion":{"contains":[{"system":"http://a","code":"h","abstract":true,"contains":[{"system":"http://a","code":"1"}]}]}"#,
        );
        assert_eq!(ValueSet::from_fhir(&expanded).unwrap().canonical_text().matches("\"1\"").count(), 1);
        for computed in [
            file(r#""compose":{"include":[{"system":"http://a"}]}"#),
            file(r#""compose":{"include":[{"system":"http://a","filter":[{"property":"p","op":"=","value":"v"}]}]}"#),
            file(r#""compose":{"include":[{"valueSet":["http://other"]}]}"#),
            file(r#""status":"draft""#),
            "{}".to_owned(),
            "[".to_owned(),
        ] {
            assert!(ValueSet::from_fhir(&computed).is_err(), "{computed}");
        }
    }

    #[test]
    fn mistakes_are_told_at_once() {
        let told = |file: &str| ValueSet::parse(file).unwrap_err().iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        let all = told("id = 'Eyes'\ntitel = 'x'\nversion = 1\ncodes = { 'http://a' = ['1', ''] }");
        for wanted in
            ["did you mean `title`", "not an id", "`title` must", "`source` must", "`version` must", "`licence` must", "`http://a`"]
        {
            assert!(all.contains(wanted), "{wanted}: {all}");
        }
        assert!(told("id = ").contains("line 1, column 6: this is not TOML"), "{}", told("id = "));
        assert!(ValueSets::of([ValueSet::parse(FILE).unwrap(), ValueSet::parse(FILE).unwrap()]).is_err());
    }
}
