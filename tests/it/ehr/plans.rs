//! How each vendor's servers are read, by their own captured statements.

use fhir_engage::ehr::capability::Capability;
use fhir_engage::ehr::{Plan, Profile, vendor};
use serde_json::json;
use url::Url;

use super::statements::folder;

/// What a site gives: nothing, a Group, or a Group and a location.
const SITES: [(&str, &str); 3] = [
    ("nothing is given", "{}"),
    ("a Group is given", r#"{"roster":[{"group":"panel"}]}"#),
    ("the patients come from the appointments of a location", r#"{"roster":["appointments"],"window":{"locations":["clinic"]}}"#),
];

fn profile(vendor: &str, site: &str) -> Profile {
    let mut text: serde_json::Value = serde_json::from_str(site).unwrap();
    text["base_url"] = json!("https://ehr.example.org/r4");
    text["vendor"] = json!(vendor);
    Profile::from_json(&text.to_string()).unwrap()
}

#[test]
fn the_plan_for_each_vendor_is_as_written_down() {
    let Some(folder) = folder() else {
        eprintln!("skipped: no captured statements");
        return;
    };
    let base = Url::parse("https://ehr.example.org/r4").unwrap();
    let mut text = String::new();
    for preset in vendor::all().iter().filter(|p| folder.join(format!("{}.metadata.json", p.name)).exists()) {
        let bytes = std::fs::read(folder.join(format!("{}.metadata.json", preset.name))).unwrap();
        let (capability, _) = Capability::read(&bytes, &base).unwrap();
        for (what, site) in SITES {
            let plan = Plan::of(&profile(&preset.name, site), &capability);
            assert_eq!(plan.preset, preset.name);
            text.push_str(&format!("=== {}: {what}\n\n{plan}\n", preset.name));
            for of in &plan.types {
                for param in &of.search.0 {
                    let stated = capability.searches_by(of.kind.as_str(), param.name());
                    assert!(stated, "{}: {} is sent and not stated", preset.name, param.name());
                }
            }
        }
    }
    assert_eq!(text, include_str!("plans.txt"), "\n{text}");
}

#[test]
fn full_servers_differ_in_what_is_known_of_them_and_in_nothing_else() {
    let full = vendor::preset("full-r4").unwrap();
    for name in ["hapi", "medplum", "healthlake"] {
        let other = vendor::preset(name).unwrap();
        assert_eq!((&other.sync, &other.write_back, &other.facts), (&full.sync, &full.write_back, &full.facts), "{name}");
        assert!(other.bulk.is_some() && other.register != full.register, "{name}");
    }
}
