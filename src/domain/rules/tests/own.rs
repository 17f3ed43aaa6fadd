//! Operators' own attributes: files, what they read, and what they are for a person.

use super::people::{NOW, With, anyone, at, condition, definition, site};
use crate::model::own::OwnFacts;
use crate::model::person::Sourced;
use crate::model::{Facts, PatientFacts, PersonFacts, ResourceType};
use crate::rules::{Definition, OwnAttribute, OwnAttributes, RuleSet, Truth, ValueSets};

use Truth::{False, True, Unknown};

fn attribute(resource: &str, path: &str, kind: &str, more: &str) -> OwnAttribute {
    let file = format!("id = 'x'\nmeaning = 'm'\nresource = '{resource}'\npath = \"{path}\"\ntype = '{kind}'\n{more}");
    OwnAttribute::parse(&file).unwrap_or_else(|mistakes| panic!("{mistakes:?}"))
}

/// The person with what the attribute reads of these bodies: of the patient records there are first, then of further records.
fn with(own: &OwnAttribute, bodies: &[&str]) -> PersonFacts {
    let mut person = anyone();
    if own.resource_type() == ResourceType::Patient {
        for _ in 1..bodies.len() {
            person = person.has(Facts::Patient(Box::<PatientFacts>::default()));
        }
    } else {
        for _ in bodies {
            person = person.has(Facts::Condition(Box::new(condition("I10", "2020"))));
        }
    }
    let origins: Vec<_> = match own.resource_type() {
        ResourceType::Patient => person.patients.iter().map(|p| p.origin.clone()).collect(),
        _ => person.supporting.conditions.iter().map(|c| c.origin.clone()).collect(),
    };
    let all = OwnAttributes::of([own.clone()]).unwrap();
    for (origin, body) in origins.into_iter().zip(bodies) {
        person.own.push(Sourced { origin, facts: all.read(own.resource_type(), body.as_bytes()) });
    }
    person
}

#[track_caller]
fn asks(own: &OwnAttribute, person: &PersonFacts, cases: &[(&str, Truth)]) {
    for (rule, truth) in cases {
        let all = OwnAttributes::of([own.clone()]).unwrap();
        let rules = RuleSet::compile_with(&[definition("s", rule)], &ValueSets::default(), &all).unwrap();
        let explained = rules.explain(0, person, &site(), at(NOW)).unwrap();
        let said = explained.reasons.first().map(|r| r.sentence.expose().clone());
        assert_eq!(explained.answer.truth, *truth, "{rule}: {said:?}");
    }
}

#[test]
fn a_file_and_its_fixed_form_are_the_same_attribute() {
    let own = attribute(
        "Observation",
        "Observation.where(code.coding.code = '44249-1').valueInteger",
        "whole-number",
        "unit = 'points'\ndate = 'effectiveDateTime'\n",
    );
    assert_eq!(own.path(), "where(code.coding.code = '44249-1').valueInteger");
    assert_eq!(OwnAttribute::parse(&own.canonical_text()).unwrap(), own);
    assert_eq!((own.name(), own.example().as_str()), ("own.x", "own.x >= 1"));
    let told_otherwise = attribute(
        "Observation",
        "where(code.coding.code = '44249-1').valueInteger",
        "whole-number",
        "unit = 'score'\ndate = 'effectiveDateTime'\n",
    );
    assert_eq!(told_otherwise.key(), own.key(), "the unit decides about no value");
    assert_ne!(attribute("Observation", "valueInteger", "whole-number", "unit = 'points'\n").key(), own.key());
}

#[test]
fn the_files_of_the_page_are_attributes() {
    let page = include_str!("../OWN.md");
    let files: Vec<&str> = page.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(files.len(), 2);
    for file in files {
        let own = OwnAttribute::parse(file).unwrap();
        let rule = own.example();
        let all = OwnAttributes::of([own]).unwrap();
        RuleSet::compile_with(&[definition("s", &rule)], &ValueSets::default(), &all).unwrap_or_else(|m| panic!("{rule}: {m:?}"));
    }
}

#[test]
fn all_mistakes_of_a_file_are_told_at_once() {
    let told = |file: &str| OwnAttribute::parse(file).unwrap_err().iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    let all = told("id = 'A'\nmening = 'x'\nresource = 'Pacient'\npath = 'a..b'\ntype = 'number'\n");
    for wanted in [
        "did you mean `meaning`",
        "`meaning` is missing",
        "`A` is not an id",
        "did you mean `Patient`",
        "`type` is one of yes-no",
        "line 4, column 11: `path`: the name of an element",
    ] {
        assert!(all.contains(wanted), "{wanted}: {all}");
    }
    assert!(told("id = 'x'\nmeaning = 'm'\nresource = 'Practitioner'\npath = 'a'\ntype = 'text'").contains("`resource` is one of Patient"));
    assert!(told("id = 'x'\nmeaning = 'm'\nresource = 'Patient'\npath = 'a'\ntype = 'whole-number'").contains("has a `unit`"));
    assert!(told("id = ").contains("line 1, column 6: this is not TOML"));
    let one = attribute("Patient", "a", "text", "");
    assert!(OwnAttributes::of([one.clone(), one]).is_err());
}

#[test]
fn rules_name_it_and_are_refused_where_it_is_not_there() {
    let own = OwnAttributes::of([attribute("Patient", "a", "text", "")]).unwrap();
    let compile = |rule: &str| RuleSet::compile_with(&[definition("s", rule)], &ValueSets::default(), &own);
    let rules = compile("own.x = \"a\" and active").unwrap();
    assert_eq!((rules.reads(0).unwrap().types.clone(), rules.reads(0).unwrap().contact_ledger), (vec![ResourceType::Patient], false));
    let told = compile("own.y = \"a\"").unwrap_err()[0].to_string();
    assert!(told.contains("there is no attribute `own.y`; did you mean `own.x`?"), "{told}");
    assert!(compile("own.x >= 3").unwrap_err()[0].to_string().contains("`own.x` is a text"));
    assert!(compile("own.x of \"a\" = \"b\"").unwrap_err()[0].to_string().contains("is not narrowed"));
    // A file that is read alone may name what is not known yet, and names of the catalogue only as they are.
    assert!(Definition::parse(&super::people::file("s", "own.anything = 3")).is_ok());
    assert!(Definition::parse(&super::people::file("s", "onw.anything = 3")).is_err());
    let version = |unit: &str| {
        let own = OwnAttributes::of([attribute("Patient", unit, "text", "")]).unwrap();
        RuleSet::compile_with(&[definition("s", "own.x = \"a\"")], &ValueSets::default(), &own).unwrap().segments()[0].version().to_owned()
    };
    assert_ne!(version("a"), version("b"), "a segment is another one when what it asks about is");
}

#[test]
fn of_patients_the_first_record_that_says_something_counts() {
    let own = attribute("Patient", "extension('http://x').valueBoolean", "yes-no", "");
    let says = |value: &str| format!(r#"{{"extension":[{{"url":"http://x","valueBoolean":{value}}}]}}"#);
    asks(&own, &with(&own, &[&says("true")]), &[("own.x", True), ("own.x = false", False)]);
    asks(&own, &with(&own, &["{}", &says("false"), &says("true")]), &[("own.x", False), ("exists own.x", True)]);
    asks(&own, &with(&own, &["{}"]), &[("own.x", Unknown), ("not own.x", Unknown)]);
    asks(&own, &with(&own, &[]), &[("own.x", Unknown)]);
    asks(&own, &with(&own, &[&says("true")]).without(ResourceType::Patient), &[("own.x", Unknown)]);
}

#[test]
fn of_several_records_each_type_has_its_way() {
    let flag = attribute("Condition", "a", "yes-no", "");
    asks(&flag, &with(&flag, &[r#"{"a":false}"#, r#"{"a":true}"#, "{}"]), &[("own.x", True)]);
    asks(&flag, &with(&flag, &[r#"{"a":false}"#, "{}"]), &[("own.x", False)]);
    asks(&flag, &with(&flag, &["{}"]), &[("own.x", False), ("exists own.x", False)]);
    let number = attribute("Condition", "a", "whole-number", "unit = 'points'");
    asks(&number, &with(&number, &[r#"{"a":3}"#, r#"{"a":7}"#]), &[("own.x >= 3", True), ("own.x > 7", False), ("own.x = 5", Unknown)]);
    asks(&number, &with(&number, &[r#"{"a":7.4}"#]), &[("own.x >= 7", True), ("own.x >= 8", Unknown), ("own.x >= 9", False)]);
    let text = attribute("Condition", "a", "text", "");
    asks(&text, &with(&text, &[r#"{"a":"x"}"#, r#"{"a":"x"}"#]), &[("own.x = \"x\"", True)]);
    asks(&text, &with(&text, &[r#"{"a":"x"}"#, r#"{"a":"y"}"#]), &[("own.x = \"x\"", Unknown)]);
    let codes = attribute("Condition", "a", "codes", "");
    asks(
        &codes,
        &with(&codes, &[r#"{"a":{"coding":[{"system":"s","code":"1"}]}}"#, r#"{"a":"2"}"#]),
        &[("own.x = \"s|1\" and own.x = \"2\"", True), ("own.x = \"3\"", False)],
    );
    let time = attribute("Condition", "a", "time", "");
    asks(
        &time,
        &with(&time, &[r#"{"a":"2026-11-01"}"#, r#"{"a":"2020"}"#]),
        &[("own.x = 2026-11-01", True), ("own.x within last 30d", True)],
    );
}

#[test]
fn with_a_date_the_latest_record_counts() {
    let own = attribute("Condition", "a", "whole-number", "unit = 'points'\ndate = 'd'");
    let body = |n: i32, d: &str| format!(r#"{{"a":{n},"d":"{d}"}}"#);
    asks(&own, &with(&own, &[&body(3, "2026-01-01"), &body(7, "2026-02-01")]), &[("own.x = 7", True)]);
    // The same day: both count.
    asks(&own, &with(&own, &[&body(3, "2026-02-01"), &body(7, "2026-02-01")]), &[("own.x = 7", Unknown), ("own.x >= 3", True)]);
    asks(&own, &with(&own, &[&body(3, "2026-02-01"), r#"{"a":7}"#]), &[("own.x >= 3", Unknown)]);
    asks(&own, &with(&own, &[&body(3, "2026-02-01"), "{}"]), &[("own.x = 3", True)]);
}

#[test]
fn what_was_not_read_yet_is_not_known() {
    let own = attribute("Condition", "a", "yes-no", "");
    let mut person = with(&own, &[r#"{"a":true}"#, r#"{"a":true}"#]);
    person.own[1].facts = OwnFacts::default();
    asks(&own, &person, &[("own.x", Unknown), ("not own.x", Unknown), ("exists own.x", Unknown)]);
    assert_eq!(OwnFacts::from_bytes(&person.own[0].facts.to_bytes()), Some(person.own[0].facts.clone()));
    assert_eq!(OwnFacts::from_bytes(b"{"), None);
}

#[test]
fn all_mistakes_of_a_file_are_told_at_once_with_their_places() {
    let file = "id = 'Phq9'\nmeanin = 'x'\nresource = 'Observations'\npath = \"Observation.name.first()\"\ntype = 'number'\ndate = 'a..b'\nunit = 3\n";
    let told: Vec<String> = OwnAttribute::parse(file).unwrap_err().iter().map(ToString::to_string).collect();
    let wanted = [
        "`meaning` is missing",
        "line 1, column 6: `Phq9` is not an id: 1 to 64 lower-case letters, digits and `-`, beginning with a letter",
        "line 2, column 1: there is no member `meanin`; did you mean `meaning`?",
        "line 3, column 12: `resource` is one of Patient, ",
        "line 4, column 26: `path`: there is no function `first`, only extension('url') and where(path = 'text')",
        "line 5, column 8: `type` is one of yes-no, whole-number, text, codes, time",
        "line 6, column 11: `date`: the name of an element is missing here",
        "line 7, column 8: `unit` must be a text in quotes, and not empty",
    ];
    assert_eq!(told.len(), wanted.len(), "{told:#?}");
    for (told, wanted) in told.iter().zip(wanted) {
        assert!(told.starts_with(wanted), "{told}\nwanted: {wanted}");
    }
    let broken = OwnAttribute::parse("id = \nmeaning = 'x\n").unwrap_err();
    assert!(broken.len() == 2 && broken.iter().all(|m| m.in_file.is_some()), "{broken:?}");
}
