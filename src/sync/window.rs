//! Where a search by `_lastUpdated` begins and ends, and how far the high-water mark may move after it. Pure.
//!
//! The mark is an instant of the server's clock such that all changes up to it are stored. It may be too early, which costs repeats, and
//! never too late, which would lose changes (standards.md D.1; the same choices as smart-fetch's `since`):
//! - never past the server's clock at the run's start: what changed while pages were read may have been missed;
//! - never past the latest change seen: a replica may lag behind its own clock;
//! - a change dated in the future is a mistake or a wrong clock and says nothing.
//!
//! Pages are asked for with the latest change first. Many servers page by counting; what changes while they are read then moves to the
//! front, and pushes the rest down: it comes twice. With the oldest first it would move to the end, and the rest up: one would be missed
//! at the border of two pages. So a run that is cut off has stored all from its end back to some instant, and what is left is before it.
//!
//! A search for what is left has an end, and what changes leaves it, so that the rest moves up. It therefore goes from page to page by
//! instants ([`Seen::further`]) and not by the server's count, as far as a page holds more than what changed at one instant.

use std::str::FromStr;

use chrono::TimeDelta;
use domain::Timestamp;

/// How far a run reaches back behind the mark: covers clocks of several servers behind one address, and dates cut to the minute.
pub const OVERLAP: TimeDelta = TimeDelta::minutes(5);

/// A `Date` header is cut to the second, so a change of the same second may look later.
const DATE_PRECISION: TimeDelta = TimeDelta::seconds(1);

/// Instants of servers may be finer than ours.
const INSTANT_PRECISION: TimeDelta = TimeDelta::milliseconds(1);

/// From where on to ask; everything where there is no mark.
#[must_use]
pub fn begin(mark: Option<Timestamp>) -> Option<Timestamp> {
    mark.map(|mark| mark.plus(-OVERLAP))
}

/// What a run that was cut off has left to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// All later changes were stored.
    pub until: Timestamp,
    /// How far the mark may move once the rest is stored too; absent where nothing was seen that tells.
    pub mark: Option<Timestamp>,
}

impl Left {
    /// Up to where to ask.
    #[must_use]
    pub fn end(&self) -> Timestamp {
        self.until.plus(INSTANT_PRECISION)
    }
}

impl std::fmt::Display for Left {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.mark {
            Some(mark) => write!(f, "{} {}", self.until.micros(), mark.micros()),
            None => write!(f, "{}", self.until.micros()),
        }
    }
}

/// A resume point that this version did not write: the run begins anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stored resume point cannot be read")]
pub struct NotLeft;

impl FromStr for Left {
    type Err = NotLeft;

    fn from_str(text: &str) -> Result<Self, NotLeft> {
        let instant = |part: &str| part.parse().map(Timestamp::from_micros).map_err(|_| NotLeft);
        match text.split_once(' ') {
            Some((until, mark)) => Ok(Self { until: instant(until)?, mark: Some(instant(mark)?) }),
            None => Ok(Self { until: instant(text)?, mark: None }),
        }
    }
}

/// What the pages of one search have shown of `_lastUpdated`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    started: Timestamp,
    left: Option<Left>,
    latest: Option<Timestamp>,
    last: Option<Timestamp>,
    in_order: bool,
}

impl Seen {
    /// At the beginning of a search, with the server's clock then, and with what an earlier run left, where this search does that.
    #[must_use]
    pub const fn at(started: Timestamp, left: Option<Left>) -> Self {
        Self { started, left, latest: None, last: None, in_order: true }
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

    /// A resource came, with its `meta.lastUpdated` where it had one; `server_now` is the server's clock when it gave the page.
    pub fn note(&mut self, updated: Option<Timestamp>, server_now: Timestamp) {
        let Some(updated) = updated else {
            // It may stand anywhere in the order.
            self.in_order = false;
            return;
        };
        self.in_order &= self.last.is_none_or(|last| last >= updated);
        self.last = Some(updated);
        if updated <= server_now.plus(DATE_PRECISION) {
            self.latest = self.latest.max(Some(updated));
        }
    }

    /// What is left to do if the run ends here; `None` where the pages were not in order, so that nothing can be said of what is still to
    /// come.
    #[must_use]
    pub fn left(&self) -> Option<Left> {
        self.last.filter(|_| self.in_order).map(|until| Left { until, mark: self.mark() })
    }

    /// After a page of a search for what is left: with what to search anew instead of asking for the next page. `None` where this search
    /// has no end, where the order is not ours, or where the page holds one instant only.
    #[must_use]
    pub fn further(&self) -> Option<Left> {
        let (before, now) = (self.left?, self.left()?);
        (now.until < before.until).then_some(now)
    }

    /// How far the mark may move once the last page is stored.
    #[must_use]
    pub fn mark(&self) -> Option<Timestamp> {
        match self.left {
            // What changed since that run began is not in this search.
            Some(left) => left.mark,
            None => self.latest.map(|latest| latest.min(self.started)),
        }
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
    fn the_mark_is_bounded_by_the_start_and_by_what_was_seen() {
        let mark = |updates: &[i64]| {
            let mut seen = Seen::at(t(100), None);
            updates.iter().for_each(|u| seen.note(Some(t(*u)), t(120)));
            seen.mark()
        };
        assert_eq!(mark(&[]), None, "a quiet server moves nothing");
        assert_eq!(mark(&[70, 60]), Some(t(70)));
        assert_eq!(mark(&[110, 60]), Some(t(100)), "changed while it was read");
        assert_eq!(mark(&[4_000_000_000, 60]), Some(t(60)), "dated in the future");
        assert_eq!(begin(Some(t(1_000))), Some(t(700)));
        assert_eq!(begin(None), None);
    }

    #[test]
    fn a_server_that_does_not_sort_leaves_nothing_to_go_on_from() {
        let left = |updates: &[Option<i64>]| {
            let mut seen = Seen::at(t(100), None);
            updates.iter().for_each(|u| seen.note(u.map(t), t(120)));
            seen.left()
        };
        assert_eq!(left(&[]), None);
        assert_eq!(left(&[Some(5), Some(1), Some(1)]), Some(Left { until: t(1), mark: Some(t(5)) }));
        assert_eq!(left(&[Some(1), Some(5)]), None);
        assert_eq!(left(&[Some(5), None, Some(1)]), None);
    }

    #[test]
    fn what_is_left_is_written_and_read() {
        for left in [Left { until: t(5), mark: Some(t(9)) }, Left { until: t(-5), mark: None }] {
            assert_eq!(left.to_string().parse(), Ok(left));
        }
        for text in ["", "x", "5 x", "5 6 7", "https://ehr.example.org/r4?_getpages=1"] {
            assert_eq!(text.parse::<Left>(), Err(NotLeft), "{text}");
        }
    }

    /// What happens to a server: a change, or a run that reads pages of that size, is cut off after so many, and sees changes meanwhile.
    #[derive(Clone, Debug)]
    enum Step {
        Change { id: u8, after: i64 },
        Run { page: usize, cut: Option<usize>, changes: Vec<(u8, i64)> },
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..12_u8, 1..600_i64).prop_map(|(id, after)| Step::Change { id, after }),
            (2..5_usize, proptest::option::of(0..4_usize), proptest::collection::vec((0..12_u8, 1..5_i64), 0..4))
                .prop_map(|(page, cut, changes)| Step::Run { page, cut, changes }),
        ]
    }

    #[derive(Default)]
    struct World {
        now: i64,
        server: BTreeMap<u8, i64>,
        known: BTreeMap<u8, i64>,
        mark: Option<Timestamp>,
        left: Option<Left>,
    }

    impl World {
        /// Reads until there is no more, at a server that pages by counting; false where it was cut off.
        fn search(&mut self, page: usize, cut: Option<usize>, changes: &mut Vec<(u8, i64)>) -> bool {
            let (mut seen, mut pages, mut offset) = (Seen::at(t(self.now), self.left), 0, 0);
            let mut end = self.left.map(|left| left.end());
            loop {
                if cut == Some(pages) {
                    return false;
                }
                let wanted = |at: i64| begin(self.mark).is_none_or(|from| t(at) >= from) && end.is_none_or(|end| t(at) <= end);
                let mut rows: Vec<(i64, u8)> = self.server.iter().map(|(id, at)| (*at, *id)).filter(|(at, _)| wanted(*at)).collect();
                rows.sort_unstable_by(|a, b| b.cmp(a));
                let rows: Vec<(i64, u8)> = rows.into_iter().skip(offset).take(page).collect();
                if rows.is_empty() {
                    break;
                }
                for (at, id) in &rows {
                    seen.note(Some(t(*at)), t(self.now));
                    self.known.insert(*id, *at);
                }
                self.left = seen.left();
                (pages, offset) = (pages + 1, offset + rows.len());
                if let Some(left) = seen.further() {
                    (seen, end, offset) = (Seen::at(t(self.now), Some(left)), Some(left.end()), 0);
                }
                if let Some((id, after)) = changes.pop() {
                    self.now += after;
                    self.server.insert(id, self.now);
                }
            }
            self.mark = self.mark.max(seen.mark());
            self.left = None;
            true
        }
    }

    proptest! {
        /// Whatever changes and wherever runs are cut off: once a run comes to its end at a quiet server, all is known.
        #[test]
        fn nothing_is_ever_missed(steps in proptest::collection::vec(step(), 1..30)) {
            let mut world = World { now: 1_000_000, ..World::default() };
            let whole = Step::Run { page: 3, cut: None, changes: Vec::new() };
            for step in steps.into_iter().chain([whole]) {
                match step {
                    Step::Change { id, after } => {
                        world.now += after;
                        world.server.insert(id, world.now);
                    }
                    Step::Run { page, cut, mut changes } => {
                        world.now += 1;
                        // A run that finishes what another one left goes on with what came since.
                        let more = world.left.is_some();
                        if world.search(page, cut, &mut changes) && more {
                            world.search(page, cut, &mut changes);
                        }
                    }
                }
            }
            prop_assert_eq!(world.known, world.server);
        }
    }
}
