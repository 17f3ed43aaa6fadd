//! What many kinds of records have in common: some of them count, of some it is open whether they do, and each has a time that may be told
//! only to the year.

use chrono::TimeDelta;
use chrono_tz::Tz;

use crate::model::facts::Coding;
use crate::model::person::Sourced;
use crate::model::time::{FhirTime, Timestamp};
use crate::rules::kind::{Kind, is_of};
use crate::rules::truth::Truth;
use crate::rules::value::{Event, Finding, Items, Set, Source, Value, Why};
use crate::rules::watch::Watch;

/// Whether a record counts; an error says why that is open.
pub(super) type Counts = Result<bool, Why>;

/// Whether a record counts that is of a kind.
pub(super) fn of_kind<'a>(counts: Counts, kind: Option<&Kind>, codes: impl Iterator<Item = &'a Coding> + Clone) -> Counts {
    if counts == Ok(false) {
        return counts;
    }
    match is_of(kind, codes) {
        (Truth::False, _) => Ok(false),
        (Truth::True, _) => counts,
        (Truth::Unknown, why) => counts.and_then(|_| why.map_or(Ok(true), Err)),
    }
}

/// The first and the last instant that a date may mean.
pub(in super::super) fn between(time: FhirTime, zone: Tz) -> (Timestamp, Timestamp) {
    match time {
        FhirTime::Instant(t) => (t, t),
        date => {
            let (from, after) = date.span(zone);
            (from, after.plus(TimeDelta::microseconds(-1)))
        }
    }
}

/// Records that count now, and one of which it is open.
pub(super) struct InForce<'a, F> {
    pub(super) certain: Vec<&'a Sourced<F>>,
    pub(super) open: Option<(&'a Sourced<F>, Why)>,
}

impl<'a, F> InForce<'a, F> {
    pub(super) fn survey(records: &'a [Sourced<F>], mut counts: impl FnMut(&'a F) -> Counts) -> Self {
        let mut found = Self { certain: Vec::new(), open: None };
        for record in records {
            match counts(&record.facts) {
                Ok(true) => found.certain.push(record),
                Ok(false) => {}
                Err(why) => found.open = found.open.or(Some((record, why))),
            }
        }
        found
    }

    /// Whether there is one.
    pub(super) fn any(&self, field: &'static str) -> Finding<'a> {
        match (self.certain.first(), self.open) {
            (Some(record), _) => Finding::known(Value::Bool(true), record, field),
            (None, Some((record, why))) => Finding::unknown(why).at(record, field),
            (None, None) => Finding::plain(Value::Bool(false)),
        }
    }

    /// What is said where none counts.
    fn nothing(&self, none: &'static str, field: &'static str) -> Finding<'a> {
        self.open.map_or_else(|| Finding::absent(none), |(record, why)| Finding::unknown(why).at(record, field))
    }

    /// All their codes.
    pub(super) fn codes(&self, field: &'static str, none: &'static str, read: impl Fn(&'a F) -> &'a [Coding]) -> Finding<'a> {
        self.set(field, none, Items::ManyCodes(self.certain.iter().map(|record| read(&record.facts)).collect()))
    }

    /// What was gathered of them.
    pub(super) fn set(&self, field: &'static str, none: &'static str, items: Items<'a>) -> Finding<'a> {
        let (Some(first), open) = (self.certain.first(), self.open.is_some()) else {
            return self.nothing(none, field);
        };
        if items.is_empty() && !open {
            return Finding::absent(none).at(first, field);
        }
        Finding::known(Value::Set(Set { items, open }), first, field).because(self.open.map(|(_, why)| why))
    }
}

/// A record on the time line.
pub(super) struct Entry<'a, F> {
    pub(super) record: &'a Sourced<F>,
    pub(super) counts: Counts,
    pub(super) at: Option<FhirTime>,
}

/// The latest record that counts and whose time has come.
pub(super) struct Latest<'a, F> {
    found: Option<(&'a Sourced<F>, Timestamp)>,
    /// Between these it was, by those that count for certain.
    from: Timestamp,
    /// One that may be later, and until when.
    later: Option<(&'a Sourced<F>, Why, Timestamp)>,
    /// One that may count, whenever it was.
    open: Option<(&'a Sourced<F>, Why)>,
    /// All that count for certain, each with the instants between which it was.
    all: Vec<(&'a Sourced<F>, Timestamp, Timestamp)>,
}

const RIVALS: Why = Why::Doubtful("several records may be the last, and they say different things");

impl<'a, F> Latest<'a, F> {
    /// `time` is the element that tells when.
    pub(super) fn survey(entries: impl Iterator<Item = Entry<'a, F>>, time: &'static str, zone: Tz, watch: &mut Watch) -> Self {
        let mut all = Self { found: None, from: Timestamp::MIN, later: None, open: None, all: Vec::new() };
        let mut unsure = Vec::new();
        for Entry { record, counts, at } in entries {
            let span = at.map(|at| between(at, zone));
            match (counts, span) {
                (Ok(false), _) => {}
                (Ok(true), None) => all.open = all.open.or(Some((record, Why::Missing(time)))),
                (Err(why), None) => all.open = all.open.or(Some((record, why))),
                (Ok(true), Some((from, to))) => {
                    if watch.reached(from) {
                        all.from = all.from.max(from);
                        all.all.push((record, from, to));
                        let key = |r: &'a Sourced<F>, to: Timestamp| (to, std::cmp::Reverse((&r.origin.ehr, &r.origin.id)));
                        if all.found.is_none_or(|(best, best_to)| key(record, to) > key(best, best_to)) {
                            all.found = Some((record, to));
                        }
                    }
                }
                (Err(why), Some((from, to))) => {
                    if watch.reached(from) {
                        unsure.push((record, why, to));
                    }
                }
            }
        }
        let last = all.found.map_or(Timestamp::MIN, |(_, to)| to);
        all.later = unsure.into_iter().filter(|(_, _, to)| *to > last).max_by_key(|(_, _, to)| *to);
        all
    }

    /// When it was.
    pub(super) fn time(&self, field: &'static str, none: &'static str) -> Finding<'a> {
        if let Some((record, why)) = self.open {
            return Finding::unknown(why).at(record, field);
        }
        match (self.found, self.later) {
            (Some((record, to)), None) => {
                let rough = (self.from < to).then_some(Why::Doubtful("a date is not given to the instant"));
                Finding::known(Value::Time(self.from, to), record, field).because(rough)
            }
            (Some((record, _)), Some((_, why, to))) => Finding::known(Value::Time(self.from, to), record, field).because(Some(why)),
            (None, Some((record, why, _))) => Finding::unknown(why).at(record, field),
            (None, None) => Finding::absent(none),
        }
    }

    /// What it says, where it is certain which one it is.
    pub(super) fn codes(&self, field: &'static str, none: &'static str, read: impl Fn(&'a F) -> Vec<&'a [Coding]>) -> Finding<'a> {
        let open = self.open.or(self.later.map(|(record, why, _)| (record, why)));
        match (self.found, open) {
            (_, Some((record, why))) => Finding::unknown(why).at(record, field),
            (None, None) => Finding::absent(none),
            (Some((record, _)), None) => {
                let begun = self.all.iter().find(|(other, ..)| std::ptr::eq(*other, record)).map_or(Timestamp::MIN, |(_, from, _)| *from);
                let rivals = self.all.iter().filter(|(other, _, to)| *to >= begun && !std::ptr::eq(*other, record));
                let said = read(&record.facts);
                if let Some((rival, ..)) = rivals.into_iter().find(|(rival, ..)| read(&rival.facts).concat() != said.concat()) {
                    return Finding::unknown(RIVALS).at(rival, field);
                }
                let items = Items::ManyCodes(said);
                if items.is_empty() {
                    return Finding::absent("the record does not say").at(record, field);
                }
                Finding::known(Value::Set(Set { items, open: false }), record, field)
            }
        }
    }
}

/// Hands out the records that count, or may.
pub(super) fn count<'a, F: 'a>(
    entries: impl Iterator<Item = Entry<'a, F>>,
    time: &'static str,
    field: &'static str,
    zone: Tz,
    each: &mut dyn FnMut(Event<'a>),
) {
    for Entry { record, counts, at } in entries {
        let unsure = match counts {
            Ok(false) => continue,
            Ok(true) => None,
            Err(why) => Some(why),
        };
        let source = Source::Resource { origin: &record.origin, field };
        each(Event { at: at.map(|at| between(at, zone)), time, unsure, source });
    }
}
