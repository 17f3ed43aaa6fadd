//! A subscription at the EHR: asked for, looked at, renewed, ended; and what it can be asked of its events.

use domain::Timestamp;
use domain::model::FhirId;
use http::header::{ACCEPT, HeaderName};
use serde_json::Value;

use super::notification::Notification;
use crate::ehr::auth::{Need, Ops};
use crate::ehr::capability::Capability;
use crate::ehr::client::FHIR_JSON;
use crate::ehr::create;
use crate::ehr::retry::{Class, Intent};
use crate::ehr::{Client, CreateOutcome, EhrError, ReadOutcome};
use crate::net::Request;

const KIND: &str = "Subscription";
/// The secret that notifications are signed with (WebSub).
const HUB_SECRET: HeaderName = HeaderName::from_static("x-hub-secret");
const PREFER: HeaderName = HeaderName::from_static("prefer");

/// What the EHR says of a subscription.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remote {
    /// `requested`, `active`, `error`, `off`; empty where it does not say.
    pub status: String,
    /// What it says went wrong.
    pub failed: bool,
    /// When it ends.
    pub ends_at: Option<Timestamp>,
}

/// What a client needs that looks after subscriptions: what is listed of it; all where nothing is. Searching is among it, since there are
/// servers that ask for both of any GET.
#[must_use]
pub fn needs(capability: &Capability) -> Vec<Need> {
    let all = [("create", Ops::C), ("read", Ops::R), ("search-type", Ops::S), ("update", Ops::U), ("delete", Ops::D)];
    let listed = |(code, _): &&(&str, Ops)| capability.allows(KIND, code) || !capability.types.contains_key(KIND);
    let ops = all.iter().filter(listed).map(|(_, ops)| *ops).fold(Ops::C, Ops::or);
    vec![Need::new(KIND, ops)]
}

impl Client {
    /// Asks for a subscription. `secret` is what notifications are to be signed with.
    ///
    /// # Errors
    /// As [`Client::create`].
    pub async fn subscribe(&self, body: Vec<u8>, secret: Option<&str>) -> Result<CreateOutcome, EhrError> {
        let mut request = Request::post(self.url(KIND, None)?, FHIR_JSON, body).header(ACCEPT, FHIR_JSON);
        request = request.header(PREFER, "return=representation");
        if let Some(secret) = secret {
            request = request.header(HUB_SECRET, secret);
        }
        let ended = self.wire.send(Intent::Write, &request, self.needs(KIND), KIND).await?;
        match ended.result {
            Ok(response) => Ok(create::read_answer(KIND, false, ended.class, &response)),
            Err(failure) if ended.class == Class::Unclear => Ok(CreateOutcome::Unclear { why: failure.to_string() }),
            Err(failure) => Err(EhrError::Unreachable(failure)),
        }
    }

    /// Looks at a subscription; `None` where the EHR has none of that id.
    ///
    /// # Errors
    /// [`EhrError`].
    pub async fn subscription(&self, id: &FhirId) -> Result<Option<Remote>, EhrError> {
        match self.read(KIND, id).await? {
            ReadOutcome::Found(entry) | ReadOutcome::Moved(entry) => {
                Remote::read(&entry.bytes).map(Some).ok_or(EhrError::NotFhir { expected: "Subscription", source: None })
            }
            ReadOutcome::Gone | ReadOutcome::Absent => Ok(None),
        }
    }

    /// Ends a subscription; one that is not there has ended.
    ///
    /// # Errors
    /// [`EhrError`].
    pub async fn unsubscribe(&self, id: &FhirId) -> Result<(), EhrError> {
        let request = Request::delete(self.url(KIND, Some(id.as_str()))?).header(ACCEPT, FHIR_JSON);
        let ended = self.wire.send(Intent::Write, &request, self.needs(KIND), KIND).await?;
        match ended.result.as_ref().map(|r| r.status.as_u16()) {
            Ok(404 | 410) => Ok(()),
            _ => ended.success().map(drop),
        }
    }

    /// Asks how it stands with a subscription's events (`$status`); `None` where the EHR does not say.
    ///
    /// # Errors
    /// [`EhrError`].
    pub async fn subscription_status(&self, id: &FhirId) -> Result<Option<Notification>, EhrError> {
        self.of_subscription(&format!("{}/$status", id.as_str()), &[]).await
    }

    /// Asks for events that did not come (`$events`), by their numbers; `None` where the EHR does not give them.
    ///
    /// # Errors
    /// [`EhrError`].
    pub async fn subscription_events(&self, id: &FhirId, (from, to): (i64, i64)) -> Result<Option<Notification>, EhrError> {
        let (from, to) = (from.to_string(), to.to_string());
        let asked = [("eventsSinceNumber", from.as_str()), ("eventsUntilNumber", to.as_str()), ("content", "id-only")];
        self.of_subscription(&format!("{}/$events", id.as_str()), &asked).await
    }

    async fn of_subscription(&self, path: &str, asked: &[(&str, &str)]) -> Result<Option<Notification>, EhrError> {
        let mut url = self.url(KIND, Some(path))?;
        if !asked.is_empty() {
            url.query_pairs_mut().extend_pairs(asked);
        }
        let request = Request::get(url).header(ACCEPT, FHIR_JSON);
        let ended = self.wire.send(Intent::Read, &request, self.needs(KIND), KIND).await?;
        match ended.result.as_ref().map(|r| r.status.as_u16()) {
            Ok(400 | 404 | 405 | 410 | 422 | 501) => Ok(None),
            _ => {
                let body = ended.success()?.body;
                // Some answer with the status alone, without a Bundle around it.
                let alone = || serde_json::from_slice::<Value>(&body).ok().as_ref().and_then(Notification::of_status);
                Ok(Notification::read(&body)
                    .ok()
                    .filter(|n| n.kind == super::notification::Kind::Answer || !n.events.is_empty())
                    .or_else(alone))
            }
        }
    }
}

impl Remote {
    fn read(bytes: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(bytes).ok()?;
        let text = |name: &str| value.get(name).and_then(Value::as_str);
        (text("resourceType") == Some(KIND)).then(|| Self {
            status: text("status").unwrap_or_default().to_owned(),
            failed: text("error").is_some(),
            ends_at: text("end").and_then(Timestamp::parse),
        })
    }
}
