//! One checked question put to one finding: true, false or unknown. Cannot fail: the types were checked when the rule was compiled.
//!
//! A question about something that is known to be absent is answered "false", whichever way it is put: `x = 1` and `x != 1` are both
//! false where there is no x. `not x = 1` is then true.

use chrono::{Days, NaiveDate};
use chrono_tz::Tz;

use crate::model::time::{FhirTime, Timestamp, day_start};

use super::check::{Question, TextOperand};
use super::duration::Duration;
use super::kind::Code;
use super::site::Site;
use super::syntax::Comparison;
use super::truth::Truth;
use super::value::{Event, Finding, Outcome, Set, Value, Why};
use super::watch::Watch;

/// The answer to `question`.
pub fn judge(question: &Question, finding: &Finding<'_>, site: &Site, watch: &mut Watch) -> Truth {
    let value = match &finding.outcome {
        Outcome::Known(value) => value,
        Outcome::Absent(_) => return Truth::False,
        Outcome::Unknown(_) => return Truth::Unknown,
    };
    match (question, value) {
        // Of a number, `exists` asks whether it is known to be there at all; of a count, whether there is one.
        (Question::Exists, Value::Set(set)) if set.items.is_empty() => Truth::told(false, !set.open),
        (Question::Exists, _) => Truth::True,
        (Question::Is(wanted), Value::Bool(is)) => (is == wanted).into(),
        (Question::Number(comparison, n), Value::Integer(least, most)) => number(*comparison, *n, *least, *most),
        (Question::NumberIn(numbers), Value::Integer(least, most)) => {
            let inside = numbers.iter().filter(|n| (least..=most).contains(n)).count();
            Truth::told(least == most && inside > 0, inside == 0)
        }
        (Question::Number(comparison, n), Value::DaysSince(day)) => days_since(*comparison, *n, *day, site.zone, watch).into(),
        (Question::NumberIn(numbers), Value::DaysSince(day)) => {
            numbers.iter().any(|n| days_since(Comparison::Equal, *n, *day, site.zone, watch)).into()
        }
        (Question::TextIn(texts, negated), Value::Text(text)) => {
            let found = texts.iter().any(|t| match t {
                TextOperand::Plain(plain) => plain == text,
                TextOperand::SiteLanguage => site.language() == *text,
            });
            (found != *negated).into()
        }
        (Question::Holds(codes, negated), Value::Set(set)) => {
            let holds = holds(codes, set);
            if *negated { !holds } else { holds }
        }
        (Question::InValueSet(listed), Value::Set(set)) => {
            if listed.set().len().is_none() {
                return Truth::Unknown;
            }
            let found = set.items.any(|system, code| listed.contains(system, code) == Some(true), |_| false);
            Truth::told(found, !set.open)
        }
        (Question::Time(comparison, date), Value::Time(from, to)) => compare_time(*comparison, *date, *from, *to, site.zone),
        (Question::Within(d), Value::Time(from, to)) => within(*d, *from, *to, site.zone, watch),
        (Question::WithinLast(d), Value::Time(from, to)) => within_last(*d, *from, *to, site.zone, watch),
        (Question::OlderThan(d), Value::Time(from, to)) => {
            Truth::told(watch.reached(d.after(*to, site.zone)), !watch.reached(d.after(*from, site.zone)))
        }
        // A derivation that does not return its row's type; the catalogue's tests hold every row to it.
        _ => Truth::Unknown,
    }
}

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// What belongs for certain.
    pub least: i64,
    /// With what may belong too.
    pub most: i64,
    /// Why that is not certain, by the first that only may.
    pub rough: Option<Why>,
}

impl Count {
    fn add(&mut self, belongs: Truth, why: Option<Why>) {
        self.least += i64::from(belongs == Truth::True);
        self.most += i64::from(belongs != Truth::False);
        if belongs == Truth::Unknown {
            self.rough = self.rough.or(why);
        }
    }
}

/// Counts events, and the ones that may belong: those of which it is not told what they are, and, where a period is asked for, those whose
/// time is not told or only roughly.
pub fn count(period: Option<Duration>, zone: Tz, watch: &mut Watch, events: impl FnOnce(&mut dyn FnMut(Event<'_>))) -> Count {
    let mut count = Count::default();
    events(&mut |event| {
        let (in_period, why) = match (period, event.at) {
            (None, _) => (Truth::True, None),
            (Some(_), None) => (Truth::Unknown, Some(Why::Missing(event.time))),
            (Some(d), Some((from, to))) => {
                (within_last(d, from, to, zone, watch), Some(Why::Doubtful("a date is not given to the instant")))
            }
        };
        let is_one = if event.unsure.is_some() { Truth::Unknown } else { Truth::True };
        count.add(in_period.min(is_one), event.unsure.or(why));
    });
    count
}

/// What a comparison says of a number that lies between two.
pub fn number(comparison: Comparison, n: i64, least: i64, most: i64) -> Truth {
    match comparison {
        Comparison::Equal => Truth::told(least == n && most == n, n < least || n > most),
        Comparison::NotEqual => Truth::told(n < least || n > most, least == n && most == n),
        Comparison::Less => Truth::told(most < n, least >= n),
        Comparison::AtMost => Truth::told(most <= n, least > n),
        Comparison::Greater => Truth::told(least > n, most <= n),
        Comparison::AtLeast => Truth::told(least >= n, most < n),
    }
}

/// What a comparison says of the days since `day`, which has begun: whether a midnight has come, or two.
fn days_since(comparison: Comparison, n: i64, day: NaiveDate, zone: Tz, watch: &mut Watch) -> bool {
    let mut at_least = |n: i64| {
        let ahead = u64::try_from(n).ok().filter(|n| *n > 0);
        // A day beyond the calendar's end never comes.
        ahead.is_none_or(|n| day.checked_add_days(Days::new(n)).is_some_and(|day| watch.reached(day_start(day, zone))))
    };
    let beyond = n.saturating_add(1);
    match comparison {
        Comparison::Equal => at_least(n) && !at_least(beyond) && n >= 0,
        Comparison::NotEqual => !at_least(n) || at_least(beyond) || n < 0,
        Comparison::Less => !at_least(n),
        Comparison::AtMost => !at_least(beyond),
        Comparison::Greater => at_least(beyond),
        Comparison::AtLeast => at_least(n),
    }
}

fn holds(codes: &[Code], set: &Set<'_>) -> Truth {
    let found = set.items.any(|system, code| codes.iter().any(|c| c.matches(system, code)), |text| codes.iter().any(|c| c.is_text(text)));
    Truth::told(found, !set.open)
}

/// A date is the span of its day, month or instant: before it, in it or after it.
fn compare_time(comparison: Comparison, date: FhirTime, from: Timestamp, to: Timestamp, zone: Tz) -> Truth {
    let (begin, end) = date.span(zone);
    let inside = from >= begin && to < end;
    let outside = to < begin || from >= end;
    match comparison {
        Comparison::Equal => Truth::told(inside, outside),
        Comparison::NotEqual => Truth::told(outside, inside),
        Comparison::Less => Truth::told(to < begin, from >= begin),
        Comparison::AtMost => Truth::told(to < end, from >= end),
        Comparison::Greater => Truth::told(from >= end, to < end),
        Comparison::AtLeast => Truth::told(from >= begin, to < begin),
    }
}

/// From `d` before it until it comes. True where that is so of every instant between `from` and `to`, false where of none.
fn within(d: Duration, from: Timestamp, to: Timestamp, zone: Tz, watch: &mut Watch) -> Truth {
    let near = |t| d.before(t, zone);
    Truth::told(watch.reached(near(to)) && !watch.reached(from), !watch.reached(near(from)) || watch.reached(to))
}

/// From the instant itself until `d` after it.
fn within_last(d: Duration, from: Timestamp, to: Timestamp, zone: Tz, watch: &mut Watch) -> Truth {
    if !watch.reached(from) {
        return Truth::False;
    }
    let past = watch.reached(to);
    if past && watch.reached(d.after(to, zone)) {
        return Truth::False;
    }
    Truth::told(past && !watch.reached(d.after(from, zone)), false)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000_000;

    fn hours(h: i64) -> Timestamp {
        Timestamp::from_micros(h * HOUR)
    }

    /// A time that lies between two: true where every instant between gives true, false where every one gives false; and the answer
    /// stands until the watch says so.
    #[test]
    fn a_rough_time_is_judged_as_all_its_instants() {
        let site = Site::new(Tz::UTC, "en");
        let d = Duration::parse("4h").unwrap();
        let date = FhirTime::Day("1970-01-02".parse().unwrap());
        let mut questions = vec![Question::Within(d), Question::WithinLast(d), Question::OlderThan(d)];
        questions.extend(Comparison::ALL.map(|c| Question::Time(c, date)));
        let ask = |question: &Question, from: i64, to: i64, now: i64| {
            let mut watch = Watch::at(hours(now));
            let truth = judge(question, &Finding::plain(Value::Time(hours(from), hours(to))), &site, &mut watch);
            (truth, watch.until())
        };
        for (question, from, length, now) in questions.iter().flat_map(|q| {
            (9..55).step_by(3).flat_map(move |f| [0, 2, 4, 9].into_iter().flat_map(move |l| (0..60).map(move |n| (q, f, l, n))))
        }) {
            let (truth, until) = ask(question, from, from + length, now);
            let each: Vec<Truth> = (from..=from + length).map(|t| ask(question, t, t, now).0).collect();
            assert!(!each.contains(&Truth::Unknown), "an exact time is before, in or after");
            let all = |wanted| each.iter().all(|t| *t == wanted);
            assert_eq!(truth, Truth::told(all(Truth::True), all(Truth::False)), "{question:?} {from}+{length} at {now}");
            let stands = (now..60).take_while(|later| until.is_none_or(|until| hours(*later) < until));
            for later in stands {
                assert_eq!(ask(question, from, from + length, later).0, truth, "{question:?} {from}+{length} from {now} to {later}");
            }
        }
    }

    #[test]
    fn a_rough_number_is_judged_as_all_its_values() {
        for (comparison, n, least, length) in
            Comparison::ALL.into_iter().flat_map(|c| (0..6).flat_map(move |n| (0..6).flat_map(move |l| (0..4).map(move |k| (c, n, l, k)))))
        {
            let each: Vec<Truth> = (least..=least + length).map(|v| number(comparison, n, v, v)).collect();
            let all = |wanted| each.iter().all(|t| *t == wanted);
            assert_eq!(number(comparison, n, least, least + length), Truth::told(all(Truth::True), all(Truth::False)));
        }
    }
}
