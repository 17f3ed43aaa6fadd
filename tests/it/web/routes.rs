//! The route table, walked: nothing answers that should not, and nothing is served that the table does not name.

use fhir_engage::store::definitions::{self, Kind, New};
use fhir_engage::web::routes::{Access, table};

use actix_web::http::Method;

use super::fixture::{BEARER, Server};
use crate::support::{Backend, Database};

fn database() -> Database {
    Database::fresh(Backend::Sqlite).unwrap()
}

#[test]
fn these_routes_are_open_and_no_other() {
    let open: Vec<&str> = table().iter().filter(|r| r.access == Access::Open).map(|r| r.path).collect();
    assert_eq!(
        open,
        [
            "/signin",
            "/signin/once/{token}",
            "/signin/once",
            "/signin/provider",
            "/signin/callback",
            "/launch",
            "/launch/{ehr}",
            "/callback",
            "/assets/{name}",
            "/healthz",
            "/readyz",
            "/metrics",
            "/.well-known/jwks.json",
            "/notifications/{token}",
            "/notifications/{token}/{type}/{id}",
            "/notifications/{token}/{type}/{id}"
        ]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_open_answers_401_without_the_bearer() {
    let db = database();
    let new = New { kind: Kind::Segment, id: "lapsed", source: "x", hash: "1", reads: None };
    crate::store::fixtures::write(&db.store(), |c| definitions::first(c, std::slice::from_ref(&new), 1, crate::store::fixtures::at(0)));
    let server = Server::start(&db.store());
    let mut closed = 0;
    for row in table().iter().filter(|r| r.access == Access::Bearer) {
        closed += 1;
        let path = row.path.replace("{id}", "lapsed");
        let wrong = [
            vec![],
            vec![("Authorization", "Bearer wrong")],
            vec![("Authorization", "Bearer ")],
            vec![("Authorization", "Basic YS1iZWFyZXItZm9yLXRlc3Rz")],
            vec![("Authorization", BEARER)],
            vec![("Authorization", "Bearer a-bearer-for-test")],
            vec![("Authorization", "Bearer a-bearer-for-testsx")],
        ];
        for headers in wrong {
            let answer = server.send(row.method.as_str(), &path, &headers).await;
            assert_eq!(answer.status, 401, "{} with {headers:?}", row.path);
            assert_eq!(answer.headers["content-type"], "application/problem+json");
            assert!(answer.headers["www-authenticate"].starts_with("Bearer "));
            assert_eq!(answer.json()["status"], 401);
            assert!(!answer.body.contains(BEARER));
        }
        for scheme in ["Bearer", "bearer", "BEARER"] {
            let right = format!("{scheme} {BEARER}");
            let answer = server.send(row.method.as_str(), &path, &[("Authorization", &right)]).await;
            // What takes a body is let in, and then misses it.
            let wanted = if row.method == Method::GET { 200 } else { 400 };
            assert_eq!(answer.status, wanted, "{}: {}", row.path, answer.body);
        }
    }
    assert_eq!(closed, 7);
    server.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_configured_bearer_nobody_gets_in() {
    let db = database();
    let server = Server::start_with(&db.store(), None, None);
    for row in table().iter().filter(|r| r.access == Access::Bearer) {
        for token in ["", "Bearer", "Bearer x", "Bearer none", "Bearer null"] {
            let path = row.path.replace("{id}", "lapsed");
            let answer = server.send(row.method.as_str(), &path, &[("Authorization", token)]).await;
            assert_eq!(answer.status, 401, "{path} {token:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_open_answers_get_and_head_and_nothing_else() {
    let db = database();
    let server = Server::start(&db.store());
    for row in table().iter().filter(|r| r.access == Access::Open && r.method == Method::GET && !r.path.replace("{name}", "").contains('{'))
    {
        let path = row.path.replace("/assets/{name}", &fhir_engage::web::script_path());
        let got = server.get(&path).await;
        // Ways in that say nothing of where from lead nowhere.
        let status = match row.path {
            "/launch" => 400,
            // Without a key nothing can wait for an answer.
            "/callback" => 500,
            "/signin/provider" | "/signin/callback" => 404,
            _ => 200,
        };
        assert_eq!(got.status, status, "{}: {}", row.path, got.body);
        let head = server.send("HEAD", &path, &[]).await;
        assert_eq!((head.status, head.body.as_str()), (status, ""), "{}", row.path);
        assert_eq!(head.headers["content-type"], got.headers["content-type"]);
        for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"] {
            let answer = server.send(method, &path, &[]).await;
            assert_eq!(answer.status, 405, "{method} {}", row.path);
            assert_eq!(answer.headers["allow"], "GET, HEAD");
            assert_eq!(answer.headers["content-type"], "application/problem+json");
        }
    }
    let denied = server.send("POST", "/api/v1/runs", &[("Authorization", &format!("Bearer {BEARER}"))]).await;
    assert_eq!(denied.status, 405);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_path_that_the_table_does_not_name_answers_404() {
    let db = database();
    let server = Server::start(&db.store());
    let paths = [
        "/nothing",
        "/api",
        "/api/v1",
        "/api/v1/patients",
        "/healthz/",
        "//",
        "/assets/",
        "/assets/style.css",
        "/style.css",
        "/assets/../healthz",
        "/%2e%2e/etc/passwd",
        "/.well-known",
        "/metrics/x",
    ];
    for path in paths {
        for headers in [vec![], vec![("Authorization", "Bearer a-bearer-for-tests")]] {
            let answer = server.send("GET", path, &headers).await;
            assert_eq!(answer.status, 404, "{path}");
            assert_eq!(answer.headers["content-type"], "application/problem+json");
            assert_eq!(answer.json()["title"], "Not Found");
            assert!(!answer.body.contains("nothing\"") && !answer.body.contains("passwd"), "the path was repeated: {}", answer.body);
        }
    }
}
