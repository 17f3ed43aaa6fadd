//! `segments attributes`: the catalogue, for people, for programs, and as the documentation page.

use domain::rules::{Attribute, attribute, attribute_page, attributes};

use super::super::exit::{Ended, Failure};
use super::super::{Common, print};

pub(super) fn show(common: &Common, name: Option<&str>, markdown: bool) -> Result<Ended, Failure> {
    if markdown {
        print::line(attribute_page().trim_end());
        return Ok(Ended::Well);
    }
    let chosen: Vec<&Attribute> = match name {
        Some(name) => vec![attribute(name).ok_or_else(|| no_such(name))?],
        None => attributes().collect(),
    };
    if common.json {
        print::json(&chosen);
    } else if name.is_some() {
        chosen.into_iter().for_each(one);
    } else {
        let mut table = print::Table::new(&["ATTRIBUTE", "TYPE", "MEANING"]);
        for a in chosen {
            table.row([a.name.to_owned(), a.kind.to_string(), a.meaning.to_owned()]);
        }
        table.print();
    }
    Ok(Ended::Well)
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
    if !a.unknown.is_empty() {
        print::line(&format!("unknown where: {}", a.unknown));
    }
    print::line(&format!("example: {}", a.example));
}
