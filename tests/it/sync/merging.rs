//! Merges as EHRs tell of them, read by each strategy that can see them.

use chrono::TimeDelta;
use domain::model::ResourceType::{self, Appointment, Patient};
use fhir_engage::ehr::profile::Strategy;
use fhir_engage::store::{Store, people};
use fhir_engage::sync::task::Ended;
use sandbox::{Flavour, MergeManner};

use super::setup::Synced;
use crate::support::{Database, on_both};

const OLD: &str = "pat-000003";
const NEW: &str = "pat-000005";

fn state(store: &Store, id: &str) -> (i64, String) {
    let record = store.read_blocking(|conn| people::record(conn, "north", id)).unwrap().unwrap();
    (record.person, record.state)
}

fn holes(db: &Database) -> Vec<String> {
    db.lines(&format!("SELECT rtype || ' ' || why AS line FROM coverage_hole WHERE patient IN ('{OLD}', '{NEW}')"))
}

async fn all_well(north: &Synced, store: &Store) {
    for report in north.sync(store, &ResourceType::ALL).await {
        assert!(report.ended == Ended::Done && report.gone == 0, "{report:?}");
    }
}

on_both! {
    async fn an_id_that_is_read_as_another_is_merged_and_parted_when_it_is_itself_again(db) {
        let store = db.store();
        let north = Synced::at(&store, Flavour::Epic).await;
        all_well(&north, &store).await;
        let (old, new) = (state(&store, OLD).0, state(&store, NEW).0);
        assert_ne!(old, new);
        north.world.ehr.merge(OLD, NEW, MergeManner::Redirected).unwrap();
        for _ in 0..2 {
            north.world.clock.advance(TimeDelta::hours(2));
            all_well(&north, &store).await;
            assert_eq!((state(&store, OLD), state(&store, NEW)), ((new, "merged".to_owned()), (new, "live".to_owned())));
            assert_eq!(holes(&db), Vec::<String>::new());
        }
        assert_eq!(db.lines("SELECT fhir_id AS line FROM missing"), Vec::<String>::new());
        north.world.ehr.unmerge(OLD).unwrap();
        north.world.clock.advance(TimeDelta::hours(2));
        all_well(&north, &store).await;
        assert_eq!((state(&store, OLD), state(&store, NEW)), ((old, "live".to_owned()), (new, "live".to_owned())));
    }

    async fn links_and_a_deleted_record_are_seen_by_a_cursor(db) {
        let store = db.store();
        let north = Synced::start(&store).await.with(Strategy::Cursor);
        all_well(&north, &store).await;
        let (old, new) = (state(&store, OLD).0, state(&store, NEW).0);
        for manner in [MergeManner::Linked, MergeManner::Hidden, MergeManner::Deleted] {
            north.world.clock.advance(TimeDelta::hours(2));
            north.world.ehr.merge(OLD, NEW, manner).unwrap();
            all_well(&north, &store).await;
            assert_eq!((state(&store, OLD), state(&store, NEW).0), ((new, "merged".to_owned()), new), "{manner:?}");
            north.world.clock.advance(TimeDelta::hours(2));
            north.world.ehr.unmerge(OLD).unwrap();
            all_well(&north, &store).await;
            assert_eq!((state(&store, OLD), state(&store, NEW).0), ((old, "live".to_owned()), new), "{manner:?}");
        }
    }

    async fn the_survivor_of_one_on_the_list_is_read_though_no_list_names_it(db) {
        let store = db.store();
        let north = Synced::at(&store, Flavour::Epic).await;
        // The list names the old id only.
        north.world.ehr.edit("Group", "panel", |group| {
            group["member"].as_array_mut().unwrap().retain(|m| m["entity"]["reference"] != format!("Patient/{NEW}").as_str());
        }).unwrap();
        all_well(&north, &store).await;
        north.world.ehr.merge(OLD, NEW, MergeManner::Redirected).unwrap();
        // The EHR moved the member as well; a list that goes on naming the old id is what this is about.
        north.world.ehr.edit("Group", "panel", |group| {
            for member in group["member"].as_array_mut().unwrap() {
                if member["entity"]["reference"] == format!("Patient/{NEW}").as_str() {
                    member["entity"]["reference"] = format!("Patient/{OLD}").into();
                }
            }
        }).unwrap();
        for _ in 0..2 {
            north.world.clock.advance(TimeDelta::hours(2));
            all_well(&north, &store).await;
        }
        assert_eq!(state(&store, OLD).0, state(&store, NEW).0);
        assert_eq!(holes(&db), Vec::<String>::new());
        let of_new = format!("SELECT f.fhir_id AS line FROM fact f JOIN patient p ON p.pk = f.patient WHERE p.fhir_id = '{NEW}' AND f.rtype = '{Appointment}'");
        assert!(!db.lines(&of_new).is_empty());
        assert_eq!(db.lines(&format!("SELECT why AS line FROM coverage_hole WHERE rtype = '{Patient}'")), Vec::<String>::new());
    }
}
