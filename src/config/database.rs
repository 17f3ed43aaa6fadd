//! Where the data is kept.

use std::path::Path;

use domain::model::Phi;

use super::reader::Section;
use crate::credentials::SecretRef;

/// The variable that goes before `database.url`.
pub const DATABASE_VARIABLE: &str = "FHIR_ENGAGE_DATABASE";

/// The database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Database {
    /// `sqlite:PATH` or a `postgres://` URL. It may hold a password, so it is not printed.
    pub url: Phi<String>,
}

impl Database {
    pub(super) fn read(s: &mut Section<'_, '_>, data_dir: &Path, env: &dyn Fn(&str) -> Option<String>) -> Self {
        let written = s.parsed("url", "\"sqlite:PATH\", \"postgres://HOST/NAME\", \"env:NAME\" or \"file:PATH\"", |t| Some(t.to_owned()));
        let chosen = env(DATABASE_VARIABLE).filter(|v| !v.is_empty());
        let url = match (chosen, written) {
            (Some(url), _) => url,
            (None, Some(text)) => Self::resolve(s, &text, env).unwrap_or_default(),
            (None, None) => format!("sqlite:{}", data_dir.join("fhir-engage.sqlite").display()),
        };
        Self { url: url.into() }
    }

    fn resolve(s: &Section<'_, '_>, text: &str, env: &dyn Fn(&str) -> Option<String>) -> Option<String> {
        if let Some(pointer) = s.pointer(text) {
            let found = match &pointer {
                SecretRef::Env(name) => env(name).filter(|v| !v.is_empty()),
                SecretRef::File(_) => pointer.resolve().ok().map(|secret| secret.expose().to_owned()),
            };
            if found.is_none() {
                s.wrong("url", format!("there is nothing at {pointer}; put the database's URL there"));
            }
            return found;
        }
        if let Some(path) = text.strip_prefix("sqlite:").filter(|p| !p.is_empty()) {
            return Some(format!("sqlite:{}", s.folder().join(path).display()));
        }
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            if url::Url::parse(text).is_ok_and(|u| u.password().is_some() || u.query_pairs().any(|(k, _)| k == "password")) {
                s.wrong("url", format!("a password does not stand in the configuration: use \"env:NAME\" or \"file:PATH\" for the whole URL, {DATABASE_VARIABLE}, or a .pgpass file"));
                return None;
            }
            return Some(text.to_owned());
        }
        s.wrong("url", "expected \"sqlite:PATH\", \"postgres://HOST/NAME\", \"env:NAME\" or \"file:PATH\"");
        None
    }
}
