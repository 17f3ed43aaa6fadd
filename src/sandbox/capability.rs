//! What the sandbox says of itself: CapabilityStatement and smart-configuration. Owns that both are true: they are made from the same tables
//! that the server works by.

use serde_json::json;

use crate::flavour::{ExportLevel, Exporting, Manner, Served};
use crate::instant::format_instant;
use crate::json::Writer;
use crate::patch::JSON_PATCH;
use crate::subscriptions::{TOPIC_TYPES, topic_of};

const BACKPORT: &str = "http://hl7.org/fhir/uv/subscriptions-backport";

/// `GET [base]/metadata`. `last_updated` false leaves `_lastUpdated` out.
pub(crate) fn statement(manner: &Manner, base: &str, now: i64, secured: bool, last_updated: bool) -> String {
    let types = manner.all();
    let mut writer = Writer::resource("CapabilityStatement", 16_384);
    writer.text("status", "active");
    writer.text("date", &format_instant(now));
    writer.text("kind", "instance");
    if let Some((name, version)) = manner.software {
        writer.object("software", |w| {
            w.text("name", name);
            version.into_iter().for_each(|version| w.text("version", version));
        });
    }
    writer.object("implementation", |w| {
        w.text("description", "A pretend EHR with synthetic patients");
        w.text("url", base);
    });
    writer.text("fhirVersion", "4.0.1");
    writer.array("format", |w| w.value("application/fhir+json"));
    if types.iter().any(|served| served.patching.is_some()) {
        writer.array("patchFormat", |w| w.value(JSON_PATCH));
    }
    writer.array("rest", |w| {
        w.item(|w| {
            w.text("mode", "server");
            if secured {
                w.object("security", |w| security(w, base));
            }
            w.array("resource", |w| types.iter().for_each(|served| w.item(|w| resource(w, served, manner, last_updated))));
            if let Some(export) = manner.export.filter(|e| e.levels.contains(&ExportLevel::System)) {
                w.array("operation", |w| w.item(|w| exported(w, export, "export")));
            }
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

fn exported(writer: &mut Writer, export: &Exporting, suffix: &str) {
    writer.text("name", export.named.0);
    writer.text("definition", &format!("{}{suffix}", export.named.1));
}

fn resource(writer: &mut Writer, served: &Served, manner: &Manner, last_updated: bool) {
    let stated = manner.stated;
    writer.text("type", served.name);
    if served.name == "Subscription" {
        writer.array("extension", |w| {
            for name in TOPIC_TYPES {
                w.item(|w| {
                    w.text("url", &format!("{BACKPORT}/StructureDefinition/capabilitystatement-subscriptiontopic-canonical"));
                    w.text("valueCanonical", &topic_of(name));
                });
            }
        });
    }
    writer.array("interaction", |w| {
        for code in served.codes {
            w.item(|w| w.text("code", code.text()));
        }
    });
    stated.versioning.into_iter().for_each(|versioning| writer.text("versioning", versioning));
    let flags = [
        ("readHistory", stated.read_history),
        ("updateCreate", stated.update_create),
        ("conditionalCreate", stated.conditional_create),
        ("conditionalUpdate", stated.conditional_update),
    ];
    flags.iter().filter_map(|(name, flag)| Some((name, (*flag)?))).for_each(|(name, flag)| writer.flag(name, flag));
    let common: &[&str] = if served.search.controls { &["_id", "_lastUpdated"] } else { &[] };
    let names: Vec<&str> =
        common.iter().chain(served.search.parameters).copied().filter(|name| last_updated || *name != "_lastUpdated").collect();
    if !names.is_empty() {
        writer.array("searchParam", |w| names.iter().for_each(|name| parameter(w, name, kind_of(name))));
    }
    if served.name == "Subscription" {
        writer.array("operation", |w| {
            for name in ["status", "events"] {
                w.item(|w| {
                    w.text("name", name);
                    w.text("definition", &format!("{BACKPORT}/OperationDefinition/backport-subscription-{name}"));
                });
            }
        });
    }
    let level = match served.name {
        "Patient" => Some((ExportLevel::Patient, "patient-export")),
        "Group" => Some((ExportLevel::Group, "group-export")),
        _ => None,
    };
    let export = level.and_then(|(level, suffix)| Some((manner.export.filter(|e| e.levels.contains(&level))?, suffix)));
    if !served.operations.is_empty() || export.is_some() {
        writer.array("operation", |w| {
            if let Some((export, suffix)) = export {
                w.item(|w| exported(w, export, suffix));
            }
            for operation in served.operations {
                w.item(|w| {
                    w.text("name", operation.name);
                    w.text("definition", operation.definition);
                });
            }
        });
    }
}

fn kind_of(parameter: &str) -> &'static str {
    match parameter {
        "_id" | "identifier" | "status" | "category" | "type" | "-email-status" => "token",
        "_maxresults" => "number",
        "_lastUpdated" | "date" | "sent" | "received" => "date",
        _ => "reference",
    }
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
        "issuer": crate::authority::issuer(base),
        "jwks_uri": format!("{}/jwks", crate::authority::issuer(base)),
        "revocation_endpoint": format!("{}/revoke", crate::authority::issuer(base)),
        "authorization_endpoint": token_url(base).replace("/auth/token", "/auth/authorize"),
        "grant_types_supported": ["client_credentials", "authorization_code", "refresh_token"],
        "token_endpoint_auth_methods_supported": ["private_key_jwt", "client_secret_basic", "client_secret_post"],
        "token_endpoint_auth_signing_alg_values_supported": ["RS384", "ES384"],
        "scopes_supported": ["system/*.cruds", "system/*.rs"],
        "code_challenge_methods_supported": ["S256"],
        "capabilities": [
            "client-confidential-asymmetric", "client-confidential-symmetric", "client-public", "launch-ehr", "launch-standalone",
            "sso-openid-connect", "context-banner", "context-ehr-patient", "context-ehr-encounter", "context-standalone-patient",
            "permission-offline", "permission-online", "permission-patient", "permission-user", "permission-v1", "permission-v2",
        ],
    })
    .to_string()
}
