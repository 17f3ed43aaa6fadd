//! Why a request to an EHR brought nothing usable.

use std::time::Duration;

use domain::fhir::{Outcome, Reject};

use super::auth::TokenError;
use super::pace::{Paused, Why};
use crate::net::Failure;

/// A request that failed for good, or after all tries. Holds no path, query or body.
#[derive(Debug, thiserror::Error)]
pub enum EhrError {
    /// No whole answer.
    #[error("the EHR gave no answer")]
    Unreachable(#[source] Failure),
    /// No token, so no request.
    #[error("no access token for the EHR")]
    Token(#[source] TokenError),
    /// No token for a type that has a credential of its own; the other types go on.
    #[error("no access token for {0}, which has a credential of its own")]
    TokenApart(String, #[source] TokenError),
    /// The EHR granted nothing for the type.
    #[error("the EHR granted this client no access to {0}; have the scope added to the client's registration")]
    NotGranted(String),
    /// The EHR refused or failed, with this status.
    #[error("the EHR answered with HTTP status {status} ({outcome})")]
    Refused {
        /// HTTP status.
        status: u16,
        /// Codes of the OperationOutcome, where there was one.
        outcome: Outcome,
    },
    /// The EHR sends a search on in a way that would lose what is asked, or carry it to another server.
    #[error(
        "the EHR sends a search on to {to} (HTTP status {status}), which was not followed: what is asked would be lost or go elsewhere; if the \
         FHIR server moved, register its new base URL (`ehr add --moved`)"
    )]
    SearchSentOn {
        /// HTTP status.
        status: u16,
        /// The origin that it is sent on to.
        to: String,
    },
    /// The EHR asks for more patience than a run has.
    #[error("the EHR is busy (HTTP status {status}){}", .retry_after.map(|d| format!(" and asks to come back in {} s", d.as_secs())).unwrap_or_default())]
    Busy {
        /// HTTP status.
        status: u16,
        /// How long it asks to wait, where told.
        retry_after: Option<Duration>,
    },
    /// Nothing may be asked for longer than a run waits. Nothing was sent.
    #[error("{0}")]
    Paused(Paused),
    /// Success, but the body is not what FHIR says it is.
    #[error("the EHR's answer is not a FHIR {expected}")]
    NotFhir {
        /// What was expected.
        expected: &'static str,
        #[source]
        source: Option<Reject>,
    },
    /// A link to a further page is not taken any more: the search must be started anew.
    #[error("the EHR no longer knows the next page of this search; the search must be repeated")]
    PageExpired,
    /// A `next` link came a second time.
    #[error("the EHR's pages run in a circle: a next link came twice")]
    PagesCircle,
    /// Page follows page, and none brings anything.
    #[error("the EHR's pages bring nothing new and do not end: {0} in a row were empty, or the same as one before")]
    PagesBarren(u32),
    /// A `next` link leads elsewhere.
    #[error("the EHR's next link leads outside of its FHIR base; it was not followed")]
    NextLinkElsewhere,
    /// A value that cannot be put in a URL.
    #[error("a request could not be formed: a resource type or id has characters that FHIR does not allow")]
    BadRequest,
}

impl EhrError {
    /// Whether the credential itself is dead, so that no type can succeed: refused as a client, or a fresh token not taken.
    #[must_use]
    pub fn is_credential(&self) -> bool {
        match self {
            Self::Token(error) => !error.is_transient() && !error.is_scope(),
            Self::Refused { status, .. } => *status == 401,
            _ => false,
        }
    }

    /// For how long nothing is to be asked of the EHR, by its own word or by ours: no failure, and no fault of what was asked.
    #[must_use]
    pub fn pause(&self) -> Option<Paused> {
        match self {
            Self::Paused(paused) => Some(*paused),
            Self::Busy { status: 429, retry_after } => Some(Paused { left: retry_after.unwrap_or_default(), why: Why::Asked }),
            Self::Token(error) => error.pause(),
            _ => None,
        }
    }

    /// Whether the same request may succeed later without anyone changing anything.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable(failure) => failure.is_transient(),
            Self::Token(error) | Self::TokenApart(_, error) => error.is_transient(),
            Self::Busy { .. } | Self::Paused(_) | Self::PageExpired => true,
            Self::Refused { status, .. } => *status >= 500,
            Self::NotGranted(_)
            | Self::NotFhir { .. }
            | Self::SearchSentOn { .. }
            | Self::PagesCircle
            | Self::PagesBarren(_)
            | Self::NextLinkElsewhere
            | Self::BadRequest => false,
        }
    }
}
