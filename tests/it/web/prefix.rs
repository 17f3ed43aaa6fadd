//! Below a path of a host that others share: behind a proxy that takes the path off, and behind one that leaves it.

use std::sync::Arc;

use domain::clock::ManualClock;
use domain::model::Role;
use fhir_engage::web::WebState;
use fhir_engage::web::routes::table;

use super::fixture::{Server, fill, state};
use crate::store::fixtures::at;
use crate::support::{Backend, Database};

fn below(db: &Database, url: &str) -> Server {
    let clock = Arc::new(ManualClock::at(at(3600)));
    Server::of(WebState { external: Some(url.parse().unwrap()), ..state(&db.store()) }, clock)
}

/// The addresses in a page that lead to this host.
fn addresses(body: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for name in [" href=\"", " src=\"", " action=\"", " formaction=\"", " data-live=\""] {
        found.extend(body.split(name).skip(1).filter_map(|rest| rest.split('"').next()).filter(|to| to.starts_with('/')));
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_redirects_and_keys_stay_below_the_path() {
    let db = Database::fresh(Backend::Sqlite).unwrap();
    fill(&db.store());
    let server = below(&db, "http://apps.example.org/engage/");
    let staff = server.staff(&Role::ALL).await;
    let html = [("Cookie", staff.cookie.as_str()), ("Accept", "text/html")];
    let mut seen = 0;
    for row in table().iter().filter(|row| row.method == "GET" && !row.path.contains('{') && !row.path.starts_with("/api")) {
        // One proxy takes the path off, another leaves it: the answer is the same.
        let without = server.send("GET", row.path, &html).await;
        let with = server.send("GET", &format!("/engage{}", row.path), &html).await;
        assert_eq!((with.status, with.headers.get("location")), (without.status, without.headers.get("location")), "{}", row.path);
        if let Some(to) = with.headers.get("location").filter(|to| to.starts_with('/')) {
            assert!(to.starts_with("/engage/"), "{}: {to}", row.path);
        }
        for to in addresses(&with.body) {
            assert!(to.starts_with("/engage/") && !to.starts_with("/engage/engage"), "{}: {to}", row.path);
        }
        seen += usize::from(with.status == 200 && !addresses(&with.body).is_empty());
    }
    assert!(seen >= 10, "pages with addresses: {seen}");
    for path in ["/engage", "/engage/", "/engage/?x=1"] {
        assert_eq!(server.send("GET", path, &html).await.status, 200, "{path}");
    }
    for path in ["/engaged/", "/other/connections", "/engage/engage/"] {
        assert_eq!(server.send("GET", path, &html).await.status, 404, "{path}");
    }
    let out = server.send("GET", "/engage/connections?ehr=north", &[("Accept", "text/html")]).await;
    assert_eq!((out.status, out.headers["location"].as_str()), (303, "/engage/signin?back=%2Fconnections"), "{:?}", out.headers);
    // A form is taken there, and leads to where its page is.
    let left = server.post("/engage/signout", &staff.cookie, &[("csrf", &staff.csrf)]).await;
    assert!(left.status == 303 && left.headers["location"].starts_with("/engage/"), "{:?}", left.headers);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_path_nothing_is_put_before_anything() {
    let db = Database::fresh(Backend::Sqlite).unwrap();
    fill(&db.store());
    let server = below(&db, "http://apps.example.org/");
    let staff = server.staff(&Role::ALL).await;
    let page = server.send("GET", "/connections", &[("Cookie", &staff.cookie)]).await;
    assert!(addresses(&page.body).contains(&"/segments"), "{:?}", addresses(&page.body));
    assert_eq!(server.send("GET", "/engage/connections", &[("Cookie", &staff.cookie)]).await.status, 404);
}
