//! The supporting types: read where the operator asks for them, in the ways that the server allows, and known only then.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use domain::model::ResourceType::{self, Condition, Encounter, Location, Observation, Organization, Practitioner};
use fhir_engage::ehr::Profile;
use fhir_engage::ehr::profile::Strategy;
use fhir_engage::ehr::reads::RosterSource;
use fhir_engage::outreach::named::{self, Named};
use fhir_engage::store::{Lane, Store, ehrs, people};
use fhir_engage::sync::task::Ended;
use serde_json::{Value, json};

use super::setup::{Synced, at, bodies, ehr, group, import, write};
use crate::ehr::support::World;
use crate::support::{TempDir, on_both};

/// Two conditions and an observation of each patient.
fn clinical(world: &World) -> Vec<String> {
    let patients = world.ehr.resources("Patient");
    let all = patients.iter().enumerate().flat_map(|(n, patient)| {
        let me = json!({ "reference": format!("Patient/{}", patient["id"].as_str().unwrap()) });
        let condition = |id: String, code: &str| {
            json!({ "resourceType": "Condition", "id": id, "subject": me, "clinicalStatus": { "coding": [{ "code": "active" }] },
                    "code": { "coding": [{ "system": "http://hl7.org/fhir/sid/icd-10-cm", "code": code }] }, "onsetDateTime": "2026-10-01" })
        };
        [
            condition(format!("a{n}"), "E11.9"),
            condition(format!("b{n}"), "I10"),
            json!({ "resourceType": "Observation", "id": format!("o{n}"), "status": "final", "subject": me,
                    "category": [{ "coding": [{ "code": "laboratory" }] }], "code": { "coding": [{ "code": "4548-4" }] },
                    "effectiveDateTime": "2026-11-01", "valueQuantity": { "value": 7.1, "code": "%" } }),
        ]
    });
    all.map(|resource| resource.to_string()).collect()
}

async fn north(store: &Store, change: impl FnOnce(&mut Profile)) -> Synced {
    let mut world = World::start().await;
    let ids: Vec<String> = world.ehr.resources("Patient").iter().map(|p| p["id"].as_str().unwrap().to_owned()).collect();
    world.ehr.load(clinical(&world).into_iter().chain([group(&ids)])).unwrap();
    world.profile.roster = vec![RosterSource::Group("panel".to_owned())];
    change(&mut world.profile);
    Synced::of(store, world).await
}

fn facts(store: &Store, id: &str) -> domain::model::PersonFacts {
    let person = store.read_blocking(|conn| people::record(conn, "north", id)).unwrap().unwrap().person;
    store.read_blocking(|conn| people::facts(conn, &[person])).unwrap().remove(&person).unwrap().facts
}

/// The references of a type that the EHR's appointments name.
fn named(north: &Synced, kind: ResourceType) -> BTreeSet<String> {
    let all = north.world.ehr.resources("Appointment");
    let actors = all.iter().flat_map(|a| a["participant"].as_array().unwrap()).filter_map(|p| p["actor"]["reference"].as_str());
    actors.filter_map(|r| r.strip_prefix(&format!("{kind}/"))).map(str::to_owned).collect()
}

on_both! {
    async fn what_is_asked_for_is_read_and_known_and_the_rest_is_not(db) {
        let store = db.store();
        let north = north(&store, |p| p.types = [Condition, Observation, Practitioner, Location].into()).await;
        let reports = north.sync(&store, &ResourceType::ALL).await;
        let kinds: Vec<ResourceType> = reports.iter().map(|r| r.kind).collect();
        assert_eq!(kinds[3..], [Condition, Observation, Practitioner, Location]);
        for report in &reports {
            assert_eq!((report.ended.clone(), report.strategy, report.quarantined), (Ended::Done, "cursor", 0), "{report:?}");
            north.assert_same(&store, report.kind);
        }
        let known = facts(&store, "pat-000001");
        assert_eq!((known.supporting.conditions.len(), known.supporting.observations.len()), (2, 1));
        assert_eq!(known.supporting.conditions[0].facts.codes[0].code, "E11.9");
        assert!(known.knows(Condition) && known.knows(Observation) && !known.knows(Encounter));
        assert!(north.searches(Encounter).is_empty());
        // A second run finds what changed and nothing else.
        north.world.ehr.edit("Condition", "a0", |c| c["clinicalStatus"]["coding"][0]["code"] = json!("resolved")).unwrap();
        north.sync(&store, &ResourceType::ALL).await;
        let statuses: Vec<Option<String>> =
            facts(&store, "pat-000001").supporting.conditions.into_iter().map(|c| c.facts.clinical_status).collect();
        assert_eq!(statuses, [Some("resolved".to_owned()), Some("active".to_owned())]);
    }

    async fn patient_by_patient_with_the_searches_that_servers_must_take(db) {
        let store = db.store();
        let mut north = north(&store, |p| {
            p.types = [Condition, Observation].into();
        })
        .await;
        north.strategies = [(Condition, Strategy::Roster), (Observation, Strategy::Roster)].into();
        for report in north.sync(&store, &[Condition, Observation]).await {
            assert_eq!((report.ended.clone(), report.strategy, report.holes), (Ended::Done, "roster", 0), "{report:?}");
            north.assert_same(&store, report.kind);
        }
        assert!(north.searches(Condition).iter().all(|s| s.contains("patient=")), "{:?}", north.searches(Condition));
        assert!(north.searches(Observation).iter().all(|s| s.contains("patient=") && s.contains("category=laboratory")));
    }

    async fn who_and_where_is_read_by_id_as_appointments_name_it(db) {
        let store = db.store();
        let kinds = [Practitioner, Location, Organization];
        let mut north = north(&store, |p| p.types = kinds.into()).await;
        north.strategies = kinds.map(|kind| (kind, Strategy::Reference)).into();
        // One that is named and not there stops nothing.
        let one = north.world.ehr.resources("Appointment")[0]["id"].as_str().unwrap().to_owned();
        let gone = json!({ "actor": { "reference": "Practitioner/left-the-clinic" }, "status": "accepted" });
        north.world.ehr.edit("Appointment", &one, |a| a["participant"].as_array_mut().unwrap().push(gone)).unwrap();
        let reports = north.sync(&store, &ResourceType::ALL).await;
        assert!(reports.iter().all(|r| r.ended == Ended::Done), "{reports:?}");
        for kind in [Practitioner, Location] {
            let mut expected = named(&north, kind);
            expected.remove("left-the-clinic");
            assert!(!expected.is_empty());
            assert_eq!(bodies(&store, kind).into_iter().map(|(id, _)| id).collect::<BTreeSet<_>>(), expected, "{kind}");
        }
        assert_eq!(bodies(&store, Organization).len(), 1, "named by the locations");
        let noted = reports.iter().find(|r| r.kind == Practitioner).unwrap();
        assert!(noted.notes[0].contains("1 of the Practitioner"), "{noted:?}");
        // Messages can name them, whether the EHR sent the name with the appointment or not.
        let visit = facts(&store, "pat-000001").appointments.into_iter().find(|a| !a.facts.practitioners.is_empty()).unwrap();
        let called = |store: &Store| store.read_blocking(|conn| named::of(conn, store.codec(), &visit)).unwrap();
        let by_id = |kind: &str, reference: &str| north.world.ehr.resource(kind, reference.rsplit('/').next().unwrap()).unwrap();
        let doctor = by_id("Practitioner", &visit.facts.practitioners[0])["name"][0].clone();
        let place = by_id("Location", &visit.facts.locations[0])["name"].as_str().unwrap().to_owned();
        let name = |sent: &str| Named { with: Some(sent.to_owned()), place: Some(place.clone()) };
        let display = |north: &Synced, text: Option<&str>| {
            north.world.ehr.edit("Appointment", &visit.origin.id, |a| {
                for actor in a["participant"].as_array_mut().unwrap() {
                    let actor = actor["actor"].as_object_mut().unwrap();
                    actor.remove("display");
                    if let Some(text) = text.filter(|_| actor["reference"].as_str().unwrap().starts_with("Practitioner")) {
                        actor.insert("display".to_owned(), json!(text));
                    }
                }
            })
        };
        display(&north, None).unwrap();
        north.sync(&store, &ResourceType::ALL).await;
        assert_eq!(called(&store), name(&format!("{} {}", doctor["given"][0].as_str().unwrap(), doctor["family"].as_str().unwrap())));
        display(&north, Some("Dr. Somebody")).unwrap();
        north.sync(&store, &ResourceType::ALL).await;
        assert_eq!(called(&store), name("Dr. Somebody"));
        // What is stored is not asked for again until a month has passed.
        let asked = |north: &Synced| north.searches(Location).len();
        let first = asked(&north);
        north.sync(&store, &ResourceType::ALL).await;
        assert_eq!(asked(&north), first);
        north.world.ehr.edit("Location", "loc-1", |l| l["name"] = json!("New Street")).unwrap();
        north.world.clock.advance(TimeDelta::days(31));
        north.sync(&store, &ResourceType::ALL).await;
        let body = bodies(&store, Location).into_iter().find(|(id, _)| id == "loc-1").unwrap().1;
        assert_eq!(serde_json::from_slice::<Value>(&body).unwrap()["name"], "New Street");
    }

    fn files_bring_what_is_asked_for(db) {
        let store = db.store();
        let folder = TempDir::new();
        let lines = "{\"resourceType\":\"Patient\",\"id\":\"p\"}\n{\"resourceType\":\"Goal\",\"id\":\"g\",\"subject\":{\"reference\":\"Patient/p\"}}\n";
        let file = write(&folder.join("all.ndjson"), lines.as_bytes());
        let put = |profile: &str| store.write_blocking(Lane::Bulk, "test", |conn| ehrs::put(conn, &ehr(), profile, at(0))).unwrap();
        put(r#"{"files_only":true}"#);
        let report = import(&store, std::slice::from_ref(&file));
        assert_eq!((report.stored, report.ignored.get("Goal")), (1, Some(&1)));
        put(r#"{"files_only":true,"types":["Goal"]}"#);
        let report = import(&store, &[file]);
        assert_eq!((report.stored, report.unchanged, report.ignored.len()), (1, 1, 0));
        let known = facts(&store, "p");
        assert!(known.supporting.goals.len() == 1 && known.knows(ResourceType::Goal));
    }
}
