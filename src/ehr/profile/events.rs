//! What the operator says of an EHR that tells of changes by itself. Without it none is asked for.

use std::collections::BTreeMap;

use domain::model::ResourceType;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::ehr::subscription::naming::IdPattern;

/// Of what an EHR is asked to tell, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Events {
    /// The types, each with the topics to subscribe to; where none is named, those of the vendor's preset, else by a search.
    pub types: BTreeMap<ResourceType, Vec<String>>,
    /// What narrows the events of a type: `Appointment?location=…` of a topic, parameters of a search.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub filters: BTreeMap<ResourceType, Vec<String>>,
    /// How logical ids are made of the numbers that events of a type name in their place, at vendors that do so.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub ids: BTreeMap<ResourceType, IdPattern>,
    /// How often the EHR is asked for a sign of life, in seconds; 300 where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heartbeat_secs: Option<u32>,
    /// After how many days a subscription ends, unless it is renewed; 7 where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lasts_days: Option<u16>,
    /// Whether R4's rest-hook is to send the resource, so that it tells which one it is.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub payload: bool,
    /// Whether the EHR is asked although its statement does not list subscriptions.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unlisted: bool,
    /// The URL under which this EHR reaches this gateway, where it is not `web.external_url`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<Url>,
}

/// A year.
const LONGEST_DAYS: u16 = 366;

impl Events {
    pub(super) fn check(&self) -> Result<(), &'static str> {
        let plain = |text: &String| !text.is_empty() && !text.chars().any(|c| c.is_control() || c.is_whitespace());
        let topics = self.types.values().flatten().all(|t| plain(t) && (t.contains("://") || t.starts_with("urn:")) && !t.contains('?'));
        let whole = |url: &Url| matches!(url.scheme(), "http" | "https") && url.has_host() && url.query().is_none();
        for (holds, text) in [
            (topics, "events: a topic is named by its canonical URL"),
            (self.filters.values().flatten().all(plain), "events: a filter is NAME=VALUE, or TYPE?NAME=VALUE"),
            (
                self.filters.keys().all(|kind| self.types.contains_key(kind)),
                "events: a filter is of a type that the EHR is asked to tell of",
            ),
            (
                self.ids.keys().all(|kind| self.types.contains_key(kind)),
                "events: a pattern for ids is of a type that the EHR is asked to tell of",
            ),
            (self.heartbeat_secs.is_none_or(|n| (30..=86_400).contains(&n)), "events: heartbeat_secs must be from 30 to 86400"),
            (self.lasts_days.is_none_or(|n| (1..=LONGEST_DAYS).contains(&n)), "events: lasts_days must be from 1 to 366"),
            (self.address.as_ref().is_none_or(whole), "events: address must be a whole http or https URL without query"),
        ] {
            if !holds {
                return Err(text);
            }
        }
        Ok(())
    }
}
