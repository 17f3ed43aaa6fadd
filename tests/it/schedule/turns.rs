//! What is due is read once, by one node, in open hours.

use std::time::Duration;

use chrono::TimeDelta;
use domain::Clock as _;
use domain::model::{EhrId, ResourceType};
use fhir_engage::store::schedules::ALL_TYPES;
use fhir_engage::store::{pauses, turns};
use sandbox::{Fault, FaultKind};

use super::setup::{World, at, north, take_all};
use crate::support::on_both;

const TYPES: [&str; 3] = ["Appointment", "CarePlan", "Patient"];

/// Each answer is late, so that a run lasts.
fn slow(world: &World, millis: u64) {
    world.ehr.plant(Fault::new(FaultKind::PageTimeout { millis }).on("GET", "/fhir/").times(u32::MAX));
}

on_both! {
    async fn what_was_missed_for_a_week_is_made_up_for_once(db) {
        let world = World::new(db, 5, "").await;
        world.set(r#"{"cron":"30 2 * * *","time_zone":"America/New_York"}"#).await;
        let node = world.node();
        assert!(take_all(&node).await.is_empty(), "nothing was missed before it was set");
        world.clock.set(at("2027-01-13T07:29:59Z"));
        assert!(take_all(&node).await.is_empty());
        world.clock.set(at("2027-01-13T07:30:00Z"));
        assert_eq!(take_all(&node).await.len(), 1);
        assert_eq!(TYPES.map(|t| world.runs(t).len()), [1; 3]);
        // A week in which nobody looks.
        world.forward(TimeDelta::days(7));
        drop(node);
        let node = world.node();
        assert_eq!(take_all(&node).await.len(), 1);
        assert!(take_all(&node).await.is_empty(), "seven nights were missed and are one run");
        let by = |strategy| TYPES.map(|t| world.runs(t).iter().filter(|r| r.strategy == strategy).count());
        assert_eq!((by("cursor"), by("bulk")), ([2; 3], [1; 3]), "and the second route, which is due each week, was taken once");
        world.clock.set(at("2027-01-21T07:30:00Z"));
        assert_eq!(take_all(&node).await.len(), 1, "and then it goes on as scheduled");
    }

    async fn all_types_of_a_schedule_have_one_moment_and_are_read_together(db) {
        let world = World::new(db, 5, "").await;
        world.set(r#"{"cron":"30 2 * * *","time_zone":"UTC","jitter_seconds":600}"#).await;
        let node = world.node();
        let agenda = node.agenda().await.unwrap();
        let moments: std::collections::BTreeSet<_> = agenda.entries.iter().map(|e| e.due.as_ref().unwrap().at).collect();
        let moment = *moments.first().unwrap();
        assert!(moments.len() == 1 && (0..600).contains(&moment.since(at("2027-01-13T02:30:00Z")).num_seconds()), "{moments:?}");
        world.clock.set(moment);
        let turns = node.due_turns(8).await.unwrap();
        assert_eq!(turns.iter().map(|t| t.kinds.len()).collect::<Vec<_>>(), [agenda.entries.len()]);
    }

    async fn nothing_configured_is_every_quarter_of_an_hour_after_the_last_end(db) {
        let world = World::new(db, 5, "").await;
        let node = world.node();
        assert_eq!(take_all(&node).await.len(), 1, "at once, since nothing was ever read");
        world.forward(TimeDelta::minutes(14));
        assert!(take_all(&node).await.is_empty());
        // Another process after a restart goes by the same.
        assert!(take_all(&world.node()).await.is_empty());
        world.forward(TimeDelta::minutes(1));
        assert_eq!(take_all(&node).await.len(), 1);
        assert_eq!(TYPES.map(|t| world.runs(t).len()), [2; 3]);
    }

    async fn two_nodes_never_read_the_same_type_at_once_nor_one_after_the_other(db) {
        let world = World::new(db, 25, "").await;
        let nodes = [world.node(), world.node(), world.node()];
        slow(&world, 3);
        for round in 1..=6_usize {
            let all = nodes.iter().map(|node| async move {
                for _ in 0..4 {
                    for report in take_all(node).await {
                        assert_eq!(report.failures, Vec::<String>::new());
                    }
                }
            });
            futures_util::future::join_all(all).await;
            for rtype in TYPES {
                let runs = world.runs(rtype);
                assert_eq!(runs.len(), round, "{rtype}: three nodes looked, and one read");
                assert!(runs.iter().all(|r| r.state == "done"), "{runs:?}");
            }
            world.forward(TimeDelta::minutes(15));
        }
    }

    async fn a_claim_keeps_others_from_even_asking_the_ehr(db) {
        let world = World::new(db, 5, "").await;
        let (a, b) = (world.node(), world.node());
        let claimed = a.due_turns(8).await.unwrap();
        assert_eq!(claimed.iter().map(|t| t.kinds.len()).sum::<usize>(), 3);
        assert!(b.due_turns(8).await.unwrap().is_empty());
        assert!(world.ehr.request_log().is_empty(), "nobody was asked anything yet");
        // The one who claimed dies without a word: dropped, its claims are given back.
        drop(claimed);
        let until = std::time::Instant::now() + Duration::from_secs(30);
        let mut taken = Vec::new();
        while taken.is_empty() && std::time::Instant::now() < until {
            taken = b.due_turns(8).await.unwrap();
        }
        assert!(!taken.is_empty());
    }

    async fn closed_hours_stop_a_run_at_a_safe_point_and_it_goes_on_after_them(db) {
        let world = World::new(db, 200, "").await;
        world.set(r#"{"every_seconds":3600,"time_zone":"UTC","not_during":["10:00-18:00"]}"#).await;
        let node = world.node();
        slow(&world, 20);
        let turn = node.due_turns(8).await.unwrap().pop().unwrap();
        let moved = async {
            // Two pages are in.
            while world.stored("Patient") < 20 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            world.clock.set(at("2027-01-12T10:00:00Z"));
        };
        let (report, ()) = tokio::join!(node.take_turn(turn, || false), moved);
        assert_eq!(report.failures, Vec::<String>::new(), "to stop on purpose is no failure");
        assert_eq!(world.runs("Patient").last().unwrap().state, "interrupted");
        let there = world.stored("Patient");
        assert!((20..200).contains(&there), "{there}");
        let pages = world.ehr.request_log().len();
        for hour in ["2027-01-12T10:00:01Z", "2027-01-12T14:00:00Z", "2027-01-12T17:59:59Z"] {
            world.clock.set(at(hour));
            assert!(take_all(&node).await.is_empty(), "{hour}");
        }
        assert_eq!(world.ehr.request_log().len(), pages, "the EHR is left alone");
        world.ehr.clear_faults();
        world.clock.set(at("2027-01-12T18:00:00Z"));
        assert_eq!(take_all(&node).await.len(), 1);
        assert_eq!((world.stored("Patient"), world.runs("Patient").last().unwrap().state.as_str()), (200, "done"));
    }

    async fn a_pause_stops_what_runs_and_a_restart_does_not_lift_it(db) {
        let world = World::new(db, 200, "").await;
        let node = world.node();
        slow(&world, 200);
        let turn = node.due_turns(8).await.unwrap().pop().unwrap();
        let now = world.clock.now();
        let paused = async {
            while world.stored("Patient") < 20 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            assert!(world.store.write("test", move |conn| pauses::begin(conn, &north(), ALL_TYPES, "downtime", "ada", now)).await.unwrap());
        };
        let (report, ()) = tokio::join!(node.take_turn(turn, || false), paused);
        assert_eq!(report.failures, Vec::<String>::new());
        assert!(world.stored("Patient") < 200);
        world.ehr.clear_faults();
        drop(node);
        world.forward(TimeDelta::hours(3));
        let node = world.node();
        assert!(take_all(&node).await.is_empty());
        // A round by hand leaves it alone too, and says who wanted that.
        let report = node.cycle(&Default::default(), std::sync::Arc::new(|_| ())).await;
        assert_eq!(report.failures, Vec::<String>::new());
        assert!(report.busy.iter().filter(|b| b.contains("paused by ada (downtime)")).count() == 3, "{:?}", report.busy);
        world.store.write("test", move |conn| pauses::end(conn, &north(), ALL_TYPES, "bob", now)).await.unwrap();
        assert_eq!(take_all(&node).await.len(), 1);
        assert_eq!(world.stored("Patient"), 200);
        let kept = world.store.read(|conn| pauses::of(conn, &north(), 10)).await.unwrap();
        assert_eq!((kept[0].paused_by.as_str(), kept[0].why.as_str(), kept[0].resumed_by.as_deref()), ("ada", "downtime", Some("bob")));
    }

    async fn a_wish_is_granted_once_and_one_that_comes_while_it_runs_once_more(db) {
        let world = World::new(db, 5, "").await;
        let (a, b) = (world.node(), world.node());
        take_all(&a).await;
        assert!(take_all(&b).await.is_empty());
        let want = |now| world.store.write("test", move |conn| turns::want(conn, &north(), ResourceType::Appointment, "ada", now));
        world.forward(TimeDelta::minutes(1));
        want(world.clock.now()).await.unwrap();
        assert_eq!(take_all(&b).await.len(), 1);
        assert!(take_all(&a).await.is_empty());
        assert_eq!((world.runs("Appointment").len(), world.runs("Patient").len()), (2, 1));
        want(world.clock.now()).await.unwrap();
        let turn = a.due_turns(8).await.unwrap().pop().unwrap();
        // The clock goes on while it runs, and then someone wants it again.
        world.execute("UPDATE sync_turn SET wanted_at = NULL");
        world.forward(TimeDelta::seconds(1));
        let began = world.clock.now();
        world.forward(TimeDelta::seconds(-1));
        want(began).await.unwrap();
        a.take_turn(turn, || false).await;
        world.forward(TimeDelta::seconds(2));
        assert_eq!(take_all(&b).await.len(), 1, "what is asked for after a run began is not served by it");
        assert!(take_all(&a).await.is_empty());
    }

    async fn a_failure_on_the_way_is_kept_in_words_waits_and_is_tried_at_once_when_the_connection_is_changed(db) {
        let world = World::new(db, 5, "").await;
        let south = EhrId::parse("south").unwrap();
        world.register(&south, r#"{"base_url":"http://127.0.0.1:9/fhir","auth":{"kind":"none"}}"#).await;
        let node = world.node();
        let failures: Vec<String> = take_all(&node).await.into_iter().flat_map(|r| r.failures).collect();
        assert!(failures.len() == 1 && failures[0].starts_with("south: "), "{failures:?}");
        assert_eq!(TYPES.map(|t| world.runs(t).len()), [1; 3], "the other one was read");
        let turn = world.store.read(|conn| turns::get(conn, &EhrId::parse("south").unwrap(), ResourceType::Patient)).await.unwrap().unwrap();
        assert!(turn.failures == 1 && turn.failure.unwrap().contains("127.0.0.1:9"));
        assert!(take_all(&node).await.is_empty(), "it waits before it is tried again");
        world.forward(TimeDelta::seconds(6));
        assert_eq!(take_all(&node).await.len(), 1, "but not long");
        let base = world.ehr.base_url();
        world.register(&south, &format!(r#"{{"base_url":"{base}","auth":{{"kind":"none"}}}}"#)).await;
        let failures: Vec<String> = take_all(&node).await.into_iter().flat_map(|r| r.failures).collect();
        assert_eq!(failures, Vec::<String>::new());
        assert_eq!(world.lines("SELECT rtype AS line FROM sync_turn WHERE failures > 0"), Vec::<String>::new());
    }

    async fn an_ehr_that_cannot_be_worked_with_is_named_and_keeps_no_other_from_its_work(db) {
        let world = World::new(db, 5, "").await;
        world.register(&EhrId::parse("broken").unwrap(), r#"{"base_url":17}"#).await;
        let node = world.node();
        assert_eq!(take_all(&node).await.len(), 1);
        assert_eq!(world.stored("Patient"), 5);
        let report = node.cycle(&Default::default(), std::sync::Arc::new(|_| ())).await;
        assert!(report.failures.len() == 1 && report.failures[0].contains("the profile of broken cannot be used"), "{:?}", report.failures);
        assert_eq!(report.sync.len(), 3);
    }

    async fn a_stored_schedule_that_cannot_be_read_stops_its_ehr_and_no_other(db) {
        let world = World::new(db, 5, "").await;
        world.set("{\"time_zone\":\"Mars/Olympus\"}").await;
        let node = world.node();
        assert!(take_all(&node).await.is_empty(), "closed hours may be among what cannot be read");
        let agenda = node.agenda().await.unwrap();
        assert!(agenda.entries.iter().all(|e| e.closed(agenda.now).unwrap().contains("Mars/Olympus")));
    }
}
