//! How an EHR lets this gateway in, and the way there: the parts of a profile that secrets and networks belong to. Secrets are pointers.

use std::collections::BTreeMap;
use std::path::PathBuf;

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use url::Url;

use super::{Profile, ProfileError};
use crate::ehr::auth::{Dialect, SecretMethod};
use crate::net::proxy::Exception;

/// How requests are authorised.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Auth {
    /// Not at all.
    #[default]
    None,
    /// By a static token.
    Bearer {
        /// Where the token is: `env:NAME` or `file:PATH`.
        token: String,
    },
    /// By SMART Backend Services.
    BackendServices(BackendServices),
    /// By client credentials with a secret (RFC 6749, 2.3.1 and 4.4).
    ClientSecret(ClientSecret),
    /// By what a person granted once (RFC 6749, 4.1 and 6), for types that an EHR opens to no machine.
    UserGrant(UserGrant),
}

/// A SMART Backend Services registration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackendServices {
    /// The client's id, as the EHR gave it.
    pub client_id: String,
    /// The `kid` of the key to begin with; rotations go on from there. The installation's current key where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_id: Option<String>,
    /// The token endpoint, where discovery tells none or a wrong one. Its origin counts as registered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_url: Option<Url>,
    /// Scopes to ask for instead of those that each purpose needs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<String>>,
    /// How scopes are written, where the EHR's own statement is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dialect: Option<Dialect>,
}

/// A registration with a secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientSecret {
    /// The client's id.
    pub client_id: String,
    /// Where the secret is: `env:NAME` or `file:PATH`.
    pub secret: String,
    /// How it is shown; as the EHR says where absent, and `basic` where that says nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<SecretMethod>,
    /// As for Backend Services.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_url: Option<Url>,
    /// As for Backend Services.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dialect: Option<Dialect>,
}

/// A registration that a person uses once for this gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserGrant {
    /// The client's id.
    pub client_id: String,
    /// Where the client's secret is, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// How the secret is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<SecretMethod>,
    /// The client signs with this installation's key, in place of a secret.
    #[serde(default, skip_serializing_if = "super::is_default")]
    pub key: bool,
    /// The authorization endpoint, where discovery tells none or a wrong one. Only a person's browser goes there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorize_url: Option<Url>,
    /// As for Backend Services.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_url: Option<Url>,
    /// The redirect URL that is registered with the EHR; `http://127.0.0.1:8723/callback` where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redirect_url: Option<Url>,
    /// As for Backend Services.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dialect: Option<Dialect>,
}

/// Where a person comes back to on this machine, where nothing else is registered.
const REDIRECT: &str = "http://127.0.0.1:8723/callback";

impl UserGrant {
    /// The redirect URL.
    #[must_use]
    pub fn redirect(&self) -> Option<Url> {
        self.redirect_url.clone().or_else(|| Url::parse(REDIRECT).ok())
    }
}

impl Auth {
    /// Its name.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Bearer { .. } => "bearer",
            Self::BackendServices(_) => "backend-services",
            Self::ClientSecret(_) => "client-secret",
            Self::UserGrant(_) => "user-grant",
        }
    }

    /// The client's id, where there is one.
    #[must_use]
    pub fn client_id(&self) -> Option<&str> {
        match self {
            Self::None | Self::Bearer { .. } => None,
            Self::BackendServices(a) => Some(&a.client_id),
            Self::ClientSecret(a) => Some(&a.client_id),
            Self::UserGrant(a) => Some(&a.client_id),
        }
    }

    /// The configured token endpoint.
    #[must_use]
    pub const fn token_url(&self) -> Option<&Url> {
        match self {
            Self::None | Self::Bearer { .. } => None,
            Self::BackendServices(a) => a.token_url.as_ref(),
            Self::ClientSecret(a) => a.token_url.as_ref(),
            Self::UserGrant(a) => a.token_url.as_ref(),
        }
    }

    /// The configured dialect.
    #[must_use]
    pub const fn dialect(&self) -> Option<Dialect> {
        match self {
            Self::None | Self::Bearer { .. } => None,
            Self::BackendServices(a) => a.dialect,
            Self::ClientSecret(a) => a.dialect,
            Self::UserGrant(a) => a.dialect,
        }
    }

    /// Whether it signs with a key of this installation.
    #[must_use]
    pub const fn signs(&self) -> bool {
        matches!(self, Self::BackendServices(_) | Self::UserGrant(UserGrant { key: true, .. }))
    }

    /// The pointers to its secrets.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        let pointer = match self {
            Self::Bearer { token } => Some(token.as_str()),
            Self::ClientSecret(a) => Some(a.secret.as_str()),
            Self::UserGrant(a) => a.secret.as_deref(),
            Self::None | Self::BackendServices(_) => None,
        };
        pointer.into_iter()
    }

    fn check(&self, profile: &Profile) -> Result<(), ProfileError> {
        if self.client_id().is_some_and(|id| id.trim().is_empty()) {
            return Err(ProfileError::Rule("auth.client_id is empty; give the client id that the EHR issued"));
        }
        if self.token_url().is_some_and(|url| !profile.transport_is_safe(url)) {
            return Err(ProfileError::Rule("auth.token_url must be https (plain http is for this machine, or with allow_insecure)"));
        }
        if !self.secrets().all(is_pointer) {
            return Err(ProfileError::Rule("auth: a secret is given as env:NAME or file:PATH, never as the secret itself"));
        }
        if let Self::UserGrant(grant) = self {
            if grant.secret.is_some() && grant.key {
                return Err(ProfileError::Rule("auth: secret and key exclude each other; remove one of them"));
            }
            let browsed = grant.authorize_url.iter().chain(&grant.redirect_url);
            if !browsed.clone().all(|url| profile.transport_is_safe(url)) {
                return Err(ProfileError::Rule("auth: authorize_url and redirect_url must be https, or on this machine"));
            }
        }
        Ok(())
    }
}

/// A credential beside the EHR's own, for some of its types.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TypeCredential {
    /// The resource types that it is for.
    pub types: Vec<String>,
    /// How requests for them are authorised.
    pub auth: Auth,
    /// The day on which the secret or token ends, where the EHR said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<NaiveDate>,
}

/// Scopes to ask for in place of those that each purpose needs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PurposeScopes {
    /// For reading.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read: Option<Vec<String>>,
    /// For writing back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub write: Option<Vec<String>>,
    /// For a person's grant or launch, beside those of the resource types: `openid fhirUser offline_access` where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub launch: Option<Vec<String>>,
}

/// What `aud` says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Audience {
    /// In an authorization request; as the vendor's preset says where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorize: Option<AudForm>,
    /// In a client assertion, in place of the token endpoint as the EHR writes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub assertion: Option<String>,
}

/// The form of `aud` in an authorization request. SMART asks for the FHIR base; servers compare texts, and some refuse the parameter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AudForm {
    /// The base URL as configured.
    #[default]
    Base,
    /// The base URL without a slash at its end.
    NoSlash,
    /// None.
    Absent,
}

/// The certificate to show to the EHR (mutual TLS).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientCertificate {
    /// A PEM file with the certificate and those above it.
    pub certificate: PathBuf,
    /// Where its private key is: `env:NAME` or `file:PATH`, PEM.
    pub key: String,
}

/// The proxy through which the EHR is reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proxy {
    /// Its URL.
    pub url: Url,
    /// The name to log in with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Where the password is: `env:NAME` or `file:PATH`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// What is reached directly: `ehr.example.org`, `.example.org`, `10.0.0.0/8`, `*`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub except: Vec<String>,
}

impl Profile {
    /// All its credentials by name, its own under the empty name.
    pub fn all_auth(&self) -> impl Iterator<Item = (&str, &Auth)> {
        let launch = self.launch.iter().map(|l| (super::LAUNCH, &l.auth));
        std::iter::once(("", &self.auth)).chain(self.credentials.iter().map(|(name, c)| (name.as_str(), &c.auth))).chain(launch)
    }

    /// The credential of that name.
    #[must_use]
    pub fn auth_named(&self, name: &str) -> Option<&Auth> {
        self.all_auth().find(|(own, _)| *own == name).map(|(_, auth)| auth)
    }

    /// The scopes that are set for reading with the EHR's own credential, whatever is needed.
    #[must_use]
    pub fn set_for_reading(&self) -> Option<&Vec<String>> {
        self.scopes.read.as_ref().or(match &self.auth {
            Auth::BackendServices(backend) => backend.scopes.as_ref(),
            _ => None,
        })
    }

    /// What `aud` says in an authorization request; `None` where it is left out.
    #[must_use]
    pub fn authorize_aud(&self) -> Option<String> {
        let base = self.base_url.as_ref()?.as_str();
        match self.audience.authorize.or_else(|| self.preset()?.authorization.aud).unwrap_or_default() {
            AudForm::Base => Some(base.to_owned()),
            AudForm::NoSlash => Some(base.trim_end_matches('/').to_owned()),
            AudForm::Absent => None,
        }
    }

    pub(super) fn access_holds_together(&self) -> Result<(), ProfileError> {
        let rule = |holds: bool, text| if holds { Ok(()) } else { Err(ProfileError::Rule(text)) };
        for (_, auth) in self.all_auth() {
            auth.check(self)?;
        }
        let named = |name: &String| !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        rule(self.credentials.keys().all(named), "credentials: a name has lower-case letters, digits and '-' only")?;
        rule(!self.credentials.contains_key(super::LAUNCH), "credentials: the name launch is that of the launch itself; choose another")?;
        self.launch.as_ref().map_or(Ok(()), |launch| launch.check(self))?;
        let mut types: BTreeMap<&str, usize> = BTreeMap::new();
        for kind in self.credentials.values().flat_map(|c| &c.types) {
            *types.entry(kind.as_str()).or_default() += 1;
        }
        rule(self.credentials.values().all(|c| !c.types.is_empty()), "credentials: each names the resource types that it is for")?;
        rule(types.values().all(|n| *n == 1), "credentials: a resource type belongs to one credential only")?;
        let plain = |kind: &&str| !kind.is_empty() && kind.bytes().all(|b| b.is_ascii_alphabetic());
        rule(types.keys().all(plain), "credentials: types are names of resource types, such as Appointment")?;
        if let Some(certificate) = &self.client_certificate {
            rule(is_pointer(&certificate.key), "client_certificate.key is given as env:NAME or file:PATH, never as the key itself")?;
        }
        if let Some(proxy) = &self.proxy {
            let http = matches!(proxy.url.scheme(), "http" | "https") && proxy.url.has_host();
            rule(
                http && proxy.url.username().is_empty() && proxy.url.password().is_none(),
                "proxy.url is like http://proxy.example.org:3128, without a name or password in it",
            )?;
            rule(proxy.user.is_some() == proxy.password.is_some(), "proxy: user and password go together")?;
            rule(
                proxy.password.as_deref().is_none_or(is_pointer),
                "proxy.password is given as env:NAME or file:PATH, never as the password itself",
            )?;
            rule(
                proxy.except.iter().all(|text| Exception::parse(text).is_some()),
                "proxy.except: write ehr.example.org, .example.org, 10.0.0.0/8 or *",
            )?;
        }
        Ok(())
    }
}

fn is_pointer(text: &str) -> bool {
    matches!(text.split_once(':'), Some(("env" | "file", rest)) if !rest.is_empty())
}
