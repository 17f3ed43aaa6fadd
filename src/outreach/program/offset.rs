//! When a step comes due and when it is no longer worth sending, counted from its anchor. Hours are elapsed time; days are calendar
//! days in a time zone, so that "the day before at ten" stays so over a change of the clocks and after a reschedule.

use chrono::{Days, NaiveTime, TimeDelta};
use domain::Timestamp;
use domain::model::time::civil;

/// Time between an anchor and a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offset {
    /// Elapsed time: `-72h`, `+30m`.
    Elapsed(TimeDelta),
    /// Calendar days: `-3d` at the anchor's own time of day, `+1d at 10:00` at that local time.
    Calendar {
        /// Days after the anchor's local date; negative is before it.
        days: i32,
        /// The local time; the anchor's where absent.
        at: Option<NaiveTime>,
    },
}

/// What may be written for an [`Offset`].
pub(super) const OFFSET_FORMS: &str = "an offset such as \"-72h\", \"+30m\", \"-3d\" or \"+1d at 10:00\"";
/// What may be written for an [`Expiry`].
pub(super) const EXPIRY_FORMS: &str = "a limit such as \"anchor\", \"anchor-2h\", \"anchor+7d\" or \"due+48h\"";

impl Offset {
    /// Reads an offset; the sign must be written. At most 3 years either way.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if let Some((days, at)) = text.split_once(" at ") {
            let days = signed(days.trim().strip_suffix('d')?)?;
            let at = NaiveTime::parse_from_str(at.trim(), "%H:%M").ok()?;
            return Some(Self::Calendar { days, at: Some(at) });
        }
        match (text.strip_suffix('d'), text.strip_suffix('h'), text.strip_suffix('m')) {
            (Some(n), _, _) => Some(Self::Calendar { days: signed(n)?, at: None }),
            (_, Some(n), _) => Some(Self::Elapsed(TimeDelta::hours(i64::from(signed(n)?)))),
            (_, _, Some(n)) => Some(Self::Elapsed(TimeDelta::minutes(i64::from(signed(n)?)))),
            _ => None,
        }
    }

    /// The instant that lies this far from `anchor`, calendar days counted in `zone`.
    #[must_use]
    pub fn from(self, anchor: Timestamp, zone: chrono_tz::Tz) -> Timestamp {
        match self {
            Self::Elapsed(delta) => anchor.plus(delta),
            Self::Calendar { days, at } => {
                let local = anchor.to_utc().with_timezone(&zone).naive_local();
                let by = Days::new(u64::from(days.unsigned_abs()));
                let date = if days < 0 { local.date().checked_sub_days(by) } else { local.date().checked_add_days(by) };
                civil(date.unwrap_or_else(|| local.date()), at.unwrap_or_else(|| local.time()), zone)
            }
        }
    }
}

fn signed(text: &str) -> Option<i32> {
    let digits = text.strip_prefix(['+', '-'])?;
    let n: i32 = digits.parse().ok().filter(|n| (0..=26_280).contains(n) && digits.bytes().all(|b| b.is_ascii_digit()))?;
    Some(if text.starts_with('-') { -n } else { n })
}

/// When a step's message is no longer worth sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// This far from the anchor: `anchor`, `anchor-2h`.
    FromAnchor(Offset),
    /// This long after it came due: `due+48h`.
    FromDue(Offset),
}

impl Expiry {
    /// Reads a limit.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text == "anchor" {
            return Some(Self::FromAnchor(Offset::Elapsed(TimeDelta::zero())));
        }
        match (text.strip_prefix("anchor"), text.strip_prefix("due")) {
            (Some(rest), _) => Offset::parse(rest).map(Self::FromAnchor),
            (_, Some(rest)) if rest.starts_with('+') => Offset::parse(rest).map(Self::FromDue),
            _ => None,
        }
    }

    /// The first instant at which the message must not be sent any more.
    #[must_use]
    pub fn at(self, anchor: Timestamp, due: Timestamp, zone: chrono_tz::Tz) -> Timestamp {
        match self {
            Self::FromAnchor(offset) => offset.from(anchor, zone),
            Self::FromDue(offset) => offset.from(due, zone),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW_YORK: chrono_tz::Tz = chrono_tz::America::New_York;

    #[test]
    fn offsets_are_read() {
        for (text, wanted) in [
            ("-72h", Some(Offset::Elapsed(TimeDelta::hours(-72)))),
            ("+0h", Some(Offset::Elapsed(TimeDelta::zero()))),
            ("+30m", Some(Offset::Elapsed(TimeDelta::minutes(30)))),
            ("-3d", Some(Offset::Calendar { days: -3, at: None })),
            ("+1d at 10:00", Some(Offset::Calendar { days: 1, at: NaiveTime::from_hms_opt(10, 0, 0) })),
            ("72h", None),
            ("-72", None),
            ("--72h", None),
            ("+1d at 25:00", None),
            ("+1h at 10:00", None),
            ("+99999d", None),
            ("", None),
        ] {
            assert_eq!(Offset::parse(text), wanted, "{text}");
        }
    }

    #[test]
    fn calendar_days_keep_the_time_of_day_over_a_change_of_the_clocks() {
        // Clocks in New York go forward on 2026-03-08 at 2:00 and back on 2026-11-01 at 2:00.
        for (anchor, offset, wanted) in [
            ("2026-03-09T09:00:00-04:00", "-1d", "2026-03-08T09:00:00-04:00"),
            ("2026-03-09T09:00:00-04:00", "-2d", "2026-03-07T09:00:00-05:00"),
            ("2026-03-09T09:00:00-04:00", "-48h", "2026-03-07T08:00:00-05:00"),
            ("2026-03-07T02:30:00-05:00", "+1d", "2026-03-08T03:00:00-04:00"),
            ("2026-11-02T01:30:00-05:00", "-1d", "2026-11-01T01:30:00-04:00"),
            ("2026-11-02T23:30:00-05:00", "-1d at 10:00", "2026-11-01T10:00:00-05:00"),
        ] {
            let got = Offset::parse(offset).unwrap().from(Timestamp::parse(anchor).unwrap(), NEW_YORK);
            assert_eq!(got, Timestamp::parse(wanted).unwrap(), "{anchor} {offset}: {got}");
        }
    }

    #[test]
    fn limits_are_read() {
        let anchor = Timestamp::parse("2026-06-10T09:00:00-04:00").unwrap();
        let due = Timestamp::parse("2026-06-07T09:00:00-04:00").unwrap();
        for (text, wanted) in [
            ("anchor", Some("2026-06-10T09:00:00-04:00")),
            ("anchor-2h", Some("2026-06-10T07:00:00-04:00")),
            ("anchor+7d", Some("2026-06-17T09:00:00-04:00")),
            ("due+48h", Some("2026-06-09T09:00:00-04:00")),
            ("due-48h", None),
            ("due", None),
            ("anchors", None),
        ] {
            let got = Expiry::parse(text).map(|e| e.at(anchor, due, NEW_YORK));
            assert_eq!(got, wanted.map(|w| Timestamp::parse(w).unwrap()), "{text}");
        }
    }
}
