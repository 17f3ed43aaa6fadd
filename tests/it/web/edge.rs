//! What every answer has, whatever it is; limits; and a server that comes and goes.

use super::fixture::{BEARER, Server};
use crate::support::{Backend, Database};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_has_the_security_headers_and_an_id_of_its_own() {
    let db = Database::fresh(Backend::Sqlite).unwrap();
    let server = Server::start(&db.store());
    let mut ids = std::collections::BTreeSet::new();
    for path in ["/", "/healthz", "/metrics", "/nothing", "/api/v1/runs", "/.well-known/jwks.json"] {
        let answer = server.get(path).await;
        let h = &answer.headers;
        assert!(h["content-security-policy"].starts_with("default-src 'none'; style-src 'sha256-"), "{path}");
        assert!(h["content-security-policy"].contains("frame-ancestors 'none'"), "{path}");
        assert_eq!(h["x-content-type-options"], "nosniff", "{path}");
        assert_eq!(h["referrer-policy"], "no-referrer", "{path}");
        assert_eq!(h["cache-control"], if path == "/.well-known/jwks.json" { "public, max-age=300" } else { "no-store" }, "{path}");
        assert!(h["x-request-id"].starts_with("feedface-"), "{path}");
        assert!(ids.insert(h["x-request-id"].clone()), "an id was given twice");
        assert!(!h.contains_key("server"), "{path}");
    }
    let jwks = server.get("/.well-known/jwks.json").await;
    assert_eq!((jwks.headers["content-type"].as_str(), jwks.json()["keys"][0]["kid"].as_str()), ("application/json", Some("k1")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_and_queries_have_limits() {
    let db = Database::fresh(Backend::Sqlite).unwrap();
    let server = Server::start(&db.store());
    let large = server.send("POST", "/", &[("Content-Length", "70000")]).await;
    assert_eq!((large.status, large.headers["content-type"].as_str()), (413, "application/problem+json"));
    let bearer = format!("Bearer {BEARER}");
    for query in ["limit=0", "limit=1001", "limit=x", "limit=-1", "limit=1&limit=2", "offset=3", "state=sent", "ehr=a&ehr=b"] {
        let answer = server.send("GET", &format!("/api/v1/runs?{query}"), &[("Authorization", &bearer)]).await;
        assert_eq!((answer.status, answer.headers["content-type"].as_str()), (400, "application/problem+json"), "{query}");
        assert!(!answer.body.contains("offset"), "the query was repeated: {}", answer.body);
    }
    for query in ["", "limit=1", "limit=1000", "ehr=north"] {
        assert_eq!(server.send("GET", &format!("/api/v1/runs?{query}"), &[("Authorization", &bearer)]).await.status, 200, "{query}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_in_use_is_told_and_an_ended_server_frees_its_port() {
    let db = Database::fresh(Backend::Sqlite).unwrap();
    let server = Server::start(&db.store());
    let address = server.address;
    assert!(address.ip().is_loopback());
    let error = fhir_engage::web::serve(super::fixture::state(&db.store()), address, fhir_engage::worker::Stop::new()).unwrap_err();
    assert!(error.to_string().contains(&address.to_string()) && error.to_string().contains("web.bind"), "{error}");
    server.end().await;
    let again = fhir_engage::worker::Stop::new();
    let (_, running) = fhir_engage::web::serve(super::fixture::state(&db.store()), address, again.clone()).unwrap();
    again.request();
    running.await.unwrap();
}
