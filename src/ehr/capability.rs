//! What an EHR says of itself at `/metadata` (R4 CapabilityStatement), as far as this gateway acts on it.
//!
//! Statements of the field are large and odd; what is missing or of the wrong type is taken as "not said". A statement bounds what can
//! work and does not prove that it does.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use super::discovery::{Discovery, objects, text};

/// A CapabilityStatement, reduced.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Capability {
    /// `fhirVersion` (`4.0.1`).
    pub fhir_version: Option<String>,
    /// `software.name` and `.version`.
    pub software: Option<String>,
    /// `date`, as written.
    pub date: Option<String>,
    /// What may be done per resource type.
    pub types: BTreeMap<String, TypeCapability>,
    /// Whose data it says it exports.
    pub exports: Exports,
    /// What it says of telling of changes, beside the interactions of the type Subscription.
    #[serde(skip_serializing_if = "Subscriptions::is_silent")]
    pub subscriptions: Subscriptions,
}

/// What is said of subscriptions (Subscriptions R5 Backport, "Discovery of topics in R4").
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Subscriptions {
    /// Canonical URLs of topics.
    pub topics: BTreeSet<String>,
    /// `status`, `events`, `resend`, ...
    pub operations: BTreeSet<String>,
}

impl Subscriptions {
    fn is_silent(&self) -> bool {
        self.topics.is_empty() && self.operations.is_empty()
    }
}

/// Which exports are advertised (Bulk Data Access; `operation` of the statement).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Exports {
    /// `[base]/$export`.
    pub system: bool,
    /// `[base]/Patient/$export`.
    pub patient: bool,
    /// `[base]/Group/[id]/$export`.
    pub group: bool,
}

/// What may be done with one type.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TypeCapability {
    /// `read`, `search-type`, `create`, ...
    pub interactions: BTreeSet<String>,
    /// Names of search parameters, those that hold for all types included.
    pub search_params: BTreeSet<String>,
    /// Whether `If-None-Exist` is said to work.
    pub conditional_create: bool,
    /// `no-version`, `versioned`, `versioned-update`.
    pub versioning: Option<String>,
}

/// Why what came from `/metadata` is no use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotACapability {
    /// Not JSON.
    #[error("what it answers at /metadata is not JSON")]
    NotJson,
    /// JSON, but another thing.
    #[error("what it answers at /metadata is not a CapabilityStatement")]
    NotAStatement,
    /// Another version of FHIR.
    #[error("it speaks FHIR {0}, and this gateway FHIR R4 (4.0); ask the EHR's operator for the R4 base URL")]
    NotR4(String),
}

impl Capability {
    /// Reads a statement, and the token endpoint that it may name.
    ///
    /// # Errors
    /// [`NotACapability`].
    pub fn read(bytes: &[u8], base: &Url) -> Result<(Self, Discovery), NotACapability> {
        let statement: Value = serde_json::from_slice(bytes).map_err(|_| NotACapability::NotJson)?;
        if text(&statement, "resourceType") != Some("CapabilityStatement") {
            // DSTU2 called it so.
            let dstu2 = text(&statement, "resourceType") == Some("Conformance");
            return Err(if dstu2 { NotACapability::NotR4("DSTU2".to_owned()) } else { NotACapability::NotAStatement });
        }
        let fhir_version = text(&statement, "fhirVersion").map(str::to_owned);
        if let Some(version) = fhir_version.as_deref().filter(|v| !v.starts_with("4.0")) {
            // R4B (4.3) differs from R4 in no resource that is used here.
            if !version.starts_with("4.") {
                return Err(NotACapability::NotR4(version.chars().filter(|c| !c.is_control()).take(16).collect()));
            }
        }
        let discovery = Discovery::from_capability_statement(&statement, base);
        let software = statement.get("software").and_then(|s| {
            let parts: Vec<&str> = [text(s, "name"), text(s, "version")].into_iter().flatten().collect();
            (!parts.is_empty()).then(|| parts.join(" "))
        });
        let types = types(&statement);
        let date = text(&statement, "date").map(str::to_owned);
        let (exports, subscriptions) = (exports(&statement), subscriptions(&statement));
        Ok((Self { fhir_version, software, date, types, exports, subscriptions }, discovery))
    }

    /// Whether an interaction with a type is advertised.
    #[must_use]
    pub fn allows(&self, resource_type: &str, interaction: &str) -> bool {
        self.types.get(resource_type).is_some_and(|t| t.interactions.contains(interaction))
    }

    /// Whether a search parameter of a type is advertised.
    #[must_use]
    pub fn searches_by(&self, resource_type: &str, param: &str) -> bool {
        self.types.get(resource_type).is_some_and(|t| t.search_params.contains(param))
    }

    /// Whether conditional create of a type is advertised.
    #[must_use]
    pub fn conditional_create(&self, resource_type: &str) -> bool {
        self.types.get(resource_type).is_some_and(|t| t.conditional_create)
    }
}

fn types(statement: &Value) -> BTreeMap<String, TypeCapability> {
    let mut types: BTreeMap<String, TypeCapability> = BTreeMap::new();
    // A statement may describe the system as a client too.
    for rest in objects(statement, "rest").filter(|r| text(r, "mode") != Some("client")) {
        let common = names(rest, "searchParam", "name");
        for resource in objects(rest, "resource") {
            let Some(name) = text(resource, "type") else { continue };
            // Some list a type once per profile.
            let known = types.entry(name.to_owned()).or_default();
            known.interactions.extend(names(resource, "interaction", "code"));
            known.search_params.extend(names(resource, "searchParam", "name"));
            known.search_params.extend(common.iter().cloned());
            known.conditional_create |= resource.get("conditionalCreate").and_then(Value::as_bool) == Some(true);
            known.versioning = known.versioning.take().or_else(|| text(resource, "versioning").map(str::to_owned));
        }
    }
    types
}

/// An operation is known by its name or its definition; some list those of all levels in one place, or one per definition that it follows.
fn exports(statement: &Value) -> Exports {
    let mut found = Exports::default();
    for rest in objects(statement, "rest").filter(|r| text(r, "mode") != Some("client")) {
        for operation in objects(rest, "operation").filter(|o| is_export(o)) {
            let told = [text(operation, "definition"), text(operation, "name")].into_iter().flatten().collect::<Vec<_>>().join(" ");
            match (told.contains("group-export"), told.contains("patient-export")) {
                (true, _) => found.group = true,
                (_, true) => found.patient = true,
                _ => found.system = true,
            }
        }
        for resource in objects(rest, "resource").filter(|r| objects(r, "operation").any(is_export)) {
            match text(resource, "type") {
                Some("Group") => found.group = true,
                Some("Patient") => found.patient = true,
                _ => {}
            }
        }
    }
    found
}

fn subscriptions(statement: &Value) -> Subscriptions {
    let mut found = Subscriptions::default();
    for rest in objects(statement, "rest").filter(|r| text(r, "mode") != Some("client")) {
        for resource in objects(rest, "resource").filter(|r| text(r, "type") == Some("Subscription")) {
            let topics =
                objects(resource, "extension").filter(|e| text(e, "url").is_some_and(|u| u.ends_with("subscriptiontopic-canonical")));
            found.topics.extend(topics.filter_map(|e| text(e, "valueCanonical").or_else(|| text(e, "valueUri"))).map(str::to_owned));
            let names = objects(resource, "operation").filter_map(|o| text(o, "name"));
            found.operations.extend(names.map(|n| n.trim_start_matches('$').to_owned()));
        }
    }
    found
}

fn is_export(operation: &Value) -> bool {
    let name = text(operation, "name").unwrap_or_default().trim_start_matches('$');
    let defined = text(operation, "definition").unwrap_or_default().split('|').next().unwrap_or_default();
    name == "export" || name.ends_with("-export") || defined.contains("/bulkdata/") && defined.ends_with("-export")
}

fn names(value: &Value, list: &str, member: &str) -> BTreeSet<String> {
    objects(value, list).filter_map(|v| text(v, member)).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::{Capability, NotACapability};
    use url::Url;

    fn base() -> Url {
        Url::parse("https://ehr.example.org/r4").unwrap()
    }

    #[test]
    fn what_is_no_r4_server_is_told_apart() {
        for (text, says) in [
            ("<html></html>", "not JSON"),
            ("", "not JSON"),
            (r#"{"hello":"world"}"#, "not a CapabilityStatement"),
            ("[]", "not a CapabilityStatement"),
            (r#"{"resourceType":"Conformance"}"#, "DSTU2"),
            (r#"{"resourceType":"CapabilityStatement","fhirVersion":"3.0.2"}"#, "FHIR 3.0.2"),
            (r#"{"resourceType":"CapabilityStatement","fhirVersion":"5.0.0"}"#, "FHIR 5.0.0"),
        ] {
            let error: NotACapability = Capability::read(text.as_bytes(), &base()).unwrap_err();
            assert!(error.to_string().contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn exports_are_known_by_name_or_definition() {
        let exports = |rest: &str| {
            let text = format!(r#"{{"resourceType":"CapabilityStatement","rest":[{{"mode":"server",{rest}}}]}}"#);
            let found = Capability::read(text.as_bytes(), &base()).unwrap().0.exports;
            (found.system, found.patient, found.group)
        };
        let ig = "http://hl7.org/fhir/uv/bulkdata/OperationDefinition";
        for (rest, found) in [
            (r#""operation":[{"name":"export"}]"#.to_owned(), (true, false, false)),
            (r#""resource":[{"type":"Group","operation":[{"name":"group-export"}]}]"#.to_owned(), (false, false, true)),
            (r#""resource":[{"type":"Patient","operation":[{"name":"$export"}]},{"type":"Group"}]"#.to_owned(), (false, true, false)),
            (
                format!(
                    r#""operation":[{{"name":"x","definition":"{ig}/group-export|2.0.0"}},{{"name":"y","definition":"{ig}/patient-export"}}]"#
                ),
                (false, true, true),
            ),
            (
                r#""operation":[{"name":"everything"},{"name":"import"}],"resource":[{"type":"Patient","operation":null}]"#.to_owned(),
                (false, false, false),
            ),
        ] {
            assert_eq!(exports(&rest), found, "{rest}");
        }
    }

    #[test]
    fn odd_statements_are_read_as_far_as_they_go() {
        let text = r#"{"resourceType":"CapabilityStatement","rest":{"mode":"server","searchParam":[{"name":"_id"}],"resource":[
            {"type":"Patient","interaction":[{"code":"read"},null,{"code":7}],"searchParam":null,"conditionalCreate":"true"},
            {"type":"Patient","interaction":[{"code":"create"}],"conditionalCreate":true}, 5, {"interaction":[]}],
            "security":{"extension":[{"url":"http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris",
                "extension":[{"url":"token","valueUri":"https://ehr.example.org/token"}]}]}}}"#;
        let (capability, discovery) = Capability::read(text.as_bytes(), &base()).unwrap();
        assert!(
            capability.allows("Patient", "read") && capability.allows("Patient", "create") && !capability.allows("Patient", "search-type")
        );
        assert!(capability.searches_by("Patient", "_id") && capability.conditional_create("Patient"));
        assert_eq!(capability.types.len(), 1);
        assert_eq!(discovery.token_url.unwrap().as_str(), "https://ehr.example.org/token");
    }
}
