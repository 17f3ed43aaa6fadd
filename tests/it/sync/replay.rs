//! The quarantine, tried again.

use domain::model::ResourceType;
use fhir_engage::store::quarantine::{self, Aside};
use fhir_engage::store::{Lane, Store};
use fhir_engage::sync::quarantine::{ReplayError, Which, replay};

use super::setup::{HOLDER, at, bodies, ehr, register};
use crate::support::on_both;
use domain::clock::ManualClock;

fn put(store: &Store, id: &str, body: &str, seen: i64) {
    let aside = Aside {
        rtype: Some("Patient".to_owned()),
        fhir_id: Some(id.to_owned()),
        origin: "old.ndjson:1".to_owned(),
        code: "bad-field",
        reason: "an older version could not read it".to_owned(),
        body: body.as_bytes().to_vec(),
    };
    store.write_blocking(Lane::Bulk, "test", |conn| quarantine::put(conn, store.codec(), &ehr(), &aside, at(seen))).unwrap();
}

on_both! {
    fn what_can_be_read_now_is_stored_and_the_rest_stays(db) {
        let store = db.store();
        register(&store);
        let clock = ManualClock::at(at(9));
        put(&store, "1", r#"{"resourceType":"Patient","id":"1","gender":"male"}"#, 1);
        put(&store, "1", r#"{"resourceType":"Patient","id":"1","gender":"female"}"#, 2);
        put(&store, "2", r#"{"resourceType":"Patient","id":"2","birthDate":7}"#, 3);
        let done = replay(&store, &clock, HOLDER, &ehr(), Which::All).unwrap();
        assert_eq!((done.tried, done.stored, done.superseded, done.still_bad.len()), (3, 1, 1, 1), "{done:?}");
        assert!(done.still_bad[0].1.contains("birthDate"));
        assert_eq!(bodies(&store, ResourceType::Patient)[0].1, br#"{"resourceType":"Patient","id":"1","gender":"female"}"#);
        let left = store.read_blocking(|conn| quarantine::list(conn, None, 9)).unwrap();
        assert_eq!(left.iter().map(|row| row.id).collect::<Vec<_>>(), [done.still_bad[0].0]);
        let one = replay(&store, &clock, HOLDER, &ehr(), Which::Row(left[0].id)).unwrap();
        assert_eq!((one.tried, one.stored), (1, 0));
        let none = replay(&store, &clock, HOLDER, &ehr(), Which::Row(999)).unwrap_err();
        assert!(matches!(none, ReplayError::NoRow(999, _)), "{none}");
    }
}
