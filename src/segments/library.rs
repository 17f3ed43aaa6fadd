//! The definitions that an installation wants: the shipped ones, and files of its own beside them. A file with the id of a shipped definition
//! takes its place.
//!
//! Files are `segments/*.toml` or `*.json`, `value-sets/*.toml` or `*.json` (a FHIR ValueSet), and `attributes/*.toml` in one folder.

use std::collections::BTreeMap;
use std::path::Path;

use domain::rules::{Definition, Mistake, OwnAttribute, OwnAttributes, REVISION, RuleSet, ValueSet, ValueSets, shipped, text_hash};

use crate::store::definitions::{Kind, New};

/// A definition file is a page of text; one beyond this is something else.
const LONGEST_FILE: u64 = 1 << 20;
/// A value set of the largest allowed number of codes, as FHIR JSON with displays.
pub const LONGEST_VALUE_SET: u64 = 1 << 26;

/// Definitions that belong together, compiled.
#[derive(Clone, Debug)]
pub struct Library {
    rules: RuleSet,
    value_sets: ValueSets,
    own: OwnAttributes,
}

impl Library {
    /// Compiles definitions with the value sets that they may name.
    ///
    /// # Errors
    /// All mistakes of all definitions.
    pub fn of(definitions: &[Definition], value_sets: impl IntoIterator<Item = ValueSet>) -> Result<Self, Vec<Mistake>> {
        Self::with_own(definitions, value_sets, [])
    }

    /// As [`Library::of`], with the operators' own attributes.
    ///
    /// # Errors
    /// As [`Library::of`].
    pub fn with_own(
        definitions: &[Definition],
        value_sets: impl IntoIterator<Item = ValueSet>,
        own: impl IntoIterator<Item = OwnAttribute>,
    ) -> Result<Self, Vec<Mistake>> {
        let (value_sets, own) = (ValueSets::of(value_sets)?, OwnAttributes::of(own)?);
        Ok(Self { rules: RuleSet::compile_with(definitions, &value_sets, &own)?, value_sets, own })
    }

    /// The shipped definitions.
    ///
    /// # Errors
    /// Their mistakes; none in a released build.
    pub fn shipped() -> Result<Self, Vec<Mistake>> {
        Self::of(&shipped::definitions()?, shipped::value_sets()?)
    }

    /// The shipped definitions, and the files in `folder`; a folder that is not there has none.
    ///
    /// # Errors
    /// All mistakes of all files, each with the file's name; files that cannot be read.
    pub fn with_files(folder: &Path) -> Result<Self, Vec<Mistake>> {
        let mut definitions: BTreeMap<String, Definition> = by_id(shipped::definitions()?, |d| d.id.clone());
        let mut value_sets: BTreeMap<String, ValueSet> = by_id(shipped::value_sets()?, |v| v.id.clone());
        let mut mistakes = Vec::new();
        let own = read(&folder.join("segments"), &["toml", "json"], LONGEST_FILE, &mut mistakes, |extension, text| {
            if extension == "json" { Definition::parse_json(text) } else { Definition::parse(text) }
        });
        replace(&mut definitions, own, |d| &d.id, &mut mistakes);
        let own = read(&folder.join("value-sets"), &["toml", "json"], LONGEST_VALUE_SET, &mut mistakes, |extension, text| {
            if extension == "json" { ValueSet::from_fhir(text) } else { ValueSet::parse(text) }
        });
        replace(&mut value_sets, own, |v| &v.id, &mut mistakes);
        let mut attributes: BTreeMap<String, OwnAttribute> = BTreeMap::new();
        let own = read(&folder.join("attributes"), &["toml"], LONGEST_FILE, &mut mistakes, |_, text| OwnAttribute::parse(text));
        replace(&mut attributes, own, |a| &a.id, &mut mistakes);
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        Self::with_own(&definitions.into_values().collect::<Vec<_>>(), value_sets.into_values(), attributes.into_values())
    }

    /// The compiled segments.
    #[must_use]
    pub const fn rules(&self) -> &RuleSet {
        &self.rules
    }

    /// The value sets.
    #[must_use]
    pub const fn value_sets(&self) -> &ValueSets {
        &self.value_sets
    }

    /// The operators' own attributes.
    #[must_use]
    pub const fn own(&self) -> &OwnAttributes {
        &self.own
    }

    /// All definitions in their fixed form, with what decides about membership as a hash.
    #[must_use]
    pub fn texts(&self) -> Vec<Text> {
        let segments = self.rules.segments().iter().map(|s| Text {
            kind: Kind::Segment,
            id: s.definition().id.clone(),
            source: s.definition().canonical_text(),
            hash: s.version().to_owned(),
            reads: Some(i64::from(s.reads().mask())),
        });
        let sets = self.value_sets.iter().map(|v| {
            let source = v.canonical_text();
            Text { kind: Kind::ValueSet, id: v.id.clone(), hash: text_hash(&source), source, reads: None }
        });
        let own = self.own.iter().map(|a| {
            // What it means in words decides over nobody.
            let (hash, source) = (a.key().to_owned(), a.canonical_text());
            Text { kind: Kind::Attribute, id: a.id.clone(), hash, source, reads: None }
        });
        own.chain(sets).chain(segments).collect()
    }
}

/// A definition in its fixed form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// What it defines.
    pub kind: Kind,
    /// The id.
    pub id: String,
    /// The fixed form.
    pub source: String,
    /// Hash of what decides about membership.
    pub hash: String,
    /// Of a segment, what it reads, as bits.
    pub reads: Option<i64>,
}

impl Text {
    /// As the store takes it.
    #[must_use]
    pub fn as_new(&self) -> New<'_> {
        New { kind: self.kind, id: &self.id, source: &self.source, hash: &self.hash, reads: self.reads }
    }
}

/// The revision of the attribute catalogue, as stored.
#[must_use]
pub fn catalogue() -> i64 {
    i64::from(REVISION)
}

fn by_id<T>(all: Vec<T>, id: impl Fn(&T) -> String) -> BTreeMap<String, T> {
    all.into_iter().map(|one| (id(&one), one)).collect()
}

/// Files of a site take the place of shipped ones; two of a site with one id are a mistake.
fn replace<T>(all: &mut BTreeMap<String, T>, own: Vec<(String, T)>, id: impl Fn(&T) -> &String, mistakes: &mut Vec<Mistake>) {
    let mut from: BTreeMap<String, String> = BTreeMap::new();
    for (file, one) in own {
        let id = id(&one).clone();
        match from.get(&id) {
            Some(other) => mistakes.push(Mistake::new(format!("{file}: the id {id} is that of {other} too; rename one of the two"))),
            None => {
                from.insert(id.clone(), file);
                all.insert(id, one);
            }
        }
    }
}

/// Reads the files of a folder in the order of their names.
fn read<T>(
    folder: &Path,
    extensions: &[&str],
    longest: u64,
    mistakes: &mut Vec<Mistake>,
    parse: impl Fn(&str, &str) -> Result<T, Vec<Mistake>>,
) -> Vec<(String, T)> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            mistakes.push(Mistake::new(format!("{} cannot be read ({})", folder.display(), error.kind())));
            return Vec::new();
        }
    };
    let mut paths: Vec<_> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
    paths.sort();
    let mut found = Vec::new();
    for path in paths {
        let Some(extension) = path.extension().and_then(|e| e.to_str()).filter(|e| extensions.contains(e)) else { continue };
        let name = path.display().to_string();
        match read_file(&path, longest).map_err(|why| vec![Mistake::new(why)]).and_then(|text| parse(extension, &text)) {
            Ok(one) => found.push((name, one)),
            Err(all) => mistakes.extend(all.into_iter().map(|m| Mistake::new(format!("{name}: {m}")))),
        }
    }
    found
}

/// Reads one file of a definition.
///
/// # Errors
/// Why not, in words.
pub fn read_file(path: &Path, longest: u64) -> Result<String, String> {
    let metadata = std::fs::metadata(path).map_err(|e| format!("cannot be read ({})", e.kind()))?;
    if !metadata.is_file() {
        return Err("is not a file".to_owned());
    }
    if metadata.len() > longest {
        return Err(format!("has {} bytes; a definition has at most {longest}", metadata.len()));
    }
    std::fs::read_to_string(path).map_err(|e| match e.kind() {
        std::io::ErrorKind::InvalidData => "is not UTF-8".to_owned(),
        kind => format!("cannot be read ({kind})"),
    })
}
