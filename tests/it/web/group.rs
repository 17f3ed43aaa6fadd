//! A segment as a Group over HTTP, part by part.

use fhir_engage::store::definitions::{self, Kind, New};
use fhir_engage::store::memberships::{self, Change, Evaluated, State};

use super::fixture::Server;
use crate::store::fixtures::{at, patient, write};
use crate::support::{Backend, Database};

const SOURCE: &str = "id = 'lapsed'\ntitle = 'Lapsed'\nstage = 'retention'\ndescription = 'x'\nrule = 'not deceased'";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_come_in_parts_and_a_stranger_is_an_operation_outcome() {
    let db = Database::fresh(Backend::Sqlite).unwrap();
    let store = db.store();
    write(&store, |c| {
        definitions::first(c, &[New { kind: Kind::Segment, id: "lapsed", source: SOURCE, hash: "1", reads: None }], 1, at(0))
    });
    for n in 0..5 {
        let change = Change {
            segment: 1,
            version: 1,
            before: None,
            after: Some(State::In),
            entry: 1,
            effective_at: at(10),
            reasons: vec![],
            event_reasons: b"[]".to_vec(),
        };
        let person = patient(&store, &format!("p{n}")).person;
        let found = Evaluated {
            person,
            changes: vec![change],
            refreshed: vec![],
            events: 0,
            wake_at: None,
            outreach: false,
            unknown: Default::default(),
            staged: None,
        };
        write(&store, |c| memberships::apply(c, std::slice::from_ref(&found), at(10)));
    }
    let server = Server::start(&store);
    let bearer = [("Authorization", "Bearer a-bearer-for-tests")];
    let mut path = "/fhir/Group/lapsed?_count=2".to_owned();
    let mut seen = Vec::new();
    loop {
        let answer = server.send("GET", &path, &bearer).await;
        assert_eq!((answer.status, answer.headers["content-type"].as_str()), (200, "application/fhir+json; charset=utf-8"));
        let group = answer.json();
        assert_eq!((group["quantity"].as_u64(), group["name"].as_str()), (Some(5), Some("Lapsed")));
        let members = group["member"].as_array().cloned().unwrap_or_default();
        seen.extend(members.iter().map(|m| m["entity"]["reference"].as_str().unwrap().to_owned()));
        match answer.headers.get("link") {
            Some(link) => path = link[1..link.find('>').unwrap()].to_owned(),
            None => break,
        }
        assert!(seen.len() < 10);
    }
    assert_eq!(seen, ["Patient/p0", "Patient/p1", "Patient/p2", "Patient/p3", "Patient/p4"]);
    let none = server.send("GET", "/fhir/Group/nobody", &bearer).await;
    assert_eq!((none.status, none.json()["resourceType"].as_str()), (404, Some("OperationOutcome")));
    for wrong in ["?_count=0", "?_count=x", "?other=1", "?_count=99999"] {
        assert_eq!(server.send("GET", &format!("/fhir/Group/lapsed{wrong}"), &bearer).await.status, 400, "{wrong}");
    }
    server.end().await;
}
