//! HTTP dates, and how far a server's clock is from ours.

use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, NaiveDateTime, TimeDelta};
use domain::Timestamp;

/// From here on a difference of the clocks is worth telling: an assertion is taken where the clocks differ by less than two and a half minutes.
pub const WORTH_TELLING: TimeDelta = TimeDelta::seconds(120);

/// Reads an HTTP date in any of the three forms of RFC 9110, section 5.6.7.
#[must_use]
pub fn http_date(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    let naive = |form: &str| NaiveDateTime::parse_from_str(text, form).ok().map(|t| t.and_utc());
    DateTime::parse_from_rfc2822(text)
        .map(|t| t.to_utc())
        .ok()
        .or_else(|| naive("%A, %d-%b-%y %H:%M:%S GMT"))
        .or_else(|| naive("%a %b %e %H:%M:%S %Y"))
        .map(Timestamp::from)
}

/// The last known difference between a server's clock and ours, by its `Date` headers. To the second: that is all they tell.
#[derive(Debug)]
pub struct Skew(AtomicI64);

const UNKNOWN: i64 = i64::MIN;

impl Default for Skew {
    fn default() -> Self {
        Self(AtomicI64::new(UNKNOWN))
    }
}

impl Skew {
    /// Notes that the server's clock said `server` when ours said `ours`.
    pub fn note(&self, server: Timestamp, ours: Timestamp) {
        self.0.store(server.since(ours).num_seconds(), Ordering::Relaxed);
    }

    /// How far the server's clock is ahead of ours; negative where it is behind. `None` before the first answer.
    #[must_use]
    pub fn ahead(&self) -> Option<TimeDelta> {
        let seconds = self.0.load(Ordering::Relaxed);
        if seconds == UNKNOWN { None } else { TimeDelta::try_seconds(seconds) }
    }

    /// The difference, where it is worth telling.
    #[must_use]
    pub fn notable(&self) -> Option<TimeDelta> {
        self.ahead().filter(|d| d.abs() > WORTH_TELLING)
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use domain::Timestamp;

    use super::{Skew, http_date};

    #[test]
    fn reads_all_three_forms() {
        let wanted = Timestamp::parse("1994-11-06T08:49:37Z");
        for text in ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"] {
            assert_eq!(http_date(text), wanted, "{text}");
        }
        for text in ["", "120", "yesterday", "2026-11-23"] {
            assert_eq!(http_date(text), None, "{text}");
        }
    }

    #[test]
    fn small_differences_are_not_told() {
        let at = |s: i64| Timestamp::from_micros(s * 1_000_000);
        let skew = Skew::default();
        assert_eq!((skew.ahead(), skew.notable()), (None, None));
        skew.note(at(1000), at(1100));
        assert_eq!((skew.ahead(), skew.notable()), (Some(TimeDelta::seconds(-100)), None));
        skew.note(at(1600), at(1000));
        assert_eq!(skew.notable(), Some(TimeDelta::minutes(10)));
    }
}
