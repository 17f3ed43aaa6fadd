//! How an attempt ended, as R4 says it: `Communication.status` and `statusReason`.
//!
//! | attempt | status | reason | why |
//! |---|---|---|---|
//! | delivered, answered | completed | - | |
//! | unknown, and the channel had taken it | completed | delivery-unknown | It was handed over, which is what `completed` says; nothing claims that it arrived: there is no `received`. R4's `unknown` would say that we do not know whether it was sent |
//! | unknown, and the channel never said that it took it | unknown | unknown | Track was lost in the middle of the send |
//! | failed | stopped | by the failure's code | It was begun and given up |
//!
//! `received` is never written: the store keeps when a receipt was handled, not when the patient had the message.

use typed::Concept;
use typed::codes::{outcome, status_reason};

use super::contract::Status;
use crate::store::attempts::Attempt;

/// Status and reason of a finished attempt; `None` where it has not finished.
pub(super) fn status(a: &Attempt) -> Option<(Status, Option<Concept>)> {
    match a.outcome.as_deref()? {
        "delivered" | "answered" => Some((Status::Completed, None)),
        // `settle_by` is set when the channel takes a message.
        "unknown" if a.settle_by.is_some() => Some((Status::Completed, Some(outcome::DELIVERY_UNKNOWN.into()))),
        "unknown" => Some((Status::Unknown, Some(status_reason::UNKNOWN.into()))),
        "failed" => Some((Status::Stopped, Some(failure_reason(a.channel.as_deref(), failure_code(a))))),
        _ => None,
    }
}

/// The failure's code: without the mark that only the channel was at fault, which matters to the next rung and not to a chart.
pub(super) fn failure_code(a: &Attempt) -> Option<&str> {
    a.failure.as_deref().map(|f| f.strip_prefix("channel: ").unwrap_or(f))
}

/// The reason of a failure. Its code is the first word, or an enhanced mail status (RFC 3463) anywhere in it (`550 5.1.1`).
fn failure_reason(channel: Option<&str>, failure: Option<&str>) -> Concept {
    let failure = failure.unwrap_or_default();
    let word = failure.split([' ', ':', ',']).next().unwrap_or_default();
    let phone = matches!(channel, Some("sms" | "call" | "automated-call"));
    match (word, failure.split(' ').find_map(enhanced)) {
        ("invalid-phone-number" | "invalid-number", _) => invalid_phone(),
        ("invalid-address" | "no-contact-point", _) if phone => invalid_phone(),
        ("invalid-address" | "no-contact-point", _) | (_, Some((1, _) | (2, 1))) => {
            Concept::from(status_reason::RECIPIENT_UNAVAILABLE).and(outcome::INVALID_ADDRESS)
        }
        ("no-answer", _) => Concept::from(status_reason::RECIPIENT_UNAVAILABLE).and(outcome::NO_ANSWER),
        ("unreachable", _) => Concept::from(status_reason::RECIPIENT_UNAVAILABLE).and(outcome::UNREACHABLE),
        ("recipient-unavailable", _) | (_, Some((2, _))) => status_reason::RECIPIENT_UNAVAILABLE.into(),
        ("opted-out" | "patient-objection", _) => status_reason::PATIENT_OBJECTION.into(),
        ("filtered", _) | (_, Some((7, _))) => Concept::from(status_reason::SYSTEM_ERROR).and(outcome::FILTERED),
        ("expired", _) => Concept::from(status_reason::SYSTEM_ERROR).and(outcome::EXPIRED),
        _ => status_reason::SYSTEM_ERROR.into(),
    }
}

fn invalid_phone() -> Concept {
    Concept::from(status_reason::INVALID_PHONE_NUMBER).and(outcome::INVALID_ADDRESS)
}

/// Subject and detail of a permanent or persistent enhanced status code: `(1, 1)` of `5.1.1`. Subject 1 is the address, 2 the mailbox,
/// 7 policy (RFC 3463 section 3).
fn enhanced(word: &str) -> Option<(u16, u16)> {
    let mut parts = word.split('.');
    let (class, subject, detail, end) = (parts.next()?, parts.next()?, parts.next()?, parts.next());
    let whole = matches!(class, "4" | "5") && end.is_none();
    whole.then_some((subject.parse().ok()?, detail.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(concept: &Concept) -> Vec<&str> {
        concept.coding.iter().map(|c| c.code.as_str()).collect()
    }

    #[test]
    fn failures_have_the_reason_that_staff_can_act_on() {
        for (channel, failure, wanted) in [
            ("email", Some("550 5.1.1"), &["recipient-unavailable", "invalid-address"][..]),
            ("email", Some("5.1.10"), &["recipient-unavailable", "invalid-address"]),
            ("email", Some("550 5.2.1 disabled"), &["recipient-unavailable", "invalid-address"]),
            ("email", Some("552 5.2.2"), &["recipient-unavailable"]),
            ("email", Some("550 5.7.1"), &["system-error", "filtered"]),
            ("email", Some("554 5.3.4"), &["system-error"]),
            ("email", Some("554"), &["system-error"]),
            ("email", Some("invalid-address: no such mailbox"), &["recipient-unavailable", "invalid-address"]),
            ("sms", Some("invalid-address"), &["invalid-phone-number", "invalid-address"]),
            ("sms", Some("invalid-phone-number"), &["invalid-phone-number", "invalid-address"]),
            ("sms", Some("filtered"), &["system-error", "filtered"]),
            ("call", Some("no-answer, three calls"), &["recipient-unavailable", "no-answer"]),
            ("call", Some("unreachable"), &["recipient-unavailable", "unreachable"]),
            ("sms", Some("opted-out"), &["patient-objection"]),
            ("sms", Some("expired"), &["system-error", "expired"]),
            ("sms", Some("2.1.1"), &["system-error"]),
            ("sms", Some(""), &["system-error"]),
            ("sms", None, &["system-error"]),
        ] {
            assert_eq!(codes(&failure_reason(Some(channel), failure)), wanted, "{channel} {failure:?}");
        }
    }
}
