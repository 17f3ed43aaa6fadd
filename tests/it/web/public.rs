//! The listener that others may reach answers what is public, and nothing that operators need.

use std::time::Duration;

use domain::model::Role;
use fhir_engage::credentials::jwks::MAX_AGE;
use fhir_engage::web::routes::{Access, table};
use fhir_engage::web::{ServeError, serve_apart};
use fhir_engage::worker::Stop;

use super::fixture::{Server, fill, state};
use crate::support::{Backend, Database, Staff, sessions};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_is_public_answers_there() {
    let db = Database::fresh(Backend::Sqlite).unwrap();
    fill(&db.store());
    let stop = Stop::new();
    let any = || "127.0.0.1:0".parse().unwrap();
    let served = serve_apart(state(&db.store()), any(), Some(any()), stop.clone()).unwrap();
    let (all, public) = (Server::seen_at(served.address), Server::seen_at(served.public.unwrap()));
    for row in table() {
        let path = row.path.replace("/assets/{name}", &fhir_engage::web::script_path());
        let answers = |body: &str| !body.contains("nothing at this path");
        // In place of the way in, and of the overview, stands a page that says so.
        let instead = ["/", "/signin"].contains(&path.as_str());
        assert_eq!(answers(&public.get(&path).await.body), row.public || instead, "{}", row.path);
        assert!(answers(&all.get(&path).await.body), "{}", row.path);
        if row.public && !matches!(row.access, Access::Open) {
            assert_ne!(public.get(&path).await.status, 200, "{}: nobody is signed in", row.path);
        }
    }
    let mut open: Vec<&str> = table().iter().filter(|r| r.public).map(|r| r.path).collect();
    open.dedup();
    let expected = [
        "/launch",
        "/launch/{ehr}",
        "/callback",
        "/signout",
        "/assets/{name}",
        "/l/{handle}",
        "/l/{handle}/reading",
        "/l/{handle}/segments",
        "/l/{handle}/message",
        "/l/{handle}/contact",
        "/l/{handle}/preference",
        "/l/{handle}/stop",
        "/l/{handle}/move",
        "/.well-known/jwks.json",
        "/notifications/{token}",
        "/notifications/{token}/{type}/{id}",
    ];
    assert_eq!(open, expected, "launches, notifications, the public keys and the script");
    for path in ["/", "/signin"] {
        let page = public.get(path).await;
        assert_eq!(
            (page.status, page.body.contains("You are signed out"), page.body.contains("<a href=\"/")),
            (200, true, false),
            "{path}: {}",
            page.body
        );
        assert_eq!(public.send("POST", path, &[]).await.status, 404, "{path}");
    }
    let staff = Staff::new(&sessions(&db.store(), all.clock.clone()), "kim", &[Role::Clinician]).await;
    let out = public.post("/signout", &staff.cookie, &[("csrf", &staff.csrf)]).await;
    assert_eq!((out.status, out.headers["location"].as_str()), (303, "/signin"), "{}", out.body);
    let keys = public.get("/.well-known/jwks.json").await;
    assert_eq!(keys.headers["cache-control"], format!("public, max-age={}", MAX_AGE.num_seconds()), "rotations go by it");
    // A port that is taken is told before anything is served.
    let taken = serve_apart(state(&db.store()), any(), Some(served.address), Stop::new());
    assert!(matches!(taken, Err(ServeError::Bind { .. })));
    stop.request();
    tokio::time::timeout(Duration::from_secs(20), served.running).await.unwrap().unwrap();
}
