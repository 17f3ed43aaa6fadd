//! What a notification says: which resources are to be read, and the numbers of the events. All forms of the field: nothing at all (R4
//! rest-hook without payload), a resource (with one), a Bundle that begins with Parameters (backport in R4) or with a SubscriptionStatus
//! (R4B, and some R4 servers). Pure.

use domain::fhir::{reference_id, reference_type};
use serde_json::Value;

use super::naming::IdPattern;

/// More than this in one notification is taken as "read the type anew".
const MOST_EVENTS: usize = 500;

/// What a notification is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The EHR tries whether it is answered.
    Handshake,
    /// Nothing happened.
    Heartbeat,
    /// Something did.
    Events,
    /// An answer to `$status` or `$events`.
    Answer,
}

/// Something that happened.
#[derive(Clone, PartialEq, Eq)]
pub struct Event {
    /// Its number within the subscription, where there is one.
    pub number: Option<i64>,
    /// The type and id of the resource; absent where that is not told.
    pub focus: Option<(String, String)>,
    /// In its place an identifier of the resource, as system and value: a number of the vendor's own.
    pub identifier: Option<(String, String)>,
}

impl std::fmt::Debug for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // An id may be a patient's.
        f.debug_struct("Event").field("number", &self.number).field("has_focus", &self.focus.is_some()).finish_non_exhaustive()
    }
}

impl Event {
    fn of(number: Option<i64>, told: Option<&Value>) -> Self {
        let focus = told.and_then(focus);
        let identifier = told.filter(|_| focus.is_none()).and_then(|told| told.get("identifier"));
        let identifier = identifier.and_then(|i| Some((text(i, "system")?.to_owned(), text(i, "value")?.to_owned())));
        Self { number, focus, identifier }
    }
}

/// A notification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// What for.
    pub kind: Kind,
    /// The id of the Subscription that it says it is of.
    pub subscription: Option<String>,
    /// How many events there were since the subscription began.
    pub count: Option<i64>,
    /// What happened.
    pub events: Vec<Event>,
}

/// A body that is no notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a notification")]
pub struct NotOne;

impl Notification {
    /// Reads a body.
    ///
    /// # Errors
    /// [`NotOne`].
    pub fn read(body: &[u8]) -> Result<Self, NotOne> {
        if body.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self::of_one(None));
        }
        let value: Value = serde_json::from_slice(body).map_err(|_| NotOne)?;
        let kind = text(&value, "resourceType").ok_or(NotOne)?;
        if kind != "Bundle" {
            let id = text(&value, "id").ok_or(NotOne)?;
            return Ok(Self::of_one(Some((kind.to_owned(), id.to_owned()))));
        }
        let entries = value.get("entry").and_then(Value::as_array).ok_or(NotOne)?;
        // First it should be; a search's answer to `$status` has it as a match.
        let resources = entries.iter().filter_map(|entry| entry.get("resource"));
        resources.filter_map(Self::of_status).next().ok_or(NotOne)
    }

    /// One event of a resource, or of nobody knows which.
    #[must_use]
    pub fn of_one(focus: Option<(String, String)>) -> Self {
        Self { kind: Kind::Events, subscription: None, count: None, events: vec![Event { number: None, focus, identifier: None }] }
    }

    /// Makes ids of a type of the numbers that events name in their place.
    pub fn resolve(&mut self, kind: &str, pattern: &IdPattern) {
        for event in &mut self.events {
            if let Some((system, value)) = event.identifier.take() {
                event.focus = pattern.id(&system, &value).map(|id| (kind.to_owned(), id));
            }
        }
    }

    /// Reads the status that a notification begins with, and that `$status` answers.
    #[must_use]
    pub fn of_status(resource: &Value) -> Option<Self> {
        match text(resource, "resourceType")? {
            "Parameters" => Self::of_parameters(resource),
            "SubscriptionStatus" => Some(Self {
                kind: kind(text(resource, "type")?)?,
                subscription: resource.get("subscription").and_then(subscription_id),
                count: number(resource.get("eventsSinceSubscriptionStart")),
                events: bounded(
                    resource
                        .get("notificationEvent")
                        .and_then(Value::as_array)
                        .into_iter()
                        .flatten()
                        .map(|event| Event::of(number(event.get("eventNumber")), event.get("focus"))),
                ),
            }),
            _ => None,
        }
    }

    fn of_parameters(resource: &Value) -> Option<Self> {
        let all = resource.get("parameter")?.as_array()?;
        // The names changed their writing between versions of the guide.
        let same = |given: &str, name: &str| given.replace('-', "").eq_ignore_ascii_case(&name.replace('-', ""));
        let find = |of: &'_ [Value], name: &str| of.iter().position(|p| text(p, "name").is_some_and(|n| same(n, name)));
        let one = |name: &str| find(all, name).and_then(|at| all.get(at)).and_then(value_of);
        let event = |parameter: &Value| {
            let parts = parameter.get("part").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            let part = |name: &str| find(parts, name).and_then(|at| parts.get(at)).and_then(value_of);
            Event::of(number(part("event-number")), part("focus"))
        };
        Some(Self {
            kind: kind(one("type")?.as_str()?)?,
            subscription: one("subscription").and_then(subscription_id),
            count: number(one("events-since-subscription-start")),
            events: bounded(all.iter().filter(|p| text(p, "name").is_some_and(|n| same(n, "notification-event"))).map(event)),
        })
    }
}

fn bounded(events: impl Iterator<Item = Event>) -> Vec<Event> {
    let mut all: Vec<Event> = events.take(MOST_EVENTS + 1).collect();
    if all.len() > MOST_EVENTS {
        let last = all.iter().filter_map(|e| e.number).max();
        all = vec![Event { number: last, focus: None, identifier: None }];
    }
    all
}

fn kind(code: &str) -> Option<Kind> {
    match code {
        "handshake" => Some(Kind::Handshake),
        "heartbeat" => Some(Kind::Heartbeat),
        "event-notification" => Some(Kind::Events),
        "query-status" | "query-event" => Some(Kind::Answer),
        _ => None,
    }
}

fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name)?.as_str()
}

/// `valueString`, `valueReference`, ...
fn value_of(parameter: &Value) -> Option<&Value> {
    parameter.as_object()?.iter().find(|(name, _)| name.starts_with("value")).map(|(_, value)| value)
}

/// A number; of 64 bits it is written as text.
fn number(value: Option<&Value>) -> Option<i64> {
    let value = value?;
    value.as_i64().or_else(|| value.as_str()?.parse().ok()).filter(|n| *n >= 0)
}

fn focus(value: &Value) -> Option<(String, String)> {
    let reference = text(value, "reference")?;
    Some((reference_type(reference)?.to_owned(), reference_id(reference)?.to_owned()))
}

fn subscription_id(value: &Value) -> Option<String> {
    let reference = text(value, "reference")?;
    (reference_type(reference) == Some("Subscription")).then(|| reference_id(reference)).flatten().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn focus_of(kind: &str, id: &str) -> Option<(String, String)> {
        Some((kind.to_owned(), id.to_owned()))
    }

    #[test]
    fn all_forms_are_read() {
        assert_eq!(Notification::read(b" \n"), Ok(Notification::of_one(None)));
        let resource = br#"{"resourceType":"Appointment","id":"a1","status":"booked"}"#;
        assert_eq!(Notification::read(resource), Ok(Notification::of_one(focus_of("Appointment", "a1"))));
        let parameters = br#"{"resourceType":"Bundle","type":"history","entry":[{"resource":{"resourceType":"Parameters","parameter":[
            {"name":"subscription","valueReference":{"reference":"https://e.org/r4/Subscription/s1"}},
            {"name":"type","valueCode":"event-notification"},
            {"name":"events-since-subscription-start","valueString":"7"},
            {"name":"notification-event","part":[{"name":"event-number","valueString":"6"},
                {"name":"focus","valueReference":{"reference":"https://e.org/r4/Patient/p1/_history/3"}}]},
            {"name":"notificationEvent","part":[{"name":"eventNumber","valueInteger":7},{"name":"focus","valueReference":{"identifier":{"value":"2"}}}]}
            ]}},{"resource":{"resourceType":"Patient","id":"other"}}]}"#;
        let told = Notification::read(parameters).unwrap();
        assert_eq!((told.kind, told.subscription.as_deref(), told.count), (Kind::Events, Some("s1"), Some(7)));
        let events: Vec<_> = told.events.iter().map(|e| (e.number, e.focus.clone())).collect();
        assert_eq!(events, [(Some(6), focus_of("Patient", "p1")), (Some(7), None)]);
        let by_number = br#"{"resourceType":"Bundle","entry":[{"resource":{"resourceType":"SubscriptionStatus","type":"event-notification",
            "notificationEvent":[{"eventNumber":"1","focus":{"identifier":{"system":"urn:vendor:appointment:7","value":"12"}}}]}}]}"#;
        let mut told = Notification::read(by_number).unwrap();
        assert_eq!(told.events[0].focus, None);
        told.resolve("Appointment", &IdPattern::try_from("a-{space}.{value}".to_owned()).unwrap());
        assert_eq!(told.events[0].focus, focus_of("Appointment", "a-7.12"));
        let status = br#"{"resourceType":"Bundle","entry":[{"resource":{"resourceType":"SubscriptionStatus","type":"heartbeat",
            "eventsSinceSubscriptionStart":"9","subscription":{"reference":"Subscription/s2"}}}]}"#;
        let told = Notification::read(status).unwrap();
        assert_eq!((told.kind, told.count, told.events.len()), (Kind::Heartbeat, Some(9), 0));
    }

    #[test]
    fn what_is_none_is_refused_and_floods_become_one_event() {
        for bad in [
            "<html>",
            "[]",
            "{}",
            r#"{"resourceType":"Patient"}"#,
            r#"{"resourceType":"Bundle","entry":[]}"#,
            r#"{"resourceType":"Bundle","entry":[{"resource":{"resourceType":"Parameters","parameter":[{"name":"type","valueCode":"x"}]}}]}"#,
        ] {
            assert_eq!(Notification::read(bad.as_bytes()), Err(NotOne), "{bad}");
        }
        let one = |n: usize| format!(r#"{{"eventNumber":"{n}","focus":{{"reference":"Patient/{n}"}}}}"#);
        let many: Vec<String> = (1..=600).map(one).collect();
        let flood = format!(
            r#"{{"resourceType":"Bundle","entry":[{{"resource":{{"resourceType":"SubscriptionStatus","type":"event-notification","notificationEvent":[{}]}}}}]}}"#,
            many.join(",")
        );
        assert_eq!(Notification::read(flood.as_bytes()).unwrap().events, [Event { number: Some(501), focus: None, identifier: None }]);
    }
}
