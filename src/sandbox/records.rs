//! The resources in memory with their indexes: by id, by identifier, by reference, by time of update. Owns which resource matches a search
//! and in which order. It applies changes that were decided elsewhere; it neither assigns ids nor writes files.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use serde_json::Value;

use crate::journal::Change;
use crate::keys::Keys;
use crate::search::{Filter, Order, Search};

/// Every type that R4's own flavour serves.
pub(crate) const TYPES: &[&str] = &[
    "Appointment",
    "AppointmentResponse",
    "CarePlan",
    "CareTeam",
    "Communication",
    "CommunicationRequest",
    "Condition",
    "Consent",
    "Coverage",
    "DocumentReference",
    "Encounter",
    "Goal",
    "Group",
    "Immunization",
    "Location",
    "MedicationRequest",
    "Observation",
    "Organization",
    "Patient",
    "Practitioner",
    "PractitionerRole",
    "Procedure",
    "QuestionnaireResponse",
    "RelatedPerson",
    "RiskAssessment",
    "Schedule",
    "Slot",
    "Task",
];

/// Types that are kept for the flavours that serve them.
const OTHER_TYPES: &[&str] = &["Binary", "Provenance", "Subscription"];

/// The current version of one resource, or what is left of a deleted one.
pub(crate) struct Entry {
    pub(crate) id: String,
    pub(crate) version: u64,
    pub(crate) updated: i64,
    /// `None`: deleted.
    pub(crate) body: Option<Arc<str>>,
    pub(crate) keys: Keys,
    /// Earlier versions, oldest first.
    pub(crate) earlier: Vec<(u64, Option<Arc<str>>)>,
}

/// Where a search goes on: the update time and the place of the last entry handed out.
pub(crate) type Position = (i64, u32);

/// One page of a search.
pub(crate) struct Page<'a> {
    pub(crate) entries: Vec<(Position, &'a Entry)>,
    pub(crate) more: bool,
}

/// The resources of one type. An entry keeps its place in `entries` for ever, which makes the default order stable.
#[derive(Default)]
struct Shelf {
    entries: Vec<Entry>,
    by_id: HashMap<String, u32>,
    by_updated: BTreeSet<Position>,
    by_reference: HashMap<Box<str>, BTreeSet<u32>>,
    by_identifier: HashMap<Box<str>, BTreeSet<u32>>,
}

/// All resources.
#[derive(Default)]
pub(crate) struct Records {
    shelves: BTreeMap<&'static str, Shelf>,
}

/// The type of this name, served or only kept.
pub(crate) fn known_type(name: &str) -> Option<&'static str> {
    TYPES.iter().chain(OTHER_TYPES).find(|known| **known == name).copied()
}

impl Records {
    /// Takes a change over. `None`: the type is not served or the body is not JSON; nothing was changed.
    pub(crate) fn apply(&mut self, change: Change) -> Option<()> {
        let keys = match &change.body {
            Some(body) => Keys::of(&serde_json::from_str::<Value>(body).ok()?),
            None => Keys::default(),
        };
        self.shelves.entry(known_type(&change.head.resource_type)?).or_default().put(change, keys);
        Some(())
    }

    /// The entry of an id, deleted ones included.
    pub(crate) fn get(&self, resource_type: &str, id: &str) -> Option<&Entry> {
        let shelf = self.shelves.get(resource_type)?;
        shelf.entries.get(*shelf.by_id.get(id)? as usize)
    }

    /// How many resources of each type there are, deleted ones not counted.
    pub(crate) fn counts(&self) -> BTreeMap<String, usize> {
        self.shelves.iter().map(|(name, shelf)| ((*name).to_owned(), shelf.by_updated.len())).collect()
    }

    /// How many ids of a type were ever known; it only grows, across restarts too.
    pub(crate) fn places(&self, resource_type: &str) -> usize {
        self.shelves.get(resource_type).map_or(0, |shelf| shelf.entries.len())
    }

    /// Every living resource of a type, in the order of creation.
    pub(crate) fn all(&self, resource_type: &str) -> impl Iterator<Item = &Entry> {
        self.shelves.get(resource_type).into_iter().flat_map(|shelf| &shelf.entries).filter(|entry| entry.body.is_some())
    }

    /// The ids of what was deleted of a type after an instant.
    pub(crate) fn deleted_since(&self, resource_type: &str, since: i64) -> impl Iterator<Item = &str> {
        let shelf = self.shelves.get(resource_type).into_iter().flat_map(|shelf| &shelf.entries);
        shelf.filter(move |entry| entry.body.is_none() && entry.version > 0 && entry.updated > since).map(|entry| entry.id.as_str())
    }

    /// The entries of a search after a position, at most `search.count`.
    pub(crate) fn page(&self, search: &Search, after: Option<Position>) -> Page<'_> {
        let mut page = Page { entries: Vec::new(), more: false };
        let Some(shelf) = self.shelves.get(search.resource_type) else {
            return page;
        };
        for (position, entry) in shelf.walk(search, after) {
            if page.entries.len() == search.count {
                page.more = true;
                break;
            }
            page.entries.push((position, entry));
        }
        page
    }

    /// How many resources match.
    pub(crate) fn total(&self, search: &Search) -> usize {
        self.shelves.get(search.resource_type).map_or(0, |shelf| shelf.walk(search, None).count())
    }

    /// The entry at a position, while it lives.
    pub(crate) fn at(&self, resource_type: &str, (_, place): Position) -> Option<&Entry> {
        self.shelves.get(resource_type)?.entries.get(place as usize).filter(|entry| entry.body.is_some())
    }
}

impl Shelf {
    fn put(&mut self, change: Change, keys: Keys) {
        let Change { head, body } = change;
        let place = match self.by_id.get(&head.id) {
            Some(place) => *place,
            None => {
                let place = u32::try_from(self.entries.len()).expect("a sandbox holds fewer than 2^32 resources of a type");
                self.by_id.insert(head.id.clone(), place);
                self.entries.push(Entry {
                    id: head.id.clone(),
                    version: 0,
                    updated: 0,
                    body: None,
                    keys: Keys::default(),
                    earlier: Vec::new(),
                });
                place
            }
        };
        self.unlist(place);
        if let Some(entry) = self.entries.get_mut(place as usize) {
            if entry.version > 0 {
                entry.earlier.push((entry.version, entry.body.take()));
            }
            (entry.version, entry.updated, entry.body, entry.keys) = (head.version, head.updated, body, keys);
        }
        self.list(place);
    }

    fn unlist(&mut self, place: u32) {
        let Some(entry) = self.entries.get(place as usize) else { return };
        self.by_updated.remove(&(entry.updated, place));
        for (_, target) in &entry.keys.references {
            remove(&mut self.by_reference, target, place);
        }
        for (_, value) in &entry.keys.identifiers {
            remove(&mut self.by_identifier, value, place);
        }
    }

    fn list(&mut self, place: u32) {
        let Some(entry) = self.entries.get(place as usize).filter(|entry| entry.body.is_some()) else {
            return;
        };
        self.by_updated.insert((entry.updated, place));
        for (_, target) in &entry.keys.references {
            self.by_reference.entry(target.clone()).or_default().insert(place);
        }
        for (_, value) in &entry.keys.identifiers {
            self.by_identifier.entry(value.clone()).or_default().insert(place);
        }
    }

    /// The matching entries after a position, in the search's order.
    fn walk<'a, 's>(&'a self, search: &'s Search, after: Option<Position>) -> impl Iterator<Item = (Position, &'a Entry)> + use<'a, 's> {
        let candidates: Box<dyn Iterator<Item = Position> + 'a> = match self.narrow(search) {
            Some(places) => Box::new(self.in_order(places, search.order, after).into_iter()),
            None => self.everything(search, after),
        };
        candidates.filter_map(|position| {
            let entry = self.entries.get(position.1 as usize)?;
            (entry.body.is_some() && search.filters.iter().all(|filter| filter.matches(entry))).then_some((position, entry))
        })
    }

    /// The smallest set that an index gives for one of the filters. Each filter is still applied to every member.
    fn narrow(&self, search: &Search) -> Option<Vec<u32>> {
        let sets = search.filters.iter().filter_map(|filter| match filter {
            Filter::Ids(ids) => Some(ids.iter().filter_map(|id| self.by_id.get(id).copied()).collect()),
            Filter::Identifier(tokens) => tokens
                .iter()
                .map(|token| token.code.as_deref().map(|value| places(&self.by_identifier, value)))
                .collect::<Option<Vec<_>>>()
                .map(joined),
            Filter::Reference { targets, .. } if targets.iter().all(|target| target.contains('/')) => {
                Some(joined(targets.iter().map(|target| places(&self.by_reference, target)).collect()))
            }
            _ => None,
        });
        sets.min_by_key(BTreeSet::len).map(|places: BTreeSet<u32>| places.into_iter().collect())
    }

    fn in_order(&self, places: Vec<u32>, order: Order, after: Option<Position>) -> Vec<Position> {
        let mut positions: Vec<Position> =
            places.into_iter().filter_map(|place| Some((self.entries.get(place as usize)?.updated, place))).collect();
        match order {
            Order::Place => positions.sort_unstable_by_key(|position| position.1),
            Order::Updated => positions.sort_unstable(),
            Order::UpdatedDescending => positions.sort_unstable_by(|a, b| b.cmp(a)),
        }
        positions.retain(|position| {
            after.is_none_or(|after| match order {
                Order::Place => position.1 > after.1,
                Order::Updated => *position > after,
                Order::UpdatedDescending => *position < after,
            })
        });
        positions
    }

    fn everything<'a>(&'a self, search: &Search, after: Option<Position>) -> Box<dyn Iterator<Item = Position> + 'a> {
        let (from, until) = search.updated_bounds();
        let lower = Bound::Included((from, 0));
        let upper = Bound::Excluded((until, 0));
        match (search.order, after) {
            (Order::Place, after) => {
                let first = after.map_or(0, |after| after.1 as usize + 1);
                let rest = self.entries.iter().enumerate().skip(first);
                Box::new(rest.filter_map(|(place, entry)| Some((entry.updated, u32::try_from(place).ok()?))))
            }
            _ if from >= until => Box::new(std::iter::empty()),
            (Order::Updated, Some(after)) if after >= (until, 0) => Box::new(std::iter::empty()),
            (Order::Updated, Some(after)) if after >= (from, 0) => {
                Box::new(self.by_updated.range((Bound::Excluded(after), upper)).copied())
            }
            (Order::Updated, _) => Box::new(self.by_updated.range((lower, upper)).copied()),
            (Order::UpdatedDescending, Some(after)) if after <= (from, 0) => Box::new(std::iter::empty()),
            (Order::UpdatedDescending, Some(after)) => {
                Box::new(self.by_updated.range((lower, Bound::Excluded(after.min((until, 0))))).rev().copied())
            }
            (Order::UpdatedDescending, None) => Box::new(self.by_updated.range((lower, upper)).rev().copied()),
        }
    }
}

fn places<'a>(index: &'a HashMap<Box<str>, BTreeSet<u32>>, key: &str) -> Option<&'a BTreeSet<u32>> {
    index.get(key)
}

fn joined(sets: Vec<Option<&BTreeSet<u32>>>) -> BTreeSet<u32> {
    sets.into_iter().flatten().flatten().copied().collect()
}

fn remove(index: &mut HashMap<Box<str>, BTreeSet<u32>>, key: &str, place: u32) {
    if let Some(set) = index.get_mut(key) {
        set.remove(&place);
        if set.is_empty() {
            index.remove(key);
        }
    }
}
