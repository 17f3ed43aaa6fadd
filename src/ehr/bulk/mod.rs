//! Bulk Data Access: an export is asked for, the EHR prepares it, its files are read, and the EHR is told to delete it (kick-off, status,
//! manifest, files, delete). Each step is one call here; who keeps what between them, and when it is asked again, is decided by whoever
//! calls.
//!
//! A 429 of these requests does not hold other requests to the EHR: it says that exports are throttled.

pub mod dialect;
mod files;
pub mod kick_off;
pub mod manifest;
pub mod poll;
pub mod side;

use domain::fhir::outcome;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_LOCATION, DATE, HeaderName, LOCATION, RETRY_AFTER};
use url::Url;

use super::auth::{Granted, Need, Ops, TokenError};
use super::client::{Client, FHIR_JSON};
use super::date::http_date;
use super::discovery::under;
use super::error::EhrError;
use super::retry::{Class, Policy, retry_after};
use super::wire::{Ended, WHOLE};
use crate::net::{Origin, Request};

pub use dialect::{Choice, Dialect, KickOff, Level, Lists, NotAFilter, TypeFilter};
pub use files::{FileError, Opened};
pub use kick_off::{Export, KickedOff};
pub use manifest::{File, Manifest, NotAManifest, Role};
pub use poll::Polled;

const PREFER: HeaderName = HeaderName::from_static("prefer");
const RESPOND_ASYNC: &str = "respond-async";
/// A manifest with more pages than this comes to no end.
const MOST_MANIFEST_PAGES: usize = 10_000;

impl Client {
    /// Asks for an export. It is asked for once: an answer that is lost may have started one.
    ///
    /// # Errors
    /// [`EhrError`] where there was no answer, no token, or one that failed in a way that may pass.
    pub async fn kick_off(&self, export: &Export) -> Result<KickedOff, EhrError> {
        let endpoint = under(&self.base, &export.path()).ok_or(EhrError::BadRequest)?;
        let told = self.ask_for(export, &endpoint, export.kick_off).await?;
        match told {
            // The ballot of version 4 knows POST only.
            KickedOff::Refused { status: 405, .. } if export.kick_off == KickOff::Get => {
                self.ask_for(export, &endpoint, KickOff::Post).await
            }
            told => Ok(told),
        }
    }

    async fn ask_for(&self, export: &Export, endpoint: &Url, by: KickOff) -> Result<KickedOff, EhrError> {
        let request = match by {
            KickOff::Get => Request::get(export.url(endpoint)),
            KickOff::Post => Request::post(endpoint.clone(), FHIR_JSON, export.parameters()),
        };
        // Some servers answer a second export with the files of the first, or with none.
        let request = request.header(ACCEPT, FHIR_JSON).header(PREFER, RESPOND_ASYNC).header(CACHE_CONTROL, "no-cache");
        let ended = self.export_request(&request).await?;
        let response = match ended.result {
            Ok(response) => response,
            Err(failure) => return Err(EhrError::Unreachable(failure)),
        };
        let status = response.status.as_u16();
        let said = outcome(&response.body).unwrap_or_default();
        Ok(match status {
            200..=299 => {
                match kick_off::status_url(response.header(CONTENT_LOCATION.as_str()), response.header(LOCATION.as_str()), &response.url) {
                    Some(status_url) => KickedOff::Accepted {
                        status_url,
                        retry_after: ended.retry_after,
                        server_date: response.header(DATE.as_str()).and_then(http_date),
                    },
                    None => KickedOff::Nowhere,
                }
            }
            413 => KickedOff::TooMuch,
            429 | 503 => KickedOff::Busy { status, retry_after: ended.retry_after },
            400..=499 | 501 if status != 401 => KickedOff::Refused { status, outcome: said },
            _ => return Err(EhrError::Refused { status, outcome: said }),
        })
    }

    /// Asks whether an export is ready. A status address on another host than the EHR's is not asked.
    ///
    /// # Errors
    /// [`EhrError`] where there is no token, or the address leads elsewhere.
    pub async fn poll(&self, status_url: &Url) -> Result<Polled, EhrError> {
        let request = Request::get(status_url.clone()).header(ACCEPT, "application/json");
        let ended = self.export_request(&request).await?;
        let response = match ended.result {
            Ok(response) => response,
            Err(failure) if ended.class == Class::Later => {
                return Ok(Polled::Failing { why: failure.to_string(), transient: true, retry_after: None });
            }
            Err(failure) => return Err(EhrError::Unreachable(failure)),
        };
        let status = response.status.as_u16();
        if status == 401 {
            return Err(EhrError::Refused { status, outcome: outcome(&response.body).unwrap_or_default() });
        }
        let progress = response.header("x-progress").map(str::to_owned);
        let server_date = response.header(DATE.as_str()).and_then(http_date);
        let said = if status == 200 { None } else { outcome(&response.body) };
        Ok(poll::read(status, said, progress.as_deref(), ended.retry_after, response.body, server_date))
    }

    /// The manifest, with its further pages where it has some.
    ///
    /// # Errors
    /// [`EhrError`] where a page cannot be had; [`NotAManifest`] where what came is none.
    pub async fn manifest(&self, first: &[u8], status_url: &Url) -> Result<Result<Manifest, NotAManifest>, EhrError> {
        let mut whole = match Manifest::read(first, status_url) {
            Ok(manifest) => manifest,
            Err(error) => return Ok(Err(error)),
        };
        let mut seen = vec![status_url.clone()];
        while let Some(next) = whole.next.take() {
            if seen.contains(&next) || seen.len() >= MOST_MANIFEST_PAGES {
                return Err(EhrError::PagesCircle);
            }
            seen.push(next.clone());
            match self.poll(&next).await? {
                Polled::Ready { manifest, .. } => match Manifest::read(&manifest, &next) {
                    Ok(page) => whole.extend(page),
                    Err(error) => return Ok(Err(error)),
                },
                Polled::Gone => return Err(EhrError::PageExpired),
                Polled::Refused { status, outcome } => return Err(EhrError::Refused { status, outcome }),
                Polled::Working { .. } | Polled::Throttled { .. } | Polled::Failing { .. } => {
                    return Err(EhrError::Busy { status: 503, retry_after: None });
                }
            }
        }
        Ok(Ok(whole))
    }

    /// Tells the EHR to delete an export; whether it is gone there now, as far as the answer tells. What it says beside that is of no
    /// interest: some answer in text, some have another address for it.
    ///
    /// # Errors
    /// [`EhrError`] where there was no answer, so that it has to be told again.
    pub async fn delete_export(&self, status_url: &Url) -> Result<bool, EhrError> {
        let request = Request::delete(status_url.clone()).header(ACCEPT, FHIR_JSON);
        let ended = self.export_request(&request).await?;
        match ended.result {
            Ok(response) => match response.status.as_u16() {
                200..=299 | 404 | 410 => Ok(true),
                status @ (429 | 500..=599) if status != 501 => Err(EhrError::Busy { status, retry_after: ended.retry_after }),
                status => {
                    tracing::debug!(status, "the EHR does not let an export be deleted");
                    Ok(false)
                }
            },
            Err(failure) => Err(EhrError::Unreachable(failure)),
        }
    }

    /// A request about exports, with our token where it goes to the EHR itself.
    async fn export_request(&self, request: &Request) -> Result<Ended, EhrError> {
        self.wire.ask_once(request, &self.export_needs()).await
    }

    /// What the token allows that exports are asked for with: the EHR's own credential's, whatever opens single types. `None` where scopes do
    /// not apply.
    ///
    /// # Errors
    /// [`TokenError`].
    pub async fn export_grant(&self) -> Result<Option<Granted>, TokenError> {
        Ok(self.wire.tokens.access_to(WHOLE, &self.export_needs()).await?.granted)
    }

    /// The needs whose token is used for exports: what is read by them, in one token.
    pub(super) fn export_needs(&self) -> Vec<Need> {
        self.reads.to_vec()
    }

    /// How often and how long apart requests are tried.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.wire.policy
    }

    /// Whether an address is one of this connection's.
    #[must_use]
    pub fn may_ask(&self, url: &Url) -> bool {
        Origin::of(url).is_some_and(|o| self.wire.http.origins().contains(&o))
    }

    /// Whether our token may go to a URL.
    pub(super) fn is_own(&self, url: &Url) -> bool {
        Origin::of(url).is_some_and(|o| o == self.wire.origin)
    }
}

/// What reading a Group needs.
#[must_use]
pub fn group_need() -> Need {
    Need::new("Group", Ops::R)
}

/// How long an EHR wants to be left alone.
pub(super) fn asked_for(header: Option<&str>, now: domain::Timestamp) -> Option<std::time::Duration> {
    header.and_then(|h| retry_after(h, now))
}

/// The header, for those who have another kind of answer in hand.
pub(super) const RETRY: HeaderName = RETRY_AFTER;
