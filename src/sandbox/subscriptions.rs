//! Subscriptions (R4 Subscription with rest-hook; Subscriptions R5 Backport for R4; WebSub's signature): who is told of what, on a thread of its own.
//! Owns the numbers of events, handshake and heartbeat, `$status` and `$events`, and the faults that strike what is sent.
//!
//! A subscription whose `criteria` is a canonical URL is one to a topic, `.../SubscriptionTopic/TYPE` (or `TYPE.what`); else `criteria` is a
//! search, of which only the type counts. One that was created with `X-Hub-Secret` is told with a SubscriptionStatus, a signature, and
//! numbers that count within one notification.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ring::hmac;
use serde_json::{Value, json};
use url::Url;

use crate::answer::{Answer, Reply};
use crate::call::Call;
use crate::ehr::{Ehr, Interaction};
use crate::faults::FaultKind;
use crate::instant::format_instant;

/// The types that topics tell of.
pub(crate) const TOPIC_TYPES: [&str; 4] = ["Appointment", "CarePlan", "Encounter", "Patient"];
const TOPICS: &str = "http://sandbox.example/SubscriptionTopic";
const KIND: &str = "Subscription";

/// The canonical URL of a type's topic.
pub(crate) fn topic_of(resource_type: &str) -> String {
    format!("{TOPICS}/{resource_type}")
}

/// Something for the thread.
pub(crate) enum Told {
    /// A resource was written or deleted.
    Changed(String, String),
    /// All active subscriptions with heartbeats are given one.
    Beat,
    /// What was held back is sent.
    Release,
    /// Answered when all before it is done.
    Done(Sender<()>),
    End,
}

#[derive(Default)]
struct Line {
    count: i64,
    /// Number and focus of each event.
    events: Vec<(i64, String)>,
    /// Held back by a fault: sent after the next one, or when released.
    held: Vec<Value>,
    /// Sent by nobody before it is released.
    late: Vec<Value>,
    beaten: Option<Instant>,
}

/// What is known of subscriptions beside the resources themselves.
#[derive(Default)]
pub(crate) struct Subscriptions {
    sender: Mutex<Option<Sender<Told>>>,
    lines: Mutex<HashMap<String, Line>>,
    /// Secrets for signatures, by endpoint.
    secrets: Mutex<HashMap<String, String>>,
    /// Signs of life are given.
    pub(crate) beats: std::sync::atomic::AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Subscriptions {
    pub(crate) fn tell(&self, told: Told) {
        if let Some(sender) = lock(&self.sender).as_ref() {
            // Nobody listens any more where the sandbox stops.
            let _gone = sender.send(told);
        }
    }

    /// Waits until all that was to be told by now was told.
    pub(crate) fn wait(&self) {
        let (done, wait) = channel();
        self.tell(Told::Done(done));
        let _ended = wait.recv_timeout(Duration::from_secs(60));
    }

    pub(crate) fn end(&self) {
        self.tell(Told::End);
        *lock(&self.sender) = None;
    }

    /// Keeps what notifications to an endpoint are signed with.
    pub(crate) fn secret(&self, members: &serde_json::Map<String, Value>, secret: Option<&str>) {
        let endpoint = members.get("channel").and_then(|c| c.get("endpoint")).and_then(Value::as_str);
        if let (Some(endpoint), Some(secret)) = (endpoint, secret) {
            lock(&self.secrets).insert(endpoint.to_owned(), secret.to_owned());
        }
    }
}

/// Starts the thread that tells.
pub(crate) fn start(ehr: &Arc<Ehr>) -> std::io::Result<()> {
    let (sender, receiver) = channel();
    *lock(&ehr.subscriptions.sender) = Some(sender);
    let ehr = Arc::clone(ehr);
    std::thread::Builder::new().name("sandbox-tells".to_owned()).spawn(move || run(&ehr, &receiver)).map(drop)
}

fn run(ehr: &Ehr, receiver: &Receiver<Told>) {
    loop {
        match receiver.recv_timeout(Duration::from_millis(500)) {
            Ok(Told::Changed(kind, id)) if kind == KIND => ehr.subscribed(&id),
            Ok(Told::Changed(kind, id)) => ehr.tell_of(&kind, &id),
            Ok(Told::Beat) => ehr.beat(true),
            Ok(Told::Release) => ehr.release(),
            Ok(Told::Done(done)) => {
                let _gone = done.send(());
            }
            Ok(Told::End) | Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {
                if ehr.subscriptions.beats.load(std::sync::atomic::Ordering::Relaxed) {
                    ehr.beat(false);
                }
            }
        }
    }
}

/// A subscription as the thread needs it.
struct Open {
    id: String,
    criteria: String,
    endpoint: String,
    headers: Vec<String>,
    payload: bool,
    heartbeat: Option<u64>,
    signed: Option<String>,
}

impl Open {
    fn is_topic(&self) -> bool {
        self.criteria.contains("://")
    }

    fn tells_of(&self, resource_type: &str) -> bool {
        let last = if self.is_topic() { self.criteria.rsplit('/').next() } else { self.criteria.split('?').next() };
        last.and_then(|name| name.split('.').next()) == Some(resource_type)
    }
}

impl Ehr {
    fn subscription(&self, id: &str) -> Option<Value> {
        let body = self.charts.read().get(KIND, id)?.body.clone()?;
        serde_json::from_str(&body).ok()
    }

    fn open(&self, resource: &Value) -> Option<Open> {
        let channel = resource.get("channel")?;
        let endpoint = channel.get("endpoint")?.as_str()?.to_owned();
        let heartbeat = channel.get("extension").and_then(Value::as_array).into_iter().flatten();
        let heartbeat = heartbeat.filter(|e| e["url"].as_str().is_some_and(|u| u.ends_with("backport-heartbeat-period")));
        Some(Open {
            id: resource.get("id")?.as_str()?.to_owned(),
            criteria: resource.get("criteria")?.as_str()?.to_owned(),
            headers: channel
                .get("header")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .filter_map(|h| h.as_str().map(str::to_owned))
                .collect(),
            payload: channel.get("payload").is_some(),
            heartbeat: heartbeat.filter_map(|e| e["valueUnsignedInt"].as_u64()).next(),
            signed: lock(&self.subscriptions.secrets).get(&endpoint).cloned(),
            endpoint,
        })
    }

    fn active(&self) -> Vec<Open> {
        let now = format_instant(self.now());
        let bodies: Vec<_> = self.charts.read().all(KIND).filter_map(|entry| entry.body.clone()).collect();
        let resources = bodies.iter().filter_map(|body| serde_json::from_str::<Value>(body).ok());
        let living = resources.filter(|r| r["status"] == "active" && r["end"].as_str().is_none_or(|end| end > now.as_str()));
        living.filter_map(|r| self.open(&r)).collect()
    }

    fn set_status(&self, id: &str, status: &str) {
        let Some(Value::Object(mut members)) = self.subscription(id) else { return };
        members.insert("status".to_owned(), status.into());
        if self.charts.update(KIND, id, members, None, self.now()).is_err() {
            tracing::error!("a subscription's status cannot be kept");
        }
    }

    /// One was created or changed: where it is requested, it begins.
    fn subscribed(&self, id: &str) {
        let Some(resource) = self.subscription(id) else { return };
        let Some(open) = self.open(&resource).filter(|_| resource.get("status").is_some_and(|s| s == "requested")) else { return };
        if self.faults.take("NOTIFY", "/fhir/Subscription", |kind| *kind == FaultKind::NeverHandshakes).is_some() {
            return;
        }
        if !open.is_topic() {
            return self.set_status(id, "active");
        }
        let greeting = self.notification(&open, "handshake", &[]);
        let answered = self.post(&open, Some(&greeting), false);
        self.set_status(id, if answered { "active" } else { "error" });
    }

    fn tell_of(&self, resource_type: &str, id: &str) {
        for open in self.active().into_iter().filter(|open| open.tells_of(resource_type)) {
            let path = format!("/fhir/{resource_type}");
            let strikes = |wanted: &FaultKind| self.faults.take("NOTIFY", &path, |kind| kind == wanted).is_some();
            let focus = format!("{resource_type}/{id}");
            let number = {
                let mut lines = lock(&self.subscriptions.lines);
                let line = lines.entry(open.id.clone()).or_default();
                if strikes(&FaultKind::EventNumbersRestart) {
                    line.count = 0;
                    line.events.clear();
                }
                line.count += 1;
                line.events.push((line.count, focus.clone()));
                line.count
            };
            if strikes(&FaultKind::SubscriptionErrs) {
                self.set_status(&open.id, "error");
                continue;
            }
            if strikes(&FaultKind::EventLost) {
                continue;
            }
            let told = self.notification(&open, "event-notification", &[(number, focus.clone())]);
            if strikes(&FaultKind::EventLate) {
                lock(&self.subscriptions.lines).entry(open.id.clone()).or_default().late.push(told);
                continue;
            }
            if strikes(&FaultKind::EventsOutOfOrder) {
                lock(&self.subscriptions.lines).entry(open.id.clone()).or_default().held.push(told);
                continue;
            }
            if strikes(&FaultKind::EventForged) {
                let forged = self.notification(&open, "event-notification", &[(number, format!("{resource_type}/forged"))]);
                self.post(&open, Some(&forged), true);
            }
            let times = if strikes(&FaultKind::EventDoubled) { 2 } else { 1 };
            let held = std::mem::take(&mut lock(&self.subscriptions.lines).entry(open.id.clone()).or_default().held);
            let mut sent = true;
            for _ in 0..times {
                sent &= self.deliver(&open, resource_type, id, &told);
            }
            for earlier in &held {
                sent &= self.post(&open, Some(earlier), false);
            }
            if !sent {
                self.set_status(&open.id, "error");
            }
        }
    }

    fn deliver(&self, open: &Open, resource_type: &str, id: &str, told: &Value) -> bool {
        if open.is_topic() {
            return self.post(open, Some(told), false);
        }
        if !open.payload {
            return self.post(open, None, false);
        }
        // R4 Subscription, "rest-hook": with a payload the resource is put at its place below the endpoint.
        let body = self.charts.read().get(resource_type, id).and_then(|entry| entry.body.clone());
        let endpoint = format!("{}/{resource_type}/{id}", open.endpoint);
        body.is_none_or(|body| tried(|| send("PUT", &endpoint, &open.headers, body.as_bytes())))
    }

    /// Gives signs of life: to all, or to those whose time has come.
    fn beat(&self, all: bool) {
        for open in self.active() {
            let Some(seconds) = open.heartbeat else { continue };
            let due = {
                let mut lines = lock(&self.subscriptions.lines);
                let line = lines.entry(open.id.clone()).or_default();
                let due = all || line.beaten.is_none_or(|at| at.elapsed() >= Duration::from_secs(seconds));
                if due {
                    line.beaten = Some(Instant::now());
                }
                due
            };
            if due && self.faults.take("NOTIFY", "/fhir/Subscription", |kind| *kind == FaultKind::HeartbeatLost).is_none() {
                let sign = self.notification(&open, "heartbeat", &[]);
                self.post(&open, Some(&sign), false);
            }
        }
    }

    fn release(&self) {
        for open in self.active() {
            let late = std::mem::take(&mut lock(&self.subscriptions.lines).entry(open.id.clone()).or_default().late);
            for told in &late {
                self.post(&open, Some(told), false);
            }
        }
    }

    fn notification(&self, open: &Open, kind: &str, events: &[(i64, String)]) -> Value {
        let count = lock(&self.subscriptions.lines).get(&open.id).map_or(0, |line| line.count);
        let status = if kind == "handshake" { "requested" } else { "active" };
        let resource = match &open.signed {
            Some(_) => self.relative(open, kind, events, status),
            None => self.parameters(open, kind, events, status, count),
        };
        let request = json!({ "method": "GET", "url": format!("{}/Subscription/{}/$status", self.base, open.id) });
        json!({
            "resourceType": "Bundle",
            "type": "history",
            "timestamp": format_instant(self.now()),
            "entry": [{ "resource": resource, "request": request, "response": { "status": "200" } }],
        })
    }

    fn parameters(&self, open: &Open, kind: &str, events: &[(i64, String)], status: &str, count: i64) -> Value {
        let mut all = vec![
            json!({ "name": "subscription", "valueReference": { "reference": format!("{}/Subscription/{}", self.base, open.id) } }),
            json!({ "name": "topic", "valueCanonical": open.criteria }),
            json!({ "name": "status", "valueCode": status }),
            json!({ "name": "type", "valueCode": kind }),
            json!({ "name": "events-since-subscription-start", "valueString": count.to_string() }),
        ];
        all.extend(events.iter().map(|(number, focus)| {
            json!({ "name": "notification-event", "part": [
                { "name": "event-number", "valueString": number.to_string() },
                { "name": "focus", "valueReference": { "reference": format!("{}/{focus}", self.base) } },
            ] })
        }));
        json!({ "resourceType": "Parameters", "parameter": all })
    }

    /// With numbers that count within this notification. A visit is named by a number of the vendor's own and its tenant, and by no reference.
    fn relative(&self, open: &Open, kind: &str, events: &[(i64, String)], status: &str) -> Value {
        let focus = |told: &str| match told.strip_prefix("Appointment/apt-") {
            Some(number) => json!({ "identifier": { "system": "urn:athenahealth:athenanet:appointment:apt", "value": number } }),
            None => json!({ "reference": told }),
        };
        let each: Vec<Value> =
            (1..).zip(events).map(|(n, (_, told))| json!({ "eventNumber": n.to_string(), "focus": focus(told) })).collect();
        json!({
            "resourceType": "SubscriptionStatus",
            "status": status,
            "type": kind,
            "eventsSinceSubscriptionStart": each.len().to_string(),
            "subscription": { "reference": format!("Subscription/{}", open.id) },
            "topic": open.criteria,
            "notificationEvent": each,
        })
    }

    fn post(&self, open: &Open, told: Option<&Value>, forged: bool) -> bool {
        let body = told.map(Value::to_string).unwrap_or_default();
        let mut headers = open.headers.clone();
        if let Some(secret) = &open.signed {
            let key = hmac::Key::new(hmac::HMAC_SHA256, if forged { b"another" } else { secret.as_bytes() });
            let tag: String = hmac::sign(&key, body.as_bytes()).as_ref().iter().map(|b| format!("{b:02x}")).collect();
            headers.push(format!("X-Hub-Signature: sha256={tag}"));
        } else if forged {
            headers = vec!["Authorization: Bearer guessed".to_owned()];
        }
        let once = || send("POST", &open.endpoint, &headers, body.as_bytes());
        if forged { once() } else { tried(once) }
    }

    /// `$status` and `$events` of a subscription.
    pub(crate) fn subscription_operation(&self, call: &Call, rest: &str, now: i64) -> Option<Reply> {
        let [KIND, id, operation @ ("$status" | "$events")] = rest.split('/').collect::<Vec<_>>()[..] else { return None };
        self.manner.served(KIND)?;
        if let Some(refusal) = self.guard(call, KIND, Interaction::Read(id), now) {
            return Some(refusal.into());
        }
        let Some(resource) = self.subscription(id) else {
            return Some(Answer::error(404, "not-found", "there is no such subscription").into());
        };
        let open = self.open(&resource)?;
        let asked = |name: &str| call.query_pairs().into_iter().find(|(n, _)| n == name).and_then(|(_, v)| v.parse::<i64>().ok());
        let status = resource.get("status").and_then(Value::as_str).unwrap_or("active").to_owned();
        let (count, events) = {
            let lines = lock(&self.subscriptions.lines);
            let line = lines.get(id);
            let (from, to) = (asked("eventsSinceNumber").unwrap_or(1), asked("eventsUntilNumber").unwrap_or(i64::MAX));
            let events = line.into_iter().flat_map(|l| &l.events).filter(|(n, _)| from <= *n && *n <= to).cloned().collect::<Vec<_>>();
            (line.map_or(0, |l| l.count), events)
        };
        let (kind, bundle, events) =
            if operation == "$status" { ("query-status", "searchset", Vec::new()) } else { ("query-event", "history", events) };
        let told = self.parameters(&open, kind, &events, &status, count);
        let answer = json!({ "resourceType": "Bundle", "type": bundle, "entry": [{ "resource": told, "search": { "mode": "match" } }] });
        Some(Answer::fhir(200, answer.to_string()).into())
    }
}

/// Tries three times: at least once is what is promised.
fn tried(send: impl Fn() -> bool) -> bool {
    (0..3).any(|n| {
        std::thread::sleep(Duration::from_millis(50 * n));
        send()
    })
}

// As much HTTP/1.1 as it takes to send one request on loopback.
fn send(method: &str, endpoint: &str, headers: &[String], body: &[u8]) -> bool {
    exchanged(method, endpoint, headers, body).is_some_and(|status| (200..300).contains(&status))
}

fn exchanged(method: &str, endpoint: &str, headers: &[String], body: &[u8]) -> Option<u16> {
    let url = Url::parse(endpoint).ok()?;
    let (host, port) = (url.host_str()?, url.port_or_known_default()?);
    let mut stream = TcpStream::connect((host, port)).ok()?;
    // Two seconds are what the strictest of the field gives.
    stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
    let own: String = headers.iter().map(|h| format!("{h}\r\n")).collect();
    let kind = if body.is_empty() { "" } else { "Content-Type: application/fhir+json\r\n" };
    let head = format!(
        "{method} {} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n{own}{kind}Content-Length: {}\r\n\r\n",
        url.path(),
        body.len()
    );
    stream.write_all(&[head.as_bytes(), body].concat()).ok()?;
    let mut answer = Vec::new();
    let _short = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).split(' ').nth(1)?.parse().ok()
}
