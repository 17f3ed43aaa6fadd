//! Where a secret is: in the environment or in a file. The configuration holds only this reference.

use std::path::{Path, PathBuf};

use domain::model::Phi;

/// A reference to a secret, written `env:NAME` or `file:PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretRef {
    /// An environment variable.
    Env(String),
    /// A file. One line end at its end does not count.
    File(PathBuf),
}

/// Why a secret cannot be had. Names the place, never the value.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// No such variable, or not UTF-8.
    #[error("the environment variable {0} is not set (or is not UTF-8); set it, or use file:PATH")]
    NotSet(String),
    /// The file cannot be read.
    #[error("the secret file {path} cannot be read; check the path and that this user may read it")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// There is nothing in it.
    #[error("the secret in {0} is empty")]
    Empty(SecretRef),
}

impl SecretRef {
    /// Reads the written form; a relative path starts from `folder`. `None` where it is neither form.
    #[must_use]
    pub fn parse(text: &str, folder: &Path) -> Option<Self> {
        match text.split_once(':')? {
            ("env", name) if is_variable(name) => Some(Self::Env(name.to_owned())),
            ("file", path) if !path.is_empty() => Some(Self::File(folder.join(path))),
            _ => None,
        }
    }

    /// The secret, as it is now: a rotated one is seen at the next read. The type it comes in prints nothing.
    ///
    /// # Errors
    /// [`SecretError`] where it is missing or empty.
    pub fn read(&self) -> Result<Phi<String>, SecretError> {
        let text = match self {
            Self::Env(name) => std::env::var(name).map_err(|_| SecretError::NotSet(name.clone()))?,
            Self::File(path) => std::fs::read_to_string(path).map_err(|source| SecretError::Unreadable {
                path: path.clone(),
                source,
            })?,
        };
        let text = text.strip_suffix('\n').unwrap_or(&text);
        let text = text.strip_suffix('\r').unwrap_or(text);
        if text.is_empty() {
            return Err(SecretError::Empty(self.clone()));
        }
        Ok(Phi::new(text.to_owned()))
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

fn is_variable(name: &str) -> bool {
    !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}
