//! Evaluation: (facts, site, now) to answers. Pure, and without a failure path: what could be wrong was refused when compiling.
//!
//! One run is one person at one instant. Attributes are derived when first asked for and shared by all segments, and so are tests. An
//! answer's end of validity is the earliest of the tests that decide it: as long as they stand, the others cannot change it.

use crate::model::PersonFacts;
use crate::model::time::Timestamp;

use super::answer::{Answer, LeafSet, Membership};
use super::attributes::Context;
use super::catalogue::Derivation;
use super::check::{Asked, Checked, Question};
use super::definition::Unknown;
use super::judge::{count, judge, number};
use super::kind::Kind;
use super::own;
use super::reasons;
use super::ruleset::{Leaf, Node, RuleSet, Segment};
use super::site::Site;
use super::syntax::Comparison;
use super::truth::Truth;
use super::value::{Event, Finding, Value, Why};
use super::watch::{Watch, earlier};

impl RuleSet {
    /// The answers for all segments, in the order of their definitions.
    #[must_use]
    pub fn evaluate(&self, person: &PersonFacts, site: &Site, now: Timestamp) -> Vec<Answer> {
        let mut run = Run::new(self, person, site, now);
        self.order.iter().for_each(|segment| run.answer(*segment));
        run.answers.into_iter().flatten().collect()
    }

    /// The answers for some segments (by place), in that order; and nothing else is looked at but what they refer to.
    #[must_use]
    pub fn evaluate_only(&self, segments: &[usize], person: &PersonFacts, site: &Site, now: Timestamp) -> Vec<Answer> {
        let run = self.run_only(segments, person, site, now);
        segments.iter().filter_map(|place| run.answers.get(*place).cloned().flatten()).collect()
    }

    /// A run in which these segments and what they refer to are answered.
    pub(super) fn run_only<'s, 'a>(&'s self, segments: &[usize], person: &'a PersonFacts, site: &'a Site, now: Timestamp) -> Run<'s, 'a> {
        let mut wanted = vec![false; self.segments.len()];
        let mut open = segments.to_vec();
        while let Some(place) = open.pop() {
            let Some(flag) = wanted.get_mut(place) else { continue };
            if std::mem::replace(flag, true) {
                continue;
            }
            let leaves = self.segments.get(place).into_iter().flat_map(|s| &s.leaves).filter_map(|leaf| self.leaves.get(*leaf));
            open.extend(leaves.filter_map(|leaf| if let Leaf::Segment(other) = leaf { Some(*other) } else { None }));
        }
        let mut run = Run::new(self, person, site, now);
        self.order.iter().filter(|place| wanted.get(**place) == Some(&true)).for_each(|place| run.answer(*place));
        run
    }
}

/// What was found of an attribute, and until when.
pub(super) type Found<'a> = (Finding<'a>, Option<Timestamp>);

/// One person at one instant.
pub(super) struct Run<'s, 'a> {
    set: &'s RuleSet,
    pub(super) context: Context<'a>,
    pub(super) watch: Watch,
    findings: Vec<Option<Found<'a>>>,
    leaves: Vec<Option<(Truth, Option<Timestamp>)>>,
    pub(super) answers: Vec<Option<Answer>>,
    /// The deciding leaves of the parts of the rule that were evaluated so far.
    trail: Vec<usize>,
}

impl<'s, 'a> Run<'s, 'a> {
    pub(super) fn new(set: &'s RuleSet, person: &'a PersonFacts, site: &'a Site, now: Timestamp) -> Self {
        Self {
            set,
            context: Context::new(person, site),
            watch: Watch::at(now),
            findings: vec![None; set.slots.len()],
            leaves: vec![None; set.leaves.len()],
            answers: vec![None; set.segments.len()],
            trail: Vec::new(),
        }
    }

    /// Answers one segment; those that it refers to were answered before.
    pub(super) fn answer(&mut self, place: usize) {
        let set = self.set;
        let Some(segment) = set.segments.get(place) else { return };
        self.trail.clear();
        let truth = self.decide(&segment.root, segment);
        let reasons = self.reasons(segment, truth);
        let ends = reasons.iter().filter_map(|leaf| segment.leaves.get(leaf)).map(|leaf| self.leaf(*leaf).1);
        let valid_until = ends.fold(None, earlier);
        let membership = match (truth, segment.definition().unknown) {
            (Truth::True, _) | (Truth::Unknown, Unknown::In) => Membership::In,
            (Truth::False, _) | (Truth::Unknown, Unknown::Out) => Membership::Out,
            (Truth::Unknown, Unknown::Held) => Membership::Held,
        };
        if let Some(slot) = self.answers.get_mut(place) {
            *slot = Some(Answer { segment: place, truth, membership, reasons, valid_until });
        }
    }

    /// The value of a node. Where it is true or false, the trail has got the leaves that decide it: for `or` being true and `and` being
    /// false the first part that is, else all parts. Where it is unknown, the trail is as before.
    fn decide(&mut self, node: &Node, segment: &Segment) -> Truth {
        match node {
            Node::All(parts) => self.first(parts, Truth::False, segment),
            Node::Any(parts) => self.first(parts, Truth::True, segment),
            Node::Not(part) => !self.decide(part, segment),
            Node::Constant(value) => Truth::from(*value),
            Node::Leaf(local) => {
                let truth = segment.leaves.get(*local).map_or(Truth::Unknown, |leaf| self.leaf(*leaf).0);
                if truth != Truth::Unknown {
                    self.trail.push(*local);
                }
                truth
            }
        }
    }

    /// `ending` decides as soon as one part has it.
    fn first(&mut self, parts: &[Node], ending: Truth, segment: &Segment) -> Truth {
        let begin = self.trail.len();
        let mut all = !ending;
        for part in parts {
            let mark = self.trail.len();
            let truth = self.decide(part, segment);
            if truth == ending {
                self.trail.drain(begin..mark);
                return truth;
            }
            if truth == Truth::Unknown {
                all = Truth::Unknown;
            }
        }
        if all == Truth::Unknown {
            self.trail.truncate(begin);
        }
        all
    }

    fn reasons(&mut self, segment: &Segment, truth: Truth) -> LeafSet {
        if truth != Truth::Unknown {
            let found: LeafSet = self.trail.iter().copied().collect();
            if segment.read_once {
                return found;
            }
        }
        // Unknown, or tests that stand twice: parts cannot be looked at one by one.
        let values: Vec<Truth> = segment.leaves.iter().map(|leaf| self.leaf(*leaf).0).collect();
        reasons::minimal(&segment.root, &segment.mixed, &values, truth, (0..values.len()).collect())
    }

    /// The value of a leaf, and until when it is that.
    pub(super) fn leaf(&mut self, place: usize) -> (Truth, Option<Timestamp>) {
        if let Some(known) = self.leaves.get(place).copied().flatten() {
            return known;
        }
        let set = self.set;
        let value = match set.leaves.get(place) {
            Some(Leaf::Value { slot, checked }) => self.test(*slot, checked),
            Some(Leaf::Count(checked)) => {
                let (truth, _, until) = self.count(checked);
                (truth, until)
            }
            Some(Leaf::Segment(other)) => {
                let answer = self.answers.get(*other).and_then(Option::as_ref);
                answer.map_or((Truth::Unknown, None), |a| (a.truth, a.valid_until))
            }
            None => (Truth::Unknown, None),
        };
        if let Some(cell) = self.leaves.get_mut(place) {
            *cell = Some(value);
        }
        value
    }

    fn test(&mut self, slot: usize, checked: &Checked) -> (Truth, Option<Timestamp>) {
        self.find(slot);
        let Some((finding, until)) = self.findings.get(slot).and_then(Option::as_ref) else {
            return (Truth::Unknown, None);
        };
        let mut watch = self.watch.fresh();
        let truth = judge(&checked.question, finding, self.context.site, &mut watch);
        (truth, earlier(*until, watch.until()))
    }

    fn find(&mut self, slot: usize) {
        if self.findings.get(slot).is_some_and(Option::is_none)
            && let Some(of) = self.set.slots.get(slot)
        {
            let found = self.derive(&of.asked, of.of.as_ref());
            if let Some(cell) = self.findings.get_mut(slot) {
                *cell = Some(found);
            }
        }
    }

    /// Derives an attribute: unknown where a type that it needs is not synced, else by its row or, for one of the operator's own, as its
    /// file says.
    pub(super) fn derive(&self, asked: &Asked, of: Option<&Kind>) -> Found<'a> {
        let attribute = match asked {
            Asked::Listed(attribute) => *attribute,
            Asked::Own(own) => return (own::find(own, self.context.person, self.context.site), None),
        };
        if let Some(missing) = attribute.needs.iter().find(|t| !self.context.person.knows(**t)) {
            return (Finding::unknown(Why::NotSynced(*missing)), None);
        }
        if let Some(why) = of.and_then(Kind::untold) {
            return (Finding::unknown(why), None);
        }
        match attribute.derivation {
            Derivation::Value(derive) => {
                let mut watch = self.watch.fresh();
                let finding = derive(&self.context, &mut watch);
                (finding, watch.until())
            }
            Derivation::ValueOf(derive) => {
                let mut watch = self.watch.fresh();
                let finding = derive(&self.context, of, &mut watch);
                (finding, watch.until())
            }
            // Counts are taken per test, over the test's period.
            Derivation::Events(_) | Derivation::EventsOf(_) => (Finding::absent("nothing was counted"), None),
        }
    }

    /// A count's answer, the count, and until when the answer holds.
    pub(super) fn count(&self, checked: &Checked) -> (Truth, Finding<'a>, Option<Timestamp>) {
        let Asked::Listed(attribute) = &checked.attribute else {
            return (Truth::Unknown, Finding::absent("nothing to count"), None);
        };
        if let Some(missing) = attribute.needs.iter().find(|t| !self.context.person.knows(**t)) {
            return (Truth::Unknown, Finding::unknown(Why::NotSynced(*missing)), None);
        }
        if let Some(why) = checked.of.as_ref().and_then(Kind::untold) {
            return (Truth::Unknown, Finding::unknown(why), None);
        }
        let mut watch = self.watch.fresh();
        let mut source = None;
        let each = |visit: &mut dyn FnMut(Event<'_>)| {
            self.events(checked, &mut |event| {
                source = source.or(Some(event.source));
                visit(event);
            });
        };
        let counted = count(checked.period, self.context.site.zone, &mut watch, each);
        let (least, most) = (counted.least, counted.most);
        let truth = match &checked.question {
            Question::Number(comparison, n) => number(*comparison, *n, least, most),
            Question::Exists => number(Comparison::AtLeast, 1, least, most),
            question => judge(question, &Finding::plain(Value::Integer(least, most)), self.context.site, &mut watch),
        };
        let finding = Finding { source, ..Finding::plain(Value::Integer(least, most)).because(counted.rough) };
        (truth, finding, watch.until())
    }

    /// Hands out what a count is taken of, one by one.
    pub(super) fn events(&self, checked: &Checked, each: &mut dyn FnMut(Event<'a>)) {
        let Asked::Listed(attribute) = &checked.attribute else { return };
        match attribute.derivation {
            Derivation::Events(events) => events(&self.context, each),
            Derivation::EventsOf(events) => events(&self.context, checked.of.as_ref(), each),
            Derivation::Value(_) | Derivation::ValueOf(_) => {}
        }
    }
}
