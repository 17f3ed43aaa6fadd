//! What the page shows, to whom, and that it is in the audit chain before it is sent.

use domain::model::Role::{CareManager, Clinician, Engagement, FrontDesk, Operator};

use super::world::World;
use crate::support::on_both;

on_both! {
    async fn the_page_tells_the_patient_and_each_reason_with_its_field(db) {
        let world = World::new(db).await;
        let open = world.open(&[Clinician], "ann").await;
        let page = world.page(&open).await;
        for shown in ["Ann Quill", "4 Mar 1961", "MRN-7", "Thu 14 Jan 2027, 11:00", "Eye check", "with Dr. Ng", "at Main House", "not confirmed",
            "Diabetes", "1 activity open", "Visit within 72 hours not confirmed", "Recorded; nothing was sent", "555-0111", "ann@example.org",
            "Appointment.start in north (Appointment/visit-ann"] {
            assert!(page.contains(shown), "{shown} is not in\n{page}");
        }
        assert!(!page.contains("Bob") && !page.contains("visit-bob"), "another patient is shown");
        assert!(page.contains("<title>Patient - ") && page.len() < 100_000);
    }

    async fn the_front_desk_sees_nothing_clinical_and_an_operator_nothing_at_all(db) {
        let world = World::new(db).await;
        let desk = world.page(&world.open(&[FrontDesk], "ann").await).await;
        assert!(desk.contains("Eye check") && !desk.contains("Diabetes") && !desk.contains("Care plan"), "{desk}");
        assert!(desk.contains("Record a call or a visit") && desk.contains("Move it"));
        let team = world.page(&world.open(&[Engagement], "ann").await).await;
        assert!(!team.contains("Record a call") && !team.contains("Stop it") && !team.contains("Send a message"));
        let operator = world.open(&[Operator], "ann").await;
        assert_eq!(world.get(&operator, "").await.status, 403);
        // An opening allows no more than it was made for, whatever the session may.
        let both = [CareManager, FrontDesk];
        let staff = crate::support::Staff::new(&world.app.sessions(), "lee", &both).await;
        let narrow = world.open_for(staff, &[FrontDesk], "ann").await;
        assert!(!world.page(&narrow).await.contains("Diabetes"));
    }

    async fn a_view_is_in_the_chain_before_the_page_is_sent(db) {
        let world = World::new(db).await;
        let open = world.open(&[Clinician], "ann").await;
        world.page(&open).await;
        let rows = world.lines("SELECT who || ' ' || roles || ' ' || what || ' ' || ehr || '/' || patient || ' ' || why AS line FROM audit ORDER BY number");
        assert_eq!(rows, ["kim at https://login.example.org clinician view-patient north/ann found"]);
        // Where the chain cannot be written, nothing is shown.
        world.db.execute("DELETE FROM audit_head");
        let refused = world.get(&open, "").await;
        assert_eq!(refused.status, 500);
        assert!(!refused.body.contains("Quill"));
    }

    async fn a_patient_who_was_not_synced_is_asked_for_and_then_shown(db) {
        let world = World::new(db).await;
        let now = domain::Clock::now(world.clock.as_ref());
        world.ehr.load(crate::patient::world::patient("cyd", "", now).iter().map(ToString::to_string)).unwrap();
        let open = world.open(&[Clinician], "cyd").await;
        let page = world.page(&open).await;
        assert!(page.contains("This patient is not here yet") && page.contains("data-live") && !page.contains("Ann"), "{page}");
        assert_eq!(world.app.refresh_patients().await.unwrap().0, 1);
        let moved = world.get(&open, "/reading").await.body;
        assert!(moved.contains("Read again from the EHR just now"), "{moved}");
        let page = world.page(&open).await;
        assert!(page.contains("Ann Quill") && page.contains("Eye check") && page.contains("Diabetes") && page.contains("No outreach yet"), "{page}");
    }

    async fn what_changed_in_the_ehr_is_read_when_somebody_looks(db) {
        let world = World::new(db).await;
        world.clock.advance(chrono::TimeDelta::minutes(10));
        world.ehr.edit("Appointment", "visit-ann", |a| a["description"] = "Ear check".into()).unwrap();
        let open = world.open(&[Clinician], "ann").await;
        let before = world.page(&open).await;
        assert!(before.contains("Eye check") && before.contains("Being read again from the EHR now"), "{before}");
        world.app.refresh_patients().await.unwrap();
        let after = world.page(&open).await;
        assert!(after.contains("Ear check") && !after.contains("Eye check") && after.contains("Read again from the EHR just now"), "{after}");
    }

    async fn an_ehr_that_is_down_is_told_and_takes_nothing_from_the_page(db) {
        let world = World::new(db).await;
        let open = world.open(&[Clinician], "ann").await;
        world.page(&open).await;
        world.db.execute("UPDATE ehr SET profile = '{\"base_url\":\"http://127.0.0.1:9/fhir\",\"auth\":{\"kind\":\"none\"}}'");
        let (read, failures) = world.app.refresh_patients().await.unwrap();
        assert_eq!((read, failures.len()), (0, 1));
        let page = world.page(&open).await;
        assert!(page.contains("The EHR could not be read") && page.contains("Eye check"), "{page}");
    }

    async fn every_segment_says_why_and_why_not(db) {
        let world = World::new(db).await;
        let open = world.open(&[Clinician], "ann").await;
        let page = world.get(&open, "/segments").await;
        assert_eq!(page.status, 200, "{}", page.body);
        let parts: Vec<&str> = page.body.split("<section class=\"card").skip(1).collect();
        assert!(parts[0].contains("Visit within 72 hours not confirmed") && parts[0].contains("Appointment.start in north"), "{}", parts[0]);
        assert!(parts[2].matches("<details").count() > 10 && parts[2].contains("<li>"), "{}", parts[2]);
        let desk = world.get(&world.open(&[FrontDesk], "ann").await, "/segments").await.body;
        assert!(desk.contains("Clinical segments are not shown") && !desk.contains("care plan"), "{desk}");
        assert_eq!(world.get(&world.open(&[Operator], "ann").await, "/segments").await.status, 403);
        assert_eq!(world.get(&world.open(&[Clinician], "nobody").await, "/segments").await.status, 404);
        let told = world.lines("SELECT what AS line FROM audit WHERE what = 'explain-segments'");
        assert_eq!(told.len(), 3, "that somebody looked");
    }

    async fn of_how_many_it_is_not_known_is_kept_day_by_day(db) {
        let world = World::new(db).await;
        let days = || {
            world.lines(
                "SELECT CAST(d.unknown AS TEXT) AS line FROM membership_day d JOIN definition f ON f.number = d.segment
                 WHERE f.id = 'diabetes' AND d.unknown IS NOT NULL ORDER BY d.day",
            )
        };
        assert_eq!(days(), ["2"], "no condition was read of anybody");
        world.clock.advance(chrono::TimeDelta::days(2));
        let now = domain::Clock::now(world.clock.as_ref());
        world.ehr.load(crate::patient::world::patient("cyd", "", now).iter().map(ToString::to_string)).unwrap();
        world.cycle().await;
        assert_eq!(days(), ["2", "3"]);
        let staff = crate::support::Staff::new(&world.app.sessions(), "lee", &[Operator]).await;
        let page = world.server.send("GET", "/segments/diabetes", &[("Cookie", &staff.cookie)]).await.body;
        let chart = page.split("Of whom it is not known").nth(1).unwrap();
        let rows: Vec<&str> = chart.split("<tr role=\"row\"><th role=\"rowheader\"").skip(1).take(3).collect();
        // Three days, the latest first: what did not change on a day is as it was.
        for (row, (day, n)) in rows.iter().zip([("14 Jan", "3"), ("13 Jan", "2"), ("12 Jan", "2")]) {
            assert!(row.contains(day) && row.contains(&format!(">{n}</td>")), "{day} {n}: {row}");
        }
    }
}
