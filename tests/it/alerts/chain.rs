//! The audit chain is verified once a night by itself, by one node; what is broken is told once, and once that it is whole again.

use chrono::TimeDelta;
use domain::Clock as _;
use domain::model::Phi;
use fhir_engage::app::{App, Night};
use fhir_engage::store::alerts;
use fhir_engage::store::audit::Entry;
use std::sync::atomic::AtomicBool;

use crate::schedule::setup::{World, at};
use crate::support::on_both;

async fn look(node: &App) -> Night {
    node.verify_chain(&AtomicBool::new(false)).await.unwrap()
}

on_both! {
    async fn a_chain_that_is_broken_is_told_once_and_its_end_once(db) {
        let world = World::new(db, 1, "[alerts]\ndisk_free = 0\n[site]\nname = \"Clinic\"\ntime_zone = \"America/New_York\"\n").await;
        let (node, other) = (world.node(), world.node());
        let desk = node.alert_desk().unwrap();
        for n in 0..5 {
            let entry = Entry {
                at: world.clock.now(),
                who: "kim".to_owned(),
                roles: "auditor".to_owned(),
                what: "view-patient",
                patient: Some(("north".to_owned(), Phi::new(format!("p{n}")))),
                opening: None,
                about: None,
                why: None,
            };
            world.store.audited(entry).await.unwrap();
        }
        // Never verified: now. Then at half past two of the site's night, by whichever node looks first.
        let first = look(&node).await;
        assert_eq!((first.told.as_ref().unwrap().rows, first.next), (5, at("2027-01-13T07:30:00Z")));
        assert_eq!(look(&other).await, Night { told: None, next: first.next });
        world.clock.set(at("2027-01-13T07:29:59Z"));
        assert_eq!(look(&node).await.told, None);
        world.execute("UPDATE audit SET who = 'lee' WHERE number = 3");
        world.clock.set(at("2027-01-13T07:30:00Z"));
        let night = look(&node).await;
        assert_eq!(night.told.unwrap().broken.as_deref(), Some("row 3 is not what was written, or the one before it is not"));
        assert_eq!(night.next, at("2027-01-14T07:30:00Z"));
        assert_eq!(look(&other).await.told, None, "once a night");
        let mine = |all: Vec<alerts::Alert>| all.into_iter().filter(|a| a.kind == alerts::kind::AUDIT).collect::<Vec<_>>();
        for n in 0..3 {
            let report = node.look_for_alerts(&desk, true).await.unwrap();
            let open = mine(world.store.read(alerts::open).await.unwrap());
            assert_eq!(open.len(), 1, "{n}: {report:?}");
            assert!(open[0].says.contains("row 3") && open[0].remedy.contains("fhir-engage audit verify"), "{open:?}");
            world.forward(TimeDelta::minutes(10));
        }
        // Still broken the next night: it stays the same alert.
        world.clock.set(night.next);
        assert!(look(&node).await.told.unwrap().broken.is_some());
        node.look_for_alerts(&desk, true).await.unwrap();
        assert_eq!(mine(world.store.read(|c| alerts::latest(c, 50)).await.unwrap()).len(), 1);
        world.execute("UPDATE audit SET who = 'kim' WHERE number = 3");
        world.forward(TimeDelta::days(1));
        assert_eq!(look(&node).await.told.unwrap().broken, None);
        for _ in 0..3 {
            node.look_for_alerts(&desk, true).await.unwrap();
            world.forward(TimeDelta::minutes(10));
        }
        let all = mine(world.store.read(|c| alerts::latest(c, 50)).await.unwrap());
        assert!(all.len() == 1 && all[0].closed_at.is_some(), "{all:?}");
    }
}
