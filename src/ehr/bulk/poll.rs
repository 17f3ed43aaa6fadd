//! How an EHR is asked whether an export is ready: what each answer means, and when to ask again. Pure.

use std::time::Duration;

use domain::Timestamp;
use domain::fhir::Outcome;

use crate::ehr::retry::Policy;

/// The most failures in a row before an export is given up: with the waits between them that is hours where runs follow each other.
pub const MOST_FAILURES: i64 = 50;
/// The same where the EHR does not say that its failure passes: some answer 500 for good.
pub const MOST_UNEXPLAINED: i64 = 10;
/// The longest wait of our own choosing, and the longest that a `Retry-After` is granted while nothing is throttled, as a multiple of the
/// policy's: five minutes with the usual one. Servers ask for two hours for a job that takes three seconds (standards.md C.6).
const CAP: u32 = 10;

/// What came of asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Polled {
    /// Ready: the manifest's bytes.
    Ready {
        /// As received.
        manifest: Vec<u8>,
        /// The server's clock.
        server_date: Option<Timestamp>,
    },
    /// In work.
    Working {
        /// The server's words on its progress, cut to what can be shown.
        progress: Option<String>,
        /// How long it wants to be left alone, where told.
        retry_after: Option<Duration>,
    },
    /// Asked too often (429).
    Throttled {
        /// How long it wants to be left alone, where told.
        retry_after: Option<Duration>,
    },
    /// It failed in a way that may pass: keep asking.
    Failing {
        /// In words.
        why: String,
        /// Whether it says so itself.
        transient: bool,
        /// How long it wants to be left alone, where told.
        retry_after: Option<Duration>,
    },
    /// There is no such export any more (404, 410).
    Gone,
    /// The EHR keeps it from this client.
    Refused {
        /// HTTP status.
        status: u16,
        /// Codes of the OperationOutcome.
        outcome: Outcome,
    },
}

/// What an answer with a whole body means. A body that is an OperationOutcome is handed in read.
#[must_use]
pub fn read(
    status: u16,
    outcome: Option<Outcome>,
    progress: Option<&str>,
    retry_after: Option<Duration>,
    body: Vec<u8>,
    server_date: Option<Timestamp>,
) -> Polled {
    let says_so = outcome.as_ref().is_some_and(|o| ["transient", "throttled", "timeout", "lock-error"].iter().any(|code| o.has(code)));
    match status {
        200 => Polled::Ready { manifest: body, server_date },
        201..=299 => Polled::Working { progress: progress.map(shown).filter(|text| !text.is_empty()), retry_after },
        429 => Polled::Throttled { retry_after },
        404 | 410 => Polled::Gone,
        408 | 425 | 500..=599 if status != 501 => Polled::Failing {
            why: format!("HTTP status {status} ({})", outcome.unwrap_or_default()),
            transient: says_so || status != 500,
            retry_after,
        },
        status => Polled::Refused { status, outcome: outcome.unwrap_or_default() },
    }
}

fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(100).collect::<String>().trim().to_owned()
}

/// How long to wait before asking again. `asked` counts how often it was asked so far. A throttled one is never asked before it said; else
/// what it asks for is granted up to a cap.
#[must_use]
pub fn wait(policy: &Policy, polled: &Polled, asked: u32) -> Duration {
    let cap = policy.cap.saturating_mul(CAP);
    let own = policy.base.saturating_mul(2_u32.saturating_pow(asked.min(16))).min(cap);
    match polled {
        Polled::Throttled { retry_after } => retry_after.unwrap_or(own).max(own),
        Polled::Working { retry_after, .. } | Polled::Failing { retry_after, .. } => {
            // A time in the past is no wait, and a server is not asked over and over for that.
            retry_after.map_or(own, |asked| asked.clamp(policy.base, cap))
        }
        Polled::Ready { .. } | Polled::Gone | Polled::Refused { .. } => Duration::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, codes: &str, retry: Option<u64>) -> Polled {
        let text = format!(r#"{{"resourceType":"OperationOutcome","issue":[{{"severity":"error","code":"{codes}"}}]}}"#);
        let outcome = domain::fhir::outcome(text.as_bytes()).filter(|_| !codes.is_empty());
        read(status, outcome, Some("50 %\u{7}"), retry.map(Duration::from_secs), Vec::new(), None)
    }

    #[test]
    fn each_answer_has_a_meaning() {
        assert!(matches!(answer(200, "", None), Polled::Ready { .. }));
        assert!(matches!(answer(202, "", None), Polled::Working { progress: Some(p), retry_after: None } if p == "50 %"));
        assert!(matches!(answer(429, "", Some(7)), Polled::Throttled { retry_after: Some(_) }));
        assert!(matches!(answer(500, "transient", None), Polled::Failing { transient: true, .. }));
        assert!(matches!(answer(500, "exception", None), Polled::Failing { transient: false, .. }));
        assert!(matches!(answer(500, "", None), Polled::Failing { transient: false, .. }));
        assert!(matches!(answer(503, "", None), Polled::Failing { transient: true, .. }));
        assert!([404, 410].iter().all(|s| answer(*s, "not-found", None) == Polled::Gone));
        assert!([400, 401, 403, 405, 422, 501].iter().all(|s| matches!(answer(*s, "", None), Polled::Refused { .. })));
    }

    #[test]
    fn waits_are_the_servers_within_a_cap_and_never_shorter_where_it_throttles() {
        let policy = Policy::default();
        let working = |retry: Option<u64>| Polled::Working { progress: None, retry_after: retry.map(Duration::from_secs) };
        let seconds = |polled: &Polled, asked| wait(&policy, polled, asked).as_secs_f64();
        assert_eq!(seconds(&working(Some(120)), 0), 120.0);
        assert_eq!(seconds(&working(Some(7200)), 0), 300.0, "two hours are not slept through");
        assert_eq!(seconds(&working(Some(0)), 3), 0.5, "nor is it asked over and over");
        assert_eq!([0, 1, 2, 12].map(|n| seconds(&working(None), n)), [0.5, 1.0, 2.0, 300.0]);
        let throttled = |retry: Option<u64>| Polled::Throttled { retry_after: retry.map(Duration::from_secs) };
        assert_eq!(seconds(&throttled(Some(7200)), 0), 7200.0);
        assert_eq!(seconds(&throttled(None), 4), 8.0);
    }
}
