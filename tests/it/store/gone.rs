//! What is gone keeps its body and loses its facts, and comes back with the next version that is seen, the same one included.

use domain::model::ResourceType::{self, Appointment};
use fhir_engage::store::{Store, gone, resources};

use super::fixtures::{at, commit, ehr, incoming, patient, read, woken, write};
use crate::support::on_both;

fn facts(db: &crate::support::Database) -> Vec<String> {
    db.lines("SELECT fhir_id AS line FROM fact WHERE rtype = 'Appointment'")
}

fn visit(store: &Store, kind: ResourceType) -> Vec<i64> {
    commit(store, kind, vec![incoming(store, kind, "a1", "body", r#"{"status":"booked"}"#, &["p1"])]).stored
}

on_both! {
    fn a_resource_that_is_gone_comes_back_when_it_is_seen_and_wakes_whom_it_is_about(db) {
        let store = db.store();
        patient(&store, "p1");
        visit(&store, Appointment);
        woken(&store);
        let mark = || write(&store, |conn| gone::mark(conn, &ehr(), Appointment, &["a1", "never-seen"], "it isn't there", at(5)));
        assert_eq!((mark(), facts(&db)), (1, vec![]));
        assert_eq!(woken(&store).into_iter().collect::<Vec<_>>(), ["p1"]);
        let stored = read(&store, |conn| resources::get(conn, &ehr(), Appointment, "a1")).unwrap();
        assert_eq!(stored.body(store.codec()).unwrap(), b"body", "the body is the record of what was known");
        assert_eq!(read(&store, resources::counts).iter().filter(|c| c.1 == "Appointment").count(), 0);
        assert_eq!((mark(), woken(&store).len()), (0, 0), "a second time changes nothing");
        assert_eq!((visit(&store, Appointment).len(), facts(&db)), (1, vec!["a1".to_owned()]));
        assert_eq!(woken(&store).into_iter().collect::<Vec<_>>(), ["p1"]);
        assert_eq!(db.lines("SELECT fhir_id AS line FROM resource WHERE gone_at IS NOT NULL OR gone_why IS NOT NULL"), Vec::<String>::new());
    }
}
