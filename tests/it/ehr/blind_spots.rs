//! What each vendor's servers leave the shipped segments and programs without, by their own captured statements.

use fhir_engage::connect::{Given, State, blind_spots, outlook, refused};
use fhir_engage::ehr::capability::Capability;
use fhir_engage::ehr::{Plan, Profile, vendor};
use fhir_engage::outreach::channel::ChannelKind;
use fhir_engage::outreach::program;
use fhir_engage::segments::definitions;
use fhir_engage::writeback::contract::{Contract, Override, Proven};
use fhir_engage::writeback::{Site, stated};
use serde_json::json;
use url::Url;

use super::statements::folder;

/// What a site gives: nothing, or all that it can.
const SITES: [(&str, &str); 2] =
    [("nothing is given", "{}"), ("all is given", r#"{"roster":[{"group":"panel"}],"window":{"locations":["clinic"]}}"#)];

struct Told {
    text: String,
    states: Vec<(String, State)>,
}

fn told(vendor: &str, site: &str, capability: &Capability) -> Told {
    let mut text: serde_json::Value = serde_json::from_str(site).unwrap();
    text["base_url"] = json!("https://ehr.example.org/r4");
    text["vendor"] = json!(vendor);
    // Where staff are written to, somebody has to be named.
    if site != "{}" && matches!(vendor, "oracle" | "meditech") {
        text["write_back"] = json!({ "sender": "Practitioner/1", "recipient": "Practitioner/2" });
    }
    text["auth"] = json!({ "kind": "backend-services", "client_id": "engage" });
    let profile = Profile::from_json(&text.to_string()).unwrap();
    let plan = Plan::of(&profile, capability);
    let word = profile.write_back.as_ref().map(|w| Override::read(w).unwrap()).unwrap_or_default();
    let contract = Contract::for_ehr(profile.preset().unwrap(), &stated(capability), &Proven::default(), &word).unwrap();
    let library = definitions::shipped().unwrap();
    let rules = library.rules();
    let ids: Vec<&str> = rules.segments().iter().map(|s| s.definition().id.as_str()).collect();
    let report = blind_spots(&Given {
        profile: &profile,
        plan: &plan,
        outlook: &outlook(&Site::named("Main Street Clinic"), &contract),
        rules,
        programs: &program::shipped(&ids).unwrap(),
        channels: &ChannelKind::ALL,
        by_file: &[],
        refused: &refused(&profile, None),
    });
    assert_eq!(report.segments.len(), rules.segments().len(), "each segment is told of");
    for v in report.segments.iter().chain(&report.programs) {
        assert_eq!(v.state == State::Works, v.because.is_empty(), "{vendor}: {v:?}");
        assert_eq!(v.state == State::Cannot, v.so.is_some(), "{vendor}: {v:?}");
    }
    let states = report.segments.iter().chain(&report.programs).map(|v| (v.id.clone(), v.state)).collect();
    Told { text: report.to_string(), states }
}

fn captured(vendor: &str) -> Option<Capability> {
    let bytes = std::fs::read(folder()?.join(format!("{vendor}.metadata.json"))).ok()?;
    Some(Capability::read(&bytes, &Url::parse("https://ehr.example.org/r4").unwrap()).unwrap().0)
}

#[test]
fn the_blind_spots_of_each_vendor_are_as_written_down() {
    let mut text = String::new();
    for preset in vendor::all() {
        let Some(capability) = captured(&preset.name) else { continue };
        for (what, site) in SITES {
            text.push_str(&format!("=== {}: {what}\n\n{}\n", preset.name, told(&preset.name, site, &capability).text));
        }
    }
    if text.is_empty() {
        eprintln!("skipped: no captured statements");
        return;
    }
    assert_eq!(text, include_str!("blind_spots.txt"), "\n{text}");
}

#[test]
fn what_an_ehr_lacks_takes_away_what_hangs_on_it_and_nothing_else() {
    let full = |drop: &str| {
        let params = ["_lastUpdated", "patient", "date", "identifier", "sent"].map(|n| json!({ "name": n }));
        let row = |kind: &str| {
            json!({ "type": kind, "interaction": [{ "code": "read" }, { "code": "search-type" }, { "code": "create" }, { "code": "update" }],
                "conditionalCreate": true,
                "searchParam": params })
        };
        let types = ["Patient", "Appointment", "CarePlan", "Communication"].into_iter().filter(|t| *t != drop).map(row);
        let rest = json!([{ "mode": "server", "resource": types.collect::<Vec<_>>() }]);
        let statement = json!({ "resourceType": "CapabilityStatement", "fhirVersion": "4.0.1", "rest": rest });
        let url = Url::parse("https://ehr.example.org/r4").unwrap();
        let capability = Capability::read(statement.to_string().as_bytes(), &url).unwrap().0;
        told("full-r4", "{}", &capability).states
    };
    let cannot = |states: Vec<(String, State)>| -> Vec<String> {
        states.into_iter().filter(|(_, s)| *s == State::Cannot).map(|(id, _)| id).collect()
    };
    // What hangs on types that no operator asked for.
    let beside = cannot(full("nothing"));
    assert_eq!(
        beside,
        [
            "public-payer",
            "new-chronic-diagnosis",
            "diabetes",
            "high-risk",
            "in-hospital",
            "post-discharge",
            "influenza-vaccine-due",
            "colorectal-screening-due"
        ]
    );
    let cannot = |states| -> Vec<String> { cannot(states).into_iter().filter(|id| !beside.contains(id)).collect() };
    assert_eq!(
        cannot(full("CarePlan")),
        ["chronic-care-plan", "care-plan-activity-due", "care-plan-ending", "plan-activity-due", "plan-check-in"]
    );
    let without_visits = cannot(full("Appointment"));
    for id in ["visit-unconfirmed", "lapsed", "missed-visit", "new-patient", "visit-follow-up", "visit-confirm", "welcome", "check-up"] {
        assert!(without_visits.iter().any(|found| found == id), "{id} in {without_visits:?}");
    }
    for id in ["other-language", "chronic-care-plan", "plan-check-in"] {
        assert!(!without_visits.iter().any(|found| found == id), "{id} in {without_visits:?}");
    }
    let all = full("Patient");
    assert!(all.iter().filter(|(id, _)| id != "journey").all(|(_, s)| *s == State::Cannot), "nobody is known: {all:?}");
}
