//! What a rule can still say where some of its tests are never answered: an EHR that does not give appointments leaves "visit within 72
//! hours" unknown for everyone, and whatever else holds, nobody is ever in such a segment.

use super::ruleset::RuleSet;
use super::syntax::{Expr, Test};

/// Which answers a rule can come to. Tests count as independent of each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prospect {
    /// It can hold of somebody.
    pub can_hold: bool,
    /// It can be known not to hold of somebody.
    pub can_fail: bool,
}

impl Prospect {
    const OPEN: Self = Self { can_hold: true, can_fail: true };
    const NEVER_KNOWN: Self = Self { can_hold: false, can_fail: false };
}

impl RuleSet {
    /// What a segment's rule can say where only these tests are ever answered.
    #[must_use]
    pub fn prospect(&self, segment: usize, answered: &dyn Fn(&Test) -> bool) -> Prospect {
        self.segments().get(segment).map_or(Prospect::NEVER_KNOWN, |s| self.of(&s.definition().rule, answered))
    }

    /// The tests of a segment's rule, those of segments that it refers to included.
    #[must_use]
    pub fn tests_of(&self, segment: usize) -> Vec<&Test> {
        let mut all = Vec::new();
        if let Some(s) = self.segments().get(segment) {
            self.collect(&s.definition().rule, &mut all);
        }
        all
    }

    fn of(&self, rule: &Expr, answered: &dyn Fn(&Test) -> bool) -> Prospect {
        match rule {
            Expr::Constant(holds) => Prospect { can_hold: *holds, can_fail: !holds },
            Expr::Test(test) if answered(test) => Prospect::OPEN,
            Expr::Test(_) => Prospect::NEVER_KNOWN,
            Expr::Not(part) => {
                let Prospect { can_hold, can_fail } = self.of(part, answered);
                Prospect { can_hold: can_fail, can_fail: can_hold }
            }
            Expr::All(parts) => {
                let parts: Vec<Prospect> = parts.iter().map(|p| self.of(p, answered)).collect();
                Prospect { can_hold: parts.iter().all(|p| p.can_hold), can_fail: parts.iter().any(|p| p.can_fail) }
            }
            Expr::Any(parts) => {
                let parts: Vec<Prospect> = parts.iter().map(|p| self.of(p, answered)).collect();
                Prospect { can_hold: parts.iter().any(|p| p.can_hold), can_fail: parts.iter().all(|p| p.can_fail) }
            }
            // Compiled rules refer to nothing that is not there, and in no circle.
            Expr::Segment(name) => self.place(&name.text).map_or(Prospect::NEVER_KNOWN, |place| self.prospect(place, answered)),
        }
    }

    fn collect<'a>(&'a self, rule: &'a Expr, into: &mut Vec<&'a Test>) {
        match rule {
            Expr::Constant(_) => {}
            Expr::Test(test) => into.push(test),
            Expr::Not(part) => self.collect(part, into),
            Expr::All(parts) | Expr::Any(parts) => parts.iter().for_each(|p| self.collect(p, into)),
            Expr::Segment(name) => into.extend(self.place(&name.text).into_iter().flat_map(|place| self.tests_of(place))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::Definition;

    fn set(rules: &[(&str, &str)]) -> RuleSet {
        let definition = |(id, rule): &(&str, &str)| {
            let rule = rule.replace('"', "\\\"");
            let text = format!("id = \"{id}\"\ntitle = \"x\"\nstage = \"intake\"\ndescription = \"x\"\nrule = \"{rule}\"");
            Definition::parse(&text).unwrap()
        };
        RuleSet::compile(&rules.iter().map(definition).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn an_unanswered_test_takes_away_what_hangs_on_it_and_nothing_else() {
        let without_visits = |test: &Test| !test.attribute.text.contains("appointment");
        for (rule, can_hold, can_fail) in [
            ("age >= 65", true, true),
            ("exists next_appointment.start", false, false),
            ("not exists next_appointment.start", false, false),
            ("age >= 65 and exists next_appointment.start", false, true),
            ("age >= 65 or exists next_appointment.start", true, false),
            ("not (age >= 65 and exists next_appointment.start)", true, false),
            ("not (age >= 65 or exists next_appointment.start)", false, true),
            ("(age >= 65 or deceased) and not deceased", true, true),
        ] {
            let found = set(&[("one", rule)]).prospect(0, &without_visits);
            assert_eq!((found.can_hold, found.can_fail), (can_hold, can_fail), "{rule}");
        }
    }

    #[test]
    fn what_another_segment_hangs_on_counts_too() {
        let rules = set(&[("one", "segment(two) and age >= 65"), ("two", "exists next_appointment.start")]);
        assert_eq!(rules.prospect(0, &|t| t.attribute.text == "age"), Prospect { can_hold: false, can_fail: true });
        let names: Vec<&str> = rules.tests_of(0).iter().map(|t| t.attribute.text.as_str()).collect();
        assert_eq!(names, ["next_appointment.start", "age"]);
        assert_eq!(rules.prospect(9, &|_| true), Prospect { can_hold: false, can_fail: false });
    }
}
