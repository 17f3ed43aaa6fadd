//! Where a search by `_lastUpdated` begins, and how far the high-water mark may move after it. Pure.
//!
//! The mark is an instant of the server's clock such that all changes up to it are stored. It may be too early, which costs repeats, and
//! never too late, which would lose changes (standards.md D.1; the same choices as smart-fetch's `since`):
//! - never past the server's clock at the run's start: what changed while pages were read may have been missed;
//! - never past the latest change seen: a replica may lag behind its own clock;
//! - a change dated in the future is a mistake or a wrong clock and says nothing.

use chrono::TimeDelta;
use domain::Timestamp;

/// How far a run reaches back behind the mark: covers clocks of several servers behind one address, and dates cut to the minute.
pub const OVERLAP: TimeDelta = TimeDelta::minutes(5);

/// A `Date` header is cut to the second, so a change of the same second may look later.
const DATE_PRECISION: TimeDelta = TimeDelta::seconds(1);

/// From where on to ask: the resume point of a run that was cut off, else the mark less the overlap, else everything.
#[must_use]
pub fn begin(mark: Option<Timestamp>, resume: Option<Timestamp>) -> Option<Timestamp> {
    let overlapped = mark.map(|mark| mark.plus(-OVERLAP));
    // A resume point is at or after the beginning of its own run, so the later of the two is the one with less to repeat.
    resume.max(overlapped)
}

/// What a run has seen of `_lastUpdated`, page by page in the order of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    started: Timestamp,
    latest: Option<Timestamp>,
    last: Option<Timestamp>,
    in_order: bool,
}

impl Seen {
    /// At the beginning of a run, with the server's clock then.
    #[must_use]
    pub const fn at(started: Timestamp) -> Self {
        Self { started, latest: None, last: None, in_order: true }
    }

    /// The server does not sort as asked.
    pub const fn not_in_order(&mut self) {
        self.in_order = false;
    }

    /// The server's clock at the beginning.
    #[must_use]
    pub const fn started(&self) -> Timestamp {
        self.started
    }

    /// The same, for a run that began with an earlier pass.
    #[must_use]
    pub fn no_later_than(mut self, earlier: &Self) -> Self {
        self.started = self.started.min(earlier.started);
        self
    }

    /// A resource came, with its `meta.lastUpdated` where it had one; `server_now` is the server's clock when it gave the page.
    pub fn note(&mut self, updated: Option<Timestamp>, server_now: Timestamp) {
        let Some(updated) = updated else {
            // It may stand anywhere in the order.
            self.in_order = false;
            return;
        };
        self.in_order &= self.last.is_none_or(|last| last <= updated);
        self.last = Some(updated);
        if updated <= server_now.plus(DATE_PRECISION) {
            self.latest = self.latest.max(Some(updated));
        }
    }

    /// Whether something changed after the run began. At a server that pages by counting, the rest then moved up by one, and what stood at
    /// the border of two pages was not read.
    #[must_use]
    pub fn moved(&self) -> bool {
        self.latest.is_some_and(|latest| latest > self.started)
    }

    /// Where a later run can go on if this one ends here; `None` where the pages were not in order, so that nothing can be said of what
    /// is still to come.
    #[must_use]
    pub fn resume(&self) -> Option<Timestamp> {
        self.last.filter(|_| self.in_order).map(|last| last.min(self.started))
    }

    /// The mark after the last page of a run that went on from `resumed`, where the mark was `before`. Up to a resume point all was stored
    /// by the run that left it.
    #[must_use]
    pub fn mark(&self, before: Option<Timestamp>, resumed: Option<Timestamp>) -> Option<Timestamp> {
        let seen = self.latest.map(|latest| latest.min(self.started));
        before.max(resumed).max(seen)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn t(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn begins_at_the_resume_point_else_behind_the_mark() {
        for (mark, resume, expected) in [
            (None, None, None),
            (Some(1_000), None, Some(700)),
            (None, Some(500), Some(500)),
            (Some(1_000), Some(900), Some(900)),
            // Left over from before the mark moved: it would repeat more than the overlap does.
            (Some(1_000), Some(10), Some(700)),
        ] {
            assert_eq!(begin(mark.map(t), resume.map(t)), expected.map(t), "{mark:?} {resume:?}");
        }
    }

    #[test]
    fn the_mark_is_bounded_by_the_start_and_by_what_was_seen() {
        let mark = |updates: &[i64], before: Option<i64>| {
            let mut seen = Seen::at(t(100));
            updates.iter().for_each(|u| seen.note(Some(t(*u)), t(120)));
            seen.mark(before.map(t), None)
        };
        assert_eq!(mark(&[], None), None);
        assert_eq!(mark(&[], Some(50)), Some(t(50)), "a quiet server moves nothing");
        assert_eq!(mark(&[60, 70], Some(50)), Some(t(70)));
        assert_eq!(mark(&[60, 110], Some(50)), Some(t(100)), "changed while it was read");
        assert_eq!(mark(&[60, 4_000_000_000], Some(50)), Some(t(60)), "dated in the future");
        assert_eq!(mark(&[10], Some(50)), Some(t(50)), "the mark never goes back");
    }

    #[test]
    fn a_server_that_does_not_sort_gives_no_resume_point() {
        let resume = |updates: &[Option<i64>]| {
            let mut seen = Seen::at(t(100));
            updates.iter().for_each(|u| seen.note(u.map(t), t(120)));
            seen.resume()
        };
        assert_eq!(resume(&[]), None);
        assert_eq!(resume(&[Some(1), Some(1), Some(5)]), Some(t(5)));
        assert_eq!(resume(&[Some(5), Some(1)]), None);
        assert_eq!(resume(&[Some(1), None, Some(5)]), None);
        assert_eq!(resume(&[Some(1), Some(110)]), Some(t(100)), "not past the start");
    }

    /// A server whose resources change while it is read, and runs that are cut off at any page.
    #[derive(Clone, Debug)]
    enum Step {
        Change { id: u8, after: i64 },
        Run { page: usize, cut: Option<usize>, changes: Vec<(u8, i64)> },
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..12_u8, 1..600_i64).prop_map(|(id, after)| Step::Change { id, after }),
            (1..4_usize, proptest::option::of(0..4_usize), proptest::collection::vec((0..12_u8, 1..5_i64), 0..4))
                .prop_map(|(page, cut, changes)| Step::Run { page, cut, changes }),
        ]
    }

    proptest! {
        /// Whatever changes and whenever a run is cut off: after the next whole run over a quiet server, all is known.
        #[test]
        fn nothing_is_ever_missed(steps in proptest::collection::vec(step(), 1..30)) {
            let mut now = 1_000_000;
            let mut server: BTreeMap<u8, i64> = BTreeMap::new();
            let mut known: BTreeMap<u8, i64> = BTreeMap::new();
            let (mut mark, mut resume) = (None, None);
            let whole = Step::Run { page: 3, cut: None, changes: Vec::new() };
            for step in steps.into_iter().chain([whole]) {
                match step {
                    Step::Change { id, after } => {
                        now += after;
                        server.insert(id, now);
                    }
                    Step::Run { page, cut, mut changes } => {
                        now += 1;
                        let from = begin(mark, resume);
                        let mut seen = Seen::at(t(now));
                        let (mut pages, mut last) = (0, None);
                        let finished = loop {
                            if cut == Some(pages) {
                                break false;
                            }
                            // A page is what comes after the last one; what changes meanwhile moves to the end.
                            let mut rows: Vec<(i64, u8)> = server.iter().map(|(id, u)| (*u, *id)).collect();
                            rows.retain(|row| from.is_none_or(|from| t(row.0) >= from) && last.is_none_or(|last| *row > last));
                            rows.sort_unstable();
                            rows.truncate(page);
                            let Some(end) = rows.last() else { break true };
                            last = Some(*end);
                            for (updated, id) in &rows {
                                seen.note(Some(t(*updated)), t(now));
                                known.insert(*id, *updated);
                            }
                            resume = seen.resume();
                            pages += 1;
                            if let Some((id, after)) = changes.pop() {
                                now += after;
                                server.insert(id, now);
                            }
                        };
                        if finished {
                            mark = seen.mark(mark, from);
                            resume = None;
                        }
                    }
                }
            }
            prop_assert_eq!(known, server);
        }
    }
}
