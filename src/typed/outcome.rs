//! OperationOutcome (R4, hl7.org/fhir/R4/operationoutcome.html): how our FHIR routes tell an error.

use fhirbolt::model::r4::{Resource, resources};

use crate::check;
use crate::datatypes::{Concept, concept, each};
use crate::invalid::{Invalid, Problem};
use crate::render;

/// `issue.severity` (required binding).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Severity {
    /// The action failed and nothing more could be checked.
    Fatal,
    /// The action failed.
    Error,
    /// The action went on; look at it.
    Warning,
    /// For information.
    Information,
}

/// `issue.code` (required binding `issue-type`), as far as our routes need it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IssueCode {
    /// Content is against the specification.
    Invalid,
    /// An element's value is invalid.
    Value,
    /// A required element is missing.
    Required,
    /// Who asks is not known: sign in.
    Login,
    /// The session or token has ended.
    Expired,
    /// Who asks may not do this.
    Forbidden,
    /// What was asked for is not there.
    NotFound,
    /// What was asked for is there no more.
    Deleted,
    /// The interaction, parameter or type is not supported.
    NotSupported,
    /// The answer or the request is too large.
    TooCostly,
    /// Not done against a business rule.
    BusinessRule,
    /// Someone else changed it meanwhile.
    Conflict,
    /// A passing failure; ask again.
    Transient,
    /// Too many requests; ask again later.
    Throttled,
    /// An unexpected failure on our side.
    Exception,
    /// For information.
    Informational,
}

impl Severity {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Fatal => "fatal",
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Information => "information",
        }
    }
}

impl IssueCode {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::Value => "value",
            Self::Required => "required",
            Self::Login => "login",
            Self::Expired => "expired",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not-found",
            Self::Deleted => "deleted",
            Self::NotSupported => "not-supported",
            Self::TooCostly => "too-costly",
            Self::BusinessRule => "business-rule",
            Self::Conflict => "conflict",
            Self::Transient => "transient",
            Self::Throttled => "throttled",
            Self::Exception => "exception",
            Self::Informational => "informational",
        }
    }
}

/// One issue. Its text goes to whoever asked: no patient data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issue {
    /// How bad.
    pub severity: Severity,
    /// What kind.
    pub code: IssueCode,
    /// What is wrong and what to do, for a person.
    pub text: Option<String>,
    /// FHIRPath of the elements concerned.
    pub expression: Vec<String>,
}

/// Renders an OperationOutcome as R4 JSON.
///
/// # Errors
/// [`Invalid`] where there is no issue, or a text that cannot be valid R4.
pub fn operation_outcome(issues: &[Issue]) -> Result<Vec<u8>, Invalid> {
    if issues.is_empty() {
        return Err(Invalid::new("OperationOutcome.issue", Problem::NoEntry));
    }
    let resource = resources::OperationOutcome { issue: each("OperationOutcome.issue", issues, issue)?, ..Default::default() };
    render(&Resource::OperationOutcome(Box::new(resource)))
}

fn issue(element: &str, from: &Issue) -> Result<resources::OperationOutcomeIssue, Invalid> {
    let details = match from.text.as_deref() {
        Some(text) => Some(Box::new(concept(&format!("{element}.details"), &Concept::text(text))?)),
        None => None,
    };
    Ok(resources::OperationOutcomeIssue {
        severity: from.severity.as_str().into(),
        code: from.code.as_str().into(),
        details,
        expression: each(&format!("{element}.expression"), &from.expression, |e, text: &String| check::string(e, text).map(Into::into))?,
        ..Default::default()
    })
}
