//! One request with its authorisation and its tries. What an answer means is decided in `retry`; here is the loop around it.

use std::sync::Arc;
use std::time::Duration;

use domain::Clock;
use domain::fhir::{Outcome, outcome};
use http::header::{DATE, RETRY_AFTER};

use super::Entropy;
use super::auth::{Access, Need, Tokens};
use super::date::{Skew, http_date};
use super::error::EhrError;
use super::retry::{Answer, Class, Intent, Policy, classify, retry_after};
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
}

/// How a request ended, all tries made.
pub(super) struct Ended {
    pub class: Class,
    pub result: Result<Response, Failure>,
    /// What the server asked for in the last answer.
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
            let ended = self.once(Intent::Read, request.clone()).await;
            if ended.class != Class::Later || !self.pause(tried, ended.retry_after).await {
                return ended;
            }
        }
    }

    /// Sends a request with a token for `needs`, again where that is safe and may help.
    ///
    /// # Errors
    /// [`EhrError::Token`] or [`EhrError::NotGranted`], before anything was sent.
    pub async fn send(&self, intent: Intent, request: &Request, needs: &[Need], resource_type: &str) -> Result<Ended, EhrError> {
        let (mut tried, mut renewed) = (0, false);
        loop {
            tried += 1;
            let access = match self.tokens.access(needs).await {
                Ok(access) => access,
                Err(error) if error.is_transient() && self.pause(tried, None).await => continue,
                Err(error) => return Err(EhrError::Token(error)),
            };
            if access.granted.as_ref().is_some_and(|g| g.ops(resource_type).is_empty()) {
                return Err(EhrError::NotGranted(resource_type.to_owned()));
            }
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

    fn authorise(&self, request: &Request, access: &Access) -> Request {
        match &access.token {
            Some(token) => request.clone().bearer(token.clone(), self.origin.clone()),
            None => request.clone(),
        }
    }

    async fn once(&self, intent: Intent, request: Request) -> Ended {
        match self.http.send(request).await {
            Ok(response) => {
                let now = self.clock.now();
                if let Some(date) = response.header(DATE.as_str()).and_then(http_date) {
                    self.skew.note(date, now);
                }
                let issues = if response.status.is_success() { Vec::new() } else { issue_codes(outcome(&response.body)) };
                Ended {
                    class: classify(intent, Answer::Status(response.status.as_u16(), &issues)),
                    retry_after: response.header(RETRY_AFTER.as_str()).and_then(|h| retry_after(h, now)),
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
        let mut random = [0; 8];
        self.entropy.fill(&mut random);
        match self.policy.wait(tried, retry_after, u64::from_le_bytes(random)) {
            Some(wait) => {
                tracing::debug!(peer = %self.origin, tried, wait_ms = wait.as_millis(), "trying again later");
                tokio::time::sleep(wait).await;
                true
            }
            None => false,
        }
    }
}

fn issue_codes(outcome: Option<Outcome>) -> Vec<String> {
    outcome.map(|o| o.issues.into_iter().map(|issue| issue.code).collect()).unwrap_or_default()
}
