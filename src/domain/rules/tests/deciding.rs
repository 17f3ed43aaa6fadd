//! Reasons against brute force: they decide, and none can be left out.

use proptest::prelude::*;

use super::people::NOW;
use super::people::{anyone, at, compile, site};
use crate::rules::syntax::{At, Expr, Name};
use crate::rules::{LeafSet, Truth};

/// Rules over `s0`, `s1`, ...: any shape, tests repeated and negated at will.
fn shape(leaves: usize) -> impl Strategy<Value = Expr> {
    let leaf = (0..leaves).prop_map(|i| Expr::Segment(Name { text: format!("s{i}"), at: At::default() }));
    leaf.prop_recursive(4, 14, 4, |inner| {
        prop_oneof![
            3 => prop::collection::vec(inner.clone(), 2..5).prop_map(Expr::All),
            3 => prop::collection::vec(inner.clone(), 2..5).prop_map(Expr::Any),
            2 => inner.prop_map(|e| Expr::Not(Box::new(e))),
        ]
    })
}

fn truth() -> impl Strategy<Value = Truth> {
    prop::sample::select(Truth::ALL.to_vec())
}

/// Kleene's logic, written as its tables.
fn value(expr: &Expr, leaf: &dyn Fn(&str) -> Truth) -> Truth {
    use Truth::{False, True, Unknown};
    match expr {
        Expr::All(parts) => parts.iter().map(|p| value(p, leaf)).fold(True, |a, b| match (a, b) {
            (False, _) | (_, False) => False,
            (True, True) => True,
            _ => Unknown,
        }),
        Expr::Any(parts) => parts.iter().map(|p| value(p, leaf)).fold(False, |a, b| match (a, b) {
            (True, _) | (_, True) => True,
            (False, False) => False,
            _ => Unknown,
        }),
        Expr::Not(part) => match value(part, leaf) {
            True => False,
            False => True,
            Unknown => Unknown,
        },
        Expr::Segment(name) => leaf(&name.text),
        other => panic!("{other}"),
    }
}

/// Whether the answer is the same for all values of the tests outside of `kept`.
fn decides(expr: &Expr, tests: &[String], values: &[Truth], kept: &LeafSet, answer: Truth) -> bool {
    let open: Vec<usize> = (0..tests.len()).filter(|i| !kept.contains(*i)).collect();
    (0..3_usize.pow(u32::try_from(open.len()).unwrap())).all(|number| {
        let mut tried = values.to_vec();
        let mut rest = number;
        for leaf in &open {
            tried[*leaf] = Truth::ALL[rest % 3];
            rest /= 3;
        }
        value(expr, &|id| tried[tests.iter().position(|t| *t == format!("segment({id})")).unwrap()]) == answer
    })
}

fn check(expr: &Expr, values: &[Truth]) -> Result<(), TestCaseError> {
    // Nobody told whether this person needs an interpreter.
    let words = |t: &Truth| match t {
        Truth::True => "true",
        Truth::False => "false",
        Truth::Unknown => "interpreter_needed",
    };
    let ids: Vec<String> = (0..values.len()).map(|i| format!("s{i}")).collect();
    let text = expr.to_string();
    let mut set: Vec<(&str, &str)> = ids.iter().map(String::as_str).zip(values.iter().map(words)).collect();
    set.push(("x", &text));
    let rules = compile(&set);
    let answer = rules.evaluate(&anyone(), &site(), at(NOW)).pop().unwrap();
    let tests = rules.segments().last().unwrap().tests();
    let of_tests: Vec<Truth> =
        tests.iter().map(|t| values[t.trim_matches(|c: char| !c.is_ascii_digit()).parse::<usize>().unwrap()]).collect();
    prop_assert_eq!(answer.truth, value(expr, &|id| values[id[1..].parse::<usize>().unwrap()]), "{}", text);
    prop_assert!(decides(expr, tests, &of_tests, &answer.reasons, answer.truth), "{} by {:?} of {:?}", text, answer.reasons, of_tests);
    for leaf in answer.reasons.iter() {
        let mut less = answer.reasons.clone();
        less.remove(leaf);
        prop_assert!(!decides(expr, tests, &of_tests, &less, answer.truth), "{} without {} of {:?}", text, leaf, of_tests);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn and_so_where_few_tests_stand_often(expr in shape(3), values in prop::collection::vec(truth(), 3)) {
        check(&expr, &values)?;
    }

    #[test]
    fn reasons_decide_and_none_can_be_left_out(expr in shape(6), values in prop::collection::vec(truth(), 6)) {
        check(&expr, &values)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn and_so_with_twelve_tests(expr in shape(12), values in prop::collection::vec(truth(), 12)) {
        check(&expr, &values)?;
    }
}

#[test]
fn of_several_the_first_in_the_rule_is_told() {
    let rules = compile(&[("t", "true"), ("f", "false"), ("u", "interpreter_needed"), ("a", "segment(t) or segment(u) or not segment(f)")]);
    let reasons = |rule: &str| {
        let set = compile(&[("t", "true"), ("f", "false"), ("u", "interpreter_needed"), ("x", rule)]);
        let answer = set.evaluate(&anyone(), &site(), at(NOW)).pop().unwrap();
        let tests = set.segments()[3].tests().to_vec();
        answer.reasons.iter().map(|l| tests[l].clone()).collect::<Vec<_>>()
    };
    assert_eq!(rules.segments().len(), 4);
    assert_eq!(reasons("segment(t) or not segment(f)"), ["segment(t)"]);
    assert_eq!(reasons("segment(u) or segment(t)"), ["segment(t)"]);
    assert_eq!(reasons("segment(f) and segment(u)"), ["segment(f)"]);
    assert_eq!(reasons("segment(t) and segment(u)"), ["segment(t)", "segment(u)"]);
    assert_eq!(reasons("segment(t) and (segment(u) or segment(f))"), ["segment(t)", "segment(u)", "segment(f)"]);
    // Never true, whatever the first test is: only the last one keeps it from being false.
    assert_eq!(reasons("segment(t) and not segment(t) or segment(u)"), ["segment(u)"]);
    // A test that stands twice counts once: `t` alone decides.
    assert_eq!(reasons("(not segment(f) or segment(t)) and (segment(t) or segment(u))"), ["segment(t)"]);
    assert_eq!(reasons("true or segment(u)"), Vec::<String>::new());
}
