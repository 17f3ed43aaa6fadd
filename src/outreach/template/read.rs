//! From a template's file to a checked [`Template`], with all mistakes at once.

use toml::{Table, Value};

use super::variables::PhiClass;
use super::{Template, Variant, lint};
use crate::outreach::definition::{Mistakes, Reader, dotted};
use crate::outreach::program::Action;

pub(super) fn template(file: &str, text: &str) -> Result<Template, Mistakes> {
    let mut reader = Reader::new(file);
    let mut table = reader.open(text);
    if !reader.is_clean() {
        return reader.finish(None);
    }
    let id = reader.id(&mut table, "", "id");
    let allowed = Action::ALL.map(|a| format!("\"{}\"", a.as_str())).join(", ");
    let action = reader.parsed(&mut table, "", "action", &format!("one of {allowed}"), Action::parse);
    let phi = reader.parsed(&mut table, "", "phi", "\"none\", \"limited\" or \"phi\"", PhiClass::parse);
    let variants = variants(&mut reader, &mut table);
    reader.nothing_else(&table, "");
    let version = blake3::hash(text.as_bytes()).to_hex().chars().take(16).collect();
    let template = match (action, phi) {
        (Some(action), Some(phi)) => Template { id, version, action, phi, variants },
        _ => return reader.finish(None),
    };
    check(&mut reader, &template);
    reader.finish(Some(template))
}

/// Every table of the file is a language.
fn variants(reader: &mut Reader, table: &mut Table) -> Vec<Variant> {
    let languages: Vec<String> = table.iter().filter(|(_, v)| v.is_table()).map(|(k, _)| k.clone()).collect();
    let mut variants = Vec::new();
    for language in languages {
        let Some(Value::Table(mut words)) = table.remove(&language) else {
            continue;
        };
        let tag_ok =
            (2..=11).contains(&language.len()) && language.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if !tag_ok {
            reader.wrong(&language, "is not a language tag in lower case, such as \"es\" or \"es-mx\"");
        }
        variants.push(Variant {
            approved_by: reader.text(&mut words, &language, "approved_by"),
            subject: reader.text(&mut words, &language, "subject"),
            body: reader.text(&mut words, &language, "body"),
            ask: reader.text(&mut words, &language, "ask"),
            language: language.clone(),
        });
        reader.nothing_else(&words, &language);
    }
    if !variants.iter().any(|v| v.language == "en") {
        reader.wrong("en", "is missing: the English words are what a patient gets whose language has none");
    }
    variants.sort_by_key(|v| (v.language != "en", v.language.clone()));
    variants
}

fn check(reader: &mut Reader, template: &Template) {
    for variant in &template.variants {
        if variant.body.is_empty() || variant.subject.is_empty() || variant.ask.is_empty() {
            continue;
        }
        for (key, says) in lint::variant(template, variant) {
            reader.wrong(&dotted(&variant.language, key), &says);
        }
    }
    let used = template.variants.iter().map(lint::class_used).max().unwrap_or(PhiClass::None);
    if used < template.phi {
        let (used, said) = (used.as_str(), template.phi.as_str());
        reader.wrong("phi", &format!("says {said}, but the words use nothing above {used}: write \"{used}\""));
    }
}
