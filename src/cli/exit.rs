//! How a command ends: well, with a problem found, or by wrong use.

use std::process::ExitCode;

use crate::app::{ConnectionError, KeysError, StageError};
use crate::store::StoreError;

/// A command that did what it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// Without any problem.
    Well,
    /// It found problems and has told them.
    WithProblems,
}

impl Ended {
    pub(super) const fn well_if(well: bool) -> Self {
        if well { Self::Well } else { Self::WithProblems }
    }
}

/// A command that could not do what it was asked.
#[derive(Debug)]
pub(super) struct Failure {
    says: String,
    code: u8,
}

impl Failure {
    /// Something is wrong with the world.
    pub(super) fn problem(says: impl Into<String>) -> Self {
        Self { says: says.into(), code: 1 }
    }

    /// Something is wrong with what was asked.
    pub(super) fn usage(says: impl Into<String>) -> Self {
        Self { says: says.into(), code: 2 }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::problem(error.to_string())
    }
}

impl From<ConnectionError> for Failure {
    fn from(error: ConnectionError) -> Self {
        let code = if matches!(error, ConnectionError::NoSuchEhr(_)) { 2 } else { 1 };
        Self { says: error.to_string(), code }
    }
}

impl From<KeysError> for Failure {
    fn from(error: KeysError) -> Self {
        Self::problem(error.to_string())
    }
}

impl From<StageError> for Failure {
    fn from(error: StageError) -> Self {
        Self::problem(error.to_string())
    }
}

/// Tells a failure on stderr.
pub(super) fn tell(failure: &Failure) -> ExitCode {
    eprintln!("fhir-engage: {}", failure.says);
    ExitCode::from(failure.code)
}
