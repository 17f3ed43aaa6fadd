//! One request with its authorisation and its tries. What an answer means is decided in `retry`; here is the loop around it.

use std::sync::Arc;
use std::time::Duration;

use domain::Clock;
use domain::fhir::{Outcome, outcome};
use http::header::{DATE, HeaderName, RETRY_AFTER};

use super::Entropy;
use super::auth::{Access, Need, Tokens};
use super::date::{Skew, http_date};
use super::error::EhrError;
use super::pace::{Class, Outcome as Met, Pace, Paused, Permit, until_next_minute};
use super::retry::{Answer, Class as Ending, Intent, Policy, classify, retry_after};
use crate::net::{Failure, Http, Origin, Request, Response};

/// What every request to one EHR shares.
#[derive(Clone)]
pub(super) struct Wire {
    pub http: Http,
    pub tokens: Arc<Tokens>,
    /// The origin that tokens are for.
    pub origin: Origin,
    pub policy: Policy,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
    pub skew: Arc<Skew>,
    pub pace: Arc<Pace>,
    /// What this EHR wants with each request.
    pub headers: Vec<(HeaderName, String)>,
    /// For whom it asks.
    pub class: Class,
}

/// How a request ended, all tries made.
pub(super) struct Ended {
    pub class: Ending,
    pub result: Result<Response, Failure>,
    /// What the server asked for in the last answer, or what it is given where it throttles and asks for nothing.
    pub retry_after: Option<Duration>,
}

impl Ended {
    /// The answer, where it is a success.
    pub fn success(self) -> Result<Response, EhrError> {
        let response = self.result.map_err(EhrError::Unreachable)?;
        let status = response.status.as_u16();
        match self.class {
            Ending::Final => Ok(response),
            Ending::Later if status == 429 || self.retry_after.is_some() => Err(EhrError::Busy { status, retry_after: self.retry_after }),
            _ => Err(EhrError::Refused { status, outcome: outcome(&response.body).unwrap_or_default() }),
        }
    }
}

/// No resource type: what is asked of the EHR as a whole.
pub(super) const WHOLE: &str = "";

impl Wire {
    /// Sends a request that needs no authorisation.
    ///
    /// # Errors
    /// [`EhrError::Paused`] where nothing may be asked for longer than a run waits: before anything was sent.
    pub async fn open(&self, request: &Request) -> Result<Ended, EhrError> {
        let mut tried = 0;
        loop {
            tried += 1;
            let permit = self.turn().await?;
            let ended = self.once(Intent::Read, request.clone(), permit).await;
            if ended.class != Ending::Later || !self.pause(tried, ended.retry_after).await {
                return Ok(ended);
            }
        }
    }

    /// Sends a request with a token for `needs`, again where that is safe and may help.
    ///
    /// # Errors
    /// [`EhrError::Token`], [`EhrError::NotGranted`], or [`EhrError::Paused`] where nothing may be asked for longer than a run waits:
    /// before anything was sent.
    pub async fn send(&self, intent: Intent, request: &Request, needs: &[Need], resource_type: &str) -> Result<Ended, EhrError> {
        let (mut tried, mut renewed) = (0, false);
        loop {
            tried += 1;
            // No token is asked for either.
            self.pace.ready(self.policy.patience).await.map_err(EhrError::Paused)?;
            let access = match self.tokens.access_to(resource_type, needs).await {
                Ok(access) => access,
                Err(error) if error.is_transient() && self.pause(tried, None).await => continue,
                Err(error) if self.tokens.is_apart(resource_type) => return Err(EhrError::TokenApart(resource_type.to_owned(), error)),
                Err(error) => return Err(EhrError::Token(error)),
            };
            if access.granted.as_ref().is_some_and(|g| g.ops(resource_type).is_empty()) {
                return Err(EhrError::NotGranted(resource_type.to_owned()));
            }
            let permit = self.turn().await?;
            let ended = self.once(intent, self.authorise(request, &access), permit).await;
            match (ended.class, access.token) {
                (Ending::Renew, Some(token)) if !renewed => {
                    renewed = true;
                    // The request was refused before it was looked at: it does not count as a try.
                    tried -= 1;
                    self.tokens.discard(resource_type, needs, &token).await;
                }
                (Ending::Later, _) if self.pause(tried, ended.retry_after).await => {}
                _ => return Ok(ended),
            }
        }
    }

    pub(super) async fn turn(&self) -> Result<Permit, EhrError> {
        self.pace.turn(self.class, self.policy.patience).await.map_err(|paused: Paused| EhrError::Paused(paused))
    }

    /// Sends a request with a token for `needs` and tries it once; a token that is not taken is renewed once. A 429 says nothing of other
    /// requests. For those who decide by themselves what comes next.
    ///
    /// # Errors
    /// As [`Wire::send`].
    pub async fn ask_once(&self, request: &Request, needs: &[Need]) -> Result<Ended, EhrError> {
        let mut renewed = false;
        loop {
            self.pace.ready(self.policy.patience).await.map_err(EhrError::Paused)?;
            // An export is the EHR's own credential's, whatever opens single types.
            let access = self.tokens.access_to(WHOLE, needs).await.map_err(EhrError::Token)?;
            let permit = self.turn().await?;
            let ended = self.exchange(Intent::Read, self.authorise(request, &access), permit, false).await;
            match (ended.class, access.token) {
                (Ending::Renew, Some(token)) if !renewed => {
                    renewed = true;
                    self.tokens.discard(WHOLE, needs, &token).await;
                }
                _ => return Ok(ended),
            }
        }
    }

    pub(super) fn authorise(&self, request: &Request, access: &Access) -> Request {
        match &access.token {
            Some(token) => request.clone().bearer(token.clone(), self.origin.clone()),
            None => request.clone(),
        }
    }

    async fn once(&self, intent: Intent, request: Request, permit: Permit) -> Ended {
        self.exchange(intent, request, permit, true).await
    }

    /// Sends a request once. With `holds` a 429 keeps all other requests back too.
    async fn exchange(&self, intent: Intent, request: Request, permit: Permit, holds: bool) -> Ended {
        let request = self.headers.iter().fold(request, |request, (name, value)| request.header(name.clone(), value));
        let failed = Met::failed(request.url());
        match self.http.send(request).await {
            Ok(response) => {
                let now = self.clock.now();
                let theirs = response.header(DATE.as_str()).and_then(http_date);
                if let Some(date) = theirs {
                    self.skew.note(date, now);
                }
                let mut asked = response.header(RETRY_AFTER.as_str()).and_then(|h| retry_after(h, now));
                if response.status.as_u16() == 429 && holds {
                    let wait = asked.unwrap_or_else(|| until_next_minute(theirs.unwrap_or(now), self.random()));
                    asked = Some(wait);
                }
                let outcome_of_it = match response.status.as_u16() {
                    429 if holds => Met::Throttled(asked.unwrap_or_default()),
                    408 | 500 | 502..=599 => failed,
                    _ => Met::Answered,
                };
                permit.ended(outcome_of_it).await;
                let issues = if response.status.is_success() { Vec::new() } else { issue_codes(outcome(&response.body)) };
                Ended {
                    class: classify(intent, Answer::Status(response.status.as_u16(), &issues)),
                    retry_after: asked,
                    result: Ok(response),
                }
            }
            Err(failure) => {
                let transient = failure.is_transient();
                if transient {
                    permit.ended(failed).await;
                }
                let answer = if failure.never_sent() { Answer::NeverSent { transient } } else { Answer::Lost { transient } };
                Ended { class: classify(intent, answer), result: Err(failure), retry_after: None }
            }
        }
    }

    /// Waits before the next try; `false` where there is none.
    pub(super) async fn pause(&self, tried: u32, retry_after: Option<Duration>) -> bool {
        match self.policy.wait(tried, retry_after, self.random()) {
            Some(wait) => {
                tracing::debug!(peer = %self.origin, tried, wait_ms = wait.as_millis(), "trying again later");
                tokio::time::sleep(wait).await;
                true
            }
            None => false,
        }
    }

    fn random(&self) -> u64 {
        let mut random = [0; 8];
        self.entropy.fill(&mut random);
        u64::from_le_bytes(random)
    }
}

fn issue_codes(outcome: Option<Outcome>) -> Vec<String> {
    outcome.map(|o| o.issues.into_iter().map(|issue| issue.code).collect()).unwrap_or_default()
}
