//! Rules and records that are wrong: a clear mistake or an unknown with its reason; never a wrong answer, a panic or a stall.

use super::people::{
    NOW, With, anyone, ask, at, compile, condition, definition, encounter, file, immunization, person, procedure, site, why,
};
use crate::Timestamp;
use crate::model::facts::Period;
use crate::model::{Facts, FhirTime, PatientFacts, ResourceType};
use crate::rules::syntax::{Expr, MAX_BYTES};
use crate::rules::{Definition, OwnAttributes, RuleSet, Truth, ValueSet, ValueSets, parse};

fn told(rule: &str) -> Vec<String> {
    Definition::parse(&file("x", rule)).expect_err(rule).iter().map(ToString::to_string).collect()
}

#[test]
fn all_mistakes_of_a_rule_are_told_at_once_with_their_places() {
    let mistakes =
        told("gender = \"femal\" and\n  next_apointment.start within 72 hrs\n  or (agee > 3 and active >= 1 and last_visit.end = 3");
    assert_eq!(
        mistakes,
        [
            "segment x: rule, line 1, column 10: `gender` is never \"femal\", only one of male, female, other; did you mean `female`?",
            "segment x: rule, line 2, column 35: `hrs` is not a unit of time: min, h, d, w, months, years",
            "segment x: rule, line 3, column 6: this `(` is not closed",
            "segment x: rule, line 3, column 7: there is no attribute `agee`; did you mean `age`?",
            "segment x: rule, line 3, column 20: `active` is a yes or no and can only be equal or not equal (=, !=); write for example `active`",
            "segment x: rule, line 3, column 53: `last_visit.end` is a time and is compared with a date, as in 2026-11-23; write for example `last_visit.end within last 7d`",
        ]
    );
}

#[test]
fn one_mistake_each() {
    for (rule, wanted) in [
        ("", "`rule` is empty"),
        ("()", "column 2: a test is missing before `)`"),
        ("active and", "column 11: a test is missing here, at the end"),
        ("active active", "column 8: `active` cannot follow here: join tests with `and` or `or`"),
        ("active)", "column 7: this `)` closes nothing"),
        ("age == 3", "`==` is not a comparison; write `=`"),
        ("age >= 65.5", "only whole numbers"),
        ("age >= 99999999999999999999", "too large"),
        ("age", "`age` is a whole number and is not true or false by itself; write for example `age >= 65`"),
        ("gender = female", "`female` is not a value; write texts in quotes: \"female\""),
        ("gender = 'female'", "straight double quotes"),
        ("gender = \"female", "no closing quote"),
        ("last_visit.end > 2026-02-30", "`2026-02-30` is not a date that exists"),
        ("last_visit.end older 3d", "write `older than 12 months`"),
        ("last_visit.end within 0d", "at least 1"),
        ("last_visit.end in last 3d", "is not counted"),
        ("appointments.no_show within last 3d", "takes its period as `in last`"),
        ("language in (3)", "is compared with a text in quotes"),
        ("segment(Nope)", "is not the id of a segment"),
        ("exists and", "`exists` is followed by an attribute"),
        ("condition.present of", "column 21: `of` is followed by a code in quotes"),
        ("condition.present of diabetes", "`of` is followed by a code in quotes, by a list of them, or by `valueset(id)`"),
        ("condition.present of (3)", "is compared with a code in quotes"),
        ("age of \"x\" > 3", "is not narrowed by `of`"),
        ("care_plan.category = \"\"", "as in \"code\" or \"system|code\""),
    ] {
        let mistakes = told(rule);
        assert!(mistakes.iter().any(|m| m.contains(wanted)), "{rule}: {mistakes:?}");
    }
}

#[test]
fn mistakes_outside_of_the_rule() {
    let all = Definition::parse("id = 'A b'\ntitel = 't'\nstage = 'retenton'\nunknown = 'hold'\ndescription = 3\n").unwrap_err();
    let text: Vec<_> = all.iter().map(ToString::to_string).collect();
    for wanted in [
        "`titel`; did you mean `title`",
        "is not an id",
        "`title` is missing",
        "did you mean `retention`",
        "did you mean `held`",
        "`description` must be a text",
        "`rule` is missing",
    ] {
        assert!(text.iter().any(|m| m.contains(wanted)), "{wanted}: {text:?}");
    }
    let broken = Definition::parse("id = 'x'\ntitle = \n").unwrap_err();
    assert!(broken[0].to_string().contains("line 2, column 9: this is not TOML"), "{broken:?}");
}

#[test]
fn a_set_refuses_circles_doubles_and_references_to_nothing() {
    let set = [definition("a", "segment(b)"), definition("b", "active or segment(c)"), definition("c", "segment(a)")];
    let mistakes = RuleSet::compile(&set).unwrap_err();
    assert_eq!(mistakes.len(), 1, "{mistakes:?}");
    assert!(mistakes[0].to_string().contains("a -> b -> c -> a"), "{mistakes:?}");
    let set = [
        definition("lapsed", "active"),
        definition("lapsed", "active and segment(lapsd) and segment(self)"),
        definition("self", "segment(self)"),
    ];
    let text: Vec<_> = RuleSet::compile(&set).unwrap_err().iter().map(ToString::to_string).collect();
    for wanted in ["given twice", "column 20: there is no segment `lapsd`; did you mean `lapsed`?", "self -> self"] {
        assert!(text.iter().any(|m| m.contains(wanted)), "{wanted}: {text:?}");
    }
}

#[test]
fn a_value_set_that_does_not_exist_is_told_with_the_nearest() {
    let set =
        ValueSet::parse("id = 'diabetes'\ntitle = 't'\nsource = 's'\nversion = '1'\nlicence = 'CC0-1.0'\n[codes]\n'http://a' = ['1']\n")
            .unwrap();
    let sets = ValueSets::of([set]).unwrap();
    for (rule, column) in [("condition.codes in valueset(diabets)", 29), ("active and condition.present of valueset(diabets)", 42)] {
        let mistakes = RuleSet::compile_with(&[definition("x", rule)], &sets, &OwnAttributes::default()).unwrap_err();
        let wanted = format!("segment x: rule, line 1, column {column}: there is no value set `diabets`; did you mean `diabetes`?");
        assert_eq!(mistakes.iter().map(ToString::to_string).collect::<Vec<_>>(), [wanted]);
    }
    assert!(told("active in valueset(x)")[0].contains("is not looked up in a value set"));
    assert!(told("condition.codes in valueset(X)").iter().any(|m| m.contains("`X` is not the id of a value set")));
}

#[test]
fn a_long_chain_of_segments_is_followed() {
    let mut set = vec![definition("s0", "active")];
    set.extend((1..2000).map(|i| definition(&format!("s{i}"), &format!("not segment(s{})", i - 1))));
    set.reverse();
    let rules = RuleSet::compile(&set).unwrap();
    let answers = rules.evaluate(&anyone(), &site(), at(NOW));
    assert_eq!(answers.last().unwrap().truth, Truth::True);
    assert_eq!(answers[0].truth, Truth::False);
    assert_eq!(rules.evaluate_only(&[0], &anyone(), &site(), at(NOW)), answers[..1]);
}

#[test]
fn size_and_depth_are_bounded() {
    let long = vec!["active"; MAX_BYTES / 10].join(" and ");
    assert!(told(&long)[0].contains("at most 100000 bytes"));
    // As long as may be, and one test only.
    let rule = vec!["active"; 9_000].join(" and ");
    assert_eq!(ask(&rule, &anyone(), &site(), NOW).truth, Truth::True);
    let many = (0..300).map(|n| format!("age > {n}")).collect::<Vec<_>>().join(" or ");
    let mistakes = RuleSet::compile(&[definition("x", &many)]).unwrap_err();
    assert!(mistakes[0].to_string().contains("at most 256 different tests and this one has 300"));
    let many = (0..256).map(|n| format!("age > {n}")).collect::<Vec<_>>().join(" or ");
    let answer = ask(&many, &anyone(), &site(), NOW);
    assert_eq!((answer.truth, answer.reasons.len()), (Truth::Unknown, 256));
    for (open, close) in [("(", ")"), ("not ", ""), ("not (active and ", ")")] {
        let nested = |n: usize| format!("{}active{}", open.repeat(n), close.repeat(n));
        assert!(parse(&nested(32)).is_ok(), "{open}");
        assert!(told(&nested(65)).iter().any(|m| m.contains("nested deeper than 64")), "{open}");
        assert!(told(&nested(5_000)).len() == 1, "{open}");
    }
    let mut json = serde_json::json!({ "attribute": "active" });
    for _ in 0..65 {
        json = serde_json::json!({ "not": json });
    }
    assert!(Expr::from_json(&json).unwrap_err()[0].to_string().contains("nested deeper than 64"));
}

#[test]
fn a_hundred_kilobytes_of_mistakes_are_told_in_part() {
    for (part, says) in [
        ("actve or ", "there is no attribute"),
        ("$", "no place in a rule"),
        (") ", "a test is missing before"),
        ("or ", "a test is missing"),
        ("age == ", "`==`"),
    ] {
        let mistakes = told(&part.repeat(MAX_BYTES / part.len()));
        assert!(mistakes[0].contains(says), "{part}: {}", mistakes[0]);
        assert_eq!(mistakes.len(), 51, "{part}");
        assert!(mistakes[50].contains("more than 50 mistakes; correct these first"));
    }
}

#[test]
fn json_mistakes_are_told_with_their_paths() {
    let json = serde_json::json!({ "all": [
        { "attribute": "age", "is": "~", "value": 3 },
        { "attribute": "age", "within": "3 fortnights", "exists": true },
        { "any": [{ "attribute": "active" }] },
        { "attribute": "age", "is": ">", "value": 3.5 },
        { "atribute": "age" },
        { "attribute": "last_visit.end", "is": ">", "value": { "date": "2026" } },
    ]});
    let text: Vec<_> = Expr::from_json(&json).unwrap_err().iter().map(ToString::to_string).collect();
    for wanted in [
        "$.all[0].is: ",
        "$.all[1].within: ",
        "$.all[1]: asks 2 things",
        "$.all[2].any: is a list of two",
        "$.all[3].value: ",
        "did you mean `attribute`",
        "$.all[5].value: ",
    ] {
        assert!(text.iter().any(|m| m.contains(wanted)), "{wanted}: {text:?}");
    }
}

#[test]
fn a_definition_may_hold_the_tree_in_place_of_the_text() {
    let toml = |rule: &str| format!("id = 'x'\ntitle = 't'\nstage = 'retention'\ndescription = 'd'\nrule = {rule}\n");
    let json = |rule: &str| format!(r#"{{"id":"x","title":"t","stage":"retention","description":"d","rule":{rule}}}"#);
    let by_text = Definition::parse(&toml("'age >= 65 and not active'")).unwrap();
    let tree = by_text.rule.to_json().to_string();
    for same in [
        Definition::parse_json(&json(&tree)).unwrap(),
        Definition::parse_json(&json("\"age >= 65 and not active\"")).unwrap(),
        Definition::parse(&toml("{ all = [{ attribute = 'age', is = '>=', value = 65 }, { not = { attribute = 'active' } }] }")).unwrap(),
    ] {
        assert_eq!((same.canonical_text(), &same.rule_text), (by_text.canonical_text(), &by_text.rule_text));
    }
    let told = |found: Result<Definition, Vec<crate::rules::Mistake>>| {
        found.unwrap_err().iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    let several = told(Definition::parse_json(
        &json(r#"{"any":[{"attribute":"agee","is":">","value":3},{"atribute":"age"}]}"#).replace("title", "titel"),
    ));
    for wanted in ["did you mean `title`", "`title` is missing", "$.any[1]", "did you mean `attribute`"] {
        assert!(several.contains(wanted), "{wanted}: {several}");
    }
    // A type error points at the column of the text that the tree is written as.
    let typed = told(Definition::parse_json(&json(r#"{"all":[{"attribute":"active"},{"attribute":"agee","is":">","value":3}]}"#)));
    assert!(typed.contains("rule, line 1, column 12: there is no attribute `agee`; did you mean `age`?"), "{typed}");
    let deep = |n: usize| json(&format!("{}{{\"attribute\":\"active\"}}{}", "{\"not\":".repeat(n), "}".repeat(n)));
    assert!(Definition::parse_json(&deep(60)).is_ok());
    assert!(told(Definition::parse_json(&deep(70))).contains("nested deeper than 64"));
    for n in [126, 1_000, 100_000] {
        assert!(told(Definition::parse_json(&deep(n))).contains("recursion limit"), "{n}");
    }
    assert!(
        told(Definition::parse_json("{\n  \"id\": nil")).contains("line 2, column"),
        "{}",
        told(Definition::parse_json("{\n  \"id\": nil"))
    );
    for odd in ["", "[]", "null", "{\"id\": null}", &json("null"), &json("3"), &json("[]"), &json("{}")] {
        assert!(Definition::parse_json(odd).is_err(), "{odd}");
    }
    assert!(
        told(Definition::parse(&toml("{ attribute = 'last_visit.start', is = '>', value = { date = 2026-11-23 } }"))).contains("$.value")
    );
}

#[test]
fn birth_dates_that_cannot_be_or_say_little() {
    let born = |text: &str| person(PatientFacts { birth_date: FhirTime::parse(text), ..PatientFacts::default() });
    for (birth, rule, truth, says) in [
        ("1900", "age >= 65", Truth::Unknown, "more than 122 years back"),
        ("1960", "age >= 65", Truth::True, "age is 65 to 66 years (the birth date is not given to the day)"),
        ("1961", "age >= 65", Truth::Unknown, "age is 64 to 65 years"),
        ("1961-11", "age >= 65", Truth::Unknown, "age is 64 to 65 years"),
        ("1961-10", "age = 65", Truth::True, "age is 65 years"),
        ("1961-12", "age in (64)", Truth::True, "age is 64 years"),
        ("2026-02-30", "age >= 65", Truth::Unknown, "the record has no Patient.birthDate"),
        ("2030-01-01", "age < 65", Truth::Unknown, "the birth date is in the future"),
        ("2026", "age < 1", Truth::True, "age is 0 years"),
        ("0000", "age < 1", Truth::Unknown, "more than 122 years back"),
        ("2000-02-29", "age = 26", Truth::True, "age is 26 years"),
    ] {
        let person = born(birth);
        let answer = ask(rule, &person, &site(), NOW);
        let reasons = why(rule, &person);
        assert_eq!(answer.truth, truth, "{birth} {rule}");
        assert!(reasons[0].sentence.expose().contains(says), "{birth}: {:?}", reasons[0].sentence.expose());
    }
    // One yet to be born becomes a person of age 0 at the stroke of midnight.
    let answer = ask("age < 65", &born("2030-01-01"), &site(), NOW);
    assert_eq!(answer.valid_until, Some(at("2030-01-01T05:00:00Z")));
}

#[test]
fn fifty_thousand_resources_are_no_stall() {
    let mut person = anyone();
    for i in 0..50_000_i64 {
        let start = Timestamp::from_micros(at(NOW).micros() + (i - 40_000) * 3_600_000_000).to_string();
        person = match i % 8 {
            0..4 => person.visit(["fulfilled", "noshow", "booked", "cancelled"][usize::try_from(i % 4).unwrap()], &start, &start),
            4 => person.has(Facts::Condition(Box::new(condition("E11.9", &start)))),
            5 => person.has(Facts::Encounter(Box::new(encounter("finished", "act|IMP", &start, &start)))),
            6 => person.has(procedure("sct|73761001", &start)),
            _ => person.has(immunization("cvx|140", &start)),
        };
    }
    let definitions: Vec<_> = crate::rules::attributes().enumerate().map(|(i, a)| definition(&format!("s{i}"), a.example)).collect();
    let rules = RuleSet::compile(&definitions).unwrap();
    let answers = rules.evaluate(&person, &site(), at(NOW));
    assert_eq!(answers.len(), definitions.len());
    let place = crate::rules::attributes().position(|a| a.name == "appointments.no_show").unwrap();
    assert_eq!(rules.reasons(&answers[place], &person, &site(), at(NOW))[0].sources.len(), 10);
}

#[test]
fn instants_at_the_edge_of_time_are_survived() {
    let mut person = anyone();
    for (i, micros) in [i64::MIN, i64::MIN + 1, -1, 0, i64::MAX - 1, i64::MAX].into_iter().enumerate() {
        person = person.visit(["fulfilled", "noshow", "booked"][i % 3], NOW, NOW);
        let facts = &mut person.appointments.last_mut().unwrap().facts;
        facts.start = Some(Timestamp::from_micros(micros));
        facts.end = facts.start;
    }
    person.patients[0].facts.birth_date = Some(FhirTime::Instant(Timestamp::MIN));
    person.contact.last_sent = Some(Timestamp::MAX);
    let edge = Some(FhirTime::Instant(Timestamp::MAX));
    person = person.plan(crate::model::CarePlanFacts {
        period: Period { start: Some(FhirTime::Year(0)), end: edge },
        created: edge,
        ..super::people::plan("", "")
    });
    for row in crate::rules::attributes() {
        let rules = compile(&[("x", row.example)]);
        for now in [Timestamp::MIN, at(NOW), Timestamp::MAX] {
            let explained = rules.explain(0, &person, &site(), now).unwrap();
            assert!(explained.answer.valid_until.is_none_or(|until| until > now), "{}", row.name);
        }
    }
}

#[test]
fn nothing_synced_and_no_record_at_all() {
    let nobody = crate::model::PersonFacts::default();
    let unsynced = crate::model::PersonFacts { synced: Vec::new(), ..anyone() };
    let empty = crate::model::PersonFacts { synced: ResourceType::ALL.to_vec(), ..nobody.clone() };
    for row in crate::rules::attributes() {
        for person in [&nobody, &unsynced, &empty] {
            let answer = ask(row.example, person, &site(), NOW);
            let wanted = !row.needs.is_empty() && !person.knows(row.needs[0]);
            assert!(!wanted || answer.truth == Truth::Unknown, "{}", row.name);
            assert_eq!(answer.valid_until, None, "{}", row.name);
        }
    }
}
