//! The listener that others may reach answers what is public, and nothing that operators need.

use std::time::Duration;

use fhir_engage::credentials::jwks::MAX_AGE;
use fhir_engage::web::routes::table;
use fhir_engage::web::{ServeError, serve_apart};
use fhir_engage::worker::Stop;

use super::fixture::{Server, fill, state};
use crate::support::{Backend, Database};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_is_public_answers_there() {
    let db = Database::fresh(Backend::Sqlite).unwrap();
    fill(&db.store());
    let stop = Stop::new();
    let any = || "127.0.0.1:0".parse().unwrap();
    let served = serve_apart(state(&db.store()), any(), Some(any()), stop.clone()).unwrap();
    let (all, public) = (Server::seen_at(served.address), Server::seen_at(served.public.unwrap()));
    let mut open = 0;
    for row in table() {
        let path = row.path.replace("/assets/{name}", &fhir_engage::web::script_path());
        let status = public.get(&path).await.status;
        assert_eq!(status, if row.public { 200 } else { 404 }, "{}", row.path);
        open += usize::from(row.public);
        assert!(!all.get(&path).await.body.contains("nothing at this path"), "{}", &path);
    }
    assert_eq!(open, 2, "the public keys and the script");
    let keys = public.get("/.well-known/jwks.json").await;
    assert_eq!(keys.headers["cache-control"], format!("public, max-age={}", MAX_AGE.num_seconds()), "rotations go by it");
    // A port that is taken is told before anything is served.
    let taken = serve_apart(state(&db.store()), any(), Some(served.address), Stop::new());
    assert!(matches!(taken, Err(ServeError::Bind { .. })));
    stop.request();
    tokio::time::timeout(Duration::from_secs(20), served.running).await.unwrap().unwrap();
}
