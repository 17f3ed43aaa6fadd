//! Subscriptions: an EHR tells of what changed, in place of being asked all the time. R4's own rest-hook, the R5 backport for R4 (topics,
//! handshake, heartbeat, numbered events) and the backport with a signature over each notification (standards.md D.7).
//!
//! What comes is a hint to read, and never data: [`notification`] takes out of a body which resources are meant, and nothing else.

pub mod naming;
pub mod notification;
pub mod proof;
pub mod remote;

use domain::Timestamp;
use domain::model::ResourceType;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::capability::Capability;
use super::profile::{Profile, Strategy};
use super::vendor::EventHabits;

/// How an EHR is asked to tell of changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Manner {
    /// R4: `criteria` is a search, and the channel is told that something matches.
    RestHook,
    /// The backport: `criteria` is a topic, events have numbers, and a secret comes in a header.
    Topic,
    /// The backport, with a signature over the body (WebSub) in place of a secret in a header, and numbers that count within one notification.
    Signed,
}

impl Manner {
    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RestHook => "rest-hook",
            Self::Topic => "topic",
            Self::Signed => "signed",
        }
    }

    /// The manner of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::RestHook, Self::Topic, Self::Signed].into_iter().find(|m| m.as_str() == name)
    }

    /// Whether the numbers of events tell that one is missing.
    #[must_use]
    pub const fn is_numbered(self) -> bool {
        matches!(self, Self::Topic)
    }
}

/// How an EHR is asked to tell of changes of one type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EventPlan {
    /// How it is asked.
    pub manner: Manner,
    /// The topics, one subscription each; empty where it is a search.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub topics: Vec<String>,
    /// What narrows them; of a search its parameters.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<String>,
    /// How often a sign of life is asked for, in seconds; R4's own rest-hook has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heartbeat_secs: Option<u32>,
    /// After how many days it is renewed or ends.
    pub lasts_days: u16,
    /// Whether the resource is sent with a rest-hook, of which the id alone is read.
    pub payload: bool,
}

/// For how long a subscription is asked, in days.
const LASTS_DAYS: u16 = 7;
/// How often a sign of life is asked for.
const HEARTBEAT_SECS: u32 = 300;

impl EventPlan {
    /// How a type is told of, where the operator wants it so; or why it cannot be.
    pub(super) fn of(
        profile: &Profile,
        capability: &Capability,
        kind: ResourceType,
        strategy: Strategy,
    ) -> Option<(Result<Self, String>, Vec<String>)> {
        let wanted = profile.events.types.get(&kind)?;
        let mut warnings = Vec::new();
        let listed = capability.allows("Subscription", "create");
        if !listed && !profile.events.unlisted {
            let why = "the server's statement does not list creating a Subscription: no events are asked for (--events-unlisted asks all the same)";
            return Some((Err(why.to_owned()), warnings));
        }
        if !capability.allows(kind.as_str(), "read") {
            let why =
                format!("the server's statement does not list reading a {kind}: what events name could not be read, so none are asked for");
            return Some((Err(why), warnings));
        }
        if !listed {
            warnings.push("the server's statement does not list creating a Subscription; the operator's word holds".to_owned());
        }
        let habits = profile.preset().and_then(|p| p.events.as_ref());
        let topics = match (wanted.is_empty(), habits) {
            (true, Some(EventHabits { topics, .. })) => topics.get(&kind).cloned().unwrap_or_default(),
            _ => wanted.clone(),
        };
        let manner = match (topics.is_empty(), habits) {
            (_, Some(habits)) => habits.manner,
            (true, None) => Manner::RestHook,
            (false, None) => Manner::Topic,
        };
        if manner != Manner::RestHook && topics.is_empty() {
            return Some((Err(format!("no topic of such a server tells of {kind}: name one with --events {kind}=TOPIC")), warnings));
        }
        let by_number = habits.is_some_and(|h| h.by_number.contains(&kind));
        if by_number && !profile.events.ids.contains_key(&kind) {
            let why = format!(
                "events of {kind} at such a server name a number of the vendor's own and no FHIR id: say how the id is made of it with \
                 --event-id {kind}=PATTERN, where {{value}} stands for the number"
            );
            return Some((Err(why), warnings));
        }
        let stated = &capability.subscriptions.topics;
        let unknown: Vec<&str> = topics.iter().map(String::as_str).filter(|t| !stated.is_empty() && !stated.contains(*t)).collect();
        if !unknown.is_empty() {
            warnings.push(format!("the server's statement does not list the topic {}; the operator's word holds", unknown.join(", ")));
        }
        if manner == Manner::RestHook && !profile.events.payload && strategy != Strategy::Cursor {
            warnings.push(
                "an event does not say of which resource it is, so the type is read anew, once an hour at most; --event-payload has the \
                 resource sent with it"
                    .to_owned(),
            );
        }
        if strategy == Strategy::Off {
            warnings.push("nothing makes up for events that are lost".to_owned());
        }
        let plan = Self {
            manner,
            topics,
            filters: profile.events.filters.get(&kind).cloned().unwrap_or_default(),
            heartbeat_secs: manner.is_numbered().then(|| profile.events.heartbeat_secs.unwrap_or(HEARTBEAT_SECS)),
            lasts_days: profile.events.lasts_days.unwrap_or(LASTS_DAYS),
            payload: manner == Manner::RestHook && profile.events.payload,
        };
        Some((Ok(plan), warnings))
    }

    /// What each subscription is for: a topic, or nothing where it is a search.
    #[must_use]
    pub fn each(&self) -> Vec<String> {
        if self.topics.is_empty() { vec![String::new()] } else { self.topics.clone() }
    }

    /// All that is asked for but the address's token: another text is another subscription.
    #[must_use]
    pub fn request(&self, kind: ResourceType, topic: &str, address: &str) -> String {
        let Self { manner, filters, heartbeat_secs, lasts_days, payload, .. } = self;
        format!(
            "{} {} {} {} {lasts_days} {payload} {address}",
            manner.as_str(),
            criteria(kind, topic, filters),
            filters.join("&"),
            heartbeat_secs.unwrap_or_default()
        )
    }

    /// In words.
    #[must_use]
    pub fn words(&self, kind: ResourceType) -> String {
        match self.manner {
            Manner::RestHook => format!("a Subscription to {} (rest-hook)", criteria(kind, "", &self.filters)),
            Manner::Topic | Manner::Signed => format!("a Subscription to {} ({})", self.topics.join(", "), self.manner.as_str()),
        }
    }
}

fn criteria(kind: ResourceType, topic: &str, filters: &[String]) -> String {
    if topic.is_empty() { format!("{kind}?{}", filters.join("&")) } else { topic.to_owned() }
}

/// A subscription as it is sent.
#[derive(Debug)]
pub struct Asked<'a> {
    /// How.
    pub plan: &'a EventPlan,
    /// Of which type.
    pub kind: ResourceType,
    /// By which topic; empty where it is a search.
    pub topic: &'a str,
    /// Where to.
    pub endpoint: &'a str,
    /// What comes in the header `Authorization`; none where notifications are signed.
    pub secret: Option<&'a str>,
    /// When it ends.
    pub ends_at: Timestamp,
    /// Its id, where it is there already.
    pub id: Option<&'a str>,
}

const BACKPORT: &str = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition";

impl Asked<'_> {
    /// The resource (R4 Subscription; backport: StructureDefinition backport-subscription).
    #[must_use]
    pub fn resource(&self) -> Vec<u8> {
        let Self { plan, kind, topic, endpoint, secret, ends_at, id } = self;
        let mut channel = json!({ "type": "rest-hook", "endpoint": endpoint });
        let mut all = json!({
            "resourceType": "Subscription",
            "status": "requested",
            "reason": "fhir-engage keeps its copy up to date",
            "end": ends_at.to_string(),
            "criteria": criteria(*kind, topic, &plan.filters),
        });
        if let Some(secret) = secret {
            put(&mut channel, "header", json!([format!("Authorization: Bearer {secret}")]));
        }
        if let Some(id) = id {
            put(&mut all, "id", json!(id));
        }
        match plan.manner {
            Manner::RestHook if plan.payload => put(&mut channel, "payload", json!("application/fhir+json")),
            Manner::RestHook => {}
            Manner::Topic | Manner::Signed => {
                put(&mut all, "meta", json!({ "profile": [format!("{BACKPORT}/backport-subscription")] }));
                if !plan.filters.is_empty() {
                    let one = |f: &String| json!({ "url": format!("{BACKPORT}/backport-filter-criteria"), "valueString": f });
                    put(&mut all, "_criteria", json!({ "extension": plan.filters.iter().map(one).collect::<Vec<_>>() }));
                }
                if let Some(seconds) = plan.heartbeat_secs {
                    let url = format!("{BACKPORT}/backport-heartbeat-period");
                    put(&mut channel, "extension", json!([{ "url": url, "valueUnsignedInt": seconds }]));
                }
                // Ids are all that is read, so nothing else is to leave the EHR.
                let content = json!({ "url": format!("{BACKPORT}/backport-payload-content"), "valueCode": "id-only" });
                put(&mut channel, "payload", json!("application/fhir+json"));
                put(&mut channel, "_payload", json!({ "extension": [content] }));
            }
        }
        put(&mut all, "channel", channel);
        all.to_string().into_bytes()
    }
}

fn put(object: &mut Value, name: &str, value: Value) {
    if let Some(members) = object.as_object_mut() {
        members.insert(name.to_owned(), value);
    }
}
