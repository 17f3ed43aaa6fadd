//! What to do after an answer: go on, try again, or stop. The classes of standards.md D.6, as pure functions.
//!
//! The difference that matters is between reads, which may be repeated freely, and writes: a write whose outcome is not known is never
//! sent again before it was searched for.

use std::time::Duration;

use chrono::TimeDelta;
use domain::Timestamp;

use super::date::http_date;

/// Whether a request changes anything at the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent {
    /// Read or search.
    Read,
    /// Create or update.
    Write,
}

/// What came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer<'a> {
    /// A whole answer with this HTTP status, and the issue codes of its OperationOutcome.
    Status(u16, &'a [String]),
    /// No whole answer; the request certainly did not reach the server.
    NeverSent {
        /// Whether a later try may succeed.
        transient: bool,
    },
    /// No whole answer; the request may have been carried out.
    Lost {
        /// Whether a later try may succeed.
        transient: bool,
    },
}

/// What to do with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// It is an answer: use it.
    Final,
    /// Not carried out: wait and try again.
    Later,
    /// The token is not taken: get a new one and try again, once.
    Renew,
    /// It may or may not have been carried out: settle it by search.
    Unclear,
    /// It will not succeed by trying again.
    Never,
}

/// OperationOutcome issue types that pass (R4 issue-type, group `transient`).
const TRANSIENT_ISSUES: [&str; 7] = ["transient", "lock-error", "no-store", "exception", "timeout", "incomplete", "throttled"];

/// The class of an answer.
#[must_use]
pub fn classify(intent: Intent, answer: Answer<'_>) -> Class {
    let lost = match intent {
        Intent::Read => Class::Later,
        Intent::Write => Class::Unclear,
    };
    match answer {
        Answer::NeverSent { transient: true } => Class::Later,
        Answer::NeverSent { transient: false } => Class::Never,
        Answer::Lost { transient } if transient || intent == Intent::Write => lost,
        Answer::Lost { .. } => Class::Never,
        Answer::Status(200..=299, _) => Class::Final,
        Answer::Status(401, _) => Class::Renew,
        // Refused before anything was done.
        Answer::Status(429, _) => Class::Later,
        Answer::Status(408 | 500 | 502..=504, _) => lost,
        Answer::Status(400 | 403 | 404 | 405 | 409 | 410 | 412 | 422 | 501, _) => Class::Never,
        // A server error of a write leaves open whether it was carried out, whatever the code says.
        Answer::Status(500..=599, _) if intent == Intent::Write => Class::Unclear,
        Answer::Status(_, issues) if issues.iter().any(|code| TRANSIENT_ISSUES.contains(&code.as_str())) => Class::Later,
        Answer::Status(..) => Class::Never,
    }
}

/// How often and how long apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Tries in all, the first included.
    pub tries: u32,
    /// The longest wait before the second try; doubled with each further one.
    pub base: Duration,
    /// The longest wait of our own choosing.
    pub cap: Duration,
    /// The longest wait that a server's `Retry-After` is granted. Whoever asks for more is not waited for: the run ends and comes again.
    pub patience: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self { tries: 5, base: Duration::from_millis(500), cap: Duration::from_secs(30), patience: Duration::from_secs(120) }
    }
}

impl Policy {
    /// How long to wait before the next try; `None` where there is none. `tried` counts the tries made, `random` is any number.
    ///
    /// Without `Retry-After`: between half and the whole of `base * 2^(tried-1)`, at most `cap`, so that many clients do not come back
    /// at the same moment. With it: that long, and up to a tenth more.
    #[must_use]
    pub fn wait(&self, tried: u32, retry_after: Option<Duration>, random: u64) -> Option<Duration> {
        if tried >= self.tries {
            return None;
        }
        let share = |of: Duration| of.mul_f64(f64::from(u32::try_from(random >> 32).unwrap_or(u32::MAX)) / f64::from(u32::MAX));
        match retry_after {
            Some(asked) if asked > self.patience => None,
            Some(asked) => Some(asked + share(asked / 10)),
            None => {
                let whole = self.base.saturating_mul(2_u32.saturating_pow(tried.saturating_sub(1))).min(self.cap);
                Some(whole / 2 + share(whole / 2))
            }
        }
    }
}

/// Reads `Retry-After`: seconds, an HTTP date, or (seen in the field) an instant in milliseconds since 1970. A time in the past is no
/// wait; what cannot be read is `None`.
#[must_use]
pub fn retry_after(header: &str, now: Timestamp) -> Option<Duration> {
    let text = header.trim();
    let until = |instant: Timestamp| instant.since(now).max(TimeDelta::zero()).to_std().ok();
    match text.parse::<u64>() {
        // As seconds this would be more than 300 years.
        Ok(millis) if millis >= 10_000_000_000 => until(Timestamp::from_micros(i64::try_from(millis).ok()?.saturating_mul(1000))),
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => match text.parse::<f64>() {
            Ok(seconds) if (0.0..=1e9).contains(&seconds) => Some(Duration::from_secs_f64(seconds)),
            _ => until(http_date(text)?),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_by_intent() {
        use Class::{Final, Later, Never, Renew, Unclear};
        for (status, read, write) in [
            (200, Final, Final),
            (201, Final, Final),
            (204, Final, Final),
            (302, Never, Never),
            (400, Never, Never),
            (401, Renew, Renew),
            (403, Never, Never),
            (404, Never, Never),
            (408, Later, Unclear),
            (409, Never, Never),
            (410, Never, Never),
            (412, Never, Never),
            (422, Never, Never),
            (429, Later, Later),
            (500, Later, Unclear),
            (501, Never, Never),
            (502, Later, Unclear),
            (503, Later, Unclear),
            (504, Later, Unclear),
            (507, Never, Unclear),
        ] {
            assert_eq!(classify(Intent::Read, Answer::Status(status, &[])), read, "read {status}");
            assert_eq!(classify(Intent::Write, Answer::Status(status, &[])), write, "write {status}");
        }
    }

    #[test]
    fn issue_codes_decide_only_where_the_status_does_not() {
        let codes = |code: &str| vec![code.to_owned()];
        assert_eq!(classify(Intent::Read, Answer::Status(423, &codes("lock-error"))), Class::Later);
        assert_eq!(classify(Intent::Read, Answer::Status(423, &codes("processing"))), Class::Never);
        assert_eq!(classify(Intent::Read, Answer::Status(400, &codes("transient"))), Class::Never);
    }

    #[test]
    fn a_write_is_repeated_only_where_it_never_left() {
        for transient in [true, false] {
            assert_eq!(classify(Intent::Write, Answer::Lost { transient }), Class::Unclear);
        }
        assert_eq!(classify(Intent::Write, Answer::NeverSent { transient: true }), Class::Later);
        assert_eq!(classify(Intent::Read, Answer::Lost { transient: true }), Class::Later);
        assert_eq!(classify(Intent::Read, Answer::Lost { transient: false }), Class::Never);
        assert_eq!(classify(Intent::Read, Answer::NeverSent { transient: false }), Class::Never);
    }

    #[test]
    fn retry_after_in_all_its_forms() {
        let now = Timestamp::parse("2026-11-23T10:00:00Z").unwrap();
        let secs = |s| Some(Duration::from_secs(s));
        for (header, wait) in [
            ("1", secs(1)),
            (" 120 ", secs(120)),
            ("0.5", Some(Duration::from_millis(500))),
            ("7200", secs(7200)),
            ("Mon, 23 Nov 2026 10:00:30 GMT", secs(30)),
            ("Mon, 23 Nov 2026 09:00:00 GMT", secs(0)),
            ("1795428060000", secs(60)),
            ("1700000000000", secs(0)),
            ("-5", None),
            ("soon", None),
            ("", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(retry_after(header, now), wait, "{header}");
        }
    }

    #[test]
    fn waits_grow_are_jittered_and_end() {
        let policy = Policy { tries: 4, base: Duration::from_secs(1), cap: Duration::from_secs(3), patience: Duration::from_secs(60) };
        for (tried, least, most) in [(1, 500, 1000), (2, 1000, 2000), (3, 1500, 3000)] {
            assert_eq!(policy.wait(tried, None, 0), Some(Duration::from_millis(least)));
            assert_eq!(policy.wait(tried, None, u64::MAX), Some(Duration::from_millis(most)));
        }
        assert_eq!(policy.wait(4, None, 0), None);
        assert_eq!(policy.wait(4, Some(Duration::ZERO), 0), None);
        assert_eq!(policy.wait(1, Some(Duration::from_secs(10)), 0), Some(Duration::from_secs(10)));
        assert_eq!(policy.wait(1, Some(Duration::from_secs(10)), u64::MAX), Some(Duration::from_secs(11)));
        assert_eq!(policy.wait(1, Some(Duration::from_secs(61)), 0), None, "two hours are not slept through");
    }
}
