//! The allowed rate: reached and never passed, with a server that takes its time; and no storm from a few charts that hang.

use std::time::{Duration, Instant};

use fhir_engage::ehr::Rate;
use sandbox::{Fault, FaultKind};

use super::setup::World;
use crate::support::on_both;

on_both! {
    async fn the_allowed_rate_is_reached_and_never_passed(db) {
        const PER_SECOND: u32 = 100;
        const ROWS: usize = 600;
        let mut world = World::new(db).await;
        for n in 0..ROWS {
            world.owe(&format!("p{}", n % 100), &format!("a{n:03}"));
        }
        // Slow enough that eight at once would make eighty a second, less than is allowed.
        world.sandbox.plant(Fault::new(FaultKind::PageTimeout { millis: 100 }).on("POST", "/fhir/Communication").times(u32::MAX));
        world.pace(Some(Rate::try_from(f64::from(PER_SECOND)).unwrap())).await;
        let began = Instant::now();
        let report = world.run().await;
        let took = began.elapsed().as_secs_f64();
        assert_eq!(report.written, ROWS as u64, "{report:?}");
        let rate = ROWS as f64 / took;
        eprintln!("{rate:.1} a second of {PER_SECOND} allowed");
        assert!(rate <= f64::from(PER_SECOND), "{rate}");
        // Of 6 s, 0.1 s is the last answer's; the rest is for a machine that has other tests to run.
        assert!(rate > f64::from(PER_SECOND) * 0.85, "{rate}");
    }

    async fn charts_that_hang_do_not_hold_up_the_others(db) {
        let mut world = World::new(db).await;
        world.options.concurrency = 2;
        for n in 0..40 {
            world.owe(&format!("p{n}"), &format!("a{n:02}"));
        }
        world.sandbox.plant(Fault::new(FaultKind::PageTimeout { millis: 3_000 }).on("POST", "/fhir/Communication").times(2));
        let ticking = {
            let clock = world.clock.clone();
            tokio::spawn(async move {
                loop {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    clock.advance(chrono::TimeDelta::milliseconds(200));
                }
            })
        };
        world.options.hold = chrono::TimeDelta::seconds(1_000);
        // Two hang, and two may go beside them once those count as slow.
        let others = async {
            let began = Instant::now();
            while world.sandbox.count("Communication") < 38 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            began.elapsed()
        };
        let (report, took) = tokio::join!(world.run(), others);
        assert!(took < Duration::from_millis(2_900), "they waited for those that hang: {took:?}");
        assert_eq!(report.written, 40, "{report:?}");
        ticking.abort();
        world.all_written_once();
    }
}
