//! Text and JSON are two forms of one tree.

use proptest::prelude::*;

use crate::Timestamp;
use crate::model::FhirTime;
use crate::rules::syntax::{At, Comparison, Expr, Literal, Name, Operand, Predicate, Selector, Test};
use crate::rules::{Duration, Unit, parse};

fn name() -> impl Strategy<Value = Name> {
    "[a-z_][a-z0-9_.]{0,12}"
        .prop_filter("keywords", |w| parse(&format!("exists {w}")).is_ok() && parse(w).is_ok() && !matches!(w.as_str(), "true" | "false"))
        .prop_map(|text| Name { text, at: At::default() })
}

fn duration() -> impl Strategy<Value = Duration> {
    let unit = prop::sample::select(vec![Unit::Minutes, Unit::Hours, Unit::Days, Unit::Weeks, Unit::Months, Unit::Years]);
    (1..150_u32, unit).prop_map(|(n, unit)| Duration::new(n, unit).unwrap())
}

fn literal() -> impl Strategy<Value = Literal> {
    let day = (0..3_000_000_000_i64).prop_map(|s| Timestamp::from_micros(s * 1_000_000).to_utc().date_naive());
    prop_oneof![
        any::<bool>().prop_map(Literal::Bool),
        any::<i64>().prop_map(Literal::Integer),
        any::<String>().prop_map(Literal::Text),
        day.prop_map(|d| Literal::Time(FhirTime::Day(d))),
        (0..=9999, 1..=12_u32).prop_map(|(y, m)| Literal::Time(FhirTime::Month(y, m))),
        (-2_000_000_000_000_000..4_000_000_000_000_000_i64).prop_map(|t| Literal::Time(FhirTime::Instant(Timestamp::from_micros(t)))),
        Just(Literal::SiteLanguage),
    ]
}

fn operand() -> impl Strategy<Value = Operand> {
    literal().prop_map(|literal| Operand { literal, at: At::default() })
}

fn selector() -> impl Strategy<Value = Selector> {
    let text = any::<String>().prop_map(|t| Operand { literal: Literal::Text(t), at: At::default() });
    prop_oneof![
        prop::collection::vec(text, 1..4).prop_map(Selector::Codes),
        "[a-z][a-z0-9]{0,5}(-[a-z0-9]{1,5})?"
            .prop_filter("keywords", |id| parse(&format!("segment({id})")).is_ok())
            .prop_map(|text| Selector::ValueSet(Name { text, at: At::default() })),
    ]
}

fn leaf() -> impl Strategy<Value = Expr> {
    let predicate = prop_oneof![
        Just(Predicate::Holds),
        Just(Predicate::Exists),
        (prop::sample::select(Comparison::ALL.to_vec()), operand()).prop_map(|(c, o)| Predicate::Compare(c, o)),
        prop::collection::vec(operand(), 1..4).prop_map(Predicate::OneOf),
        "[a-z][a-z0-9]{0,5}(-[a-z0-9]{1,5})?"
            .prop_filter("keywords", |id| parse(&format!("segment({id})")).is_ok())
            .prop_map(|text| Predicate::InValueSet(Name { text, at: At::default() })),
        duration().prop_map(Predicate::Within),
        duration().prop_map(Predicate::WithinLast),
        duration().prop_map(Predicate::OlderThan),
    ];
    prop_oneof![
        8 => (name(), prop::option::weighted(0.3, selector()), prop::option::of(duration()), predicate)
            .prop_map(|(attribute, of, period, predicate)| Expr::Test(Test { attribute, of, period, predicate })),
        1 => any::<bool>().prop_map(Expr::Constant),
        1 => "[a-z][a-z0-9]{0,5}(-[a-z0-9]{1,5})?"
            .prop_filter("keywords", |id| parse(&format!("segment({id})")).is_ok())
            .prop_map(|text| Expr::Segment(Name { text, at: At::default() })),
    ]
}

fn expr() -> impl Strategy<Value = Expr> {
    leaf().prop_recursive(6, 40, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 2..4).prop_map(Expr::All),
            prop::collection::vec(inner.clone(), 2..4).prop_map(Expr::Any),
            inner.prop_map(|e| Expr::Not(Box::new(e))),
        ]
    })
}

proptest! {
    #[test]
    fn text_and_json_lose_nothing(expr in expr()) {
        let text = expr.to_string();
        prop_assert_eq!(parse(&text).map_err(|m| format!("{text}: {m:?}")), Ok(expr.clone()));
        let json = expr.to_json().to_string();
        let read = serde_json::from_str(&json).unwrap();
        prop_assert_eq!(Expr::from_json(&read).map_err(|m| format!("{json}: {m:?}")), Ok(expr));
    }

    #[test]
    fn any_text_is_read_or_refused(text in any::<String>()) {
        let _ = parse(&text);
    }

    #[test]
    fn any_words_are_read_or_refused(
        words in prop::collection::vec(prop::sample::select(vec![
            "and", "or", "not", "(", ")", "in", "last", "within", "older", "than", "exists", "segment", "true", ",", "=", "<=", "!", "72", "h",
            "months", "age", "active", "\"x\"", "\"", "2026-11-23", "2026-", "site.language", "valueset", "of", "\\", "-", "é", "\n",
        ]), 0..40)
    ) {
        let text = words.join(" ");
        if let Ok(expr) = parse(&text) {
            prop_assert_eq!(parse(&expr.to_string()), Ok(expr));
        }
    }
}

#[test]
fn not_binds_closest_then_and_then_or() {
    for (text, canonical) in [
        ("not a and b or c", "not a and b or c"),
        ("(not a) and b", "not a and b"),
        ("a or (b and c)", "a or b and c"),
        ("(a or b) and c", "(a or b) and c"),
        ("a and (b and c)", "a and (b and c)"),
        ("not (a or b)", "not (a or b)"),
        ("not not a", "not not a"),
        ("a in last 12   months>=2", "a in last 12 months >= 2"),
        ("a  older\nthan 1 years", "a older than 1 year"),
        ("exists a in last 30 days", "exists a in last 30d"),
        ("exists a of( \"x\" ) in last 3d", "exists a of \"x\" in last 3d"),
        ("a  of valueset( v )in (\"x\")", "a of valueset(v) in (\"x\")"),
        ("a of (\"x\",\"y\") >= 1", "a of (\"x\", \"y\") >= 1"),
        (r#"a in("x" , "y\u{e9}\"")"#, r#"a in ("x", "yé\"")"#),
    ] {
        assert_eq!(parse(text).unwrap().to_string(), canonical);
    }
}

/// Every line of the page that shows both forms.
#[test]
fn the_page_tells_the_truth() {
    let page = include_str!("../GRAMMAR.md");
    let mut seen = 0;
    for line in page.lines().filter(|l| l.contains("\"attribute\"") && l.matches(" | ").count() == 1) {
        let cells: Vec<_> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let code = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
        for (text, json) in code(cells[0]).iter().zip(code(cells[1])) {
            if let Ok(json) = serde_json::from_str(&json) {
                assert_eq!(Expr::from_json(&json), parse(text), "{text}");
                assert_eq!(parse(text).unwrap().to_json(), json);
                seen += 1;
            }
        }
    }
    assert!(seen >= 8, "{seen}");
}
