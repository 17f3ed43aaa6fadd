//! What an EHR may be asked for, and by whose word: the operator's, else half of what its vendor publishes (standards.md E.4), else none.

use serde::{Deserialize, Serialize};
use url::Url;

use super::pace::Rate;
use super::profile::{Auth, Profile};

/// What a vendor publishes, of one of its addresses or of all.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Published {
    /// The host that it is of, or the end of its name where it begins with a dot; any where absent.
    #[serde(default)]
    pub host: Option<String>,
    /// Requests a second.
    #[serde(default)]
    pub per_second: Option<u32>,
    /// Requests a minute.
    #[serde(default)]
    pub per_minute: Option<u32>,
    /// Requests an hour.
    #[serde(default)]
    pub per_hour: Option<u32>,
    /// Requests a day.
    #[serde(default)]
    pub per_day: Option<u32>,
    /// Requests on their way at once.
    #[serde(default)]
    pub at_once: Option<u32>,
    /// Over what it counts.
    #[serde(default)]
    pub counted: Counted,
    /// What is known, in words.
    pub says: String,
    /// Where it is written.
    pub source: String,
}

/// Over what an EHR counts requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Counted {
    /// By FHIR base: a tenant.
    #[default]
    Base,
    /// By host, whatever the tenant.
    Host,
    /// By host and registered app.
    App,
}

/// A limit, and by whose word.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Told<T> {
    /// The limit.
    pub limit: T,
    /// Whose word.
    pub source: String,
    /// Whether it is of what the vendor publishes.
    #[serde(skip)]
    pub is_published: bool,
}

impl<T> Told<T> {
    /// The same word in another form.
    #[must_use]
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Told<U> {
        Told { limit: f(self.limit), source: self.source, is_published: self.is_published }
    }

    fn by(limit: T, source: &str) -> Self {
        Self { limit, source: source.to_owned(), is_published: false }
    }
}

/// So many requests in a span of time, evenly.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Frequency {
    /// Requests a second.
    pub per_second: f64,
    /// The span over which it is counted, in seconds: in no such span are there more than it allows.
    pub counted_over_secs: u32,
}

/// What one EHR may be asked for.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Limits {
    /// Who shares these limits: connections of the same name.
    #[serde(rename = "shared_by")]
    pub name: String,
    /// How often.
    pub frequency: Option<Told<Frequency>>,
    /// Requests in any hour.
    pub per_hour: Option<Told<u32>>,
    /// Requests in any day.
    pub per_day: Option<Told<u32>>,
    /// Requests on their way at once, over all nodes.
    pub at_once: Told<u32>,
}

/// Requests at once where nothing is known and no rate is set.
const AT_ONCE: u32 = 16;
/// The most at once of our own choosing.
const MOST_AT_ONCE: u32 = 128;

const OPERATOR: &str = "set for this EHR";
const OURS: &str = "our default";

impl Limits {
    /// The limits of an EHR at a base.
    #[must_use]
    pub fn of(profile: &Profile, base: &Url) -> Self {
        let published = profile.preset().and_then(|p| p.limits.iter().find(|l| l.is_of(base)));
        let half = |of: fn(&Published) -> Option<u32>| {
            let all = published.and_then(of)?;
            let source = published.map(|p| format!("half of the published {all} ({})", p.source)).unwrap_or_default();
            Some(Told { limit: (all / 2).max(1), source, is_published: true })
        };
        let set = |limit: Option<u32>| limit.map(|limit| Told::by(limit, OPERATOR));
        let every = |told: Told<u32>, secs: u32| {
            told.map(|limit| Frequency { per_second: f64::from(limit) / f64::from(secs), counted_over_secs: secs })
        };
        let own = profile.requests_per_second.map(|rate| Told::by(Frequency::of(rate), OPERATOR));
        let frequency = own
            .or_else(|| half(|p| p.per_second).map(|told| every(told, 1)))
            .or_else(|| half(|p| p.per_minute).map(|told| every(told, 60)));
        let enough = frequency.as_ref().map_or(AT_ONCE, |f| at_once_for(f.limit.per_second));
        let ours = || Told::by(enough, OURS);
        Self {
            name: name(profile, base, published.map(|p| p.counted).unwrap_or_default()),
            per_hour: set(profile.requests_per_hour).or_else(|| half(|p| p.per_hour)),
            per_day: set(profile.requests_per_day).or_else(|| half(|p| p.per_day)),
            at_once: set(profile.at_once).or_else(|| half(|p| p.at_once)).unwrap_or_else(ours),
            frequency,
        }
    }

    /// Limits of a name that hold nothing back but how many are on their way at once.
    #[must_use]
    pub fn open(name: &str) -> Self {
        let at_once = Told::by(AT_ONCE, OURS);
        Self { name: name.to_owned(), frequency: None, per_hour: None, per_day: None, at_once }
    }
}

/// Enough to use a rate up where an answer takes two seconds.
fn at_once_for(per_second: f64) -> u32 {
    let needed = (per_second * 2.0).ceil().min(f64::from(MOST_AT_ONCE));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 128")]
    let needed = needed as u32;
    needed.max(AT_ONCE)
}

impl Frequency {
    /// A rate, counted over a second; over the time of one request where that is longer.
    #[must_use]
    pub fn of(rate: Rate) -> Self {
        let per_second = f64::from(rate);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate is at least a thousandth")]
        let over = (1.0 / per_second).ceil().max(1.0) as u32;
        Self { per_second, counted_over_secs: over }
    }
}

impl Published {
    fn is_of(&self, base: &Url) -> bool {
        let host = base.host_str().unwrap_or_default();
        self.host.as_deref().is_none_or(|own| if own.starts_with('.') { host.ends_with(own) } else { host == own })
    }
}

fn name(profile: &Profile, base: &Url, counted: Counted) -> String {
    let origin = base.origin().ascii_serialization();
    match (counted, &profile.auth) {
        (Counted::Base, _) => base.as_str().trim_end_matches('/').to_owned(),
        (Counted::App, Auth::BackendServices(backend)) => format!("{origin} as {}", backend.client_id),
        (Counted::Host | Counted::App, _) => origin,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(profile: &str) -> Limits {
        let profile = Profile::from_json(profile).unwrap();
        let base = profile.base_url.clone().unwrap();
        Limits::of(&profile, &base)
    }

    #[test]
    fn half_of_what_a_vendor_publishes_holds_and_the_operator_s_word_above_it() {
        let ecw = limits(r#"{"base_url":"https://fhir.example.org/r4/","vendor":"eclinicalworks"}"#);
        let told = ecw.frequency.unwrap();
        assert_eq!((told.limit.per_second * 60.0).round(), 125.0);
        assert_eq!((told.limit.counted_over_secs, ecw.name.as_str()), (60, "https://fhir.example.org/r4"));
        assert!(told.source.contains("half of the published 250"), "{}", told.source);
        let own = limits(
            r#"{"base_url":"https://fhir.example.org/r4","vendor":"ecw","requests_per_second":4.0,"requests_per_day":900,"at_once":3}"#,
        );
        assert_eq!(own.frequency.unwrap().limit, Frequency { per_second: 4.0, counted_over_secs: 1 });
        assert_eq!((own.per_day.unwrap().limit, own.at_once.limit, own.per_hour), (900, 3, None));
        let slow = limits(r#"{"base_url":"https://e.org","requests_per_second":0.25}"#).frequency.unwrap().limit;
        assert_eq!(slow.counted_over_secs, 4);
    }

    #[test]
    fn a_published_limit_is_of_the_address_that_it_is_published_for() {
        let of = |base: &str| limits(&format!(r#"{{"base_url":"{base}"}}"#)).frequency.map(|f| f.limit.per_second);
        assert_eq!(of("https://api.medplum.com/fhir/R4"), Some(50.0));
        assert_eq!(of("https://healthlake.us-east-1.amazonaws.com/datastore/x/r4"), Some(1500.0));
        assert_eq!(of("https://fhir.example.org/r4"), None);
        assert_eq!(limits(r#"{"base_url":"https://e.org"}"#).at_once.limit, AT_ONCE);
    }

    #[test]
    fn where_an_app_is_counted_its_connections_share_one_limit() {
        let of = |base: &str| {
            limits(&format!(r#"{{"base_url":"{base}","vendor":"athena","auth":{{"kind":"backend-services","client_id":"app"}}}}"#)).name
        };
        assert_eq!(of("https://api.example.org/a-1/r4"), of("https://api.example.org/a-2/r4"));
        assert_ne!(of("https://api.example.org/a-1/r4"), of("https://other.example.org/a-1/r4"));
    }

    #[test]
    fn every_published_limit_says_where_it_is_from() {
        for preset in super::super::vendor::all() {
            for limit in &preset.limits {
                assert!(["standards.md ", "https://"].iter().any(|s| limit.source.starts_with(s)), "{}", preset.name);
                assert!(!limit.says.trim().is_empty());
            }
        }
    }
}
