//! Finding patients, members by name, and what stands behind both: labels and days.

use domain::model::{ResourceType, Role};
use fhir_engage::store::memberships::State;
use fhir_engage::store::stops::{self, Scope};
use fhir_engage::store::{days, labels};

use super::{World, members, patient};
use crate::store::fixtures::{at, commit, incoming, read, write};
use crate::support::{Backend, Database, Staff, on_both};

async fn find(world: &World, staff: &Staff, fields: &[(&str, &str)]) -> super::Answer {
    let all: Vec<(&str, &str)> = [("csrf", staff.csrf.as_str())].into_iter().chain(fields.iter().copied()).collect();
    world.server.post("/patients", &staff.cookie, &all).await
}

on_both! {
    async fn a_patient_is_found_by_name_birth_date_or_id_and_opened(db) {
        let world = World::filled(&db);
        patient(world.store(), "p9", "Josefa", "Garcia", "1980-02-03");
        let staff = world.server.staff(&[Role::FrontDesk]).await;
        for (fields, found) in [
            (&[("family", "GARCIA LOPEZ")][..], 1),
            (&[("family", "garc")][..], 2),
            (&[("family", "garc"), ("given", "jose")][..], 2),
            (&[("family", "garc"), ("given", "josef")][..], 1),
            (&[("born", "1980-02-03")][..], 2),
            (&[("family", "garcía"), ("born", "1980-02-04")][..], 0),
            (&[("given", "José")][..], 0),
            (&[("ehr", "north"), ("id", "p1")][..], 1),
            (&[("ehr", "north"), ("id", "nobody")][..], 0),
            (&[("family", "%")][..], 0),
            (&[("family", "g' OR '1'='1")][..], 0),
            (&[("family", "a\0b")][..], 0),
        ] {
            let answer = find(&world, &staff, fields).await;
            assert_eq!(answer.status, 200, "{fields:?}");
            let forms = answer.body.matches("action=\"/patients/open\"").count();
            assert_eq!(forms, found, "{fields:?}: {}", answer.body);
            assert!(!answer.body.contains("as=csv"), "what was found has no address");
        }
        let empty = find(&world, &staff, &[]).await;
        assert!(empty.body.contains("Fill in a family name"), "{}", empty.body);
        let evil = find(&world, &staff, &[("family", "<script>alert(1)")]).await;
        assert!(!evil.body.contains("<script>a"), "{}", evil.body);

        let all = [("csrf", staff.csrf.as_str()), ("ehr", "north"), ("patient", "p9")];
        let opened = world.server.post("/patients/open", &staff.cookie, &all).await;
        let to = opened.headers["location"].clone();
        assert!(opened.status == 303 && to.starts_with("/l/") && !to.contains("p9"), "{to}");
        assert_eq!(world.server.send("GET", &to, &[("Cookie", &staff.cookie)]).await.status, 200);
        let other = world.server.staff(&[Role::FrontDesk]).await;
        assert_eq!(world.server.send("GET", &to, &[("Cookie", &other.cookie)]).await.status, 404, "it is of that session only");
        let nobody = [("csrf", staff.csrf.as_str()), ("ehr", "north"), ("patient", "nobody")];
        assert_eq!(world.server.post("/patients/open", &staff.cookie, &nobody).await.status, 404);
        let rows = db.lines("SELECT what || ' ' || COALESCE(ehr, '-') || ' ' || COALESCE(patient, '-') AS line FROM audit ORDER BY number");
        assert_eq!(rows.iter().filter(|r| r.as_str() == "find-patient - -").count(), 13, "{rows:?}");
        assert!(rows.contains(&"open-patient north p9".to_owned()), "{rows:?}");
    }

    async fn members_stand_by_name_page_by_page_and_that_somebody_looked_is_noted(db) {
        let world = World::new(&db);
        let store = world.store();
        let profile = fhir_engage::ehr::profile::Profile { base_url: Some("http://127.0.0.1:9/fhir".parse().unwrap()), ..Default::default() };
        write(store, |c| fhir_engage::store::ehrs::put(c, &crate::store::fixtures::ehr(), &profile.to_json(), at(0)));
        let who: Vec<(i64, State)> = (0..60).map(|n| (patient(store, &format!("q{n:02}"), "Given", &format!("Family{n:02}"), "1960-01-01").person, State::In)).collect();
        members(&world.app, "lapsed", &who);
        let walk = async |first: &str| {
            let (mut path, mut seen) = (format!("/segments/lapsed/members{first}"), Vec::new());
            loop {
                let page = world.get(&[Role::CareManager], &path).await;
                assert_eq!(page.status, 200);
                let names = page.body.split("rowheader\" scope=\"row\">").skip(1).map(|n| n.split('<').next().unwrap().to_owned());
                seen.extend(names);
                let Some(rest) = page.body.split("\" rel=\"next\"").next().filter(|b| b.len() < page.body.len()) else { return seen };
                path = format!("/segments/lapsed/members{}", rest.rsplit("href=\"").next().unwrap().replace("&#38;", "&"));
            }
        };
        let expected: Vec<String> = (0..60).map(|n| format!("Given Family{n:02}")).collect();
        assert_eq!(walk("").await, expected);
        let backwards: Vec<String> = expected.iter().rev().cloned().collect();
        assert_eq!(walk("?by=name&down=1").await, backwards);
        assert_eq!(walk("?by=since&ehr=north").await.len(), 60);
        assert_eq!(world.get(&[Role::CareManager], "/segments/lapsed/members?name=Given").await.status, 400, "a name stands in no address");
        let file = world.get(&[Role::Engagement], "/segments/lapsed/members?as=csv").await;
        assert_eq!(file.body.lines().count(), 61);
        let rows = World::audited(&db);
        assert_eq!(rows.iter().filter(|r| r.starts_with("view-members segment lapsed")).count(), 6, "{rows:?}");
        assert_eq!(rows.iter().filter(|r| r.starts_with("export-members segment lapsed")).count(), 1, "{rows:?}");
        // More than a file holds: in the order in which they became known, each page along the index.
        let number = world.app.definitions.by_id("lapsed").unwrap().number;
        db.execute(&format!(
            "INSERT INTO membership (person, segment, version, state, since, entry, reasons)
             WITH RECURSIVE n (i) AS (SELECT 1000000 UNION ALL SELECT i + 1 FROM n WHERE i < 1010000)
             SELECT i, {number}, 1, 'in', 1, 1, (SELECT reasons FROM membership LIMIT 1) FROM n"
        ));
        assert_eq!(walk("").await, expected);
        assert_eq!(world.get(&[Role::CareManager], "/segments/lapsed/members?by=name").await.status, 400);
        db.execute("DELETE FROM membership WHERE person >= 1000000");
        // The history that the charts are drawn from.
        let all = read(store, |c| days::since(c, &[number], 0));
        assert_eq!(all.iter().map(|d| (d.entered, d.exited)).collect::<Vec<_>>(), [(60, 0)]);
        let chart = world.get(&[Role::CareManager], "/segments/lapsed").await.body;
        assert!(chart.contains("<dd>60</dd>") && chart.contains("<path class=\"line c1\""), "{chart}");
    }

    async fn labels_follow_what_is_read_and_are_made_for_what_was_read_before(db) {
        let world = World::filled(&db);
        let store = world.store();
        let find = |family: &str| {
            let sought = labels::Sought { family: family.to_owned().into(), ..labels::Sought::default() };
            read(store, |c| labels::find(c, &sought, 10)).into_iter().map(|f| f.fhir_id).collect::<Vec<_>>()
        };
        assert_eq!(find("garcia"), ["p1"]);
        let facts = "{\"name\":{\"given\":\"José\",\"family\":\"Núñez\"}}";
        commit(store, ResourceType::Patient, vec![incoming(store, ResourceType::Patient, "p1", "{\"n\":2}", facts, &["p1"])]);
        assert_eq!((find("garcia"), find("nunez")), (vec![], vec!["p1".to_owned()]));
        // As after an upgrade: there are records, and none has a label.
        db.execute("DELETE FROM patient_label");
        db.execute("INSERT INTO installation (name, value) VALUES ('labelled-up-to', '0')");
        while write(store, |c| labels::catch_up(c, 1)) {}
        assert_eq!(find("nunez"), ["p1"]);
        assert!(!write(store, |c| labels::catch_up(c, 1)), "it is over");
    }
}

#[test]
fn a_stop_holds_what_it_names_and_one_that_cannot_be_read_holds_all() {
    let db = Database::fresh(Backend::Sqlite).unwrap();
    let store = db.store();
    for (scope, name) in [(Scope::Program, "visit-confirm"), (Scope::Channel, "email"), (Scope::All, "")] {
        assert!(write(&store, |c| stops::begin(c, (scope, name), "why", "kim", at(1))));
        assert!(!write(&store, |c| stops::begin(c, (scope, name), "why", "kim", at(2))), "once");
    }
    let all = read(&store, stops::in_force);
    let holds: Vec<[bool; 3]> =
        all.iter().map(|s| [s.holds("visit-confirm", "recorded"), s.holds("welcome", "email"), s.holds("welcome", "recorded")]).collect();
    assert_eq!(holds, [[true, false, false], [false, true, false], [true, true, true]]);
    assert!(stops::Stop { scope: "?".to_owned(), ..all[0].clone() }.holds("welcome", "recorded"));
    assert!(
        write(&store, |c| stops::end(c, (Scope::All, ""), "kim", at(3)))
            && !write(&store, |c| stops::end(c, (Scope::All, ""), "kim", at(3)))
    );
    assert_eq!(read(&store, |c| stops::latest(c, 10)).len(), 3, "what is over stays");
}
