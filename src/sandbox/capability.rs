//! What the sandbox says of itself: CapabilityStatement and smart-configuration. Owns that both are true: they are made from the same tables
//! that the server works by.

use serde_json::json;

use crate::instant::format_instant;
use crate::json::Writer;
use crate::records::TYPES;
use crate::search::parameters_of;

/// `GET [base]/metadata`. `last_updated` false leaves `_lastUpdated` out.
pub(crate) fn statement(base: &str, now: i64, secured: bool, last_updated: bool) -> String {
    let mut writer = Writer::resource("CapabilityStatement", 16_384);
    writer.text("status", "active");
    writer.text("date", &format_instant(now));
    writer.text("kind", "instance");
    writer.object("software", |w| {
        w.text("name", "fhir-engage sandbox");
        w.text("version", env!("CARGO_PKG_VERSION"));
    });
    writer.object("implementation", |w| {
        w.text("description", "A pretend EHR with synthetic patients");
        w.text("url", base);
    });
    writer.text("fhirVersion", "4.0.1");
    writer.array("format", |w| w.value("application/fhir+json"));
    writer.array("rest", |w| {
        w.item(|w| {
            w.text("mode", "server");
            if secured {
                w.object("security", |w| security(w, base));
            }
            w.array("resource", |w| TYPES.iter().for_each(|name| w.item(|w| resource(w, name, last_updated))));
        });
    });
    writer.finish()
}

fn security(writer: &mut Writer, base: &str) {
    writer.array("extension", |w| {
        w.item(|w| {
            w.text("url", "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris");
            w.array("extension", |w| {
                w.item(|w| {
                    w.text("url", "token");
                    w.text("valueUri", &token_url(base));
                });
            });
        });
    });
    writer.array("service", |w| {
        w.item(|w| {
            w.array("coding", |w| {
                w.item(|w| {
                    w.text("system", "http://terminology.hl7.org/CodeSystem/restful-security-service");
                    w.text("code", "SMART-on-FHIR");
                });
            });
        });
    });
}

fn resource(writer: &mut Writer, name: &str, last_updated: bool) {
    writer.text("type", name);
    writer.array("interaction", |w| {
        for code in ["read", "vread", "update", "delete", "create", "search-type"] {
            w.item(|w| w.text("code", code));
        }
    });
    writer.text("versioning", "versioned");
    writer.flag("readHistory", true);
    writer.flag("updateCreate", false);
    writer.flag("conditionalCreate", true);
    writer.flag("conditionalUpdate", false);
    writer.array("searchParam", |w| {
        parameter(w, "_id", "token");
        if last_updated {
            parameter(w, "_lastUpdated", "date");
        }
        for name in parameters_of(name) {
            let kind = match *name {
                "identifier" | "status" | "category" => "token",
                "date" | "sent" => "date",
                _ => "reference",
            };
            parameter(w, name, kind);
        }
    });
}

fn parameter(writer: &mut Writer, name: &str, kind: &str) {
    writer.item(|w| {
        w.text("name", name);
        w.text("type", kind);
    });
}

/// The token endpoint beside a FHIR base: on the same origin, outside the base.
pub(crate) fn token_url(base: &str) -> String {
    format!("{}/auth/token", base.strip_suffix("/fhir").unwrap_or(base))
}

/// `GET [base]/.well-known/smart-configuration` (SMART App Launch 2.2, "Conformance").
pub(crate) fn smart_configuration(base: &str) -> String {
    json!({
        "token_endpoint": token_url(base),
        "grant_types_supported": ["client_credentials"],
        "token_endpoint_auth_methods_supported": ["private_key_jwt"],
        "token_endpoint_auth_signing_alg_values_supported": ["RS384", "ES384"],
        "scopes_supported": ["system/*.cruds", "system/*.rs"],
        "code_challenge_methods_supported": ["S256"],
        "capabilities": ["client-confidential-asymmetric", "permission-v1", "permission-v2"],
    })
    .to_string()
}
