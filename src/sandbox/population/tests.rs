//! Holds the population to what its docs promise: same bytes, valid R4, and every trait present.

use std::collections::BTreeMap;

use serde_json::Value;

use super::*;

const AS_OF: i64 = 1_795_446_000_000_000; // 2026-11-23T15:00:00Z

fn population(patients: u32) -> Population {
    Population { patients, seed: 42, as_of_micros: AS_OF, zone: Tz::America__New_York }
}

fn parsed(resources: impl Iterator<Item = String>) -> Vec<Value> {
    resources.map(|text| serde_json::from_str(&text).unwrap()).collect()
}

fn digest(population: &Population) -> String {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    population.resources().for_each(|text| {
        context.update(text.as_bytes());
        context.update(b"\n");
    });
    context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_same_values_give_the_same_bytes() {
    // A changed digest changes every figure that was ever measured on this population: change it knowingly.
    assert_eq!(digest(&population(200)), "f179fcfda28e6ddb7ef3451d119eb37f824e786c23c6bdaa425d5d6c2ec306a8");
    assert_eq!(digest(&population(50)), digest(&population(50)));
    assert_ne!(digest(&population(50)), digest(&Population { seed: 43, ..population(50) }));
    assert_ne!(digest(&population(50)), digest(&Population { as_of_micros: AS_OF + DAY_MICROS, ..population(50) }));
}

const DAY_MICROS: i64 = crate::instant::DAY;

#[test]
fn a_larger_population_begins_with_the_smaller_one() {
    let (small, large) = (population(20), population(40));
    assert!((0..20).all(|i| small.patient(i) == large.patient(i) && small.appointments_of(i) == large.appointments_of(i)));
}

#[test]
fn two_neighbours_have_six_visits_and_two_plans() {
    let population = population(400);
    assert_eq!(population.patients().count(), 400);
    assert_eq!(population.appointments().count(), 1200);
    assert_eq!(population.care_plans().count(), 400);
}

#[test]
fn ids_are_unique_and_every_reference_has_its_target() {
    let all = parsed(population(100).resources());
    let mut ids: Vec<String> =
        all.iter().map(|r| format!("{}/{}", r["resourceType"].as_str().unwrap(), r["id"].as_str().unwrap())).collect();
    ids.sort();
    let before = ids.len();
    ids.dedup();
    assert_eq!(ids.len(), before);
    for resource in &all {
        for target in references(resource) {
            assert!(ids.binary_search(&target).is_ok(), "{target}");
        }
    }
}

fn references(value: &Value) -> Vec<String> {
    match value {
        Value::Object(members) => members
            .iter()
            .flat_map(|(name, value)| match value {
                Value::String(text) if name == "reference" => vec![text.clone()],
                value => references(value),
            })
            .collect(),
        Value::Array(items) => items.iter().flat_map(references).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn visits_keep_the_invariants_of_r4() {
    let mut statuses = BTreeMap::new();
    for visit in parsed(population(400).appointments()) {
        let status = visit["status"].as_str().unwrap();
        *statuses.entry(status.to_owned()).or_insert(0) += 1;
        let (start, end) = (visit.get("start"), visit.get("end"));
        assert_eq!(start.is_some(), end.is_some(), "app-2");
        assert!(start.is_some() || ["proposed", "cancelled", "waitlist"].contains(&status), "app-3");
        assert!(visit.get("cancelationReason").is_none() || status == "cancelled", "app-4");
        let participants = visit["participant"].as_array().unwrap();
        assert!(participants.iter().all(|p| p.get("actor").is_some() && p.get("status").is_some()), "app-1");
        if let Some(start) = start {
            let start = crate::instant::parse_range(start.as_str().unwrap()).unwrap().from;
            assert!(start > AS_OF || status != "proposed" && status != "pending");
            assert!(start < AS_OF || status != "fulfilled" && status != "noshow");
        }
    }
    for status in ["fulfilled", "noshow", "cancelled", "booked", "proposed", "pending", "waitlist"] {
        assert!(statuses.get(status).is_some_and(|count| *count > 3), "{status}: {statuses:?}");
    }
}

#[test]
fn nothing_was_updated_after_the_instant() {
    for resource in parsed(population(200).resources()) {
        let updated = crate::instant::parse_range(resource["meta"]["lastUpdated"].as_str().unwrap()).unwrap().from;
        assert!(updated < AS_OF, "{}", resource["id"]);
        assert_eq!(resource["meta"]["versionId"], "1");
    }
}

#[test]
fn every_trait_is_there_in_about_its_share() {
    let patients = parsed(population(3000).patients());
    type Has<'a> = &'a dyn Fn(&Value) -> bool;
    let share = |has: Has<'_>| patients.iter().filter(|p| has(p)).count() * 1000 / patients.len();
    let cases: [(&str, usize, usize, Has<'_>); 10] = [
        ("no telecom", 40, 110, &|p| p.get("telecom").is_none()),
        ("old contact point", 80, 150, &|p| p["telecom"].as_array().is_some_and(|t| t.iter().any(|t| t["use"] == "old"))),
        ("e-mail", 550, 700, &|p| p["telecom"].as_array().is_some_and(|t| t.iter().any(|t| t["system"] == "email"))),
        ("dead", 20, 50, &|p| p["deceasedBoolean"] == true || p.get("deceasedDateTime").is_some()),
        ("inactive", 15, 50, &|p| p["active"] == false),
        ("restricted", 8, 40, &|p| p["meta"].get("security").is_some()),
        ("partial birth date", 20, 70, &|p| p["birthDate"].as_str().is_some_and(|d| d.len() < 10)),
        ("no birth date", 3, 25, &|p| p.get("birthDate").is_none()),
        ("another language", 115, 170, &|p| {
            let spoken = p["communication"].as_array();
            spoken.is_some_and(|c| c.iter().any(|c| !c["language"]["coding"][0]["code"].as_str().unwrap().starts_with("en")))
        }),
        ("far from the clinics", 60, 130, &|p| {
            let home = p["address"].as_array().and_then(|all| all.last());
            home.is_some_and(|home| ["AZ", "CA", "CO", "HI", "IL", "TX"].contains(&home["state"].as_str().unwrap()))
        }),
    ];
    for (name, low, high, has) in cases {
        let found = share(has);
        assert!((low..=high).contains(&found), "{name}: {found} per mille");
    }
}

#[test]
fn nobody_real_can_be_reached() {
    for patient in parsed(population(500).patients()) {
        let own = patient["telecom"].as_array().into_iter().flatten();
        let kin = patient["contact"].as_array().into_iter().flatten().flat_map(|c| c["telecom"].as_array().into_iter().flatten());
        for point in own.chain(kin) {
            let value = point["value"].as_str().unwrap();
            if point["system"] == "email" {
                assert!(["@example.org", "@example.com", "@example.net"].iter().any(|domain| value.ends_with(domain)), "{value}");
                assert!(value.is_ascii());
            } else {
                let digits: String = value.chars().filter(char::is_ascii_digit).collect();
                assert!(digits.get(digits.len() - 7..).unwrap().starts_with("555"), "{value}");
            }
        }
    }
}
