//! Workers that die, lose their lease, or are asked to stop.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use chrono::TimeDelta;
use domain::Clock as _;
use fhir_engage::store::writebacks;
use fhir_engage::store::{Lane, StoreError};
use fhir_engage::writeback::{Site, Subject, Telling, compose};

use sandbox::{Fault, FaultKind};

use super::setup::{EHR, World};
use crate::support::on_both;

/// Claims everything as a worker that then dies: nothing of it is settled.
fn claim_and_die(world: &World) -> Vec<writebacks::Claimed> {
    let (fence, now) = (world.lease(), world.clock.now());
    let until = now.plus(world.options.hold * 2).plus(world.contract.settle_delay());
    world.store.write_blocking(Lane::Interactive, "test", |conn| writebacks::claim(conn, EHR, &fence, now, until, 100)).unwrap()
}

/// Puts a claimed row into the EHR, as the dead worker's request did.
fn arrive(world: &World, claimed: &writebacks::Claimed) {
    let attempt = claimed.row.attempt.clone();
    let subjects = world.store.read_blocking(|conn| writebacks::subjects(conn, &[attempt.as_str()])).unwrap();
    let (a, patient) = &subjects[&attempt];
    let composed = compose(
        &Subject { ehr: EHR, attempt: a, patient, message: None, key: &a.id, telling: Telling::Original },
        &Site::named("Main Street Clinic"),
        &world.contract,
    )
    .unwrap();
    let mut resource: serde_json::Value = serde_json::from_slice(composed.deed.bytes().unwrap()).unwrap();
    resource["id"] = format!("late-{attempt}").into();
    world.sandbox.load([resource.to_string()]).unwrap();
}

on_both! {
    async fn what_a_dead_worker_may_have_sent_is_searched_for_first(db) {
        let mut world = World::new(db).await;
        for (patient, attempt) in [("p1", "a1"), ("p2", "b1"), ("p3", "c1")] {
            world.owe(patient, attempt);
        }
        let claimed = claim_and_die(&world);
        assert_eq!(claimed.len(), 3);
        // One had arrived before the worker died, one arrives while the next worker waits, one never does.
        arrive(&world, &claimed[0]);
        assert_eq!(world.run().await.written, 0, "the dead worker's requests may still be on their way");
        assert_eq!(world.asked("GET") + world.asked("POST"), 0);
        arrive(&world, &claimed[1]);
        world.clock.advance(world.options.hold * 2 + world.contract.settle_delay());
        assert_eq!(world.run().await.written, 3);
        assert_eq!((world.asked("GET"), world.asked("POST")), (3, 1), "each is searched for, and the one that is not there is created");
        let mut there = world.in_ehr();
        there.sort();
        assert_eq!((there, world.states()), (vec!["a1".into(), "b1".into(), "c1".into()], vec!["written".to_owned(); 3]));
    }

    async fn a_worker_that_lost_its_lease_asks_for_nothing(db) {
        let mut world = World::new(db).await;
        world.owe("p1", "a1");
        let old = world.lease();
        let _new = world.lease();
        let lost = world.run_under(&old, &AtomicBool::new(false)).await;
        assert!(matches!(lost, Err(StoreError::LeaseLost(_))), "{lost:?}");
        assert_eq!((world.asked("POST"), world.row("a1").state), (0, "owed".to_owned()));
    }

    async fn a_worker_that_is_to_stop_claims_nothing(db) {
        let mut world = World::new(db).await;
        world.owe("p1", "a1");
        let report = world.run_under(&world.lease(), &AtomicBool::new(true)).await.unwrap();
        assert_eq!((report.written, world.asked("POST"), world.row("a1").tries), (0, 0, 0));
        world.settle().await;
        world.all_written_once();
    }

    async fn a_crash_at_any_point_of_a_run_doubles_nothing(db) {
        let mut world = World::new(db).await;
        for n in 0..60 {
            world.owe(&format!("p{}", n % 20), &format!("a{n:02}"));
        }
        // The EHR's condition must not be what saves us.
        world.sandbox.plant(Fault::new(FaultKind::ConditionalIgnored).on("POST", "/fhir/Communication").times(u32::MAX));
        // Each run is cut off a little later than the one before: before its first claim, between requests, within a commit.
        for cut in 0..25 {
            let (fence, stop) = (world.lease(), AtomicBool::new(false));
            let running = world.run_under(&fence, &stop);
            drop(tokio::time::timeout(Duration::from_millis(3 * cut), running).await);
            // What was on its way arrives in the time that the clock is moved by.
            tokio::time::sleep(Duration::from_millis(20)).await;
            world.clock.advance(TimeDelta::seconds(30));
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        world.settle().await;
        world.all_written_once();
    }
}
