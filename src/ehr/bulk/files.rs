//! One file of an export: opened with our token or without, at the EHR or where it may give files from, and read as it comes.

use std::time::Duration;

use domain::fhir::outcome;
use http::header::{ACCEPT, ACCEPT_ENCODING};
use url::Url;

use super::{RETRY, asked_for};
use crate::ehr::client::Client;
use crate::ehr::error::EhrError;
use crate::ehr::pace::Outcome;
use crate::ehr::wire::WHOLE;
use crate::net::{Download, Failure, FailureKind, Request};

/// So much of an answer that is no file is looked at.
const WORDS: usize = 64 * 1024;

/// A file that comes: its first piece, until that was taken, and the rest.
pub struct Opened(Option<Vec<u8>>, Download);

// What has come of it is patients' data.
impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Opened").field(&self.1).finish_non_exhaustive()
    }
}

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Its address is no longer taken, or never was: a fresh one may be.
    #[error("a file of the export is not there (HTTP status {0})")]
    Expired(u16),
    /// It wants our token, and is on another host.
    #[error("a file of the export is at {0} and wants the EHR's access token, which goes to the EHR only")]
    TokenElsewhere(String),
    /// It is where this connection may not read from.
    #[error("a file of the export is at {0}, which this connection may not read from; if that is right, name it with --download-host {0}")]
    Elsewhere(String),
    /// It may pass.
    #[error("a file of the export cannot be had now: {why}")]
    Later {
        /// In words.
        why: String,
        /// How long the server wants to be left alone, where told.
        retry_after: Option<Duration>,
    },
    /// It will not pass.
    #[error(transparent)]
    Never(EhrError),
}

impl From<Failure> for FileError {
    fn from(failure: Failure) -> Self {
        match &failure.kind {
            FailureKind::OtherOrigin(name) => Self::Elsewhere(name.clone()),
            _ if failure.is_transient() => Self::Later { why: failure.to_string(), retry_after: None },
            _ => Self::Never(EhrError::Unreachable(failure)),
        }
    }
}

impl Client {
    /// Opens a file. `requires_token` is what the manifest says; where it says nothing, a file at the EHR itself gets our token.
    ///
    /// # Errors
    /// [`FileError`].
    pub async fn open_file(&self, url: &Url, requires_token: Option<bool>) -> Result<Opened, FileError> {
        let own = self.is_own(url);
        if requires_token == Some(true) && !own {
            return Err(FileError::TokenElsewhere(url.origin().ascii_serialization()));
        }
        let plain = Request::get(url.clone()).header(ACCEPT, "application/fhir+ndjson").header(ACCEPT_ENCODING, "gzip");
        // An address that needs no token is used as it is: a token beside it is refused by some (standards.md C.4).
        let with_token = own && requires_token != Some(false);
        let mut renewed = false;
        loop {
            let (request, token) = match with_token {
                true => {
                    let access =
                        self.wire.tokens.access_to(WHOLE, &self.export_needs()).await.map_err(|e| FileError::Never(EhrError::Token(e)))?;
                    (self.wire.authorise(&plain, &access), access.token)
                }
                false => (plain.clone(), None),
            };
            let permit = self.wire.turn().await.map_err(|paused| FileError::Later { why: paused.to_string(), retry_after: None })?;
            let mut download = self.files.open(&request).await?;
            // What is said of one file says nothing of other requests.
            permit.ended(Outcome::Answered).await;
            let status = download.status().as_u16();
            match status {
                200 => {
                    let first = download.piece().await?;
                    if first.as_deref().is_some_and(is_markup) {
                        let why = "a page in HTML or XML came in its place, as of a proxy or of maintenance".to_owned();
                        return Err(FileError::Later { why, retry_after: None });
                    }
                    return Ok(Opened(first, download));
                }
                // The token ended between two files.
                401 if !renewed && token.is_some() => {
                    renewed = true;
                    if let Some(token) = token {
                        self.wire.tokens.discard(WHOLE, &self.export_needs(), &token).await;
                    }
                }
                403 | 404 | 410 => return Err(FileError::Expired(status)),
                408 | 425 | 429 | 500 | 502..=504 => {
                    let retry_after = asked_for(download.header(RETRY.as_str()), self.wire.clock.now());
                    return Err(FileError::Later { why: format!("HTTP status {status}"), retry_after });
                }
                _ => {
                    let outcome = outcome(&download.beginning(WORDS).await).unwrap_or_default();
                    return Err(FileError::Never(EhrError::Refused { status, outcome }));
                }
            }
        }
    }
}

impl Opened {
    /// The next piece as it was sent, compressed or not; `None` at the end.
    ///
    /// # Errors
    /// [`FileError::Later`] where the connection broke.
    pub async fn piece(&mut self) -> Result<Option<Vec<u8>>, FileError> {
        match self.0.take() {
            Some(first) => Ok(Some(first)),
            None => self.1.piece().await.map_err(|failure| FileError::Later { why: failure.to_string(), retry_after: None }),
        }
    }
}

/// Whether what begins so is no NDJSON, compressed or not, but a page: its lines would be put aside as broken ones, and the file count as read.
fn is_markup(first: &[u8]) -> bool {
    let text = first.strip_prefix(b"\xef\xbb\xbf").unwrap_or(first);
    text.trim_ascii_start().first() == Some(&b'<')
}
