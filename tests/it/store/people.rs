//! Persons: their facts together, and up to when those are known.

use domain::model::facts::{CarePlanFacts, Facts, PatientFacts};
use domain::model::{EhrId, ResourceType};
use fhir_engage::store::resources::{self, Precedence};
use fhir_engage::store::sync_state::{self, End};
use fhir_engage::store::{Store, StoreError, ehrs, people};

use super::fixtures::{at, commit, ehr, incoming, patient, read, write};
use crate::support::on_both;

/// A whole sync of a type, without resources.
fn synced(store: &Store, ehr: &EhrId, kind: ResourceType, seconds: i64) {
    write(store, |conn| {
        ehrs::put(conn, ehr, "{}", at(0))?;
        let run = sync_state::begin(conn, ehr, kind, "full", "f", at(seconds))?;
        sync_state::end(conn, ehr, kind, run, &End::Done { high_water: None, as_of: Some(at(seconds)) }, at(seconds))
    });
}

fn facts(store: &Store, person: i64) -> people::Known {
    read(store, |conn| people::facts(conn, &[person])).remove(&person).unwrap()
}

on_both! {
    fn facts_of_all_types_come_together_with_their_origin(db) {
        let store = db.store();
        let text = |f: &Facts| String::from_utf8(f.to_bytes()).unwrap();
        let about = text(&Facts::Patient(Box::<PatientFacts>::default()));
        let plan = text(&Facts::CarePlan(Box::<CarePlanFacts>::default()));
        commit(&store, ResourceType::Patient, vec![incoming(&store, ResourceType::Patient, "p1", "b", &about, &["p1"])]);
        let mut with_version = incoming(&store, ResourceType::CarePlan, "c1", "b", &plan, &["p1"]);
        with_version.version = Some("7".to_owned());
        commit(&store, ResourceType::CarePlan, vec![with_version]);
        let person = read(&store, |conn| people::record(conn, "north", "p1")).unwrap().person;
        let known = facts(&store, person).facts;
        assert_eq!((known.patients.len(), known.appointments.len(), known.care_plans.len()), (1, 0, 1));
        let origin = &known.care_plans[0].origin;
        assert_eq!((origin.reference().as_str(), origin.version.as_deref(), &origin.ehr), ("CarePlan/c1", Some("7"), &ehr()));
        assert_eq!(known.care_plans[0].facts, CarePlanFacts::default());
        // One that nobody knows has no facts, and is no error.
        assert!(facts(&store, 999_999).facts.patients.is_empty());
    }

    fn a_type_is_known_only_where_it_was_read_whole_at_every_ehr_of_the_person(db) {
        let store = db.store();
        let (north, south) = (ehr(), EhrId::parse("south").unwrap());
        let p = patient(&store, "p1");
        assert_eq!((facts(&store, p.person).facts.synced, facts(&store, p.person).as_of), (vec![], None));
        synced(&store, &north, ResourceType::Patient, 10);
        assert_eq!((facts(&store, p.person).facts.synced, facts(&store, p.person).as_of), (vec![ResourceType::Patient], None));
        synced(&store, &north, ResourceType::Appointment, 30);
        synced(&store, &north, ResourceType::CarePlan, 20);
        assert_eq!(facts(&store, p.person).facts.synced.len(), 3);
        assert_eq!(facts(&store, p.person).as_of, Some(at(10)), "as old as its oldest part");

        // The same person at another EHR, of which less is known.
        let page = vec![incoming(&store, ResourceType::Patient, "s1", "b", "{}", &["s1"])];
        write(&store, |conn| resources::commit(conn, &south, ResourceType::Patient, &page, Precedence::Asked(at(0)), at(0)));
        db.execute(&format!("UPDATE patient SET person = {} WHERE fhir_id = 's1'", p.person));
        synced(&store, &south, ResourceType::Patient, 40);
        let known = known_types(&store, p.person);
        assert_eq!(known, (vec![ResourceType::Patient], None));
    }

    fn a_run_that_failed_does_not_make_anything_known(db) {
        let store = db.store();
        let p = patient(&store, "p1");
        for end in [End::Failed("the server answered 500".to_owned()), End::Interrupted] {
            write(&store, |conn| {
                ehrs::put(conn, &ehr(), "{}", at(0))?;
                let run = sync_state::begin(conn, &ehr(), ResourceType::Patient, "full", "f", at(1))?;
                sync_state::end(conn, &ehr(), ResourceType::Patient, run, &end, at(2))
            });
            assert_eq!(facts(&store, p.person).facts.synced, []);
        }
    }

    fn facts_that_cannot_be_read_are_an_error_without_their_text(db) {
        let store = db.store();
        commit(&store, ResourceType::Patient, vec![incoming(&store, ResourceType::Patient, "p1", "b", "{\"born\":\"secret\"", &["p1"])]);
        let person = read(&store, |conn| people::record(conn, "north", "p1")).unwrap().person;
        let Err(error) = store.read_blocking(|conn| people::facts(conn, &[person])) else { panic!("it was read") };
        assert!(matches!(error, StoreError::Damaged(_)) && !format!("{error} {error:?}").contains("secret"));
    }
}

fn known_types(store: &Store, person: i64) -> (Vec<ResourceType>, Option<domain::Timestamp>) {
    let known = facts(store, person);
    (known.facts.synced, known.as_of)
}
