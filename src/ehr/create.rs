//! What came of a create (R4 http, 3.1.0.8 and 3.1.0.8.1; standards.md D.5). The question behind it: may it be sent again?

use std::time::Duration;

use domain::fhir::{Outcome, outcome, peek};
use http::header::{ETAG, LOCATION};

use super::retry::Class;
use crate::net::Response;

/// What came of a create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CreateOutcome {
    /// Stored now.
    Created(Written),
    /// One matched the condition already; nothing was stored.
    Existing(Written),
    /// Stored or not: nobody can tell from the answer. To be settled by search before anything is sent again.
    Unclear {
        /// In words, without patient data.
        why: String,
    },
    /// Not stored.
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

/// A resource as the EHR now has it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Written {
    /// Its id there; absent where the answer does not tell, which search must then.
    pub id: Option<String>,
    /// Its version, where told.
    pub version: Option<String>,
    /// The resource as the answer shows it, where it does.
    pub body: Option<Vec<u8>>,
}

impl std::fmt::Debug for Written {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Written").field("id", &self.id).field("version", &self.version).finish_non_exhaustive()
    }
}

/// What kind of no an EHR said to a create.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Not now: throttled or busy.
    Busy,
    /// Not this client, or not for this patient.
    Denied,
    /// Not this content.
    Invalid,
    /// Not this type, or no create of it.
    Unsupported,
    /// More than one matched the condition.
    SeveralMatch,
    /// It clashes with what is there.
    Conflict,
    /// Sent on to another address, which a write does not follow.
    Redirected,
}

/// Reads the answer to a create.
pub(super) fn read_answer(resource_type: &str, conditional: bool, class: Class, response: &Response) -> CreateOutcome {
    let status = response.status.as_u16();
    match (class, status) {
        // Some answer 200 to every create; only a condition makes it a hit.
        (Class::Final, 200) if conditional => CreateOutcome::Existing(written(resource_type, response)),
        (Class::Final, _) => CreateOutcome::Created(written(resource_type, response)),
        (Class::Unclear, _) => CreateOutcome::Unclear { why: format!("the EHR answered with HTTP status {status}") },
        _ => CreateOutcome::Refused {
            status,
            outcome: outcome(&response.body).unwrap_or_default(),
            class: refusal(status, conditional),
            retry_after: None,
        },
    }
}

pub(super) const fn refusal(status: u16, conditional: bool) -> Refusal {
    match status {
        429 => Refusal::Busy,
        401 | 403 => Refusal::Denied,
        404 | 405 | 501 => Refusal::Unsupported,
        412 if conditional => Refusal::SeveralMatch,
        409 | 412 => Refusal::Conflict,
        300..=399 => Refusal::Redirected,
        _ => Refusal::Invalid,
    }
}

/// Id and version: from the body where it is the resource, else from `Location` (versioned, not, absent, or on another host: only its
/// last segments count); for the version `ETag` comes first.
pub(super) fn written(resource_type: &str, response: &Response) -> Written {
    let body = peek(&response.body).ok().filter(|p| p.resource_type == resource_type);
    let (located_id, located_version) = response.header(LOCATION.as_str()).map(|l| located(resource_type, l)).unwrap_or_default();
    let etag = response.header(ETAG.as_str()).and_then(etag_version);
    let shown = body.is_some().then(|| response.body.clone());
    let (body_id, body_version) = body.map(|p| (p.id, p.version)).unwrap_or_default();
    Written {
        body: shown,
        id: body_id.map(std::borrow::Cow::into_owned).or(located_id),
        version: etag.or_else(|| body_version.map(std::borrow::Cow::into_owned)).or(located_version),
    }
}

/// Id and version of `.../Type/id` or `.../Type/id/_history/version`.
fn located(resource_type: &str, location: &str) -> (Option<String>, Option<String>) {
    let path = location.split(['?', '#']).next().unwrap_or(location);
    let mut segments = path.trim_end_matches('/').rsplit('/');
    let mut last = segments.next();
    let mut version = None;
    let mut before = segments.next();
    if before == Some("_history") {
        version = last.map(str::to_owned);
        last = segments.next();
        before = segments.next();
    }
    match (before, last) {
        (Some(kind), Some(id)) if kind == resource_type && !id.is_empty() => (Some(id.to_owned()), version),
        _ => (None, None),
    }
}

/// `3` of `W/"3"`; servers also send `"3"` and `3`.
fn etag_version(etag: &str) -> Option<String> {
    let bare = etag.trim().trim_start_matches("W/").trim_matches('"');
    (!bare.is_empty()).then(|| bare.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::StatusCode;
    use http::header::{HeaderMap, HeaderName, HeaderValue};
    use url::Url;

    fn answer(status: u16, headers: &[(&'static str, &'static str)], body: &str) -> Response {
        let headers = headers.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v)));
        Response {
            status: StatusCode::from_u16(status).unwrap(),
            headers: HeaderMap::from_iter(headers),
            body: body.as_bytes().to_vec(),
            url: Url::parse("https://ehr.example.org/r4/Communication").unwrap(),
            certificate: None,
        }
    }

    #[test]
    fn id_and_version_are_found_wherever_the_server_puts_them() {
        let body = r#"{"resourceType":"Communication","id":"b1","meta":{"versionId":"7"}}"#;
        for (headers, body, id, version) in [
            (&[("location", "https://ehr.example.org/r4/Communication/c1/_history/2")][..], "", Some("c1"), Some("2")),
            (&[("location", "http://inside.local:80/Communication/c1"), ("etag", "W/\"3\"")], "", Some("c1"), Some("3")),
            (&[("location", "Communication/c1/")], "", Some("c1"), None),
            (&[("location", "https://ehr.example.org/r4/Communication/c1/_history/2"), ("etag", "W/\"5\"")], body, Some("b1"), Some("5")),
            (&[], body, Some("b1"), Some("7")),
            (&[], "", None, None),
            (&[("location", "https://ehr.example.org/r4/Patient/p1")], "", None, None),
            (&[("location", "/")], r#"{"resourceType":"OperationOutcome","id":"o"}"#, None, None),
            (&[("etag", "\"a-b\"")], "<html>", None, Some("a-b")),
        ] {
            let shown = body.contains(r#""Communication""#).then(|| body.as_bytes().to_vec());
            let told = Written { id: id.map(str::to_owned), version: version.map(str::to_owned), body: shown };
            let outcome = read_answer("Communication", true, Class::Final, &answer(201, headers, body));
            assert_eq!(outcome, CreateOutcome::Created(told), "{headers:?} {body}");
        }
    }

    #[test]
    fn a_hit_of_the_condition_is_not_a_creation() {
        let with = |conditional, status| read_answer("Communication", conditional, Class::Final, &answer(status, &[], ""));
        assert!(matches!(with(true, 200), CreateOutcome::Existing(_)));
        assert!(matches!(with(true, 201), CreateOutcome::Created(_)));
        assert!(matches!(with(false, 200), CreateOutcome::Created(_)));
    }

    #[test]
    fn refusals_are_told_apart() {
        for (status, conditional, wanted) in [
            (400, true, Refusal::Invalid),
            (403, true, Refusal::Denied),
            (404, true, Refusal::Unsupported),
            (405, true, Refusal::Unsupported),
            (409, true, Refusal::Conflict),
            (412, true, Refusal::SeveralMatch),
            (412, false, Refusal::Conflict),
            (422, true, Refusal::Invalid),
            (429, true, Refusal::Busy),
            (307, true, Refusal::Redirected),
        ] {
            let got = read_answer("Communication", conditional, Class::Never, &answer(status, &[], ""));
            assert!(matches!(got, CreateOutcome::Refused { class, .. } if class == wanted), "{status}: {got:?}");
        }
        let unclear = read_answer("Communication", true, Class::Unclear, &answer(500, &[], ""));
        assert!(matches!(unclear, CreateOutcome::Unclear { .. }));
    }
}
