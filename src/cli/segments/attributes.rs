//! `segments attributes`: the catalogue, for people, for programs, and as the documentation page.

use std::path::Path;

use domain::rules::{Attribute, OwnAttribute, attribute, attribute_page, attributes};

use super::super::exit::{Ended, Failure};
use super::super::{Common, print};
use crate::segments::Library;

pub(super) fn show(common: &Common, name: Option<&str>, markdown: bool, folder: &Path) -> Result<Ended, Failure> {
    if markdown {
        print::line(attribute_page().trim_end());
        return Ok(Ended::Well);
    }
    let library = Library::with_files(folder).map_err(|mistakes| {
        let lines: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        Failure::problem(format!("the definition files have mistakes:\n{}", lines.join("\n")))
    })?;
    let own = library.own();
    if let Some(one) = name.and_then(|name| own.get(name)) {
        if common.json {
            print::json(&[row(one)])
        } else {
            told(one)
        }
        return Ok(Ended::Well);
    }
    let chosen: Vec<&Attribute> = match name {
        Some(name) => vec![attribute(name).ok_or_else(|| no_such(name))?],
        None => attributes().collect(),
    };
    let own: Vec<&OwnAttribute> = if name.is_none() { own.iter().collect() } else { Vec::new() };
    if common.json {
        let listed = chosen.iter().map(|a| serde_json::to_value(a).unwrap_or_default());
        print::json(&listed.chain(own.into_iter().map(row)).collect::<Vec<_>>());
    } else if name.is_some() {
        chosen.into_iter().for_each(one);
    } else {
        let mut table = print::Table::new(&["ATTRIBUTE", "TYPE", "MEANING"]);
        for a in chosen {
            table.row([a.name.to_owned(), a.kind.to_string(), a.meaning.to_owned()]);
        }
        own.iter().for_each(|a| table.row([a.name().to_owned(), a.kind().to_string(), a.meaning.clone()]));
        table.print();
    }
    Ok(Ended::Well)
}

/// One of the operator's own, as the catalogue's are shown.
fn row(a: &OwnAttribute) -> serde_json::Value {
    serde_json::json!({
        "name": a.name(), "kind": a.kind(), "unit": a.unit(), "meaning": a.meaning, "needs": [a.resource_type()], "path": a.path(),
        "example": a.example(),
    })
}

fn told(a: &OwnAttribute) {
    let unit = a.unit().map_or_else(String::new, |u| format!(", in {u}"));
    print::line(&format!("{}: {}{unit}", a.name(), a.kind()));
    print::line(&a.meaning);
    print::line(&format!("read from: {}, {}", a.resource_type(), a.path()));
    print::line(&format!("example: {}", a.example()));
}

fn no_such(name: &str) -> Failure {
    let meant = domain::rules::nearest_attribute(name).map_or_else(String::new, |n| format!("; did you mean {n}?"));
    Failure::usage(format!("there is no attribute {name}{meant}"))
}

fn one(a: &Attribute) {
    let unit = a.unit.map_or_else(String::new, |u| format!(", in {u}"));
    print::line(&format!("{}: {}{unit}", a.name, a.kind));
    print::line(a.meaning);
    if !a.values.is_empty() {
        print::line(&format!("one of: {}", a.values.join(", ")));
    }
    print::line(&format!("read from: {}", a.origin()));
    if let Some(of) = a.of {
        print::line(&format!("`of` narrows it by: {of}"));
    }
    if !a.unknown.is_empty() {
        print::line(&format!("unknown where: {}", a.unknown));
    }
    print::line(&format!("example: {}", a.example));
}
