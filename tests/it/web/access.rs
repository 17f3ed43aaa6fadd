//! Who is let in by a session: every staff route against every role, the ways in and out, and forms from elsewhere.

use actix_web::http::Method;
use chrono::TimeDelta;
use domain::model::{Right, Role, Roles};
use fhir_engage::smart::NewOpening;
use fhir_engage::web::routes::{Access, table};

use super::fixture::{Answer, Server};
use crate::store::fixtures::at;
use crate::support::{Backend, Database, on_both};

const NOT_FOR_ROLE: &str = "none of your roles allows this";

/// A row's path with something in its places.
fn path(pattern: &str) -> String {
    pattern.replace("{handle}", "AAAAAAAAAAAAAAAAAAAAAA").replace("{token}", "x").replace("{id}", "1").replace("{ehr}", "north")
}

fn cookie_of(answer: &Answer) -> String {
    let set = &answer.headers["set-cookie"];
    assert!(set.ends_with("; Path=/; Secure; HttpOnly; SameSite=None; Partitioned"), "{set}");
    set.split(';').next().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_staff_route_lets_exactly_the_roles_of_the_table_in() {
    let db = Database::fresh(Backend::Sqlite).unwrap();
    let server = Server::start(&db.store());
    let mut asked = 0;
    for row in table() {
        let Access::Staff(right) = row.access else { continue };
        let method = row.method.as_str();
        let path = path(row.path);
        assert_eq!(server.send(method, &path, &[]).await.status, 401, "{method} {path} without a session");
        assert_eq!(server.send(method, &path, &[("Cookie", "engage=made-up")]).await.status, 401, "{method} {path}");
        for role in Role::ALL {
            let staff = server.staff(&[role]).await;
            let answer = server.send(method, &path, &[("Cookie", &staff.cookie)]).await;
            let refused = answer.status == 403 && answer.body.contains(NOT_FOR_ROLE);
            assert_eq!(refused, !role.may(right), "{role} {method} {path}: {}", answer.status);
            assert_ne!(answer.status, 401, "{role} {method} {path}");
            asked += 1;
        }
    }
    assert!(asked >= Role::ALL.len(), "there are staff routes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_without_a_session_is_sent_to_sign_in_and_comes_back_by_a_local_path() {
    let db = Database::fresh(Backend::Sqlite).unwrap();
    let server = Server::start(&db.store());
    let page = server.send("GET", "/?q=Zzyzx", &[("Accept", "text/html,*/*")]).await;
    assert_eq!((page.status, page.headers["location"].as_str()), (303, "/signin?back=%2F"), "the query stays behind");
    let nested = server.send("GET", "/", &[("Sec-Fetch-Mode", "navigate")]).await;
    assert_eq!(nested.status, 303);
    for headers in [vec![], vec![("Sec-Fetch-Mode", "cors"), ("Accept", "text/html")], vec![("Accept", "application/json")]] {
        let answer = server.send("GET", "/", &headers).await;
        assert_eq!((answer.status, answer.headers["content-type"].as_str()), (401, "application/problem+json"));
    }
    assert_eq!(server.send("POST", "/signout", &[("Accept", "text/html")]).await.status, 401);
}

on_both! {
    async fn a_link_signs_in_once_and_for_its_roles(db) {
        let server = Server::start(&db.store());
        let sessions = server.sessions.clone().unwrap();
        assert!(!sessions.was_used().await.unwrap());
        let token = sessions.make_link(Roles::of(&[Role::Auditor]), TimeDelta::minutes(10)).await.unwrap();
        let stored = db.lines("SELECT token AS line FROM sign_in_link");
        assert!(stored.len() == 1 && !stored[0].contains(token.expose()), "a link is stored as a hash");
        let page = format!("/signin/once/{}", token.expose());
        for _ in 0..3 {
            let shown = server.get(&page).await;
            assert_eq!(shown.status, 200, "to look at it uses nothing up");
            assert!(shown.body.contains(token.expose()) && !shown.headers.contains_key("set-cookie"));
        }
        let fields = [("token", token.expose())];
        let foreign = server.post_from("/signin/once", "", &[("Sec-Fetch-Site", "cross-site")], &fields).await;
        assert_eq!(foreign.status, 403, "nobody signs somebody else in from another site");
        // Whatever the browser had before is worth nothing afterwards.
        let fixed = "engage=an-attackers-choice";
        let inside = server.post("/signin/once", fixed, &fields).await;
        assert_eq!((inside.status, inside.headers["location"].as_str()), (303, "/"));
        let cookie = cookie_of(&inside);
        assert_ne!(cookie, fixed);
        assert_eq!(server.send("GET", "/", &[("Cookie", fixed)]).await.status, 401);
        let overview = server.send("GET", "/", &[("Cookie", &cookie)]).await;
        assert!(overview.status == 200 && overview.body.contains("(auditor)"), "{}", overview.body);
        assert!(sessions.was_used().await.unwrap());
        assert_eq!(server.post("/signin/once", "", &fields).await.status, 410);
        assert_eq!(server.get(&page).await.status, 410);
        let late = sessions.make_link(Roles::all(), TimeDelta::minutes(10)).await.unwrap();
        server.clock.set(at(3600).plus(TimeDelta::minutes(10)));
        assert_eq!(server.post("/signin/once", "", &[("token", late.expose())]).await.status, 410);
        let cookies = db.lines("SELECT id AS line FROM session");
        assert!(cookies.iter().all(|id| !cookie.contains(id.as_str())), "a cookie's value is stored as a hash");
    }

    async fn signing_out_ends_the_session_and_needs_our_own_form(db) {
        let server = Server::start(&db.store());
        let (kim, other) = (server.staff(&[Role::FrontDesk]).await, server.staff(&[Role::FrontDesk]).await);
        let sent = |from: &'static [(&'static str, &'static str)], token: &str| {
            let fields = [("csrf".to_owned(), token.to_owned())];
            let (server, cookie) = (&server, kim.cookie.clone());
            async move {
                let fields: Vec<(&str, &str)> = fields.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
                server.post_from("/signout", &cookie, from, &fields).await
            }
        };
        for (from, token) in [
            (&[("Sec-Fetch-Site", "cross-site")][..], kim.csrf.as_str()),
            (&[("Sec-Fetch-Site", "same-site")], &kim.csrf),
            (&[("Sec-Fetch-Site", "none")], &kim.csrf),
            (&[("Origin", "https://evil.example.org")], &kim.csrf),
            (&[("Origin", "null")], &kim.csrf),
            (&[], &kim.csrf),
            (&[("Sec-Fetch-Site", "same-origin")], &other.csrf),
            (&[("Sec-Fetch-Site", "same-origin")], ""),
        ] {
            let answer = sent(from, token).await;
            assert_eq!(answer.status, 403, "{from:?}");
            assert!(answer.body.contains("Nothing was done"), "{}", answer.body);
        }
        assert_eq!(server.post("/signout", &kim.cookie, &[("csrf", &kim.csrf), ("csrf", &kim.csrf)]).await.status, 403, "twice");
        assert_eq!(server.send("GET", "/", &[("Cookie", &kim.cookie)]).await.status, 200, "none of these did anything");
        let own = format!("http://{}", server.address);
        let out = server.post_from("/signout", &kim.cookie, &[("Origin", &own)], &[("csrf", &kim.csrf)]).await;
        assert_eq!((out.status, out.headers["location"].as_str()), (303, "/signin"));
        assert!(out.headers["set-cookie"].contains("Max-Age=0"));
        assert_eq!(server.send("GET", "/", &[("Cookie", &kim.cookie)]).await.status, 401);
        assert_eq!(server.send("GET", "/", &[("Cookie", &other.cookie)]).await.status, 200, "only that session ended");
    }

    async fn an_opening_is_of_its_session_and_of_its_time(db) {
        let server = Server::start(&db.store());
        let sessions = server.sessions.clone().unwrap();
        let (kim, other) = (server.staff(&[Role::FrontDesk]).await, server.staff(&[Role::FrontDesk]).await);
        let new = NewOpening::found("north".to_owned(), "p1".to_owned().into(), Roles::of(&[Role::FrontDesk]));
        let handle = sessions.open(&kim.session, new).await.unwrap();
        let opening = sessions.opening(&handle, &kim.session).await.unwrap().unwrap();
        assert_eq!((opening.what.patient.expose().as_str(), opening.what.banner), ("p1", true));
        assert!(opening.may(Right::SeePatient) && !opening.may(Right::SeeClinical));
        assert!(!format!("{opening:?}").contains("p1"), "who is open is in no log");
        assert!(sessions.opening(&handle, &other.session).await.unwrap().is_none());
        assert!(sessions.opening("AAAAAAAAAAAAAAAAAAAAAA", &kim.session).await.unwrap().is_none());
        server.clock.set(at(3600).plus(TimeDelta::hours(8)));
        assert!(sessions.opening(&handle, &kim.session).await.unwrap().is_none());
        server.clock.set(at(3600));
        sessions.end(&kim.session).await.unwrap();
        assert!(sessions.opening(&handle, &kim.session).await.unwrap().is_none());
    }

    async fn a_session_ends_when_it_is_idle_and_when_it_is_old(db) {
        let server = Server::start(&db.store());
        let kim = server.staff(&[Role::Operator]).await;
        let status = |minutes: i64| {
            server.clock.set(at(3600).plus(TimeDelta::minutes(minutes)));
            let (server, cookie) = (&server, kim.cookie.clone());
            async move { server.send("GET", "/", &[("Cookie", &cookie)]).await.status }
        };
        for minutes in (0..12 * 60).step_by(29) {
            assert_eq!(status(minutes).await, 200, "used again and again, after {minutes} minutes");
        }
        assert_eq!(status(12 * 60).await, 401, "whatever is done with it");
        let other = server.staff(&[Role::Operator]).await;
        server.clock.set(at(3600).plus(TimeDelta::minutes(12 * 60 + 31)));
        assert_eq!(server.send("GET", "/", &[("Cookie", &other.cookie)]).await.status, 401, "idle for 31 minutes");
    }
}

#[test]
fn every_post_of_staff_is_a_row_of_its_own() {
    // A POST that is open is one of these, and each checks where it comes from.
    let open: Vec<&str> = table().iter().filter(|r| r.access == Access::Open && r.method == Method::POST).map(|r| r.path).collect();
    assert_eq!(open, ["/signin/once", "/notifications/{token}", "/notifications/{token}/{type}/{id}"]);
    assert!(table().iter().any(|r| r.access == Access::Staff(Right::SeeOverview)));
}
