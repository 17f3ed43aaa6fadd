//! A connector profile: what the operator says of one EHR. Data, stored as JSON; what the EHR says of itself is read live and kept
//! apart (`capability`, `discovery`).
//!
//! Unknown keys are refused: a misspelt limit must not pass in silence. Secrets are pointers (`env:`, `file:`), never themselves.

mod access;
mod events;
mod launch;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

pub use access::{
    AudForm, Audience, Auth, BackendServices, ClientCertificate, ClientSecret, Proxy, PurposeScopes, TypeCredential, UserGrant,
};
pub use events::Events;

use chrono::NaiveDate;
use domain::model::{FhirId, ResourceType};
pub use launch::{AppLaunch, LAUNCH};
use serde::{Deserialize, Serialize};
use url::Url;

use super::bulk::Choice;
use super::misread::{self, Misread};
use super::pace::Rate;
use super::reads::{RosterSource, SearchSet, Window};
use crate::net::Origin;

/// Five years. Whoever needs more wants everything.
const LONGEST_WINDOW: u16 = 1830;

/// One EHR connection, as configured.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Profile {
    /// The FHIR base URL. Absent for an EHR that delivers files only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base_url: Option<Url>,
    /// There is no connection: data comes as files.
    #[serde(skip_serializing_if = "is_default")]
    pub files_only: bool,
    /// How requests are authorised.
    pub auth: Auth,
    /// Other credentials, each for the types that it names.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub credentials: BTreeMap<String, TypeCredential>,
    /// The day on which the secret or token of `auth` ends, where the EHR said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential_expires: Option<NaiveDate>,
    /// Scopes to ask for in place of those that each purpose needs.
    #[serde(skip_serializing_if = "is_default")]
    pub scopes: PurposeScopes,
    /// How staff open this gateway from inside the EHR; they cannot where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub launch: Option<Box<AppLaunch>>,
    /// What `aud` says, where it is not what SMART asks for.
    #[serde(skip_serializing_if = "is_default")]
    pub audience: Audience,
    /// The certificate to show to the EHR.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_certificate: Option<ClientCertificate>,
    /// The proxy through which the EHR is reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy: Option<Proxy>,
    /// A PEM file with certificate authorities to trust beside the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extra_ca: Option<PathBuf>,
    /// Allows plain http to a machine other than this one. For a test network only.
    #[serde(skip_serializing_if = "is_default")]
    pub allow_insecure: bool,
    /// Resources per page to ask for; the server may give fewer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page_size: Option<u32>,
    /// The search parameter that sets the page size, where it is not `_count`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page_size_param: Option<String>,
    /// Searches with `POST [type]/_search`, so that search values stay out of URLs. Not every server takes it.
    #[serde(skip_serializing_if = "is_default")]
    pub search_by_post: bool,
    /// The supporting types that are read of this EHR, or taken from its files, beside patients, appointments and care plans.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub types: BTreeSet<ResourceType>,
    /// Folders into which the hospital puts files of this EHR. Opaque here; `sync` reads them, strictly.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub drops: Vec<serde_json::Value>,
    /// The sync strategy per type, where the operator overrides the automatic choice.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub strategy: BTreeMap<ResourceType, Strategy>,
    /// Where the patients come from, where the EHR gives their data one patient at a time only. Several are put together.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub roster: Vec<RosterSource>,
    /// Which appointments are read, where they are read by date.
    #[serde(skip_serializing_if = "is_default")]
    pub window: Window,
    /// The search parameters of a type, where the operator overrides those of the vendor's preset.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub searches: BTreeMap<ResourceType, SearchSet>,
    /// How much of a type may disappear at once, in percent, before a run stops and asks; 20 where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vanish_limit_percent: Option<u8>,
    /// Of which types the EHR is asked to tell of changes by itself, and how.
    #[serde(skip_serializing_if = "is_default")]
    pub events: Events,
    /// Exports: how they are asked for, from which hosts files may come, how often a full one is compared with what is stored.
    #[serde(skip_serializing_if = "is_default")]
    pub bulk: Choice,
    /// Whole seconds for one exchange; 60 where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_secs: Option<u64>,
    /// How many requests a second this EHR allows, those for tokens included; half of what the vendor
    /// publishes where absent, else as fast as it goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_second: Option<Rate>,
    /// Request headers by name, beside those of the vendor's preset or in their place; an empty value leaves one out. No secrets: they are
    /// stored and shown as they are.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// How many requests in any hour; the vendor's published limit decides where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_hour: Option<u32>,
    /// How many requests in any day.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_day: Option<u32>,
    /// How many requests may be on their way at once, over all nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_once: Option<u32>,
    /// The vendor's preset to begin with, such as `full-r4`; that one where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vendor: Option<String>,
    /// The operator's word on writing back. Opaque here; `writeback` reads it, strictly.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub write_back: Option<serde_json::Value>,
}

/// How the resources of a type are kept up to date (standards.md D.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// Searches by `_lastUpdated` from where the last run ended.
    Cursor,
    /// Searches for everything and compares content.
    Full,
    /// Appointments: searches a span of days again and again, and compares content.
    Window,
    /// Goes from patient to patient.
    Roster,
    /// Reads by id who and where it is that appointments name.
    Reference,
    /// Asks for an export of all patients or of a Group's members, and reads its files.
    Bulk,
    /// Not synced.
    Off,
}

impl Strategy {
    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cursor => "cursor",
            Self::Full => "full",
            Self::Window => "window",
            Self::Roster => "roster",
            Self::Reference => "reference",
            Self::Bulk => "bulk",
            Self::Off => "off",
        }
    }
}

/// Why a text is no usable profile.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// Not JSON of this shape. Told by key and line, without what stands there: a secret may have been put in the wrong place.
    #[error("the connector profile cannot be read: {0}")]
    Unreadable(Misread),
    /// A rule across keys is broken.
    #[error("{0}")]
    Rule(&'static str),
    /// No preset has that name.
    #[error("vendor is none that is known; leave it out, or use one of: {0}")]
    Vendor(String),
}

impl Profile {
    /// Reads and checks a stored profile.
    ///
    /// # Errors
    /// [`ProfileError`].
    pub fn from_json(text: &str) -> Result<Self, ProfileError> {
        let profile: Self = misread::read(text).map_err(ProfileError::Unreadable)?;
        profile.check()?;
        Ok(profile)
    }

    /// The profile as it is stored.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Cannot fail: all keys are texts and no value has its own Serialize.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// What the keys cannot say one by one.
    ///
    /// # Errors
    /// [`ProfileError::Rule`], the first one broken.
    pub fn check(&self) -> Result<(), ProfileError> {
        let rule = |holds: bool, text| if holds { Ok(()) } else { Err(ProfileError::Rule(text)) };
        match &self.base_url {
            None => rule(self.files_only, "base_url is missing; give the EHR's FHIR base URL, or set files_only")?,
            Some(base) => {
                rule(!self.files_only, "files_only and base_url exclude each other; remove one of them")?;
                let plain = base.query().is_none() && base.fragment().is_none() && base.username().is_empty() && base.password().is_none();
                rule(plain, "base_url must be the bare FHIR base: no query, no fragment, no user name")?;
                rule(self.transport_is_safe(base), "base_url must be https (plain http is for this machine, or with allow_insecure)")?;
            }
        }
        self.access_holds_together()?;
        if self.vendor.as_deref().is_some_and(|name| super::vendor::preset(name).is_none()) {
            return Err(ProfileError::Vendor(super::vendor::known()));
        }
        rule(self.write_back.as_ref().is_none_or(serde_json::Value::is_object), "write_back must be an object of settings")?;
        rule(
            self.headers.iter().all(|(name, value)| is_own_header(name, value)),
            "headers: a name or value that cannot be sent, or one that the gateway sets itself (authorization, accept, content-type, prefer, if-...)",
        )?;
        self.reading_holds_together()?;
        rule(self.page_size != Some(0), "page_size must be at least 1")?;
        let some = [self.requests_per_hour, self.requests_per_day, self.at_once].iter().all(|n| *n != Some(0));
        rule(some, "requests_per_hour, requests_per_day and at_once must be at least 1")?;
        rule(self.timeout_secs != Some(0), "timeout_secs must be at least 1")
    }

    fn reading_holds_together(&self) -> Result<(), ProfileError> {
        let rule = |holds: bool, text| if holds { Ok(()) } else { Err(ProfileError::Rule(text)) };
        let id = |text: &String| FhirId::parse(text).is_some();
        let groups = self.roster.iter().all(|s| !matches!(s, RosterSource::Group(group) if !id(group)));
        rule(groups, "roster: a group is named by its logical id, as in Group/ID")?;
        let named = self.window.locations.iter().chain(&self.window.practitioners).all(id);
        rule(named, "window: locations and practitioners are named by their logical ids")?;
        rule(self.bulk.hosts_are_hosts(), "bulk.download_hosts: write HOST, HOST:PORT or https://HOST")?;
        let days = |n: u16| n <= LONGEST_WINDOW;
        rule(days(self.window.back_days) && days(self.window.ahead_days), "window: at most 1830 days back and 1830 ahead")?;
        rule(self.window.back_days + self.window.ahead_days > 0, "window: it must hold at least one day")?;
        let says = |wanted: Strategy, of: fn(ResourceType) -> bool| self.strategy.iter().any(|(kind, s)| *s == wanted && of(*kind));
        let misplaced = says(Strategy::Window, |kind| kind != ResourceType::Appointment);
        rule(!misplaced, "strategy: window is for Appointment; the others have no day of their own")?;
        let misplaced = says(Strategy::Reference, |kind| !kind.is_directory()) || says(Strategy::Roster, ResourceType::is_directory);
        rule(
            !misplaced,
            "strategy: reference is for Practitioner, PractitionerRole, Location and Organization, and roster is not for them",
        )?;
        self.events.check().map_err(ProfileError::Rule)?;
        rule(!self.files_only || self.events.types.is_empty(), "events: an EHR that delivers files has nothing to tell by")?;
        rule(self.vanish_limit_percent.is_none_or(|n| (1..=100).contains(&n)), "vanish_limit_percent must be from 1 to 100")
    }

    /// The types that are read of this EHR, or taken from its files: the core, and the supporting types that the operator asks for.
    pub fn all_types(&self) -> impl Iterator<Item = ResourceType> + '_ {
        ResourceType::ALL.into_iter().filter(|kind| kind.is_core() || self.types.contains(kind))
    }

    /// The vendor's preset, a full R4 server's where none is named.
    #[must_use]
    pub fn preset(&self) -> Option<&'static super::vendor::Preset> {
        super::vendor::preset(self.vendor.as_deref().unwrap_or("full-r4"))
    }

    /// The headers that go with each request to the FHIR base: those of the preset, with the operator's word above them.
    #[must_use]
    pub fn request_headers(&self) -> BTreeMap<String, String> {
        let mut all = self.preset().map(|p| p.headers.send.clone()).unwrap_or_default();
        all.extend(self.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone())));
        all.retain(|_, value| !value.is_empty());
        all
    }

    fn transport_is_safe(&self, url: &Url) -> bool {
        Origin::of(url).is_some_and(|o| o.is_https() || o.is_loopback() || self.allow_insecure)
    }
}

/// Whether a header is one that an operator may add.
fn is_own_header(name: &str, value: &str) -> bool {
    const OURS: [&str; 11] = [
        "authorization",
        "proxy-authorization",
        "cookie",
        "accept",
        "content-type",
        "content-length",
        "host",
        "prefer",
        "connection",
        "expect",
        "transfer-encoding",
    ];
    let name = name.to_ascii_lowercase();
    let taken = OURS.contains(&name.as_str()) || name.starts_with("if-");
    !taken && http::HeaderName::from_bytes(name.as_bytes()).is_ok() && http::HeaderValue::from_str(value).is_ok()
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[cfg(test)]
mod tests {
    use super::{Auth, Profile, Strategy};
    use domain::model::ResourceType;

    #[test]
    fn reads_what_it_writes() {
        for text in [
            r#"{"files_only":true,"auth":{"kind":"none"}}"#,
            r#"{"base_url":"http://127.0.0.1:8080/fhir","auth":{"kind":"bearer","token":"env:T"},"page_size":50,"requests_per_second":4.167}"#,
            r#"{"base_url":"https://e.org","vendor":"hapi","write_back":{"payload":"text","leave_out":["note"]}}"#,
            r#"{"base_url":"https://e.org","roster":[{"file":"/srv/panel.txt"},{"group":"g1"},"appointments"],"window":{"back_days":1,"ahead_days":30,"locations":["l-1"]},"searches":{"CarePlan":["patient","category=x"]},"strategy":{"Appointment":"window"},"vanish_limit_percent":5}"#,
            r#"{"base_url":"https://ehr.example.org/r4","auth":{"kind":"backend-services","client_id":"app","dialect":"v1"},"strategy":{"CarePlan":"off"}}"#,
            r#"{"base_url":"https://e.org","auth":{"kind":"client-secret","client_id":"app","secret":"env:S","method":"post"},"credential_expires":"2027-03-01","scopes":{"read":["system/*.read"]},"audience":{"authorize":"no-slash","assertion":"https://e.org"}}"#,
            r#"{"base_url":"https://e.org","credentials":{"desk":{"types":["Appointment"],"auth":{"kind":"user-grant","client_id":"app","key":true}}},"client_certificate":{"certificate":"/etc/c.pem","key":"file:/etc/k.pem"},"proxy":{"url":"http://proxy:3128","user":"u","password":"env:P","except":[".local","10.0.0.0/8"]}}"#,
        ] {
            let profile = Profile::from_json(text).unwrap();
            assert_eq!(Profile::from_json(&profile.to_json()).unwrap(), profile);
        }
        let profile = Profile::from_json(r#"{"base_url":"https://e.org","strategy":{"Patient":"full"}}"#).unwrap();
        assert_eq!((profile.auth, profile.strategy.get(&ResourceType::Patient)), (Auth::None, Some(&Strategy::Full)));
    }

    #[test]
    fn refuses_what_would_not_work() {
        for (text, says) in [
            ("{}", "base_url is missing"),
            (r#"{"base_url":"https://e.org","files_only":true}"#, "exclude each other"),
            (r#"{"base_url":"https://e.org/?x=1"}"#, "bare FHIR base"),
            (r#"{"base_url":"https://user:word@e.org/"}"#, "bare FHIR base"),
            (r#"{"base_url":"http://e.org/"}"#, "must be https"),
            (r#"{"base_url":"ftp://e.org/","allow_insecure":true}"#, "must be https"),
            (r#"{"base_url":"https://e.org","page_size":0}"#, "page_size"),
            (r#"{"base_url":"https://e.org","headers":{"Authorization":"x"}}"#, "headers"),
            (r#"{"base_url":"https://e.org","headers":{"If-Match":"x"}}"#, "headers"),
            (r#"{"base_url":"https://e.org","headers":{"a b":"x"}}"#, "headers"),
            (r#"{"base_url":"https://e.org","auth":{"kind":"backend-services","client_id":" "}}"#, "client_id is empty"),
            (r#"{"base_url":"https://e.org","requests_per_second":0}"#, "cannot be read"),
            (r#"{"base_url":"https://e.org","pagesize":5}"#, "cannot be read"),
            (r#"{"base_url":"https://e.org","roster":[{"group":"Group/1"}]}"#, "logical id"),
            (r#"{"base_url":"https://e.org","window":{"locations":["a b"]}}"#, "logical ids"),
            (r#"{"base_url":"https://e.org","window":{"back_days":0,"ahead_days":0}}"#, "at least one day"),
            (r#"{"base_url":"https://e.org","window":{"ahead_days":9999}}"#, "1830"),
            (r#"{"base_url":"https://e.org","strategy":{"CarePlan":"window"}}"#, "window is for Appointment"),
            (r#"{"base_url":"https://e.org","searches":{"CarePlan":["category"]}}"#, "cannot be read"),
            (r#"{"base_url":"https://e.org","vanish_limit_percent":0}"#, "from 1 to 100"),
            (r#"{"base_url":"https://e.org","vendor":"acme"}"#, "hapi (hapi-fhir)"),
            (r#"{"base_url":"https://e.org","write_back":"text"}"#, "must be an object"),
            (r#"{"base_url":"https://e.org","auth":{"kind":"bearer","token":"env:T","extra":1}}"#, "cannot be read"),
            (r#"{"base_url":"e.org"}"#, "cannot be read"),
            (r#"{"base_url":"https://e.org","auth":{"kind":"client-secret","client_id":"a","secret":"hunter2"}}"#, "env:NAME or file:PATH"),
            (r#"{"base_url":"https://e.org","auth":{"kind":"bearer","token":"hunter2"}}"#, "env:NAME or file:PATH"),
            (
                r#"{"base_url":"https://e.org","auth":{"kind":"user-grant","client_id":"a","secret":"env:S","key":true}}"#,
                "exclude each other",
            ),
            (
                r#"{"base_url":"https://e.org","auth":{"kind":"user-grant","client_id":"a","redirect_url":"http://e.org/back"}}"#,
                "on this machine",
            ),
            (r#"{"base_url":"https://e.org","credentials":{"x":{"types":[],"auth":{"kind":"none"}}}}"#, "each names"),
            (
                r#"{"base_url":"https://e.org","credentials":{"x":{"types":["A"],"auth":{"kind":"none"}},"y":{"types":["A"],"auth":{"kind":"none"}}}}"#,
                "one credential only",
            ),
            (r#"{"base_url":"https://e.org","credentials":{"X":{"types":["A"],"auth":{"kind":"none"}}}}"#, "lower-case"),
            (r#"{"base_url":"https://e.org","client_certificate":{"certificate":"c.pem","key":"k.pem"}}"#, "never as the key itself"),
            (r#"{"base_url":"https://e.org","proxy":{"url":"http://u:p@proxy:3128"}}"#, "without a name"),
            (r#"{"base_url":"https://e.org","proxy":{"url":"http://proxy:3128","user":"u"}}"#, "go together"),
            (r#"{"base_url":"https://e.org","proxy":{"url":"http://proxy:3128","except":["10.0.0.0/99"]}}"#, "proxy.except"),
        ] {
            let error = Profile::from_json(text).unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
        assert!(Profile::from_json(r#"{"base_url":"http://e.org/","allow_insecure":true}"#).is_ok());
        // Neither the text nor what it comes from holds what was written there.
        let misplaced = Profile::from_json("{\"base_url\":\"https://e.org\",\n\"timeout_secs\":\"hunter2\"}").unwrap_err();
        assert_eq!(misplaced.to_string(), "the connector profile cannot be read: timeout_secs (line 2): a text where u64 is wanted");
        assert!(!format!("{misplaced:?}").contains("hunter2"), "{misplaced:?}");
    }
}
