//! Where a secret is to be had. Configuration and the database hold only the pointer.

use std::path::PathBuf;

use crate::ehr::Secret;

/// A pointer to a secret: `env:NAME` or `file:PATH`. Safe to store, print and log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretRef {
    /// An environment variable.
    Env(String),
    /// A file; a line break at its end is not part of the secret.
    File(PathBuf),
}

/// Why a secret could not be had. Names the pointer, never the content.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// Neither `env:` nor `file:`. The text is not repeated: it may be the secret itself.
    #[error("a secret is given as env:NAME or file:PATH, never as the secret itself")]
    NotAPointer,
    /// The variable is not set, or is no text.
    #[error("the environment variable {0} is not set (or is not text); set it to the secret")]
    NoVariable(String),
    /// The file cannot be read.
    #[error("the secret file {} cannot be read; check that it exists and that this user may read it", .0.display())]
    NoFile(PathBuf, #[source] std::io::Error),
    /// There, but empty.
    #[error("the secret at {0} is empty")]
    Empty(SecretRef),
}

impl SecretRef {
    /// Reads a pointer.
    ///
    /// # Errors
    /// [`SecretError::NotAPointer`].
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        match text.split_once(':') {
            Some(("env", name)) if !name.is_empty() && !name.contains(['=', '\0']) => Ok(Self::Env(name.to_owned())),
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(PathBuf::from(path))),
            _ => Err(SecretError::NotAPointer),
        }
    }

    /// Fetches the secret.
    ///
    /// # Errors
    /// [`SecretError`] where it is not there, cannot be read, or is empty.
    pub fn resolve(&self) -> Result<Secret, SecretError> {
        let text = match self {
            Self::Env(name) => std::env::var(name).map_err(|_| SecretError::NoVariable(name.clone()))?,
            Self::File(path) => std::fs::read_to_string(path).map_err(|e| SecretError::NoFile(path.clone(), e))?,
        };
        let text = text.trim_end_matches(['\r', '\n']);
        if text.is_empty() { Err(SecretError::Empty(self.clone())) } else { Ok(Secret::new(text)) }
    }
}

impl std::fmt::Display for SecretRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Env(name) => write!(f, "env:{name}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{SecretError, SecretRef};

    #[test]
    fn only_pointers_are_taken_and_no_message_repeats_a_secret() {
        for text in ["hunter2", "env:", "file:", "", "ENV:X", "https://vault/x", "env:A=B"] {
            let error = SecretRef::parse(text).unwrap_err();
            assert!(matches!(error, SecretError::NotAPointer));
            assert!(text.len() < 6 || !error.to_string().contains(text), "{error}");
        }
        for text in ["env:EHR_TOKEN", "file:/run/secrets/token"] {
            assert_eq!(SecretRef::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_file_is_read_without_its_last_line_break() {
        let path = std::env::temp_dir().join(format!("fhir-engage-secret-{}", std::process::id()));
        std::fs::write(&path, "s3cret\r\n").unwrap();
        let pointer = SecretRef::parse(&format!("file:{}", path.display())).unwrap();
        assert_eq!(pointer.resolve().unwrap().expose(), "s3cret");
        std::fs::write(&path, "\n").unwrap();
        assert!(matches!(pointer.resolve(), Err(SecretError::Empty(_))));
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(pointer.resolve(), Err(SecretError::NoFile(..))));
        let unset = SecretRef::parse("env:FHIR_ENGAGE_NO_SUCH_VARIABLE").unwrap();
        assert!(unset.resolve().unwrap_err().to_string().contains("FHIR_ENGAGE_NO_SUCH_VARIABLE"));
    }
}
