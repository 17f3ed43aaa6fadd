//! Which tests decide an answer: a set from which none can be left out.
//!
//! A set decides where the answer is the same whatever the tests outside of it say (false, unknown or true). Adding tests to a deciding
//! set leaves it deciding, so dropping one test after the other, the last of the rule first, ends at a set that is minimal and prefers
//! the tests that come first.
//!
//! Whether a set decides: Kleene's `and`, `or`, `not` are monotone in the order false < unknown < true, so an answer lies between the one
//! where every open test is set against it and the one where every open test is set for it, and both are reached. That is exact as long
//! as a test does not stand both plainly and negated; such a test is tried with all three values.

use super::answer::LeafSet;
use super::ruleset::Node;
use super::truth::Truth;

/// Trials per answer. A rule would need more than ten tests that stand both plainly and negated to get there; then reasons are still a
/// deciding set, perhaps not a minimal one.
const TRIALS: u32 = 100_000;

/// The smallest and the greatest value that a node can have.
type Span = (Truth, Truth);

/// Drops tests from `deciding` as long as it still decides that the answer is `answer`. `values` are those of all leaves.
pub(super) fn minimal(root: &Node, mixed: &[usize], values: &[Truth], answer: Truth, deciding: LeafSet) -> LeafSet {
    let candidates: Vec<usize> = deciding.iter().collect();
    let mut search = Search { root, mixed, answer, spans: vec![(Truth::False, Truth::True); values.len()], trials: TRIALS };
    for leaf in &candidates {
        search.set(*leaf, values.get(*leaf).map(|v| (*v, *v)));
    }
    let mut kept = deciding;
    for leaf in candidates.into_iter().rev() {
        search.set(leaf, Some((Truth::False, Truth::True)));
        if search.decided(0) {
            kept.remove(leaf);
        } else {
            search.set(leaf, values.get(leaf).map(|v| (*v, *v)));
        }
    }
    kept
}

struct Search<'a> {
    root: &'a Node,
    mixed: &'a [usize],
    answer: Truth,
    spans: Vec<Span>,
    trials: u32,
}

impl Search<'_> {
    fn set(&mut self, leaf: usize, span: Option<Span>) {
        if let (Some(place), Some(span)) = (self.spans.get_mut(leaf), span) {
            *place = span;
        }
    }

    /// Whether the answer is certain; tests of `mixed` before `from` were tried already.
    fn decided(&mut self, from: usize) -> bool {
        if self.trials == 0 {
            return false;
        }
        self.trials -= 1;
        let (least, most) = span(self.root, &self.spans);
        if least == most {
            return least == self.answer;
        }
        let open = |(_, leaf): &(usize, &usize)| self.spans.get(**leaf).is_some_and(|(least, most)| least != most);
        let Some((at, leaf)) = self.mixed.iter().enumerate().skip(from).find(open).map(|(at, leaf)| (at, *leaf)) else {
            return false;
        };
        let certain = Truth::ALL.into_iter().all(|value| {
            self.set(leaf, Some((value, value)));
            self.decided(at + 1)
        });
        self.set(leaf, Some((Truth::False, Truth::True)));
        certain
    }
}

fn span(node: &Node, leaves: &[Span]) -> Span {
    match node {
        Node::All(parts) => parts.iter().map(|p| span(p, leaves)).fold((Truth::True, Truth::True), |a, b| (a.0.min(b.0), a.1.min(b.1))),
        Node::Any(parts) => parts.iter().map(|p| span(p, leaves)).fold((Truth::False, Truth::False), |a, b| (a.0.max(b.0), a.1.max(b.1))),
        Node::Not(part) => {
            let (least, most) = span(part, leaves);
            (!most, !least)
        }
        Node::Constant(value) => (Truth::from(*value), Truth::from(*value)),
        Node::Leaf(leaf) => leaves.get(*leaf).copied().unwrap_or((Truth::False, Truth::True)),
    }
}
