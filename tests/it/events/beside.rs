//! A single read beside a run of its type: it waits for nothing, and of two answers the newer one stays, whichever is stored last.

use std::sync::atomic::AtomicBool;

use chrono::TimeDelta;
use domain::Clock as _;
use domain::model::ResourceType::Appointment;
use fhir_engage::store::leases::{self, Term};
use fhir_engage::store::refresh;
use fhir_engage::sync::lease_name;
use sandbox::{Fault, FaultKind};
use serde_json::json;

use super::setup::{Listening, topic};
use crate::schedule::setup::north;
use crate::support::on_both;

/// How long the EHR holds an answer back that it has made.
const HELD_BACK: u64 = 1_500;

on_both! {
    async fn what_is_told_is_read_while_a_crawl_of_the_type_goes_on(db) {
        let l = Listening::start(db, json!({ "types": { "Appointment": [topic(Appointment)] } })).await;
        l.begin().await;
        let now = l.world.clock.now();
        let crawl = move |conn: &mut _| leases::acquire(conn, &lease_name(&north(), Appointment), "crawler", now, Term(TimeDelta::hours(1)), |_| false);
        let fence = l.world.store.write("test", crawl).await.unwrap().unwrap();
        let id = l.ids(Appointment)[0].clone();
        l.edit(Appointment, &id, "fr").await;
        let done = l.round().await;
        assert_eq!((done.read, done.changed, l.waiting(Appointment)), (1, 1, 0), "{done:?}");
        assert_eq!(l.stored(Appointment, &id).unwrap()["language"], "fr");
        // The crawl was not disturbed: it still holds its lease.
        let extend = move |conn: &mut _| leases::extend(conn, &fence, now, Term(TimeDelta::hours(1)));
        l.world.store.write("test", extend).await.unwrap();
    }

    async fn a_page_that_was_on_its_way_does_not_bring_back_what_a_single_read_has_replaced(db) {
        let l = Listening::start(db, json!({ "types": { "Appointment": [topic(Appointment)] } })).await;
        l.begin().await;
        let id = l.ids(Appointment)[0].clone();
        l.world.forward(TimeDelta::minutes(3));
        l.world.ehr.edit("Appointment", &id, |a| a["comment"] = json!("in the page")).unwrap();
        l.world.ehr.plant(Fault::new(FaultKind::PageTimeout { millis: HELD_BACK }).on("GET", "/fhir/Appointment"));
        let asked = l.asked("GET", "/fhir/Appointment?");
        let stop = AtomicBool::new(false);
        let ehr = north();
        let crawl = l.app.sync(&ehr, &[Appointment], &stop, &|_| ());
        let told = async {
            while l.asked("GET", "/fhir/Appointment?") == asked {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
            // The page is made, and on its way.
            l.world.forward(TimeDelta::seconds(1));
            l.edit(Appointment, &id, "fr").await;
            l.round().await;
        };
        let (reports, ()) = tokio::join!(crawl, told);
        assert!(reports.as_ref().unwrap().iter().all(|r| r.failure().is_none()), "{reports:?}");
        l.round().await;
        assert_eq!((&l.stored(Appointment, &id).unwrap()["language"], l.waiting(Appointment)), (&json!("fr"), 0));
        l.assert_same(Appointment);
    }

    async fn what_is_asked_for_of_an_ehr_that_tells_nothing_is_read_too(db) {
        let l = Listening::start(db, json!({})).await;
        let id = l.ids(Appointment)[0].clone();
        l.world.ehr.edit("Appointment", &id, |a| a["language"] = json!("fr")).unwrap();
        let (asked, now) = (id.clone(), l.world.clock.now());
        l.world.store.write("test", move |conn| refresh::ask(conn, &north(), Appointment, &asked, "overlap", now)).await.unwrap();
        let done = l.round().await;
        assert_eq!((done.read, done.changed, l.waiting(Appointment)), (1, 1, 0), "{done:?}");
        assert_eq!(l.stored(Appointment, &id).unwrap()["language"], "fr");
    }
}
