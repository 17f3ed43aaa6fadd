//! What an ended attempt owes to the chart: pure, from how it ended, whether another rung is left, and what the EHR's charts want. A chart
//! is not a log: what was held, refused or given up stays in the ledger. Knows no resource and no EHR but by name.

use std::collections::BTreeMap;

use chrono::NaiveTime;
use chrono_tz::Tz;
use domain::Timestamp;

use super::program::Library;
use crate::store::attempts::{Attempt, Outcome};
use crate::store::writebacks::Debt;

/// What one EHR's charts want.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wants {
    /// What was sent, each by itself.
    pub sent: bool,
    /// The patient's answers, each by itself.
    pub answered: bool,
    /// That a patient could not be reached, by itself.
    pub unreachable: bool,
    /// Of the answers only those that staff must act on.
    pub only_answers_that_need_action: bool,
    /// What is not written by itself goes into a note, one a patient and day.
    pub daily_note: bool,
}

impl Default for Wants {
    fn default() -> Self {
        Self { sent: true, answered: true, unreachable: true, only_answers_that_need_action: false, daily_note: false }
    }
}

/// When a day's note is written, by the site's clock: late enough to hold the day, early enough to be dated by it.
const NOTE_AT: NaiveTime = match NaiveTime::from_hms_opt(22, 0, 0) {
    Some(time) => time,
    None => NaiveTime::MIN,
};

/// What the charts of all EHRs want.
#[derive(Clone, Debug)]
pub struct Owing {
    /// By EHR; those that are not here want the usual.
    pub wants: BTreeMap<String, Wants>,
    /// The site's zone: a note's day is counted in it.
    pub zone: Tz,
}

impl Owing {
    /// What an EHR's charts want.
    #[must_use]
    pub fn of(&self, ehr: &str) -> Wants {
        self.wants.get(ehr).copied().unwrap_or_default()
    }

    /// What an attempt owes that ended so. A failure before the last rung owes nothing: the next rung is the outcome.
    #[must_use]
    pub fn debt(&self, ehr: &str, outcome: Outcome, last_rung: bool, now: Timestamp) -> Debt {
        let wants = self.of(ehr);
        let by_itself = match outcome {
            Outcome::Failed if !last_rung => return Debt::Nothing,
            Outcome::Failed => wants.unreachable,
            Outcome::Delivered | Outcome::Answered | Outcome::Unknown => wants.sent,
        };
        match (by_itself, wants.daily_note) {
            (true, _) => Debt::Original,
            (false, true) => Debt::Line(self.note_due(now)),
            (false, false) => Debt::Nothing,
        }
    }

    /// What an answer owes: a write-back of its own, or a line in the day's note.
    #[must_use]
    pub fn of_answer(&self, ehr: &str, needs_action: bool, now: Timestamp) -> Debt {
        let wants = self.of(ehr);
        match wants.answered && (needs_action || !wants.only_answers_that_need_action) {
            true => Debt::Original,
            false if wants.daily_note => Debt::Line(self.note_due(now)),
            false => Debt::Nothing,
        }
    }

    /// When the note is written that holds this instant.
    fn note_due(&self, now: Timestamp) -> Timestamp {
        let local = now.to_utc().with_timezone(&self.zone).naive_local();
        let day = if local.time() < NOTE_AT { local.date() } else { local.date().succ_opt().unwrap_or(local.date()) };
        // Where the clocks are put forward over that time, the note is written an hour later.
        [0, 1]
            .into_iter()
            .find_map(|hours| (day.and_time(NOTE_AT) + chrono::TimeDelta::hours(hours)).and_local_timezone(self.zone).earliest())
            .map_or(now, |at| Timestamp::from_micros(at.timestamp_micros()))
    }
}

/// Whether no rung comes after this attempt's; so it is for one whose program or step is no longer in force.
#[must_use]
pub fn is_last_rung(library: &Library, a: &Attempt) -> bool {
    let rungs = library.program(&a.program).and_then(|p| p.step(&a.step)).map_or(0, |step| step.channels.len());
    usize::try_from(a.rung).map_or(true, |rung| rung + 1 >= rungs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    fn owing(wants: Wants) -> Owing {
        Owing { wants: [("inbox".to_owned(), wants)].into(), zone: chrono_tz::America::New_York }
    }

    #[test]
    fn a_chart_is_not_a_log() {
        use Outcome::{Answered, Delivered, Failed, Unknown};
        let inbox = Wants { sent: false, unreachable: false, only_answers_that_need_action: true, daily_note: true, ..Wants::default() };
        let now = at("2026-11-23T15:00:00Z");
        let line = Debt::Line(at("2026-11-24T03:00:00Z"));
        for (ehr, outcome, last, debt) in [
            ("other", Delivered, false, Debt::Original),
            ("other", Unknown, false, Debt::Original),
            ("other", Answered, true, Debt::Original),
            ("other", Failed, false, Debt::Nothing),
            ("other", Failed, true, Debt::Original),
            ("inbox", Delivered, true, line),
            ("inbox", Failed, false, Debt::Nothing),
            ("inbox", Failed, true, line),
        ] {
            assert_eq!(owing(inbox).debt(ehr, outcome, last, now), debt, "{ehr} {outcome:?} {last}");
        }
        let silent = Wants { daily_note: false, ..inbox };
        assert_eq!(owing(silent).debt("inbox", Delivered, true, now), Debt::Nothing);
        assert_eq!(owing(silent).of_answer("inbox", false, now), Debt::Nothing);
        assert_eq!([true, false].map(|needs| owing(inbox).of_answer("inbox", needs, now)), [Debt::Original, line]);
        assert_eq!([true, false].map(|needs| owing(inbox).of_answer("other", needs, now)), [Debt::Original; 2]);
    }

    #[test]
    fn a_note_is_written_in_the_evening_of_its_day() {
        let owing = owing(Wants::default());
        for (now, due) in [
            ("2026-11-23T05:00:00Z", "2026-11-24T03:00:00Z"),
            ("2026-11-24T02:59:59Z", "2026-11-24T03:00:00Z"),
            ("2026-11-24T03:00:00Z", "2026-11-25T03:00:00Z"),
            // The clocks are put back on the first of November.
            ("2026-11-01T15:00:00Z", "2026-11-02T03:00:00Z"),
        ] {
            assert_eq!(owing.note_due(at(now)), at(due), "{now}");
        }
    }
}
