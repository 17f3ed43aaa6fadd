//! Order and amount: each patient's in their order, many at once, and each message its own Communication.

use std::time::Instant;

use chrono::TimeDelta;
use domain::Clock as _;
use fhir_engage::writeback::contract::PayloadShape;
use sandbox::{Fault, FaultKind};

use super::setup::{EHR, World};
use crate::support::{Database, on_both, owing};

on_both! {
    async fn two_texts_alike_within_an_hour_are_two_communications(db) {
        let mut world = World::new(db).await;
        world.owe("p1", "a1");
        world.owe("p1", "a2");
        world.clock.advance(TimeDelta::minutes(30));
        world.owe("p1", "a3");
        world.sandbox.plant(Fault::new(FaultKind::CreateAppliedAnswerLost).on("POST", "/fhir/Communication").after(1));
        world.settle().await;
        world.all_written_once();
        assert_eq!(world.sandbox.count("Communication"), 3);
    }

    async fn one_patients_trouble_keeps_his_order_and_holds_nobody_else_up(db) {
        let mut world = World::new(db).await;
        world.options.concurrency = 1;
        for (patient, attempt) in [("p1", "a1"), ("p1", "a2"), ("p1", "a3"), ("p2", "b1"), ("p2", "b2")] {
            world.owe(patient, attempt);
        }
        world.sandbox.plant(Fault::new(FaultKind::Create500NotApplied).on("POST", "/fhir/Communication"));
        let report = world.run().await;
        assert_eq!((report.written, report.unknown), (2, 1), "{report:?}");
        world.settle().await;
        world.all_written_once();
        for patient in ["a", "b"] {
            let order: Vec<String> = world.in_ehr().into_iter().filter(|a| a.starts_with(patient)).collect();
            assert!(order.is_sorted(), "{order:?}");
        }
    }

    async fn a_damaged_row_is_no_other_rows_trouble(db) {
        let mut world = World::new(db).await;
        world.contract.shape.payload = PayloadShape::Text;
        world.owe("p1", "a1");
        world.owe("p2", "b1");
        let broken = [("p1".to_owned(), "a2".to_owned())];
        owing::owe_saying(&world.store, EHR, &broken, b"not what was packed", world.clock.now());
        world.owe("p1", "a3");
        world.settle().await;
        assert_eq!(world.states(), ["written", "refused", "written", "written"]);
        let why = world.row("a2").failure.unwrap();
        assert!(why.starts_with("damaged: "), "{why}");
    }

    async fn the_chart_gets_as_much_of_the_message_as_the_contract_says(db) {
        let backend = db.backend();
        drop(db);
        for (shape, shown) in [
            (PayloadShape::Text, "Your visit\n\nHello Ada,\nreply C to confirm."),
            (PayloadShape::Summary, "The patient was asked to confirm a visit (language en). Template visit-confirm, program visit-confirm, step first."),
            (PayloadShape::Template, "Template visit-confirm, program visit-confirm, step first."),
        ] {
            let mut world = World::new(Database::fresh(backend).unwrap()).await;
            world.contract.shape.payload = shape;
            world.owe("p1", "a1");
            world.run().await;
            let communication = world.sandbox.resources("Communication").remove(0);
            assert_eq!(communication["payload"], serde_json::json!([{ "contentString": shown }]));
            assert!(!communication.to_string().contains("ada@example.org"), "an address is not for the chart");
        }
    }

    async fn many_are_written_in_each_patients_order(db) {
        let mut world = World::new(db).await;
        world.options.concurrency = 16;
        for n in 0..600 {
            world.owe(&format!("p{}", n % 150), &format!("a{n:03}"));
        }
        let began = Instant::now();
        let report = world.run().await;
        eprintln!("{} written in {:?}", report.written, began.elapsed());
        assert_eq!(report.written, 600);
        world.all_written_once();
        assert_eq!(world.asked("POST"), 600, "one request each");
        for patient in 0..150 {
            let order: Vec<String> = world.in_ehr().into_iter().filter(|a| a[1..].parse::<usize>().unwrap() % 150 == patient).collect();
            assert!(order.is_sorted() && order.len() == 4, "{order:?}");
        }
    }
}
