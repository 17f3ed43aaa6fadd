//! A connection that is removed leaves nothing at the EHR: an export that it prepares is deleted first, or the removal stops.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use domain::model::ResourceType;
use fhir_engage::app::Removal;
use fhir_engage::store::{ehrs, exports};
use fhir_engage::sync::task::Ended;
use sandbox::{Fault, FaultKind};

use crate::schedule::setup::{World, north};
use crate::support::{Database, on_both};

/// An EHR that prepares an export.
async fn preparing(db: Database) -> World {
    let world = World::new(db, 5, "").await;
    let base = world.ehr.base_url();
    let bulk = r#""strategy":{"Patient":"bulk","Appointment":"bulk","CarePlan":"bulk"}"#;
    world.register(&north(), &format!(r#"{{"base_url":"{base}","auth":{{"kind":"none"}},{bulk}}}"#)).await;
    let node = world.node();
    let reports = node.sync_with(&north(), &ResourceType::CORE, false, Duration::ZERO, &AtomicBool::new(false), &|_| ()).await.unwrap();
    assert!(reports.iter().all(|r| matches!(r.ended, Ended::Waiting(_))), "{reports:?}");
    assert_eq!((world.ehr.open_exports(), jobs(&world)), (1, 1));
    world
}

fn jobs(world: &World) -> usize {
    world.store.read_blocking(|conn| exports::of_ehr(conn, &north())).unwrap().len()
}

fn is_there(world: &World) -> bool {
    world.store.read_blocking(|conn| ehrs::get(conn, "north")).unwrap().is_some()
}

on_both! {
    async fn an_export_that_is_prepared_is_deleted_with_the_connection(db) {
        let world = preparing(db).await;
        let Removal::Done(done) = world.node().remove_ehr(&north(), false).await.unwrap() else { panic!("not removed") };
        assert_eq!((done.deleted_exports, &done.notes[..], world.ehr.open_exports()), (1, &[][..], 0));
        assert!(!is_there(&world) && jobs(&world) == 0);
        assert_eq!(world.node().remove_ehr(&north(), false).await.unwrap(), Removal::NoSuchEhr);
    }

    async fn where_the_ehr_cannot_be_told_nothing_is_removed_unless_it_is_given_up(db) {
        let world = preparing(db).await;
        world.ehr.plant(Fault::new(FaultKind::ExportDeleteRefused { status: 500 }).times(2));
        let Removal::InTheWay(why) = world.node().remove_ehr(&north(), false).await.unwrap() else { panic!("removed") };
        assert!(why.len() == 1 && why[0].contains("Patient Appointment CarePlan") && why[0].contains("500"), "{why:?}");
        assert!(is_there(&world) && jobs(&world) == 1 && world.ehr.open_exports() == 1);
        let Removal::Done(done) = world.node().remove_ehr(&north(), true).await.unwrap() else { panic!("not removed") };
        assert_eq!((done.deleted_exports, done.notes.len()), (0, 1), "it is said: {done:?}");
        assert!(!is_there(&world) && jobs(&world) == 0);
    }
}
