//! What a hospital's drop folder is declared to be: which files, in which form, when they are complete, when they are expected. Read from a
//! TOML file once, kept in the EHR's profile as JSON. `README.md` beside this file explains every key.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use chrono::NaiveTime;
use domain::model::ResourceType;
use serde::{Deserialize, Serialize};

use super::table::Table;
use crate::ehr::misread;

/// One drop folder of an EHR.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drop {
    /// A short name, unique within the EHR.
    pub name: String,
    /// The folder.
    pub folder: PathBuf,
    /// Which files of it, as a pattern with `*` and `?`.
    pub files: String,
    /// Whether a file holds all that there is, or only what changed.
    pub content: Content,
    /// The types that a file holds; of a full file those of which it is a complete answer. For CSV the mapping says it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub types: Vec<ResourceType>,
    /// In which order files are taken.
    #[serde(default)]
    pub order: Order,
    /// Files stay where they are: the folder is not ours to change. Else they move to `done/` or `failed/`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keep: bool,
    /// Of a full file of appointments: the days around today that it covers. What lies outside is not missed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub covers: Option<Covers>,
    /// How it is told that a file is complete.
    pub complete: Complete,
    /// When a file has to be there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<Expected>,
    /// How the rows of a CSV file are read; absent for NDJSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub csv: Option<Csv>,
}

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Content {
    /// All that there is: what it no longer shows is missing.
    Full,
    /// What is new or changed.
    Delta,
}

/// The days that a full file of appointments covers, by their start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Covers {
    /// Days back from now.
    pub days_back: u16,
    /// Days ahead from now.
    pub days_ahead: u16,
}

/// In which order files are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// By name: names hold a date or a number.
    #[default]
    Name,
    /// By the time of their last change.
    Time,
}

/// How it is told that a file is complete.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Complete {
    /// It has not changed for so many seconds; the sender writes under another name and renames, or is done by then.
    Stable {
        /// Seconds.
        seconds: u32,
        /// The sender writes no line end after the last row. Else a CSV file that ends so counts as cut off: nothing else tells that the
        /// last field is whole, and half an id is another patient's.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        open_end: bool,
    },
    /// A file of the same name with this at its end lies beside it, such as `.done`.
    Marker {
        /// What is appended to the file's name.
        suffix: String,
    },
    /// A file beside it holds its SHA-256, in hexadecimal.
    Checksum {
        /// What is appended to the file's name, such as `.sha256`.
        suffix: String,
    },
    /// Its last row says how many rows it has; CSV only.
    Trailer {
        /// What stands in the first field of that row.
        first: String,
        /// Which field of it holds the number of rows, from 1; the heading and the row itself do not count.
        count: usize,
    },
}

/// When a file has to have been taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    /// The time of day, as `06:30`.
    #[serde(with = "time_of_day")]
    pub by: NaiveTime,
    /// The time zone, as `America/New_York`.
    #[serde(with = "zone_name")]
    pub zone: chrono_tz::Tz,
    /// The days of the week, as `mon`; every day where absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub days: Vec<Day>,
}

/// A day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Day {
    /// Monday.
    Mon,
    /// Tuesday.
    Tue,
    /// Wednesday.
    Wed,
    /// Thursday.
    Thu,
    /// Friday.
    Fri,
    /// Saturday.
    Sat,
    /// Sunday.
    Sun,
}

/// How a CSV file is read, and what becomes of a row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Csv {
    /// What each row is: Patient, Appointment or CarePlan.
    pub resource: ResourceType,
    /// The columns that make the logical id, joined by `-`.
    pub id: Columns,
    /// What stands before the id, so that ids of two files do not meet.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id_prefix: String,
    /// The time zone of times without one.
    #[serde(with = "zone_name")]
    pub time_zone: chrono_tz::Tz,
    /// What separates fields: one ASCII character; a comma where absent.
    #[serde(default = "comma")]
    pub delimiter: char,
    /// In what the bytes are.
    #[serde(default)]
    pub encoding: Encoding,
    /// Forms of dates, as in strftime; `%Y-%m-%d` where absent.
    #[serde(default = "iso_dates")]
    pub dates: Vec<String>,
    /// Forms of dates with times; ISO 8601 where absent.
    #[serde(default = "iso_times")]
    pub date_times: Vec<String>,
    /// Texts that stand for nothing, beside the empty one: `NULL`, `N/A`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nothing: Vec<String>,
    /// The elements, in the order in which they are built.
    #[serde(rename = "field")]
    pub fields: Vec<Field>,
}

/// In what the bytes of a file are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Encoding {
    /// UTF-8, with or without a mark at the beginning.
    #[default]
    #[serde(rename = "utf-8")]
    Utf8,
    /// Windows-1252, which ISO 8859-1 is a part of.
    #[serde(rename = "windows-1252")]
    Windows1252,
}

/// One column by one of its names, or several that are joined.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Columns {
    /// One column.
    One(String),
    /// Several; each is needed.
    Several(Vec<String>),
}

impl Columns {
    /// Their names.
    #[must_use]
    pub fn names(&self) -> &[String] {
        match self {
            Self::One(name) => std::slice::from_ref(name),
            Self::Several(names) => names,
        }
    }
}

/// One element of the resource.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Field {
    /// The element, as `participant[0].status`; or `patient`, for the reference to the patient.
    pub to: String,
    /// The column, by the first of these names that the heading has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<Columns>,
    /// Several columns, joined by a space: a date and a time.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub join: Vec<String>,
    /// A constant in place of a column.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Only in rows where this column holds something; for constants.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// Texts of the column, with what they become. Case does not matter.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub codes: BTreeMap<String, String>,
    /// What a text becomes that `codes` has not; without it the row is put aside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub otherwise: Option<String>,
    /// What stands before the text, such as `Practitioner/`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub prefix: String,
    /// Forms of this date or time, in place of the file's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub formats: Vec<String>,
    /// A row without it is put aside.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub required: bool,
}

fn comma() -> char {
    ','
}

fn iso_dates() -> Vec<String> {
    vec!["%Y-%m-%d".to_owned()]
}

fn iso_times() -> Vec<String> {
    ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"].map(str::to_owned).to_vec()
}

mod zone_name {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub fn serialize<S: Serializer>(zone: &chrono_tz::Tz, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(zone.name())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<chrono_tz::Tz, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(|_| D::Error::custom("a time zone is written as in the IANA list, such as America/New_York"))
    }
}

mod time_of_day {
    use chrono::NaiveTime;
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub fn serialize<S: Serializer>(time: &NaiveTime, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&time.format("%H:%M"))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<NaiveTime, D::Error> {
        let text = String::deserialize(from)?;
        NaiveTime::parse_from_str(&text, "%H:%M").map_err(|_| D::Error::custom("a time of day is written as 06:30"))
    }
}

/// Why a declaration cannot be used: all mistakes at once. It holds no patient data.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct Mistakes(pub Vec<String>);

impl Drop {
    /// Reads a declaration.
    ///
    /// # Errors
    /// [`Mistakes`], with the line of each that has one.
    pub fn from_toml(text: &str) -> Result<Self, Mistakes> {
        let drop: Self = toml::from_str(text).map_err(|e| Mistakes(vec![e.to_string().trim_end().to_owned()]))?;
        match drop.check() {
            Ok(()) => Ok(drop),
            Err(Mistakes(all)) => Err(Mistakes(all.into_iter().map(|mistake| with_line(text, mistake)).collect())),
        }
    }

    /// Reads a declaration that a profile keeps.
    ///
    /// # Errors
    /// [`Mistakes`].
    pub fn from_json(value: &serde_json::Value) -> Result<Self, Mistakes> {
        let drop: Self = misread::read_value(value).map_err(|e| Mistakes(vec![e.to_string()]))?;
        drop.check().map(|()| drop)
    }

    /// The drops of a profile.
    ///
    /// # Errors
    /// [`Mistakes`] of the first that cannot be read.
    pub fn all(profile: &crate::ehr::Profile) -> Result<Vec<Self>, Mistakes> {
        let all: Vec<Self> = profile.drops.iter().map(Self::from_json).collect::<Result<_, _>>()?;
        let mut mistakes = Vec::new();
        for (at, drop) in all.iter().enumerate() {
            for other in all.iter().take(at) {
                if drop.name == other.name {
                    mistakes.push(format!("two drops are called {}", drop.name));
                }
                let both = drop.content == Content::Full && other.content == Content::Full;
                if both && drop.kinds().iter().any(|kind| other.kinds().contains(kind)) && drop.id_space().overlaps(other.id_space()) {
                    mistakes.push(format!(
                        "{} and {} are both full files of the same type: each would miss what the other holds; give each an id_prefix of its own",
                        other.name, drop.name
                    ));
                }
            }
        }
        if mistakes.is_empty() { Ok(all) } else { Err(Mistakes(mistakes)) }
    }

    /// What the ids of its resources begin with.
    #[must_use]
    pub fn id_prefix(&self) -> &str {
        self.csv.as_ref().map_or("", |csv| csv.id_prefix.as_str())
    }

    const fn id_space(&self) -> IdSpace<'_> {
        IdSpace(self)
    }

    /// The types of which a file holds resources.
    #[must_use]
    pub fn kinds(&self) -> Vec<ResourceType> {
        self.csv.as_ref().map_or_else(|| self.types.clone(), |csv| vec![csv.resource])
    }

    /// The table of a CSV file.
    #[must_use]
    pub fn table(&self) -> Option<Arc<Table>> {
        let mut table = Table::of(self.csv.as_ref()?).ok()?;
        if let Complete::Trailer { first, .. } = &self.complete {
            table.trailer = Some(first.clone());
        }
        table.open_end = !matches!(self.complete, Complete::Stable { open_end: false, .. });
        Some(Arc::new(table))
    }

    /// Which field of a trailer holds the number of rows, from 1; 0 where there is no trailer.
    #[must_use]
    pub const fn count_field(&self) -> usize {
        match &self.complete {
            Complete::Trailer { count, .. } => *count,
            _ => 0,
        }
    }

    fn check(&self) -> Result<(), Mistakes> {
        let mut all = Vec::new();
        let mut rule = |holds: bool, text: &str| {
            if !holds {
                all.push(text.to_owned());
            }
        };
        let name = !self.name.is_empty() && self.name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        rule(name, "name: lower-case letters, digits and '-'");
        rule(self.folder.is_absolute(), "folder: write the whole path, from / on");
        rule(!self.files.is_empty() && !self.files.contains('/'), "files: a pattern for names in the folder, such as appointments_*.csv");
        match &self.csv {
            Some(_) => rule(self.types.is_empty(), "types: leave it out, csv.resource says it"),
            None => rule(!self.types.is_empty(), "types: name the types that the files hold, or give a [csv] section"),
        }
        let covers = self.covers.is_none() || (self.content == Content::Full && self.kinds() == [ResourceType::Appointment]);
        rule(covers, "covers: it is for full files of appointments");
        match &self.complete {
            Complete::Stable { seconds, .. } => rule(*seconds >= 1, "complete.seconds: at least 1"),
            Complete::Marker { suffix } | Complete::Checksum { suffix } => {
                rule(!suffix.is_empty() && !suffix.contains('/'), "complete.suffix: what is appended to the file's name, such as .done");
            }
            Complete::Trailer { first, count } => {
                rule(self.csv.is_some(), "complete: a trailer is a row of a CSV file");
                rule(
                    !first.is_empty() && *count >= 2,
                    "complete: first is what stands in the trailer's first field, count the field with the number, from 2 on",
                );
            }
        }
        if let Some(csv) = &self.csv
            && let Err(Mistakes(more)) = Table::of(csv)
        {
            all.extend(more);
        }
        if all.is_empty() { Ok(()) } else { Err(Mistakes(all)) }
    }
}

/// A mistake with the line of what it begins with: `folder: ...`, `csv.dates: ...`, `csv.field 8 (status): ...`. A section that is left out has
/// none.
fn with_line(text: &str, mistake: String) -> String {
    let path = mistake.split([':', '(']).next().unwrap_or_default().trim();
    match offset(text, path) {
        Some(at) => format!("line {}: {mistake}", text.get(..at).unwrap_or_default().matches('\n').count() + 1),
        None => mistake,
    }
}

/// Where what a path names begins. The number behind a name is the place in a list, from 1.
fn offset(text: &str, path: &str) -> Option<usize> {
    let mut table = &toml::de::DeTable::parse(text).ok()?.into_inner();
    let mut at = None;
    for step in path.split('.') {
        let (name, place) = step.split_once(' ').map_or((step, None), |(name, n)| (name, n.trim().parse::<usize>().ok()));
        let Some((key, mut value)) = table.iter().find(|(key, _)| key.get_ref() == name) else { break };
        at = Some(key.span().start);
        if let (Some(list), Some(place)) = (value.get_ref().as_array(), place) {
            value = list.get(place.checked_sub(1)?)?;
            at = Some(value.span().start);
        }
        let Some(inner) = value.get_ref().as_table() else { break };
        table = inner;
    }
    at
}

/// The ids that a full file is a complete answer of.
#[derive(Clone, Copy)]
struct IdSpace<'d>(&'d Drop);

impl IdSpace<'_> {
    fn overlaps(self, other: Self) -> bool {
        let (a, b) = (self.0.id_prefix(), other.0.id_prefix());
        a.starts_with(b) || b.starts_with(a)
    }
}
