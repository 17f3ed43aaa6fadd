//! How a vendor's servers want to be asked for an export, as data; and what the operator says of it.

use domain::model::ResourceType;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::net::Origin;

/// Whose data are exported (Bulk Data Access, "Request Flow"; the three endpoints).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// `[base]/$export`: all there is.
    System,
    /// `[base]/Patient/$export`: what is about a patient.
    Patient,
    /// `[base]/Group/[id]/$export`: what is about a member of a Group.
    Group,
}

impl Level {
    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Patient => "patient",
            Self::Group => "group",
        }
    }
}

/// How several values of one parameter are written (standards.md C.6, first row).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lists {
    /// The parameter is repeated, as the standard has it since version 2.
    #[default]
    Repeated,
    /// One parameter, the values joined by commas: version 1.
    Comma,
}

/// How an export is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KickOff {
    /// With the parameters in the query; by POST where the server takes no GET.
    #[default]
    Get,
    /// With a Parameters resource: the only way in the ballot of version 4.
    Post,
}

/// What a preset says of exports.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dialect {
    /// Whose data may be exported, the best first.
    pub levels: Vec<Level>,
    /// How several values are written.
    #[serde(default)]
    pub lists: Lists,
    /// How an export is asked for.
    #[serde(default)]
    pub kick_off: KickOff,
    /// Types that its exports leave out, whatever is asked for.
    #[serde(default)]
    pub withheld: Vec<ResourceType>,
    /// Whether `_typeFilter` is taken.
    #[serde(default)]
    pub type_filter: bool,
    /// What whoever uses it has to know.
    #[serde(default)]
    pub note: Option<String>,
}

/// The operator's word on exports.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Choice {
    /// Whose data are exported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level: Option<Level>,
    /// How several values are written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lists: Option<Lists>,
    /// How an export is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kick_off: Option<KickOff>,
    /// What of a type is exported: a search of it, without the question mark's left side. What no filter shows is not missing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<TypeFilter>,
    /// Other hosts that the EHR may give files from, as `HOST`, `HOST:PORT` or `https://HOST`. Our token goes to none of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub download_hosts: Vec<String>,
    /// How often a full export is compared with what is stored, in days; 0 is never, 7 where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reconcile_days: Option<u16>,
}

/// How often a full export is compared with what is stored, where the operator does not say.
const RECONCILE_DAYS: u16 = 7;

impl Choice {
    /// The origins of the hosts that the EHR may give files from.
    #[must_use]
    pub fn download_origins(&self) -> Vec<Origin> {
        self.download_hosts.iter().filter_map(|host| origin(host)).collect()
    }

    /// Whether each host can be read.
    #[must_use]
    pub fn hosts_are_hosts(&self) -> bool {
        self.download_hosts.iter().all(|host| origin(host).is_some())
    }

    /// How often a full export is compared with what is stored, in days; 0 is never.
    #[must_use]
    pub fn reconcile_days(&self) -> u16 {
        self.reconcile_days.unwrap_or(RECONCILE_DAYS)
    }
}

/// A host as people write it. Without a scheme it is https: files of patients come in no other way, but from this machine.
fn origin(text: &str) -> Option<Origin> {
    let text = text.trim().trim_end_matches('/');
    let url = if text.contains("://") { Url::parse(text) } else { Url::parse(&format!("https://{text}")) };
    let url = url.ok().filter(|url| url.path() == "/" && url.query().is_none() && url.username().is_empty() && url.fragment().is_none());
    Origin::of(&url?)
}

/// A search that narrows a type (`_typeFilter`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TypeFilter {
    /// The type.
    pub kind: ResourceType,
    /// The search, such as `category=assess-plan`.
    pub query: String,
}

/// Why a text is no [`TypeFilter`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a type filter is TYPE?PARAMETER=VALUE, of a type that is synced, without _sort, _include and _count")]
pub struct NotAFilter;

impl TryFrom<String> for TypeFilter {
    type Error = NotAFilter;

    fn try_from(text: String) -> Result<Self, NotAFilter> {
        let (kind, query) = text.split_once('?').ok_or(NotAFilter)?;
        let kind = ResourceType::parse(kind).ok_or(NotAFilter)?;
        let barred = ["_sort", "_include", "_revinclude", "_count"];
        let well = query
            .split('&')
            .all(|pair| pair.split_once('=').is_some_and(|(name, value)| !name.is_empty() && !value.is_empty() && !barred.contains(&name)));
        let plain = query.chars().all(|c| !c.is_control() && c != '#');
        (well && plain).then(|| Self { kind, query: query.to_owned() }).ok_or(NotAFilter)
    }
}

impl From<TypeFilter> for String {
    fn from(filter: TypeFilter) -> Self {
        format!("{}?{}", filter.kind, filter.query)
    }
}

impl TypeFilter {
    /// As it stands in the parameter's value. A comma in it is encoded once more: servers that join filters by commas would cut there.
    #[must_use]
    pub fn value(&self) -> String {
        format!("{}?{}", self.kind, self.query.replace(',', "%2C"))
    }
}
