//! A row to a FHIR resource: the declared columns, checked once, then applied to each row. Pure; no reason quotes a value of a row.
//!
//! A local time that the clocks show twice is its first occurrence, and one that they skip is the first instant after the gap
//! (`domain::model::time::civil`): a visit is never told an hour too late.

use std::collections::BTreeMap;

use chrono::format::{Item, StrftimeItems};
use chrono::{DateTime, NaiveDate, NaiveDateTime};
use domain::model::time::civil;
use domain::model::{FhirId, ResourceType, Timestamp};
use serde_json::{Map, Value};

use super::declare::{Columns, Csv, Encoding, Field, Mistakes};
use super::elements::{Element, Kind, Step, element};

/// A declared table, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// What each row is.
    pub resource: ResourceType,
    pub(super) delimiter: u8,
    pub(super) encoding: Encoding,
    /// What stands in the first field of a row that is no data, where there is such a row.
    pub(super) trailer: Option<String>,
    /// Whether the last row may have no line end.
    pub(super) open_end: bool,
    id: Vec<String>,
    id_prefix: String,
    zone: chrono_tz::Tz,
    nothing: Vec<String>,
    fields: Vec<Made>,
}

/// One element, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Made {
    to: String,
    element: Element,
    from: Origin,
    when: Option<String>,
    codes: BTreeMap<String, String>,
    otherwise: Option<String>,
    prefix: String,
    dates: Vec<String>,
    date_times: Vec<String>,
    required: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Origin {
    Constant(String),
    /// By the first name that the heading has.
    Column(Vec<String>),
    Joined(Vec<String>),
}

/// Where the columns of a table are in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Places {
    /// How many columns there are.
    pub width: usize,
    id: Vec<usize>,
    fields: Vec<(Vec<usize>, Option<usize>)>,
}

/// What is wrong with a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// The columns concerned; none where it is the row.
    pub columns: String,
    /// What is wrong, without the value.
    pub says: String,
}

impl std::fmt::Display for Flaw {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.columns.is_empty() { f.write_str(&self.says) } else { write!(f, "column {}: {}", self.columns, self.says) }
    }
}

/// A column's name as it is compared.
fn plain(name: &str) -> String {
    name.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}

fn items_hold(format: &str) -> bool {
    !format.is_empty() && StrftimeItems::new(format).all(|item| item != Item::Error)
}

impl Table {
    /// Checks a declaration.
    ///
    /// # Errors
    /// All [`Mistakes`] at once.
    pub fn of(csv: &Csv) -> Result<Self, Mistakes> {
        let mut all = Vec::new();
        if !csv.resource.is_core() {
            all.push("csv.resource: a row becomes a Patient, an Appointment or a CarePlan".to_owned());
        }
        if csv.id.names().is_empty() || csv.id.names().iter().any(|n| n.trim().is_empty()) {
            all.push("csv.id: name the column that holds the id, or several".to_owned());
        }
        let delimiter = u8::try_from(csv.delimiter).ok().filter(|b| b.is_ascii() && !matches!(b, b'"' | b'\n' | b'\r'));
        if delimiter.is_none() {
            all.push("csv.delimiter: one ASCII character, such as , ; | or a tab as \\t".to_owned());
        }
        for (key, formats) in [("dates", &csv.dates), ("date_times", &csv.date_times)] {
            all.extend(
                formats.iter().filter(|f| !items_hold(f)).map(|f| format!("csv.{key}: `{f}` is no form of dates, such as %m/%d/%Y")),
            );
        }
        let mut fields = Vec::new();
        for (at, field) in csv.fields.iter().enumerate() {
            match made(csv, field) {
                Ok(field) => fields.push(field),
                Err(mistakes) => all.extend(mistakes.into_iter().map(|m| format!("csv.field {} ({}): {m}", at + 1, field.to))),
            }
        }
        for (at, field) in fields.iter().enumerate() {
            // Two constants or columns for one element can only be meant as alternatives, which `column` has already.
            if fields.iter().take(at).any(|other| other.element.steps == field.element.steps && other.when == field.when) {
                all.push(format!("csv.field: `{}` is given twice", field.to));
            }
        }
        if !all.is_empty() {
            return Err(Mistakes(all));
        }
        Ok(Self {
            resource: csv.resource,
            delimiter: delimiter.unwrap_or(b','),
            encoding: csv.encoding,
            trailer: None,
            open_end: true,
            id: csv.id.names().to_vec(),
            id_prefix: csv.id_prefix.clone(),
            zone: csv.time_zone,
            nothing: csv.nothing.iter().map(|text| text.trim().to_lowercase()).collect(),
            fields,
        })
    }

    /// Finds the columns in a heading.
    ///
    /// # Errors
    /// All columns that are not there, or are there twice.
    pub(super) fn places(&self, heading: &[String]) -> Result<Places, Mistakes> {
        let names: Vec<String> = heading.iter().map(|name| plain(name)).collect();
        let mut missing = Vec::new();
        let mut find = |wanted: &[String]| {
            let found = wanted.iter().map(|name| plain(name)).find_map(|name| names.iter().position(|n| *n == name));
            if found.is_none() {
                missing.push(format!(
                    "the heading has no column {}",
                    wanted.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(" or ")
                ));
            }
            found.unwrap_or(0)
        };
        let id = self.id.iter().map(|name| find(std::slice::from_ref(name))).collect();
        let mut fields = Vec::new();
        for field in &self.fields {
            let columns = match &field.from {
                Origin::Constant(_) => Vec::new(),
                Origin::Column(names) => vec![find(names)],
                Origin::Joined(names) => names.iter().map(|name| find(std::slice::from_ref(name))).collect(),
            };
            fields.push((columns, field.when.as_ref().map(|name| find(std::slice::from_ref(name)))));
        }
        let used = |at: usize| fields.iter().any(|(columns, when)| columns.contains(&at) || *when == Some(at));
        for (at, name) in names.iter().enumerate() {
            if !name.is_empty() && used(at) && names.iter().filter(|n| *n == name).count() > 1 {
                missing.push(format!("the heading has the column `{}` twice", heading.get(at).map_or("", |n| n.trim())));
            }
        }
        missing.dedup();
        if missing.is_empty() { Ok(Places { width: heading.len(), id, fields }) } else { Err(Mistakes(missing)) }
    }

    /// The logical id of a row; `None` where it cannot be one.
    pub(super) fn id(&self, places: &Places, row: &[String]) -> Option<String> {
        let parts: Vec<&str> = places.id.iter().map(|at| self.text(row, *at)).collect();
        if parts.iter().any(|part| part.is_empty()) {
            return None;
        }
        FhirId::parse(&format!("{}{}", self.id_prefix, parts.join("-"))).map(|id| id.as_str().to_owned())
    }

    /// The resource that a row is.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub(super) fn resource(&self, places: &Places, row: &[String]) -> Result<Value, Vec<Flaw>> {
        let mut flaws = Vec::new();
        let id = self.id(places, row);
        if id.is_none() {
            let says = "the id is empty, or has other characters than A-Z a-z 0-9 - . _ ~, or more than 255".to_owned();
            flaws.push(Flaw { columns: self.id.join(", "), says });
        }
        let mut whole = Value::Object(Map::new());
        for (field, (columns, when)) in self.fields.iter().zip(&places.fields) {
            if when.is_some_and(|at| self.text(row, at).is_empty()) {
                continue;
            }
            let text = match &field.from {
                Origin::Constant(value) => value.clone(),
                _ => {
                    let parts: Vec<&str> = columns.iter().map(|at| self.text(row, *at)).collect();
                    // A date without its time is no date with time.
                    if parts.iter().any(|part| part.is_empty()) { String::new() } else { parts.join(" ") }
                }
            };
            let made = if text.is_empty() { Ok(None) } else { self.value(field, &text).map(Some) };
            match made {
                Ok(Some(value)) => put(&mut whole, &field.element.steps, value),
                Ok(None) if field.required => flaws.push(field.flaw("it is empty, and the element is required")),
                Ok(None) => {}
                Err(says) => flaws.push(field.flaw(says)),
            }
        }
        if !flaws.is_empty() {
            return Err(flaws);
        }
        prune(&mut whole);
        if let Value::Object(members) = &mut whole {
            members.insert("resourceType".to_owned(), self.resource.as_str().into());
            members.insert("id".to_owned(), id.into());
        }
        Ok(whole)
    }

    /// A field's text, without spaces around it and empty where it stands for nothing.
    fn text<'r>(&self, row: &'r [String], at: usize) -> &'r str {
        let text = row.get(at).map_or("", |text| text.trim());
        if !self.nothing.is_empty() && self.nothing.contains(&text.to_lowercase()) { "" } else { text }
    }

    fn value(&self, field: &Made, text: &str) -> Result<Value, &'static str> {
        let coded = match field.codes.get(&text.trim().to_lowercase()).or(field.otherwise.as_ref()) {
            Some(code) => code.as_str(),
            None if field.codes.is_empty() => text,
            None => return Err("a text that `codes` does not have"),
        };
        match field.element.kind {
            Kind::Text => Ok(format!("{}{coded}", field.prefix).into()),
            Kind::Reference => {
                let reference = format!("{}{coded}", field.prefix);
                match domain::fhir::reference_id(&reference) {
                    Some(_) => Ok(reference.into()),
                    None => Err("no reference such as Practitioner/12; `prefix` gives what stands before an id"),
                }
            }
            Kind::Flag => match coded.to_lowercase().as_str() {
                "true" | "yes" | "y" | "1" => Ok(true.into()),
                "false" | "no" | "n" | "0" => Ok(false.into()),
                _ => Err("neither true nor false; `codes` can say what is"),
            },
            Kind::Whole => coded.parse::<u32>().map(Into::into).map_err(|_| "no whole number"),
            Kind::Date => self.day(field, coded).map(|day| day.to_string().into()).ok_or("no date of the declared forms"),
            Kind::Instant => self.instant(field, coded).map(|at| at.to_string().into()).ok_or("no date with time of the declared forms"),
            Kind::DateTime => {
                let at = self.instant(field, coded).map(|at| at.to_string());
                at.or_else(|| self.day(field, coded).map(|day| day.to_string())).map(Into::into).ok_or("no date of the declared forms")
            }
        }
    }

    fn day(&self, field: &Made, text: &str) -> Option<NaiveDate> {
        let day = field.dates.iter().find_map(|form| NaiveDate::parse_from_str(text, form).ok());
        // Exports of databases write a day as its midnight.
        day.or_else(|| field.date_times.iter().find_map(|form| NaiveDateTime::parse_from_str(text, form).ok()).map(|at| at.date()))
    }

    fn instant(&self, field: &Made, text: &str) -> Option<Timestamp> {
        let own = |form: &String| match DateTime::parse_from_str(text, form) {
            Ok(at) => Some(Timestamp::from(at.to_utc())),
            Err(_) => NaiveDateTime::parse_from_str(text, form).ok().map(|at| civil(at.date(), at.time(), self.zone)),
        };
        // One that brings its offset needs no declared form.
        field.date_times.iter().find_map(own).or_else(|| Timestamp::parse(text))
    }
}

impl Made {
    fn flaw(&self, says: &str) -> Flaw {
        let columns = match &self.from {
            Origin::Constant(_) => self.to.clone(),
            Origin::Column(names) => names.first().cloned().unwrap_or_default(),
            Origin::Joined(names) => names.join(", "),
        };
        Flaw { columns, says: says.to_owned() }
    }
}

fn made(csv: &Csv, field: &Field) -> Result<Made, Vec<String>> {
    let mut all = Vec::new();
    let element = element(csv.resource, &field.to).map_err(|why| all.push(why)).ok();
    let from = match (&field.column, field.join.as_slice(), &field.value) {
        (Some(Columns::One(name)), [], None) => Some(Origin::Column(vec![name.clone()])),
        (Some(Columns::Several(names)), [], None) if !names.is_empty() => Some(Origin::Column(names.clone())),
        (None, names @ [_, ..], None) => Some(Origin::Joined(names.to_vec())),
        (None, [], Some(value)) => Some(Origin::Constant(value.clone())),
        _ => None,
    };
    if from.is_none() {
        all.push("give one of `column`, `join` and `value`".to_owned());
    }
    all.extend(field.formats.iter().filter(|f| !items_hold(f)).map(|f| format!("`{f}` is no form of dates, such as %m/%d/%Y")));
    let kind = element.as_ref().map(|e| e.kind);
    let forms =
        if field.formats.is_empty() { csv.dates.iter().chain(&csv.date_times).collect() } else { field.formats.iter().collect::<Vec<_>>() };
    if kind == Some(Kind::Date) && forms.iter().any(|f| f.contains("%y")) {
        all.push("a year of two digits says no century: ask for birth dates with four".to_owned());
    }
    if kind == Some(Kind::Whole) && !field.prefix.is_empty() {
        all.push("`prefix` is for texts and references".to_owned());
    }
    match (element, from) {
        (Some(element), Some(from)) if all.is_empty() => {
            let prefix = if field.to == "patient" && field.prefix.is_empty() { "Patient/".to_owned() } else { field.prefix.clone() };
            let own = |otherwise: &Vec<String>| if field.formats.is_empty() { otherwise.clone() } else { field.formats.clone() };
            Ok(Made {
                to: field.to.clone(),
                element,
                from,
                when: field.when.clone(),
                codes: field.codes.iter().map(|(text, code)| (text.trim().to_lowercase(), code.clone())).collect(),
                otherwise: field.otherwise.clone(),
                prefix,
                dates: own(&csv.dates),
                date_times: own(&csv.date_times),
                required: field.required,
            })
        }
        _ => Err(all),
    }
}

fn put(whole: &mut Value, steps: &[Step], value: Value) {
    let Some((step, rest)) = steps.split_first() else {
        *whole = value;
        return;
    };
    match step {
        Step::Member(name) => {
            if !whole.is_object() {
                *whole = Value::Object(Map::new());
            }
            if let Value::Object(members) = whole {
                put(members.entry(name.clone()).or_insert(Value::Null), rest, value);
            }
        }
        Step::At(at) => {
            if !whole.is_array() {
                *whole = Value::Array(Vec::new());
            }
            if let Value::Array(elements) = whole {
                elements.resize(elements.len().max(at + 1), Value::Null);
                if let Some(slot) = elements.get_mut(*at) {
                    put(slot, rest, value);
                }
            }
        }
    }
}

/// Takes out what lists were filled up with.
fn prune(value: &mut Value) {
    match value {
        Value::Array(elements) => {
            elements.retain(|element| !element.is_null());
            elements.iter_mut().for_each(prune);
        }
        Value::Object(members) => members.values_mut().for_each(prune),
        _ => {}
    }
}
