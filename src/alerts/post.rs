//! How an alert is told: by mail to people, by webhook to programs.
//!
//! A webhook is signed as Standard Webhooks says (`webhook-id`, `webhook-timestamp`, `webhook-signature: v1,BASE64` of HMAC-SHA256 over
//! `ID.TIMESTAMP.BODY`; <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>). The id is the same with each
//! try, so a receiver can tell a repeat. What is told are kinds, counts and names that an operator gave; never what an EHR answered.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::Timestamp;
use domain::model::Phi;
use serde_json::json;
use url::Url;

use super::judge::whole;
use crate::net::http::SetupError;
use crate::net::smtp::{Mail, Mailer, SendOutcome};
use crate::net::{Http, Origin, Peer, Request, Secret};
use crate::store::alerts::{Alert, Delivery};

/// Whom alerts are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A mail address.
    Mail(String),
    /// The webhook.
    Webhook,
}

impl Target {
    /// As it stands in a delivery's row.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Mail(address) => format!("mail:{address}"),
            Self::Webhook => "webhook".to_owned(),
        }
    }
}

/// What tells alerts.
#[derive(Debug)]
pub struct Post {
    site: String,
    mail: Option<(Mailer, Vec<String>)>,
    webhook: Option<Webhook>,
}

#[derive(Debug)]
struct Webhook {
    url: Url,
    key: ring::hmac::Key,
    http: Http,
}

/// A client for the one origin of a URL.
pub(super) fn client(url: &Url) -> Result<Http, SetupError> {
    let mut peer = Peer::at(Origin::of(url).into_iter().collect());
    peer.timeout = std::time::Duration::from_secs(20);
    peer.body_limit = 64 * 1024;
    Http::new(peer)
}

impl Post {
    /// Alerts of `site`; told to nobody yet.
    #[must_use]
    pub fn new(site: String) -> Self {
        Self { site, mail: None, webhook: None }
    }

    /// Told by mail to these addresses.
    #[must_use]
    pub fn by_mail(mut self, mailer: Mailer, to: Vec<String>) -> Self {
        self.mail = Some((mailer, to));
        self
    }

    /// Told to a webhook, signed with this secret: as text, or as `whsec_` and base64.
    ///
    /// # Errors
    /// Where no client can be set up.
    pub fn by_webhook(mut self, url: Url, secret: &Secret) -> Result<Self, SetupError> {
        let text = secret.expose();
        let bytes = text.strip_prefix("whsec_").and_then(|t| STANDARD.decode(t).ok()).unwrap_or_else(|| text.as_bytes().to_vec());
        self.webhook = Some(Webhook { http: client(&url)?, url, key: ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &bytes) });
        Ok(self)
    }

    /// All that alerts are told.
    #[must_use]
    pub fn targets(&self) -> Vec<Target> {
        let mail = self.mail.iter().flat_map(|(_, to)| to.iter().cloned().map(Target::Mail));
        mail.chain(self.webhook.iter().map(|_| Target::Webhook)).collect()
    }

    /// Tells one target; `Ok` is what its server said, `Err` why it was not taken. Nothing is certain about an `Err` but that it has to be
    /// tried again.
    ///
    /// # Errors
    /// A code, or the peer's origin and what kind of failure it was.
    pub async fn tell(&self, delivery: &Delivery, alert: &Alert, now: Timestamp) -> Result<String, String> {
        let id = format!("alert-{}-{}", alert.id, delivery.event);
        match (delivery.target.strip_prefix("mail:"), &self.mail, &self.webhook) {
            (Some(to), Some((mailer, known)), _) if known.iter().any(|k| k == to) => {
                let (subject, body) = self.letter(delivery, alert);
                let mail = Mail {
                    key: format!("{id}-{}", delivery.id),
                    to: Phi::new(to.to_owned()),
                    subject: Phi::new(subject),
                    body: Phi::new(body),
                    date: now,
                    list_unsubscribe: None,
                };
                match mailer.send(&mail).await {
                    SendOutcome::Accepted { .. } => Ok("accepted".to_owned()),
                    SendOutcome::RefusedForGood { code } | SendOutcome::TryLater { code } | SendOutcome::Unclear { code } => {
                        Err(match SendOutcome::advice(&code) {
                            Some(advice) => format!("{code}: {advice}"),
                            None => code,
                        })
                    }
                }
            }
            (None, _, Some(webhook)) if delivery.target == "webhook" => webhook.send(&id, &self.notice(delivery, alert), now).await,
            _ => Err(NOT_CONFIGURED.to_owned()),
        }
    }

    fn letter(&self, delivery: &Delivery, alert: &Alert) -> (String, String) {
        let over = delivery.event == "closed";
        let subject = format!("[fhir-engage] {}{}: {}", if over { "over: " } else { "" }, alert.kind, alert.subject);
        let opened = whole(Timestamp::from_micros(alert.opened_at));
        let mut body = format!("{}\n\n{}.\n", self.site, alert.says);
        match alert.closed_at.filter(|_| over) {
            Some(at) => body.push_str(&format!("\nIt began at {opened} and is over since {}.\n", whole(Timestamp::from_micros(at)))),
            None => body.push_str(&format!("\nSince {opened}. What to do: {}.\n", alert.remedy)),
        }
        body.push_str(&format!("\nAlert {}; `fhir-engage alerts show {}`\n", alert.id, alert.id));
        (subject, body)
    }

    fn notice(&self, delivery: &Delivery, alert: &Alert) -> Vec<u8> {
        let at = |micros: i64| whole(Timestamp::from_micros(micros)).to_string();
        let over = delivery.event == "closed";
        json!({
            "type": format!("alert.{}", delivery.event),
            "timestamp": at(alert.closed_at.filter(|_| over).unwrap_or(alert.opened_at)),
            "data": {
                "id": alert.id,
                "site": self.site,
                "kind": alert.kind,
                "subject": alert.subject,
                "says": alert.says,
                "remedy": alert.remedy,
                "opened_at": at(alert.opened_at),
                "closed_at": alert.closed_at.filter(|_| over).map(at),
            },
        })
        .to_string()
        .into_bytes()
    }
}

/// What is said of a target that is not configured any more.
pub const NOT_CONFIGURED: &str = "it is not configured any more";

impl Webhook {
    async fn send(&self, id: &str, body: &[u8], now: Timestamp) -> Result<String, String> {
        let stamp = now.micros().div_euclid(1_000_000).to_string();
        let signed = [id.as_bytes(), b".", stamp.as_bytes(), b".", body].concat();
        let signature = format!("v1,{}", STANDARD.encode(ring::hmac::sign(&self.key, &signed)));
        let header = http::HeaderName::from_static;
        let request = Request::post(self.url.clone(), "application/json", body.to_vec())
            .without_redirects()
            .header(header("webhook-id"), id)
            .header(header("webhook-timestamp"), &stamp)
            .header(header("webhook-signature"), &signature);
        match self.http.send(request).await {
            Ok(answer) if answer.status.is_success() => Ok(answer.status.as_u16().to_string()),
            Ok(answer) => Err(answer.status.as_u16().to_string()),
            Err(failure) => Err(failure.to_string()),
        }
    }
}
