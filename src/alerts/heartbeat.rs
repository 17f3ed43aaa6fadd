//! The dead-man's signal: a URL that is asked for every so often while the gateway is well. Whoever waits for it there (a service for this,
//! or a monitor of the hospital's own) notices when it stays away: then the gateway is down, hangs, or cannot tell its alerts any more.
//! An open alert does not silence it: that one was told.

use std::sync::{Mutex, PoisonError};

use chrono::TimeDelta;
use domain::Timestamp;
use url::Url;

use super::post;
use crate::net::http::SetupError;
use crate::net::{Http, Request};

/// Where the signal goes, and when it last did.
#[derive(Debug)]
pub struct Heartbeat {
    url: Url,
    http: Http,
    every: TimeDelta,
    last: Mutex<Option<Timestamp>>,
}

impl Heartbeat {
    /// A signal to `url` every so often.
    ///
    /// # Errors
    /// Where no client can be set up.
    pub fn new(url: Url, every: TimeDelta) -> Result<Self, SetupError> {
        Ok(Self { http: post::client(&url)?, url, every, last: Mutex::new(None) })
    }

    /// Gives the signal if it is time; `Some` tells why it did not arrive. It is then given again with the next look.
    pub async fn give(&self, now: Timestamp) -> Option<String> {
        let due = self.last().is_none_or(|last| now.since(last) >= self.every || now < last);
        if !due {
            return None;
        }
        match self.http.send(Request::get(self.url.clone())).await {
            Ok(answer) if answer.status.is_success() => {
                *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
                None
            }
            Ok(answer) => Some(format!("the heartbeat's address answers {}", answer.status.as_u16())),
            // Names the origin only: the path of such an address is its secret.
            Err(failure) => Some(format!("the heartbeat did not arrive: {failure}")),
        }
    }

    fn last(&self) -> Option<Timestamp> {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
