//! Which patient records are one person, and which of them survived the others. Pure: records and what ties them in, an answer for each
//! record out. The same function joins and parts, so an un-merge is a merge of fewer ties.
//!
//! Never by name and birth date. What ties records, the strongest first: a member of staff said so; the EHR replaced one by the other
//! (R4 Patient.link `replaced-by`, `replaces`, or a read that is redirected); it says that they are about one person (`refer`,
//! `seealso`); they carry one identifier of a system that the site declared as common ([`identifier`]).
//!
//! | what the EHR says | what follows |
//! |---|---|
//! | one chain of replacements with one end | one person; the end is the survivor of all |
//! | a circle of replacements | one person without a record in use: nobody is written to, staff look ([`Doubt::Cycle`]) |
//! | two survivors that are two persons | joined with neither, retired, staff look ([`Doubt::SeveralSurvivors`]) |
//! | two survivors that are one person by another tie | joined with both |
//! | replaced by a record of a server that is not connected | retired, staff look ([`Doubt::Elsewhere`]) |
//! | replaced by a record that was not read yet | one person whose record in use is not known yet: nobody is written to |
//! | one says `replaces`, the other says that it is in use | one person, the other retired, staff look ([`Doubt::OneSided`]) |
//! | staff keep apart what a tie would join | apart; where the tie is the EHR's word, staff look ([`Doubt::KeptApart`]) |
//! | more than [`MOST_RECORDS`] would be one person | each by itself, staff look ([`Doubt::TooMany`]) |

pub mod identifier;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

/// So many records may be one person. A hospital that merged more into one has a placeholder there, not a patient.
pub const MOST_RECORDS: usize = 50;

/// A record, by its number in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its number.
    pub id: i64,
    /// The person that it was made with.
    pub home: i64,
    /// It says that a record of another server, which is not connected, has replaced it.
    pub replaced_elsewhere: bool,
    /// It says of itself that it is in use, and of no record that it replaced it.
    pub says_in_use: bool,
    /// Not all that is tied to it could be looked at.
    pub cut: bool,
}

/// What ties two records, the strongest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tie {
    /// Staff said that they are one person.
    Word,
    /// The first was replaced by the second.
    Replaced,
    /// The first is not the main source, and points to the second.
    Refers,
    /// Both hold data of one person.
    SeeAlso,
    /// One identifier of a common system.
    Identifier,
}

/// Two records and what ties them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Edge {
    /// What ties them.
    pub tie: Tie,
    /// The first.
    pub from: i64,
    /// The second.
    pub to: i64,
}

/// What a machine cannot settle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Doubt {
    /// Replaced in a circle.
    Cycle,
    /// Replaced by several that are not one.
    SeveralSurvivors,
    /// Replaced by a record of a server that is not connected.
    Elsewhere,
    /// Said to be replaced, and says that it is in use.
    OneSided,
    /// Staff keep apart what the EHR ties.
    KeptApart,
    /// Too many would be one person.
    TooMany,
}

impl Doubt {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Cycle, Self::SeveralSurvivors, Self::Elsewhere, Self::OneSided, Self::KeptApart, Self::TooMany];

    /// As stored and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cycle => "cycle",
            Self::SeveralSurvivors => "several-survivors",
            Self::Elsewhere => "elsewhere",
            Self::OneSided => "one-sided",
            Self::KeptApart => "kept-apart",
            Self::TooMany => "too-many",
        }
    }

    /// From [`Doubt::as_str`].
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|d| d.as_str() == text)
    }

    /// What it means and what is done until somebody has looked.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Cycle => "the EHR says that it was replaced by a record which it replaced itself; no messages until the EHR is put right",
            Self::SeveralSurvivors => {
                "the EHR says that several records replaced it, which are not one person; no messages for this record"
            }
            Self::Elsewhere => "replaced by a record of a server that is not connected here; no messages for this record",
            Self::OneSided => "another record says that it replaced this one, and this one says that it is in use; it counts as replaced",
            Self::KeptApart => "staff said `apart`, and the EHR ties it to the other record; staff's word holds",
            Self::TooMany => "it is tied to more records than one person has; each of them counts by itself",
        }
    }
}

/// What was found of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// Its person: the home of the record in use that was made first.
    pub person: i64,
    /// The record that survived it; itself where none did, or where it is not settled which.
    pub root: i64,
    /// Another record replaced it: it is not used any more.
    pub retired: bool,
    /// What a machine cannot settle.
    pub doubts: BTreeSet<Doubt>,
}

/// Settles whose the records are. `apart` are pairs that staff keep apart, whatever ties them. Ties to records that are not among `records`
/// are left out. The order of nothing matters.
#[must_use]
pub fn settle(records: &[Record], edges: &[Edge], apart: &[(i64, i64)]) -> BTreeMap<i64, Settled> {
    let known: BTreeMap<i64, Record> = records.iter().map(|r| (r.id, *r)).collect();
    let edges: BTreeSet<Edge> = edges.iter().copied().filter(|e| known.contains_key(&e.from) && known.contains_key(&e.to)).collect();
    let apart: Vec<(i64, i64)> = apart.iter().copied().filter(|(a, b)| known.contains_key(a) && known.contains_key(b)).collect();
    let replaced = Replaced::of(&edges);
    let mut doubts: BTreeMap<i64, BTreeSet<Doubt>> = BTreeMap::new();
    let mut sets = Sets::new(known.keys().copied(), apart);
    let mut later: Vec<Edge> = Vec::new();
    for edge in edges.iter().filter(|e| e.from != e.to) {
        if edge.tie == Tie::Replaced && replaced.is_ambiguous(edge.from) {
            later.push(*edge);
        } else if !sets.join(edge.from, edge.to) && edge.tie != Tie::Identifier && edge.tie != Tie::Word {
            doubts.entry(edge.from).or_default().insert(Doubt::KeptApart);
            doubts.entry(edge.to).or_default().insert(Doubt::KeptApart);
        }
    }
    for edge in later {
        let ends: BTreeSet<i64> = replaced.ends(edge.from).into_iter().map(|end| sets.find(end)).collect();
        if ends.len() == 1 {
            sets.join(edge.from, edge.to);
        } else {
            doubts.entry(edge.from).or_default().insert(Doubt::SeveralSurvivors);
        }
    }
    let mut groups: BTreeMap<i64, Vec<Record>> = BTreeMap::new();
    for record in known.values() {
        groups.entry(sets.find(record.id)).or_default().push(*record);
    }
    let mut settled = BTreeMap::new();
    for group in groups.into_values() {
        settle_group(&group, &replaced, &mut doubts, &mut settled);
    }
    settled
}

fn settle_group(group: &[Record], replaced: &Replaced, doubts: &mut BTreeMap<i64, BTreeSet<Doubt>>, settled: &mut BTreeMap<i64, Settled>) {
    let too_many = group.len() > MOST_RECORDS || (group.len() > 1 && group.iter().any(|r| r.cut));
    let within: BTreeMap<i64, i64> = if too_many { BTreeMap::new() } else { group.iter().map(|r| (r.id, r.home)).collect() };
    let retired = |r: &Record| r.replaced_elsewhere || replaced.is(r.id);
    let in_use = group.iter().filter(|r| !retired(r)).map(|r| r.home).min();
    let person = in_use.or_else(|| group.iter().map(|r| r.home).min());
    for record in group {
        let mut doubts = doubts.remove(&record.id).unwrap_or_default();
        let ends = replaced.ends(record.id);
        let retired = retired(record);
        if too_many {
            doubts.insert(Doubt::TooMany);
        }
        if record.replaced_elsewhere {
            doubts.insert(Doubt::Elsewhere);
        }
        if replaced.is(record.id) && ends.is_empty() {
            doubts.insert(Doubt::Cycle);
        }
        if replaced.is(record.id) && record.says_in_use {
            doubts.insert(Doubt::OneSided);
        }
        let root = ends.iter().filter_map(|end| within.get(end).map(|home| (*home, *end))).min().map_or(record.id, |(_, end)| end);
        let root = if retired { root } else { record.id };
        let person = if too_many { record.home } else { person.unwrap_or(record.home) };
        settled.insert(record.id, Settled { person, root, retired, doubts });
    }
}

/// Who was replaced by whom.
struct Replaced(BTreeMap<i64, BTreeSet<i64>>);

impl Replaced {
    fn of(edges: &BTreeSet<Edge>) -> Self {
        let mut by: BTreeMap<i64, BTreeSet<i64>> = BTreeMap::new();
        for edge in edges.iter().filter(|e| e.tie == Tie::Replaced) {
            by.entry(edge.from).or_default().insert(edge.to);
        }
        Self(by)
    }

    fn is(&self, record: i64) -> bool {
        self.0.contains_key(&record)
    }

    /// Where the chains of replacements end that begin at a record: at none where they go in a circle.
    fn ends(&self, record: i64) -> BTreeSet<i64> {
        let (mut ends, mut seen, mut open) = (BTreeSet::new(), BTreeSet::from([record]), vec![record]);
        while let Some(at) = open.pop() {
            match self.0.get(&at) {
                Some(next) => open.extend(next.iter().filter(|n| seen.insert(**n))),
                None => {
                    ends.insert(at);
                }
            }
        }
        ends
    }

    /// Several are said to have replaced it, and their chains end apart.
    fn is_ambiguous(&self, record: i64) -> bool {
        self.0.get(&record).is_some_and(|next| next.len() > 1) && self.ends(record).len() > 1
    }
}

/// Disjoint sets that know which pairs must not come together.
struct Sets {
    above: BTreeMap<i64, i64>,
    apart: Vec<(i64, i64)>,
}

impl Sets {
    fn new(ids: impl Iterator<Item = i64>, apart: Vec<(i64, i64)>) -> Self {
        Self { above: ids.map(|id| (id, id)).collect(), apart }
    }

    fn find(&mut self, id: i64) -> i64 {
        let mut top = id;
        while let Some(above) = self.above.get(&top).filter(|above| **above != top) {
            top = *above;
        }
        let mut at = id;
        while at != top {
            match self.above.insert(at, top) {
                Some(next) => at = next,
                None => break,
            }
        }
        top
    }

    /// `false` where that would bring a pair together which must stay apart.
    fn join(&mut self, a: i64, b: i64) -> bool {
        let (a, b) = (self.find(a), self.find(b));
        if a == b {
            return true;
        }
        let pairs = std::mem::take(&mut self.apart);
        let forbidden = pairs.iter().any(|(x, y)| {
            let ends = (self.find(*x), self.find(*y));
            ends == (a, b) || ends == (b, a)
        });
        self.apart = pairs;
        if !forbidden {
            self.above.insert(a.max(b), a.min(b));
        }
        !forbidden
    }
}
