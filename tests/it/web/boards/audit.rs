//! The audit page: who may see it, what it tells, how the chain stands; and that looking at it is in the chain as well.

use domain::model::Phi;
use domain::model::Role::{self, Auditor, CareManager, Operator};
use fhir_engage::store::audit::Entry;

use super::{EVIL, World};
use crate::store::fixtures::at;
use crate::support::on_both;

async fn seen(world: &World, who: &str, what: &'static str, patient: Option<&str>) {
    let entry = Entry {
        at: at(3600),
        who: who.to_owned(),
        roles: "care-manager".to_owned(),
        what,
        patient: patient.map(|id| ("north".to_owned(), Phi::new(id.to_owned()))),
        opening: None,
        about: Some(EVIL.to_owned()),
        why: None,
    };
    world.store().audited(entry).await.unwrap();
}

on_both! {
    async fn an_auditor_sees_who_saw_whom_and_it_is_in_the_chain_that_they_looked(db) {
        let world = World::filled(&db);
        for (who, what, patient) in [("kim", "view-patient", Some("p1")), ("lee", "view-patient", Some("p2")), ("kim", "run-sync", None)] {
            seen(&world, who, what, patient).await;
        }
        let page = world.get(&[Auditor], "/audit").await;
        assert_eq!(page.status, 200);
        for told in ["view-patient", "run-sync", "lee", "p2", "Whether the chain is whole was not looked at yet", "&#60;script&#62;alert(1)"] {
            assert!(page.body.contains(told), "{told}: {}", page.body);
        }
        let narrowed = world.get(&[Auditor], "/audit?what=view-patient&who=lee").await.body;
        assert!(narrowed.contains("p2") && !narrowed.contains("p1<"), "{narrowed}");
        let first = world.get(&[Auditor], "/audit?by=n").await.body;
        assert!(first.find(">1</th>").unwrap() < first.find(">2</th>").unwrap(), "the first one first: {first}");
        let file = world.get(&[Auditor], "/audit?what=run-sync&as=csv").await;
        assert!(file.body.starts_with("\"Row\",\"When\",\"Who\"") && file.body.lines().count() == 2, "{}", file.body);
        assert_eq!(world.get(&[Auditor], "/audit?patient=p1").await.status, 400, "a patient stands in no address");
        let looked = World::audited(&db);
        assert_eq!(looked.iter().filter(|l| l.starts_with("view-audit")).count(), 3, "{looked:?}");
        assert_eq!(looked.iter().filter(|l| l.starts_with("export-audit")).count(), 1, "{looked:?}");
        for role in Role::ALL.into_iter().filter(|r| *r != Auditor) {
            assert_eq!(world.get(&[role], "/audit").await.status, 403, "{role}");
            let nav = world.get(&[role], "/").await.body;
            assert!(!nav.contains("href=\"/audit\""), "{role}");
        }
        assert!(world.get(&[Auditor], "/").await.body.contains("href=\"/audit\""));
    }

    async fn the_rows_of_one_patient_are_asked_for_by_a_form_and_no_address_names_them(db) {
        let world = World::filled(&db);
        for n in 0..60 {
            seen(&world, &format!("user-{}", n % 3), if n % 2 == 0 { "view-patient" } else { "send-message" }, Some("p1")).await;
        }
        seen(&world, "user-9", "view-patient", Some("p2")).await;
        let staff = world.server.staff(&[Auditor]).await;
        let of = |id: &'static str| [("csrf", staff.csrf.clone()), ("ehr", "north".to_owned()), ("id", id.to_owned())];
        let post = async |id| {
            let fields = of(id);
            let fields: Vec<(&str, &str)> = fields.iter().map(|(n, v)| (*n, v.as_str())).collect();
            world.server.post("/audit", &staff.cookie, &fields).await
        };
        let get = async |path: &str| world.server.send("GET", path, &[("Cookie", &staff.cookie)]).await;
        let led = post("Patient/p1").await;
        assert_eq!(led.status, 303, "{}", led.body);
        let place = led.headers["location"].clone();
        assert!(place.starts_with("/audit/") && !place.contains("p1") && !place.contains("north"), "{place}");
        let page = get(&place).await;
        assert!(page.body.contains("user-0") && page.body.contains("user-2") && !page.body.contains("user-9"), "{}", page.body);
        assert!(page.body.contains("Patient p1 of north") && page.body.contains("view-audit"), "that somebody looked is among them: {}", page.body);
        // Filtered, ordered, in pages and as a file, as every other list.
        let narrowed = get(&format!("{place}?what=send-message&who=user-1")).await.body;
        assert_eq!(narrowed.matches("<td role=\"cell\" data-label=\"Who\" class=\"code\">user-1</td>").count(), 10, "{narrowed}");
        assert_eq!(narrowed.matches("rowheader").count(), 10);
        let first = get(&format!("{place}?by=n")).await.body;
        assert!(first.contains(">1</th>") && !first.contains(">60</th>"), "the first one first");
        let next = first.split("\" rel=\"next\"").next().unwrap().rsplit("href=\"").next().unwrap().replace("&#38;", "&");
        assert!(get(&format!("{place}{next}")).await.body.contains(">60</th>"), "{next}");
        let file = get(&format!("{place}?what=view-patient&as=csv")).await;
        assert_eq!(file.headers["content-disposition"], "attachment; filename=\"audit-of-a-patient.csv\"");
        assert_eq!(file.body.lines().count(), 31, "{}", file.body);
        assert!(!file.body.contains("p1") && file.body.contains("user-0"), "a file may be passed on: {}", file.body);
        assert_eq!(get(&format!("{place}?patient=p2")).await.status, 400);
        assert_eq!(get(&format!("{place}?ehr=north")).await.status, 400);
        // Two patients in two tabs.
        let other_place = post("p2").await.headers["location"].clone();
        assert!(get(&other_place).await.body.contains("user-9") && !get(&place).await.body.contains("user-9"));
        // A handle is worth something to its session alone, and opens nothing else.
        let other = world.server.staff(&[Auditor]).await;
        assert_eq!(world.server.send("GET", &place, &[("Cookie", &other.cookie)]).await.status, 404);
        assert_eq!(get("/audit/AAAAAAAAAAAAAAAAAAAAAA").await.status, 404);
        let nobody = get(&post("p7").await.headers["location"]).await.body;
        assert_eq!(nobody.matches("rowheader").count(), 1, "only that it was looked for: {nobody}");
        assert!(post(" ").await.body.contains("Fill in the patient"));
        assert_eq!(world.server.post("/audit", &staff.cookie, &[("ehr", "north"), ("id", "p1")]).await.status, 403, "without the token");
        let manager = world.server.staff(&[CareManager, Operator]).await;
        assert_eq!(world.server.post("/audit", &manager.cookie, &[("csrf", &manager.csrf), ("ehr", "north"), ("id", "p1")]).await.status, 403);
        assert_eq!(world.server.send("GET", &place, &[("Cookie", &manager.cookie)]).await.status, 403);
        let both = world.server.staff(&[Auditor, CareManager]).await;
        let led = world.server.post("/audit", &both.cookie, &[("csrf", &both.csrf), ("ehr", "north"), ("id", "p1")]).await;
        let handle = led.headers["location"].trim_start_matches("/audit/").to_owned();
        assert_eq!(world.server.send("GET", &format!("/l/{handle}"), &[("Cookie", &both.cookie)]).await.status, 403, "it is no patient's page");
    }

    async fn the_chain_is_verified_and_a_row_that_was_changed_is_told(db) {
        let world = World::filled(&db);
        seen(&world, "kim", "view-patient", Some("p1")).await;
        let staff = world.server.staff(&[Auditor]).await;
        let verify = async || {
            let done = world.server.post("/audit/verify", &staff.cookie, &[("csrf", &staff.csrf)]).await;
            assert_eq!((done.status, done.headers["location"].as_str()), (303, "/audit"), "{}", done.body);
            world.server.send("GET", "/audit", &[("Cookie", &staff.cookie)]).await.body
        };
        let whole = verify().await;
        assert!(whole.contains("The chain was walked along") && whole.contains("up to row 1.") && whole.contains("Last found whole on"), "{whole}");
        assert!(whole.contains("data-copy=\"noted\""), "{whole}");
        let later = world.server.send("GET", "/audit", &[("Cookie", &staff.cookie)]).await.body;
        assert!(later.contains("2 rows were added since") && !later.contains("The chain was walked along"), "{later}");
        db.execute("UPDATE audit SET who = 'nobody' WHERE number = 1");
        let broken = verify().await;
        assert!(broken.contains("Broken, as of") && broken.contains("row 1 is not what was written"), "{broken}");
        assert!(broken.contains("It was last found whole on"), "{broken}");
        let alerts: Vec<String> = db.lines("SELECT kind || ' ' || says AS line FROM alert_condition");
        assert!(alerts.len() == 1 && alerts[0].starts_with("audit the audit chain is broken: row 1"), "{alerts:?}");
    }

    async fn what_an_act_has_to_say_is_told_once_by_whichever_node_shows_the_next_page(db) {
        let world = World::filled(&db);
        let other = crate::web::fixture::Server::of(world.app.web_state(None).unwrap(), world.server.clock.clone());
        let staff = world.server.staff(&[Operator]).await;
        let form = [("csrf", staff.csrf.as_str()), ("ehr", "north"), ("type", "Patient")];
        assert_eq!(world.server.post("/connections/run", &staff.cookie, &form).await.status, 303);
        let there = other.send("GET", "/connections", &[("Cookie", &staff.cookie)]).await.body;
        assert!(there.contains("Asked for 1 type; a worker takes it in a moment."), "{there}");
        for server in [&world.server, &other] {
            let again = server.send("GET", "/connections", &[("Cookie", &staff.cookie)]).await.body;
            assert!(!again.contains("Asked for 1 type"), "it is told once: {again}");
        }
    }
}
