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

    async fn the_rows_of_one_patient_are_asked_for_by_a_form(db) {
        let world = World::filled(&db);
        for n in 0..3 {
            seen(&world, &format!("user-{n}"), "view-patient", Some("p1")).await;
        }
        seen(&world, "user-9", "view-patient", Some("p2")).await;
        let staff = world.server.staff(&[Auditor]).await;
        let of = |id: &'static str| [("csrf", staff.csrf.clone()), ("ehr", "north".to_owned()), ("id", id.to_owned())];
        let post = async |id| {
            let fields = of(id);
            let fields: Vec<(&str, &str)> = fields.iter().map(|(n, v)| (*n, v.as_str())).collect();
            world.server.post("/audit", &staff.cookie, &fields).await
        };
        let page = post("p1").await;
        assert_eq!(page.status, 200, "{}", page.body);
        assert!(page.body.contains("user-0") && page.body.contains("user-2") && !page.body.contains("user-9"), "{}", page.body);
        assert!(page.body.contains("view-audit"), "that somebody looked is among them: {}", page.body);
        assert!(post("p7").await.body.contains("1 row."), "only that it was looked for");
        assert!(post(" ").await.body.contains("Fill in the patient"));
        assert_eq!(world.server.post("/audit", &staff.cookie, &[("ehr", "north"), ("id", "p1")]).await.status, 403, "without the token");
        let other = world.server.staff(&[CareManager, Operator]).await;
        assert_eq!(world.server.post("/audit", &other.cookie, &[("csrf", &other.csrf), ("ehr", "north"), ("id", "p1")]).await.status, 403);
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
        assert!(whole.contains("The chain was walked along") && whole.contains("Whole up to row 1"), "{whole}");
        assert!(whole.contains("data-copy=\"noted\""), "{whole}");
        let later = world.server.send("GET", "/audit", &[("Cookie", &staff.cookie)]).await.body;
        assert!(later.contains("2 rows were added since") && !later.contains("The chain was walked along"), "{later}");
        db.execute("UPDATE audit SET who = 'nobody' WHERE number = 1");
        let broken = verify().await;
        assert!(broken.contains("Broken, as of") && broken.contains("row 1 is not what was written"), "{broken}");
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
