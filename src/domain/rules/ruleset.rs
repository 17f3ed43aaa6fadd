//! A set of definitions, compiled: names resolved, types checked, references in order. What compiles evaluates without a failure path.

use std::collections::HashMap;

use crate::model::ids::ResourceType;

use super::catalogue::{self, Attribute, REVISION};
use super::check::{Asked, Checked, Known, check};
use super::definition::Definition;
use super::kind::Kind;
use super::mistake::{Mistake, suggestion};
use super::own::{OwnAttribute, OwnAttributes};
use super::syntax::{Expr, MAX_TESTS};
use super::value::Type;
use super::value_set::ValueSets;

/// A rule in its fast form. Leaves are numbered in the order in which they first stand in the rule; a test that stands twice is one leaf.
#[derive(Clone, Debug)]
pub(super) enum Node {
    All(Box<[Node]>),
    Any(Box<[Node]>),
    Not(Box<Node>),
    Constant(bool),
    Leaf(usize),
}

/// A test or a reference; shared by all segments that have it.
#[derive(Clone, Debug)]
pub(super) enum Leaf {
    /// A test of an attribute whose finding is kept in a slot.
    Value { slot: usize, checked: Checked },
    /// A test of a count, which is taken over the test's own period.
    Count(Checked),
    /// Another segment's rule.
    Segment(usize),
}

/// A compiled segment.
#[derive(Clone, Debug)]
pub struct Segment {
    definition: Definition,
    version: String,
    reads: Reads,
    pub(super) root: Node,
    /// The rule's leaves, as places in [`RuleSet::leaves`].
    pub(super) leaves: Vec<usize>,
    /// The canonical text of each leaf.
    pub(super) tests: Vec<String>,
    /// No leaf stands twice.
    pub(super) read_once: bool,
    /// Leaves that stand both plainly and negated.
    pub(super) mixed: Vec<usize>,
}

impl Segment {
    /// What it was compiled from.
    #[must_use]
    pub const fn definition(&self) -> &Definition {
        &self.definition
    }

    /// 16 hexadecimal digits that change with the definition, with any segment or value set that it refers to, and with the catalogue's meaning.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// What its answer depends on, through other segments too.
    #[must_use]
    pub const fn reads(&self) -> &Reads {
        &self.reads
    }

    /// The tests that reasons refer to, in the order of the rule.
    #[must_use]
    pub fn tests(&self) -> &[String] {
        &self.tests
    }
}

/// What a segment depends on: a change of anything else cannot change its answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reads {
    /// FHIR types, in the order of [`ResourceType::ALL`].
    pub types: Vec<ResourceType>,
    /// The contact ledger.
    pub contact_ledger: bool,
    /// Attributes, by name.
    pub attributes: Vec<String>,
}

impl Reads {
    /// The bit of the contact ledger in [`Reads::mask`].
    pub const LEDGER_BIT: u32 = 1 << 31;

    /// The bit of a type in [`Reads::mask`].
    #[must_use]
    pub const fn bit(resource_type: ResourceType) -> u32 {
        resource_type.bit()
    }

    /// What is read as bits, to compare with what changed.
    #[must_use]
    pub fn mask(&self) -> u32 {
        let ledger = if self.contact_ledger { Self::LEDGER_BIT } else { 0 };
        self.types.iter().fold(ledger, |mask, t| mask | Self::bit(*t))
    }

    fn attribute(&mut self, asked: &Asked) {
        self.attributes.push(asked.name().to_owned());
        match asked {
            Asked::Listed(attribute) => {
                self.types.extend(attribute.reads());
                self.contact_ledger |= attribute.reads().next().is_none();
            }
            Asked::Own(own) => self.types.push(own.resource_type()),
        }
    }

    fn join(&mut self, other: &Self) {
        self.attributes.extend(other.attributes.iter().cloned());
        self.types.extend(&other.types);
        self.contact_ledger |= other.contact_ledger;
    }

    fn tidy(&mut self) {
        self.types.sort_unstable();
        self.types.dedup();
        self.attributes.sort_unstable();
        self.attributes.dedup();
    }
}

/// Compiled segments that may refer to each other.
#[derive(Clone, Debug, Default)]
pub struct RuleSet {
    pub(super) segments: Vec<Segment>,
    /// Every segment after those that it refers to.
    pub(super) order: Vec<usize>,
    pub(super) leaves: Vec<Leaf>,
    pub(super) slots: Vec<Slot>,
}

/// What a finding is of.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub(super) asked: Asked,
    pub(super) of: Option<Kind>,
    /// What it is narrowed to, as written.
    written: String,
}

impl RuleSet {
    /// Compiles definitions. Answers bear the place of their definition in `definitions`.
    ///
    /// # Errors
    /// Every mistake of every definition: ids given twice, references to nothing or in a circle, unknown attributes, wrong types.
    pub fn compile(definitions: &[Definition]) -> Result<Self, Vec<Mistake>> {
        Self::compile_with(definitions, &ValueSets::default(), &OwnAttributes::default())
    }

    /// As [`RuleSet::compile`], with the value sets and the operators' own attributes that rules may name.
    ///
    /// # Errors
    /// As [`RuleSet::compile`], and value sets or attributes that are not there.
    pub fn compile_with(definitions: &[Definition], value_sets: &ValueSets, own: &OwnAttributes) -> Result<Self, Vec<Mistake>> {
        let mut mistakes = Vec::new();
        let mut places = HashMap::new();
        for (place, definition) in definitions.iter().enumerate() {
            if places.insert(definition.id.as_str(), place).is_some() {
                mistakes.push(Mistake::new("this id is given twice; rename one of the two").within(&definition.id));
            }
        }
        let order = order(definitions, &places, &mut mistakes);
        let named = Known { value_sets, own };
        let mut compiler = Compiler { set: Self::default(), known: HashMap::new(), places: &places, named, mistakes };
        let mut compiled: Vec<Option<Segment>> = definitions.iter().map(|_| None).collect();
        for place in &order {
            let Some(definition) = definitions.get(*place) else { continue };
            let segment = compiler.segment(definition, &compiled);
            if let Some(slot) = compiled.get_mut(*place) {
                *slot = Some(segment);
            }
        }
        // A definition without id was refused when it was read; here every mistake has one.
        if compiler.mistakes.is_empty() {
            let segments = compiled.into_iter().flatten().collect();
            Ok(Self { segments, order, ..compiler.set })
        } else {
            Err(compiler.mistakes)
        }
    }

    /// The segments, in the order of their definitions.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The place of the segment with that id.
    #[must_use]
    pub fn place(&self, id: &str) -> Option<usize> {
        self.segments.iter().position(|s| s.definition.id == id)
    }

    /// What the answer for a segment depends on.
    #[must_use]
    pub fn reads(&self, segment: usize) -> Option<&Reads> {
        self.segments.get(segment).map(Segment::reads)
    }
}

/// Every definition after those that it refers to. A circle is told once, by the ids that it runs through.
fn order(definitions: &[Definition], places: &HashMap<&str, usize>, mistakes: &mut Vec<Mistake>) -> Vec<usize> {
    let references: Vec<Vec<usize>> = definitions
        .iter()
        .map(|d| d.rule.references().iter().filter_map(|name| places.get(name.text.as_str()).copied()).collect())
        .collect();
    let mut order = Vec::with_capacity(definitions.len());
    let mut done = vec![false; definitions.len()];
    // An explicit path instead of recursion: a chain of references may be as long as the set.
    for start in 0..definitions.len() {
        let mut path: Vec<(usize, usize)> = if done.get(start) == Some(&false) { vec![(start, 0)] } else { Vec::new() };
        while let Some((place, next)) = path.last_mut() {
            let (at, child) = (*place, references.get(*place).and_then(|r| r.get(*next)).copied());
            *next += 1;
            let Some(child) = child else {
                path.pop();
                order.push(at);
                if let Some(done) = done.get_mut(at) {
                    *done = true;
                }
                continue;
            };
            if let Some(from) = path.iter().position(|(p, _)| *p == child) {
                let ids = path.iter().skip(from).map(|(p, _)| *p).chain([child]);
                let circle: Vec<&str> = ids.filter_map(|p| definitions.get(p)).map(|d| d.id.as_str()).collect();
                let id = definitions.get(child).map_or("", |d| &d.id);
                mistakes.push(Mistake::new(format!("refers to itself: {}; break the circle", circle.join(" -> "))).within(id));
            } else if done.get(child) == Some(&false) {
                path.push((child, 0));
            }
        }
    }
    order
}

struct Compiler<'a> {
    set: RuleSet,
    /// Leaves by their canonical text.
    known: HashMap<String, usize>,
    places: &'a HashMap<&'a str, usize>,
    named: Known<'a>,
    mistakes: Vec<Mistake>,
}

/// The leaves of one rule on the way.
#[derive(Default)]
struct Local {
    leaves: Vec<usize>,
    by_leaf: HashMap<usize, usize>,
    tests: Vec<String>,
    /// For each leaf, how often it stands plainly and how often negated.
    uses: Vec<(usize, usize)>,
    reads: Reads,
}

impl Compiler<'_> {
    fn segment(&mut self, definition: &Definition, compiled: &[Option<Segment>]) -> Segment {
        let mut local = Local::default();
        let before = self.mistakes.len();
        let root = self.node(&definition.rule, definition, false, &mut local, compiled);
        if local.leaves.len() > MAX_TESTS {
            let message = format!(
                "a rule has at most {MAX_TESTS} different tests and this one has {}; make segments of its parts",
                local.leaves.len()
            );
            self.mistakes.push(Mistake::new(message));
        }
        if let Some(new) = self.mistakes.get_mut(before..) {
            new.iter_mut().for_each(|m| m.definition = Some(definition.id.clone()));
        }
        local.reads.tidy();
        let mut version = Fnv::new();
        version.write(&REVISION.to_le_bytes());
        version.write(definition.canonical_text().as_bytes());
        for reference in definition.rule.references() {
            let other = self.places.get(reference.text.as_str()).and_then(|p| compiled.get(*p)).and_then(Option::as_ref);
            version.write(other.map_or(&[], |s| s.version.as_bytes()));
        }
        for name in definition.rule.value_sets() {
            let listed = self.named.value_sets.get(&name.text);
            version.write(&listed.map_or_else(Vec::new, |listed| listed.set().canonical_text().into_bytes()));
        }
        for own in local.reads.attributes.iter().filter_map(|name| self.named.own.get(name)) {
            version.write(own.key().as_bytes());
        }
        Segment {
            definition: definition.clone(),
            version: version.hex(),
            reads: local.reads,
            root,
            leaves: local.leaves,
            tests: local.tests,
            read_once: local.uses.iter().all(|(plain, negated)| plain + negated == 1),
            mixed: local.uses.iter().enumerate().filter(|(_, (plain, negated))| *plain > 0 && *negated > 0).map(|(leaf, _)| leaf).collect(),
        }
    }

    fn node(&mut self, expr: &Expr, definition: &Definition, negated: bool, local: &mut Local, compiled: &[Option<Segment>]) -> Node {
        match expr {
            Expr::All(parts) => Node::All(parts.iter().map(|p| self.node(p, definition, negated, local, compiled)).collect()),
            Expr::Any(parts) => Node::Any(parts.iter().map(|p| self.node(p, definition, negated, local, compiled)).collect()),
            Expr::Not(part) => Node::Not(Box::new(self.node(part, definition, !negated, local, compiled))),
            Expr::Constant(value) => Node::Constant(*value),
            Expr::Segment(name) => {
                let Some(place) = self.places.get(name.text.as_str()).copied() else {
                    let meant = suggestion(&name.text, self.places.keys().copied());
                    let message = format!("there is no segment `{}`{meant}", name.text);
                    self.mistakes.push(Mistake::at(&definition.rule_text, name.at.0, message));
                    return Node::Constant(true);
                };
                if let Some(other) = compiled.get(place).and_then(Option::as_ref) {
                    local.reads.join(&other.reads);
                }
                self.leaf(expr.to_string(), negated, local, |_| Leaf::Segment(place))
            }
            Expr::Test(test) => match check(test, &definition.rule_text, Some(self.named)) {
                Ok(checked) => {
                    local.reads.attribute(&checked.attribute);
                    self.leaf(expr.to_string(), negated, local, |set| match checked.attribute.kind() {
                        Type::Count => Leaf::Count(checked),
                        _ => Leaf::Value {
                            slot: set.slot(&checked, test.of.as_ref().map(|of| format!("{of:?}")).unwrap_or_default()),
                            checked,
                        },
                    })
                }
                Err(mistakes) => {
                    self.mistakes.extend(mistakes);
                    Node::Constant(true)
                }
            },
        }
    }

    fn leaf(&mut self, text: String, negated: bool, local: &mut Local, make: impl FnOnce(&mut RuleSet) -> Leaf) -> Node {
        let global = match self.known.get(&text) {
            Some(global) => *global,
            None => {
                let leaf = make(&mut self.set);
                self.set.leaves.push(leaf);
                self.known.insert(text.clone(), self.set.leaves.len() - 1);
                self.set.leaves.len() - 1
            }
        };
        let place = *local.by_leaf.entry(global).or_insert_with(|| {
            local.leaves.push(global);
            local.tests.push(text);
            local.uses.push((0, 0));
            local.leaves.len() - 1
        });
        if let Some((plain, denied)) = local.uses.get_mut(place) {
            *(if negated { denied } else { plain }) += 1;
        }
        Node::Leaf(place)
    }
}

impl RuleSet {
    fn slot(&mut self, checked: &Checked, written: String) -> usize {
        self.slots.iter().position(|s| s.asked.is(&checked.attribute) && s.written == written).unwrap_or_else(|| {
            self.slots.push(Slot { asked: checked.attribute.clone(), of: checked.of.clone(), written });
            self.slots.len() - 1
        })
    }

    /// An operator's own attribute that some rule asks about, by its name.
    #[must_use]
    pub fn own(&self, name: &str) -> Option<&OwnAttribute> {
        let mut own = self.slots.iter().filter_map(|slot| if let Asked::Own(own) = &slot.asked { Some(own.as_ref()) } else { None });
        own.find(|own| own.name() == name)
    }

    /// The catalogue, for those who list it.
    pub fn catalogue() -> impl Iterator<Item = &'static Attribute> {
        catalogue::attributes()
    }
}

/// 16 hexadecimal digits that change with a text.
#[must_use]
pub fn text_hash(text: &str) -> String {
    let mut hash = Fnv::new();
    hash.write(text.as_bytes());
    hash.hex()
}

/// FNV-1a, 64 bits: stable over versions of Rust, which `std`'s hasher does not promise.
struct Fnv(u64);

impl Fnv {
    const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    /// The bytes and their number, so that two writes are not one.
    fn write(&mut self, bytes: &[u8]) {
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        for byte in bytes.iter().chain(&length.to_le_bytes()) {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    fn hex(&self) -> String {
        format!("{:016x}", self.0)
    }
}
