//! How staff open this gateway from inside the EHR: the client that is registered for it (SMART App Launch), and what the site says of it.

use serde::{Deserialize, Serialize};
use url::Url;

use super::{Auth, Profile, ProfileError, is_default};
use crate::ehr::auth::{Dialect, Level, Need};

/// The name of the launch's client among the credentials of an EHR.
pub const LAUNCH: &str = "launch";

/// A registration for launches.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AppLaunch {
    /// The client: of kind `user-grant`, since a person lets it in.
    pub auth: Auth,
    /// The scopes to ask for in place of `openid fhirUser`, the launch's own, and reading the patient.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<String>>,
    /// What a user must be able to read beside the patient before the page is shown, where the launch names one: `Appointment`, `Encounter`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub also_read: Vec<String>,
    /// Other origins of the EHR's authorization server that are asked: where its keys are, where tokens are given back.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub origins: Vec<Url>,
    /// The origins whose pages may show ours in a frame, where they are not the FHIR base's.
    #[serde(skip_serializing_if = "is_default")]
    pub framed_by: Vec<Url>,
}

/// What may be asked to be readable.
const READABLE: [&str; 2] = ["Appointment", "Encounter"];

impl AppLaunch {
    pub(super) fn check(&self, profile: &Profile) -> Result<(), ProfileError> {
        let rule = |holds: bool, text| if holds { Ok(()) } else { Err(ProfileError::Rule(text)) };
        let known = matches!(self.auth, Auth::UserGrant(_)) && profile.base_url.is_some();
        rule(known, "launch.auth is of kind user-grant, at an EHR that has a connection")?;
        rule(self.scopes.as_ref().is_none_or(|s| !s.is_empty()), "launch.scopes: name at least one, or leave it out")?;
        rule(self.also_read.iter().all(|kind| READABLE.contains(&kind.as_str())), "launch.also_read: Appointment and Encounter are known")?;
        let safe = |url: &Url| profile.transport_is_safe(url) && url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        rule(self.origins.iter().chain(&self.framed_by).all(safe), "launch: an origin is https://HOST or https://HOST:PORT, without a path")
    }

    /// The scopes that a launch asks for; `in_ehr` where it begins there, `online` where the EHR knows tokens that live as long as the user is
    /// at work.
    #[must_use]
    pub fn asks(&self, in_ehr: bool, online: bool, dialect: Dialect) -> Vec<String> {
        if let Some(set) = &self.scopes {
            return set.clone();
        }
        let mut scopes = vec!["openid".to_owned(), "fhirUser".to_owned(), if in_ehr { "launch" } else { "launch/patient" }.to_owned()];
        if online {
            scopes.push("online_access".to_owned());
        }
        let read = std::iter::once("Patient").chain(self.also_read.iter().map(String::as_str));
        scopes.extend(read.flat_map(|kind| Need::read(kind).scopes_at(Level::User, dialect)));
        scopes
    }

    /// Whose frames the pages may stand in, as `frame-ancestors` lists them.
    #[must_use]
    pub fn frame_ancestors(&self, base: &Url) -> String {
        let origins: Vec<String> = match self.framed_by.as_slice() {
            [] => vec![base.origin().ascii_serialization()],
            some => some.iter().map(|url| url.origin().ascii_serialization()).collect(),
        };
        origins.join(" ")
    }
}
