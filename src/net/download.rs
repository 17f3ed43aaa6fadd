//! Bodies that are read piece by piece as they come, however long they are. What is a whole answer is in `http`.

use std::time::Duration;

use reqwest::StatusCode;
use url::Url;

use super::failure::{Failure, FailureKind};
use super::http::{Http, MAX_REDIRECTS, Request, redirected};
use super::origin::Origin;

/// The longest time for a whole download. A peer that goes silent is given up long before.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// An answer whose body is still to come.
pub struct Download {
    response: reqwest::Response,
    origin: Origin,
    silence: Duration,
}

impl Http {
    /// Sends a request and hands on the answer as soon as its head has come.
    ///
    /// # Errors
    /// [`Failure`] where no answer came, or where the way led elsewhere.
    pub async fn open(&self, request: &Request) -> Result<Download, Failure> {
        let mut url: Url = request.url().clone();
        let silence = self.timeout();
        for _ in 0..=MAX_REDIRECTS {
            let origin = self.permit(&url, request.url())?;
            let response = match tokio::time::timeout(silence, self.attempt(request, &url, &origin, Some(LONGEST))).await {
                Ok(response) => response?,
                Err(_) => return Err(Failure::new(&origin, FailureKind::Timeout)),
            };
            match redirected(request, &response) {
                Some(next) => url = next,
                None => return Ok(Download { response, origin, silence }),
            }
        }
        Err(Failure::new(&self.permit(&url, request.url())?, FailureKind::TooManyRedirects))
    }
}

impl Download {
    /// HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// A header as text, where present and printable.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.response.headers().get(name).and_then(|v| v.to_str().ok())
    }

    /// The next piece of the body, as it was sent; `None` at its end.
    ///
    /// # Errors
    /// [`Failure`] where the connection broke, or nothing came for as long as a whole exchange may take.
    pub async fn piece(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        match tokio::time::timeout(self.silence, self.response.chunk()).await {
            Ok(Ok(piece)) => Ok(piece.map(Vec::from)),
            Ok(Err(error)) => Err(Failure::from_reqwest(&self.origin, error, false)),
            Err(_) => Err(Failure::new(&self.origin, FailureKind::Timeout)),
        }
    }

    /// The first part of the body, for an answer that says what went wrong.
    pub async fn beginning(mut self, most: usize) -> Vec<u8> {
        let mut body = Vec::new();
        while body.len() < most {
            match self.piece().await {
                Ok(Some(piece)) => body.extend_from_slice(&piece),
                _ => break,
            }
        }
        body.truncate(most);
        body
    }
}

impl std::fmt::Debug for Download {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Download").field("status", &self.response.status().as_u16()).finish_non_exhaustive()
    }
}
