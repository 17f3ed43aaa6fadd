//! What evaluation returns for one person and one segment.

use serde::{Deserialize, Serialize};

use crate::model::time::Timestamp;

use super::truth::Truth;

/// Whether a person is in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Membership {
    /// A member.
    In,
    /// Not a member.
    Out,
    /// Not known, and the segment keeps such persons apart.
    Held,
}

impl Membership {
    /// As stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::In => "in",
            Self::Out => "out",
            Self::Held => "held",
        }
    }
}

/// The answer for one segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Which segment: its place in the rule set.
    pub segment: usize,
    /// Whether the rule holds.
    pub truth: Truth,
    /// What that makes the person, by what the definition says of unknown.
    pub membership: Membership,
    /// The tests that decide it: a set from which none can be left out. Numbers are the places of the tests in the rule.
    pub reasons: LeafSet,
    /// The earliest instant at which the answer could change with time alone: never late, perhaps early. `None`: it does not.
    pub valid_until: Option<Timestamp>,
}

/// A set of tests of one rule, by their place in it. The first 64 take no memory of their own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct LeafSet {
    first: u64,
    rest: Vec<u64>,
}

impl LeafSet {
    /// Adds a test.
    pub fn insert(&mut self, leaf: usize) {
        if let Some(word) = self.word(leaf) {
            *word |= 1 << (leaf % 64);
        }
    }

    /// Takes a test out.
    pub fn remove(&mut self, leaf: usize) {
        if let Some(word) = self.word(leaf) {
            *word &= !(1 << (leaf % 64));
        }
        while self.rest.last() == Some(&0) {
            self.rest.pop();
        }
    }

    fn word(&mut self, leaf: usize) -> Option<&mut u64> {
        let Some(at) = (leaf / 64).checked_sub(1) else {
            return Some(&mut self.first);
        };
        if self.rest.len() <= at {
            self.rest.resize(at + 1, 0);
        }
        self.rest.get_mut(at)
    }

    /// Whether a test is in it.
    #[must_use]
    pub fn contains(&self, leaf: usize) -> bool {
        let word = match (leaf / 64).checked_sub(1) {
            None => Some(&self.first),
            Some(at) => self.rest.get(at),
        };
        word.is_some_and(|word| word >> (leaf % 64) & 1 == 1)
    }

    /// The tests, in the order of the rule.
    pub fn iter(&self) -> impl Iterator<Item = usize> {
        std::iter::once(&self.first)
            .chain(&self.rest)
            .enumerate()
            .flat_map(|(w, word)| (0..64).filter(move |b| word >> b & 1 == 1).map(move |b| w * 64 + b))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether there are none, as for a rule that is `true`.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.first == 0 && self.rest.is_empty()
    }

    /// The bytes to store: the bits in order, trailing zero bytes left out.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes: Vec<u8> = std::iter::once(&self.first).chain(&self.rest).flat_map(|word| word.to_le_bytes()).collect();
        while bytes.last() == Some(&0) {
            bytes.pop();
        }
        bytes
    }

    /// Reads stored bytes.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        bytes.iter().enumerate().flat_map(|(i, byte)| (0..8).filter(move |b| byte >> b & 1 == 1).map(move |b| i * 8 + b)).collect()
    }
}

impl FromIterator<usize> for LeafSet {
    fn from_iter<I: IntoIterator<Item = usize>>(leaves: I) -> Self {
        let mut set = Self::default();
        leaves.into_iter().for_each(|leaf| set.insert(leaf));
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_past_the_first_word_and_through_bytes() {
        let set: LeafSet = [0, 3, 63, 64, 200].into_iter().collect();
        assert_eq!(set.iter().collect::<Vec<_>>(), [0, 3, 63, 64, 200]);
        assert!(set.contains(200) && !set.contains(199) && !set.contains(1000));
        assert_eq!(LeafSet::from_bytes(&set.to_bytes()), set);
        let mut less = set.clone();
        less.remove(200);
        less.remove(64);
        assert_eq!(less, [63, 3, 0].into_iter().collect());
        assert_eq!((less.len(), less.to_bytes().len()), (3, 8));
        assert_eq!(LeafSet::default().to_bytes(), Vec::<u8>::new());
        assert!(LeafSet::from_bytes(&[]).is_empty());
    }
}
