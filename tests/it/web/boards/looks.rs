//! Who sees which page, and that nothing an EHR can send runs in one.

use actix_web::http::Method;
use domain::model::{Right, Role};
use fhir_engage::web::routes::{Access, table};

use super::{EVIL, World};
use crate::support::{Backend, Database, on_both};

/// A path with something in its places that is there.
pub(super) fn filled(path: &str) -> String {
    let id = if path.starts_with("/attempts") { "a1" } else { "lapsed" };
    path.replace("{ehr}", "north").replace("{id}", id)
}

on_both! {
    async fn every_page_answers_those_who_may_see_it_and_nobody_else(db) {
        let world = World::filled(&db);
        let mut seen = 0;
        for row in table().iter().filter(|r| r.method == Method::GET && !r.path.contains("{handle}")) {
            let Access::Staff(right) = row.access else { continue };
            for role in Role::ALL {
                let answer = world.get(&[role], &filled(row.path)).await;
                assert_eq!(answer.status, if role.may(right) { 200 } else { 403 }, "{role} {}: {}", row.path, answer.body);
                seen += 1;
            }
        }
        assert!(seen > 90, "{seen} cells");
    }

    async fn nothing_that_an_ehr_sends_runs_in_a_page(db) {
        let world = World::filled(&db);
        let mut told = 0;
        for row in table().iter().filter(|r| r.method == Method::GET && !r.path.contains("{handle}")) {
            if !matches!(row.access, Access::Staff(_)) {
                continue;
            }
            let html = world.get(&Role::ALL, &filled(row.path)).await.body;
            assert!(!html.contains("<script>") && !html.contains("<img") && !html.contains("<b>no"), "{}: {html}", row.path);
            assert!(!html.contains(" style=") && !html.contains("onclick"), "{}", row.path);
            told += usize::from(html.contains("&#60;script&#62;alert(1)"));
        }
        assert!(told >= 4, "it was shown, as text: {told}");
        assert!(EVIL.contains("onerror"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_are_labelled_and_light() {
    let db = Database::fresh(Backend::Sqlite).unwrap();
    let world = World::filled(&db);
    for row in table().iter().filter(|r| r.method == Method::GET && !r.path.contains("{handle}") && r.path != "/connections/now") {
        if !matches!(row.access, Access::Staff(_)) {
            continue;
        }
        let html = world.get(&Role::ALL, &filled(row.path)).await.body;
        assert_eq!(html.matches("<h1").count(), 1, "{}", row.path);
        assert_eq!(html.matches("<table").count(), html.matches("<caption>").count(), "{}", row.path);
        assert_eq!(
            html.matches("<th ").count(),
            html.matches("scope=\"col\"").count() + html.matches("scope=\"row\"").count(),
            "{}",
            row.path
        );
        // Every field stands in its label; what is hidden needs none.
        let fields = html.matches("<input name").count() + html.matches("<select").count();
        assert_eq!(fields, html.matches("<label>").count(), "{}", row.path);
        for id in html.split("aria-labelledby=\"").skip(1).map(|s| s.split('"').next().unwrap()) {
            assert_eq!(html.matches(&format!("id=\"{id}\"")).count(), 1, "{} {id}", row.path);
        }
        assert_eq!(
            html.matches("method=\"post\"").count(),
            html.matches("name=\"csrf\"").count(),
            "{}: a form without its token",
            row.path
        );
        assert!(html.len() < 100_000, "{} weighs {}", row.path, html.len());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_gateway_says_what_will_stand_where() {
    let db = Database::fresh(Backend::Sqlite).unwrap();
    let world = World::new(&db);
    for (path, words) in [
        ("/connections", "No EHR is connected yet"),
        ("/connections", "fhir-engage ehr add"),
        ("/runs", "Here each sync run will stand"),
        ("/alerts", "Nothing was ever wrong"),
        ("/quarantine", "Nothing is put aside"),
        ("/outreach", "Nobody was to be reached yet"),
        ("/attempts", "No attempt is in this state now"),
        ("/work", "Nothing waits for anybody"),
        ("/writeback", "Nothing was refused, and nothing waits"),
        ("/segments/lapsed/members", "Nobody is in it now"),
    ] {
        let html = world.get(&Role::ALL, path).await.body;
        assert!(html.contains(words), "{path}: {html}");
    }
    assert_eq!(world.get(&Role::ALL, "/connections/nowhere").await.status, 404);
    assert_eq!(world.get(&Role::ALL, "/segments/none").await.status, 404);
    assert_eq!(world.get(&Role::ALL, "/attempts/none").await.status, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_stand_only_where_the_role_may_see_a_patient() {
    let db = Database::fresh(Backend::Sqlite).unwrap();
    let world = World::filled(&db);
    for role in Role::ALL {
        let answer = world.get(&[role], "/work").await;
        if answer.status == 200 {
            assert_eq!(answer.body.contains("Evil"), role.may(Right::SeePatient), "{role}");
            let file = world.get(&[role], "/work?as=csv").await;
            assert!(!file.body.contains("Evil") && file.body.contains("a patient of north"), "{role}: a file may be passed on");
        }
        for path in ["/connections", "/runs", "/outreach", "/attempts?state=refused", "/writebacks", "/segments/lapsed", "/quarantine"] {
            let html = world.get(&[role], path).await.body;
            assert!(!html.contains("Garc") && !html.contains("1980-02-03"), "{role} {path}");
        }
    }
    let looked = World::audited(&db);
    let may = Role::ALL.iter().filter(|r| r.may(Right::SeeWork) && r.may(Right::SeePatient)).count();
    assert_eq!(looked.iter().filter(|l| l.starts_with("view-work")).count(), may, "{looked:?}");
}
