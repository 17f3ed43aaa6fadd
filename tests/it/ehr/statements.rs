//! Seven vendors' own CapabilityStatements. They are not ours to ship: they lie beside the checkout, or where
//! `FHIR_ENGAGE_EHR_CAPABILITIES` says.

use std::path::PathBuf;

use fhir_engage::ehr::capability::Capability;
use fhir_engage::ehr::discovery::Discovery;
use url::Url;

pub fn folder() -> Option<PathBuf> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data/ehr-capabilities").into();
    let folder = PathBuf::from(std::env::var_os("FHIR_ENGAGE_EHR_CAPABILITIES").unwrap_or(beside));
    folder.is_dir().then_some(folder)
}

#[test]
fn the_vendors_own_statements_are_read() {
    let Some(folder) = folder() else {
        eprintln!("skipped: no captured statements");
        return;
    };
    let base = Url::parse("https://ehr.example.org/r4").unwrap();
    // (vendor, Appointment can be read, Patient is searched by _lastUpdated, Communication can be created)
    for (vendor, appointment, cursor, write) in [
        ("athena", true, true, false),
        ("eclinicalworks", false, false, false),
        ("epic", true, false, true),
        ("meditech", true, false, true),
        ("nextgen", false, true, false),
        ("oracle", true, false, true),
        ("veradigm", false, false, false),
    ] {
        let bytes = std::fs::read(folder.join(format!("{vendor}.metadata.json"))).unwrap();
        let (capability, from_statement) = Capability::read(&bytes, &base).unwrap();
        assert!(capability.fhir_version.as_deref().is_some_and(|v| v.starts_with("4.0")), "{vendor}");
        assert!(capability.allows("Patient", "read") && capability.allows("CarePlan", "search-type"), "{vendor}");
        assert_eq!(capability.allows("Appointment", "read"), appointment, "{vendor}");
        assert_eq!(capability.searches_by("Patient", "_lastUpdated"), cursor, "{vendor}");
        assert_eq!(capability.allows("Communication", "create"), write, "{vendor}");
        assert!(!capability.conditional_create("Communication"), "{vendor}");
        match std::fs::read(folder.join(format!("{vendor}.smart-configuration.json"))) {
            Ok(bytes) => {
                let discovery = Discovery::from_smart_configuration(&bytes, &base).unwrap();
                assert!(discovery.token_url.is_some_and(|u| u.scheme() == "https"), "{vendor}");
                assert!(!discovery.capabilities.is_empty(), "{vendor}");
            }
            Err(_) => assert!(from_statement.token_url.is_some(), "{vendor}: neither document names a token endpoint"),
        }
    }
}
