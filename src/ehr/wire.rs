//! One request with its authorisation and its tries. What an answer means is decided in `retry`; here is the loop around it.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use domain::Clock;
use domain::fhir::{Outcome, outcome};
use http::header::{DATE, RETRY_AFTER};

use super::Entropy;
use super::auth::{Access, Need, Tokens};
use super::date::{Skew, http_date};
use super::error::EhrError;
use super::pace::{Pace, until_next_minute};
use super::retry::{Answer, Class, Intent, Policy, classify, retry_after};
use crate::net::{Failure, Http, Origin, Request, Response};

/// The longest time for which an EHR is left alone, whatever it asks for: one that asks for a century has a mistake in its clock.
const LONGEST_HOLD: TimeDelta = TimeDelta::hours(24);

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
}

/// How a request ended, all tries made.
pub(super) struct Ended {
    pub class: Class,
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
            Class::Final => Ok(response),
            Class::Later if status == 429 || self.retry_after.is_some() => Err(EhrError::Busy { status, retry_after: self.retry_after }),
            _ => Err(EhrError::Refused { status, outcome: outcome(&response.body).unwrap_or_default() }),
        }
    }
}

impl Wire {
    /// Sends a request that needs no authorisation.
    pub async fn open(&self, request: &Request) -> Ended {
        let mut tried = 0;
        loop {
            tried += 1;
            self.pace.turn().await;
            let ended = self.once(Intent::Read, request.clone()).await;
            if ended.class != Class::Later || !self.pause(tried, ended.retry_after).await {
                return ended;
            }
        }
    }

    /// Sends a request with a token for `needs`, again where that is safe and may help.
    ///
    /// # Errors
    /// [`EhrError::Token`], [`EhrError::NotGranted`], or [`EhrError::Busy`] where it asked to be left alone for longer than a run waits:
    /// before anything was sent.
    pub async fn send(&self, intent: Intent, request: &Request, needs: &[Need], resource_type: &str) -> Result<Ended, EhrError> {
        let (mut tried, mut renewed) = (0, false);
        loop {
            tried += 1;
            self.wait_out_hold().await?;
            let access = match self.tokens.access(needs).await {
                Ok(access) => access,
                Err(error) if error.is_transient() && self.pause(tried, None).await => continue,
                Err(error) => return Err(EhrError::Token(error)),
            };
            if access.granted.as_ref().is_some_and(|g| g.ops(resource_type).is_empty()) {
                return Err(EhrError::NotGranted(resource_type.to_owned()));
            }
            self.pace.turn().await;
            let ended = self.once(intent, self.authorise(request, &access)).await;
            match (ended.class, access.token) {
                (Class::Renew, Some(token)) if !renewed => {
                    renewed = true;
                    // The request was refused before it was looked at: it does not count as a try.
                    tried -= 1;
                    self.tokens.discard(needs, &token).await;
                }
                (Class::Later, _) if self.pause(tried, ended.retry_after).await => {}
                _ => return Ok(ended),
            }
        }
    }

    /// Sends a request with a token for `needs` and tries it once; a token that is not taken is renewed once. A 429 says nothing of other
    /// requests. For those who decide by themselves what comes next.
    ///
    /// # Errors
    /// As [`Wire::send`].
    pub async fn ask_once(&self, request: &Request, needs: &[Need]) -> Result<Ended, EhrError> {
        let mut renewed = false;
        loop {
            self.wait_out_hold().await?;
            let access = self.tokens.access(needs).await.map_err(EhrError::Token)?;
            self.pace.turn().await;
            let ended = self.exchange(Intent::Read, self.authorise(request, &access), false).await;
            match (ended.class, access.token) {
                (Class::Renew, Some(token)) if !renewed => {
                    renewed = true;
                    self.tokens.discard(needs, &token).await;
                }
                _ => return Ok(ended),
            }
        }
    }

    /// Leaves the EHR alone for as long as it asked to be.
    async fn wait_out_hold(&self) -> Result<(), EhrError> {
        match self.pace.held(self.clock.now()) {
            Some(left) if left > self.policy.patience => Err(EhrError::Busy { status: 429, retry_after: Some(left) }),
            Some(left) => {
                tokio::time::sleep(left).await;
                Ok(())
            }
            None => Ok(()),
        }
    }

    pub(super) fn authorise(&self, request: &Request, access: &Access) -> Request {
        match &access.token {
            Some(token) => request.clone().bearer(token.clone(), self.origin.clone()),
            None => request.clone(),
        }
    }

    async fn once(&self, intent: Intent, request: Request) -> Ended {
        self.exchange(intent, request, true).await
    }

    /// Sends a request once. With `holds` a 429 keeps all other requests back too.
    async fn exchange(&self, intent: Intent, request: Request, holds: bool) -> Ended {
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
                    self.pace.hold(now.plus(TimeDelta::from_std(wait).unwrap_or(LONGEST_HOLD).min(LONGEST_HOLD)));
                    asked = Some(wait);
                }
                let issues = if response.status.is_success() { Vec::new() } else { issue_codes(outcome(&response.body)) };
                Ended {
                    class: classify(intent, Answer::Status(response.status.as_u16(), &issues)),
                    retry_after: asked,
                    result: Ok(response),
                }
            }
            Err(failure) => {
                let transient = failure.is_transient();
                let answer = if failure.never_sent() { Answer::NeverSent { transient } } else { Answer::Lost { transient } };
                Ended { class: classify(intent, answer), result: Err(failure), retry_after: None }
            }
        }
    }

    /// Waits before the next try; `false` where there is none.
    async fn pause(&self, tried: u32, retry_after: Option<Duration>) -> bool {
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
