//! What came of an update or a patch of a resource that is there (R4 http, 3.1.0.7 and 3.1.0.8.3; standards.md D.5).

use std::time::Duration;

use domain::fhir::{Outcome, outcome};

use super::create::{Refusal, Written, refusal, written};
use super::retry::Class;
use crate::net::Response;

/// What came of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangeOutcome {
    /// It is as it was asked to be.
    Changed(Written),
    /// Changed or not: nobody can tell from the answer. To be settled by reading it.
    Unclear {
        /// In words, without patient data.
        why: String,
    },
    /// Not changed. [`Refusal::Conflict`] is another version than the one that was named: 412, and 409 at some.
    Refused {
        /// HTTP status.
        status: u16,
        /// The OperationOutcome's codes.
        outcome: Outcome,
        /// What kind of no.
        class: Refusal,
        /// How long the EHR asks to wait, where told.
        retry_after: Option<Duration>,
    },
}

/// Reads the answer to a change.
pub(super) fn read_answer(resource_type: &str, class: Class, response: &Response, retry_after: Option<Duration>) -> ChangeOutcome {
    let status = response.status.as_u16();
    match class {
        Class::Final => ChangeOutcome::Changed(written(resource_type, response)),
        Class::Unclear => ChangeOutcome::Unclear { why: format!("the EHR answered with HTTP status {status}") },
        _ => ChangeOutcome::Refused {
            status,
            outcome: outcome(&response.body).unwrap_or_default(),
            class: refusal(status, false),
            retry_after,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::StatusCode;
    use http::header::HeaderMap;
    use url::Url;

    #[test]
    fn what_a_status_says_of_a_change() {
        for (class, status, wanted) in [
            (Class::Never, 409, Some(Refusal::Conflict)),
            (Class::Never, 412, Some(Refusal::Conflict)),
            (Class::Never, 404, Some(Refusal::Unsupported)),
            (Class::Never, 405, Some(Refusal::Unsupported)),
            (Class::Never, 403, Some(Refusal::Denied)),
            (Class::Never, 422, Some(Refusal::Invalid)),
            (Class::Later, 429, Some(Refusal::Busy)),
            (Class::Unclear, 500, None),
            (Class::Final, 200, None),
            (Class::Final, 204, None),
        ] {
            let response = Response {
                status: StatusCode::from_u16(status).unwrap(),
                headers: HeaderMap::new(),
                body: Vec::new(),
                url: Url::parse("https://ehr.example.org/r4/Appointment/1").unwrap(),
                certificate: None,
            };
            let told = read_answer("Appointment", class, &response, None);
            match (wanted, class, told) {
                (Some(wanted), _, ChangeOutcome::Refused { class, .. }) => assert_eq!(class, wanted, "{status}"),
                (None, Class::Unclear, ChangeOutcome::Unclear { .. }) | (None, Class::Final, ChangeOutcome::Changed(_)) => {}
                (_, _, told) => panic!("{status}: {told:?}"),
            }
        }
    }
}
