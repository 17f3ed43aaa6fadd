//! Where an EHR's token endpoint is and what its authorisation can do: `.well-known/smart-configuration` (SMART conformance), or for
//! older servers the `oauth-uris` extension of the CapabilityStatement.
//!
//! Read leniently: real documents misname members, add others, and list fewer scopes than they grant.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

/// What discovery told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Discovery {
    /// The token endpoint, resolved against the base.
    pub token_url: Option<Url>,
    /// The token endpoint as written: what an assertion's audience must equal.
    pub token_endpoint: Option<String>,
    /// The authorization endpoint, resolved against the base.
    pub authorize_url: Option<Url>,
    /// `issuer`, as written.
    pub issuer: Option<String>,
    /// `jwks_uri`, resolved against the base: the keys that id_tokens are signed with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keys_url: Option<Url>,
    /// The revocation endpoint (RFC 7009), resolved against the base.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoke_url: Option<Url>,
    /// `code_challenge_methods_supported`; empty where not told.
    pub challenge_methods: Vec<String>,
    /// `capabilities`.
    pub capabilities: Vec<String>,
    /// Signature algorithms for assertions; empty where not told.
    pub algorithms: Vec<String>,
    /// Ways to authenticate; empty where not told.
    pub auth_methods: Vec<String>,
    /// Grant types; empty where not told.
    pub grant_types: Vec<String>,
    /// `scopes_supported`. Not exhaustive: never a reason not to ask.
    pub scopes: Vec<String>,
}

/// `[base]/.well-known/smart-configuration`: appended to the base even where that has a path (unlike RFC 8615).
#[must_use]
pub fn smart_configuration_url(base: &Url) -> Option<Url> {
    under(base, ".well-known/smart-configuration")
}

/// A URL below a FHIR base, whether or not the base ends in a slash.
#[must_use]
pub fn under(base: &Url, path: &str) -> Option<Url> {
    Url::parse(&format!("{}/{path}", base.as_str().trim_end_matches('/'))).ok()
}

impl Discovery {
    /// Reads a smart-configuration document; `None` where the bytes are no JSON object.
    #[must_use]
    pub fn from_smart_configuration(bytes: &[u8], base: &Url) -> Option<Self> {
        let document: Value = serde_json::from_slice(bytes).ok()?;
        document.as_object()?;
        let texts = |names: &[&str]| names.iter().map(|n| list(&document, n)).find(|l| !l.is_empty()).unwrap_or_default();
        let directory = under(base, "").unwrap_or_else(|| base.clone());
        Some(Self {
            authorize_url: text(&document, "authorization_endpoint").and_then(|t| directory.join(t.trim()).ok()),
            issuer: text(&document, "issuer").map(str::to_owned),
            keys_url: text(&document, "jwks_uri").and_then(|t| directory.join(t.trim()).ok()),
            revoke_url: text(&document, "revocation_endpoint").and_then(|t| directory.join(t.trim()).ok()),
            challenge_methods: texts(&["code_challenge_methods_supported"]),
            capabilities: texts(&["capabilities"]),
            algorithms: texts(&["token_endpoint_auth_signing_alg_values_supported"]),
            // Some leave "_supported" out.
            auth_methods: texts(&["token_endpoint_auth_methods_supported", "token_endpoint_auth_methods"]),
            grant_types: texts(&["grant_types_supported", "grant_types"]),
            scopes: texts(&["scopes_supported"]),
            ..Self::at(document.get("token_endpoint").and_then(Value::as_str), base)
        })
    }

    /// This, with the token endpoint of `other` where this names none.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        let authorize_url = self.authorize_url.clone().or(other.authorize_url);
        if self.token_url.is_some() {
            return Self { authorize_url, ..self };
        }
        Self { authorize_url, token_url: other.token_url, token_endpoint: other.token_endpoint, ..self }
    }

    /// Reads the `oauth-uris` extension of a CapabilityStatement.
    #[must_use]
    pub fn from_capability_statement(statement: &Value, base: &Url) -> Self {
        let named = |name: &str| {
            objects(statement, "rest")
                .filter_map(|rest| rest.get("security"))
                .flat_map(|security| objects(security, "extension"))
                .filter(|e| text(e, "url").is_some_and(|u| u.ends_with("/oauth-uris")))
                .flat_map(|uris| objects(uris, "extension"))
                .find(|e| text(e, "url") == Some(name))
                .and_then(|e| text(e, "valueUri").or_else(|| text(e, "valueUrl")))
        };
        let directory = under(base, "").unwrap_or_else(|| base.clone());
        let authorize_url = named("authorize").and_then(|t| directory.join(t.trim()).ok());
        Self { authorize_url, ..Self::at(named("token"), base) }
    }

    fn at(token_endpoint: Option<&str>, base: &Url) -> Self {
        let written = token_endpoint.map(str::trim).filter(|t| !t.is_empty());
        // Relative URLs are not allowed, and seen.
        let directory = under(base, "").unwrap_or_else(|| base.clone());
        let resolved = written.and_then(|t| directory.join(t).ok());
        let absolute = written.filter(|t| Url::parse(t).is_ok()).map(str::to_owned);
        Self { token_endpoint: absolute.or_else(|| resolved.as_ref().map(Url::to_string)), token_url: resolved, ..Self::default() }
    }
}

fn list(document: &Value, name: &str) -> Vec<String> {
    match document.get(name) {
        Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        Some(Value::String(text)) => text.split_whitespace().map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

/// The objects of an array member; one object stands for a list of one.
pub(super) fn objects<'v>(value: &'v Value, name: &str) -> impl Iterator<Item = &'v Value> {
    let member = value.get(name);
    let many = member.and_then(Value::as_array).into_iter().flatten();
    many.chain(member.filter(|m| m.is_object())).filter(|v| v.is_object())
}

/// A text member.
pub(super) fn text<'v>(value: &'v Value, name: &str) -> Option<&'v str> {
    value.get(name).and_then(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::{Discovery, smart_configuration_url};
    use url::Url;

    #[test]
    fn the_suffix_goes_behind_the_bases_path() {
        for base in ["https://ehr.example.org/a/r4", "https://ehr.example.org/a/r4/"] {
            let url = smart_configuration_url(&Url::parse(base).unwrap()).unwrap();
            assert_eq!(url.as_str(), "https://ehr.example.org/a/r4/.well-known/smart-configuration");
        }
    }

    #[test]
    fn odd_documents_are_read_as_far_as_they_go() {
        let base = Url::parse("https://ehr.example.org/r4").unwrap();
        let read = |text: &str| Discovery::from_smart_configuration(text.as_bytes(), &base);
        let found = read(
            r#"{"token_endpoint":"https://ehr.example.org:443/token","capabilities":["permission-v2",null,7],
                "token_endpoint_auth_methods":["private_key_jwt"],"scopes_supported":"a b","extra":{}}"#,
        )
        .unwrap();
        assert_eq!(found.token_endpoint.as_deref(), Some("https://ehr.example.org:443/token"), "the audience is the text as written");
        assert_eq!(found.token_url.unwrap().as_str(), "https://ehr.example.org/token");
        assert_eq!((found.capabilities, found.auth_methods), (vec!["permission-v2".to_owned()], vec!["private_key_jwt".to_owned()]));
        assert_eq!(found.scopes, ["a", "b"]);
        let relative = read(r#"{"token_endpoint":"oauth/token"}"#).unwrap();
        assert_eq!(relative.token_endpoint.as_deref(), Some("https://ehr.example.org/r4/oauth/token"));
        assert_eq!(read(r#"{"token_endpoint":null}"#).unwrap(), Discovery::default());
        assert_eq!(read("<html>"), None);
        assert_eq!(read("[]"), None);
    }
}
