//! Attributes of operators' own: files, each a path into a resource with a type, and no code.
//!
//! Each resource keeps what was read of it under the attribute's key, a hash of what decides about the value: an attribute that is changed is another
//! one, and the one before answers until all was read. Knows nothing of where bodies come from.
#![doc = include_str!("OWN.md")]

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::fhir::{NotAPath, OwnType, Path, own as read};
use crate::model::facts::Coding;
use crate::model::ids::ResourceType;
use crate::model::own::{OwnFacts, OwnRead, OwnValue};
use crate::model::person::{Origin, PersonFacts, Sourced};
use crate::model::time::Timestamp;

use super::attributes::between;
use super::file::File;
use super::mistake::{MAX_MISTAKES, Mistake, suggestion};
use super::ruleset::text_hash;
use super::site::Site;
use super::syntax::is_segment_id;
use super::value::{Finding, Items, Set, Source, Type, Value, Why};

/// Names of own attributes begin so, and those of the catalogue never do.
pub const OWN_PREFIX: &str = "own.";

const KEYS: [&str; 7] = ["id", "meaning", "resource", "path", "type", "unit", "date"];
const TYPES: [(&str, OwnType, Type); 5] = [
    ("yes-no", OwnType::YesNo, Type::Bool),
    ("whole-number", OwnType::WholeNumber, Type::Integer),
    ("text", OwnType::Text, Type::Text),
    ("codes", OwnType::Codes, Type::Set),
    ("time", OwnType::Time, Type::Time),
];

/// An attribute of an operator's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnAttribute {
    /// Its id: lower-case letters, digits and `-`.
    pub id: String,
    /// What it says, in one sentence.
    pub meaning: String,
    name: String,
    resource_type: ResourceType,
    path: Path,
    date: Option<Path>,
    kind: &'static (&'static str, OwnType, Type),
    unit: Option<String>,
    key: String,
}

impl OwnAttribute {
    /// Reads an attribute file.
    ///
    /// # Errors
    /// Every mistake in it.
    pub fn parse(file: &str) -> Result<Self, Vec<Mistake>> {
        let file = File::read(file)?;
        let mut wrong: Vec<Mistake> = Vec::new();
        for key in file.table.keys().filter(|k| !KEYS.contains(&k.as_str())) {
            wrong.push(file.at_name(key, format!("there is no member `{key}`{}", suggestion(key, KEYS))));
        }
        let mut text = |key: &str, wanted: bool| match file.table.get(key) {
            Some(toml::Value::String(text)) if !text.trim().is_empty() => Some(text.trim().to_owned()),
            None if !wanted => None,
            None => {
                wrong.push(Mistake::new(format!("`{key}` is missing")));
                None
            }
            Some(_) => {
                wrong.push(file.at_value(key, format!("`{key}` must be a text in quotes, and not empty")));
                None
            }
        };
        let (id, meaning, resource) = (text("id", true), text("meaning", true), text("resource", true));
        let (path, kind) = (text("path", true), text("type", true));
        let (unit, date) = (text("unit", false), text("date", false));
        if let Some(id) = id.as_ref().filter(|id| !is_segment_id(id)) {
            let message = format!("`{id}` is not an id: 1 to 64 lower-case letters, digits and `-`, beginning with a letter");
            wrong.push(file.at_value("id", message));
        }
        let of_person = || ResourceType::ALL.into_iter().filter(|t| !t.is_directory()).map(ResourceType::as_str);
        let resource_type = resource.and_then(|name| {
            let found = ResourceType::parse(&name).filter(|t| !t.is_directory());
            if found.is_none() {
                let known = of_person().collect::<Vec<_>>().join(", ");
                wrong.push(file.at_value("resource", format!("`resource` is one of {known}{}", suggestion(&name, of_person()))));
            }
            found
        });
        let words = || TYPES.iter().map(|(word, ..)| *word);
        let kind = kind.and_then(|word| {
            let found = TYPES.iter().find(|(name, ..)| *name == word);
            if found.is_none() {
                let known = words().collect::<Vec<_>>().join(", ");
                wrong.push(file.at_value("type", format!("`type` is one of {known}{}", suggestion(&word, words()))));
            }
            found
        });
        if kind.is_some_and(|(_, _, kind)| (*kind == Type::Integer) != unit.is_some()) {
            let at = if unit.is_some() { "unit" } else { "type" };
            wrong.push(file.at_value(at, "a whole-number has a `unit`, and nothing else has one"));
        }
        let mut follow = |key: &str, path: Option<String>| {
            let path = path?;
            // FHIRPath may begin with the type.
            let inner = resource_type.and_then(|t| path.strip_prefix(t.as_str())?.strip_prefix('.')).unwrap_or(&path);
            let before = path.len() - inner.len();
            let mistake = |why: NotAPath| match why.column {
                Some(column) => file.within_value(key, column + before, format!("`{key}`: {}", why.what)),
                None => file.at_value(key, format!("`{key}`: {}", why.what)),
            };
            wrong.extend(Path::mistakes(inner).into_iter().map(mistake));
            Path::parse(inner).ok()
        };
        let (path, date) = (follow("path", path), follow("date", date));
        match (id, meaning, resource_type, path, kind) {
            (Some(id), Some(meaning), Some(resource_type), Some(path), Some(kind)) if wrong.is_empty() => {
                let name = format!("{OWN_PREFIX}{id}");
                let mut made = Self { id, meaning, name, resource_type, path, date, kind, unit, key: String::new() };
                made.key = text_hash(&made.decisive_text());
                Ok(made)
            }
            _ => {
                wrong.sort_by_key(|m| m.in_file);
                wrong.truncate(MAX_MISTAKES);
                Err(wrong)
            }
        }
    }

    /// Its name in rules.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its type in rules.
    #[must_use]
    pub const fn kind(&self) -> Type {
        self.kind.2
    }

    /// The unit of a number.
    #[must_use]
    pub fn unit(&self) -> Option<&str> {
        self.unit.as_deref()
    }

    /// The type that it reads.
    #[must_use]
    pub const fn resource_type(&self) -> ResourceType {
        self.resource_type
    }

    /// The path, in its fixed form.
    #[must_use]
    pub fn path(&self) -> String {
        self.path.to_string()
    }

    /// Under which key resources keep what it read.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// A test of it.
    #[must_use]
    pub fn example(&self) -> String {
        let name = &self.name;
        match self.kind.2 {
            Type::Bool => name.clone(),
            Type::Integer | Type::Count => format!("{name} >= 1"),
            Type::Text => format!("{name} = \"text\""),
            Type::Set => format!("{name} = \"code\""),
            Type::Time => format!("{name} within last 12 months"),
        }
    }

    /// Reads it out of a resource of its type.
    #[must_use]
    pub fn read(&self, body: &[u8]) -> OwnRead {
        read(body, &self.path, self.kind.1, self.date.as_ref())
    }

    /// What decides about its value, in one fixed form.
    fn decisive_text(&self) -> String {
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let mut text = format!(
            "id = {}\nresource = {}\npath = {}\ntype = {}\n",
            quoted(&self.id),
            quoted(self.resource_type.as_str()),
            quoted(&self.path.to_string()),
            quoted(self.kind.0)
        );
        if let Some(date) = &self.date {
            text.push_str(&format!("date = {}\n", quoted(&date.to_string())));
        }
        text
    }

    /// The file in one fixed form, which [`OwnAttribute::parse`] reads: equal attributes give equal texts.
    #[must_use]
    pub fn canonical_text(&self) -> String {
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let unit = self.unit.as_ref().map_or_else(String::new, |unit| format!("unit = {}\n", quoted(unit)));
        format!("{}meaning = {}\n{unit}", self.decisive_text(), quoted(&self.meaning))
    }
}

/// The own attributes that rules may name, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnAttributes(BTreeMap<String, Arc<OwnAttribute>>);

impl OwnAttributes {
    /// These attributes.
    ///
    /// # Errors
    /// Ids given twice.
    pub fn of(all: impl IntoIterator<Item = OwnAttribute>) -> Result<Self, Vec<Mistake>> {
        let mut found = BTreeMap::new();
        let mut mistakes = Vec::new();
        for one in all {
            let name = one.name.clone();
            if found.insert(name.clone(), Arc::new(one)).is_some() {
                mistakes.push(Mistake::new(format!("the attribute {name} is given twice; rename one of the two")));
            }
        }
        if mistakes.is_empty() { Ok(Self(found)) } else { Err(mistakes) }
    }

    /// The attribute of that name, `own.` included.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<OwnAttribute>> {
        self.0.get(name)
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &OwnAttribute> {
        self.0.values().map(Arc::as_ref)
    }

    /// Whether some of them was not read yet of some resource of a person: whoever is judged meanwhile is judged by half.
    #[must_use]
    pub fn is_unread(&self, person: &PersonFacts) -> bool {
        self.iter().any(|own| {
            let of_type = person.own.iter().filter(|o| o.origin.resource_type == own.resource_type);
            of_type.filter(|o| o.facts.0.contains_key(&own.key)).count() < person.count(own.resource_type)
        })
    }

    /// What those that read this type read of a resource.
    #[must_use]
    pub fn read(&self, resource_type: ResourceType, body: &[u8]) -> OwnFacts {
        let of_type = self.iter().filter(|own| own.resource_type == resource_type);
        OwnFacts(of_type.map(|own| (own.key.clone(), own.read(body))).collect())
    }
}

const SILENT: Why = Why::Doubtful("the record does not say");
const NOT_READ: Why = Why::Doubtful("not all stored records were read for this attribute yet");
const AT_ODDS: Why = Why::Doubtful("several records, or several values of one, say different things");
const TOO_MANY: Why = Why::Doubtful("a record has more values for it than are looked at");
const UNDATED: Why = Why::Doubtful("a record does not say when it is from");

/// What an own attribute is for a person.
pub(super) fn find<'a>(own: &OwnAttribute, person: &'a PersonFacts, site: &Site) -> Finding<'a> {
    let kind = own.resource_type;
    if !person.knows(kind) {
        return Finding::unknown(Why::NotSynced(kind));
    }
    let read: Vec<(&'a Origin, &'a OwnRead)> =
        person.own.iter().filter(|o| o.origin.resource_type == kind).filter_map(|o| Some((&o.origin, o.facts.0.get(&own.key)?))).collect();
    if read.len() < person.count(kind) {
        return Finding::unknown(NOT_READ);
    }
    if let Some((origin, _)) = read.iter().find(|(_, read)| read.too_many) {
        let source = Some(Source::Resource { origin, field: "own path" });
        return Finding { source, ..Finding::unknown(TOO_MANY) };
    }
    let told: Vec<(&'a Origin, &'a OwnRead)> = if kind == ResourceType::Patient {
        // In the order in which records count.
        let of = |record: &'a Sourced<_>| read.iter().find(|(o, read)| **o == record.origin && !read.values.is_empty()).copied();
        person.patients.iter().find_map(of).into_iter().collect()
    } else {
        let with_values: Vec<_> = read.into_iter().filter(|(_, read)| !read.values.is_empty()).collect();
        match latest(own, with_values, site) {
            Ok(told) => told,
            Err(finding) => return finding,
        }
    };
    let Some((first, _)) = told.first() else {
        return if kind == ResourceType::Patient { Finding::unknown(SILENT) } else { Finding::absent("no record has a value for it") };
    };
    let values = || told.iter().flat_map(|(origin, read)| read.values.iter().map(move |value| (*origin, value)));
    let at = |value: Value<'a>, origin: &'a Origin| Finding {
        source: Some(Source::Resource { origin, field: "own path" }),
        ..Finding::plain(value)
    };
    match own.kind.2 {
        Type::Bool => {
            let yes = values().find(|(_, v)| matches!(v, OwnValue::Flag(true)));
            at(Value::Bool(yes.is_some()), yes.map_or(first, |(origin, _)| origin))
        }
        Type::Integer | Type::Count => {
            let numbers = || values().filter_map(|(_, v)| if let OwnValue::Number(a, b) = v { Some((*a, *b)) } else { None });
            let (least, most) = (numbers().map(|n| n.0).min().unwrap_or(0), numbers().map(|n| n.1).max().unwrap_or(0));
            let same = numbers().all(|n| n == (least, most));
            let why = if same { Why::Doubtful("it is no whole number") } else { AT_ODDS };
            at(Value::Integer(least, most), first).because((least < most).then_some(why))
        }
        Type::Text => {
            let mut texts = values().filter_map(|(_, v)| if let OwnValue::Text(t) = v { Some(t.expose().as_str()) } else { None });
            let one = texts.next().unwrap_or_default();
            if texts.all(|t| t == one) { at(Value::Text(one), first) } else { Finding::unknown(AT_ODDS) }
        }
        Type::Set => {
            let lists: Vec<&'a [Coding]> =
                values().filter_map(|(_, v)| if let OwnValue::Codes(codes) = v { Some(codes.as_slice()) } else { None }).collect();
            at(Value::Set(Set { items: Items::ManyCodes(lists), open: false }), first)
        }
        Type::Time => {
            let spans = values().filter_map(|(o, v)| if let OwnValue::Time(t) = v { Some((o, between(*t, site.zone))) } else { None });
            let mut best: Option<(&'a Origin, Timestamp, Timestamp)> = None;
            for (origin, (from, to)) in spans {
                best = match best {
                    Some((o, f, t)) => Some((if to > t { origin } else { o }, f.max(from), t.max(to))),
                    None => Some((origin, from, to)),
                };
            }
            match best {
                Some((origin, from, to)) => {
                    at(Value::Time(from, to), origin).because((from < to).then_some(Why::Doubtful("a date is not given to the instant")))
                }
                None => Finding::unknown(SILENT),
            }
        }
    }
}

type Told<'a> = Vec<(&'a Origin, &'a OwnRead)>;

/// The records that count: all, or the latest where the attribute says which element tells when. Several of the same time count together.
fn latest<'a>(own: &OwnAttribute, told: Told<'a>, site: &Site) -> Result<Told<'a>, Finding<'a>> {
    if own.date.is_none() {
        return Ok(told);
    }
    let mut spans = Vec::new();
    for (origin, read) in &told {
        let Some(at) = read.at else {
            let source = Some(Source::Resource { origin, field: "own date" });
            return Err(Finding { source, ..Finding::unknown(UNDATED) });
        };
        spans.push(between(at, site.zone));
    }
    // One that ended before another began is not the latest.
    let begun = spans.iter().map(|(from, _)| *from).max();
    let kept = told.into_iter().zip(spans).filter(|(_, (_, to))| begun.is_none_or(|begun| *to >= begun)).map(|(one, _)| one);
    Ok(kept.collect())
}
